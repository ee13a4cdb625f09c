//! What policies in shadow would have said, told beside the decision and never part of it.

use std::collections::BTreeSet;

use selvedge_authority::{Judge, PolicyName, Question, Verdict};

use crate::judge::Sight;
use crate::{Mode, Policies};

/// A decision, and what it would have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadow {
    /// What was decided.
    pub enforced: Verdict,
    /// What would have been, had every policy in shadow counted.
    pub supposed: Verdict,
    /// The policies in shadow that the supposed verdict rests on.
    pub because: Vec<PolicyName>,
}

impl Shadow {
    /// Whether enforcing them would have changed the answer.
    pub fn differs(&self) -> bool {
        self.enforced.as_str() != self.supposed.as_str()
    }
}

impl Policies {
    /// What would change if the policies in shadow counted; none when none of them concerns this order.
    pub fn shadow(&self, question: &Question<'_>) -> Option<Shadow> {
        let shards = self.shards(question, Sight::WithShadow);
        let concerned = shards.iter().flat_map(|set| set.policies()).any(|policy| {
            self.texts.get(&PolicyName::new(policy.id().as_ref())).is_some_and(|text| text.mode == Mode::Shadow)
        });
        if !concerned {
            return None;
        }
        let supposed = self.decide(question, &shards);
        let shadowy = |name: &&PolicyName| self.texts.get(*name).is_some_and(|text| text.mode == Mode::Shadow);
        let because: BTreeSet<PolicyName> = supposed.policies().iter().filter(shadowy).cloned().collect();
        Some(Shadow { enforced: self.judge(question), supposed, because: because.into_iter().collect() })
    }
}
