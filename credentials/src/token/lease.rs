//! Access tokens as leases: how one is ended and tried. None is made here, since only an exchange makes one.

use std::fmt;
use std::sync::Arc;

use selvedge_authority::Permit;
use selvedge_domain::orders::{MintCredential, Minted};
use selvedge_domain::{Time, WorkloadId};

use super::{AccessToken, Issued, TokenEndpoint};
use crate::svid::{KEPT_ON_LIST, dies_by};
use crate::{Credential, Fresh, Handle, Issuer, Lost, Probe, Provider, ProviderError, RevocationList, Secret};

/// Ends the access tokens of an issuer, as the lease engine asks it to.
///
/// For us a revoked token is refused at once, and so is all that was exchanged from it. Others that only check signatures see
/// it die by expiry, and the lease says so.
pub struct AccessTokens {
    issuer: Arc<Issuer>,
    list: Arc<dyn RevocationList>,
}

impl TokenEndpoint {
    /// What ends the tokens that are issued here.
    pub fn tokens(&self) -> AccessTokens {
        AccessTokens { issuer: Arc::clone(&self.issuer), list: Arc::clone(&self.list) }
    }
}

impl Provider for AccessTokens {
    fn name(&self) -> &str {
        "access-token"
    }

    fn serves(&self, _: &MintCredential) -> bool {
        false
    }

    fn mint(&self, _: &Permit<MintCredential>, _: &WorkloadId, _: Time) -> Result<Fresh, ProviderError> {
        Err(ProviderError::lasting("an access token is exchanged, never minted").that_made_nothing())
    }

    /// A token carries its lease as `jti`, so a lost one is revoked as well as a known one.
    fn revoke(&self, credential: &Credential<'_>, now: Time) -> Result<(), ProviderError> {
        self.list.revoke(credential.lease, now.after(KEPT_ON_LIST)).map_err(ProviderError::new)
    }

    fn probe(&self, credential: &Credential<'_>, now: Time) -> Probe {
        let Some(handle) = credential.handle else { return Probe::of_list(&*self.list, credential.lease) };
        let Ok(token) = std::str::from_utf8(handle.expose()) else {
            return Probe::Unknown("its handle is not a token".to_owned());
        };
        Probe::of_verifier(self.issuer.verifier().live_access(token, now, &*self.list).map(drop))
    }

    fn lost(&self, _: Time) -> Lost {
        Lost::EndedByLease
    }
}

impl Issued {
    /// As the lease engine keeps it.
    pub(crate) fn fresh(&self) -> Fresh {
        let copy = || Secret::new(self.token.expose().to_vec());
        let Minted { revocation, expires, .. } = self.minted();
        Fresh { secret: copy(), handle: Handle::new(copy()), revocation, expires }
    }

    /// The deed.
    pub fn minted(&self) -> Minted {
        let AccessToken { lease, audience, grant, .. } = &self.says;
        Minted { lease: lease.clone(), revocation: dies_by(audience, grant.until), expires: grant.until }
    }
}

impl fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessTokens({:?})", self.issuer)
    }
}
