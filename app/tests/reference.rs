//! The whole help tree, as one file: a reader's reference and a reviewer's view of every change of the command line.

use std::path::Path;
use std::process::Command;

/// Every command that has a page of its own.
const COMMANDS: &[&str] = &[
    "",
    "demo",
    "init",
    "doctor",
    "run",
    "scan",
    "serve",
    "ps",
    "show",
    "diff",
    "output",
    "watch",
    "proposals",
    "merge",
    "approvals",
    "approve",
    "answer",
    "deny",
    "halt",
    "resume",
    "revoke",
    "can",
    "agents",
    "agents install",
    "tools",
    "credentials",
    "credentials list",
    "credentials store",
    "credentials create-app",
    "credentials remove",
    "credentials withdraw",
    "identities",
    "identities certify",
    "identities offboard",
    "policy",
    "policy check",
    "policy schema",
    "policy explain",
    "audit",
    "audit show",
    "audit verify",
    "audit export",
    "identity",
    "identity jwks",
    "identity bundle",
    "identity discovery",
    "identity introspect",
    "advisories",
    "advisories update",
    "schema",
    "completions",
    "exit-codes",
];

#[test]
fn the_reference_is_what_the_command_says() {
    let mut reference = String::from("# Reference\n\nWhat `selvedge --help` says, command by command.\n");
    for command in COMMANDS {
        let mut selvedge = Command::new(env!("CARGO_BIN_EXE_selvedge"));
        let said =
            selvedge.args(command.split_whitespace()).arg("--help").env_remove("SELVEDGE_STATE").output().unwrap();
        assert!(said.status.success(), "`{command} --help`");
        let title = if command.is_empty() { "selvedge".to_owned() } else { format!("selvedge {command}") };
        let text = String::from_utf8(said.stdout).unwrap();
        let text: Vec<&str> = text.lines().map(str::trim_end).collect();
        reference.push_str(&format!("\n## {title}\n\n```text\n{}\n```\n", text.join("\n").trim_end()));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference.md");
    if std::env::var_os("SELVEDGE_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &reference).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        reference == golden,
        "the command line changed; if that is meant, run this test with SELVEDGE_WRITE_GOLDEN=1"
    );
}
