//! Death: that it comes to everything, at once, whoever dies first (S-21, S-33, S-38), and that nothing is left.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use selvedge_sandbox::{Ended, Level, Limits, NativeDriver, Place};

use crate::stage::{PATIENCE, Stage, eventually, executable, groups_of, setup, unique, wait};

fn pids_of(id: &str) -> Vec<String> {
    let read = |dir: &std::path::PathBuf| fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    groups_of(id).iter().map(read).flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Starts a sandbox whose processes mean to stay, and waits until they are there.
fn stubborn(stage: &Stage, id: &str) -> selvedge_sandbox::Sandbox {
    let script = "trap '' TERM HUP INT; (setsid sh -c 'trap \"\" TERM HUP; (sleep 1000 &) ; sleep 1000' &) ; while :; do sleep 1; done";
    let mut sandbox = stage.driver.start(id, &Place::new(["sh", "-c", script])).expect("start");
    sandbox.release().expect("release");
    eventually("five processes", || {
        let mut pids = pids_of(id);
        pids.sort();
        pids.dedup();
        pids.len() >= 5
    });
    sandbox
}

#[test]
fn s_33_a_daemon_that_left_everything_dies_with_the_rest() {
    let stage = Stage::full();
    let id = unique("daemon");
    let mut sandbox = stubborn(&stage, &id);
    let dead = sandbox.kill(PATIENCE).expect("kill");
    assert_eq!(pids_of(&id), Vec::<String>::new());
    assert!(dead.took < PATIENCE);
    sandbox.destroy().expect("destroy");
    assert_eq!(groups_of(&id), Vec::<std::path::PathBuf>::new());
}

#[test]
fn s_33_a_daemon_does_not_outlive_the_program_that_left_it() {
    let stage = Stage::full();
    let id = unique("left");
    let mut sandbox =
        stage.driver.start(&id, &Place::new(["sh", "-c", "(setsid sleep 1000 &); echo done"])).expect("start");
    let ran = wait(&mut sandbox);
    assert_eq!((ran.exit.ended, ran.output.as_str()), (Ended::Status(0), "done\n"));
    assert_eq!(pids_of(&id), Vec::<String>::new());
    sandbox.destroy().expect("destroy");
}

#[test]
fn s_16_a_fork_bomb_dies_when_told() {
    let stage = Stage::full();
    let id = unique("bomb");
    let limits = Limits { pids: 200, ..Limits::default() };
    let place = Place { limits, ..Place::new(["bash", "-c", "bomb() { bomb | bomb & }; bomb; sleep 1000"]) };
    let mut sandbox = stage.driver.start(&id, &place).expect("start");
    sandbox.release().expect("release");
    eventually("a hundred processes", || pids_of(&id).len() > 100);
    sandbox.kill(PATIENCE).expect("kill");
    assert_eq!(pids_of(&id), Vec::<String>::new());
    sandbox.destroy().expect("destroy");
}

#[test]
fn s_38_a_frozen_or_stopped_sandbox_can_be_killed() {
    let stage = Stage::full();
    let id = unique("frozen");
    let mut sandbox = stubborn(&stage, &id);
    sandbox.freeze().expect("freeze");
    sandbox.kill(PATIENCE).expect("kill");
    sandbox.destroy().expect("destroy");
    let place = Place {
        limits: Limits { wall: Duration::from_millis(300), ..Limits::default() },
        ..Place::new(["sh", "-c", "kill -STOP $$"])
    };
    assert!(matches!(stage.run(&place).exit.ended, Ended::Limit(_)));
}

#[test]
fn a_frozen_sandbox_does_nothing_until_it_is_let_go_on() {
    let stage = Stage::full();
    let mut sandbox = stage.start(&Place::new(["sh", "-c", "echo ran"]));
    sandbox.freeze().expect("freeze");
    sandbox.release().expect("release");
    let killer = sandbox.killer();
    std::thread::sleep(Duration::from_millis(50));
    assert!(!killer.pids().expect("look").is_empty(), "it ran to its end while frozen");
    sandbox.thaw().expect("let go on");
    assert_eq!(wait(&mut sandbox).output, "ran\n");
    sandbox.destroy().expect("destroy");
}

#[test]
fn what_is_frozen_from_another_thread_stands_still_once_that_returns_c8() {
    let stage = Stage::full();
    let mut sandbox = stage.start(&Place::new(["sh", "-c", "while :; do echo ran; done"]));
    let killer = sandbox.killer();
    assert!(killer.can_freeze());
    sandbox.release().expect("release");
    killer.freeze(PATIENCE).expect("freeze");
    let spent = |pids: &[i32]| -> Vec<String> {
        let stat = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("look");
        pids.iter().map(|pid| stat(pid).split(' ').skip(13).take(2).collect::<Vec<_>>().join(" ")).collect()
    };
    let pids = killer.pids().expect("look");
    let before = spent(&pids);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(spent(&pids), before, "it went on");
    assert_eq!(killer.pids().expect("look"), pids);
    killer.thaw().expect("let go on");
    killer.halt(PATIENCE).expect("kill");
    sandbox.destroy().expect("destroy");
}

#[test]
fn another_thread_can_halt_what_this_one_waits_for() {
    let stage = Stage::full();
    let mut sandbox = stage.start(&Place::new(["sleep", "1000"]));
    let killer = sandbox.killer();
    let halting = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        killer.halt(PATIENCE).expect("halt")
    });
    assert_eq!(wait(&mut sandbox).exit.ended, Ended::Killed);
    halting.join().expect("halting thread");
    sandbox.destroy().expect("destroy");
}

#[test]
fn a_sandbox_that_is_dropped_is_dead_and_gone() {
    let stage = Stage::full();
    let id = unique("dropped");
    drop(stubborn(&stage, &id));
    assert_eq!(groups_of(&id), Vec::<std::path::PathBuf>::new());
    assert!(!stage.dir.path().join("sandboxes").join(&id).exists());
}

/// A keeper in a process of its own, running something that does not end.
fn keeper(state: &std::path::Path) -> std::process::Child {
    let command = ["run", state.to_str().expect("path"), "full", "sh", "-c", "setsid sleep 1000 & sleep 1000"];
    Command::new(executable()).args(command).stdin(Stdio::null()).spawn().expect("keeper")
}

#[test]
fn s_21_a_killed_keeper_takes_its_sandboxes_with_it_and_the_next_one_sweeps() {
    let dir = tempfile::tempdir().expect("state directory");
    let mut keeper = keeper(dir.path());
    let id = format!("stage-{}", keeper.id());
    eventually("a running sandbox", || pids_of(&id).len() >= 3);
    keeper.kill().expect("kill keeper");
    keeper.wait().expect("reap keeper");
    eventually("no process is left", || pids_of(&id).is_empty());
    let driver = NativeDriver::new(setup(dir.path(), Level::Full)).expect("driver");
    assert_eq!(driver.sweep().expect("sweep"), [id.as_str()]);
    assert_eq!(groups_of(&id), Vec::<std::path::PathBuf>::new());
    assert_eq!(driver.sweep().expect("sweep again"), Vec::<String>::new());
}

#[test]
fn s_21_a_killed_launcher_takes_its_sandbox_with_it() {
    let stage = Stage::full();
    let id = unique("launcher");
    let mut sandbox = stubborn(&stage, &id);
    let launcher = rustix::process::Pid::from_raw(sandbox.launcher_pid()).expect("pid");
    rustix::process::kill_process(launcher, rustix::process::Signal::KILL).expect("kill launcher");
    eventually("no process is left", || pids_of(&id).is_empty());
    assert!(matches!(wait(&mut sandbox).exit.ended, Ended::NotRun(_)));
    sandbox.destroy().expect("destroy");
}

#[test]
fn a_recorded_sandbox_can_be_halted_without_a_handle() {
    let stage = Stage::full();
    let id = unique("recorded");
    let mut sandbox = stubborn(&stage, &id);
    let other = NativeDriver::new(setup(stage.dir.path(), Level::Full)).expect("driver");
    assert!(other.kill_recorded(&id).expect("kill"));
    assert_eq!(pids_of(&id), Vec::<String>::new());
    assert!(!other.kill_recorded("nobody").expect("kill"));
    wait(&mut sandbox);
    sandbox.destroy().expect("what is gone already is no error");
}

/// A host that knows only version 1, made by hiding version 2 from a keeper of its own.
#[test]
fn a_version_1_host_kills_a_fork_bomb_through_the_freezer() {
    let only_version_1 = "umount /sys/fs/cgroup/unified && exec \"$@\"";
    if !std::path::Path::new("/sys/fs/cgroup/freezer/cgroup.procs").exists() {
        // Nothing can stand in for controllers that are bound to version 2.
        println!("skipped: this host has no version 1 controllers");
        return;
    }
    let dir = tempfile::tempdir().expect("state directory");
    let state = dir.path().to_str().expect("path");
    let stage = executable();
    let bomb = "bomb() { bomb | bomb & }; bomb; trap '' TERM; sleep 1000";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", only_version_1, "sh"])
        .arg(stage)
        .args(["halt", state, "full", "bash", "-c", bomb])
        .output()
        .expect("unshare");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (alive, left) = said.trim().split_once(" alive, ").unwrap_or_else(|| panic!("{output:?}"));
    assert!(alive.parse::<u32>().expect("count") > 20, "{said}");
    assert_eq!(left, "0 left", "{output:?}");
    assert_eq!(fs::read_dir(dir.path().join("sandboxes")).expect("records").count(), 0);
}
