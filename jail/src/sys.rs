//! Owns every system call the standard library lacks, each as a safe function of one line's meaning. Knows no order and
//! no policy: what is called when, and with what, is told by the other rooms.
//!
//! This is the only file of the crate with `unsafe` in it.
#![expect(unsafe_code, reason = "these calls have no safe form in std; every block states why it is sound")]

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use libc::{c_int, c_long, c_uint, pid_t};

/// Where the kernel resolves a relative path: the current directory.
pub(crate) const HERE: RawFd = libc::AT_FDCWD;

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_long(result: c_long) -> io::Result<c_int> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    c_int::try_from(result).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))
}

fn c_path(path: impl AsRef<OsStr>) -> io::Result<CString> {
    CString::new(path.as_ref().as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

fn owned(result: c_long) -> io::Result<OwnedFd> {
    // SAFETY: the kernel has just returned this descriptor to us; nobody else knows it.
    check_long(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

// --- processes -------------------------------------------------------------------------------------------------------

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

/// Empties the effective, permitted and inheritable capability sets.
pub(crate) fn drop_capability_sets() -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let (header, data) = ([VERSION_3, 0], [0u32; 6]);
    // SAFETY: header and data have the sizes that version 3 prescribes.
    check_long(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) })?;
    Ok(())
}

/// The effective, permitted and inheritable sets, one bit per capability, joined by "or".
pub(crate) fn any_capability() -> io::Result<bool> {
    const VERSION_3: u32 = 0x2008_0522;
    let (mut header, mut data) = ([VERSION_3, 0], [0u32; 6]);
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

// --- descriptors -----------------------------------------------------------------------------------------------------

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

// --- mounts ----------------------------------------------------------------------------------------------------------

/// Mount attributes of `mount_setattr`.
pub(crate) mod attribute {
    pub(crate) const READ_ONLY: u64 = 0x1;
    pub(crate) const NO_SUID: u64 = 0x2;
    pub(crate) const NO_DEVICES: u64 = 0x4;
    pub(crate) const NO_EXEC: u64 = 0x8;
    pub(crate) const NO_SYMLINK_FOLLOW: u64 = 0x20_0000;
    pub(crate) const ID_MAP: u64 = 0x10_0000;
}

/// `mount(2)`.
pub(crate) fn mount(
    source: &str,
    target: impl AsRef<Path>,
    kind: &str,
    flags: libc::c_ulong,
    options: &str,
) -> io::Result<()> {
    let (source, target, kind, options) = (c_path(source)?, c_path(target.as_ref())?, c_path(kind)?, c_path(options)?);
    // SAFETY: four strings that outlive the call.
    check(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast()) })
        .map(drop)
}

/// Detaches a mount from the tree; it lives on while something inside is open.
pub(crate) fn unmount(target: impl AsRef<Path>) -> io::Result<()> {
    let target = c_path(target.as_ref())?;
    // SAFETY: a string that outlives the call.
    check(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW) }).map(drop)
}

/// How much of a tree of mounts a call concerns.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Depth {
    /// One mount.
    Alone,
    /// The mount and all beneath it.
    Tree,
}

impl Depth {
    fn flag(self) -> c_int {
        match self {
            Self::Alone => 0,
            Self::Tree => libc::AT_RECURSIVE,
        }
    }
}

/// A private copy of the mounts at `path`, attached nowhere.
pub(crate) fn copy_mount(directory: RawFd, path: &str, depth: Depth) -> io::Result<OwnedFd> {
    const OPEN_TREE_CLONE: c_int = 1;
    let text = c_path(path)?;
    let empty = if path.is_empty() { libc::AT_EMPTY_PATH } else { 0 };
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC | libc::AT_SYMLINK_NOFOLLOW | depth.flag() | empty;
    // SAFETY: a string that outlives the call; the result is a new descriptor.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, directory, text.as_ptr(), flags) })
}

/// Adds attributes to a mount that a descriptor stands for.
pub(crate) fn restrict_mount(mount: BorrowedFd<'_>, attributes: u64, depth: Depth) -> io::Result<()> {
    set_attributes(mount, attributes, 0, depth)
}

/// Makes a mount show the ids on disk as `user_namespace` maps them.
pub(crate) fn map_ids(mount: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>) -> io::Result<()> {
    let namespace = u64::try_from(user_namespace.as_raw_fd()).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    set_attributes(mount, attribute::ID_MAP, namespace, Depth::Alone)
}

fn set_attributes(mount: BorrowedFd<'_>, set: u64, user_namespace: u64, depth: Depth) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: user_namespace };
    let size = size_of::<libc::mount_attr>();
    let flags = libc::AT_EMPTY_PATH | depth.flag();
    // SAFETY: an empty string and a structure of the size given.
    let result = unsafe {
        libc::syscall(libc::SYS_mount_setattr, mount.as_raw_fd(), c"".as_ptr(), flags, &raw const attributes, size)
    };
    check_long(result).map(drop)
}

/// Attaches a detached mount at the place `target` stands for.
pub(crate) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    const FROM_EMPTY_PATH: c_uint = 0x4;
    const TO_EMPTY_PATH: c_uint = 0x40;
    let empty = c"".as_ptr();
    let (from, to) = (mount.as_raw_fd(), target.as_raw_fd());
    // SAFETY: two empty strings and two descriptors.
    let result =
        unsafe { libc::syscall(libc::SYS_move_mount, from, empty, to, empty, FROM_EMPTY_PATH | TO_EMPTY_PATH) };
    check_long(result).map(drop)
}

/// Makes the current directory the root, the old root mounted over it.
pub(crate) fn pivot_here() -> io::Result<()> {
    // SAFETY: two strings that live for ever.
    check_long(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) }).map(drop)
}

/// What an opened name must be like.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Beneath {
    /// Anything, as a place only.
    Place,
    /// A new empty file.
    NewFile,
}

/// Opens a name beneath a directory, following no symbolic link anywhere on the way and never leaving it.
pub(crate) fn open_beneath(directory: BorrowedFd<'_>, path: &str, kind: Beneath) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let (flags, mode) = match kind {
        Beneath::Place => (libc::O_PATH, 0),
        Beneath::NewFile => (libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL, 0o600),
    };
    // SAFETY: `open_how` is plain integers; zero is "default" for each.
    let mut how: libc::open_how = unsafe { zeroed() };
    how.flags = u64::try_from(flags | libc::O_CLOEXEC).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    how.mode = mode;
    how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS;
    let size = size_of::<libc::open_how>();
    // SAFETY: a string and a structure of the size given.
    owned(unsafe { libc::syscall(libc::SYS_openat2, directory.as_raw_fd(), path.as_ptr(), &raw const how, size) })
}

/// Makes a directory in an opened directory. One that exists is no error.
pub(crate) fn make_directory(directory: BorrowedFd<'_>, name: &str, mode: libc::mode_t) -> io::Result<()> {
    let name = c_path(name)?;
    // SAFETY: a string that outlives the call.
    match check(unsafe { libc::mkdirat(directory.as_raw_fd(), name.as_ptr(), mode) }) {
        Err(error) if error.raw_os_error() != Some(libc::EEXIST) => Err(error),
        _ => Ok(()),
    }
}

/// Gives a name to another owner; a symbolic link itself, not what it points at.
pub(crate) fn give_to(path: &Path, uid: libc::uid_t, gid: libc::gid_t) -> io::Result<()> {
    std::os::unix::fs::lchown(path, Some(uid), Some(gid))
}

// --- network ---------------------------------------------------------------------------------------------------------

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

// --- seccomp and landlock --------------------------------------------------------------------------------------------

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

/// Calls `mount` with nothing, to see who refuses it.
pub(crate) fn mount_nothing() -> io::Error {
    // SAFETY: all pointers are null, which the kernel refuses to read.
    unsafe { libc::mount(ptr::null(), ptr::null(), ptr::null(), 0, ptr::null()) };
    io::Error::last_os_error()
}
