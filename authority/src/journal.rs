//! What the funnel needs of a store. The ledger implements it; the simulator breaks it.

use selvedge_domain::{AgentName, ApprovalId, Deed, Digest, Person, RunId, Seen, Time};

use crate::{Class, Entry};

/// Tells the time. A trait, so that time can be simulated.
pub trait Clock: Sync {
    /// Wall time.
    fn now(&self) -> Time;
}

/// The one durable truth.
pub trait Journal: Sync {
    /// Appends `entry`. When this returns, the entry is as safe as `class` promises; when it fails, nothing of it remains.
    fn append(&self, entry: Entry, class: Class) -> Result<(), JournalError>;

    /// The deed recorded for this order in this run, if it was done before.
    fn recall(&self, run: &RunId, order: &Digest) -> Result<Option<Deed>, JournalError>;

    /// A person's yes to exactly this order, if it can be used at `now`.
    fn approval(&self, order: &Digest, now: Time) -> Result<Option<Approval>, JournalError>;

    /// What the record shows of this agent up to now, runs at work included. Asked for every decision, so it is at hand. Nothing by a
    /// journal that watches nobody.
    fn seen(&self, agent: &AgentName) -> Seen {
        let _unwatched = agent;
        Seen::default()
    }
}

/// A yes that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Which.
    pub id: ApprovalId,
    /// Whose.
    pub by: Person,
    /// Until when.
    pub until: Time,
}

/// The store did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// It could not be written: disk full, read-only, gone.
    #[error("cannot record: {0}")]
    Write(String),
    /// It could not be read, or holds something that cannot be.
    #[error("cannot read the record: {0}")]
    Read(String),
    /// Another worker has taken this run over; its claim is void.
    #[error("the claim on this run was taken over")]
    Fenced,
}
