//! Looking for what should not leave in what a change adds: credentials in content, link targets and the paths
//! themselves, and links that lead outside.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_domain::{FileMode, RepoPath, TreeId};

use crate::git::{GitError, LISTING};
use crate::secret::{Finding, Scanner};
use crate::sensitive::leads_outside;

use super::tree::{Entry, TreeError};
use super::{ChangedPath, Repository};

/// A finding and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// The file, or `(a path)` where the path itself is a finding.
    pub place: String,
    /// What was found.
    pub finding: Finding,
}

/// Larger files are reported instead of searched: what cannot be searched has not been found clean.
const SCAN_BYTES_MAX: u64 = 64 << 20;
/// Linux `PATH_MAX`: nothing follows a longer target.
const TARGET_BYTES_MAX: u64 = 4095;
/// The kind of that report.
const NOT_SEARCHED: &str = "file too large to search";

impl Repository {
    /// Credentials in `new` that the same path in `old` does not hold.
    pub fn leaks(&self, old: &TreeId, new: &TreeId, scanner: &Scanner) -> Result<Vec<Leak>, TreeError> {
        let mut changes = self.diff(old, new)?;
        changes.retain(|change| change.new.is_some());
        let sides = self.sized_sides(&changes)?;
        let in_path = |path: &RepoPath| scanner.added(b"", path.as_str().as_bytes()).into_iter().next();
        // A path that is itself a finding is not shown: findings hold no secret.
        let place = |path: &RepoPath| in_path(path).map_or_else(|| path.to_string(), |_| "(a path)".to_owned());
        let leak = |path: &RepoPath, finding| Leak { place: place(path), finding };
        let mut leaks: Vec<Leak> = changes.iter().filter_map(|c| Some(leak(&c.path, in_path(&c.path)?))).collect();
        let too_large = sides.iter().filter(|entry| entry.bytes > SCAN_BYTES_MAX);
        let large: BTreeSet<&RepoPath> = too_large.map(|entry| &entry.path).collect();
        leaks.extend(large.iter().map(|path| leak(path, Finding { kind: NOT_SEARCHED, line: 1 })));
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
                    leaks.extend(findings.into_iter().map(|finding| leak(&entry.path, finding)));
                }
            }
            Ok::<(), GitError>(())
        })?;
        Ok(leaks)
    }

    /// Symlinks that `new` adds or changes and that may lead out of the repository.
    pub fn links_outside(&self, old: &TreeId, new: &TreeId) -> Result<Vec<RepoPath>, TreeError> {
        let mut changes = self.diff(old, new)?;
        changes.retain(|change| change.new.as_ref().is_some_and(|new| new.mode == FileMode::Symlink));
        changes.iter_mut().for_each(|change| change.old = None);
        let links = self.sized_sides(&changes)?;
        let (read, too_long): (Vec<Entry>, Vec<Entry>) = links.into_iter().partition(|l| l.bytes <= TARGET_BYTES_MAX);
        let mut outside: Vec<RepoPath> = too_long.into_iter().map(|link| link.path).collect();
        self.read_blobs(&read, |link, target| {
            outside.extend(leads_outside(&link.path, target).then(|| link.path.clone()));
            Ok::<(), GitError>(())
        })?;
        Ok(outside)
    }

    /// Both sides of every change as entries with sizes, the old one first.
    pub(super) fn sized_sides(&self, changes: &[ChangedPath]) -> Result<Vec<Entry>, GitError> {
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
