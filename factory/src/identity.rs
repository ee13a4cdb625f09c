//! Identity documents lent through a run's doors while it works: each an order of its own, announced before it is made, and
//! dead before its run may end like every other lease (A-104, requirement C2).

use std::sync::{Mutex, PoisonError};

use selvedge_authority::{ActError, Code, Denial, Funnel, JournalError, Observation, Stop};
use selvedge_domain::orders::{MintCredential, Minted};
use selvedge_domain::{Event, LeaseEvent, LeaseId, RepoName, RunId, Tenure, Time};

use crate::cycle::{Desk, Factory};
use crate::doorkeeper::{Gatekeeper, busy};
use crate::ports::Doorkeeper as _;

/// How many identity documents one attempt may ask for. A long attempt renews its certificate some dozens of times and asks
/// for a token per service now and then; each costs four entries of the log for ever, and keeps its run closing until
/// it has expired.
const IDENTITIES_MAX: u32 = 256;

/// How long one document lives at most (requirement C1): whoever needs one for longer asks again, and is decided on again.
const LIFETIME_SECONDS_MAX: u64 = 300;

/// What it takes to lend to one run's doors.
pub(crate) struct Lending<'a> {
    factory: &'a Factory<'a>,
    repo: RepoName,
    until: Time,
    ttl_seconds: u64,
    tenure: Tenure,
    asked: Mutex<u32>,
}

impl<'a> Lending<'a> {
    /// Lends as `desk` says.
    pub(crate) fn new(factory: &'a Factory<'a>, desk: &Desk) -> Self {
        Self {
            factory,
            repo: desk.repository.name.clone(),
            until: desk.grant.until,
            ttl_seconds: (desk.agent.attempt_at_most.as_millis() / 1000).min(LIFETIME_SECONDS_MAX),
            tenure: desk.agent.tenure,
            asked: Mutex::new(0),
        }
    }

    /// Decide → record → announce → make → record. One at a time: a run's events have an order.
    pub(crate) fn lend(
        &self,
        doors: &Gatekeeper<'_>,
        funnel: &Funnel<'_>,
        run: &RunId,
        lease: &LeaseId,
        audience: &str,
    ) -> Result<Minted, Denial> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        *asked = asked.saturating_add(1);
        if *asked == IDENTITIES_MAX + 1 {
            let detail = format!("more than {IDENTITIES_MAX}; the rest are denied and not recorded one by one");
            doors.saw(Observation::Finding { code: "too_many_identities".to_owned(), detail });
        }
        if *asked > IDENTITIES_MAX {
            return Err(busy("this attempt has asked for all the identity documents it may; use one until it expires"));
        }
        let order = MintCredential {
            credential: None,
            uses: Vec::new(),
            is_stored: false,
            tenure: self.tenure,
            lease: lease.clone(),
            run: run.clone(),
            repo: self.repo.clone(),
            audience: audience.to_owned(),
            until: self.until,
            ttl_seconds: self.ttl_seconds,
        };
        let permit = funnel.open(order).map_err(denied)?;
        // What a halt overtakes, or the record cannot take, is recorded as not done.
        let announced = self.announced(run, lease).map_err(ActError::Halted);
        let outcome = announced.and_then(|()| self.factory.lender.mint(&permit));
        let minted = funnel.close(permit, outcome).map_err(denied)?;
        let change = LeaseEvent::Minted { revocation: minted.revocation, expires: minted.expires };
        let recorded = self.happened(run, Event::LeaseChanged(lease.clone(), change));
        recorded.map_err(|error| unlent(&error.to_string()))?;
        Ok(minted)
    }

    fn announced(&self, run: &RunId, lease: &LeaseId) -> Result<(), String> {
        let standing = self.factory.store.load(run).map_err(|error| error.to_string())?;
        if let Some(because) = self.factory.store.halted(&standing).map_err(|error| error.to_string())? {
            return Err(because);
        }
        self.happened(run, Event::LeaseAnnounced(lease.clone())).map_err(|error| error.to_string())
    }

    fn happened(&self, run: &RunId, event: Event) -> Result<(), JournalError> {
        let standing = self.factory.store.load(run)?;
        self.factory.happened(standing, event).map(drop)
    }
}

/// Nothing was lent, or nobody is told: whatever was made dies with the run's other leases.
fn unlent(because: &str) -> Denial {
    Denial {
        code: Code::NotRecorded,
        policies: Vec::new(),
        next_step: format!("nothing was lent ({because}); work without it, or tell the operator"),
    }
}

fn denied(stop: Stop) -> Denial {
    match stop {
        Stop::Denied(denial) | Stop::NeedsApproval { denial, .. } => denial,
        Stop::Act(error) => busy(&format!("it was allowed and could not be made ({error}); try again")),
        Stop::Journal(error) => unlent(&error.to_string()),
    }
}
