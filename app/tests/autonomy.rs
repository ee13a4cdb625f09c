//! What an agent becomes is seen and governed (B5, B7, B8), and what it usually does is known (G8), with the real executable: an assistant
//! is replayed into a factory by tools used again, a clock and a chain of prompts; and an agent leaves what is usual for it. The model is
//! scripted; not run against real services.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;

use common::{Said, Scene, agent, eventually, text};
use selvedge_scripted::{Script, Server, Turn};
use serde_json::{Value, json};

/// Hosts nobody else has (RFC 6761).
const MODEL: &str = "models.selvedge.test";
const USUAL: &str = "usual.selvedge.test";
const NEW: &str = "new.selvedge.test";

/// The vendor's key, which no agent has.
const KEY: &str = "sk-scripted-0123456789abcdef";

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

/// A service that has an answer for everybody; its port.
fn service() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let _gone =
                reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        }
    });
    port
}

/// A factory with an agent `helper` of this registered grade that has a model, and with `writer`, a fixed program.
fn scene(server: &Server, registered: &str) -> Scene {
    let scene = Scene::ready();
    scene.commit("work.sh", WORK);
    let helper = agent("helper", "propose")
        .replace("[\"sh\", \"-c\", \"{text}\"]", "[\"sh\", \"-c\", \"set -- {text}; . ./work.sh\"]")
        .replace("\"open-pr\"]", "\"open-pr\", \"delegate\"]");
    let service = service();
    let address = |host: &str, port: u16| {
        format!("[danger.addresses.\"{host}\"]\nallow = [\"127.0.0.1\"]\nplain_port = {port}\n")
    };
    let more = format!(
        "{helper}autonomy = \"{registered}\"\nmodel = \"main\"\nbudget = 100000000\nchildren = [\"writer\"]\n\
         reach = [\"GET https://{USUAL}/\", \"GET https://{NEW}/\"]\n\
         [model.main]\nupstream = \"https://{MODEL}\"\nprotocols = [\"anthropic-messages\"]\ncredential = \"vendor\"\n\
         price = [{{ of = \"scripted-1\", input = 1.0, output = 5.0 }}]\n\
         [credential.vendor]\nkind = \"static\"\nowner = \"team-api@example.org\"\nuses = [\"POST https://{MODEL}/\"]\n\
         header = \"x-api-key\"\nscheme = \"plain\"\n{}{}{}",
        address(MODEL, server.address().port()),
        address(USUAL, service),
        address(NEW, service),
    );
    scene.configure("checks = [\"sh tests/run.sh\"]", &more);
    let mut child = scene.command(&["credentials", "store", "vendor"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{KEY}\n").as_bytes()).unwrap();
    Said::of(&child.wait_with_output().unwrap()).ok();
    // As it is for who trusts the model's key to its door without being asked each time.
    let path = scene.state().join("policies/guardrails.cedar");
    let guard = "forbid (principal, action == Action::\"secret.use\", resource)\nunless { context.approved };";
    let policies = std::fs::read_to_string(&path).unwrap();
    assert!(policies.contains(guard));
    let narrower = guard.replace("context.approved", "context.approved || resource == Credential::\"vendor\"");
    std::fs::write(&path, policies.replace(guard, &narrower)).unwrap();
    scene
}

/// One run of an agent for a person, to where it goes.
fn work(scene: &Scene, agent: &str, text: &str) -> Value {
    scene.run(&["run", "--agent", agent, "--wait", "--json", text]).document()["runs"][0].clone()
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
    let shown = scene.json(&["show", text(run, "run")]);
    let decided = shown["entries"].as_array().unwrap().iter().filter(|entry| entry["detail"]["verb"] == verb);
    let decided = decided.filter(|entry| entry["kind"] == "decided");
    decided
        .map(|entry| (text(&entry["detail"], "verdict").to_owned(), entry["detail"]["policies"].to_string()))
        .collect()
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
    work(&scene, "helper", "answer");
    let calm = conduct(&scene, "helper");
    assert_eq!((&calm["seen"], &calm["has_drifted"]), (&json!("assistant"), &json!(false)), "{calm}");
    // What an assistant makes stays, whatever trust it was granted.
    assert_eq!((text(&calm, "granted"), text(&calm, "trust")), ("propose", "draft"));
    assert_eq!(work(&scene, "helper", "propose")["outcome"], "refused");

    // Tools used of its own choice.
    work(&scene, "helper", "tools");
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
    assert_eq!(work(&scene, "helper", "propose")["outcome"], "proposed");
    eventually("the clock starts it", || {
        let settled = behaved(&scene, "settled");
        settled.iter().any(|entry| entry["detail"]["facts"].to_string().contains("the clock")).then_some(())
    });
    assert_eq!(behaved(&scene, "drifted").len(), 1);

    // A chain of prompts: the first link makes it autonomous, and the very next order is governed as that.
    let run = work(&scene, "helper", "chain");
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
    let waits = work(&scene, "helper", "propose");
    assert_eq!(text(&waits, "stage"), "waiting", "{waits}");
    assert!(verdicts(&scene, &waits, "proposal.open")[0].1.contains("guard.drift-needs-approval"));
    // A fixed program is not bothered meanwhile.
    assert_eq!(work(&scene, "writer", "echo hello there >>src/greeting")["outcome"], "proposed");
    assert_eq!(text(&conduct(&scene, "writer"), "autonomy"), "bounded-automation");

    // Somebody looks, and answers for it as it is.
    scene.run(&["identities", "certify", "agent:helper"]).ok();
    assert_eq!(work(&scene, "helper", "propose")["outcome"], "proposed");
    assert_eq!(behaved(&scene, "drifted").len(), 2, "each step once");
}

#[test]
fn an_agent_that_leaves_what_is_usual_for_it_is_trusted_less_until_somebody_looks_g8() {
    let server = model();
    let scene = scene(&server, "supervised");
    for _ in 0..5 {
        assert!(conduct(&scene, "helper")["baseline"].is_null());
        work(&scene, "helper", &format!("call {USUAL}"));
    }
    let usual = conduct(&scene, "helper");
    let hosts = usual["baseline"]["hosts"].to_string();
    assert!(hosts.contains(USUAL) && hosts.contains(MODEL) && usual["baseline"]["runs"] == 5, "{usual}");
    assert_eq!((behaved(&scene, "departed").len(), text(&usual, "trust")), (0, "propose"), "{usual}");

    work(&scene, "helper", &format!("call {NEW}"));
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
    let run = work(&scene, "helper", "propose");
    assert_eq!(run["outcome"], "refused", "{run}");
    assert!(text(&run, "because").contains("identities certify agent:helper"), "{run}");

    scene.run(&["identities", "certify", "agent:helper"]).ok();
    assert_eq!(text(&conduct(&scene, "helper"), "trust"), "propose");
    assert_eq!(work(&scene, "helper", "propose")["outcome"], "proposed");
    // What somebody looked at is usual from then on.
    work(&scene, "helper", &format!("call {NEW}"));
    assert_eq!(behaved(&scene, "departed").len(), 1);
}
