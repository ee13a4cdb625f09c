//! What people do: approve, deny, answer, merge. Their orders pass the same funnel; who they are is the uid on the control socket.

use selvedge_authority::{Context, Entry, Record, Stop, Subject, class_of};
use selvedge_domain::orders::{AnswerQuestion, GrantApproval, MergeProposal, Merged, Replied};
use selvedge_domain::{Actor, ApprovalId, CommitId, Person, ProposalNumber, Run, Verb};

use crate::cycle::{Factory, Halt};

/// A merge a person asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    /// Which proposal.
    pub number: ProposalNumber,
    /// The head they reviewed.
    pub head: CommitId,
    /// Who asks.
    pub by: Actor,
}

/// Why a person's order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Decline {
    /// The funnel stopped it.
    #[error(transparent)]
    Stop(#[from] Stop),
    /// A halt covers the run.
    #[error("halted: {0}")]
    Halted(String),
    /// The run's agent or repository is no longer configured.
    #[error("{0}")]
    Unknown(String),
}

impl Factory<'_> {
    /// A person says yes to an order of `run`.
    pub fn approve(&self, run: &Run, order: GrantApproval) -> Result<(), Decline> {
        self.refuse_when_halted(run)?;
        let subject = Subject::Person(order.by);
        let context = self.context_for(run)?;
        Ok(self.funnel_of(&subject, &context).perform(order, |_permit| Ok(()))?)
    }

    /// A person answers a question of `run`.
    pub fn answer(&self, run: &Run, order: AnswerQuestion) -> Result<Replied, Decline> {
        self.refuse_when_halted(run)?;
        let subject = Subject::Person(order.by);
        let context = self.context_for(run)?;
        Ok(self.funnel_of(&subject, &context).perform(order, |_permit| Ok(Replied))?)
    }

    /// A person says no. Takes nothing but a record: a no only removes authority.
    pub fn deny(&self, run: &Run, approval: ApprovalId, by: Person) -> Result<(), Stop> {
        let entry = Entry {
            at: self.clock.now(),
            run: Some(run.id().clone()),
            actor: Actor::Person(by),
            owner: None,
            record: Record::ApprovalDenied { approval },
        };
        Ok(self.store.append(entry, class_of(Verb::ApprovalGrant))?)
    }

    /// Merges the proposal `run` made. Refused to every agent in the chain that made it (requirement D6, A-67).
    pub fn merge(&self, run: &Run, merge: Merge) -> Result<Merged, Decline> {
        self.refuse_when_halted(run)?;
        let context = self.context_for(run)?;
        let desk = self.desk(run).map_err(unknown)?;
        let chain = &run.trigger().lineage.agents;
        let (subject, asked_by_author) = match &merge.by {
            Actor::Person(person) => (Subject::Person(*person), false),
            Actor::Workload(workload) => {
                let author = workload.agent() == &run.trigger().agent || chain.contains(workload.agent());
                (desk.subject.clone(), author)
            }
            Actor::Factory => (Subject::Factory, false),
        };
        let order = MergeProposal {
            repo: desk.repository.name.clone(),
            number: merge.number,
            run: run.id().clone(),
            head: merge.head,
            target: desk.repository.target.clone(),
            asked_by_author,
        };
        let funnel = self.funnel_of(&subject, &context);
        Ok(funnel.perform(order, |permit| self.repositories.merge(permit))?)
    }

    fn refuse_when_halted(&self, run: &Run) -> Result<(), Decline> {
        match self.store.halted(run).map_err(Stop::Journal)? {
            Some(because) => Err(Decline::Halted(because)),
            None => Ok(()),
        }
    }

    fn context_for(&self, run: &Run) -> Result<Context, Decline> {
        self.desk(run).map(|desk| desk.context).map_err(unknown)
    }
}

fn unknown(halt: Halt) -> Decline {
    match halt {
        Halt::End(outcome) => Decline::Unknown(outcome.because()),
        Halt::Later(because) => Decline::Unknown(because),
        Halt::Ask(order) => Decline::Unknown(format!("{} needs approval", order.verb)),
        Halt::Journal(error) => Decline::Stop(Stop::Journal(error)),
    }
}
