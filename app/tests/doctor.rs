//! A configured provider, tried for real: made, used, ended, and dead after that; or the reason by name, and nothing left alive
//! (requirement B6). The provider is a stand-in for an OpenBao, written from its published API, that counts by itself how many of its
//! tokens are alive. Not run against the real service.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use common::service::{Asked, answered};
use common::{Scene, eventually, text};
use serde_json::{Value, json};

/// Hosts nobody else has (RFC 6761).
const BAO: &str = "bao.selvedge.test";
const API: &str = "api.selvedge.test";

/// What goes wrong.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Fault {
    #[default]
    None,
    /// The login is answered with this status.
    Login(u16),
    /// The login is answered with something else than a token.
    Nonsense,
    /// The login is taken and never answered: the connection ends.
    Silence,
    /// The API answers with this status, whatever it is shown.
    Api(u16),
    /// The API takes its time: until somebody says otherwise.
    Slow,
    /// Revocations are answered with this status instead of being done.
    Revoke(u16),
}

#[derive(Default)]
struct Shelf {
    /// Live tokens, each with the password made under it.
    tokens: BTreeMap<String, String>,
    made: usize,
    /// How often anybody asked to log in.
    logins: usize,
    /// Requests to the API, and whether each carried a password that was alive.
    used: Vec<(String, bool)>,
    fault: Fault,
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
        Self { port: answered(move |asked| answer(asked, &kept)), shelf }
    }

    fn live(&self) -> usize {
        self.shelf.lock().unwrap().tokens.len()
    }

    fn used(&self) -> Vec<(String, bool)> {
        self.shelf.lock().unwrap().used.clone()
    }

    fn has(&self, fault: Fault) {
        self.shelf.lock().unwrap().fault = fault;
    }
}

fn answer(asked: &Asked, shelf: &Mutex<Shelf>) -> Option<(u16, String)> {
    let answer = serve(asked, &mut shelf.lock().unwrap());
    while asked.line().starts_with("GET /v1/health") && shelf.lock().unwrap().fault == Fault::Slow {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    answer
}

fn serve(asked: &Asked, shelf: &mut Shelf) -> Option<(u16, String)> {
    let denied = (403, json!({ "errors": ["permission denied"] }).to_string());
    if asked.field("host").starts_with(API) {
        let carried = asked.field("authorization");
        let is_alive = shelf.tokens.values().any(|password| carried == format!("Bearer {password}"));
        shelf.used.push((asked.line().to_owned(), is_alive || carried.contains("stored-canary")));
        return match shelf.fault {
            Fault::Api(status) => Some((status, String::new())),
            _ => Some((200, "{}".to_owned())),
        };
    }
    shelf.logins += usize::from(asked.line().starts_with("POST /v1/auth/jwt/login"));
    let token = asked.field("x-vault-token");
    let is_known = shelf.tokens.contains_key(token);
    Some(match (asked.line(), shelf.fault) {
        ("POST /v1/auth/jwt/login", Fault::Login(status)) => (status, json!({ "errors": ["no"] }).to_string()),
        ("POST /v1/auth/jwt/login", Fault::Nonsense) => (200, "<html>it works</html>".to_owned()),
        ("POST /v1/auth/jwt/login", Fault::Silence) => return None,
        ("POST /v1/auth/jwt/login", _) => {
            shelf.made += 1;
            let token = format!("hvs.canary-token-{:04}", shelf.made);
            shelf.tokens.insert(token.clone(), format!("canary-password-{:04}", shelf.made));
            (200, json!({ "auth": { "client_token": token, "lease_duration": 900 } }).to_string())
        }
        ("GET /v1/secret/creds/api", _) if is_known => {
            let data = json!({ "password": shelf.tokens[token] });
            let lease = format!("secret/creds/api/{token}");
            (200, json!({ "lease_id": lease, "lease_duration": 600, "data": data }).to_string())
        }
        ("PUT /v1/sys/leases/revoke" | "POST /v1/auth/token/revoke-self", Fault::Revoke(status)) if is_known => {
            (status, String::new())
        }
        ("PUT /v1/sys/leases/revoke", _) if is_known => (204, String::new()),
        ("POST /v1/auth/token/revoke-self", _) if is_known => {
            shelf.tokens.remove(token);
            (204, String::new())
        }
        ("GET /v1/auth/token/lookup-self", _) if is_known => (200, json!({ "data": {} }).to_string()),
        _ => denied,
    })
}

/// A factory with the credential `api` of that provider, and a stored key `old`.
fn scene(vendor: &Vendor) -> Scene {
    let scene = Scene::ready();
    scene.configure(
        "checks = [\"sh tests/run.sh\"]",
        &format!(
            "[credential.api]\nkind = \"openbao\"\nowner = \"team-api@example.org\"\nuses = [\"GET https://{API}/v1\"]\n\
             probe = \"GET https://{API}/v1/health\"\n\
             [credential.api.openbao]\nurl = \"https://{BAO}\"\nrole = \"factory\"\naudience = \"https://bao.example\"\n\
             path = \"secret/creds/api\"\nfield = \"password\"\ntoken_lives_at_most = \"2s\"\n\
             [credential.old]\nkind = \"static\"\nowner = \"team-old@example.org\"\nuses = [\"GET https://{API}/v1\"]\n\
             probe = \"GET https://{API}/v1/health\"\n\
             [credential.bare]\nkind = \"static\"\nowner = \"team-old@example.org\"\nuses = [\"GET https://{API}/v2\"]\n\
             [danger.addresses.\"{BAO}\"]\nallow = [\"127.0.0.1\"]\nplain_port = {}\n\
             [danger.addresses.\"{API}\"]\nallow = [\"127.0.0.1\"]\nplain_port = {}\n",
            vendor.port, vendor.port
        ),
    );
    scene
}

fn store_old(scene: &Scene) {
    scene.store("old", "stored-canary-91").ok();
}

fn step(tried: &Value, name: &str) -> Value {
    let found = tried["steps"].as_array().unwrap().iter().find(|step| step["step"] == name);
    found.cloned().unwrap_or_else(|| panic!("no {name} in {tried}"))
}

fn states(tried: &Value) -> Vec<&str> {
    tried["steps"].as_array().unwrap().iter().map(|step| text(step, "state")).collect()
}

#[test]
fn a_provider_is_tried_from_mint_to_probe_and_nothing_is_alive_after_it_b6() {
    let vendor = Vendor::start();
    let scene = scene(&vendor);
    let said = scene.run(&["doctor", "api", "--json"]).ok();
    let tried = said.document();
    assert_eq!(states(&tried), ["ok", "ok", "ok", "ok", "ok"], "{tried}");
    assert_eq!(tried["verdict"], "works");
    for name in ["mint", "use", "revoke"] {
        assert!(step(&tried, name)["took_ms"].is_u64(), "{name}: {tried}");
    }
    assert_eq!(vendor.used(), [("GET /v1/health".to_owned(), true)]);
    assert_eq!(vendor.live(), 0, "counted by the service");
    let human = scene.run(&["doctor", "api"]).ok().out;
    assert!(human.contains("api works, and nothing of the trial is alive"), "{human}");
    assert!(!said.out.contains("canary") && !human.contains("canary"));
    // It went the way every credential goes: announced, decided, recorded.
    let show = scene.json(&["show", text(&tried, "run")]);
    let decided = |verb: &str| {
        let entries = show["entries"].as_array().unwrap().iter();
        entries
            .filter(|e| e["kind"] == "decided" && e["detail"]["verb"] == verb && e["owner"] == "team-api@example.org")
            .count()
    };
    assert_eq!((decided("credential.mint"), decided("http.request")), (2, 1));
    scene.run(&["identities", "--check"]).ok();
    scene.run(&["audit", "verify"]).ok();
}

#[test]
fn what_is_wrong_with_a_provider_is_named_with_what_to_do_and_nothing_is_alive_b6_c4() {
    let vendor = Vendor::start();
    let scene = scene(&vendor);
    for (fault, at, reason, words) in [
        (Fault::Login(403), "mint", "key_refused", "store api"),
        (Fault::Login(400), "mint", "not_known_there", "[credential.api]"),
        (Fault::Login(429), "mint", "too_many_requests", "wait"),
        (Fault::Login(503), "mint", "provider_in_trouble", "whoever runs it"),
        (Fault::Nonsense, "mint", "answer_malformed", "URL"),
        (Fault::Api(302), "use", "redirected", "login page"),
        (Fault::Api(401), "use", "not_accepted", "expired"),
        (Fault::Api(404), "use", "probe_not_known", "probe"),
        (Fault::Api(500), "use", "service_in_trouble", "whoever runs it"),
    ] {
        vendor.has(fault);
        let before = vendor.shelf.lock().unwrap().logins;
        let said = scene.run(&["doctor", "api", "--json"]);
        assert_eq!(said.status, 112, "{fault:?}: {said:?}");
        // Whoever tries a provider wants to know, and not to insist.
        assert_eq!(vendor.shelf.lock().unwrap().logins, before + 1, "{fault:?}");
        let tried = said.document();
        let failed = step(&tried, at);
        assert_eq!((text(&failed, "state"), text(&failed, "reason")), ("failed", reason), "{fault:?}: {tried}");
        assert!(text(&failed, "remedy").contains(words), "{fault:?}: {tried}");
        assert_eq!(vendor.live(), 0, "{fault:?}");
        assert!(!said.out.contains("canary"), "{said:?}");
        if at == "use" {
            assert_eq!(
                (text(&step(&tried, "revoke"), "state"), text(&step(&tried, "probe"), "state")),
                ("ok", "ok"),
                "{tried}"
            );
        }
    }
    assert_eq!(vendor.used().len(), 4, "one request for each that came so far");
    vendor.has(Fault::None);
    assert_eq!(scene.json(&["doctor", "api"])["verdict"], "works");
}

#[test]
fn a_provider_that_is_away_or_does_not_answer_is_named_b6() {
    let vendor = Vendor::start();
    let scene = scene(&vendor);
    vendor.has(Fault::Silence);
    let said = scene.run(&["doctor", "api", "--json"]);
    let tried = said.document();
    assert_eq!((said.status, text(&step(&tried, "mint"), "reason")), (112, "answer_lost"), "{tried}");
    // Nobody knows what was made; the run stays open until it is certainly dead, and that is no orphan while somebody is at work.
    assert_eq!(text(&step(&tried, "revoke"), "state"), "failed", "{tried}");
    let config = std::fs::read_to_string(scene.config()).unwrap();
    let unused = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    std::fs::write(scene.config(), config.replace(&vendor.port.to_string(), &unused.to_string())).unwrap();
    let said = scene.run(&["doctor", "api", "--json"]);
    let tried = said.document();
    assert_eq!((said.status, text(&step(&tried, "mint"), "reason")), (112, "provider_not_reached"), "{tried}");
}

#[test]
fn a_provider_that_does_not_revoke_is_said_to_and_the_factory_goes_on_trying_b6_c4() {
    let vendor = Vendor::start();
    let scene = scene(&vendor);
    vendor.has(Fault::Revoke(500));
    let _serving = scene.serve();
    let said = scene.run(&["doctor", "api", "--json"]);
    let tried = said.document();
    let revoke = step(&tried, "revoke");
    assert_eq!((said.status, text(&revoke, "reason")), (112, "may_still_live"), "{tried}");
    assert!(
        text(&revoke, "said").contains("openbao:api") && text(&revoke, "remedy").contains("selvedge serve"),
        "{tried}"
    );
    assert_eq!(vendor.live(), 1);
    vendor.has(Fault::None);
    eventually("it is ended", || (vendor.live() == 0).then_some(()));
    let run = text(&tried, "run");
    eventually("the record says so", || {
        let now = scene.run(&["doctor", "api", "--of", run, "--json"]).document();
        (states(&now) == ["ok", "ok", "ok", "ok", "ok"]).then_some(())
    });
}

#[test]
fn a_trial_that_is_killed_in_the_middle_leaves_nothing_b6_a56() {
    let vendor = Vendor::start();
    let scene = scene(&vendor);
    vendor.has(Fault::Slow);
    let mut command = scene.command(&["doctor", "api"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the credential is in use", || (vendor.used().len() == 1).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    vendor.has(Fault::None);
    assert_eq!(vendor.live(), 1, "nobody is there to revoke it");
    assert_eq!(scene.run(&["identities", "--check"]).status, 115);
    let _serving = scene.serve();
    eventually("the next keeper ended it", || {
        (vendor.live() == 0 && scene.run(&["identities", "--check"]).status == 0).then_some(())
    });
}

#[test]
fn a_stored_key_is_tried_after_a_person_s_yes_and_policy_has_the_last_word_b6_c5() {
    let vendor = Vendor::start();
    let scene = scene(&vendor);
    let missing = scene.run(&["doctor", "bare"]);
    missing.refused(101, &["nothing says what credential `bare` is tried with", "probe ="]);
    scene.run(&["doctor", "ghost"]).refused(107, &["`ghost` is not configured"]);
    // Nobody is asked about a key that is not there.
    let said = scene.run(&["doctor", "old", "--json"]);
    let tried = said.document();
    assert_eq!((said.status, text(&tried, "verdict")), (112, "fails"), "{tried}");
    assert_eq!(text(&step(&tried, "mint"), "reason"), "key_not_stored", "{tried}");
    assert!(text(&step(&tried, "mint"), "remedy").contains("selvedge credentials store old"), "{tried}");
    store_old(&scene);
    let said = scene.run(&["doctor", "old", "--json"]);
    let tried = said.document();
    assert_eq!((said.status, text(&tried, "verdict")), (103, "waits"), "{tried}");
    assert_eq!(text(&step(&tried, "permit"), "reason"), "needs_approval");
    assert!(vendor.used().is_empty());
    let run = text(&tried, "run").to_owned();
    let wrong = scene.run(&["doctor", "api", "--of", &run]);
    wrong.refused(107, &["is not a trial of credential `api`"]);
    // As for who trusts this without being asked each time.
    let path = scene.state().join("policies/guardrails.cedar");
    let policies = std::fs::read_to_string(&path).unwrap();
    let guard = "forbid (principal, action == Action::\"secret.use\", resource)\nunless { context.approved };";
    assert!(policies.contains(guard));
    let narrower = guard.replace("context.approved", "context.approved || principal == Agent::\"doctor-old\"");
    std::fs::write(&path, policies.replace(guard, &narrower)).unwrap();
    let tried = scene.json(&["doctor", "old"]);
    assert_eq!(states(&tried), ["ok", "ok", "ok", "ok", "ok"], "{tried}");
    assert!(text(&step(&tried, "revoke"), "said").contains("lives on"), "{tried}");
    assert_eq!(vendor.used(), [("GET /v1/health".to_owned(), true)]);

    let deny = "@id(\"test.no-trials\")\n@owner(\"tests\")\n@next_step(\"do not\")\n\
                forbid (principal == Agent::\"doctor-old\", action == Action::\"credential.mint\", resource);\n";
    std::fs::write(scene.state().join("policies/more.cedar"), deny).unwrap();
    let said = scene.run(&["doctor", "old", "--json"]);
    let tried = said.document();
    assert_eq!(said.status, 112, "{tried}");
    assert!(tried["steps"].to_string().contains("test.no-trials"), "{tried}");
    assert_eq!(vendor.used().len(), 1);
}

#[test]
fn a_trial_that_waited_for_a_person_is_told_from_its_record_b6_d5() {
    assert!(common::is_root(), "needs root: only root can say yes as somebody else");
    let vendor = Vendor::start();
    let scene = scene(&vendor);
    store_old(&scene);
    let _serving = scene.serve();
    let waits = scene.run(&["doctor", "old", "--json"]);
    let run = text(&waits.document(), "run").to_owned();
    assert_eq!(waits.status, 103, "{waits:?}");
    let approval = scene.json(&["approvals"])["approvals"][0].clone();
    assert!(scene.command_as(65533, &["approve", text(&approval, "approval")]).status().unwrap().success());
    let tried = eventually("the trial goes on", || {
        let said = scene.run(&["doctor", "old", "--of", &run, "--json"]);
        (said.status == 0).then(|| said.document())
    });
    assert_eq!((&tried["verdict"], tried["run"].as_str()), (&json!("works"), Some(run.as_str())));
    assert_eq!(vendor.used(), [("GET /v1/health".to_owned(), true)]);
}

#[test]
fn a_probe_that_changes_something_or_lies_elsewhere_is_refused_by_its_key() {
    let vendor = Vendor::start();
    let scene = scene(&vendor);
    let config = std::fs::read_to_string(scene.config()).unwrap();
    let probe = format!("probe = \"GET https://{API}/v1/health\"");
    let agent = "[agent.doctor-api]\nruntime = \"command\"\ncommand = [\"true\"]\nowner = \"o\"\npurpose = \"p\"\n\
                 escalate = \"e\"\ntrust = \"draft\"\nmay = [\"read\", \"write\"]\n";
    for (broken, words) in [
        (config.replacen(&probe, &format!("probe = \"POST https://{API}/v1/health\""), 1), "changes nothing"),
        (config.replacen(&probe, &format!("probe = \"GET http://{API}/v1\""), 1), "changes nothing"),
        (config.replacen(&probe, &format!("probe = \"GET https://{API}/v2/health\""), 1), "not within `uses`"),
        (format!("{config}\n{agent}"), "rename `[agent.doctor-api]`"),
    ] {
        std::fs::write(scene.config(), broken).unwrap();
        let said = scene.run(&["doctor", "api"]);
        assert!(said.status == 101 && said.err.contains("credential.api.probe"), "{words}: {said:?}");
        assert!(said.err.contains(words), "{words}: {said:?}");
    }
}
