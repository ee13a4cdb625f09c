//! A GitHub App made by one command: a browser that follows the form, pages that are not ours, and a stand-in for an Enterprise
//! Server, written from the published description of the manifest flow and of the REST API (version 2022-11-28). It refuses what
//! that refuses, and counts what is alive by itself. Not run against the real service.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use common::service::{Asked, attended};
use common::{Said, Scene, agent, holds, text};
use serde_json::{Value, json};

/// A host nobody else has (RFC 6761).
const FORGE: &str = "git.selvedge.test";
/// What comes with an App's key and is nobody's. Looked for byte by byte wherever it must not be.
const CLIENT_SECRET: &str = "canary-of-the-client-1726be1638095a19edd1";
const WEBHOOK_SECRET: &str = "canary-of-the-webhook-e340154128314309424b";
const APP: u64 = 4711;
const INSTALLATION: u64 = 678;

/// How the forge makes an App that it was not asked for, or says so in a way of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Makes {
    #[default]
    Right,
    /// With a permission nobody asked for.
    Wide,
    /// With a higher level than was asked for.
    High,
    /// With a page somewhere else.
    Elsewhere,
    /// With something that is no key.
    Keyless,
    /// Without a number.
    Numberless,
    /// It answers with this status.
    Status(u16),
    /// It answers `201` and nothing that makes sense.
    Nonsense,
}

/// What the forge knows.
#[derive(Default)]
struct Shelf {
    /// Codes that were given out, for whom, and the manifest.
    codes: BTreeMap<String, (String, Value)>,
    given: usize,
    makes: Makes,
    /// Tokens of the installation that live, and how many were made.
    live: Vec<String>,
    /// What happens elsewhere while it makes an App.
    meanwhile: Option<Command>,
    made: usize,
}

struct Forge {
    port: u16,
    shelf: Arc<Mutex<Shelf>>,
}

impl Forge {
    fn start() -> Self {
        let shelf = Arc::<Mutex<Shelf>>::default();
        let kept = Arc::clone(&shelf);
        let port = attended(move |mut reader| {
            while let Some(asked) = Asked::next(&mut reader) {
                let (status, fields, said) = serve(&asked, &mut kept.lock().unwrap());
                let head = format!("HTTP/1.1 {status} X\r\n{fields}content-length: {}\r\n\r\n", said.len());
                if reader.get_mut().write_all(format!("{head}{said}").as_bytes()).is_err() {
                    return;
                }
            }
        });
        Self { port, shelf }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap()
    }

    /// A code as the forge gives one to a browser, for an App of `owner`.
    fn code(&self, owner: &str) -> String {
        let manifest = json!({ "url": "https://x.example", "default_permissions": { "contents": "read", "pull_requests": "write" } });
        give(&mut self.shelf(), owner, manifest)
    }
}

fn give(shelf: &mut Shelf, owner: &str, manifest: Value) -> String {
    shelf.given += 1;
    let code = format!("{:040x}", 0xa180_b1a3_u64 + u64::try_from(shelf.given).unwrap());
    shelf.codes.insert(code.clone(), (owner.to_owned(), manifest));
    code
}

fn serve(asked: &Asked, shelf: &mut Shelf) -> (u16, String, String) {
    let plain = |status: u16, said: String| (status, String::new(), said);
    let (line, body) = (asked.line(), std::str::from_utf8(&asked.body).unwrap());
    let field = |name: &str| asked.field(name);
    if field("host") != FORGE {
        return plain(421, String::new());
    }
    let (method, target) = line.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Some(call) = path.strip_prefix("/api/v3/") else {
        let owner = match path {
            "/settings/apps/new" => "octocat",
            "/organizations/acme/settings/apps/new" => "acme",
            _ => return plain(404, String::new()),
        };
        // The person looks at it, and presses the button.
        return match registered(method, field("content-type"), body) {
            Ok(manifest) => {
                let code = give(shelf, owner, manifest.clone());
                let back = format!("{}?code={code}&{query}", text(&manifest, "redirect_url"));
                (302, format!("location: {back}\r\n"), String::new())
            }
            Err(why) => plain(422, format!("Invalid GitHub App configuration. Error {why}")),
        };
    };
    if method == "POST" && field("content-length").is_empty() {
        return plain(411, String::new());
    }
    if field("user-agent").is_empty() || field("accept") != "application/vnd.github+json" {
        return plain(403, String::new());
    }
    let bearer = field("authorization").strip_prefix("Bearer ").unwrap_or_default();
    let is_live = shelf.live.iter().any(|token| token == bearer);
    match (method, call) {
        ("POST", call) if call.starts_with("app-manifests/") => {
            let code = call.strip_prefix("app-manifests/").unwrap().strip_suffix("/conversions").unwrap();
            if let Makes::Status(status) = shelf.makes {
                return plain(status, json!({ "message": "Service unavailable" }).to_string());
            }
            if let Some(mut meanwhile) = shelf.meanwhile.take() {
                assert!(meanwhile.status().unwrap().success());
            }
            // Each code once.
            let Some((owner, manifest)) = shelf.codes.remove(code) else {
                return plain(404, json!({ "message": "Not Found" }).to_string());
            };
            plain(201, converted(&owner, &manifest, shelf.makes))
        }
        ("POST", "app/installations/678/access_tokens") if is_the_app(bearer) => {
            shelf.made += 1;
            let token = format!("ghs_{:036}", shelf.made);
            shelf.live.push(token.clone());
            let asked: Value = serde_json::from_str(body).unwrap();
            let mut permissions = asked["permissions"].clone();
            permissions["metadata"] = json!("read");
            plain(
                201,
                json!({ "token": token, "repository_selection": "selected", "permissions": permissions }).to_string(),
            )
        }
        ("GET", "installation/repositories") if is_live => {
            plain(200, json!({ "total_count": 1, "repositories": [{ "name": "shop" }] }).to_string())
        }
        ("DELETE", "installation/token") if is_live => {
            shelf.live.retain(|token| token != bearer);
            plain(204, String::new())
        }
        _ => plain(401, json!({ "message": "Bad credentials" }).to_string()),
    }
}

/// The manifest in a form, as strictly as its description has it.
fn registered(method: &str, media_type: &str, body: &str) -> Result<Value, String> {
    let manifest = body.strip_prefix("manifest=").filter(|rest| !rest.contains('&'));
    let (Some(manifest), "POST", "application/x-www-form-urlencoded") = (manifest, method, media_type) else {
        return Err("no form".to_owned());
    };
    let manifest: Value = serde_json::from_str(&decoded(manifest)).map_err(|error| error.to_string())?;
    let known = [
        "name",
        "url",
        "hook_attributes",
        "redirect_url",
        "callback_urls",
        "setup_url",
        "description",
        "public",
        "default_events",
        "default_permissions",
        "request_oauth_on_install",
        "setup_on_update",
    ];
    if let Some(other) = common::fields(&manifest).into_iter().find(|name| !known.contains(name)) {
        return Err(format!("{other} is not a permitted key."));
    }
    // Required also of a webhook, and of one that is not active.
    if manifest["url"].is_null()
        || (!manifest["hook_attributes"].is_null() && manifest["hook_attributes"]["url"].is_null())
    {
        return Err("\"url\" wasn't supplied.".to_owned());
    }
    if manifest["name"].as_str().is_some_and(|name| name.len() > 34) {
        return Err("the name is too long".to_owned());
    }
    let permissions = manifest["default_permissions"].as_object().ok_or("no permissions")?;
    let is_known = |(name, level): (&String, &Value)| {
        ["contents", "pull_requests", "issues", "metadata"].contains(&name.as_str())
            && (level == "read" || level == "write")
    };
    if permissions.iter().all(is_known) { Ok(manifest) } else { Err("a permission that does not exist".to_owned()) }
}

/// What the description says that a new App is told of.
fn converted(owner: &str, manifest: &Value, makes: Makes) -> String {
    let mut permissions = manifest["default_permissions"].clone();
    permissions["metadata"] = json!("read");
    let kind = if owner == "octocat" { "User" } else { "Organization" };
    let mut said = json!({
        "id": APP, "slug": "selvedge-pulls", "node_id": "MDxOkludGVncmF0aW9uMQ==", "name": manifest["name"],
        "owner": { "login": owner, "id": 1, "type": kind, "site_admin": false },
        "description": null, "external_url": manifest["url"], "html_url": format!("https://{FORGE}/github-apps/selvedge-pulls"),
        "created_at": "2026-11-26T16:00:00Z", "updated_at": "2026-11-26T16:00:00Z", "events": [],
        "client_id": "Iv1.8a61f9b3a7aba766", "client_secret": CLIENT_SECRET, "webhook_secret": WEBHOOK_SECRET, "pem": pem(),
    });
    match makes {
        Makes::Right | Makes::Status(_) => {}
        Makes::Wide => permissions["administration"] = json!("read"),
        Makes::High => permissions["contents"] = json!("write"),
        Makes::Elsewhere => said["html_url"] = json!(format!("https://{FORGE}.attacker.example/apps/x")),
        Makes::Keyless => said["pem"] = json!("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----"),
        Makes::Numberless => said["id"] = Value::Null,
        Makes::Nonsense => return format!("<html>{WEBHOOK_SECRET}"),
    }
    said["permissions"] = permissions;
    said.to_string()
}

/// The key of the App: one for all tests, for it takes a while to make.
fn app_key() -> &'static KeyPair {
    static KEY: OnceLock<KeyPair> = OnceLock::new();
    KEY.get_or_init(|| KeyPair::generate(KeySize::Rsa2048).unwrap())
}

/// As GitHub gives it out: PKCS #1, which stands inside PKCS #8 behind 26 bytes that say that it is RSA.
fn pem() -> String {
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(app_key()).unwrap();
    let lines: Vec<String> = STANDARD
        .encode(&der.as_ref()[26..])
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8(line.to_vec()).unwrap())
        .collect();
    format!("-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n", lines.join("\n"))
}

/// Whether this shows that the App asks.
fn is_the_app(token: &str) -> bool {
    let Some((signed, signature)) = token.rsplit_once('.') else { return false };
    let claims: Value = signed
        .split('.')
        .nth(1)
        .and_then(|claims| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok())
        .unwrap_or_default();
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, app_key().public_key().as_ref());
    claims["iss"].as_str().and_then(|app| app.parse().ok()) == Some(APP)
        && URL_SAFE_NO_PAD.decode(signature).is_ok_and(|signature| key.verify(signed.as_bytes(), &signature).is_ok())
}

fn scene(forge: &Forge, installed: &str) -> Scene {
    let scene = Scene::ready();
    configure(&scene, forge, installed);
    scene
}

fn configure(scene: &Scene, forge: &Forge, installed: &str) {
    scene.configure(
        "checks = [\"sh tests/run.sh\"]",
        &format!(
            "{}credentials = [\"pulls\"]\n\n\
             [credential.pulls]\nkind = \"github-app\"\nowner = \"team-shop@example.org\"\n\
             uses = [\"GET https://{FORGE}/api/v3/installation/repositories\"]\n\
             [credential.pulls.github-app]\nurl = \"https://{FORGE}/api/v3\"\nrepositories = [\"shop\"]\n\
             permissions = {{ contents = \"read\", pull_requests = \"write\" }}\n{installed}\n\
             [credential.other]\nkind = \"static\"\nowner = \"team-shop@example.org\"\nuses = [\"GET https://{FORGE}/x\"]\n\
             [credential.odd]\nkind = \"github-app\"\nowner = \"team-shop@example.org\"\nuses = [\"GET https://{FORGE}/x\"]\n\
             [credential.odd.github-app]\nurl = \"https://{FORGE}/rest\"\nrepositories = [\"shop\"]\n\
             permissions = {{ contents = \"read\" }}\n\
             [danger.addresses.\"{FORGE}\"]\nallow = [\"127.0.0.1\"]\nplain_port = {}\n",
            agent("caller", "draft"),
            forge.port
        ),
    );
}

/// What stands at an address, asked for as a browser does: status, where it leads, and the page.
fn browse(port: u16, line: &str, host: &str, body: Option<&str>) -> (u16, String, String) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let form = body.map_or_else(String::new, |body| {
        format!("content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n", body.len())
    });
    let body = body.unwrap_or_default();
    stream
        .write_all(format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{form}\r\n{body}").as_bytes())
        .unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "an answer to {line}: {head}");
    }
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
    let mut page = vec![0; field("content-length: ").parse().unwrap()];
    reader.read_exact(&mut page).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), field("location: "), String::from_utf8(page).unwrap())
}

/// An address on loopback: its port, and what follows.
fn local(address: &str) -> (u16, String) {
    let (port, path) = address.strip_prefix("http://127.0.0.1:").unwrap().split_once('/').unwrap();
    (port.parse().unwrap(), format!("/{path}"))
}

/// What an attribute of a page says, as a browser reads it.
fn attribute(page: &str, before: &str) -> String {
    let (_, rest) = page.split_once(before).unwrap_or_else(|| panic!("no {before} in {page}"));
    rest.split('"').next().unwrap().replace("&quot;", "\"").replace("&amp;", "&")
}

/// Text in a form, as a browser writes it.
fn encoded(text: &str) -> String {
    let byte = |b: u8| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") };
    text.bytes().map(byte).collect()
}

fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| {
        let (byte, rest) = part.split_at(2);
        text + &char::from(u8::from_str_radix(byte, 16).unwrap()).to_string() + rest
    })
}

/// A command that waits for its browser, and the address of its page.
fn waiting(scene: &Scene, arguments: &[&str]) -> (Child, BufReader<std::process::ChildStdout>, String) {
    let mut command = scene.command(&[&["credentials", "create-app", "pulls", "--json"], arguments].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let first: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let page = text(&first, "page").to_owned();
    (child, out, page)
}

fn ended(mut child: Child, mut out: BufReader<std::process::ChildStdout>) -> Said {
    let (mut said, mut told) = (String::new(), String::new());
    out.read_to_string(&mut said).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    Said { status: child.wait().unwrap().code().unwrap(), out: said, err: told }
}

/// The form of a page, posted to the forge; where that sends the browser.
fn follow(forge: &Forge, page: &str) -> String {
    let (port, path) = local(page);
    let (status, _, shown) = browse(port, &format!("GET {path}"), &format!("127.0.0.1:{port}"), None);
    assert_eq!(status, 200, "{shown}");
    let action = attribute(&shown, "<form action=\"");
    let manifest = attribute(&shown, "name=\"manifest\" value=\"");
    let target = action.strip_prefix(&format!("https://{FORGE}")).unwrap();
    let body = format!("manifest={}", encoded(&manifest));
    let (status, back, said) = browse(forge.port, &format!("POST {target}"), FORGE, Some(&body));
    assert_eq!(status, 302, "{said}");
    back
}

/// The command with a code on its standard input.
fn with_code(scene: &Scene, arguments: &[&str], code: &str) -> Said {
    let mut command = scene.command(&[&["credentials", "create-app", "pulls", "--code"], arguments].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(code.as_bytes()).unwrap();
    Said::of(&child.wait_with_output().unwrap())
}

fn stored_since(scene: &Scene) -> Value {
    let listed = scene.json(&["credentials", "list"]);
    listed["credentials"].as_array().unwrap().iter().find(|one| one["credential"] == "pulls").unwrap()["stored_since"]
        .clone()
}

/// Every secret that came with the App, and lines of its key.
fn canaries() -> Vec<String> {
    let key = pem();
    let lines = key.lines().filter(|line| line.len() == 64).step_by(5).map(str::to_owned);
    [CLIENT_SECRET, WEBHOOK_SECRET].map(str::to_owned).into_iter().chain(lines).collect()
}

/// None of it is anywhere but, sealed, where keys are.
fn nobody_has(scene: &Scene, said: &[&Said]) {
    for canary in canaries() {
        for said in said {
            assert!(!said.out.contains(&canary) && !said.err.contains(&canary), "{said:?}");
        }
        for place in ["state", "anchor", "home", "repo"] {
            assert_eq!(holds(&scene.path(place), canary.as_bytes()), None, "{canary}");
        }
    }
}

#[test]
fn one_command_makes_the_app_and_its_key_makes_tokens_and_is_seen_by_nobody_c5_a54() {
    let forge = Forge::start();
    let scene = scene(&forge, "");
    let run = scene.run(&["run", "--agent", "caller", "--wait", "true"]);
    assert!(run.status == 112 && run.out.contains("selvedge credentials create-app pulls"), "no App yet: {run:?}");

    let (child, out, page) = waiting(&scene, &["--organization", "acme"]);
    // The state directory is free meanwhile: waiting takes nothing from anybody.
    assert!(stored_since(&scene).is_null());
    let seen = std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
    let back = follow(&forge, &page);
    {
        let shelf = forge.shelf();
        let (owner, manifest) = shelf.codes.values().next().unwrap();
        let (port, _) = local(&page);
        assert_eq!(owner, "acme");
        assert_eq!(
            *manifest,
            json!({
                "name": "selvedge-pulls", "url": format!("https://{FORGE}/acme"), "public": false,
                "redirect_url": format!("http://127.0.0.1:{port}/created"),
                "default_permissions": { "contents": "read", "pull_requests": "write" },
            }),
            "what the credential asks for, and no webhook"
        );
    }
    let (port, path) = local(&back);
    let host = format!("127.0.0.1:{port}");
    assert_eq!(browse(port, &format!("GET {path}"), &host, None).0, 200);
    let said = ended(child, out);
    assert_eq!(said.status, 0, "{said:?}");
    let app = said.document();
    assert_eq!((text(&app, "app"), text(&app, "owner")), ("4711", "acme"));
    assert_eq!(text(&app, "install"), format!("https://{FORGE}/github-apps/selvedge-pulls/installations/new"));
    assert!(stored_since(&scene).is_string());
    // Nobody listens any more: a code is taken once.
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());

    let log = scene.run(&["audit", "show"]).ok();
    assert!(log.out.contains("App 4711 is made for credential `pulls`"), "{log:?}");
    let log = scene.run(&["audit", "show", "--json"]).ok();
    let uid = rustix::process::getuid().as_raw().to_string();
    let made = log.out.lines().find(|line| line.contains("4711")).unwrap_or_else(|| panic!("{log:?}"));
    assert!(made.contains("key_changed") && made.contains(&uid), "who made it: {made}");
    let (_, code) = path.split_once("code=").unwrap();
    let code = code.split('&').next().unwrap();
    assert!(!log.out.contains(code) && !String::from_utf8_lossy(&seen).contains(code));
    nobody_has(&scene, &[&said, &log]);

    // What it said to write, and an Enterprise Server gives tokens.
    configure(&scene, &forge, &format!("app = \"{}\"\ninstallation = {INSTALLATION}", text(&app, "app")));
    let script = format!(
        "curl -sS --fail https://{FORGE}/api/v3/installation/repositories -H accept:application/vnd.github+json"
    );
    let run = scene.run(&["run", "--agent", "caller", "--wait", "--json", &script]).document()["runs"][0].clone();
    assert_eq!(run["outcome"], "changed", "{run} {}", scene.run(&["output", text(&run, "run")]).out);
    {
        let shelf = forge.shelf();
        assert_eq!((shelf.made, shelf.live.len()), (1, 0), "counted by the forge");
    }
    let show = scene.run(&["show", text(&run, "run"), "--json"]).ok();
    nobody_has(&scene, &[&show]);
}

#[test]
fn pages_that_are_not_ours_are_sent_away_and_the_right_one_is_still_heard_a14() {
    let forge = Forge::start();
    let scene = scene(&forge, "");
    let (child, out, page) = waiting(&scene, &[]);
    let (port, path) = local(&page);
    let host = format!("127.0.0.1:{port}");
    let attackers = forge.code("octocat");
    // A page of an attacker's that knows the port, and has a code for an App of its own.
    let guess = format!("GET /created?code={attackers}&state={}", "0".repeat(32));
    assert_eq!(browse(port, &guess, &host, None).0, 404);
    assert_eq!(browse(port, &format!("GET /created?code={attackers}"), &host, None).0, 404);
    // A name of an attacker's that leads here would read the form, and the state in it.
    for host in [format!("rebound.attacker.example:{port}"), format!("localhost:{port}"), "127.0.0.1".to_owned()] {
        let (status, _, shown) = browse(port, &format!("GET {path}"), &host, None);
        assert!(status == 404 && !shown.contains("state"), "{host}: {shown}");
    }
    for line in ["GET /", "GET /favicon.ico", "GET /created", "POST /created", "GET /../etc/passwd"] {
        assert_eq!(browse(port, line, &host, None).0, 404, "{line}");
    }
    // One that asks nothing keeps nobody waiting.
    let _silent: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap()).collect();
    let back = follow(&forge, &page);
    let (_, path) = local(&back);
    let rebound = format!("rebound.attacker.example:{port}");
    assert_eq!(browse(port, &format!("GET {path}"), &rebound, None).0, 404);
    assert_eq!(browse(port, &format!("GET {path}"), &host, None).0, 200);
    let said = ended(child, out);
    assert_eq!(said.status, 0, "{said:?}");
    assert_eq!(text(&said.document(), "owner"), "octocat");
    assert!(forge.shelf().codes.contains_key(&attackers), "the attacker's code was taken to nobody");
    // Used once, it is of no use to whoever finds it in a history.
    scene.run(&["credentials", "remove", "pulls"]).ok();
    let again = with_code(&scene, &[], &back);
    again.refused(107, &["was used, or is older than an hour", "create-app pulls", "/settings/apps"]);
    assert!(stored_since(&scene).is_null());
}

#[test]
fn a_code_that_somebody_brings_from_elsewhere_is_exchanged_once_and_is_no_argument() {
    let forge = Forge::start();
    let scene = scene(&forge, "");
    let serving = scene.serve();
    let said = with_code(&scene, &["--organization", "acme"], &format!("{}\n", forge.code("ACME"))).ok();
    for words in
        ["App 4711 of ACME is made", "/installations/new", "app          = \"4711\"", "installation = <that number>"]
    {
        assert!(said.out.contains(words), "{said:?}");
    }
    nobody_has(&scene, &[&said]);
    let code = forge.code("acme");
    let again = with_code(&scene, &["--organization", "acme"], &code);
    again.refused(102, &["a key is stored", "selvedge credentials remove pulls", "selvedge credentials store pulls"]);
    assert!(forge.shelf().codes.contains_key(&code), "the forge was not asked");
    // Nor is a key overwritten that came while the forge made the App.
    scene.run(&["credentials", "remove", "pulls"]).ok();
    let file = scene.path("key.pem");
    std::fs::write(&file, pem()).unwrap();
    let mut store = scene.command(&["credentials", "store", "pulls"]);
    store.stdin(std::fs::File::open(&file).unwrap()).stdout(Stdio::null());
    forge.shelf().meanwhile = Some(store);
    let late = with_code(&scene, &["--organization", "acme"], &code);
    late.refused(102, &["a key is stored", "/organizations/acme/settings/apps"]);
    drop(serving);
    let log = scene.run(&["audit", "show"]).ok();
    assert_eq!(log.out.matches("is made for credential").count(), 1, "{log:?}");
    let odd = with_code(&scene, &[], "a/../../../user");
    odd.refused(100, &["not the code", "code="]);
    assert_eq!(scene.run(&["credentials", "create-app", "pulls", "--code", &code]).status, 100);
}

#[test]
fn an_app_that_was_made_otherwise_than_asked_leaves_no_key_b6_c1() {
    let forge = Forge::start();
    let scene = scene(&forge, "");
    for (makes, status, words) in [
        (Makes::Wide, 102, &["may do more", "not kept", "/organizations/acme/settings/apps"][..]),
        (Makes::High, 102, &["may do more", "not kept"]),
        (Makes::Elsewhere, 116, &["none of the forge's"]),
        (Makes::Keyless, 116, &["no private key"]),
        (Makes::Numberless, 116, &["no id"]),
        (Makes::Nonsense, 116, &["not JSON", "delete it there"]),
        (Makes::Status(503), 116, &["status 503", "--code"]),
        (Makes::Status(422), 116, &["status 422"]),
    ] {
        forge.shelf().makes = makes;
        let said = with_code(&scene, &["--organization", "acme"], &forge.code("acme"));
        said.refused(status, words);
        assert!(stored_since(&scene).is_null(), "{makes:?}");
        nobody_has(&scene, &[&said]);
    }
    forge.shelf().makes = Makes::Right;
    // Another's, or a person's where an organization's was asked for, or the other way round.
    for (owner, asked, words) in [
        ("evil", &["--organization", "acme"][..], &["belongs to evil, not to acme"][..]),
        ("octocat", &["--organization", "octocat"], &["belongs to octocat"]),
        ("acme", &[], &["belongs to acme, not to a person's account", "--organization"]),
    ] {
        let said = with_code(&scene, asked, &forge.code(owner));
        said.refused(102, words);
        assert!(stored_since(&scene).is_null(), "{owner}");
    }
    let log = scene.run(&["audit", "show"]).ok();
    assert!(!log.out.contains("is made for credential"), "{log:?}");
    // A forge that is not there was not asked, and the code is as good as before.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    configure(&scene, &Forge { port, shelf: Arc::default() }, "");
    with_code(&scene, &[], "abc").refused(116, &["was not asked", "--code"]);
}

#[test]
fn what_cannot_begin_is_told_before_anybody_is_asked() {
    let forge = Forge::start();
    let scene = scene(&forge, "");
    for (arguments, status, words) in [
        (&["none"][..], 107, &["`none` is not configured", "pulls"][..]),
        (&["other"], 100, &["not made by a GitHub App", "github-app"]),
        (&["odd"], 101, &["does not say where the forge's pages are", "credential.odd.github-app.url"]),
        (&["pulls", "--organization", "acme/../x"], 100, &["not the name of an organization", "--organization acme"]),
    ] {
        scene.run(&[&["credentials", "create-app"], arguments].concat()).refused(status, words);
    }
    for within in ["0", "601"] {
        assert_eq!(scene.run(&["credentials", "create-app", "pulls", "--within", within]).status, 100);
    }
    // Nobody comes, and then nobody but a stranger.
    let said = scene.run(&["credentials", "create-app", "pulls", "--within", "1"]);
    said.refused(116, &["nobody came back from the forge within 1 s", "--code"]);
    assert!(said.out.contains("http://127.0.0.1:") && said.out.contains("ssh -L "), "{said:?}");
    let (child, out, page) = waiting(&scene, &["--within", "2"]);
    let (port, _) = local(&page);
    browse(port, "GET /created?code=abc&state=abc", &format!("127.0.0.1:{port}"), None);
    let said = ended(child, out);
    assert_eq!(said.status, 116, "{said:?}");
    let error = said.document()["error"].clone();
    assert!(text(&error, "code") == "unanswered" && error["hints"].to_string().contains("1 came back"), "{error}");
}
