//! What an adversary and a newcomer found, kept found: each of these once went wrong.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

use common::{CHECK, Scene, eventually, text};

/// A scene whose check is a script outside every directory of tests.
fn checked_by(script: &str) -> Scene {
    let scene = Scene::ready();
    scene.commit(script, CHECK);
    scene.configure(&format!("checks = [\"sh ./{script}\"]"), "");
    scene
}

#[test]
fn a_script_that_a_check_names_is_taken_from_the_base_f2() {
    let scene = checked_by("check.sh");
    let forged = "printf 'echo TAP version 13; echo 1..1; echo ok 1 - greets' > check.sh";
    let run = scene.task(&format!("echo bye > src/greeting; {forged}"));
    assert_eq!(run["outcome"], "held", "{run}");
    // Touching the judge without breaking anything passes the base's judge, and then a person is asked.
    let run = scene.task(&format!("echo more >> src/greeting; {forged}"));
    assert_eq!(run["outcome"], "waiting", "{run}");
    let approvals = scene.json(&["approvals"]);
    assert!(approvals.to_string().contains("check.sh (check)"), "{approvals}");
}

#[test]
fn further_judges_can_be_listed_under_gate_f2() {
    let scene = checked_by("check.sh");
    scene.commit("lib/judge.inc", "grep -q hello src/greeting && echo 'ok 1 - greets' || exit 1\n");
    scene.commit("check.sh", "echo TAP version 13\necho 1..1\n. lib/judge.inc\n");
    scene.configure("checks = [\"sh ./check.sh\"]\ngate = [\"lib/\"]", "");
    let run = scene.task("echo bye > src/greeting; echo 'echo ok 1 - greets' > lib/judge.inc");
    assert_eq!(run["outcome"], "held", "{run}");
}

#[test]
fn nothing_is_merged_while_a_halt_covers_it_g5() {
    let scene = Scene::ready();
    assert_eq!(scene.task("echo more >> src/greeting")["outcome"], "proposed");
    let before = scene.landed("main");
    scene.run(&["halt"]).ok();
    scene.run(&["merge", "1"]).refused(113, &["resume"]);
    assert_eq!(scene.landed("main"), before);
    scene.run(&["resume"]).ok();
    scene.run(&["merge", "1"]).ok();
    assert_ne!(scene.landed("main"), before);
}

#[test]
fn a_path_cannot_paint_the_request_it_stands_in_a70() {
    let scene = Scene::ready();
    let run = scene.task("mkdir -p .github; touch \"$(printf '.github/\\342\\200\\256lmy.ic')\"");
    assert_eq!(run["outcome"], "waiting", "{run}");
    let shown = scene.run(&["approvals"]).ok().out;
    assert!(shown.contains("\\u{202e}") && !shown.contains('\u{202e}'), "{shown:?}");
    assert!(!text(&run, "because").contains('\u{202e}'));
}

#[test]
fn an_ad_hoc_program_sees_what_the_operator_has_checked_out() {
    let scene = Scene::ready();
    scene.git(&["checkout", "--quiet", "-b", "feature"]);
    scene.commit("only-here", "yes\n");
    assert_eq!(scene.run(&["run", "--command", "--wait", "--", "cat", "only-here"]).ok().out, "yes\n");
    scene.git(&["checkout", "--quiet", "main"]);
    assert_ne!(scene.run(&["run", "--command", "--wait", "--", "cat", "only-here"]).status, 0);
}

#[test]
fn what_a_failing_check_wrote_can_be_read() {
    let scene = Scene::ready();
    scene.commit("tests/run.sh", "echo the reason is this: $(cat src/greeting); grep -q hello src/greeting\n");
    let run = scene.task("echo bye > src/greeting");
    assert_eq!(run["outcome"], "held");
    let wrote = scene.json(&["output", text(&run, "run")]);
    let said = |purpose: &str| {
        let kept = wrote["output"].as_array().unwrap().iter().find(|kept| kept["purpose"] == purpose);
        kept.map(|kept| text(kept, "text").to_owned())
    };
    assert_eq!(said("check").as_deref(), Some("the reason is this: bye\n"), "{wrote}");
    assert_eq!(said("check-base").as_deref(), Some("the reason is this: hello\n"), "{wrote}");
}

#[test]
fn a_run_keeps_the_owner_it_had() {
    let scene = Scene::ready();
    let run = scene.task("echo more >> src/greeting");
    let owner = scene.json(&["show", text(&run, "run")])["owner"].clone();
    let configuration = std::fs::read_to_string(scene.config()).unwrap();
    std::fs::write(scene.config(), configuration.replace(owner.as_str().unwrap(), "somebody-new@example.org")).unwrap();
    assert_eq!(scene.json(&["show", text(&run, "run")])["owner"], owner);
}

/// `selvedge` as somebody else, with nothing but a group: no capability, no key to the directory.
fn as_member(scene: &Scene, group: &str, arguments: &[&str]) -> common::Said {
    let own = scene.path("selvedge");
    if !own.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_selvedge"), &own).unwrap();
        std::fs::set_permissions(scene.path("."), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid=65533", &format!("--regid={group}"), "--clear-groups"]).arg(own).args(arguments);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("SELVEDGE_STATE", scene.state()).current_dir("/");
    common::Said::of(&command.output().unwrap())
}

#[test]
fn a_group_can_be_let_in_to_approve_and_nobody_else_is() {
    assert!(common::is_root(), "needs root: only root can speak as somebody else");
    let scene = Scene::ready();
    scene.commit("tests/run.sh", "grep -q hello src/greeting\n");
    let text = std::fs::read_to_string(scene.config()).unwrap();
    std::fs::write(scene.config(), format!("[factory]\npeople = \"nogroup\"\n{text}")).unwrap();
    let serving = scene.serve();
    assert_eq!(scene.task("echo more >> src/greeting")["outcome"], "waiting");
    let approval = scene.json(&["approvals"])["approvals"][0]["approval"].as_str().unwrap().to_owned();
    scene.run(&["approve", &approval]).refused(102, &["somebody else"]);
    let state = scene.state();
    let closed = format!("`{}` does not let you through: user `root` and group `nogroup` may", state.display());
    let way_in = format!("chgrp GROUP {0} && chmod g+x {0}", state.display());
    as_member(&scene, "daemon", &["approve", &approval]).refused(104, &[&closed, &way_in]);
    as_member(&scene, "nogroup", &["approve", &approval]).ok();
    common::eventually("the run proposes", || {
        scene.json(&["proposals"])["proposals"].as_array().is_some_and(|all| !all.is_empty()).then_some(())
    });
    let others = std::fs::read_dir(scene.state()).unwrap().map(Result::unwrap);
    for entry in others.filter(|entry| entry.file_name() != "control.sock") {
        let mode = std::os::unix::fs::PermissionsExt::mode(&entry.metadata().unwrap().permissions());
        assert_eq!(mode & 0o077, 0, "{:?} is for its owner only", entry.path());
    }
    // Who is let through and not at the socket, and who comes when nobody serves, is told whom to ask for what.
    let open = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(&state, open(0o711)).unwrap();
    let words = ["control socket", "user `root` and group `nogroup`", "`people = \"GROUP\"`"];
    as_member(&scene, "daemon", &["approvals"]).refused(104, &words);
    serving.kill();
    let serve = format!("have `root` run `selvedge serve --state {}`", state.display());
    as_member(&scene, "nogroup", &["approvals"]).refused(104, &["no keeper is at work", &serve]);
    // A directory above it keeps everybody out, and is the one to open.
    let above = scene.path(".").canonicalize().unwrap();
    std::fs::set_permissions(&above, open(0o755)).unwrap();
    let inner = above.join("closed");
    std::fs::create_dir(&inner).unwrap();
    std::fs::set_permissions(&inner, open(0o700)).unwrap();
    let closed = format!("`{}` does not let you through: only user `root` may (its mode is 700)", inner.display());
    let below = inner.join("state");
    let below = ["approvals", "--state", below.to_str().unwrap()];
    as_member(&scene, "nogroup", &below).refused(104, &[&closed]);
}

/// A repository as somebody may hand it over: HEAD names a commit it does not have, and a remote promises to bring it.
#[test]
fn nothing_a_repository_configures_runs_when_its_head_is_asked_for_s28() {
    let scene = Scene::ready();
    let pwned = scene.path("pwned");
    for (key, value) in [
        ("core.repositoryformatversion", "1"),
        ("extensions.partialClone", "o"),
        ("remote.o.promisor", "true"),
        ("remote.o.url", "/nowhere"),
        ("remote.o.uploadpack", &format!("touch {}; false", pwned.display())),
    ] {
        scene.git(&["config", key, value]);
    }
    let git_dir = scene.repo().join(".git");
    std::fs::create_dir(git_dir.join("refs/foo")).unwrap();
    std::fs::write(git_dir.join("refs/foo/work"), format!("{}\n", "1".repeat(40))).unwrap();
    std::fs::write(git_dir.join("HEAD"), "ref: refs/foo/work\n").unwrap();
    // The control: plain git fetches what HEAD names, and runs what the repository says.
    let mut plain = std::process::Command::new("git");
    plain.arg("-C").arg(scene.repo()).args(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]);
    plain.output().unwrap();
    assert!(pwned.exists(), "the trap is not live");
    std::fs::remove_file(&pwned).unwrap();
    let said = scene.run(&["run", "--command", "--wait", "--", "true"]);
    assert_ne!(said.status, 0, "{said:?}");
    assert!(!pwned.exists(), "the repository's own command ran on the host: {said:?}");
}

#[test]
fn a_member_reads_what_a_run_s_programs_wrote() {
    assert!(common::is_root(), "needs root: only root can speak as somebody else");
    let scene = Scene::ready();
    scene.commit("tests/run.sh", "echo the reason is this; exit 2\n");
    let configuration = std::fs::read_to_string(scene.config()).unwrap();
    std::fs::write(scene.config(), format!("[factory]\npeople = \"nogroup\"\n{configuration}")).unwrap();
    let _serving = scene.serve();
    let run = text(&scene.task("echo more >> src/greeting"), "run").to_owned();
    let wrote = as_member(&scene, "nogroup", &["output", &run]).ok().out;
    assert!(wrote.contains("check:") && wrote.contains("the reason is this"), "{wrote}");
    let outsider = as_member(&scene, "daemon", &["output", &run]);
    assert!(outsider.status != 0 && !outsider.out.contains("nothing is kept"), "{outsider:?}");
    scene.run(&["output", "r-0000000000000"]).refused(107, &["no run"]);
    // What is there and cannot be read is an error, for whoever asks.
    let tape = scene.state().join("runs").join(&run).join("check.tape");
    std::fs::remove_file(&tape).unwrap();
    std::fs::create_dir(&tape).unwrap();
    scene.run(&["output", &run]).refused(104, &["cannot read what the programs", &run]);
}

/// A client that asks for this and goes on no further.
fn asking(scene: &Scene, request: &str) -> UnixStream {
    let mut stream = UnixStream::connect(scene.state().join("control.sock")).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream.write_all(b"\n").unwrap();
    stream
}

#[test]
fn a107_many_clients_that_only_wait_keep_nobody_from_halting() {
    let scene = Scene::ready();
    let _serving = scene.serve();
    let watching = || {
        let mut idle: Vec<UnixStream> = Vec::new();
        common::eventually("every place is taken", || {
            // Those who come all at once are not all heard; whoever is turned away comes again.
            idle.extend(std::iter::repeat_with(|| asking(&scene, r#"{"ask":"watch","after":null}"#)).take(80));
            let said = scene.run(&["ps"]);
            (said.status == 104 && said.err.contains("busy with other clients")).then_some(())
        });
        // Nor do some that say nothing at all.
        let _mute: Vec<UnixStream> =
            (0..20).map(|_| UnixStream::connect(scene.state().join("control.sock")).unwrap()).collect();
        scene.run(&["halt"]).ok();
    };
    watching();
    let halts = common::eventually("the places are free again", || {
        let said = scene.run(&["ps", "--json"]);
        (said.status == 0).then(|| said.document()["halts"].clone())
    });
    assert_eq!(halts, serde_json::json!(["everything"]));
}

#[test]
fn a107_a_keeper_that_can_open_no_more_files_stays_and_answers_later() {
    let scene = Scene::ready();
    let serving = scene.serve();
    let pid = serving.pid().to_string();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let limited =
        std::process::Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={}", open + 8)]).status();
    assert!(limited.unwrap().success());
    let idle: Vec<UnixStream> =
        std::iter::repeat_with(|| asking(&scene, r#"{"ask":"watch","after":null}"#)).take(30).collect();
    // One that waits to be let in is heard once others have left.
    let mut last = asking(&scene, r#"{"ask":"ping"}"#);
    drop(idle);
    let mut answer = String::new();
    BufReader::new(&mut last).read_line(&mut answer).unwrap();
    assert_eq!(answer, "{\"reply\":\"done\",\"value\":null}\n");
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert!(!state.contains(") Z "), "the keeper is gone: {state}");
}

#[test]
fn s37_one_huge_order_keeps_nobody_from_the_rest_of_the_log() {
    let scene = Scene::ready();
    let _serving = scene.serve();
    // More than a line of the socket as soon as it stands in an entry twice.
    let words = format!("true {}", "x".repeat(3 << 20));
    let request = serde_json::json!({
        "ask": "run", "agent": "writer", "repo": null, "text": words, "argv": [], "scan": false, "advisories": null,
        "wait": true,
    });
    let stream = asking(&scene, &request.to_string());
    let last = BufReader::new(stream).lines().map(Result::unwrap).last().unwrap();
    let run = serde_json::from_str::<serde_json::Value>(&last).unwrap()["value"]["runs"][0]["run"].clone();
    let run = run.as_str().unwrap_or_else(|| panic!("{last:.300}"));
    let show = scene.json(&["show", run]);
    let triggered = &show["entries"][0];
    assert_eq!(text(triggered, "kind"), "triggered");
    let shown = text(&triggered["detail"], "text");
    assert!(shown.starts_with("true ") && shown.contains("bytes more: too long to show]"), "{shown:.100}");
    scene.run(&["ps", "--all"]).ok();
    scene.run(&["approvals"]).ok();
    scene.run(&["audit", "show", "--json"]).ok();
    // What is exported is the log itself: nothing is left out.
    let export = scene.run(&["audit", "export"]).ok().out;
    let lines: Vec<serde_json::Value> = export.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["entries"].as_u64().unwrap(), lines.len() as u64 - 1);
    let triggered = lines.iter().find(|line| line["kind"] == "triggered").unwrap();
    let body: serde_json::Value = serde_json::from_str(text(triggered, "body")).unwrap();
    assert!(body.to_string().contains(&serde_json::json!(words).to_string()), "the words are whole in the export");
}

/// That sandboxes can be had is looked at once, and again when one was refused: each proves its own fences all the same.
#[test]
fn a_host_that_can_fence_no_more_is_told_to_whoever_asks_next() {
    let scene = Scene::ready();
    let _serving = scene.serve();
    let program = ["run", "--command", "--wait", "--", "true"];
    scene.run(&program).ok();
    let (sandboxes, aside) = (scene.state().join("sandboxes"), scene.path("aside"));
    std::fs::rename(&sandboxes, &aside).unwrap();
    std::fs::write(&sandboxes, "").unwrap();
    scene.run(&["run", "--command", "--", "true"]).ok();
    eventually("a sandbox was refused, and nobody has to wait for a run to hear it", || {
        let said = scene.run(&program);
        said.err.contains("cannot use the state directory").then_some(())
    });
    std::fs::remove_file(&sandboxes).unwrap();
    std::fs::rename(&aside, &sandboxes).unwrap();
    scene.run(&program).ok();
}

/// What agents wrote is read by git in a sandbox or not at all. The one that is found first here is where no sandbox can see it.
#[test]
fn a_git_that_no_sandbox_can_see_is_named_and_not_run_without_one() {
    let scene = Scene::ready();
    let (dir, log) = (scene.path("elsewhere"), scene.path("git.log"));
    std::fs::create_dir(&dir).unwrap();
    let search = std::env::var("PATH").unwrap();
    let git = std::env::split_paths(&search).map(|dir| dir.join("git")).find(|git| git.is_file()).unwrap();
    let script = format!("#!/bin/sh\necho \"$@\" >> {}\nexec {} \"$@\"\n", log.display(), git.display());
    std::fs::write(dir.join("git"), script).unwrap();
    std::fs::set_permissions(dir.join("git"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let said = |path: &str, arguments: &[&str]| {
        let said = scene.command(arguments).env("PATH", path).output().unwrap();
        let words = [said.stdout, said.stderr].concat();
        (said.status.code(), String::from_utf8_lossy(&words).into_owned())
    };
    let (alone, named) = (dir.display().to_string(), format!("git is `{}", dir.display()));
    for arguments in [&["doctor"][..], &["run", "--agent", "writer", "--wait", "true"]] {
        let (status, words) = said(&alone, arguments);
        assert_eq!(status, Some(108), "{arguments:?}: {words}");
        assert!(words.contains(&named) && words.contains("install git 2.40 or newer below /usr"), "{words}");
    }
    let called = std::fs::read_to_string(&log).unwrap();
    assert!(
        called.lines().all(|call| call.ends_with("version")),
        "it was asked which it is, and nothing else: {called}"
    );
    // Where another one is, that one is used, and what stops something needs none.
    let (status, words) = said(&format!("{alone}:{search}"), &["doctor"]);
    assert!(status == Some(0) && words.contains("git: git version"), "{words}");
    assert_eq!(said(&alone, &["halt"]).0, Some(0));
}
