//! What the door adds to a request on a connection that is kept: TLS on both sides, one answer from the keeper. Compared
//! with the same server reached directly, in the same run.
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

use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use selvedge_gateway::{Door, RunAs};
use upstream::{PublicAuthority, Upstream};
use world::{DOOR_PROGRAM, HOST, World, connect, exchange, hello};

const WARM_UP: usize = 500;
const LIVES: usize = 20;
const ROUNDS: usize = 10_000;

fn main() {
    measure_life();
    measure_requests();
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
            let status = std::fs::read_to_string(format!("/proc/{}/status", door.process_id())).unwrap();
            let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
            let resident = resident.trim().trim_end_matches(" kB").parse().unwrap();
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

fn measure_requests() {
    let world = World::start();
    let mut direct = world.tls_to_upstream(connect(world.tls.address));
    let mut through = world.tunnel("registry.example:443", HOST);
    // Alternating, so that whatever else the machine does meets both.
    let (mut direct_times, mut through_times) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + ROUNDS {
        let (direct_time, through_time) = (time(&mut direct), time(&mut through));
        if round >= WARM_UP {
            direct_times.push(direct_time);
            through_times.push(through_time);
        }
    }
    let [direct, through] = [direct_times, through_times].map(|times| [percentile(&times, 50), percentile(&times, 99)]);
    println!("GET on a kept connection, TLS, 5 bytes, {ROUNDS} rounds: p50 and p99 in microseconds");
    println!("direct         {:>7.1} {:>7.1}", micros(direct[0]), micros(direct[1]));
    println!("through door   {:>7.1} {:>7.1}", micros(through[0]), micros(through[1]));
    println!("added          {:>7.1}", micros(through[0]) - micros(direct[0]));
}

fn time(stream: &mut (impl Read + Write)) -> Duration {
    let start = Instant::now();
    let answer = exchange(stream, &format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    let time = start.elapsed();
    assert!(answer.ends_with("hello"), "{answer}");
    time
}

fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() * percent / 100).copied().unwrap_or_default()
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
