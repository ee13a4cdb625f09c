//! Revocation (RFC 7009). A token names all it was exchanged from, and whoever checks it asks the list about each: so revoking one
//! ends everything below it, with one entry and nothing to find, and a restart forgets nothing.

use selvedge_domain::{LeaseId, Time, WorkloadId};

use super::form::Form;
use super::refusal::{Code, Refusal};
use super::{Reply, TokenEndpoint};
use crate::svid::KEPT_ON_LIST;
use crate::{OWN_AUDIENCE, Why};

impl TokenEndpoint {
    /// Revokes the token in the request, for its holder or for who held one it was exchanged from; says which lease that was.
    ///
    /// None for a token that is not ours, which is as dead as it will be. Whether it has expired is not asked: taking authority
    /// away does not depend on a clock.
    pub fn revoke(&self, body: &[u8], asker: &WorkloadId, now: Time) -> Result<Option<LeaseId>, Refusal> {
        let form = Form::parse(body)?;
        let (token, verifier) = (form.need("token")?, self.issuer.verifier());
        let Ok(read) = verifier.read_access(token) else {
            // RFC 7009 section 2.2: what we do not know is answered as if it had been revoked. A live identity document is ours
            // and stays alive, so that answer would be a lie.
            return match verifier.verify(token, OWN_AUDIENCE, now, &*self.list).map_err(|refused| refused.why) {
                Ok(_) | Err(Why::Audience) => {
                    let next_step = "an identity document dies with its run; ask for the run to be halted";
                    Err(Refusal::new(Code::UnsupportedTokenType, next_step))
                }
                Err(_) => Ok(None),
            };
        };
        if !read.is_of(asker) {
            let next_step = "the token is another run's; only who holds it or gave it can revoke it";
            return Err(Refusal::new(Code::InvalidGrant, next_step));
        }
        let keep_until = now.max(read.grant.until).after(KEPT_ON_LIST);
        self.list.revoke(&read.lease, keep_until).map_err(|_store| Refusal::unavailable())?;
        Ok(Some(read.lease))
    }
}

impl Reply {
    /// The answer to a revocation, whether or not there was anything to revoke (RFC 7009 section 2.2).
    pub fn revoked() -> Self {
        Self::of_status(200)
    }
}
