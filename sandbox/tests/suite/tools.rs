//! Ordinary work inside: toolchains, git, pipes, terminals. A wall that breaks honest programs would be taken down.

use std::path::{Path, PathBuf};
use std::process::Command;

use selvedge_sandbox::{Access, Bind, Input, Limits, Place, Workspace};

use crate::stage::Stage;

fn git(stage: &Stage, bare: &Path, arguments: &[&str], stdin: &[u8]) -> selvedge_sandbox::ToolOutput {
    let argv = ["git", "--git-dir=/repo"].into_iter().chain(arguments.iter().copied());
    let place = Place {
        binds: vec![Bind { source: bare.into(), target: "/repo".into(), access: Access::ReadWrite }],
        stdin: Input::Bytes(stdin.to_vec()),
        ..Place::new(argv)
    };
    stage.driver.run_tool(&crate::stage::unique("git"), &place).expect("tool")
}

#[test]
fn git_works_on_a_bare_repository_of_the_keeper() {
    let stage = Stage::full();
    let bare = stage.dir.path().join("repo.git");
    std::fs::create_dir(&bare).expect("directory");
    assert!(git(&stage, &bare, &["init", "-q", "--bare", "/repo"], b"").exit.success());
    let content = vec![b'x'; 3 << 20];
    let written = git(&stage, &bare, &["hash-object", "-w", "--stdin"], &content);
    assert!(written.exit.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let id = String::from_utf8(written.stdout).expect("id");
    assert_eq!(git(&stage, &bare, &["cat-file", "blob", id.trim()], b"").stdout, content);
    let failed = git(&stage, &bare, &["cat-file", "blob", "nonsense"], b"");
    assert!(!failed.exit.success() && !failed.stderr.is_empty());
    // On the host the objects are the keeper's, whoever wrote them inside.
    let found = Command::new("find").arg(&bare).args(["!", "-uid", "0"]).output().expect("find");
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

#[test]
fn s_28_what_a_hostile_repository_configures_runs_in_the_sandbox_or_not_at_all() {
    let stage = Stage::full();
    let bare = stage.dir.path().join("repo.git");
    let touched = stage.dir.path().join("touched");
    std::fs::create_dir(&bare).expect("directory");
    assert!(git(&stage, &bare, &["init", "-q", "--bare", "/repo"], b"").exit.success());
    let hook = format!("touch {} /repo/ran-inside", touched.display());
    let configuration = format!("[core]\nbare=true\nfsmonitor={hook}\npager={hook}\n[alias]\nx = !{hook}\n");
    std::fs::write(bare.join("config"), configuration).expect("configuration");
    git(&stage, &bare, &["x"], b"");
    assert!(bare.join("ran-inside").exists(), "the configured program did run, inside");
    assert!(!touched.exists(), "and reached nothing outside");
}

#[test]
fn a_rust_project_builds_with_the_host_s_toolchain() {
    let stage = Stage::full();
    let rustc = Command::new("rustc").args(["--print", "sysroot"]).output().expect("rustc");
    let sysroot = PathBuf::from(String::from_utf8(rustc.stdout).expect("path").trim());
    let tree = stage.dir.path().join("tree");
    std::fs::create_dir_all(tree.join("src")).expect("tree");
    std::fs::write(tree.join("Cargo.toml"), "[package]\nname = \"x\"\nversion = \"0.1.0\"\nedition = \"2024\"\n")
        .expect("file");
    std::fs::write(tree.join("src/main.rs"), "fn main() {}\n#[test]\nfn passes() {}\n").expect("file");
    let place = Place {
        workspace: Some(Workspace { pristine: tree }),
        binds: vec![Bind { source: sysroot, target: "/opt/toolchain/rust".into(), access: Access::ReadOnly }],
        limits: Limits::default(),
        ..Place::new(["cargo", "test", "--offline"])
    };
    let ran = stage
        .run(&place.with_env("PATH", "/opt/toolchain/rust/bin:/usr/bin:/bin").with_env("CARGO_HOME", "/tmp/cargo"));
    assert!(ran.exit.success() && ran.output.contains("1 passed"), "{ran:?}");
    assert_eq!(ran.refused, Vec::<String>::new(), "an honest build runs into no fence");
}

#[test]
fn shells_pipes_terminals_and_threads_work() {
    let stage = Stage::full();
    let script = "set -e; seq 1000 | sort -n | tail -1; cat < <(echo substituted); \
                  script -qec 'test -t 0 && echo terminal' /dev/null < /dev/null | tr -d '\\r'; \
                  python3 -c 'import threading; t=threading.Thread(target=lambda: print(\"thread\")); t.start(); t.join()'; \
                  python3 -c 'import multiprocessing as m; print(m.Pool(2).map(abs, [-1, -2]))'; \
                  python3 -c 'import socket; print(socket.getaddrinfo(\"localhost\", 80)[0][4])'; \
                  getent passwd agent | cut -d: -f1; date > /dev/null; df /tmp > /dev/null; trap 'echo trapped' USR1; kill -USR1 $$";
    let ran = stage.run(&Place { ..Place::new(["bash", "-c", script]) }.with_env("PATH", "/usr/bin:/bin"));
    let expected = "1000\nsubstituted\nterminal\nthread\n[1, 2]\n('127.0.0.1', 80)\nagent\ntrapped\n";
    assert_eq!(ran.output, expected, "{ran:?}");
}

#[test]
fn a_broken_pipe_ends_a_program_as_anywhere_else() {
    let ran = Stage::full().shell("yes | head -1; echo ${PIPESTATUS:-}");
    assert_eq!(ran.output.lines().next(), Some("y"), "{ran:?}");
    assert!(!ran.error.contains("Broken pipe"), "{ran:?}");
}

#[test]
fn the_report_says_every_layer_is_there() {
    let stage = Stage::full();
    let report = stage.driver.probe();
    assert!(report.complete(), "{report}");
    assert!(report.to_string().contains("| Landlock | version"), "{report}");
}
