//! Parts of a pipeline: which share of one task a run has, frozen when it was queued. Who works on it and what they may do is said by
//! the operator's configuration and by nothing that is handed over.

use crate::{Digest, Lineage, PartName, PipelineName, Run, Trust};

/// One part of a pipeline. Users write and read `stage`; here that word is taken by where a run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Which pipeline.
    pub pipeline: PipelineName,
    /// Fingerprint of the whole pipeline as it was configured when its first part was queued. Another one is another pipeline.
    pub definition: Digest,
    /// What the part is called.
    pub name: PartName,
    /// Which it is, counted from 1.
    pub number: u32,
    /// Of how many.
    pub of: u32,
    /// Whether it says yes or no to the change that the part before it made.
    pub reviews: bool,
}

impl Part {
    /// Whether nothing follows it.
    pub fn is_last(&self) -> bool {
        self.number >= self.of
    }

    /// All of it, a word for each.
    pub(crate) fn words(&self) -> Vec<String> {
        let Self { pipeline, definition, name, number, of, reviews } = self;
        vec![
            format!("pipeline {pipeline}"),
            format!("definition {definition}"),
            format!("part {name} {number} of {of}"),
            format!("reviews {reviews}"),
        ]
    }
}

impl Run {
    /// The lineage of the part that follows the one this run was. The chain, its agents and its ceiling stay. But the trust of
    /// the part before limits nobody: unlike whoever asks for a follow-up or a child, it had no say in what comes next.
    pub fn begets_part(&self, part: Part) -> Lineage {
        let mut next = self.begets(Trust::Release);
        next.part = Some(Box::new(part));
        next
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{Actor, AgentName, RepoName, RunId, Trigger, TriggerId, TriggerSource};

    fn part(number: u32) -> Part {
        Part {
            pipeline: PipelineName::parse("fix").unwrap(),
            definition: Digest::of_parts([b"fix".as_slice()]),
            name: PartName::parse("plan").unwrap(),
            number,
            of: 4,
            reviews: false,
        }
    }

    fn agent(name: &str) -> AgentName {
        AgentName::parse(name).unwrap()
    }

    fn run(id: &RunId, by: &str, lineage: Lineage) -> Run {
        let (repo, text) = (RepoName::parse("acme/shop").unwrap(), String::new());
        let (source, by, agent, argv) = (TriggerSource::Stage, Actor::Factory, agent(by), Vec::new());
        Run::begin(id.clone(), Trigger { id: TriggerId::from_entropy(1), source, by, repo, agent, text, argv, lineage })
    }

    #[test]
    fn what_a_part_read_is_known_of_every_part_after_it_a78() {
        let first = Lineage { part: Some(Box::new(part(1))), ..Lineage::outside() };
        let plan = run(&RunId::from_entropy(1), "planner", first);
        assert!(!plan.begets_part(part(2)).read_sensitive);
        let second = plan.having_read().begets_part(part(2));
        let third = run(&RunId::from_entropy(2), "executor", second).begets_part(part(3));
        assert!(run(&RunId::from_entropy(3), "reviewer", third).has_read());
    }

    #[test]
    fn a_part_keeps_the_chain_and_the_first_ceiling_a5_a103() {
        let first = Lineage { ceiling: Trust::Land, part: Some(Box::new(part(1))), ..Lineage::outside() };
        let (plan, execute) = (RunId::from_entropy(1), RunId::from_entropy(2));
        let second = run(&plan, "planner", first).begets_part(part(2));
        let third = run(&execute, "executor", second).begets_part(part(3));
        assert_eq!(third.ceiling, Trust::Land, "no part lifts or lowers what the first trigger was held to");
        assert_eq!(third.agents, BTreeSet::from([agent("planner"), agent("executor")]));
        assert_eq!(third.ancestors, [execute.clone(), plan.clone()]);
        assert!(third.hangs_on(&plan) && third.hangs_on(&execute), "a halt of any part stops what follows");
    }

    #[test]
    fn what_a_part_asks_for_hangs_on_the_pipeline_and_is_no_part_of_it_a5() {
        let trigger = |source, part: Part| Trigger {
            id: TriggerId::from_entropy(1),
            source,
            by: Actor::Factory,
            repo: RepoName::parse("acme/shop").unwrap(),
            agent: agent("planner"),
            text: String::new(),
            argv: Vec::new(),
            lineage: Lineage { part: Some(Box::new(part)), ..Lineage::outside() },
        };
        assert_eq!(trigger(TriggerSource::Stage, part(2)).part(), Some(&part(2)));
        assert_eq!(trigger(TriggerSource::Command, part(1)).part(), Some(&part(1)));
        for beside in [TriggerSource::Child, TriggerSource::FollowUp] {
            assert_eq!(trigger(beside, part(2)).part(), None);
        }
        let other = Part { reviews: true, ..part(2) };
        assert_ne!(
            trigger(TriggerSource::Stage, part(2)).digest(),
            trigger(TriggerSource::Stage, other).digest(),
            "the fingerprint of a trigger holds which part it is"
        );
    }
}
