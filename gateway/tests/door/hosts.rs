//! Models that somebody else than their vendor runs, through the real door: the agent speaks its protocol, the host is asked as it wants to
//! be, and what it answers is judged, metered and told as the vendor's own is. The hosts are stand-ins; not run against the real services.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use selvedge_domain::{CredentialName, Endpoint, HostPattern, Method, Reach};
use selvedge_gateway::danger::{Transport, Upstream as Danger};
use selvedge_gateway::model::Protocol;
use selvedge_gateway::model::hosting::Hosting;
use selvedge_gateway::model::wanted::{ModelDone, ModelHost};
use selvedge_gateway::{
    Ask, Done, Door, FieldName, Given, Judge, ListenerKind, Loan, Placeholder, Refused, RunAs, Scheme, SecretText,
    SignedFor, Verdict, Wanted, Way,
};
use selvedge_scripted::{Fault, Script, Server, Times, Turn, Usage};
use serde_json::{Value, json};

use crate::upstream::{PublicAuthority, Upstream};
use crate::world::{DOOR_PROGRAM, connect, hello, wait_for};

const KEY: &str = "sk-scripted-example";

/// The keys of a session at AWS.
const SESSION: &str = "ASIAEXAMPLEOFADOOR01:s3cr3t/of+the/session/0000001:t0ken/of+the/session==";

const LOCATION: &str = "/v1/projects/p/locations/eu";

/// Allows every call of the model, and every tool but `Bash`.
#[derive(Default)]
struct Keeper {
    done: Mutex<Vec<ModelDone>>,
    refused: Mutex<Vec<String>>,
}

impl Judge for Keeper {
    fn ask(&self, _: &Ask) -> Verdict {
        Verdict::Allow
    }

    fn done(&self, _: Done) {}

    fn refused(&self, refused: Refused) {
        self.refused.lock().unwrap().push(format!("{refused:?}"));
    }

    fn identity(&self, wanted: Wanted) -> Given {
        match wanted {
            Wanted::Tool(ask) if ask.tool == "Bash" => {
                Given::Denied { code: "not_permitted".to_owned(), next_step: "write the file instead".to_owned() }
            }
            Wanted::ModelDone(done) => {
                self.done.lock().unwrap().push(done);
                Given::Allowed
            }
            _ => Given::Allowed,
        }
    }
}

/// A door before a host.
struct World {
    door: Arc<Door>,
    keeper: Arc<Keeper>,
    at: SocketAddr,
}

/// A host as the operator has configured it.
struct Host {
    hosting: Hosting,
    base_path: &'static str,
    there: &'static str,
    protocol: Protocol,
    way: Way,
    key: &'static str,
}

fn field(name: &str, scheme: Scheme) -> Way {
    Way::Field(FieldName::parse(name).unwrap(), scheme)
}

fn bedrock() -> Host {
    Host {
        hosting: Hosting::Bedrock,
        base_path: "",
        there: "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
        protocol: Protocol::Messages,
        way: Way::Signature(SignedFor::parse("bedrock", "eu-central-1").unwrap()),
        key: SESSION,
    }
}

fn vertex() -> Host {
    Host {
        hosting: Hosting::Vertex,
        base_path: LOCATION,
        there: "claude-sonnet-4-5@20250929",
        protocol: Protocol::Messages,
        way: field("authorization", Scheme::Bearer),
        key: KEY,
    }
}

fn vertex_gemini() -> Host {
    Host { protocol: Protocol::Gemini, there: "gemini-3-pro", ..vertex() }
}

fn azure() -> Host {
    Host {
        hosting: Hosting::parse("azure", Some("2024-10-21")).unwrap(),
        base_path: "/openai",
        there: "mine",
        protocol: Protocol::Chat,
        way: field("api-key", Scheme::Plain),
        key: KEY,
    }
}

impl World {
    fn of(host: &Host, server: &Server) -> Self {
        let public = PublicAuthority::make();
        let unused = Upstream::clear();
        let endpoint = |host: &str, port| Endpoint { host: HostPattern::parse(host).unwrap(), port };
        let upstream = endpoint("models.example", 443);
        let mut hello = hello(&public, [&unused, &unused, &unused]);
        let (address, port) = (server.address().ip(), server.address().port());
        hello.dangers.push(Danger { endpoint: upstream.clone(), address, port, transport: Transport::Clear });
        let path_prefix = format!("{}{}", host.base_path, host.hosting.beneath());
        hello.loans.push(Loan {
            credential: CredentialName::parse("vendor").unwrap(),
            uses: vec![Reach { endpoint: upstream.clone(), methods: [Method::Post].into(), path_prefix }],
            way: host.way.clone(),
            placeholder: Placeholder::of_bits(0x5e1f),
            secret: Some((SecretText::parse(host.key.as_bytes()).unwrap(), hello.life)),
        });
        hello.model = Some(ModelHost {
            endpoint: endpoint("model.selvedge.internal", 80),
            upstream,
            base_path: host.base_path.to_owned(),
            hosting: host.hosting.clone(),
            called: BTreeMap::from([("scripted-1".to_owned(), host.there.to_owned())]),
            protocols: [host.protocol].into(),
            names: ["scripted-1".to_owned()].into(),
            egress: [].into(),
            tools: Vec::new(),
            denied: "selvedge_denied_0".to_owned(),
            patience: Duration::from_secs(60),
            rehearsal: None,
        });
        let (door, _) = Door::start(Path::new(DOOR_PROGRAM), RunAs::Keeper, &hello).unwrap();
        let (door, keeper) = (Arc::new(door), Arc::new(Keeper::default()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        door.attach(&[(ListenerKind::Proxy, listener.as_fd())]).unwrap();
        let serving = (Arc::clone(&door), Arc::clone(&keeper));
        std::thread::spawn(move || serving.0.serve(&*serving.1));
        Self { door, keeper, at: listener.local_addr().unwrap() }
    }

    /// What an agent sends, and all that it is answered.
    fn ask(&self, path: &str, body: &Value) -> String {
        let body = body.to_string();
        let mut client = connect(self.at);
        write!(
            client,
            "POST http://model.selvedge.internal{path} HTTP/1.1\r\nHost: model.selvedge.internal\r\nconnection: close\r\n\
             content-type: application/json\r\naccept: application/json\r\nanthropic-version: 2023-06-01\r\n\
             anthropic-beta: claude-code-20250219,effort-2025-11-24\r\nx-api-key: somebody-elses-key-0000\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }

    fn done(&self) -> ModelDone {
        wait_for("the call to be settled", || self.keeper.done.lock().unwrap().last().copied())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.door.close();
    }
}

/// What the protocol's agents send: where to, and what.
fn request(protocol: Protocol, streams: bool) -> (&'static str, Value) {
    let names = ["Read", "Bash"];
    let each = |tool: &dyn Fn(&str) -> Value| names.iter().map(|name| tool(name)).collect::<Vec<_>>();
    let schema = json!({ "type": "object", "properties": {} });
    let prompt = json!([{ "role": "user", "content": "go on" }]);
    match protocol {
        Protocol::Messages => (
            "/v1/messages?beta=true",
            json!({
                "model": "scripted-1", "max_tokens": 99, "stream": streams, "messages": prompt,
                "tools": each(&|name| json!({ "name": name, "input_schema": schema })),
            }),
        ),
        Protocol::Gemini => (
            match streams {
                true => "/v1beta/models/scripted-1:streamGenerateContent?alt=sse",
                false => "/v1beta/models/scripted-1:generateContent",
            },
            json!({
                "contents": [{ "role": "user", "parts": [{ "text": "go on" }] }],
                "tools": [{ "functionDeclarations": each(&|name| json!({ "name": name, "parameters": schema })) }],
            }),
        ),
        Protocol::Chat | Protocol::Responses => (
            "/v1/chat/completions",
            json!({
                "model": "scripted-1", "stream": streams, "messages": prompt,
                "tools": each(&|name| json!({ "type": "function", "function": { "name": name, "parameters": schema } })),
            }),
        ),
    }
}

fn turn() -> Turn {
    Turn::new()
        .text("Two things, said in more than one piece.")
        .call("Read", json!({ "file_path": "src/greeting" }))
        .call("Bash", json!({ "command": "cat /etc/shadow" }))
        .costs(Usage { input: 2_000, cached: 300, output: 100, ..Usage::default() })
}

fn server(host: &Host, turn: Turn) -> Server {
    Server::start(Script::new(host.key).turn(turn)).unwrap()
}

#[test]
fn e3_a57_a_host_is_asked_in_its_form_and_its_answer_is_judged_and_metered_in_the_agent_s() {
    for (host, paths) in [
        (
            bedrock(),
            [
                "/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke".to_owned(),
                "/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke-with-response-stream".to_owned(),
            ],
        ),
        (
            vertex(),
            ["rawPredict", "streamRawPredict"]
                .map(|how| format!("{LOCATION}/publishers/anthropic/models/claude-sonnet-4-5@20250929:{how}")),
        ),
        (
            vertex_gemini(),
            ["generateContent", "streamGenerateContent"]
                .map(|how| format!("{LOCATION}/publishers/google/models/gemini-3-pro:{how}")),
        ),
        (azure(), ["", ""].map(|_| "/openai/deployments/mine/chat/completions".to_owned())),
    ] {
        let server = server(&host, turn());
        let world = World::of(&host, &server);
        for (streams, path) in [false, true].into_iter().zip(paths) {
            let (to, body) = request(host.protocol, streams);
            let answer = world.ask(to, &body);
            let seen = server.seen().last().cloned().unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer} {:?}", seen.refused);
            assert_eq!((seen.path.as_str(), seen.status, seen.model.as_str()), (path.as_str(), 200, host.there));
            assert_eq!(answer.contains("text/event-stream"), streams, "{path}: {answer}");
            assert!(answer.contains("Read") && answer.contains("selvedge_denied_0"), "{path}: {answer}");
            assert!(!answer.contains("shadow") && !answer.contains(host.key), "{path}: {answer}");
            assert!(!format!("{:?}", seen.headers).contains("somebody-elses"), "{path}: {:?}", seen.headers);
            let done = world.done();
            assert!(done.is_final && done.status == 200, "{path}: {done:?}");
            assert_eq!((done.usage.input, done.usage.cached, done.usage.output), (2_000, 300, 100), "{path}");
            world.keeper.done.lock().unwrap().clear();
        }
    }
}

#[test]
fn what_bedrock_is_told_of_versions_is_in_its_body_and_only_what_it_knows_a20() {
    let host = bedrock();
    let server = server(&host, turn());
    let world = World::of(&host, &server);
    let (to, body) = request(host.protocol, false);
    world.ask(to, &body);
    let seen = server.seen().pop().unwrap();
    assert_eq!(seen.body["anthropic_version"], "bedrock-2023-05-31");
    assert_eq!(seen.body["anthropic_beta"], json!(["effort-2025-11-24"]));
    assert!(seen.headers.iter().all(|(name, _)| !name.starts_with("anthropic")), "{:?}", seen.headers);
    let authorization = seen.headers.iter().find(|(name, _)| name == "authorization").unwrap();
    assert!(authorization.1.contains("/eu-central-1/bedrock/aws4_request, SignedHeaders="), "{authorization:?}");
    let told = wait_for("what was left out to be told", || world.keeper.refused.lock().unwrap().first().cloned());
    assert!(told.contains("anthropic-beta.claude-code-20250219"), "{told}");
    // What it cannot be asked is none of its calls.
    let counted = world.ask("/v1/messages/count_tokens", &body);
    assert!(counted.starts_with("HTTP/1.1 404") && counted.contains("no_such_call"), "{counted}");
}

#[test]
fn a_count_at_vertex_names_its_model_in_the_body() {
    let host = vertex();
    let server = server(&host, turn());
    let world = World::of(&host, &server);
    let (_, mut body) = request(host.protocol, false);
    let members = body.as_object_mut().unwrap();
    members.retain(|name, _| name != "max_tokens" && name != "stream");
    let counted = world.ask("/v1/messages/count_tokens", &body);
    assert!(counted.starts_with("HTTP/1.1 200") && counted.contains("\"input_tokens\":2300"), "{counted}");
    assert_eq!(server.seen()[0].body["model"], host.there);
}

#[test]
fn a_host_that_breaks_off_is_told_as_its_vendor_would_and_estimated() {
    for (fault, says, host) in [
        (Fault::Breaks { after_events: 4 }, "Too many tokens", bedrock()),
        (Fault::Breaks { after_events: 4 }, "Too many tokens", vertex()),
        (Fault::Cut { after_events: 4 }, "model_cut", bedrock()),
        (Fault::Garbage { after_events: 2 }, "model_garbled", bedrock()),
        (Fault::Breaks { after_events: 2 }, "Too many tokens", vertex_gemini()),
        (Fault::Breaks { after_events: 2 }, "Too many tokens", azure()),
    ] {
        let server = server(&host, turn().fails(fault, Times::Always));
        let world = World::of(&host, &server);
        let (to, body) = request(host.protocol, true);
        let answer = world.ask(to, &body);
        assert!(answer.contains(says) && answer.contains("error"), "{fault:?}: {answer}");
        assert!(!answer.contains("shadow"), "{fault:?}: {answer}");
        let done = world.done();
        // Where it sent garbage it was the door that broke off.
        let by_host = !matches!(fault, Fault::Garbage { .. });
        assert_eq!((done.is_final, done.cut_by_vendor), (false, by_host), "{fault:?}: {done:?}");
    }
}

#[test]
fn a_host_s_refusal_is_told_in_the_agent_s_protocol() {
    let wrong = "sk-scripted-of-somebody-else";
    let other = "ASIAEXAMPLEOFADOOR01:an0ther/secret/of+a/session/0001:t0ken/of+the/session==";
    for (host, key, status, pointer, kind, says) in [
        (bedrock(), other, 403, "/error/type", json!("permission_error"), "signature"),
        (vertex(), wrong, 401, "/error/type", json!("authentication_error"), "invalid authentication credentials"),
        (vertex_gemini(), wrong, 401, "/error/status", json!("UNAUTHENTICATED"), "invalid authentication credentials"),
        (azure(), wrong, 401, "/error/code", json!("401"), "Access denied"),
    ] {
        let server = Server::start(Script::new(key).turn(turn())).unwrap();
        let world = World::of(&host, &server);
        let (to, body) = request(host.protocol, false);
        let answer = world.ask(to, &body);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        let told: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(told.pointer(pointer), Some(&kind), "{told}");
        let message = told["error"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{told}");
        assert_eq!(told["type"] == "error", host.protocol == Protocol::Messages, "{told}");
        let done = world.done();
        assert_eq!((done.status, done.usage.input), (status, 0));
    }
}
