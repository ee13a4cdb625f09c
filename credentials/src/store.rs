//! What credentials need others to remember: sealed bytes, and which leases were revoked. The ledger implements both.

use std::fmt;

use selvedge_domain::{LeaseId, Time};

use crate::Sealed;

/// What a sealed record is for. Bound into the sealing, so that a record cannot serve another purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// The issuer's signing keys.
    SigningKeys,
    /// The keys and certificates of the X.509 authority.
    CertificateAuthority,
    /// What it takes to revoke and probe a lease.
    Lease,
    /// A key that somebody stored to be lent.
    StoredKey,
    /// A key that somebody stored to make credentials with; never lent.
    MintingKey,
    /// The password of the proxy that everything leaves through.
    ProxyPassword,
}

/// Where a sealed record is kept. Bound into the sealing, so that a record cannot be moved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// What for.
    pub purpose: Purpose,
    /// Which of that purpose.
    pub id: String,
    /// Which version of it.
    pub version: u32,
}

/// Keeps sealed records. It sees slots and ciphertext, never a secret.
pub trait SealedStore: Send + Sync {
    /// Keeps `sealed` in `slot`, in place of what was there. Durable when this returns; unchanged when it fails.
    fn put(&self, slot: &Slot, sealed: &Sealed) -> Result<(), StoreError>;

    /// What is kept in `slot`.
    fn get(&self, slot: &Slot) -> Result<Option<Sealed>, StoreError>;

    /// Empties `slot`; an empty slot stays empty.
    fn delete(&self, slot: &Slot) -> Result<(), StoreError>;
}

/// Answers whether a lease was revoked.
pub trait Revoked {
    /// Whether every credential of `lease` is to be refused. An error means that nobody knows, and is taken for yes.
    fn is_revoked(&self, lease: &LeaseId) -> Result<bool, StoreError>;
}

/// Remembers which leases were revoked.
pub trait RevocationList: Revoked + Send + Sync {
    /// From now on, and at least until `keep_until`, `lease` is revoked. Durable when this returns. Safe to repeat.
    fn revoke(&self, lease: &LeaseId, keep_until: Time) -> Result<(), StoreError>;
}

/// The store did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use the store of sealed records: {0}")]
pub struct StoreError(pub String);

impl Purpose {
    /// The word in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SigningKeys => "signing-keys",
            Self::CertificateAuthority => "certificate-authority",
            Self::Lease => "lease",
            Self::StoredKey => "stored-key",
            Self::MintingKey => "minting-key",
            Self::ProxyPassword => "proxy-password",
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.purpose.as_str(), self.id, self.version)
    }
}
