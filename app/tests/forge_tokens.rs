//! Tokens that a forge makes for one run, with a key that only the keeper has: a stand-in for a GitLab, written from its published API,
//! counts by itself how many of its tokens are alive. Not run against the real service.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use common::{Said, Scene, agent, text};
use serde_json::{Value, json};

/// A host nobody else has (RFC 6761).
const FORGE: &str = "gitlab.selvedge.test";
/// The token that may make others. Looked for byte by byte wherever it must not be.
const KEY: &str = "glpat-canary-4c1d9e0b77aa-of-the-maintainer";
const TOKENS: &str = "/api/v4/projects/acme%2Fshop/access_tokens";

/// What the forge knows.
#[derive(Default)]
struct Shelf {
    live: Vec<(usize, String)>,
    made: usize,
    /// What each request to the project carried, and whether that was alive.
    used: Vec<(String, bool)>,
    /// The next answer to a mint is not JSON.
    babbles: bool,
}

fn start() -> (u16, Arc<Mutex<Shelf>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let shelf = Arc::<Mutex<Shelf>>::default();
    let kept = Arc::clone(&shelf);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let kept = Arc::clone(&kept);
            std::thread::spawn(move || answer(stream, &kept));
        }
    });
    (port, shelf)
}

fn answer(stream: TcpStream, shelf: &Mutex<Shelf>) {
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
        let (status, said) = serve(line, field("private-token: "), &body, &mut shelf.lock().unwrap());
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{said}", said.len());
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn serve(line: &str, shown: &str, body: &[u8], shelf: &mut Shelf) -> (u16, String) {
    let is_key = shown == KEY;
    let is_live = shelf.live.iter().any(|(_, token)| token == shown);
    let (method, target) = line.split_once(' ').unwrap();
    let path = target.split('?').next().unwrap();
    match (method, path.strip_prefix(TOKENS)) {
        ("POST", Some("")) if is_key => {
            let asked: Value = serde_json::from_slice(body).unwrap();
            assert!(asked["name"].as_str().unwrap().starts_with("l-"), "it carries its lease: {asked}");
            shelf.made += 1;
            let (id, token) = (shelf.made, format!("glpat-canary-{:08}", shelf.made));
            shelf.live.push((id, token.clone()));
            if std::mem::take(&mut shelf.babbles) {
                return (201, "<html>".to_owned());
            }
            let mut said = asked;
            (said["id"], said["token"]) = (json!(id), json!(token));
            (201, said.to_string())
        }
        ("GET", Some("")) if is_key => {
            // The lease it was asked to look for; every token here is of this one run.
            let lease = target.split("search=").nth(1).unwrap().split('&').next().unwrap();
            let is_first = target.ends_with("&page=1");
            let entries = shelf.live.iter().filter(|_| is_first);
            let entries: Vec<Value> =
                entries.map(|(id, _)| json!({ "id": id, "name": lease, "active": true })).collect();
            (200, Value::from(entries).to_string())
        }
        ("DELETE", Some(id)) if is_key => {
            let before = shelf.live.len();
            shelf.live.retain(|(live, _)| id != format!("/{live}"));
            (if shelf.live.len() < before { 204 } else { 404 }, String::new())
        }
        ("GET", None) if path == "/api/v4/personal_access_tokens/self" && is_live => (200, "{}".to_owned()),
        ("GET", None) if path == "/api/v4/projects/7/issues" => {
            shelf.used.push((shown.to_owned(), is_live));
            (if is_live { 200 } else { 401 }, "[]".to_owned())
        }
        _ => (401, json!({ "message": "401 Unauthorized" }).to_string()),
    }
}

fn scene(port: u16) -> Scene {
    let scene = Scene::ready();
    scene.configure(
        "checks = [\"sh tests/run.sh\"]",
        &format!(
            "{}credentials = [\"issues\"]\n\n\
             [credential.issues]\nkind = \"gitlab\"\nowner = \"team-shop@example.org\"\nheader = \"private-token\"\nscheme = \"plain\"\n\
             uses = [\"GET https://{FORGE}/api/v4/projects/7/issues\"]\n\
             [credential.issues.gitlab]\nurl = \"https://{FORGE}\"\nproject = \"acme/shop\"\nscopes = [\"read_api\"]\nrole = \"reporter\"\n\
             [danger.addresses.\"{FORGE}\"]\nallow = [\"127.0.0.1\"]\nplain_port = {port}\n",
            agent("caller", "draft"),
        ),
    );
    scene
}

fn store(scene: &Scene, key: &str) -> Said {
    let mut command = scene.command(&["credentials", "store", "issues"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(key.as_bytes()).unwrap();
    Said::of(&child.wait_with_output().unwrap())
}

fn call(scene: &Scene) -> Value {
    let script = format!("curl -sS --fail https://{FORGE}/api/v4/projects/7/issues");
    scene.run(&["run", "--agent", "caller", "--wait", "--json", &script]).document()["runs"][0].clone()
}

#[test]
fn a_token_is_made_with_a_key_that_nobody_is_lent_used_and_deleted_c4_c5() {
    let (port, shelf) = start();
    let scene = scene(port);
    let run = call(&scene);
    assert_eq!(run["outcome"], "failed", "{run}");
    assert!(run.to_string().contains("selvedge credentials store issues"), "{run}");
    assert_ne!(store(&scene, "two words of a password").status, 0);
    store(&scene, KEY).ok();
    let run = call(&scene);
    assert_eq!(run["outcome"], "changed", "{run}");
    {
        let shelf = shelf.lock().unwrap();
        assert_eq!((shelf.made, shelf.live.len()), (1, 0), "counted by the forge");
        assert_eq!(shelf.used, [("glpat-canary-00000001".to_owned(), true)], "the token went out, not the key");
    }
    let known = scene.json(&["credentials", "list"])["credentials"][0].clone();
    assert_eq!((&known["kind"], &known["needs_key"]), (&json!("minted"), &json!(true)));
    let said = scene.run(&["credentials", "list"]).ok().out;
    assert!(said.contains("the key that makes it (lent to nobody) is stored since"), "{said}");
    let show = scene.run(&["show", text(&run, "run"), "--json"]).ok().out;
    assert!(!show.contains("canary") && !said.contains("canary"), "{show}");
    scene.run(&["credentials", "remove", "issues"]).ok();
    assert!(scene.json(&["credentials", "list"])["credentials"][0]["stored_since"].is_null());
}

#[test]
fn a_token_whose_answer_was_lost_is_found_by_its_lease_and_deleted_c4_a07() {
    let (port, shelf) = start();
    let scene = scene(port);
    store(&scene, KEY).ok();
    shelf.lock().unwrap().babbles = true;
    let serving = scene.serve();
    let script = format!("curl -sS --fail https://{FORGE}/api/v4/projects/7/issues");
    scene.run(&["run", "--agent", "caller", &script]).ok();
    common::eventually("what nobody heard of is ended", || {
        let shelf = shelf.lock().unwrap();
        (shelf.made > 0 && shelf.live.is_empty()).then_some(())
    });
    assert!(shelf.lock().unwrap().used.iter().all(|(_, is_live)| *is_live), "and none is used dead");
    drop(serving);
}

#[test]
fn a_key_that_makes_tokens_is_tried_and_an_overdue_one_makes_none_b6() {
    let (port, shelf) = start();
    let scene = scene(port);
    let config = std::fs::read_to_string(scene.config()).unwrap();
    let tried = format!("[credential.issues]\nprobe = \"GET https://{FORGE}/api/v4/projects/7/issues\"\n");
    let config = config.replace("[credential.issues]\n", &tried);
    std::fs::write(scene.config(), &config).unwrap();
    let doctor = || {
        let said = scene.run(&["doctor", "issues", "--json"]);
        assert!(!said.out.contains("canary"), "{said:?}");
        (said.status, said.document())
    };
    let mint = |tried: &Value| tried["steps"][1].clone();

    let (status, tried) = doctor();
    assert_eq!((status, text(&mint(&tried), "reason")), (112, "key_not_stored"), "{tried}");
    // One that its forge has ended, or that has expired there.
    store(&scene, "glpat-canary-of-last-year-0000").ok();
    let (status, tried) = doctor();
    assert_eq!((status, text(&mint(&tried), "reason")), (112, "key_refused"), "{tried}");
    store(&scene, KEY).ok();
    let (status, tried) = doctor();
    assert_eq!((status, text(&tried, "verdict")), (0, "works"), "{tried}");
    {
        let shelf = shelf.lock().unwrap();
        assert_eq!((shelf.made, shelf.live.len(), shelf.used.len()), (1, 0, 1), "counted by the forge");
    }
    let listed = scene.json(&["identities"])["identities"].clone();
    let kind =
        |name: &str| listed.as_array().unwrap().iter().find(|one| one["identity"] == name).unwrap()["kind"].clone();
    assert_eq!(
        (kind("credential:issues"), kind("agent:doctor-issues")),
        (json!("minting key of an account"), json!("built-in agent"))
    );

    std::fs::write(
        scene.config(),
        config.replace("[credential.issues]\n", "[credential.issues]\nrecertify = \"1s\"\n"),
    )
    .unwrap();
    common::eventually("nobody vouched in time", || {
        (scene.json(&["credentials", "list"])["credentials"][0]["state"] == "overdue").then_some(())
    });
    let (status, tried) = doctor();
    assert_eq!((status, text(&mint(&tried), "reason")), (112, "denied"), "{tried}");
    assert!(text(&mint(&tried), "said").contains("guard.overdue-is-not-lent"), "{tried}");
    assert_eq!(shelf.lock().unwrap().made, 1, "the forge was not asked");
}
