//! Delivery: a verified commit becomes a proposal, and what should follow is queued (F3, A7).

use selvedge_authority::{ActError, Observation, Record, Stop};
use selvedge_domain::orders::{EnqueueTask, OpenProposal};
use selvedge_domain::{Actor, Event, Outcome, Run, Trigger, TriggerId, TriggerSource, Verb, Verified, WorkloadId};

use crate::cycle::{Factory, Halt, derived, summary_of};
use crate::ports::Offer;

/// How many follow-ups one run may queue; each is admitted anew and counts against its chain.
const FOLLOW_UPS_MAX: usize = 3;

impl Factory<'_> {
    /// Offers the verified commit for review, unless a secret is in it or in what is said of it (requirement C7).
    pub(crate) fn deliver(&self, run: &Run, verified: &Verified) -> Result<Event, Halt> {
        let desk = self.desk(run)?;
        let task = desk.task(run)?;
        let summary = run.effect().map_or("", summary_of);
        let offer = self.repositories.offer(task, summary, verified).map_err(Stop::Act)?;
        self.hold_secrets(run, &offer)?;
        if let Some(handed_over) = self.hand_over(run, verified)? {
            return Ok(handed_over);
        }
        let order = OpenProposal {
            run: run.id().clone(),
            repo: desk.repository.name.clone(),
            verified: verified.clone(),
            target: desk.repository.target.clone(),
            title: offer.title,
            body: offer.body,
            paths: offer.paths,
            executes_elsewhere: offer.executes_elsewhere,
            changes_gate: offer.changes_gate,
            undeclared: run.seen().undeclared.clone(),
            author: self.author_of(run)?,
        };
        let number = desk.funnel(self).perform(order, |permit| self.repositories.propose(permit))?;
        Ok(Event::Delivered(Outcome::Proposed(number)))
    }

    fn hold_secrets(&self, run: &Run, offer: &Offer) -> Result<(), Halt> {
        let said = &run.seen().secrets;
        let found = |code: &'static str, details: &[String]| {
            details.iter().try_for_each(|detail| {
                let finding = Observation::Finding { code: code.to_owned(), detail: detail.clone() };
                self.record(run.id(), Verb::FileWrite, Record::Observed(finding))
            })
        };
        found("secret_in_change", &offer.secrets)?;
        found("secret_in_words", said)?;
        let because = match (offer.secrets.first(), said.first()) {
            (None, None) => return Ok(()),
            (Some(first), _) => format!("the change holds what looks like a secret ({first})"),
            (None, Some(first)) => format!("what the agent says of it holds what looks like a secret ({first})"),
        };
        Err(Halt::End(Outcome::Held { because: format!("{because}; remove it at its source") }))
    }

    /// Queues what should follow a run that ended well. A follow-up that policy denies is recorded and dropped.
    pub(crate) fn queue_follow_ups(&self, run: &Run) -> Result<(), Halt> {
        let ended_well = matches!(
            run.outcome(),
            Some(Outcome::Proposed(_) | Outcome::Changed { .. } | Outcome::NothingToDo { .. } | Outcome::Held { .. })
        );
        // What follows in a pipeline is said by its configuration alone.
        if !ended_well || run.follow_ups().is_empty() || run.trigger().lineage.part.is_some() {
            return Ok(());
        }
        let desk = match self.desk(run) {
            Ok(desk) => desk,
            // The agent or repository is no longer configured, so nothing may follow.
            Err(Halt::End(_)) => return Ok(()),
            Err(other) => return Err(other),
        };
        for (index, text) in run.follow_ups().iter().take(FOLLOW_UPS_MAX).enumerate() {
            let by = WorkloadId::new(self.registry.trust_domain(), run.id().clone(), desk.agent.name.clone());
            let order = EnqueueTask { trigger: follow_up(run, index, text, Actor::Workload(by), desk.grant.trust) };
            match desk.funnel(self).perform(order, |permit| self.queue.enqueue(permit)) {
                // The run has ended already; what will never be queued is recorded as not done and cannot end it again.
                Ok(_)
                | Err(
                    Stop::Denied(_)
                    | Stop::NeedsApproval { .. }
                    | Stop::Act(ActError::Permanent(_) | ActError::Halted(_)),
                ) => {}
                Err(stop @ (Stop::Act(ActError::Transient(_)) | Stop::Journal(_))) => return Err(stop.into()),
            }
        }
        Ok(())
    }
}

/// The trigger for what follows. It carries the run's chain and ceiling and builds on what the run proposed, so
/// that the last proposal of a chain holds all of it.
fn follow_up(run: &Run, index: usize, text: &str, by: Actor, trust: selvedge_domain::Trust) -> Trigger {
    let before = run.trigger();
    let mut lineage = run.begets(trust);
    lineage.starts_from = match run.outcome() {
        Some(Outcome::Proposed(_)) => run.verified_commit().cloned(),
        _ => before.lineage.starts_from.clone(),
    };
    Trigger {
        id: TriggerId::from_entropy(derived(run.id(), &format!("follow-up {index}"))),
        source: TriggerSource::FollowUp,
        by,
        repo: before.repo.clone(),
        agent: before.agent.clone(),
        text: text.to_owned(),
        argv: before.argv.clone(),
        lineage,
    }
}
