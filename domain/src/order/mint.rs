//! `credential.mint`: make one credential for one run.

use super::{Description, Field, Order, Resource, ResourceKind, Verb};
use crate::{LeaseId, RepoName, Revocation, RunId, Time};

/// Make the credential that this lease stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MintCredential {
    /// The lease, announced before this order is carried out.
    pub lease: LeaseId,
    /// The run it belongs to.
    pub run: RunId,
    /// On whose behalf.
    pub repo: RepoName,
    /// Who will accept it.
    pub audience: String,
    /// Latest moment it may work.
    pub until: Time,
    /// Lifetime in seconds, as policy sees it.
    pub ttl_seconds: u64,
}

/// A credential that was made. The secret itself is never here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minted {
    /// Its lease.
    pub lease: LeaseId,
    /// How it can die.
    pub revocation: Revocation,
    /// When it dies by itself.
    pub expires: Time,
}

impl Order for MintCredential {
    type Deed = Minted;
    const VERB: Verb = Verb::CredentialMint;

    fn describe(&self) -> Description {
        Description {
            verb: Self::VERB,
            resource: Resource { kind: ResourceKind::Audience, name: self.audience.clone(), repo: self.repo.clone() },
            fields: vec![
                ("lease", Field::from(self.lease.as_str())),
                ("run", Field::from(self.run.as_str())),
                ("until", Field::from(self.until.to_string())),
                ("ttl_seconds", Field::Number(i64::try_from(self.ttl_seconds).unwrap_or(i64::MAX))),
            ],
        }
    }
}
