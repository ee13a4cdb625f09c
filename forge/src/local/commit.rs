//! Building the factory's commit from a base and a worker's changes.
//!
//! One `git fast-import` stream and no reference: until it is published the commit is an unnamed object, and building
//! it again from the same inputs gives the same id.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use selvedge_domain::{Change, ChangeSet, CommitId, FileMode, RepoPath, Time, TreeId};

use crate::git::{ANSWER, GitError, GitLimits, LISTING};

use super::tree::parents;
use super::{Repository, SameButForCase};

/// Who a commit names as author and committer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    name: String,
    email: String,
}

/// A name or address that git would misread.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot stand in a commit: use 1 to 200 characters without `<`, `>` and control characters")]
pub struct BadAuthor(String);

/// A commit to be built.
#[derive(Debug, Clone, Copy)]
pub struct Draft<'a> {
    /// What the changes apply to; the only parent.
    pub base: &'a CommitId,
    /// What changes.
    pub changes: &'a ChangeSet,
    /// Why, as the factory words it.
    pub message: &'a str,
    /// Who.
    pub author: &'a Author,
    /// When, so that the same work gives the same id.
    pub when: Time,
}

/// A commit that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub commit: CommitId,
    /// Its tree.
    pub tree: TreeId,
    /// The base's tree; equal to `tree` when the changes change nothing.
    pub base_tree: TreeId,
}

/// A commit could not be built.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Git gave no answer.
    #[error(transparent)]
    Git(#[from] GitError),
    /// One change makes a file of what another makes a directory.
    #[error("`{file}` and `{beneath}` cannot both be files")]
    FileAndDirectory {
        /// The file.
        file: RepoPath,
        /// What should lie beneath it.
        beneath: RepoPath,
    },
    /// On file systems that ignore case these would be one file.
    #[error(transparent)]
    Case(#[from] SameButForCase),
    /// A symlink that no system could follow, or that git must read itself.
    #[error("`{path}` may not be a symlink with this target")]
    Symlink {
        /// Which.
        path: RepoPath,
    },
    /// Too much for one commit.
    #[error("the change has more than {files_max} files or {bytes_max} bytes")]
    TooLarge {
        /// The limit on files.
        files_max: usize,
        /// The limit on bytes.
        bytes_max: usize,
    },
    /// A message that is too long or holds a NUL.
    #[error("the commit message is longer than {MESSAGE_BYTES_MAX} bytes or holds a NUL byte")]
    Message,
}

/// A change is held in memory twice while git reads it.
const CHANGE_BYTES_MAX: usize = 512 << 20;
/// More files than a person, or a policy on paths, could look at.
const CHANGE_FILES_MAX: usize = 100_000;
/// Longer than any forge shows.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Linux `PATH_MAX` without its NUL.
const TARGET_BYTES_MAX: usize = 4095;

impl Author {
    /// Reads a name and an address.
    pub fn new(name: &str, email: &str) -> Result<Self, BadAuthor> {
        let fits = |text: &str| {
            !text.trim().is_empty()
                && text.chars().count() <= 200
                && !text.chars().any(|c| c.is_control() || c == '<' || c == '>')
        };
        match [name, email].into_iter().find(|text| !fits(text)) {
            Some(bad) => Err(BadAuthor(bad.escape_debug().take(100).collect())),
            None => Ok(Self { name: name.trim().to_owned(), email: email.trim().to_owned() }),
        }
    }

    /// The line git stores, in UTC.
    pub(super) fn at(&self, when: Time) -> String {
        format!("{} <{}> {} +0000", self.name, self.email, when.as_millis() / 1000)
    }
}

impl Repository {
    /// Builds the commit. No reference moves; what a crash leaves is unnamed objects.
    pub fn commit_tree(&self, draft: &Draft<'_>) -> Result<Commit, CommitError> {
        refuse_oversize(draft)?;
        refuse_contradictions(draft.changes)?;
        let stream = stream(draft);
        let limits = GitLimits { stdout_bytes_max: ANSWER.stdout_bytes_max, ..LISTING };
        let answer = self.git(&["fast-import", "--quiet", "--done"], &stream, limits)?;
        let commit = parse_answer(&answer).ok_or_else(|| GitError::Unreadable { what: "fast-import".to_owned() })?;
        match self.collision(&commit.base_tree, &commit.tree)? {
            Some(collision) => Err(collision.into()),
            None => Ok(commit),
        }
    }
}

fn refuse_oversize(draft: &Draft<'_>) -> Result<(), CommitError> {
    if draft.message.len() > MESSAGE_BYTES_MAX || draft.message.contains('\0') {
        return Err(CommitError::Message);
    }
    let changes = draft.changes.changes();
    let bytes: usize =
        changes.iter().map(|change| if let Change::Write { content, .. } = change { content.len() } else { 0 }).sum();
    if changes.len() > CHANGE_FILES_MAX || bytes > CHANGE_BYTES_MAX {
        return Err(CommitError::TooLarge { files_max: CHANGE_FILES_MAX, bytes_max: CHANGE_BYTES_MAX });
    }
    Ok(())
}

fn refuse_contradictions(changes: &ChangeSet) -> Result<(), CommitError> {
    let mut written: BTreeMap<&str, &RepoPath> = BTreeMap::new();
    for change in changes.changes() {
        let Change::Write { path, mode, content } = change else { continue };
        if *mode == FileMode::Symlink && !is_followable(path, content) {
            return Err(CommitError::Symlink { path: path.clone() });
        }
        // Path order puts a file before anything beneath it.
        if let Some(file) = parents(path.as_str()).find_map(|parent| written.get(parent)) {
            return Err(CommitError::FileAndDirectory { file: (*file).clone(), beneath: path.clone() });
        }
        written.insert(path.as_str(), path);
    }
    Ok(())
}

fn is_followable(path: &RepoPath, target: &[u8]) -> bool {
    // Git refuses to read these through a link, and so do forges (`gitmodulesSymlink` and its kin).
    let read_by_git = [".gitmodules", ".gitattributes", ".gitignore", ".mailmap"];
    let name = path.file_name().to_ascii_lowercase();
    !target.is_empty()
        && target.len() <= TARGET_BYTES_MAX
        && !target.contains(&0)
        && !read_by_git.contains(&name.as_str())
}

/// The whole `fast-import` stream. The branch it must name is deleted within the same stream, so none appears.
fn stream(draft: &Draft<'_>) -> Vec<u8> {
    // Git names a pack after its content and will not have two of one name in the making, not even one that a crash left.
    // A grain of salt keeps packs with the same commit apart.
    let salt = format!("{:016x}", RandomState::new().build_hasher().finish());
    let unnamed = format!("refs/selvedge/building/{salt}");
    let who = draft.author.at(draft.when);
    let (base, message) = (draft.base, draft.message);
    let head = format!(
        "feature done\nblob\ndata 16\n{salt}\ncommit {unnamed}\nmark :1\nauthor {who}\ncommitter {who}\ndata {}\n{message}\nfrom {base}\n",
        message.len(),
    );
    let mut stream = head.into_bytes();
    for change in draft.changes.changes() {
        match change {
            Change::Remove { path } => stream.extend(format!("D {}\n", quoted(path)).bytes()),
            Change::Write { path, mode, content } => {
                stream.extend(format!("M {} inline {}\ndata {}\n", mode.as_git(), quoted(path), content.len()).bytes());
                stream.extend_from_slice(content);
                stream.push(b'\n');
            }
        }
    }
    let nowhere = "0".repeat(base.as_str().len());
    let tail = format!("get-mark :1\nls :1 \"\"\nls {base} \"\"\nreset {unnamed}\nfrom {nowhere}\n\ndone\n");
    stream.extend(tail.bytes());
    stream
}

/// A path in C style. Only these two characters need it: a `RepoPath` holds no control character.
fn quoted(path: &RepoPath) -> String {
    format!("\"{}\"", path.as_str().replace('\\', "\\\\").replace('"', "\\\""))
}

/// Reads the commit's id, its tree and the base's tree.
fn parse_answer(answer: &[u8]) -> Option<Commit> {
    let mut lines = std::str::from_utf8(answer).ok()?.lines();
    let commit = CommitId::parse(lines.next()?).ok()?;
    let mut tree = || TreeId::parse(lines.next()?.strip_prefix("040000 tree ")?.trim_end()).ok();
    Some(Commit { commit, tree: tree()?, base_tree: tree()? })
}
