//! `proposal.open` and `proposal.merge`: two acts, two decisions (requirement F3).

use super::{Description, Field, Order, Resource, ResourceKind, Verb};
use crate::{CommitId, ProposalNumber, RepoName, RunId, TestCount, Verified};

/// Offer a verified commit for review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenProposal {
    /// The run that made it.
    pub run: RunId,
    /// Where to.
    pub repo: RepoName,
    /// What was verified. There is no other way to name a commit here.
    pub verified: Verified,
    /// The branch it is meant for.
    pub target: String,
    /// The title, templated by the factory.
    pub title: String,
    /// The body, templated by the factory; agent text inside is boxed and escaped.
    pub body: String,
    /// Changed paths, in order.
    pub paths: Vec<String>,
    /// Changed paths that run elsewhere later: CI, build scripts, editor tasks.
    pub executes_elsewhere: Vec<String>,
    /// Changed paths of the gate that it was not judged with: the base's tests and what steers them, altered or deleted
    /// and new files beside them that could steer them. Bounded; the last word counts what is left out.
    pub changes_gate: Vec<String>,
    /// What the run was seen to do that was not declared (requirement D10). Bounded; the last word counts what is left out.
    pub undeclared: Vec<String>,
    /// What is known of whoever made the change, where that was another run.
    pub author: Authorship,
}

/// What is known of the author of a change that another run reviewed and proposes. Nothing where a run proposes what it made itself: of
/// that its own facts tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Authorship {
    /// Its agent became more than it is registered as, and nobody vouched for that.
    pub drifted: bool,
    /// Its agent left what is usual for it, and nobody vouched for that.
    pub departed: bool,
    /// It read a sensitive file, or hangs on a run that had.
    pub read_sensitive: bool,
}

impl Order for OpenProposal {
    type Deed = ProposalNumber;
    const VERB: Verb = Verb::ProposalOpen;

    fn describe(&self) -> Description {
        let (counted, tests) = match self.verified.count() {
            TestCount::Counted { change, .. } => (true, i64::try_from(change).unwrap_or(i64::MAX)),
            TestCount::Uncounted => (false, 0),
        };
        Description {
            verb: Self::VERB,
            resource: Resource {
                kind: ResourceKind::Repository,
                name: self.repo.as_str().to_owned(),
                repo: self.repo.clone(),
            },
            fields: vec![
                ("run", Field::from(self.run.as_str())),
                ("commit", Field::from(self.verified.commit().as_str())),
                ("base", Field::from(self.verified.base().as_str())),
                ("target", Field::from(self.target.as_str())),
                ("title", Field::from(self.title.as_str())),
                ("body", Field::from(self.body.as_str())),
                ("tests_counted", Field::Flag(counted)),
                ("tests", Field::Number(tests)),
                ("paths", Field::Words(self.paths.clone())),
                ("executes_elsewhere", Field::Words(self.executes_elsewhere.clone())),
                ("changes_gate", Field::Words(self.changes_gate.clone())),
                ("undeclared", Field::Words(self.undeclared.clone())),
                ("author_drifted", Field::Flag(self.author.drifted)),
                ("author_departed", Field::Flag(self.author.departed)),
                ("author_read_sensitive", Field::Flag(self.author.read_sensitive)),
            ],
        }
    }
}

/// Merge a proposal at exactly this head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeProposal {
    /// Where.
    pub repo: RepoName,
    /// Which proposal.
    pub number: ProposalNumber,
    /// The run that made it.
    pub run: RunId,
    /// The commit it was reviewed at.
    pub head: CommitId,
    /// The branch it goes to.
    pub target: String,
    /// Whether whoever asks is an agent in the chain that made the change.
    pub asked_by_author: bool,
}

/// A merge that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The target branch's new head.
    pub commit: CommitId,
}

impl Order for MergeProposal {
    type Deed = Merged;
    const VERB: Verb = Verb::ProposalMerge;

    fn describe(&self) -> Description {
        Description {
            verb: Self::VERB,
            resource: Resource {
                kind: ResourceKind::Proposal,
                name: format!("{}{}", self.repo, self.number),
                repo: self.repo.clone(),
            },
            fields: vec![
                ("run", Field::from(self.run.as_str())),
                ("head", Field::from(self.head.as_str())),
                ("target", Field::from(self.target.as_str())),
                ("asked_by_author", Field::Flag(self.asked_by_author)),
            ],
        }
    }
}
