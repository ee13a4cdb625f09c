//! A run at work asks for a child: another agent's run with a part of what this one holds, its own identity, sandbox and leases.
//! Trust does not pass along the chain; what is handed on only narrows (requirement B4, A-58).

use selvedge_authority::{ActError, Denial, Funnel};
use selvedge_domain::orders::EnqueueTask;
use selvedge_domain::{Actor, Run, RunId, Trigger, TriggerId, TriggerSource, WorkloadId};

use crate::doorkeeper::{Gatekeeper, busy};
use crate::identity::{Lending, denied};
use crate::ports::ChildWish;

impl Lending<'_> {
    /// Decide → record → queue → record. One at a time, and not once the run is halted: what ends it has to find its children.
    pub(crate) fn ask_for_child(
        &self,
        doors: &Gatekeeper<'_>,
        funnel: &Funnel<'_>,
        run: &RunId,
        wish: ChildWish,
    ) -> Result<TriggerId, Denial> {
        let _turn = self.turn(doors)?;
        let standing =
            self.refuse_when_halted(run).map_err(|because| busy(&format!("{because}; nothing was queued")))?;
        // What it read a moment ago is known at its doors sooner than to the record.
        let standing = if funnel.context.read_sensitive { standing.having_read() } else { standing };
        let order = EnqueueTask { trigger: self.trigger(&standing, wish) };
        let queue = self.factory.queue;
        let queued = funnel.perform(order, |permit| {
            self.refuse_when_halted(run).map_err(ActError::Halted)?;
            queue.enqueue(permit)
        });
        queued.map_err(denied)
    }

    /// What is queued. Its chain and ceiling are the run's, as those of a follow-up are, and it starts where this one did.
    fn trigger(&self, run: &Run, wish: ChildWish) -> Trigger {
        let (before, factory) = (run.trigger(), self.factory);
        let ChildWish { agent, text, handed } = wish;
        let by = WorkloadId::new(factory.registry.trust_domain(), run.id().clone(), before.agent.clone());
        let mut lineage = run.begets(self.desk.grant.trust);
        lineage.starts_from = before.lineage.starts_from.clone();
        lineage.within = Some(Box::new(handed));
        Trigger {
            id: TriggerId::from_entropy(factory.entropy.draw()),
            source: TriggerSource::Child,
            by: Actor::Workload(by),
            repo: before.repo.clone(),
            agent,
            text,
            argv: Vec::new(),
            lineage,
        }
    }
}
