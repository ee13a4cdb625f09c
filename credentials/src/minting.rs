//! Keys that credentials are made with: the private key of a GitHub App, the token or password of an account that may make others.
//!
//! Such a key can do more than anything that is made with it, so it is shown to nobody but the service that knows it, and lent to
//! nobody (requirement C5): its sealing is bound to a purpose of its own, which no loan opens, whatever is configured under its name.

use std::fmt;
use std::sync::Arc;

use selvedge_domain::{CredentialName, Time};

use crate::fields;
use crate::{NoteError, ProviderError, Purpose, SealedStore, Sealer, Secret, Slot};

/// The form of a key.
const MINTING: &[u8] = b"minting 1";

/// Every key of one keeper that credentials are made with.
pub struct MintingKeys {
    sealer: Arc<Sealer>,
    store: Arc<dyn SealedStore>,
}

/// A key that makes credentials could not be kept or found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MintingKeyError {
    /// Nobody stored one under this name.
    #[error("no key is stored that makes credential `{0}`: store it with `selvedge credentials store {0}`")]
    Missing(CredentialName),
    /// The store or the sealing failed.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// It opened, and is not a key of ours.
    #[error("the key that makes credential `{0}` was stored by another version; store it again")]
    Foreign(CredentialName),
}

impl MintingKeys {
    /// Keeps keys in `store`, sealed.
    pub fn new(sealer: Arc<Sealer>, store: Arc<dyn SealedStore>) -> Self {
        Self { sealer, store }
    }

    /// Keeps the key that this credential is made with, in place of what was there.
    pub fn put(&self, name: &CredentialName, key: &Secret, now: Time) -> Result<(), MintingKeyError> {
        let slot = slot(name);
        let kept = fields::join(&[MINTING, &fields::of_time(now), key.expose()]);
        let sealed = self.sealer.seal(&slot, &kept).map_err(NoteError::from)?;
        Ok(self.store.put(&slot, &sealed).map_err(NoteError::from)?)
    }

    /// Forgets the key. What was made with it ends with its leases.
    pub fn remove(&self, name: &CredentialName) -> Result<(), MintingKeyError> {
        Ok(self.store.delete(&slot(name)).map_err(NoteError::from)?)
    }

    /// Since when there is a key; none when there is none.
    pub fn stored_since(&self, name: &CredentialName) -> Result<Option<Time>, MintingKeyError> {
        match self.open(name) {
            Ok((since, _)) => Ok(Some(since)),
            Err(MintingKeyError::Missing(_)) => Ok(None),
            Err(error @ (MintingKeyError::Note(_) | MintingKeyError::Foreign(_))) => Err(error),
        }
    }

    /// The key, for the provider that makes credentials with it.
    pub(crate) fn key(&self, name: &CredentialName) -> Result<Secret, MintingKeyError> {
        self.open(name).map(|(_, key)| key)
    }

    fn open(&self, name: &CredentialName) -> Result<(Time, Secret), MintingKeyError> {
        let slot = slot(name);
        let sealed = self.store.get(&slot).map_err(NoteError::from)?;
        let sealed = sealed.ok_or_else(|| MintingKeyError::Missing(name.clone()))?;
        let kept = self.sealer.open(&slot, &sealed).map_err(NoteError::from)?;
        let foreign = || MintingKeyError::Foreign(name.clone());
        match fields::split(kept.expose()).ok_or_else(foreign)?.as_slice() {
            [MINTING, since, key] => Ok((fields::to_time(since).ok_or_else(foreign)?, Secret::new(key.to_vec()))),
            _ => Err(foreign()),
        }
    }
}

/// Without its key a provider asks nobody for anything.
impl From<MintingKeyError> for ProviderError {
    fn from(error: MintingKeyError) -> Self {
        match error {
            MintingKeyError::Note(_) => Self::new(error).that_made_nothing(),
            MintingKeyError::Missing(_) | MintingKeyError::Foreign(_) => Self::lasting(error).that_made_nothing(),
        }
    }
}

fn slot(name: &CredentialName) -> Slot {
    Slot { purpose: Purpose::MintingKey, id: name.to_string(), version: 1 }
}

impl fmt::Debug for MintingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MintingKeys(..)")
    }
}
