//! What the model door adds to a call of a model, beside the same scripted server asked directly, in the same run, taking turns: an answer
//! in one piece, one with a tool call that is decided, and a stream of a thousand pieces of text. Without the ledger and policy: the
//! judge answers yes at once.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "a benchmark prints what it measured and stops if it cannot; it shares a world with the tests"
)]

#[path = "../tests/door/upstream.rs"]
mod upstream;
#[path = "../tests/door/world.rs"]
mod world;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_domain::{CredentialName, Endpoint, HostPattern, Method, Reach};
use selvedge_gateway::danger::{Transport, Upstream as Danger};
use selvedge_gateway::model::Protocol;
use selvedge_gateway::model::hosting::Hosting;
use selvedge_gateway::model::wanted::{ModelHost, Tool};
use selvedge_gateway::{
    Ask, Done, Door, FieldName, Given, Judge, ListenerKind, Loan, Placeholder, Refused, RunAs, Scheme, SecretText,
    Verdict, Wanted, Way,
};
use selvedge_scripted::{Script, Server, Turn};
use serde_json::json;
use upstream::{PublicAuthority, Upstream};
use world::{DOOR_PROGRAM, connect, hello};

const ROUNDS: usize = 300;
const WARM_UP: usize = 30;

/// The vendor's key, lent to the door.
const KEY: &str = "sk-scripted-example";

/// Words in the long stream, each as long as a piece of text that the scripted server sends.
const PIECES: usize = 1_000;

/// Says yes to everything.
struct Yes;

impl Judge for Yes {
    fn ask(&self, _: &Ask) -> Verdict {
        Verdict::Allow
    }

    fn done(&self, _: Done) {}

    fn refused(&self, refused: Refused) {
        println!("refused: {refused:?}");
    }

    fn identity(&self, _: Wanted) -> Given {
        Given::Allowed
    }
}

fn main() {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    println!("load {}", load.split(' ').take(3).collect::<Vec<_>>().join(" "));
    let words = |count: usize| (0..count).map(|n| format!("word {n:06} ")).collect::<String>();
    compare("in one piece", Turn::new().text("Done."), false);
    compare("in one piece, one tool call", Turn::new().call("Read", json!({ "file_path": "a" })), false);
    let empty = compare("stream, one piece of text", Turn::new().text("Done."), true);
    let long = compare("stream, a thousand pieces of text", Turn::new().text(words(PIECES)), true);
    let more = u32::try_from(long.events - empty.events).unwrap();
    let each = |run: &Measured, at: usize| run.medians[at].as_secs_f64() * 1e6;
    let added = (each(&long, 1) - each(&long, 0)) - (each(&empty, 1) - each(&empty, 0));
    println!("each of {more} events more: + {:.1} µs", added / f64::from(more));
}

/// Median times of the two ways, directly and through the door, and how many events an answer has.
struct Measured {
    medians: [Duration; 2],
    events: usize,
}

fn compare(what: &str, turn: Turn, streams: bool) -> Measured {
    let server = Server::start(Script::new(KEY).turn(turn)).unwrap();
    let (_door, listener) = open(server.address());
    let body = json!({
        "model": "scripted-1", "max_tokens": 1000, "stream": streams,
        "tools": [{ "name": "Read", "input_schema": { "type": "object" } }],
        "messages": [{ "role": "user", "content": "go on" }],
    })
    .to_string();
    let mut times = [Vec::new(), Vec::new()];
    let mut events = 0;
    for round in 0..WARM_UP + ROUNDS {
        for (at, (address, target)) in
            [(server.address(), ""), (listener, "http://model.selvedge.internal")].into_iter().enumerate()
        {
            let start = Instant::now();
            let answer = ask(address, target, &body);
            let took = start.elapsed();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            events = answer.matches("event: ").count();
            if round >= WARM_UP {
                times[at].push(took);
            }
        }
    }
    for times in &mut times {
        times.sort_unstable();
    }
    let medians = [times[0][ROUNDS / 2], times[1][ROUNDS / 2]];
    let [direct, door] = medians.map(|median| median.as_secs_f64() * 1e6);
    println!(
        "{what}: directly {direct:.0} µs, through the door {door:.0} µs, + {:.0} µs, {:.2} times",
        door - direct,
        door / direct
    );
    Measured { medians, events }
}

/// A door whose model is at this address, reached in clear text as an operator may say under `danger`.
fn open(at: SocketAddr) -> (Arc<Door>, SocketAddr) {
    let public = PublicAuthority::make();
    let unused = Upstream::clear();
    let endpoint = |host: &str, port| Endpoint { host: HostPattern::parse(host).unwrap(), port };
    let upstream = endpoint("models.example", 443);
    let mut hello = hello(&public, [&unused, &unused, &unused]);
    hello.dangers.push(Danger {
        endpoint: upstream.clone(),
        address: at.ip(),
        port: at.port(),
        transport: Transport::Clear,
    });
    hello.life = Duration::from_secs(3600);
    hello.loans.push(Loan {
        credential: CredentialName::parse("vendor").unwrap(),
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
        protocols: [Protocol::parse("anthropic-messages").unwrap()].into(),
        names: ["scripted-1".to_owned()].into(),
        egress: [].into(),
        tools: vec![Tool { name: "Read".to_owned(), kind: "read".to_owned(), ..Tool::default() }],
        denied: "selvedge_denied_0".to_owned(),
        patience: Duration::from_secs(60),
        rehearsal: None,
    });
    let (door, _) = Door::start(Path::new(DOOR_PROGRAM), RunAs::Keeper, &hello).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    door.attach(&[(ListenerKind::Proxy, listener.as_fd())]).unwrap();
    let door = Arc::new(door);
    let serving = Arc::clone(&door);
    std::thread::spawn(move || serving.serve(&Yes));
    (door, address)
}

/// One call on a connection of its own, read to its end.
fn ask(address: SocketAddr, target: &str, body: &str) -> String {
    let mut stream = connect(address);
    let head = format!(
        "POST {target}/v1/messages HTTP/1.1\r\nHost: model.selvedge.internal\r\nconnection: close\r\ncontent-type: application/json\r\nanthropic-version: 2023-06-01\r\nx-api-key: {KEY}"
    );
    write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
