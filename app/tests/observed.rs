//! What really happened: programs, files written and sensitive files read are seen without the agent's help, with the tool call they
//! came from, and a run that did more than was declared is held.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use common::{Scene, eventually, text};
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
    let card = scene.run(&["can", "writer"]).ok().out;
    assert!(card.contains("on its way, as declared: runs cp, runs sh, runs sleep, writes src/**"), "{card}");
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

/// Forbids this to every run in whose chain something sensitive was read.
fn having_read(scene: &Scene, action: &str) {
    let policy = format!(
        "@id(\"ours.after-a-sensitive-read\")\n@owner(\"platform@example.org\")\n@next_step(\"leave the rest to a person\")\n\
         forbid (principal is Agent, action == Action::\"{action}\", resource) when {{ context.run.read_sensitive }};\n"
    );
    std::fs::write(scene.state().join("policies/ours.cedar"), policy).unwrap();
}

#[test]
fn what_set_up_reads_of_the_tree_it_prepares_is_seen_a78() {
    let scene = Scene::ready();
    scene.commit(".env", "KEY=value\n");
    let configure = |setup: &str| {
        let repo = format!("checks = [\"sh tests/run.sh\"]\nenvironment = {{ setup = \"{setup}\" }}");
        scene.configure(&repo, "");
    };
    having_read(&scene, "proposal.open");
    configure("ls -a > /dev/null");
    let run = scene.task("echo more >> src/greeting");
    assert_eq!(run["outcome"], "proposed", "{run}");
    configure("cat .env > /dev/null");
    let run = scene.task("echo more >> src/greeting");
    assert_eq!(run["outcome"], "refused", "{run}");
    assert!(text(&run, "because").contains("ours.after-a-sensitive-read"), "{run}");
    let read = entries(&scene, &run, "sensitive_read");
    assert_eq!(read.len(), 2, "of the base and of the change: {read:?}");
    let effects = entries(&scene, &run, "side_effects");
    assert_eq!(effects.len(), 1, "its programs are the operator's: {effects:?}");
}

#[test]
fn what_an_attempt_read_is_known_of_the_next_one_when_its_keeper_died_a78_a56() {
    let scene = Scene::ready();
    scene.commit(".env", "KEY=value\n");
    // Shown to every sandbox, and changed between two attempts.
    let tool = scene.path("tool");
    std::fs::create_dir_all(tool.join("bin")).unwrap();
    scene.configure(
        "checks = [\"sh tests/run.sh\"]",
        &format!("reach = [\"GET https://files.selvedge.test/\"]\n[factory]\ntoolchains = [{tool:?}]\n"),
    );
    having_read(&scene, "proposal.open");
    let keeper = scene.serve();
    let ask = "curl -sS -m 20 https://files.selvedge.test/ > /dev/null 2>&1";
    let task = format!(
        "if [ ! -e /opt/toolchain/0/bin/again ]; then cat .env > /dev/null; {ask}; sleep 600; fi; echo more >> src/greeting"
    );
    scene.run(&["run", "--agent", "writer", &task]).ok();
    let run = eventually("what it reads is recorded", || {
        let run = scene.runs().first().cloned()?;
        (!entries(&scene, &run, "sensitive_read").is_empty()).then_some(run)
    });
    keeper.kill();
    std::fs::write(tool.join("bin/again"), "").unwrap();
    let _serving = scene.serve();
    let run = eventually("it settles", || {
        scene.runs().into_iter().find(|found| found["run"] == run["run"] && text(found, "stage") == "settled")
    });
    assert_eq!(entries(&scene, &run, "sensitive_read").len(), 1, "the second attempt read nothing");
    assert_eq!(run["outcome"], "refused", "{run}");
    assert_eq!(scene.verdicts(text(&run, "run"), "proposal.open"), ["deny"]);
}

#[test]
fn a_child_of_a_run_that_read_something_is_one_that_did_a78_b4() {
    let scene = Scene::ready();
    scene.commit(".env", "KEY=value\n");
    let asker = common::agent("asker", "propose").replace("\"open-pr\"]", "\"delegate\"]");
    scene.configure("checks = [\"sh tests/run.sh\"]", &format!("{asker}children = [\"writer\"]\n"));
    let policy = "@id(\"ours.no-child-works-having-read\")\n@owner(\"platform@example.org\")\n@next_step(\"leave it to a person\")\n\
                  forbid (principal is Agent, action == Action::\"sandbox.start\", resource)\n\
                  when { context.run.read_sensitive && context.run.chain_depth > 0 };\n";
    std::fs::write(scene.state().join("policies/ours.cedar"), policy).unwrap();
    let outcome_of_child = |before: &str, after: &str| {
        let ask = "curl -sS -d agent=writer -d text=true --data-urlencode 'scope=trust:draft may:read may:write' \"$SELVEDGE_CHILD_URL\"";
        let known: Vec<Value> = scene.runs().iter().map(|run| run["run"].clone()).collect();
        let asker = scene.work("asker", &format!("{before}; {ask}; {after}"));
        let said = scene.printed(text(&asker, "run"));
        assert!(said.contains("queued"), "{said}");
        let child = eventually("its child settles", || {
            let settled = scene.runs().into_iter().filter(|run| text(run, "stage") == "settled");
            settled.into_iter().find(|run| text(run, "agent") == "writer" && !known.contains(&run["run"]))
        });
        text(&child, "outcome").to_owned()
    };
    let _serving = scene.serve();
    assert_eq!(
        outcome_of_child("true", "cat .env"),
        "nothing_to_do",
        "what was read later cannot have been said to it"
    );
    assert_eq!(outcome_of_child("cat .env", "true"), "refused");
}
