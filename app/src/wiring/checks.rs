//! Checking a tree: the gate's files are taken from the base, so that an agent cannot weaken what judges it (requirement F2), what the
//! checks need is prepared once, and each runs in a sandbox of its own without network. Which files are the gate is known in `gate`.

use std::path::{Path, PathBuf};

use selvedge_authority::ActError;
use selvedge_domain::orders::CheckTree;
use selvedge_domain::{Change, ChangeSet, CheckReport, Effect, Failure, RepoName, TreeId};
use selvedge_factory::ports::Doorkeeper;
use selvedge_forge::local::Draft;
use selvedge_sandbox::{Access, Bind, Place, Workspace};

use super::Works;
use super::behalf::{Behalf, HasIdentity};
use super::cache::CACHE_BYTES_MAX;
use super::desks::Desks;
use super::gate::Gate;
use super::inside::{Inside, told};
use super::repositories::{permanent, transient};
use crate::config::RepoConfig;

/// Largest file of the gate that is restored.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Where set-up leaves what checks need.
const CACHE: &str = "/cache";

/// Cargo's part of it.
const CARGO_CACHE: &str = "/cache/cargo";

impl Works {
    /// Checks a tree in clean rooms: its own set-up first, then each check by itself.
    pub(super) fn check_tree(&self, order: &CheckTree, doors: &dyn Doorkeeper) -> Result<CheckReport, ActError> {
        let config = self.config();
        let repo = config.repos.get(&order.repo).ok_or_else(|| permanent("the repository is no longer configured"))?;
        if repo.checks.is_empty() {
            return Ok(CheckReport { tree: order.tree.clone(), commands: 0, failed: None, tests: None });
        }
        let checked = self.with_the_base_s_checks(order)?;
        let pristine = self.pristine(&order.repo, &checked)?;
        let cache = self.fresh_dir(&format!("cache/{}-{}", order.run, order.tree))?;
        let agent = self.run(&order.run).map_err(transient)?.trigger().agent.clone();
        let behalf = Behalf { run: order.run.clone(), repo: order.repo.clone(), agent, identity: HasIdentity::No };
        let prepared = self.prepare(order, repo, &pristine, &cache, &behalf, doors);
        let report = match prepared {
            Ok(None) => self.run_checks(order, repo, pristine, &cache, &behalf, doors),
            Ok(Some(failed)) => Ok(CheckReport {
                tree: order.tree.clone(),
                commands: repo.checks.len(),
                failed: Some(Failure::SetUp(failed)),
                tests: None,
            }),
            Err(error) => Err(error),
        };
        let _left_for_the_next_sweep = std::fs::remove_dir_all(&cache);
        report
    }

    /// Prepares the environment with the registries in reach. The inner text says which command failed, and how.
    fn prepare(
        &self,
        order: &CheckTree,
        repo: &RepoConfig,
        pristine: &Path,
        cache: &Path,
        behalf: &Behalf,
        doors: &dyn Doorkeeper,
    ) -> Result<Option<String>, ActError> {
        let Some(setup) = &repo.setup else { return Ok(None) };
        let mut place = self.furnished(Place::new(["/bin/sh", "-c", setup])).with_env("CARGO_HOME", CARGO_CACHE);
        place.workspace = Some(Workspace { pristine: pristine.to_owned() });
        place.binds.push(Bind { source: cache.to_owned(), target: CACHE.to_owned(), access: Access::ReadWrite });
        let id = format!("{}-p{}", order.run, short(&order.tree));
        let agent = self.agent_of_run(&order.run)?;
        let lending = self.lending_nothing(&agent.loans)?;
        let reach = agent.reach.into_iter().collect();
        // The command is the operator's; what the tree holds is not.
        let witness = self.witness(&order.repo, pristine)?.of_reads();
        let desks = Desks { witness: Some(&witness), ..Desks::default() };
        let inside = Inside { reach, lending, desks, purpose: "prepare" };
        let (ran, too_much) =
            self.while_within(cache, &order.run, || self.run_inside(&id, place, behalf, inside, doors));
        let (sandbox, exit, _) = ran?;
        witness.look(doors);
        if too_much {
            let _gone = sandbox.destroy();
            return Ok(Some(format!("`{setup}` left more than {} MiB for the checks", CACHE_BYTES_MAX >> 20)));
        }
        sandbox.destroy().map_err(transient)?;
        self.refuse_when_killed(&exit)?;
        Ok((!exit.success()).then(|| format!("`{setup}` ended with {}", told(&exit))))
    }

    /// Runs every check, also after one that failed: what a red base's other checks count is required of the change.
    fn run_checks(
        &self,
        order: &CheckTree,
        repo: &RepoConfig,
        pristine: PathBuf,
        cache: &Path,
        behalf: &Behalf,
        doors: &dyn Doorkeeper,
    ) -> Result<CheckReport, ActError> {
        let mut report =
            CheckReport { tree: order.tree.clone(), commands: repo.checks.len(), failed: None, tests: None };
        let mut outputs = Vec::new();
        // Kept apart, so that whoever reads why a change fails does not read what the base wrote.
        let base = self.repository_of(&order.repo)?.tree_of(&order.base).map_err(transient)?;
        let purpose = if base == order.tree { "check-base" } else { "check" };
        for (index, check) in repo.checks.iter().enumerate() {
            let services: String = repo.services.iter().map(|service| format!("({service}) & ")).collect();
            let mut place = self.furnished(Place::new(["/bin/sh", "-c", &format!("{services}{check}")]));
            place = place.with_env("CARGO_HOME", CARGO_CACHE).with_env("CARGO_NET_OFFLINE", "true");
            place.workspace = Some(Workspace { pristine: pristine.clone() });
            place.binds.push(Bind { source: cache.to_owned(), target: CACHE.to_owned(), access: Access::PrivateCopy });
            let id = format!("{}-c{index}{}", order.run, short(&order.tree));
            let (sandbox, exit, output) =
                self.run_inside(&id, place, behalf, Inside { purpose, ..Inside::default() }, doors)?;
            sandbox.destroy().map_err(transient)?;
            self.refuse_when_killed(&exit)?;
            outputs.push(output);
            if !exit.success() && report.failed.is_none() {
                report.failed = Some(Failure::Check(format!("`{check}` ended with {}", told(&exit))));
            }
        }
        report.tests = selvedge_workers::checks::parse_each(outputs.iter().map(Vec::as_slice));
        Ok(report)
    }

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

fn short(tree: &TreeId) -> String {
    tree.as_str().chars().take(12).collect()
}
