//! What asks for work, and the work itself, frozen at admission (requirements A3, A9).

use std::collections::BTreeSet;
use std::fmt;

use crate::{Actor, AgentName, CommitId, Digest, RepoName, RunId, TaskId, TriggerId, Trust};

/// What asked for work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TriggerSource {
    /// A person at the command line.
    Command,
    /// A scan for vulnerable dependencies, asked for by a person.
    Scan,
    /// The clock.
    Schedule,
    /// A finished run.
    FollowUp,
}

/// A request for work, as it arrived. Its text is frozen: a later edit is another trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// Its id.
    pub id: TriggerId,
    /// What asked.
    pub source: TriggerSource,
    /// Who asked.
    pub by: Actor,
    /// Which repository it concerns.
    pub repo: RepoName,
    /// Which agent should do it.
    pub agent: AgentName,
    /// What is asked for, in the asker's words. Data, never instructions to the factory.
    pub text: String,
    /// The program to run, for ad-hoc work of a `command` worker; empty otherwise.
    pub argv: Vec<String>,
    /// Where it comes from, when a run of ours made it.
    pub lineage: Lineage,
}

/// The chain of runs that led here. A trigger that a run made carries that run's chain, taint and ceiling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// The run that queued this work, nearest first; empty for work from outside.
    pub ancestors: Vec<RunId>,
    /// Every agent that had a hand in the chain: none of them may approve or merge it (requirement D6).
    pub agents: BTreeSet<AgentName>,
    /// No run in the chain may go further than this.
    pub ceiling: Trust,
    /// Where the work starts when it builds on what an ancestor proposed; otherwise the branch head at admission.
    pub starts_from: Option<CommitId>,
}

/// A piece of work, fixed when it was admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// The trigger it answers.
    pub trigger: Trigger,
    /// What it is for.
    pub intent: Intent,
    /// The commit that work and checks start from.
    pub base: CommitId,
}

/// What a task is for, fixed at admission; policy binds every order to it (requirement D2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Intent {
    /// Remove a known vulnerability from the dependencies and propose that.
    RemediateDependencies,
    /// Change code and propose that.
    ProposeChange,
    /// Run a program and show what it says; nothing leaves.
    RunCommand,
}

impl Lineage {
    /// Work that comes from outside the factory.
    pub fn outside() -> Self {
        Self { ancestors: Vec::new(), agents: BTreeSet::new(), ceiling: Trust::Release, starts_from: None }
    }

    /// How many runs of ours lie behind this work.
    pub fn depth(&self) -> usize {
        self.ancestors.len()
    }

    /// The lineage of what `run` by `agent` at `trust` makes.
    #[must_use]
    pub fn child(&self, run: &RunId, agent: &AgentName, trust: Trust) -> Self {
        let mut child = self.clone();
        child.ancestors.insert(0, run.clone());
        child.agents.insert(agent.clone());
        child.ceiling = self.ceiling.min(trust);
        child.starts_from = None;
        child
    }
}

impl Trigger {
    /// The fingerprint of everything that was asked: who, what, where and in which words.
    pub fn digest(&self) -> Digest {
        let by = self.by.to_string();
        let fixed = [self.source.as_str(), &by, self.repo.as_str(), self.agent.as_str(), &self.text];
        Digest::of_parts(fixed.into_iter().chain(self.argv.iter().map(String::as_str)).map(str::as_bytes))
    }
}

impl TriggerSource {
    /// Every source.
    pub const ALL: &'static [Self] = &[Self::Command, Self::Scan, Self::Schedule, Self::FollowUp];

    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Scan => "scan",
            Self::Schedule => "schedule",
            Self::FollowUp => "follow-up",
        }
    }

    /// Reads the word in records.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|source| source.as_str() == word)
    }
}

impl Intent {
    /// Every intent.
    pub const ALL: &'static [Self] = &[Self::RemediateDependencies, Self::ProposeChange, Self::RunCommand];

    /// The word in policies and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RemediateDependencies => "remediate-dependencies",
            Self::ProposeChange => "propose-change",
            Self::RunCommand => "run-command",
        }
    }

    /// Reads the word in policies and records.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|intent| intent.as_str() == word)
    }
}

impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_never_gains_trust_and_remembers_every_agent() {
        let (first, second) = (AgentName::parse("fixer").unwrap(), AgentName::parse("reviewer").unwrap());
        let one = Lineage::outside().child(&RunId::from_entropy(1), &first, Trust::Draft);
        let two = one.child(&RunId::from_entropy(2), &second, Trust::Release);
        assert_eq!(two.ceiling, Trust::Draft, "a stronger agent does not lift the ceiling (A-103)");
        assert_eq!(two.agents, BTreeSet::from([first, second]));
        assert_eq!(two.depth(), 2);
    }
}
