//! Stored forms of triggers, their lineage and tasks.

use selvedge_domain::{
    Actor, AgentName, CommitId, Intent, Lineage, RepoName, RunId, Task, TaskId, Trigger, TriggerId, TriggerSource,
    Trust,
};
use serde::{Deserialize, Serialize};

use super::handed::HandedV1;
use super::part::PartV1;
use super::{Malformed, word};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::entry) struct TriggerV1 {
    id: String,
    source: String,
    by: String,
    repo: String,
    agent: String,
    text: String,
    argv: Vec<String>,
    lineage: LineageV1,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineageV1 {
    ancestors: Vec<String>,
    agents: Vec<String>,
    ceiling: String,
    starts_from: Option<String>,
    /// Since version 2 of the kinds that hold a trigger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    within: Option<HandedV1>,
    /// Since version 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    part: Option<PartV1>,
    /// Since version 4.
    #[serde(default, skip_serializing_if = "is_no")]
    read_sensitive: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::entry) struct TaskV1 {
    id: String,
    trigger: TriggerV1,
    intent: String,
    base: String,
}

impl TriggerV1 {
    pub(in crate::entry) fn store(trigger: &Trigger) -> Self {
        let Trigger { id, source, by, repo, agent, text, argv, lineage } = trigger;
        Self {
            id: id.to_string(),
            source: source.as_str().to_owned(),
            by: by.to_string(),
            repo: repo.to_string(),
            agent: agent.to_string(),
            text: text.clone(),
            argv: argv.clone(),
            lineage: LineageV1::store(lineage),
        }
    }

    /// The version of the kind that holds it.
    pub(in crate::entry) fn version(&self) -> u32 {
        match (self.lineage.read_sensitive, &self.lineage.part, &self.lineage.within) {
            (true, _, _) => 4,
            (false, Some(_), _) => 3,
            (false, None, Some(_)) => 2,
            (false, None, None) => 1,
        }
    }

    pub(in crate::entry) fn restore(self) -> Result<Trigger, Malformed> {
        Ok(Trigger {
            id: TriggerId::parse(&self.id)?,
            source: word("a source of triggers", &self.source, TriggerSource::parse)?,
            by: word("an actor", &self.by, Actor::parse)?,
            repo: RepoName::parse(&self.repo)?,
            agent: AgentName::parse(&self.agent)?,
            text: self.text,
            argv: self.argv,
            lineage: self.lineage.restore()?,
        })
    }
}

impl LineageV1 {
    fn store(lineage: &Lineage) -> Self {
        let Lineage { ancestors, agents, ceiling, starts_from, within, part, read_sensitive } = lineage;
        Self {
            ancestors: ancestors.iter().map(ToString::to_string).collect(),
            agents: agents.iter().map(ToString::to_string).collect(),
            ceiling: ceiling.as_str().to_owned(),
            starts_from: starts_from.as_ref().map(ToString::to_string),
            within: within.as_deref().map(HandedV1::store),
            part: part.as_deref().map(PartV1::store),
            read_sensitive: *read_sensitive,
        }
    }

    fn restore(self) -> Result<Lineage, Malformed> {
        Ok(Lineage {
            ancestors: self.ancestors.iter().map(|run| RunId::parse(run)).collect::<Result<_, _>>()?,
            agents: self.agents.iter().map(|agent| AgentName::parse(agent)).collect::<Result<_, _>>()?,
            ceiling: word("a level of trust", &self.ceiling, Trust::parse)?,
            starts_from: self.starts_from.map(|commit| CommitId::parse(&commit)).transpose()?,
            within: self.within.map(|handed| handed.restore().map(Box::new)).transpose()?,
            part: self.part.map(|part| part.restore().map(Box::new)).transpose()?,
            read_sensitive: self.read_sensitive,
        })
    }
}

fn is_no(flag: &bool) -> bool {
    !flag
}

impl TaskV1 {
    pub(in crate::entry) fn store(task: &Task) -> Self {
        let Task { id, trigger, intent, base } = task;
        Self {
            id: id.to_string(),
            trigger: TriggerV1::store(trigger),
            intent: intent.as_str().to_owned(),
            base: base.to_string(),
        }
    }

    /// The version of the kind that holds it.
    pub(in crate::entry) fn version(&self) -> u32 {
        self.trigger.version()
    }

    pub(in crate::entry) fn restore(self) -> Result<Task, Malformed> {
        Ok(Task {
            id: TaskId::parse(&self.id)?,
            trigger: self.trigger.restore()?,
            intent: word("an intent", &self.intent, Intent::parse)?,
            base: CommitId::parse(&self.base)?,
        })
    }
}
