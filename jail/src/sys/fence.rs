//! Calls that fence: the system call filter with its notifications, Landlock, and the loopback interface.
#![expect(unsafe_code, reason = "these calls have no safe form in std; every block states why it is sound")]

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use libc::c_long;

use super::descriptor::owned;
use super::{check, check_long};
use crate::syscalls::STARTS_PROGRAM;

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
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // Once taken, a notified call is interrupted by nothing but a kill: a program that is sent signals all the time, as Go's are,
    // would else begin its call again and again, and each time be told.
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    // SAFETY: the description points at `program`, which outlives the call; the kernel only reads it.
    owned(unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const description) })
}

/// A call the filter told us of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notified {
    /// The kernel's cookie for the answer.
    id: u64,
    /// Who called, as this process sees it; 0 if it cannot be seen.
    pub(crate) pid: u32,
    /// The system call number.
    pub(crate) number: i32,
    /// Its arguments: numbers and addresses in the caller.
    pub(crate) arguments: [u64; 6],
}

impl Notified {
    /// Whether it would start a program.
    pub(crate) fn starts_program(&self) -> bool {
        u32::try_from(self.number).is_ok_and(|number| STARTS_PROGRAM.contains(&number))
    }
}

/// Takes one notification; `None` when the caller died before we looked.
pub(crate) fn take_notification(listener: BorrowedFd<'_>) -> io::Result<Option<Notified>> {
    // SAFETY: plain integers, and the kernel demands zeroes.
    let mut notice: libc::seccomp_notif = unsafe { zeroed() };
    // SAFETY: the structure has the type and size this ioctl writes.
    match check(unsafe { libc::ioctl(listener.as_raw_fd(), NOTIFY_RECEIVE, &raw mut notice) }) {
        Ok(_) => {
            let (number, arguments) = (notice.data.nr, notice.data.args);
            Ok(Some(Notified { id: notice.id, pid: notice.pid, number, arguments }))
        }
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Answers "operation not permitted".
pub(crate) fn answer_refused(listener: BorrowedFd<'_>, notified: &Notified) -> io::Result<()> {
    answer(listener, libc::seccomp_notif_resp { id: notified.id, val: 0, error: -libc::EPERM, flags: 0 })
}

/// Lets a call go on that would start a program, after it was looked at. Such a call is allowed whatever was seen: the caller can
/// change what its arguments point at until the kernel reads them itself, so nothing is ever to be decided here. Every
/// other call is refused, and no function lets one go on.
pub(crate) fn answer_started(listener: BorrowedFd<'_>, notified: &Notified) -> io::Result<()> {
    /// `SECCOMP_USER_NOTIF_FLAG_CONTINUE`, as the field has it.
    const CONTINUE: u32 = 1;
    if !notified.starts_program() {
        return answer_refused(listener, notified);
    }
    answer(listener, libc::seccomp_notif_resp { id: notified.id, val: 0, error: 0, flags: CONTINUE })
}

/// Whether the caller still waits for its answer: if so, what was read under its number was read of it and of nobody later.
pub(crate) fn still_waits(listener: BorrowedFd<'_>, notified: &Notified) -> bool {
    let id = notified.id;
    // SAFETY: the argument has the type and size this ioctl reads.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), NOTIFY_STILL_VALID, &raw const id) }).is_ok()
}

/// Lets caller and listener take turns on one processor, which spares both the wait to be scheduled. Linux before 6.6 cannot.
pub(crate) fn take_turns(listener: BorrowedFd<'_>) -> io::Result<()> {
    const SYNC_WAKE_UP: libc::c_ulong = 1;
    // SAFETY: this ioctl takes its flags as a number.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), NOTIFY_SET_FLAGS, SYNC_WAKE_UP) }).map(drop)
}

fn answer(listener: BorrowedFd<'_>, mut answer: libc::seccomp_notif_resp) -> io::Result<()> {
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
/// `SECCOMP_IOCTL_NOTIF_SET_FLAGS`: `_IOW('!', 4, __u64)`.
const NOTIFY_SET_FLAGS: libc::Ioctl = 0x4008_2104;
/// `SECCOMP_IOCTL_NOTIF_ID_VALID`: `_IOW('!', 2, __u64)`.
const NOTIFY_STILL_VALID: libc::Ioctl = 0x4008_2102;

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
