//! The client of the Agent Client Protocol, with programs that speak it and programs that do not. What agents said in `data/agents/acp`
//! was said by the versions of OpenCode, Gemini CLI and Claude's adapter that `docs/agents.md` names, each asked to make a file against a
//! model server that was scripted; lists of commands and settings are left out.

use selvedge_workers::acp::{self, Assignment};
use selvedge_workers::agents::{Outcome, Report};

/// An assignment for a script of the shell's.
fn assignment(script: &str) -> Assignment {
    Assignment {
        command: ["sh", "-c", script].map(str::to_owned).into(),
        task: "create hello.txt".to_owned(),
        workspace: env!("CARGO_MANIFEST_DIR").to_owned(),
        mode: None,
        servers: Vec::new(),
        silence_seconds: 30,
    }
}

fn had(assignment: &Assignment) -> (Report, Outcome) {
    let mut output = Vec::new();
    let is_well = acp::converse(assignment, &mut output);
    let report = acp::read(&output);
    let outcome = report.outcome(Some(i32::from(!is_well)));
    assert_eq!(report.unread, 0, "{}", String::from_utf8_lossy(&output));
    (report, outcome)
}

/// What comes of a script.
fn came(script: &str) -> Outcome {
    had(&assignment(script)).1
}

/// Answers to the first two requests, and to a third.
const BEGINS: &str = r#"echo '{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":1}}'; echo '{"jsonrpc":"2.0","id":2,"result":{"sessionId":"s"}}'"#;

fn after_it_began(rest: &str) -> String {
    format!("{BEGINS}; {rest}")
}

fn stops(reason: &str) -> String {
    let says = r#"{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s","update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"Hm."}}}}"#;
    let stops = format!(r#"{{"jsonrpc":"2.0","id":3,"result":{{"stopReason":"{reason}"}}}}"#);
    after_it_began(&format!("echo '{says}'; echo '{stops}'; exec sleep 60"))
}

#[test]
fn what_real_agents_say_is_understood() {
    for (name, mode, tool) in [
        ("opencode", None, "execute"),
        ("gemini_cli", None, "execute"),
        ("claude_agent_acp", Some("bypassPermissions"), "Bash"),
    ] {
        let script = format!("cat tests/data/agents/acp/{name}.jsonl; exec sleep 60");
        let (report, outcome) = had(&Assignment { mode: mode.map(str::to_owned), ..assignment(&script) });
        assert_eq!(outcome, Outcome::Finished, "{name}: {report:?}");
        assert_eq!(
            (report.text.as_str(), report.tools),
            ("Done: hello.txt is there.", vec![tool.to_owned()]),
            "{name}"
        );
        assert!(report.errors.is_empty(), "{name}: {:?}", report.errors);
    }
}

#[test]
fn each_reason_to_stop_is_an_outcome_of_its_own() {
    assert_eq!(came(&stops("end_turn")), Outcome::Finished);
    for (reason, word) in
        [("max_tokens", "most tokens"), ("max_turn_requests", "as often as"), ("cancelled", "cancelled")]
    {
        let outcome = came(&stops(reason));
        assert!(matches!(&outcome, Outcome::Stopped { because } if because.contains(word)), "{outcome:?}");
    }
    let refused = came(&stops("refusal"));
    assert!(matches!(&refused, Outcome::Failed { because } if because.contains("refused to go on")), "{refused:?}");
    let unknown = came(&stops("tired"));
    assert!(matches!(&unknown, Outcome::Misspoke { because } if because.ends_with("knows: tired")), "{unknown:?}");
    let silent = after_it_began(r#"echo '{"jsonrpc":"2.0","id":3,"result":{"stopReason":"end_turn"}}'; exec sleep 60"#);
    assert_eq!(came(&silent), Outcome::Idle);
    let error = after_it_began(r#"echo '{"jsonrpc":"2.0","id":3,"error":{"code":-32000,"message":"log in first"}}'"#);
    let because = "`session/prompt` failed: log in first".to_owned();
    assert_eq!(came(&error), Outcome::Failed { because });
}

#[test]
fn an_agent_that_ends_early_or_does_not_start_is_named() {
    for (script, because) in [
        ("exit 0".to_owned(), "its program ended with exit status 0 before it answered `initialize`"),
        (after_it_began("exit 3"), "its program ended with exit status 3 before it answered `session/prompt`"),
        (after_it_began("kill -9 $$"), "its program ended with a signal before it answered `session/prompt`"),
        (after_it_began("exec sleep 60 >&-"), "it closed its output before it answered `session/prompt`"),
    ] {
        assert_eq!(came(&script), Outcome::Stopped { because: because.to_owned() }, "{script}");
    }
    let nobody = Assignment { command: vec!["/no/such/agent".to_owned()], ..assignment("") };
    let (_, outcome) = had(&nobody);
    let because = |because: &str| because.starts_with("its program `/no/such/agent` does not start: ");
    assert!(matches!(&outcome, Outcome::Stopped { because: told } if because(told)), "{outcome:?}");
}

#[test]
fn silence_ends_and_is_not_success() {
    for (script, awaited) in
        [("exec sleep 60".to_owned(), "initialize"), (after_it_began("exec sleep 60"), "session/prompt")]
    {
        let (_, outcome) = had(&Assignment { silence_seconds: 1, ..assignment(&script) });
        let because = format!("it said nothing for 1 s, and did not answer `{awaited}`");
        assert_eq!(outcome, Outcome::Stopped { because });
    }
}

#[test]
fn what_breaks_the_protocol_is_named() {
    let told = |line: &str| after_it_began(&format!("echo '{line}'; exec sleep 60"));
    let update =
        r#"{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s","update":{"sessionUpdate":"plan"}}}"#;
    for (script, because) in [
        ("echo '{\"hello\":1}'; exec sleep 60".to_owned(), "is no message of JSON-RPC 2.0: {\"hello\":1}"),
        ("head -c 9000000 /dev/zero | tr '\\0' x; exec sleep 60".to_owned(), "more than 8388608 bytes"),
        ("yes banner".to_owned(), "goes on writing what is no message: banner"),
        (after_it_began(&format!("yes '{update}'")), "more than 500000 messages"),
        (told(&"{\"a\":".repeat(300)), "nested more than 128 deep"),
        (told(r#"{"jsonrpc":"2.0","id":7,"result":{}}"#), "answered request 7"),
        (told(r#"{"jsonrpc":"2.0","id":3,"result":{}}"#), "`session/prompt` does not say what it has to"),
        (told(r#"{"jsonrpc":"2.0","id":3,"result":{"stopReason":"end_turn"},"id":4}"#), "no message of JSON-RPC"),
        (
            "echo '{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"protocolVersion\":2}}'; exec sleep 60".to_owned(),
            "speaks version 2",
        ),
    ] {
        let outcome = came(&script);
        assert!(
            matches!(&outcome, Outcome::Misspoke { because: told } if told.contains(because)),
            "{because}: {outcome:?}"
        );
    }
}

/// An agent that asks for things, keeps the answers, and is done.
fn asks(requests: &[&str]) -> (Report, Outcome, String) {
    let dir = tempfile::tempdir().unwrap();
    let heard = dir.path().join("heard");
    let ask = |request: &&str| format!("echo '{request}'; read -r line; echo \"$line\" >> {}; ", heard.display());
    let asks: String = requests.iter().map(ask).collect();
    let done = r#"echo '{"jsonrpc":"2.0","id":3,"result":{"stopReason":"end_turn"}}'; exec sleep 60"#;
    let (report, outcome) = had(&assignment(&format!("{BEGINS}; read -r a; read -r b; read -r c; {asks}{done}")));
    (report, outcome, std::fs::read_to_string(heard).unwrap_or_default())
}

fn permission(options: &[(&str, &str)]) -> String {
    let options: Vec<_> =
        options.iter().map(|(id, kind)| serde_json::json!({ "optionId": id, "name": id, "kind": kind })).collect();
    let params = serde_json::json!({ "sessionId": "s", "toolCall": { "toolCallId": "c" }, "options": options });
    serde_json::json!({ "jsonrpc": "2.0", "id": 0, "method": "session/request_permission", "params": params })
        .to_string()
}

#[test]
fn permission_is_given_for_once_and_never_for_good_a57() {
    let once = permission(&[("always", "allow_always"), ("once", "allow_once"), ("no", "reject_once")]);
    let forever = permission(&[("always", "allow_always"), ("no", "reject_once"), ("never", "reject_always")]);
    let only_forever = permission(&[("always", "allow_always")]);
    let (report, outcome, heard) = asks(&[&once, &forever, &only_forever]);
    let outcomes: Vec<serde_json::Value> = heard
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["result"]["outcome"].clone())
        .collect();
    let selected = |option: &str| serde_json::json!({ "outcome": "selected", "optionId": option });
    assert_eq!(outcomes, [selected("once"), selected("no"), serde_json::json!({ "outcome": "cancelled" })]);
    assert_eq!(report.errors, ["it asked for a permission that cannot be given for once"]);
    assert_eq!(outcome, Outcome::Idle);
}

#[test]
fn files_and_terminals_are_declined_and_who_goes_on_asking_is_ended() {
    let file = std::env::temp_dir().join("selvedge-acp-never");
    let write = serde_json::json!({ "jsonrpc": "2.0", "id": "w", "method": "fs/write_text_file", "params": { "sessionId": "s", "path": file, "content": "x" } }).to_string();
    let terminal = r#"{"jsonrpc":"2.0","id":9,"method":"terminal/create","params":{"command":"id"}}"#;
    let own = r#"{"jsonrpc":"2.0","id":10,"method":"_vendor/ask","params":[1,2]}"#;
    let (report, outcome, heard) = asks(&[&write, terminal, own, terminal]);
    assert!(heard.lines().count() == 4 && heard.lines().all(|line| line.contains("-32601")), "{heard}");
    assert!(!file.exists());
    let noted = ["fs/write_text_file", "terminal/create", "_vendor/ask"];
    assert_eq!(report.errors, noted.map(|method| format!("it asked for `{method}`, which it was not offered")));
    assert_eq!(outcome, Outcome::Idle);
    let reads_nothing = after_it_began(&format!("yes '{}'", permission(&[("once", "allow_once")])));
    let outcome = came(&reads_nothing);
    let because = "it goes on asking and reads none of the answers".to_owned();
    assert_eq!(outcome, Outcome::Misspoke { because });
    let goes_on = came(&after_it_began(&format!("yes '{terminal}'")));
    assert!(
        matches!(&goes_on, Outcome::Misspoke { because } if because.contains("at last for `terminal/create`")),
        "{goes_on:?}"
    );
}

#[test]
fn a_mode_that_there_is_not_is_named_with_those_that_there_are() {
    let script = r#"echo '{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":1}}'; echo '{"jsonrpc":"2.0","id":2,"result":{"sessionId":"s","modes":{"availableModes":[{"id":"ask"},{"id":"code"}]}}}'; exec sleep 60"#;
    let (_, outcome) = had(&Assignment { mode: Some("yolo".to_owned()), ..assignment(script) });
    assert_eq!(outcome, Outcome::Failed { because: "it has no mode `yolo`; those it has are: ask, code".to_owned() });
    let (_, outcome) =
        had(&Assignment { mode: Some("yolo".to_owned()), ..assignment(&after_it_began("exec sleep 60")) });
    assert!(matches!(&outcome, Outcome::Failed { because } if because.contains("leave `mode` out")), "{outcome:?}");
}

#[test]
fn tool_servers_are_given_to_an_agent_that_takes_them_and_what_it_prints_besides_is_passed_over() {
    let servers = vec![("tracker".to_owned(), "http://tools.selvedge.internal/tracker".to_owned())];
    let dir = tempfile::tempdir().unwrap();
    let heard = dir.path().join("heard");
    let script = |capabilities: &str| {
        format!(
            r#"echo welcome; read -r a; echo '{{"jsonrpc":"2.0","id":1,"result":{{"protocolVersion":1{capabilities}}}}}'; read -r b; echo "$b" > {}"#,
            heard.display()
        )
    };
    let new = |capabilities| {
        let (report, _) = had(&Assignment { servers: servers.clone(), ..assignment(&script(capabilities)) });
        let asked: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&heard).unwrap()).unwrap();
        (asked["params"]["mcpServers"].clone(), report.errors)
    };
    let given = serde_json::json!([{ "type": "http", "name": "tracker", "url": servers[0].1, "headers": [] }]);
    assert_eq!(new(r#","agentCapabilities":{"mcpCapabilities":{"http":true}}"#), (given, Vec::new()));
    let (none, noted) = new("");
    assert_eq!(none, serde_json::json!([]));
    assert!(noted[0].contains("takes no tool servers"), "{noted:?}");
}

#[test]
fn an_assignment_is_read_as_it_was_written() {
    let written =
        Assignment { mode: Some("a".to_owned()), servers: vec![("a".to_owned(), "b".to_owned())], ..assignment("x") };
    let read: Assignment = serde_json::from_slice(&written.to_bytes()).unwrap();
    assert_eq!(read, written);
}
