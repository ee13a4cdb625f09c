//! The store of one claimed run: the ledger behind the factory's port, fenced by the claim.

use selvedge_authority::{Approval, Class, Entry, Journal, JournalError, Record};
use selvedge_domain::{AgentName, ApprovalId, Deed, Digest, Event, Run, RunId, Seen, Time};
use selvedge_factory::ports::{Answer, Clock, Reply, Store};
use selvedge_ledger::{ApprovalState, Claim, ReadError};

use super::Works;
use super::conduct::Act;

/// Reads and writes for one run, while a claim holds; without one, for what people do to a run that nobody works on.
pub(crate) struct ClaimedStore<'a> {
    works: &'a Works,
    claim: Option<&'a Claim>,
}

impl<'a> ClaimedStore<'a> {
    /// Under `claim`.
    pub(crate) fn new(works: &'a Works, claim: &'a Claim) -> Self {
        Self { works, claim: Some(claim) }
    }

    /// Under nobody's claim.
    pub(crate) fn unclaimed(works: &'a Works) -> Self {
        Self { works, claim: None }
    }
}

impl Journal for ClaimedStore<'_> {
    fn append(&self, entry: Entry, class: Class) -> Result<(), JournalError> {
        let Some(claim) = self.claim else { return self.works.ledger.append(entry, class) };
        let (journal, at, act) = (self.works.ledger.claimed(claim), entry.at, Act::of(&entry));
        if matches!(entry.record, Record::Happened(Event::Settled)) {
            // Nothing of a run is recorded after its end.
            for told in self.works.sum_up(&claim.run, at)? {
                journal.append(told, Class::Ordered)?;
            }
        }
        journal.append(entry, class)?;
        if let Some(act) = act {
            for told in self.works.count(&claim.run, at, &act)? {
                journal.append(told, Class::Durable)?;
            }
        }
        Ok(())
    }

    fn recall(&self, run: &RunId, order: &Digest) -> Result<Option<Deed>, JournalError> {
        self.works.ledger.recall(run, order)
    }

    fn approval(&self, order: &Digest, now: Time) -> Result<Option<Approval>, JournalError> {
        self.works.ledger.approval(order, now)
    }

    fn seen(&self, agent: &AgentName) -> Seen {
        self.works.watch.seen(agent)
    }
}

impl Store for ClaimedStore<'_> {
    fn load(&self, run: &RunId) -> Result<Run, JournalError> {
        self.works.run(run)
    }

    fn halted(&self, run: &Run) -> Result<Option<String>, JournalError> {
        Ok(self.works.halt_covering(run))
    }

    fn answer(&self, approval: &ApprovalId) -> Result<Answer, JournalError> {
        let request = self.works.ledger.approval_request(approval, self.works.now())?;
        Ok(match request.map(|request| request.state) {
            Some(ApprovalState::Granted { .. }) => Answer::Granted,
            Some(ApprovalState::Denied) => Answer::Denied,
            Some(ApprovalState::Answered(selvedge_ledger::Reply { by, at, words })) => {
                Answer::Words(Reply { by, at, words })
            }
            _ => Answer::Pending,
        })
    }
}

impl Works {
    /// The run, as its events made it.
    pub(crate) fn run(&self, id: &RunId) -> Result<Run, JournalError> {
        let found = self.ledger.load_run(id).map_err(|error: ReadError| JournalError::from(error))?;
        found.ok_or_else(|| JournalError::Read(format!("there is no run {id}")))
    }
}
