//! Stored forms of effects and outcomes.

use selvedge_domain::{CommitId, Digest, Effect, EffectKind, Outcome, ProposalNumber, TreeId};
use serde::{Deserialize, Serialize};

use super::Malformed;

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::entry) enum EffectV1 {
    Tree { tree: String, commit: String, summary: String },
    Document { kind: EffectKindV1, digest: String },
    Unresolved { because: String },
    Nothing { because: String },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::entry) enum EffectKindV1 {
    Proposal,
    Report,
    TicketChange,
    Artifact,
    Deployment,
    InfraPlan,
    InfraApply,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::entry) enum OutcomeV1 {
    Proposed { number: u64 },
    Changed { what: String },
    NothingToDo { because: String },
    Held { because: String },
    Refused { because: String },
    Failed { because: String },
    Halted { because: String },
}

impl EffectV1 {
    pub(in crate::entry) fn store(effect: &Effect) -> Self {
        match effect {
            Effect::Tree { tree, commit, summary } => {
                Self::Tree { tree: tree.to_string(), commit: commit.to_string(), summary: summary.clone() }
            }
            Effect::Document { kind, digest } => {
                Self::Document { kind: EffectKindV1::store(*kind), digest: digest.to_string() }
            }
            Effect::Unresolved { because } => Self::Unresolved { because: because.clone() },
            Effect::Nothing { because } => Self::Nothing { because: because.clone() },
        }
    }

    pub(in crate::entry) fn restore(self) -> Result<Effect, Malformed> {
        Ok(match self {
            Self::Tree { tree, commit, summary } => {
                Effect::Tree { tree: TreeId::parse(&tree)?, commit: CommitId::parse(&commit)?, summary }
            }
            Self::Document { kind, digest } => {
                Effect::Document { kind: kind.restore(), digest: Digest::parse(&digest)? }
            }
            Self::Unresolved { because } => Effect::Unresolved { because },
            Self::Nothing { because } => Effect::Nothing { because },
        })
    }
}

impl EffectKindV1 {
    fn store(kind: EffectKind) -> Self {
        match kind {
            EffectKind::Proposal => Self::Proposal,
            EffectKind::Report => Self::Report,
            EffectKind::TicketChange => Self::TicketChange,
            EffectKind::Artifact => Self::Artifact,
            EffectKind::Deployment => Self::Deployment,
            EffectKind::InfraPlan => Self::InfraPlan,
            EffectKind::InfraApply => Self::InfraApply,
        }
    }

    fn restore(self) -> EffectKind {
        match self {
            Self::Proposal => EffectKind::Proposal,
            Self::Report => EffectKind::Report,
            Self::TicketChange => EffectKind::TicketChange,
            Self::Artifact => EffectKind::Artifact,
            Self::Deployment => EffectKind::Deployment,
            Self::InfraPlan => EffectKind::InfraPlan,
            Self::InfraApply => EffectKind::InfraApply,
        }
    }
}

impl OutcomeV1 {
    pub(in crate::entry) fn store(outcome: &Outcome) -> Self {
        match outcome.clone() {
            Outcome::Proposed(number) => Self::Proposed { number: number.get() },
            Outcome::Changed { what } => Self::Changed { what },
            Outcome::NothingToDo { because } => Self::NothingToDo { because },
            Outcome::Held { because } => Self::Held { because },
            Outcome::Refused { because } => Self::Refused { because },
            Outcome::Failed { because } => Self::Failed { because },
            Outcome::Halted { because } => Self::Halted { because },
        }
    }

    pub(in crate::entry) fn restore(self) -> Outcome {
        match self {
            Self::Proposed { number } => Outcome::Proposed(ProposalNumber::new(number)),
            Self::Changed { what } => Outcome::Changed { what },
            Self::NothingToDo { because } => Outcome::NothingToDo { because },
            Self::Held { because } => Outcome::Held { because },
            Self::Refused { because } => Outcome::Refused { because },
            Self::Failed { because } => Outcome::Failed { because },
            Self::Halted { because } => Outcome::Halted { because },
        }
    }
}
