//! What observing programs costs: a thousand of them started one after another, seen and unseen in turn, so that a busy machine is
//! as unkind to each. `cargo bench -p selvedge-sandbox --bench observe`.
#![expect(clippy::print_stdout, clippy::expect_used, clippy::indexing_slicing, reason = "a tool for the terminal")]

use std::time::{Duration, Instant};

use selvedge_sandbox::{Event, HOST_IDS, Level, NativeDriver, Observe, Place, Setup};

const ROUNDS: usize = 9;
const PROGRAMS: usize = 1000;

fn main() {
    if std::env::args().next().is_some_and(|name| name.ends_with(selvedge_jail::NAME)) {
        selvedge_jail::main();
    }
    if !rustix::process::geteuid().is_root() {
        println!("level `full` needs root");
        return;
    }
    let state = tempfile::tempdir().expect("state");
    let launcher = std::env::current_exe().expect("own executable");
    let setup = Setup { state: state.path().into(), launcher, level: Level::Full, host_ids: HOST_IDS };
    let driver = NativeDriver::new(setup).expect("driver");
    let script = format!("i=0; while [ $i -lt {PROGRAMS} ]; do /usr/bin/true; i=$((i+1)); done");
    let unseen = Place::new(["sh", "-c", &script]);
    let seen = Place { observe: Some(Observe { programs: true, ..Observe::default() }), ..unseen.clone() };
    let mut times: [Vec<Duration>; 2] = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for (kind, place) in [&unseen, &seen].into_iter().enumerate() {
            let mut sandbox = driver.start(&format!("observe-{round}-{kind}"), place).expect("start");
            let (began, mut told) = (Instant::now(), 0);
            let exit = sandbox.wait(&mut |event| told += usize::from(matches!(event, Event::Started(_))));
            times[kind].push(began.elapsed());
            assert!(exit.success() && (told > PROGRAMS) == (kind == 1), "{exit:?}, {told} told");
            sandbox.destroy().expect("destroy");
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1e6 / PROGRAMS as f64
    };
    let [unseen, seen] = &mut times;
    let (unseen, seen) = (median(unseen), median(seen));
    println!(
        "a program of {PROGRAMS}, median of {ROUNDS} rounds: unseen {unseen:.0} us, seen {seen:.0} us: {:.2} times",
        seen / unseen
    );
}
