//! Keys that somebody stored: sealed, replaced, removed, lent to doors, and never read back by anybody else (requirement C5).
//!
//! A stored key cannot be made for one run and cannot be ended with it. What ends is the loan: the door that had the key is
//! gone, and no other is given it under that lease. The key itself lives on at whoever issued it, and only they can end it.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use selvedge_authority::Permit;
use selvedge_domain::orders::MintCredential;
use selvedge_domain::{CredentialName, Duration, Revocation, Time, WorkloadId};

use crate::fields;
use crate::{
    Credential, Fresh, Handle, Lost, NoteError, Probe, Provider, ProviderError, Purpose, RevocationList, SealError,
    SealedStore, Sealer, Secret, Slot,
};

/// How long an ended loan stays on the list: as long as any lease could be asked about again.
const KEPT_ON_LIST: Duration = Duration::from_seconds(24 * 3600);

/// The form of a stored key.
const STORED: &[u8] = b"stored 1";

/// The form of one that leaked: the key itself is gone from here.
const LEAKED: &[u8] = b"leaked 1";

/// The form of what is left of a key that was removed, when others leaked before it.
const REMOVED: &[u8] = b"removed 1";

/// How many keys that leaked are known again under one name: more than anybody has, and the oldest go first.
const LEAKS_KEPT_MAX: usize = 64;

/// What sets the digests of one key under two names apart.
const SALT_BYTES: usize = 16;

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
    #[error("no key is stored for credential `{0}`: store it with `selvedge credentials store {0}`")]
    Missing(CredentialName),
    /// The store or the sealing failed.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// It opened, and is not a key of ours.
    #[error("the key of credential `{0}` was stored by another version; store it again")]
    Foreign(CredentialName),
    /// It was seen where it must not be.
    #[error(
        "the key of credential `{0}` leaked at {1}: end it at its issuer, then store the new one with `selvedge credentials store {0}`"
    )]
    Leaked(CredentialName, Time),
    /// It is to be stored, and leaked before.
    #[error("this is the key of credential `{0}` that leaked at {1}; end it at its issuer and store the new one")]
    LeakedBefore(CredentialName, Time),
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

    /// Keeps `key` under this name, in place of what was there. A key that leaked under it is not taken again.
    pub fn put(&self, name: &CredentialName, key: &Secret, now: Time) -> Result<(), StoredKeyError> {
        let leaks = self.leaks_beside(name, key)?;
        self.write(name, &[STORED, &fields::of_time(now), key.expose()], &leaks)
    }

    /// Whether this key would be taken: for whoever says so before it is.
    pub fn admits(&self, name: &CredentialName, key: &Secret) -> Result<(), StoredKeyError> {
        self.leaks_beside(name, key).map(drop)
    }

    /// What leaked under this name, if this key is none of it.
    fn leaks_beside(&self, name: &CredentialName, key: &Secret) -> Result<Vec<Leak>, StoredKeyError> {
        let leaks = match self.kept(name) {
            Ok(kept) => kept.map_or_else(Vec::new, |kept| kept.leaks),
            // What nobody can read any more is replaced, as its error says.
            Err(StoredKeyError::Foreign(_) | StoredKeyError::Note(NoteError::Open(_))) => Vec::new(),
            Err(error) => return Err(error),
        };
        match leaks.iter().find(|leak| leak.is_of(key)) {
            Some(leak) => Err(StoredKeyError::LeakedBefore(name.clone(), leak.at)),
            None => Ok(leaks),
        }
    }

    /// Forgets the key, but not which ones leaked: storing one of those again must not help. What was lent of it ends with its
    /// leases.
    pub fn remove(&self, name: &CredentialName) -> Result<(), StoredKeyError> {
        match self.kept(name) {
            Ok(Some(Kept { leaks, .. })) if !leaks.is_empty() => self.write(name, &[REMOVED], &leaks),
            // What cannot be read is taken away all the same.
            _ => Ok(self.store.delete(&slot(name)).map_err(NoteError::from)?),
        }
    }

    /// Never lends this key again: it was seen where it must not be. Only storing another one ends that (requirement C7).
    pub fn bar(&self, name: &CredentialName, now: Time) -> Result<(), StoredKeyError> {
        let Some(Kept { held: Held::Key(_, key), mut leaks }) = self.kept(name)? else { return Ok(()) };
        leaks.push(Leak::of(&key, now)?);
        let known = leaks.len().saturating_sub(LEAKS_KEPT_MAX);
        self.write(name, &[LEAKED, &fields::of_time(now)], leaks.get(known..).unwrap_or_default())
    }

    /// How the key of this name stands; none when there is none.
    pub fn standing(&self, name: &CredentialName) -> Result<Option<Standing>, StoredKeyError> {
        Ok(self.kept(name)?.and_then(|kept| match kept.held {
            Held::Key(since, _) => Some(Standing::StoredSince(since)),
            Held::Leaked(at) => Some(Standing::LeakedAt(at)),
            Held::Nothing => None,
        }))
    }

    /// Whether there is a key that can be lent: for whoever would ask a person about it in vain.
    pub fn can_lend(&self, name: &CredentialName) -> Result<(), StoredKeyError> {
        self.open(name).map(drop)
    }

    /// The key, for the provider alone.
    fn open(&self, name: &CredentialName) -> Result<Secret, StoredKeyError> {
        match self.kept(name)?.map(|kept| kept.held) {
            Some(Held::Key(_, key)) => Ok(key),
            Some(Held::Leaked(at)) => Err(StoredKeyError::Leaked(name.clone(), at)),
            Some(Held::Nothing) | None => Err(StoredKeyError::Missing(name.clone())),
        }
    }

    fn kept(&self, name: &CredentialName) -> Result<Option<Kept>, StoredKeyError> {
        let slot = slot(name);
        let Some(sealed) = self.store.get(&slot).map_err(NoteError::from)? else { return Ok(None) };
        let kept = self.sealer.open(&slot, &sealed).map_err(NoteError::from)?;
        Kept::read(&kept).map(Some).ok_or_else(|| StoredKeyError::Foreign(name.clone()))
    }

    fn write(&self, name: &CredentialName, held: &[&[u8]], leaks: &[Leak]) -> Result<(), StoredKeyError> {
        let slot = slot(name);
        let leaks: Vec<_> = leaks.iter().map(Leak::joined).collect();
        let all: Vec<&[u8]> = held.iter().copied().chain(leaks.iter().map(Secret::expose)).collect();
        let sealed = self.sealer.seal(&slot, &fields::join(&all)).map_err(NoteError::from)?;
        Ok(self.store.put(&slot, &sealed).map_err(NoteError::from)?)
    }
}

/// What a sealed record says: what is held under a name, and what leaked under it.
struct Kept {
    held: Held,
    leaks: Vec<Leak>,
}

enum Held {
    Key(Time, Secret),
    Leaked(Time),
    Nothing,
}

impl Kept {
    /// Earlier versions kept nothing of what leaked, so there may be none.
    fn read(kept: &Secret) -> Option<Self> {
        let fields = fields::split(kept.expose())?;
        let (held, leaks) = match fields.as_slice() {
            [STORED, since, key, leaks @ ..] => (Held::Key(fields::to_time(since)?, Secret::new(key.to_vec())), leaks),
            [LEAKED, at, leaks @ ..] => (Held::Leaked(fields::to_time(at)?), leaks),
            [REMOVED, leaks @ ..] => (Held::Nothing, leaks),
            _ => return None,
        };
        let leaks = leaks.iter().map(|leak| Leak::read(leak)).collect::<Option<_>>()?;
        Some(Self { held, leaks })
    }
}

/// A key that leaked: when, and what it is known again by. Never the key itself.
struct Leak {
    at: Time,
    salt: [u8; SALT_BYTES],
    tag: Vec<u8>,
}

impl Leak {
    fn of(key: &Secret, at: Time) -> Result<Self, NoteError> {
        let mut salt = [0; SALT_BYTES];
        aws_lc_rs::rand::fill(&mut salt).map_err(|_| NoteError::Seal(SealError::Library))?;
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &salt), key.expose()).as_ref().to_vec();
        Ok(Self { at, salt, tag })
    }

    /// Whether this is the key. How long that takes says nothing about it.
    fn is_of(&self, key: &Secret) -> bool {
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &self.salt), key.expose(), &self.tag).is_ok()
    }

    fn joined(&self) -> Secret {
        fields::join(&[&fields::of_time(self.at), &self.salt, &self.tag])
    }

    fn read(joined: &[u8]) -> Option<Self> {
        match fields::split(joined)?.as_slice() {
            [at, salt, tag] => {
                Some(Self { at: fields::to_time(at)?, salt: (*salt).try_into().ok()?, tag: tag.to_vec() })
            }
            _ => None,
        }
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
        let secret = self.keys.open(name).map_err(|error| match error {
            StoredKeyError::Note(_) => ProviderError::new(error),
            StoredKeyError::Missing(_)
            | StoredKeyError::Foreign(_)
            | StoredKeyError::Leaked(..)
            | StoredKeyError::LeakedBefore(..) => ProviderError::lasting(error).that_made_nothing(),
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
