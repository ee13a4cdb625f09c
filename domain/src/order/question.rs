//! `question.ask`: put an agent's question before people; and `question.answer`: give it a person's words.

use super::{Description, Field, Order, Resource, ResourceKind, ToolAnswered, Verb};
use crate::{ApprovalId, Digest, Person, RepoName, RunId};

/// Show people this question, and wait for an answer while the turn is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskPerson {
    /// The run that asks.
    pub run: RunId,
    /// On whose behalf.
    pub repo: RepoName,
    /// The tool call it came with, by the door's count, so that no two orders are the same.
    pub serial: u64,
    /// What is asked, in the agent's words: shown to people, and never a fact.
    pub question: String,
}

/// Give the run that asks these words, and nothing else: whoever reads them may do what they could before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerQuestion {
    /// Which request it answers.
    pub approval: ApprovalId,
    /// The run that waits.
    pub run: RunId,
    /// On whose behalf it works.
    pub repo: RepoName,
    /// The fingerprint of the question.
    pub order: Digest,
    /// The words.
    pub answer: String,
    /// Whose.
    pub by: Person,
    /// Whether that is the person who asked for the run.
    pub by_requester: bool,
}

/// The words are on record, for the run that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replied;

impl Order for AskPerson {
    /// `answered` with the words, or why there are none.
    type Deed = ToolAnswered;
    const VERB: Verb = Verb::QuestionAsk;

    fn describe(&self) -> Description {
        Description {
            verb: Self::VERB,
            resource: Resource {
                kind: ResourceKind::Repository,
                name: self.repo.as_str().to_owned(),
                repo: self.repo.clone(),
            },
            fields: vec![
                ("run", Field::from(self.run.as_str())),
                ("serial", Field::Number(i64::try_from(self.serial).unwrap_or(i64::MAX))),
                ("question", Field::from(self.question.as_str())),
            ],
        }
    }
}

impl Order for AnswerQuestion {
    type Deed = Replied;
    const VERB: Verb = Verb::QuestionAnswer;

    fn describe(&self) -> Description {
        Description {
            verb: Self::VERB,
            resource: Resource {
                kind: ResourceKind::Approval,
                name: self.approval.as_str().to_owned(),
                repo: self.repo.clone(),
            },
            fields: vec![
                ("run", Field::from(self.run.as_str())),
                ("order_digest", Field::from(self.order.to_string())),
                ("answer", Field::from(self.answer.as_str())),
                ("uid", Field::Number(i64::from(self.by.uid()))),
                ("by_requester", Field::Flag(self.by_requester)),
            ],
        }
    }
}
