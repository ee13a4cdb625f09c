//! Stopping and changing the rules, when things are not as they should be: no keeper, no configuration, a busy slot, policies
//! that change under a run.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::net::{Ipv4Addr, TcpListener};

use common::{Scene, agent, eventually, is_root, processes_with, text};
use serde_json::Value;

/// A policy that forbids whatever `what` says.
fn forbid(scene: &Scene, what: &str) {
    let text = format!("@id(\"team.closed\")\n@owner(\"team\")\n@next_step(\"wait\")\n{what}\n");
    std::fs::write(scene.state().join("policies/closed.cedar"), text).unwrap();
}

fn outcome_of(scene: &Scene, run: &str) -> Value {
    scene.json(&["show", run])["outcome"].clone()
}

/// A task that runs until it is killed and whose process can be told from every other.
fn endless(scene: &Scene) -> (String, String) {
    let marker = format!("marker-{}", scene.repo().parent().unwrap().file_name().unwrap().to_str().unwrap());
    (format!("sleep 600; echo {marker}"), format!("; echo {marker}"))
}

/// Begins a run that does not end, and whose keeper then dies.
fn left_behind(scene: &Scene) -> String {
    let keeper = scene.serve();
    let (task, marker) = endless(scene);
    scene.run(&["run", "--agent", "writer", &task]).ok();
    eventually("it runs", || (!processes_with(&marker).is_empty()).then_some(()));
    let run = text(&scene.runs()[0], "run").to_owned();
    keeper.kill();
    run
}

#[test]
fn a_halt_ends_what_a_dead_keeper_left_g5() {
    let scene = Scene::ready();
    let run = left_behind(&scene);
    scene.run(&["halt"]).ok();
    assert_eq!(outcome_of(&scene, &run), "halted", "lifting the halt would have begun it again");
    scene.run(&["resume"]).ok();
    assert_eq!(outcome_of(&scene, &run), "halted");
    assert_eq!(scene.runs().len(), 1);
}

#[test]
fn a_halt_without_a_keeper_starts_nothing_that_it_does_not_end_g5() {
    let scene = Scene::ready();
    scene.configure("checks = [\"sh tests/run.sh\"]", &agent("other", "propose"));
    let run = left_behind(&scene);
    let (_, marker) = endless(&scene);
    // It would not come back before the other agent's program ends, which takes ten minutes.
    scene.run(&["halt", "agent", "other"]).ok();
    assert!(processes_with(&marker).is_empty());
    assert_eq!(outcome_of(&scene, &run), Value::Null, "the run is left as it was");
    scene.run(&["halt"]).ok();
    assert_eq!(outcome_of(&scene, &run), "halted");
}

#[test]
fn a_halt_and_a_revocation_need_no_configuration_g5() {
    let scene = Scene::ready();
    let run = left_behind(&scene);
    let sound = std::fs::read_to_string(scene.config()).unwrap();
    std::fs::write(scene.config(), "garbage").unwrap();
    scene.run(&["ps"]).refused(101, &["selvedge.toml"]);
    let said = scene.run(&["revoke", &run]).ok();
    assert!(said.out.contains("is revoked"), "{said:?}");
    std::fs::remove_file(scene.config()).unwrap();
    scene.run(&["halt"]).ok();
    std::fs::write(scene.config(), sound).unwrap();
    assert_eq!(outcome_of(&scene, &run), "halted");
    let ps = scene.json(&["ps"]);
    assert_eq!(ps["halts"], serde_json::json!(["everything", format!("run {run}")]));
    assert_eq!(ps["settled_halts"], serde_json::json!([format!("run {run}")]), "it stops nothing any more");
    let (shown, all) = (scene.run(&["ps"]).ok().out, scene.run(&["ps", "--all"]).ok().out);
    assert!(shown.contains("halted: everything") && !shown.contains(&run), "{shown}");
    assert!(all.contains(&format!("halted: run {run}, which is settled")), "{all}");
}

/// Nobody can say whose run it is, or what it was lent.
#[test]
fn a_halt_of_an_agent_kills_what_is_alive_when_the_log_cannot_be_read_g5() {
    let scene = Scene::ready();
    let _keeper = scene.serve();
    let (task, marker) = endless(&scene);
    scene.run(&["run", "--agent", "writer", &task]).ok();
    eventually("it runs", || (!processes_with(&marker).is_empty()).then_some(()));
    let log = rusqlite::Connection::open(scene.state().join("ledger/ledger.db")).unwrap();
    log.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    log.execute("ALTER TABLE entry RENAME TO entry_gone", []).unwrap();
    let said = scene.run(&["halt", "agent", "writer"]);
    for words in ["1 run was killed", "the log could not be read"] {
        assert!(said.out.contains(words), "{words}: {said:?}");
    }
    assert!(processes_with(&marker).is_empty());
}

/// Nobody could look, so no name is said not to be there (invariant 2).
#[test]
fn without_a_configuration_every_name_is_halted_and_whoever_halts_is_told_why_g5() {
    let scene = Scene::ready();
    let run = left_behind(&scene);
    scene.run(&["credentials", "withdraw", "ghost"]).refused(107, &["neither configured nor lent"]);
    scene.run(&["halt", "agent", "ghost"]).refused(107, &["no agent `ghost`"]);
    let sound = std::fs::read_to_string(scene.config()).unwrap();
    std::fs::write(scene.config(), sound.replace("[agent.writer]", "[agent.writer]\npurpos = \"x\"")).unwrap();
    for name in ["writer", "ghost"] {
        let said = scene.run(&["halt", "agent", name]).ok().out;
        assert!(said.contains("the configuration does not load") && said.contains("purpos"), "{said}");
        assert!(said.contains(&format!("until `selvedge resume agent {name}`")), "{said}");
    }
    let said = scene.run(&["credentials", "withdraw", "ghost"]).ok().out;
    assert!(said.contains("lent to nobody") && said.contains("does not load") && said.contains("purpos"), "{said}");
    let malformed = scene.run(&["halt", "agent", "two words"]);
    assert_eq!(malformed.status, 100, "{malformed:?}");
    std::fs::write(scene.config(), sound).unwrap();
    assert_eq!(outcome_of(&scene, &run), "halted");
    assert_eq!(scene.json(&["ps"])["halts"], serde_json::json!(["agent ghost", "agent writer"]));
    scene.run(&["halt", "agent", "gost"]).refused(107, &["no agent `gost`"]);
}

#[test]
fn only_what_is_halted_can_be_resumed() {
    let scene = Scene::ready();
    let _keeper = scene.serve();
    scene.run(&["resume"]).refused(107, &["everything is not halted"]);
    scene.run(&["halt", "agent", "writer"]).ok();
    scene.run(&["resume"]).refused(107, &["agent writer"]);
    scene.run(&["halt"]).ok();
    let said = scene.run(&["resume"]).ok();
    assert!(said.out.contains("still halted: agent writer"), "{said:?}");
    scene.run(&["resume", "agent", "writer"]).ok();
    assert_eq!(scene.task("echo more >> src/greeting")["outcome"], "proposed");
}

/// What an agent left is collected by its slot, which may take long. The credential does not wait for it.
#[test]
fn a_halt_takes_credentials_back_while_a_slot_is_busy_collecting_c4() {
    let scene = Scene::ready();
    let _keeper = scene.serve();
    let (marker, big) = (
        format!("marker-{}", scene.repo().parent().unwrap().file_name().unwrap().to_str().unwrap()),
        "for i in 1 2; do head -c 20000000 /dev/urandom | base64 > src/big-$i; done",
    );
    scene.run(&["run", "--agent", "writer", &format!("{big}; echo {marker}")]).ok();
    let gone = format!("; echo {marker}");
    eventually("it runs", || (!processes_with(&gone).is_empty()).then_some(()));
    eventually("its program has ended", || processes_with(&gone).is_empty().then_some(()));
    let said = scene.json(&["halt"]);
    assert_eq!(said["may_still_live"], serde_json::json!([]), "{said}");
    assert_eq!(said["ended"], 1, "{said}");
    let run = text(&scene.runs()[0], "run").to_owned();
    eventually("it is halted", || (outcome_of(&scene, &run) == "halted").then_some(()));
}

#[test]
fn policies_that_change_bind_the_next_order_and_are_recorded_d12() {
    let scene = Scene::ready();
    let _keeper = scene.serve();
    let program = ["run", "--command", "--wait", "--", "true"];
    scene.run(&program).ok();
    forbid(&scene, "forbid (principal, action == Action::\"sandbox.start\", resource);");
    eventually("it is refused", || (scene.run(&program).status == 102).then_some(()));
    std::fs::write(scene.state().join("policies/closed.cedar"), "garbage").unwrap();
    eventually("nothing is allowed", || scene.run(&program).err.contains("do not load").then_some(()));
    std::fs::remove_file(scene.state().join("policies/closed.cedar")).unwrap();
    eventually("it is allowed again", || (scene.run(&program).status == 0).then_some(()));
    let log = scene.run(&["audit", "show", "--json"]).ok().out;
    assert!(log.matches("\"rules_changed\"").count() >= 3, "each change is on record");
}

#[test]
fn policies_that_change_bind_a_live_run_at_its_door_d12() {
    let scene = Scene::ready();
    // Nobody listens there, so what is allowed fails at the server, and what is not fails at the door.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    scene.configure(
        "",
        &format!(
            "{}reach = [\"GET https://files.selvedge.test/\"]\n\
             [danger.addresses.\"files.selvedge.test\"]\nallow = [\"127.0.0.1\"]\nplain_port = {port}\n",
            agent("asker", "draft")
        ),
    );
    let _keeper = scene.serve();
    let ask = "curl --silent --output /dev/null --write-out '%{http_code}\\n' https://files.selvedge.test/";
    let script = format!("{ask}; for i in $(seq 600); do c=$({ask}); [ $c = 403 ] && echo $c && exit; sleep 0.1; done");
    scene.run(&["run", "--agent", "asker", &script]).ok();
    let run = eventually("it runs", || scene.runs().first().map(|run| text(run, "run").to_owned()));
    eventually("it asked once", || scene.run(&["output", &run]).out.contains("502").then_some(()));
    forbid(&scene, "forbid (principal, action == Action::\"http.request\", resource);");
    eventually("its next request is refused", || scene.run(&["output", &run]).out.contains("403").then_some(()));
}

#[test]
fn a_configuration_that_changes_is_taken_up_and_a_broken_one_is_not() {
    let scene = Scene::ready();
    let _keeper = scene.serve();
    let sound = std::fs::read_to_string(scene.config()).unwrap();
    let purpose = |scene: &Scene| text(&scene.json(&["can", "writer"]), "purpose").to_owned();
    std::fs::write(scene.config(), sound.replace("small changes", "other changes")).unwrap();
    eventually("the new one is in force", || (purpose(&scene) == "other changes").then_some(()));
    std::fs::write(scene.config(), "garbage").unwrap();
    eventually("the operator is told", || {
        std::fs::read_to_string(scene.path("serve.log")).unwrap().contains("until it is mended").then_some(())
    });
    assert_eq!(purpose(&scene), "other changes");
}

/// What was refused is not recorded as what decides, and whoever looks is told (D12).
#[test]
fn a_refused_configuration_is_recorded_as_refused_once_and_told_by_every_look_d12() {
    let scene = Scene::ready();
    let _keeper = scene.serve();
    let sound = std::fs::read_to_string(scene.config()).unwrap();
    let typo = sound.replace("[agent.writer]", "[agent.writer]\npurpos = \"x\"");
    // In one step, as editors do: half of a file may well be sound.
    let written = |text: &str| {
        let beside = scene.config().with_extension("new");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, scene.config()).unwrap();
    };
    let log = || scene.run(&["audit", "show"]).ok().out;
    let told = |scene: &Scene| scene.json(&["ps"])["configuration"].clone();
    assert_eq!(told(&scene), Value::Null);
    written(&typo);
    eventually("it is refused", || told(&scene).is_string().then_some(()));
    for (command, status) in [(&["ps"][..], 0), (&["doctor"], 0), (&["identities", "--check"], 115)] {
        let said = scene.run(command);
        let line = said.out.lines().find(|line| line.contains("the configuration on disk is not in force"));
        assert_eq!(said.status, status, "{said:?}");
        assert!(line.is_some_and(|line| line.contains("selvedge.toml") && line.contains("purpos")), "{said:?}");
    }
    // The same content again is nothing new; another one is.
    written(&typo);
    written(&format!("{typo}\n# more\n"));
    eventually("both are on record", || (log().matches("configuration_refused").count() == 2).then_some(()));
    assert!(!log().contains("the new ones decide from here on"), "{}", log());
    written(&sound);
    eventually("it is in force again", || told(&scene).is_null().then_some(()));
    assert_eq!(log().matches("the new ones decide from here on").count(), 1);
    scene.run(&["identities", "--check"]).ok();
}

/// A member of the group may ask for work. Which files of the host the keeper reads for it is not theirs to say.
#[test]
fn only_the_keeper_s_user_names_an_advisory_database_a105() {
    assert!(is_root(), "needs root: only root can speak to the keeper as somebody else");
    let scene = Scene::ready();
    scene.configure(
        "",
        "[agent.remediate]\nruntime = \"remediate\"\nowner = \"o\"\npurpose = \"p\"\nescalate = \"e\"\ntrust = \"propose\"\n\
         may = [\"read\", \"write\"]\n",
    );
    let _keeper = scene.serve();
    let theirs = scene.command_as(65533, &["scan", "--advisories", "/etc", "--wait"]).output().unwrap();
    common::Said::of(&theirs).refused(102, &["only the user who runs the keeper"]);
    // And what the keeper's own user names is for that one scan.
    let own = scene.run(&["scan", "--advisories", "/etc", "--wait"]);
    assert_ne!(own.status, 109, "{own:?}");
    scene.run(&["scan", "--wait"]).refused(109, &["no advisory database"]);
}
