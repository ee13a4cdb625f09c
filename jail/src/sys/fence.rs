//! Calls that fence: the system call filter with its notifications, Landlock, and the loopback interface.
#![expect(unsafe_code, reason = "these calls have no safe form in std; every block states why it is sound")]

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use libc::c_long;

use super::descriptor::owned;
use super::{check, check_long};

/// Turns the loopback interface of this network namespace on.
pub(crate) fn loopback_up() -> io::Result<()> {
    // SAFETY: takes numbers; the result is a new descriptor.
    let socket = owned(c_long::from(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }))?;
    // SAFETY: `ifreq` is plain bytes and integers.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or_default();
    // SAFETY: the request has the type this ioctl reads.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }).map(drop)
}

/// Installs a filter on this thread and returns the descriptor its notifications come out of.
pub(crate) fn install_filter(program: &[libc::sock_filter]) -> io::Result<OwnedFd> {
    let length = libc::c_ushort::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let description = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    let (mode, flag) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    // SAFETY: the description points at `program`, which outlives the call; the kernel only reads it.
    owned(unsafe { libc::syscall(libc::SYS_seccomp, mode, flag, &raw const description) })
}

/// A call the filter refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notified {
    /// The kernel's cookie for the answer.
    id: u64,
    /// Who called, as this process sees it; 0 if it cannot be seen.
    pub(crate) pid: u32,
    /// The system call number.
    pub(crate) number: i32,
}

/// Takes one notification; `None` when the caller died before we looked.
pub(crate) fn take_notification(listener: BorrowedFd<'_>) -> io::Result<Option<Notified>> {
    // SAFETY: plain integers, and the kernel demands zeroes.
    let mut notice: libc::seccomp_notif = unsafe { zeroed() };
    // SAFETY: the structure has the type and size this ioctl writes.
    match check(unsafe { libc::ioctl(listener.as_raw_fd(), NOTIFY_RECEIVE, &raw mut notice) }) {
        Ok(_) => Ok(Some(Notified { id: notice.id, pid: notice.pid, number: notice.data.nr })),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Answers "operation not permitted". There is no function that lets a call continue, and there never is to be one.
pub(crate) fn answer_refused(listener: BorrowedFd<'_>, notified: Notified) -> io::Result<()> {
    let mut answer = libc::seccomp_notif_resp { id: notified.id, val: 0, error: -libc::EPERM, flags: 0 };
    // SAFETY: the structure has the type and size this ioctl reads.
    match check(unsafe { libc::ioctl(listener.as_raw_fd(), NOTIFY_SEND, &raw mut answer) }) {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ => Ok(()),
    }
}

/// `SECCOMP_IOCTL_NOTIF_RECV`, which libc does not name: `_IOWR('!', 0, struct seccomp_notif)`.
const NOTIFY_RECEIVE: libc::Ioctl = 0xc050_2100;
/// `SECCOMP_IOCTL_NOTIF_SEND`: `_IOWR('!', 1, struct seccomp_notif_resp)`.
const NOTIFY_SEND: libc::Ioctl = 0xc018_2101;

/// The Landlock version this kernel speaks, 0 when it has none.
pub(crate) fn landlock_version() -> i32 {
    const CREATE_RULESET_VERSION: u32 = 1;
    let no_rules = ptr::null::<u8>();
    // SAFETY: with this flag the kernel reads nothing and returns a number.
    check_long(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, no_rules, 0usize, CREATE_RULESET_VERSION) })
        .unwrap_or(0)
}

/// Calls `clone3` with nothing, to see who refuses it.
pub(crate) fn clone3_nothing() -> io::Error {
    // SAFETY: a null pointer of no length, which the kernel refuses to read.
    unsafe { libc::syscall(libc::SYS_clone3, ptr::null::<u8>(), 0usize) };
    io::Error::last_os_error()
}
