//! Level `user`: a keeper that is an ordinary user, with subordinate ids and a delegated control group, and what it is
//! told when it has neither.
//!
//! The user is made up: a mount namespace of the test's own gives it an account and a range, nothing on the host changes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use selvedge_prober::{Control, Line, attacks};

use crate::stage::{executable, is_root};

const USER: u32 = 61_234;
/// A group beside its own, such as one that may reach a container engine.
const GROUP: u32 = 61_235;

/// Whether the user has what it needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Has {
    Everything,
    NoIds,
    NoGroup,
}

/// An ordinary user's host.
struct Host {
    dir: tempfile::TempDir,
    groups: Vec<PathBuf>,
    has: Has,
}

impl Host {
    fn new(has: Has) -> Self {
        assert!(is_root(), "an ordinary user can only be made up by root: run these tests as root");
        assert!(Path::new("/usr/bin/newuidmap").exists(), "level `user` needs the package `uidmap`");
        let dir = tempfile::tempdir().expect("directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("mode");
        for name in ["state", "home", "etc-upper", "etc-work"] {
            fs::create_dir(dir.path().join(name)).expect("directory");
        }
        for name in ["state", "home"] {
            chown(dir.path().join(name), Some(USER), Some(USER)).expect("owner");
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o700)).expect("mode");
        }
        // The target directory may be closed to other users.
        fs::copy(executable(), dir.path().join("stage")).expect("copy stage");
        let etc = dir.path().join("etc-upper");
        let passwd = fs::read_to_string("/etc/passwd").expect("accounts");
        fs::write(etc.join("passwd"), format!("{passwd}wren:x:{USER}:{USER}::/home/wren:/bin/sh\n")).expect("account");
        let range = if has == Has::NoIds { String::new() } else { format!("wren:{}:1000\n", 900_000_000) };
        for name in ["subuid", "subgid"] {
            fs::write(etc.join(name), &range).expect("range");
        }
        let groups = if has == Has::NoGroup { Vec::new() } else { delegate(dir.path()) };
        Self { dir, groups, has }
    }

    fn stage(&self, command: &str, arguments: &[&str]) -> Output {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        let join: String =
            self.groups.iter().map(|group| format!("echo $$ > {}/cgroup.procs\n", group.display())).collect();
        let script = format!(
            "set -e\nmount -t overlay none -o lowerdir=/etc,upperdir={},workdir={} /etc\n{join}\
             exec setpriv --reuid {USER} --regid {USER} --groups {GROUP} --inh-caps=-all {} {command} {} user \"$@\"",
            at("etc-upper"),
            at("etc-work"),
            at("stage"),
            at("state"),
        );
        let mut unshare = Command::new("unshare");
        unshare
            .args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"])
            .args(arguments)
            .current_dir("/");
        unshare.output().expect("unshare")
    }

    /// A tree of the user's own, closed to everyone else.
    fn tree(&self) -> PathBuf {
        let tree = self.dir.path().join("home/tree");
        fs::create_dir_all(tree.join("src")).expect("tree");
        fs::write(tree.join("src/a"), "a\n").expect("file");
        fs::write(tree.join("b"), "b\n").expect("file");
        for path in ["", "src", "src/a", "b"] {
            chown(tree.join(path), Some(USER), Some(USER)).expect("owner");
        }
        fs::set_permissions(tree.join("b"), fs::Permissions::from_mode(0o600)).expect("mode");
        tree
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for group in &self.groups {
            let _ = fs::remove_dir(group.join("keeper"));
            let _ = fs::remove_dir(group);
        }
        if self.has == Has::Everything && !std::thread::panicking() {
            let left: Vec<_> = self.groups.iter().filter(|group| group.exists()).collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}

/// Control groups given to the user, as a service manager would, beside where this test runs.
fn delegate(dir: &Path) -> Vec<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").expect("own groups");
    let name = format!("user-{}", dir.file_name().expect("name").to_string_lossy());
    let mut groups = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next().expect("controllers"), fields.next().expect("path"));
        let roots = match controllers {
            "" => ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(PathBuf::from).to_vec(),
            "memory" | "pids" | "cpu" | "cpu,cpuacct" => vec![Path::new("/sys/fs/cgroup").join(controllers)],
            _ => continue,
        };
        let Some(root) = roots.into_iter().find(|root| root.join("cgroup.procs").exists()) else { continue };
        let group = root.join(path.trim_start_matches('/')).join(&name);
        fs::create_dir(&group).expect("control group");
        for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "tasks"] {
            if group.join(file).exists() {
                chown(group.join(file), Some(USER), Some(USER)).expect("delegate");
            }
        }
        groups.push(group);
    }
    groups
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_attack_is_refused_inside_at_level_user() {
    let host = Host::new(Has::Everything);
    let script = format!("exec -a {} /opt/bound \"$@\"", selvedge_prober::NAME);
    let prober = host.dir.path().join("stage").display().to_string();
    let output = host.stage("bound", &["read", &prober, "bash", "-c", &script, "bash", "try", "all"]);
    let lines: Vec<Line> = text(&output.stdout).lines().filter_map(Line::parse).collect();
    let wrong: Vec<_> = lines.iter().filter(|line| line.outcome != "refused").collect();
    assert!(wrong.is_empty() && lines.len() == attacks().len(), "{wrong:#?}\n{}", text(&output.stderr));
    assert!(attacks().iter().any(|attack| attack.control == Control::Arena));
}

#[test]
fn the_sandbox_is_neither_the_keeper_nor_another_account() {
    let host = Host::new(Has::Everything);
    let output = host.stage("run", &["sh", "-c", "id -u; cat /proc/self/uid_map; grep Groups: /proc/self/status"]);
    let output = text(&output.stdout);
    let fields: Vec<&str> = output.split_whitespace().collect();
    // Inside, the map shows host ids as the keeper's namespace numbers them.
    assert!(fields.starts_with(&["1000", "1000", "900000000", "1"]), "{fields:?}");
    assert!(fields.ends_with(&["Groups:"]), "a group of the keeper's was kept: {fields:?}");
}

#[test]
fn a_workspace_of_the_keeper_can_be_edited_and_collected() {
    let host = Host::new(Has::Everything);
    let tree = host.tree();
    let script = "set -e; test -O src/a; echo more >> src/a; chmod 700 b; umask 077; mkdir new; echo secret > new/file; rm -f gone";
    let output = host.stage("work", &[tree.to_str().expect("path"), "sh", "-c", script]);
    let (seen, error) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{seen}\n{error}");
    let paths: Vec<&str> = seen.lines().filter_map(|line| line.split('"').nth(1)).collect();
    assert_eq!(paths, ["b", "new/file", "src/a"], "{seen}\n{error}");
    assert!(seen.contains("Executable"), "{seen}");
    assert_eq!(fs::read_to_string(tree.join("src/a")).expect("file"), "a\n");
}

#[test]
fn programs_and_reads_are_seen_at_level_user_e2() {
    let host = Host::new(Has::Everything);
    let tree = host.tree();
    let script = "cat src/a; /usr/bin/printf 'told\\n'";
    let output = host.stage("observe", &[tree.to_str().expect("path"), "src/a", "sh", "-c", script]);
    let seen = text(&output.stdout);
    for line in ["asked for sh [\"sh\", \"-c\",", "asked for /usr/bin/printf [\"/usr/bin/printf\", \"told"] {
        assert!(seen.contains(line), "{line}: {seen}\n{}", text(&output.stderr));
    }
    assert!(seen.lines().any(|line| line == "read src/a"), "{seen}");
    let output = host.stage("observe", &[tree.to_str().expect("path"), "src/a", "sh", "-c", "cat b; ls -l src"]);
    assert!(!text(&output.stdout).contains("read src/a"), "nobody read it");
}

#[test]
fn a_directory_bound_to_be_written_is_written_as_the_keeper() {
    let host = Host::new(Has::Everything);
    let tree = host.tree();
    let output = host.stage(
        "bound",
        &[
            "write",
            tree.to_str().expect("path"),
            "sh",
            "-c",
            "echo new > /opt/bound/new; cat /opt/bound/b; grep -c 'Groups:.*[0-9]' /proc/self/status",
        ],
    );
    assert_eq!(text(&output.stdout), "b\n0\n", "{}", text(&output.stderr));
    assert_eq!(fs::metadata(tree.join("new")).expect("file").uid(), USER);
    let output = host
        .stage("bound", &["copy", tree.to_str().expect("path"), "sh", "-c", "echo x > /opt/bound/b; cat /opt/bound/b"]);
    assert_eq!(text(&output.stdout), "x\n", "{}", text(&output.stderr));
    assert_eq!(fs::read_to_string(tree.join("b")).expect("file"), "b\n");
}

#[test]
fn without_subordinate_ids_the_start_is_refused_with_the_remedy() {
    let host = Host::new(Has::NoIds);
    let output = host.stage("run", &["true"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("/etc/subuid") && error.contains("usermod --add-subuids"), "{error}");
}

#[test]
fn without_a_delegated_group_the_start_is_refused_with_the_remedy() {
    let host = Host::new(Has::NoGroup);
    let output = host.stage("run", &["true"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("control groups is missing") && error.contains("Delegate=yes"), "{error}");
    let left: Vec<_> = fs::read_dir(host.dir.path().join("state/sandboxes")).expect("records").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn level_full_is_refused_to_an_ordinary_user() {
    let host = Host::new(Has::Everything);
    let stage = host.dir.path().join("stage").display().to_string();
    let state = host.dir.path().join("state").display().to_string();
    let user = USER.to_string();
    let output = Command::new("setpriv")
        .args(["--reuid", &user, "--regid", &user, "--clear-groups", &stage, "run", &state, "full", "true"])
        .current_dir("/")
        .output()
        .expect("setpriv");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("needs a keeper that is root"), "{}", text(&output.stderr));
}
