//! The `local` forge: one bare repository per name under the state directory.
//!
//! Owns what is in git: objects and references. A proposal's number, text and state are the ledger's; here it is a
//! branch named after its run.

mod branch;
mod collide;
mod commit;
mod diff;
mod import;
mod landing;
mod materialise;
mod merge;
mod publish;
mod read;
mod recover;
mod scan;
mod sync;
mod tree;
mod upkeep;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use selvedge_domain::{CommitId, RepoName, TreeId};

use crate::git::{ANSWER, GitCall, GitError, GitLimits, GitOutput, GitRunner};

pub use branch::{BadBranch, BranchName, run_branch};
pub use collide::SameButForCase;
pub use commit::{Author, BadAuthor, Commit, CommitError, Draft};
pub use diff::{ChangedPath, Lines, Patch, PathState, WhatChanged};
pub use import::{ImportError, Source};
pub use landing::{Examined, Landing, LandingError, RefusedObjects, Service};
pub use materialise::MaterialiseError;
pub use merge::{Merge, MergeError, MergeKind, PlannedMerge};
pub use publish::{Expected, PublishError, Published};
pub use read::File;
pub use scan::Leak;
pub use sync::Synced;
pub use tree::{TreeError, TreeLimits};

/// The repositories the factory keeps, below one directory that only the keeper writes.
#[derive(Debug, Clone)]
pub struct LocalForge {
    root: PathBuf,
    git: Arc<dyn GitRunner>,
    known: Known,
}

/// Trees of commits that were looked up: a commit never has another one, and no repository of ours loses an object.
type Known = Arc<Mutex<BTreeMap<(RepoName, CommitId), TreeId>>>;

/// How many of them are remembered: some hundred bytes each.
const KNOWN_MAX: usize = 4096;

/// One repository the factory keeps.
#[derive(Debug, Clone)]
pub struct Repository {
    name: RepoName,
    dir: PathBuf,
    trees: PathBuf,
    git: Arc<dyn GitRunner>,
    known: Known,
}

/// The repository could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none by that name.
    #[error("`{0}` has not been imported")]
    Unknown(RepoName),
    /// The directory could not be made or read.
    #[error("`{path}` cannot be used: {cause}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        cause: std::io::Error,
    },
}

impl LocalForge {
    /// Uses `root` for repositories and clears what a crash left there.
    ///
    /// The caller holds the state directory's lock: no other process runs git below `root`.
    pub fn open(root: &Path, git: Arc<dyn GitRunner>) -> Result<Self, OpenError> {
        let unusable = |cause| OpenError::Directory { path: root.to_owned(), cause };
        std::fs::create_dir_all(root).map_err(unusable)?;
        let root = root.canonicalize().map_err(unusable)?;
        if root.to_str().is_none() {
            // Git is told of it in an argument, which must mean these very bytes.
            return Err(unusable(std::io::Error::new(std::io::ErrorKind::InvalidInput, "the path is not UTF-8")));
        }
        recover::clear_leftovers(&root).map_err(unusable)?;
        Ok(Self { root, git, known: Known::default() })
    }

    /// The repository imported under `name`.
    pub fn repository(&self, name: &RepoName) -> Result<Repository, OpenError> {
        let repository = self.at(name);
        if repository.dir.is_dir() { Ok(repository) } else { Err(OpenError::Unknown(name.clone())) }
    }

    /// Where the repository by that name is or would be. The suffix keeps the two apart whatever the name ends in.
    fn at(&self, name: &RepoName) -> Repository {
        let beside = |suffix: &str| self.root.join(format!("{}{suffix}", name.as_file_name()));
        let (dir, trees) = (beside(".git"), beside(".trees"));
        Repository { name: name.clone(), dir, trees, git: Arc::clone(&self.git), known: Arc::clone(&self.known) }
    }
}

impl Repository {
    /// The same, with its calls of git run by `git`.
    #[must_use]
    pub fn run_by(self, git: Arc<dyn GitRunner>) -> Self {
        Self { git, ..self }
    }

    /// The bare repository's directory, for a mirror or a person's `git fetch`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Output of a call that must succeed.
    fn git(&self, args: &[&str], stdin: &[u8], limits: GitLimits) -> Result<Vec<u8>, GitError> {
        let call = GitCall { repo: &self.dir, args, stdin, source: None, limits };
        self.git.run(&call)?.whole(&call)
    }

    /// Output of a call whose exit status is part of the answer.
    fn ask(&self, args: &[&str], stdin: &[u8], limits: GitLimits) -> Result<GitOutput, GitError> {
        self.git.run(&GitCall { repo: &self.dir, args, stdin, source: None, limits })
    }

    /// The commit a full reference name points at.
    fn resolve(&self, reference: &str) -> Result<Option<CommitId>, GitError> {
        let args = ["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{reference}^{{commit}}")];
        let output = self.ask(&args, b"", ANSWER)?;
        match output.status {
            Some(0) => commit_id("rev-parse", &output.stdout).map(Some),
            Some(1) => Ok(None),
            _ => Err(GitError::Failed { what: "rev-parse".to_owned(), said: output.said() }),
        }
    }

    /// Whether `older` is `newer` or one of its ancestors.
    fn contains(&self, newer: &CommitId, older: &CommitId) -> Result<bool, GitError> {
        let output =
            self.ask(&["merge-base", "--is-ancestor", older.as_str(), newer.as_str()], b"", crate::git::LISTING)?;
        match output.status {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(GitError::Failed { what: "merge-base".to_owned(), said: output.said() }),
        }
    }
}

/// One object id alone on a line.
fn commit_id(what: &str, line: &[u8]) -> Result<CommitId, GitError> {
    let text = std::str::from_utf8(line).unwrap_or_default().trim_end();
    CommitId::parse(text).map_err(|_| GitError::Unreadable { what: what.to_owned() })
}
