//! Owns the namespaces the sandbox is born into and which host user its only user stands for. Run by the launcher,
//! outside.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{Failed, Named, Step};
use crate::spec::{BESIDE, Mapping, Owner, USER};
use crate::sys::{self, Side};

/// Every namespace there is, except that of clocks, which changes nothing a sandbox could misuse.
const ALL: libc::c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// Forks the first process into namespaces of its own and, where there is one, into its control group.
pub(crate) fn enter_all(group: Option<BorrowedFd<'_>>) -> Step<Side<(libc::pid_t, OwnedFd)>> {
    sys::clone_into(ALL, group).step("clone into namespaces")
}

/// Lets user and group 1000 of the first process stand for the owner, and nothing else for anything.
pub(crate) fn map_owner(pid: libc::pid_t, owner: &Owner) -> Step<()> {
    match &owner.mapping {
        Mapping::ByRoot => {
            let entry = Path::new("/proc").join(pid.to_string());
            write_map(&entry, "uid_map", USER, owner.uid)?;
            write_map(&entry, "gid_map", USER, owner.gid)
        }
        Mapping::ByHelpers { newuidmap, newgidmap, beside } => {
            run_helper(newuidmap, pid, owner.uid, beside.0)?;
            run_helper(newgidmap, pid, owner.gid, beside.1)
        }
    }
}

/// Where ids must be translated: a user namespace in which one user and group stand for others.
#[derive(Debug)]
#[must_use = "end it, or its process stays until this one ends"]
pub(crate) struct Translation {
    namespace: OwnedFd,
    /// Does nothing; without a process in it the namespace could not be made.
    pid: libc::pid_t,
}

impl Translation {
    /// Lets `inside` stand for `outside`. `proc` is a mount of this process's own process ids.
    pub(crate) fn make(proc: &Path, inside: (u32, u32), outside: (u32, u32)) -> Step<Self> {
        const STEP: &str = "make translation of ids";
        let (pid, handle) = match sys::clone_into(libc::CLONE_NEWUSER, None).step(STEP)? {
            // The parent kills us as soon as the namespace is held by a descriptor.
            Side::Child => loop {
                let _ = sys::poll(&[], -1);
            },
            Side::Parent(child) => child,
        };
        let entry = proc.join(pid.to_string());
        let made =
            write_translation(&entry, inside, outside).and_then(|()| fs::File::open(entry.join("ns/user")).step(STEP));
        sys::kill(handle.as_fd()).step(STEP)?;
        Ok(Self { namespace: made?.into(), pid })
    }

    /// Reaps the process, which takes as long as the scheduler takes to let it die.
    pub(crate) fn end(self) -> Step<()> {
        sys::wait(self.pid).step("end translation of ids").map(drop)
    }
}

impl AsFd for Translation {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }
}

fn write_translation(entry: &Path, inside: (u32, u32), outside: (u32, u32)) -> Step<()> {
    write_map(entry, "uid_map", inside.0, outside.0)?;
    fs::write(entry.join("setgroups"), "deny").step("forbid leaving groups")?;
    write_map(entry, "gid_map", inside.1, outside.1)
}

fn write_map(entry: &Path, which: &str, inside: u32, outside: u32) -> Step<()> {
    fs::write(entry.join(which), format!("{inside} {outside} 1\n")).step_on("write id map", which)
}

/// `newuidmap` and `newgidmap` are setuid programs of the host that allow what `/etc/subuid` and `/etc/subgid` say. A
/// second id is mapped beside the sandbox's; no process that runs the program has it.
fn run_helper(program: &str, pid: libc::pid_t, id: u32, beside: u32) -> Step<()> {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null()).stderr(Stdio::piped());
    command.arg(pid.to_string()).args([USER, id, 1, BESIDE, beside, 1].map(|number| number.to_string()));
    let output = command.output().step_on("run", program)?;
    if output.status.success() {
        return Ok(());
    }
    let said: String = String::from_utf8_lossy(&output.stderr).trim().chars().take(300).collect();
    Err(Failed::because(program, said))
}
