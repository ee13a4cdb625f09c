//! What work comes to: the kinds of effect a task may end in (requirement A10), and how a run may end.

use std::fmt;

use crate::{CommitId, Digest, TreeId};

/// The number of a proposal within its repository, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProposalNumber(u64);

impl ProposalNumber {
    /// The proposal with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ProposalNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Kinds of effect. They differ in checks and orders, never in the law of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EffectKind {
    /// A change offered for review.
    Proposal,
    /// A document.
    Report,
    /// A ticket changed.
    TicketChange,
    /// A build or package.
    Artifact,
    /// A release to an environment.
    Deployment,
    /// What an infrastructure change would do.
    InfraPlan,
    /// The infrastructure change.
    InfraApply,
}

/// What a worker produced, before it is verified: content, by fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A tree that differs from the base.
    Tree {
        /// The tree the worker left, collected and written by the factory.
        tree: TreeId,
        /// The factory's commit of it.
        commit: CommitId,
        /// What the worker says it did: data for a proposal's text, never a fact for policy.
        summary: String,
    },
    /// A document whose content is kept under its fingerprint.
    Document {
        /// What it is meant to become.
        kind: EffectKind,
        /// Its content.
        digest: Digest,
    },
    /// There is something to do and the worker cannot do it: a person has to look.
    Unresolved {
        /// Why not.
        because: String,
    },
    /// The worker found nothing to do and says why.
    Nothing {
        /// Why not.
        because: String,
    },
}

/// How a run ended. The list is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A proposal was opened.
    Proposed(ProposalNumber),
    /// Something else changed in the world, as the task intended; or an ad-hoc program ran to its end.
    Changed {
        /// What changed.
        what: String,
    },
    /// There was nothing to do.
    NothingToDo {
        /// Why not.
        because: String,
    },
    /// There is a result, and a person has to look at it before it goes further.
    Held {
        /// Why.
        because: String,
    },
    /// Policy said no.
    Refused {
        /// The denial code and its next step.
        because: String,
    },
    /// It could not be done.
    Failed {
        /// Why.
        because: String,
    },
    /// A person stopped it.
    Halted {
        /// Who and why.
        because: String,
    },
}

impl Outcome {
    /// The word in records and `--json`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Proposed(_) => "proposed",
            Self::Changed { .. } => "changed",
            Self::NothingToDo { .. } => "nothing_to_do",
            Self::Held { .. } => "held",
            Self::Refused { .. } => "refused",
            Self::Failed { .. } => "failed",
            Self::Halted { .. } => "halted",
        }
    }

    /// The sentence that goes with it.
    pub fn because(&self) -> String {
        match self {
            Self::Proposed(number) => format!("proposal {number}"),
            Self::Changed { what } => what.clone(),
            Self::NothingToDo { because }
            | Self::Held { because }
            | Self::Refused { because }
            | Self::Failed { because }
            | Self::Halted { because } => because.clone(),
        }
    }
}
