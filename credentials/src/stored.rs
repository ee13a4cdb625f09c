//! Keys that somebody stored: sealed, replaced, removed, lent to doors, and never read back by anybody else (requirement C5).
//!
//! A stored key cannot be made for one run and cannot be ended with it. What ends is the loan: the door that had the key is
//! gone, and no other is given it under that lease. The key itself lives on at whoever issued it, and only they can end it.

use std::fmt;
use std::sync::Arc;

use selvedge_authority::Permit;
use selvedge_domain::orders::MintCredential;
use selvedge_domain::{CredentialName, Duration, Revocation, Time, WorkloadId};

use crate::fields;
use crate::{
    Credential, Fresh, Handle, Lost, NoteError, Probe, Provider, ProviderError, Purpose, RevocationList, SealedStore,
    Sealer, Secret, Slot,
};

/// How long an ended loan stays on the list: as long as any lease could be asked about again.
const KEPT_ON_LIST: Duration = Duration::from_seconds(24 * 3600);

/// The form of a stored key.
const STORED: &[u8] = b"stored 1";

/// The form of one that leaked: the key itself is gone from here.
const LEAKED: &[u8] = b"leaked 1";

/// Every stored key of one keeper.
pub struct StoredKeys {
    sealer: Arc<Sealer>,
    store: Arc<dyn SealedStore>,
}

/// Lends stored keys.
pub struct StoredKeyLoans {
    keys: Arc<StoredKeys>,
    list: Arc<dyn RevocationList>,
}

/// A stored key could not be kept or found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoredKeyError {
    /// Nobody stored one under this name.
    #[error("no key is stored for credential `{0}`")]
    Missing(CredentialName),
    /// The store or the sealing failed.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// It opened, and is not a key of ours.
    #[error("the key of credential `{0}` was stored by another version; store it again")]
    Foreign(CredentialName),
    /// It was seen where it must not be.
    #[error("the key of credential `{0}` leaked at {1}: end it at its issuer, and store a new one")]
    Leaked(CredentialName, Time),
}

/// How a stored key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It can be lent.
    StoredSince(Time),
    /// It was seen where it must not be, and is not lent any more. The clock runs until a new one is stored.
    LeakedAt(Time),
}

impl StoredKeys {
    /// Keeps keys in `store`, sealed.
    pub fn new(sealer: Arc<Sealer>, store: Arc<dyn SealedStore>) -> Self {
        Self { sealer, store }
    }

    /// Keeps `key` under this name, in place of what was there.
    pub fn put(&self, name: &CredentialName, key: &Secret, now: Time) -> Result<(), StoredKeyError> {
        self.write(name, &fields::join(&[STORED, &fields::of_time(now), key.expose()]))
    }

    /// Forgets the key. What was lent of it ends with its leases.
    pub fn remove(&self, name: &CredentialName) -> Result<(), StoredKeyError> {
        Ok(self.store.delete(&slot(name)).map_err(NoteError::from)?)
    }

    /// Never lends this key again: it was seen where it must not be. Only storing another one ends that (requirement C7).
    pub fn bar(&self, name: &CredentialName, now: Time) -> Result<(), StoredKeyError> {
        match self.standing(name)? {
            Some(Standing::StoredSince(_)) => self.write(name, &fields::join(&[LEAKED, &fields::of_time(now)])),
            Some(Standing::LeakedAt(_)) | None => Ok(()),
        }
    }

    /// How the key of this name stands; none when there is none.
    pub fn standing(&self, name: &CredentialName) -> Result<Option<Standing>, StoredKeyError> {
        match self.open(name) {
            Ok((since, _)) => Ok(Some(Standing::StoredSince(since))),
            Err(StoredKeyError::Missing(_)) => Ok(None),
            Err(StoredKeyError::Leaked(_, at)) => Ok(Some(Standing::LeakedAt(at))),
            Err(error @ (StoredKeyError::Note(_) | StoredKeyError::Foreign(_))) => Err(error),
        }
    }

    /// The key, for the provider alone.
    fn open(&self, name: &CredentialName) -> Result<(Time, Secret), StoredKeyError> {
        let slot = slot(name);
        let sealed = self.store.get(&slot).map_err(NoteError::from)?;
        let sealed = sealed.ok_or_else(|| StoredKeyError::Missing(name.clone()))?;
        let kept = self.sealer.open(&slot, &sealed).map_err(NoteError::from)?;
        let foreign = || StoredKeyError::Foreign(name.clone());
        match fields::split(kept.expose()).ok_or_else(foreign)?.as_slice() {
            [STORED, since, key] => Ok((fields::to_time(since).ok_or_else(foreign)?, Secret::new(key.to_vec()))),
            [LEAKED, at] => Err(StoredKeyError::Leaked(name.clone(), fields::to_time(at).ok_or_else(foreign)?)),
            _ => Err(foreign()),
        }
    }

    fn write(&self, name: &CredentialName, kept: &Secret) -> Result<(), StoredKeyError> {
        let slot = slot(name);
        let sealed = self.sealer.seal(&slot, kept).map_err(NoteError::from)?;
        Ok(self.store.put(&slot, &sealed).map_err(NoteError::from)?)
    }
}

impl StoredKeyLoans {
    /// Lends from `keys`, and ends loans through `list`.
    pub fn new(keys: Arc<StoredKeys>, list: Arc<dyn RevocationList>) -> Self {
        Self { keys, list }
    }
}

impl Provider for StoredKeyLoans {
    fn name(&self) -> &str {
        "stored-key"
    }

    fn serves(&self, order: &MintCredential) -> bool {
        order.is_stored && order.credential.is_some()
    }

    fn mint(&self, permit: &Permit<MintCredential>, _: &WorkloadId, now: Time) -> Result<Fresh, ProviderError> {
        let order = permit.order();
        let name = order.credential.as_ref().ok_or_else(|| ProviderError::new("the order names no credential"))?;
        // A halt may have been faster than this thread.
        if self.list.is_revoked(&order.lease).map_err(ProviderError::new)? {
            return Err(ProviderError::new("the lease was revoked before it was minted"));
        }
        let (_, secret) = self.keys.open(name).map_err(|error| match error {
            StoredKeyError::Note(_) => ProviderError::new(error),
            StoredKeyError::Missing(_) | StoredKeyError::Foreign(_) | StoredKeyError::Leaked(..) => {
                ProviderError::lasting(error).that_made_nothing()
            }
        })?;
        let expires = order.until.min(now.after(Duration::from_seconds(order.ttl_seconds)));
        // The handle is nothing: what ends the loan is its lease, and the key is not kept twice.
        let handle = Handle::new(Secret::new(Vec::new()));
        Ok(Fresh { secret, handle, revocation: Revocation::Immediate, expires })
    }

    /// From here on no door is given the key under this lease. The door that had it is closed before this is asked.
    fn revoke(&self, credential: &Credential<'_>, now: Time) -> Result<(), ProviderError> {
        self.list.revoke(credential.lease, now.after(KEPT_ON_LIST)).map_err(ProviderError::new)
    }

    fn probe(&self, credential: &Credential<'_>, _: Time) -> Probe {
        match self.list.is_revoked(credential.lease) {
            Ok(true) => Probe::Dead,
            Ok(false) => Probe::Alive,
            Err(error) => Probe::Unknown(error.to_string()),
        }
    }

    /// Its lease is what is revoked and asked about.
    fn lost(&self, _: Time) -> Lost {
        Lost::EndedByLease
    }
}

fn slot(name: &CredentialName) -> Slot {
    Slot { purpose: Purpose::StoredKey, id: name.to_string(), version: 1 }
}

impl fmt::Debug for StoredKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredKeys(..)")
    }
}

impl fmt::Debug for StoredKeyLoans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredKeyLoans(..)")
    }
}
