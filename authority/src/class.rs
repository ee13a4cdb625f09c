//! How firmly each order must be recorded before it is carried out, and how much harm it could do.

use selvedge_domain::{Risk, Verb};

/// What must be true of the record before the act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Recorded with its cause, never permitted one by one; what it may touch is fixed by the sandbox's grant.
    Observed,
    /// Committed before the act; on stable storage with the next durable one, or within 50 ms.
    Ordered,
    /// On stable storage before the act.
    Durable,
}

/// The class of each verb.
pub fn class_of(verb: Verb) -> Class {
    match verb {
        Verb::ProcessExec | Verb::FileWrite => Class::Observed,
        Verb::ContextRead | Verb::GitRead | Verb::HttpRequest => Class::Ordered,
        Verb::TaskAdmit
        | Verb::CredentialMint
        | Verb::SandboxStart
        | Verb::ToolCall
        | Verb::ModelCall
        | Verb::GitPush
        | Verb::Delegate
        | Verb::AccessRequest
        | Verb::QuestionAsk
        | Verb::QuestionAnswer
        | Verb::SecretUse
        | Verb::ProposalOpen
        | Verb::ProposalMerge
        | Verb::ProposalClose
        | Verb::TicketChange
        | Verb::ArtifactPublish
        | Verb::ArtifactRotate
        | Verb::Deploy
        | Verb::InfraPlan
        | Verb::InfraApply
        | Verb::Rollback
        | Verb::TaskEnqueue
        | Verb::PolicyChange
        | Verb::ApprovalGrant
        | Verb::BreakGlass => Class::Durable,
    }
}

/// The default risk label of each verb (requirement D2); policy may treat any verb as riskier, never as safer.
pub fn risk_of(verb: Verb) -> Risk {
    match verb {
        Verb::TaskAdmit
        | Verb::ContextRead
        | Verb::SandboxStart
        | Verb::ProcessExec
        | Verb::FileWrite
        | Verb::GitRead
        | Verb::QuestionAsk
        | Verb::QuestionAnswer
        | Verb::TaskEnqueue => Risk::Low,
        Verb::CredentialMint
        | Verb::ToolCall
        | Verb::HttpRequest
        | Verb::ModelCall
        | Verb::GitPush
        | Verb::Delegate
        | Verb::ProposalOpen
        | Verb::ProposalClose
        | Verb::TicketChange
        | Verb::InfraPlan => Risk::Medium,
        Verb::AccessRequest
        | Verb::SecretUse
        | Verb::ProposalMerge
        | Verb::ArtifactPublish
        | Verb::ArtifactRotate
        | Verb::Deploy
        | Verb::InfraApply
        | Verb::Rollback
        | Verb::PolicyChange
        | Verb::ApprovalGrant
        | Verb::BreakGlass => Risk::High,
    }
}
