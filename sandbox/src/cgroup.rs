//! Owns control groups: where this host keeps them (version 2, version 1, or both beside each other), the ones a sandbox
//! is counted in, and its certain death. Knows nothing else of a sandbox.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::place::Limits;

/// What must be limited.
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];
/// What every directory of ours begins with, so that a person sees whose it is.
const PREFIX: &str = "selvedge-";
/// Where processes of a version 2 group go when its children are to be limited. No sandbox can have this name.
const LEAF: &str = "selvedge.keeper";
/// How often we look whether the last process is gone. Death itself takes tens of milliseconds at worst.
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// Where groups are made on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchies {
    /// Version 2, with the controllers that are bound to it.
    unified: Option<(PathBuf, BTreeSet<String>)>,
    /// Version 1, by controller.
    legacy: BTreeMap<String, PathBuf>,
}

impl Hierarchies {
    /// Looks at this host.
    pub(crate) fn of_host() -> io::Result<Self> {
        Ok(Self::parse(
            &fs::read_to_string("/proc/self/mountinfo")?,
            &fs::read_to_string("/proc/self/cgroup")?,
            |dir| fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default(),
        ))
    }

    fn parse(mounts: &str, own: &str, controllers_of: impl Fn(&Path) -> String) -> Self {
        let own: Vec<(&str, &str)> =
            own.lines().filter_map(|line| line.split_once(':').and_then(|(_, rest)| rest.split_once(':'))).collect();
        let mut found = Self { unified: None, legacy: BTreeMap::new() };
        for line in mounts.lines() {
            let Some((before, after)) = line.split_once(" - ") else { continue };
            let (before, after): (Vec<&str>, Vec<&str>) = (before.split(' ').collect(), after.split(' ').collect());
            let (Some(root), Some(point), Some(kind), Some(options)) =
                (before.get(3), before.get(4), after.first(), after.get(2))
            else {
                continue;
            };
            let here = |path: &str| {
                let inside = path.strip_prefix(root.trim_end_matches('/')).unwrap_or("/");
                Path::new(point).join(inside.trim_start_matches('/'))
            };
            match *kind {
                "cgroup2" => {
                    let path = own.iter().find(|(names, _)| names.is_empty()).map_or("/", |(_, path)| path);
                    // A keeper before us, or we ourselves, may have moved to the leaf.
                    let dir = here(path.strip_suffix(LEAF).map_or(path, |above| above.trim_end_matches('/')));
                    let controllers = controllers_of(&dir).split_whitespace().map(str::to_owned).collect();
                    found.unified = Some((dir, controllers));
                }
                "cgroup" => {
                    for (names, path) in &own {
                        for name in names.split(',').filter(|name| options.split(',').any(|option| option == *name)) {
                            found.legacy.insert(name.to_owned(), here(path));
                        }
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// The controllers that no hierarchy offers.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        CONTROLLERS.into_iter().filter(|name| !self.in_unified(name) && !self.legacy.contains_key(*name)).collect()
    }

    fn in_unified(&self, controller: &str) -> bool {
        self.unified.as_ref().is_some_and(|(_, controllers)| controllers.contains(controller))
    }

    /// A word for people: which versions are used.
    pub(crate) fn shown(&self) -> &'static str {
        match (&self.unified, CONTROLLERS.iter().all(|name| self.in_unified(name))) {
            (Some(_), true) => "version 2",
            (Some(_), false) => "version 1, with version 2 for killing",
            (None, _) => "version 1",
        }
    }

    /// Lets children of our own version 2 group use the controllers. A group whose children do may hold no process
    /// itself, so those in it (this one, as a rule) move to a leaf.
    fn enable(&self) -> io::Result<()> {
        let Some((dir, controllers)) = &self.unified else { return Ok(()) };
        let wanted: Vec<String> =
            CONTROLLERS.into_iter().filter(|name| controllers.contains(*name)).map(|name| format!("+{name}")).collect();
        let control = dir.join("cgroup.subtree_control");
        let enabled = fs::read_to_string(&control)?;
        if wanted.iter().all(|name| enabled.split_whitespace().any(|have| name.strip_prefix('+') == Some(have))) {
            return Ok(());
        }
        match fs::write(&control, wanted.join(" ")) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                let leaf = dir.join(LEAF);
                make(&leaf)?;
                for pid in pids_in(dir)? {
                    match fs::write(leaf.join("cgroup.procs"), pid.to_string()) {
                        // It ended meanwhile.
                        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
                        moved => moved?,
                    }
                }
                fs::write(&control, wanted.join(" "))
            }
            written => written,
        }
    }

    /// The directories a sandbox of this name will have.
    pub(crate) fn group(&self, name: &str) -> Group {
        let name = format!("{PREFIX}{name}");
        let unified = self.unified.as_ref().map(|(dir, _)| dir.join(&name));
        let legacy = CONTROLLERS
            .into_iter()
            .chain(unified.is_none().then_some("freezer"))
            .filter(|controller| !self.in_unified(controller))
            .filter_map(|controller| self.legacy.get(controller).map(|dir| (controller.to_owned(), dir.join(&name))))
            .collect();
        Group { unified, legacy }
    }

    /// Makes the directories of a group and sets its limits.
    pub(crate) fn make(&self, group: &Group, limits: &Limits) -> io::Result<()> {
        self.enable()?;
        for dir in group.directories() {
            make(dir).map_err(|error| on(dir, &error))?;
        }
        let quota = u64::from(limits.cpu_percent) * (CPU_PERIOD_MICROSECONDS / 100);
        for (controller, version_2, version_1, value) in [
            ("memory", "memory.max", "memory.limit_in_bytes", limits.memory_bytes.to_string()),
            ("pids", "pids.max", "pids.max", limits.pids.to_string()),
        ] {
            group.set(controller, version_2, version_1, &value)?;
        }
        match group.legacy.get("cpu") {
            Some(_) => {
                group.set("cpu", "", "cpu.cfs_period_us", &CPU_PERIOD_MICROSECONDS.to_string())?;
                group.set("cpu", "", "cpu.cfs_quota_us", &quota.to_string())?;
            }
            None => group.set("cpu", "cpu.max", "", &format!("{quota} {CPU_PERIOD_MICROSECONDS}"))?,
        }
        // Without these a limit on memory would only move pages to swap. Not every kernel can swap, so not every kernel
        // has the files.
        for (version_2, version_1, value) in
            [("memory.swap.max", "memory.swappiness", "0"), ("memory.oom.group", "", "0")]
        {
            let _ = group.set("memory", version_2, version_1, value);
        }
        Ok(())
    }
}

/// The kernel's own default.
const CPU_PERIOD_MICROSECONDS: u64 = 100_000;

/// The control groups of one sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Group {
    unified: Option<PathBuf>,
    legacy: BTreeMap<String, PathBuf>,
}

impl Group {
    /// The group a record names by its directories. Only directories with our own prefix are believed.
    pub(crate) fn recorded(directories: impl IntoIterator<Item = PathBuf>) -> Self {
        let ours = |dir: &PathBuf| dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        let mut group = Self::default();
        for dir in directories.into_iter().filter(ours) {
            if dir.join("cgroup.kill").exists() || dir.join("cgroup.freeze").exists() {
                group.unified = Some(dir);
            } else {
                group.legacy.insert(dir.display().to_string(), dir);
            }
        }
        group
    }

    /// Every directory of it.
    pub(crate) fn directories(&self) -> impl Iterator<Item = &PathBuf> {
        self.unified.iter().chain(self.legacy.values())
    }

    /// The version 2 directory a process is born in.
    pub(crate) fn unified(&self) -> Option<&PathBuf> {
        self.unified.as_ref()
    }

    /// The version 1 files a process must write itself to.
    pub(crate) fn attach(&self) -> Vec<PathBuf> {
        self.legacy.values().map(|dir| dir.join("tasks")).collect()
    }

    fn file(&self, controller: &str, version_2: &str, version_1: &str) -> Option<PathBuf> {
        match self.legacy.get(controller) {
            Some(dir) => (!version_1.is_empty()).then(|| dir.join(version_1)),
            None => self.unified.as_ref().filter(|_| !version_2.is_empty()).map(|dir| dir.join(version_2)),
        }
    }

    fn set(&self, controller: &str, version_2: &str, version_1: &str, value: &str) -> io::Result<()> {
        match self.file(controller, version_2, version_1) {
            Some(file) => fs::write(&file, value).map_err(|error| on(&file, &error)),
            None => Ok(()),
        }
    }

    /// A counter such as `oom_kill` in a file of `name value` lines.
    fn counter(&self, controller: &str, version_2: &str, version_1: &str, name: &str) -> u64 {
        let text = self
            .file(controller, version_2, version_1)
            .and_then(|file| fs::read_to_string(file).ok())
            .unwrap_or_default();
        let value = text.lines().filter_map(|line| line.split_once(' ')).find(|(key, _)| *key == name);
        value.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
    }

    /// Whether a process was killed for want of memory.
    pub(crate) fn memory_was_short(&self) -> bool {
        self.counter("memory", "memory.events", "memory.oom_control", "oom_kill") > 0
    }

    /// Whether a process could not be made.
    pub(crate) fn processes_were_short(&self) -> bool {
        self.counter("pids", "pids.events", "pids.events", "max") > 0
    }

    /// Stops or continues every process.
    pub(crate) fn set_frozen(&self, frozen: Frozen) -> io::Result<()> {
        match (&self.unified, self.legacy.get("freezer")) {
            (Some(dir), _) => fs::write(dir.join("cgroup.freeze"), if frozen == Frozen::Yes { "1" } else { "0" }),
            (None, Some(dir)) => {
                fs::write(dir.join("freezer.state"), if frozen == Frozen::Yes { "FROZEN" } else { "THAWED" })
            }
            (None, None) => Err(io::Error::from(io::ErrorKind::Unsupported)),
        }
    }

    /// Whether [`Self::set_frozen`] has something to write to.
    pub(crate) fn can_freeze(&self) -> bool {
        match (&self.unified, self.legacy.get("freezer")) {
            (Some(dir), _) => dir.join("cgroup.freeze").exists(),
            (None, Some(dir)) => dir.join("freezer.state").exists(),
            (None, None) => false,
        }
    }

    /// Stops every process and returns when the kernel says that each has.
    pub(crate) fn freeze(&self, deadline: Duration) -> io::Result<()> {
        let until = Instant::now() + deadline;
        self.set_frozen(Frozen::Yes)?;
        while !self.is_frozen()? {
            if Instant::now() >= until {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "processes of the control group still run"));
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn is_frozen(&self) -> io::Result<bool> {
        match (&self.unified, self.legacy.get("freezer")) {
            (Some(dir), _) => Ok(fs::read_to_string(dir.join("cgroup.events"))?.lines().any(|line| line == "frozen 1")),
            (None, Some(dir)) => Ok(fs::read_to_string(dir.join("freezer.state"))?.trim() == "FROZEN"),
            (None, None) => Err(io::Error::from(io::ErrorKind::Unsupported)),
        }
    }

    /// The processes alive in it.
    pub(crate) fn pids(&self) -> io::Result<Vec<i32>> {
        let mut pids = BTreeSet::new();
        for dir in self.directories() {
            match pids_in(dir) {
                Ok(found) => pids.extend(found),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(pids.into_iter().collect())
    }

    /// Kills every process and returns when none is left.
    pub(crate) fn kill(&self, deadline: Duration) -> io::Result<()> {
        let until = Instant::now() + deadline;
        loop {
            self.kill_once()?;
            if self.pids()?.is_empty() {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "processes are still alive in the control group"));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    fn kill_once(&self) -> io::Result<()> {
        if let Some(dir) = &self.unified {
            match fs::write(dir.join("cgroup.kill"), "1") {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) => return Ok(()),
                Err(_) => {}
            }
        }
        // Before Linux 5.14. Frozen processes cannot fork while they are counted, and die when thawed.
        let _ = self.set_frozen(Frozen::Yes);
        for pid in self.pids()? {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let _ = self.set_frozen(Frozen::No);
        Ok(())
    }

    /// Removes the directories; there must be no process left. Those gone already are no error.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let until = Instant::now() + REMOVE_MAX;
        for dir in self.directories() {
            loop {
                match fs::remove_dir(dir) {
                    Ok(()) => break,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                    // The last process is reaped, but the kernel has not let go of it.
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < until => {
                        thread::sleep(LOOK_EVERY)
                    }
                    Err(error) => return Err(on(dir, &error)),
                }
            }
        }
        Ok(())
    }
}

/// How long the kernel may take to let go of dead processes.
const REMOVE_MAX: Duration = Duration::from_secs(10);

/// Whether processes stand still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frozen {
    /// They do.
    Yes,
    /// They run.
    No,
}

fn make(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn pids_in(dir: &Path) -> io::Result<Vec<i32>> {
    Ok(fs::read_to_string(dir.join("cgroup.procs"))?.lines().filter_map(|line| line.parse().ok()).collect())
}

fn on(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 24 0:26 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
31 24 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 24 0:28 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
33 24 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn a_hybrid_host_limits_by_version_1_and_kills_by_version_2() {
        let own = "4:memory:/service/a\n3:pids:/\n2:cpu,cpuacct:/\n0::/\n";
        let found = Hierarchies::parse(HYBRID, own, |_| "hugetlb".to_owned());
        assert!(found.missing().is_empty());
        let group = found.group("x");
        assert_eq!(group.unified(), Some(&PathBuf::from("/sys/fs/cgroup/unified/selvedge-x")));
        assert_eq!(
            group.file("memory", "memory.max", "memory.limit_in_bytes"),
            Some("/sys/fs/cgroup/memory/service/a/selvedge-x/memory.limit_in_bytes".into())
        );
        assert_eq!(group.attach().len(), 3);
    }

    #[test]
    fn a_version_2_host_needs_no_attaching() {
        let mounts = "29 23 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = Hierarchies::parse(mounts, "0::/user.slice/a.service\n", |dir| {
            assert_eq!(dir, Path::new("/sys/fs/cgroup/user.slice/a.service"));
            "cpuset cpu io memory pids".to_owned()
        });
        assert!(found.missing().is_empty());
        let group = found.group("x");
        assert!(group.attach().is_empty());
        assert_eq!(
            group.file("pids", "pids.max", "pids.max"),
            Some("/sys/fs/cgroup/user.slice/a.service/selvedge-x/pids.max".into())
        );
    }

    #[test]
    fn a_keeper_in_the_leaf_makes_groups_beside_it() {
        let mounts = "29 23 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = Hierarchies::parse(mounts, "0::/a.service/selvedge.keeper\n", |_| "cpu memory pids".to_owned());
        assert_eq!(found.group("x").unified(), Some(&PathBuf::from("/sys/fs/cgroup/a.service/selvedge-x")));
        assert!(!crate::footprint::is_id("keeper.") && !LEAF.starts_with(PREFIX));
    }

    #[test]
    fn a_version_1_host_is_killed_through_the_freezer() {
        let mounts = format!(
            "{}34 24 0:30 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n",
            HYBRID.rsplit_once("33 ").unwrap().0
        );
        let found =
            Hierarchies::parse(&mounts, "5:freezer:/\n4:memory:/\n3:pids:/\n2:cpu,cpuacct:/\n", |_| String::new());
        assert_eq!(found.group("x").attach().len(), 4);
    }

    #[test]
    fn a_bind_mounted_part_of_a_hierarchy_is_walked_from_its_root() {
        let mounts = "31 24 0:27 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let found = Hierarchies::parse(mounts, "4:memory:/docker/abc/sub\n", |_| String::new());
        assert_eq!(found.legacy["memory"], Path::new("/sys/fs/cgroup/memory/sub"));
        assert_eq!(found.missing(), ["pids", "cpu"]);
    }

    #[test]
    fn limits_are_written_where_version_2_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cgroup.subtree_control"), "cpu memory pids\n").unwrap();
        let controllers = CONTROLLERS.map(str::to_owned).into();
        let found = Hierarchies { unified: Some((dir.path().to_owned(), controllers)), legacy: BTreeMap::new() };
        let group = found.group("x");
        found.make(&group, &Limits { memory_bytes: 1000, pids: 7, cpu_percent: 150, ..Limits::default() }).unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join("selvedge-x").join(name)).unwrap();
        assert_eq!(
            (read("memory.max"), read("pids.max"), read("cpu.max")),
            ("1000".into(), "7".into(), "150000 100000".into())
        );
        assert_eq!(read("memory.swap.max"), "0");
    }

    #[test]
    fn a_record_cannot_name_a_group_that_is_not_ours() {
        assert_eq!(Group::recorded(["/sys/fs/cgroup/pids/system.slice".into(), "/".into()]).directories().count(), 0);
    }
}
