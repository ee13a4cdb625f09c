//! Writing a tree's exact bytes to a directory, once per tree.
//!
//! Not a checkout: no filter, no end-of-line or keyword conversion, no hook, no attribute takes part.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use selvedge_domain::{FileMode, TreeId};

use crate::git::GitError;

use super::Repository;
use super::recover::UNFINISHED;
use super::tree::{Entry, TreeError, TreeLimits, parents};

/// A tree could not be written out.
#[derive(Debug, thiserror::Error)]
pub enum MaterialiseError {
    /// The tree cannot be used.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The file system refused.
    #[error("`{path}` could not be written: {cause}")]
    Write {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        cause: io::Error,
    },
    /// A symlink without a usable target.
    #[error("the symlink `{path}` has an unusable target")]
    Target {
        /// Which.
        path: PathBuf,
    },
}

impl From<GitError> for MaterialiseError {
    fn from(cause: GitError) -> Self {
        Self::Tree(TreeError::Git(cause))
    }
}

/// Linux `PATH_MAX`: a longer target cannot be created.
const TARGET_BYTES_MAX: u64 = 4095;
/// Distinguishes directories being written at the same time.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Repository {
    /// The directory that holds exactly the files of `tree`, written now or earlier. For reading only.
    ///
    /// It appears whole or not at all, and only after its content is on the disk.
    pub fn materialise(&self, tree: &TreeId, limits: TreeLimits) -> Result<PathBuf, MaterialiseError> {
        let done = self.trees.join(tree.as_str());
        if done.is_dir() {
            return Ok(done);
        }
        let entries = self.list(tree, limits)?;
        let writing = Writing::begin(&self.trees, tree)?;
        writing.directories(&entries)?;
        self.files(&entries, &writing)?;
        writing.finish(done)
    }

    /// Removes what [`Self::materialise`] wrote. The caller knows that no sandbox stands on it.
    pub fn discard(&self, tree: &TreeId) -> Result<(), MaterialiseError> {
        let done = self.trees.join(tree.as_str());
        let gone = Writing { dir: self.trees.join(unfinished(tree)) };
        match fs::rename(&done, &gone.dir) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(MaterialiseError::Write { path: done, cause }),
            // Dropping what is unfinished removes it.
            _ => Ok(()),
        }
    }

    /// Files first and symlinks last, so that no write ever passes through a link.
    fn files(&self, entries: &[Entry], writing: &Writing) -> Result<(), MaterialiseError> {
        let (links, files): (Vec<Entry>, Vec<Entry>) =
            entries.iter().cloned().partition(|entry| entry.mode == FileMode::Symlink);
        if let Some(long) = links.iter().find(|link| link.bytes > TARGET_BYTES_MAX) {
            return Err(MaterialiseError::Target { path: PathBuf::from(long.path.as_str()) });
        }
        self.read_blobs(&files, |entry, content| writing.file(entry, content))?;
        self.read_blobs(&links, |entry, content| writing.link(entry, content))
    }
}

/// A directory being written; removed unless finished.
#[derive(Debug)]
struct Writing {
    dir: PathBuf,
}

impl Writing {
    fn begin(trees: &Path, tree: &TreeId) -> Result<Self, MaterialiseError> {
        fs::create_dir_all(trees).map_err(|cause| MaterialiseError::Write { path: trees.to_owned(), cause })?;
        let dir =
            trees.join(format!(".writing-{tree}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        DirBuilder::new()
            .mode(0o755)
            .create(&dir)
            .map_err(|cause| MaterialiseError::Write { path: dir.clone(), cause })?;
        let writing = Self { dir };
        writing.set_mode(&writing.dir, 0o755)?;
        Ok(writing)
    }

    fn directories(&self, entries: &[Entry]) -> Result<(), MaterialiseError> {
        let needed: BTreeSet<&str> = entries.iter().flat_map(|entry| parents(entry.path.as_str())).collect();
        for path in needed {
            let path = self.dir.join(path);
            fs::create_dir(&path).map_err(|cause| MaterialiseError::Write { path: path.clone(), cause })?;
            self.set_mode(&path, 0o755)?;
        }
        Ok(())
    }

    fn file(&self, entry: &Entry, content: &[u8]) -> Result<(), MaterialiseError> {
        let path = self.dir.join(entry.path.as_str());
        let mode = if entry.mode == FileMode::Executable { 0o755 } else { 0o644 };
        // `create_new` neither follows a link nor overwrites.
        let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path).and_then(|mut file| {
            file.write_all(content)?;
            // Not left to the umask: the same tree is the same directory everywhere.
            file.set_permissions(fs::Permissions::from_mode(mode))
        });
        written.map_err(|cause| MaterialiseError::Write { path, cause })
    }

    fn link(&self, entry: &Entry, target: &[u8]) -> Result<(), MaterialiseError> {
        use std::os::unix::ffi::OsStrExt as _;
        let path = self.dir.join(entry.path.as_str());
        if target.is_empty() || target.contains(&0) {
            return Err(MaterialiseError::Target { path });
        }
        symlink(std::ffi::OsStr::from_bytes(target), &path).map_err(|cause| MaterialiseError::Write { path, cause })
    }

    /// Makes the content durable, then visible under its final name.
    fn finish(self, done: PathBuf) -> Result<PathBuf, MaterialiseError> {
        // Without this, a power cut could leave empty files under the name of a tree that has content.
        let synced = File::open(&self.dir).and_then(|dir| rustix::fs::syncfs(&dir).map_err(io::Error::from));
        synced.map_err(|cause| MaterialiseError::Write { path: self.dir.clone(), cause })?;
        match fs::rename(&self.dir, &done) {
            Ok(()) => Ok(done),
            // Another thread wrote the same tree first.
            Err(_) if done.is_dir() => Ok(done),
            Err(cause) => Err(MaterialiseError::Write { path: done, cause }),
        }
    }

    fn set_mode(&self, path: &Path, mode: u32) -> Result<(), MaterialiseError> {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(|cause| MaterialiseError::Write { path: path.to_owned(), cause })
    }
}

/// A name that no tree has and no one else uses.
fn unfinished(tree: &TreeId) -> String {
    format!("{UNFINISHED}{tree}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Drop for Writing {
    fn drop(&mut self) {
        // After a successful rename there is nothing here; otherwise what is left is swept when the forge opens.
        drop(fs::remove_dir_all(&self.dir));
    }
}
