//! Lending and taking back: the lease engine behind the factory's port, and the vault where a secret waits for its door.

use selvedge_authority::{ActError, Permit};
use selvedge_credentials::{Ending, OWN_AUDIENCE};
use selvedge_domain::orders::{MintCredential, Minted};
use selvedge_domain::{LeaseId, LeaseState, RunId, WorkloadId};
use selvedge_factory::ports::{Clock, Lender, TakenBack};
use selvedge_gateway::Lease;

use super::Works;

impl Lender for Works {
    fn mint(&self, permit: &Permit<MintCredential>) -> Result<Minted, ActError> {
        let order = permit.order();
        let run = self.run(&order.run).map_err(|error| ActError::Transient(error.to_string()))?;
        let holder = WorkloadId::new(&self.trust_domain, order.run.clone(), run.trigger().agent.clone());
        let lent =
            self.leases.lend(permit, &holder, self.now()).map_err(|error| ActError::Transient(error.to_string()))?;
        if order.audience != OWN_AUDIENCE {
            self.identities.hand(&order.lease, lent.secret);
        } else if let Ok(mut vault) = self.vault.lock() {
            vault.insert(order.run.clone(), lent.secret);
        }
        Ok(lent.minted)
    }

    fn take_back(&self, lease: &LeaseId) -> TakenBack {
        // Where the lease stands matters to the engine only when its own note cannot be read; assume the worst.
        match self.leases.revoke(lease, LeaseState::Announced, self.now()) {
            Ending::Revoked | Ending::Expired => TakenBack::Dead,
            Ending::ExpiresAt(at) => TakenBack::Expires { at },
            Ending::Stuck { because, .. } => TakenBack::Stuck { because },
        }
    }
}

impl Works {
    /// The run's credential, for its door and once.
    pub(super) fn take_lease(&self, run: &RunId) -> Lease {
        let secret = self.vault.lock().ok().and_then(|mut vault| vault.remove(run));
        secret.map_or_else(Lease::default, |secret| Lease::new(secret.expose().to_vec()))
    }

    /// Forgets a secret that no door fetched.
    pub(super) fn drop_lease(&self, run: &RunId) {
        if let Ok(mut vault) = self.vault.lock() {
            vault.remove(run);
        }
    }
}
