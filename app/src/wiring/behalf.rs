//! On whose behalf a sandbox works and its door is open.

use selvedge_domain::orders::StartWork;
use selvedge_domain::{AgentName, RepoName, RunId};

/// On whose behalf a door is open.
#[derive(Clone)]
pub(super) struct Behalf {
    pub(super) run: RunId,
    pub(super) repo: RepoName,
    pub(super) agent: AgentName,
    /// Whether it has the Workload API.
    pub(super) identity: HasIdentity,
}

/// Whether a sandbox may ask for identity documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HasIdentity {
    /// The run's grant names somebody it may have an identity for.
    Yes,
    /// It does not, or this sandbox is none of the agent's.
    No,
}

impl Behalf {
    /// Of the agent that this order starts.
    pub(super) fn of(order: &StartWork, identity: HasIdentity) -> Self {
        let StartWork { run, repo, agent, .. } = order;
        Self { run: run.clone(), repo: repo.clone(), agent: agent.clone(), identity }
    }
}
