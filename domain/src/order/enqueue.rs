//! `task.enqueue`: queue a follow-up, which is then admitted anew (requirement A7).

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
        Description {
            verb: Self::VERB,
            resource: Resource { kind: ResourceKind::Repository, name: repo.as_str().to_owned(), repo },
            fields: vec![
                ("trigger", Field::from(self.trigger.id.as_str())),
                ("agent", Field::from(self.trigger.agent.as_str())),
                ("text", Field::from(self.trigger.text.as_str())),
                ("chain_depth", Field::Number(depth)),
            ],
        }
    }
}
