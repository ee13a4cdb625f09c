//! What an agent becomes is seen and governed (B5, B7, B8), and what it usually does is known (G8), with the real executable: an assistant
//! is replayed into a factory by tools used again, a clock and a chain of prompts; and an agent leaves what is usual for it. The model is
//! scripted; not run against real services.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use common::models::{Asker, HOST, KEY};
use common::service::answered;
use common::{Scene, agent, eventually, text};
use selvedge_scripted::{Script, Server, Turn};
use serde_json::{Value, json};

/// Hosts nobody else has (RFC 6761).
const USUAL: &str = "usual.selvedge.test";
const NEW: &str = "new.selvedge.test";

/// The status of `identities --check` when something is wrong.
const OVERDUE: i32 = 115;

/// What the agent does, by the words of its task. A clock has no words of its own.
const WORK: &str = r#"
say() {
    curl -sS -o answer -w '%{http_code}\n' -H 'content-type: application/json' -H 'anthropic-version: 2023-06-01' \
        -d "$1" "$SELVEDGE_MODEL_URL/v1/messages"
    rm -f answer
}
child() {
    curl -sS -d agent=writer -d text=true --data-urlencode 'scope=trust:draft may:read may:write' "$SELVEDGE_CHILD_URL"
    echo
}
asked='{"model":"scripted-1","max_tokens":100,"messages":[{"role":"user","content":"what is it"}]'
tool() { printf '{"name":"%s","input_schema":{"type":"object","properties":{}}}' "$1"; }
case "$1" in
answer | scheduled) say "$asked}" ;;
tools) say "$asked,\"tools\":[$(tool Read),$(tool Bash)]}" ;;
propose) say "$asked}"; echo "hello again" >>src/greeting ;;
chain) say "$asked}"; child; child ;;
call) say "$asked}"; curl -sS "https://$2/" ;;
esac
"#;

fn model() -> Server {
    let turn =
        Turn::new().call("Read", json!({ "file_path": "src/greeting" })).call("Bash", json!({ "command": "true" }));
    Server::start(Script::new(KEY).turn(turn)).unwrap()
}

/// A factory with an agent `helper` of this registered grade that has a model, and with `writer`, a fixed program.
fn scene(server: &Server, registered: &str) -> Scene {
    let helper = agent("helper", "propose")
        .replace("[\"sh\", \"-c\", \"{text}\"]", "[\"sh\", \"-c\", \"set -- {text}; . ./work.sh\"]")
        .replace("\"open-pr\"]", "\"open-pr\", \"delegate\"]");
    let service = answered(|_| Some((200, "ok")));
    let addresses = [USUAL, NEW]
        .map(|host| format!("[danger.addresses.\"{host}\"]\nallow = [\"127.0.0.1\"]\nplain_port = {service}\n"));
    let helper = Asker::of(server).is(helper).may_spend(100_000_000).beside(&addresses.concat());
    let scene = helper
        .with(&format!("autonomy = \"{registered}\"\nchildren = [\"writer\"]"))
        .with(&format!("reach = [\"GET https://{USUAL}/\", \"GET https://{NEW}/\"]"))
        .scene();
    scene.commit("work.sh", WORK);
    scene
}

/// How an agent stands.
fn conduct(scene: &Scene, agent: &str) -> Value {
    let all = scene.json(&["identities"])["conduct"].clone();
    all.as_array().unwrap().iter().find(|one| one["agent"] == agent).cloned().unwrap_or_else(|| panic!("{all}"))
}

/// Everything on record of an agent's behaviour of one sort.
fn behaved(scene: &Scene, sort: &str) -> Vec<Value> {
    let log = scene.run(&["audit", "show", "--json"]).ok().out;
    let entries = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    entries.filter(|entry| entry["kind"] == "behaved" && entry["detail"]["is"] == sort).collect()
}

/// The verdicts on a verb in a run, in order, each with the policies that decided.
fn verdicts(scene: &Scene, run: &Value, verb: &str) -> Vec<(String, String)> {
    let decided = scene.decided(text(run, "run"), verb);
    decided.iter().map(|one| (text(one, "verdict").to_owned(), one["policies"].to_string())).collect()
}

fn register(scene: &Scene, from: &str, to: &str) {
    let config = std::fs::read_to_string(scene.config()).unwrap();
    let (from, to) = (format!("autonomy = \"{from}\""), format!("autonomy = \"{to}\""));
    assert!(config.contains(&from));
    std::fs::write(scene.config(), config.replace(&from, &to)).unwrap();
}

#[test]
fn an_assistant_that_becomes_a_factory_is_seen_and_governed_as_one_b5_b8() {
    let server = model();
    let scene = scene(&server, "assistant");
    let serving = scene.serve();
    scene.work("helper", "answer");
    let calm = conduct(&scene, "helper");
    assert_eq!((&calm["seen"], &calm["has_drifted"]), (&json!("assistant"), &json!(false)), "{calm}");
    // What an assistant makes stays, whatever trust it was granted.
    assert_eq!((text(&calm, "granted"), text(&calm, "trust")), ("propose", "draft"));
    assert_eq!(scene.work("helper", "propose")["outcome"], "refused");

    // Tools used of its own choice.
    scene.work("helper", "tools");
    let steps = behaved(&scene, "drifted");
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert_eq!(
        (text(&steps[0]["detail"], "registered"), text(&steps[0]["detail"], "seen")),
        ("assistant", "supervised")
    );
    assert!(steps[0]["detail"]["facts"].to_string().contains("2 kinds of tools"), "{steps:?}");
    let check = scene.run(&["identities", "--check"]);
    assert_eq!(check.status, OVERDUE, "{check:?}");
    assert!(check.out.contains("drifted: agent:helper") && check.out.contains("trouble goes to team@"), "{check:?}");
    assert!(scene.run(&["ps"]).ok().out.contains("agent:helper is registered as assistant and is supervised"));

    // Its owner says what it is, and it works as that; a clock is nothing new then.
    register(&scene, "assistant", "supervised");
    let config = std::fs::read_to_string(scene.config()).unwrap();
    std::fs::write(scene.config(), config + "[[when]]\nevery = \"24h\"\nrun = \"helper\"\nrepo = \"repo\"\n").unwrap();
    eventually("the configuration is taken up", || (conduct(&scene, "helper")["has_drifted"] == false).then_some(()));
    assert_eq!(scene.work("helper", "propose")["outcome"], "proposed");
    eventually("the clock starts it", || {
        let settled = behaved(&scene, "settled");
        settled.iter().any(|entry| entry["detail"]["facts"].to_string().contains("the clock")).then_some(())
    });
    assert_eq!(behaved(&scene, "drifted").len(), 1);

    // A chain of prompts: the first link makes it autonomous, and the very next order is governed as that.
    let run = scene.work("helper", "chain");
    let asked = verdicts(&scene, &run, "task.enqueue");
    assert_eq!(asked.iter().map(|(verdict, _)| verdict.as_str()).collect::<Vec<_>>(), ["allow", "needs_approval"]);
    assert!(asked[1].1.contains("guard.drift-needs-approval"), "{asked:?}");
    let steps = behaved(&scene, "drifted");
    assert_eq!((steps.len(), text(&steps[1]["detail"], "seen")), (2, "autonomous"), "{steps:?}");
    assert!(steps[1]["detail"]["facts"].to_string().contains("1 runs queued"), "{steps:?}");

    // Another keeper knows it, too; and what it would change waits for a person.
    serving.kill();
    let _serving = scene.serve();
    let drifted = conduct(&scene, "helper");
    assert_eq!((&drifted["has_drifted"], text(&drifted, "autonomy")), (&json!(true), "autonomous"), "{drifted}");
    let waits = scene.work("helper", "propose");
    assert_eq!(text(&waits, "stage"), "waiting", "{waits}");
    assert!(verdicts(&scene, &waits, "proposal.open")[0].1.contains("guard.drift-needs-approval"));
    // A fixed program is not bothered meanwhile.
    assert_eq!(scene.work("writer", "echo hello there >>src/greeting")["outcome"], "proposed");
    assert_eq!(text(&conduct(&scene, "writer"), "autonomy"), "bounded-automation");

    // Somebody looks, and answers for it as it is.
    scene.run(&["identities", "certify", "agent:helper"]).ok();
    assert_eq!(scene.work("helper", "propose")["outcome"], "proposed");
    assert_eq!(behaved(&scene, "drifted").len(), 2, "each step once");
}

#[test]
fn an_agent_that_leaves_what_is_usual_for_it_is_trusted_less_until_somebody_looks_g8() {
    let server = model();
    let scene = scene(&server, "supervised");
    for _ in 0..5 {
        assert!(conduct(&scene, "helper")["baseline"].is_null());
        scene.work("helper", &format!("call {USUAL}"));
    }
    let usual = conduct(&scene, "helper");
    let hosts = usual["baseline"]["hosts"].to_string();
    assert!(hosts.contains(USUAL) && hosts.contains(HOST) && usual["baseline"]["runs"] == 5, "{usual}");
    assert_eq!((behaved(&scene, "departed").len(), text(&usual, "trust")), (0, "propose"), "{usual}");

    scene.work("helper", &format!("call {NEW}"));
    let departed = behaved(&scene, "departed");
    assert_eq!(departed.len(), 1, "{departed:?}");
    assert!(departed[0]["detail"]["departures"].to_string().contains(NEW), "{departed:?}");
    let stands = conduct(&scene, "helper");
    assert_eq!((&stands["has_departed"], text(&stands, "trust")), (&json!(true), "draft"), "{stands}");
    let check = scene.run(&["identities", "--check"]);
    assert_eq!(check.status, OVERDUE, "{check:?}");
    assert!(
        check.out.contains("departed: agent:helper") && check.out.contains("team@example.org answers"),
        "{check:?}"
    );
    // What it makes stays, and why is said.
    let run = scene.work("helper", "propose");
    assert_eq!(run["outcome"], "refused", "{run}");
    assert!(text(&run, "because").contains("identities certify agent:helper"), "{run}");

    scene.run(&["identities", "certify", "agent:helper"]).ok();
    assert_eq!(text(&conduct(&scene, "helper"), "trust"), "propose");
    assert_eq!(scene.work("helper", "propose")["outcome"], "proposed");
    // What somebody looked at is usual from then on.
    scene.work("helper", &format!("call {NEW}"));
    assert_eq!(behaved(&scene, "departed").len(), 1);
}

/// The runs of the pipeline in which `helper` makes a change and `reviewer` says yes to it.
fn reviewed(scene: &Scene) -> Vec<Value> {
    let said = scene.run(&["run", "--pipeline", "reviewed", "--wait", "--json", "propose"]);
    said.document()["runs"].as_array().cloned().unwrap_or_else(|| panic!("no runs: {said:?}"))
}

#[test]
fn a_review_does_not_cover_what_its_author_became_b5_g8() {
    let server = model();
    let scene = scene(&server, "supervised");
    let config = std::fs::read_to_string(scene.config()).unwrap();
    let reviewer = agent("reviewer", "propose").replace("[\"sh\", \"-c\", \"{text}\"]", "[\"echo\", \"yes\"]");
    let pipeline = "[pipeline.reviewed]\nstages = [{ name = \"execute\", agent = \"helper\" }, { name = \"review\", agent = \"reviewer\" }]\n";
    std::fs::write(scene.config(), format!("{config}\n{reviewer}{pipeline}")).unwrap();
    let _serving = scene.serve();
    for _ in 0..5 {
        scene.work("helper", &format!("call {USUAL}"));
    }
    assert_eq!(reviewed(&scene)[1]["outcome"], "proposed", "a calm author's change");

    // It drifts: a person is asked about its change, whoever reviewed it.
    scene.work("helper", "chain");
    assert_eq!(conduct(&scene, "helper")["has_drifted"], true);
    let runs = reviewed(&scene);
    assert_eq!((&runs[0]["outcome"], text(&runs[1], "stage")), (&json!("changed"), "waiting"), "{runs:?}");
    assert!(verdicts(&scene, &runs[1], "proposal.open")[0].1.contains("guard.author-drift-needs-approval"));
    assert!(scene.json(&["approvals"]).to_string().contains("author_drifted"), "who is asked is told");
    scene.run(&["identities", "certify", "agent:helper"]).ok();
    assert_eq!(reviewed(&scene)[1]["outcome"], "proposed");

    // It leaves what is usual for it: nothing of it is proposed until somebody has looked.
    scene.work("helper", &format!("call {NEW}"));
    assert_eq!(conduct(&scene, "helper")["has_departed"], true);
    let runs = reviewed(&scene);
    assert_eq!((&runs[0]["outcome"], &runs[1]["outcome"]), (&json!("changed"), &json!("refused")), "{runs:?}");
    assert!(text(&runs[1], "because").contains("identities certify agent:NAME"), "{runs:?}");
    scene.run(&["identities", "certify", "agent:helper"]).ok();
    assert_eq!(reviewed(&scene)[1]["outcome"], "proposed");
}
