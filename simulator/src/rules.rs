//! Policy, as small as it can be: which orders are denied and which need a person.

use std::collections::BTreeSet;

use selvedge_authority::{Code, Denial, PolicyName, Question, Verdict};
use selvedge_domain::{Description, Verb};

/// What policy says. Orders are named by verb; the two kinds of sandbox by verb and purpose, as in `sandbox.start/work`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Denied.
    pub deny: BTreeSet<&'static str>,
    /// Allowed with an approval.
    pub ask: BTreeSet<&'static str>,
}

impl Rules {
    /// Everything within the grant is allowed.
    pub fn open() -> Self {
        Self::default()
    }

    /// Denies this order.
    #[must_use]
    pub fn deny(mut self, order: &'static str) -> Self {
        self.deny.insert(order);
        self
    }

    /// Lets this order pass only with an approval.
    #[must_use]
    pub fn ask(mut self, order: &'static str) -> Self {
        self.ask.insert(order);
        self
    }

    pub(crate) fn judge(&self, question: &Question<'_>) -> Verdict {
        let name = name_of(question.order);
        let denial = |code: Code, next_step: &str| Denial {
            code,
            policies: vec![PolicyName::new("simulated")],
            next_step: next_step.to_owned(),
        };
        if self.deny.contains(name.as_str()) {
            return Verdict::Deny(denial(Code::Forbidden, "do without it"));
        }
        if question.order.verb == Verb::TaskEnqueue && question.context.follow_ups_left == 0 {
            return Verdict::Deny(denial(Code::Forbidden, "the chain is long enough"));
        }
        if self.ask.contains(name.as_str()) && !question.approved {
            return Verdict::NeedsApproval(denial(Code::NeedsApproval, "ask a person"));
        }
        Verdict::Allow { policies: vec![PolicyName::new("simulated")] }
    }
}

/// What the rules call this order.
fn name_of(order: &Description) -> String {
    match order.text("purpose") {
        Some(purpose) => format!("{}/{purpose}", order.verb),
        None => order.verb.to_string(),
    }
}
