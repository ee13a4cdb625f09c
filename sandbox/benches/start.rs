//! What a sandbox costs: start, whole life, death and memory, beside a plain process and, where it is installed, bwrap,
//! measured in turn so that a busy machine is as unkind to each. `cargo bench -p selvedge-sandbox`.
#![expect(clippy::print_stdout, clippy::expect_used, clippy::indexing_slicing, reason = "a tool for the terminal")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use selvedge_sandbox::{HOST_IDS, Level, NativeDriver, Network, Place, Setup, Workspace};

const ROUNDS: usize = 200;
const AT_ONCE: usize = 50;
const BWRAP: &str = "/usr/bin/bwrap";

fn main() {
    if std::env::args().next().is_some_and(|name| name.ends_with(selvedge_jail::NAME)) {
        selvedge_jail::main();
    }
    if !rustix::process::geteuid().is_root() {
        println!("level `full` needs root");
        return;
    }
    let state = tempfile::tempdir().expect("state");
    let tree = state.path().join("tree");
    std::fs::create_dir(&tree).expect("tree");
    let driver = driver(state.path());
    let plain = Place::new(["/usr/bin/true"]);
    let whole = Place { network: Network::Doors, workspace: Some(Workspace { pristine: tree }), ..plain.clone() };
    let mut rows: Vec<(&str, Vec<Duration>)> = vec![
        ("fork, exec and wait of /usr/bin/true", Vec::new()),
        ("bwrap --unshare-all, whole life", Vec::new()),
        ("sandbox without workspace and doors: start", Vec::new()),
        ("sandbox without workspace and doors: whole life", Vec::new()),
        ("sandbox with workspace and doors: start", Vec::new()),
        ("sandbox with workspace and doors: whole life", Vec::new()),
    ];
    for round in 0..ROUNDS {
        rows[0].1.push(run(&mut Command::new("/usr/bin/true")));
        if Path::new(BWRAP).exists() {
            let bwrap = [
                "--unshare-all",
                "--ro-bind",
                "/usr",
                "/usr",
                "--symlink",
                "usr/lib",
                "/lib",
                "--symlink",
                "usr/lib64",
                "/lib64",
                "--proc",
                "/proc",
                "--dev",
                "/dev",
                "--tmpfs",
                "/tmp",
                "/usr/bin/true",
            ];
            rows[1].1.push(run(Command::new(BWRAP).args(bwrap)));
        }
        for (place, row) in [(&plain, 2), (&whole, 4)] {
            let (start, life) = live(&driver, &format!("bench-{round}-{row}"), place);
            rows[row].1.push(start);
            rows[row + 1].1.push(life);
        }
    }
    println!("| what ({ROUNDS} rounds) | median ms | p90 ms | p99 ms |\n|---|---|---|---|");
    for (what, times) in &mut rows {
        if !times.is_empty() {
            times.sort();
            let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
            println!("| {what} | {:.2} | {:.2} | {:.2} |", at(50), at(90), at(99));
        }
    }
    many(&driver, &whole);
}

fn driver(state: &Path) -> NativeDriver {
    let launcher = std::env::current_exe().expect("own executable");
    let setup = Setup { state: state.into(), launcher, level: Level::Full, host_ids: HOST_IDS };
    NativeDriver::new(setup).expect("driver")
}

fn run(command: &mut Command) -> Duration {
    let began = Instant::now();
    assert!(command.stdin(Stdio::null()).status().expect("run").success());
    began.elapsed()
}

fn live(driver: &NativeDriver, id: &str, place: &Place) -> (Duration, Duration) {
    let began = Instant::now();
    let mut sandbox = driver.start(id, place).expect("start");
    let start = began.elapsed();
    assert!(sandbox.wait(&mut |_| {}).success());
    sandbox.destroy().expect("destroy");
    (start, began.elapsed())
}

fn many(driver: &NativeDriver, whole: &Place) {
    let idle = Place { argv: vec!["/usr/bin/sleep".to_owned(), "1000".to_owned()], ..whole.clone() };
    let free = available_kib();
    let mut sandboxes: Vec<_> = (0..AT_ONCE)
        .map(|number| {
            let mut sandbox = driver.start(&format!("many-{number}"), &idle).expect("start");
            sandbox.release().expect("release");
            sandbox
        })
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    let each = free.saturating_sub(available_kib()) / AT_ONCE as u64;
    let began = Instant::now();
    let killers: Vec<_> = sandboxes.iter().map(|sandbox| sandbox.killer()).collect();
    for killer in &killers {
        killer.halt(Duration::ZERO).ok();
    }
    for sandbox in &mut sandboxes {
        sandbox.kill(Duration::from_secs(60)).expect("kill");
    }
    println!(
        "\n{AT_ONCE} idle sandboxes: {each} KiB less memory for each, launcher included; all dead {:.1} ms after the word",
        began.elapsed().as_secs_f64() * 1e3
    );
    for sandbox in sandboxes {
        sandbox.destroy().expect("destroy");
    }
}

fn available_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").expect("meminfo");
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}
