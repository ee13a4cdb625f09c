//! `git.read` and `git.push`: what a run does with history through the git door.

use super::{Description, Field, Order, Resource, ResourceKind, Verb};
use crate::{CommitId, RepoName, RunId};

/// Serve the run its repository: the history of the commit its task starts from, and what it pushed itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadGit {
    /// The run that asks.
    pub run: RunId,
    /// Which repository.
    pub repo: RepoName,
    /// The door's count of calls, so that no two orders are the same.
    pub serial: u64,
    /// What its task starts from.
    pub base: CommitId,
    /// Bytes of the request.
    pub request_bytes: u64,
}

/// The repository was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GitServed {
    /// Bytes of the answer.
    pub response_bytes: u64,
}

/// Move the run's own branch in its landing repository. Every fact is read from the objects that were pushed: all commits,
/// also those a later one takes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushGit {
    /// The run that asks.
    pub run: RunId,
    /// On whose behalf.
    pub repo: RepoName,
    /// The branch's full name.
    pub reference: String,
    /// From where; nothing before the first push.
    pub old: Option<CommitId>,
    /// To where.
    pub new: CommitId,
    /// How many commits it adds.
    pub commits: u64,
    /// Bytes of the pack.
    pub pack_bytes: u64,
    /// Paths that any of the commits changes.
    pub paths: Vec<String>,
    /// Those that a forge's automation would run: workflows, pipelines.
    pub automation: Vec<String>,
    /// Secrets that any of the commits adds: kind and place, never the secret.
    pub secrets: Vec<String>,
}

/// The branch was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Where it is now.
    pub commit: CommitId,
}

impl Order for ReadGit {
    type Deed = GitServed;
    const VERB: Verb = Verb::GitRead;

    fn describe(&self) -> Description {
        Description {
            verb: Self::VERB,
            resource: whole(&self.repo),
            fields: vec![
                ("run", Field::from(self.run.as_str())),
                ("serial", measured(self.serial)),
                ("base", Field::from(self.base.as_str())),
                ("request_bytes", measured(self.request_bytes)),
            ],
        }
    }
}

impl Order for PushGit {
    type Deed = Pushed;
    const VERB: Verb = Verb::GitPush;

    fn describe(&self) -> Description {
        Description {
            verb: Self::VERB,
            resource: whole(&self.repo),
            fields: vec![
                ("run", Field::from(self.run.as_str())),
                ("reference", Field::from(self.reference.as_str())),
                ("old", Field::from(self.old.as_ref().map_or("none", CommitId::as_str))),
                ("new", Field::from(self.new.as_str())),
                ("commits", measured(self.commits)),
                ("pack_bytes", measured(self.pack_bytes)),
                ("paths", Field::Words(self.paths.clone())),
                ("automation", Field::Words(self.automation.clone())),
                ("secrets", Field::Words(self.secrets.clone())),
            ],
        }
    }
}

fn whole(repo: &RepoName) -> Resource {
    Resource { kind: ResourceKind::Repository, name: repo.to_string(), repo: repo.clone() }
}

fn measured(count: u64) -> Field {
    Field::Number(i64::try_from(count).unwrap_or(i64::MAX))
}
