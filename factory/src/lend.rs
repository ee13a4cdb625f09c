//! Leases along a run: announced before they are minted, taken back before anything may end or wait (C4, C8, invariant 7).

use std::collections::BTreeMap;

use selvedge_authority::JournalError;
use selvedge_domain::orders::{MayBorrow, MintCredential, UseSecret};
use selvedge_domain::{CredentialName, Event, LeaseEvent, LeaseId, LeaseState, Outcome, Reach, Run, RunId};

use crate::cycle::{Desk, Factory, Halt};
use crate::ports::{Credential, TakenBack};

/// The audience of the identity every run has: our own doors and verifier.
const OWN_AUDIENCE: &str = "selvedge";

impl Factory<'_> {
    /// Lends the run its identity and what it may borrow, and begins an attempt. Whatever an earlier attempt held dies first.
    pub(crate) fn lease(&self, run: &mut Run) -> Result<Event, Halt> {
        if !run.may_try_again() {
            let because = format!("{} attempts were lost; see `selvedge show {}`", run.attempts(), run.id());
            return Err(Halt::End(Outcome::Failed { because }));
        }
        *run = self.end_attempt(run.clone())?.map_err(Halt::Later)?;
        let desk = self.desk(run)?;
        let borrowed = self.borrowed(&desk)?;
        if let Some(because) = borrowed.iter().find_map(|(credential, _)| credential.unlent.clone()) {
            return Err(Halt::End(Outcome::Failed { because }));
        }
        // A person may have to be asked, and a run that waits holds nothing: so before anything is minted.
        for (credential, uses) in borrowed.iter().filter(|(credential, _)| credential.is_stored) {
            let order = desk.borrow_order(run.id(), credential, uses);
            desk.funnel(self).perform(order, |_| Ok(MayBorrow))?;
        }
        self.mint(run, &desk, desk.identity_order(run.id(), self.draw_lease()))?;
        for (credential, uses) in &borrowed {
            self.mint(run, &desk, desk.loan_order(run.id(), self.draw_lease(), credential, uses))?;
        }
        Ok(Event::AttemptBegan { attempt: run.attempts() + 1 })
    }

    /// One lease: announced, decided, minted, and each of that recorded.
    fn mint(&self, run: &mut Run, desk: &Desk, order: MintCredential) -> Result<(), Halt> {
        let lease = order.lease.clone();
        *run = self.happened(run.clone(), Event::LeaseAnnounced(lease.clone()))?;
        let minted = desk.funnel(self).perform(order, |permit| self.lender.mint(permit))?;
        let change = LeaseEvent::Minted { revocation: minted.revocation, expires: minted.expires };
        *run = self.happened(run.clone(), Event::LeaseChanged(lease, change))?;
        Ok(())
    }

    /// The credentials the run's grant names, each with everything it may be used for.
    fn borrowed(&self, desk: &Desk) -> Result<Vec<(Credential, Vec<Reach>)>, Halt> {
        let mut uses: BTreeMap<&CredentialName, Vec<Reach>> = BTreeMap::new();
        for loan in &desk.grant.loans {
            uses.entry(&loan.credential).or_default().push(loan.uses.clone());
        }
        let find = |(name, uses): (&CredentialName, Vec<Reach>)| match self.registry.credential(name) {
            Some(credential) => Ok((credential, uses)),
            None => Err(Halt::End(Outcome::Refused {
                because: format!("credential `{name}` is not configured; add it, or take it from the agent"),
            })),
        };
        uses.into_iter().map(find).collect()
    }

    fn draw_lease(&self) -> LeaseId {
        LeaseId::from_entropy(self.entropy.draw())
    }

    /// Takes every lease of the run back. The inner error says which one may still live; the run may not go on.
    ///
    /// Taking back needs no permit and comes before its record (invariant 2).
    pub(crate) fn give_back(&self, run: Run) -> Result<Result<Run, String>, JournalError> {
        let given = self.take_all_back(run)?;
        Ok(given.stuck.or(given.expires).map_or(Ok(given.run), Err))
    }

    /// Takes back what an attempt held, now that it is over. What can only expire does so while the run goes on: nothing runs
    /// that could use it, and the run may neither wait nor end before it has.
    pub(crate) fn end_attempt(&self, run: Run) -> Result<Result<Run, String>, JournalError> {
        let given = self.take_all_back(run)?;
        Ok(given.stuck.map_or(Ok(given.run), Err))
    }

    fn take_all_back(&self, run: Run) -> Result<GivenBack, JournalError> {
        let alive: Vec<(LeaseId, LeaseState)> = run
            .leases()
            .iter()
            .filter(|(_, state)| state.may_live())
            .map(|(lease, state)| (lease.clone(), *state))
            .collect();
        let mut given = GivenBack { run, stuck: None, expires: None };
        for (lease, state) in alive {
            let (run, taken) = self.take_one_back(given.run, &lease, state)?;
            given.run = run;
            match taken {
                TakenBack::Dead => {}
                TakenBack::Expires { at } => {
                    given.expires = Some(format!("lease {lease} may still live: it can only expire, at {at}"));
                }
                TakenBack::Stuck { because } => {
                    given.stuck = Some(format!("lease {lease} may still live: {because}"));
                }
            }
        }
        Ok(given)
    }

    /// Takes one lease back and records what is new about it.
    pub(crate) fn take_one_back(
        &self,
        run: Run,
        lease: &LeaseId,
        state: LeaseState,
    ) -> Result<(Run, TakenBack), JournalError> {
        let taken = self.lender.take_back(lease);
        let event = match &taken {
            TakenBack::Dead => LeaseEvent::Died,
            TakenBack::Expires { .. } => return Ok((run, taken)),
            TakenBack::Stuck { .. } => LeaseEvent::RevokeFailed,
        };
        // A run may be closing for as long as a credential lasts; failing once more is nothing new.
        if state.next(event) == Ok(state) {
            return Ok((run, taken));
        }
        Ok((self.happened(run, Event::LeaseChanged(lease.clone(), event))?, taken))
    }
}

impl Desk {
    pub(crate) fn identity_order(&self, run: &RunId, lease: LeaseId) -> MintCredential {
        MintCredential {
            lease,
            run: run.clone(),
            repo: self.repository.name.clone(),
            credential: None,
            audience: OWN_AUDIENCE.to_owned(),
            uses: Vec::new(),
            is_stored: false,
            tenure: self.agent.tenure,
            until: self.grant.until,
            ttl_seconds: self.agent.attempt_at_most.as_millis() / 1000,
        }
    }

    pub(crate) fn loan_order(
        &self,
        run: &RunId,
        lease: LeaseId,
        credential: &Credential,
        uses: &[Reach],
    ) -> MintCredential {
        MintCredential {
            credential: Some(credential.name.clone()),
            audience: String::new(),
            uses: uses.to_vec(),
            is_stored: credential.is_stored,
            tenure: credential.tenure,
            ttl_seconds: self.lent_seconds(credential),
            ..self.identity_order(run, lease)
        }
    }

    pub(crate) fn borrow_order(&self, run: &RunId, credential: &Credential, uses: &[Reach]) -> UseSecret {
        UseSecret {
            run: run.clone(),
            repo: self.repository.name.clone(),
            credential: credential.name.clone(),
            uses: uses.to_vec(),
            ttl_seconds: self.lent_seconds(credential),
            tenure: credential.tenure,
        }
    }

    /// No loan outlives the attempt it is for.
    fn lent_seconds(&self, credential: &Credential) -> u64 {
        self.agent.attempt_at_most.min(credential.lent_at_most).as_millis() / 1000
    }
}

/// What taking every lease back came to.
struct GivenBack {
    run: Run,
    /// One that could not be revoked, and why.
    stuck: Option<String>,
    /// One that only has to expire, and when.
    expires: Option<String>,
}
