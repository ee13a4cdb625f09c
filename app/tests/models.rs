//! An agent asks its model through the model door: it holds no key, every call is metered against its budget, and every tool call the
//! model asks for is decided before the agent sees it (A5, E3, ATTACKS 1.1). The model is scripted; not run against real services.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::io::Write as _;
use std::process::Stdio;

use common::{Said, Scene, agent};
use selvedge_scripted::{Script, Server, Turn, Usage};
use serde_json::{Value, json};

/// Where the vendor is, for the factory.
const HOST: &str = "models.example";

/// The vendor's key, which no agent has.
const KEY: &str = "sk-scripted-0123456789abcdef";

/// What the scripted model costs: one unit for a million tokens read, five for a million written.
const PRICE: &str = "price = [{ of = \"scripted-1\", input = 1.0, cached = 0.1, output = 5.0 }]";

/// A client of each protocol that is not one of an agent: a shell and curl.
fn ask(path: &str, body: &Value) -> String {
    format!(
        "curl -sS -o answer.json -w '%{{http_code}}\\n' -H 'content-type: application/json' -H 'anthropic-version: 2023-06-01' \
         -d '{body}' \"$SELVEDGE_MODEL_URL{path}\"; cat answer.json; rm answer.json; echo"
    )
}

/// A factory whose agent `asker` has a model that answers by the script, and `budget` millionths to spend.
fn scene(server: &Server, protocol: &str, header: &str, budget: u64) -> Scene {
    let scene = Scene::ready();
    scene.configure(
        "checks = [\"sh tests/run.sh\"]",
        &format!(
            "{}model = \"main\"\nbudget = {budget}\n\
             [model.main]\nupstream = \"https://{HOST}\"\nprotocols = [\"{protocol}\"]\ncredential = \"vendor\"\n{PRICE}\n\
             [credential.vendor]\nkind = \"static\"\nowner = \"team-api@example.org\"\nuses = [\"POST https://{HOST}/\"]\n{header}\n\
             [danger.addresses.\"{HOST}\"]\nallow = [\"127.0.0.1\"]\nplain_port = {}\n",
            agent("asker", "draft"),
            server.address().port()
        ),
    );
    let mut child = scene.command(&["credentials", "store", "vendor"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{KEY}\n").as_bytes()).unwrap();
    Said::of(&child.wait_with_output().unwrap()).ok();
    let path = scene.state().join("policies/guardrails.cedar");
    let text = std::fs::read_to_string(&path).unwrap();
    let guard = "unless { context.approved };";
    let unasked = "unless { context.approved || resource == Credential::\"vendor\" };";
    let (before, after) = text.split_once("@id(\"guard.secret-needs-approval\")").unwrap();
    std::fs::write(&path, format!("{before}@id(\"guard.secret-needs-approval\"){}", after.replacen(guard, unasked, 1)))
        .unwrap();
    scene
}

/// Forbids a tool by its name, as an operator would.
fn forbid(scene: &Scene, tool: &str) {
    let policy = format!(
        "@id(\"test.no-tool\")\n@owner(\"tests\")\n@next_step(\"write the file instead\")\nforbid (principal, action == Action::\"tool.call\", resource)\nwhen {{ context.order.tool == \"{tool}\" }};\n"
    );
    std::fs::write(scene.state().join("policies/more.cedar"), policy).unwrap();
}

fn work(scene: &Scene, script: &str) -> Value {
    scene.run(&["run", "--agent", "asker", "--wait", "--json", script]).document()["runs"][0].clone()
}

/// What the run's program printed.
fn printed(scene: &Scene, run: &Value) -> String {
    scene.run(&["output", run["run"].as_str().unwrap()]).ok().out
}

fn deeds(scene: &Scene, run: &Value, verb: &str) -> Vec<Value> {
    let log = scene.json(&["show", run["run"].as_str().unwrap()]);
    let entries = log["entries"].as_array().unwrap().clone();
    entries.into_iter().filter(|entry| entry.to_string().contains(verb)).collect()
}

#[test]
fn of_three_calls_in_one_turn_the_forbidden_one_is_denied_and_the_model_is_told_e3() {
    let called = Turn::new()
        .text("Three things.")
        .call("Read", json!({ "file_path": "src/greeting" }))
        .call("Bash", json!({ "command": "cat /etc/shadow" }))
        .call("Write", json!({ "file_path": "out", "content": "x" }))
        .costs(Usage { input: 2_000, output: 100, ..Usage::default() });
    let ended = Turn::new().text("I was told.").told("denied", Turn::new().text("Nobody told me."));
    let server = Server::start(Script::new(KEY).turn(called).turn(ended)).unwrap();
    let scene = scene(&server, "anthropic-messages", "header = \"x-api-key\"\nscheme = \"plain\"", 10_000_000);
    forbid(&scene, "Bash");
    let tools: Vec<Value> = ["Read", "Bash", "Write"]
        .iter()
        .map(|name| json!({ "name": name, "input_schema": { "type": "object" } }))
        .collect();
    let first = json!({
        "model": "scripted-1", "max_tokens": 1000, "tools": tools,
        "messages": [{ "role": "user", "content": "do three things" }],
    });
    let run = work(&scene, &ask("/v1/messages", &first));
    let out = printed(&scene, &run);
    assert!(out.contains("200"), "{out} {run} {}", scene.json(&["show", run["run"].as_str().unwrap()]));
    let answer: Value = serde_json::from_str(out.lines().find(|line| line.starts_with('{')).unwrap()).unwrap();
    let content = answer["content"].as_array().unwrap();
    let names: Vec<&str> = content.iter().filter_map(|block| block["name"].as_str()).collect();
    assert_eq!((names[0], names[2]), ("Read", "Write"), "{answer}");
    assert!(names[1].starts_with("selvedge_denied_"), "{answer}");
    assert!(!out.contains("/etc/shadow"), "the agent's program never had the call: {out}");
    assert!(!out.contains(KEY));
    let decided = deeds(&scene, &run, "tool.call");
    assert!(decided.iter().any(|entry| entry.to_string().contains("test.no-tool")), "{decided:?}");
    let settled = deeds(&scene, &run, "model.call");
    assert!(!settled.is_empty());
    assert_eq!(server.totals().tokens, Usage { input: 2_000, output: 100, ..Usage::default() });
}
