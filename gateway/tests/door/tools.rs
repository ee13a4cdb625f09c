//! The tool door while people are waited for: one message of a client keeps no other from its server.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use selvedge_domain::{Digest, Endpoint, HostPattern, ServerName, ToolName};
use selvedge_gateway::tools::wanted::{ServerAsk, ServerWay, TakenOn, ToolHost, ToolServer};
use selvedge_gateway::{Ask, Done, Door, Given, Judge, ListenerKind, Refused, RunAs, Verdict, Wanted};
use serde_json::{Value, json};

use crate::upstream::{PublicAuthority, Upstream};
use crate::world::{DOOR_PROGRAM, connect, hello, wait_for};

/// How often the keeper is asked about what waits before nobody is waited for any more.
const LOOKS: usize = 40;

/// Has people asked about the list, who answer once a tool was called.
#[derive(Default)]
struct AsksAboutTheList {
    looks: AtomicUsize,
    called: AtomicUsize,
}

impl Judge for AsksAboutTheList {
    fn ask(&self, _: &Ask) -> Verdict {
        Verdict::Allow
    }

    fn done(&self, _: Done) {}

    fn refused(&self, _: Refused) {}

    fn identity(&self, wanted: Wanted) -> Given {
        match wanted {
            Wanted::Server(ServerAsk { tool: None, .. }) => Given::Held,
            Wanted::Server(_) => {
                self.called.fetch_add(1, Ordering::SeqCst);
                Given::Allowed
            }
            Wanted::Held { .. } => {
                let looks = self.looks.fetch_add(1, Ordering::SeqCst);
                if self.called.load(Ordering::SeqCst) > 0 {
                    return Given::Allowed;
                }
                match looks < LOOKS {
                    true => Given::Held,
                    false => Given::Denied { code: "not_permitted".to_owned(), next_step: "nobody came".to_owned() },
                }
            }
            Wanted::Shown { .. } => Given::Shown { tools: Vec::new() },
            _ => Given::Allowed,
        }
    }
}

/// Says one thing to the factory's own server, on a connection of its own.
fn say(at: SocketAddr, method: &str, params: &Value) -> String {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
    let mut client = connect(at);
    write!(
        client,
        "POST http://tools.selvedge.internal/factory HTTP/1.1\r\nHost: tools.selvedge.internal\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_list_that_waits_for_people_keeps_no_call_from_its_server_c8() {
    let unused = Upstream::clear();
    let mut hello = hello(&PublicAuthority::make(), [&unused, &unused, &unused]);
    let taken = TakenOn { described: Digest::of_parts([]), command: None, paths: Vec::new(), addresses: Vec::new() };
    hello.tools = Some(ToolHost {
        endpoint: Endpoint { host: HostPattern::parse("tools.selvedge.internal").unwrap(), port: 80 },
        servers: vec![ToolServer {
            name: ServerName::parse("factory").unwrap(),
            way: ServerWay::Factory,
            tools: [(ToolName::parse("report").unwrap(), taken)].into(),
            patience: Duration::from_secs(60),
        }],
    });
    let (door, _) = Door::start(Path::new(DOOR_PROGRAM), RunAs::Keeper, &hello).unwrap();
    let (door, judge) = (Arc::new(door), Arc::new(AsksAboutTheList::default()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    door.attach(&[(ListenerKind::Proxy, listener.as_fd())]).unwrap();
    {
        let (door, judge) = (Arc::clone(&door), Arc::clone(&judge));
        std::thread::spawn(move || door.serve(&*judge));
    }
    let at = listener.local_addr().unwrap();
    let listing = std::thread::spawn(move || say(at, "tools/list", &json!({})));
    wait_for("the list to wait", || (judge.looks.load(Ordering::SeqCst) > 0).then_some(()));
    let called = say(at, "tools/call", &json!({ "name": "report", "arguments": { "text": "Done." } }));
    assert!(called.contains("tool_changed"), "it came to the server: {called}");
    let listed = listing.join().unwrap();
    assert!(listed.contains("\"tools\":[]"), "and the list goes on once somebody answered: {listed}");
    door.close();
}
