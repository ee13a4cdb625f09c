//! What really happened: programs, files written and sensitive files read are seen without the agent's help, with the tool call they
//! came from, and a run that did more than was declared is held.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use common::{Scene, text};
use serde_json::Value;

/// A scene whose agent is declared to do this.
fn declared(effects: &str) -> Scene {
    let scene = Scene::ready();
    scene.configure("checks = [\"sh tests/run.sh\"]", &format!("effects = {effects}"));
    scene
}

/// The entries of a run that are of this kind.
fn entries(scene: &Scene, run: &Value, kind: &str) -> Vec<Value> {
    let shown = scene.json(&["show", text(run, "run")]);
    let entries = shown["entries"].as_array().unwrap().clone();
    entries.into_iter().filter(|entry| entry["kind"] == kind).collect()
}

#[test]
fn what_a_run_did_is_on_record_without_its_help_e2() {
    let scene = Scene::ready();
    scene.commit(".env", "KEY=value\n");
    let run = scene
        .task("cat .env > /dev/null; (setsid ls -l /tmp &); echo more >> src/greeting; echo new > src/new; sleep 0.3");
    assert_eq!(run["outcome"], "proposed", "{run}");
    let effects = entries(&scene, &run, "side_effects");
    assert_eq!(effects.len(), 1, "one entry for the attempt, none for the checks: {effects:?}");
    let detail = &effects[0]["detail"];
    let programs: Vec<&str> = detail["programs"].as_array().unwrap().iter().map(|one| text(one, "asked")).collect();
    for program in ["/bin/sh", "/usr/bin/cat", "/usr/bin/setsid", "/usr/bin/ls"] {
        assert!(programs.iter().any(|asked| asked.rsplit('/').next() == program.rsplit('/').next()), "{programs:?}");
    }
    let written: Vec<(&str, &str)> =
        detail["written"].as_array().unwrap().iter().map(|one| (text(one, "how"), text(one, "path"))).collect();
    assert_eq!(written, [("changed", "src/greeting"), ("created", "src/new")]);
    assert_eq!(detail["programs_unkept"], 0);
    let read = entries(&scene, &run, "sensitive_read");
    assert_eq!(read.len(), 1, "{read:?}");
    assert_eq!(read[0]["summary"], "observed read .env, which is sensitive");
    // Whoever does not look at it has not read it.
    let run = scene.task("ls -la; echo more >> src/greeting");
    assert!(entries(&scene, &run, "sensitive_read").is_empty());
}

#[test]
fn a_run_that_does_more_than_declared_is_held_and_one_within_is_proposed_d10() {
    let scene = declared("{ runs = [\"sh\", \"sleep\", \"cp\"], writes = [\"src/**\"] }");
    let within = scene.task("sleep 0; echo more >> src/greeting");
    assert_eq!(within["outcome"], "proposed", "{within}");
    // A program and a file beyond what was declared: a person may say yes to exactly this change.
    let beyond = scene.task("cat src/greeting > /dev/null; echo x > elsewhere; echo more >> src/greeting");
    assert_eq!(beyond["outcome"], "waiting", "{beyond}");
    let approvals = scene.json(&["approvals"]).to_string();
    for words in ["created elsewhere", "/cat"] {
        assert!(approvals.contains(words), "{words}: {approvals}");
    }
    assert!(!approvals.contains("ran /usr/bin/sleep") && !approvals.contains("changed src/greeting"), "{approvals}");
    // A copy under a declared name is not what was declared.
    let copied = scene.task("cp /usr/bin/cat /tmp/sleep; /tmp/sleep /dev/null; echo more >> src/greeting");
    assert_eq!(copied["outcome"], "waiting", "{copied}");
    assert!(scene.json(&["approvals"]).to_string().contains("ran /tmp/sleep"));
}

#[test]
fn a_run_that_leaves_nothing_to_propose_is_held_as_well_d10() {
    let scene = declared("{ runs = [] }");
    let run = scene.task("/usr/bin/env true");
    assert_eq!(run["outcome"], "held", "{run}");
    assert!(text(&run, "because").contains("ran /usr/bin/env"), "{run}");
}
