//! Calls on descriptors: closing, moving, sending and waiting for them.
#![expect(unsafe_code, reason = "these calls have no safe form in std; every block states why it is sound")]

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use libc::{c_int, c_long, c_uint};

use super::{check, check_long};

/// Takes ownership of what a call returned.
pub(super) fn owned(result: c_long) -> io::Result<OwnedFd> {
    // SAFETY: the kernel has just returned this descriptor to us; nobody else knows it.
    check_long(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What to do with a range of descriptors.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Closing {
    /// Close them now.
    Now,
    /// Close them when another program is executed.
    OnExec,
}

/// Closes every descriptor from `first` up.
pub(crate) fn close_from(first: c_uint, closing: Closing) -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: c_uint = 4;
    let flags = match closing {
        Closing::Now => 0,
        Closing::OnExec => CLOSE_RANGE_CLOEXEC,
    };
    // SAFETY: takes numbers; callers hold no owner for descriptors in the range any more, or only mark them.
    check_long(unsafe { libc::syscall(libc::SYS_close_range, first, c_uint::MAX, flags) }).map(drop)
}

/// Makes standard stream `to` mean what `from` means. It survives an exec.
pub(crate) fn put_at(from: BorrowedFd<'_>, to: RawFd) -> io::Result<()> {
    // SAFETY: takes numbers; 0, 1 and 2, the only targets used, are owned by no value.
    check(unsafe { libc::dup2(from.as_raw_fd(), to) }).map(drop)
}

/// Closes a descriptor another value owns. For a process that from here on only ever exits.
pub(crate) fn close_one(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes a number; by the promise above its owner never acts again.
    check(unsafe { libc::close(descriptor.as_raw_fd()) }).map(drop)
}

/// Closes everything but the standard streams and one descriptor, whose new name is returned. For a process that from
/// here on only ever exits: owners of the closed descriptors must never be dropped.
pub(crate) fn keep_only(kept: BorrowedFd<'_>) -> io::Result<BorrowedFd<'static>> {
    const KEPT: RawFd = 3;
    // SAFETY: takes numbers; by the promise above no owner of descriptor 3 acts again.
    check(unsafe { libc::dup2(kept.as_raw_fd(), KEPT) })?;
    close_from(4, Closing::Now)?;
    // SAFETY: just made, and by the promise above never closed.
    Ok(unsafe { BorrowedFd::borrow_raw(KEPT) })
}

/// Takes ownership of a descriptor that was inherited.
pub(crate) fn inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open, as just seen, and called once per number at the start, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A pair of connected sockets that keep message boundaries.
pub(crate) fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut pair: [c_int; 2] = [-1; 2];
    // SAFETY: `pair` has room for two descriptors.
    check(unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0, pair.as_mut_ptr()) })?;
    // SAFETY: both were just made for us.
    Ok(unsafe { (OwnedFd::from_raw_fd(pair[0]), OwnedFd::from_raw_fd(pair[1])) })
}

/// Most descriptors one message may carry.
pub(crate) const DESCRIPTORS_MAX: usize = 128;
/// Room for the header and [`DESCRIPTORS_MAX`] descriptors, in words so that it is aligned.
const ANCILLARY_WORDS: usize = 72;

/// Whether a full socket makes us wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Until there is room.
    Wait,
    /// Give up at once with `EAGAIN`.
    Hurry,
}

/// Sends one message with descriptors.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
    patience: Patience,
) -> io::Result<()> {
    let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    if raw.len() > DESCRIPTORS_MAX {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let length = c_uint::try_from(size_of_val(raw.as_slice())).unwrap_or(c_uint::MAX);
    let mut vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut ancillary = [0u64; ANCILLARY_WORDS];
    // SAFETY: `msghdr` is plain pointers and sizes, all valid as null and zero; the pointers stored outlive the call;
    // the ancillary buffer has room for one header and DESCRIPTORS_MAX descriptors.
    unsafe {
        let mut message: libc::msghdr = zeroed();
        message.msg_iov = &raw mut vector;
        message.msg_iovlen = 1;
        if !raw.is_empty() {
            message.msg_control = ancillary.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(length) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(length) as _;
            ptr::copy_nonoverlapping(raw.as_ptr(), libc::CMSG_DATA(header).cast(), raw.len());
        }
        let flags = if patience == Patience::Hurry { libc::MSG_DONTWAIT } else { 0 } | libc::MSG_NOSIGNAL;
        while libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) < 0 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() != Some(libc::EINTR) {
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Receives one message with its descriptors. An empty message means that the other side is gone.
pub(crate) fn receive(socket: BorrowedFd<'_>, bytes_max: usize) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0; bytes_max];
    let mut vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut ancillary = [0u64; ANCILLARY_WORDS];
    let mut descriptors = Vec::new();
    // SAFETY: as in `send`; the headers walked are those the kernel wrote, and each descriptor in them is new and ours.
    unsafe {
        let mut message: libc::msghdr = zeroed();
        message.msg_iov = &raw mut vector;
        message.msg_iovlen = 1;
        message.msg_control = ancillary.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&ancillary) as _;
        let received = loop {
            match usize::try_from(libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC)) {
                Ok(received) => break received,
                Err(_) if io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) => {}
                Err(_) => return Err(io::Error::last_os_error()),
            }
        };
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let payload: *const RawFd = libc::CMSG_DATA(header).cast();
                let count = ((*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize) / size_of::<RawFd>();
                descriptors.extend((0..count).map(|i| OwnedFd::from_raw_fd(payload.add(i).read_unaligned())));
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
        if message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        }
        bytes.truncate(received);
    }
    Ok((bytes, descriptors))
}

/// Waits until one of `watched` is readable or gone, or the time is over; tells which are.
pub(crate) fn poll(watched: &[BorrowedFd<'_>], milliseconds: c_int) -> io::Result<Vec<bool>> {
    let mut entries: Vec<libc::pollfd> =
        watched.iter().map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 }).collect();
    let count = libc::nfds_t::try_from(entries.len()).unwrap_or_default();
    // SAFETY: pointer and count describe `entries`.
    while let Err(error) = check(unsafe { libc::poll(entries.as_mut_ptr(), count, milliseconds) }) {
        if error.raw_os_error() != Some(libc::EINTR) {
            return Err(error);
        }
    }
    Ok(entries.iter().map(|entry| entry.revents != 0).collect())
}
