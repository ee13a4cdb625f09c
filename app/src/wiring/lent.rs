//! What a door is lent at its start: each credential of the grant under a placeholder, with its secret where it was made, and what is then
//! looked for in everything the sandbox writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use selvedge_authority::ActError;
use selvedge_domain::{CredentialName, Grant, Reach, RunId};
use selvedge_factory::ports::{Clock as _, Entropy as _};
use selvedge_gateway::{Lease, Loan, Placeholder, SecretText, SecretWatch};

use super::Works;
use super::lender::Kept;
use super::loans::OnDoor;
use crate::config::CredentialConfig;

/// What a run is lent for one sandbox, before its door has it.
#[derive(Default)]
pub(super) struct Lent {
    pub(super) identity: Lease,
    pub(super) loans: Vec<Loan>,
    /// Under which leases.
    pub(super) on_door: Vec<OnDoor>,
    /// Where programs inside find the placeholders.
    pub(super) env: Vec<(String, Placeholder)>,
    /// What is looked for in what the sandbox writes and leaves.
    pub(super) watch: Option<Arc<SecretWatch>>,
}

impl Works {
    /// What the run's doors may use while its agent works, taken out of the vault.
    pub(super) fn lending_for_work(&self, run: &RunId, grant: &Grant) -> Result<Lent, ActError> {
        let mut lent = self.take_lent(run);
        let identity = lent.remove(&None).map_or_else(Lease::default, |kept| Lease::new(kept.secret.expose().to_vec()));
        Ok(Lent { identity, ..self.lending(&grant.loans, &mut lent)? })
    }

    /// For a sandbox that is lent nothing. What a credential would go into is refused there, rather than sent without.
    pub(super) fn lending_nothing(&self, loans: &BTreeSet<selvedge_domain::Loan>) -> Result<Lent, ActError> {
        Ok(Lent { env: Vec::new(), ..self.lending(loans, &mut BTreeMap::new())? })
    }

    fn lending(
        &self,
        granted: &BTreeSet<selvedge_domain::Loan>,
        lent: &mut BTreeMap<Option<CredentialName>, Kept>,
    ) -> Result<Lent, ActError> {
        let config = self.config();
        let mut uses: BTreeMap<&CredentialName, Vec<Reach>> = BTreeMap::new();
        for loan in granted {
            uses.entry(&loan.credential).or_default().push(loan.uses.clone());
        }
        let mut lending = Lent::default();
        for (name, uses) in uses {
            let gone = || ActError::Permanent(format!("credential `{name}` is no longer configured"));
            let CredentialConfig { way, env, .. } = config.credentials.get(name).ok_or_else(gone)?;
            let placeholder = Placeholder::of_bits(u128::from(self.draw()) << 64 | u128::from(self.draw()));
            lending.env.extend(env.iter().map(|env| (env.clone(), placeholder.clone())));
            let kept = lent.remove(&Some(name.clone()));
            lending.on_door.extend(kept.as_ref().map(|kept| OnDoor::new(name, kept)));
            let secret = kept.map(|kept| self.lent_secret(name, &kept)).transpose()?;
            let way = way.clone();
            lending.loans.push(Loan { credential: name.clone(), uses, way, placeholder, secret });
        }
        let salt = u128::from(self.draw()) << 64 | u128::from(self.draw());
        lending.watch = SecretWatch::of(&lending.loans, salt).map(Arc::new);
        Ok(lending)
    }

    fn lent_secret(&self, name: &CredentialName, kept: &Kept) -> Result<(SecretText, Duration), ActError> {
        let secret = SecretText::parse(kept.secret.expose()).map_err(|error| {
            ActError::Permanent(format!("credential `{name}` cannot be put into a request: {error}"))
        })?;
        Ok((secret, Duration::from_millis(kept.ends.since(self.now()).as_millis())))
    }
}
