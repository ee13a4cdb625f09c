//! The loop, end to end: what a run can come to, who may say yes, and how everything is stopped.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use common::{CHECK, PATIENCE, Said, Scene, agent, eventually, is_root, processes_with, text};
use serde_json::{Value, json};

/// Somebody who did not ask for the run.
const SOMEBODY_ELSE: u32 = 65533;

/// A check whose tests nobody can count: by default a person has to approve what it passes.
const UNCOUNTED: &str = "grep -q hello src/greeting\n";

/// A change that passes the checks.
const CHANGE: &str = "echo more >> src/greeting";

/// A scene in which every proposal needs a person's yes.
fn careful() -> Scene {
    let scene = Scene::ready();
    scene.commit("tests/run.sh", UNCOUNTED);
    scene
}

/// The one request for approval that is open.
fn request(scene: &Scene) -> Value {
    let approvals = scene.json(&["approvals"])["approvals"].as_array().unwrap().clone();
    assert_eq!(approvals.len(), 1, "{approvals:?}");
    approvals[0].clone()
}

fn approve_as(scene: &Scene, uid: u32, approval: &str) -> Said {
    Said::of(&scene.command_as(uid, &["approve", approval]).output().unwrap())
}

fn outcome_of(scene: &Scene, run: &str) -> Value {
    scene.json(&["show", run])["outcome"].clone()
}

fn comes_to(scene: &Scene, run: &str, outcome: &str) {
    eventually(&format!("{run} is {outcome}"), || (outcome_of(scene, run) == outcome).then_some(()));
}

fn entries(scene: &Scene, run: &str, kind: &str) -> Vec<Value> {
    let show = scene.json(&["show", run]);
    show["entries"].as_array().unwrap().iter().filter(|entry| entry["kind"] == kind).cloned().collect()
}

/// A program that runs until it is killed and can be told from every other process of the machine.
fn marked_sleep(scene: &Scene) -> (String, String) {
    let marker = format!("marker-{}", scene.repo().parent().unwrap().file_name().unwrap().to_str().unwrap());
    (format!("sleep 600; echo {marker}"), marker)
}

/// Waits for the program itself: the command that asked for it has the same words in its own line, and a halt that comes
/// before the run has begun leaves it queued.
fn runs_inside(marker: &str) {
    let is_the_program =
        |pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"sh\0-c\0"));
    eventually("the program runs", || {
        processes_with(&format!("; echo {marker}")).iter().any(is_the_program).then_some(())
    });
}

#[test]
fn a_verified_change_is_proposed_and_a_person_merges_it_into_the_bare_clone_only() {
    let scene = Scene::ready();
    let (main, files) = (scene.git(&["rev-parse", "HEAD"]), scene.repository_files());
    let run = scene.task(CHANGE);
    assert_eq!(run["outcome"], "proposed");
    assert_eq!(scene.landed("main"), main, "a proposal moves no branch");
    let proposal = scene.json(&["proposals"])["proposals"][0].clone();
    let commit = text(&proposal, "commit");
    assert!(text(&proposal, "body").contains("1 tests ran"), "{proposal}");
    scene.run(&["merge", "1", "--at", &main]).refused(102, &["look at it again"]);
    assert_eq!(scene.landed("main"), main, "merged is exactly what was reviewed, or nothing");
    scene.run(&["merge", "1", "--at", commit]).ok();
    assert_eq!(scene.landed("main"), commit);
    assert_eq!(scene.repository_files(), files, "the operator's own clone is theirs to update");
    assert_eq!(scene.json(&["proposals"])["proposals"][0]["state"], "merged");
    scene.git(&["fetch", "--quiet", "selvedge"]);
    assert_eq!(scene.git(&["show", "selvedge/main:src/greeting"]), "hello\nmore");
    assert_eq!(
        scene.git(&["log", "-1", "--format=%an <%ae>", "selvedge/main"]),
        "Selvedge <factory@selvedge.internal>"
    );
    // The next run starts from what was merged.
    assert_eq!(scene.task("grep -q more src/greeting && echo again >> src/greeting")["outcome"], "proposed");
}

#[test]
fn commits_of_the_operator_and_merges_of_the_factory_are_brought_together_by_the_operator() {
    let scene = Scene::ready();
    scene.task(CHANGE);
    scene.run(&["merge", "1"]).ok();
    scene.commit("src/other", "mine\n");
    let run = scene.task("echo again >> src/greeting");
    assert_eq!(run["outcome"], "failed", "work on one side would leave the other out: {run}");
    assert!(text(&run, "because").contains("git pull --no-rebase selvedge main"), "{run}");
    scene.git(&["pull", "--quiet", "--no-rebase", "--no-edit", "selvedge", "main"]);
    assert_eq!(scene.task("grep -q mine src/other && echo again >> src/greeting")["outcome"], "proposed");
}

#[test]
fn a_merge_that_conflicts_says_how_to_bring_both_together() {
    let scene = Scene::ready();
    let first = scene.task("echo one > src/note");
    let second = scene.task("echo two > src/note");
    assert_eq!((&first["outcome"], &second["outcome"]), (&json!("proposed"), &json!("proposed")));
    scene.run(&["merge", "1"]).ok();
    let (run, branch) = (text(&second, "run"), format!("selvedge/{}", text(&second, "run")));
    let words = ["conflict in src/note", "selvedge run --agent writer", &format!("selvedge show {run}"), &branch];
    scene.run(&["merge", "2"]).refused(112, &words);
    // What it says works.
    scene.git(&["pull", "--quiet", "--no-rebase", "--no-edit", "selvedge", "main"]);
    scene.git(&["pull", "--quiet", "--no-rebase", "--no-edit", "-X", "theirs", "selvedge", &branch]);
    let again = scene.task("grep -q two src/note && echo three > src/note");
    assert_eq!(again["outcome"], "proposed", "{again}");
    scene.run(&["merge", "3"]).ok();
}

#[test]
fn two_factories_on_one_host_do_not_touch_each_other() {
    let scenes = [Scene::ready(), Scene::ready()];
    std::thread::scope(|threads| {
        for scene in &scenes {
            threads.spawn(|| {
                for number in 0..4 {
                    assert_eq!(scene.task(&format!("echo {number} > src/note-{number}"))["outcome"], "proposed");
                }
            });
        }
    });
    // Nor does a halt reach further than its own state directory.
    scenes[0].run(&["halt"]).ok();
    assert_eq!(scenes[1].task(CHANGE)["outcome"], "proposed");
}

#[test]
fn a_task_nobody_waits_for_is_done_all_the_same() {
    let scene = Scene::ready();
    scene.run(&["run", "--agent", "writer", CHANGE]).ok();
    assert_eq!(scene.runs()[0]["outcome"], "proposed", "whoever is the keeper for one command sees its work through");
}

#[test]
fn a_merge_asked_for_twice_happens_once() {
    let scene = Scene::ready();
    scene.task(CHANGE);
    scene.run(&["merge", "1"]).ok();
    let landed = scene.landed("main");
    let again = scene.run(&["merge", "1"]);
    assert!(again.status == 0 || (100..120).contains(&again.status), "{again:?}");
    assert_eq!(scene.landed("main"), landed, "{again:?}");
}

#[test]
fn every_outcome_has_its_exit_status() {
    let scene = Scene::ready();
    let status = |text: &str| scene.run(&["run", "--agent", "writer", "--wait", text]).status;
    assert_eq!(status("true"), 0, "nothing to do");
    assert_eq!(status(CHANGE), 0, "proposed");
    assert_eq!(status("false"), 112, "failed");
    assert_eq!(status("echo bye > src/greeting"), 111, "held");
    let outcomes: Vec<String> = scene.runs().iter().rev().map(|run| text(run, "outcome").to_owned()).collect();
    assert_eq!(outcomes, ["nothing_to_do", "proposed", "failed", "held"]);
}

#[test]
fn a_repository_without_checks_holds_every_change() {
    let scene = Scene::ready();
    scene.configure("checks = []", "");
    let run = scene.task(CHANGE);
    assert_eq!(run["outcome"], "held", "no checks is not green: {run}");
    assert!(scene.json(&["proposals"])["proposals"].as_array().unwrap().is_empty());
}

#[test]
fn a_change_that_breaks_the_checks_is_held_and_says_which() {
    let scene = Scene::ready();
    let run = scene.task("echo bye > src/greeting");
    assert_eq!(run["outcome"], "held");
    assert!(text(&run, "because").contains("sh tests/run.sh"), "{run}");
}

#[test]
fn an_agent_that_rewrites_its_judge_is_judged_by_the_base_f2() {
    let attack = "echo bye > src/greeting; printf 'echo TAP version 13; echo 1..1; echo ok 1 - greets' > tests/run.sh";
    // Without the fence the forged judge is pleased.
    let plain = tempfile::tempdir().unwrap();
    for (name, content) in [("src/greeting", "hello\n"), ("tests/run.sh", CHECK)] {
        std::fs::create_dir_all(plain.path().join(name).parent().unwrap()).unwrap();
        std::fs::write(plain.path().join(name), content).unwrap();
    }
    let judge =
        |script: &str| std::process::Command::new("sh").args(["-c", script]).current_dir(&plain).output().unwrap();
    assert!(judge(&format!("{attack}; sh tests/run.sh")).status.success(), "the attack works where nothing stops it");

    let scene = Scene::ready();
    let run = scene.task(attack);
    assert_eq!(run["outcome"], "held", "{run}");
    assert!(scene.json(&["proposals"])["proposals"].as_array().unwrap().is_empty());
}

#[test]
fn deleting_the_judge_does_not_help_an_agent_either_f2() {
    let scene = Scene::ready();
    let run = scene.task("rm tests/run.sh; echo bye > src/greeting");
    assert_eq!(run["outcome"], "held", "{run}");
}

#[test]
fn a_new_file_beside_the_tests_does_not_steer_the_base_s_f2() {
    let run_sh = format!("if [ -e tests/local.sh ]; then . tests/local.sh; fi\n{CHECK}");
    let attack = "echo bye > src/greeting; echo 'grep() { true; }' > tests/local.sh";
    let plain = tempfile::tempdir().unwrap();
    for (name, content) in [("src/greeting", "hello\n"), ("tests/run.sh", run_sh.as_str())] {
        std::fs::create_dir_all(plain.path().join(name).parent().unwrap()).unwrap();
        std::fs::write(plain.path().join(name), content).unwrap();
    }
    let mut judge = std::process::Command::new("sh");
    judge.args(["-c", &format!("{attack}; sh tests/run.sh")]).current_dir(&plain);
    assert!(judge.output().unwrap().status.success(), "the attack works where nothing stops it");

    let scene = Scene::ready();
    scene.commit("tests/run.sh", &run_sh);
    assert_eq!(scene.task(attack)["outcome"], "held");
}

#[test]
fn a_change_of_the_gate_is_told_and_needs_a_yes_a110() {
    let scene = Scene::ready();
    scene.commit("tests/more.sh", "exit 0\n");
    let run = scene.task("rm tests/more.sh; echo true >> tests/run.sh; echo more >> src/greeting");
    assert_eq!(run["outcome"], "waiting", "{run}");
    let decided = entries(&scene, text(&run, "run"), "decided");
    assert!(
        decided.iter().any(|one| one["detail"].to_string().contains("guard.gate-needs-approval")),
        "it was that policy: {decided:?}"
    );
    let asked = request(&scene).to_string();
    assert!(asked.contains("tests/more.sh (deleted)") && asked.contains("tests/run.sh (altered)"), "{asked}");
    // A new test by its name takes nothing away from the base's.
    assert_eq!(scene.task("echo 'exit 0' > tests/test_new.sh; echo more >> src/greeting")["outcome"], "proposed");
}

/// A check that counts one test for every file in `src/cases`.
const CASES: &str =
    "set -- src/cases/*\necho TAP version 13\necho 1..$#\nfor case; do echo \"ok 1 - ${case##*/}\"; done\n";

#[test]
fn a_red_base_still_requires_what_its_later_checks_passed_f1() {
    let scene = Scene::ready();
    scene.commit("src/cases/first", "");
    scene.commit("src/cases/second", "");
    scene.commit("tests/run.sh", CASES);
    scene.configure("checks = [\"ls src | grep -q fixed\", \"sh tests/run.sh\"]", "");
    let run = scene.task("touch src/fixed; rm src/cases/second");
    assert_eq!(run["outcome"], "held", "{run}");
    assert!(text(&run, "because").contains("`second` ran on the base and did not run on the change"), "{run}");
    let run = scene.task("touch src/fixed");
    assert_eq!(run["outcome"], "waiting", "what a red base did not reach nobody knows, so a person is asked: {run}");
}

#[test]
fn a_set_up_that_fails_blames_the_tree_it_failed_on_f1() {
    let scene = Scene::ready();
    // As a registry that answers the base with an error and the change with a success.
    scene.configure("checks = [\"sh tests/run.sh\"]\nenvironment = { setup = \"ls src | grep -q ready\" }", "");
    let run = scene.task("touch src/ready");
    assert_eq!(run["outcome"], "held", "{run}");
    let because = format!(
        "the base's own checks cannot run: set-up `ls src | grep -q ready` ended with exit status 1; see `selvedge output {}`",
        text(&run, "run")
    );
    assert_eq!(text(&run, "because"), because);
    scene.configure("checks = [\"sh tests/run.sh\"]\nenvironment = { setup = \"! ls src | grep -q ready\" }", "");
    let run = scene.task("touch src/ready");
    let because = text(&run, "because");
    assert!(
        because.starts_with("no check can run on the change: set-up `! ls src | grep -q ready` ended with"),
        "{run}"
    );
}

#[test]
fn a_secret_in_a_change_holds_it_and_is_written_down_nowhere_c7() {
    let scene = Scene::ready();
    let secret = format!("AKIA{}", "Q3EGRIZ4BNPWX7YT");
    // The task's own words do not hold the secret; what it leaves does.
    let run = scene.task("printf 'key = AKIA%s\\n' Q3EGRIZ4BNPWX7YT > src/settings");
    assert_eq!(run["outcome"], "held", "{run}");
    assert!(text(&run, "because").contains("AWS access key id") && text(&run, "because").contains("src/settings"));
    let findings = entries(&scene, text(&run, "run"), "finding");
    assert_eq!(findings[0]["detail"]["code"], "secret_in_change");
    let everything = scene.run(&["audit", "export"]).ok().out + &scene.run(&["show", text(&run, "run")]).out;
    assert!(!everything.contains(&secret), "the log names the kind and the place, never the secret");
    // The same change without the secret goes through, so it was the secret that held it.
    assert_eq!(scene.task("printf 'key = from the vault\\n' > src/settings")["outcome"], "proposed");
}

#[test]
fn what_policy_denies_is_refused_with_a_next_step_and_touches_nothing() {
    let scene = Scene::ready();
    let rule = "@id(\"team.not-now\")\n@owner(\"team\")\n@next_step(\"wait for the freeze to end\")\n\
                forbid (principal is Agent, action == Action::\"task.admit\", resource);\n";
    std::fs::write(scene.state().join("policies/freeze.cedar"), rule).unwrap();
    scene.run(&["policy", "check"]).ok();
    let said = scene.run(&["run", "--agent", "writer", "--wait", CHANGE]);
    assert_eq!(said.status, 102, "{said:?}");
    assert!(said.out.contains("team.not-now") && said.out.contains("wait for the freeze to end"), "{said:?}");
    let run = text(&scene.runs()[0], "run").to_owned();
    assert!(entries(&scene, &run, "sandbox_started").is_empty());
    assert!(entries(&scene, &run, "done").is_empty(), "nothing is done for a run that is refused");
    std::fs::remove_file(scene.state().join("policies/freeze.cedar")).unwrap();
    assert_eq!(scene.task(CHANGE)["outcome"], "proposed", "it was that policy");
}

#[test]
fn an_agent_below_trust_propose_proposes_nothing() {
    let scene = Scene::ready();
    scene.configure("checks = [\"sh tests/run.sh\"]", &agent("drafter", "draft"));
    let said = scene.run(&["run", "--agent", "drafter", "--wait", "--json", CHANGE]);
    let run = said.document()["runs"][0].clone();
    assert!(!["proposed", "waiting"].contains(&text(&run, "outcome")), "{run}");
    assert!(scene.json(&["proposals"])["proposals"].as_array().unwrap().is_empty());
}

#[test]
fn whoever_asked_may_merge_but_not_approve_and_a_yes_is_for_one_order_once() {
    let scene = careful();
    let _keeper = scene.serve();
    let first = scene.task(CHANGE);
    assert_eq!(first["outcome"], "waiting", "{first}");
    let asked = request(&scene);
    let (first, approval) = (text(&first, "run").to_owned(), text(&asked, "approval").to_owned());
    assert_eq!(asked["waiting"], Value::Null);
    scene.run(&["approve", &approval]).refused(102, &["whoever asked for the run does not approve"]);
    assert_eq!(outcome_of(&scene, &first), "waiting");

    approve_as(&scene, SOMEBODY_ELSE, &approval).ok();
    comes_to(&scene, &first, "proposed");
    let allowed: Vec<Value> = entries(&scene, &first, "decided")
        .into_iter()
        .filter(|one| one["detail"]["verb"] == "proposal.open" && one["detail"]["verdict"] == "allow")
        .collect();
    assert_eq!(allowed.len(), 1);
    assert_eq!(allowed[0]["detail"]["approval"], approval.as_str(), "the decision names the yes it rests on");
    assert_eq!(allowed[0]["detail"]["order_digest"], asked["order_digest"], "of exactly the order that was shown");
    scene.run(&["merge", "1"]).ok();

    // The same task again is another order: the yes is spent and covers nothing else.
    let second = scene.task("echo again >> src/greeting");
    assert_eq!(second["outcome"], "waiting", "{second}");
    assert_ne!(text(&request(&scene), "approval"), approval);
    let again = approve_as(&scene, SOMEBODY_ELSE, &approval);
    assert_ne!(again.status, 0, "a request is answered once: {again:?}");
    assert_eq!(outcome_of(&scene, text(&second, "run")), "waiting");
}

#[test]
fn an_answer_without_a_keeper_sees_the_run_through() {
    let scene = careful();
    for (answer, outcome) in [("approve", "proposed"), ("deny", "refused")] {
        let keeper = scene.serve();
        let said = scene.command_as(SOMEBODY_ELSE, &["run", "--agent", "writer", "--wait", CHANGE]).output().unwrap();
        assert_eq!(Said::of(&said).status, 103, "{said:?}");
        keeper.kill();
        scene.run(&[answer, text(&request(&scene), "approval")]).ok();
        assert_eq!(scene.runs()[0]["outcome"], outcome, "nobody else would have gone on with it");
    }
}

#[test]
fn whoever_is_asked_sees_what_was_changed_a70() {
    let scene = careful();
    let _keeper = scene.serve();
    let run = scene.task("printf 'more\\033[2J\\n' >> src/greeting");
    let id = text(&run, "run");
    let theirs = Said::of(&scene.command_as(SOMEBODY_ELSE, &["diff", id]).output().unwrap()).ok();
    assert!(theirs.out.contains("+++ b/src/greeting") && theirs.out.contains("+more"), "{theirs:?}");
    let asked = scene.run(&["approvals"]).ok().out;
    for words in ["because guard.uncounted-needs-approval", &format!("selvedge diff {id}"), "selvedge approve a-"] {
        assert!(asked.contains(words), "{asked}");
    }
    let shown = scene.json(&["diff", id]);
    assert_eq!(common::fields(&shown), ["base", "commit", "cut", "patch", "run"]);
    scene.run(&["diff", "r-0000000000000"]).refused(107, &["no run"]);
    let nothing = scene.task("true");
    scene.run(&["diff", text(&nothing, "run")]).refused(107, &["left no change"]);
    // What was held because it looks like a secret is for the operator's eyes alone.
    let held = scene.task("echo ghp_16C7e42F292c6912E7710c838347Ae178B4a > src/token");
    let held = text(&held, "run");
    Said::of(&scene.command_as(SOMEBODY_ELSE, &["diff", held]).output().unwrap()).refused(102, &["secret"]);
    scene.run(&["diff", held]).ok();
}

#[test]
fn a_no_ends_the_run_as_refused() {
    let scene = careful();
    let _keeper = scene.serve();
    let run = scene.task(CHANGE);
    scene.run(&["deny", text(&request(&scene), "approval")]).ok();
    comes_to(&scene, text(&run, "run"), "refused");
    assert!(scene.json(&["approvals"])["approvals"].as_array().unwrap().is_empty());
    assert!(scene.json(&["proposals"])["proposals"].as_array().unwrap().is_empty());
}

#[test]
fn an_unanswered_request_lapses_into_a_no_and_a_late_yes_is_refused() {
    let scene = careful();
    scene.configure("checks = [\"sh tests/run.sh\"]\napproval_within = \"3s\"", "");
    let _keeper = scene.serve();
    let run = scene.task(CHANGE);
    let approval = text(&request(&scene), "approval").to_owned();
    comes_to(&scene, text(&run, "run"), "refused");
    let show = scene.json(&["show", text(&run, "run")]);
    assert!(text(&show, "because").contains("nobody answered"), "a lapse is told as a lapse: {show}");
    if is_root() {
        let late = approve_as(&scene, SOMEBODY_ELSE, &approval);
        assert_ne!(late.status, 0, "{late:?}");
    }
    assert_eq!(outcome_of(&scene, text(&run, "run")), "refused");
}

#[test]
fn a_waiting_run_survives_the_death_of_its_keeper_and_holds_nothing() {
    let scene = careful();
    let keeper = scene.serve();
    let run = scene.task(CHANGE);
    let run = text(&run, "run").to_owned();
    let approval = text(&request(&scene), "approval").to_owned();
    let died = |entry: &&Value| text(entry, "summary").contains("is dead");
    assert_eq!(entries(&scene, &run, "happened").iter().filter(died).count(), 1, "a run that waits has no live lease");
    keeper.kill();
    let _next = scene.serve();
    assert_eq!(outcome_of(&scene, &run), "waiting");
    assert_eq!(text(&request(&scene), "approval"), approval);
    approve_as(&scene, SOMEBODY_ELSE, &approval).ok();
    comes_to(&scene, &run, "proposed");
    assert_eq!(scene.runs().len(), 1);
    let attempts = scene.runs()[0]["attempts"].clone();
    assert_eq!(attempts, 1, "waiting cost no attempt");
}

#[test]
fn a_halt_kills_what_runs_and_nothing_starts_until_it_is_lifted() {
    let scene = Scene::ready();
    let _keeper = scene.serve();
    let (program, marker) = marked_sleep(&scene);
    let queued = scene.run(&["run", "--command", "--json", "--", "sh", "-c", &program]).ok().document();
    assert_eq!(queued["runs"].as_array().unwrap().len(), 0, "without --wait nobody waits");
    runs_inside(&marker);
    let run = text(&scene.runs()[0], "run").to_owned();
    assert_eq!(scene.json(&["halt"])["killed"], 1);
    assert!(processes_with(&marker).is_empty(), "when `halt` is back, nothing of the run lives");
    comes_to(&scene, &run, "halted");
    assert_eq!(scene.json(&["ps"])["halts"][0], "everything");
    let refused = ["run", "--command", "--wait", "--", "true"];
    scene.run(&refused).refused(113, &["everything is halted", "`selvedge resume`"]);
    scene.run(&["resume"]).ok();
    assert_eq!(scene.json(&["ps"])["halts"].as_array().unwrap().len(), 0);
    scene.run(&refused).ok();
}

#[test]
fn a_halt_reaches_a_command_that_is_its_own_keeper() {
    let scene = Scene::ready();
    let (program, marker) = marked_sleep(&scene);
    let mut command = scene.command(&["run", "--command", "--wait", "--", "sh", "-c", &program]);
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    runs_inside(&marker);
    scene.run(&["halt"]).ok();
    let said = Said::of(&child.wait_with_output().unwrap());
    assert_eq!(said.status, 113, "{said:?}");
    assert!(processes_with(&marker).is_empty());
}

#[test]
fn a_halt_has_a_scope() {
    let scene = Scene::ready();
    scene.configure("checks = [\"sh tests/run.sh\"]", &agent("other", "propose"));
    scene.run(&["halt", "agent", "wrtier"]).refused(107, &["no agent `wrtier`", "nothing was stopped"]);
    scene.run(&["halt", "agent", "writer"]).ok();
    let status = |agent: &str| scene.run(&["run", "--agent", agent, "--wait", "true"]).status;
    assert_eq!((status("writer"), status("other")), (113, 0));
    scene.run(&["resume", "agent", "writer"]).ok();
    scene.run(&["halt", "repo", "repo"]).ok();
    assert_eq!((status("writer"), status("other")), (113, 113));
    scene.run(&["resume", "repo", "repo"]).ok();
    assert_eq!((status("writer"), status("other")), (0, 0));
}

#[test]
fn a_revoked_run_ends_and_others_go_on() {
    let scene = Scene::ready();
    let _keeper = scene.serve();
    let (program, marker) = marked_sleep(&scene);
    scene.run(&["run", "--command", "--", "sh", "-c", &program]).ok();
    runs_inside(&marker);
    let run = text(&scene.runs()[0], "run").to_owned();
    scene.run(&["revoke", &run]).ok();
    assert!(processes_with(&marker).is_empty());
    comes_to(&scene, &run, "halted");
    let lives = |entry: &Value| {
        entry["summary"].as_str().is_some_and(|line| line.starts_with("lease") && line.contains("dead"))
    };
    eventually("its lease is dead", || entries(&scene, &run, "happened").iter().any(lives).then_some(()));
    scene.run(&["run", "--command", "--wait", "--", "true"]).ok();
}

#[test]
fn a_command_says_the_same_with_and_without_a_keeper() {
    let scene = Scene::ready();
    let run = text(&scene.task(CHANGE), "run").to_owned();
    let commands = [
        vec!["ps", "--all"],
        vec!["show", &run],
        vec!["proposals"],
        vec!["approvals"],
        vec!["can", "writer"],
        vec!["show", "r-0000000000000"],
        vec!["merge", "9"],
    ];
    let ask = || -> Vec<(i32, String)> {
        let said = commands.iter().map(|command| scene.run(&[&command[..], &["--json"]].concat()));
        said.map(|said| (said.status, said.out)).collect()
    };
    let alone = ask();
    let _keeper = scene.serve();
    assert_eq!(ask(), alone);
    let ad_hoc = scene.run(&["run", "--command", "--wait", "--", "sh", "-c", "echo out; echo err >&2; exit 5"]);
    assert_eq!((ad_hoc.status, ad_hoc.out.as_str()), (5, "out\n"));
    assert!(ad_hoc.err.starts_with("err\n"));
    scene.json(&["audit", "verify"]);
    assert!(scene.run(&["audit", "export"]).ok().out.lines().count() > 10);
}

#[test]
fn a_state_directory_has_one_keeper() {
    let scene = Scene::ready();
    let _keeper = scene.serve();
    scene.run(&["serve"]).refused(104, &["another process keeps", "one keeper per state directory"]);
}

#[test]
fn a_keeper_that_is_to_stay_waits_for_a_command_that_is_its_own() {
    let scene = Scene::ready();
    // Holds the lock and answers nobody, as a command that needs no socket.
    let short = std::fs::File::create(scene.state().join("lock")).unwrap();
    short.lock().unwrap();
    let mut keeper = scene.command(&["serve"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut told = std::io::BufRead::lines(std::io::BufReader::new(keeper.stderr.take().unwrap()));
    let waits = told.next().unwrap().unwrap();
    drop(short);
    let keeps = told.next().unwrap_or_else(|| panic!("it gave up: {waits}")).unwrap();
    keeper.kill().unwrap();
    keeper.wait().unwrap();
    assert!(waits.contains("another process keeps") && waits.contains("waiting for it to end"), "{waits}");
    assert!(keeps.starts_with("keeping "), "{keeps}");
}

#[test]
fn watch_prints_one_event_per_line_as_it_happens() {
    let scene = Scene::ready();
    let _keeper = scene.serve();
    let log = scene.path("watched");
    let mut command = scene.command(&["watch", "--json", "--after", "0"]);
    let mut child = command.stdout(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    scene.task("true");
    let settled = eventually("the end of the run is seen", || {
        let text = std::fs::read_to_string(&log).unwrap();
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        lines.iter().any(|line| line["detail"]["event"] == "settled").then_some(lines)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let seqs: Vec<u64> = settled.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "no gap, nothing twice: {seqs:?}");
}

#[test]
fn the_schedule_starts_work_that_anybody_may_approve() {
    let scene = careful();
    let daily = agent("daily", "propose").replace("{text}", CHANGE);
    let when = "[[when]]\nevery = \"1h\"\nrun = \"daily\"\nrepo = \"repo\"\n";
    scene.configure("checks = [\"sh tests/run.sh\"]", &format!("{daily}\n{when}"));
    let keeper = scene.serve();
    let run = eventually("the clock starts a run that comes to wait", || {
        scene.runs().into_iter().find(|run| run["outcome"] == "waiting")
    });
    let triggered = entries(&scene, text(&run, "run"), "triggered");
    assert_eq!((text(&triggered[0], "actor"), text(&triggered[0]["detail"], "source")), ("factory", "schedule"));
    scene.run(&["approve", text(&request(&scene), "approval")]).ok();
    comes_to(&scene, text(&run, "run"), "proposed");
    keeper.kill();
    let _keeper = scene.serve();
    // Another keeper begins a moment after its start with what was never started, and with nothing else.
    let other = agent("other", "propose").replace("{text}", CHANGE);
    let more = when.replace("daily", "other");
    scene.configure("checks = [\"sh tests/run.sh\"]", &format!("{daily}\n{other}\n{when}{more}"));
    eventually("the clock starts the other one", || scene.runs().into_iter().find(|run| run["agent"] == "other"));
    let daily = scene.runs().into_iter().filter(|run| run["agent"] == "daily").count();
    assert_eq!(daily, 1, "once an hour is once");
    // What is halted is not started later for every time it was due meanwhile.
    scene.run(&["halt"]).ok();
    let often = when.replace("1h", "1s").replace("daily", "third");
    let third = agent("third", "propose").replace("{text}", CHANGE);
    scene.configure("checks = [\"sh tests/run.sh\"]", &format!("{third}\n{often}"));
    std::thread::sleep(std::time::Duration::from_secs(8));
    assert_eq!(scene.json(&["ps"])["queued"], serde_json::json!([]));
    assert!(PATIENCE.as_secs() < 3600);
}
