//! The wall, tried from inside: every attack the prober knows, against a sandbox of level `full`, and the same attacks
//! where nothing stands in their way.

use std::collections::BTreeMap;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::Command;

use selvedge_prober::{ABSTRACT_SOCKET, CANARY, Control, Family, Line, attacks};
use selvedge_sandbox::{Access, Bind, Limit, Limits, Network, Place, Workspace};

use crate::stage::{Ran, Stage, executable};

/// Shows the prober inside, under its own name.
pub(crate) fn with_prober(arguments: &[&str]) -> Place {
    let script = format!("exec -a {} /opt/prober \"$@\"", selvedge_prober::NAME);
    let argv = ["bash", "-c", &script, "bash"].into_iter().chain(arguments.iter().copied());
    Place {
        binds: vec![Bind { source: executable(), target: "/opt/prober".into(), access: Access::ReadOnly }],
        ..Place::new(argv)
    }
}

fn lines(output: &str) -> BTreeMap<String, Line> {
    output.lines().filter_map(Line::parse).map(|line| (line.id.clone(), line)).collect()
}

fn tight() -> Limits {
    Limits { memory_bytes: 192 << 20, pids: 256, disk_bytes: 32 << 20, disk_files: 5_000, ..Limits::default() }
}

/// Everything at once, as an agent would meet it: doors, workspace, tight limits.
fn try_all(stage: &Stage) -> Ran {
    let tree = stage.dir.path().join("tree");
    std::fs::create_dir_all(&tree).unwrap();
    let mut place = with_prober(&["try", "all"]);
    place.limits = tight();
    place.network = Network::Doors;
    place.workspace = Some(Workspace { pristine: tree });
    stage.run(&place)
}

#[test]
fn every_attack_is_refused_inside() {
    let stage = Stage::full();
    let name = SocketAddr::from_abstract_name(ABSTRACT_SOCKET).unwrap();
    // The host listens, so that only the wall can be what refuses S-10. Another test may be the one that does.
    let _listener = UnixListener::bind_addr(&name);
    let ran = try_all(&stage);
    let seen = lines(&ran.output);
    let mut wrong = Vec::new();
    for attack in attacks() {
        match seen.get(attack.id) {
            Some(line) if line.outcome == "refused" => {}
            // The terminal is asked for without one: there is none to be had.
            Some(line) => wrong.push(format!("{} {}: {} ({})", attack.id, attack.title, line.outcome, line.detail)),
            None => wrong.push(format!("{} {}: not tried", attack.id, attack.title)),
        }
    }
    assert!(wrong.is_empty(), "not refused:\n{}\n{:?}\n{}", wrong.join("\n"), ran.exit, ran.error);
}

#[test]
fn every_attack_succeeds_where_nothing_refuses_it() {
    assert!(crate::stage::is_root(), "the arena needs root");
    let output = Command::new(executable()).args(["prober", "arena", "all"]).output().expect("prober");
    let seen = lines(&String::from_utf8_lossy(&output.stdout));
    let mut wrong = Vec::new();
    for attack in attacks() {
        let expected = match attack.control {
            Control::Arena => "succeeded",
            Control::None(_) => "untestable",
        };
        match seen.get(attack.id) {
            Some(line) if line.outcome == expected => {}
            other => wrong.push(format!("{} {}: {other:?}", attack.id, attack.title)),
        }
    }
    assert!(wrong.is_empty(), "no control:\n{}", wrong.join("\n"));
}

#[test]
fn what_the_filter_refuses_is_told_by_name() {
    let stage = Stage::full();
    let ran = try_all(&stage);
    for name in [
        "unshare",
        "mount",
        "clone",
        "ptrace",
        "bpf",
        "keyctl",
        "socket",
        "ioctl",
        "setns",
        "open_by_handle_at",
        "syslog",
        "seccomp",
    ] {
        assert!(ran.refused.iter().any(|refused| refused == name), "{name} not in {:?}", ran.refused);
    }
}

#[test]
fn a_peaceful_program_is_told_of_nothing() {
    let ran =
        Stage::full().shell("ls -la / > /dev/null; id; for i in 1 2 3; do sleep 0.01 & done; wait; date | cat; mktemp");
    assert!(ran.exit.success(), "{ran:?}");
    assert_eq!(ran.refused, Vec::<String>::new());
}

#[test]
fn s_4_s_5_foreign_instruction_sets_are_killed_not_merely_refused() {
    let stage = Stage::full();
    let ran = stage.run(&with_prober(&["try", "S-4", "S-5"]));
    for (id, line) in lines(&ran.output) {
        assert_eq!(line.detail, format!("killed by signal {}", 31), "{id}");
    }
}

#[test]
fn s_23_the_environment_is_what_was_given_and_no_more() {
    let stage = Stage::full();
    let place = Place::new(["sh", "-c", "tr '\\0' '\\n' < /proc/$$/environ | sort"]).with_env("GIVEN", "yes");
    let ran = stage.run(&place);
    let names: Vec<&str> = ran.output.lines().filter_map(|line| line.split_once('=').map(|(name, _)| name)).collect();
    assert_eq!(names, ["GIVEN", "HOME", "LANG", "PATH", "TMPDIR", "USER"]);
    assert!(!names.contains(&CANARY));
}

#[test]
fn s_36_two_sandboxes_share_no_user_file_process_or_socket() {
    let stage = Stage::full();
    let script = "echo mine > /tmp/mine; echo mine > /dev/shm/mine; exec sleep 1000";
    let (mut one, mut two) =
        (stage.start(&Place::new(["sh", "-c", script])), stage.start(&with_prober(&["try", "S-11b"])));
    assert_ne!(one.host_id(), two.host_id());
    assert!(one.host_id().is_some_and(|id| id >= 1_900_000_000), "never a host account");
    one.release().unwrap();
    let spy = stage.run(&Place::new([
        "sh",
        "-c",
        "ls /tmp /dev/shm /home/agent; ls -d /proc/[0-9]*; cat /proc/net/unix /proc/net/tcp",
    ]));
    assert!(!spy.output.contains("mine") && !spy.output.contains("selvedge"), "{spy:?}");
    assert!(spy.output.matches("/proc/").count() <= 4, "{spy:?}");
    let ran = crate::stage::wait(&mut two);
    assert_eq!(lines(&ran.output)["S-11b"].outcome, "refused", "{ran:?}");
    one.kill(crate::stage::PATIENCE).unwrap();
    one.destroy().unwrap();
    two.destroy().unwrap();
}

#[test]
fn the_bombs_are_seen_to_be_held_by_their_limits() {
    let stage = Stage::full();
    let ran = try_all(&stage);
    assert!(ran.exit.limits.contains(&Limit::Memory) && ran.exit.limits.contains(&Limit::Pids), "{:?}", ran.exit);
    assert!(attacks().iter().any(|attack| attack.family == Family::Bombs));
}

#[test]
fn s_22_s_23_the_launcher_inherits_neither_descriptor_nor_variable() {
    let stage = Stage::full();
    // A descriptor that would survive an exec, as a careless library might leave one.
    let left_open = rustix::fs::open("/etc/passwd", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
    let mut sandbox = stage.start(&Place::new(["ls", "-l", "/proc/self/fd"]));
    let launcher = format!("/proc/{}", sandbox.launcher_pid());
    assert_eq!(std::fs::read(format!("{launcher}/environ")).unwrap(), b"");
    let held: Vec<String> = std::fs::read_dir(format!("{launcher}/fd"))
        .unwrap()
        .flatten()
        .map(|entry| std::fs::read_link(entry.path()).unwrap().display().to_string())
        .collect();
    assert!(!held.iter().any(|path| path.contains("passwd")), "{held:?}");
    let ran = crate::stage::wait(&mut sandbox);
    assert!(!ran.output.contains("passwd") && ran.output.contains("pipe:"), "{ran:?}");
    sandbox.destroy().unwrap();
    drop(left_open);
}

#[test]
fn the_launcher_keeps_no_privilege_but_to_kill() {
    let stage = Stage::full();
    let sandbox = stage.start(&Place::new(["true"]));
    let status = std::fs::read_to_string(format!("/proc/{}/status", sandbox.launcher_pid())).unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!((field("CapEff:"), field("CapPrm:")), ("0000000000000020".to_owned(), "0000000000000020".to_owned()));
    assert_eq!((field("NoNewPrivs:"), field("Threads:")), ("1".to_owned(), "1".to_owned()));
    sandbox.destroy().unwrap();
}

/// Permissions alone would refuse most writes to the system; this is about the mounts themselves.
#[test]
fn s_14_s_34_every_mount_is_as_closed_as_its_use_allows() {
    let stage = Stage::full();
    let tree = stage.dir.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    let bind = |target: &str, access| Bind { source: tree.clone(), target: target.into(), access };
    let place = Place {
        workspace: Some(Workspace { pristine: tree.clone() }),
        binds: vec![
            bind("/opt/read", Access::ReadOnly),
            bind("/opt/copy", Access::PrivateCopy),
            bind("/opt/write", Access::ReadWrite),
        ],
        ..Place::new(["cat", "/proc/self/mounts"])
    };
    let ran = stage.run(&place);
    let writable =
        ["/tmp", "/var/tmp", "/dev/shm", "/home/agent", "/workspace", "/opt/copy", "/opt/write", "/proc", "/dev/pts"];
    let mut seen = Vec::new();
    for line in ran.output.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let (source, point, options) = (fields[0], fields[1], fields[3].split(',').collect::<Vec<_>>());
        let device = source == "devtmpfs" || point == "/dev/pts" || point == "/dev";
        assert!(options.contains(&"nosuid"), "{line}");
        assert!(options.contains(&"nodev") || device, "{line}");
        assert!(options.contains(&"noexec") || !device, "{line}");
        assert!(options.contains(&"ro") || writable.contains(&point) || source == "devtmpfs", "{line}");
        seen.push(point.to_owned());
    }
    assert!(
        writable.iter().chain(&["/usr", "/", "/opt/read"]).all(|point| seen.iter().any(|seen| seen == point)),
        "{seen:?}"
    );
}

#[test]
fn no_group_of_the_keeper_is_kept() {
    let ran = Stage::full().shell("grep -E '^(Groups|Uid|Gid|CapBnd|CapEff|NoNewPrivs|Seccomp):' /proc/self/status");
    let fields: Vec<Vec<&str>> = ran.output.lines().map(|line| line.split_whitespace().collect()).collect();
    let expected = [
        vec!["Uid:", "1000", "1000", "1000", "1000"],
        vec!["Gid:", "1000", "1000", "1000", "1000"],
        vec!["Groups:"],
        vec!["CapEff:", "0000000000000000"],
        vec!["CapBnd:", "0000000000000000"],
        vec!["NoNewPrivs:", "1"],
        vec!["Seccomp:", "2"],
    ];
    assert_eq!(fields, expected);
}
