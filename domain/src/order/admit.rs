//! `task.admit`: take a trigger on.

use super::{Description, Field, Order, Resource, ResourceKind, Verb};
use crate::{Intent, Task, Tenure, Trigger};

/// Take this trigger on, for this intent. Nothing is touched before this is allowed (requirement A3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmitTask {
    /// What asked.
    pub trigger: Trigger,
    /// What the work would be for.
    pub intent: Intent,
    /// How its agent stands.
    pub tenure: Tenure,
    /// What its agent is declared to do on the way, in words (requirement D10); empty where nothing is declared.
    pub declared: Vec<String>,
}

impl Order for AdmitTask {
    type Deed = Task;
    const VERB: Verb = Verb::TaskAdmit;

    fn describe(&self) -> Description {
        let repo = self.trigger.repo.clone();
        let mut fields = vec![
            ("trigger", Field::from(self.trigger.id.as_str())),
            ("trigger_digest", Field::from(self.trigger.digest().to_string())),
            ("source", Field::from(self.trigger.source.as_str())),
            ("asked_by", Field::from(self.trigger.by.to_string())),
            ("intent", Field::from(self.intent.as_str())),
            ("agent", Field::from(self.trigger.agent.as_str())),
            ("text", Field::from(self.trigger.text.as_str())),
            ("argv", Field::Words(self.trigger.argv.clone())),
            ("tenure", Field::from(self.tenure.fact())),
            ("declared", Field::Words(self.declared.clone())),
        ];
        if let Some(part) = self.trigger.part() {
            let reviews_own = part.reviews && self.trigger.lineage.agents.contains(&self.trigger.agent);
            fields.extend([
                ("pipeline", Field::from(part.pipeline.as_str())),
                ("part", Field::from(part.name.as_str())),
                ("reviews", Field::Flag(part.reviews)),
                ("reviews_own", Field::Flag(reviews_own)),
            ]);
        }
        Description {
            verb: Self::VERB,
            resource: Resource { kind: ResourceKind::Repository, name: repo.as_str().to_owned(), repo },
            fields,
        }
    }
}
