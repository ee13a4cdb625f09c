//! Merging a commit into a branch: first what it would come to, then the one move of the branch.
//!
//! The plan is computed from its inputs alone, so that what was verified and approved is what lands, and repeating a
//! merge after a crash finds it done instead of doing it twice.

use selvedge_authority::Permit;
use selvedge_domain::orders::{MergeProposal, Merged};
use selvedge_domain::{CommitId, Time, TreeId};

use crate::git::{ANSWER, GitError, LISTING};

use super::{Author, BranchName, Expected, PublishError, Repository, SameButForCase, commit_id};

/// What to merge.
#[derive(Debug, Clone, Copy)]
pub struct Merge<'a> {
    /// Into which branch.
    pub target: &'a BranchName,
    /// Where that branch is expected to be.
    pub expected: &'a CommitId,
    /// The commit that was verified.
    pub commit: &'a CommitId,
    /// The message of a merge commit, should one be needed.
    pub message: &'a str,
    /// Its author.
    pub author: &'a Author,
    /// Its time.
    pub when: Time,
}

/// What a merge comes to. Nothing has moved yet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "call `Repository::merge` to move the branch"]
pub struct PlannedMerge {
    target: BranchName,
    expected: CommitId,
    commit: CommitId,
    kind: MergeKind,
    head: CommitId,
    tree: TreeId,
}

/// How a branch would move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeKind {
    /// It holds the commit already.
    Contained,
    /// Straight to the commit.
    FastForward,
    /// To a new commit that combines both.
    ThreeWay,
}

/// A merge was not possible.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// Git gave no answer.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The target is elsewhere.
    #[error(transparent)]
    Moved(#[from] PublishError),
    /// Both sides changed the same lines.
    #[error("the branches conflict in {}", paths.join(", "))]
    Conflict {
        /// Where, escaped.
        paths: Vec<String>,
    },
    /// Each side added a path that differs from the other's only in case.
    #[error(transparent)]
    Case(#[from] SameButForCase),
    /// The permit is for another commit, branch or repository.
    #[error("the permit is for merging {permitted}, not {asked} into this branch")]
    OtherMerge {
        /// What may be merged.
        permitted: CommitId,
        /// What was to be merged.
        asked: CommitId,
    },
    /// The message cannot stand in a commit.
    #[error("the merge message is too long or holds a NUL byte")]
    Message,
}

/// More conflicting paths than a message can show.
const PATHS_SHOWN_MAX: usize = 20;
/// Longer than any forge shows.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

impl PlannedMerge {
    /// How the branch would move.
    pub fn kind(&self) -> MergeKind {
        self.kind
    }

    /// Where the branch would be.
    pub fn head(&self) -> &CommitId {
        &self.head
    }

    /// What the branch would hold. For a three-way merge nobody has verified this tree yet.
    pub fn tree(&self) -> &TreeId {
        &self.tree
    }
}

impl Repository {
    /// Computes what merging would come to: objects are written, no branch moves.
    pub fn plan_merge(&self, plan: &Merge<'_>) -> Result<PlannedMerge, MergeError> {
        let (kind, head) = if self.contains(plan.expected, plan.commit)? {
            (MergeKind::Contained, plan.expected.clone())
        } else if self.contains(plan.commit, plan.expected)? {
            (MergeKind::FastForward, plan.commit.clone())
        } else {
            (MergeKind::ThreeWay, self.merge_commit(plan)?)
        };
        let tree = self.tree_of(&head)?;
        if let Some(collision) = self.collision(&self.tree_of(plan.expected)?, &tree)? {
            return Err(collision.into());
        }
        let (target, expected, commit) = (plan.target.clone(), plan.expected.clone(), plan.commit.clone());
        Ok(PlannedMerge { target, expected, commit, kind, head, tree })
    }

    /// Moves the branch as planned, if it is still where the plan expected it or already holds the result.
    pub fn merge(&self, permit: &Permit<MergeProposal>, planned: &PlannedMerge) -> Result<Merged, MergeError> {
        let PlannedMerge { target, expected, commit, head, .. } = planned;
        let order = permit.order();
        if order.repo != self.name || order.head != *commit || order.target != target.as_str() {
            return Err(MergeError::OtherMerge { permitted: order.head.clone(), asked: commit.clone() });
        }
        let merged = Merged { commit: head.clone() };
        match self.head(target)? {
            Some(now) if now == *expected => {}
            Some(now) if self.contains(&now, head)? => return Ok(merged),
            found => return Err(PublishError::Moved { branch: target.as_str().to_owned(), found }.into()),
        }
        self.move_reference(&target.reference(), target.as_str(), head, &Expected::At(expected.clone()))?;
        Ok(merged)
    }

    fn merge_commit(&self, plan: &Merge<'_>) -> Result<CommitId, MergeError> {
        if plan.message.len() > MESSAGE_BYTES_MAX || plan.message.contains('\0') {
            return Err(MergeError::Message);
        }
        let (ours, theirs) = (plan.expected.as_str(), plan.commit.as_str());
        let args = ["merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours, theirs];
        let output = self.ask(&args, b"", LISTING)?;
        let mut records = super::tree::records(&output.stdout);
        let tree = records.next().map(String::from_utf8_lossy).unwrap_or_default();
        match output.status {
            Some(0) => {}
            Some(1) if !output.cut => {
                let paths =
                    records.take(PATHS_SHOWN_MAX).map(|path| String::from_utf8_lossy(path).escape_debug().to_string());
                return Err(MergeError::Conflict { paths: paths.collect() });
            }
            _ => return Err(GitError::Failed { what: "merge-tree".to_owned(), said: output.said() }.into()),
        }
        // Written by hand because `commit-tree` takes the author from the environment, which is fixed for every call.
        let who = plan.author.at(plan.when);
        let object =
            format!("tree {tree}\nparent {ours}\nparent {theirs}\nauthor {who}\ncommitter {who}\n\n{}", plan.message);
        let line = self.git(&["hash-object", "-t", "commit", "-w", "--stdin"], object.as_bytes(), ANSWER)?;
        Ok(commit_id("hash-object", &line)?)
    }
}
