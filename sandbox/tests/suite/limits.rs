//! Each limit of a place, run into: S-16 to S-20, S-37, S-40, and time.

use std::time::{Duration, Instant};

use selvedge_sandbox::{Ended, Event, Limit, Limits, Place, Workspace};

use crate::stage::{Stage, wait};

fn shell(script: &str, limits: Limits) -> Place {
    Place { limits, ..Place::new(["bash", "-c", script]) }
}

#[test]
fn s_16_a_fork_bomb_is_held_and_told() {
    let stage = Stage::full();
    let limits = Limits { pids: 64, wall: Duration::from_secs(2), ..Limits::default() };
    let ran = stage.run(&shell("bomb() { bomb | bomb & }; bomb; sleep 1000", limits));
    assert!(ran.exit.limits.contains(&Limit::Pids), "{:?}", ran.exit);
}

#[test]
fn s_17_a_memory_bomb_is_killed_inside_only() {
    let stage = Stage::full();
    let limits = Limits { memory_bytes: 64 << 20, ..Limits::default() };
    let ran = stage.run(&shell("head -c 300M /dev/zero | tail -c 300M > /dev/null; exit $?", limits));
    assert_eq!((ran.exit.ended, ran.exit.limits), (Ended::Status(137), vec![Limit::Memory]));
}

#[test]
fn s_17_memory_of_files_counts() {
    let stage = Stage::full();
    let limits = Limits { memory_bytes: 48 << 20, disk_bytes: 1 << 30, ..Limits::default() };
    let ran =
        stage.run(&shell("head -c 300M /dev/zero > /tmp/x; ls -l /tmp/x; head -c 300M /dev/zero > /dev/shm/x", limits));
    assert!(ran.exit.limits.contains(&Limit::Memory), "{ran:?}");
}

#[test]
fn s_18_s_19_s_20_everything_writable_shares_one_size_and_one_count() {
    let stage = Stage::full();
    let tree = stage.dir.path().join("tree");
    std::fs::create_dir(&tree).expect("tree");
    let limits = Limits { disk_bytes: 8 << 20, disk_files: 500, ..Limits::default() };
    let script = "for d in /tmp ~ /dev/shm /var/tmp /workspace; do head -c 3M /dev/zero > $d/x && echo $d; done; \
                  rm -f /tmp/x ~/x /dev/shm/x /var/tmp/x /workspace/x; \
                  for i in $(seq 1000); do : > /workspace/$i || break; done; ls /workspace | wc -l";
    let place = Place { workspace: Some(Workspace { pristine: tree }), ..shell(script, limits) };
    let ran = stage.run(&place);
    let lines: Vec<&str> = ran.output.lines().collect();
    let [first, second, made] = lines.as_slice() else { panic!("two of five writes and a count: {ran:?}") };
    assert_eq!((*first, *second), ("/tmp", "/home/agent"));
    assert!(made.trim().parse::<u32>().expect("count") < 500, "{ran:?}");
    assert!(ran.error.contains("No space left on device"), "{ran:?}");
    assert_eq!(ran.exit.limits, [Limit::Disk]);
}

#[test]
fn s_37_an_output_flood_waits_for_its_reader_and_ends_at_its_limit() {
    let stage = Stage::full();
    let limits = Limits { output_bytes: 1 << 20, ..Limits::default() };
    let mut sandbox = stage.start(&shell("yes \"$(printf '\\033[31mred')\"", limits));
    let mut seen = 0;
    let exit = sandbox.wait(&mut |event| {
        if let Event::Output { bytes, .. } = event {
            seen += bytes.len();
        }
    });
    sandbox.destroy().expect("destroy");
    assert_eq!(exit.ended, Ended::Limit(Limit::Output));
    assert!((1 << 20..4 << 20).contains(&seen), "{seen}");
}

#[test]
fn s_37_a_flood_of_refused_calls_is_told_a_few_times() {
    let stage = Stage::full();
    let limits = Limits { wall: Duration::from_secs(3), ..Limits::default() };
    let script = "import ctypes\nc = ctypes.CDLL(None)\nwhile True: c.unshare(0x10000000)";
    let place = Place { limits, ..Place::new(["/usr/bin/python3", "-c", script]) };
    if !std::path::Path::new("/usr/bin/python3").exists() {
        panic!("this test needs /usr/bin/python3");
    }
    let mut sandbox = stage.start(&place);
    let (mut told, mut total) = (0, 0);
    let exit = sandbox.wait(&mut |event| {
        if let Event::RefusedCall { count, .. } = event {
            told += 1;
            total += count;
        }
    });
    sandbox.destroy().expect("destroy");
    assert_eq!(exit.ended, Ended::Limit(Limit::Wall));
    assert!(total > 100 && told < 40, "{told} messages about {total} calls");
}

#[test]
fn the_wall_clock_ends_what_will_not() {
    let stage = Stage::full();
    let limits = Limits { wall: Duration::from_millis(300), ..Limits::default() };
    let ran = stage.run(&shell("trap '' TERM INT; while :; do sleep 1; done", limits));
    assert_eq!((ran.exit.ended, ran.exit.limits), (Ended::Limit(Limit::Wall), vec![Limit::Wall]));
}

#[test]
fn s_40_a_processor_hog_is_held_to_its_share() {
    let stage = Stage::full();
    let limits = Limits { cpu_percent: 20, wall: Duration::from_secs(3), ..Limits::default() };
    let began = Instant::now();
    let mut sandbox =
        stage.start(&shell("trap 'times; exit' TERM; (sleep 2; kill -TERM $$) & while :; do :; done", limits));
    let ran = wait(&mut sandbox);
    sandbox.destroy().expect("destroy");
    // The first line of `times` is the shell's own: minutes and seconds of user and system time.
    let own = ran.output.lines().next().unwrap_or_default();
    let seconds: f64 = own
        .split_whitespace()
        .filter_map(|part| part.trim_end_matches('s').split_once('m'))
        .map(|(minutes, seconds)| minutes.parse::<f64>().unwrap_or(0.0) * 60.0 + seconds.parse::<f64>().unwrap_or(0.0))
        .sum();
    // A fifth of the time that passed, whatever else ran; twice that is far below what it wanted.
    assert!(seconds > 0.0 && seconds < began.elapsed().as_secs_f64() * 0.4, "{seconds} s: {ran:?}");
}
