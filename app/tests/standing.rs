//! What stands when no run does: who answers for it, what it was granted and what it used, and that nothing lives that nobody ends
//! (requirement B6).

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use common::service::answered;
use common::{Said, Scene, agent, eventually, text};
use serde_json::{Value, json};

/// A host nobody else has (RFC 6761).
const HOST: &str = "api.selvedge.test";
/// The status of `identities --check` when something is wrong.
const OVERDUE: i32 = 115;

/// An agent `caller` with more than it needs, and a key `api` for two things.
fn scene(factory: &str, of_agent: &str, of_key: &str) -> Scene {
    let scene = Scene::ready();
    let agent = agent("caller", "propose").replace("\"open-pr\"]", "\"push\"]");
    scene.configure(
        "checks = [\"sh tests/run.sh\"]",
        &format!(
            "{agent}credentials = [\"api\"]\nreach = [\"GET https://{HOST}/open\", \"POST https://{HOST}/open\"]\n\
             audiences = [\"https://sts.example\"]\n{of_agent}\n\
             [credential.api]\nkind = \"static\"\nowner = \"team-api@example.org\"\n\
             uses = [\"GET https://{HOST}/v1\", \"GET https://{HOST}/v2\"]\n{of_key}\n\
             [danger.addresses.\"{HOST}\"]\nallow = [\"127.0.0.1\"]\nplain_port = {}\n[factory]\n{factory}\n",
            answered(|_| Some((200, "ok")))
        ),
    );
    scene.trust("api");
    scene
}

fn store(scene: &Scene, name: &str) -> Said {
    scene.store(name, "canary-7d1f0c2b9ae84e55b7")
}

fn call(scene: &Scene, script: &str) -> Value {
    scene.work("caller", script)
}

fn identity(scene: &Scene, name: &str) -> Value {
    let all = scene.json(&["identities"])["identities"].clone();
    let found = all.as_array().unwrap().iter().find(|identity| identity["identity"] == name).cloned();
    found.unwrap_or_else(|| panic!("no {name} in {all}"))
}

fn words<'a>(of: &'a Value, list: &str, field: &str) -> Vec<&'a str> {
    of[list].as_array().unwrap().iter().map(|item| text(item, field)).collect()
}

#[test]
fn what_was_granted_and_not_used_is_named_with_what_to_take_out_b6() {
    let scene = scene("owner = \"ops@example.org\"", "", "");
    store(&scene, "api").ok();
    let idle = identity(&scene, "agent:caller");
    assert_eq!((&idle["runs"], idle["surplus"].as_array().unwrap().len()), (&json!(0), 8), "{idle}");

    let run = call(&scene, &format!("curl -sS --fail https://{HOST}/v1/items https://{HOST}/open"));
    assert_eq!(run["outcome"], "nothing_to_do", "{run}");
    let caller = identity(&scene, "agent:caller");
    assert_eq!(
        (&caller["runs"], &caller["owner"], &caller["state"]),
        (&json!(1), &json!("team@example.org"), &json!("active"))
    );
    assert!(caller["last_used"].is_string() && caller["recertify_by"].is_string(), "{caller}");
    let post = format!("take \"POST https://{HOST}/open\" out of `agent.caller.reach`");
    assert_eq!(
        words(&caller, "surplus", "trim"),
        [
            "set `agent.caller.trust` to \"draft\", which was enough",
            "take \"push\" out of `agent.caller.may`",
            post.as_str(),
            "take \"https://sts.example\" out of `agent.caller.audiences`",
        ]
    );
    let api = identity(&scene, "credential:api");
    assert_eq!((text(&api, "kind"), text(&api, "owner")), ("stored key", "team-api@example.org"));
    assert_eq!(words(&api, "surplus", "word"), [format!("GET {HOST}:443/v2")]);
    assert!(api["since"].is_string() && api["last_used"].is_string() && api["last_rotated"].is_null(), "{api}");
    store(&scene, "api").ok();
    assert!(identity(&scene, "credential:api")["last_rotated"].is_string());

    // What the configuration is trimmed of is no surplus any more, and the work goes on without it.
    let config = std::fs::read_to_string(scene.config()).unwrap();
    let trimmed = config
        .replace(&format!(", \"POST https://{HOST}/open\""), "")
        .replace("\"write\", \"push\"]", "\"write\"]")
        .replace("audiences = [\"https://sts.example\"]", "");
    std::fs::write(scene.config(), trimmed).unwrap();
    assert_eq!(words(&identity(&scene, "agent:caller"), "surplus", "key"), ["agent.caller.trust"]);
    assert_eq!(call(&scene, &format!("curl -sS --fail https://{HOST}/v1/items"))["outcome"], "nothing_to_do");
}

#[test]
fn the_factory_s_own_keys_have_an_owner_an_age_and_dates_and_no_secret_is_shown_b6() {
    let scene = scene("owner = \"ops@example.org\"", "", "");
    store(&scene, "api").ok();
    let said = scene.run(&["identities", "--json"]).ok();
    let all = said.document()["identities"].as_array().unwrap().clone();
    let own: Vec<&Value> = all.iter().filter(|one| text(one, "identity").starts_with("factory:")).collect();
    assert_eq!(own.len(), 4, "{all:?}");
    for key in &own {
        assert!(key["owner"] == "ops@example.org" && key["since"].is_string(), "{key}");
        // What is not replaced by itself has to be answered for, and the other way around.
        assert_eq!(key["rotates_at"].is_string(), key["recertify_by"].is_null(), "{key}");
    }
    let shown = scene.run(&["identities"]).ok().out;
    assert!(
        shown.contains("0 live, 0 orphans, 0 overdue") && shown.contains("no lease lives without a run"),
        "{shown}"
    );
    let master = std::fs::read(scene.state().join("master.key")).unwrap();
    for out in [&said.out, &shown] {
        assert!(!out.contains("canary") && !out.as_bytes().windows(8).any(|part| part == &master[..8]));
    }
}

#[test]
fn a_lease_whose_keeper_died_is_an_orphan_until_somebody_ends_it_b6_a56() {
    let scene = scene("", "", "");
    store(&scene, "api").ok();
    let serving = scene.serve();
    scene.run(&["run", "--agent", "caller", &format!("curl -sS https://{HOST}/v1/items; sleep 600")]).ok();
    eventually("the key is in use", || identity(&scene, "credential:api")["last_used"].is_string().then_some(()));
    // Alive, and somebody is at work to end it.
    let live = scene.json(&["identities", "--check"])["live"].as_array().unwrap().clone();
    let whats: Vec<&str> = live.iter().map(|lease| text(lease, "what")).collect();
    assert_eq!(live.len(), 2, "{live:?}");
    assert!(whats.contains(&"credential api") && whats.contains(&"identity for selvedge"), "{live:?}");
    for lease in &live {
        assert!(text(lease, "holder").ends_with("/agent/caller") && lease["until"].is_string(), "{lease}");
        assert!(lease["orphaned"].is_null() && text(lease, "dies").contains("revoked with its run"), "{lease}");
    }
    serving.kill();
    let check = scene.run(&["identities", "--check"]);
    assert_eq!(check.status, OVERDUE, "{check:?}");
    assert!(check.out.contains("2 live, 2 orphans") && check.out.contains("selvedge serve"), "{check:?}");
    for lease in &live {
        let said = format!("it expires by itself at {}, and can be ended before", text(lease, "until"));
        assert!(check.out.contains(text(lease, "lease")) && check.out.contains(&said), "{said}: {check:?}");
    }

    let _serving = scene.serve();
    scene.run(&["halt"]).ok();
    eventually("nothing lives", || {
        let check = scene.run(&["identities", "--check"]);
        (check.status == 0 && check.out.contains("0 live, 0 orphans")).then_some(())
    });
}

#[test]
fn what_nobody_certified_in_time_is_overdue_and_the_check_says_so_b6() {
    let scene = scene("", "recertify = \"1s\"", "recertify = \"1s\"");
    scene.run(&["identities", "--check"]).ok();
    store(&scene, "api").ok();
    call(&scene, "true");
    let check = eventually("a second is over", || {
        let check = scene.run(&["identities", "--check", "--json"]);
        (check.document()["problems"].as_array().unwrap().len() == 2).then_some(check)
    });
    assert_eq!(check.status, OVERDUE, "{check:?}");
    let value = check.document();
    assert_eq!(words(&value, "problems", "code"), ["overdue", "overdue"]);
    assert_eq!(words(&value, "problems", "subject"), ["agent:caller", "credential:api"]);
    assert!(value["problems"][1]["what"].as_str().unwrap().contains("team-api@example.org"), "{value}");
}

#[test]
fn a_key_whose_credential_is_gone_is_nobody_s_and_named_until_it_is_removed_b6() {
    let scene = scene("", "", "");
    store(&scene, "api").ok();
    let config = std::fs::read_to_string(scene.config()).unwrap();
    let (before, credential) = config.split_once("[credential.api]").unwrap();
    let (_, after) = credential.split_once("[danger").unwrap();
    let without = format!("{before}[danger{after}").replace("credentials = [\"api\"]", "");
    std::fs::write(scene.config(), without).unwrap();
    let check = scene.run(&["identities", "--check"]);
    assert_eq!(check.status, OVERDUE, "{check:?}");
    assert!(check.out.contains("nobody answers for it") && check.out.contains("selvedge credentials remove api"));
    scene.run(&["credentials", "remove", "api"]).ok();
    scene.run(&["identities", "--check"]).ok();
}

#[test]
fn how_long_a_word_is_good_is_read_or_refused_by_its_key() {
    for (factory, of_agent, of_key, key) in [
        ("recertify = \"soon\"", "", "", "factory.recertify"),
        ("", "recertify = \"0d\"", "", "agent.caller.recertify"),
        ("", "", "recertify = \"90\"", "credential.api.recertify"),
        ("owner = \" \"", "", "", "factory.owner"),
    ] {
        let said = scene(factory, of_agent, of_key).run(&["identities"]);
        assert!(said.status == 101 && said.err.contains(key), "{key}: {said:?}");
    }
    let said = scene("", "", "").run(&["identities", "--days", "0"]);
    assert!(said.status == 100 && said.err.contains("--days"), "{said:?}");
}

fn outcome(run: &Value) -> &str {
    text(run, "outcome")
}

fn said_about(scene: &Scene, what: &str) -> Vec<(String, String)> {
    let log = scene.run(&["audit", "show", "--json"]).ok().out;
    let entries = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let about = entries.filter(|entry| entry["kind"] == "tenure_changed" && entry["detail"]["of"] == what);
    about.map(|entry| (text(&entry, "actor").to_owned(), text(&entry, "summary").to_owned())).collect()
}

#[test]
fn a_key_that_nobody_vouched_for_in_time_is_not_lent_b6() {
    let scene = scene("", "", "recertify = \"1s\"");
    store(&scene, "api").ok();
    eventually("a second is over", || (identity(&scene, "credential:api")["state"] == "overdue").then_some(()));
    let fetch = format!("curl -sS --fail https://{HOST}/v1/items");
    let run = call(&scene, &fetch);
    assert_eq!(outcome(&run), "refused", "{run}");
    let because = text(&run, "because");
    assert!(because.contains("guard.overdue-is-not-lent") && because.contains("selvedge identities certify"), "{run}");
    assert_eq!(scene.json(&["ps"])["unvouched"], json!(["credential:api is overdue"]));
    assert!(scene.run(&["credentials", "list"]).ok().out.contains("OVERDUE and not lent"));
    // Who vouches, and when, is on record, and the time runs from there.
    let before = identity(&scene, "credential:api");
    let vouched = scene.json(&["identities", "certify", "api"]);
    assert_eq!(vouched["identity"], "credential:api");
    let after = identity(&scene, "credential:api");
    assert!(before["certified_by"].is_null() && after["certified_by"] == vouched["by"], "{after}");
    assert!(text(&after, "recertify_by") > text(&before, "recertify_by"), "{before} {after}");
    let said = said_about(&scene, "credential:api");
    assert_eq!(said.len(), 1);
    assert!(said[0].0.starts_with("person:uid-") && said[0].1.contains("team-api@example.org"), "{said:?}");
    // Whoever stores a new key vouches for it; and so does a policy of the operator's that knows better.
    let config = std::fs::read_to_string(scene.config()).unwrap();
    std::fs::write(scene.config(), config.replace("recertify = \"1s\"", "recertify = \"90d\"")).unwrap();
    assert_eq!(outcome(&call(&scene, &fetch)), "nothing_to_do");
    scene.run(&["audit", "verify"]).ok();
}

#[test]
fn what_somebody_owned_who_left_is_used_by_nobody_until_another_vouches_for_it_b6() {
    let scene = scene("", "", "");
    store(&scene, "api").ok();
    let fetch = format!("curl -sS --fail https://{HOST}/v1/items");
    let said = scene.json(&["identities", "offboard", "team-api@example.org"]);
    assert_eq!(said["ended"], json!(["credential:api"]));
    let run = call(&scene, &fetch);
    assert!(outcome(&run) == "refused" && text(&run, "because").contains("guard.offboarded"), "{run}");
    let check = scene.run(&["identities", "--check"]);
    assert!(check.status == OVERDUE && check.out.contains("credential:api is offboarded"), "{check:?}");
    assert_eq!(said_about(&scene, "owner:team-api@example.org").len(), 1);
    // What others own goes on.
    let other = scene.run(&["run", "--command", "true"]);
    assert_eq!(other.status, 0, "{other:?}");

    scene.run(&["identities", "certify", "credential:api"]).ok();
    assert_eq!(outcome(&call(&scene, &fetch)), "nothing_to_do");
    // It is used again, and whoever is named for it is still not there.
    let check = scene.run(&["identities", "--check"]);
    assert!(check.status == OVERDUE && check.out.contains("whom the configuration names, has left"), "{check:?}");
    let config = std::fs::read_to_string(scene.config()).unwrap();
    std::fs::write(scene.config(), config.replace("team-api@example.org", "team-new@example.org")).unwrap();
    scene.run(&["identities", "--check"]).ok();
}

#[test]
fn whoever_left_does_not_vouch_for_what_they_owned_b6() {
    let scene = scene("", "", "");
    let id = std::process::Command::new("id").arg("-un").output().unwrap();
    let me = String::from_utf8(id.stdout).unwrap().trim().to_owned();
    let config = std::fs::read_to_string(scene.config()).unwrap();
    std::fs::write(scene.config(), config.replace("team-api@example.org", &format!("{me}@example.org"))).unwrap();
    store(&scene, "api").ok();
    scene.run(&["identities", "certify", "api"]).ok();
    let owner = format!("{me}@example.org");
    scene.run(&["identities", "offboard", &owner]).ok();
    for name in ["api", "credential:api", &owner] {
        scene.run(&["identities", "certify", name]).refused(102, &["was offboarded"]);
    }
    assert_eq!(identity(&scene, "credential:api")["state"], "offboarded");
    scene.run(&["identities", "certify", "ghost"]).refused(107, &["`ghost`"]);
    scene.run(&["identities", "offboard", "api:caller"]).refused(107, &["`api:caller`"]);
}

#[test]
fn an_agent_whose_owner_left_is_stopped_and_not_admitted_until_another_is_named_b6() {
    let scene = scene("", "", "");
    store(&scene, "api").ok();
    let serving = scene.serve();
    scene.run(&["run", "--agent", "caller", &format!("curl -sS https://{HOST}/v1/items; sleep 600")]).ok();
    eventually("the key is in use", || identity(&scene, "credential:api")["last_used"].is_string().then_some(()));
    let run = text(&scene.runs()[0], "run").to_owned();
    let said = scene.json(&["identities", "offboard", "agent:caller"]);
    assert_eq!((&said["ended"], &said["stopped"]), (&json!(["agent:caller"]), &json!([run])));
    eventually("it has ended and holds nothing", || {
        let whole = scene.json(&["identities"]);
        (scene.runs()[0]["outcome"] == "halted" && whole["live"].as_array().unwrap().is_empty()).then_some(())
    });
    let refused = call(&scene, "true");
    assert!(outcome(&refused) == "refused" && text(&refused, "because").contains("guard.offboarded"), "{refused}");
    drop(serving);
    // The next keeper knows it from the record.
    assert_eq!(outcome(&call(&scene, "true")), "refused");
    let config = std::fs::read_to_string(scene.config()).unwrap();
    let (before, caller) = config.split_once("[agent.caller]").unwrap();
    let named = format!("{before}[agent.caller]{}", caller.replacen("team@example.org", "team-new@example.org", 1));
    std::fs::write(scene.config(), named).unwrap();
    assert_eq!(outcome(&call(&scene, "true")), "nothing_to_do");
}

/// A run that uses the key and goes on.
fn holder_of_a_key(scene: &Scene) -> String {
    scene.run(&["run", "--agent", "caller", &format!("curl -sS https://{HOST}/v1/items; sleep 600")]).ok();
    eventually("the key is in use", || identity(scene, "credential:api")["last_used"].is_string().then_some(()));
    text(&scene.runs()[0], "run").to_owned()
}

#[test]
fn offboarding_stops_every_run_that_holds_the_key_though_the_configuration_is_broken_b6() {
    let scene = scene("", "", "");
    store(&scene, "api").ok();
    let _serving = scene.serve();
    let run = holder_of_a_key(&scene);
    // Nobody takes the key away by that: what is in force stays in force.
    std::fs::write(scene.config(), "credentials = [").unwrap();
    let said = scene.json(&["identities", "offboard", "credential:api"]);
    assert_eq!(
        (&said["stopped"], &said["killed"], &said["may_still_live"], &said["recorded"], &said["log_read"]),
        (&json!([run]), &json!(1), &json!([]), &json!(true), &json!(true)),
        "{said}"
    );
    eventually("it has ended and holds nothing", || (scene.runs()[0]["outcome"] == "halted").then_some(()));
}

#[test]
fn a_run_whose_key_was_taken_from_its_agent_holds_none_that_offboarding_would_have_to_stop_b6_d12() {
    let scene = scene("", "", "");
    store(&scene, "api").ok();
    let _serving = scene.serve();
    holder_of_a_key(&scene);
    let config = std::fs::read_to_string(scene.config()).unwrap();
    std::fs::write(scene.config(), config.replace("credentials = [\"api\"]\n", "")).unwrap();
    let live = || scene.json(&["identities"])["live"].as_array().unwrap().len();
    eventually("the key's lease is dead, and the run's own identity is all that lives", || (live() == 1).then_some(()));
    let said = scene.json(&["identities", "offboard", "credential:api"]);
    assert_eq!((&said["stopped"], &said["may_still_live"]), (&json!([]), &json!([])), "{said}");
    assert_eq!(scene.runs()[0]["stage"], "working", "it goes on without it");
}

/// Nobody can say which runs use it, so none that is alive goes on.
#[test]
fn offboarding_stops_all_that_is_alive_when_the_log_cannot_be_read_b6_g5() {
    let scene = scene("", "", "");
    store(&scene, "api").ok();
    let _serving = scene.serve();
    let script = format!("curl -sS https://{HOST}/v1/items; sleep 600");
    scene.run(&["run", "--agent", "caller", &script]).ok();
    eventually("the key is in use", || identity(&scene, "credential:api")["last_used"].is_string().then_some(()));
    let run = text(&scene.runs()[0], "run").to_owned();
    let log = rusqlite::Connection::open(scene.state().join("ledger/ledger.db")).unwrap();
    log.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    log.execute("ALTER TABLE p_run RENAME TO p_run_gone", []).unwrap();
    let said = scene.run(&["identities", "offboard", "credential:api", "--json"]).document();
    log.execute("ALTER TABLE p_run_gone RENAME TO p_run", []).unwrap();
    assert_eq!(
        (&said["stopped"], &said["killed"], &said["log_read"]),
        (&json!([run]), &json!(1), &json!(false)),
        "{said}"
    );
}

/// Accounts of a directory service are not in `/etc/passwd`, so nobody knows whether this one is theirs.
#[test]
fn an_account_that_is_not_known_does_not_vouch_for_an_owner_who_left_b6() {
    if !common::is_root() {
        return;
    }
    let scene = scene("", "", "");
    store(&scene, "api").ok();
    let _serving = scene.serve();
    let certify = || Said::of(&scene.command_as(54321, &["identities", "certify", "api"]).output().unwrap());
    certify().ok();
    scene.run(&["identities", "offboard", "team-api@example.org"]).ok();
    certify().refused(102, &["cannot tell whose account", "54321", "/etc/passwd"]);
    scene.run(&["identities", "certify", "credential:api"]).ok();
}
