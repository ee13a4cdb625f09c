//! `approval.grant`: a person's yes to exact bytes.

use super::{Description, Field, Order, Resource, ResourceKind, Verb};
use crate::{ApprovalId, Digest, Person, RepoName, RunId, Time};

/// Say yes to the order with this fingerprint, once, until an expiry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantApproval {
    /// Which request for approval it answers.
    pub approval: ApprovalId,
    /// The run that waits.
    pub run: RunId,
    /// The fingerprint of the order.
    pub order: Digest,
    /// The verb of the order.
    pub verb: Verb,
    /// Who says yes.
    pub by: Person,
    /// Until when the yes can be used.
    pub until: Time,
    /// On whose behalf the run works.
    pub repo: RepoName,
    /// Whether whoever says yes is the person who asked for the run (requirement D6).
    pub by_requester: bool,
}

impl Order for GrantApproval {
    type Deed = ();
    const VERB: Verb = Verb::ApprovalGrant;

    fn describe(&self) -> Description {
        Description {
            verb: Self::VERB,
            resource: Resource {
                kind: ResourceKind::Approval,
                name: self.approval.as_str().to_owned(),
                repo: self.repo.clone(),
            },
            fields: vec![
                ("run", Field::from(self.run.as_str())),
                ("order_digest", Field::from(self.order.to_string())),
                ("approved_verb", Field::from(self.verb.as_str())),
                ("uid", Field::Number(i64::from(self.by.uid()))),
                ("until", Field::from(self.until.to_string())),
                ("by_requester", Field::Flag(self.by_requester)),
            ],
        }
    }
}
