//! Owns the way out for files: what a dead sandbox changed in its workspace, read as data and nothing else. No link is
//! followed, no device opened, no directory trusted; everything has a bound.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
pub use selvedge_domain::ChangeSet;
use selvedge_domain::{BadPath, Change, FileMode, RepoPath};

/// How much may be collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectLimits {
    /// Entries looked at, ignored ones not counted.
    pub files: u64,
    /// Bytes of all content together. Held in memory.
    pub bytes: u64,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Directories within directories.
    pub depth: usize,
    /// Bytes of all paths together: a proposal, its approval and the log repeat every one of them.
    pub path_bytes: u64,
}

impl Default for CollectLimits {
    /// Far more than a person would review.
    fn default() -> Self {
        Self { files: 50_000, bytes: 256 << 20, file_bytes: 64 << 20, depth: 64, path_bytes: 4 << 20 }
    }
}

/// Says of a new path whether it is to be left out, such as build output. Asked with the path's bytes, relative to the
/// workspace; never asked about what the pristine tree has.
pub type Ignored<'a> = dyn Fn(&[u8]) -> bool + 'a;

/// Why nothing was collected. All or nothing: half a change is not what was checked.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// There are processes that could still write.
    #[error("the sandbox is not known to be dead")]
    Alive,
    /// There was nothing to change.
    #[error("the sandbox has no workspace")]
    NoWorkspace,
    /// A name that git must not be handed.
    #[error(transparent)]
    Path(#[from] BadPath),
    /// Something that is neither file, directory nor symbolic link.
    #[error("`{path}` is {kind}, which cannot be proposed")]
    Special {
        /// Where.
        path: String,
        /// What.
        kind: &'static str,
    },
    /// A new symbolic link that leads out of the repository.
    #[error("`{path}` is a symbolic link that leaves the repository: `{target}`")]
    Leaves {
        /// Where.
        path: String,
        /// Where to.
        target: String,
    },
    /// Too much of something.
    #[error("`{path}` exceeds the limit on {what} of {limit}")]
    TooMuch {
        /// Where it was passed.
        path: String,
        /// What of.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The kernel refused to let it be read.
    #[error("read `{path}`: {error}")]
    Read {
        /// Where.
        path: String,
        /// Why.
        error: Errno,
    },
}

/// Reads the changes between `pristine` and what was written over it.
pub(crate) fn collect(
    changes: BorrowedFd<'_>,
    pristine: &Path,
    limits: &CollectLimits,
    ignored: &Ignored<'_>,
) -> Result<ChangeSet, CollectError> {
    let lower = rustix::fs::open(pristine, directory_flags(), Mode::empty()).map_err(|error| read_error(b"", error))?;
    let mut walk = Walk { limits, ignored, changes: Vec::new(), files: 0, bytes: 0, path_bytes: 0 };
    // The launcher hands out a place; reading it takes opening it.
    let upper = open(changes, c".", directory_flags(), b"")?;
    walk.directory(upper.as_fd(), Some(lower.as_fd()), &[], 0)?;
    Ok(ChangeSet::new(walk.changes))
}

struct Walk<'a> {
    limits: &'a CollectLimits,
    ignored: &'a Ignored<'a>,
    changes: Vec<Change>,
    files: u64,
    bytes: u64,
    path_bytes: u64,
}

/// One entry of a directory that was written.
struct Entry<'a> {
    upper: BorrowedFd<'a>,
    name: &'a CStr,
    stat: Stat,
    /// The same directory in the pristine tree, and the entry of this name in it.
    lower: Option<(BorrowedFd<'a>, Stat)>,
    path: &'a [u8],
}

impl Walk<'_> {
    fn directory(
        &mut self,
        upper: BorrowedFd<'_>,
        lower: Option<BorrowedFd<'_>>,
        prefix: &[u8],
        depth: usize,
    ) -> Result<(), CollectError> {
        if depth > self.limits.depth {
            return Err(too_much(prefix, "depth", self.limits.depth as u64));
        }
        for name in names(upper, prefix)? {
            let path =
                if prefix.is_empty() { name.to_bytes().to_vec() } else { [prefix, b"/", name.to_bytes()].concat() };
            // The agent's own repository. It is the agent's data: never read, never run, never handed on.
            if path == b".git" {
                continue;
            }
            let lower = match lower {
                Some(directory) => look(directory, &name, &path)?.map(|stat| (directory, stat)),
                None => None,
            };
            if lower.is_none() && (self.ignored)(&path) {
                continue;
            }
            self.files += 1;
            if self.files > self.limits.files {
                return Err(too_much(&path, "the number of files", self.limits.files));
            }
            self.count_path(&path)?;
            let stat = look(upper, &name, &path)?.ok_or_else(|| read_error(&path, Errno::NOENT))?;
            self.entry(&Entry { upper, name: &name, stat, lower, path: &path }, depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry<'_>, depth: usize) -> Result<(), CollectError> {
        let path = RepoPath::parse(entry.path)?;
        match FileType::from_raw_mode(entry.stat.st_mode) {
            FileType::Directory => self.subdirectory(entry, path, depth),
            FileType::RegularFile => self.file(entry, path),
            FileType::Symlink => self.symlink(entry, path),
            // How an overlay writes that something is gone.
            FileType::CharacterDevice if entry.stat.st_rdev == 0 => {
                if entry.lower.is_some() {
                    self.changes.push(Change::Remove { path });
                }
                Ok(())
            }
            FileType::Fifo => Err(special(entry.path, "a named pipe")),
            FileType::Socket => Err(special(entry.path, "a socket")),
            FileType::CharacterDevice | FileType::BlockDevice => Err(special(entry.path, "a device")),
            FileType::Unknown => Err(special(entry.path, "of no known kind")),
        }
    }

    fn subdirectory(&mut self, entry: &Entry<'_>, path: RepoPath, depth: usize) -> Result<(), CollectError> {
        let upper = open(entry.upper, entry.name, directory_flags(), entry.path)?;
        let below = match entry.lower {
            Some((lower, stat))
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory && !is_opaque(&upper) =>
            {
                Some(open(lower, entry.name, directory_flags(), entry.path)?)
            }
            // It replaces what was there, be that a file or a directory with everything in it.
            Some(_) => {
                self.changes.push(Change::Remove { path });
                None
            }
            None => None,
        };
        self.directory(upper.as_fd(), below.as_ref().map(AsFd::as_fd), entry.path, depth + 1)
    }

    fn file(&mut self, entry: &Entry<'_>, path: RepoPath) -> Result<(), CollectError> {
        let mode = file_mode(&entry.stat);
        let content = self.content(entry.upper, entry)?;
        if let Some((lower, stat)) = entry.lower {
            let same_kind = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && file_mode(&stat) == mode;
            if same_kind
                && stat.st_size == entry.stat.st_size
                && read_file(lower, entry.name, entry.path, self.limits.file_bytes)? == content
            {
                return Ok(());
            }
            self.replace_directory(entry, &path)?;
        }
        self.count(content.len() as u64, entry.path)?;
        self.changes.push(Change::Write { path, mode, content });
        Ok(())
    }

    fn content(&self, directory: BorrowedFd<'_>, entry: &Entry<'_>) -> Result<Vec<u8>, CollectError> {
        // Before a byte is read: a sparse file of a terabyte costs its writer nothing.
        if u64::try_from(entry.stat.st_size).unwrap_or(u64::MAX) > self.limits.file_bytes {
            return Err(too_much(entry.path, "the size of a file", self.limits.file_bytes));
        }
        read_file(directory, entry.name, entry.path, self.limits.file_bytes)
    }

    fn symlink(&mut self, entry: &Entry<'_>, path: RepoPath) -> Result<(), CollectError> {
        let target = read_link(entry.upper, entry.name, entry.path)?;
        if let Some((lower, stat)) = entry.lower {
            if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
                && read_link(lower, entry.name, entry.path)? == target
            {
                return Ok(());
            }
            self.replace_directory(entry, &path)?;
        }
        if leaves(entry.path, &target) {
            return Err(CollectError::Leaves { path: shown(entry.path), target: shown(&target) });
        }
        self.count(target.len() as u64, entry.path)?;
        self.changes.push(Change::Write { path, mode: FileMode::Symlink, content: target });
        Ok(())
    }

    /// Says of what was in a directory that a file took the place of that it is gone.
    fn replace_directory(&mut self, entry: &Entry<'_>, path: &RepoPath) -> Result<(), CollectError> {
        let Some((lower, stat)) = entry.lower else { return Ok(()) };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Ok(());
        }
        let directory = open(lower, entry.name, directory_flags(), entry.path)?;
        for name in names(directory.as_fd(), entry.path)? {
            let inner = [path.as_str().as_bytes(), b"/", name.to_bytes()].concat();
            self.count_path(&inner)?;
            self.changes.push(Change::Remove { path: RepoPath::parse(&inner)? });
        }
        Ok(())
    }

    fn count(&mut self, bytes: u64, path: &[u8]) -> Result<(), CollectError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.limits.bytes {
            return Err(too_much(path, "all content", self.limits.bytes));
        }
        Ok(())
    }

    fn count_path(&mut self, path: &[u8]) -> Result<(), CollectError> {
        self.path_bytes = self.path_bytes.saturating_add(path.len() as u64);
        if self.path_bytes > self.limits.path_bytes {
            return Err(too_much(path, "all paths", self.limits.path_bytes));
        }
        Ok(())
    }
}

fn directory_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn open(directory: BorrowedFd<'_>, name: &CStr, flags: OFlags, path: &[u8]) -> Result<OwnedFd, CollectError> {
    let resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    rustix::fs::openat2(directory, name, flags, Mode::empty(), resolve).map_err(|error| read_error(path, error))
}

/// The entries of a directory, without itself and its parent.
fn names(directory: BorrowedFd<'_>, path: &[u8]) -> Result<Vec<std::ffi::CString>, CollectError> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory).map_err(|error| read_error(path, error))? {
        let entry = entry.map_err(|error| read_error(path, error))?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

fn look(directory: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> Result<Option<Stat>, CollectError> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(read_error(path, error)),
    }
}

fn read_file(directory: BorrowedFd<'_>, name: &CStr, path: &[u8], limit: u64) -> Result<Vec<u8>, CollectError> {
    // A pipe must not block us, should one ever be where a file was seen.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = open(directory, name, flags, path)?;
    let stat = rustix::fs::fstat(&fd).map_err(|error| read_error(path, error))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(special(path, "no longer a file"));
    }
    let mut content = Vec::new();
    let read = File::from(fd).take(limit.saturating_add(1)).read_to_end(&mut content);
    read.map_err(|error| read_error(path, Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
    if content.len() as u64 > limit { Err(too_much(path, "the size of a file", limit)) } else { Ok(content) }
}

fn read_link(directory: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> Result<Vec<u8>, CollectError> {
    let target = rustix::fs::readlinkat(directory, name, Vec::new()).map_err(|error| read_error(path, error))?;
    Ok(target.into_bytes())
}

/// Whether a directory hides everything beneath it.
fn is_opaque(directory: &OwnedFd) -> bool {
    let mut value = [0; 8];
    rustix::fs::fgetxattr(directory, "user.overlay.opaque", &mut value)
        .is_ok_and(|length| value.get(..length) == Some(b"y"))
}

fn file_mode(stat: &Stat) -> FileMode {
    if stat.st_mode & 0o100 == 0 { FileMode::Regular } else { FileMode::Executable }
}

/// Whether a link at `path` could lead out of the repository. Only leading `..` are counted, for the directories above
/// `path` are real; a `..` after a name could climb from wherever that name's own link leads, so it is refused.
fn leaves(path: &[u8], target: &[u8]) -> bool {
    if target.starts_with(b"/") {
        return true;
    }
    let depth = path.iter().filter(|byte| **byte == b'/').count();
    let parts: Vec<&[u8]> = target.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    let climbs = parts.iter().take_while(|part| **part == b"..").count();
    climbs > depth || parts.iter().skip(climbs).any(|part| *part == b"..")
}

fn shown(bytes: &[u8]) -> String {
    PathBuf::from(OsStr::from_bytes(bytes)).display().to_string().escape_debug().take(200).collect()
}

fn special(path: &[u8], kind: &'static str) -> CollectError {
    CollectError::Special { path: shown(path), kind }
}

fn too_much(path: &[u8], what: &'static str, limit: u64) -> CollectError {
    CollectError::TooMuch { path: shown(path), what, limit }
}

fn read_error(path: &[u8], error: Errno) -> CollectError {
    CollectError::Read { path: shown(path), error }
}
