//! The real ledger as the record behind the store: its law, its queue, its fences and its proofs, in memory.

use std::collections::BTreeMap;
use std::sync::Mutex;

use selvedge_authority::{Approval, Class, Entry, Journal, JournalError};
use selvedge_domain::{ApprovalId, Deed, Digest, Duration, Run, RunId, Time, Trigger, TriggerId};
use selvedge_factory::ports::Answer;
use selvedge_ledger::danger::{SeededEntropy, simulate_restart};
use selvedge_ledger::{ApprovalState, Claim, Ledger, OpenError};

use crate::keeper::lock;
use crate::notebook::{Memory, covers};

/// The ledger, and who holds what in it.
#[derive(Debug)]
pub struct Books {
    ledger: Ledger,
    held: Mutex<BTreeMap<RunId, Claim>>,
}

/// Longer than any scenario: claims end when they are taken, never by themselves.
const LONG: Duration = Duration::from_seconds(100 * 365 * 24 * 3600);

/// More triggers than any scenario queues.
const QUEUE_MAX: usize = 1000;

impl Books {
    /// An empty ledger in memory, with the salts and the key that follow from `seed`.
    pub fn new(seed: u64) -> Result<Self, OpenError> {
        let ledger = Ledger::in_memory(Box::new(SeededEntropy::new(seed)))?;
        Ok(Self { ledger, held: Mutex::default() })
    }
}

impl Memory for Books {
    fn claim(&self, run: &RunId) -> Result<u64, JournalError> {
        let mut held = lock(&self.held);
        let claim =
            held.get_mut(run).ok_or_else(|| JournalError::Read(format!("nobody began run {run} in these books")))?;
        // Letting go raises the epoch, and the far end of the hold keeps the queue from handing the run out.
        self.ledger.queue().release(claim, Time::from_millis(0).after(LONG))?;
        claim.epoch += 1;
        Ok(claim.epoch)
    }

    fn append(&self, claim: Option<u64>, entry: Entry, class: Class) -> Result<(), JournalError> {
        let held = entry.run.as_ref().and_then(|run| lock(&self.held).get(run).cloned());
        match (held, claim) {
            (Some(held), Some(epoch)) => self.ledger.claimed(&Claim { epoch, ..held }).append(entry, class),
            _ => self.ledger.append(entry, class),
        }
    }

    fn recall(&self, run: &RunId, order: &Digest) -> Result<Option<Deed>, JournalError> {
        self.ledger.recall(run, order)
    }

    fn approval(&self, order: &Digest, now: Time) -> Result<Option<Approval>, JournalError> {
        self.ledger.approval(order, now)
    }

    fn load(&self, run: &RunId) -> Result<Run, JournalError> {
        self.ledger.load_run(run)?.ok_or_else(|| JournalError::Read(format!("there is no run {run}")))
    }

    fn halted(&self, run: &Run) -> Result<Option<String>, JournalError> {
        let halts = self.ledger.halts()?;
        let covering = halts.iter().find(|scope| covers(scope, run.trigger(), Some(run.id())));
        Ok(covering.map(|scope| format!("halted: {scope:?}")))
    }

    fn answer(&self, approval: &ApprovalId, now: Time) -> Result<Answer, JournalError> {
        Ok(match self.ledger.approval_request(approval, now)?.map(|request| request.state) {
            Some(ApprovalState::Granted { .. }) => Answer::Granted,
            Some(ApprovalState::Denied) => Answer::Denied,
            Some(
                // Nobody asks a question in these scenarios.
                ApprovalState::Asked
                | ApprovalState::Lapsed
                | ApprovalState::Outlived
                | ApprovalState::Used { .. }
                | ApprovalState::Answered(_),
            )
            | None => Answer::Pending,
        })
    }

    fn begin(&self, now: Time, _: u64) -> Result<Option<(RunId, TriggerId)>, JournalError> {
        let Some(claim) = self.ledger.queue().claim(now, LONG)? else { return Ok(None) };
        let began = (claim.run.clone(), claim.trigger.clone());
        lock(&self.held).insert(claim.run.clone(), claim);
        Ok(Some(began))
    }

    fn queued(&self) -> Result<Vec<Trigger>, JournalError> {
        Ok(self.ledger.queue().waiting(QUEUE_MAX)?)
    }

    fn runs(&self) -> Result<Vec<RunId>, JournalError> {
        // The newest come first.
        Ok(self.ledger.runs(QUEUE_MAX)?.into_iter().rev().map(|run| run.id).collect())
    }

    fn entries(&self) -> Result<Vec<Entry>, JournalError> {
        self.ledger.entries(0, None).map(|recorded| Ok(recorded?.entry)).collect()
    }

    fn restart(&self) {
        simulate_restart(&self.ledger);
    }

    fn verify(&self) -> Result<(), String> {
        self.ledger.verify(None).map_err(|error| error.to_string())?;
        match self.ledger.live_leases().map_err(|error| error.to_string())?.first() {
            Some(lease) => Err(format!("the books say that lease {} of {} lives", lease.lease, lease.run)),
            None => Ok(()),
        }
    }
}
