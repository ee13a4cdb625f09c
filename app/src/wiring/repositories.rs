//! Repositories and proposals: the local forge behind the factory's port. Numbers come from the ledger, content from git.

use selvedge_authority::{ActError, Permit};
use selvedge_domain::orders::{AdmitTask, MergeProposal, Merged, OpenProposal};
use selvedge_domain::{
    AgentName, CommitId, Effect, ProposalNumber, RepoName, RunId, Task, TestCount, TreeId, Verified, is_deceptive,
};
use selvedge_factory::ports::{Clock, Offer, Repositories};
use selvedge_forge::local::{Author, BranchName, ChangedPath, Expected, Merge, Patch, Repository, Source, WhatChanged};
use selvedge_forge::secret::Scanner;
use selvedge_forge::sensitive::acted_on_by;

use super::Works;
use super::handover::StageRun;

/// Paths a proposal's text lists; the rest are counted.
const PATHS_LISTED_MAX: usize = 50;

/// Files of the gate that an order lists; the rest are counted. A person who is asked reads every one.
const GATE_LISTED_MAX: usize = 50;

/// Bytes of all paths of a proposal together. What a worker removes is listed by git alone, and an order, an approval and
/// the log repeat every path; Linux's own tree has fewer.
const PATHS_BYTES_MAX: usize = 4 << 20;

/// Longest summary of a worker that a proposal quotes.
const SUMMARY_CHARS_MAX: usize = 4000;

impl Repositories for Works {
    fn base(&self, permit: &Permit<AdmitTask>) -> Result<CommitId, ActError> {
        let trigger = &permit.order().trigger;
        if let Some(commit) = &trigger.lineage.starts_from {
            return Ok(commit.clone());
        }
        let config = self.config();
        let repo =
            config.repos.get(&trigger.repo).ok_or_else(|| permanent("the repository is no longer configured"))?;
        let repository = self.repository_of(&trigger.repo)?;
        let source = Source::parse(&repo.source.to_string_lossy()).map_err(permanent)?;
        let synced = repository.sync(&source).map_err(transient)?;
        if !trigger.argv.is_empty() {
            return operator_s_head(&repository, synced.head);
        }
        let branch = BranchName::parse(&repo.repository.target).map_err(permanent)?;
        // Work on either side of a fork would silently leave the other out.
        if synced.diverged.contains(&branch) {
            return Err(permanent(format!(
                "branch `{0}` has commits in the repository and others in the factory's clone: merge what was merged here \
                 with `git pull --no-rebase selvedge {0}`, then try again",
                repo.repository.target
            )));
        }
        let head = repository.head(&branch).map_err(transient)?;
        head.ok_or_else(|| permanent(format!("branch `{}` does not exist", repo.repository.target)))
    }

    fn tree_of(&self, repo: &RepoName, commit: &CommitId) -> Result<TreeId, ActError> {
        self.repository_of(repo)?.tree_of(commit).map_err(transient)
    }

    fn offer(&self, task: &Task, summary: &str, verified: &Verified) -> Result<Offer, ActError> {
        let repository = self.repository_of(&task.trigger.repo)?;
        let base = repository.tree_of(verified.base()).map_err(transient)?;
        let tree = repository.tree_of(verified.commit()).map_err(transient)?;
        let changed = repository.diff(&base, &tree).map_err(transient)?;
        let path_bytes: usize = changed.iter().map(|change| change.path.as_str().len()).sum();
        if path_bytes > PATHS_BYTES_MAX {
            return Err(permanent(format!(
                "the change names {} paths of {path_bytes} bytes together, and a proposal has room for {PATHS_BYTES_MAX}: \
                 change fewer files at a time",
                changed.len()
            )));
        }
        let leaks = repository.leaks(&base, &tree, &Scanner::default()).map_err(transient)?;
        let acted_on =
            changed.iter().filter_map(|change| Some(format!("{} ({})", change.path, acted_on_by(&change.path)?)));
        let gate = self.gate_of(&task.trigger.repo);
        let named =
            changed.iter().filter(|change| gate.names(&change.path)).map(|change| format!("{} (check)", change.path));
        let of_the_gate = gate.overruled(&changed).map(|change| format!("{} ({})", change.path, what(change)));
        let changes_gate = bounded(of_the_gate.collect(), GATE_LISTED_MAX);
        let paths: Vec<String> = changed.iter().map(|change| change.path.to_string()).collect();
        let stages = self.stages_of(task)?;
        let author =
            stages.iter().rev().find(|stage| !stage.part.reviews).map_or(&task.trigger.agent, |made| &made.agent);
        Ok(Offer {
            title: title(task, author, summary),
            body: body(task, summary, verified, &stages, (&paths, &changes_gate)),
            executes_elsewhere: acted_on.chain(named).collect(),
            changes_gate,
            paths,
            secrets: leaks
                .iter()
                .map(|leak| format!("{} in {} line {}", leak.finding.kind, leak.place, leak.finding.line))
                .collect(),
        })
    }

    fn propose(&self, permit: &Permit<OpenProposal>) -> Result<ProposalNumber, ActError> {
        let order = permit.order();
        let repository = self.repository_of(&order.repo)?;
        repository.publish(permit, &Expected::Absent).map_err(transient)?;
        self.ledger.proposal_number(&order.repo, &order.run).map_err(transient)
    }

    fn merge(&self, permit: &Permit<MergeProposal>) -> Result<Merged, ActError> {
        let order = permit.order();
        let repository = self.repository_of(&order.repo)?;
        let target = BranchName::parse(&order.target).map_err(permanent)?;
        let expected = repository.head(&target).map_err(transient)?;
        let expected = expected.ok_or_else(|| permanent(format!("branch `{}` does not exist", order.target)))?;
        let plan = Merge {
            target: &target,
            expected: &expected,
            commit: &order.head,
            message: &format!("Merge proposal {} by run {}\n", order.number, order.run),
            author: &self.author()?,
            when: self.now(),
        };
        let landing = repository.plan_merge(&plan).map_err(permanent)?;
        let merged = repository.merge(permit, &landing).map_err(transient)?;
        Ok(merged)
    }
}

/// What a run changed, for a person's eyes.
pub(crate) struct Shown {
    pub(crate) base: CommitId,
    pub(crate) commit: CommitId,
    pub(crate) patch: Patch,
    /// Whether it adds what looks like a secret.
    pub(crate) holds_secrets: bool,
}

/// Longest diff that is shown; a person reads less, and the rest is a `git fetch` away.
const PATCH_BYTES_MAX: usize = 512 << 10;

impl Works {
    /// What a run's agent changed; none when it left nothing.
    pub(crate) fn change_of(&self, run: &RunId) -> Result<Option<Shown>, ActError> {
        let run = self.run(run).map_err(transient)?;
        let (base, commit) = match (run.effect(), run.task(), run.verified()) {
            (Some(Effect::Tree { commit, .. }), Some(task), _) => (&task.base, commit),
            // A review made nothing: what it lets through is what somebody made before it.
            (Some(Effect::Document { .. }), _, Some(verified)) => (verified.base(), verified.commit()),
            _ => return Ok(None),
        };
        let repository = self.repository_of(&run.trigger().repo)?;
        let old = repository.tree_of(base).map_err(transient)?;
        let new = repository.tree_of(commit).map_err(transient)?;
        let leaks = repository.leaks(&old, &new, &Scanner::default()).map_err(transient)?;
        let patch = repository.patch(&old, &new, PATCH_BYTES_MAX).map_err(transient)?;
        Ok(Some(Shown { base: base.clone(), commit: commit.clone(), patch, holds_secrets: !leaks.is_empty() }))
    }

    /// The factory's repository of this name.
    pub(super) fn repository_of(&self, repo: &RepoName) -> Result<Repository, ActError> {
        self.forge.repository(repo).map_err(permanent)
    }

    /// Whom the factory's commits name: never a person (requirement B1).
    pub(super) fn author(&self) -> Result<Author, ActError> {
        Author::new("Selvedge", &format!("factory@{}", self.trust_domain)).map_err(permanent)
    }
}

/// Where the operator stands in their own repository: what an ad-hoc program runs on.
fn operator_s_head(repository: &Repository, head: Option<CommitId>) -> Result<CommitId, ActError> {
    let unknown = || permanent("HEAD is on no branch, so the factory does not have it; put a branch there");
    let head = head.ok_or_else(unknown)?;
    repository.tree_of(&head).map_err(|_| unknown())?;
    Ok(head)
}

/// Our words, with the package or the first line of the task in it; what a worker says never becomes a title.
fn title(task: &Task, author: &AgentName, summary: &str) -> String {
    let said = match task.intent {
        selvedge_domain::Intent::RemediateDependencies => summary.lines().next().unwrap_or(""),
        _ => task.trigger.text.lines().next().unwrap_or(""),
    };
    let plain: String = said.chars().filter(|c| !is_deceptive(*c)).take(100).collect();
    format!("{author}: {plain}")
}

fn body(
    task: &Task,
    summary: &str,
    verified: &Verified,
    stages: &[StageRun],
    (paths, changes_gate): (&[String], &[String]),
) -> String {
    let stages: Vec<String> = stages.iter().map(ToString::to_string).collect();
    let pipeline = match task.trigger.part() {
        None => String::new(),
        Some(part) => format!("\n{}\n", boxed(&format!("Pipeline {}:", part.pipeline), &indented(&stages))),
    };
    let checks = match verified.count() {
        TestCount::Counted { base, change } => {
            format!("The base's checks passed: {change} tests ran, among them all {base} that passed on the base.")
        }
        TestCount::Uncounted => {
            "The base's checks passed by exit status; which tests the base has could not be counted by name.".to_owned()
        }
    };
    let gate = match changes_gate {
        [] => String::new(),
        listed => {
            format!("\n\n{}", boxed("Judged without its changes of tests and what steers them:", &indented(listed)))
        }
    };
    format!(
        "{}\n\nIntent: {}\nBase: {}\n{pipeline}\n{checks}{gate}\n\n{}\n\n{}\n",
        boxed("Task:", &quote(&task.trigger.text)),
        task.intent,
        verified.base(),
        boxed("Changed paths:", &indented(&bounded(paths.to_vec(), PATHS_LISTED_MAX))),
        boxed("The worker says (not checked):", &quote(summary)),
    )
}

/// How a file of the gate differs, in a word.
fn what(change: &ChangedPath) -> &'static str {
    match change.what {
        WhatChanged::Added => "new",
        WhatChanged::Removed => "deleted",
        WhatChanged::Modified | WhatChanged::TypeChanged => "altered",
    }
}

/// The first of a list, and how many more there are.
fn bounded(mut list: Vec<String>, listed_max: usize) -> Vec<String> {
    let more = list.len().saturating_sub(listed_max);
    if more > 0 {
        list.truncate(listed_max);
        list.push(format!("and {more} more"));
    }
    list
}

fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// Indented lines under a label. An empty line stands between: right behind a sentence they would belong to the sentence, and be no box.
fn boxed(label: &str, indented: &str) -> String {
    format!("{label}\n\n{indented}")
}

/// Text that is not ours, for a box: every line indented, so that nothing in it is a heading, a link or an image.
fn quote(text: &str) -> String {
    let bounded: String = text.chars().take(SUMMARY_CHARS_MAX).filter(|c| *c == '\n' || !is_deceptive(*c)).collect();
    bounded.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// Trying again may help.
pub(super) fn transient(error: impl std::fmt::Display) -> ActError {
    ActError::Transient(error.to_string())
}

/// Trying again will not help.
pub(super) fn permanent(error: impl std::fmt::Display) -> ActError {
    ActError::Permanent(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_says_is_a_box_in_which_nothing_is_a_link_or_an_image_e8() {
        let says =
            "Done, see [here](https://evil.example).\r\n\n# Approved\n![x](https://evil.example/x)\u{202e}\u{1b}[2J";
        assert_eq!(
            boxed("The worker says (not checked):", &quote(says)),
            "The worker says (not checked):\n\n    Done, see [here](https://evil.example).\n    \n    # Approved\n    \
             ![x](https://evil.example/x)[2J"
        );
        assert!(quote(&"a".repeat(10_000)).len() <= SUMMARY_CHARS_MAX + 4);
    }
}
