//! Tokens that a forge makes for one run, with a key that only the keeper has: a stand-in for a GitLab, written from its published API,
//! counts by itself how many of its tokens are alive. Not run against the real service.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use common::gitlab::{self, FORGE, KEY};
use common::{Scene, agent, text};
use serde_json::{Value, json};

fn scene(port: u16) -> Scene {
    let scene = Scene::ready();
    let caller = format!("{}credentials = [\"issues\"]\n", agent("caller", "draft"));
    scene.configure("checks = [\"sh tests/run.sh\"]", &(caller + &gitlab::tables(port)));
    scene
}

fn call(scene: &Scene) -> Value {
    scene.work("caller", &gitlab::read_issues())
}

#[test]
fn a_token_is_made_with_a_key_that_nobody_is_lent_used_and_deleted_c4_c5() {
    let (port, shelf) = gitlab::start();
    let scene = scene(port);
    let run = call(&scene);
    assert_eq!(run["outcome"], "failed", "{run}");
    assert!(run.to_string().contains("selvedge credentials store issues"), "{run}");
    assert_ne!(scene.store("issues", "two words of a password").status, 0);
    scene.store("issues", KEY).ok();
    let run = call(&scene);
    assert_eq!(run["outcome"], "changed", "{run}");
    {
        let shelf = shelf.lock().unwrap();
        assert_eq!((shelf.made, shelf.live.len()), (1, 0), "counted by the forge");
        assert_eq!(shelf.used, [("glpat-canary-00000001".to_owned(), true)], "the token went out, not the key");
    }
    let known = scene.json(&["credentials", "list"])["credentials"][0].clone();
    assert_eq!((&known["kind"], &known["needs_key"]), (&json!("minted"), &json!(true)));
    let said = scene.run(&["credentials", "list"]).ok().out;
    assert!(said.contains("the key that makes it (lent to nobody) is stored since"), "{said}");
    let show = scene.run(&["show", text(&run, "run"), "--json"]).ok().out;
    assert!(!show.contains("canary") && !said.contains("canary"), "{show}");
    scene.run(&["credentials", "remove", "issues"]).ok();
    assert!(scene.json(&["credentials", "list"])["credentials"][0]["stored_since"].is_null());
}

#[test]
fn a_token_whose_answer_was_lost_is_found_by_its_lease_and_deleted_c4_a07() {
    let (port, shelf) = gitlab::start();
    let scene = scene(port);
    scene.store("issues", KEY).ok();
    shelf.lock().unwrap().babbles = true;
    let serving = scene.serve();
    let script = format!("curl -sS --fail https://{FORGE}/api/v4/projects/7/issues");
    scene.run(&["run", "--agent", "caller", &script]).ok();
    common::eventually("what nobody heard of is ended", || {
        let shelf = shelf.lock().unwrap();
        (shelf.made > 0 && shelf.live.is_empty()).then_some(())
    });
    assert!(shelf.lock().unwrap().used.iter().all(|(_, is_live)| *is_live), "and none is used dead");
    drop(serving);
}

#[test]
fn a_key_that_makes_tokens_is_tried_and_an_overdue_one_makes_none_b6() {
    let (port, shelf) = gitlab::start();
    let scene = scene(port);
    let config = std::fs::read_to_string(scene.config()).unwrap();
    let tried = format!("[credential.issues]\nprobe = \"GET https://{FORGE}/api/v4/projects/7/issues\"\n");
    let config = config.replace("[credential.issues]\n", &tried);
    std::fs::write(scene.config(), &config).unwrap();
    let doctor = || {
        let said = scene.run(&["doctor", "issues", "--json"]);
        assert!(!said.out.contains("canary"), "{said:?}");
        (said.status, said.document())
    };
    let mint = |tried: &Value| tried["steps"][1].clone();

    let (status, tried) = doctor();
    assert_eq!((status, text(&mint(&tried), "reason")), (112, "key_not_stored"), "{tried}");
    // One that its forge has ended, or that has expired there.
    scene.store("issues", "glpat-canary-of-last-year-0000").ok();
    let (status, tried) = doctor();
    assert_eq!((status, text(&mint(&tried), "reason")), (112, "key_refused"), "{tried}");
    scene.store("issues", KEY).ok();
    let (status, tried) = doctor();
    assert_eq!((status, text(&tried, "verdict")), (0, "works"), "{tried}");
    {
        let shelf = shelf.lock().unwrap();
        assert_eq!((shelf.made, shelf.live.len(), shelf.used.len()), (1, 0, 1), "counted by the forge");
    }
    let listed = scene.json(&["identities"])["identities"].clone();
    let kind =
        |name: &str| listed.as_array().unwrap().iter().find(|one| one["identity"] == name).unwrap()["kind"].clone();
    assert_eq!(
        (kind("credential:issues"), kind("agent:doctor-issues")),
        (json!("minting key of an account"), json!("built-in agent"))
    );

    std::fs::write(
        scene.config(),
        config.replace("[credential.issues]\n", "[credential.issues]\nrecertify = \"1s\"\n"),
    )
    .unwrap();
    common::eventually("nobody vouched in time", || {
        (scene.json(&["credentials", "list"])["credentials"][0]["state"] == "overdue").then_some(())
    });
    let (status, tried) = doctor();
    assert_eq!((status, text(&mint(&tried), "reason")), (112, "denied"), "{tried}");
    assert!(text(&mint(&tried), "said").contains("guard.overdue-is-not-lent"), "{tried}");
    assert_eq!(shelf.lock().unwrap().made, 1, "the forge was not asked");
}
