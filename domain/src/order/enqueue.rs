//! `task.enqueue`: queue a follow-up or a child, which is then admitted anew (requirements A7, B4).

use super::{Description, Field, Order, Resource, ResourceKind, Verb};
use crate::{Trigger, TriggerId};

/// Queue this trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnqueueTask {
    /// What to queue.
    pub trigger: Trigger,
}

impl Order for EnqueueTask {
    type Deed = TriggerId;
    const VERB: Verb = Verb::TaskEnqueue;

    fn describe(&self) -> Description {
        let repo = self.trigger.repo.clone();
        let depth = i64::try_from(self.trigger.lineage.depth()).unwrap_or(i64::MAX);
        let mut fields = vec![
            ("trigger", Field::from(self.trigger.id.as_str())),
            ("agent", Field::from(self.trigger.agent.as_str())),
            ("text", Field::from(self.trigger.text.as_str())),
            ("chain_depth", Field::Number(depth)),
            ("source", Field::from(self.trigger.source.as_str())),
        ];
        if let Some(handed) = &self.trigger.lineage.within {
            let ceiling = &handed.ceiling;
            fields.extend([
                ("trust", Field::from(ceiling.trust.as_str())),
                ("may", Field::Words(ceiling.may_words())),
                ("reach", Field::Words(ceiling.reach_words())),
                ("audiences", Field::Words(ceiling.audiences.iter().cloned().collect())),
                ("loans", Field::Words(ceiling.loan_words())),
                ("depth", Field::Number(i64::from(handed.depth))),
                ("budget", Field::Number(i64::try_from(handed.budget).unwrap_or(i64::MAX))),
            ]);
        }
        Description {
            verb: Self::VERB,
            resource: Resource { kind: ResourceKind::Repository, name: repo.as_str().to_owned(), repo },
            fields,
        }
    }
}
