//! Calls that look: at another process's memory, and at what is done to a file.
#![expect(unsafe_code, reason = "these calls have no safe form in std; every block states why it is sound")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use libc::{c_long, pid_t};

use super::descriptor::owned;
use super::{c_path, check};

/// Reads memory of another process: as much as can be read from `address` on, at most what fits.
pub(crate) fn read_memory(pid: pid_t, address: u64, into: &mut [u8]) -> io::Result<usize> {
    let address = usize::try_from(address).map_err(|_| io::Error::from_raw_os_error(libc::EFAULT))?;
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec { iov_base: std::ptr::without_provenance_mut(address), iov_len: into.len() };
    // SAFETY: the local vector describes `into`; the remote one is read in the other process, whatever it says.
    let read = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}

/// A list of files whose use is told.
pub(crate) fn watch_list() -> io::Result<OwnedFd> {
    // SAFETY: takes numbers; the result is a new descriptor.
    owned(c_long::from(unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) }))
}

/// Adds a file to a list: the first time it is opened or linked is told, under the number returned, and no further one. The kernel
/// tells a link less, and other permissions, the same way as a link more.
pub(crate) fn watch_first_use(list: BorrowedFd<'_>, file: &Path) -> io::Result<i32> {
    let file = c_path(file)?;
    let what = libc::IN_OPEN | libc::IN_ATTRIB | libc::IN_ONESHOT | libc::IN_DONT_FOLLOW;
    // SAFETY: a string that outlives the call.
    check(unsafe { libc::inotify_add_watch(list.as_raw_fd(), file.as_ptr(), what) })
}
