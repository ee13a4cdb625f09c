//! Children of a run, the keeper's side: what is asked is an order of the run's own agent, its budget comes off what the run has
//! left by the record, and nobody waits for a child that no slot could begin.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use selvedge_credentials::{ChildStanding, Refusal, Reply, TokenEndpoint};
use selvedge_domain::{Actor, RunId, TriggerId, TriggerSource};
use selvedge_factory::ports::{ChildWish, Doorkeeper};

use super::Works;
use super::secrets::masked;
use super::tokens::TokenDesk;

/// How many children one run may ask for, in all its attempts. With three levels that is some five hundred runs for one task.
const CHILDREN_MAX: u64 = 8;

/// Runs at work that asked for a child, and may wait for it in their slot. Fewer than there are slots, so that one is always
/// left for a child, and a wait always ends.
#[derive(Default)]
pub(crate) struct Askers {
    slots: AtomicUsize,
    runs: Mutex<BTreeSet<RunId>>,
}

/// That a run may wait; until this is dropped.
pub(super) struct Seat {
    askers: Arc<Askers>,
    run: RunId,
}

impl Askers {
    /// The pool has this many slots.
    pub(crate) fn has_slots(&self, slots: usize) {
        self.slots.store(slots, Ordering::Release);
    }

    /// Lets a run wait, if a slot is left for what it waits for.
    fn sit(self: &Arc<Self>, run: &RunId) -> Option<Seat> {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if runs.len() + 1 >= self.slots.load(Ordering::Acquire) {
            return None;
        }
        runs.insert(run.clone());
        Some(Seat { askers: Arc::clone(self), run: run.clone() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.askers.runs.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.run);
    }
}

impl TokenDesk {
    /// Queues the child that is asked for.
    pub(super) fn child(&self, works: &Works, doors: &dyn Doorkeeper, form: &[u8]) -> Result<Reply, Refusal> {
        let mut account = self.account();
        let (parent, run) = (self.parent(&account), self.workload().run());
        let asked = TokenEndpoint::child(form, &parent)?;
        let config = works.config();
        let agent = config.agents.get(self.workload().agent());
        if !agent.is_some_and(|agent| agent.children.contains(&asked.agent)) {
            return Err(Refusal::not_a_child());
        }
        if masked(&asked.text) != asked.text {
            return Err(Refusal::secret_in_text());
        }
        if account.handed_on.children >= CHILDREN_MAX {
            return Err(Refusal::too_many_children());
        }
        // Held until the attempt ends: it may wait for any child it was given.
        let mut seat = self.seat();
        let fresh = if seat.is_none() { Some(works.askers.sit(run).ok_or_else(Refusal::no_slot)?) } else { None };
        let queued = doors.child(ChildWish { agent: asked.agent, text: asked.text, handed: asked.handed });
        // What was permitted is spent, whatever became of it: the record says no more than that.
        account.handed_on = works.bill(run).handed_on;
        let child = queued.map_err(|denial| Refusal::denied(&denial))?;
        if fresh.is_some() {
            *seat = fresh;
        }
        Ok(ChildStanding { child, run: None, stage: QUEUED.to_owned(), outcome: None }.reply(201))
    }

    /// Says how a child of this run stands, and of no other.
    pub(super) fn child_standing(&self, works: &Works, name: &[u8]) -> Result<Reply, Refusal> {
        let name = std::str::from_utf8(name).ok().and_then(|name| TriggerId::parse(name).ok());
        let child = name.ok_or_else(Refusal::no_child)?;
        let found = works.ledger.trigger(&child).map_err(|_unread| Refusal::unavailable())?;
        let is_own = Actor::Workload(self.workload().clone());
        let found = found.filter(|(trigger, _)| trigger.source == TriggerSource::Child && trigger.by == is_own);
        let (_, run) = found.ok_or_else(Refusal::no_child)?;
        let summary = run.as_ref().map(|run| works.ledger.run_summary(run)).transpose();
        let summary = summary.map_err(|_unread| Refusal::unavailable())?.flatten();
        let (stage, outcome) =
            summary.map_or_else(|| (QUEUED.to_owned(), None), |summary| (summary.stage, summary.outcome));
        Ok(ChildStanding { child, run: run.map(|run| run.to_string()), stage, outcome }.reply(200))
    }
}

/// The stage of what no run serves yet.
const QUEUED: &str = "queued";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_always_left_for_a_child_b4() {
        let askers = Arc::new(Askers::default());
        let runs: Vec<RunId> = (0..4).map(RunId::from_entropy).collect();
        askers.has_slots(1);
        assert!(askers.sit(&runs[0]).is_none(), "it would wait for itself");
        askers.has_slots(3);
        let seats: Vec<_> = runs.iter().map(|run| askers.sit(run)).collect();
        assert_eq!(seats.iter().filter(|seat| seat.is_some()).count(), 2);
        drop(seats);
        assert!(askers.sit(&runs[3]).is_some(), "whoever is done waits no more");
    }
}
