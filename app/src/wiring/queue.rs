//! The queue for follow-ups: the ledger behind the factory's port.

use selvedge_authority::{ActError, Permit};
use selvedge_domain::TriggerId;
use selvedge_domain::orders::EnqueueTask;
use selvedge_factory::ports::{Clock, Queue};

use super::Works;
use super::repositories::transient;

impl Queue for Works {
    fn enqueue(&self, permit: &Permit<EnqueueTask>) -> Result<TriggerId, ActError> {
        let trigger = &permit.order().trigger;
        if let Some(run) = trigger.lineage.ancestors.last() {
            self.inherit_advisories(&trigger.id, run)?;
        }
        self.ledger.queue().enqueue(trigger, self.now()).map_err(transient)?;
        Ok(trigger.id.clone())
    }
}
