//! One policy as its owner wrote it: annotations, text and place.

use std::collections::BTreeSet;
use std::fmt;

use selvedge_authority::PolicyName;
use selvedge_domain::Owner;

use crate::Place;

/// What a policy does when it applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Permits, unless something forbids.
    Permit,
    /// Forbids; nothing overrides it.
    Forbid,
}

/// Whether a policy counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// It decides.
    Enforce,
    /// It is evaluated beside the decision and reported, and never part of it.
    Shadow,
}

/// A policy, for `policy explain` and `policy check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyText {
    /// Its `@id`.
    pub name: PolicyName,
    /// Its `@owner`: who answers for it.
    pub owner: Owner,
    /// Whether it permits or forbids.
    pub effect: Effect,
    /// Its `@mode`.
    pub mode: Mode,
    /// Its `@next_step`: what whoever it stops can do.
    pub next_step: Option<String>,
    /// What it names, each by its type and its id: `Agent`, `fixer`.
    pub names: BTreeSet<(String, String)>,
    /// Every annotation, by name.
    pub annotations: Vec<(String, String)>,
    /// Where it stands.
    pub place: Place,
    /// Its text.
    pub text: String,
}

impl Effect {
    /// The word Cedar uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Forbid => "forbid",
        }
    }
}

impl Mode {
    /// The word in `@mode`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
        }
    }

    /// Reads the word in `@mode`.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Enforce, Self::Shadow].into_iter().find(|mode| mode.as_str() == word)
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
