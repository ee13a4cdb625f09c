//! `sandbox.start` for work: let an agent at a tree, under a grant.

use super::{Description, Field, Order, Resource, ResourceKind, Verb};
use crate::{AgentName, CommitId, Digest, Effect, Grant, RepoName, RunId, Witnessed};

/// Start this agent on this commit's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartWork {
    /// The run.
    pub run: RunId,
    /// Which try it is, counted from 1.
    pub attempt: u32,
    /// On whose behalf.
    pub repo: RepoName,
    /// Who works.
    pub agent: AgentName,
    /// What it starts from.
    pub base: CommitId,
    /// What it may use.
    pub grant: Grant,
    /// The level of sandbox that is demanded.
    pub level: String,
    /// Fingerprint of the configuration the run works under.
    pub configuration: Digest,
}

/// What an attempt left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// How the program ended: its exit status, or what stopped it.
    pub exit: String,
    /// Exit status; none when it was stopped.
    pub status: Option<i32>,
    /// What it produced, or why nothing can be used.
    pub effect: Result<Effect, String>,
    /// Work that should follow, in the worker's words.
    pub follow_ups: Vec<String>,
    /// What it was seen to do that policy is told of.
    pub seen: Witnessed,
}

impl Order for StartWork {
    type Deed = Ran;
    const VERB: Verb = Verb::SandboxStart;

    fn describe(&self) -> Description {
        let reach = self.grant.reach.iter().map(ToString::to_string);
        let loans = self.grant.loans.iter().map(|loan| format!("{} for {}", loan.credential, loan.uses));
        Description {
            verb: Self::VERB,
            resource: Resource {
                kind: ResourceKind::Repository,
                name: self.repo.as_str().to_owned(),
                repo: self.repo.clone(),
            },
            fields: vec![
                ("purpose", Field::from("work")),
                ("run", Field::from(self.run.as_str())),
                ("attempt", Field::Number(i64::from(self.attempt))),
                ("agent", Field::from(self.agent.as_str())),
                ("base", Field::from(self.base.as_str())),
                ("trust", Field::from(self.grant.trust.as_str())),
                ("may", Field::Words(self.grant.may.iter().map(|may| may.as_str().to_owned()).collect())),
                ("reach", Field::Words(reach.collect())),
                ("loans", Field::Words(loans.collect())),
                ("level", Field::from(self.level.as_str())),
                ("configuration", Field::from(self.configuration.to_string())),
            ],
        }
    }
}
