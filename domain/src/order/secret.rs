//! `secret.use`: let a run borrow a key that is stored and lives on when the run has ended.

use super::{Description, Field, Order, Resource, ResourceKind, Verb};
use crate::{CredentialName, Reach, RepoName, RunId, Tenure};

/// Let this run's doors use this stored key for these requests. Its facts are the same whenever the run asks, so that a yes
/// is good for every attempt of this run and for no other run. The lease is an order of its own, `credential.mint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UseSecret {
    /// The run that asks.
    pub run: RunId,
    /// On whose behalf.
    pub repo: RepoName,
    /// Which key.
    pub credential: CredentialName,
    /// What for.
    pub uses: Vec<Reach>,
    /// For how many seconds at most.
    pub ttl_seconds: u64,
    /// How the key stands.
    pub tenure: Tenure,
}

/// A stored key may be lent to the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MayBorrow;

impl Order for UseSecret {
    type Deed = MayBorrow;
    const VERB: Verb = Verb::SecretUse;

    fn describe(&self) -> Description {
        Description {
            verb: Self::VERB,
            resource: Resource {
                kind: ResourceKind::Credential,
                name: self.credential.as_str().to_owned(),
                repo: self.repo.clone(),
            },
            fields: vec![
                ("run", Field::from(self.run.as_str())),
                ("uses", Field::Words(self.uses.iter().map(ToString::to_string).collect())),
                ("ttl_seconds", Field::Number(i64::try_from(self.ttl_seconds).unwrap_or(i64::MAX))),
                ("tenure", Field::from(self.tenure.fact())),
            ],
        }
    }
}
