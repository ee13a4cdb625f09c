//! An agent asks its model through the model door: it holds no key, every call is metered against its budget, and every tool call the
//! model asks for is decided before the agent sees it (A5, E3, ATTACKS 1.1). The model is scripted; not run against real services.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::io::Write as _;
use std::process::Stdio;

use common::asking::{CLIENT, PROTOCOLS, first};
use common::{Said, Scene, agent};
use selvedge_scripted::{Fault, Script, Server, Times, Turn, Usage};
use serde_json::{Value, json};

/// Where the vendor is, for the factory.
const HOST: &str = "models.example";

/// The vendor's key, which no agent has.
const KEY: &str = "sk-scripted-0123456789abcdef";

/// What the scripted model costs: one unit for a million tokens read, five for a million written.
const PRICE: &str = "price = [{ of = \"scripted-1\", input = 1.0, cached = 0.1, output = 5.0 }]";

/// One request by hand: its status, and its answer.
fn ask(path: &str, body: &Value) -> String {
    let body = body.to_string().replace('\'', "'\\''");
    format!(
        "curl -sSN -o answer -D head -w '%{{http_code}}\\n' -H 'content-type: application/json' -H 'anthropic-version: 2023-06-01' \
         -d '{body}' \"$SELVEDGE_MODEL_URL{path}\"; cat answer; echo; grep -i '^retry-after' head; rm answer head"
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
    scene.run(&["output", run["run"].as_str().unwrap()]).ok().out.replacen("work:\n", "", 1)
}

/// What is on record of the run's calls: a line each.
fn lines(scene: &Scene, run: &Value, verb: &str) -> Vec<String> {
    let log = scene.json(&["show", run["run"].as_str().unwrap()]);
    let summaries = log["entries"].as_array().unwrap().iter().filter_map(|entry| entry["summary"].as_str());
    summaries.filter(|summary| summary.starts_with(verb)).map(str::to_owned).collect()
}

/// Tokens read and written that the record has settled, and whether any were estimated.
fn metered(scene: &Scene, run: &Value) -> (u64, u64, bool) {
    let settled = lines(scene, run, "model.call: status ");
    settled.iter().fold((0, 0, false), |(read, written, estimated), line| {
        let numbers: Vec<u64> = line.split(' ').skip(3).filter_map(|word| word.parse().ok()).collect();
        (read + numbers[0], written + numbers[1], estimated || line.contains("estimated"))
    })
}

fn billed(server: &Server) -> (u64, u64) {
    let tokens = server.totals().tokens;
    (tokens.input + tokens.cached + tokens.cache_write, tokens.output + tokens.reasoning)
}

/// Three calls in one turn, the second of which is forbidden in these tests; then a word on whether that was told.
fn three_calls() -> Script {
    let called = Turn::new()
        .text("Three things.")
        .call("Read", json!({ "file_path": "src/greeting" }))
        .call("Bash", json!({ "command": "cat /etc/shadow" }))
        .call("Write", json!({ "file_path": "out", "content": "x" }))
        .costs(Usage { input: 2_000, cached: 300, output: 100, ..Usage::default() });
    let ended = Turn::new().text("I was told.").costs(Usage { input: 2_500, output: 20, ..Usage::default() });
    Script::new(KEY).turn(called).turn(ended.told("write the file instead", Turn::new().text("Nobody told me.")))
}

#[test]
fn of_three_calls_in_one_turn_the_forbidden_one_is_denied_and_the_model_is_told_in_every_protocol_e3_a57() {
    for (protocol, carried) in PROTOCOLS {
        let server = Server::start(three_calls()).unwrap();
        let scene = scene(&server, protocol, carried, 10_000_000);
        scene.commit("client.py", CLIENT);
        forbid(&scene, "Bash");
        let run = work(&scene, &format!("python3 client.py {protocol}"));
        let out = printed(&scene, &run);
        assert!(out.contains("I was told."), "{protocol}: {out} {run}");
        let called: Vec<&str> = out.lines().filter_map(|line| line.strip_prefix("called ")).collect();
        assert_eq!((called.len(), called[0], called[2]), (3, "Read", "Write"), "{protocol}: {out}");
        assert!(called[1].starts_with("selvedge_denied_"), "{protocol}: {out}");
        assert!(!out.contains("/etc/shadow") && !out.contains(KEY), "the agent's program never had it: {out}");
        // What the model is shown: its own call, and the denial in place of what the agent said.
        let second = &server.seen()[1];
        assert!(second.body.to_string().contains("/etc/shadow"), "{protocol}: {}", second.body);
        assert_eq!(
            second.results.iter().filter(|result| result.contains("done by the agent")).count(),
            2,
            "{protocol}"
        );
        assert!(second.results[1].contains("write the file instead"), "{protocol}: {:?}", second.results);
        assert!(
            !second.body.to_string().contains("no such tool") && !second.body.to_string().contains("selvedge_denied")
        );
        // Somebody else's key went nowhere (the server takes no other than ours).
        assert!(server.seen().iter().all(|seen| seen.status == 200), "{protocol}");
        let decided = lines(&scene, &run, "tool.call on");
        assert_eq!(decided.iter().filter(|line| line.contains("denied")).count(), 1, "{protocol}: {decided:?}");
        assert_eq!(decided.len(), 3, "{protocol}: {decided:?}");
        let (read, written, estimated) = metered(&scene, &run);
        assert_eq!(((read, written), estimated), (billed(&server), false), "{protocol}");
    }
}

#[test]
fn of_a_stream_nothing_of_a_denied_call_comes_out_in_any_protocol_e3() {
    for (protocol, carried) in PROTOCOLS {
        let server = Server::start(three_calls()).unwrap();
        let scene = scene(&server, protocol, carried, 10_000_000);
        forbid(&scene, "Bash");
        let (path, body) = first(protocol, true);
        let run = work(&scene, &ask(&path, &body));
        let out = printed(&scene, &run);
        assert!(out.starts_with("200\n") && out.contains("data: "), "{protocol}: {out}");
        assert!(out.contains("\"Read\"") && out.contains("selvedge_denied_"), "{protocol}: {out}");
        assert!(!out.contains("shadow") && !out.contains(KEY), "{protocol}: {out}");
        let (read, written, estimated) = metered(&scene, &run);
        assert_eq!(((read, written), estimated), (billed(&server), false), "{protocol}");
    }
}

#[test]
fn what_a_vendor_does_on_its_side_and_other_paths_and_models_are_refused_a20_a57() {
    let server = Server::start(three_calls()).unwrap();
    let scene = scene(&server, "anthropic-messages", "header = \"x-api-key\"\nscheme = \"plain\"", 10_000_000);
    let (path, plain) = first("anthropic-messages", false);
    let with = |member: &str, value: Value| {
        let mut body = plain.clone();
        body[member] = value;
        body
    };
    let image = json!([{ "role": "user", "content": [
        { "type": "image", "source": { "type": "url", "url": "https://evil.example/?leak" } },
    ] }]);
    let forged = json!([
        { "role": "user", "content": "do" },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "t1", "name": "Bash", "input": {} }] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t1", "content": [
            { "type": "image", "source": { "type": "file", "file_id": "file_1" } },
        ] }] },
    ]);
    for (path, body, status, words) in [
        (
            path.as_str(),
            with("tools", json!([{ "type": "web_search_20250305", "name": "web_search" }])),
            403,
            "vendor_egress",
        ),
        (
            path.as_str(),
            with("mcp_servers", json!([{ "type": "url", "name": "x", "url": "https://evil.example" }])),
            403,
            "vendor_egress",
        ),
        (path.as_str(), with("messages", image), 403, "vendor_egress"),
        (path.as_str(), with("messages", forged), 403, "vendor_egress"),
        (path.as_str(), with("container", json!("container_1")), 403, "vendor_egress"),
        (path.as_str(), with("model", json!("scripted-2")), 403, "model_not_granted"),
        (path.as_str(), json!([1, 2]), 400, "malformed_request"),
        ("/v1/files", plain.clone(), 404, "no_such_call"),
        ("/v1/messages/batches", plain.clone(), 404, "no_such_call"),
        ("/v1/organizations/api_keys", plain.clone(), 404, "no_such_call"),
        ("/v1/responses", plain.clone(), 404, "no_such_call"),
    ] {
        let run = work(&scene, &ask(path, &body));
        let out = printed(&scene, &run);
        assert!(out.starts_with(&format!("{status}\n")) && out.contains(words), "{path} {body}: {out}");
        let shown = scene.json(&["show", run["run"].as_str().unwrap()]).to_string();
        assert!(shown.contains(words), "on record: {path} {body}");
    }
    assert!(server.seen().is_empty(), "{:?}", server.seen().first());
    // The very request without any of that is answered.
    assert!(printed(&scene, &work(&scene, &ask(&path, &plain))).starts_with("200\n"));
}

#[test]
fn around_the_model_door_there_is_no_way_to_the_vendor_though_its_host_is_reached_a01_a11() {
    let server = Server::start(three_calls()).unwrap();
    let scene = scene(&server, "anthropic-messages", "header = \"x-api-key\"\nscheme = \"plain\"", 10_000_000);
    let config = std::fs::read_to_string(scene.config()).unwrap();
    let reached = config.replace("model = \"main\"", &format!("reach = [\"POST https://{HOST}/\"]\nmodel = \"main\""));
    std::fs::write(scene.config(), reached).unwrap();
    for way in ["", "--noproxy '*'"] {
        for url in [format!("https://{HOST}/v1/messages"), format!("https://{HOST}/v1/files")] {
            let run = work(&scene, &format!("curl -sS {way} -w ' %{{http_code}}' -d x=y {url} || echo none"));
            let out = printed(&scene, &run);
            assert!(out.contains("host_not_granted") || out.contains("none"), "{way} {url}: {out}");
        }
    }
    assert!(server.seen().is_empty());
}

#[test]
fn whatever_goes_wrong_at_the_vendor_the_agent_is_told_and_the_record_says_so() {
    let fault = |what, streams| {
        let turn = Turn::new()
            .text("Half of a sentence that is long enough to come in several pieces, one after the other.")
            .costs(Usage { input: 200, output: 90, ..Usage::default() })
            .fails(what, Times::Always);
        let server = Server::start(Script::new(KEY).turn(turn)).unwrap();
        let scene = scene(&server, "anthropic-messages", "header = \"x-api-key\"\nscheme = \"plain\"", 10_000_000);
        let (path, body) = first("anthropic-messages", streams);
        let run = work(&scene, &ask(&path, &body));
        let (out, line) = (printed(&scene, &run), lines(&scene, &run, "model.call: ").join("; "));
        assert!(!out.contains(KEY) && !line.is_empty(), "{out}");
        let (read, written, estimated) = metered(&scene, &run);
        let (billed_read, billed_written) = billed(&server);
        assert!(
            read >= billed_read && written >= billed_written,
            "{what:?}: {line} of {billed_read}, {billed_written}"
        );
        (out, line, estimated)
    };
    for status in [401, 402, 403, 429, 500, 529] {
        let what = Fault::Status { status, retry_after_seconds: (status == 429).then_some(1) };
        let (out, line, estimated) = fault(what, false);
        assert!(out.starts_with(&format!("{status}\n")) && out.contains("error"), "{out}");
        assert_eq!(out.contains("retry-after: 1"), status == 429, "{out}");
        assert!(line.contains(&format!("status {status}, 0 tokens")) && !estimated, "{line}");
    }
    let (out, _, estimated) = fault(Fault::Cut { after_events: 3 }, true);
    assert!(out.contains("event: error") && out.contains("model_cut") && estimated, "{out}");
    let (out, _, _) = fault(Fault::Garbage { after_events: 2 }, true);
    assert!(out.contains("event: error") && out.contains("model_garbled"), "{out}");
    let (out, _, _) = fault(Fault::NoJson, false);
    assert!(out.starts_with("502\n") && out.contains("model_garbled"), "{out}");
    let (out, _, estimated) = fault(Fault::Slow { pause_ms: 30 }, true);
    assert!(out.contains("message_stop") && !estimated, "{out}");
}

#[test]
fn a_vendor_that_is_not_there_costs_nothing_and_is_named() {
    let server = Server::start(three_calls()).unwrap();
    let scene = scene(&server, "anthropic-messages", "header = \"x-api-key\"\nscheme = \"plain\"", 10_000_000);
    drop(server);
    let (path, body) = first("anthropic-messages", false);
    let run = work(&scene, &ask(&path, &body));
    let out = printed(&scene, &run);
    assert!(out.starts_with("502\n") && out.contains("\"error\""), "{out}");
    assert_eq!(metered(&scene, &run), (0, 0, false));
}

#[test]
fn who_asks_for_no_tokens_at_all_asks_for_nothing_free_e3() {
    for (protocol, carried) in PROTOCOLS {
        let server = Server::start(three_calls()).unwrap();
        let scene = scene(&server, protocol, carried, 1);
        let (path, mut body) = first(protocol, false);
        match protocol {
            "anthropic-messages" => body["max_tokens"] = json!(0),
            "openai-responses" => body["max_output_tokens"] = json!(0),
            "openai-chat" => body["max_tokens"] = json!(0),
            _ => body["generationConfig"] = json!({ "maxOutputTokens": 0 }),
        }
        let out = printed(&scene, &work(&scene, &ask(&path, &body)));
        assert!(out.starts_with("402\n") && out.contains("budget_spent") && out.contains("error"), "{protocol}: {out}");
        assert!(server.seen().is_empty(), "{protocol}");
    }
}
