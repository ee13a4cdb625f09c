//! A run asks for a child, with the real executable: the child is a run of its own, with what lies both in its agent's
//! configuration and in what it was given; neither can use what the other holds; and it ends when its giver is stopped.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::sync::{Arc, Mutex};

use common::service::answered;
use common::toolchain::clients;
use common::{Scene, agent, eventually, text};
use serde_json::Value;

/// A host nobody else has (RFC 6761).
const HOST: &str = "files.selvedge.test";

/// What all of them use.
const ASK: &str = r#"
import json, os, sys, time, urllib.error, urllib.parse, urllib.request
CHILD, TOKEN = os.environ["SELVEDGE_CHILD_URL"], os.environ["SELVEDGE_TOKEN_URL"]
JWT, ACCESS = ("urn:ietf:params:oauth:token-type:" + kind for kind in ("jwt", "access_token"))
def say(*words):
    print(*words, flush=True)
def call(url, form=None):
    data = None if form is None else urllib.parse.urlencode(form).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
def child(agent="reader", text="true", scope="trust:draft may:read may:write", **more):
    status, told = call(CHILD, dict(agent=agent, text=text, scope=scope, **more))
    return status, json.loads(told)
def standing(name):
    status, told = call(CHILD + "/" + name)
    return status, json.loads(told)
def wait(name):
    while (told := standing(name)[1])["stage"] != "settled":
        time.sleep(0.1)
    return told
def mine():
    from spiffe import WorkloadApiClient
    WorkloadApiClient._check_spiffe_socket_exists = staticmethod(lambda socket: None)
    WorkloadApiClient._grpc_target = staticmethod(lambda value: value.removeprefix("tcp://"))
    return WorkloadApiClient(os.environ["SPIFFE_ENDPOINT_SOCKET"]).fetch_jwt_svid(audience={"selvedge"}).token
def exchange(subject, kind=JWT, scope="trust:observe may:read", **more):
    status, told = call(TOKEN, dict(grant_type="urn:ietf:params:oauth:grant-type:token-exchange", subject_token=subject,
                                    subject_token_type=kind, scope=scope, audience="selvedge", **more))
    told = json.loads(told)
    return status, told.get("access_token", told.get("error"))
def holds(svid):
    return {"svid": svid, "token": exchange(svid)[1]}
def steal(stolen, svid):
    for name, kind in {"svid": JWT, "token": ACCESS}.items():
        say("stolen", name, *exchange(stolen[name], kind))
        say("stolen as actor", name, *exchange(svid, JWT, actor_token=stolen["token"], actor_token_type=ACCESS))
        say("introspected", name, call(TOKEN.removesuffix("token") + "introspect", {"token": stolen[name]})[1])
"#;

const PLANNER: &str = r#"
from ask import *
for what, more in {
    "trust": dict(scope="trust:land may:read"),
    "may": dict(scope="may:read may:push"),
    "reach": dict(scope="may:read reach:GET,PUT:files.selvedge.test:443/"),
    "elsewhere": dict(scope="may:read reach:GET:elsewhere.selvedge.test:443/"),
    "audience": dict(scope="may:read audience:cloud"),
    "unreadable": dict(scope="may:everything"),
    "stranger": dict(agent="writer"),
    "unknown": dict(agent="nobody"),
    "budget": dict(budget="11"),
}.items():
    status, told = child(**more)
    say("refused", what, status, told["error"])
svid = mine()
mine_s = json.dumps(holds(svid))
status, told = child(text=mine_s)
say("refused in clear", status, told["error"])
# Told so that nobody who looks for secrets finds them.
text = "exec 2>&1; PYTHONPATH=/opt/toolchain/0/py exec /usr/bin/python3 -S reader.py %s" % mine_s.encode().hex()
scope = "trust:draft may:read may:write may:delegate reach:GET:files.selvedge.test:443/public"
status, told = child(text=text, scope=scope, budget="7")
say("asked", status, told["stage"])
name = told["child"]
say("what is left", child(budget="4")[1].get("error"))
say("no child of mine", standing("g-0000000000001")[1]["error"])
while not (mail := call("https://files.selvedge.test/mail")[1]):
    time.sleep(0.1)
steal(json.loads(mail), svid)
say("STOLE")
say("ended", json.dumps(wait(name)))
"#;

const READER: &str = r#"
from ask import *
say("public", *call("https://files.selvedge.test/public/a"))
say("private", call("https://files.selvedge.test/private")[0])
svid = mine()
say("too wide", *exchange(svid, scope="may:read reach:GET:files.selvedge.test:443/"))
say("too much", *exchange(svid, scope="may:read", budget="8"))
say("enough", exchange(svid, scope="may:read", budget="7")[0])
say("own child", child(agent="reader")[1]["error"])
steal(json.loads(bytes.fromhex(sys.argv[1])), svid)
say("HOLDS", json.dumps(holds(svid)))
while call("https://files.selvedge.test/public/go")[1] != "go":
    time.sleep(0.1)
"#;

const DEEP: &str = r#"
from ask import *
level = int(sys.argv[1])
scope = "trust:propose may:read may:write may:delegate"
status, told = child("planner", "exec 2>&1; exec /usr/bin/python3 -S deep.py %d" % (level + 1), scope)
say("level", level, status, told.get("error"), told.get("error_description"))
if status == 201:
    say("ended", json.dumps(wait(told["child"])))
"#;

const STAY: &str = r#"
from ask import *
say("ASKED", child(text="sleep 600")[1]["child"], child(text="sleep 601")[1]["child"])
time.sleep(600)
"#;

/// Sends until it is told that there is no more to send, and then asks for a child that does the same.
const SENDER: &str = r#"
from ask import *
def send(much):
    for sent in range(much):
        status, told = call("https://files.selvedge.test/public/%d?%s" % (sent, "x" * 7000))
        if status != 200:
            return sent, status, json.loads(told)["code"]
    return much, status, "-"
if sys.argv[1] == "child":
    say("child", *send(40))
else:
    say("giver", *send(8))
    text = "exec 2>&1; exec /usr/bin/python3 -S sender.py child"
    scope = "trust:draft may:read may:write may:delegate reach:GET:files.selvedge.test:443/public"
    status, told = child("reader", text, scope)
    say("ended", json.dumps(wait(told["child"])))
    say("again", *send(40))
"#;

/// What the service says at each path; nothing at others.
type Pages = Arc<Mutex<Vec<(&'static str, String)>>>;

fn service() -> (u16, Pages) {
    let pages = Pages::default();
    let kept = Arc::clone(&pages);
    let port = answered(move |asked| {
        let pages = kept.lock().unwrap();
        let page = pages.iter().find(|(path, _)| asked.line() == format!("GET {path}"));
        Some((200, page.map_or(String::new(), |(_, body)| body.clone())))
    });
    (port, pages)
}

/// A factory with a planner that may give work to a reader and to its own like; both may reach all of the host.
fn factory(repo: &str, factory: &str, port: u16) -> Scene {
    let scene = Scene::ready();
    for (name, program) in [
        ("ask.py", ASK),
        ("planner.py", PLANNER),
        ("reader.py", READER),
        ("deep.py", DEEP),
        ("stay.py", STAY),
        ("sender.py", SENDER),
    ] {
        scene.commit(name, program);
    }
    let may = |name: &str, trust: &str| agent(name, trust).replace("\"open-pr\"]", "\"open-pr\", \"delegate\"]");
    let reach = format!("reach = [\"GET https://{HOST}/\"]\n");
    let more = format!(
        "{}{reach}budget = \"0.00001\"\nchildren = [\"reader\", \"planner\"]\n{}{reach}budget = \"0.0001\"\n\
         [factory]\n{factory}\n[danger.addresses.\"{HOST}\"]\nallow = [\"127.0.0.1\"]\nplain_port = {port}\n",
        may("planner", "propose"),
        may("reader", "draft"),
    );
    scene.configure(&format!("checks = [\"sh tests/run.sh\"]\n{repo}"), &more);
    scene
}

fn python(program: &str) -> String {
    format!("exec 2>&1; PYTHONPATH=/opt/toolchain/0/py exec /usr/bin/python3 -S {program}")
}

fn run_of(scene: &Scene, agent: &str) -> String {
    eventually(agent, || {
        let runs = scene.runs();
        Some(text(runs.iter().find(|run| text(run, "agent") == agent)?, "run").to_owned())
    })
}

/// What a run wrote, once the line is there.
fn wrote(scene: &Scene, run: &str, line: &str) -> String {
    eventually(line, || {
        let out = scene.run(&["output", run]).out;
        assert!(!out.contains("Traceback"), "{out}");
        out.contains(line).then_some(out)
    })
}

fn has(out: &str, lines: &[&str]) {
    for line in lines {
        assert!(out.contains(line), "`{line}` is missing in\n{out}");
    }
}

#[test]
fn a_child_may_what_it_was_given_and_neither_can_use_what_the_other_holds_a58_a103_b4() {
    let (port, pages) = service();
    pages.lock().unwrap().push(("/public/a", "open to all".to_owned()));
    let scene = factory("", &format!("toolchains = [{:?}]", clients()), port);
    let _serving = scene.serve();
    scene.run(&["run", "--agent", "planner", "--json", &python("planner.py")]).ok();
    let parent = run_of(&scene, "planner");
    let out = wrote(&scene, &parent, "no child of mine");
    has(
        &out,
        &[
            "refused trust 400 unauthorized_client",
            "refused may 400 unauthorized_client",
            "refused reach 400 unauthorized_client",
            "refused elsewhere 400 unauthorized_client",
            "refused audience 400 unauthorized_client",
            "refused unreadable 400 invalid_scope",
            "refused stranger 400 invalid_target",
            "refused unknown 400 invalid_target",
            "refused budget 400 invalid_scope",
            "refused in clear 400 invalid_request",
            "asked 201 queued",
            "what is left invalid_scope",
            "no child of mine invalid_request",
        ],
    );
    let child = run_of(&scene, "reader");
    let out = wrote(&scene, &child, "HOLDS");
    let stolen = [
        "stolen svid 400 invalid_request",
        "stolen token 400 invalid_request",
        "stolen as actor svid 400 invalid_request",
        "introspected svid {\"active\":false}",
        "introspected token {\"active\":false}",
    ];
    has(
        &out,
        &[
            "public 200 open to all",
            "private 403",
            "too wide 400 invalid_scope",
            "too much 400 invalid_scope",
            "enough 200",
            "own child invalid_target",
        ],
    );
    has(&out, &stolen);
    let holds = out.lines().find_map(|line| line.strip_prefix("HOLDS ")).unwrap();
    pages.lock().unwrap().push(("/mail", holds.to_owned()));
    has(&wrote(&scene, &parent, "STOLE"), &stolen);
    pages.lock().unwrap().push(("/public/go", "go".to_owned()));
    let out = wrote(&scene, &parent, "ended");
    has(&out, &[&child, "\"outcome\": \"changed\""]);

    // Which agent did which act is on record: the child's own under its own name, with whoever asked for it behind it.
    let log = scene.json(&["show", &child]).to_string();
    let me = |run: &str, agent: &str| format!("/run/{run}/agent/{agent}\"");
    assert!(
        log.contains(&me(&child, "reader"))
            && !log.contains(&format!("\"actor\":\"spiffe://{}", me(&parent, "planner")))
    );
    let asked = scene.json(&["show", &parent]);
    let decided: Vec<&Value> =
        asked["entries"].as_array().unwrap().iter().filter(|entry| entry["detail"]["verb"] == "task.enqueue").collect();
    let verdicts = |verdict: &str| decided.iter().filter(|entry| entry["detail"]["verdict"] == verdict).count();
    assert_eq!((verdicts("allow"), verdicts("deny")), (1, 5), "{decided:?}");
    let allowed = decided.iter().find(|entry| entry["detail"]["verdict"] == "allow").unwrap();
    assert_eq!(allowed["detail"]["facts"]["reach"][0], format!("GET {HOST}:443/public"), "{allowed}");
    let show = scene.json(&["show", &child]);
    let trigger = show["trigger"].to_string() + &show["entries"].to_string();
    assert!(trigger.contains(&parent), "{trigger}");
}

#[test]
fn stopping_a_run_stops_its_children_at_work_and_those_still_queued_b4_g5() {
    let scene = factory("", "", service().0);
    let _serving = scene.serve();
    scene.run(&["run", "--agent", "planner", "--json", &python("stay.py")]).ok();
    let parent = run_of(&scene, "planner");
    wrote(&scene, &parent, "ASKED");
    let child = run_of(&scene, "reader");
    eventually("the child works", || {
        scene.runs().iter().any(|run| text(run, "run") == child && text(run, "stage") == "working").then_some(())
    });
    scene.run(&["revoke", &parent]).ok();
    let runs = eventually("all of them end", || {
        let runs = scene.runs();
        (runs.len() == 3 && runs.iter().all(|run| text(run, "stage") == "settled")).then_some(runs)
    });
    for run in &runs {
        assert_eq!(text(run, "outcome"), "halted", "{run}");
    }
    assert_eq!(runs.iter().filter(|run| run["attempts"] == 0).count(), 1, "the second never began: {runs:?}");
}

#[test]
fn authority_is_handed_on_three_times_at_most_and_no_further_than_the_repository_s_chain_b4_a7() {
    let ends = |repo: &str, slots: &str, last: usize, words: &str| {
        let scene = factory(repo, slots, service().0);
        let said = scene.run(&["run", "--agent", "planner", "--wait", "--json", &python("deep.py 0")]);
        let runs = said.document()["runs"].as_array().cloned().unwrap();
        let out = |run: &Value| scene.run(&["output", text(run, "run")]).ok().out;
        let all = runs.iter().map(out).collect::<String>();
        for level in 0..last {
            has(&all, &[&format!("level {level} 201 None")]);
        }
        has(&all, &[&format!("level {last} 400 {words}")]);
        assert_eq!(runs.len(), last + 1, "{all}");
    };
    ends("", "slots = 5", 3, "invalid_request this authority was handed on as often as it may be");
    ends("chain = 1", "slots = 5", 1, "unauthorized_client stop here");
    // Nobody is left waiting for a child that cannot begin.
    ends("", "slots = 1", 0, "invalid_request every slot");
    ends("", "slots = 2", 1, "invalid_request every slot");
}

/// However many children it asks for: what they send is taken off what all of them may send to that host.
#[test]
fn a20_a58_what_a_child_sends_comes_out_of_its_giver_s_budget() {
    let (port, _pages) = service();
    let budget = 200 << 10;
    let scene = factory("", &format!("[network.send]\n\"{HOST}\" = \"200KiB\""), port);
    let _serving = scene.serve();
    let script = "exec 2>&1; exec /usr/bin/python3 -S sender.py giver";
    scene.run(&["run", "--agent", "planner", "--json", script]).ok();
    let giver = run_of(&scene, "planner");
    let out = wrote(&scene, &giver, "again");
    let out = out + &scene.run(&["output", &run_of(&scene, "reader")]).ok().out;
    let sent = |who: &str| -> u64 {
        let line = out.lines().find_map(|line| line.strip_prefix(who)).unwrap_or_else(|| panic!("no {who}: {out}"));
        line.split(' ').next().unwrap().parse().unwrap()
    };
    let (first, child, again) = (sent("giver "), sent("child "), sent("again "));
    assert!(first == 8 && child >= 2, "{out}");
    assert!((first + child + again) * 7000 <= budget, "{out}");
    has(&out, &["again 0 403 send_budget_spent", &format!("child {child} 403 send_budget_spent")]);
}
