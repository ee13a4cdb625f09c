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
    /// Where the source's HEAD stood when it was asked. None when it points at nothing the source has.
    pub head: Option<CommitId>,
}

/// References by their full names.
type References = BTreeMap<String, String>;

/// What a source has.
#[derive(Debug)]
struct Told {
    head: Option<CommitId>,
    /// Its branches and tags, as they are called where ours are kept.
    kept_as: References,
}

/// Where the source's branches and tags are kept as it last had them.
const SOURCE: &str = "refs/selvedge/source/";
const SOURCE_HEADS: &str = "refs/selvedge/source/heads/";
const SOURCE_TAGS: &str = "refs/selvedge/source/tags/";

impl Repository {
    /// Catches up with the source. Branches only move forward, ours and theirs are never overwritten, tags never move.
    ///
    /// The source is asked first: mostly it has nothing new, and then nothing is fetched.
    pub fn sync(&self, source: &Source) -> Result<Synced, ImportError> {
        // One asks a process of the source's, one of ours.
        let (told, known) = std::thread::scope(|threads| {
            let known = threads.spawn(|| self.references());
            (self.told(source), known.join())
        });
        let (told, mut known) = (told?, known.unwrap_or_else(|_| self.references())?);
        if !kept(&known).eq(told.kept_as.iter()) {
            self.fetch(source)?;
            known = self.references()?;
        }
        Ok(Synced { head: told.head, ..self.promote(&known)? })
    }

    /// What the source has. Asked in git's own protocol, like everything of a source: whatever its configuration says, nothing of
    /// it runs (attack S-28).
    fn told(&self, source: &Source) -> Result<Told, ImportError> {
        let answer = self.read_source(&["ls-remote", "--", &source.text], source, TRANSFER)?;
        let answer = String::from_utf8_lossy(&answer);
        let mut told = Told { head: None, kept_as: References::new() };
        for (id, name) in answer.lines().filter_map(|line| line.split_once('\t')) {
            if name == "HEAD" {
                told.head = CommitId::parse(id).ok();
            } else if let Some(name) = kept_as(name) {
                told.kept_as.insert(name, id.to_owned());
            }
        }
        Ok(told)
    }

    fn fetch(&self, source: &Source) -> Result<(), ImportError> {
        let heads = format!("+refs/heads/*:{SOURCE_HEADS}*");
        let tags = format!("+refs/tags/*:{SOURCE_TAGS}*");
        let args = ["fetch", "--quiet", "--no-tags", "--prune", "--no-write-fetch-head", "--no-auto-maintenance"];
        self.read_source(&[&args[..], &["--", &source.text, &heads, &tags]].concat(), source, TRANSFER)?;
        Ok(())
    }

    /// Moves our branches and tags to the source's, where that only adds.
    fn promote(&self, known: &References) -> Result<Synced, ImportError> {
        let mut synced = Synced::default();
        let mut moves = new_tags(known);
        for (name, new) in below(known, SOURCE_HEADS) {
            let Ok(branch) = BranchName::parse(name) else {
                synced.skipped.push(shown(name));
                continue;
            };
            let old = known.get(&format!("refs/heads/{name}"));
            match old {
                Some(old) if old == new => continue,
                Some(old) if self.is_ancestor(old, new)? => {}
                Some(old) if self.is_ancestor(new, old)? => continue,
                Some(_) => {
                    synced.diverged.push(branch);
                    continue;
                }
                None => {}
            }
            let old = old.cloned().unwrap_or_default();
            moves.push(Move { reference: branch.reference(), new: new.clone(), old });
            synced.updated.push(branch);
        }
        let failed = self.apply(&moves)?;
        synced.updated.retain(|branch| !failed.contains(&branch.reference()));
        synced.skipped.extend(failed.iter().map(|reference| shown(reference)));
        Ok(synced)
    }

    /// Makes every move that is possible, all at once if it can be; returns the references that could not move.
    ///
    /// A reference `a` and a reference `a/b` exclude each other, and a source may have changed from one to the other.
    fn apply(&self, moves: &[Move]) -> Result<Vec<String>, GitError> {
        let update = |moves: &[Move]| {
            let orders: String = moves.iter().map(Move::order).collect();
            self.ask(&["update-ref", "--no-deref", "--stdin", "-z"], orders.as_bytes(), LISTING)
        };
        if moves.is_empty() || update(moves)?.status == Some(0) {
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

    /// Our branches and tags, and the source's as we last had them.
    fn references(&self) -> Result<References, GitError> {
        let args = ["for-each-ref", "--format=%(objectname) %(refname)", "refs/heads/", "refs/tags/", SOURCE];
        let listing = self.git(&args, b"", LISTING)?;
        let listing = String::from_utf8_lossy(&listing);
        let named = listing.lines().filter_map(|line| line.split_once(' '));
        Ok(named.map(|(id, name)| (name.to_owned(), id.to_owned())).collect())
    }

    fn is_ancestor(&self, older: &str, newer: &str) -> Result<bool, GitError> {
        let unreadable = |_| GitError::Unreadable { what: "for-each-ref".to_owned() };
        let parse = CommitId::parse;
        self.contains(&parse(newer).map_err(unreadable)?, &parse(older).map_err(unreadable)?)
    }
}

/// Where a source's reference is kept; nowhere, if it is neither branch nor tag, or says what a tag points at.
fn kept_as(name: &str) -> Option<String> {
    let name = name.strip_prefix("refs/").filter(|name| name.starts_with("heads/") || name.starts_with("tags/"))?;
    (!name.ends_with("^{}")).then(|| format!("{SOURCE}{name}"))
}

/// What is kept of a source.
fn kept(known: &References) -> impl Iterator<Item = (&String, &String)> {
    known.iter().filter(|(name, _)| name.starts_with(SOURCE))
}

/// References below `prefix`: what follows it, and the object.
fn below<'a>(known: &'a References, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a String)> {
    known.iter().filter_map(move |(name, id)| Some((name.strip_prefix(prefix)?, id)))
}

fn new_tags(known: &References) -> Vec<Move> {
    let ours = |name: &str| format!("refs/tags/{name}");
    let new = below(known, SOURCE_TAGS).filter(|(name, _)| !known.contains_key(&ours(name)));
    new.map(|(name, new)| Move { reference: ours(name), new: new.clone(), old: String::new() }).collect()
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
