//! Asking for more, with the real executable: an agent is refused a host, asks for one rule of it, a person says yes, and from then
//! on that attempt reaches what the rule covers and nothing beside it. Every answer is on record.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::sync::{Arc, Mutex};

use common::service::{Asked, heard};
use common::{Said, Scene, agent, eventually, is_root, text};
use serde_json::Value;

/// A host nobody else has (RFC 6761).
const HOST: &str = "docs.selvedge.test";

/// Somebody who did not ask for the run.
const SOMEBODY_ELSE: u32 = 65533;

/// The documentation an agent wants to read: remembers what it was asked, and answers every request alike.
struct Docs {
    port: u16,
    heard: Arc<Mutex<Vec<Asked>>>,
}

impl Docs {
    fn start() -> Self {
        let (port, heard) = heard("read the guide");
        Self { port, heard }
    }

    /// Method and target of every request so far.
    fn seen(&self) -> Vec<String> {
        self.heard.lock().unwrap().iter().map(|asked| asked.line().to_owned()).collect()
    }
}

/// A factory with an agent `reader` whose configuration has these lines more.
fn scene(docs: &Docs, may_ask: &str) -> Scene {
    let scene = Scene::ready();
    scene.configure(
        "checks = [\"sh tests/run.sh\"]",
        &format!(
            "{}audiences = [\"https://cloud.example\"]\n{may_ask}\n\
             [danger.addresses.\"{HOST}\"]\nallow = [\"127.0.0.1\"]\nplain_port = {}\n",
            agent("reader", "draft"),
            docs.port
        ),
    );
    scene
}

fn may_ask() -> String {
    format!("may_ask = [\"GET https://{HOST}/guide\"]")
}

/// In a sandbox: `ask RULE REASON` prints what it is told; `get` a page prints the answer, `name` whether the host has an address.
fn script(rest: &str) -> String {
    format!(
        "ask() {{ curl -sS -H 'content-type: application/json' -d \"{{\\\"reach\\\":\\\"$1\\\",\\\"reason\\\":\\\"$2\\\"}}\" \
         \"$SELVEDGE_ACCESS_URL\"; echo; }}\n\
         get() {{ curl -sS \"$@\"; echo; }}\n\
         name() {{ python3 -c 'import socket, sys; socket.gethostbyname(sys.argv[1])' $1 && echo $1 has an address || echo $1 has none; }}\n\
         until_given() {{ for i in $(seq 3000); do a=$(ask \"$1\" \"$2\"); \
         case $a in *given*) echo \"$a\"; return;; esac; sleep 0.1; done; echo NEVER; }}\n{rest}"
    )
}

fn call(scene: &Scene, rest: &str) -> (Value, String) {
    let said = scene.run(&["run", "--agent", "reader", "--wait", "--json", &script(rest)]);
    let run = said.document()["runs"][0].clone();
    let output = scene.run(&["output", text(&run, "run")]).ok().out;
    (run, output)
}

fn begin(scene: &Scene, rest: &str) -> String {
    scene.run(&["run", "--agent", "reader", &script(rest)]).ok();
    eventually("the run begins", || scene.runs().first().map(|run| text(run, "run").to_owned()))
}

fn asked_for(scene: &Scene) -> Value {
    eventually("a person is asked", || {
        scene.json(&["approvals"])["approvals"]
            .as_array()
            .unwrap()
            .iter()
            .find(|a| a["verb"] == "access.request")
            .cloned()
    })
}

fn approve(scene: &Scene, approval: &Value) -> Said {
    Said::of(&scene.command_as(SOMEBODY_ELSE, &["approve", text(approval, "approval")]).output().unwrap())
}

fn ended(scene: &Scene) -> (Value, String) {
    let run = eventually("the run settles", || scene.runs().into_iter().find(|run| run["stage"] == "settled"));
    let output = scene.run(&["output", text(&run, "run")]).ok().out;
    (run, output)
}

/// What was decided about requests for access: the verdicts, in order.
fn verdicts(scene: &Scene, run: &str) -> Vec<String> {
    let show = scene.json(&["show", run]);
    let entries = show["entries"].as_array().unwrap().iter();
    let decided = entries.filter(|e| e["kind"] == "decided" && e["detail"]["verb"] == "access.request");
    decided.map(|e| text(&e["detail"], "verdict").to_owned()).collect()
}

fn kinds(scene: &Scene, run: &str, kind: &str) -> usize {
    let show = scene.json(&["show", run]);
    let is_access = |e: &&Value| e["kind"] == kind && e["detail"]["verb"] == "access.request";
    show["entries"].as_array().unwrap().iter().filter(is_access).count()
}

#[test]
fn e7_what_is_asked_for_and_approved_is_reached_and_nothing_beside_it() {
    if !is_root() {
        return;
    }
    let docs = Docs::start();
    let scene = scene(&docs, &may_ask());
    let rule = format!("GET https://{HOST}/guide/rust");
    let _keeper = scene.serve();
    let run = begin(
        &scene,
        &format!(
            "name {HOST}\nget https://{HOST}/guide/rust\nask '{rule}' 'the guide says how'\nask '{rule}' 'another reason'\necho asked twice\n\
             until_given '{rule}' 'the guide says how'\nname {HOST}\nget https://{HOST}/guide/rust/book\n\
             get https://{HOST}/guide\nget https://{HOST}/secret\nget -d x=y https://{HOST}/guide/rust\n\
             ask '{rule}' 'once more'"
        ),
    );
    let asked = asked_for(&scene);
    assert_eq!((text(&asked, "resource"), text(&asked, "run")), (format!("{HOST}:443").as_str(), run.as_str()));
    let facts = asked["facts"].to_string();
    for fact in ["/guide/rust", "GET", "the guide says how"] {
        assert!(facts.contains(fact), "the person sees {fact}: {asked}");
    }
    eventually("the same rule is asked for again", || {
        scene.run(&["output", &run]).out.contains("asked twice").then_some(())
    });
    assert!(docs.seen().is_empty(), "before the yes nothing goes out");
    // Whoever asked for the run does not approve it.
    assert_ne!(scene.run(&["approve", text(&asked, "approval")]).status, 0);
    approve(&scene, &asked).ok();
    let (settled, output) = ended(&scene);
    assert_eq!(docs.seen(), ["GET /guide/rust/book"], "{output}");
    for line in [
        format!("{HOST} has none\n"),
        "\"code\":\"needs_approval\"".to_owned(),
        format!("\"approval\":\"{}\"", text(&asked, "approval")),
        "\"access\":\"given\"".to_owned(),
        format!("{HOST} has an address\n"),
        "read the guide".to_owned(),
    ] {
        assert!(output.contains(&line), "{line}: {output}");
    }
    assert_eq!(output.matches("outside_grant").count(), 3, "the rest of the host stays closed: {output}");
    // One request waits, however often it is made and whatever reason is given; then one is allowed.
    assert_eq!(verdicts(&scene, &run), ["needs_approval", "allow"]);
    assert_eq!((kinds(&scene, &run, "approval_asked"), kinds(&scene, &run, "done")), (1, 1));
    let shown = scene.run(&["show", &run]).ok().out;
    assert!(shown.contains(&format!("access.request for GET {HOST}:443/guide/rust")), "{shown}");
    scene.run(&["audit", "verify"]).ok();
    // The yes is spent, and what it opened is closed: the next run is refused as the first was.
    assert_eq!(settled["stage"], "settled");
    let (next, output) =
        call(&scene, &format!("get https://{HOST}/guide/rust/book\nask '{rule}' 'the guide says how'"));
    assert!(output.contains("needs_approval") && !output.contains("read the guide"), "{output}");
    assert_eq!(verdicts(&scene, text(&next, "run")), ["needs_approval"]);
    assert_eq!(docs.seen().len(), 1);
}

#[test]
fn e7_beyond_what_may_be_asked_no_person_and_no_policy_is_asked() {
    let docs = Docs::start();
    let scene = scene(&docs, &may_ask());
    // Were policy asked, it would say yes to everything.
    let open =
        "@id(\"test.open\")\n@owner(\"test\")\npermit (principal, action == Action::\"access.request\", resource);\n";
    std::fs::write(scene.state().join("policies/open.cedar"), open).unwrap();
    let (run, output) = call(
        &scene,
        &format!(
            "ask 'GET https://{HOST}/' why\nask 'POST https://{HOST}/guide' why\nask 'GET https://{HOST}:8443/guide' why\n\
             ask 'GET https://evil.example/guide' why\nask 'GET https://{HOST}/guidebook' why\n\
             ask 'GET https://{HOST}/guide/../secret' why\nask 'GET https://{HOST}/guide' ''\nname evil.example\n\
             get https://{HOST}/guide"
        ),
    );
    assert_eq!(output.matches("\"code\":\"outside_grant\"").count(), 5, "{output}");
    assert_eq!(output.matches("\"code\":\"malformed_request\"").count(), 2, "{output}");
    assert!(output.contains("no `may_ask` rule covers") && output.contains("evil.example has none"), "{output}");
    assert_eq!(verdicts(&scene, text(&run, "run")), ["deny"; 5]);
    assert!(docs.seen().is_empty() && scene.json(&["approvals"])["approvals"].as_array().unwrap().is_empty());
}

#[test]
fn e7_whoever_may_ask_for_nothing_has_nobody_to_ask() {
    let docs = Docs::start();
    let scene = scene(&docs, "");
    let (run, output) = call(
        &scene,
        "echo url=$SELVEDGE_ACCESS_URL.\nname access.selvedge.internal\nget -d '{}' https://access.selvedge.internal/",
    );
    assert!(output.contains("url=.\n") && output.contains("access.selvedge.internal has none"), "{output}");
    assert!(verdicts(&scene, text(&run, "run")).is_empty());
    let card = scene.run(&["can", "reader"]).ok().out;
    assert!(!card.contains("if it asks"), "{card}");
}

#[test]
fn e7_a_no_stays_a_no_and_the_run_works_on() {
    let docs = Docs::start();
    let scene = scene(&docs, &may_ask());
    let rule = format!("GET https://{HOST}/guide");
    let _keeper = scene.serve();
    let run = begin(
        &scene,
        &format!(
            "for i in $(seq 3000); do a=$(ask '{rule}' 'the guide'); case $a in *forbidden*) echo \"$a\"; break;; esac; \
             sleep 0.1; done\nget https://{HOST}/guide\necho works on"
        ),
    );
    let asked = asked_for(&scene);
    scene.run(&["deny", text(&asked, "approval")]).ok();
    let (_, output) = ended(&scene);
    assert!(output.contains("a person said no to this") && output.contains("works on"), "{output}");
    assert!(docs.seen().is_empty());
    assert_eq!(verdicts(&scene, &run), ["needs_approval"]);
    let card = scene.run(&["can", "reader"]).ok().out;
    assert!(card.contains(&format!("if it asks and that is allowed, until its attempt is over: GET {HOST}:443/guide")));
}

#[test]
fn e7_a_flood_of_requests_is_counted_and_not_repeated() {
    let docs = Docs::start();
    let scene = scene(&docs, &may_ask());
    let (run, output) = call(&scene, &format!("for i in $(seq 60); do ask \"GET https://{HOST}/guide/$i\" why; done"));
    assert_eq!(output.matches("\"code\":\"needs_approval\"").count(), 32, "{output}");
    assert_eq!(output.matches("\"code\":\"not_permitted\"").count(), 28, "{output}");
    assert_eq!(verdicts(&scene, text(&run, "run")).len(), 32);
    let shown = scene.run(&["show", text(&run, "run")]).ok().out;
    assert_eq!(shown.matches("too_many_access_requests").count(), 1, "{shown}");
}

#[test]
fn e7_another_attempt_begins_with_the_configured_grant_and_asks_again() {
    if !is_root() {
        return;
    }
    let docs = Docs::start();
    let scene = scene(&docs, &may_ask());
    let rule = format!("GET https://{HOST}/guide");
    let keeper = scene.serve();
    let run = begin(
        &scene,
        &format!(
            "echo begins\nget https://{HOST}/guide\nuntil_given '{rule}' 'the guide'\nget https://{HOST}/guide\n\
             while [ ! -e src/never ]; do sleep 0.1; done"
        ),
    );
    let first = asked_for(&scene);
    approve(&scene, &first).ok();
    eventually("it reads the guide", || (docs.seen().len() == 1).then_some(()));
    // The attempt is lost with its keeper; the next one has what is configured, and neither the rule nor the yes.
    keeper.kill();
    let _keeper = scene.serve();
    let second = asked_for(&scene);
    assert_ne!(text(&first, "approval"), text(&second, "approval"));
    assert_eq!(docs.seen().len(), 1, "nothing before the second yes");
    assert_eq!(
        second["facts"]["attempt"].as_i64().or(second["facts"]["attempt"].as_str().map(|n| n.parse().unwrap())),
        Some(2)
    );
    // A halted run gains nothing, not even from a yes.
    scene.run(&["halt", "run", &run]).ok();
    assert_ne!(approve(&scene, &second).status, 0);
    let (settled, _) = ended(&scene);
    assert_eq!((text(&settled, "outcome"), docs.seen().len()), ("halted", 1));
    assert_eq!(verdicts(&scene, &run), ["needs_approval", "allow", "needs_approval"]);
}
