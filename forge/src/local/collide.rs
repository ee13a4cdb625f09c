//! Paths that some file systems would take for one (the class of CVE-2021-21300: a link and a directory that differ
//! only in case).

use std::collections::{BTreeMap, BTreeSet};

use selvedge_domain::TreeId;

use crate::fold::folded;
use crate::git::{GitError, LISTING};

use super::Repository;
use super::tree::records;

/// Two paths that differ only in case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{added}` differs from `{existing}` only in case")]
pub struct SameButForCase {
    /// The path the change adds, escaped.
    pub added: String,
    /// The path it collides with, escaped.
    pub existing: String,
}

impl Repository {
    /// A path of `new` that is not in `old` and differs from another only in case. What `old` already holds is its own
    /// affair.
    pub(super) fn collision(&self, old: &TreeId, new: &TreeId) -> Result<Option<SameButForCase>, GitError> {
        let flags = ["diff-tree", "-r", "-t", "-z", "--name-only", "--no-renames", "--diff-filter=A"];
        let added = self.git(&[&flags[..], &[old.as_str(), new.as_str()]].concat(), b"", LISTING)?;
        if added.is_empty() {
            return Ok(None);
        }
        let added: BTreeSet<&[u8]> = records(&added).collect();
        let all = self.git(&["ls-tree", "-r", "-t", "-z", "--name-only", "--full-tree", new.as_str()], b"", LISTING)?;
        let mut by_folded: BTreeMap<String, &[u8]> = BTreeMap::new();
        for name in records(&all) {
            let Some(other) = by_folded.insert(folded(&String::from_utf8_lossy(name)), name) else { continue };
            let pair = match (added.contains(name), added.contains(other)) {
                (true, _) => (name, other),
                (false, true) => (other, name),
                (false, false) => continue,
            };
            return Ok(Some(SameButForCase { added: shown(pair.0), existing: shown(pair.1) }));
        }
        Ok(None)
    }
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).escape_debug().take(200).collect()
}
