//! Credentials that are made for one run by a service somewhere else: a stand-in for an OpenBao, written from its published API,
//! counts by itself how many of its tokens are alive. Not run against the real service.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use common::service::{Asked, attended};
use common::{Scene, agent, eventually, text};
use serde_json::{Value, json};

/// Hosts nobody else has (RFC 6761).
const BAO: &str = "bao.selvedge.test";
const API: &str = "api.selvedge.test";

/// What the service knows.
#[derive(Default)]
struct Shelf {
    /// Live tokens, each with the password made under it.
    tokens: BTreeMap<String, String>,
    made: usize,
    /// How many seconds a token lives; then it is dead, whoever revokes it.
    lasts: Option<u64>,
    born: BTreeMap<String, Instant>,
    /// The most tokens that were alive at once.
    most: usize,
    /// Requests to the API: what each carried, and whether the password was alive.
    used: Vec<(String, bool)>,
    /// Revocations are answered with this status instead of being done.
    refuses_to_revoke: Option<u16>,
    /// How logins are answered instead of being looked at.
    trouble: Option<&'static str>,
    /// Logins are made, and not answered yet.
    holds_logins: bool,
    /// Revocations are not answered yet.
    holds_revocations: bool,
    /// How answers come instead of at once, to requests that begin with this.
    manner: Option<(&'static str, Manner)>,
    /// When each revocation came.
    revocations: Vec<Instant>,
    /// For how many seconds the next revocations are put off, and the one that is under way.
    puts_off: Vec<u64>,
    putting_off: Option<u64>,
    /// How many requests the API had seen when the first of these came.
    used_before_revoking: Option<usize>,
}

/// How an answer comes that does not come well. What was asked is done all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Never.
    Silent,
    /// A byte a second.
    Drips,
    /// Its first half, and then the connection ends.
    BreaksOff,
}

/// Both services on one port: what is told apart is the host.
struct Vendor {
    port: u16,
    shelf: Arc<Mutex<Shelf>>,
}

impl Vendor {
    fn start() -> Self {
        let shelf = Arc::<Mutex<Shelf>>::default();
        let kept = Arc::clone(&shelf);
        Self { port: attended(move |reader| answer(reader, &kept)), shelf }
    }

    fn live(&self) -> usize {
        self.shelf.lock().unwrap().tokens.len()
    }

    fn made(&self) -> usize {
        self.shelf.lock().unwrap().made
    }
}

fn answer(mut reader: BufReader<TcpStream>, shelf: &Mutex<Shelf>) {
    while let Some(asked) = Asked::next(&mut reader) {
        let head = &asked.head;
        if let Some(seconds) = put_off(head, &mut shelf.lock().unwrap()) {
            let answer = format!("HTTP/1.1 503 X\r\nretry-after: {seconds}\r\ncontent-length: 0\r\n\r\n");
            let _gone = reader.get_mut().write_all(answer.as_bytes());
            return;
        }
        let trouble = shelf.lock().unwrap().trouble.filter(|_| head.starts_with("POST /v1/auth/jwt/login"));
        if let Some(said) = trouble {
            let _gone = reader.get_mut().write_all(said.as_bytes());
            return;
        }
        while head.starts_with("PUT /v1/sys/leases/revoke") && holds_a_revocation(&mut shelf.lock().unwrap()) {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let (status, said) = serve(&asked, &mut shelf.lock().unwrap());
        while head.starts_with("POST /v1/auth/jwt/login") && shelf.lock().unwrap().holds_logins {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let said = if said.is_null() { String::new() } else { said.to_string() };
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{said}", said.len());
        let manner = shelf.lock().unwrap().manner.filter(|(requests, _)| head.starts_with(requests));
        if let Some((_, manner)) = manner {
            return answer_badly(reader.into_inner(), answer.as_bytes(), manner);
        }
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Its lease is revoked first, and then the token itself.
fn put_off(head: &str, shelf: &mut Shelf) -> Option<u64> {
    if head.starts_with("PUT /v1/sys/leases/revoke") {
        shelf.revocations.push(Instant::now());
        shelf.putting_off = if shelf.puts_off.is_empty() { None } else { Some(shelf.puts_off.remove(0)) };
        return shelf.putting_off;
    }
    shelf.putting_off.filter(|_| head.starts_with("POST /v1/auth/token/revoke-self"))
}

/// Ends with the connection, which the other side gives up.
fn answer_badly(mut stream: TcpStream, answer: &[u8], manner: Manner) {
    match manner {
        Manner::Silent => drop(stream.read(&mut [0])),
        Manner::Drips => {
            for byte in answer {
                std::thread::sleep(std::time::Duration::from_secs(1));
                if stream.write_all(&[*byte]).is_err() {
                    return;
                }
            }
        }
        Manner::BreaksOff => drop(stream.write_all(&answer[..answer.len() / 2])),
    }
}

fn holds_a_revocation(shelf: &mut Shelf) -> bool {
    if shelf.holds_revocations {
        let used = shelf.used.len();
        shelf.used_before_revoking.get_or_insert(used);
    }
    shelf.holds_revocations
}

fn serve(asked: &Asked, shelf: &mut Shelf) -> (u16, Value) {
    let line = asked.line();
    let denied = (403, json!({ "errors": ["permission denied"] }));
    if asked.field("host").starts_with(API) {
        let carried = asked.field("authorization").to_owned();
        let lives = |token: &String| shelf.lasts.is_none_or(|lasts| shelf.born[token].elapsed().as_secs() < lasts);
        let is_alive =
            shelf.tokens.iter().any(|(token, password)| carried == format!("Bearer {password}") && lives(token));
        shelf.used.push((carried, is_alive));
        let passwords: BTreeSet<&String> = shelf.used.iter().map(|(carried, _)| carried).collect();
        let enough = if passwords.len() >= 3 { "enough" } else { "" };
        return if is_alive { (200, json!({ "items": [enough] })) } else { denied };
    }
    let token = asked.field("x-vault-token");
    let is_known = shelf.tokens.contains_key(token);
    match line {
        "POST /v1/auth/jwt/login" => {
            let asked: Value = serde_json::from_slice(&asked.body).unwrap();
            if asked["role"] != "factory" || !is_for_us(asked["jwt"].as_str().unwrap_or_default()) {
                return (400, json!({ "errors": ["error validating token"] }));
            }
            shelf.made += 1;
            let token = format!("hvs.canary-token-{:04}", shelf.made);
            shelf.tokens.insert(token.clone(), format!("canary-password-{:04}", shelf.made));
            shelf.born.insert(token.clone(), Instant::now());
            shelf.most = shelf.most.max(shelf.tokens.len());
            let lasts = shelf.lasts.unwrap_or(900);
            (200, json!({ "auth": { "client_token": token, "lease_duration": lasts } }))
        }
        "GET /v1/secret/creds/api" if is_known => {
            let password = &shelf.tokens[token];
            (
                200,
                json!({ "lease_id": format!("secret/creds/api/{token}"), "lease_duration": 600, "data": { "password": password } }),
            )
        }
        "PUT /v1/sys/leases/revoke" | "POST /v1/auth/token/revoke-self" if is_known => {
            if let Some(status) = shelf.refuses_to_revoke {
                return (status, Value::Null);
            }
            if line.starts_with("POST") {
                shelf.tokens.remove(token);
            }
            (204, Value::Null)
        }
        "GET /v1/auth/token/lookup-self" if is_known => (200, json!({ "data": {} })),
        _ => denied,
    }
}

/// The claims an OpenBao role would be bound to. The signature is looked at where the issuer's keys are at hand, in the tests of
/// the issuer and of the lease engine.
fn is_for_us(document: &str) -> bool {
    let Some(claims) = document.split('.').nth(1) else { return false };
    let mut command = std::process::Command::new("/usr/bin/python3");
    command.args(["-c", "import base64,sys; print(base64.urlsafe_b64decode(sys.argv[1]+'==').decode())", claims]);
    let claims: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    let lives = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    claims["aud"] == "https://bao.example"
        && claims["iss"] == "https://selvedge.internal"
        && claims["sub"].as_str().unwrap().starts_with("spiffe://selvedge.internal/run/r-")
        && claims["jti"].is_string()
        && lives <= 60
}

fn scene(vendor: &Vendor, more: &str) -> Scene {
    let scene = Scene::ready();
    scene.configure(
        "checks = [\"sh tests/run.sh\"]",
        &format!(
            "{}credentials = [\"api\"]\n{more}\n\
             [credential.api]\nkind = \"openbao\"\nowner = \"team-api@example.org\"\nuses = [\"GET https://{API}/v1\"]\n\
             [credential.api.openbao]\nurl = \"https://{BAO}\"\nrole = \"factory\"\naudience = \"https://bao.example\"\n\
             path = \"secret/creds/api\"\nfield = \"password\"\n\
             [danger.addresses.\"{BAO}\"]\nallow = [\"127.0.0.1\"]\nplain_port = {}\n\
             [danger.addresses.\"{API}\"]\nallow = [\"127.0.0.1\"]\nplain_port = {}\n",
            agent("caller", "draft"),
            vendor.port,
            vendor.port
        ),
    );
    scene
}

fn call(scene: &Scene, script: &str) -> Value {
    scene.run(&["run", "--agent", "caller", "--wait", "--json", script]).document()["runs"][0].clone()
}

fn fetch() -> String {
    format!("curl -sS --fail https://{API}/v1/items")
}

#[test]
fn a_credential_is_made_for_one_run_used_by_its_door_and_dead_at_its_end_c1_c4() {
    let vendor = Vendor::start();
    let scene = scene(&vendor, "");
    for (script, outcome) in [
        (fetch(), "changed"),
        (format!("{}; exit 3", fetch()), "failed"),
        (format!("{}; kill -9 $$", fetch()), "failed"),
    ] {
        let run = call(&scene, &script);
        assert_eq!(run["outcome"], outcome, "{run}");
        assert_eq!(vendor.live(), 0, "counted by the service, after {outcome}");
        let show = scene.run(&["show", text(&run, "run"), "--json"]).ok().out;
        assert!(show.contains("\"credential.mint\"") && !show.contains("canary"), "{show}");
    }
    let used = vendor.shelf.lock().unwrap().used.clone();
    let passwords: Vec<&str> = used.iter().map(|(carried, _)| carried.as_str()).collect();
    assert_eq!(
        passwords,
        ["Bearer canary-password-0001", "Bearer canary-password-0002", "Bearer canary-password-0003"]
    );
    assert!(used.iter().all(|(_, is_alive)| *is_alive), "each was alive when it was used");
    let known = scene.json(&["credentials", "list"])["credentials"][0].clone();
    assert_eq!((&known["kind"], known["live"].as_array().unwrap().len()), (&json!("minted"), 0));
}

#[test]
fn a_run_that_is_timed_out_or_halted_leaves_nothing_alive_c4_g5() {
    let vendor = Vendor::start();
    let scene = scene(&vendor, "attempt_at_most = \"5s\"");
    let run = call(&scene, &format!("{}; sleep 60", fetch()));
    assert_eq!(run["outcome"], "failed", "{run}");
    assert_eq!((vendor.live(), vendor.made()), (0, 1));

    // A service of its own: on a busy machine the time of the first was up before it used what it was lent.
    let vendor = Vendor::start();
    let scene = self::scene(&vendor, "");
    let serving = scene.serve();
    scene.run(&["run", "--agent", "caller", &format!("{}; sleep 60", fetch())]).ok();
    eventually("the credential is in use", || (!vendor.shelf.lock().unwrap().used.is_empty()).then_some(()));
    assert_eq!(vendor.live(), 1);
    // Whoever halts is kept for two seconds by who revokes: on a busy machine it may be said to live still, and never less than that.
    let halted = scene.json(&["halt"]);
    let may_live = halted["may_still_live"].as_array().unwrap().len();
    assert!(vendor.live() <= may_live, "{halted}");
    eventually("it is dead", || (vendor.live() == 0).then_some(()));
    drop(serving);
}

#[test]
fn a_keeper_that_is_killed_is_swept_after_by_the_next_c4_a56() {
    let vendor = Vendor::start();
    let scene = scene(&vendor, "");
    let serving = scene.serve();
    scene.run(&["run", "--agent", "caller", &format!("{}; sleep 60", fetch())]).ok();
    eventually("the credential is in use", || (!vendor.shelf.lock().unwrap().used.is_empty()).then_some(()));
    serving.kill();
    assert_eq!(vendor.live(), 1, "nobody is there to revoke it");
    scene.run(&["halt"]).ok();
    eventually("the next keeper ended it", || (vendor.live() == 0).then_some(()));
    let run = scene.runs()[0].clone();
    assert_eq!(run["outcome"], "halted", "{run}");
}

#[test]
fn a_service_that_does_not_revoke_keeps_the_run_open_and_says_so_c4() {
    let vendor = Vendor::start();
    let scene = scene(&vendor, "");
    vendor.shelf.lock().unwrap().refuses_to_revoke = Some(500);
    let serving = scene.serve();
    scene.run(&["run", "--agent", "caller", &fetch()]).ok();
    eventually("the run is closing", || {
        scene.runs().first().is_some_and(|run| run["stage"] == "closing").then_some(())
    });
    assert_eq!(vendor.live(), 1);
    let live = scene.json(&["credentials", "list"])["credentials"][0]["live"].clone();
    assert_eq!(live.as_array().unwrap().len(), 1, "{live}");
    vendor.shelf.lock().unwrap().refuses_to_revoke = None;
    eventually("the run settles", || (scene.runs()[0]["stage"] == "settled").then_some(()));
    // What is not certainly dead keeps the result from being checked, so the run could not go on.
    let run = scene.runs()[0].clone();
    assert_eq!((vendor.live(), &run["outcome"]), (0, &json!("failed")), "{run}");
    assert!(run.to_string().contains("may still live") && run.to_string().contains("openbao:api"), "{run}");
    drop(serving);
}

#[test]
fn a_service_that_is_not_there_or_does_not_trust_us_is_named_and_nothing_goes_out_anonymous_a07() {
    let vendor = Vendor::start();
    let scene = scene(&vendor, "");
    let config = std::fs::read_to_string(scene.config()).unwrap();
    std::fs::write(scene.config(), config.replace("role = \"factory\"", "role = \"stranger\"")).unwrap();
    let run = call(&scene, &fetch());
    assert_eq!(run["outcome"], "failed", "{run}");
    let said = run.to_string();
    assert!(said.contains("the login was refused") && said.contains("check the path, the role"), "{said}");
    assert_eq!((vendor.made(), vendor.shelf.lock().unwrap().used.len()), (0, 0));
    let known = || scene.json(&["credentials", "list"])["credentials"][0].clone();
    assert_eq!(known()["last_lent"], Value::Null, "allowed, asked for, and never made: {}", known());
    std::fs::write(scene.config(), config).unwrap();
    assert_eq!(call(&scene, &fetch())["outcome"], "changed");
    assert!(known()["last_lent"].is_string(), "{}", known());
}

#[test]
fn a_service_in_trouble_is_named_and_nothing_is_made_or_goes_out_anonymous_a07_c4() {
    let vendor = Vendor::start();
    for (trouble, words) in [
        ("HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n", "it is in trouble (status 503)"),
        ("HTTP/1.1 429 X\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n", "(status 429)"),
        ("HTTP/1.1 403 X\r\ncontent-length: 0\r\n\r\n", "the login was refused"),
        ("HTTP/1.1 302 X\r\nlocation: https://elsewhere.example/\r\ncontent-length: 0\r\n\r\n", "(status 302)"),
        (
            "HTTP/1.1 200 X\r\ncontent-length: 9\r\n\r\nnot json!",
            "its answer is lost: the provider answered, and the answer is not JSON",
        ),
        ("HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\n{}", "the login was answered without a token"),
        (
            "HTTP/1.1 200 X\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
            "its answer is lost: the provider's answer is malformed",
        ),
        ("no HTTP at all\r\n\r\n", "its answer is lost: the provider's answer is malformed"),
        ("", "its answer is lost: the provider does not answer"),
    ] {
        // Each in a factory of its own: what is in trouble for a while is tried again for a while.
        let scene = scene(&vendor, "");
        let _serving = scene.serve();
        vendor.shelf.lock().unwrap().trouble = Some(trouble);
        scene.run(&["run", "--agent", "caller", &fetch()]).ok();
        eventually(&format!("{trouble:?} is named"), || {
            let runs = scene.runs();
            let show = scene.json(&["show", text(runs.first()?, "run")]).to_string();
            show.contains(words).then_some(())
        });
        assert_eq!((vendor.made(), vendor.shelf.lock().unwrap().used.len()), (0, 0), "{trouble:?}");
    }
}

/// Its service has made it, and its door has yet to get it.
#[test]
fn a_credential_that_is_withdrawn_while_it_is_made_is_lent_to_nobody_and_ends_c4_d12() {
    let vendor = Vendor::start();
    let scene = scene(&vendor, "");
    vendor.shelf.lock().unwrap().holds_logins = true;
    let serving = scene.serve();
    scene.run(&["run", "--agent", "caller", &format!("curl -sS https://{API}/v1/items; sleep 1")]).ok();
    eventually("it is being made", || (vendor.made() == 1).then_some(()));
    let said = scene.json(&["credentials", "withdraw", "api"]);
    assert_eq!(
        (said["withdrawn"].as_array().unwrap().len(), &said["may_still_live"]),
        (1, &said["withdrawn"]),
        "{said}"
    );
    vendor.shelf.lock().unwrap().holds_logins = false;
    let run = eventually("the run settles", || scene.runs().first().filter(|run| run["stage"] == "settled").cloned());
    assert_eq!((&run["outcome"], vendor.live(), vendor.made()), (&json!("changed"), 0, 1), "{run}");
    assert!(vendor.shelf.lock().unwrap().used.is_empty());
    assert!(scene.run(&["output", text(&run, "run")]).ok().out.contains("credential_not_lent"));
    drop(serving);
}

/// The second of two is not even announced while the first is being made; the attempt's grant, which was fixed before, names both.
#[test]
fn a_credential_that_is_taken_away_before_anybody_has_announced_it_is_lent_to_nobody_c4_d12() {
    for taken in ["the configuration", "credentials withdraw"] {
        let vendor = Vendor::start();
        let scene = scene(&vendor, "");
        let config = std::fs::read_to_string(scene.config()).unwrap();
        let (first, rest) = config.split_once("[credential.api]").unwrap();
        let (credential, places) = rest.split_once("[danger").unwrap();
        let second = credential.replace("credential.api", "credential.other").replace("/v1\"", "/v2\"");
        let first = first.replace("credentials = [\"api\"]", "credentials = [\"api\", \"other\"]");
        let both = format!("{first}[credential.api]{credential}[credential.other]{second}[danger{places}");
        std::fs::write(scene.config(), &both).unwrap();
        vendor.shelf.lock().unwrap().holds_logins = true;
        let serving = scene.serve();
        let script = format!("curl -sS https://{API}/v1/items; curl -sS https://{API}/v2/items; sleep 1");
        scene.run(&["run", "--agent", "caller", &script]).ok();
        eventually("the first is being made", || (vendor.made() == 1).then_some(()));
        match taken {
            "the configuration" => {
                let less = both.replace("\"api\", \"other\"", "\"api\"").replace("small changes", "smaller changes");
                let beside = scene.config().with_extension("new");
                std::fs::write(&beside, less).unwrap();
                std::fs::rename(beside, scene.config()).unwrap();
                let purpose = || (scene.json(&["can", "writer"])["purpose"] == "smaller changes").then_some(());
                eventually("it is taken up", purpose);
            }
            _ => {
                let said = scene.json(&["credentials", "withdraw", "other"]);
                assert_eq!(said["withdrawn"], json!([]), "nobody knows of a lease of it yet: {said}");
            }
        }
        vendor.shelf.lock().unwrap().holds_logins = false;
        let settled = || scene.runs().first().filter(|run| run["stage"] == "settled").cloned();
        let run = eventually("the run settles", settled);
        assert_eq!((&run["outcome"], vendor.live(), vendor.made()), (&json!("changed"), 0, 2), "{taken}: {run}");
        let used = vendor.shelf.lock().unwrap().used.clone();
        assert_eq!(used, [("Bearer canary-password-0001".to_owned(), true)], "{taken}: only the first went out");
        let run = text(&run, "run");
        // What the configuration takes away is not in the grant of the work that begins after.
        let refused = if taken == "the configuration" { "outside_grant" } else { "credential_not_lent" };
        assert_eq!(scene.run(&["output", run]).ok().out.matches(refused).count(), 1, "{taken}");
        assert!(scene.run(&["show", run]).ok().out.contains("was withdrawn"), "{taken}: it is on record");
        drop(serving);
    }
}

/// The run is in the middle of its work; the service counts what is alive by itself.
#[test]
fn a_minted_credential_is_withdrawn_from_a_live_run_and_dead_at_its_service_c4_d12() {
    let vendor = Vendor::start();
    let scene = scene(&vendor, "");
    let serving = scene.serve();
    let until_refused = format!("until curl -sS https://{API}/v1/items | grep credential_not_lent; do sleep 0.1; done");
    scene.run(&["run", "--agent", "caller", &format!("{until_refused}; sleep 2; echo after")]).ok();
    eventually("the credential is in use", || (!vendor.shelf.lock().unwrap().used.is_empty()).then_some(()));
    let said = scene.json(&["credentials", "withdraw", "api"]);
    assert_eq!((said["withdrawn"].as_array().unwrap().len(), vendor.live()), (1, 0), "{said}");
    let used = vendor.shelf.lock().unwrap().used.len();
    let run = eventually("the run settles", || scene.runs().first().filter(|run| run["stage"] == "settled").cloned());
    assert_eq!(run["outcome"], "changed", "{run}");
    let shown = scene.json(&["show", text(&run, "run")]);
    let at = |what: &str| {
        let entries = shown["entries"].as_array().unwrap();
        entries
            .iter()
            .position(|entry| entry.to_string().contains(what))
            .unwrap_or_else(|| panic!("no {what}: {shown}"))
    };
    let lease = said["withdrawn"][0].as_str().unwrap();
    assert!(
        at("was withdrawn") < at("work ended") && at(&format!("lease {lease} is dead")) < at("work ended"),
        "{shown}"
    );
    assert_eq!((vendor.made(), vendor.shelf.lock().unwrap().used.len()), (1, used), "nothing went out after");
    drop(serving);
}

/// A loop that asks until the answer holds this word.
fn ask_until(word: &str) -> String {
    format!(
        "until a=$(curl -sS https://{API}/v1/items); case $a in *{word}*) true;; *) false;; esac; do sleep 0.2; done; echo $a"
    )
}

#[test]
fn a_credential_that_ends_before_its_run_is_renewed_and_the_one_before_ended_c1_c6() {
    let vendor = Vendor::start();
    vendor.shelf.lock().unwrap().lasts = Some(4);
    let scene = scene(&vendor, "");
    let run = call(&scene, &ask_until("enough"));
    assert_eq!(run["outcome"], "changed", "{run}");
    let shelf = vendor.shelf.lock().unwrap();
    assert!(shelf.used.iter().all(|(_, is_alive)| *is_alive), "none went out dead: {:?}", shelf.used);
    assert!(shelf.made >= 3 && shelf.most == 2, "{} made, {} at once", shelf.made, shelf.most);
    assert!(shelf.tokens.is_empty(), "counted by the service");
    drop(shelf);
    // Each was decided, announced and found dead by itself; those before the last while the agent worked.
    let show = scene.json(&["show", text(&run, "run")]);
    let entries: Vec<String> = show["entries"].as_array().unwrap().iter().map(Value::to_string).collect();
    let at = |what: &str| entries.iter().position(|entry| entry.contains(what)).unwrap_or_else(|| panic!("no {what}"));
    let leases: Vec<String> = show["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| {
            let is_mint = entry["kind"] == "decided" && entry["detail"]["verb"] == "credential.mint";
            let facts = &entry["detail"]["facts"];
            (is_mint && facts.to_string().contains("/v1")).then(|| text(facts, "lease").to_owned())
        })
        .collect();
    assert!(leases.len() >= 3, "{leases:?}");
    for lease in &leases[..leases.len() - 1] {
        assert!(at(&format!("lease {lease} is announced")) < at(&format!("lease {lease} is dead")));
        assert!(at(&format!("lease {lease} is dead")) < at("work ended"), "{lease}");
    }
    for lease in &leases[1..] {
        assert!(at("attempt 1 begins") < at(&format!("lease {lease} is announced")), "{lease}");
    }
    scene.run(&["audit", "verify"]).ok();
}

#[test]
fn a_renewal_that_policy_denies_ends_the_credential_and_the_run_is_told_why_d12() {
    let vendor = Vendor::start();
    vendor.shelf.lock().unwrap().lasts = Some(4);
    let scene = scene(&vendor, "");
    let serving = scene.serve();
    scene.run(&["run", "--agent", "caller", &ask_until("credential_not_lent")]).ok();
    eventually("the credential is in use", || (!vendor.shelf.lock().unwrap().used.is_empty()).then_some(()));
    let denial = "@id(\"team.closed\")\n@owner(\"team\")\n@next_step(\"finish without it\")\n\
                  forbid (principal, action == Action::\"credential.mint\", resource == Credential::\"api\");\n";
    std::fs::write(scene.state().join("policies/closed.cedar"), denial).unwrap();
    let run = eventually("the run settles", || scene.runs().first().filter(|run| run["stage"] == "settled").cloned());
    assert_eq!((&run["outcome"], vendor.live(), vendor.made()), (&json!("changed"), 0, 1), "{run}");
    let output = scene.run(&["output", text(&run, "run")]).ok().out;
    assert!(output.contains("could not be renewed: finish without it"), "{output}");
    drop(serving);
}

#[test]
fn a_loan_that_is_taken_out_of_the_configuration_is_withdrawn_and_not_renewed_c4_d12() {
    for given in ["credentials = []", "another use of it"] {
        let vendor = Vendor::start();
        vendor.shelf.lock().unwrap().lasts = Some(30);
        let scene = scene(&vendor, "");
        let serving = scene.serve();
        let script = format!("{}; until [ -e /tmp/never ]; do sleep 1; done", ask_until("credential_not_lent"));
        scene.run(&["run", "--agent", "caller", &script]).ok();
        eventually("the credential is in use", || (!vendor.shelf.lock().unwrap().used.is_empty()).then_some(()));
        // In one step: half of a file may well be sound, and give less.
        let written = |text: &str| {
            let beside = scene.config().with_extension("new");
            std::fs::write(&beside, text).unwrap();
            std::fs::rename(beside, scene.config()).unwrap();
        };
        // Another agent's words change nothing.
        let config = std::fs::read_to_string(scene.config()).unwrap();
        written(&config.replacen("small changes", "smaller changes", 1));
        eventually("it is taken up", || (scene.json(&["can", "writer"])["purpose"] == "smaller changes").then_some(()));
        assert_eq!(vendor.live(), 1);
        let less = match given {
            "credentials = []" => config.replace("credentials = [\"api\"]", given),
            _ => config.replace(
                &format!("uses = [\"GET https://{API}/v1\"]"),
                &format!("uses = [\"GET https://{API}/v1/other\"]"),
            ),
        };
        assert_ne!(less, config);
        written(&less);
        // While it works: the service counts by itself.
        eventually("it is dead where it was made", || (vendor.live() == 0).then_some(()));
        let run = text(&scene.runs()[0], "run").to_owned();
        let told = || scene.run(&["output", &run]).out.contains("its agent is not given it any more").then_some(());
        eventually("the run is told", told);
        assert_eq!((text(&scene.runs()[0], "stage"), vendor.made()), ("working", 1), "{given}");
        eventually("it is on record", || scene.run(&["show", &run]).out.contains("was withdrawn").then_some(()));
        scene.run(&["halt", "run", &run]).ok();
        drop(serving);
    }
}

#[test]
fn a_keeper_that_is_killed_after_a_renewal_leaves_nothing_alive_c4_a56() {
    let vendor = Vendor::start();
    vendor.shelf.lock().unwrap().lasts = Some(4);
    let scene = scene(&vendor, "");
    let serving = scene.serve();
    scene.run(&["run", "--agent", "caller", &ask_until("nothing-like-it")]).ok();
    // In the middle of a renewal: the service has made the second one, and the keeper does not know.
    eventually("the credential is in use", || (!vendor.shelf.lock().unwrap().used.is_empty()).then_some(()));
    vendor.shelf.lock().unwrap().holds_logins = true;
    eventually("the second is made", || (vendor.made() == 2).then_some(()));
    serving.kill();
    vendor.shelf.lock().unwrap().holds_logins = false;
    scene.run(&["halt"]).ok();
    // One was known and is revoked; of the one whose answer was lost nothing is known but when it is dead.
    eventually("what can be ended is ended", || (vendor.live() == 1).then_some(()));
    let run = scene.runs()[0].clone();
    assert_eq!(run["stage"], "closing", "it may live, so its run does not settle: {run}");
}

/// What was lent later is looked for as well: the agent guesses it, as one that a careless service told would know it.
#[test]
fn a_renewed_credential_in_what_an_agent_prints_goes_no_further_c7() {
    let vendor = Vendor::start();
    vendor.shelf.lock().unwrap().lasts = Some(4);
    let scene = scene(&vendor, "");
    let backwards: String = "canary-password-0003".chars().rev().collect();
    let run = call(&scene, &format!("{}; echo so: $(echo {backwards} | rev); sleep 60", ask_until("enough")));
    assert_eq!(run["outcome"], "halted", "{run}");
    let output = scene.run(&["output", text(&run, "run")]).ok().out;
    assert!(output.contains("so: ********************") && !output.contains("canary-password"), "{output}");
    assert_eq!(vendor.live(), 0);
}

/// What others were lent is another secret, made for them.
#[test]
fn a_made_secret_that_leaks_ends_its_own_run_and_no_other_c7() {
    let vendor = Vendor::start();
    let scene = scene(&vendor, "");
    let _serving = scene.serve();
    let waiting = format!("{}; echo; sleep 600", fetch());
    scene.run(&["run", "--agent", "caller", &waiting]).ok();
    eventually("the first uses its own", || (vendor.shelf.lock().unwrap().used.len() == 1).then_some(()));
    let leaking = format!("{}; printf 'canary-%s\\n' password-0002; sleep 600", fetch());
    scene.run(&["run", "--agent", "caller", &leaking]).ok();
    let leaked = eventually("the second leaked", || {
        scene.runs().into_iter().find(|run| run["outcome"] == "halted").map(|run| text(&run, "run").to_owned())
    });
    eventually("its own is dead", || (vendor.live() == 1).then_some(()));
    let said = scene.json(&["show", &leaked]).to_string();
    assert!(said.contains("it was made for this run") && !said.contains("until a new one is stored"), "{said}");
    let others = scene.runs().into_iter().filter(|run| run["stage"] == "working").count();
    assert_eq!((others, vendor.live()), (1, 1), "the first goes on, with what it was lent");
    assert!(vendor.shelf.lock().unwrap().tokens.values().any(|password| password == "canary-password-0001"));
}

/// Whoever answered for it has left, and the service does not answer: all doors are closed before anybody waits for it.
#[test]
fn offboarding_closes_every_door_before_it_waits_for_any_revocation_b6_g5() {
    let vendor = Vendor::start();
    let scene = scene(&vendor, "");
    let config = std::fs::read_to_string(scene.config()).unwrap();
    std::fs::write(scene.config(), format!("{config}\n[factory]\nslots = 3\n")).unwrap();
    let _serving = scene.serve();
    for number in 0..3 {
        let script = format!("while {} >/dev/null; do sleep 0.1; done; sleep 600; : {number}", fetch());
        scene.run(&["run", "--agent", "caller", "--json", &script]).ok();
    }
    eventually("all of them use what was made for them", || {
        let used = vendor.shelf.lock().unwrap().used.clone();
        (used.into_iter().collect::<BTreeSet<_>>().len() == 3).then_some(())
    });
    vendor.shelf.lock().unwrap().holds_revocations = true;
    let said = scene.run(&["identities", "offboard", "team-api@example.org"]);
    let (before, used) = {
        let shelf = vendor.shelf.lock().unwrap();
        (shelf.used_before_revoking, shelf.used.len())
    };
    assert_eq!(before, Some(used), "nothing was used once the first of them was being revoked: {said:?}");
    let count = |words: &str| said.out.lines().filter(|line| line.contains(words)).count();
    assert_eq!((said.status, count("was stopped"), count("may still live, until 2")), (0, 3, 3), "{said:?}");
    assert_eq!((count("taken back"), vendor.live()), (0, 3), "{said:?}");

    vendor.shelf.lock().unwrap().holds_revocations = false;
    eventually("they are dead once the service answers", || (vendor.live() == 0).then_some(()));
}

/// With a service that is waited for as long as an operator said, which is not long.
fn impatient(vendor: &Vendor) -> Scene {
    let scene = scene(vendor, "");
    let config = std::fs::read_to_string(scene.config()).unwrap();
    std::fs::write(scene.config(), config.replace("kind = \"openbao\"\n", "kind = \"openbao\"\npatience = \"3s\"\n"))
        .unwrap();
    scene
}

/// How many leases of the credential may live, as operators are told.
fn may_live(scene: &Scene) -> usize {
    scene.json(&["credentials", "list"])["credentials"][0]["live"].as_array().unwrap().len()
}

/// It made a token, and nobody heard of it: the run may not end while that lives.
#[test]
fn a_service_whose_answer_to_a_mint_does_not_come_is_given_up_and_what_it_made_is_waited_for_a07_a56() {
    for (manner, words) in [
        (Manner::Silent, "the provider did not answer within 3 seconds"),
        (Manner::Drips, "the provider did not answer within 3 seconds"),
        (Manner::BreaksOff, "its answer is lost: the provider"),
    ] {
        let vendor = Vendor::start();
        let scene = impatient(&vendor);
        vendor.shelf.lock().unwrap().manner = Some(("POST /v1/auth/jwt/login", manner));
        let _serving = scene.serve();
        scene.run(&["run", "--agent", "caller", &fetch()]).ok();
        eventually(&format!("{manner:?} is named"), || {
            let runs = scene.runs();
            scene.json(&["show", text(runs.first()?, "run")]).to_string().contains(words).then_some(())
        });
        scene.run(&["halt"]).ok();
        eventually("the run closes", || (scene.runs()[0]["stage"] == "closing").then_some(()));
        assert!(vendor.live() >= 1, "{manner:?}: it made what nobody knows");
        assert_eq!(may_live(&scene), vendor.live(), "{manner:?}: each of them is known to live perhaps");
        assert!(vendor.shelf.lock().unwrap().used.is_empty(), "{manner:?}: nothing went out anonymous");
        assert!(!scene.run(&["audit", "show"]).ok().out.contains("canary"), "{manner:?}");
    }
}

/// And whoever stops the run is told which may live, until a later sweep has ended it.
#[test]
fn a_service_whose_answer_to_a_revocation_does_not_come_keeps_the_run_closing_until_a_sweep_ends_it_a56_c4() {
    for manner in [Manner::Silent, Manner::Drips, Manner::BreaksOff] {
        let vendor = Vendor::start();
        let scene = impatient(&vendor);
        let _serving = scene.serve();
        scene.run(&["run", "--agent", "caller", &format!("{}; sleep 60", fetch())]).ok();
        eventually("the credential is in use", || (!vendor.shelf.lock().unwrap().used.is_empty()).then_some(()));
        // It does not get as far as ending anything.
        let mut shelf = vendor.shelf.lock().unwrap();
        (shelf.manner, shelf.refuses_to_revoke) = (Some(("PUT /v1/sys/leases/revoke", manner)), Some(503));
        drop(shelf);
        let run = text(&scene.runs()[0], "run").to_owned();
        let alarm = scene.json(&["revoke", &run]);
        assert_eq!(alarm["may_still_live"].as_array().unwrap().len(), 1, "{manner:?}: {alarm}");
        eventually("the run is closing, and says so", || {
            let is_closing = scene.runs()[0]["stage"] == "closing";
            (is_closing && may_live(&scene) == 1).then_some(())
        });
        assert_eq!(vendor.live(), 1, "{manner:?}");
        let mut shelf = vendor.shelf.lock().unwrap();
        (shelf.manner, shelf.refuses_to_revoke) = (None, None);
        drop(shelf);
        eventually("the run settles", || (scene.runs()[0]["stage"] == "settled").then_some(()));
        assert_eq!((may_live(&scene), vendor.live()), (0, 0), "{manner:?}");
    }
}

#[test]
fn a_service_that_says_when_to_come_back_for_a_revocation_is_left_alone_until_then_except_by_who_stops_a56_g5() {
    let vendor = Vendor::start();
    let scene = scene(&vendor, "");
    vendor.shelf.lock().unwrap().puts_off = vec![3, 600];
    let _serving = scene.serve();
    scene.run(&["run", "--agent", "caller", &fetch()]).ok();
    let asked = || vendor.shelf.lock().unwrap().revocations.clone();
    eventually("it was asked twice", || (asked().len() >= 2).then_some(()));
    let times = asked();
    assert!(times[1].duration_since(times[0]).as_secs() >= 3, "its advice was not taken: {times:?}");
    // It puts the factory off for long now, and who stops something is kept waiting by nobody's advice.
    let run = text(&scene.runs()[0], "run").to_owned();
    let dead = eventually("whoever stops it is heard", || {
        let said = scene.json(&["revoke", &run]);
        said["may_still_live"].as_array().unwrap().is_empty().then_some(said)
    });
    assert_eq!((vendor.live(), asked().len()), (0, 3), "and nobody else asked meanwhile: {dead}");
    eventually("the run settles", || (scene.runs()[0]["stage"] == "settled").then_some(()));
}
