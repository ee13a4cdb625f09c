//! Lending and taking back: the lease engine behind the factory's port, and the vault where a secret waits for its door.

use std::collections::BTreeMap;

use selvedge_authority::{ActError, Permit};
use selvedge_credentials::{Ending, Leases, Secret};
use selvedge_domain::orders::{MintCredential, Minted};
use selvedge_domain::{CredentialName, LeaseId, LeaseState, Run, RunId, Time, WorkloadId};
use selvedge_factory::ports::{Clock, Lender, TakenBack};

use super::Works;
use super::loans::Renewal;

impl Lender for Works {
    fn mint(&self, permit: &Permit<MintCredential>) -> Result<Minted, ActError> {
        let order = permit.order();
        let run = self.run(&order.run).map_err(|error| ActError::Transient(error.to_string()))?;
        let holder = WorkloadId::new(&self.trust_domain, order.run.clone(), run.trigger().agent.clone());
        self.goes_on_loan(order);
        let lent = self.lending.leases.lend(permit, &holder, self.now()).map_err(|error| match error.is_lasting() {
            true => ActError::Permanent(error.to_string()),
            false => ActError::Transient(error.to_string()),
        })?;
        // What no door asked for itself waits in the vault for the run's door.
        if let Some(secret) = self.lending.identities.hand(&order.lease, lent.secret) {
            let ends = lent.minted.expires;
            let renewal = Renewal::of(order, self.now(), ends);
            self.keep_unless_taken_away(order, &run, Kept { lease: order.lease.clone(), secret, ends, renewal });
        }
        Ok(lent.minted)
    }

    /// A turn comes back until it is dead; a provider that said when to come back is asked then.
    fn take_back(&self, lease: &LeaseId) -> TakenBack {
        self.ended(lease, Leases::revoke_when_welcome)
    }
}

impl Works {
    /// The same at once, for whoever stops something or cannot come back.
    pub(super) fn take_back_now(&self, lease: &LeaseId) -> TakenBack {
        self.ended(lease, Leases::revoke)
    }

    fn ended(&self, lease: &LeaseId, end: impl FnOnce(&Leases, &LeaseId, LeaseState, Time) -> Ending) -> TakenBack {
        self.drop_kept(lease);
        // Where the lease stands matters to the engine only when its own note cannot be read; assume the worst.
        match end(&self.lending.leases, lease, LeaseState::Announced, self.now()) {
            Ending::Revoked | Ending::Expired => {
                self.comes_off_loan(lease);
                TakenBack::Dead
            }
            Ending::ExpiresAt(at) => TakenBack::Expires { at },
            Ending::Stuck { because, .. } => TakenBack::Stuck { because },
        }
    }
}

/// What a run was lent, until its door fetches it: the identity of the run, and credentials by name.
pub(super) type Vault = BTreeMap<RunId, BTreeMap<Option<CredentialName>, Kept>>;

/// A secret, and when it may not be used any more.
pub(super) struct Kept {
    pub(super) lease: LeaseId,
    pub(super) secret: Secret,
    pub(super) ends: Time,
    /// When it is made anew, if it is.
    pub(super) renewal: Option<Renewal>,
}

impl Works {
    /// What the run was lent, for its door and once.
    pub(super) fn take_lent(&self, run: &RunId) -> BTreeMap<Option<CredentialName>, Kept> {
        self.vault.lock().ok().and_then(|mut vault| vault.remove(run)).unwrap_or_default()
    }

    /// What was lent under this lease while the run works, for its door and once.
    pub(super) fn take_lent_under(&self, run: &RunId, lease: &LeaseId) -> Option<Kept> {
        let mut vault = self.vault.lock().ok()?;
        let kept = vault.get_mut(run)?;
        let name = kept.iter().find(|(_, kept)| kept.lease == *lease).map(|(name, _)| name.clone())?;
        kept.remove(&name)
    }

    /// Keeps a secret for the run's door. One that was taken away while it was decided or made is nobody's, and ends at once: the run
    /// goes on without it, unless it is what was stopped.
    fn keep_unless_taken_away(&self, order: &MintCredential, run: &Run, kept: Kept) {
        let is_kept = self.on_loan.unless_withdrawn(&order.lease, || {
            if let Ok(mut vault) = self.vault.lock() {
                vault.entry(order.run.clone()).or_default().insert(order.credential.clone(), kept);
            }
        });
        // Looked at only now: what takes it away from here on finds it, in the vault or among the loans.
        if is_kept.is_none() || self.was_taken_away(order, run) {
            let _what_may_live_is_asked_for_again = self.take_back_now(&order.lease);
        }
    }

    /// Forgets the secret of a lease that ends before any door fetched it.
    pub(super) fn drop_kept(&self, lease: &LeaseId) {
        if let Ok(mut vault) = self.vault.lock() {
            vault.values_mut().for_each(|kept| kept.retain(|_, kept| kept.lease != *lease));
            vault.retain(|_, kept| !kept.is_empty());
        }
    }

    /// Forgets secrets that no door fetched.
    pub(super) fn drop_lent(&self, run: &RunId) {
        if let Ok(mut vault) = self.vault.lock() {
            vault.remove(run);
        }
    }
}
