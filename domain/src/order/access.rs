//! `access.request`: widen what this attempt may reach by one rule.

use super::{Description, Field, Order, Resource, ResourceKind, Verb};
use crate::{Reach, RepoName, RunId};

/// Let the run reach this too, until its attempt is over. An attempt later it is another order, and needs another yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestAccess {
    /// The run that asks.
    pub run: RunId,
    /// On whose behalf.
    pub repo: RepoName,
    /// In which attempt, counted from 1.
    pub attempt: u32,
    /// What it wants to reach.
    pub reach: Reach,
    /// Why, in the agent's words: shown to whoever decides, and never a fact.
    pub reason: String,
}

/// A run's grant is wider by the rule it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Widened;

impl Order for RequestAccess {
    type Deed = Widened;
    const VERB: Verb = Verb::AccessRequest;

    fn describe(&self) -> Description {
        let Reach { endpoint, methods, path_prefix } = &self.reach;
        Description {
            verb: Self::VERB,
            resource: Resource {
                kind: ResourceKind::Endpoint,
                name: format!("{}:{}", endpoint.host, endpoint.port),
                repo: self.repo.clone(),
            },
            fields: vec![
                ("run", Field::from(self.run.as_str())),
                ("attempt", Field::Number(i64::from(self.attempt))),
                ("host", Field::from(endpoint.host.as_str())),
                ("port", Field::Number(i64::from(endpoint.port))),
                ("methods", Field::Words(methods.iter().map(|method| method.as_str().to_owned()).collect())),
                ("path", Field::from(path_prefix.as_str())),
                ("reason", Field::from(self.reason.as_str())),
            ],
        }
    }
}
