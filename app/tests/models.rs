//! An agent asks its model through the model door: it holds no key, every call is metered against its budget, and every tool call the
//! model asks for is decided before the agent sees it (A5, E3, ATTACKS 1.1). The model is scripted; not run against real services.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use common::asking::{CLIENT, PROTOCOLS, first};
use common::models::{Asker, HOST, KEY, ask, billed, cost};
use common::{Scene, text};
use selvedge_scripted::{Fault, Script, Server, Times, Turn, Usage};
use serde_json::{Value, json};

/// The run of the agent that this script comes to, and what it printed.
fn work(scene: &Scene, script: &str) -> (String, String) {
    let run = scene.work("asker", script);
    let run = text(&run, "run");
    (run.to_owned(), scene.printed(run))
}

/// Nobody runs a shell, and whoever asks hears what to do instead.
fn forbid_bash(scene: &Scene) {
    scene.forbid("tool.call", "context.order.tool == \"Bash\"", "write the file instead");
}

/// Three calls in one turn, the second of which is forbidden in these tests; then a word on whether that was told.
fn three_calls() -> Script {
    let called = Turn::new()
        .text("Three things.")
        .call("Read", json!({ "file_path": "src/greeting" }))
        .call("Bash", json!({ "command": "cat /etc/shadow" }))
        .call("Write", json!({ "file_path": "out", "content": "x" }))
        .costs(Usage { input: 2_000, cached: 300, output: 100, ..Usage::default() });
    let ended = Turn::new().text("I was told.").costs(cost(2_500, 20));
    Script::new(KEY).turn(called).turn(ended.told("write the file instead", Turn::new().text("Nobody told me.")))
}

#[test]
fn of_three_calls_in_one_turn_the_forbidden_one_is_denied_and_the_model_is_told_in_every_protocol_e3_a57() {
    for (protocol, _) in PROTOCOLS {
        let server = Server::start(three_calls()).unwrap();
        let scene = Asker::of(&server).speaks(protocol).scene();
        scene.commit("client.py", CLIENT);
        forbid_bash(&scene);
        let (run, out) = work(&scene, &format!("python3 client.py {protocol}"));
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
        assert_eq!(scene.verdicts(&run, "tool.call"), ["allow", "deny", "allow"], "{protocol}");
        assert_eq!(scene.metered(&run), (billed(&server), (0, 0)), "{protocol}");
    }
}

#[test]
fn of_a_stream_nothing_of_a_denied_call_comes_out_in_any_protocol_e3() {
    for (protocol, _) in PROTOCOLS {
        let server = Server::start(three_calls()).unwrap();
        let scene = Asker::of(&server).speaks(protocol).scene();
        forbid_bash(&scene);
        let (path, body) = first(protocol, true);
        let (run, out) = work(&scene, &ask((path, &body)));
        assert!(out.contains("\nstatus 200\n") && out.contains("data: "), "{protocol}: {out}");
        assert!(out.contains("\"Read\"") && out.contains("selvedge_denied_"), "{protocol}: {out}");
        assert!(!out.contains("shadow") && !out.contains(KEY), "{protocol}: {out}");
        assert_eq!(scene.metered(&run), (billed(&server), (0, 0)), "{protocol}");
    }
}

#[test]
fn what_a_vendor_does_on_its_side_and_other_paths_and_models_are_refused_a20_a57() {
    let server = Server::start(three_calls()).unwrap();
    let scene = Asker::of(&server).scene();
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
        let (run, out) = work(&scene, &ask((path, &body)));
        assert!(out.contains(&format!("\nstatus {status}\n")) && out.contains(words), "{path} {body}: {out}");
        let shown = scene.json(&["show", &run]).to_string();
        assert!(shown.contains(words), "on record: {path} {body}");
    }
    assert!(server.seen().is_empty(), "{:?}", server.seen().first());
    // The very request without any of that is answered.
    assert!(work(&scene, &ask((&path, &plain))).1.contains("\nstatus 200\n"));
}

#[test]
fn around_the_model_door_there_is_no_way_to_the_vendor_though_its_host_is_reached_a01_a11() {
    let server = Server::start(three_calls()).unwrap();
    let scene = Asker::of(&server).scene();
    let config = std::fs::read_to_string(scene.config()).unwrap();
    let reached = config.replace("model = \"main\"", &format!("reach = [\"POST https://{HOST}/\"]\nmodel = \"main\""));
    std::fs::write(scene.config(), reached).unwrap();
    for way in ["", "--noproxy '*'"] {
        for url in [format!("https://{HOST}/v1/messages"), format!("https://{HOST}/v1/files")] {
            let (_, out) = work(&scene, &format!("curl -sS {way} -w ' %{{http_code}}' -d x=y {url} || echo none"));
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
            .costs(cost(200, 90))
            .fails(what, Times::Always);
        let server = Server::start(Script::new(KEY).turn(turn)).unwrap();
        let scene = Asker::of(&server).scene();
        let (path, body) = first("anthropic-messages", streams);
        let (run, out) = work(&scene, &format!("{} -i", ask((path, &body))));
        let line = scene.lines(&run, "model.call: ").join("; ");
        let is_estimated = line.contains("estimated");
        assert!(!out.contains(KEY) && !line.is_empty(), "{out}");
        let (counted, estimated) = scene.metered(&run);
        let bill = billed(&server);
        assert!(counted.0 + estimated.0 >= bill.0 && counted.1 + estimated.1 >= bill.1, "{what:?}: {line} of {bill:?}");
        (out, line, is_estimated)
    };
    for status in [401, 402, 403, 429, 500, 529] {
        let what = Fault::Status { status, retry_after_seconds: (status == 429).then_some(1) };
        let (out, line, estimated) = fault(what, false);
        assert!(out.contains(&format!("\nstatus {status}\n")) && out.contains("error"), "{out}");
        assert_eq!(out.contains("retry-after: 1"), status == 429, "{out}");
        assert!(line.contains(&format!("status {status}, 0 tokens")) && !estimated, "{line}");
    }
    let (out, _, estimated) = fault(Fault::Cut { after_events: 3 }, true);
    assert!(out.contains("event: error") && out.contains("model_cut") && estimated, "{out}");
    let (out, _, _) = fault(Fault::Garbage { after_events: 2 }, true);
    assert!(out.contains("event: error") && out.contains("model_garbled"), "{out}");
    let (out, _, _) = fault(Fault::NoJson, false);
    assert!(out.contains("\nstatus 502\n") && out.contains("model_garbled"), "{out}");
    let (out, _, estimated) = fault(Fault::Slow { pause_ms: 30 }, true);
    assert!(out.contains("message_stop") && !estimated, "{out}");
}

#[test]
fn a_vendor_that_is_not_there_costs_nothing_and_is_named() {
    let server = Server::start(three_calls()).unwrap();
    let scene = Asker::of(&server).scene();
    drop(server);
    let (path, body) = first("anthropic-messages", false);
    let (run, out) = work(&scene, &ask((path, &body)));
    assert!(out.contains("\nstatus 502\n") && out.contains("\"error\""), "{out}");
    assert_eq!(scene.metered(&run), ((0, 0), (0, 0)));
}

#[test]
fn who_asks_for_no_tokens_at_all_asks_for_nothing_free_e3() {
    for (protocol, _) in PROTOCOLS {
        let server = Server::start(three_calls()).unwrap();
        let scene = Asker::of(&server).speaks(protocol).may_spend(1).scene();
        let (path, mut body) = first(protocol, false);
        match protocol {
            "anthropic-messages" => body["max_tokens"] = json!(0),
            "openai-responses" => body["max_output_tokens"] = json!(0),
            "openai-chat" => body["max_tokens"] = json!(0),
            _ => body["generationConfig"] = json!({ "maxOutputTokens": 0 }),
        }
        let (_, out) = work(&scene, &ask((path, &body)));
        assert!(out.contains("\nstatus 402\n") && out.contains("budget_spent"), "{protocol}: {out}");
        assert!(out.contains("error"), "{protocol}: {out}");
        assert!(server.seen().is_empty(), "{protocol}");
    }
}

/// Who runs a model, as an operator writes it, and where it is asked then: in one piece, and as a stream.
struct Host {
    protocol: &'static str,
    /// What stands behind the host's name.
    path: &'static str,
    hosting: &'static str,
    /// Where its key is good.
    beneath: &'static str,
    carried: &'static str,
    asked: [&'static str; 2],
}

const API_KEY: &str = "header = \"api-key\"\nscheme = \"plain\"";

const HOSTS: [Host; 5] = [
    Host {
        protocol: "anthropic-messages",
        path: "",
        hosting: "hosting = \"bedrock\"\ncalled = { \"scripted-1\" = \"eu.anthropic.scripted-v1:0\" }",
        beneath: "/model",
        carried: "",
        asked: [
            "/model/eu.anthropic.scripted-v1%3A0/invoke",
            "/model/eu.anthropic.scripted-v1%3A0/invoke-with-response-stream",
        ],
    },
    Host {
        protocol: "anthropic-messages",
        path: "/v1/projects/p/locations/eu",
        hosting: "hosting = \"vertex\"\ncalled = { \"scripted-1\" = \"scripted@20250929\" }",
        beneath: "/v1/projects/p/locations/eu/publishers",
        carried: "",
        asked: [
            "/v1/projects/p/locations/eu/publishers/anthropic/models/scripted@20250929:rawPredict",
            "/v1/projects/p/locations/eu/publishers/anthropic/models/scripted@20250929:streamRawPredict",
        ],
    },
    Host {
        protocol: "gemini",
        path: "/v1/projects/p/locations/eu",
        hosting: "hosting = \"vertex\"",
        beneath: "/v1/projects/p/locations/eu/publishers",
        carried: "",
        asked: [
            "/v1/projects/p/locations/eu/publishers/google/models/scripted-1:generateContent",
            "/v1/projects/p/locations/eu/publishers/google/models/scripted-1:streamGenerateContent",
        ],
    },
    Host {
        protocol: "openai-chat",
        path: "/openai",
        hosting: "hosting = \"azure\"\napi_version = \"2024-10-21\"\ncalled = { \"scripted-1\" = \"mine\" }",
        beneath: "/openai/deployments",
        carried: API_KEY,
        asked: ["/openai/deployments/mine/chat/completions"; 2],
    },
    // Azure's later API is the vendor's own; a deployment is what its body calls the model.
    Host {
        protocol: "openai-responses",
        path: "/openai",
        hosting: "called = { \"scripted-1\" = \"mine\" }",
        beneath: "/openai",
        carried: API_KEY,
        asked: ["/openai/v1/responses"; 2],
    },
];

impl Host {
    /// A factory whose model it runs.
    fn scene(&self, server: &Server) -> Scene {
        let scene = Asker::of(server).speaks(self.protocol).scene();
        let (_, carried) = PROTOCOLS.iter().find(|(protocol, _)| *protocol == self.protocol).unwrap();
        let Self { path, hosting, beneath, carried: carried_there, .. } = self;
        let mut text = std::fs::read_to_string(scene.config()).unwrap();
        for (from, to) in [
            (format!("upstream = \"https://{HOST}\""), format!("upstream = \"https://{HOST}{path}\"\n{hosting}")),
            (
                format!("uses = [\"POST https://{HOST}/\"]\n{carried}\n"),
                format!("uses = [\"POST https://{HOST}{beneath}\"]\n{carried_there}\n"),
            ),
        ] {
            assert!(text.contains(&from), "{text}");
            text = text.replace(&from, &to);
        }
        std::fs::write(scene.config(), text).unwrap();
        scene
    }
}

#[test]
fn a_model_that_another_host_runs_is_governed_as_its_vendor_s_e3_a57() {
    for host in HOSTS {
        let server = Server::start(three_calls()).unwrap();
        let scene = host.scene(&server);
        let [whole, streamed] = host.asked;
        scene.commit("client.py", CLIENT);
        forbid_bash(&scene);
        let run_by = ["bedrock", "vertex", "azure"].into_iter().find(|word| host.hosting.contains(word));
        let can = scene.run(&["can", "asker"]).ok().out;
        assert!(
            run_by.is_none_or(|word| can.contains(&format!(", run by `{word}`, with credential `vendor`"))),
            "{can}"
        );
        let (run, out) = work(&scene, &format!("python3 client.py {}", host.protocol));
        let seen = server.seen();
        assert!(out.contains("I was told."), "{whole}: {out} {seen:?}");
        assert!(!out.contains("/etc/shadow") && !out.contains(KEY), "{whole}: {out}");
        assert!(seen.iter().all(|seen| seen.path == whole && seen.status == 200), "{seen:?}");
        assert!(seen[1].results[1].contains("write the file instead"), "{whole}: {:?}", seen[1].results);
        assert_eq!(scene.verdicts(&run, "tool.call"), ["allow", "deny", "allow"], "{whole}");
        assert_eq!(scene.metered(&run), (billed(&server), (0, 0)), "{whole}");
        // On record under the name that was granted and priced.
        assert_eq!(scene.decided(&run, "model.call")[0]["facts"]["asked"], "scripted-1", "{whole}");
        let (path, body) = first(host.protocol, true);
        let (run, out) = work(&scene, &ask((path, &body)));
        assert!(out.contains("\nstatus 200\n") && out.contains("data: "), "{streamed}: {out}");
        assert!(out.contains("Read") && out.contains("selvedge_denied_"), "{streamed}: {out}");
        assert!(!out.contains("shadow") && !out.contains(KEY), "{streamed}: {out}");
        assert_eq!(server.seen().last().unwrap().path, streamed);
        assert_eq!(scene.metered(&run), ((2_300, 100), (0, 0)), "{streamed}");
    }
}

#[test]
fn a_call_is_priced_by_what_holds_on_its_day_and_the_record_says_since_when_e3() {
    let server = Server::start(three_calls()).unwrap();
    let scene = Asker::of(&server).scene();
    let config = std::fs::read_to_string(scene.config()).unwrap();
    let priced = |table: &str| {
        let kept: Vec<&str> = config.lines().filter(|line| !line.starts_with("price = ")).collect();
        let table = format!("[model.main]\nprice = [{table}]");
        std::fs::write(scene.config(), kept.join("\n").replace("[model.main]", &table)).unwrap();
    };
    let [before, later] = [
        "{ of = \"scripted-1\", since = \"2020-02-01\", input = 2.0, cached = 1.0, output = 10.0 }",
        "{ of = \"scripted-1\", since = \"2999-01-01\", input = 9.0, output = 9.0 }",
    ];
    priced(&format!("{later}, {before}, {{ of = \"scripted-1\", input = 7.0, output = 7.0 }}"));
    let can = scene.run(&["can", "asker"]).ok().out;
    assert!(can.contains("`scripted-1`: since 2020-02-01 a million tokens cost 2 read"), "{can}");
    assert!(can.contains("another price holds from 2999-01-01 on"), "{can}");
    let prices = scene.json(&["can", "asker"])["model"]["prices"].clone();
    let in_force: Vec<_> = prices.as_array().unwrap().iter().map(|price| price["is_in_force"] == true).collect();
    assert_eq!(in_force, [false, true, false], "{prices}");
    assert!(scene.run(&["agents"]).ok().out.contains("since 2020-02-01"));
    let (path, body) = first("anthropic-messages", false);
    let (run, _) = work(&scene, &ask((path, &body)));
    let decided = scene.lines(&run, "model.call on");
    let words = format!("model.call on {HOST}:443 at the price since 2020-02-01: allowed");
    assert!(decided[0].contains(&words), "{decided:?}");
    assert_eq!(scene.decided(&run, "model.call")[0]["facts"]["price_since"], "2020-02-01");
    // 2,000 read at 2, 300 from the cache at 1, 100 written at 10.
    let spent = scene.json(&["show", &run])["spent"].clone();
    assert_eq!(spent["cost"], 2_000 * 2 + 300 + 100 * 10, "{spent}");
    // A model that has no price yet is refused, by its name and its day.
    priced(later);
    let refused = scene.run(&["run", "--agent", "asker", "--wait", "true"]);
    let words = "`scripted-1` has no price before 2999-01-01: write what it costs until then";
    assert!(refused.status != 0 && refused.err.contains(words), "{}", refused.err);
}
