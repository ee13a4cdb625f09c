//! Catching up with a source: what it has is fetched aside, then ours moves where that only adds.

use std::collections::BTreeMap;

use selvedge_domain::CommitId;

use crate::git::{GitError, LISTING, TRANSFER};

use super::{BranchName, ImportError, Repository, Source};

/// What catching up brought.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Synced {
    /// Branches that are new or moved forward.
    pub updated: Vec<BranchName>,
    /// Branches where we and the source each have commits the other lacks; ours stay as they are.
    pub diverged: Vec<BranchName>,
    /// Names left out, escaped: ours to give, or not usable as a branch.
    pub skipped: Vec<String>,
}

/// Where the source's branches and tags are kept as it last had them.
const SOURCE_HEADS: &str = "refs/selvedge/source/heads/";
const SOURCE_TAGS: &str = "refs/selvedge/source/tags/";

impl Repository {
    /// Catches up with the source. Branches only move forward, ours and theirs are never overwritten, tags never move.
    pub fn sync(&self, source: &Source) -> Result<Synced, ImportError> {
        let heads = format!("+refs/heads/*:{SOURCE_HEADS}*");
        let tags = format!("+refs/tags/*:{SOURCE_TAGS}*");
        let args = ["fetch", "--quiet", "--no-tags", "--prune", "--no-write-fetch-head", "--no-auto-maintenance"];
        self.read_source(&[&args[..], &["--", &source.text, &heads, &tags]].concat(), source, TRANSFER)?;
        self.promote()
    }

    /// Where the source's HEAD stands. Asked in git's own protocol, like everything of a source: whatever its
    /// configuration says, nothing of it runs (attack S-28). None when HEAD points at nothing the source has.
    pub fn head_of(&self, source: &Source) -> Result<Option<CommitId>, ImportError> {
        let answer = self.read_source(&["ls-remote", "--", &source.text, "HEAD"], source, TRANSFER)?;
        let answer = String::from_utf8_lossy(&answer);
        let id = answer.lines().find_map(|line| line.strip_suffix("\tHEAD"));
        Ok(id.and_then(|id| CommitId::parse(id).ok()))
    }

    /// Moves our branches and tags to the source's, where that only adds.
    fn promote(&self) -> Result<Synced, ImportError> {
        let theirs = self.references(SOURCE_HEADS)?;
        let ours = self.references("refs/heads/")?;
        let mut synced = Synced::default();
        let mut moves = self.new_tags()?;
        for (name, new) in theirs {
            let Ok(branch) = BranchName::parse(&name) else {
                synced.skipped.push(shown(&name));
                continue;
            };
            let old = ours.get(&name);
            match old {
                Some(old) if *old == new => continue,
                Some(old) if self.is_ancestor(old, &new)? => {}
                Some(old) if self.is_ancestor(&new, old)? => continue,
                Some(_) => {
                    synced.diverged.push(branch);
                    continue;
                }
                None => {}
            }
            moves.push(Move { reference: branch.reference(), new, old: old.cloned().unwrap_or_default() });
            synced.updated.push(branch);
        }
        let failed = self.apply(&moves)?;
        synced.updated.retain(|branch| !failed.contains(&branch.reference()));
        synced.skipped.extend(failed.iter().map(|reference| shown(reference)));
        Ok(synced)
    }

    fn new_tags(&self) -> Result<Vec<Move>, GitError> {
        let ours = self.references("refs/tags/")?;
        let theirs = self.references(SOURCE_TAGS)?;
        let new = theirs.into_iter().filter(|(name, _)| !ours.contains_key(name));
        Ok(new.map(|(name, new)| Move { reference: format!("refs/tags/{name}"), new, old: String::new() }).collect())
    }

    /// Makes every move that is possible, all at once if it can be; returns the references that could not move.
    ///
    /// A reference `a` and a reference `a/b` exclude each other, and a source may have changed from one to the other.
    fn apply(&self, moves: &[Move]) -> Result<Vec<String>, GitError> {
        let update = |moves: &[Move]| {
            let orders: String = moves.iter().map(Move::order).collect();
            self.ask(&["update-ref", "--no-deref", "--stdin", "-z"], orders.as_bytes(), LISTING)
        };
        if update(moves)?.status == Some(0) {
            return Ok(Vec::new());
        }
        let mut failed = Vec::new();
        for one in moves {
            if update(std::slice::from_ref(one))?.status != Some(0) {
                failed.push(one.reference.clone());
            }
        }
        Ok(failed)
    }

    /// References below `prefix`: what follows it, and the object.
    fn references(&self, prefix: &str) -> Result<BTreeMap<String, String>, GitError> {
        let listing = self.git(&["for-each-ref", "--format=%(objectname) %(refname)", prefix], b"", LISTING)?;
        let listing = String::from_utf8_lossy(&listing);
        let named = listing.lines().filter_map(|line| line.split_once(' '));
        Ok(named.filter_map(|(id, name)| Some((name.strip_prefix(prefix)?.to_owned(), id.to_owned()))).collect())
    }

    fn is_ancestor(&self, older: &str, newer: &str) -> Result<bool, GitError> {
        let unreadable = |_| GitError::Unreadable { what: "for-each-ref".to_owned() };
        let parse = CommitId::parse;
        self.contains(&parse(newer).map_err(unreadable)?, &parse(older).map_err(unreadable)?)
    }
}

/// One reference's way from `old`, empty where there was none, to `new`.
#[derive(Debug)]
struct Move {
    reference: String,
    new: String,
    old: String,
}

impl Move {
    fn order(&self) -> String {
        let Self { reference, new, old } = self;
        // With `-z` an empty old value would mean any; only `create` insists that there is none.
        if old.is_empty() {
            format!("create {reference}\0{new}\0")
        } else {
            format!("update {reference}\0{new}\0{old}\0")
        }
    }
}

fn shown(name: &str) -> String {
    name.escape_debug().take(100).collect()
}
