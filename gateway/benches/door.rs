//! What the door adds to a request on a connection that is kept: TLS on both sides, one answer from the keeper. Beside the same
//! server reached directly, and through two proxies of other people that do the same work, in the same run, taking turns.
//!
//! The others are optional: `SELVEDGE_MITMDUMP` and `SELVEDGE_PEER` name their programs (docs/benchmarks.md).
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

mod peers;
#[path = "../tests/door/upstream.rs"]
mod upstream;
#[path = "../tests/door/world.rs"]
mod world;

use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use peers::Peer;
use selvedge_gateway::{Door, RunAs};
use upstream::{PublicAuthority, Upstream};
use world::{DOOR_PROGRAM, HOST, TlsClient, World, connect, exchange, hello, open_tls, tunnel};

const WARM_UP: usize = 300;
const LIVES: usize = 20;
const ROUNDS: usize = 3_000;

/// How often each way is loaded, each time for this long; the middle one is told.
const TURNS: usize = 3;
const TURN: Duration = Duration::from_secs(1);

/// How many connections ask at once.
const CONNECTIONS: [usize; 2] = [1, 16];

fn main() {
    conditions("before");
    measure_life();
    measure_requests();
    conditions("after");
}

/// What else the machine did.
fn conditions(when: &str) {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    let processors = std::thread::available_parallelism().unwrap();
    println!("{when}: load {}, {processors} processors", load.split(' ').take(3).collect::<Vec<_>>().join(" "));
}

/// How long a door takes to get ready and to go, and what it weighs.
fn measure_life() {
    let public = PublicAuthority::make();
    let upstream = Upstream::clear();
    let told = hello(&public, [&upstream; 3]);
    let mut lives: Vec<(Duration, Duration, u64)> = (0..LIVES)
        .map(|_| {
            let start = Instant::now();
            let (door, _) = Door::start(Path::new(DOOR_PROGRAM), RunAs::Keeper, &told).unwrap();
            let ready = start.elapsed();
            let resident = resident_kib(door.process_id());
            let start = Instant::now();
            door.close();
            (ready, start.elapsed(), resident)
        })
        .collect();
    lives.sort_unstable();
    let (ready, closed, resident) = lives[lives.len() / 2];
    println!("door, p50 of {LIVES}: ready after {:.1} ms", micros(ready) / 1e3);
    println!("closed after {:.1} ms, {resident} KiB resident", micros(closed) / 1e3);
}

/// A way to the server.
struct Way {
    name: String,
    open: Box<dyn Fn() -> TlsClient + Sync>,
    host: String,
    /// The process in between, if there is one.
    process: Option<u32>,
}

fn measure_requests() {
    let world = World::start();
    let (mitmproxy, hudsucker) = (Peer::mitmproxy(&world), Peer::hudsucker(&world));
    let peers: Vec<&Peer> = [&mitmproxy, &hudsucker].into_iter().flatten().collect();
    let ways = ways(&world, &peers);
    latencies(&ways);
    for connections in CONNECTIONS {
        throughputs(&ways, connections);
    }
    for way in &ways {
        if let Some(process) = way.process {
            println!("{:<14} {} KiB resident after all of it", way.name, resident_kib(process));
        }
    }
}

fn ways<'w>(world: &'w World, peers: &[&'w Peer]) -> Vec<Way> {
    let (upstream, proxy) = (world.tls.address, world.proxy);
    let (public, run) = (world.public_pem.clone(), world.ready.ca_pem.clone());
    let direct = Way {
        name: "direct".to_owned(),
        open: Box::new(move || open_tls(connect(upstream), HOST, &public, &[])),
        host: HOST.to_owned(),
        process: None,
    };
    let door = Way {
        name: "our door".to_owned(),
        open: Box::new(move || tunnel(proxy, &format!("{HOST}:443"), HOST, &run)),
        host: HOST.to_owned(),
        process: Some(world.door.process_id()),
    };
    let others = peers.iter().map(|peer| {
        let (address, ca_pem, target) = (peer.address, peer.ca_pem.clone(), format!("localhost:{}", upstream.port()));
        let host = target.clone();
        Way {
            name: peer.name.to_owned(),
            open: Box::new(move || tunnel(address, &target, "localhost", &ca_pem)),
            host,
            process: Some(peer.process_id()),
        }
    });
    [direct, door].into_iter().chain(others).collect()
}

/// One request after another on one connection, a turn for each way, so that whatever else the machine does meets all of them.
fn latencies(ways: &[Way]) {
    let mut streams: Vec<TlsClient> = ways.iter().map(|way| (way.open)()).collect();
    let mut times = vec![Vec::new(); ways.len()];
    for round in 0..WARM_UP + ROUNDS {
        for (index, way) in ways.iter().enumerate() {
            let time = time(&mut streams[index], &way.host);
            if round >= WARM_UP {
                times[index].push(time);
            }
        }
    }
    println!("GET on a kept connection, TLS, 5 bytes, {ROUNDS} rounds: p50, p99 and p50 added, in microseconds");
    let direct = micros(percentile(&times[0], 50));
    for (way, times) in ways.iter().zip(&times) {
        let (p50, p99) = (micros(percentile(times, 50)), micros(percentile(times, 99)));
        println!("{:<14} {p50:>8.1} {p99:>8.1} {:>8.1}", way.name, p50 - direct);
    }
}

/// As many as there can be, by so many clients at once.
fn throughputs(ways: &[Way], connections: usize) {
    let mut rates = vec![Vec::new(); ways.len()];
    for _ in 0..TURNS {
        for (way, rates) in ways.iter().zip(&mut rates) {
            rates.push(rate(way, connections));
        }
    }
    println!("requests per second, {connections} connections: the middle of {TURNS} turns, and the others");
    for (way, rates) in ways.iter().zip(&mut rates) {
        rates.sort_unstable();
        println!("{:<14} {:>8}   {rates:?}", way.name, rates[rates.len() / 2]);
    }
}

fn rate(way: &Way, connections: usize) -> u128 {
    let streams: Vec<TlsClient> = (0..connections).map(|_| (way.open)()).collect();
    let ended = AtomicBool::new(false);
    let start = Instant::now();
    let asked: u128 = std::thread::scope(|threads| {
        let ask = |mut stream: TlsClient| {
            let mut asked = 0;
            while !ended.load(Ordering::Relaxed) {
                time(&mut stream, &way.host);
                asked += 1;
            }
            asked
        };
        let clients: Vec<_> = streams.into_iter().map(|stream| threads.spawn(move || ask(stream))).collect();
        std::thread::sleep(TURN);
        ended.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    asked * 1000 / start.elapsed().as_millis()
}

fn time(stream: &mut (impl Read + Write), host: &str) -> Duration {
    let start = Instant::now();
    let answer = exchange(stream, &format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    let time = start.elapsed();
    assert!(answer.ends_with("hello"), "{answer}");
    time
}

fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() * percent / 100).copied().unwrap_or_default()
}

fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    resident.trim().trim_end_matches(" kB").parse().unwrap()
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
