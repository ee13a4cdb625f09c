//! The queue as a handle: what the scheduler and the workers call.

use selvedge_authority::{Class, Entry, Record};
use selvedge_domain::{Duration, Time, Trigger};

use crate::error::{ReadError, WriteError};
use crate::ledger::Ledger;
use crate::queue::{self, Claim, Enqueued};
use crate::rows;
use crate::store::Prepared;

/// The queue of a ledger.
#[derive(Debug, Clone, Copy)]
pub struct Queue<'a> {
    ledger: &'a Ledger,
}

impl Ledger {
    /// The queue.
    pub fn queue(&self) -> Queue<'_> {
        Queue { ledger: self }
    }
}

impl Queue<'_> {
    /// Records `trigger` and queues it, durably. The same trigger again changes nothing; another one under its id is refused.
    pub fn enqueue(&self, trigger: &Trigger, at: Time) -> Result<Enqueued, WriteError> {
        let record = Record::Triggered(Box::new(trigger.clone()));
        let entry = Entry { at, run: None, actor: trigger.by.clone(), owner: None, record };
        let (prepared, trigger) = (Prepared::new(entry)?, trigger.clone());
        self.ledger.write(Class::Durable, move |store| queue::enqueue(store, &prepared, &trigger))
    }

    /// Takes the next run to work on, durably: one that nobody holds any more, else a new one for the oldest trigger that
    /// no halt covers. Whoever held it before is fenced from now on.
    pub fn claim(&self, now: Time, lease: Duration) -> Result<Option<Claim>, WriteError> {
        self.ledger.write(Class::Durable, move |store| queue::claim(store, now, lease))
    }

    /// Holds on to a claim for another `lease`.
    pub fn heartbeat(&self, claim: &Claim, now: Time, lease: Duration) -> Result<(), WriteError> {
        let claim = claim.clone();
        self.ledger.write(Class::Ordered, move |store| queue::heartbeat(store, &claim, now, lease))
    }

    /// Lets go of a run that waits, or has to be looked at again; nobody takes it before `not_before`.
    pub fn release(&self, claim: &Claim, not_before: Time) -> Result<(), WriteError> {
        let claim = claim.clone();
        self.ledger.write(Class::Ordered, move |store| queue::release(store, &claim, not_before))
    }

    /// Lets go of a run that is settled; refused while it is not.
    pub fn complete(&self, claim: &Claim) -> Result<(), WriteError> {
        let claim = claim.clone();
        self.ledger.write(Class::Ordered, move |store| queue::complete(store, &claim))
    }

    /// Takes every hold away, durably: for a keeper that just started, whose predecessor's workers are dead. Returns how many.
    pub fn reap(&self) -> Result<u64, WriteError> {
        self.ledger.write(Class::Durable, |store| queue::reap(store))
    }

    /// When the next hold or wait ends by itself; none when there is none.
    pub fn next_due(&self) -> Result<Option<Time>, ReadError> {
        self.ledger.read(queue::next_due)
    }

    /// Triggers that no run serves yet, oldest first, at most `limit`.
    pub fn waiting(&self, limit: usize) -> Result<Vec<Trigger>, ReadError> {
        self.ledger.read(|db| {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut statement =
                db.prepare_cached("SELECT seq FROM p_trigger WHERE run IS NULL ORDER BY seq LIMIT ?1")?;
            let seqs = statement.query_map([limit], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
            let trigger = |seq: i64| match rows::entry_at(db, rows::from_sql(seq))?.entry.record {
                Record::Triggered(trigger) => Ok(*trigger),
                _ => Err(ReadError::Projection { because: format!("entry {seq} is not a trigger") }),
            };
            seqs.into_iter().map(trigger).collect()
        })
    }
}
