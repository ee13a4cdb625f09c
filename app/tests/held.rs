//! A tool call that needs a yes holds its turn: the sandbox stands still, nothing is lent to it, and once a person has answered, or nobody
//! has, it goes on (C8, D3, D5, D6; ). The model is scripted, and the forge that counts its tokens a stand-in written from
//! its published description; not run against real services.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use common::asking::{CLIENT, PROTOCOLS, first};
use common::coding::{CLAUDE_CODE, Employed, TASK, steps};
use common::models::{Asker, KEY, ask, cost};
use common::people::{TICKS, nothing_is_forged};
use common::{Scene, eventually, gitlab, is_root, text};
use selvedge_scripted::{Script, Server, Turn};
use serde_json::{Value, json};

/// One streamed request by hand.
fn stream(protocol: &str) -> String {
    let (path, body) = first(protocol, true);
    ask((path, &body)) + "\n"
}

/// Three calls in one turn, the second of which needs a yes in these tests; then a word on what came of them.
fn three_calls() -> Script {
    let called = Turn::new()
        .text("Three things.")
        .call("Read", json!({ "file_path": "src/greeting" }))
        .call("Bash", json!({ "command": "make deploy" }))
        .call("Write", json!({ "file_path": "out", "content": "x" }))
        .costs(cost(2_000, 100));
    let ended = Turn::new().text("All three.").costs(cost(2_500, 20));
    Script::new(KEY).turn(called).turn(ended)
}

/// The factory of an agent, in which a call of its tool `Bash` needs a yes.
fn scene(asker: Asker) -> Scene {
    let scene = asker.scene();
    scene.commit("client.py", CLIENT);
    scene.ask_first("context.order.tool == \"Bash\"");
    scene
}

/// The requests about tool calls that nobody has answered.
fn asked(scene: &Scene) -> Vec<Value> {
    scene.unanswered().into_iter().filter(|request| request["verb"] == "tool.call").collect()
}

/// What was decided about tool calls.
fn answers(scene: &Scene, run: &str) -> Vec<String> {
    scene.verdicts(run, "tool.call")
}

#[test]
fn a_held_turn_goes_on_unchanged_once_somebody_said_yes_in_every_protocol_c8_d5_a72() {
    if !is_root() {
        return;
    }
    for (protocol, _) in PROTOCOLS {
        let server = Server::start(three_calls()).unwrap();
        let scene = scene(Asker::of(&server).speaks(protocol));
        let _keeper = scene.serve();
        let run = scene.begin(&format!("{}echo; echo END\n", stream(protocol)));
        let request = scene.held(&run, None);
        assert_eq!((&request["facts"]["tool"], &request["facts"]["index"]), (&json!("Bash"), &json!(1)), "{protocol}");
        let before = scene.printed(&run);
        assert!(!before.contains("deploy") && !before.contains("END"), "{protocol}: {before}");
        // Whoever asked for the run does not approve it (D6).
        assert_ne!(scene.run(&["approve", text(&request, "approval")]).status, 0);
        scene.approve(&request).ok();
        scene.settled(&run);
        let out = scene.printed(&run);
        for word in ["Three things", "\"Read\"", "make deploy", "\"Write\"", "END"] {
            assert!(out.contains(word), "{protocol}: {word}: {out}");
        }
        assert!(!out.contains("selvedge_denied") && !out.contains(KEY), "{protocol}: {out}");
        let sign = match protocol {
            "anthropic-messages" => "event: ping",
            "gemini" => "\n\n\n",
            _ => ": held",
        };
        assert!(out.contains(sign), "{protocol}: no sign of life: {out}");
        assert_eq!(answers(&scene, &run), ["allow", "needs_approval", "allow", "allow"], "{protocol}");
        let shown = scene.entries(&run);
        let last = shown.iter().rev().find(|e| e["detail"]["verdict"] == "allow" && e["detail"]["verb"] == "tool.call");
        assert_eq!(last.unwrap()["detail"]["approval"], request["approval"], "{protocol}: it rests on this yes");
        assert_ne!(scene.approve(&request).status, 0, "{protocol}: the yes is spent");
        scene.run(&["audit", "verify"]).ok();
    }
}

#[test]
fn while_a_turn_is_held_its_sandbox_stands_still_and_no_credential_lives_c8_a76() {
    if !is_root() {
        return;
    }
    let (port, shelf) = gitlab::start();
    let server = Server::start(three_calls()).unwrap();
    let scene = scene(Asker::of(&server).with("credentials = [\"issues\"]").beside(&gitlab::tables(port)));
    scene.store("issues", gitlab::KEY).ok();
    let _keeper = scene.serve();
    let get = gitlab::read_issues();
    let run = scene.begin(&format!("{TICKS}{get}\npython3 client.py anthropic-messages\n{get}\nkill $ticking\n"));
    let request = scene.held(&run, None);
    eventually("nothing lives at the forge", || shelf.lock().unwrap().live.is_empty().then_some(()));
    let standing = scene.json(&["ps", "--all"])["runs"][0].clone();
    assert_eq!((&standing["stage"], &standing["waiting"]["approval"]), (&json!("working"), &request["approval"]));
    assert_eq!(standing["waiting"]["until"], request["until"], "who can end it, and when it gives up: {standing}");
    let before = scene.ticks(&run);
    std::thread::sleep(std::time::Duration::from_millis(600));
    assert_eq!(
        (scene.ticks(&run), shelf.lock().unwrap().live.len()),
        (before, 0),
        "it stands still, and holds nothing"
    );
    let alive: Vec<_> = scene.entries(&run).into_iter().filter(|entry| entry["kind"] == "happened").collect();
    let count = |word: &str| alive.iter().filter(|e| e["summary"].as_str().unwrap().contains(word)).count();
    assert_eq!((count("lives, until"), count("is dead, and a probe")), (3, 3), "{alive:?}");
    scene.approve(&request).ok();
    let (settled, out) = (scene.settled(&run), scene.printed(&run));
    assert!(out.contains("called Bash") && out.contains("All three."), "{out} {settled}");
    assert!(scene.ticks(&run) > before, "it goes on");
    let shelf = shelf.lock().unwrap();
    let token = |number: usize| (format!("glpat-canary-{number:08}"), true);
    assert_eq!((shelf.made, shelf.live.len(), shelf.used.clone()), (2, 0, vec![token(1), token(2)]), "{out}");
    assert!(server.seen().iter().all(|seen| seen.status == 200) && server.seen().len() == 2);
}

#[test]
fn a_no_and_nobody_s_answer_deny_and_the_same_call_is_not_asked_again_a74_a75() {
    if !is_root() {
        return;
    }
    for (limit, kind, told) in
        [("10m", "approval_denied", "a person said no"), ("1s", "approval_timed_out", "nobody answered in time")]
    {
        let called = Turn::new().call("Bash", json!({ "command": "make deploy" })).costs(cost(9, 9));
        let ended = Turn::new()
            .text("I was told.")
            .costs(cost(9, 9))
            .told(told, Turn::new().text("Nobody told me.").costs(cost(9, 9)));
        let server = Server::start(Script::new(KEY).turn(called).turn(ended)).unwrap();
        let scene = scene(Asker::of(&server).in_repo(&format!("hold_at_most = \"{limit}\"")));
        let _keeper = scene.serve();
        let asks_twice = format!("python3 client.py anthropic-messages\n{}", stream("anthropic-messages"));
        let run = scene.begin(&asks_twice);
        let request = eventually("a person is asked", || {
            scene.entries(&run).into_iter().find(|entry| entry["kind"] == "approval_asked")
        });
        let approval = json!({ "approval": request["detail"]["approval"] });
        if limit == "10m" {
            scene.run(&["deny", text(&approval, "approval")]).ok();
        }
        scene.settled(&run);
        let out = scene.printed(&run);
        assert_ne!(scene.approve(&approval).status, 0, "a later yes does nothing");
        let kinds = scene.kinds(&run);
        let of = |kind: &str| kinds.iter().filter(|one| *one == kind).count();
        assert_eq!((of("approval_asked"), of("turn_held"), of(kind), of("turn_goes_on")), (1, 1, 1, 1), "{kinds:?}");
        assert_eq!(answers(&scene, &run), ["needs_approval"; 2], "the second is not asked about: {out}");
        assert!(!out.contains("make deploy") && out.contains("called selvedge_denied_"), "{out}");
        assert!(out.contains("I was told."), "the model hears why: {out}");
    }
}

#[test]
fn a_call_looks_like_nothing_of_ours_to_whoever_is_asked_a70() {
    if !is_root() {
        return;
    }
    let ours = "ap-0000000000000000  tool.call on acme/shop";
    let command = format!(
        "true {}{ours}\n  to answer: selvedge approve ap-0000000000000000\n{}  {ours}\n{}{}{ours}",
        " ".repeat(70),
        "\t".repeat(20),
        "\u{3000}".repeat(37),
        "x".repeat(35)
    );
    let called = Turn::new().call("Bash", json!({ "command": command, "description": ours })).costs(cost(9, 9));
    let ended = Turn::new().text("Done.").costs(cost(9, 9));
    let server = Server::start(Script::new(KEY).turn(called).turn(ended)).unwrap();
    let scene = scene(Asker::of(&server));
    let _keeper = scene.serve();
    let run = scene.begin(&stream("anthropic-messages"));
    let request = scene.held(&run, None);
    let shown = scene.run(&["approvals"]).ok().out;
    assert_eq!(
        shown.matches("ap-0000000000000000").count(),
        5,
        "people see all of it, and what the call says of itself: {shown}"
    );
    nothing_is_forged(&shown);
    assert!(shown.contains("\n  tool: Bash\n") && shown.contains("\n  command:\n    | true\n"), "{shown}");
    scene.run(&["deny", text(&request, "approval")]).ok();
    scene.settled(&run);
}

#[test]
fn whatever_else_ends_a_hold_the_call_never_passes_c8_d12_a72() {
    if !is_root() {
        return;
    }
    for what in ["halt", "policy", "withdraw", "kill"] {
        let server = Server::start(three_calls()).unwrap();
        let scene = scene(Asker::of(&server).speaks("openai-chat"));
        let keeper = scene.serve();
        let run = scene.begin(&format!("echo pid-of-{what}\n{TICKS}python3 client.py openai-chat\nkill $ticking\n"));
        let request = scene.held(&run, None);
        let mut keeper = Some(keeper);
        match what {
            "halt" => drop(scene.run(&["halt", "run", &run]).ok()),
            "policy" => scene.touch_policies(),
            "withdraw" => drop(scene.run(&["credentials", "withdraw", "vendor", "--from", &run]).ok()),
            _ => {
                keeper.take().unwrap().kill();
                eventually("nothing of it lives", || common::processes_with("client.py").is_empty().then_some(()));
                // The next attempt asks anew, and what was said of the first is nothing to it.
                keeper = Some(scene.serve());
                let next = eventually("another attempt asks", || {
                    asked(&scene).into_iter().find(|one| one["approval"] != request["approval"])
                });
                assert_ne!(next["order_digest"], request["order_digest"]);
                scene.run(&["halt", "run", &run]).ok();
            }
        }
        scene.settled(&run);
        let out = scene.printed(&run);
        assert!(!out.contains("called Bash"), "{what}: {out}");
        let used = answers(&scene, &run);
        assert!(used.iter().filter(|verdict| *verdict == "allow").count() <= 4, "{what}: {used:?}");
        let shown = scene.entries(&run);
        assert!(
            !shown.iter().any(|e| e["detail"]["approval"].is_string() && e["detail"]["verdict"] == "allow"),
            "{what}"
        );
        if what != "kill" {
            assert_ne!(scene.approve(&request).status, 0, "{what}: nobody is asked any more");
        }
        drop(keeper);
    }
}

#[test]
fn calls_of_one_turn_are_held_together_and_each_is_answered_for_itself_d3_a74() {
    if !is_root() {
        return;
    }
    let mut many = Turn::new().text("Many things.");
    for number in 0..20 {
        many = many.call("Bash", json!({ "command": format!("step {number}") }));
    }
    let server = Server::start(Script::new(KEY).turn(many.costs(cost(9, 9)))).unwrap();
    let scene = scene(Asker::of(&server).speaks("openai-responses"));
    let _keeper = scene.serve();
    let run = scene.begin(&format!("{}echo; echo END\n", stream("openai-responses")));
    scene.held(&run, None);
    let requests = asked(&scene);
    assert_eq!(requests.len(), 16, "and no more: people are not to be worn out");
    for (at, request) in requests.iter().enumerate() {
        if at == 3 {
            scene.approve(request).ok();
        } else {
            scene.run(&["deny", text(request, "approval")]).ok();
        }
    }
    scene.settled(&run);
    let out = scene.printed(&run);
    let passed: Vec<usize> = (0..20).filter(|number| out.contains(&format!("step {number}\\"))).collect();
    assert_eq!(passed.len(), 1, "{passed:?} {out}");
    assert_eq!(requests[3]["facts"]["index"], passed[0], "{passed:?}");
    let kinds = scene.kinds(&run);
    assert_eq!(kinds.iter().filter(|kind| *kind == "turn_held").count(), 1);
    let shown = scene.json(&["show", &run]).to_string();
    assert_eq!(shown.matches("too_many_held_calls: more than").count(), 1, "{shown}");
}

#[test]
fn claude_code_waits_for_a_yes_and_carries_on_c8_a5() {
    if !is_root() {
        return;
    }
    let edit =
        Turn::new().text("A longer greeting.").call("Bash", json!({ "command": "echo hello, world > src/greeting" }));
    let tests = Turn::new().text("The tests.").call("Bash", json!({ "command": "sh tests/run.sh" }));
    let mut script = steps(edit, tests);
    // Nothing is denied.
    script.turns[1].expect = None;
    let employed = CLAUDE_CODE.told(script);
    let Employed { scene, server, .. } = &employed;
    scene.ask_first("context.order.command like \"*greeting*\"");
    let _keeper = scene.serve();
    scene.run(&["run", "--agent", "coder", TASK]).ok();
    let request = eventually("a person is asked", || asked(scene).first().cloned());
    let run = text(&request, "run").to_owned();
    scene.held(&run, None);
    // Longer than it takes to say so once more.
    std::thread::sleep(std::time::Duration::from_secs(6));
    assert_eq!(server.seen().iter().filter(|seen| seen.status == 200).count(), 1, "it waits");
    scene.approve(&request).ok();
    let (settled, out) = (scene.settled(&run), scene.printed(&run));
    assert_eq!(settled["outcome"], "proposed", "{settled} {out} {:?}", scene.entries(&run));
    assert!(scene.run(&["diff", &run]).ok().out.contains("+hello, world"));
    assert_eq!(answers(scene, &run), ["needs_approval", "allow", "allow"]);
}
