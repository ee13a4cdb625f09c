//! What is lent through a run's doors while it works, identity documents and access tokens above all: each an order of its own,
//! announced before it is made, and dead before its run may end like every other lease (A-104, requirements B4, C2).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use selvedge_authority::{ActError, Code, Denial, Funnel, Granted, JournalError, Observation, Permit, Stop};
use selvedge_domain::orders::{Delegate, MintCredential, Minted};
use selvedge_domain::{CredentialName, Event, LeaseEvent, LeaseId, Run, RunId};

use crate::cycle::{Desk, Factory};
use crate::doorkeeper::{Gatekeeper, busy};
use crate::ports::Doorkeeper as _;

/// How many identity documents and access tokens one attempt may ask for. A long attempt renews its certificate some dozens of times and asks
/// for a token per service now and then; each costs four entries of the log for ever, and keeps its run closing until
/// it has expired.
const IDENTITIES_MAX: u32 = 256;

/// How long one document lives at most (requirement C1): whoever needs one for longer asks again, and is decided on again.
const LIFETIME_SECONDS_MAX: u64 = 300;

/// What it takes to lend to one run's doors.
pub(crate) struct Lending<'a> {
    pub(crate) factory: &'a Factory<'a>,
    pub(crate) desk: &'a Desk,
    asked: Mutex<u32>,
    /// How often a credential was made anew.
    pub(crate) renewed: Mutex<u32>,
    /// Whether nothing is lent for now: the turn is held.
    pub(crate) is_paused: Mutex<bool>,
    /// Leases that no door uses any more, and that may still live.
    pub(crate) predecessors: Mutex<BTreeMap<LeaseId, CredentialName>>,
}

impl<'a> Lending<'a> {
    /// Lends as `desk` says.
    pub(crate) fn new(factory: &'a Factory<'a>, desk: &'a Desk) -> Self {
        let (asked, renewed, is_paused, predecessors) =
            (Mutex::new(0), Mutex::new(0), Mutex::default(), Mutex::default());
        Self { factory, desk, asked, renewed, is_paused, predecessors }
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
        let _turn = self.turn(doors)?;
        let own = self.desk.identity_order(run, lease.clone());
        let ttl_seconds = own.ttl_seconds.min(LIFETIME_SECONDS_MAX);
        let order = MintCredential { audience: audience.to_owned(), ttl_seconds, ..own };
        self.make(funnel, run, order).map_err(denied)
    }

    /// The same, for a part of what the run holds.
    pub(crate) fn hand_on(
        &self,
        doors: &Gatekeeper<'_>,
        funnel: &Funnel<'_>,
        order: Delegate,
        sign: &mut dyn FnMut(&Permit<Delegate>) -> Result<Minted, ActError>,
    ) -> Result<Minted, Denial> {
        let _turn = self.turn(doors)?;
        let (run, lease) = (order.run.clone(), order.lease.clone());
        self.make_by(funnel, &run, &lease, order, sign).map_err(denied)
    }

    /// Counts what is asked for, and lets one go on at a time.
    pub(crate) fn turn(&self, doors: &Gatekeeper<'_>) -> Result<MutexGuard<'_, u32>, Denial> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        *asked = asked.saturating_add(1);
        if *asked == IDENTITIES_MAX + 1 {
            let detail = format!("more than {IDENTITIES_MAX}; the rest are denied and not recorded one by one");
            doors.saw(Observation::Finding { code: "too_many_identities".to_owned(), detail });
        }
        if *asked > IDENTITIES_MAX {
            return Err(busy(
                "this attempt has asked for all the documents and tokens it may; use one until it expires",
            ));
        }
        Ok(asked)
    }

    /// Makes a credential. Whatever is lent while a run works comes this way.
    pub(crate) fn make(&self, funnel: &Funnel<'_>, run: &RunId, order: MintCredential) -> Result<Minted, Stop> {
        let lease = order.lease.clone();
        self.make_by(funnel, run, &lease, order, &mut |permit| self.factory.lender.mint(permit))
    }

    fn make_by<O: Granted<Deed = Minted>>(
        &self,
        funnel: &Funnel<'_>,
        run: &RunId,
        lease: &LeaseId,
        order: O,
        make: &mut dyn FnMut(&Permit<O>) -> Result<Minted, ActError>,
    ) -> Result<Minted, Stop> {
        let permit = funnel.open(order)?;
        // What a halt overtakes, or the record cannot take, is recorded as not done.
        let announced = self.announced(run, lease).map_err(ActError::Halted);
        let outcome = announced.and_then(|()| make(&permit));
        let minted = funnel.close(permit, outcome)?;
        let change = LeaseEvent::Minted { revocation: minted.revocation, expires: minted.expires };
        self.happened(run, Event::LeaseChanged(lease.clone(), change)).map_err(Stop::Journal)?;
        Ok(minted)
    }

    /// Takes back everything the run was lent, and lends nothing until it [goes on](Self::resume). Whoever is lending now is waited for.
    pub(crate) fn pause(&self, run: &RunId) -> Result<(), String> {
        let _nobody_lends = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        *self.is_paused.lock().unwrap_or_else(PoisonError::into_inner) = true;
        let taken = self.factory.store.load(run).and_then(|run| self.factory.end_attempt(run));
        taken.map_err(|error| error.to_string())?.map(drop)
    }

    /// Lends again.
    pub(crate) fn resume(&self) {
        *self.is_paused.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    pub(crate) fn refuse_when_halted(&self, run: &RunId) -> Result<Run, String> {
        let standing = self.factory.store.load(run).map_err(|error| error.to_string())?;
        match self.factory.store.halted(&standing).map_err(|error| error.to_string())? {
            Some(because) => Err(because),
            None => Ok(standing),
        }
    }

    fn announced(&self, run: &RunId, lease: &LeaseId) -> Result<(), String> {
        let _standing = self.refuse_when_halted(run)?;
        // Held meanwhile, so that what is announced is known to whoever takes everything back.
        let is_paused = self.is_paused.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_paused {
            return Err("its turn waits for a person, and holds nothing meanwhile".to_owned());
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

pub(crate) fn denied(stop: Stop) -> Denial {
    match stop {
        Stop::Denied(denial) | Stop::NeedsApproval { denial, .. } => denial,
        Stop::Act(error) => busy(&format!("it was allowed and could not be made ({error}); try again")),
        Stop::Journal(error) => unlent(&error.to_string()),
    }
}
