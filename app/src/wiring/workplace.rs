//! Running agents and checks, behind the factory's port: what an attempt is given, the order in which it is run, looked at and taken down.

use std::path::Path;
use std::time::{Duration, Instant};

use selvedge_authority::{ActError, Permit};
use selvedge_domain::orders::{CheckTree, Ran, StartWork};
use selvedge_domain::{Change, ChangeSet, CheckReport, CredentialName, Declared, Intent, RunId, Task, Witnessed};
use selvedge_factory::ports::{Doorkeeper, Workplace};
use selvedge_gateway::SecretWatch;
use selvedge_sandbox::{CollectLimits, Sandbox};

use super::Works;
use super::behalf::{Behalf, HasIdentity};
use super::desks::OwnDesks;
use super::effect::Left;
use super::git::GitDesk;
use super::inside::{Inside, status_of, told};
use super::repositories::{permanent, transient};
use super::secrets::as_recorded;
use super::tools::ToolDesk;
use crate::config::{AgentConfig, Runtime};

/// Why a run fails whose agent could ask its model no more.
const BUDGET_SPENT: &str = "the budget is spent";

impl Workplace for Works {
    fn work(&self, permit: &Permit<StartWork>, task: &Task, doors: &dyn Doorkeeper) -> Result<Ran, ActError> {
        let order = permit.order();
        let config = self.config();
        let agent = config.agents.get(&order.agent).ok_or_else(|| permanent("the agent is no longer configured"))?;
        match &agent.runtime {
            Runtime::Install(adapter) => self.install(order, task, adapter, doors),
            Runtime::Agent(_) | Runtime::Acp(_) | Runtime::Remediate | Runtime::Command(_) => {
                self.attempt(order, task, agent, doors)
            }
        }
    }

    fn check(&self, permit: &Permit<CheckTree>, doors: &dyn Doorkeeper) -> Result<CheckReport, ActError> {
        self.check_tree(permit.order(), doors)
    }

    fn kill(&self, run: &RunId) -> Option<String> {
        self.drop_lent(run);
        self.kill_run(run)
    }
}

impl Works {
    fn attempt(
        &self,
        order: &StartWork,
        task: &Task,
        agent: &AgentConfig,
        doors: &dyn Doorkeeper,
    ) -> Result<Ran, ActError> {
        let tree = self.repository_of(&order.repo)?.tree_of(&order.base).map_err(transient)?;
        let pristine = self.pristine(&order.repo, &tree)?;
        let own = self.desks_for_work(order, task, agent, &pristine)?;
        let (mut place, programs) = self.place_for_work(agent, own.all(), task, pristine.clone())?;
        if let (Some(adapter), Some(model)) = (agent.runtime.adapter(), own.all().model) {
            let begun = Instant::now();
            self.rehearse(order, (adapter, agent), model, &place, doors)?;
            place.limits.wall = left_of(place.limits.wall, begun.elapsed())?;
        }
        // Whoever hands something on shows a document for it.
        let identity = match order.grant.audiences.is_empty() && own.tokens.is_none() {
            true => HasIdentity::No,
            false => HasIdentity::Yes,
        };
        let behalf = Behalf::of(order, identity);
        let lending = self.lending_for_work(&order.run, &order.grant)?;
        let watch = lending.watch.clone();
        let reach = order.grant.reach.iter().cloned().collect();
        let inside = Inside { reach, lending, desks: own.all(), purpose: "work" };
        let id = format!("{}-a{}", order.run, order.attempt);
        let (sandbox, exit, output) = self.run_inside(&id, place, &behalf, inside, doors)?;
        let declared = (&agent.agent.declared, programs.as_slice());
        let (changes, seen) = own.look_through(&sandbox, declared, &pristine, watch.as_deref(), doors)?;
        if let Some(told) = &own.told {
            told.conclude(&exit, own.purse.is_cut_short(), doors);
        }
        sandbox.destroy().map_err(transient)?;
        if own.purse.is_ended() && !self.is_halted(&order.run) {
            return Err(permanent(BUDGET_SPENT));
        }
        self.refuse_when_killed(&exit)?;
        if let Some(leaked) = watch.iter().find_map(|watch| leaked_in(watch, changes.as_ref().ok()?)) {
            self.secret_leaked(&order.run, &leaked, "what the agent left");
            return Err(ActError::Halted(format!("credential `{leaked}` is in what the agent left")));
        }
        let words = own.tools.as_ref().map(ToolDesk::words).unwrap_or_default();
        let (effect, follow_ups) = match changes {
            Err(because) if task.intent != Intent::RunCommand || agent.runtime == Runtime::Remediate => {
                (Err(because), Vec::new())
            }
            // What a command says is all that is wanted of it.
            changes => {
                let changes = changes.unwrap_or_default();
                let is_cut_short = own.purse.is_cut_short();
                let left = Left {
                    order,
                    task,
                    tree: &tree,
                    exit: &exit,
                    output: &output,
                    words: &words,
                    changes: &changes,
                    is_cut_short,
                };
                self.came_to(&agent.runtime, &left, doors)?
            }
        };
        let (effect, secrets) = as_recorded(effect);
        let seen = Witnessed { secrets, ..seen };
        match effect {
            // Another attempt has no more to spend.
            Err(because) if own.purse.is_spent() => Err(permanent(format!("{BUDGET_SPENT}: {because}"))),
            effect => Ok(Ran { exit: told(&exit), status: status_of(&exit), effect, follow_ups, seen }),
        }
    }

    fn is_halted(&self, run: &RunId) -> bool {
        self.run(run).is_ok_and(|run| self.halt_covering(&run).is_some())
    }
}

impl OwnDesks {
    /// What a sandbox that has ended left, or why that cannot be told, and what it was seen to do. What was pushed is what the run
    /// wants taken; what lies in the workspace beside it is seen all the same, and not looked at.
    fn look_through(
        &self,
        sandbox: &Sandbox,
        declared: (&Declared, &[String]),
        pristine: &Path,
        watch: Option<&SecretWatch>,
        doors: &dyn Doorkeeper,
    ) -> Result<(Result<ChangeSet, String>, Witnessed), ActError> {
        let changes = match self.git.as_ref().map_or(Ok(Ok(None)), GitDesk::changes)? {
            Ok(Some(pushed)) => Ok(pushed),
            Ok(None) => sandbox
                .collect(&CollectLimits::default(), &|_| false)
                .map_err(|error| format!("its files cannot be collected: {error}")),
            Err(because) => Err(because),
        };
        let left = match self.git.is_some() {
            true => sandbox.collect(&CollectLimits::default(), &|_| false).map_err(|error| error.to_string()),
            false => Ok(ChangeSet::default()),
        };
        let seen = self.witness.conclude(&[left.as_ref(), changes.as_ref()], pristine, declared, watch, doors);
        Ok((changes, seen))
    }
}

/// What a rehearsal leaves of an attempt's time.
fn left_of(wall: Duration, rehearsed: Duration) -> Result<Duration, ActError> {
    wall.checked_sub(rehearsed).filter(|left| !left.is_zero()).ok_or_else(|| {
        transient(format!(
            "its rehearsal took {} seconds, and its agent has no more than {} for an attempt; give it more (`attempt_at_most`)",
            rehearsed.as_secs(),
            wall.as_secs()
        ))
    })
}

/// Whose secret a change holds, if it holds one.
fn leaked_in(watch: &SecretWatch, changes: &ChangeSet) -> Option<CredentialName> {
    changes.changes().iter().find_map(|change| match change {
        Change::Write { path, content, .. } => {
            watch.found_in(content).or_else(|| watch.found_in(path.as_str().as_bytes()))
        }
        Change::Remove { .. } => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_and_its_rehearsal_have_the_time_of_one_e3() {
        let seconds = Duration::from_secs;
        assert_eq!(left_of(seconds(10), seconds(4)).unwrap(), seconds(6));
        for rehearsed in [10, 11] {
            let spent = left_of(seconds(10), seconds(rehearsed)).unwrap_err();
            assert!(spent.to_string().contains("`attempt_at_most`"), "{spent}");
        }
    }
}
