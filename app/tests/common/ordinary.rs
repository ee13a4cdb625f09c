//! An ordinary user for a scene: made up, with an account and subordinate ids in a mount namespace of its own and control groups that
//! were delegated to it. Nothing on the host changes.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Scene;

const USER: u32 = 61_236;

/// The user's control groups, removed at the end.
pub(crate) struct Ordinary {
    groups: Vec<PathBuf>,
}

impl Ordinary {
    /// Makes the scene this user's: from here on `selvedge` is theirs, and so is all it works with.
    pub(crate) fn owns(scene: &mut Scene) -> Self {
        assert!(super::is_root(), "needs root: only root can make up an ordinary user");
        assert!(Path::new("/usr/bin/newuidmap").exists(), "level `user` needs the package `uidmap`");
        let at = |name: &str| scene.path(name).display().to_string();
        for name in ["etc-upper", "etc-work", "bin"] {
            std::fs::create_dir(scene.path(name)).unwrap();
        }
        let accounts = std::fs::read_to_string("/etc/passwd").unwrap();
        let account = format!("{accounts}wren:x:{USER}:{USER}::{}:/bin/sh\n", at("home"));
        std::fs::write(scene.path("etc-upper/passwd"), account).unwrap();
        for name in ["etc-upper/subuid", "etc-upper/subgid"] {
            std::fs::write(scene.path(name), format!("wren:{}:1000\n", 910_000_000)).unwrap();
        }
        // The target directory may be closed to other users.
        let executable = Path::new(env!("CARGO_BIN_EXE_selvedge"));
        for name in ["selvedge", "selvedge-door"] {
            std::fs::copy(executable.with_file_name(name), scene.path("bin").join(name)).unwrap();
        }
        // Files of installed agents are shared with other scenes, and readable by everybody.
        let theirs =
            r"find home anchor repo state \( -type d -o -not -path 'state/agents/*' \) -exec chown -h $0:$0 {} +";
        let mut chown = Command::new("sh");
        chown.args(["-c", theirs, &USER.to_string()]).current_dir(scene.path("."));
        assert!(chown.status().unwrap().success());
        std::fs::set_permissions(scene.path("."), std::fs::Permissions::from_mode(0o755)).unwrap();
        let groups = delegated(scene.path(".").canonicalize().unwrap().file_name().unwrap().to_str().unwrap());
        let join: String = groups.iter().map(|group| format!("echo $$ > {}/cgroup.procs\n", group.display())).collect();
        let script = format!(
            "set -e\nmount -t overlay none -o lowerdir=/etc,upperdir={},workdir={} /etc\n{join}\
             exec setpriv --reuid {USER} --regid {USER} --clear-groups --inh-caps=-all {}/selvedge \"$@\"",
            at("etc-upper"),
            at("etc-work"),
            at("bin"),
        );
        let unshared = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"];
        scene.behind = unshared.map(str::to_owned).to_vec();
        Self { groups }
    }
}

impl Drop for Ordinary {
    fn drop(&mut self) {
        for group in &self.groups {
            let _keeper_s = std::fs::remove_dir(group.join("keeper"));
            let _gone = std::fs::remove_dir(group);
        }
    }
}

/// Control groups given to the user, as a service manager would, beside where this test runs.
fn delegated(name: &str) -> Vec<PathBuf> {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let mut groups = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next().unwrap(), fields.next().unwrap());
        let roots = match controllers {
            "" => ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(PathBuf::from).to_vec(),
            "memory" | "pids" | "cpu" | "cpu,cpuacct" => vec![Path::new("/sys/fs/cgroup").join(controllers)],
            _ => continue,
        };
        let Some(root) = roots.into_iter().find(|root| root.join("cgroup.procs").exists()) else { continue };
        let group = root.join(path.trim_start_matches('/')).join(name);
        std::fs::create_dir(&group).unwrap();
        for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "tasks"] {
            if group.join(file).exists() {
                chown(group.join(file), Some(USER), Some(USER)).unwrap();
            }
        }
        groups.push(group);
    }
    groups
}
