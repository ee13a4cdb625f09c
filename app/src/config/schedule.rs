//! Work that starts by the clock: an agent or a pipeline, on a repository, with the task it is given.

use std::collections::BTreeMap;
use std::fmt;

use selvedge_domain::{AgentName, Duration, PipelineName, RepoName};

use super::pipelines::SENTENCE_BYTES_MAX;
use super::{AD_HOC, AgentConfig, ConfigError, File, PipelineConfig, Reader, RepoConfig, Runtime};

/// What a program is told that was given no task: that nobody asked.
const NO_TASK: &str = "scheduled";

/// One piece of such work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scheduled {
    pub(crate) every: Duration,
    pub(crate) what: Who,
    pub(crate) repo: RepoName,
    /// The task, in words.
    pub(crate) text: String,
}

/// Who works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    Agent(AgentName),
    Pipeline(PipelineName),
}

impl fmt::Display for Who {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(name) => name.fmt(to),
            Self::Pipeline(name) => name.fmt(to),
        }
    }
}

impl Reader<'_> {
    pub(super) fn schedule(
        &self,
        file: &File,
        agents: &BTreeMap<AgentName, AgentConfig>,
        pipelines: &BTreeMap<PipelineName, PipelineConfig>,
        repos: &BTreeMap<RepoName, RepoConfig>,
    ) -> Result<Vec<Scheduled>, ConfigError> {
        let mut schedule: Vec<Scheduled> = Vec::new();
        for (index, when) in file.when.iter().enumerate() {
            let key = format!("when[{index}]");
            let what = match (&when.run, &when.pipeline) {
                (Some(agent), None) if agent == AD_HOC => {
                    let because = "runs programs that somebody names at the command line; register the program as an agent of its own";
                    return self.bad(format!("{key}.run"), because);
                }
                (Some(agent), None) => Who::Agent(self.known(&format!("{key}.run"), agent, agents)?),
                (None, Some(name)) => Who::Pipeline(self.known(&format!("{key}.pipeline"), name, pipelines)?),
                _ => {
                    return self.bad(key, "needs either `run`, which names an agent, or `pipeline`");
                }
            };
            let repo = self.known(&format!("{key}.repo"), &when.repo, repos)?;
            let text = match &when.task {
                Some(task) if task.trim().is_empty() || task.len() > SENTENCE_BYTES_MAX => {
                    return self
                        .bad(format!("{key}.task"), format!("is empty, or longer than {SENTENCE_BYTES_MAX} bytes"));
                }
                Some(task) => task.clone(),
                None if is_told_its_task(&what, agents) => {
                    let because = format!(
                        "is missing: `{what}` is told in words what to do; write such as `task = \"update the changelog\"`"
                    );
                    return self.bad(format!("{key}.task"), because);
                }
                None => NO_TASK.to_owned(),
            };
            let is_same = |known: &Scheduled| (&known.what, &known.repo, &known.text) == (&what, &repo, &text);
            if let Some(same) = schedule.iter().position(is_same) {
                return self.bad(key, format!("is `{what}` on `{repo}` again, after `when[{same}]`; keep one of them"));
            }
            schedule.push(Scheduled { every: self.span(&format!("{key}.every"), &when.every)?, what, repo, text });
        }
        Ok(schedule)
    }
}

/// Whether a task without words is none: what the operator's own programs and the remediation worker do is known without.
fn is_told_its_task(what: &Who, agents: &BTreeMap<AgentName, AgentConfig>) -> bool {
    match what {
        Who::Agent(name) => {
            agents.get(name).is_some_and(|agent| matches!(agent.runtime, Runtime::Agent(_) | Runtime::Acp(_)))
        }
        Who::Pipeline(_) => true,
    }
}
