//! Owns the namespaces the sandbox is born into and which host user its only user stands for. Run by the launcher,
//! outside.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};

use crate::error::{Failed, Named, Step};
use crate::spec::{Mapping, Owner, USER};
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
            write_map(pid, "uid_map", USER, owner.uid)?;
            write_map(pid, "gid_map", USER, owner.gid)
        }
        Mapping::ByHelpers { newuidmap, newgidmap } => {
            run_helper(newuidmap, pid, owner.uid, owner.keeper.0)?;
            run_helper(newgidmap, pid, owner.gid, owner.keeper.1)
        }
    }
}

/// Where ids must be translated: a user namespace in which `inside` stands for `outside`. It lives as long as the
/// descriptor; the process that was needed to make it is gone.
pub(crate) fn translation(inside: (u32, u32), outside: (u32, u32)) -> Step<OwnedFd> {
    const STEP: &str = "make translation of ids";
    let (pid, handle) = match sys::clone_into(libc::CLONE_NEWUSER, None).step(STEP)? {
        // The parent kills us as soon as the namespace is held by a descriptor.
        Side::Child => loop {
            let _ = sys::poll(&[], -1);
        },
        Side::Parent(child) => child,
    };
    let made = write_translation(pid, inside, outside)
        .and_then(|()| fs::File::open(format!("/proc/{pid}/ns/user")).step(STEP));
    sys::kill(handle.as_fd()).step(STEP)?;
    sys::wait(pid).step(STEP)?;
    made.map(OwnedFd::from)
}

fn write_translation(pid: libc::pid_t, inside: (u32, u32), outside: (u32, u32)) -> Step<()> {
    write_map(pid, "uid_map", inside.0, outside.0)?;
    // An ordinary user may map its group only once nobody in there can leave groups any more.
    fs::write(format!("/proc/{pid}/setgroups"), "deny").step("forbid leaving groups")?;
    write_map(pid, "gid_map", inside.1, outside.1)
}

fn write_map(pid: libc::pid_t, which: &str, inside: u32, outside: u32) -> Step<()> {
    fs::write(format!("/proc/{pid}/{which}"), format!("{inside} {outside} 1\n")).step_on("write", which)
}

/// `newuidmap` and `newgidmap` are setuid programs of the host that allow what `/etc/subuid` and `/etc/subgid` say. The
/// keeper's own id is mapped beside the sandbox's, so that its files can be given away on a private copy; no process
/// that runs the program has it.
fn run_helper(program: &str, pid: libc::pid_t, id: u32, keeper: u32) -> Step<()> {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null()).stderr(Stdio::piped());
    command.args([pid.to_string(), USER.to_string(), id.to_string(), "1".to_owned()]);
    if id != keeper {
        command.args([(USER + 1).to_string(), keeper.to_string(), "1".to_owned()]);
    }
    let output = command.output().step_on("run", program)?;
    if output.status.success() {
        return Ok(());
    }
    let said: String = String::from_utf8_lossy(&output.stderr).trim().chars().take(300).collect();
    Err(Failed::because(program, said))
}
