//! Tools of other servers, brokered by the tool door: shown and called as they were taken on and in no other way, each call decided with its
//! arguments before the server has it (D4, E1-E3, A-09b, A-27, A-44). The servers are strict stand-ins; `app/tests/tools_sdk.rs` has the
//! official implementation.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use common::{Scene, agent, eventually, text};
use serde_json::{Value, json};

const SERVER: &str = include_str!("tools/server.py");
const CLIENT: &str = include_str!("tools/client.py");

/// Of `search` and `delete` as the server describes them at first.
const SEARCH: &str = "597b3e58841b3aceb195fee53073c1e05dcec51ed85993e6cb672ca8e0f2c21b";
const DELETE: &str = "dbc07c3ec0936a13d8a1c146a2f8de7da7f077809bc8184970e696bbe1adbc8f";

/// The server's key, which no agent has.
const KEY: &str = "sk-tracker-0123456789abcdef";

/// The tables of the tools that were taken on.
fn taken_on(server: &str) -> String {
    format!(
        "[mcp.{server}.tools.search]\ndigest = \"{SEARCH}\"\nrisk = \"low\"\n\
         [mcp.{server}.tools.delete]\ndigest = \"{DELETE}\"\nrisk = \"high\"\n"
    )
}

/// A factory whose agent `asker` has the server `files`, a program that behaves like this; it is shown to its sandbox as a toolchain.
fn program(behaviour: &str, tools: &str) -> Scene {
    let scene = Scene::ready();
    let tool = scene.path("tool");
    std::fs::create_dir_all(tool.join("bin")).unwrap();
    std::fs::write(tool.join("server.py"), SERVER).unwrap();
    let words: Vec<String> = ["/usr/bin/python3", "-u", "/opt/toolchain/0/server.py"]
        .into_iter()
        .chain(behaviour.split_whitespace())
        .map(|word| format!("{word:?}"))
        .collect();
    scene.configure(
        "checks = [\"sh tests/run.sh\"]",
        &format!(
            "{}mcp = [\"files\"]\n[factory]\ntoolchains = [{tool:?}]\n\
             [mcp.files]\nowner = \"team-files@example.org\"\ncommand = [{}]\npatience = \"20s\"\n{tools}",
            agent("asker", "draft"),
            words.join(", ")
        ),
    );
    scene.commit("client.py", CLIENT);
    scene
}

fn work(scene: &Scene, server: &str, words: &str) -> (Value, Vec<String>) {
    let task = format!("python3 client.py {server} {words}");
    let run = scene.work("asker", &task);
    let out = scene.printed(text(&run, "run"));
    // What the server wrote to its errors is among it.
    (run, out.lines().map(str::to_owned).collect())
}

fn entries(scene: &Scene, run: &Value) -> Vec<Value> {
    scene.entries(text(run, "run"))
}

/// Decisions on tool calls: kind, tool, verdict.
fn decided(entries: &[Value]) -> Vec<String> {
    let calls =
        entries.iter().filter(|entry| entry["detail"]["verb"] == "tool.call" && entry["detail"]["verdict"].is_string());
    let word = |entry: &Value, name: &str| entry["detail"]["facts"][name].as_str().unwrap().to_owned();
    calls
        .map(|entry| {
            format!("{} {} {}", word(entry, "kind"), word(entry, "tool"), entry["detail"]["verdict"].as_str().unwrap())
        })
        .collect()
}

/// The right of this key, wherever it stands.
fn right<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(members) if members.get("key").is_some_and(|known| known == key) => Some(value),
        Value::Object(members) => members.values().find_map(|value| right(value, key)),
        Value::Array(values) => values.iter().find_map(|value| right(value, key)),
        _ => None,
    }
}

fn has(entries: &[Value], words: &str) -> bool {
    entries.iter().any(|entry| entry.to_string().contains(words))
}

#[test]
fn a_program_s_tools_are_called_as_they_were_taken_on_and_each_call_is_decided_e3_a44() {
    let scene = program("", &taken_on("files"));
    let (run, out) = work(&scene, "files", "hello list get twice prompts search=needle delete unknown nothing=x");
    let entries = entries(&scene, &run);
    let line =
        |begins: &str| out.iter().find(|line| line.starts_with(begins)).unwrap_or_else(|| panic!("{begins}: {out:#?}"));
    assert_eq!(line("hello"), "hello 2025-06-18 files False", "and nothing of what the server says of itself");
    assert_eq!(line("told"), "told 202");
    // Only what was taken on and policy allows; titles and hints stay behind.
    assert_eq!(
        line("list"),
        "list {\"tools\": [{\"description\": \"Search the tracker.\", \"inputSchema\": {\"properties\": {\"query\": {\"type\": \"string\"}}, \
         \"required\": [\"query\"], \"type\": \"object\"}, \"name\": \"search\"}]}"
    );
    assert_eq!(
        (line("get").as_str(), line("twice").as_str(), line("prompts").as_str()),
        ("get 405", "twice 400", "prompts -32601")
    );
    assert_eq!(line("search"), "search ok found needle ['content', 'isError']");
    assert!(line("delete").starts_with("delete failed denied (forbidden): leave this to a person"), "{out:#?}");
    for unlisted in ["unknown", "nothing"] {
        assert!(line(unlisted).contains("denied (tool_not_listed)"), "{out:#?}");
    }
    assert_eq!(decided(&entries), ["list tools/list allow", "brokered search allow", "brokered delete deny"]);
    let searched = entries.iter().find(|entry| entry["detail"]["facts"]["tool"] == "search").unwrap();
    assert_eq!(searched["detail"]["facts"]["values"], json!(["query=needle"]));
    assert_eq!(searched["detail"]["facts"]["server"], "files");
    assert!(has(&entries, "tool_not_listed") && has(&entries, "guard.high-impact-tools"));
    // What nobody took on is noted for a person, and the server was sent one call and no more.
    assert!(has(&entries, "Nobody took this on."));
    let calls: Vec<&String> = out.iter().filter(|line| line.starts_with("asked call")).collect();
    assert_eq!(calls, ["asked call {\"arguments\": {\"query\": \"needle\"}, \"name\": \"search\"}"]);
    let card = scene.run(&["can", "asker"]).ok().out;
    let tools = "tools of `files`, /usr/bin/python3 -u /opt/toolchain/0/server.py: delete (high), search (low)";
    assert!(card.contains(tools), "{card}");
    let rights = scene.json(&["identities"]);
    assert_eq!(right(&rights, "agent.asker.mcp").unwrap()["used"], true, "a tool of it was called: {rights}");
    let shown = scene.run(&["tools", "files"]).ok().out;
    assert!(
        shown.contains("unknown (not taken on, and not called)") && shown.contains("[mcp.\"files\".tools.\"unknown\"]"),
        "{shown}"
    );
}

#[test]
fn a_tool_that_is_called_riskier_meanwhile_is_asked_no_more_by_live_runs_d12() {
    let scene = program("", &taken_on("files"));
    let _keeper = scene.serve();
    let task = "for i in $(seq 600); do o=$(python3 client.py files search=x 2>&1); case $o in *server_withdrawn*) echo \"$o\"; exit;; esac; \
                sleep 0.1; done; echo never";
    scene.run(&["run", "--agent", "asker", task]).ok();
    let run = eventually("a call is allowed", || {
        let run = scene.runs().first().cloned()?;
        decided(&entries(&scene, &run)).contains(&"brokered search allow".to_owned()).then_some(run)
    });
    let text = std::fs::read_to_string(scene.config()).unwrap();
    std::fs::write(scene.config(), text.replace("risk = \"low\"", "risk = \"medium\"")).unwrap();
    eventually("it is over", || (scene.runs()[0]["stage"] == "settled").then_some(()));
    let out = scene.run(&["output", run["run"].as_str().unwrap()]).ok().out;
    assert!(out.contains("server_withdrawn") && !out.contains("never"), "{out}");
    assert!(has(&entries(&scene, &run), "server_withdrawn"), "on record");
}

#[test]
fn a_description_that_changes_between_the_list_and_the_call_is_refused_and_named_a27() {
    let scene = program("change", &taken_on("files"));
    let (run, out) = work(&scene, "files", "list search=first search=second list");
    let entries = entries(&scene, &run);
    let lines: Vec<&String> =
        out.iter().filter(|line| line.starts_with("search") || line.starts_with("list")).collect();
    assert_eq!(lines[1], "search ok found first ['content', 'isError']", "{out:#?}");
    assert!(lines[2].starts_with("search failed denied (tool_changed)"), "{out:#?}");
    assert_eq!(lines[3], "list {\"tools\": []}", "nor is it shown");
    assert!(!out.iter().any(|line| line.contains("second")), "the server never had it: {out:#?}");
    assert!(has(&entries, "tool_changed") && has(&entries, "~/.ssh/id_rsa"));
    let shown = scene.run(&["tools"]).ok().out;
    assert!(shown.contains("search (CHANGED, and not called any more)"), "{shown}");
}

#[test]
fn a_server_that_hangs_dies_asks_back_or_says_too_much_is_told_to_the_agent_e5() {
    for (behaviour, told, also) in [
        ("ask-back", "search ok found a", "server_asked_back"),
        ("die", "search failed denied (server_gone)", "exit status 3"),
        ("long", "search failed denied (response_too_long)", "response_too_long"),
        ("junk", "search failed denied (server_malformed)", "server_malformed"),
        ("hang", "search failed denied (server_silent)", "server_silent"),
    ] {
        let scene = program(behaviour, &taken_on("files"));
        if behaviour == "hang" {
            let text = std::fs::read_to_string(scene.config()).unwrap();
            std::fs::write(scene.config(), text.replace("patience = \"20s\"", "patience = \"3s\"")).unwrap();
        }
        let (run, out) = work(&scene, "files", "search=a");
        let entries = entries(&scene, &run);
        assert!(out.iter().any(|line| line.starts_with(told)), "{behaviour}: {out:#?}");
        assert!(has(&entries, also), "{behaviour}: {entries:#?}");
    }
}

#[test]
fn a_program_without_tools_taken_on_has_none_and_says_what_it_has() {
    let scene = program("", "");
    let (_, out) = work(&scene, "files", "list search=x");
    assert!(out.iter().any(|line| line == "list {\"tools\": []}"), "{out:#?}");
    assert!(out.iter().any(|line| line.contains("denied (tool_not_listed)")), "{out:#?}");
    let shown = scene.run(&["tools", "files"]).ok().out;
    for (tool, digest) in [("search", SEARCH), ("delete", DELETE)] {
        assert!(shown.contains(&format!("[mcp.\"files\".tools.\"{tool}\"]")), "{shown}");
        assert!(shown.contains(&format!("digest = \"{digest}\"")), "{shown}");
    }
}

/// A server that takes requests, outside.
struct Outside {
    child: Child,
    port: u16,
}

impl Outside {
    fn start(behaviour: &str) -> Self {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", SERVER, "http", KEY]).args(behaviour.split_whitespace());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, port: line.trim().parse().unwrap() }
    }

    /// What it was asked.
    fn asked(mut self) -> String {
        self.child.kill().unwrap();
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A factory whose agent `asker` has the server `tracker`, which takes requests with a key.
fn by_url(outside: &Outside) -> Scene {
    let scene = Scene::ready();
    scene.configure(
        "checks = [\"sh tests/run.sh\"]",
        &format!(
            "{}mcp = [\"tracker\"]\nreach = [\"GET https://mcp.example/\", \"POST https://mcp.example/\"]\n\
             [mcp.tracker]\nowner = \"team-files@example.org\"\nurl = \"https://mcp.example/mcp\"\ncredential = \"tracker\"\npatience = \"20s\"\n{}\
             [credential.tracker]\nkind = \"static\"\nowner = \"team-files@example.org\"\nuses = [\"POST https://mcp.example/mcp\"]\n\
             [danger.addresses.\"mcp.example\"]\nallow = [\"127.0.0.1\"]\nplain_port = {}\n",
            agent("asker", "draft"),
            taken_on("tracker"),
            outside.port
        ),
    );
    scene.commit("client.py", CLIENT);
    scene.store("tracker", KEY).ok();
    scene.trust("tracker");
    scene
}

#[test]
fn a_server_by_url_is_asked_with_the_factory_s_key_and_by_no_other_way_c5_e3() {
    for behaviour in ["", "sse"] {
        let outside = Outside::start(behaviour);
        let scene = by_url(&outside);
        let (run, out) = work(&scene, "tracker", "list search=needle delete direct=https://mcp.example/mcp");
        let entries = entries(&scene, &run);
        let line = |begins: &str| {
            out.iter()
                .find(|line| line.starts_with(begins))
                .unwrap_or_else(|| panic!("{begins}: {out:#?} {entries:#?}"))
        };
        assert!(line("list").contains("\"name\": \"search\""), "{out:#?}");
        assert!(!line("list").contains("delete"), "{out:#?}");
        assert_eq!(line("search"), "search ok found needle ['content', 'isError']");
        assert_eq!(line("direct"), "direct 403 host_not_granted", "its calls are judged at the tool door alone");
        let searched = entries.iter().find(|entry| entry["detail"]["facts"]["tool"] == "search").unwrap();
        assert_eq!(searched["detail"]["facts"]["credential"], "tracker");
        assert_eq!(searched["detail"]["facts"]["host"], "mcp.example");
        // It reached a key, if only through a server (B7).
        let conduct = scene.json(&["identities"])["conduct"].clone();
        let asker = conduct.as_array().unwrap().iter().find(|one| one["agent"] == "asker").unwrap().clone();
        assert_eq!((&asker["registered"], &asker["seen"]), (&json!("autonomous"), &json!("autonomous")), "{asker}");
        assert!(!out.iter().any(|line| line.contains(KEY)));
        let asked = outside.asked();
        assert!(asked.contains(&format!("asked with Bearer {KEY}")) && !asked.contains("somebody-elses"), "{asked}");
        assert!(!asked.contains("Traceback"), "{asked}");
        assert_eq!(asked.matches("asked call").count(), 1, "{asked}");
    }
}

#[test]
fn a_secret_in_arguments_stops_the_run_and_an_address_is_a_fact_c7_e3() {
    let outside = Outside::start("");
    let scene = by_url(&outside);
    scene.forbid("tool.call", "!context.order.addresses.isEmpty()", "name no addresses");
    let (run, out) = work(&scene, "tracker", &format!("search=https://evil.example/x search={KEY} search=after"));
    let entries = entries(&scene, &run);
    assert!(out.iter().any(|line| line.contains("denied (forbidden): name no addresses")), "{out:#?}");
    assert!(has(&entries, "secret_in_request"), "{entries:#?}");
    assert_ne!(run["outcome"], "changed", "{run}");
    let asked = outside.asked();
    assert!(!asked.contains("asked call") || !asked.contains(&format!("\"{KEY}\"")), "{asked}");
    assert!(!asked.contains("evil.example"), "{asked}");
}

#[test]
fn a_redirect_is_not_followed_and_a_wrong_key_is_told_a07() {
    let outside = Outside::start("redirect");
    let scene = by_url(&outside);
    let (run, out) = work(&scene, "tracker", "list");
    assert!(
        out.iter().any(|line| line.contains("denied (server_refused): the server answered with status 307")),
        "{out:#?}"
    );
    assert!(has(&entries(&scene, &run), "server_refused"));
    assert!(!outside.asked().contains("elsewhere"));
}

#[test]
fn the_factory_s_own_tools_do_what_its_endpoints_do_e7() {
    let scene = Scene::ready();
    let rights = "\"open-pr\"]\nmcp = [\"factory\"]\nmay_ask = [\"GET https://docs.example/\"]";
    scene.configure("checks = [\"sh tests/run.sh\"]", &agent("asker", "propose").replace("\"open-pr\"]", rights));
    scene.commit("client.py", CLIENT);
    let calls = json!([
        ["request_access", { "reach": "GET https://docs.example/a", "reason": "the guide" }],
        ["request_access", { "reach": "GET https://evil.example/", "reason": "caf\u{e9}" }],
        ["request_access", { "reach": "GET https://evil.example/", "reason": "x" }],
        ["report", { "text": "The tests say little.\nSigned-off-by: nobody" }],
        ["propose", { "title": "A longer greeting", "summary": "It was short." }],
        ["delegate", { "agent": "asker", "text": "x", "scope": "may:read" }],
    ]);
    scene.commit("calls.json", &calls.to_string());
    let (run, out) = work(&scene, "factory", "list calls; echo hello, world > src/greeting");
    let lines: Vec<&String> = out.iter().filter(|line| line.starts_with("request_access ")).collect();
    assert!(lines[0].starts_with("request_access ok") && lines[0].contains("needs_approval"), "{out:#?}");
    assert!(lines[1].starts_with("request_access failed") && lines[1].contains("plain characters"), "{out:#?}");
    assert!(lines[2].starts_with("request_access failed") && lines[2].contains("outside_grant"), "{out:#?}");
    let listed = out.iter().find(|line| line.starts_with("list")).unwrap();
    assert!(!listed.contains("delegate"), "who may hand nothing on is not shown how: {listed}");
    assert!(out.iter().any(|line| line.starts_with("delegate error denied (tool_not_listed)")), "{out:#?}");
    assert_eq!(run["outcome"], "proposed", "{run} {out:#?}");
    let proposal = scene.json(&["proposals"])["proposals"][0].to_string();
    assert!(proposal.contains("It was short.") && proposal.contains("The tests say little."), "{proposal}");
    let made = scene.git(&["ls-remote", "selvedge"]);
    let made: Vec<&str> = made.split_whitespace().filter(|word| word.len() == 40).collect();
    scene.git(&[&["fetch", "--quiet", "selvedge"], made.as_slice()].concat());
    for commit in made {
        let message = scene.git(&["log", "-1", "--format=%B", commit]);
        assert!(!message.contains("Signed-off-by: nobody"), "words of an agent are no part of a commit: {message}");
    }
}

/// Put together here so that this file is not itself a finding.
fn token(last: char) -> String {
    format!("ghp_{}{last}", "aB3dE5gH7jK9mN1pQ2sT4vW6xY8zA0cDaB3")
}

/// The whole log.
fn log(scene: &Scene) -> String {
    scene.run(&["audit", "show", "--json"]).ok().out
}

#[test]
fn a_secret_in_a_call_is_judged_as_it_is_and_recorded_as_what_it_looks_like_a93_c7() {
    let scene = program("", &taken_on("files"));
    let (passes, forbidden) = (token('x'), token('y'));
    let policy = format!(
        "@id(\"test.not-this-one\")\n@owner(\"tests\")\n@next_step(\"not this one\")\n\
         forbid (principal, action == Action::\"tool.call\", resource)\nwhen {{ context.order.values.contains(\"query={forbidden}\") }};\n"
    );
    std::fs::write(scene.state().join("policies/more.cedar"), policy).unwrap();
    let calls = json!([["search", { "query": passes }], ["search", { "query": forbidden }]]);
    scene.commit("calls.json", &calls.to_string());
    let (run, out) = work(&scene, "files", "calls");
    assert!(out.iter().any(|line| line.starts_with("asked call") && line.contains(&passes)), "{out:#?}");
    assert!(out.iter().any(|line| line.contains("denied (forbidden): not this one")), "{out:#?}");
    let entries = entries(&scene, &run);
    assert_eq!(decided(&entries), ["brokered search allow", "brokered search deny"]);
    for entry in entries.iter().filter(|entry| entry["detail"]["facts"]["tool"] == "search") {
        let facts = &entry["detail"]["facts"];
        assert_eq!(facts["values"], json!(["query=[GitHub token]"]), "{facts}");
        assert_eq!(facts["secrets"], json!(["GitHub token"]), "a call that says as much itself has none: {facts}");
    }
    assert!(!log(&scene).contains("ghp_"));
}

#[test]
fn a_secret_in_what_an_agent_says_of_its_work_holds_it_as_one_in_a_file_does_c7() {
    let scene = Scene::ready();
    let rights = "\"open-pr\"]\nmcp = [\"factory\"]";
    scene.configure("checks = [\"sh tests/run.sh\"]", &agent("asker", "propose").replace("\"open-pr\"]", rights));
    scene.commit("client.py", CLIENT);
    for (tool, arguments) in [
        ("propose", json!({ "title": "A longer greeting", "summary": format!("With {}.", token('x')) })),
        ("report", json!({ "text": format!("I found {}.", token('x')) })),
    ] {
        scene.commit("calls.json", &json!([[tool, arguments]]).to_string());
        let (run, out) = work(&scene, "factory", "calls; echo hello, world > src/greeting");
        assert_eq!(run["outcome"], "held", "{run} {out:#?}");
        let because = run["because"].as_str().unwrap();
        assert!(because.contains("says of it") && because.contains("remove it at its source"), "{because}");
        assert!(has(&entries(&scene, &run), "secret_in_words"));
    }
    assert_eq!(scene.json(&["proposals"])["proposals"], json!([]));
    assert!(!log(&scene).contains("ghp_"));
}

#[test]
fn what_a_server_was_sent_is_counted_for_the_run_and_not_for_the_attempt_a20() {
    let outside = Outside::start("");
    let scene = by_url(&outside);
    let tool = scene.path("tool");
    std::fs::create_dir_all(tool.join("bin")).unwrap();
    let text = std::fs::read_to_string(scene.config()).unwrap();
    let limit = format!("[factory]\ntoolchains = [{tool:?}]\n[network.send]\n\"mcp.example\" = \"50KiB\"\n");
    std::fs::write(scene.config(), format!("{text}\n{limit}")).unwrap();
    let keeper = scene.serve();
    let much = "$(head -c 30000 /dev/zero | tr '\\0' x)";
    let task =
        format!("python3 client.py tracker search={much} | cut -c1-60; [ -e /opt/toolchain/0/bin/again ] || sleep 600");
    scene.run(&["run", "--agent", "asker", &task]).ok();
    let run = eventually("the server has answered", || {
        let run = scene.runs().first().cloned()?;
        let is_done = |entry: &Value| entry["kind"] == "done" && entry["detail"]["verb"] == "tool.call";
        entries(&scene, &run).iter().any(is_done).then_some(run)
    });
    keeper.kill();
    std::fs::write(tool.join("bin/again"), "").unwrap();
    let _serving = scene.serve();
    eventually("it is over", || (scene.runs()[0]["stage"] == "settled").then_some(()));
    let entries = entries(&scene, &run);
    assert!(has(&entries, "send_budget_spent"), "{entries:#?}");
    assert_eq!(outside.asked().matches("asked call").count(), 1);
}

#[test]
fn what_a_call_sent_that_people_said_yes_to_is_counted_for_the_whole_task_a20() {
    let outside = Outside::start("");
    let scene = by_url(&outside);
    let tool = scene.path("tool");
    std::fs::create_dir_all(tool.join("bin")).unwrap();
    std::fs::write(tool.join("server.py"), SERVER).unwrap();
    let text = std::fs::read_to_string(scene.config()).unwrap();
    // A second door, of a program: an account with one door leaves the counting to that.
    let text = text.replace("mcp = [\"tracker\"]", "mcp = [\"tracker\", \"files\"]");
    let more = format!(
        "[mcp.files]\nowner = \"team-files@example.org\"\nreach = [\"GET https://mcp.example/a\"]\n\
         command = [\"/usr/bin/python3\", \"-u\", \"/opt/toolchain/0/server.py\"]\npatience = \"20s\"\n{}\
         [factory]\ntoolchains = [{tool:?}]\n[network.send]\n\"mcp.example\" = \"138KiB\"\n",
        taken_on("files")
    );
    std::fs::write(scene.config(), format!("{text}\n{more}")).unwrap();
    scene.ask_first("context.order.tool == \"search\" && context.order.argument_bytes == 4012");
    let _keeper = scene.serve();
    // What the first may send at most is there, and so is what the second may: but not beside what the first has sent.
    let much = "$(head -c 4000 /dev/zero | tr '\\0' x)";
    let run = scene.begin(&format!("python3 client.py tracker search={much} search=y{much} | cut -c1-300"));
    let request = scene.held(&run, None);
    scene.approve(&request).ok();
    scene.settled(&run);
    let out = scene.printed(&run);
    assert!(out.contains("search ok found xxx"), "{out}");
    // The keeper's words, who decides before a door counts.
    assert!(out.contains("this task and those that share its budget may send no more to this host"), "{out}");
    assert_eq!(outside.asked().matches("asked call").count(), 1);
}

#[test]
fn a_program_reaches_what_it_was_given_and_not_what_the_agent_was_e1_a09b() {
    let scene = program("reach", &taken_on("files"));
    let text = std::fs::read_to_string(scene.config()).unwrap();
    let own = "owner = \"team-files@example.org\"\nreach = [\"GET https://files.example/a\"]\n";
    let text = text.replacen("owner = \"team-files@example.org\"\n", own, 1);
    let text =
        text.replacen("mcp = [\"files\"]\n", "mcp = [\"files\"]\nreach = [\"GET https://files.example/b\"]\n", 1);
    let danger = "[danger.addresses.\"files.example\"]\nallow = [\"127.0.0.1\"]\nplain_port = 1\n";
    std::fs::write(scene.config(), format!("{text}\n{danger}")).unwrap();
    let (run, out) = work(&scene, "files", "search=https://files.example/a search=https://files.example/b");
    let entries = entries(&scene, &run);
    let answers: Vec<&String> = out.iter().filter(|line| line.starts_with("search ok")).collect();
    // Nobody listens there, so what was allowed comes to nothing; what was not is refused before.
    assert!(answers[0].contains("found status 502"), "{out:#?} {entries:#?}");
    assert!(answers[1].contains("found status 403"), "{out:#?}");
    let asked = entries
        .iter()
        .filter(|entry| entry["detail"]["verb"] == "http.request" && entry["detail"]["verdict"].is_string());
    let asked: Vec<String> =
        asked.map(|entry| format!("{} {}", entry["detail"]["facts"]["path"], entry["detail"]["verdict"])).collect();
    assert_eq!(asked, ["\"/a\" \"allow\"", "\"/b\" \"deny\""]);
}

/// Servers of one agent; as many as it may have, so that building their sandboxes takes a while.
const PROGRAMS: usize = 8;

/// Halts that may come too late before one comes in time.
const TRIES: usize = 20;

#[test]
fn a_halt_that_comes_while_sandboxes_of_servers_are_built_lets_none_of_them_run_g5() {
    let scene = program("", "");
    let text = std::fs::read_to_string(scene.config()).unwrap();
    let (before, server) = text.split_once("[mcp.files]\n").unwrap();
    let names: Vec<String> = (0..PROGRAMS).map(|number| format!("files{number}")).collect();
    let servers: String = names.iter().map(|name| format!("[mcp.{name}]\n{server}\n")).collect();
    let before = before.replace("mcp = [\"files\"]", &format!("mcp = {}", json!(names)));
    std::fs::write(scene.config(), format!("{before}{servers}")).unwrap();
    let _keeper = scene.serve();
    for tried in 1..=TRIES {
        scene.run(&["run", "--agent", "asker", "echo it ran; sleep 600"]).ok();
        let is_of = |entry: &Value, kind: &str| entry["kind"] == kind;
        // The agent's own is there, and not let go; those of its servers come next.
        let run = eventually("its sandbox is built", || {
            let run = (scene.runs().len() == tried).then(|| scene.runs()[0].clone())?;
            entries(&scene, &run).iter().any(|entry| is_of(entry, "sandbox_started")).then_some(run)
        });
        let id = run["run"].as_str().unwrap().to_owned();
        scene.run(&["revoke", &id]).ok();
        eventually("it is over", || (scene.runs()[0]["stage"] == "settled").then_some(()));
        assert_eq!(scene.runs()[0]["outcome"], "halted");
        if scene.run(&["output", &id]).out.contains("it ran") {
            continue;
        }
        let entries = entries(&scene, &run);
        let started: Vec<&Value> = entries.iter().filter(|entry| is_of(entry, "sandbox_started")).collect();
        let ended: Vec<&Value> = entries.iter().filter(|entry| is_of(entry, "sandbox_ended")).collect();
        assert_eq!((started.len(), ended.len()), (1, 0), "what was built and not let go has neither: {entries:#?}");
        // It ends for that reason, and does not first find its door gone.
        let is_lost = |entry: &Value| entry["summary"].as_str().unwrap().ends_with("is lost");
        assert!(!entries.iter().any(is_lost), "{entries:#?}");
        return;
    }
    panic!("no halt of {TRIES} came while they were built");
}
