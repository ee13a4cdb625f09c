//! The program that serves a file.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::client::{anthropic, post};

/// How the example is asked; its key is as long as the factory wants keys that it stores.
const EXAMPLE: (&str, &str) = ("/v1/messages", "x-api-key: sk-scripted-example\r\nanthropic-version: 2023-06-01\r\n");

const PROGRAM: &str = env!("CARGO_BIN_EXE_selvedge-scripted");

#[test]
fn the_program_says_where_it_listens_and_serves_the_example() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hello.toml");
    let mut program = Command::new(PROGRAM).args(["--script", example]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(program.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let server = line.trim().strip_prefix("http://").unwrap().parse().unwrap();
    let answer = post(server, EXAMPLE, &anthropic(json!([{ "role": "user", "content": "go" }])));
    program.kill().unwrap();
    program.wait().unwrap();
    assert_eq!((answer.status, answer.json()["stop_reason"].as_str()), (200, Some("tool_use")), "{answer:?}");
}

#[test]
fn the_program_says_what_is_wrong_with_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("script.toml");
    std::fs::write(&file, "key = \"k\"\n[[turn]]\nsays = []\n").unwrap();
    for (arguments, said) in [
        (vec!["--script", file.to_str().unwrap()], "unknown field `says`"),
        (vec!["--script", "/nowhere"], "cannot be read"),
        (vec![], "usage:"),
    ] {
        let output = Command::new(PROGRAM).args(&arguments).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(said), "{arguments:?}: {error}");
    }
}
