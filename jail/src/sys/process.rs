//! Calls on processes: making, ending, waiting for, and taking privileges away from them.
#![expect(unsafe_code, reason = "these calls have no safe form in std; every block states why it is sound")]

use std::ffi::{CStr, CString};
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use libc::{c_int, pid_t};

use super::{check, check_long};

/// Which side of a clone or fork we are on.
#[derive(Debug)]
pub(crate) enum Side<P> {
    /// The new process.
    Child,
    /// The old process, with what it knows of the new one.
    Parent(P),
}

/// A fork into new namespaces: in the parent, the child's pid and a handle that can never mean another process.
pub(crate) fn clone_into(namespaces: c_int, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Side<(pid_t, OwnedFd)>> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut pidfd: c_int = -1;
    // SAFETY: `clone_args` is plain integers; zero means "not used" for each.
    let mut args: libc::clone_args = unsafe { zeroed() };
    args.flags =
        u64::try_from(namespaces | libc::CLONE_PIDFD).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    args.exit_signal = u64::try_from(libc::SIGCHLD).unwrap_or_default();
    args.pidfd = (&raw mut pidfd).addr() as u64;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(cgroup.as_raw_fd()).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    }
    // SAFETY: without CLONE_VM this is a fork; the launcher is single-threaded, so the child may go on as usual.
    let pid = check_long(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) })?;
    if pid == 0 {
        return Ok(Side::Child);
    }
    // SAFETY: with CLONE_PIDFD the kernel has stored a new descriptor in `pidfd`.
    Ok(Side::Parent((pid, unsafe { OwnedFd::from_raw_fd(pidfd) })))
}

/// An ordinary fork.
pub(crate) fn fork() -> io::Result<Side<pid_t>> {
    // SAFETY: the process is single-threaded, so the child may go on as usual.
    match check(unsafe { libc::fork() })? {
        0 => Ok(Side::Child),
        pid => Ok(Side::Parent(pid)),
    }
}

/// Waits for a child; `None` when there is no child left.
pub(crate) fn wait(pid: pid_t) -> io::Result<Option<(pid_t, c_int)>> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is a valid place for the result.
        match check(unsafe { libc::waitpid(pid, &raw mut status, 0) }) {
            Ok(reaped) => return Ok(Some((reaped, status))),
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::ECHILD) => return Ok(None),
                _ => return Err(error),
            },
        }
    }
}

/// SIGKILL through a process handle. A process already gone is no error.
pub(crate) fn kill(pidfd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no pointers but null are passed.
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), libc::SIGKILL, ptr::null::<u8>(), 0) };
    match check_long(result) {
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => Err(error),
        _ => Ok(()),
    }
}

/// Whether this process may send a signal to that one. None is sent.
pub(crate) fn may_signal(pid: pid_t) -> io::Result<()> {
    // SAFETY: takes numbers.
    check(unsafe { libc::kill(pid, 0) }).map(drop)
}

/// Ends this process at once: no destructors, no flushing of buffers that were copied by a fork.
pub(crate) fn exit_now(code: c_int) -> ! {
    // SAFETY: `_exit` does not return and touches no memory of ours.
    unsafe { libc::_exit(code) }
}

/// Becomes another program. Returns only on failure.
pub(crate) fn execve(program: &CStr, argv: &[CString], env: &[CString]) -> io::Error {
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both lists end with null and point at strings that outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// A `prctl` whose arguments are plain numbers.
pub(crate) fn prctl(option: c_int, argument: u64) -> io::Result<c_int> {
    // SAFETY: every option used in this crate takes integers only.
    check(unsafe { libc::prctl(option, argument, 0u64, 0u64, 0u64) })
}

/// Takes one user and group for good and leaves every supplementary group.
pub(crate) fn become_user(uid: libc::uid_t, gid: libc::gid_t) -> io::Result<()> {
    // SAFETY: the list of groups is empty, so no pointer is read.
    unsafe {
        check(libc::setgroups(0, ptr::null()))?;
        check(libc::setresgid(gid, gid, gid))?;
        check(libc::setresuid(uid, uid, uid))?;
    }
    Ok(())
}

/// Version 3 of the capability calls: a header, then three words for the low capabilities and three for the high.
const CAPABILITY_HEADER: [u32; 2] = [0x2008_0522, 0];

/// Empties the effective, permitted and inheritable capability sets.
pub(crate) fn drop_capability_sets() -> io::Result<()> {
    set_capabilities([0; 6])
}

/// Keeps only the capability to send signals to processes of other users.
pub(crate) fn keep_capability_to_kill() -> io::Result<()> {
    const KILL: u32 = 1 << 5;
    set_capabilities([KILL, KILL, 0, 0, 0, 0])
}

fn set_capabilities(data: [u32; 6]) -> io::Result<()> {
    // SAFETY: header and data have the sizes that version 3 prescribes.
    check_long(unsafe { libc::syscall(libc::SYS_capset, CAPABILITY_HEADER.as_ptr(), data.as_ptr()) }).map(drop)
}

/// The effective, permitted and inheritable sets, one bit per capability, joined by "or".
pub(crate) fn any_capability() -> io::Result<bool> {
    let (mut header, mut data) = (CAPABILITY_HEADER, [0u32; 6]);
    // SAFETY: header and data have the sizes that version 3 prescribes.
    check_long(unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), data.as_mut_ptr()) })?;
    Ok(data.iter().any(|word| *word != 0))
}

/// A new session without a terminal.
pub(crate) fn setsid() -> io::Result<()> {
    // SAFETY: takes no arguments.
    check(unsafe { libc::setsid() }).map(drop)
}

/// Limits a resource, soft and hard alike, to `value` or to what is already the most.
pub(crate) fn limit(resource: libc::__rlimit_resource_t, value: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid structure for both calls.
    unsafe {
        check(libc::getrlimit(resource, &raw mut limit))?;
        limit.rlim_max = limit.rlim_max.min(value);
        limit.rlim_cur = limit.rlim_max;
        check(libc::setrlimit(resource, &raw const limit)).map(drop)
    }
}

/// Gives every signal its default effect again and blocks none, as a program expects to find them.
pub(crate) fn default_signals() -> io::Result<()> {
    // SAFETY: the default handler is no code of ours; an emptied set is valid for the second call.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let mut none: libc::sigset_t = zeroed();
        check(libc::sigemptyset(&raw mut none))?;
        check(libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut()))?;
    }
    Ok(())
}

/// Sets the mask of permissions that new files lack.
pub(crate) fn umask(mask: libc::mode_t) {
    // SAFETY: cannot fail and takes a number.
    unsafe { libc::umask(mask) };
}

/// Sets the host name of this namespace.
pub(crate) fn sethostname(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length describe `name`.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// Tries to leave for new namespaces; the self-test expects this to fail.
pub(crate) fn unshare(namespaces: c_int) -> io::Result<()> {
    // SAFETY: takes a number.
    check(unsafe { libc::unshare(namespaces) }).map(drop)
}
