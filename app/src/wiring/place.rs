//! The place an agent works in: its program, the tree as its workspace, what it was handed, and how much of the machine it may have.

use std::path::PathBuf;

use selvedge_authority::ActError;
use selvedge_domain::{RepoName, Task, TreeId};
use selvedge_forge::local::TreeLimits;
use selvedge_sandbox::{Access, Bind, Place, Workspace};

use super::Works;
use super::agents::Speaks;
use super::desks::Desks;
use super::remediation::package_of;
use super::repositories::permanent;
use crate::config::{AgentConfig, Runtime};

/// Where the worker's own program lies inside.
pub(super) const WORKER_DIR: &str = "/opt/selvedge";

impl Works {
    /// The tree on disk, exact and never written again.
    pub(super) fn pristine(&self, repo: &RepoName, tree: &TreeId) -> Result<PathBuf, ActError> {
        self.repository_of(repo)?.materialise(tree, TreeLimits::default()).map_err(permanent)
    }

    /// The place for a task, and the agent's own programs as they are started in it. An agent that needs a model and was given none has none.
    pub(super) fn place_for_work(
        &self,
        agent: &AgentConfig,
        Desks { model, tools, .. }: Desks<'_>,
        task: &Task,
        pristine: PathBuf,
    ) -> Result<(Place, Vec<String>), ActError> {
        let argv = match &agent.runtime {
            Runtime::Agent(_) | Runtime::Acp(_) | Runtime::Install(_) => Vec::new(),
            Runtime::Remediate => self.remediation(agent, package_of(task)),
            Runtime::Command(_) if !task.trigger.argv.is_empty() => task.trigger.argv.clone(),
            Runtime::Command(command) => {
                let words = self.words_of(task);
                command.iter().map(|word| word.replace("{text}", &words)).collect()
            }
        };
        let mut place = match &agent.runtime {
            Runtime::Agent(adapter) => {
                let model = model.ok_or_else(|| permanent("this task was given no model, and its agent needs one"))?;
                self.place_for_agent(adapter, Speaks::Itself, model, tools, (task, agent.tells()))?
            }
            Runtime::Acp(acp) => self.place_for_acp(agent, acp, (model, tools), task)?,
            Runtime::Remediate | Runtime::Command(_) | Runtime::Install(_) if argv.is_empty() => {
                return Err(permanent("the agent has no command and the task names no program"));
            }
            Runtime::Remediate | Runtime::Command(_) | Runtime::Install(_) => {
                self.with_environment(agent, model, self.furnished(Place::new(argv)))
            }
        };
        let mut own: Vec<String> = place.argv.first().cloned().into_iter().collect();
        if let Runtime::Acp(acp) = &agent.runtime {
            place = self.spoken_to(acp, tools, self.prompt_of(task)?, place);
            own.splice(0..0, place.argv.first().cloned());
        }
        place = self.lay_handed_over(task, place)?;
        place.workspace = Some(Workspace { pristine });
        place.limits.memory_bytes = agent.memory_bytes;
        place.limits.pids = agent.processes;
        place.limits.disk_bytes = agent.disk_bytes;
        place.limits.disk_files = agent.disk_files;
        place.limits.wall = std::time::Duration::from_millis(agent.agent.attempt_at_most.as_millis());
        if agent.runtime == Runtime::Remediate {
            place.binds.extend(self.binds_for_remediation(&task.trigger.id)?);
        }
        let programs =
            [(crate::demo::PROBER, selvedge_prober::NAME), (crate::demo::OBEDIENT, selvedge_scripted::OBEDIENT)];
        let is_first = |path: &str| place.argv.first().is_some_and(|program| program == path);
        let demonstrates = programs.into_iter().find(|(path, _)| is_first(path));
        place.binds.extend(demonstrates.map(|(_, name)| self.bind_executable(name)));
        Ok((place, own))
    }

    pub(super) fn bind_executable(&self, name: &str) -> Bind {
        Bind { source: self.executable.clone(), target: format!("{WORKER_DIR}/{name}"), access: Access::ReadOnly }
    }
}
