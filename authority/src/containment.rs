//! Whether an order lies within a run's grant. Typed containment, asked before any policy; what cannot be compared lies outside.

use crate::{Class, class_of};
use selvedge_domain::orders::{
    AdmitTask, CheckTree, EnqueueTask, GrantApproval, HttpRequest, MergeProposal, MintCredential, OpenProposal,
    PushGit, ReadGit, StartWork, UseSecret,
};

use selvedge_domain::{CredentialName, Grant, Loan, May, Order, Reach, Trust};

/// Why an order lies outside a grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Outside {
    /// The agent is not trusted this far.
    #[error("needs trust `{needed}`, granted is `{granted}`")]
    Trust {
        /// What it would take.
        needed: Trust,
        /// What there is.
        granted: Trust,
    },
    /// A word is missing from `may`.
    #[error("`{}` is not in `may`", .0.as_str())]
    May(May),
    /// No `reach` rule covers the request.
    #[error("no `reach` rule covers {0}")]
    Reach(String),
    /// The audience was not granted.
    #[error("no credential for audience `{0}` is granted")]
    Audience(String),
    /// The credential was not granted, or not for this.
    #[error("credential `{0}` is not granted for this")]
    Credential(CredentialName),
    /// More was asked for than is held.
    #[error("the grant asked for is wider than the one held")]
    Wider,
    /// It would outlive the grant.
    #[error("it would outlive the grant")]
    Late,
}

/// An order that can be compared with a grant.
pub trait Granted: Order {
    /// Whether the order lies within `grant`, or why not.
    fn within(&self, grant: &Grant) -> Result<(), Outside>;

    /// How firmly it must be recorded before it is carried out.
    fn class(&self) -> Class {
        class_of(Self::VERB)
    }
}

/// The audience of the identity every run has: our own doors and verifier.
const OWN_AUDIENCE: &str = "selvedge";

fn needs(grant: &Grant, may: May, needed: Trust) -> Result<(), Outside> {
    if !grant.may.contains(&may) {
        Err(Outside::May(may))
    } else if grant.trust < needed {
        Err(Outside::Trust { needed, granted: grant.trust })
    } else {
        Ok(())
    }
}

impl Granted for AdmitTask {
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        needs(grant, May::Read, Trust::Observe)
    }
}

impl Granted for MintCredential {
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        if self.until > grant.until {
            return Err(Outside::Late);
        }
        match &self.credential {
            None if self.audience == OWN_AUDIENCE || grant.audiences.contains(&self.audience) => Ok(()),
            None => Err(Outside::Audience(self.audience.clone())),
            Some(credential) => lendable(grant, credential, &self.uses),
        }
    }
}

impl Granted for UseSecret {
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        lendable(grant, &self.credential, &self.uses)
    }
}

/// Whether a credential is granted for all of these uses, and for any at all.
fn lendable(grant: &Grant, credential: &CredentialName, uses: &[Reach]) -> Result<(), Outside> {
    let is_held = |uses: &Reach| {
        let wanted = Loan { credential: credential.clone(), uses: uses.clone() };
        grant.loans.iter().any(|held| held.contains(&wanted))
    };
    if !uses.is_empty() && uses.iter().all(is_held) { Ok(()) } else { Err(Outside::Credential(credential.clone())) }
}

impl Granted for StartWork {
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        needs(grant, May::Write, Trust::Draft)?;
        if grant.contains(&self.grant) { Ok(()) } else { Err(Outside::Wider) }
    }
}

impl Granted for CheckTree {
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        needs(grant, May::Read, Trust::Observe)
    }
}

impl Granted for HttpRequest {
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        let covers = |reach: &Reach| reach.covers(&self.endpoint, self.method, &self.path);
        if !grant.reach.iter().any(covers) {
            let (method, Self { endpoint, path, .. }) = (self.method.as_str(), self);
            return Err(Outside::Reach(format!("{method} {}:{}{path}", endpoint.host, endpoint.port)));
        }
        let Some(credential) = &self.credential else { return Ok(()) };
        let mut loans = grant.loans.iter().filter(|loan| loan.credential == *credential);
        if loans.any(|loan| covers(&loan.uses)) { Ok(()) } else { Err(Outside::Credential(credential.clone())) }
    }

    /// A request that carries a credential is on stable storage before the credential leaves.
    fn class(&self) -> Class {
        if self.credential.is_some() { Class::Durable } else { class_of(Self::VERB) }
    }
}

impl Granted for ReadGit {
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        needs(grant, May::Read, Trust::Observe)
    }
}

impl Granted for PushGit {
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        needs(grant, May::Push, Trust::Draft)
    }
}

impl Granted for OpenProposal {
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        needs(grant, May::OpenProposal, Trust::Propose)
    }
}

impl Granted for MergeProposal {
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        needs(grant, May::OpenProposal, Trust::Land)
    }
}

impl Granted for EnqueueTask {
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        needs(grant, May::FollowUp, Trust::Observe)
    }
}

impl Granted for GrantApproval {
    /// People approve; no agent's grant reaches this far.
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        Err(Outside::Trust { needed: Trust::Release, granted: grant.trust })
    }
}
