//! Why a question was answered as it was, for the person who asks `policy explain`. Not for agents: it quotes policies.

use std::collections::BTreeSet;

use selvedge_authority::{Judge, PolicyName, Question, Verdict};

use crate::judge::{Evaluation, Sight, evaluate};
use crate::{Effect, Policies, PolicyText};

/// An answer with its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The answer.
    pub verdict: Verdict,
    /// The policies it rests on, as their owners wrote them.
    pub determining: Vec<PolicyText>,
    /// Permits for this order that did not apply: where to look when nothing permitted it.
    pub permits_that_did_not_apply: Vec<PolicyName>,
    /// What could not be evaluated, and why.
    pub errors: Vec<String>,
    /// What a person's yes to this order would change.
    pub approval: ApprovalEffect,
    /// How many policies were evaluated, of all that are loaded.
    pub evaluated: usize,
}

/// What one more approval would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApprovalEffect {
    /// It is allowed as it is.
    NotNeeded,
    /// There is one already.
    Given,
    /// It would be allowed.
    Allows {
        /// Forbids that would be lifted.
        lifts: Vec<PolicyName>,
        /// Permits that would apply.
        grants: Vec<PolicyName>,
    },
    /// It would still be refused.
    ChangesNothing {
        /// Forbids that would remain; none when nothing would permit it.
        forbidden_by: Vec<PolicyName>,
    },
}

impl Policies {
    /// The answer to `question` with its reasons; the verdict is the one [`Judge::judge`] gives.
    pub fn explain(&self, question: &Question<'_>) -> Explanation {
        let shards = self.shards(question, Sight::Enforced);
        let verdict = self.judge(question);
        let (actual, mut errors) = match self.ask(question) {
            Ok(asked) => (evaluate(&asked, &shards), Vec::new()),
            Err(misfit) => (Evaluation::default(), vec![misfit.to_string()]),
        };
        errors.extend(actual.errors.iter().map(|(name, because)| format!("`{name}`: {because}")));
        let supposed = self.suppose_approved(question, &shards);
        let named = verdict.policies().iter().filter_map(|name| self.texts.get(name));
        let considered: BTreeSet<PolicyName> =
            shards.iter().flat_map(|set| set.policies()).map(|policy| PolicyName::new(policy.id().as_ref())).collect();
        let idle = considered.iter().filter(|name| {
            !actual.permits.contains(name) && self.texts.get(name).is_some_and(|text| text.effect == Effect::Permit)
        });
        Explanation {
            determining: named.cloned().collect(),
            permits_that_did_not_apply: if actual.forbids.is_empty() { idle.cloned().collect() } else { Vec::new() },
            errors,
            approval: approval_effect(question, &actual, supposed.as_ref()),
            evaluated: considered.len(),
            verdict,
        }
    }
}

fn approval_effect(question: &Question<'_>, actual: &Evaluation, supposed: Option<&Evaluation>) -> ApprovalEffect {
    let names = |set: BTreeSet<&PolicyName>| set.into_iter().cloned().collect::<Vec<_>>();
    match supposed {
        _ if question.approved => ApprovalEffect::Given,
        _ if actual.allows() => ApprovalEffect::NotNeeded,
        Some(supposed) if actual.errors.is_empty() && supposed.allows() => ApprovalEffect::Allows {
            lifts: names(actual.forbids.iter().collect()),
            // Which permits apply is known only where no forbid does.
            grants: if actual.forbids.is_empty() { names(supposed.permits.iter().collect()) } else { Vec::new() },
        },
        Some(supposed) => ApprovalEffect::ChangesNothing { forbidden_by: names(supposed.forbids.iter().collect()) },
        None => ApprovalEffect::ChangesNothing { forbidden_by: names(actual.forbids.iter().collect()) },
    }
}
