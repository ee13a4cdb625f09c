//! What `policy check` tells about policies that load.

use std::fmt;

use crate::{Policies, Problem};

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
