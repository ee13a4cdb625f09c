//! The first provider: our own identity documents.

use std::fmt;
use std::sync::Arc;

use selvedge_authority::Permit;
use selvedge_domain::orders::MintCredential;
use selvedge_domain::{Duration, LeaseId, Revocation, Time, WorkloadId};

use crate::{Credential, Fresh, Handle, Issuer, Lost, Probe, Provider, ProviderError, RevocationList, Secret, Why};

/// Who accepts the identity that every run has: our own doors and verifier.
pub const OWN_AUDIENCE: &str = "selvedge";
/// How long a revoked lease stays on the list. Tokens live for minutes; a day also covers a wall clock that jumps.
pub(crate) const KEPT_ON_LIST: Duration = Duration::from_seconds(24 * 3600);
/// Verifiers that are not ours commonly accept a token for a minute beyond its expiry.
pub(crate) const FOREIGN_LEEWAY: Duration = Duration::from_seconds(60);

/// Lends JWT-SVIDs of our own issuer.
///
/// For our own audience a revoked token is refused at once. Others do not ask our list: to them a token dies by expiry
/// only, and the lease says so.
pub struct OwnSvid {
    issuer: Arc<Issuer>,
    list: Arc<dyn RevocationList>,
}

impl OwnSvid {
    /// Lends from `issuer`, and revokes through `list`.
    pub fn new(issuer: Arc<Issuer>, list: Arc<dyn RevocationList>) -> Self {
        Self { issuer, list }
    }
}

impl Provider for OwnSvid {
    fn name(&self) -> &str {
        "own-svid"
    }

    /// Every identity document, for whichever audience.
    fn serves(&self, order: &MintCredential) -> bool {
        order.credential.is_none()
    }

    fn mint(&self, permit: &Permit<MintCredential>, holder: &WorkloadId, now: Time) -> Result<Fresh, ProviderError> {
        let order = permit.order();
        // A halt may have been faster than this thread.
        if self.list.is_revoked(&order.lease).map_err(ProviderError::new)? {
            return Err(ProviderError::new("the lease was revoked before it was minted"));
        }
        let (secret, expires) = self.issuer.sign(permit, holder, now).map_err(ProviderError::new)?;
        let revocation = dies_by(&order.audience, expires);
        let handle = Handle::new(Secret::new(secret.expose().to_vec()));
        Ok(Fresh { secret, handle, revocation, expires })
    }

    /// A token carries its lease as `jti`, so a lost one is revoked as well as a known one.
    fn revoke(&self, credential: &Credential<'_>, now: Time) -> Result<(), ProviderError> {
        self.list.revoke(credential.lease, now.after(KEPT_ON_LIST)).map_err(ProviderError::new)
    }

    fn probe(&self, credential: &Credential<'_>, now: Time) -> Probe {
        let (Some(handle), Some(audience)) = (credential.handle, credential.audience) else {
            return Probe::of_list(&*self.list, credential.lease);
        };
        let Ok(token) = std::str::from_utf8(handle.expose()) else {
            return Probe::Unknown("its handle is not a token".to_owned());
        };
        let tried = self.issuer.verifier().verify(token, audience, now, &*self.list);
        Probe::of_verifier(tried.map(drop).map_err(|refused| refused.why))
    }

    /// Its lease is what is revoked and asked about.
    fn lost(&self, _: Time) -> Lost {
        Lost::EndedByLease
    }
}

impl Probe {
    /// What our list says of a lease of ours.
    pub(crate) fn of_list(list: &dyn RevocationList, lease: &LeaseId) -> Self {
        match list.is_revoked(lease) {
            Ok(true) => Self::Dead,
            Ok(false) => Self::Unknown("the lease is not on the revocation list".to_owned()),
            Err(error) => Self::Unknown(error.to_string()),
        }
    }

    /// What our verifier says of a token of ours.
    pub(crate) fn of_verifier(tried: Result<(), Why>) -> Self {
        match tried {
            Ok(()) => Self::Alive,
            Err(why @ (Why::RevocationUnknown(_) | Why::NotYet)) => Self::Unknown(why.to_string()),
            Err(_) => Self::Dead,
        }
    }
}

/// How a document dies that only `audience` accepts: ours asks the list, others only the clock.
pub(crate) fn dies_by(audience: &str, expires: Time) -> Revocation {
    if audience == OWN_AUDIENCE { Revocation::Immediate } else { Revocation::ExpiryOnly(expires.after(FOREIGN_LEEWAY)) }
}

impl fmt::Debug for OwnSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnSvid({:?})", self.issuer)
    }
}
