//! What a question may be answered with.

use std::fmt;

/// A policy's name: its `@id`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyName(String);

impl PolicyName {
    /// The policy with this `@id`.
    pub fn new(id: &str) -> Self {
        Self(id.to_owned())
    }

    /// The `@id`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Go ahead; these policies said so.
    Allow {
        /// Which policies permitted it.
        policies: Vec<PolicyName>,
    },
    /// No.
    Deny(Denial),
    /// No, but one more approval would make it yes.
    NeedsApproval(Denial),
}

/// A no, with what to do next. Never holds host detail: an agent may read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The stable code.
    pub code: Code,
    /// Which policies said so; empty when nothing permitted it.
    pub policies: Vec<PolicyName>,
    /// What whoever asked can do next.
    pub next_step: String,
}

/// Stable codes of denials. They are part of the interface: agents and scripts rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// Beyond the run's grant.
    OutsideGrant,
    /// No policy permits it.
    NotPermitted,
    /// A policy forbids it.
    Forbidden,
    /// A person has to say yes first.
    NeedsApproval,
    /// A policy could not be evaluated, or there is none.
    PolicyError,
    /// The factory, the repository, the agent or the run is halted.
    Halted,
    /// The decision could not be recorded.
    NotRecorded,
}

impl Code {
    /// Every code.
    pub const ALL: &'static [Self] = &[
        Self::OutsideGrant,
        Self::NotPermitted,
        Self::Forbidden,
        Self::NeedsApproval,
        Self::PolicyError,
        Self::Halted,
        Self::NotRecorded,
    ];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OutsideGrant => "outside_grant",
            Self::NotPermitted => "not_permitted",
            Self::Forbidden => "forbidden",
            Self::NeedsApproval => "needs_approval",
            Self::PolicyError => "policy_error",
            Self::Halted => "halted",
            Self::NotRecorded => "not_recorded",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == word)
    }
}

impl Verdict {
    /// The word in records.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Allow { .. } => "allow",
            Self::Deny(_) => "deny",
            Self::NeedsApproval(_) => "needs_approval",
        }
    }

    /// The policies behind it.
    pub fn policies(&self) -> &[PolicyName] {
        match self {
            Self::Allow { policies } => policies,
            Self::Deny(denial) | Self::NeedsApproval(denial) => &denial.policies,
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code.as_str())?;
        let mut separator = " by ";
        for policy in &self.policies {
            write!(f, "{separator}`{policy}`")?;
            separator = ", ";
        }
        write!(f, ": {}", self.next_step)
    }
}
