//! `sandbox.start` for verification: run the base's checks on a recorded tree, without any credential.

use super::{Description, Field, Order, Resource, ResourceKind, Verb};
use crate::{CheckReport, CommitId, RepoName, RunId, TreeId};

/// Run the base's checks on this tree in a clean room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckTree {
    /// The run whose result is checked.
    pub run: RunId,
    /// On whose behalf.
    pub repo: RepoName,
    /// The tree to check.
    pub tree: TreeId,
    /// Where the checks come from.
    pub base: CommitId,
}

impl Order for CheckTree {
    type Deed = CheckReport;
    const VERB: Verb = Verb::SandboxStart;

    fn describe(&self) -> Description {
        Description {
            verb: Self::VERB,
            resource: Resource {
                kind: ResourceKind::Repository,
                name: self.repo.as_str().to_owned(),
                repo: self.repo.clone(),
            },
            fields: vec![
                ("purpose", Field::from("check")),
                ("run", Field::from(self.run.as_str())),
                ("tree", Field::from(self.tree.as_str())),
                ("checks_from", Field::from(self.base.as_str())),
            ],
        }
    }
}
