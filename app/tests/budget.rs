//! One budget for a run: what its model costs, and what it hands to children, come out of the same purse, and an agent that goes on
//! asking once it is spent is ended (E3, B4). The model is scripted; not run against real services.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use common::asking::first;
use common::models::{Asker, HOST, KEY, ask, cost};
use common::{Scene, agent, text};
use selvedge_scripted::{Script, Server, Turn};
use serde_json::Value;

/// Asks for a child with a part of the budget, and prints the status.
const CHILD: &str = r#"child() { curl -sS -o answer.json -w "child $1 %{http_code} " --data-urlencode agent=writer --data-urlencode text=true --data-urlencode 'scope=trust:draft may:read may:write' --data-urlencode "budget=$1" "$SELVEDGE_CHILD_URL"; sed -n 's/.*"error_description":"\([^"]*\)".*/\1/p' answer.json; echo; rm -f answer.json; }"#;

/// Asks the model once, with a thousand tokens to write: five thousand millionths are set aside.
fn asks() -> String {
    format!("ask() {{ {}; }}", ask(("/v1/messages", &first("anthropic-messages", false).1)))
}

/// A factory whose agent `asker` has a model and may have children; `budget` as it is written in its configuration.
fn scene(server: &Server, budget: &str) -> Scene {
    let asker = agent("asker", "propose").replace("may = [", "may = [\"delegate\", ");
    // A slot for whoever asks, one for the child.
    let slots = "[factory]\nslots = 2\n";
    Asker::of(server).is(asker).with("children = [\"writer\"]").budget(budget).beside(slots).scene()
}

/// The run of `asker` that a script comes to, and what it printed.
fn work(scene: &Scene, script: &str) -> (Value, String) {
    let run = scene.work("asker", script);
    let out = scene.printed(text(&run, "run"));
    (run, out)
}

fn server(calls: usize) -> Server {
    let turn = || Turn::new().text("On I go.").costs(cost(2_000, 100));
    Server::start((0..calls).fold(Script::new(KEY), |script, _| script.turn(turn()))).unwrap()
}

#[test]
fn model_and_children_spend_one_budget_b4_e3() {
    let server = server(2);
    let scene = scene(&server, "\"0.02 USD\"");
    // The first call costs 2,500, whatever was set aside for it.
    let script = format!("{}; {CHILD}; ask; child 17501; child 14000; ask; true", asks());
    let (run, out) = work(&scene, &script);
    let lines: Vec<&str> = out.lines().filter(|line| line.starts_with("status") || line.starts_with("child")).collect();
    assert_eq!(
        lines,
        [
            "status 200",
            "child 17501 400 the budget is more than is left; ask for less",
            "child 14000 201 ",
            "status 402"
        ],
        "{run} {}",
        scene.json(&["show", text(&run, "run")])
    );
    assert_eq!(server.seen().len(), 1, "what was refused never left");

    let spent = scene.json(&["show", text(&run, "run")])["spent"].clone();
    assert_eq!((&spent["model_calls"], &spent["model_calls_denied"]), (&1.into(), &1.into()), "{spent}");
    assert_eq!((&spent["tokens"]["input"], &spent["tokens"]["output"]), (&2_000.into(), &100.into()), "{spent}");
    assert_eq!((&spent["cost"], &spent["handed_on"], &spent["left"]), (&2_500.into(), &14_000.into(), &3_500.into()));
    let words = "it cost 0.0025 USD, handed on 0.014 USD, and 0.0035 USD of 0.02 USD is left";
    assert!(spent["words"].as_str().unwrap().ends_with(words), "{spent}");
}

#[test]
fn an_agent_that_goes_on_asking_once_the_budget_is_spent_is_ended_e3() {
    let server = server(1);
    let scene = scene(&server, "\"0.000001\"");
    let (run, out) = work(&scene, &format!("{}; while true; do ask; done", asks()));
    assert_eq!((&run["outcome"], &run["because"]), (&"failed".into(), &"the budget is spent".into()), "{out}");
    assert_eq!(run["attempts"], 1, "another attempt has no more to spend");
    assert!(!out.contains("status 200"), "{out}");
    let shown = scene.json(&["show", text(&run, "run")]).to_string();
    assert!(shown.contains("budget_spent: the budget is spent and the agent went on"), "{shown}");
    assert!(server.seen().is_empty());
}

#[test]
fn an_agent_that_stops_at_402_fails_for_that_reason_and_is_not_tried_again_e3() {
    let server = server(1);
    let scene = scene(&server, "\"0.000001\"");
    let (run, out) = work(&scene, &format!("{}; ask; exit 3", asks()));
    assert_eq!(out.matches("status 402").count(), 1, "{out}");
    assert_eq!((&run["outcome"], &run["attempts"]), (&"failed".into(), &1.into()), "{run}");
    assert!(run["because"].as_str().unwrap().starts_with("the budget is spent: the program ended"), "{run}");
}

#[test]
fn a_person_sees_what_a_model_may_cost_and_that_nobody_asked_it_g3_b6() {
    let server = server(1);
    let scene = scene(&server, "\"5 USD/task\"");
    let card = scene.json(&["can", "asker"]);
    let model = &card["model"];
    assert_eq!((&model["name"], &model["credential"]), (&"main".into(), &"vendor".into()), "{card}");
    assert_eq!(model["upstream"], format!("https://{HOST}:443"));
    assert_eq!((&model["prices"][0]["output"], &card["budget"]), (&5_000_000.into(), &5_000_000.into()), "{card}");
    let said = scene.run(&["can", "asker"]).ok().out;
    for words in ["`scripted-1`: a million tokens cost 1 USD read", "a run spends 5 USD at most", "credential `vendor`"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(scene.run(&["agents"]).ok().out.contains("a run spends 5 USD at most"));

    let model_right = |identities: &Value| {
        let all = identities["identities"].as_array().unwrap().clone();
        let asker = all.into_iter().find(|one| one["identity"] == "agent:asker").unwrap();
        asker["granted"].as_array().unwrap().iter().find(|right| right["key"] == "agent.asker.model").unwrap().clone()
    };
    let before = scene.json(&["identities"]);
    assert_eq!(model_right(&before)["used"], false, "{before}");
    assert!(before.to_string().contains("agent.asker.model"));
    work(&scene, &format!("{}; ask; true", asks()));
    assert_eq!(model_right(&scene.json(&["identities"]))["used"], true);
}
