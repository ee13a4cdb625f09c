//! What a run may send to a host ends somewhere, however it is sent: in one body or in many, in heads, in chunks, at once, on whichever
//! way in; and without an end all of it leaves.

use std::io::Write as _;
use std::time::Duration;

use selvedge_domain::{CredentialName, Endpoint, HostPattern, Method, Reach};
use selvedge_gateway::{FieldName, Loan, Placeholder, Scheme, SecretText};

use crate::ways::{WAYS, Way};
use crate::world::{HOST, World, connect, exchange};

/// What the run may send here.
const BUDGET: u64 = 20_000;
/// One piece of a file that is to get out.
const PIECE: usize = 3_000;

fn upload(world: &World, way: Way, body: &str) -> String {
    let fields = format!("Content-Length: {}\r\n", body.len());
    way.ask_with(world, "POST", "/upload", &fields, body)
}

/// Everything that arrived, and what the keeper was told had left.
fn arrived(world: &World) -> (u64, u64) {
    let heads = world.upstream_heads().iter().map(String::len).sum::<usize>();
    let bodies = [world.tls.bodies(), world.clear.bodies()].concat().iter().map(Vec::len).sum::<usize>();
    let told = world.keeper.done.lock().unwrap().iter().map(|done| done.request_bytes).sum();
    (u64::try_from(heads + bodies).unwrap(), told)
}

fn is_spent(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 403") && answer.contains("\"code\":\"send_budget_spent\"")
}

#[test]
fn a20_a_file_sent_in_pieces_by_every_way_in_stops_at_the_budget() {
    let world = World::sending_at_most(BUDGET, Vec::new());
    let piece = "x".repeat(PIECE);
    let answers: Vec<String> = (0..16).map(|turn| upload(&world, WAYS[turn % WAYS.len()], &piece)).collect();
    let passed = answers.iter().take_while(|answer| answer.starts_with("HTTP/1.1 200")).count();
    assert!((4..7).contains(&passed), "{answers:?}");
    assert!(answers.iter().skip(passed).all(|answer| is_spent(answer)), "{answers:?}");
    world.wait_for_done(16);
    let (came, told) = arrived(&world);
    assert!(came <= BUDGET && told == came, "{came} arrived and {told} were told");
    assert_eq!(world.wait_for_refused("send_budget_spent").detail, HOST);
    // What is left is still there for less, and another host has its own.
    for way in WAYS {
        assert!(way.ask(&world, "GET", "/crates/a", "").starts_with("HTTP/1.1 200"), "{way:?}");
    }
}

#[test]
fn a20_without_an_end_the_whole_file_leaves() {
    let world = World::start();
    let piece = "x".repeat(PIECE);
    for turn in 0..16 {
        assert!(upload(&world, WAYS[turn % WAYS.len()], &piece).starts_with("HTTP/1.1 200"));
    }
    assert!(arrived(&world).0 > 2 * BUDGET);
}

#[test]
fn a20_many_small_requests_spend_it_with_their_heads() {
    let world = World::sending_at_most(BUDGET, Vec::new());
    let mut stream = world.tunnel(&format!("{HOST}:443"), HOST);
    let request = format!("GET /crates/a?{} HTTP/1.1\r\nHost: {HOST}\r\n\r\n", "x".repeat(1000));
    let passed = (0..40).take_while(|_| exchange(&mut stream, &request).starts_with("HTTP/1.1 200")).count();
    assert!((10..20).contains(&passed), "{passed}");
    let (came, told) = arrived(&world);
    assert!(came <= BUDGET && told <= BUDGET, "{came} arrived and {told} were told");
    // The connection is whole: nothing was left unread on it.
    assert!(is_spent(&exchange(&mut stream, &request)));
}

#[test]
fn a20_a_body_in_chunks_is_cut_before_it_is_too_much() {
    let chunk = format!("{PIECE:x}\r\n{}\r\n", "x".repeat(PIECE));
    let fields = "Transfer-Encoding: chunked\r\n";
    for way in WAYS {
        let world = World::sending_at_most(BUDGET, Vec::new());
        let fits = way.ask_with(&world, "POST", "/upload", fields, &format!("{chunk}{chunk}0\r\n\r\n"));
        assert!(fits.starts_with("HTTP/1.1 200"), "{way:?} {fits}");
        let cut = way.ask_with(&world, "POST", "/upload", fields, &format!("{}0\r\n\r\n", chunk.repeat(16)));
        assert!(is_spent(&cut), "{way:?} {cut}");
        let told: u64 = world.wait_for_done(2).iter().map(|done| done.request_bytes).sum();
        assert!(told <= BUDGET, "{way:?} {told}");
        assert_eq!([world.tls.bodies(), world.clear.bodies()].concat().len(), 1, "{way:?}: it is no whole body");
    }
}

#[test]
fn a20_nothing_of_an_announced_body_leaves_when_it_does_not_fit() {
    let world = World::sending_at_most(BUDGET, Vec::new());
    let mut stream = world.tunnel(&format!("{HOST}:443"), HOST);
    let announced = format!("POST /upload HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n", 2 * BUDGET);
    assert!(is_spent(&exchange(&mut stream, &format!("{announced}Expect: 100-continue\r\n\r\n"))));
    assert!(world.upstream_heads().is_empty());
    assert_eq!(world.wait_for_done(1)[0].request_bytes, 0);
}

#[test]
fn a20_uploads_at_once_do_not_overspend() {
    let world = World::sending_at_most(BUDGET, Vec::new());
    let piece = "x".repeat(PIECE);
    let passed: usize = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..16)
            .map(|turn| {
                let (world, piece) = (&world, &piece);
                scope.spawn(move || upload(world, WAYS[turn % WAYS.len()], piece).starts_with("HTTP/1.1 200"))
            })
            .collect();
        senders.into_iter().map(|sender| usize::from(sender.join().unwrap())).sum()
    });
    assert!((4..7).contains(&passed), "{passed}");
    world.wait_for_done(16);
    let (came, told) = arrived(&world);
    assert!(came <= BUDGET && told == came, "{came} arrived and {told} were told");
}

fn lent(way: selvedge_gateway::Way, secret: &str) -> Loan {
    let endpoint = Endpoint { host: HostPattern::parse(HOST).unwrap(), port: 443 };
    Loan {
        credential: CredentialName::parse("key").unwrap(),
        uses: vec![Reach { endpoint, methods: [Method::Post].into(), path_prefix: "/upload".to_owned() }],
        way,
        placeholder: Placeholder::of_bits(0x5e1f),
        secret: Some((SecretText::parse(secret.as_bytes()).unwrap(), Duration::from_secs(600))),
    }
}

#[test]
fn a20_a_request_with_a_credential_spends_it_as_well() {
    let field = selvedge_gateway::Way::Field(FieldName::parse("authorization").unwrap(), Scheme::Bearer);
    let world = World::sending_at_most(BUDGET, vec![lent(field, "s3cr3t-value-of-the-operator")]);
    let piece = "x".repeat(PIECE);
    let answers: Vec<String> = (0..8).map(|_| upload(&world, Way::Connect, &piece)).collect();
    assert!(answers[0].starts_with("HTTP/1.1 200") && is_spent(&answers[7]), "{answers:?}");
    assert!(world.tls.heads()[0].contains("s3cr3t-value-of-the-operator"));
    assert!(arrived(&world).0 <= BUDGET);
}

/// The control: past the door the server takes more than the budget in one.
#[test]
fn a20_past_the_door_nothing_counts() {
    let world = World::sending_at_most(BUDGET, Vec::new());
    let mut stream = world.tls_to_upstream(connect(world.tls.address));
    let body = "x".repeat(2 * usize::try_from(BUDGET).unwrap());
    let head = format!("POST /upload HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.flush().unwrap();
    assert!(exchange(&mut stream, &(head + &body)).starts_with("HTTP/1.1 200"));
}
