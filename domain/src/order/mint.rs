//! `credential.mint`: make one credential for one run.

use super::{Description, Field, Order, Resource, ResourceKind, Verb};
use crate::{CredentialName, LeaseId, Reach, RepoName, Revocation, RunId, Tenure, Time};

/// Make the credential that this lease stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MintCredential {
    /// The lease, announced before this order is carried out.
    pub lease: LeaseId,
    /// The run it belongs to.
    pub run: RunId,
    /// On whose behalf.
    pub repo: RepoName,
    /// What is made: the credential configured under this name, or else an identity document of our own.
    pub credential: Option<CredentialName>,
    /// Who will accept an identity document; empty for a configured credential, which says so itself.
    pub audience: String,
    /// What a door may use a configured credential for; none for an identity document.
    pub uses: Vec<Reach>,
    /// Whether it is a key that is stored and lives on when the run has ended (requirement C5).
    pub is_stored: bool,
    /// How the configured credential stands; for an identity document, the agent.
    pub tenure: Tenure,
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
        let (kind, name) = match &self.credential {
            Some(credential) => (ResourceKind::Credential, credential.as_str()),
            None => (ResourceKind::Audience, self.audience.as_str()),
        };
        Description {
            verb: Self::VERB,
            resource: Resource { kind, name: name.to_owned(), repo: self.repo.clone() },
            fields: vec![
                ("lease", Field::from(self.lease.as_str())),
                ("run", Field::from(self.run.as_str())),
                ("until", Field::from(self.until.to_string())),
                ("ttl_seconds", Field::Number(i64::try_from(self.ttl_seconds).unwrap_or(i64::MAX))),
                ("uses", Field::Words(self.uses.iter().map(ToString::to_string).collect())),
                ("stored", Field::Flag(self.is_stored)),
                ("tenure", Field::from(self.tenure.fact())),
            ],
        }
    }
}
