//! Credentials that end before their run does: made anew while it works, each an order of its own like the first, and the one
//! before ended once the door has the new one (requirements C1, C6). Never beyond the time of the grant.

use std::sync::PoisonError;

use selvedge_authority::{ActError, Funnel, Stop};
use selvedge_domain::orders::{MintCredential, Minted, UseSecret};
use selvedge_domain::{CredentialName, LeaseId, Reach, RunId};

use crate::identity::Lending;
use crate::ports::{TakenBack, Unrenewed};

/// How many renewals one attempt may have. An hour of credentials that live a minute each has some ninety; each costs six entries
/// of the log for ever.
const RENEWALS_MAX: u32 = 256;

impl Lending<'_> {
    /// Decide → record → announce → make → record, for a lease that takes the place of another. What fails on the way is ended at
    /// once: the run goes on with what it has, until that ends.
    pub(crate) fn renew(
        &self,
        funnel: &Funnel<'_>,
        run: &RunId,
        credential: &CredentialName,
    ) -> Result<Minted, Unrenewed> {
        self.one_more_renewal()?;
        self.end_predecessors(run, credential)?;
        let order = self.renewal_order(run, credential)?;
        let lease = order.lease.clone();
        self.make(funnel, run, order).map_err(|stop| {
            // Announced or not, made or not.
            let _ended_with_the_others_otherwise = self.retire(run, credential, &lease);
            unrenewed(&stop)
        })
    }

    /// Takes one lease back while its run goes on. Whether it is dead, and on record as dead.
    pub(crate) fn retire(&self, run: &RunId, credential: &CredentialName, lease: &LeaseId) -> bool {
        let taken = self.factory.store.load(run).and_then(|run| match run.leases().get(lease).copied() {
            Some(state) if state.may_live() => self.factory.take_one_back(run, lease, state).map(|(_, taken)| taken),
            Some(_) | None => Ok(TakenBack::Dead),
        });
        // What cannot be recorded is asked for, and recorded, once more with the run's other leases.
        let is_dead = taken.is_ok_and(|taken| taken == TakenBack::Dead);
        let mut predecessors = self.predecessors.lock().unwrap_or_else(PoisonError::into_inner);
        if is_dead {
            predecessors.remove(lease);
        } else {
            predecessors.insert(lease.clone(), credential.clone());
        }
        is_dead
    }

    fn one_more_renewal(&self) -> Result<(), Unrenewed> {
        let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        *renewed = renewed.saturating_add(1);
        if *renewed > RENEWALS_MAX {
            return Err(Unrenewed::for_good("this attempt has renewed its credentials as often as it may"));
        }
        Ok(())
    }

    /// No more than one of each may live besides the newest: a provider that does not end what it made is not asked for more.
    fn end_predecessors(&self, run: &RunId, credential: &CredentialName) -> Result<(), Unrenewed> {
        let predecessors = self.predecessors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let alive = predecessors
            .iter()
            .filter(|(_, of)| *of == credential)
            .filter(|(lease, _)| !self.retire(run, credential, lease))
            .count();
        if alive == 0 { Ok(()) } else { Err(Unrenewed::for_now("the one before it may still live")) }
    }

    pub(crate) fn renewal_order(&self, run: &RunId, credential: &CredentialName) -> Result<MintCredential, Unrenewed> {
        let desk = self.desk;
        let configured = self.factory.registry.credential(credential);
        let configured = configured.ok_or_else(|| Unrenewed::for_good("the credential is no longer configured"))?;
        let left = desk.grant.until.since(self.factory.clock.now()).as_millis() / 1000;
        if left == 0 {
            return Err(Unrenewed::for_good("the time of this attempt is over"));
        }
        let uses: Vec<_> = desk
            .grant
            .loans
            .iter()
            .filter(|loan| loan.credential == *credential)
            .map(|loan| loan.uses.clone())
            .collect();
        let lease = LeaseId::from_entropy(self.factory.entropy.draw());
        let order = desk.loan_order(run, lease, &configured, &uses);
        Ok(MintCredential { ttl_seconds: order.ttl_seconds.min(left), ..order })
    }
}

impl Lending<'_> {
    /// The order to use a stored key once more.
    pub(crate) fn borrow_order(
        &self,
        run: &RunId,
        credential: &CredentialName,
        uses: &[Reach],
    ) -> Result<UseSecret, Unrenewed> {
        let configured = self.factory.registry.credential(credential);
        let configured = configured.ok_or_else(|| Unrenewed::for_good("the credential is no longer configured"))?;
        Ok(self.desk.borrow_order(run, &configured, uses))
    }
}

/// What an agent may read of it; the log has the rest.
pub(crate) fn unrenewed(stop: &Stop) -> Unrenewed {
    match stop {
        Stop::Denied(denial) | Stop::NeedsApproval { denial, .. } => Unrenewed::for_good(&denial.next_step),
        Stop::Act(ActError::Transient(_)) => Unrenewed::for_now("it could not be made"),
        Stop::Act(ActError::Permanent(_)) => Unrenewed::for_good("it could not be made"),
        Stop::Act(ActError::Halted(_)) => Unrenewed::for_good("the run is halted"),
        Stop::Journal(_) => Unrenewed::for_now("that could not be recorded"),
    }
}
