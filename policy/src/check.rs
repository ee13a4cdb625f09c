//! What `policy check` tells about policies that load.

use std::fmt;

use selvedge_authority::PolicyName;

use crate::{Effect, LoadError, Policies, PolicyText, Problem};

/// A summary of loaded policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// How many files.
    pub sources: usize,
    /// How many policies decide.
    pub enforced: usize,
    /// How many are only watched.
    pub shadow: usize,
    /// What is legal and probably not meant, such as a policy that can never apply.
    pub warnings: Vec<Problem>,
}

impl Policies {
    /// What loading found.
    pub fn check(&self) -> &Check {
        &self.check
    }
}

/// A default policy that is not among those that were loaded: they were written by an earlier build, or somebody took it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub name: PolicyName,
    /// Whether it guards.
    pub effect: Effect,
    /// Its text.
    pub text: String,
}

impl Policies {
    /// The default policies that are missing, by their names.
    pub fn missing_defaults(&self) -> Result<Vec<Missing>, LoadError> {
        let defaults = Self::defaults()?;
        let missing = defaults.list().filter(|policy| self.find(&policy.name).is_none());
        let told = |policy: &PolicyText| {
            let PolicyText { name, effect, text, .. } = policy.clone();
            Missing { name, effect, text }
        };
        Ok(missing.map(told).collect())
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        let Self { sources, enforced, shadow, .. } = self;
        write!(f, "{enforced} policies enforced, {shadow} in shadow, from {sources} files")?;
        if *enforced == 0 {
            write!(f, "; nothing is allowed: write the defaults with `selvedge init`")?;
        }
        Ok(())
    }
}
