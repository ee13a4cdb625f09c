//! What differs between two trees: as data for policy, as text for people.

use std::collections::BTreeMap;

use selvedge_domain::{FileMode, RepoPath, TreeId};

use crate::git::{GitError, GitLimits, LISTING};

use super::Repository;
use super::tree::{TreeError, file_mode, records};

/// One path that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedPath {
    /// Where.
    pub path: RepoPath,
    /// How.
    pub what: WhatChanged,
    /// What was there.
    pub old: Option<PathState>,
    /// What is there now.
    pub new: Option<PathState>,
    /// Lines; `None` for content that is not text.
    pub lines: Option<Lines>,
}

/// How a path differs. A rename is a removal and an addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhatChanged {
    /// New.
    Added,
    /// Gone.
    Removed,
    /// Other content or another mode.
    Modified,
    /// A file became a symlink or the reverse.
    TypeChanged,
}

/// A file in one of the two trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathState {
    /// Its kind.
    pub mode: FileMode,
    /// Its content's object id.
    pub blob: String,
}

/// Lines of text that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines {
    /// Only in the new tree.
    pub added: u64,
    /// Only in the old tree.
    pub removed: u64,
}

/// A unified diff for showing. Data from an agent: escape it before a terminal or a page sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// The text as git writes it.
    pub text: Vec<u8>,
    /// Whether there was more than the limit.
    pub cut: bool,
}

impl Repository {
    /// Every path that differs, in git's order.
    pub fn diff(&self, old: &TreeId, new: &TreeId) -> Result<Vec<ChangedPath>, TreeError> {
        let flags = [
            "diff-tree",
            "-r",
            "-z",
            "--raw",
            "--numstat",
            "--no-abbrev",
            "--no-renames",
            "--no-ext-diff",
            "--no-textconv",
        ];
        let listing = self.git(&[&flags[..], &[old.as_str(), new.as_str()]].concat(), b"", LISTING)?;
        parse_diff(&listing)
    }

    /// The same as text, up to `bytes_max`.
    pub fn patch(&self, old: &TreeId, new: &TreeId, bytes_max: usize) -> Result<Patch, GitError> {
        let flags =
            ["diff-tree", "-r", "-p", "--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--full-index"];
        let limits = GitLimits { stdout_bytes_max: bytes_max, ..LISTING };
        let output = self.ask(&[&flags[..], &[old.as_str(), new.as_str()]].concat(), b"", limits)?;
        if !output.cut && output.status != Some(0) {
            return Err(GitError::Failed { what: "diff-tree".to_owned(), said: output.said() });
        }
        Ok(Patch { text: output.stdout, cut: output.cut })
    }
}

/// Reads `:<mode> <mode> <id> <id> <letter>` and path for each change, then `<added> <removed> <path>` for each.
fn parse_diff(listing: &[u8]) -> Result<Vec<ChangedPath>, TreeError> {
    let unreadable = || GitError::Unreadable { what: "diff-tree".to_owned() };
    let mut changes = Vec::new();
    let mut lines: BTreeMap<RepoPath, Lines> = BTreeMap::new();
    let mut records = records(listing);
    while let Some(record) = records.next() {
        if let Some(raw) = record.strip_prefix(b":") {
            let path = RepoPath::parse(records.next().ok_or_else(unreadable)?)?;
            changes.push(parse_change(raw, path)?);
        } else {
            let mut fields = record.splitn(3, |byte| *byte == b'\t');
            let (Some(added), Some(removed), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
                return Err(unreadable().into());
            };
            // Binary content is counted as `-`.
            if let (Some(added), Some(removed)) = (number(added), number(removed)) {
                lines.insert(RepoPath::parse(path)?, Lines { added, removed });
            }
        }
    }
    for change in &mut changes {
        change.lines = lines.get(&change.path).copied();
    }
    Ok(changes)
}

fn parse_change(raw: &[u8], path: RepoPath) -> Result<ChangedPath, TreeError> {
    let unreadable = || GitError::Unreadable { what: "diff-tree".to_owned() };
    let raw = std::str::from_utf8(raw).map_err(|_| unreadable())?;
    let mut words = raw.split(' ');
    let (Some(old_mode), Some(new_mode), Some(old), Some(new), Some(letter)) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return Err(unreadable().into());
    };
    let what = match letter {
        "A" => WhatChanged::Added,
        "D" => WhatChanged::Removed,
        "M" => WhatChanged::Modified,
        "T" => WhatChanged::TypeChanged,
        _ => return Err(unreadable().into()),
    };
    let (old, new) = (state(old_mode, old, &path)?, state(new_mode, new, &path)?);
    Ok(ChangedPath { path, what, old, new, lines: None })
}

fn state(mode: &str, blob: &str, path: &RepoPath) -> Result<Option<PathState>, TreeError> {
    match mode {
        "000000" => Ok(None),
        "160000" => Err(TreeError::Gitlink { path: path.clone() }),
        _ => match file_mode(mode) {
            Some(mode) => Ok(Some(PathState { mode, blob: blob.to_owned() })),
            None => Err(TreeError::Mode { path: path.clone(), mode: mode.to_owned() }),
        },
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_listing_is_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), raw in any::<bool>()) {
            if raw {
                bytes.splice(..0, *b":100644 100644 ");
            }
            let _ = parse_diff(&bytes);
        }
    }

    #[test]
    fn both_sections_are_joined_by_path() {
        let id = "a".repeat(40);
        let listing = format!(":000000 120000 {id} {id} A\0l\0:100644 000000 {id} {id} D\0d\0-\t-\td\0001\t0\tl\0");
        let changes = parse_diff(listing.as_bytes()).unwrap();
        assert_eq!(
            changes.iter().map(|c| (c.what, c.lines.is_some())).collect::<Vec<_>>(),
            [(WhatChanged::Added, true), (WhatChanged::Removed, false)]
        );
    }
}
