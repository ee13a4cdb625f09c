//! Pipelines: which agents work on one task in which order, and that nobody reviews what they made (requirement A5).

use std::collections::{BTreeMap, BTreeSet};

use selvedge_domain::{AgentName, Digest, Intent, May, PartName, PipelineName};
use selvedge_factory::ports::{Pipeline, PipelinePart};

use super::file::pipeline::Stage;
use super::{AgentConfig, ConfigError, File, Reader, Runtime, one_of};

/// Most stages of a pipeline. Each costs a sandbox and a model; longer chains are several tasks.
const STAGES_MAX: usize = 8;

/// Longest sentence that is added to the task for a stage.
pub(super) const SENTENCE_BYTES_MAX: usize = 4 << 10;

/// A stage that is called this reviews.
const REVIEW: &str = "review";

/// A pipeline, and what its stages are told.
#[derive(Debug, Clone)]
pub(crate) struct PipelineConfig {
    pub(crate) pipeline: Pipeline,
    /// What is added to the task, by stage.
    pub(crate) sentences: BTreeMap<PartName, String>,
}

impl Reader<'_> {
    /// Every pipeline. One whose change nobody would review, or its own author, does not load.
    pub(super) fn pipelines(
        &self,
        file: &File,
        agents: &BTreeMap<AgentName, AgentConfig>,
    ) -> Result<BTreeMap<PipelineName, PipelineConfig>, ConfigError> {
        let mut pipelines = BTreeMap::new();
        for (name, written) in &file.pipeline {
            let key = format!("pipeline.{name}");
            let name = PipelineName::parse(name).or_else(|bad| self.bad(&key, bad.to_string()))?;
            let key = key + ".stages";
            if !(2..=STAGES_MAX).contains(&written.stages.len()) {
                let stages = match written.stages.len() {
                    1 => "1 stage".to_owned(),
                    count => format!("{count} stages"),
                };
                return self.bad(key, format!("holds {stages}, not 2 to {STAGES_MAX}"));
            }
            let (mut parts, mut sentences) = (Vec::new(), BTreeMap::new());
            for (index, stage) in written.stages.iter().enumerate() {
                let part = self.part(&format!("{key}[{index}]"), stage, file, agents)?;
                if let Some(sentence) = &stage.task {
                    sentences.insert(part.name.clone(), sentence.clone());
                }
                parts.push(part);
            }
            self.see_that_all_differ(&key, &parts)?;
            self.see_that_changes_are_reviewed(&key, &parts, agents)?;
            let definition = definition(&name, &parts, &sentences);
            let pipeline = Pipeline { name: name.clone(), definition, parts };
            pipelines.insert(name, PipelineConfig { pipeline, sentences });
        }
        Ok(pipelines)
    }

    fn part(
        &self,
        key: &str,
        stage: &Stage,
        file: &File,
        agents: &BTreeMap<AgentName, AgentConfig>,
    ) -> Result<PipelinePart, ConfigError> {
        let name = PartName::parse(&stage.name).or_else(|bad| self.bad(format!("{key}.name"), bad.to_string()))?;
        // What the factory has built in for other things does no task.
        let agent =
            agents.keys().find(|agent| agent.as_str() == stage.agent && file.agent.contains_key(agent.as_str()));
        let Some(agent) = agent else {
            let because = one_of(&stage.agent, file.agent.keys().map(String::as_str));
            return self.bad(format!("{key}.agent"), because);
        };
        if stage.task.as_ref().is_some_and(|task| task.trim().is_empty() || task.len() > SENTENCE_BYTES_MAX) {
            return self.bad(format!("{key}.task"), format!("is empty, or longer than {SENTENCE_BYTES_MAX} bytes"));
        }
        let reviews = stage.review || stage.name == REVIEW;
        Ok(PipelinePart { name, agent: agent.clone(), reviews })
    }

    /// An agent, an identity, a grant and a budget for each stage; and names under which what they leave can lie side by side.
    fn see_that_all_differ(&self, key: &str, parts: &[PipelinePart]) -> Result<(), ConfigError> {
        let (mut names, mut workers) = (BTreeSet::new(), BTreeSet::new());
        for (index, part) in parts.iter().enumerate() {
            if !names.insert(&part.name) {
                return self.bad(format!("{key}[{index}].name"), format!("is `{}` again", part.name));
            }
            if !workers.insert(&part.agent) {
                let because = match part.reviews {
                    true => format!("is `{}` again: none reviews what it had a hand in", part.agent),
                    false => format!("is `{}` again: each stage has an agent of its own", part.agent),
                };
                return self.bad(format!("{key}[{index}].agent"), because);
            }
        }
        Ok(())
    }

    /// A change is made last but one, and reviewed last: what is proposed is what was looked at.
    fn see_that_changes_are_reviewed(
        &self,
        key: &str,
        parts: &[PipelinePart],
        agents: &BTreeMap<AgentName, AgentConfig>,
    ) -> Result<(), ConfigError> {
        let changes = |part: &PipelinePart| {
            !part.reviews && agents.get(&part.agent).is_some_and(|agent| agent.agent.intent != Intent::RunCommand)
        };
        for (index, part) in parts.iter().enumerate() {
            let before = index.checked_sub(1).and_then(|before| parts.get(before));
            let is_reviewed = parts.get(index + 1).is_some_and(|next| next.reviews);
            if changes(part) && !is_reviewed {
                let because = format!(
                    "agent `{}` changes code, so the stage after it has to review that: add one with `review = true`, or \
                     give the agent trust `draft` if it only reports",
                    part.agent
                );
                return self.bad(format!("{key}[{index}]"), because);
            }
            if !part.reviews {
                continue;
            }
            if index + 1 != parts.len() || !before.is_some_and(changes) {
                let because = "reviews, so it has to be the last stage, and the one before it has to change something: \
                               its agent needs trust `propose`";
                return self.bad(format!("{key}[{index}]"), because);
            }
            let opens = agents.get(&part.agent).is_some_and(|agent| {
                agent.agent.intent == Intent::ProposeChange
                    && agent.agent.may.contains(&May::OpenProposal)
                    && agent.runtime != Runtime::Remediate
            });
            if !opens {
                let because = format!(
                    "opens the proposal once it says yes, so agent `{}` needs trust `propose` and `open-pr` in `may`",
                    part.agent
                );
                return self.bad(format!("{key}[{index}].agent"), because);
            }
        }
        Ok(())
    }
}

/// What makes it this pipeline and no other.
fn definition(name: &PipelineName, parts: &[PipelinePart], sentences: &BTreeMap<PartName, String>) -> Digest {
    let mut words = vec![name.to_string()];
    for part in parts {
        let sentence = sentences.get(&part.name).cloned().unwrap_or_default();
        words.extend([part.name.to_string(), part.agent.to_string(), part.reviews.to_string(), sentence]);
    }
    Digest::of_parts(words.iter().map(String::as_bytes))
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    fn agent(name: &str, trust: &str) -> String {
        format!(
            "[agent.{name}]\nruntime = \"command\"\ncommand = [\"true\"]\nowner = \"o\"\npurpose = \"p\"\nescalate = \"e\"\n\
             trust = \"{trust}\"\nmay = [\"read\", \"write\", \"open-pr\"]\n"
        )
    }

    fn read(stages: &str) -> Result<Config, String> {
        let agents = [("planner", "draft"), ("finder", "draft"), ("maker", "propose"), ("reviewer", "propose")];
        let agents: String = agents.iter().map(|(name, trust)| agent(name, trust)).collect();
        let text = format!("{agents}[pipeline.fix]\nstages = [{stages}]\n");
        Config::parse("selvedge.toml", &text).map_err(|error| error.to_string())
    }

    const PLAN: &str = "{ name = \"plan\", agent = \"planner\" }";
    const FIND: &str = "{ name = \"retrieve\", agent = \"finder\" }";
    const MAKE: &str = "{ name = \"execute\", agent = \"maker\" }";
    const REVIEW: &str = "{ name = \"review\", agent = \"reviewer\" }";

    #[test]
    fn a_pipeline_of_four_agents_is_read_a5() {
        let config = read(&[PLAN, FIND, MAKE, REVIEW].join(", ")).unwrap();
        let pipeline = &config.pipelines.values().next().unwrap().pipeline;
        let (last, configured) = pipeline.part(4).unwrap();
        assert!(last.reviews && last.is_last() && configured.agent.as_str() == "reviewer");
        assert!(pipeline.part(0).is_none() && pipeline.part(5).is_none());
        let marked = "{ name = \"look\", agent = \"reviewer\", review = true, task = \"Look closely.\" }";
        let other = read(&[PLAN, MAKE, marked].join(", ")).unwrap();
        let other = &other.pipelines.values().next().unwrap();
        assert!(other.pipeline.part(3).unwrap().0.reviews);
        assert_ne!(other.pipeline.definition, pipeline.definition);
        assert!(read(&[PLAN, FIND].join(", ")).is_ok(), "nothing is changed, so nothing is reviewed");
    }

    #[test]
    fn nobody_reviews_what_they_made_and_nothing_is_made_unreviewed_d3_a80() {
        let own = "{ name = \"review\", agent = \"maker\" }";
        let first = "{ name = \"first\", agent = \"reviewer\" }";
        for (stages, named) in [
            (vec![PLAN, MAKE, own], "stages[2].agent` in `selvedge.toml`: is `maker` again: none reviews"),
            (vec![first, PLAN, MAKE, REVIEW], "stages[3].agent` in `selvedge.toml`: is `reviewer` again: none reviews"),
            (vec![PLAN, MAKE, REVIEW, REVIEW], "is `review` again"),
            (vec![PLAN, MAKE], "has to review that"),
            (vec![MAKE, PLAN, REVIEW], "has to review that"),
            (vec![PLAN, FIND, REVIEW], "reviews, so it has to be the last stage"),
            (vec![MAKE, REVIEW, PLAN], "reviews, so it has to be the last stage"),
            (vec![MAKE, "{ name = \"review\", agent = \"planner\" }"], "needs trust `propose` and `open-pr`"),
            (vec![PLAN, "{ name = \"retrieve\", agent = \"planner\" }"], "each stage has an agent of its own"),
            (vec![PLAN, "{ name = \"retrieve\", agent = \"ad-hoc\" }"], "is not one of"),
            (vec![PLAN, "{ name = \"../x\", agent = \"finder\" }"], "stages[1].name"),
            (vec![PLAN, "{ name = \"x\", agent = \"finder\", task = \" \" }"], "stages[1].task"),
            (vec![PLAN], "holds 1 stage, not 2 to 8"),
        ] {
            let error = read(&stages.join(", ")).unwrap_err();
            assert!(error.contains(named), "{stages:?}: {error}");
        }
    }
}
