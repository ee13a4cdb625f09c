//! The judge for a factory whose policies do not load: nothing is allowed, and the operator can find out why.

use selvedge_authority::{Code, Denial, Judge, Question, Verdict};

/// Denies everything (invariant 2: dead policy is denied).
#[derive(Debug, Clone)]
pub struct DenyAll {
    reason: String,
}

impl DenyAll {
    /// Denies everything because of `reason`, which only the operator sees: it may name files of this host.
    pub fn new(reason: String) -> Self {
        Self { reason }
    }

    /// Why, for the operator.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl Judge for DenyAll {
    fn judge(&self, _: &Question<'_>) -> Verdict {
        let next_step = "the factory's policies do not load, so nothing is allowed; its operator can see why with `selvedge policy check`";
        Verdict::Deny(Denial { code: Code::PolicyError, policies: Vec::new(), next_step: next_step.to_owned() })
    }
}
