//! Adapters: how each agent is called, word for word, and what its real output is read as. The outputs in `data/agents` were written
//! by the pinned versions of the agents, each asked to make a file, against a model server that was scripted.

#![expect(clippy::unwrap_used, reason = "a test may be blunt")]

use selvedge_workers::agents::{Adapter, Furnishing, Job, Outcome, Report, Tokens};

const JOB: Job<'_> = Job {
    hooks: None,
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
const OUTPUTS: [(&str, [&[u8]; 4]); 5] = [
    ("claude-code", outputs!("claude_code")),
    ("codex", outputs!("codex")),
    ("opencode", outputs!("opencode")),
    ("gemini-cli", outputs!("gemini_cli")),
    ("qwen-code", outputs!("qwen_code")),
];

macro_rules! told {
    ($agent:literal) => {
        [output!($agent, "worked"), output!($agent, "said_only"), output!($agent, "budget_spent")]
    };
}

/// The same of the agents that a script of ours starts.
const TOLD: [(&str, [&[u8]; 3]); 2] = [("mini-swe-agent", told!("mini_swe_agent")), ("aider", told!("aider"))];

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
    let by_acp = |adapter: &&Adapter| Some((format!("{}-acp", adapter.name), adapter.furnish_for_acp(&JOB, "x86_64")?));
    let by_acp: Vec<_> = Adapter::ALL.iter().filter_map(by_acp).collect();
    let spoken: Vec<_> =
        Adapter::ALL.iter().filter(|adapter| adapter.speaks_acp()).map(|adapter| adapter.name).collect();
    assert_eq!(spoken, ["opencode", "gemini-cli", "qwen-code"]);
    let alone = Adapter::ALL.map(|adapter| (adapter.name.to_owned(), adapter.furnish(&JOB, "x86_64").unwrap()));
    for (name, furnishing) in alone.into_iter().chain(by_acp) {
        let path = format!("{}/tests/data/agents/{name}.golden", env!("CARGO_MANIFEST_DIR"));
        let now = shown(&furnishing);
        if std::env::var_os("SELVEDGE_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, &now).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), now, "{path}");
        // The task comes by the protocol.
        assert!(!name.ends_with("-acp") || !now.contains("help"), "{now}");
    }
}

#[test]
fn a_task_never_becomes_an_option_and_never_reaches_a_setting_a_02() {
    for adapter in Adapter::ALL {
        let furnishing = adapter.furnish(&JOB, "x86_64").unwrap();
        let last = furnishing.argv.len() - 1;
        // Behind the end of all options, or in one word with its own.
        let at = match furnishing.argv[last] == format!("--prompt={}", JOB.prompt) {
            true => last,
            false => furnishing.argv.iter().position(|word| word == "--").unwrap(),
        };
        assert!(at == last || furnishing.argv[at + 1..] == [JOB.prompt], "{}", adapter.name);
        let installed = format!("/opt/agents/{}", adapter.name);
        assert!(furnishing.argv.iter().any(|word| word.starts_with(&installed)), "{:?}", furnishing.argv);
        let rest = shown(&Furnishing { argv: furnishing.argv[..at].to_vec(), ..furnishing.clone() });
        assert!(!rest.contains(JOB.prompt), "{rest}");
        // What hooks or project settings could switch off stays out of reach of the repository and of the agent.
        assert!(furnishing.files.iter().all(|file| file.path.starts_with("/etc/")), "{:?}", furnishing.files);
    }
    // What runs as Python runs wherever its packages are.
    let native = Adapter::ALL.into_iter().filter(|adapter| adapter.pin.manager == "npm");
    assert!(native.into_iter().all(|adapter| adapter.furnish(&JOB, "vax").is_none()));
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
    for (name, path) in [("gemini-cli", "/etc/gemini-cli/settings.json"), ("qwen-code", "/etc/qwen-code/settings.json")]
    {
        let furnishing = furnished(name);
        let settings = laid(&furnishing, path);
        assert_eq!(settings["mcpServers"], serde_json::json!({ "tracker": { "httpUrl": url } }), "{name}");
        assert_eq!(settings["mcp"]["allowed"], serde_json::json!(["tracker"]), "{name}");
        let unproxied = ("NO_PROXY".to_owned(), "model.selvedge.internal,tools.selvedge.internal".to_owned());
        assert!(furnishing.env.contains(&unproxied), "{name}: {:?}", furnishing.env);
        let alone = adapter(name).furnish(&JOB, "x86_64").unwrap();
        assert_eq!(laid(&alone, path)["mcp"]["allowed"], serde_json::json!(["none"]), "an empty list allows all");
    }
}

#[test]
fn what_each_agent_calls_a_tool_of_a_server_is_known_d3() {
    let called = |agent: &str| {
        let ways = adapter(agent).calls.iter();
        ways.map(|way| way.of("tracker", "issues.list/all")).collect::<Vec<_>>()
    };
    for agent in ["claude-code", "codex", "qwen-code"] {
        assert_eq!(called(agent), ["mcp__tracker__issues_list_all"], "{agent}");
    }
    assert_eq!(called("gemini-cli"), ["mcp_tracker_issues_list_all"]);
    assert_eq!(called("opencode"), ["tracker_issues_list_all", "mcp__tracker__issues_list_all"]);
    assert!(called("aider").is_empty(), "it has no tools");
}

#[test]
fn work_that_was_done_is_read_as_done_with_what_it_used() {
    let tools = ["Bash", "command_execution", "bash", "run_shell_command", "run_shell_command"];
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
        let nothing = adapter(name).read(did_nothing).outcome(Some(0));
        // Some take an answer without a word for an error.
        let told = matches!(&nothing, Outcome::Failed { because } if because.contains("empty response"));
        assert!(told || nothing == Outcome::Idle, "{name}: {nothing:?}");
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
            let spent = ["budget is spent", "402"].iter().any(|word| because.contains(word));
            assert!(spent, "{name}: {because}");
        }
    }
}

#[test]
fn an_output_that_is_cut_short_is_never_success() {
    let told = TOLD.map(|(name, [worked, ..])| (name, worked));
    for (name, worked) in OUTPUTS.map(|(name, [worked, ..])| (name, worked)).into_iter().chain(told) {
        for end in 0..worked.len() - 2 {
            let outcome = adapter(name).read(&worked[..end]).outcome(Some(0));
            assert_ne!(outcome, Outcome::Finished, "{name} at {end}");
        }
    }
}

#[test]
fn what_a_script_of_ours_tells_is_read() {
    let tools = [["bash", "selvedge_denied_1", "bash"].as_slice(), ["edit"].as_slice()];
    let tokens = [Tokens { input: 2000, cached: 0, output: 100 }, Tokens { input: 1000, cached: 0, output: 50 }];
    for (((name, [worked, said_only, budget_spent]), tools), tokens) in TOLD.into_iter().zip(tools).zip(tokens) {
        let report = adapter(name).read(worked);
        assert_eq!(report.outcome(Some(0)), Outcome::Finished, "{name}: {report:?}");
        assert_eq!(
            (report.tools.iter().map(String::as_str).collect::<Vec<_>>(), report.tokens),
            (tools.to_vec(), tokens)
        );
        assert_eq!(report.unread, 0, "{name}");
        let said = adapter(name).read(said_only).outcome(Some(0));
        match name {
            // It is done when it says so in its shell, and only then.
            "mini-swe-agent" => {
                assert_eq!(said, Outcome::Failed { because: "it ended with RepeatedFormatError".to_owned() });
            }
            _ => assert_eq!(said, Outcome::Finished, "{name}"),
        }
        let spent = adapter(name).read(budget_spent).outcome(Some(0));
        assert!(
            matches!(&spent, Outcome::Failed { because } if because.contains("budget is spent")),
            "{name}: {spent:?}"
        );
    }
}

#[test]
fn packages_are_fetched_in_exact_versions_and_nothing_of_them_runs_a111() {
    for adapter in Adapter::ALL {
        let fetching = adapter.fetch("/install", Some("https://mirror.example/"), "x86_64").unwrap();
        let has = |word: &str| fetching.argv.iter().any(|there| there == word);
        let (manager, list) = (adapter.pin.manager, fetching.files.first());
        match (manager, list) {
            ("npm", None) => {
                let from = ("npm_config_registry".to_owned(), "https://mirror.example/".to_owned());
                assert!(has("--ignore-scripts") && fetching.env.contains(&from), "{fetching:?}");
                assert!(has(&format!("{}@{}", adapter.pin.package, adapter.pin.version)), "{fetching:?}");
            }
            ("pypi", Some(list)) => {
                for word in ["--require-hashes", "--no-deps", "--no-compile", "--only-binary", ":all:"] {
                    assert!(has(word), "{word} in {fetching:?}");
                }
                assert!(has("https://mirror.example/"), "{fetching:?}");
                assert!(list.text.contains(&format!("{}=={}", adapter.pin.package, adapter.pin.version)));
                let listed: Vec<&str> = list.text.split("\n").filter(|line| !line.starts_with(' ')).collect();
                assert!(listed.iter().all(|line| line.is_empty() || (line.contains("==") && line.ends_with('\\'))));
            }
            other => panic!("{}: {other:?}", adapter.name),
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
