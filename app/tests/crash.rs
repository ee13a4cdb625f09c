//! The keeper is killed at random moments of real runs. Afterwards everything comes to its end, once, and nothing is left:
//! no credential, no process, no control group, no mount (DESIGN: 0 lost, 0 duplicated, 0 orphans).
//!
//! `SELVEDGE_KILLS` says how often, `SELVEDGE_SEED` from where the moments are drawn.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Scene, Serving, eventually, processes_with, text};
use serde_json::Value;

/// Kills in an ordinary run of the tests; the nightly one asks for more.
const KILLS: u64 = 12;

/// A small generator whose moments can be drawn again from its seed (xorshift64*, Vigna 2016).
struct Moments(u64);

impl Moments {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % bound.max(1)
    }
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// A task that leaves a file of its own and takes long enough to be killed in the middle.
fn task(scene: &Scene, number: u64) -> String {
    format!("echo {} > src/note-{number}; sleep 0.2", marker(scene))
}

/// Words that are in the command line of every process of this scene's agents.
fn marker(scene: &Scene) -> String {
    format!("marker-{}", scene.repo().parent().unwrap().file_name().unwrap().to_str().unwrap())
}

#[test]
fn every_kill_of_a_serving_keeper_loses_nothing_and_leaves_nothing() {
    survive("serve", |scene, number, delay| {
        let keeper = scene.serve();
        scene.run(&["run", "--agent", "writer", &task(scene, number)]).ok();
        std::thread::sleep(delay);
        keeper.kill();
    });
}

#[test]
fn every_kill_of_a_command_that_is_its_own_keeper_loses_nothing_and_leaves_nothing() {
    survive("run --wait", |scene, number, delay| {
        let mut command = scene.command(&["run", "--agent", "writer", "--wait", &task(scene, number)]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(delay);
        child.kill().unwrap();
        child.wait().unwrap();
    });
}

#[test]
fn every_kill_around_a_yes_and_a_merge_leaves_each_done_once_or_not_at_all() {
    assert!(common::is_root(), "needs root: only root can say yes as somebody else");
    let (kills, seed) = (from_environment("SELVEDGE_KILLS", KILLS).div_ceil(2), from_environment("SELVEDGE_SEED", 1));
    let scene = Scene::ready();
    // Tests that cannot be counted need a person's yes.
    scene.commit("tests/run.sh", "grep -q hello src/greeting\n");
    let mut moments = Moments(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    for number in 1..=kills {
        let delay = Duration::from_millis(moments.below(60));
        println!("kill {number} after {delay:?}; SELVEDGE_SEED={seed}");
        let keeper = scene.serve();
        let run = text(&scene.task(&format!("echo {number} > src/note-{number}")), "run").to_owned();
        let before = scene.landed("main");
        let approval = text(&scene.json(&["approvals"])["approvals"][0], "approval").to_owned();
        let keeper = cut_short(&scene, keeper, scene.command_as(65533, &["approve", &approval]), delay);
        let still_asks =
            scene.json(&["approvals"])["approvals"].as_array().unwrap().iter().any(|one| one["approval"] == *approval);
        if still_asks {
            assert!(scene.command_as(65533, &["approve", &approval]).status().unwrap().success());
        }
        eventually("the run is proposed", || (scene.json(&["show", &run])["outcome"] == "proposed").then_some(()));
        let proposal = || {
            let all = scene.json(&["proposals"])["proposals"].as_array().unwrap().clone();
            all.into_iter().find(|proposal| proposal["run"] == *run).unwrap()
        };
        let asked = proposal()["number"].to_string();
        let keeper = cut_short(&scene, keeper, scene.command(&["merge", &asked]), delay);
        if proposal()["state"] == "open" {
            scene.run(&["merge", &asked]).ok();
        }
        scene.git(&["fetch", "--quiet", "selvedge"]);
        let added = scene.git(&["rev-list", "--count", &format!("{before}..selvedge/main")]);
        assert_eq!(added, "1", "the branch moved by exactly the one commit that was merged");
        assert_eq!(scene.landed("main"), text(&proposal(), "commit"));
        keeper.kill();
    }
    scene.run(&["audit", "verify"]).ok();
}

/// Kills the keeper while it is asked something, and starts the next one.
fn cut_short(scene: &Scene, keeper: Serving, mut asked: Command, delay: Duration) -> Serving {
    let mut asking = asked.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(delay);
    keeper.kill();
    // Whatever the client was told, or not: what counts is the record.
    asking.kill().unwrap();
    asking.wait().unwrap();
    scene.serve()
}

/// Kills as often as asked, each time in the middle of another run, and looks at what the next keeper makes of it.
fn survive(what: &str, crash: impl Fn(&Scene, u64, Duration)) {
    let (kills, seed) = (from_environment("SELVEDGE_KILLS", KILLS).div_ceil(2), from_environment("SELVEDGE_SEED", 1));
    println!("{kills} kills of `{what}`; SELVEDGE_SEED={seed}");
    let scene = Scene::ready();
    let begun = Instant::now();
    assert_eq!(scene.task(&task(&scene, 0))["outcome"], "proposed", "undisturbed, the task ends well");
    let whole = u64::try_from(begun.elapsed().as_millis()).unwrap();
    let mut moments = Moments(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    for number in 1..=kills {
        let delay = Duration::from_millis(moments.below(whole));
        crash(&scene, number, delay);
        println!("kill {number} after {delay:?} of about {whole} ms");
        let keeper = scene.serve();
        let runs = eventually("every run settles and nothing is queued", || {
            let ps = scene.json(&["ps", "--all"]);
            let runs = ps["runs"].as_array().unwrap().clone();
            let over = ps["queued"].as_array().unwrap().is_empty() && runs.iter().all(|run| run["stage"] == "settled");
            over.then_some(runs)
        });
        for run in &runs {
            assert_eq!(run["outcome"], "proposed", "{run}\n{}", scene.run(&["show", text(run, "run")]).out);
        }
        nothing_is_left(&scene, &runs);
        keeper.kill();
    }
    let runs = scene.runs();
    for run in &runs {
        happened_once(&scene, text(run, "run"));
    }
    one_proposal_each(&scene, &runs);
    scene.run(&["audit", "verify"]).ok();
}

/// No process, control group, mount or sandbox directory of any run lives on.
fn nothing_is_left(scene: &Scene, runs: &[Value]) {
    let processes = processes_with(&marker(scene));
    assert!(processes.is_empty(), "processes live on: {processes:?}");
    let ids: Vec<&str> = runs.iter().map(|run| text(run, "run")).collect();
    let mut groups = Vec::new();
    groups_of(Path::new("/sys/fs/cgroup"), &ids, &mut groups);
    assert!(groups.is_empty(), "control groups are left: {groups:?}");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let state = scene.state();
    let left: Vec<&str> = mounts.lines().filter(|line| line.contains(state.to_str().unwrap())).collect();
    assert!(left.is_empty(), "mounts are left: {left:?}");
    let of = |kind: &str| std::fs::read_dir(state.join("sandboxes").join(kind)).unwrap();
    let sandboxes: Vec<PathBuf> = of("sandboxes").chain(of("ids")).map(|entry| entry.unwrap().path()).collect();
    assert!(sandboxes.is_empty(), "sandboxes are left: {sandboxes:?}");
}

fn groups_of(dir: &Path, ids: &[&str], found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if ids.iter().any(|id| entry.file_name().to_string_lossy().contains(id)) {
            found.push(path.clone());
        }
        groups_of(&path, ids, found);
    }
}

/// No order was carried out twice, every lease died, and the run ended once.
fn happened_once(scene: &Scene, run: &str) {
    let show = scene.json(&["show", run]);
    let entries = show["entries"].as_array().unwrap();
    let mut done: BTreeMap<&str, u32> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry["kind"] == "done") {
        *done.entry(text(&entry["detail"], "order_digest")).or_default() += 1;
    }
    assert!(done.values().all(|times| *times == 1), "a deed was done twice: {done:?}");
    let said = |line: &str| entries.iter().filter(|entry| text(entry, "summary") == line).count();
    assert_eq!(said("settled"), 1, "{run}");
    let leases = entries.iter().filter_map(|entry| {
        text(entry, "summary").strip_prefix("lease ")?.strip_suffix(" is announced").map(str::to_owned)
    });
    let leases: Vec<String> = leases.collect();
    assert!(!leases.is_empty());
    for lease in leases {
        assert_eq!(said(&format!("lease {lease} is dead, and a probe says so")), 1, "lease {lease} of {run}");
    }
}

/// Each run has one proposal, at one branch, and there is none beside.
fn one_proposal_each(scene: &Scene, runs: &[Value]) {
    let proposals = scene.json(&["proposals"])["proposals"].as_array().unwrap().clone();
    let mut proposed: Vec<&str> = proposals.iter().map(|proposal| text(proposal, "run")).collect();
    let mut ran: Vec<&str> = runs.iter().map(|run| text(run, "run")).collect();
    proposed.sort_unstable();
    ran.sort_unstable();
    assert_eq!(proposed, ran);
    let branches = scene.git(&["ls-remote", "selvedge", "refs/heads/selvedge/*"]);
    let mut branches: Vec<String> = branches.lines().map(|line| line.replace("refs/heads/", "")).collect();
    let at = |proposal: &Value| format!("{}\t{}", text(proposal, "commit"), text(proposal, "branch"));
    let mut expected: Vec<String> = proposals.iter().map(at).collect();
    branches.sort_unstable();
    expected.sort_unstable();
    assert_eq!(branches, expected);
}
