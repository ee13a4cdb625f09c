//! An agent that opened a proposal tries to approve or merge it (A-67): at the API of its forge with a token that is lent for all of it,
//! through another run, a child, a token it exchanged, and over the factory's own control socket. The forge is a stand-in, written from
//! the published descriptions of GitHub, GitLab and Forgejo, not run against the real services.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use common::service::{Asked, answered};
use common::toolchain::clients;
use common::{Scene, agent, text};
use serde_json::{Value, json};

/// A host nobody else has (RFC 6761).
const HOST: &str = "forge.selvedge.test";
/// The commit that is proposed.
const HEAD: &str = "5e1f0000000000000000000000000000000000aa";

/// What the agents use: what each forge is asked, under the same names.
const FORGE: &str = r#"
import json, os, sys, time, urllib.error, urllib.parse, urllib.request
HEAD = "5e1f0000000000000000000000000000000000aa"
GITHUB, GITLAB, FORGEJO = "/repos/acme/shop", "/api/v4/projects/7", "/api/v1/repos/acme/shop"
OPEN = {"title": "a change", "head": "change", "base": "main", "source_branch": "change", "target_branch": "main"}
MERGE = {"sha": HEAD, "head_commit_id": HEAD, "Do": "merge"}
CALLS = {
    "open github": ("POST", GITHUB + "/pulls", OPEN),
    "open gitlab": ("POST", GITLAB + "/merge_requests", OPEN),
    "open forgejo": ("POST", FORGEJO + "/pulls", OPEN),
    "comment github": ("POST", GITHUB + "/issues/1/comments", {"body": "please look"}),
    "comment gitlab": ("POST", GITLAB + "/issues/3/notes", {"body": "please look"}),
    "comment forgejo": ("POST", FORGEJO + "/issues/1/comments", {"body": "please look"}),
    "approve github": ("POST", GITHUB + "/pulls/1/reviews", {"event": "APPROVE"}),
    "approve gitlab": ("POST", GITLAB + "/merge_requests/1/approve", {}),
    "approve forgejo": ("POST", FORGEJO + "/pulls/1/reviews", {"event": "APPROVED"}),
    "note gitlab": ("POST", GITLAB + "/merge_requests/1/notes", {"body": "/approve"}),
    "later gitlab": ("PUT", GITLAB + "/merge_requests/1/merge", {"auto_merge": True, **MERGE}),
    "later forgejo": ("POST", FORGEJO + "/pulls/1/merge", {"merge_when_checks_succeed": True, **MERGE}),
    "merge github": ("PUT", GITHUB + "/pulls/1/merge", MERGE),
    "merge gitlab": ("PUT", GITLAB + "/merge_requests/1/merge", MERGE),
    "merge forgejo": ("POST", FORGEJO + "/pulls/1/merge", MERGE),
}
def say(*words):
    print(*words, flush=True)
def send(method, url, body, kind, token=None):
    request = urllib.request.Request(url, body, method=method, headers={"Content-Type": kind})
    if token:
        request.add_header("Authorization", "Bearer " + token)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
def form(url, **fields):
    return send("POST", url, urllib.parse.urlencode(fields).encode(), "application/x-www-form-urlencoded")
def all_of(verbs, token=os.environ.get("FORGE_TOKEN")):
    for name, (method, path, body) in CALLS.items():
        if name.split(" ")[0] in verbs:
            url = "https://forge.selvedge.test" + path
            status, told = send(method, url, json.dumps(body).encode(), "application/json", token)
            say(name, status, told.get("code"), told.get("next_step"))
"#;

/// What it made, and its opinion of it; then a child and a token of its own.
const MAKER: &str = r#"
from forge import *
all_of(["open", "comment", "approve", "note"])
"#;

const MAKER_AGAIN: &str = r#"
from forge import *
from spiffe import WorkloadApiClient
WorkloadApiClient._check_spiffe_socket_exists = staticmethod(lambda socket: None)
WorkloadApiClient._grpc_target = staticmethod(lambda value: value.removeprefix("tcp://"))
svid = WorkloadApiClient(os.environ["SPIFFE_ENDPOINT_SOCKET"]).fetch_jwt_svid(audience={"selvedge"}).token
scope = " ".join(["trust:draft", "may:read", "may:write"] + [
    what + ":forge.selvedge.test:443/" for what in ("reach:POST", "reach:PUT", "loan:maker:POST", "loan:maker:PUT")])
status, told = form(os.environ["SELVEDGE_TOKEN_URL"], grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
                    subject_token=svid, subject_token_type="urn:ietf:params:oauth:token-type:jwt", scope=scope, audience="selvedge")
say("exchanged", status)
all_of(["merge"], told["access_token"])
text = "exec 2>&1; exec /usr/bin/python3 helper.py"
status, told = form(os.environ["SELVEDGE_CHILD_URL"], agent="helper", text=text, scope=scope)
say("child", status)
while True:
    with urllib.request.urlopen(os.environ["SELVEDGE_CHILD_URL"] + "/" + told["child"], timeout=30) as answer:
        if json.load(answer)["stage"] == "settled":
            break
    time.sleep(0.1)
"#;

const REVIEWER: &str = "from forge import *\nall_of([\"approve\", \"later\"])\n";
const HELPER: &str = "from forge import *\nall_of([\"merge\"])\n";

/// A proposal at one of the forges.
#[derive(Default)]
struct Offer {
    author: String,
    approved_by: BTreeSet<String>,
    merged_by: Option<String>,
}

/// What the forge knows, by the beginning of its paths.
#[derive(Default)]
struct Forge {
    offers: BTreeMap<&'static str, Offer>,
    comments: usize,
    /// What reached it, with who asked.
    heard: Vec<String>,
}

const PLACES: [&str; 3] = ["/repos/acme/shop", "/api/v4/projects/7", "/api/v1/repos/acme/shop"];

impl Forge {
    fn start() -> (u16, Arc<Mutex<Self>>) {
        let forge = Arc::<Mutex<Self>>::default();
        let kept = Arc::clone(&forge);
        (answered(move |asked| Some(kept.lock().unwrap().answer(asked))), forge)
    }

    fn answer(&mut self, asked: &Asked) -> (u16, String) {
        let who = ["maker", "reviewer"]
            .into_iter()
            .find(|who| asked.field("authorization") == format!("Bearer {}", key(who)));
        self.heard.push(format!("{} {who:?}", asked.line()));
        let (status, told) = match who {
            Some(who) => self.serve(asked.method(), asked.target(), who, &serde_json::from_slice(&asked.body).unwrap()),
            None => (401, json!({ "message": "Bad credentials" })),
        };
        (status, told.to_string())
    }

    /// Answers as the three do: nobody approves their own, nothing is merged unapproved, at another head, or twice.
    fn serve(&mut self, method: &str, path: &str, who: &str, asked: &Value) -> (u16, Value) {
        let Some((place, what)) = PLACES.iter().find_map(|place| Some((*place, path.strip_prefix(place)?))) else {
            return (404, json!({ "message": "Not Found" }));
        };
        let is_gitlab = place.starts_with("/api/v4");
        match (method, what) {
            ("POST", "/pulls") if !is_gitlab && text(asked, "head") == "change" && text(asked, "base") == "main" => {
                self.open(place, who)
            }
            ("POST", "/merge_requests") if is_gitlab && text(asked, "source_branch") == "change" => {
                self.open(place, who)
            }
            ("POST", "/issues/1/comments") if !is_gitlab => self.comment(asked),
            ("POST", "/issues/3/notes") if is_gitlab => self.comment(asked),
            ("POST", "/pulls/1/reviews") if !is_gitlab => {
                assert!(["APPROVE", "APPROVED"].contains(&text(asked, "event")));
                self.approve(place, who)
            }
            ("POST", "/merge_requests/1/approve") if is_gitlab => self.approve(place, who),
            ("POST", "/merge_requests/1/notes") if is_gitlab && text(asked, "body") == "/approve" => {
                self.approve(place, who)
            }
            ("PUT", "/pulls/1/merge") if place == PLACES[0] => self.merge(place, who, text(asked, "sha")),
            ("PUT", "/merge_requests/1/merge") if is_gitlab => self.merge(place, who, text(asked, "sha")),
            ("POST", "/pulls/1/merge") if place == PLACES[2] && text(asked, "Do") == "merge" => {
                self.merge(place, who, text(asked, "head_commit_id"))
            }
            _ => (404, json!({ "message": "Not Found" })),
        }
    }

    fn open(&mut self, place: &'static str, who: &str) -> (u16, Value) {
        if self.offers.contains_key(place) {
            return (422, json!({ "message": "there is one for this branch" }));
        }
        self.offers.insert(place, Offer { author: who.to_owned(), ..Offer::default() });
        (201, json!({ "number": 1, "iid": 1, "head": { "sha": HEAD } }))
    }

    fn comment(&mut self, asked: &Value) -> (u16, Value) {
        assert_eq!(text(asked, "body"), "please look");
        self.comments += 1;
        (201, json!({ "id": self.comments }))
    }

    fn approve(&mut self, place: &str, who: &str) -> (u16, Value) {
        match self.offers.get_mut(place) {
            None => (404, json!({ "message": "Not Found" })),
            Some(offer) if offer.author == who => (422, json!({ "message": "Can not approve your own pull request" })),
            Some(offer) => {
                offer.approved_by.insert(who.to_owned());
                (200, json!({ "state": "APPROVED" }))
            }
        }
    }

    fn merge(&mut self, place: &str, who: &str, head: &str) -> (u16, Value) {
        match self.offers.get_mut(place) {
            None => (404, json!({ "message": "Not Found" })),
            Some(_) if head != HEAD => (409, json!({ "message": "Head branch was modified" })),
            Some(offer) if offer.approved_by.is_empty() || offer.merged_by.is_some() => {
                (405, json!({ "message": "Not mergeable" }))
            }
            Some(offer) => {
                offer.merged_by = Some(who.to_owned());
                (200, json!({ "merged": true }))
            }
        }
    }
}

/// The token of an account at the forge.
fn key(account: &str) -> String {
    format!("{account}-token-at-the-forge-4c1b7a90d2e8")
}

/// Whether the guard stands that no agent decides at a forge.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guard {
    Stands,
    IsGone,
}

/// A factory whose agents may write all over the forge, each with the token of an account that may do everything there.
fn factory(port: u16, guard: Guard) -> Scene {
    let scene = Scene::ready();
    for (name, program) in [
        ("forge.py", FORGE),
        ("maker.py", MAKER),
        ("maker_again.py", MAKER_AGAIN),
        ("reviewer.py", REVIEWER),
        ("helper.py", HELPER),
    ] {
        scene.commit(name, program);
    }
    let all = format!("[\"POST https://{HOST}/\", \"PUT https://{HOST}/\"]");
    let borrows = |name: &str, account: &str| {
        let agent = agent(name, "propose").replace("\"open-pr\"]", "\"open-pr\", \"delegate\"]");
        format!("{agent}budget = \"0.00001\"\ncredentials = [{account:?}]\nreach = {all}\n")
    };
    let account = |name: &str| {
        format!(
            "[credential.{name}]\nkind = \"static\"\nowner = \"team@example.org\"\nuses = {all}\nenv = \"FORGE_TOKEN\"\n"
        )
    };
    let more = format!(
        "{}children = [\"helper\"]\n{}{}{}{}[factory]\ntoolchains = [{:?}]\n\
         [danger.addresses.\"{HOST}\"]\nallow = [\"127.0.0.1\"]\nplain_port = {port}\n",
        borrows("maker", "maker"),
        borrows("helper", "maker"),
        borrows("reviewer", "reviewer"),
        account("maker"),
        account("reviewer"),
        clients(),
    );
    scene.configure("checks = [\"sh tests/run.sh\"]", &more);
    policies(&scene, guard);
    for account in ["maker", "reviewer"] {
        scene.store(account, &key(account)).ok();
    }
    scene
}

/// As they are for who trusts agents with the whole of a forge: every method, for children too, and the tokens without asking.
fn policies(scene: &Scene, guard: Guard) {
    let path = scene.state().join("policies/guardrails.cedar");
    let text = std::fs::read_to_string(&path).unwrap();
    let asks = "forbid (principal, action == Action::\"secret.use\", resource)\nunless { context.approved };";
    let decides = "when { context.order.forge_act != \"none\" };";
    let reads = "when { context.run.tainted && ![";
    assert!(text.contains(asks) && text.contains(decides) && text.contains(reads));
    let trusting = text.replace(asks, &asks.replace("context.approved", "context.approved || principal is Agent"));
    let trusting = trusting.replace(reads, "when { false && ![");
    let text = if guard == Guard::Stands { trusting } else { trusting.replace(decides, "when { false };") };
    std::fs::write(&path, text).unwrap();
    let wide =
        "@id(\"writes\") @owner(\"team\") permit (principal is Agent, action == Action::\"http.request\", resource);";
    std::fs::write(path.with_file_name("writes.cedar"), wide).unwrap();
}

/// Has an agent run one of its programs to its end; what all runs that came of it wrote, and their names.
fn has_run(scene: &Scene, agent: &str, program: &str) -> (String, Vec<String>) {
    let line = format!("exec 2>&1; PYTHONPATH=/opt/toolchain/0/py exec /usr/bin/python3 -S {program}");
    let said = scene.run(&["run", "--agent", agent, "--wait", "--json", &line]).document();
    let runs: Vec<String> = said["runs"].as_array().unwrap().iter().map(|run| text(run, "run").to_owned()).collect();
    let out = runs.iter().map(|run| scene.run(&["output", run]).ok().out).collect::<String>();
    assert!(!out.contains("Traceback"), "{out}");
    (out, runs)
}

/// Insists that each of these calls was answered so, and that there were no others of the name.
fn came(out: &str, verb: &str, answer: &str) {
    let lines: Vec<&str> = out.lines().filter(|line| line.starts_with(&format!("{verb} "))).collect();
    assert!(!lines.is_empty() && lines.iter().all(|line| line.contains(answer)), "`{verb}` is not {answer} in\n{out}");
}

#[test]
fn a67_no_run_reviews_or_merges_what_a_run_proposed_whichever_forge_token_or_run_it_takes() {
    let (port, forge) = Forge::start();
    let scene = factory(port, Guard::Stands);
    let (made, mut runs) = has_run(&scene, "maker", "maker.py");
    came(&made, "open", " 201 ");
    came(&made, "comment", " 201 ");
    came(&made, "approve", " 403 forbidden leave the proposal to people");
    came(&made, "note", " 403 forbidden ");
    // Another account, in another run.
    let (reviewed, others) = has_run(&scene, "reviewer", "reviewer.py");
    came(&reviewed, "approve", " 403 forbidden ");
    came(&reviewed, "later", " 403 forbidden ");
    runs.extend(others);
    // People approve. Neither a token that the run exchanged nor its child merges, at whatever head.
    forge.lock().unwrap().offers.values_mut().for_each(|offer| assert!(offer.approved_by.insert("person".to_owned())));
    let (again, others) = has_run(&scene, "maker", "maker_again.py");
    assert!(again.contains("exchanged 200") && again.contains("child 201"), "{again}");
    assert_eq!(others.len(), 2, "{again}");
    came(&again, "merge", " 403 ");
    assert_eq!((again.matches(" 403 foreign_credential").count(), again.matches(" 403 forbidden").count()), (3, 3));
    runs.extend(others);

    let mut forge = forge.lock().unwrap();
    assert_eq!(
        (forge.offers.len(), forge.comments, forge.heard.len()),
        (3, 3, 6),
        "only what is granted left: {:?}",
        forge.heard
    );
    assert!(forge.offers.values().all(|offer| offer.author == "maker" && offer.merged_by.is_none()));
    // The control: the same call in a person's hands is good.
    assert_eq!(forge.merge(PLACES[0], "person", HEAD).0, 200);
    // Each of them is on record, as what it was.
    let entries = runs.iter().flat_map(|run| scene.json(&["show", run])["entries"].as_array().unwrap().clone());
    let denied: Vec<Value> = entries.filter(|entry| entry["detail"]["code"] == "forbidden").collect();
    let acts = |act: &str| denied.iter().filter(|entry| entry["detail"]["facts"]["forge_act"] == act).count();
    assert_eq!((acts("review"), acts("merge"), denied.len()), (7, 5, 12), "{denied:?}");
    assert!(denied.iter().all(|entry| entry.to_string().contains("guard.no-decision-at-a-forge")), "{denied:?}");
    scene.run(&["audit", "verify"]).ok();
}

#[test]
fn a67_without_the_guard_a_second_run_approves_and_a_child_merges() {
    let (port, forge) = Forge::start();
    let scene = factory(port, Guard::IsGone);
    let (made, _) = has_run(&scene, "maker", "maker.py");
    came(&made, "open", " 201 ");
    came(&made, "approve", " 422 ");
    came(&has_run(&scene, "reviewer", "reviewer.py").0, "approve", " 200 ");
    // What an earlier call merged is not merged twice.
    forge.lock().unwrap().offers.values_mut().for_each(|offer| offer.merged_by = None);
    let (again, _) = has_run(&scene, "maker", "maker_again.py");
    assert_eq!(again.matches(" 200 None").count(), 3, "{again}");
    let forge = forge.lock().unwrap();
    let merged = forge.offers.values().filter(|offer| offer.merged_by.as_deref() == Some("maker"));
    assert_eq!(merged.count(), 3, "by the child, with its giver's account: {:?}", forge.heard);
}

/// Looks for every way to the keeper that a process of its user would have.
const KNOCKS: &str = r#"
import os, socket, subprocess, sys
sys.stderr = sys.stdout
state, own = sys.argv[1], sys.argv[2]
for path in (state + "/control.sock", state, own):
    print("there" if os.path.exists(path) else "missing", path)
try:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
        knock.connect(state + "/control.sock")
        print("CONNECTED")
except OSError as error:
    print("no socket:", type(error).__name__)
try:
    print("MERGED", subprocess.run([own, "merge", "1"]).returncode)
except OSError as error:
    print("no program:", type(error).__name__)
"#;

#[test]
fn a67_the_control_socket_is_out_of_reach_from_within_and_a_person_merges_over_it() {
    let scene = Scene::ready();
    scene.commit("knocks.py", KNOCKS);
    let own = env!("CARGO_BIN_EXE_selvedge");
    let state = scene.state();
    let line = format!("echo more >>src/greeting; /usr/bin/python3 knocks.py {} {own}", state.display());
    let _serving = scene.serve();
    let proposed = scene.task("echo hello you >src/greeting");
    assert_eq!(proposed["outcome"], "proposed", "{proposed}");
    let knocked = scene.task(&line);
    let out = scene.run(&["output", text(&knocked, "run")]).ok().out;
    assert_eq!(out.matches("missing ").count(), 3, "{out}");
    assert!(out.contains("no socket: ") && out.contains("no program: "), "{out}");
    assert!(!out.contains("CONNECTED") && !out.contains("MERGED"), "{out}");
    // The control: the same program finds all of it outside, where the keeper's own user merges.
    let mut outside = scene.command(&[]);
    let environment: Vec<_> =
        outside.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    outside = std::process::Command::new("/usr/bin/python3");
    outside.arg(scene.repo().join("knocks.py")).arg(&state).arg(own).env_clear().envs(environment);
    let said = String::from_utf8(outside.output().unwrap().stdout).unwrap();
    assert!(said.matches("there ").count() == 3 && said.contains("CONNECTED") && said.contains("MERGED 0"), "{said}");
}
