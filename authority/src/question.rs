//! What is asked of policy: an order, who asks, and facts the factory computed. Nothing an agent says is a fact.

use selvedge_domain::{
    AgentName, Conduct, Description, Digest, Grant, Intent, Owner, Person, Risk, RunId, Sensitivity, Trust, WorkloadId,
};

use crate::Verdict;

/// Answers questions. Pure: the same question, the same answer.
///
/// There is no error: whatever goes wrong inside is a denial with [`crate::Code::PolicyError`].
pub trait Judge: Sync {
    /// The answer to `question`.
    fn judge(&self, question: &Question<'_>) -> Verdict;
}

/// One question.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// Who asks.
    pub subject: &'a Subject,
    /// What is asked.
    pub order: &'a Description,
    /// What the factory knows.
    pub context: &'a Context,
    /// Whether a valid approval for exactly this order is on record.
    pub approved: bool,
    /// How much harm it could do.
    pub risk: Risk,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// An agent, in a run.
    Agent {
        /// Its identity.
        workload: WorkloadId,
        /// Its name.
        name: AgentName,
        /// Who answers for it.
        owner: Owner,
        /// How far it may go: the lower of what was granted and what its lineage allows (requirement B5).
        trust: Trust,
        /// How it is graded: by its owner, and by what it does.
        conduct: Conduct,
        /// What its run may use.
        grant: Box<Grant>,
    },
    /// A person.
    Person(Person),
    /// The factory, for the acts that belong to no agent.
    Factory,
}

/// Facts about the run and its repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The run, when there is one.
    pub run: Option<RunId>,
    /// What its task is for.
    pub intent: Option<Intent>,
    /// How sensitive the repository is.
    pub sensitivity: Sensitivity,
    /// How many runs of ours lie behind it.
    pub chain_depth: usize,
    /// How many follow-ups the chain may still queue.
    pub follow_ups_left: u32,
    /// Whether anything in its lineage came from text that people outside the organisation can write.
    pub tainted: bool,
    /// Whether an agent of this run has read a file that is sensitive.
    pub read_sensitive: bool,
    /// Whether this repository may land without a person.
    pub lands_unattended: bool,
    /// Fingerprint of the configuration in force.
    pub configuration: Digest,
}
