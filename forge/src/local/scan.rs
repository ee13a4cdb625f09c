//! Looking for credentials in everything a change adds: content, link targets and the paths themselves.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_domain::{RepoPath, TreeId};

use crate::git::{GitError, LISTING};
use crate::secret::{Finding, Scanner};

use super::tree::{Entry, TreeError};
use super::{ChangedPath, Repository};

/// A finding and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// The file. When the path itself is the finding this says only `(a path)`, since findings hold no secret.
    pub place: String,
    /// What was found.
    pub finding: Finding,
}

/// Larger files are reported instead of searched: what cannot be searched has not been found clean.
const SCAN_BYTES_MAX: u64 = 64 << 20;
/// The kind of that report.
const NOT_SEARCHED: &str = "file too large to search";

impl Repository {
    /// Credentials in `new` that the same path in `old` does not hold.
    pub fn leaks(&self, old: &TreeId, new: &TreeId, scanner: &Scanner) -> Result<Vec<Leak>, TreeError> {
        let mut changes = self.diff(old, new)?;
        changes.retain(|change| change.new.is_some());
        let sides = self.sized_sides(&changes)?;
        let mut leaks: Vec<Leak> = changes.iter().flat_map(|change| in_path(&change.path, scanner)).collect();
        let too_large = |entry: &Entry| entry.bytes > SCAN_BYTES_MAX;
        let large: BTreeSet<&RepoPath> =
            sides.iter().filter(|entry| too_large(entry)).map(|entry| &entry.path).collect();
        let finding = Finding { kind: NOT_SEARCHED, line: 1 };
        leaks.extend(large.iter().map(|path| Leak { place: path.to_string(), finding: finding.clone() }));
        let searched: Vec<Entry> = sides.iter().filter(|entry| !large.contains(&entry.path)).cloned().collect();
        let mut before: BTreeMap<&RepoPath, Vec<u8>> = BTreeMap::new();
        let added: BTreeSet<&RepoPath> =
            changes.iter().filter(|change| change.old.is_none()).map(|c| &c.path).collect();
        self.read_blobs(&searched, |entry, content| {
            // The old side comes first where there is one.
            match (added.contains(&entry.path), before.remove(&entry.path)) {
                (false, None) => drop(before.insert(&entry.path, content.to_vec())),
                (_, old) => {
                    let findings = scanner.added(&old.unwrap_or_default(), content);
                    leaks.extend(findings.into_iter().map(|finding| Leak { place: entry.path.to_string(), finding }));
                }
            }
            Ok::<(), GitError>(())
        })?;
        Ok(leaks)
    }

    /// Both sides of every change as entries with sizes, the old one first.
    fn sized_sides(&self, changes: &[ChangedPath]) -> Result<Vec<Entry>, GitError> {
        let unreadable = || GitError::Unreadable { what: "cat-file".to_owned() };
        let sides = || changes.iter().flat_map(|c| c.old.iter().chain(&c.new).map(|side| (&c.path, side)));
        let asked: String = sides().flat_map(|(_, side)| [side.blob.as_str(), "\n"]).collect();
        let answer = self.git(&["cat-file", "--batch-check=%(objectsize)"], asked.as_bytes(), LISTING)?;
        let answer = String::from_utf8(answer).map_err(|_| unreadable())?;
        let mut sizes = answer.lines();
        sides()
            .map(|(path, side)| {
                let bytes = sizes.next().and_then(|size| size.parse().ok()).ok_or_else(unreadable)?;
                Ok(Entry { path: path.clone(), mode: side.mode, blob: side.blob.clone(), bytes })
            })
            .collect()
    }
}

fn in_path(path: &RepoPath, scanner: &Scanner) -> Option<Leak> {
    let finding = scanner.added(b"", path.as_str().as_bytes()).into_iter().next()?;
    Some(Leak { place: "(a path)".to_owned(), finding })
}
