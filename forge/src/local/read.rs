//! Reading what a branch, a commit or a path holds.

use std::sync::PoisonError;

use selvedge_domain::{CommitId, FileMode, RepoPath, TreeId};

use crate::git::{ANSWER, GitError, LISTING};

use super::tree::{TreeError, parse_entry, records};
use super::{BranchName, KNOWN_MAX, Repository};

/// A file at a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its kind; a symlink's content is its target.
    pub mode: FileMode,
    /// Its bytes.
    pub content: Vec<u8>,
}

impl Repository {
    /// The branch that the imported repository calls its default.
    pub fn default_branch(&self) -> Result<BranchName, GitError> {
        let reference = self.git(&["symbolic-ref", "HEAD"], b"", ANSWER)?;
        let name = std::str::from_utf8(&reference).ok().and_then(|name| name.trim_end().strip_prefix("refs/heads/"));
        name.and_then(|name| BranchName::parse(name).ok())
            .ok_or_else(|| GitError::Unreadable { what: "symbolic-ref".to_owned() })
    }

    /// The commit a branch points at, if there is such a branch.
    pub fn head(&self, branch: &BranchName) -> Result<Option<CommitId>, GitError> {
        self.resolve(&branch.reference())
    }

    /// The tree of a commit.
    pub fn tree_of(&self, commit: &CommitId) -> Result<TreeId, GitError> {
        let key = (self.name.clone(), commit.clone());
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(tree) = known {
            return Ok(tree);
        }
        let tree = self.look_up_tree_of(commit)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(key, tree.clone());
        Ok(tree)
    }

    fn look_up_tree_of(&self, commit: &CommitId) -> Result<TreeId, GitError> {
        let line =
            self.git(&["rev-parse", "--verify", "--end-of-options", &format!("{commit}^{{tree}}")], b"", ANSWER)?;
        let text = std::str::from_utf8(&line).unwrap_or_default().trim_end();
        TreeId::parse(text).map_err(|_| GitError::Unreadable { what: "rev-parse".to_owned() })
    }

    /// The file at `path` in `commit`; `None` where there is none, or a directory.
    pub fn file(&self, path: &RepoPath, commit: &CommitId, bytes_max: u64) -> Result<Option<File>, TreeError> {
        let listing =
            self.git(&["ls-tree", "-z", "-l", "--full-tree", commit.as_str(), "--", path.as_str()], b"", LISTING)?;
        let Some(record) = records(&listing).next() else { return Ok(None) };
        if record.starts_with(b"040000 ") {
            return Ok(None);
        }
        let entry = parse_entry(record)?;
        if entry.bytes > bytes_max {
            return Err(TreeError::TooLarge { path: entry.path, bytes_max });
        }
        let mut file = None;
        self.read_blobs(std::slice::from_ref(&entry), |entry, content| {
            file = Some(File { mode: entry.mode, content: content.to_vec() });
            Ok::<(), GitError>(())
        })?;
        Ok(file)
    }
}
