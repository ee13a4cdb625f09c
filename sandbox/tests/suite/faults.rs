//! S-39: a launch that fails, at whatever step, runs nothing, says which step, and leaves nothing behind.

use std::collections::BTreeMap;
use std::fs;

use selvedge_prober::Line;
use selvedge_sandbox::{Access, Bind, Ended, File, Layer, Level, NativeDriver, Network, Place, Setup, Workspace};

use crate::stage::{Stage, groups_of, setup, unique, wait};
use crate::wall::with_prober;

fn nothing_left(stage: &Stage, id: &str) {
    assert_eq!(groups_of(id), Vec::<std::path::PathBuf>::new(), "control groups");
    for dir in ["sandboxes", "ids"] {
        let left: Vec<_> =
            fs::read_dir(stage.dir.path().join(dir)).expect("state").flatten().map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn s_39_a_fault_at_any_step_leaves_nothing() {
    let mut stage = Stage::full();
    let tree = stage.dir.path().join("tree");
    fs::create_dir(&tree).expect("tree");
    let ran = stage.dir.path().join("ran");
    fs::create_dir(&ran).expect("directory");
    let place = Place {
        workspace: Some(Workspace { pristine: tree }),
        network: Network::Doors,
        binds: vec![Bind { source: ran.clone(), target: "/opt/ran".into(), access: Access::ReadWrite }],
        ..Place::new(["touch", "/opt/ran/it"])
    };
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts").lines().count();
    for step in ["clone", "map", "trees", "root", "network", "payload"] {
        stage.driver.fail_at(step);
        let id = unique("fault");
        let refused = stage.driver.start(&id, &place).expect_err(step);
        assert!(refused.reason.contains("injected fault") && refused.reason.contains(step), "{refused}");
        nothing_left(&stage, &id);
    }
    assert!(!ran.join("it").exists(), "the program ran");
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").expect("mounts").lines().count(), mounts);
    // The same place without a fault does run: the faults are what stopped it.
    stage.driver.fail_at("no such step");
    assert!(stage.run(&place).exit.success());
    assert!(ran.join("it").exists());
}

#[test]
fn a_layer_that_is_left_out_is_noticed_from_inside_before_anything_runs() {
    let mut stage = Stage::full();
    for layer in ["filter", "landlock", "capabilities", "ban on user namespaces"] {
        stage.driver.fail_at(&format!("no {layer}"));
        let id = unique("without");
        let refused = stage.driver.start(&id, &Place::new(["true"])).expect_err(layer);
        assert_eq!(refused.layer, Layer::SelfTest, "{layer}: {refused}");
        nothing_left(&stage, &id);
    }
}

/// What the prober is refused when layers are left out, by id.
fn without(layers: &str, tried: &[&str]) -> BTreeMap<String, Line> {
    let mut stage = Stage::full();
    stage.driver.fail_at(&format!("no self-test,{layers}"));
    let arguments: Vec<&str> = ["try"].iter().chain(tried).copied().collect();
    let ran = stage.run(&with_prober(&arguments));
    let seen: BTreeMap<String, Line> =
        ran.output.lines().filter_map(Line::parse).map(|line| (line.id.clone(), line)).collect();
    assert_eq!(seen.len(), tried.len(), "{ran:?}");
    seen
}

#[test]
fn behind_the_filter_other_layers_stand() {
    let held = [
        "S-1", "S-1c", "S-2", "S-2c", "S-2d", "S-7", "S-7e", "S-10", "S-11", "S-12", "S-13b", "S-14", "S-24", "S-24b",
        "S-34",
    ];
    for (id, line) in without("no filter", &held) {
        assert_eq!(line.outcome, "refused", "{id}: {}", line.detail);
    }
    let seen = without("no filter", &["S-1"]);
    assert!(seen["S-1"].detail.contains("ENOSPC"), "the ban on user namespaces answers: {:?}", seen["S-1"]);
    // These only the filter refuses: it is not there for show.
    for (id, line) in without("no filter", &["S-3", "S-4", "S-6", "S-6b", "S-7d", "A-24"]) {
        assert_eq!(line.outcome, "succeeded", "{id}: {}", line.detail);
    }
}

#[test]
fn landlock_stands_behind_the_mounts_and_the_mounts_behind_landlock() {
    for layers in ["no landlock", "no seal"] {
        let seen = without(layers, &["S-14", "S-13b"]);
        assert_eq!(seen["S-14"].outcome, "refused", "{layers}: {:?}", seen["S-14"]);
    }
    assert_eq!(without("no landlock", &["S-11c"])["S-11c"].outcome, "succeeded", "only Landlock keeps signals inside");
    let both = without("no landlock,no seal", &["S-14"]);
    assert_eq!(both["S-14"].outcome, "succeeded", "with neither, the root can be written: {:?}", both["S-14"]);
}

#[test]
fn a_request_that_makes_no_sense_is_refused_before_anything_is_made() {
    let stage = Stage::full();
    let bind = |target: &str| Bind { source: "/usr".into(), target: target.into(), access: Access::ReadOnly };
    for place in [
        Place::new(Vec::<String>::new()),
        Place::new(["a\0b"]),
        Place { binds: vec![bind("relative")], ..Place::new(["true"]) },
        Place { binds: vec![bind("/../etc")], ..Place::new(["true"]) },
        Place { binds: vec![bind("/workspace/")], ..Place::new(["true"]) },
        Place { binds: vec![Bind { source: "/does/not/exist".into(), ..bind("/x") }], ..Place::new(["true"]) },
        Place { binds: vec![Bind { source: "/etc/passwd".into(), ..bind("/workspace/x") }], ..Place::new(["true"]) },
        Place {
            files: vec![File { target: "/workspace/.mcp.json".into(), content: Vec::new(), mode: 0o644 }],
            ..Place::new(["true"])
        },
        Place::new(["true"]).with_env("A=B", "x"),
    ] {
        assert_eq!(stage.driver.start("request", &place).expect_err("refused").layer, Layer::Request, "{place:?}");
    }
    for id in ["", "..", "a/b", "a b"] {
        assert_eq!(stage.driver.start(id, &Place::new(["true"])).expect_err("refused").layer, Layer::Request);
    }
    nothing_left(&stage, "request");
}

#[test]
fn a_program_that_does_not_exist_is_not_an_exit_status() {
    let stage = Stage::full();
    let ran = stage.run(&Place::new(["no-such-program"]));
    assert!(matches!(&ran.exit.ended, Ended::NotRun(why) if why.contains("no-such-program")), "{ran:?}");
}

#[test]
fn a_launcher_that_is_something_else_is_refused() {
    let stage = Stage::full();
    for launcher in ["/usr/bin/true", "/does/not/exist", "/etc/passwd"] {
        let setup = Setup { launcher: launcher.into(), ..setup(stage.dir.path(), Level::Full) };
        let id = unique("launcher");
        let refused = NativeDriver::new(setup).expect("driver").start(&id, &Place::new(["true"])).expect_err(launcher);
        assert_eq!(refused.layer, Layer::Launcher, "{refused}");
        nothing_left(&stage, &id);
    }
}

#[test]
fn one_name_is_one_sandbox() {
    let stage = Stage::full();
    let id = unique("twice");
    let mut first = stage.driver.start(&id, &Place::new(["echo", "first"])).expect("start");
    assert!(stage.driver.start(&id, &Place::new(["true"])).is_err());
    assert_eq!(wait(&mut first).output, "first\n", "the second start must not have harmed the first");
    first.destroy().expect("destroy");
}

#[test]
fn every_live_sandbox_has_a_host_user_of_its_own_and_none_is_lent_twice() {
    let stage = Stage::full();
    let sandboxes: Vec<_> = (0..16).map(|_| stage.start(&Place::new(["true"]))).collect();
    let mut ids: Vec<_> = sandboxes.iter().map(|sandbox| sandbox.host_id().expect("id")).collect();
    ids.dedup();
    assert_eq!(ids.len(), 16);
    let refused = stage.driver.start(&unique("full"), &Place::new(["true"])).expect_err("no id is free");
    assert_eq!(refused.layer, Layer::HostUser);
    for sandbox in sandboxes {
        sandbox.destroy().expect("destroy");
    }
    assert!(stage.shell("true").exit.success());
}
