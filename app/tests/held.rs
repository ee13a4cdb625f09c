//! A tool call that needs a yes holds its turn: the sandbox stands still, nothing is lent to it, and once a person has answered, or nobody
//! has, it goes on (C8, D3, D5, D6; ). The model is scripted, and the forge that counts its tokens a stand-in written from
//! its published description; not run against real services.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use common::asking::{CLIENT, PROTOCOLS, first};
use common::{Said, Scene, agent, coders, eventually, is_root, text};
use selvedge_scripted::{Script, Server, Turn, Usage};
use serde_json::{Value, json};

/// Where the vendor is, for the factory.
const HOST: &str = "models.example";

/// The vendor's key, which no agent has.
const KEY: &str = "sk-scripted-0123456789abcdef";

/// A forge that nobody else has (RFC 6761), and the token there that makes others.
const FORGE: &str = "gitlab.selvedge.test";
const MAKER: &str = "glpat-canary-4c1d9e0b77aa-of-the-maintainer";

/// Somebody who did not ask for the run.
const SOMEBODY_ELSE: u32 = 65533;

/// What stands still with its sandbox: a line every moment.
const TICKS: &str = "(while :; do echo tick; sleep 0.05; done) & ticking=$!\n";

/// What the forge knows: its live tokens, how many it ever made, and what each request carried.
#[derive(Default)]
struct Shelf {
    live: Vec<String>,
    made: usize,
    used: Vec<(String, bool)>,
}

impl Shelf {
    fn start() -> (u16, Arc<Mutex<Self>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shelf = Arc::<Mutex<Self>>::default();
        let kept = Arc::clone(&shelf);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || serve(stream, &kept));
            }
        });
        (port, shelf)
    }

    fn answer(&mut self, line: &str, shown: &str, body: &[u8]) -> (u16, String) {
        const TOKENS: &str = "/api/v4/projects/acme%2Fshop/access_tokens";
        let (is_maker, is_live) = (shown == MAKER, self.live.iter().any(|token| token == shown));
        let (method, target) = line.split_once(' ').unwrap();
        match (method, target.split('?').next().unwrap()) {
            ("POST", TOKENS) if is_maker => {
                let mut said: Value = serde_json::from_slice(body).unwrap();
                self.made += 1;
                let token = format!("glpat-canary-{:08}", self.made);
                (said["id"], said["token"]) = (json!(self.made), json!(token));
                self.live.push(token);
                (201, said.to_string())
            }
            ("DELETE", path) if is_maker => {
                let id: usize = path.rsplit('/').next().unwrap().parse().unwrap();
                let before = self.live.len();
                self.live.retain(|token| *token != format!("glpat-canary-{id:08}"));
                (if self.live.len() < before { 204 } else { 404 }, String::new())
            }
            ("GET", "/api/v4/personal_access_tokens/self") if is_live => (200, "{}".to_owned()),
            ("GET", "/api/v4/projects/7/issues") => {
                self.used.push((shown.to_owned(), is_live));
                (if is_live { 200 } else { 401 }, "[]".to_owned())
            }
            _ => (401, json!({ "message": "401 Unauthorized" }).to_string()),
        }
    }
}

fn serve(stream: TcpStream, shelf: &Mutex<Shelf>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let mut body = vec![0; field("content-length: ").parse().unwrap_or(0)];
        reader.read_exact(&mut body).unwrap();
        let line = head.split(" HTTP/1.1").next().unwrap();
        let (status, said) = shelf.lock().unwrap().answer(line, field("private-token: "), &body);
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{said}", said.len());
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// One streamed request by hand: what is answered, as it comes.
fn stream(protocol: &str) -> String {
    let (path, body) = first(protocol, true);
    let body = body.to_string().replace('\'', "'\\''");
    format!(
        "curl -sSN -H 'content-type: application/json' -H 'anthropic-version: 2023-06-01' -d '{body}' \"$SELVEDGE_MODEL_URL{path}\"\n"
    )
}

/// Three calls in one turn, the second of which needs a yes in these tests; then a word on what came of them.
fn three_calls() -> Script {
    let called = Turn::new()
        .text("Three things.")
        .call("Read", json!({ "file_path": "src/greeting" }))
        .call("Bash", json!({ "command": "make deploy" }))
        .call("Write", json!({ "file_path": "out", "content": "x" }))
        .costs(Usage { input: 2_000, output: 100, ..Usage::default() });
    let ended = Turn::new().text("All three.").costs(Usage { input: 2_500, output: 20, ..Usage::default() });
    Script::new(KEY).turn(called).turn(ended)
}

/// A factory whose agent `asker` has a model that answers by the script, and a call of whose tool `Bash` needs a yes. `repo` is added
/// to its repository's table, `more` to the agent's, `rest` to the end.
fn scene(server: &Server, protocol: &str, (repo, more, rest): (&str, &str, &str)) -> Scene {
    let carried = PROTOCOLS.iter().find(|(name, _)| *name == protocol).unwrap().1;
    let scene = Scene::ready();
    scene.commit("client.py", CLIENT);
    scene.configure(
        &format!("checks = [\"sh tests/run.sh\"]\n{repo}"),
        &format!(
            "{}model = \"main\"\nbudget = 10000000\n{more}\n\
             [model.main]\nupstream = \"https://{HOST}\"\nprotocols = [\"{protocol}\"]\ncredential = \"vendor\"\n\
             price = [{{ of = \"scripted-1\", input = 1.0, cached = 0.1, output = 5.0 }}]\n\
             [credential.vendor]\nkind = \"static\"\nowner = \"team-api@example.org\"\nuses = [\"POST https://{HOST}/\"]\n{carried}\n\
             [danger.addresses.\"{HOST}\"]\nallow = [\"127.0.0.1\"]\nplain_port = {}\n{rest}",
            agent("asker", "draft"),
            server.address().port()
        ),
    );
    store(&scene, "vendor", KEY);
    ask_first(&scene, "context.order.tool == \"Bash\"");
    scene
}

fn store(scene: &Scene, name: &str, key: &str) {
    let mut child = scene.command(&["credentials", "store", name]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{key}\n").as_bytes()).unwrap();
    Said::of(&child.wait_with_output().unwrap()).ok();
}

/// Has people asked about such tool calls, and nobody about the model's key.
fn ask_first(scene: &Scene, when: &str) {
    let path = scene.state().join("policies/guardrails.cedar");
    let guards = std::fs::read_to_string(&path).unwrap();
    let guard = "unless { context.approved };";
    let unasked = "unless { context.approved || resource == Credential::\"vendor\" };";
    let (before, after) = guards.split_once("@id(\"guard.secret-needs-approval\")").unwrap();
    let guards = format!("{before}@id(\"guard.secret-needs-approval\"){}", after.replacen(guard, unasked, 1));
    std::fs::write(&path, guards).unwrap();
    let policy = format!(
        "@id(\"test.ask-first\")\n@owner(\"tests\")\n@next_step(\"a person has to say yes to this\")\n\
         forbid (principal, action == Action::\"tool.call\", resource)\nwhen {{ {when} }}\nunless {{ context.approved }};\n"
    );
    std::fs::write(scene.state().join("policies/more.cedar"), policy).unwrap();
}

fn begin(scene: &Scene, script: &str) -> String {
    scene.run(&["run", "--agent", "asker", script]).ok();
    eventually("the run begins", || scene.runs().first().map(|run| text(run, "run").to_owned()))
}

/// The requests about tool calls that nobody has answered.
fn asked(scene: &Scene) -> Vec<Value> {
    let all = scene.json(&["approvals"])["approvals"].as_array().unwrap().clone();
    all.into_iter().filter(|request| request["verb"] == "tool.call").collect()
}

/// Waits until a turn is held, and gives the one request about it.
fn held(scene: &Scene, run: &str) -> Value {
    eventually("the turn is held", || (kinds(scene, run).iter().any(|kind| kind == "turn_held")).then_some(()));
    asked(scene).first().cloned().unwrap()
}

fn approve(scene: &Scene, request: &Value) -> Said {
    Said::of(&scene.command_as(SOMEBODY_ELSE, &["approve", text(request, "approval")]).output().unwrap())
}

fn settled(scene: &Scene, run: &str) -> (Value, String) {
    let is_settled = |one: &Value| one["run"] == run && one["stage"] == "settled";
    let settled = eventually("the run settles", || scene.runs().into_iter().find(|one| is_settled(one)));
    (settled, scene.run(&["output", run]).out)
}

fn entries(scene: &Scene, run: &str) -> Vec<Value> {
    scene.json(&["show", run])["entries"].as_array().unwrap().clone()
}

fn kinds(scene: &Scene, run: &str) -> Vec<String> {
    entries(scene, run).iter().map(|entry| text(entry, "kind").to_owned()).collect()
}

/// What was decided about tool calls: the verdicts, in order.
fn verdicts(scene: &Scene, run: &str) -> Vec<String> {
    let decided =
        entries(scene, run).into_iter().filter(|e| e["kind"] == "decided" && e["detail"]["verb"] == "tool.call");
    decided.map(|entry| text(&entry["detail"], "verdict").to_owned()).collect()
}

fn ticks(scene: &Scene, run: &str) -> usize {
    scene.run(&["output", run]).out.matches("tick").count()
}

#[test]
fn a_held_turn_goes_on_unchanged_once_somebody_said_yes_in_every_protocol_c8_d5_a72() {
    if !is_root() {
        return;
    }
    for (protocol, _) in PROTOCOLS {
        let server = Server::start(three_calls()).unwrap();
        let scene = scene(&server, protocol, ("", "", ""));
        let _keeper = scene.serve();
        let run = begin(&scene, &format!("{}echo; echo END\n", stream(protocol)));
        let request = held(&scene, &run);
        assert_eq!((&request["facts"]["tool"], &request["facts"]["index"]), (&json!("Bash"), &json!(1)), "{protocol}");
        let before = scene.run(&["output", &run]).out;
        assert!(!before.contains("deploy") && !before.contains("END"), "{protocol}: {before}");
        // Whoever asked for the run does not approve it (D6).
        assert_ne!(scene.run(&["approve", text(&request, "approval")]).status, 0);
        approve(&scene, &request).ok();
        let (_, out) = settled(&scene, &run);
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
        assert_eq!(verdicts(&scene, &run), ["allow", "needs_approval", "allow", "allow"], "{protocol}");
        let shown = entries(&scene, &run);
        let last = shown.iter().rev().find(|e| e["detail"]["verdict"] == "allow" && e["detail"]["verb"] == "tool.call");
        assert_eq!(last.unwrap()["detail"]["approval"], request["approval"], "{protocol}: it rests on this yes");
        assert_ne!(approve(&scene, &request).status, 0, "{protocol}: the yes is spent");
        scene.run(&["audit", "verify"]).ok();
    }
}

#[test]
fn while_a_turn_is_held_its_sandbox_stands_still_and_no_credential_lives_c8_a76() {
    if !is_root() {
        return;
    }
    let (port, shelf) = Shelf::start();
    let server = Server::start(three_calls()).unwrap();
    let issues = format!(
        "[credential.issues]\nkind = \"gitlab\"\nowner = \"team-shop@example.org\"\nheader = \"private-token\"\nscheme = \"plain\"\n\
         uses = [\"GET https://{FORGE}/api/v4/projects/7/issues\"]\n\
         [credential.issues.gitlab]\nurl = \"https://{FORGE}\"\nproject = \"acme/shop\"\nscopes = [\"read_api\"]\nrole = \"reporter\"\n\
         [danger.addresses.\"{FORGE}\"]\nallow = [\"127.0.0.1\"]\nplain_port = {port}\n"
    );
    let scene = scene(&server, "anthropic-messages", ("", "credentials = [\"issues\"]", &issues));
    store(&scene, "issues", MAKER);
    let _keeper = scene.serve();
    let get = format!("curl -sS --fail https://{FORGE}/api/v4/projects/7/issues");
    let run = begin(&scene, &format!("{TICKS}{get}\npython3 client.py anthropic-messages\n{get}\nkill $ticking\n"));
    let request = held(&scene, &run);
    eventually("nothing lives at the forge", || shelf.lock().unwrap().live.is_empty().then_some(()));
    let standing = scene.json(&["ps", "--all"])["runs"][0].clone();
    assert_eq!((&standing["stage"], &standing["waiting"]["approval"]), (&json!("working"), &request["approval"]));
    assert_eq!(standing["waiting"]["until"], request["until"], "who can end it, and when it gives up: {standing}");
    let before = ticks(&scene, &run);
    std::thread::sleep(std::time::Duration::from_millis(600));
    assert_eq!(
        (ticks(&scene, &run), shelf.lock().unwrap().live.len()),
        (before, 0),
        "it stands still, and holds nothing"
    );
    let alive: Vec<_> = entries(&scene, &run).into_iter().filter(|entry| entry["kind"] == "happened").collect();
    let count = |word: &str| alive.iter().filter(|e| e["summary"].as_str().unwrap().contains(word)).count();
    assert_eq!((count("lives, until"), count("is dead, and a probe")), (3, 3), "{alive:?}");
    approve(&scene, &request).ok();
    let (settled, out) = settled(&scene, &run);
    assert!(out.contains("called Bash") && out.contains("All three."), "{out} {settled}");
    assert!(ticks(&scene, &run) > before, "it goes on");
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
    let cost = Usage { input: 9, output: 9, ..Usage::default() };
    for (limit, kind, told) in
        [("10m", "approval_denied", "a person said no"), ("1s", "approval_timed_out", "nobody answered in time")]
    {
        let called = Turn::new().call("Bash", json!({ "command": "make deploy" })).costs(cost);
        let ended =
            Turn::new().text("I was told.").costs(cost).told(told, Turn::new().text("Nobody told me.").costs(cost));
        let server = Server::start(Script::new(KEY).turn(called).turn(ended)).unwrap();
        let scene = scene(&server, "anthropic-messages", (&format!("hold_at_most = \"{limit}\""), "", ""));
        let _keeper = scene.serve();
        let asks_twice = format!("python3 client.py anthropic-messages\n{}", stream("anthropic-messages"));
        let run = begin(&scene, &asks_twice);
        let request = eventually("a person is asked", || {
            entries(&scene, &run).into_iter().find(|entry| entry["kind"] == "approval_asked")
        });
        let approval = json!({ "approval": request["detail"]["approval"] });
        if limit == "10m" {
            scene.run(&["deny", text(&approval, "approval")]).ok();
        }
        let (_, out) = settled(&scene, &run);
        assert_ne!(approve(&scene, &approval).status, 0, "a later yes does nothing");
        let kinds = kinds(&scene, &run);
        let of = |kind: &str| kinds.iter().filter(|one| *one == kind).count();
        assert_eq!((of("approval_asked"), of("turn_held"), of(kind), of("turn_goes_on")), (1, 1, 1, 1), "{kinds:?}");
        assert_eq!(verdicts(&scene, &run), ["needs_approval"; 2], "the second is not asked about: {out}");
        assert!(!out.contains("make deploy") && out.contains("called selvedge_denied_"), "{out}");
        assert!(out.contains("I was told."), "the model hears why: {out}");
    }
}

#[test]
fn whatever_else_ends_a_hold_the_call_never_passes_c8_d12_a72() {
    if !is_root() {
        return;
    }
    for what in ["halt", "policy", "withdraw", "kill"] {
        let server = Server::start(three_calls()).unwrap();
        let scene = scene(&server, "openai-chat", ("", "", ""));
        let keeper = scene.serve();
        let run = begin(&scene, &format!("echo pid-of-{what}\n{TICKS}python3 client.py openai-chat\nkill $ticking\n"));
        let request = held(&scene, &run);
        let mut keeper = Some(keeper);
        match what {
            "halt" => drop(scene.run(&["halt", "run", &run]).ok()),
            "policy" => {
                let path = scene.state().join("policies/later.cedar");
                std::fs::write(path, "@id(\"test.later\")\n@owner(\"tests\")\npermit (principal, action == Action::\"tool.call\", resource);\n").unwrap();
            }
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
        let (_, out) = settled(&scene, &run);
        assert!(!out.contains("called Bash"), "{what}: {out}");
        let used = verdicts(&scene, &run);
        assert!(used.iter().filter(|verdict| *verdict == "allow").count() <= 4, "{what}: {used:?}");
        let shown = entries(&scene, &run);
        assert!(
            !shown.iter().any(|e| e["detail"]["approval"].is_string() && e["detail"]["verdict"] == "allow"),
            "{what}"
        );
        if what != "kill" {
            assert_ne!(approve(&scene, &request).status, 0, "{what}: nobody is asked any more");
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
    let server =
        Server::start(Script::new(KEY).turn(many.costs(Usage { input: 9, output: 9, ..Usage::default() }))).unwrap();
    let scene = scene(&server, "openai-responses", ("", "", ""));
    let _keeper = scene.serve();
    let run = begin(&scene, &format!("{}echo; echo END\n", stream("openai-responses")));
    held(&scene, &run);
    let requests = asked(&scene);
    assert_eq!(requests.len(), 16, "and no more: people are not to be worn out");
    for (at, request) in requests.iter().enumerate() {
        if at == 3 {
            approve(&scene, request).ok();
        } else {
            scene.run(&["deny", text(request, "approval")]).ok();
        }
    }
    let (_, out) = settled(&scene, &run);
    let passed: Vec<usize> = (0..20).filter(|number| out.contains(&format!("step {number}\\"))).collect();
    assert_eq!(passed.len(), 1, "{passed:?} {out}");
    assert_eq!(requests[3]["facts"]["index"], passed[0], "{passed:?}");
    let kinds = kinds(&scene, &run);
    assert_eq!(kinds.iter().filter(|kind| *kind == "turn_held").count(), 1);
    let shown = scene.json(&["show", &run]).to_string();
    assert_eq!(shown.matches("too_many_held_calls: more than").count(), 1, "{shown}");
}

#[test]
fn claude_code_waits_for_a_yes_and_carries_on_c8_a5() {
    if !is_root() {
        return;
    }
    let cost = |input, output| Usage { input, output, ..Usage::default() };
    let edit =
        Turn::new().text("A longer greeting.").call("Bash", json!({ "command": "echo hello, world > src/greeting" }));
    let tests = Turn::new().text("The tests.").call("Bash", json!({ "command": "sh tests/run.sh" }));
    let done = Turn::new().text("Done: the greeting is longer, and the test passes.");
    let untold = Turn::new().text("Nobody told me.").costs(cost(1, 1));
    let script = Script::new(KEY).turn(edit.costs(cost(2_001, 103))).turn(tests.costs(cost(2_507, 41)));
    let server = Server::start(script.turn(done.costs(cost(2_803, 29)).told("ok 1 - greets", untold))).unwrap();
    let scene = coders::with_agent("claude-code");
    let runtime = "runtime = \"claude-code\"\nmodel = \"main\"\nbudget = 10000000";
    let coder = agent("coder", "propose").replace("runtime = \"command\"", runtime);
    let coder: Vec<&str> = coder.lines().filter(|line| !line.starts_with("command")).collect();
    scene.configure(
        "checks = [\"sh tests/run.sh\"]",
        &format!(
            "{}\n\
             [model.main]\nupstream = \"https://{HOST}\"\nprotocols = [\"anthropic-messages\"]\ncredential = \"vendor\"\n\
             price = [{{ of = \"claude-sonnet-4-5\", input = 1.0, cached = 0.1, output = 5.0 }}]\n\
             [credential.vendor]\nkind = \"static\"\nowner = \"team-api@example.org\"\nuses = [\"POST https://{HOST}/\"]\n\
             header = \"x-api-key\"\nscheme = \"plain\"\n\
             [danger.addresses.\"{HOST}\"]\nallow = [\"127.0.0.1\"]\nplain_port = {}\n",
            coder.join("\n"),
            server.address().port()
        ),
    );
    store(&scene, "vendor", KEY);
    ask_first(&scene, "context.order.command like \"*greeting*\"");
    let _keeper = scene.serve();
    scene.run(&["run", "--agent", "coder", "make the greeting longer, and run the tests"]).ok();
    let request = eventually("a person is asked", || asked(&scene).first().cloned());
    let run = text(&request, "run").to_owned();
    held(&scene, &run);
    // Longer than it takes to say so once more.
    std::thread::sleep(std::time::Duration::from_secs(6));
    assert_eq!(server.seen().iter().filter(|seen| seen.status == 200).count(), 1, "it waits");
    approve(&scene, &request).ok();
    let (settled, out) = settled(&scene, &run);
    assert_eq!(settled["outcome"], "proposed", "{settled} {out} {:?}", entries(&scene, &run));
    assert!(scene.run(&["diff", &run]).ok().out.contains("+hello, world"));
    assert_eq!(verdicts(&scene, &run), ["needs_approval", "allow", "allow"]);
}
