//! What asks for work, and the work itself, frozen at admission (requirements A3, A9).

use std::collections::BTreeSet;
use std::fmt;

use crate::{Actor, AgentName, Ceiling, CommitId, Digest, Part, RepoName, RunId, TaskId, TriggerId, Trust};

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
    /// A run at work, for a child with less than it holds itself.
    Child,
    /// A pipeline whose part before this one ended well. Nobody but the factory asks like this.
    Stage,
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
    /// What a run in the chain gave when it asked for a child; none where nobody did. Nothing below uses more.
    pub within: Option<Box<Handed>>,
    /// The part of a pipeline that this is, or hangs on; none outside of pipelines.
    pub part: Option<Box<Part>>,
    /// Whether a run of the chain had read a sensitive file by the time it queued what follows. Whatever it was able to say, it said then.
    pub read_sensitive: bool,
}

/// What a run that asks for a child hands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// What it may use at most.
    pub ceiling: Ceiling,
    /// How often authority was handed on, this time included.
    pub depth: u32,
    /// What it may spend, in millionths of the unit the operator counts in. It is taken off what its giver has left.
    pub budget: u64,
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
        Self {
            ancestors: Vec::new(),
            agents: BTreeSet::new(),
            ceiling: Trust::Release,
            starts_from: None,
            within: None,
            part: None,
            read_sensitive: false,
        }
    }

    /// How many runs of ours lie behind this work.
    pub fn depth(&self) -> usize {
        self.ancestors.len()
    }

    /// The lineage of what `run` by `agent` at `trust` makes, as far as the chain before that run tells; [`Run::begets`](crate::Run::begets)
    /// knows the rest.
    #[must_use]
    pub fn child(&self, run: &RunId, agent: &AgentName, trust: Trust) -> Self {
        let mut child = self.clone();
        child.ancestors.insert(0, run.clone());
        child.agents.insert(agent.clone());
        child.ceiling = self.ceiling.min(trust);
        child.starts_from = None;
        // What was given to spend was given once.
        if let Some(handed) = &mut child.within {
            handed.budget = 0;
        }
        child
    }

    /// Whether a run of the chain that this hangs on is the one with this id: what ends that run ends this.
    pub fn hangs_on(&self, run: &RunId) -> bool {
        (self.within.is_some() || self.part.is_some()) && self.ancestors.contains(run)
    }
}

impl Handed {
    /// All of it, a word for each.
    fn words(&self) -> Vec<String> {
        let Self { ceiling, depth, budget } = self;
        let mut words = vec![format!("trust {}", ceiling.trust), format!("depth {depth}"), format!("budget {budget}")];
        words.extend(ceiling.may_words().into_iter().map(|may| format!("may {may}")));
        words.extend(ceiling.reach_words().into_iter().map(|reach| format!("reach {reach}")));
        words.extend(ceiling.audiences.iter().map(|audience| format!("audience {audience}")));
        words.extend(ceiling.loan_words().into_iter().map(|loan| format!("loan {loan}")));
        words
    }
}

impl Trigger {
    /// The fingerprint of everything that was asked: who, what, where and in which words.
    pub fn digest(&self) -> Digest {
        let by = self.by.to_string();
        let fixed = [self.source.as_str(), &by, self.repo.as_str(), self.agent.as_str(), &self.text];
        // A child has no program of its own, so that these are never taken for its words.
        let handed = self.lineage.within.as_ref().map(|handed| handed.words()).unwrap_or_default();
        // Nor has a part of a pipeline.
        let part = self.lineage.part.as_ref().map(|part| part.words()).unwrap_or_default();
        let asked = self.argv.iter().chain(&handed).chain(&part).map(String::as_str);
        Digest::of_parts(fixed.into_iter().chain(asked).map(str::as_bytes))
    }
}

impl Trigger {
    /// The part of a pipeline that the run of this trigger is. What a part asks for besides, a child say, is none.
    pub fn part(&self) -> Option<&Part> {
        let is_beside = matches!(self.source, TriggerSource::Child | TriggerSource::FollowUp);
        self.lineage.part.as_deref().filter(|_| !is_beside)
    }
}

impl TriggerSource {
    /// Every source.
    pub const ALL: &'static [Self] =
        &[Self::Command, Self::Scan, Self::Schedule, Self::FollowUp, Self::Child, Self::Stage];

    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Scan => "scan",
            Self::Schedule => "schedule",
            Self::FollowUp => "follow-up",
            Self::Child => "child",
            Self::Stage => "stage",
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
    fn what_was_handed_on_goes_down_the_chain_and_is_spent_once_b4() {
        let agent = AgentName::parse("fixer").unwrap();
        let ceiling = Ceiling {
            trust: Trust::Draft,
            may: BTreeSet::from([crate::May::Read]),
            reach: BTreeSet::new(),
            audiences: BTreeSet::new(),
            loans: BTreeSet::new(),
        };
        let (giver, child) = (RunId::from_entropy(1), RunId::from_entropy(2));
        let mut lineage = Lineage::outside().child(&giver, &agent, Trust::Propose);
        assert!(!lineage.hangs_on(&giver), "a follow-up was given nothing");
        lineage.within = Some(Box::new(Handed { ceiling: ceiling.clone(), depth: 1, budget: 5 }));
        let follow_up = lineage.child(&child, &agent, Trust::Release);
        assert_eq!(follow_up.within, Some(Box::new(Handed { ceiling, depth: 1, budget: 0 })));
        assert!(follow_up.hangs_on(&giver) && follow_up.hangs_on(&child) && lineage.hangs_on(&giver));
        assert!(!lineage.hangs_on(&child));
    }

    #[test]
    fn a_trigger_s_fingerprint_holds_what_was_handed_on_b4() {
        let repo = RepoName::parse("acme/shop").unwrap();
        let agent = AgentName::parse("fixer").unwrap();
        let with = |budget| {
            let ceiling = Ceiling {
                trust: Trust::Draft,
                may: BTreeSet::new(),
                reach: BTreeSet::new(),
                audiences: BTreeSet::new(),
                loans: BTreeSet::new(),
            };
            let within = Some(Box::new(Handed { ceiling, depth: 1, budget }));
            let (id, by, text) = (TriggerId::from_entropy(1), Actor::Factory, String::new());
            let lineage = Lineage { within, ..Lineage::outside() };
            let (source, repo, agent) = (TriggerSource::Child, repo.clone(), agent.clone());
            Trigger { id, source, by, repo, agent, text, argv: Vec::new(), lineage }.digest()
        };
        assert_ne!(with(1), with(2));
    }

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
