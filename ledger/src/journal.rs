//! The funnel's view of the ledger.

use selvedge_authority::{Approval, Class, Entry, Journal, JournalError, Record};
use selvedge_domain::{Deed, Digest, RunId, Time};

use crate::error::ReadError;
use crate::ledger::Ledger;
use crate::queue::Claim;
use crate::rows::entry_at;
use crate::{approvals, project};

/// The ledger in the hands of whoever holds a claim: once the run is taken over, nothing more is written.
#[derive(Debug, Clone)]
pub struct ClaimedJournal<'a> {
    ledger: &'a Ledger,
    claim: &'a Claim,
}

impl Ledger {
    /// A journal that writes only while `claim` holds, and only for its run.
    pub fn claimed<'a>(&'a self, claim: &'a Claim) -> ClaimedJournal<'a> {
        ClaimedJournal { ledger: self, claim }
    }

    fn deed(&self, run: &RunId, order: &Digest) -> Result<Option<Deed>, ReadError> {
        self.read(|db| {
            let Some(seq) = project::deed_seq(db, run, order)? else { return Ok(None) };
            let recorded = entry_at(db, seq)?.entry;
            match recorded.record {
                Record::Done { order: done, deed, .. } if done == *order && recorded.run.as_ref() == Some(run) => {
                    Ok(Some(deed))
                }
                _ => {
                    Err(ReadError::Projection { because: format!("entry {seq} is not the deed of {run} for {order}") })
                }
            }
        })
    }
}

impl Journal for Ledger {
    fn append(&self, entry: Entry, class: Class) -> Result<(), JournalError> {
        Ok(self.append_entry(entry, class).map(drop)?)
    }

    fn recall(&self, run: &RunId, order: &Digest) -> Result<Option<Deed>, JournalError> {
        Ok(self.deed(run, order)?)
    }

    fn approval(&self, order: &Digest, now: Time) -> Result<Option<Approval>, JournalError> {
        // Asked before every decision; few orders were ever put before anybody.
        if !self.is_granted(order) {
            return Ok(None);
        }
        Ok(self.read(|db| approvals::usable(db, order, now))?)
    }
}

impl Journal for ClaimedJournal<'_> {
    fn append(&self, entry: Entry, class: Class) -> Result<(), JournalError> {
        Ok(self.ledger.append_fenced(entry, class, Some(self.claim.clone())).map(drop)?)
    }

    fn recall(&self, run: &RunId, order: &Digest) -> Result<Option<Deed>, JournalError> {
        self.ledger.recall(run, order)
    }

    fn approval(&self, order: &Digest, now: Time) -> Result<Option<Approval>, JournalError> {
        self.ledger.approval(order, now)
    }
}
