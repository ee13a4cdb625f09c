//! Verification of our own identity documents. A refusal is the proof that a lease is dead, so this is also the
//! revocation probe (requirement C4). Knows public keys only.

use selvedge_domain::{AgentName, Duration, LeaseId, RunId, Time, WorkloadId};

use crate::issuer::SVID_LIFETIME_MAX;
use crate::jwt::{ALGORITHM, ClaimsV1, Kind, Parts};
use crate::keyring::PublicKey;
use crate::{IssuerName, Revoked};

/// How far ahead a token may say it was issued: one machine's clock, stepped between two processes. Expiry has no leeway.
const ISSUED_AHEAD_MAX: Duration = Duration::from_seconds(5);

/// Checks tokens against one issuer's published keys.
#[derive(Debug, Clone)]
pub struct Verifier {
    pub(crate) issuer: IssuerName,
    pub(crate) keys: Vec<PublicKey>,
}

/// What a valid token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Who holds it.
    pub workload: WorkloadId,
    /// Who it is for.
    pub audience: String,
    /// The lease it stands for.
    pub lease: LeaseId,
    /// Since when.
    pub issued: Time,
    /// Until when; at this moment it is dead.
    pub expires: Time,
}

/// A token that does not work. Never holds any of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the token is refused: {why}")]
pub struct Refused {
    /// Why.
    pub why: Why,
}

/// Why a token does not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Not a token of the form we write.
    #[error("{0}")]
    Malformed(&'static str),
    /// Signed in another way than ours, or not at all.
    #[error("its algorithm is not ES256")]
    Algorithm,
    /// Signed by a key we do not publish.
    #[error("its key is not one of ours")]
    UnknownKey,
    /// The signature does not fit.
    #[error("its signature does not match")]
    Signature,
    /// Issued by someone else.
    #[error("its issuer is another")]
    Issuer,
    /// For someone else.
    #[error("it is for another audience")]
    Audience,
    /// Not one of our workloads.
    #[error("its subject is not a workload of this trust domain")]
    Subject,
    /// From the future.
    #[error("it was issued in the future")]
    NotYet,
    /// Past its time.
    #[error("it has expired")]
    Expired,
    /// Valid for longer than any we issue.
    #[error("it lives longer than we allow")]
    LivesTooLong,
    /// Revoked.
    #[error("it was revoked")]
    Revoked,
    /// Nobody knows whether it was revoked, which counts as revoked.
    #[error("whether it was revoked cannot be told: {0}")]
    RevocationUnknown(String),
}

impl Verifier {
    /// What `token` says, if `audience` may rely on it at `now`.
    pub fn verify(&self, token: &str, audience: &str, now: Time, revoked: &dyn Revoked) -> Result<Claims, Refused> {
        self.check(token, audience, now, revoked).map_err(|why| Refused { why })
    }

    fn check(&self, token: &str, audience: &str, now: Time, revoked: &dyn Revoked) -> Result<Claims, Why> {
        let parts = self.signed_by_us(Kind::Svid, token)?;
        let claims = self.believe(&parts.claims().map_err(Why::Malformed)?, audience, now)?;
        lives(&claims.lease, revoked)?;
        Ok(claims)
    }

    /// The parts of a token of this kind that one of our keys signed.
    pub(crate) fn signed_by_us<'a>(&self, kind: Kind, token: &'a str) -> Result<Parts<'a>, Why> {
        let parts = Parts::of(kind, token).map_err(Why::Malformed)?;
        // Before any key is looked at: the header is the attacker's, and chooses nothing.
        if parts.header.alg != ALGORITHM {
            return Err(Why::Algorithm);
        }
        if parts.header.typ != kind.typ() {
            return Err(Why::Malformed("it is a token of another kind"));
        }
        let key = self.keys.iter().find(|key| key.kid() == parts.header.kid).ok_or(Why::UnknownKey)?;
        if key.signed(parts.signed.as_bytes(), &parts.signature) { Ok(parts) } else { Err(Why::Signature) }
    }

    /// Checks claims that our key signed.
    fn believe(&self, claims: &ClaimsV1, audience: &str, now: Time) -> Result<Claims, Why> {
        if claims.iss != self.issuer.as_str() {
            return Err(Why::Issuer);
        }
        if claims.aud != audience {
            return Err(Why::Audience);
        }
        let [issued, expires] = lifetime(claims.iat, claims.exp, now)?;
        let workload = self.workload(&claims.sub).ok_or(Why::Subject)?;
        let lease = LeaseId::parse(&claims.jti).map_err(|_| Why::Malformed("its id is not a lease"))?;
        Ok(Claims { workload, audience: audience.to_owned(), lease, issued, expires })
    }

    /// Reads what [`WorkloadId`] prints.
    pub(crate) fn workload(&self, subject: &str) -> Option<WorkloadId> {
        let path = self.issuer.strip_trust_domain(subject)?;
        let (run, agent) = path.strip_prefix("run/")?.split_once("/agent/")?;
        Some(WorkloadId::new(self.issuer.trust_domain(), RunId::parse(run).ok()?, AgentName::parse(agent).ok()?))
    }
}

/// Since when and until when a token works, if it works now.
pub(crate) fn lifetime(iat: u64, exp: u64, now: Time) -> Result<[Time; 2], Why> {
    let [issued, expires] = [iat, exp].map(|seconds| Time::from_millis(0).after(Duration::from_seconds(seconds)));
    if issued > now.after(ISSUED_AHEAD_MAX) {
        return Err(Why::NotYet);
    }
    if now >= expires {
        return Err(Why::Expired);
    }
    if expires.since(issued) > SVID_LIFETIME_MAX {
        return Err(Why::LivesTooLong);
    }
    Ok([issued, expires])
}

/// Whether a lease was not revoked; what nobody knows counts as revoked.
pub(crate) fn lives(lease: &LeaseId, revoked: &dyn Revoked) -> Result<(), Why> {
    match revoked.is_revoked(lease) {
        Ok(false) => Ok(()),
        Ok(true) => Err(Why::Revoked),
        Err(error) => Err(Why::RevocationUnknown(error.to_string())),
    }
}

#[cfg(test)]
mod tests;
