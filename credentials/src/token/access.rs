//! The access token: what it says, how that is written as claims, and when it is believed.

use selvedge_domain::{Duration, Grant, Intent, LeaseId, RunId, TaskId, Time, WorkloadId};
use serde::{Deserialize, Serialize};

use super::exchange::DELEGATION_DEPTH_MAX;
use super::scope;
use crate::jwt::Kind;
use crate::verifier::{lifetime, lives};
use crate::{IssuerName, Refused, Revoked, Verifier, Why};

/// What a valid access token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// Who holds it, and the only run that may exchange it.
    pub holder: WorkloadId,
    /// Who it is for.
    pub audience: String,
    /// The lease it stands for.
    pub lease: LeaseId,
    /// Since when.
    pub issued: Time,
    /// What it carries; at `until` it is dead.
    pub grant: Grant,
    /// What it was exchanged from, nearest first, and never empty. It dies with any of these.
    pub chain: Vec<Link>,
    /// What the work is for.
    pub context: TaskContext,
    /// How many times authority was handed on.
    pub depth: u32,
    /// What it may spend at most, in millionths of the unit the operator counts in.
    pub budget: u64,
}

/// A token that another was exchanged from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The lease it stands for.
    pub lease: LeaseId,
    /// Who held it.
    pub holder: WorkloadId,
}

/// What travels with the work, so that others can judge it by the same facts (requirement D8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskContext {
    /// The task.
    pub task: TaskId,
    /// What it is for.
    pub intent: Intent,
    /// The runs of ours behind it, nearest first.
    pub lineage: Vec<RunId>,
}

impl Verifier {
    /// What an access token says, if `audience` may rely on it at `now`.
    pub fn verify_access(
        &self,
        token: &str,
        audience: &str,
        now: Time,
        revoked: &dyn Revoked,
    ) -> Result<AccessToken, Refused> {
        let read = self.live_access(token, now, revoked).map_err(|why| Refused { why })?;
        if read.audience == audience { Ok(read) } else { Err(Refused { why: Why::Audience }) }
    }

    /// What an access token says that lives at `now`, whoever it is for: neither it nor anything it came from was revoked.
    pub(crate) fn live_access(&self, token: &str, now: Time, revoked: &dyn Revoked) -> Result<AccessToken, Why> {
        let read = self.read_access(token)?;
        lifetime(seconds(read.issued), seconds(read.grant.until), now)?;
        for lease in read.leases() {
            lives(lease, revoked)?;
        }
        Ok(read)
    }

    /// What an access token of ours says, dead or alive.
    pub(crate) fn read_access(&self, token: &str) -> Result<AccessToken, Why> {
        let claims: AccessClaimsV1 = self.signed_by_us(Kind::Access, token)?.claims().map_err(Why::Malformed)?;
        if claims.iss != self.issuer.as_str() {
            return Err(Why::Issuer);
        }
        let holder = self.workload(&claims.sub).ok_or(Why::Subject)?;
        let read = self.token(&claims, holder).ok_or(Why::Malformed("its claims are not those we write"))?;
        // As on the way out: the one form of these claims, with nothing that two readers could take differently.
        if read.claims(&self.issuer) == claims {
            Ok(read)
        } else {
            Err(Why::Malformed("its claims contradict each other"))
        }
    }

    fn token(&self, claims: &AccessClaimsV1, holder: WorkloadId) -> Option<AccessToken> {
        let ours = &claims.selvedge;
        let [issued, until] = [claims.iat, claims.exp].map(moment);
        let link =
            |link: &LinkV1| Some(Link { lease: LeaseId::parse(&link.jti).ok()?, holder: self.workload(&link.sub)? });
        let lineage: Result<Vec<RunId>, _> = ours.lineage.iter().map(|run| RunId::parse(run)).collect();
        let token = AccessToken {
            holder,
            audience: claims.aud.clone(),
            lease: LeaseId::parse(&claims.jti).ok()?,
            issued,
            grant: scope::read(&claims.scope, until)?,
            chain: ours.chain.iter().map(link).collect::<Option<_>>()?,
            context: TaskContext {
                task: TaskId::parse(&ours.task).ok()?,
                intent: Intent::parse(&ours.intent)?,
                lineage: lineage.ok()?,
            },
            depth: ours.depth,
            budget: ours.budget,
        };
        let handed_on = u32::try_from(token.chain.len()).ok()?;
        ((1..=token.depth).contains(&handed_on) && token.depth <= DELEGATION_DEPTH_MAX).then_some(token)
    }
}

impl AccessToken {
    /// Its own lease and those it came from. One of them revoked, it is dead.
    pub fn leases(&self) -> impl Iterator<Item = &LeaseId> {
        std::iter::once(&self.lease).chain(self.chain.iter().map(|link| &link.lease))
    }

    /// As it is signed.
    pub(crate) fn claims(&self, issuer: &IssuerName) -> AccessClaimsV1 {
        let sub = self.holder.to_string();
        let link = |link: &Link| LinkV1 { jti: link.lease.to_string(), sub: link.holder.to_string() };
        AccessClaimsV1 {
            iss: issuer.as_str().to_owned(),
            client_id: sub.clone(),
            sub,
            aud: self.audience.clone(),
            iat: seconds(self.issued),
            exp: seconds(self.grant.until),
            jti: self.lease.to_string(),
            scope: scope::write(&self.grant),
            act: self.actors(),
            selvedge: OursV1 {
                task: self.context.task.to_string(),
                intent: self.context.intent.to_string(),
                lineage: self.context.lineage.iter().map(ToString::to_string).collect(),
                depth: self.depth,
                budget: self.budget,
                chain: self.chain.iter().map(link).collect(),
            },
        }
    }

    /// Through whose hands it went: the holder outermost, whoever held first innermost; none when it never left the first hands.
    /// History to tell, never to decide by (RFC 8693 section 4.1).
    fn actors(&self) -> Option<ActV1> {
        let mut hands: Vec<&WorkloadId> =
            std::iter::once(&self.holder).chain(self.chain.iter().map(|l| &l.holder)).collect();
        hands.dedup();
        let nest = |inner: Option<ActV1>, holder: &&WorkloadId| {
            Some(ActV1 { sub: holder.to_string(), act: inner.map(Box::new) })
        };
        if hands.len() > 1 { hands.iter().rev().fold(None, nest) } else { None }
    }
}

/// The claims of an access token (RFC 7519 section 4.1, RFC 8693 sections 4.1 and 4.2, RFC 9068 section 2.2), and one of our own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccessClaimsV1 {
    pub(crate) iss: String,
    pub(crate) sub: String,
    pub(crate) aud: String,
    pub(crate) iat: u64,
    pub(crate) exp: u64,
    pub(crate) jti: String,
    pub(crate) client_id: String,
    pub(crate) scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) act: Option<ActV1>,
    pub(crate) selvedge: OursV1,
}

/// An actor (RFC 8693 section 4.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActV1 {
    sub: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Box<ActV1>>,
}

/// What no standard has a claim for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OursV1 {
    task: String,
    intent: String,
    lineage: Vec<String>,
    depth: u32,
    budget: u64,
    chain: Vec<LinkV1>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkV1 {
    jti: String,
    sub: String,
}

/// Whole seconds since the epoch, rounded down (RFC 7519 section 2, NumericDate).
pub(super) fn seconds(time: Time) -> u64 {
    time.as_millis() / 1000
}

/// The moment at so many seconds.
pub(super) fn moment(seconds: u64) -> Time {
    Time::from_millis(0).after(Duration::from_seconds(seconds))
}

#[cfg(test)]
mod tests;
