//! Calls on mounts, and opening names without trusting the way to them.
#![expect(unsafe_code, reason = "these calls have no safe form in std; every block states why it is sound")]

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use libc::{c_int, c_uint};

use super::descriptor::owned;
use super::{c_path, check, check_long};

/// Where the kernel resolves a relative path: the current directory.
pub(crate) const HERE: RawFd = libc::AT_FDCWD;

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

/// Sets an empty extended attribute.
pub(crate) fn set_attribute(path: &Path, name: &str) -> io::Result<()> {
    let (path, name) = (c_path(path)?, c_path(name)?);
    // SAFETY: two strings that outlive the call, and no value.
    check(unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), std::ptr::null(), 0, 0) }).map(drop)
}
