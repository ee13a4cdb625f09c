//! What an agent tries at its doors and around them, in a real run: nothing comes of it, and it is on record.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::sync::{Arc, Mutex};

use common::service::{Asked, heard};
use common::{Scene, agent, eventually, text};
use serde_json::Value;

/// A host nobody else has (RFC 6761).
const HOST: &str = "api.selvedge.test";
/// A key that is stored here.
const KEY: &str = "stored-key-4c1b7a90d2e84f33";
/// Where the proxy listens inside a sandbox.
const PROXY_PORT: u16 = 3128;

/// Knocks at `ADDRESS:PORT` by TCP and by UDP and says what came of it.
const KNOCK: &str = r#"
import socket, sys
for place in sys.argv[1:]:
    host, port = place.rsplit(":", 1)
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as knock:
            knock.settimeout(5)
            try:
                knock.connect((host, int(port)))
                knock.sendall(b"knock")
            except OSError as error:
                print(place, kind.name, error)
"#;

/// Takes connections on port 9000 and passes what comes to the proxy, as another program of the sandbox would.
const RELAY: &str = r#"
import asyncio
async def pass_on(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
async def attend(reader, writer):
    there, back = await asyncio.open_connection("127.0.0.1", 3128)
    await asyncio.gather(pass_on(reader, back), pass_on(there, writer))
async def main():
    async with await asyncio.start_server(attend, "127.0.0.1", 9000) as server:
        await server.serve_forever()
asyncio.run(main())
"#;

/// Everything that was heard at a port of the host, of either kind.
struct Heard(Arc<Mutex<Vec<&'static str>>>);

impl Heard {
    fn at(address: SocketAddr) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let listener = eventually("the port is free", || TcpListener::bind(address).ok());
        let socket = UdpSocket::bind(address).unwrap();
        let kept = Arc::clone(&heard);
        std::thread::spawn(move || listener.incoming().flatten().for_each(|_| kept.lock().unwrap().push("tcp")));
        let kept = Arc::clone(&heard);
        std::thread::spawn(move || {
            while socket.recv(&mut [0; 16]).is_ok() {
                kept.lock().unwrap().push("udp");
            }
        });
        Self(heard)
    }

    fn all(&self) -> Vec<&'static str> {
        let mut all = self.0.lock().unwrap().clone();
        all.sort_unstable();
        all
    }
}

/// An address of this host that others could reach.
fn outward() -> IpAddr {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    // Nothing is sent (RFC 5737); a host without a route has loopback only.
    socket
        .connect("203.0.113.1:9")
        .and_then(|()| socket.local_addr())
        .map_or(Ipv4Addr::LOCALHOST.into(), |own| own.ip())
}

fn call(scene: &Scene, script: &str) -> Value {
    scene.work("caller", script)
}

#[test]
fn a17_a18_no_address_but_the_doors_is_reached_by_any_protocol() {
    let scene = Scene::ready();
    scene.configure("checks = [\"sh tests/run.sh\"]", &agent("caller", "draft"));
    scene.commit("knock.py", KNOCK);
    // The proxy's own port at another address, which a rule about ports alone would let through; the port of QUIC; any other.
    let places = [(outward(), PROXY_PORT), (outward(), 443), (Ipv4Addr::new(127, 0, 0, 1).into(), 4433)];
    let places = places.map(SocketAddr::from);
    let heard = places.map(Heard::at);
    let words = places.map(|place| place.to_string());
    let outside = Command::new("/usr/bin/python3").arg(scene.repo().join("knock.py")).args(&words).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&outside.stdout), "", "the control: without a sandbox all of it is reached");
    for heard in &heard {
        eventually("it is heard", || (heard.all() == ["tcp", "udp"]).then_some(()));
    }

    let run = call(&scene, &format!("/usr/bin/python3 knock.py {}", words.join(" ")));
    let output = scene.run(&["output", text(&run, "run")]).ok().out;
    // At loopback there is somebody inside whom nobody listens to, by UDP; everywhere else there is no way at all.
    let refused = |place: &str, kind: &str| output.contains(&format!("{place} {kind} "));
    for word in &words {
        assert!(refused(word, "SOCK_STREAM"), "{output}");
        assert!(word.starts_with("127.") || refused(word, "SOCK_DGRAM"), "{output}");
    }
    assert!(heard.iter().all(|heard| heard.all() == ["tcp", "udp"]), "nothing more was heard");
}

/// The lines and fields of all that a service heard.
fn heads(heard: &Mutex<Vec<Asked>>) -> Vec<String> {
    heard.lock().unwrap().iter().map(|asked| asked.head.clone()).collect()
}

/// A factory with an agent `caller` that may borrow the key `api` and read what is open.
fn lending(port: u16) -> Scene {
    let scene = Scene::ready();
    scene.configure(
        "checks = [\"sh tests/run.sh\"]",
        &format!(
            "{}credentials = [\"api\"]\nreach = [\"GET https://{HOST}/open\"]\n\
             [credential.api]\nkind = \"static\"\nowner = \"team@example.org\"\nuses = [\"GET https://{HOST}/v1\"]\n\
             env = \"API_TOKEN\"\n\
             [danger.addresses.\"{HOST}\"]\nallow = [\"127.0.0.1\"]\nplain_port = {port}\n",
            agent("caller", "draft")
        ),
    );
    scene.trust("api");
    scene.store("api", KEY).ok();
    scene
}

#[test]
fn a11_a20_a50_a57_what_a_door_refuses_reaches_nobody_and_is_on_record() {
    let (port, heard) = heard("ok");
    let scene = lending(port);
    scene.commit("relay.py", RELAY);
    let script = format!(
        r#"ask() {{ echo "$(curl -sS -o /dev/null -w '%{{http_connect}} %{{http_code}}' "$@" 2>/dev/null) $*" >>/tmp/said; }}
ask https://{HOST}/open/1
ask https://{HOST}/v1/2
ask -H "Authorization: Bearer stolen-by-the-agent" https://{HOST}/v1/3
ask "https://{HOST}/open?access_token=stolen-by-the-agent"
ask -H "X-Note: $API_TOKEN" https://{HOST}/open/4
ask -H "Accept: application/dns-message" https://{HOST}/open/5
ask https://evil.selvedge.test/6
ask -X DELETE https://{HOST}/open/7
ask https://{HOST}/open/ghp_$(echo aB3dE5gH7jK9mN1pQ2sT4vW6xY8zA0cDaB3x)
python3 relay.py & relay=$!
until ask --proxy http://127.0.0.1:9000 https://{HOST}/open/8 && grep -q "200 200.*open/8" /tmp/said; do sleep 0.1; done
ask --proxy http://127.0.0.1:9000 https://evil.selvedge.test/9
ask --proxy http://127.0.0.1:9000 -H "Authorization: Bearer stolen-by-the-agent" https://{HOST}/v1/10
kill $relay; cat /tmp/said"#
    );
    let run = call(&scene, &script);
    let output = scene.run(&["output", text(&run, "run")]).ok().out;
    let came = |end: &str| {
        let line = output.lines().rfind(|line| line.ends_with(end)).unwrap_or_else(|| panic!("{end}: {output} {run}"));
        line.split(' ').take(2).collect::<Vec<_>>().join(" ")
    };
    // The controls: what is granted goes through, also by way of a relay.
    for end in ["/open/1", "/v1/2", "/open/8"] {
        assert_eq!(came(end), "200 200", "{output}");
    }
    for end in ["/v1/3", "access_token=stolen-by-the-agent", "/open/4", "/open/5", "/open/7", "/v1/10"] {
        assert_eq!(came(end), "200 403", "{output}");
    }
    for end in ["/6", "/9"] {
        assert_eq!(came(end), "403 000", "{output}");
    }
    let heads = heads(&heard).concat();
    assert!(heads.contains("/v1/2") && heads.contains(&format!("Bearer {KEY}")), "{heads}");
    assert!(heads.contains("GET /open/ghp_aB3d"), "{heads}");
    assert!(!heads.contains("stolen") && !heads.contains("selvedge-"), "{heads}");
    for path in ["/v1/3", "/open/4", "/open/5", "/open/7", "/v1/10"] {
        assert!(!heads.contains(&format!("{path} ")), "{path} left: {heads}");
    }

    let show = scene.json(&["show", text(&run, "run")]);
    let entries = show["entries"].as_array().unwrap();
    let record = |code: &str| entries.iter().filter(|entry| entry.to_string().contains(&format!("\"{code}\""))).count();
    for code in ["foreign_credential", "placeholder_misplaced", "dns_over_https_denied", "host_not_granted"] {
        assert!(record(code) > 0, "`{code}` is not on record: {show}");
    }
    let asked = entries.iter().filter(|entry| entry["kind"] == "decided" && entry["detail"]["verb"] == "http.request");
    let denied: Vec<_> = asked.clone().filter(|entry| entry["detail"]["facts"]["path"] == "/open/7").collect();
    assert_eq!(denied.len(), 1, "{show}");
    assert_eq!(
        (&denied[0]["detail"]["verdict"], &denied[0]["detail"]["code"]),
        (&"deny".into(), &"outside_grant".into()),
        "what leads out of the grant is a decision as well"
    );
    assert!(asked.clone().all(|entry| !entry.to_string().contains("stolen")), "no credential is recorded: {show}");
    // Nor what looks like one in a path (C7).
    assert!(asked.clone().any(|entry| entry["detail"]["facts"]["path"] == "/open/[GitHub token]"), "{show}");
    assert!(!scene.run(&["audit", "show", "--json"]).ok().out.contains("ghp_aB3d"));
    scene.run(&["audit", "verify"]).ok();
}

/// What the operator weakened shows wherever a request is looked at; and once they take it back, no live door uses it any more.
#[test]
fn a13_a14_what_danger_lets_through_is_on_record_and_on_the_card_until_it_is_taken_back_d12() {
    let (port, heard) = heard("ok");
    let scene = Scene::ready();
    let reach = format!("reach = [\"GET https://{HOST}/\", \"GET https://open.selvedge.test/\"]\n");
    scene.configure("", &format!("{}{reach}", agent("caller", "draft")));
    let without = std::fs::read_to_string(scene.config()).unwrap();
    let card = |scene: &Scene| scene.json(&["can", "caller"])["can_reach"].to_string();
    assert!(!card(&scene).contains("danger"), "{}", card(&scene));
    let with = format!("{without}\n[danger.addresses.\"{HOST}\"]\nallow = [\"127.0.0.1\"]\nplain_port = {port}\n");
    std::fs::write(scene.config(), with).unwrap();
    let line = format!("by `danger`, {HOST}:443 is reached at 127.0.0.1:{port}, in clear text");
    assert!(card(&scene).contains(&line), "{}", card(&scene));

    let _keeper = scene.serve();
    let ask = |path| format!("curl -sS -o /dev/null https://{path}");
    let (other, named) = (ask("open.selvedge.test/"), ask(&format!("{HOST}/")));
    scene.run(&["run", "--agent", "caller", &format!("{other}; while {named}; do sleep 0.1; done")]).ok();
    let run = eventually("it runs", || scene.runs().first().map(|run| text(run, "run").to_owned()));
    eventually("it asks", || (!heads(&heard).is_empty()).then_some(()));
    std::fs::write(scene.config(), without).unwrap();
    eventually("the configuration is in force", || (!card(&scene).contains("danger")).then_some(()));
    let refused = || scene.json(&["show", &run]).to_string().matches("danger_withdrawn").count();
    eventually("it is refused", || (refused() > 0).then_some(()));
    let before = heads(&heard).len();
    let so_far = refused();
    eventually("it asks on", || (refused() > so_far + 2).then_some(()));
    assert_eq!(heads(&heard).len(), before, "and nothing leaves");
    scene.run(&["revoke", &run]).ok();

    let show = scene.json(&["show", &run]);
    let entries = show["entries"].as_array().unwrap();
    let asked = entries.iter().filter(|entry| entry["kind"] == "decided" && entry["detail"]["verb"] == "http.request");
    let said = |host: &str| {
        let there = asked.clone().map(|entry| &entry["detail"]["facts"]).filter(|facts| facts["host"] == host);
        there.map(|facts| text(facts, "danger").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(said("open.selvedge.test"), ["none"], "{show}");
    let named = said(HOST);
    assert!(named.len() == before && named.iter().all(|said| *said == format!("plain 127.0.0.1:{port}")), "{show}");
}

/// However often a run begins anew: what it has sent, it has sent.
#[test]
fn a20_another_attempt_may_send_no_more_than_the_first_one_left() {
    let (port, heard) = heard("ok");
    let scene = Scene::ready();
    scene.configure(
        "",
        &format!(
            "{}reach = [\"GET https://{HOST}/\"]\n[network.send]\n\"{HOST}\" = \"8KiB\"\n\
             [danger.addresses.\"{HOST}\"]\nallow = [\"127.0.0.1\"]\nplain_port = {port}\n",
            agent("caller", "draft")
        ),
    );
    let card = scene.json(&["can", "caller"])["can_reach"].to_string();
    assert!(card.contains(&format!("it sends {HOST} 8 KiB at most in all of a run")), "{card}");
    let keeper = scene.serve();
    let file = "x".repeat(1000);
    let script = format!(
        "while curl -sf -o /dev/null 'https://{HOST}/?{file}'; do :; done\n\
         curl -s 'https://{HOST}/?{file}'; while sleep 1; do :; done"
    );
    scene.run(&["run", "--agent", "caller", &script]).ok();
    let run = eventually("it runs", || scene.runs().first().map(|run| text(run, "run").to_owned()));
    let refused = || {
        let show = scene.json(&["show", &run]);
        let entries = show["entries"].as_array().unwrap();
        entries.iter().filter(|entry| entry.to_string().contains("send_budget_spent")).count()
    };
    let before = eventually("the first one has spent it", || Some(refused()).filter(|refused| *refused > 0));
    let sent = heads(&heard);
    assert!((3..8).contains(&sent.len()) && sent.concat().len() <= 8192, "{} requests", sent.len());
    keeper.kill();
    let _keeper = scene.serve();
    eventually("the second one is refused as well", || (refused() > before).then_some(()));
    let shown = scene.json(&["show", &run]).to_string();
    assert!(shown.contains("attempt_lost") || scene.runs()[0]["attempts"] == 2, "{shown}");
    assert_eq!(heads(&heard).len(), sent.len(), "nothing more was sent");
    scene.run(&["revoke", &run]).ok();
}

/// What a request in GraphQL does is on record, and shown to whoever is asked about it; also where a credential goes into it.
#[test]
fn a47_what_graphql_does_is_on_record_and_in_the_approval_with_a_credential_too() {
    let (port, heard) = heard("ok");
    let scene = lending(port);
    let sound = std::fs::read_to_string(scene.config()).unwrap();
    let uses = format!("uses = [\"GET https://{HOST}/v1\"");
    assert!(sound.contains(&uses));
    let declared = format!("\n[graphql.\"{HOST}/graphql\"]\nmutations = [\"addComment\", \"closeIssue\"]\n");
    let with = sound.replace(&uses, &format!("{uses}, \"POST https://{HOST}/graphql\""));
    std::fs::write(scene.config(), with + &declared).unwrap();
    let posts =
        "permit (principal, action == Action::\"http.request\", resource) when { context.order.method == \"POST\" };\n";
    let asked = "forbid (principal, action == Action::\"http.request\", resource)\n\
                 when { context.order.graphql.contains(\"mutation closeIssue\") } unless { context.approved };\n";
    let annotated = |id: &str, policy: &str| {
        format!("@id(\"{id}\")\n@owner(\"team@example.org\")\n@next_step(\"ask a person\")\n{policy}")
    };
    let policies = annotated("posts", posts) + &annotated("closing-is-asked", asked);
    std::fs::write(scene.state().join("policies/graphql.cedar"), policies).unwrap();

    let post = |document: &str| {
        format!(
            "curl -sS -H 'Content-Type: application/json' -d '{{\"query\":\"{document}\"}}' https://{HOST}/graphql; "
        )
    };
    let run = call(&scene, &(post("mutation{a:addComment}") + &post("mutation{b:closeIssue}")));
    let show = scene.json(&["show", text(&run, "run")]);
    let entries = show["entries"].as_array().unwrap();
    let decided =
        entries.iter().filter(|entry| entry["detail"]["verb"] == "http.request" && entry["kind"] == "decided");
    let told: Vec<String> = decided
        .map(|entry| {
            let (verdict, facts) = (&entry["detail"]["verdict"], &entry["detail"]["facts"]);
            format!("{verdict} {} {} {}", facts["graphql"], facts["credential"], facts["danger"])
        })
        .collect();
    assert_eq!(told.len(), 2, "{show}");
    for (told, (verdict, act)) in told.iter().zip([("allow", "addComment"), ("needs_approval", "closeIssue")]) {
        for word in [verdict, &format!("mutation {act}"), "\"api\"", &format!("plain 127.0.0.1:{port}")] {
            assert!(told.contains(word), "`{word}` is not in {told}");
        }
    }
    let heads = heads(&heard);
    assert!(heads.len() == 1 && heads[0].contains(KEY), "{heads:?}");
    // Whoever is asked sees what it does, and that it leaves in clear text.
    let asked = entries.iter().find(|entry| entry["detail"]["verdict"] == "needs_approval").unwrap().to_string();
    assert!(asked.contains("closeIssue") && asked.contains("plain 127.0.0.1"), "{asked}");
}

/// Asks for what it may not, over and over and as fast as it can.
const STORM: &str = r#"
import http.client, os, ssl, urllib.parse
proxy = urllib.parse.urlparse(os.environ["HTTPS_PROXY"])
door = http.client.HTTPSConnection(proxy.hostname, proxy.port, context=ssl.create_default_context())
door.set_tunnel("api.selvedge.test", 443)
for number in range(20000):
    door.request("DELETE", "/")
    answer = door.getresponse()
    assert answer.status == 403, answer.status
    answer.read()
print("never stopped")
"#;

#[test]
fn a56_a107_a_storm_of_denied_requests_ends_its_run() {
    let scene = Scene::ready();
    let reach = format!("reach = [\"GET https://{HOST}/\"]\n");
    scene.configure("checks = [\"sh tests/run.sh\"]", &format!("{}{reach}", agent("caller", "draft")));
    scene.commit("storm.py", STORM);
    let run = call(&scene, "/usr/bin/python3 storm.py");
    assert_eq!(run["outcome"], "halted", "{run}");
    let id = text(&run, "run");
    assert!(!scene.run(&["output", id]).ok().out.contains("never stopped"));
    let show = scene.json(&["show", id]).to_string();
    assert!(show.contains("denied_too_often"), "the finding is on record");
    // A tenth as many are answered to the end.
    let some = call(&scene, "sed -i s/20000/500/ storm.py; /usr/bin/python3 storm.py");
    assert_ne!(some["outcome"], "halted", "{some}");
}
