//! The provider of X.509-SVIDs: certificates for keys that a door made and we never see.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use selvedge_authority::Permit;
use selvedge_domain::orders::MintCredential;
use selvedge_domain::{LeaseId, Revocation, Time, WorkloadId};

use crate::svid::{FOREIGN_LEEWAY, KEPT_ON_LIST};
use crate::{
    Credential, Fresh, Handle, Lost, Probe, Provider, ProviderError, RevocationList, Secret, SubjectKey, X509Issuer,
};

/// Keys that wait for their lease at once. A key waits for the moment between being sent and being signed for, and a keeper
/// answers a handful of doors at a time.
const KEYS_WAITING_MAX: usize = 1024;

/// Lends X.509-SVIDs.
///
/// Relying parties trust the authority and ask nobody else: to them a certificate dies by expiry only, and the lease says so.
pub struct OwnX509 {
    issuer: Arc<X509Issuer>,
    list: Arc<dyn RevocationList>,
    waiting: Mutex<BTreeMap<LeaseId, SubjectKey>>,
}

impl OwnX509 {
    /// Lends from `issuer`, and revokes through `list`.
    pub fn new(issuer: Arc<X509Issuer>, list: Arc<dyn RevocationList>) -> Self {
        Self { issuer, list, waiting: Mutex::default() }
    }

    /// Says whose key this lease's certificate will be for, before the lease is minted.
    pub fn present(&self, lease: &LeaseId, key: SubjectKey) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= KEYS_WAITING_MAX {
            waiting.pop_first();
        }
        waiting.insert(lease.clone(), key);
    }

    /// Forgets a key whose lease was not minted.
    pub fn withdraw(&self, lease: &LeaseId) {
        self.take(lease);
    }

    fn take(&self, lease: &LeaseId) -> Option<SubjectKey> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(lease)
    }
}

impl Provider for OwnX509 {
    fn name(&self) -> &str {
        "own-x509"
    }

    fn serves(&self, order: &MintCredential) -> bool {
        order.credential.is_none() && order.audience == self.issuer.name().x509_audience()
    }

    fn mint(&self, permit: &Permit<MintCredential>, holder: &WorkloadId, now: Time) -> Result<Fresh, ProviderError> {
        let order = permit.order();
        // A halt may have been faster than this thread.
        if self.list.is_revoked(&order.lease).map_err(ProviderError::new)? {
            return Err(ProviderError::new("the lease was revoked before it was minted"));
        }
        let key = self.take(&order.lease).ok_or_else(|| ProviderError::new("no public key was sent for the lease"))?;
        let (certificate, expires) = self.issuer.sign(permit, holder, &key, now).map_err(ProviderError::new)?;
        let handle = Handle::new(Secret::new(certificate.clone()));
        let revocation = Revocation::ExpiryOnly(expires.after(FOREIGN_LEEWAY));
        Ok(Fresh { secret: Secret::new(certificate), handle, revocation, expires })
    }

    /// Puts it on the list, which nobody but us asks; the rest is its expiry, as the lease says.
    fn revoke(&self, credential: &Credential<'_>, now: Time) -> Result<(), ProviderError> {
        self.list.revoke(credential.lease, now.after(KEPT_ON_LIST)).map_err(ProviderError::new)
    }

    fn probe(&self, credential: &Credential<'_>, _: Time) -> Probe {
        match self.list.is_revoked(credential.lease) {
            Ok(true) => Probe::Dead,
            Ok(false) => Probe::Unknown("the lease is not on the revocation list".to_owned()),
            Err(error) => Probe::Unknown(error.to_string()),
        }
    }

    /// Its lease is what is revoked and asked about.
    fn lost(&self, _: Time) -> Lost {
        Lost::EndedByLease
    }
}

impl fmt::Debug for OwnX509 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnX509({:?})", self.issuer)
    }
}
