//! What the factory itself costs around an agent's work: from a request to the program's first instruction, from the
//! program's end to the proposal, and from a halt to fifty dead runs. `cargo bench -p selvedge`.
//!
//! A repository of a thousand files, its trees already written out, one `serve` that everybody is a client of. The peers
//! are a plain process, and what git alone takes to commit and push the same change.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a benchmark prints what it measured and stops if it cannot"
)]

#[path = "../tests/common/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest of it")]
mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{Scene, agent, eventually, processes_with, text};
use serde_json::Value;

const FILES: usize = 1_000;
const ROUNDS: usize = 30;
const AT_ONCE: usize = 50;
/// Runs that are asked for one after another, by how many clients at a time.
const STARTED: usize = 200;
const CLIENTS: usize = 2;

fn main() {
    if !common::is_root() {
        println!("level `full` needs root");
        return;
    }
    around_a_run();
    through_the_door();
    starts();
    halt();
}

/// A scene with a thousand files, and slots for everything at once.
fn scene() -> Scene {
    let scene = Scene::ready();
    for number in 0..FILES {
        let path = scene.repo().join(format!("src/part-{}/file-{number}", number % 20));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("file {number}\n").repeat(40)).unwrap();
    }
    scene.commit("src/last", "all of them\n");
    let door = "reach = [\"GET https://registry.example/\"]\n";
    scene.configure(
        "checks = [\"sh tests/run.sh\"]",
        &format!("{}{door}\n[factory]\nslots = {AT_ONCE}\n", agent("sleeper", "draft")),
    );
    scene
}

fn around_a_run() {
    let scene = scene();
    let _keeper = scene.serve();
    // The first run writes the base's tree out.
    scene.task("echo warm > src/warm");
    let mut rows: Vec<(&str, Vec<Duration>)> = vec![
        ("a plain process: from the request to its first instruction", Vec::new()),
        ("`selvedge run --command`: from the request to the program's first instruction", Vec::new()),
        ("git alone: add, commit and push of the same change", Vec::new()),
        ("from the program's end to the proposal, checks excluded", Vec::new()),
        ("the checks of base and change, clean rooms included", Vec::new()),
    ];
    for round in 0..ROUNDS {
        rows[0].1.push(first_instruction(Command::new("date").arg("+%s%N")));
        rows[1].1.push(first_instruction(&mut scene.command(&["run", "--command", "--wait", "--", "date", "+%s%N"])));
        rows[2].1.push(git_alone(&scene, round));
        let (around, checks) = proposal(&scene, round);
        rows[3].1.push(around);
        rows[4].1.push(checks);
    }
    println!("| what ({FILES} files, {ROUNDS} rounds) | median ms | p90 ms | max ms |\n|---|---|---|---|");
    for (what, times) in &mut rows {
        times.sort();
        let at = |share: usize| milliseconds(times[(times.len() - 1) * share / 100]);
        println!("| {what} | {:.1} | {:.1} | {:.1} |", at(50), at(90), at(100));
    }
}

/// How long it takes until a program that prints the time runs.
fn first_instruction(command: &mut Command) -> Duration {
    let asked = now();
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    printed(&output.stdout).saturating_sub(asked)
}

fn git_alone(scene: &Scene, round: usize) -> Duration {
    let target = scene.path("elsewhere.git");
    if !target.exists() {
        scene.git(&["clone", "--quiet", "--bare", ".", &target.to_string_lossy()]);
    }
    scene.git(&["checkout", "--quiet", "-B", "alone", "main"]);
    std::fs::write(scene.repo().join("src/greeting"), format!("hello {round}\n")).unwrap();
    let began = Instant::now();
    scene.git(&["add", "--all"]);
    scene.git(&["commit", "--quiet", "--message", "alone"]);
    scene.git(&["push", "--quiet", "--force", &target.to_string_lossy(), "alone"]);
    let took = began.elapsed();
    scene.git(&["checkout", "--quiet", "main"]);
    took
}

/// From the agent's last instruction to the open proposal, and how much of that the checks took.
fn proposal(scene: &Scene, round: usize) -> (Duration, Duration) {
    let run = scene.task(&format!("echo hello {round} > src/greeting; date +%s%N"));
    assert_eq!(run["outcome"], "proposed", "{run}");
    let id = text(&run, "run");
    let ended = printed(scene.run(&["output", id]).ok().out.as_bytes());
    let show = scene.json(&["show", id]);
    let entries = show["entries"].as_array().unwrap();
    let opened = entries.iter().find(|entry| entry["kind"] == "done" && entry["detail"]["verb"] == "proposal.open");
    let checks = entries.iter().filter(|entry| entry["detail"]["facts"]["purpose"] == "check").map(|decided| {
        let order = &decided["detail"]["order_digest"];
        let done = |entry: &&Value| entry["kind"] == "done" && entry["detail"]["order_digest"] == *order;
        recorded(entries.iter().find(done).unwrap()) - recorded(decided)
    });
    let checks: Duration = checks.sum();
    (recorded(opened.unwrap()).saturating_sub(ended).saturating_sub(checks), checks)
}

/// Requests on one kept connection: what each takes directly, and what it takes through the door, where every one of them is
/// decided by policy and recorded before it leaves and after it is answered.
fn through_the_door() {
    let scene = Scene::ready();
    let port = answer_forever();
    scene.configure(
        "",
        &format!(
            "{}reach = [\"GET https://files.selvedge.test/\"]\n\
             [danger.addresses.\"files.selvedge.test\"]\nallow = [\"127.0.0.1\"]\nplain_port = {port}\n",
            agent("client", "draft")
        ),
    );
    let _keeper = scene.serve();
    let program = scene.path("requests.py");
    std::fs::write(&program, REQUESTS).unwrap();
    let direct =
        Command::new("/usr/bin/python3").arg(&program).args(["127.0.0.1", &port.to_string()]).output().unwrap();
    assert!(direct.status.success(), "{direct:?}");
    let run =
        scene.run(&["run", "--agent", "client", "--wait", "--json", &format!("/usr/bin/python3 -c '{REQUESTS}'")]);
    let run = run.document()["runs"][0].clone();
    let output = scene.run(&["output", text(&run, "run")]).ok().out;
    println!("\ndirectly: {}", String::from_utf8_lossy(&direct.stdout).trim());
    println!("through the door, decided and recorded, TLS towards the client: {}", output.trim());
}

/// Without arguments the client is inside, and finds the door where every sandbox has it.
const REQUESTS: &str = r#"
import http.client, sys, time
if len(sys.argv) > 1:
    c = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]))
else:
    c = http.client.HTTPSConnection("127.0.0.1", 3128)
    c.set_tunnel("files.selvedge.test", 443)
times = []
for n in range(1200):
    began = time.perf_counter()
    c.request("GET", "/%d" % n)
    assert c.getresponse().read() == b"hello"
    times.append(time.perf_counter() - began)
times = sorted(times[200:])
print("p50 %.0f us, p99 %.0f us" % (times[500] * 1e6, times[990] * 1e6))
"#;

/// A server of one answer, on connections that stay open.
fn answer_forever() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut lines = BufReader::new(&stream).lines();
                // Nagle's algorithm would wait for the client between two answers.
                stream.set_nodelay(true).unwrap();
                while let Some(Ok(line)) = lines.next() {
                    if line.is_empty() && (&stream).write_all(ANSWER).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// How many agents are started in a second: each a governed run, from its trigger until it is settled, with a sandbox, a door process and an
/// identity of its own. The peer is what two clients start of the command alone, which every trigger takes as well.
fn starts() {
    let scene = scene();
    let _keeper = scene.serve();
    scene.run(&["run", "--agent", "sleeper", "--wait", "true"]).ok();
    let all_of = |arguments: &[&str]| {
        std::thread::scope(|threads| {
            for _ in 0..CLIENTS {
                threads.spawn(|| (0..STARTED / CLIENTS).for_each(|_| drop(scene.run(arguments).ok())));
            }
        });
    };
    let began = Instant::now();
    all_of(&["exit-codes"]);
    let alone = began.elapsed();
    let began = Instant::now();
    all_of(&["run", "--agent", "sleeper", "true"]);
    let asked = began.elapsed();
    eventually("all of them are settled", || {
        let runs = scene.runs();
        (runs.len() > STARTED && runs.iter().all(|run| run["stage"] == "settled")).then_some(())
    });
    let each = |took: Duration| STARTED as f64 / took.as_secs_f64();
    println!(
        "\n{CLIENTS} clients, {STARTED} agents: {:.1} a second started and settled, {:.1} a second asked for; {:.1} a second of the command alone",
        each(began.elapsed()),
        each(asked),
        each(alone),
    );
}

/// Fifty runs, each with its sandbox, its door process and its credential.
fn halt() {
    let scene = scene();
    let keeper = scene.serve();
    scene.task("echo warm > src/warm");
    let marker = format!("marker-{}", keeper.pid());
    let before = available_kib();
    for _ in 0..AT_ONCE {
        scene.run(&["run", "--agent", "sleeper", &format!("sleep 600; echo {marker}")]).ok();
    }
    eventually("all of them run", || (processes_with(&format!("; echo {marker}")).len() >= AT_ONCE).then_some(()));
    std::thread::sleep(Duration::from_secs(1));
    let each = before.saturating_sub(available_kib()) / AT_ONCE as u64;
    let began = Instant::now();
    scene.run(&["halt"]).ok();
    let answered = began.elapsed();
    assert!(processes_with(&format!("; echo {marker}")).is_empty(), "a halted run lives on");
    let settled = eventually("all of them are settled", || {
        let runs = scene.runs();
        runs.iter().all(|run| run["stage"] == "settled").then(|| began.elapsed())
    });
    let halted = scene.runs().iter().filter(|run| run["outcome"] == "halted").count();
    assert_eq!(halted, AT_ONCE);
    println!(
        "\n{AT_ONCE} live runs with a door and a credential each, {each} KiB less memory for each: `selvedge halt` answers, \
         with all dead and all doors closed, after {:.0} ms; every credential is revoked, probed and recorded after {:.0} ms",
        milliseconds(answered),
        milliseconds(settled),
    );
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// The last number a program printed, as nanoseconds since the epoch.
fn printed(output: &[u8]) -> Duration {
    let text = std::str::from_utf8(output).unwrap();
    Duration::from_nanos(text.lines().rev().find_map(|line| line.trim().parse().ok()).unwrap())
}

/// When an entry was recorded, of which the time within the day is enough.
fn recorded(entry: &Value) -> Duration {
    let at = text(entry, "at");
    let clock = at.split_once('T').unwrap().1.trim_end_matches('Z');
    let [hours, minutes, seconds] = clock.splitn(3, ':').collect::<Vec<_>>()[..] else { return Duration::ZERO };
    let whole = hours.parse::<u64>().unwrap() * 3600 + minutes.parse::<u64>().unwrap() * 60;
    let today = Duration::from_secs(now().as_secs() / 86_400 * 86_400);
    today + Duration::from_secs(whole) + Duration::from_secs_f64(seconds.parse().unwrap())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn available_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
