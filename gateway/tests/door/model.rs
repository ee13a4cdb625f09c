//! The model door between two steps: what the keeper set aside for a call that then does not leave.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use selvedge_domain::{CredentialName, Endpoint, HostPattern, Method, Reach};
use selvedge_gateway::danger::{Transport, Upstream as Danger};
use selvedge_gateway::model::Protocol;
use selvedge_gateway::model::hosting::Hosting;
use selvedge_gateway::model::wanted::{ModelDone, ModelHost};
use selvedge_gateway::{
    Ask, Done, Door, FieldName, Given, Judge, ListenerKind, Loan, LoanChange, Placeholder, Refused, RunAs, Scheme,
    SecretText, Verdict, Wanted, Way,
};
use selvedge_scripted::{Script, Server, Turn};
use serde_json::json;

use crate::upstream::{PublicAuthority, Upstream};
use crate::world::{DOOR_PROGRAM, connect, hello, wait_for};

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

#[test]
fn e3_a_call_whose_loan_goes_before_it_leaves_is_settled_for_nothing() {
    let server = Server::start(Script::new(KEY).turn(Turn::new().text("Done."))).unwrap();
    let public = PublicAuthority::make();
    let unused = Upstream::clear();
    let endpoint = |host: &str, port| Endpoint { host: HostPattern::parse(host).unwrap(), port };
    let upstream = endpoint("models.example", 443);
    let mut hello = hello(&public, [&unused, &unused, &unused]);
    let (address, port) = (server.address().ip(), server.address().port());
    hello.dangers.push(Danger { endpoint: upstream.clone(), address, port, transport: Transport::Clear });
    hello.loans.push(Loan {
        credential: credential(),
        uses: vec![Reach { endpoint: upstream.clone(), methods: [Method::Post].into(), path_prefix: "/".to_owned() }],
        way: Way::Field(FieldName::parse("x-api-key").unwrap(), Scheme::Plain),
        placeholder: Placeholder::of_bits(0x5e1f),
        secret: Some((SecretText::parse(KEY.as_bytes()).unwrap(), hello.life)),
    });
    hello.model = Some(ModelHost {
        endpoint: endpoint("model.selvedge.internal", 80),
        upstream,
        base_path: String::new(),
        hosting: Hosting::Vendor,
        called: [].into(),
        protocols: [Protocol::Messages].into(),
        names: ["scripted-1".to_owned()].into(),
        egress: [].into(),
        tools: Vec::new(),
        denied: "selvedge_denied_0".to_owned(),
        patience: Duration::from_secs(60),
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
    let body = body.to_string();
    let mut client = connect(listener.local_addr().unwrap());
    write!(
        client,
        "POST http://model.selvedge.internal/v1/messages HTTP/1.1\r\nHost: model.selvedge.internal\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("credential_not_lent"), "{answer}");
    let done = wait_for("the call to be settled", || judge.done.lock().unwrap().first().copied());
    assert!(done.is_final && done.status == 0 && done.usage.input == 0, "{done:?}");
    assert!(server.seen().is_empty(), "it did not leave");
    door.close();
}
