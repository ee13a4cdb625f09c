//! The tree to check: the gate's files are taken from the base, so that an agent cannot weaken what judges it
//! (requirement F2). Which files those are is known in `gate`.

use selvedge_authority::ActError;
use selvedge_domain::orders::CheckTree;
use selvedge_domain::{Change, ChangeSet, Effect, RepoName, TreeId};
use selvedge_forge::local::Draft;

use super::Works;
use super::gate::Gate;
use super::repositories::{permanent, transient};

/// Largest file of the gate that is restored.
const FILE_BYTES_MAX: u64 = 16 << 20;

impl Works {
    /// The tree to check: the change, with the base's version of every file of the gate that the base has, and without
    /// new ones that could steer them.
    pub(super) fn with_the_base_s_checks(&self, order: &CheckTree) -> Result<TreeId, ActError> {
        let run = self.run(&order.run).map_err(transient)?;
        let repository = self.repository_of(&order.repo)?;
        let base_tree = repository.tree_of(&order.base).map_err(transient)?;
        let commit = match run.effect() {
            Some(Effect::Tree { tree, commit, .. }) if *tree == order.tree && *tree != base_tree => commit,
            _ => return Ok(order.tree.clone()),
        };
        let changed = repository.diff(&base_tree, &order.tree).map_err(transient)?;
        let gate = self.gate_of(&order.repo);
        let mut restored = Vec::new();
        for change in gate.overruled(&changed) {
            let path = change.path.clone();
            restored.push(match repository.file(&path, &order.base, FILE_BYTES_MAX).map_err(permanent)? {
                Some(file) => Change::Write { path, mode: file.mode, content: file.content },
                None => Change::Remove { path },
            });
        }
        if restored.is_empty() {
            return Ok(order.tree.clone());
        }
        let author = self.author()?;
        let changes = ChangeSet::new(restored);
        let draft = Draft {
            base: commit,
            changes: &changes,
            message: "the base's checks on the change\n",
            author: &author,
            when: selvedge_domain::Time::from_millis(0),
        };
        repository.commit_tree(&draft).map(|commit| commit.tree).map_err(permanent)
    }

    /// The gate of a repository.
    pub(super) fn gate_of(&self, repo: &RepoName) -> Gate {
        self.config().repos.get(repo).map(Gate::of).unwrap_or_default()
    }
}
