//! Counting tests against code that cheats, with the real cargo.

use std::fs;
use std::process::Command;

use selvedge_domain::TestName;
use selvedge_workers::checks::parse;

/// Runs the tests of a package with this library; gives whether cargo was content, and what it printed.
fn cargo_test(library: &str) -> (bool, Vec<u8>) {
    let package = tempfile::tempdir().unwrap();
    let manifest = "[package]\nname = \"cheat\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[lib]\ndoctest = false\n";
    fs::write(package.path().join("Cargo.toml"), manifest).unwrap();
    fs::create_dir(package.path().join("src")).unwrap();
    fs::write(package.path().join("src/lib.rs"), library).unwrap();
    let output = Command::new("cargo")
        .args(["test", "--offline", "--", "--test-threads=1"])
        .current_dir(package.path())
        .env("CARGO_TARGET_DIR", package.path().join("target"))
        .output()
        .unwrap();
    (output.status.success(), [output.stderr, output.stdout].concat())
}

const TESTS: &str = "#[cfg(test)] mod tests {
    #[test] fn a() { assert_eq!(super::answer(), 42); }
    #[test] fn b() { assert_eq!(super::answer() + 1, 43); }
}\n";

#[test]
fn a110_a_process_that_ends_inside_its_tests_looks_green_and_is_not_counted() {
    let (content, output) = cargo_test(&format!("pub fn answer() -> u8 {{ 42 }}\n{TESTS}"));
    let tests = parse(&output).unwrap();
    assert!(
        content && tests[&TestName::from_output("tests::a")] && tests.len() == 2,
        "{}",
        String::from_utf8_lossy(&output)
    );

    let (content, output) = cargo_test(&format!("pub fn answer() -> u8 {{ std::process::exit(0) }}\n{TESTS}"));
    assert!(content, "exit status alone says that all is well: {}", String::from_utf8_lossy(&output));
    assert_eq!(parse(&output), None);
}
