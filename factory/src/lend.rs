//! Leases along a run: announced before they are minted, taken back before anything may end or wait (C4, C8, invariant 7).

use selvedge_authority::JournalError;
use selvedge_domain::orders::MintCredential;
use selvedge_domain::{Event, LeaseEvent, LeaseId, LeaseState, Outcome, Run};

use crate::cycle::{Factory, Halt};
use crate::ports::TakenBack;

/// The audience of the identity every run has: our own doors and verifier.
const OWN_AUDIENCE: &str = "selvedge";

impl Factory<'_> {
    /// Lends the run its identity and begins an attempt. Whatever an earlier attempt held dies first.
    pub(crate) fn lease(&self, run: &mut Run) -> Result<Event, Halt> {
        if !run.may_try_again() {
            let because = format!("{} attempts were lost; see `selvedge show {}`", run.attempts(), run.id());
            return Err(Halt::End(Outcome::Failed { because }));
        }
        *run = self.end_attempt(run.clone())?.map_err(Halt::Later)?;
        let desk = self.desk(run)?;
        let lease = LeaseId::from_entropy(self.entropy.draw());
        *run = self.happened(run.clone(), Event::LeaseAnnounced(lease.clone()))?;
        let order = MintCredential {
            lease: lease.clone(),
            run: run.id().clone(),
            repo: desk.repository.name.clone(),
            audience: OWN_AUDIENCE.to_owned(),
            until: desk.grant.until,
            ttl_seconds: desk.agent.attempt_at_most.as_millis() / 1000,
        };
        let minted = desk.funnel(self).perform(order, |permit| self.lender.mint(permit))?;
        let change = LeaseEvent::Minted { revocation: minted.revocation, expires: minted.expires };
        *run = self.happened(run.clone(), Event::LeaseChanged(lease, change))?;
        Ok(Event::AttemptBegan { attempt: run.attempts() + 1 })
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
            let event = match self.lender.take_back(&lease) {
                TakenBack::Dead => LeaseEvent::Died,
                TakenBack::Expires { at } => {
                    given.expires = Some(format!("lease {lease} may still live: it can only expire, at {at}"));
                    continue;
                }
                TakenBack::Stuck { because } => {
                    given.stuck = Some(format!("lease {lease} may still live: {because}"));
                    LeaseEvent::RevokeFailed
                }
            };
            // A run may be closing for as long as a credential lasts; failing once more is nothing new.
            if state.next(event) == Ok(state) {
                continue;
            }
            given.run = self.happened(given.run, Event::LeaseChanged(lease, event))?;
        }
        Ok(given)
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
