//! Adapters: how each agent is called, word for word, and what its real output is read as. The outputs in `data/agents` were written
//! by the pinned versions of the agents, each asked to make a file, against a model server that was scripted.

#![expect(clippy::unwrap_used, reason = "a test may be blunt")]

use selvedge_workers::agents::{Adapter, Furnishing, Job, Outcome, Report, Tokens};

const JOB: Job<'_> = Job {
    prompt: "--help: fix `x`\nand \"y\"",
    model: "some-model",
    door: "http://model.selvedge.internal",
    placeholder: "placeholder",
    workspace: "/workspace",
    servers: &[],
};

macro_rules! output {
    ($agent:literal, $what:literal) => {
        include_bytes!(concat!("../data/agents/", $agent, "/", $what, ".jsonl")).as_slice()
    };
}

macro_rules! outputs {
    ($agent:literal) => {
        [
            output!($agent, "worked"),
            output!($agent, "said_only"),
            output!($agent, "did_nothing"),
            output!($agent, "budget_spent"),
        ]
    };
}

/// Name, its output when it worked, only said something, did nothing, and was refused with 402.
const OUTPUTS: [(&str, [&[u8]; 4]); 3] =
    [("claude-code", outputs!("claude_code")), ("codex", outputs!("codex")), ("opencode", outputs!("opencode"))];

fn adapter(name: &str) -> &'static Adapter {
    Adapter::named(name).unwrap()
}

fn shown(furnishing: &Furnishing) -> String {
    let mut text: String = furnishing.argv.iter().map(|word| format!("{}\n", word.escape_debug())).collect();
    text.extend(furnishing.env.iter().map(|(name, value)| format!("{name}={value}\n")));
    text.extend(furnishing.files.iter().map(|file| format!("--- {}\n{}", file.path, file.text)));
    text
}

#[test]
fn each_agent_is_called_word_for_word_as_was_tried_a_02() {
    for adapter in Adapter::ALL {
        let path = format!("{}/tests/data/agents/{}.golden", env!("CARGO_MANIFEST_DIR"), adapter.name);
        let now = shown(&adapter.furnish(&JOB, "x86_64").unwrap());
        if std::env::var_os("SELVEDGE_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, &now).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), now, "{path}");
    }
}

#[test]
fn a_task_never_becomes_an_option_and_never_reaches_a_setting_a_02() {
    for adapter in Adapter::ALL {
        let furnishing = adapter.furnish(&JOB, "x86_64").unwrap();
        let at = furnishing.argv.iter().position(|word| word == "--").unwrap();
        assert_eq!(furnishing.argv[at + 1..], [JOB.prompt], "{}", adapter.name);
        assert!(furnishing.argv[0].starts_with(&format!("/opt/agents/{}/", adapter.name)));
        let rest = shown(&Furnishing { argv: furnishing.argv[..at].to_vec(), ..furnishing.clone() });
        assert!(!rest.contains(JOB.prompt), "{rest}");
        // What hooks or project settings could switch off stays out of reach of the repository and of the agent.
        assert!(furnishing.files.iter().all(|file| file.path.starts_with("/etc/")), "{:?}", furnishing.files);
    }
    assert!(Adapter::ALL.iter().all(|adapter| adapter.furnish(&JOB, "vax").is_none()));
}

#[test]
fn versions_are_exact_and_names_are_found() {
    for adapter in Adapter::ALL {
        let parts: Vec<&str> = adapter.pin.version.split('.').collect();
        assert!(parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok()), "{:?}", adapter.pin);
        assert_eq!(Adapter::named(adapter.name).unwrap().name, adapter.name);
    }
    assert!(Adapter::named("remediate").is_none());
}

#[test]
fn tool_servers_are_named_in_each_agent_s_own_way_and_no_other_is_read_a27() {
    let url = "http://tools.selvedge.internal/tracker";
    let servers = [("tracker".to_owned(), url.to_owned())];
    let job = Job { servers: &servers, ..JOB };
    let furnished = |name: &str| adapter(name).furnish(&job, "x86_64").unwrap();
    let laid = |furnishing: &Furnishing, path: &str| {
        let file = furnishing.files.iter().find(|file| file.path == path).unwrap();
        serde_json::from_str::<serde_json::Value>(&file.text).unwrap()
    };
    let claude = furnished("claude-code");
    let place = claude.argv.iter().position(|word| word == "--mcp-config").unwrap();
    let path = "/etc/selvedge/claude-code-mcp.json";
    assert_eq!(&claude.argv[place + 1..place + 3], [path, "--strict-mcp-config"]);
    let named = serde_json::json!({ "mcpServers": { "tracker": { "type": "http", "url": url } } });
    assert_eq!(laid(&claude, path), named);
    let codex = format!("mcp_servers={{\"tracker\"={{url=\"{url}\"}}}}");
    let argv = furnished("codex").argv;
    assert!(argv.contains(&codex), "the whole table, so that no other is left: {argv:?}");
    let opencode = laid(&furnished("opencode"), "/etc/selvedge/opencode.json");
    let named = serde_json::json!({ "tracker": { "type": "remote", "url": url, "enabled": true, "oauth": false } });
    assert_eq!(opencode["mcp"], named);
}

#[test]
fn work_that_was_done_is_read_as_done_with_what_it_used() {
    let tools = ["Bash", "command_execution", "bash"];
    for ((name, [worked, ..]), tool) in OUTPUTS.into_iter().zip(tools) {
        let report = adapter(name).read(worked);
        assert_eq!(report.outcome(Some(0)), Outcome::Finished, "{name}: {report:?}");
        assert_eq!(report.tools, [tool], "{name}");
        assert_eq!(report.text, "Done: hello.txt is there.", "{name}");
        assert_eq!(report.tokens, Tokens { input: 2000, cached: 0, output: 100 }, "{name}");
        assert_eq!((report.unread, report.errors.len()), (0, 0), "{name}");
        assert_eq!(report.outcome(Some(3)), Outcome::Broke { status: Some(3) }, "{name}");
        assert_eq!(report.outcome(None), Outcome::Broke { status: None }, "{name}");
    }
}

#[test]
fn an_agent_that_ends_well_and_did_nothing_is_told_apart() {
    for (name, [_, said_only, did_nothing, _]) in OUTPUTS {
        let said = adapter(name).read(said_only);
        assert_eq!((said.outcome(Some(0)), said.tool_uses), (Outcome::Finished, 0), "{name}");
        assert_eq!(adapter(name).read(did_nothing).outcome(Some(0)), Outcome::Idle, "{name}");
        assert_eq!(adapter(name).read(b"").outcome(Some(0)), Outcome::NotUnderstood, "{name}");
        assert_eq!(adapter(name).read(b"hello\n[1]\n{}\n").outcome(Some(0)), Outcome::NotUnderstood, "{name}");
    }
}

#[test]
fn an_error_is_an_error_whatever_the_exit_status() {
    for (name, [.., budget_spent]) in OUTPUTS {
        let report = adapter(name).read(budget_spent);
        for status in [Some(0), Some(1), None] {
            let Outcome::Failed { because } = report.outcome(status) else { panic!("{name}: {report:?}") };
            assert!(because.contains("budget is spent"), "{name}: {because}");
        }
    }
}

#[test]
fn an_output_that_is_cut_short_is_never_success() {
    for (name, [worked, ..]) in OUTPUTS {
        for end in 0..worked.len() - 2 {
            let outcome = adapter(name).read(&worked[..end]).outcome(Some(0));
            assert_ne!(outcome, Outcome::Finished, "{name} at {end}");
        }
    }
}

#[test]
fn hostile_output_is_read_within_bounds() {
    let deep = "[".repeat(100_000);
    let long = format!("{{\"type\":\"text\",\"part\":{{\"text\":\"{}\"}}}}", "\u{e9}".repeat(100_000));
    let tools = "{\"type\":\"tool_use\",\"part\":{\"tool\":\"t\"}}\n".repeat(5_000);
    let errors = "{\"type\":\"error\",\"error\":{\"name\":\"e\"}}\n".repeat(500);
    let text = format!("{deep}\n{long}\n{tools}{errors}\u{0}\n");
    let report: Report = adapter("opencode").read(text.as_bytes());
    assert_eq!((report.unread, report.tool_uses, report.tools.len()), (2, 5_000, 1_000));
    assert!(report.text.len() <= 64 << 10 && !report.text.is_empty());
    assert!(report.errors.len() <= 16);
}

proptest::proptest! {
    #[test]
    fn whatever_is_printed_is_read_without_failing(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), at in 0usize..900) {
        for (name, [worked, ..]) in OUTPUTS {
            let mut damaged = worked.to_vec();
            let at = at.min(damaged.len());
            let end = (at + bytes.len()).min(damaged.len());
            damaged.splice(at..end, bytes.iter().copied());
            let outcome = adapter(name).read(&damaged).outcome(Some(1));
            proptest::prop_assert_ne!(outcome, Outcome::Finished);
        }
    }
}
