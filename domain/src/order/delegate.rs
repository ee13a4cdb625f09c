//! `delegate`: give a narrower grant away, as a token that says so.

use super::{Description, Field, Order, Resource, ResourceKind, Verb};
use crate::orders::Minted;
use crate::{Grant, LeaseId, RepoName, RunId, WorkloadId};

/// Give this workload this much of what the run holds, towards one audience.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegate {
    /// The lease the token stands for, announced before this order is carried out.
    pub lease: LeaseId,
    /// The lease of what is exchanged for it: an identity document, or a token that was given before.
    pub from: LeaseId,
    /// The run that gives, and that the lease belongs to.
    pub run: RunId,
    /// On whose behalf.
    pub repo: RepoName,
    /// Who gets it: a child, or the run itself when it wants to carry less.
    pub to: WorkloadId,
    /// Who will accept the token.
    pub audience: String,
    /// What it carries, and until when.
    pub grant: Grant,
    /// Lifetime in seconds, as policy sees it.
    pub ttl_seconds: u64,
    /// How many times authority was handed on before and with this.
    pub depth: u32,
    /// What is taken from the giver's budget, in millionths of the unit the operator counts in.
    pub budget: u64,
}

impl Order for Delegate {
    type Deed = Minted;
    const VERB: Verb = Verb::Delegate;

    fn describe(&self) -> Description {
        let number = |count: u64| Field::Number(i64::try_from(count).unwrap_or(i64::MAX));
        let Self { grant, .. } = self;
        let reach = grant.reach.iter().map(ToString::to_string);
        let loans = grant.loans.iter().map(|loan| format!("{} for {}", loan.credential, loan.uses));
        Description {
            verb: Self::VERB,
            resource: Resource { kind: ResourceKind::Audience, name: self.audience.clone(), repo: self.repo.clone() },
            fields: vec![
                ("lease", Field::from(self.lease.as_str())),
                ("from", Field::from(self.from.as_str())),
                ("run", Field::from(self.run.as_str())),
                ("to", Field::from(self.to.to_string())),
                ("trust", Field::from(grant.trust.as_str())),
                ("may", Field::Words(grant.may.iter().map(|may| may.as_str().to_owned()).collect())),
                ("reach", Field::Words(reach.collect())),
                ("audiences", Field::Words(grant.audiences.iter().cloned().collect())),
                ("loans", Field::Words(loans.collect())),
                ("until", Field::from(grant.until.to_string())),
                ("ttl_seconds", number(self.ttl_seconds)),
                ("depth", Field::Number(i64::from(self.depth))),
                ("budget", number(self.budget)),
            ],
        }
    }
}
