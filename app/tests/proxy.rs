//! Doors and couriers behind a company's proxy: what is configured is what is asked, the password is seen by nobody but the proxy,
//! and a proxy that refuses is named to whoever can mend it.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use common::{Said, Scene, agent, eventually, text};
use serde_json::Value;

/// Hosts nobody else has (RFC 6761).
const HOST: &str = "api.selvedge.test";
const BAO: &str = "bao.selvedge.test";
/// Looked for byte by byte wherever it must not be.
const PASSWORD: &str = "canary-pass-7d1f0c2b";
/// `printf 'factory:canary-pass-7d1f0c2b' | base64`
const LOGIN: &str = "ZmFjdG9yeTpjYW5hcnktcGFzcy03ZDFmMGMyYg==";

/// A proxy that lets nobody through and remembers what it was asked.
struct Proxy {
    port: u16,
    says: Arc<Mutex<&'static str>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let says = Arc::new(Mutex::new("403 Forbidden"));
        let (kept, said) = (Arc::clone(&asked), Arc::clone(&says));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let says = *said.lock().unwrap();
                refuse(stream, &kept, says);
            }
        });
        Self { port, says, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn refuse(mut stream: TcpStream, asked: &Mutex<Vec<String>>, says: &str) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    asked.lock().unwrap().push(String::from_utf8(head).unwrap());
    // Whoever asked may be gone.
    let _unheard = stream.write_all(format!("HTTP/1.1 {says}\r\ncontent-length: 0\r\n\r\n").as_bytes());
}

fn scene(proxy: &Proxy) -> Scene {
    let scene = Scene::ready();
    scene.configure(
        "",
        &format!(
            "{}reach = [\"GET https://{HOST}/\"]\n\
             {}credentials = [\"api\"]\n\
             [credential.api]\nkind = \"openbao\"\nowner = \"team-api@example.org\"\nuses = [\"GET https://{HOST}/v1\"]\n\
             [credential.api.openbao]\nurl = \"https://{BAO}\"\nrole = \"factory\"\naudience = \"https://bao.example\"\n\
             path = \"secret/creds/api\"\nfield = \"password\"\n\
             [network]\nproxy = \"http://127.0.0.1:{}\"\nproxy_user = \"factory\"\n",
            agent("asker", "draft"),
            agent("caller", "draft"),
            proxy.port
        ),
    );
    scene
}

fn store(scene: &Scene, password: &str) -> Said {
    let mut child = scene.command(&["credentials", "store", "--proxy"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes()).unwrap();
    Said::of(&child.wait_with_output().unwrap())
}

fn call(scene: &Scene, agent: &str, script: &str) -> Value {
    scene.run(&["run", "--agent", agent, "--wait", "--json", script]).document()["runs"][0].clone()
}

#[test]
fn a_door_leaves_through_the_proxy_and_its_password_is_seen_by_nobody_else_e3() {
    let proxy = Proxy::start();
    let scene = scene(&proxy);
    let ask = format!("curl -sS https://{HOST}/; env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'");
    // Without the password that the configuration says is needed, nothing leaves, rather than without.
    let run = call(&scene, "asker", &ask);
    assert!(run.to_string().contains("selvedge credentials store --proxy"), "{run}");
    assert!(proxy.asked().is_empty());

    store(&scene, "").refused(100, &["1 to 255 printable"]);
    let said = store(&scene, PASSWORD).ok();
    assert!(said.out.contains("factory"), "{said:?}");
    let run = call(&scene, "asker", &ask);
    assert_eq!(run["outcome"], "changed", "{run}");
    assert_eq!(
        proxy.asked(),
        [format!("CONNECT {HOST}:443 HTTP/1.1\r\nhost: {HOST}:443\r\nproxy-authorization: Basic {LOGIN}\r\n\r\n")]
    );
    let output = scene.run(&["output", text(&run, "run")]).ok().out;
    assert!(output.contains("proxy_refused"), "the agent is told what, and not by whom: {output}");
    let show = scene.run(&["show", text(&run, "run")]).ok().out;
    assert!(show.contains("the proxy refuses to connect"), "the operator is told: {show}");
    for secret in [PASSWORD, LOGIN] {
        assert!(!output.contains(secret) && !show.contains(secret));
        for place in ["state", "anchor", "home", "repo"] {
            assert_eq!(holds(&scene.path(place), secret.as_bytes()), None, "no byte of it anywhere");
        }
    }
    scene.run(&["credentials", "remove", "--proxy"]).ok();
    assert!(call(&scene, "asker", &ask).to_string().contains("no password is stored"));
}

/// Whoever runs the factory answers for it while it is configured; afterwards what is said to be typed takes it away.
#[test]
fn the_password_of_a_proxy_is_nobody_s_only_when_the_proxy_is_gone_b6() {
    let proxy = Proxy::start();
    let scene = scene(&proxy);
    store(&scene, PASSWORD).ok();
    scene.run(&["identities", "--check"]).ok();
    let config = std::fs::read_to_string(scene.config()).unwrap();
    std::fs::write(scene.config(), config.split_once("[network]").unwrap().0).unwrap();
    let check = scene.run(&["identities", "--check"]);
    let remedy = check.out.lines().find_map(|line| line.trim().strip_prefix("remedy: selvedge ")).unwrap();
    assert_eq!((check.status, remedy), (115, "credentials remove --proxy"), "{check:?}");
    scene.run(&remedy.split(' ').collect::<Vec<_>>()).ok();
    scene.run(&["identities", "--check"]).ok();
}

#[test]
fn a_courier_leaves_through_the_proxy_and_says_what_it_said() {
    let proxy = Proxy::start();
    let scene = scene(&proxy);
    store(&scene, PASSWORD).ok();
    let serving = scene.serve();
    scene.run(&["run", "--agent", "caller", "true"]).ok();
    // It may pass, so it is tried again; why it failed is on record each time.
    let run = eventually("the run begins", || scene.runs().first().map(|run| text(run, "run").to_owned()));
    eventually("it is said", || {
        scene.run(&["show", &run]).out.contains("the proxy refuses to connect to this server").then_some(())
    });
    drop(serving);
    assert!(proxy.asked().iter().all(|head| head.starts_with(&format!("CONNECT {BAO}:443 ")) && head.contains(LOGIN)));
    assert!(!proxy.asked().is_empty());
}

/// The provider is not to blame, and its name is not what whoever is woken should look at.
#[test]
fn a_trial_that_the_proxy_ends_names_the_proxy_and_who_can_mend_it() {
    let proxy = Proxy::start();
    let scene = scene(&proxy);
    let config = std::fs::read_to_string(scene.config()).unwrap();
    let probe = format!("[credential.api]\nprobe = \"GET https://{HOST}/v1\"\n");
    let config = config.replace("[credential.api]\n", &probe);
    std::fs::write(scene.config(), &config).unwrap();
    let tried = |reason: &str, address: &str| {
        let value = scene.run(&["doctor", "api", "--json"]).document();
        let mint = value["steps"].as_array().unwrap().iter().find(|step| step["step"] == "mint").unwrap().clone();
        let remedy = text(&mint, "remedy");
        assert_eq!(text(&mint, "reason"), reason, "{mint}");
        assert!(remedy.contains(&format!("the proxy http://{address} of `[network]`")), "{mint}");
    };
    let here = format!("127.0.0.1:{}", proxy.port);
    tried("proxy_login", &here);
    store(&scene, PASSWORD).ok();
    tried("proxy_refused", &here);
    *proxy.says.lock().unwrap() = "407 Proxy Authentication Required";
    tried("proxy_login", &here);
    *proxy.says.lock().unwrap() = "200 OK\r\nno header";
    tried("proxy_not_reached", &here);
    // Nobody listens there: it was somebody's a moment ago.
    let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    std::fs::write(scene.config(), config.replace(&here, &gone.to_string())).unwrap();
    tried("proxy_not_reached", &gone.to_string());
}

#[test]
fn a_proxy_that_is_not_one_is_refused_with_what_to_write() {
    let proxy = Proxy::start();
    let scene = scene(&proxy);
    let sound = std::fs::read_to_string(scene.config()).unwrap();
    let written = format!("\"http://127.0.0.1:{}\"", proxy.port);
    for (other, because) in [
        ("\"https://proxy.example:3128\"", "`http://<host>:<port>`"),
        ("\"http://proxy.example\"", "`http://<host>:<port>`"),
        ("\"http://proxy.example:0\"", "`http://<host>:<port>`"),
        ("\"http://proxy.example:3128/pac\"", "`http://<host>:<port>`"),
        ("\"http://me:secret@proxy.example:3128\"", "credentials store --proxy"),
    ] {
        std::fs::write(scene.config(), sound.replace(&written, other)).unwrap();
        let said = scene.run(&["ps"]);
        assert!(
            said.status != 0 && said.err.contains("network.proxy") && said.err.contains(because),
            "{other}: {said:?}"
        );
        assert!(!said.err.contains("secret"), "{said:?}");
    }
    std::fs::write(scene.config(), sound.replace(&format!("proxy = {written}\n"), "")).unwrap();
    let said = scene.run(&["ps"]);
    assert!(said.status != 0 && said.err.contains("network.proxy_user"), "{said:?}");
}

/// Whether any file below `dir` holds these bytes.
fn holds(dir: &std::path::Path, bytes: &[u8]) -> Option<std::path::PathBuf> {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        let found = if path.is_dir() {
            holds(&path, bytes)
        } else {
            // Sockets and the like hold nothing.
            let content = std::fs::read(&path).unwrap_or_default();
            content.windows(bytes.len()).any(|part| part == bytes).then_some(path)
        };
        if found.is_some() {
            return found;
        }
    }
    None
}
