//! The vendors' own libraries have a conversation of two turns with a tool, in one piece and as a stream, and read what it cost.

use std::path::{Path, PathBuf};
use std::process::Command;

use selvedge_scripted::{Protocol, Script, Server, Turn, Usage};
use serde_json::{Value, json};

use crate::client::KEY;

/// The keys of a session at AWS, as the stand-in takes them.
const SESSION: &str = "ASIASCRIPTEDOFATEST1:s3cr3t/of+a/session/0001:t0ken/of+a/session==";

const FIRST: Usage = Usage { input: 1000, cached: 200, cache_write: 30, output: 40, reasoning: 5 };
const SECOND: Usage = Usage { input: 2000, cached: 0, cache_write: 0, output: 60, reasoning: 0 };

/// What both turns cost, each in one piece and as a stream.
fn twice() -> Usage {
    let of = |kind: fn(Usage) -> u64| 2 * (kind(FIRST) + kind(SECOND));
    Usage {
        input: of(|usage| usage.input),
        cached: of(|usage| usage.cached),
        cache_write: of(|usage| usage.cache_write),
        output: of(|usage| usage.output),
        reasoning: of(|usage| usage.reasoning),
    }
}

fn script(first: Turn) -> Script {
    let untold = Turn::new().text("nobody told me");
    Script::new(KEY)
        .turn(first.costs(FIRST))
        .turn(Turn::new().text("Both are there — done.").told("wrote b", untold).costs(SECOND))
}

fn two_calls() -> Turn {
    Turn::new()
        .reasoning("Two files, says “the task”.")
        .text("I write both.")
        .call("Write", json!({ "path": "a" }))
        .call("Write", json!({ "path": "b" }))
}

/// What a library read in one piece and as a stream, and what the server saw of that.
fn conversations(vendor: &str, protocol: Protocol, script: Script) -> (Value, Server) {
    let server = Server::start(script).unwrap();
    let said = Command::new("/usr/bin/python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/vendors.py"))
        .args([vendor, &format!("http://{}", server.address())])
        .env("PYTHONPATH", libraries())
        .output()
        .unwrap();
    let refused: Vec<_> =
        server.seen().into_iter().filter_map(|seen| seen.refused.map(|why| (why, seen.body))).collect();
    assert!(said.status.success() && refused.is_empty(), "{refused:#?}\n{}", String::from_utf8_lossy(&said.stderr));
    let seen = server.seen();
    assert!(seen.iter().all(|seen| seen.protocol == Some(protocol) && seen.status == 200), "{seen:#?}");
    let shown: Vec<_> = seen.iter().filter(|seen| seen.turn == Some(1)).map(|seen| seen.results[1].as_str()).collect();
    assert_eq!(shown.len(), 2, "one in one piece, one as a stream: {seen:#?}");
    assert_eq!(server.totals().tokens, twice());
    let read: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(read[0], read[1], "a stream says what one piece says");
    (read[0].clone(), server)
}

/// The vendors' libraries, installed once beneath the target directory.
fn libraries() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("model-vendors-and-hosts");
    if !directory.exists() {
        let own = directory.with_file_name(format!("model-vendors-and-hosts-of-{}", std::process::id()));
        let mut pip = Command::new("/usr/bin/python3");
        pip.args(["-m", "pip", "install", "--quiet", "--target"]).arg(&own);
        pip.args(["anthropic[bedrock,vertex]==2.14.*", "openai==3.57.*", "google-genai==3.6.*"]);
        assert!(pip.status().unwrap().success(), "{pip:?}");
        // Another test may have been first, which is as good.
        let _ = std::fs::rename(&own, &directory);
    }
    directory
}

#[test]
fn anthropic_s_library_has_a_conversation() {
    let (read, server) = conversations("anthropic", Protocol::Anthropic, script(two_calls()));
    assert_eq!(
        read,
        json!({
            "calls": [["Write", { "path": "a" }], ["Write", { "path": "b" }]], "thought": "Two files, says “the task”.",
            "said": ["I write both.", "Both are there — done."], "ends": ["tool_use", "end_turn"],
            // Read anew, without the cache; written, with thinking.
            "usage": [1000, 200, 30, 45], "counted": 2000,
        })
    );
    // This library sends its key as a bearer's.
    assert!(server.seen().iter().all(|seen| seen.key_in == Some("authorization")));
}

#[test]
fn openai_s_library_has_a_conversation_over_responses() {
    let first = Turn::new()
        .reasoning("Two files, says “the task”.")
        .text("I write both.")
        .call("Write", json!({ "path": "a" }))
        .call("Write", json!({ "path": "b" }))
        .call_with_text("apply_patch", "*** Begin Patch\n*** End Patch");
    let (read, server) = conversations("responses", Protocol::Responses, script(first));
    assert_eq!(
        read,
        json!({
            "calls": [
                ["Write", { "path": "a" }], ["Write", { "path": "b" }], ["apply_patch", "*** Begin Patch\n*** End Patch"],
            ],
            "thought": "Two files, says “the task”.", "said": ["I write both.", "Both are there — done."],
            "ends": ["completed", "completed"],
            // Read with the cache; written, with reasoning.
            "usage": [1230, 200, 45, 5],
        })
    );
    assert_eq!(server.seen()[0].tools, ["Write", "apply_patch"]);
}

#[test]
fn openai_s_library_has_a_conversation_over_chat_completions() {
    let (read, server) = conversations("chat", Protocol::Chat, script(two_calls()));
    assert_eq!(
        read,
        json!({
            "calls": [["Write", { "path": "a" }], ["Write", { "path": "b" }]],
            "said": ["I write both.", "Both are there — done."], "ends": ["tool_calls", "stop"], "usage": [1230, 200, 45, 5],
        })
    );
    assert!(server.seen().iter().all(|seen| seen.key_in == Some("authorization")));
}

#[test]
fn google_s_library_has_a_conversation() {
    let (read, server) = conversations("gemini", Protocol::Gemini, script(two_calls()));
    assert_eq!(
        read,
        json!({
            "calls": [["Write", { "path": "a" }], ["Write", { "path": "b" }]], "thought": "Two files, says “the task”.",
            "said": ["I write both.", "Both are there — done."], "ends": ["STOP", "STOP"],
            // Read with the cache; written, without thoughts. A count declares no tools, so it is of a side call.
            "usage": [1230, 200, 40, 5], "counted": 20,
        })
    );
    assert!(server.seen().iter().all(|seen| seen.key_in == Some("x-goog-api-key") && seen.model == "gemini-3-pro"));
}

/// What Anthropic's library reads of both turns, wherever the model is run.
fn anthropic_s(counted: u64) -> Value {
    json!({
        "calls": [["Write", { "path": "a" }], ["Write", { "path": "b" }]], "thought": "Two files, says “the task”.",
        "said": ["I write both.", "Both are there — done."], "ends": ["tool_use", "end_turn"],
        "usage": [1000, 200, 30, 45], "counted": counted,
    })
}

#[test]
fn anthropic_s_library_has_a_conversation_through_bedrock_signed_or_with_a_key() {
    let signed = Script { key: SESSION.to_owned(), ..script(two_calls()) };
    for (vendor, script) in [("bedrock", signed), ("bedrock-key", script(two_calls()))] {
        let (read, server) = conversations(vendor, Protocol::Anthropic, script);
        assert_eq!(read, anthropic_s(0), "{vendor}");
        let paths: Vec<_> = server.seen().iter().map(|seen| seen.path.clone()).collect();
        assert_eq!(paths[0], "/model/claude-x/invoke");
        assert_eq!(paths[2], "/model/claude-x/invoke-with-response-stream");
    }
}

#[test]
fn anthropic_s_library_has_a_conversation_through_vertex() {
    let (read, server) = conversations("vertex", Protocol::Anthropic, script(two_calls()));
    assert_eq!(read, anthropic_s(2000));
    let path = "/v1/projects/p/locations/eu/publishers/anthropic/models/claude-x:rawPredict";
    assert_eq!(server.seen()[0].path, path);
}

#[test]
fn openai_s_library_has_a_conversation_through_azure_in_both_of_its_forms() {
    for (vendor, path, key_in) in [
        ("azure", "/openai/deployments/gpt-x/chat/completions", "api-key"),
        ("azure-v1", "/openai/v1/chat/completions", "authorization"),
    ] {
        let (read, server) = conversations(vendor, Protocol::Chat, script(two_calls()));
        assert_eq!(read["usage"], json!([1230, 200, 45, 5]), "{vendor}");
        assert_eq!(read["said"], json!(["I write both.", "Both are there — done."]), "{vendor}");
        assert!(server.seen().iter().all(|seen| seen.path == path && seen.key_in == Some(key_in)), "{vendor}");
    }
}

#[test]
fn google_s_library_has_a_conversation_through_vertex() {
    let (read, server) = conversations("vertex-gemini", Protocol::Gemini, script(two_calls()));
    assert_eq!(read["said"], json!(["I write both.", "Both are there — done."]));
    assert_eq!(read["usage"], json!([1230, 200, 40, 5]));
    let models = "/v1/projects/p/locations/eu/publishers/google/models/gemini-3-pro";
    assert!(server.seen().iter().all(|seen| seen.path.starts_with(models) && seen.key_in == Some("authorization")));
}
