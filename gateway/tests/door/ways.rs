//! One request, four ways in, one outcome: what is answered, what the keeper was asked and told, and what left.

use std::io::{Read, Write};
use std::time::Duration;

use selvedge_domain::{CredentialName, Endpoint, HostPattern, Method, Reach};
use selvedge_gateway::{FieldName, Loan, Placeholder, Scheme, SecretText};

use crate::world::{HOST, World, connect, exchange};

const SECRET: &str = "s3cr3t-value-of-the-operator";
const STOLEN: &str = "Authorization: Bearer stolen-from-the-repository\r\n";

const WEBSOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

/// A way from a client to the door. The first two are protected, the others in clear text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Connect,
    CapturedTls,
    Absolute,
    CapturedClear,
}

pub const WAYS: [Way; 4] = [Way::Connect, Way::CapturedTls, Way::Absolute, Way::CapturedClear];

impl Way {
    pub fn is_clear(self) -> bool {
        matches!(self, Self::Absolute | Self::CapturedClear)
    }

    /// Asks for this and gives the whole answer.
    pub fn ask(self, world: &World, method: &str, path: &str, fields: &str) -> String {
        self.ask_with(world, method, path, fields, "")
    }

    /// The same, with a body.
    pub fn ask_with(self, world: &World, method: &str, path: &str, fields: &str, body: &str) -> String {
        let place = if self == Self::Absolute { format!("http://{HOST}{path}") } else { path.to_owned() };
        let request = format!("{method} {place} HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n{body}");
        let mut stream: Box<dyn Stream> = match self {
            Self::Connect => Box::new(world.tunnel(&format!("{HOST}:443"), HOST)),
            Self::CapturedTls => Box::new(world.tls_over(connect(world.captured_tls), HOST)),
            Self::Absolute => Box::new(connect(world.proxy)),
            Self::CapturedClear => Box::new(connect(world.captured_clear)),
        };
        exchange(&mut stream, &request)
    }
}

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    status: u16,
    /// The code of a refusal.
    code: Option<String>,
    /// The path the keeper was asked about, and the credential it was told would go in.
    asked: Option<(String, Option<String>)>,
    /// The line that reached the server, and the credential it carried.
    left: Option<(String, Option<String>)>,
}

fn outcome(world: &World, way: Way, (method, path, fields): (&str, &str, &str)) -> Outcome {
    world.keeper.asked.lock().unwrap().clear();
    let before = world.upstream_heads().len();
    let answer = way.ask(world, method, path, fields);
    let asked = world.keeper.asked.lock().unwrap().pop();
    // The TLS server's heads come first, so what is new is at the end of one of two lists.
    let upstream = if way.is_clear() { &world.clear } else { &world.tls };
    let heads = upstream.heads();
    assert!(world.upstream_heads().len() - before <= 1);
    let left = (world.upstream_heads().len() > before).then(|| heads.last().unwrap().clone());
    let field = |head: &str, name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    Outcome {
        status: answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0),
        code: answer.split_once("\"code\":\"").and_then(|(_, rest)| rest.split('"').next()).map(str::to_owned),
        asked: asked.map(|ask| (ask.path, ask.credential.map(|name| name.to_string()))),
        left: left.map(|head| (head.lines().next().unwrap().to_owned(), field(&head, "authorization: "))),
    }
}

fn lent() -> Loan {
    let uses = |port| Reach {
        endpoint: Endpoint { host: HostPattern::parse(HOST).unwrap(), port },
        methods: [Method::Get, Method::Post].into(),
        path_prefix: "/lent".to_owned(),
    };
    Loan {
        credential: CredentialName::parse("key").unwrap(),
        uses: vec![uses(443), uses(80)],
        way: selvedge_gateway::Way::Field(FieldName::parse("authorization").unwrap(), Scheme::Bearer),
        placeholder: Placeholder::of_bits(0x5e1f),
        secret: Some((SecretText::parse(SECRET.as_bytes()).unwrap(), Duration::from_secs(600))),
    }
}

/// What a request comes to that is allowed and carries nothing.
fn passes(method: &str, path: &str, status: u16) -> Outcome {
    let line = format!("{method} {path} HTTP/1.1");
    Outcome { status, code: None, asked: Some((path.to_owned(), None)), left: Some((line, None)) }
}

/// What one comes to that the door refuses by itself.
fn refused(code: &str) -> Outcome {
    Outcome { status: 403, code: Some(code.to_owned()), asked: None, left: None }
}

#[test]
fn a17_a20_a40_a45_a50_a57_every_request_comes_to_the_same_on_every_way_in() {
    let world = World::lending(vec![lent()]);
    let bearer = format!("Authorization: Bearer {}\r\n", Placeholder::of_bits(0x5e1f).as_str());
    let denied = Outcome { code: Some("policy_denied".to_owned()), left: None, ..passes("GET", "/denied/b", 403) };
    for (request, expected) in [
        (("GET", "/crates/a", ""), passes("GET", "/crates/a", 200)),
        (("GET", "/denied/b", ""), denied),
        (("GET", "/redirect", ""), passes("GET", "/redirect", 302)),
        (("GET", "/crates/a", STOLEN), passes("GET", "/crates/a", 200)),
        (("GET", "/crates/a", &bearer), refused("placeholder_misplaced")),
        (("GET", "/crates/a?access_token=x", ""), refused("foreign_credential")),
        (("GET", "/crates/a", "Accept: application/dns-message\r\n"), refused("dns_over_https_denied")),
        (("GET", "/crates/a", WEBSOCKET), refused("upgrade_denied")),
        (("DELETE", "/crates/a", ""), Outcome { asked: Some(("/crates/a".into(), None)), ..refused("outside_grant") }),
    ] {
        for way in WAYS {
            assert_eq!(outcome(&world, way, request), expected, "{way:?} {request:?}");
        }
    }
    // A credential goes in wherever the client's leg is protected, and nowhere else; a foreign one never stands in for it.
    let key = || Some("key".to_owned());
    for path in ["/lent/a", "/lent/redirect"] {
        let status = if path == "/lent/a" { 200 } else { 302 };
        let borrowed = Outcome {
            asked: Some((path.to_owned(), key())),
            left: Some((format!("GET {path} HTTP/1.1"), Some(format!("Bearer {SECRET}")))),
            ..passes("GET", path, status)
        };
        for way in WAYS {
            let came = outcome(&world, way, ("GET", path, &bearer));
            let expected = if way.is_clear() { &refused("clear_text_denied") } else { &borrowed };
            assert_eq!(&came, expected, "{way:?} {path}");
            assert_eq!(outcome(&world, way, ("GET", path, STOLEN)), refused("foreign_credential"), "{way:?} {path}");
        }
    }
    // Whoever looks finds what the door decided by itself; the rest was the keeper's answer.
    for code in
        ["placeholder_misplaced", "foreign_credential", "dns_over_https_denied", "upgrade_denied", "clear_text_denied"]
    {
        world.wait_for_refused(code);
    }
    world.wait_for_refused("foreign_credential_stripped");
}

/// The control: without a door in between, each of these reaches the server as it was sent.
#[test]
fn a17_a20_a40_a45_a57_without_a_door_all_of_it_reaches_the_server() {
    let world = World::start();
    for (method, path, fields) in [
        ("GET", "/denied/b", ""),
        ("GET", "/crates/a", STOLEN),
        ("GET", "/crates/a?access_token=x", ""),
        ("GET", "/crates/a", "Accept: application/dns-message\r\n"),
        ("GET", "/crates/a", WEBSOCKET),
        ("DELETE", "/crates/a", ""),
    ] {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n");
        let answer = exchange(&mut world.tls_to_upstream(connect(world.tls.address)), &request);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let head = world.tls.heads().pop().unwrap().to_ascii_lowercase();
        assert_eq!(head, request.to_ascii_lowercase(), "as it was sent");
    }
}
