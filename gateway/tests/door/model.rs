//! The model door between two steps: what the keeper set aside for a call that then does not leave.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use selvedge_domain::{CredentialName, Endpoint, HostPattern, Method, Reach};
use selvedge_gateway::danger::{Transport, Upstream as Danger};
use selvedge_gateway::model::Protocol;
use selvedge_gateway::model::hosting::Hosting;
use selvedge_gateway::model::wanted::{ModelDone, ModelHost, Rehearsal, RehearsedTurn, ToolAsk};
use selvedge_gateway::{
    Ask, Done, Door, FieldName, Given, Hello, Judge, ListenerKind, Loan, LoanChange, Placeholder, Refused, RunAs,
    Scheme, SecretText, Verdict, Wanted, Way,
};
use selvedge_scripted::{Script, Server, Turn};
use serde_json::{Value, json};

use crate::upstream::{PublicAuthority, Upstream};
use crate::world::{DOOR_PROGRAM, connect, hello, wait_for};

/// What denied calls are called.
const DENIED: &str = "selvedge_denied_0";

/// The vendor's key, lent to the door.
const KEY: &str = "sk-scripted-example";

fn credential() -> CredentialName {
    CredentialName::parse("vendor").unwrap()
}

/// Allows each call of the model, and withdraws what it would go out with before it says so.
#[derive(Default)]
struct Withdraws {
    door: OnceLock<Arc<Door>>,
    done: Mutex<Vec<ModelDone>>,
}

impl Judge for Withdraws {
    fn ask(&self, _: &Ask) -> Verdict {
        Verdict::Allow
    }

    fn done(&self, _: Done) {}

    fn refused(&self, _: Refused) {}

    fn identity(&self, wanted: Wanted) -> Given {
        match wanted {
            Wanted::Model(_) => {
                let change = LoanChange::Withdrawn { because: "it was withdrawn meanwhile".to_owned() };
                self.door.get().unwrap().change_loan(&credential(), &change).unwrap();
            }
            Wanted::ModelDone(done) => self.done.lock().unwrap().push(done),
            _ => {}
        }
        Given::Allowed
    }
}

/// What a door is told whose model is this server.
fn with_model(server: &Server, protocol: Protocol) -> Hello {
    let public = PublicAuthority::make();
    let unused = Upstream::clear();
    let endpoint = |host: &str, port| Endpoint { host: HostPattern::parse(host).unwrap(), port };
    let upstream = endpoint("models.example", 443);
    let mut hello = hello(&public, [&unused, &unused, &unused]);
    let (address, port) = (server.address().ip(), server.address().port());
    hello.dangers.push(Danger { endpoint: upstream.clone(), address, port, transport: Transport::Clear });
    hello.model = Some(ModelHost {
        endpoint: endpoint("model.selvedge.internal", 80),
        upstream,
        base_path: String::new(),
        hosting: Hosting::Vendor,
        called: [].into(),
        protocols: [protocol].into(),
        names: ["scripted-1".to_owned()].into(),
        egress: [].into(),
        tools: Vec::new(),
        denied: DENIED.to_owned(),
        patience: Duration::from_secs(60),
        rehearsal: None,
    });
    hello
}

/// Asks once, on a connection of its own.
fn ask(at: SocketAddr, path: &str, body: &Value) -> String {
    let body = body.to_string();
    let mut client = connect(at);
    write!(
        client,
        "POST http://model.selvedge.internal{path} HTTP/1.1\r\nHost: model.selvedge.internal\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn e3_a_call_whose_loan_goes_before_it_leaves_is_settled_for_nothing() {
    let server = Server::start(Script::new(KEY).turn(Turn::new().text("Done."))).unwrap();
    let mut hello = with_model(&server, Protocol::Messages);
    let upstream = hello.model.as_ref().unwrap().upstream.clone();
    hello.loans.push(Loan {
        credential: credential(),
        uses: vec![Reach { endpoint: upstream, methods: [Method::Post].into(), path_prefix: "/".to_owned() }],
        way: Way::Field(FieldName::parse("x-api-key").unwrap(), Scheme::Plain),
        placeholder: Placeholder::of_bits(0x5e1f),
        secret: Some((SecretText::parse(KEY.as_bytes()).unwrap(), hello.life)),
    });
    let (door, _) = Door::start(Path::new(DOOR_PROGRAM), RunAs::Keeper, &hello).unwrap();
    let (door, judge) = (Arc::new(door), Arc::new(Withdraws::default()));
    assert!(judge.door.set(Arc::clone(&door)).is_ok());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    door.attach(&[(ListenerKind::Proxy, listener.as_fd())]).unwrap();
    // One hears that the loan is gone while the other decides.
    for _ in 0..2 {
        let (door, judge) = (Arc::clone(&door), Arc::clone(&judge));
        std::thread::spawn(move || door.serve(&*judge));
    }
    let body = json!({ "model": "scripted-1", "max_tokens": 9, "messages": [{ "role": "user", "content": "go on" }] });
    let answer = ask(listener.local_addr().unwrap(), "/v1/messages", &body);
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("credential_not_lent"), "{answer}");
    let done = wait_for("the call to be settled", || judge.done.lock().unwrap().first().copied());
    assert!(done.is_final && done.status == 0 && done.usage.input == 0, "{done:?}");
    assert!(server.seen().is_empty(), "it did not leave");
    door.close();
}

/// Denies the call that says `no`, and keeps what it is told.
#[derive(Default)]
struct Rehearses {
    told: Mutex<Vec<&'static str>>,
}

impl Judge for Rehearses {
    fn ask(&self, _: &Ask) -> Verdict {
        Verdict::Allow
    }

    fn done(&self, _: Done) {}

    fn refused(&self, _: Refused) {}

    fn identity(&self, wanted: Wanted) -> Given {
        let (told, given) = match wanted {
            Wanted::Tool(ToolAsk { argument_bytes: 14, .. }) => {
                ("denied", Given::Denied { code: "rehearsal".to_owned(), next_step: "word7".to_owned() })
            }
            Wanted::Tool(_) => ("allowed", Given::Allowed),
            Wanted::Rehearsed => ("rehearsed", Given::Allowed),
            _ => ("", Given::Allowed),
        };
        self.told.lock().unwrap().extend([told].into_iter().filter(|told| !told.is_empty()));
        given
    }
}

#[test]
fn e5_a_door_that_rehearses_asks_nobody_and_denies_as_any_door_does() {
    let server = Server::start(Script::new("").turn(Turn::new().text("The vendor's."))).unwrap();
    let mut hello = with_model(&server, Protocol::Chat);
    let turn = |text: &str, calls: &[&str]| RehearsedTurn {
        tool: Some("bash".to_owned()),
        text: text.to_owned(),
        calls: calls.iter().map(|call| (*call).to_owned()).collect(),
    };
    hello.model.as_mut().unwrap().rehearsal = Some(Rehearsal {
        turns: vec![turn("Two.", &[r#"{"say":"no!!"}"#, r#"{"say":"yes"}"#])],
        comes_back: vec!["word7".to_owned(), "made9".to_owned()],
        ends: vec![turn("The end.", &[])],
    });
    let (door, _) = Door::start(Path::new(DOOR_PROGRAM), RunAs::Keeper, &hello).unwrap();
    let (door, judge) = (Arc::new(door), Arc::new(Rehearses::default()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    door.attach(&[(ListenerKind::Proxy, listener.as_fd())]).unwrap();
    std::thread::spawn({
        let (door, judge) = (Arc::clone(&door), Arc::clone(&judge));
        move || door.serve(&*judge)
    });
    let at = listener.local_addr().unwrap();
    let tools = json!([{ "type": "function", "function": { "name": "bash", "parameters": { "type": "object" } } }]);
    let mut messages = vec![json!({ "role": "user", "content": "go on" })];
    let asked = |messages: &[Value]| {
        let answer =
            ask(at, "/v1/chat/completions", &json!({ "model": "scripted-1", "messages": messages, "tools": tools }));
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str::<Value>(body).unwrap_or_else(|_| panic!("{answer}"))["choices"][0]["message"].clone()
    };
    let first = asked(&messages);
    let calls = first["tool_calls"].as_array().unwrap().clone();
    assert_eq!(
        (calls[0]["function"]["name"].as_str(), calls[1]["function"]["name"].as_str()),
        (Some(DENIED), Some("bash"))
    );
    assert!(!calls[0].to_string().contains("no!"), "the agent has none of it");
    messages.push(first);
    for (call, content) in calls.iter().zip(["no such tool", "made9"]) {
        messages.push(json!({ "role": "tool", "tool_call_id": call["id"], "content": content }));
    }
    assert_eq!(asked(&messages)["content"], "The end.");
    assert_eq!(*judge.told.lock().unwrap(), ["denied", "allowed", "rehearsed"]);
    assert!(server.seen().is_empty(), "nobody was asked");
    door.close();
}
