//! Orders: what may be asked of the world. One type per order; its description is what policy judges, what an approval
//! binds, and what the record shows.

use std::fmt;

use crate::digest::Parts;
use crate::{Digest, Remembered, RepoName};

mod access;
mod admit;
mod approve;
mod check;
mod delegate;
mod deliver;
mod enqueue;
mod forge_act;
mod git;
mod http;
mod mint;
mod model;
mod question;
mod secret;
mod secrets;
mod tool;
mod work;

pub use deliver::Authorship;
pub use secrets::Secrets;
use tool::ToolAnswered;

/// Every order the factory knows, with the deed it leads to.
pub mod orders {
    pub use super::access::{RequestAccess, Widened};
    pub use super::admit::AdmitTask;
    pub use super::approve::GrantApproval;
    pub use super::check::CheckTree;
    pub use super::delegate::Delegate;
    pub use super::deliver::{MergeProposal, Merged, OpenProposal};
    pub use super::enqueue::EnqueueTask;
    pub use super::forge_act::ForgeAct;
    pub use super::git::{GitServed, PushGit, Pushed, ReadGit};
    pub use super::http::{HttpAnswered, HttpRequest};
    pub use super::mint::{MintCredential, Minted};
    pub use super::model::{CUT, ModelAnswered, ModelCall, ServerTool, Tokens, ToolCall, ToolPassed};
    pub use super::question::{AnswerQuestion, AskPerson, Replied};
    pub use super::secret::{MayBorrow, UseSecret};
    pub use super::tool::{BrokeredCall, ToolAnswered};
    pub use super::work::{Ran, StartWork};
}

/// Something that may be asked. The type is the whole order: an effect takes a permit for it and nothing else.
pub trait Order: Clone {
    /// What carrying it out comes to.
    type Deed: Remembered;

    /// Its verb.
    const VERB: Verb;

    /// Every fact of the order, in a fixed sequence.
    fn describe(&self) -> Description;

    /// The same as it is recorded, shown to people and fingerprinted: without what must not be written down. Two orders that are not the
    /// same are not the same here either.
    fn recorded(&self) -> Description {
        self.describe()
    }
}

macro_rules! verbs {
    ($($(#[$doc:meta])* $variant:ident = $word:literal),* $(,)?) => {
        /// The closed list of verbs. Policies, records and denials use these words.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Verb { $($(#[$doc])* $variant),* }

        impl Verb {
            /// Every verb.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// Reads the word.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|verb| verb.as_str() == word)
            }
        }
    };
}

verbs! {
    /// Take a trigger on as a task.
    TaskAdmit = "task.admit",
    /// Give a run something to read.
    ContextRead = "context.read",
    /// Make a credential.
    CredentialMint = "credential.mint",
    /// Start a program in a sandbox.
    SandboxStart = "sandbox.start",
    /// Let an agent call a tool.
    ToolCall = "tool.call",
    /// A program was executed in a sandbox.
    ProcessExec = "process.exec",
    /// A file was written in a sandbox.
    FileWrite = "file.write",
    /// Forward an HTTP request.
    HttpRequest = "http.request",
    /// Forward a request to a model.
    ModelCall = "model.call",
    /// Read from a repository.
    GitRead = "git.read",
    /// Write a ref.
    GitPush = "git.push",
    /// Give a child a narrower grant.
    Delegate = "delegate",
    /// Widen what an attempt may reach.
    AccessRequest = "access.request",
    /// Put a question of an agent's before people.
    QuestionAsk = "question.ask",
    /// Give it a person's words.
    QuestionAnswer = "question.answer",
    /// Let a run borrow a stored secret.
    SecretUse = "secret.use",
    /// Offer a change for review.
    ProposalOpen = "proposal.open",
    /// Merge a proposal.
    ProposalMerge = "proposal.merge",
    /// Close a proposal.
    ProposalClose = "proposal.close",
    /// Change a ticket.
    TicketChange = "ticket.change",
    /// Publish an artifact.
    ArtifactPublish = "artifact.publish",
    /// Rotate artifacts out.
    ArtifactRotate = "artifact.rotate",
    /// Release to an environment.
    Deploy = "deploy",
    /// Work out an infrastructure change.
    InfraPlan = "infra.plan",
    /// Make an infrastructure change.
    InfraApply = "infra.apply",
    /// Undo something delivered.
    Rollback = "rollback",
    /// Queue a task.
    TaskEnqueue = "task.enqueue",
    /// Change the rules.
    PolicyChange = "policy.change",
    /// Say yes to an order that needs it.
    ApprovalGrant = "approval.grant",
    /// Override, with reason, scope, expiry and alarm.
    BreakGlass = "break_glass",
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What kind of thing an order concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    /// A repository.
    Repository,
    /// A host and port.
    Endpoint,
    /// Who a credential is for.
    Audience,
    /// A configured credential.
    Credential,
    /// A proposal in a repository.
    Proposal,
    /// An order that waits for approval.
    Approval,
}

impl ResourceKind {
    /// The word in policies and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Repository => "Repository",
            Self::Endpoint => "Endpoint",
            Self::Audience => "Audience",
            Self::Credential => "Credential",
            Self::Proposal => "Proposal",
            Self::Approval => "Approval",
        }
    }
}

/// The thing an order concerns, and the repository on whose behalf.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// Its kind.
    pub kind: ResourceKind,
    /// Its name, unique within the kind.
    pub name: String,
    /// The repository the run works for.
    pub repo: RepoName,
}

/// One fact of an order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// Text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
    /// A list of words, in order.
    Words(Vec<String>),
}

/// An order laid open: the same facts for policy, approver, record and fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The verb.
    pub verb: Verb,
    /// What it concerns.
    pub resource: Resource,
    /// Every other fact, in a fixed sequence.
    pub fields: Vec<(&'static str, Field)>,
}

impl Description {
    /// The fingerprint an approval binds to and a repeated act is recognised by.
    pub fn digest(&self) -> Digest {
        let mut parts = Parts::default();
        let head = [self.verb.as_str(), self.resource.kind.as_str(), &self.resource.name, self.resource.repo.as_str()];
        head.iter().for_each(|part| parts.add(&[part.as_bytes()]));
        for (name, field) in &self.fields {
            parts.add(&[name.as_bytes()]);
            field.add_to(&mut parts);
        }
        parts.digest()
    }

    /// The text fact with this name.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.iter().find_map(|(field, value)| match value {
            Field::Text(text) if *field == name => Some(text.as_str()),
            Field::Text(_) | Field::Number(_) | Field::Flag(_) | Field::Words(_) => None,
        })
    }

    /// The words with this name; none where there are none.
    pub fn words(&self, name: &str) -> &[String] {
        let words = self.fields.iter().find_map(|(field, value)| match value {
            Field::Words(words) if *field == name => Some(words.as_slice()),
            Field::Text(_) | Field::Number(_) | Field::Flag(_) | Field::Words(_) => None,
        });
        words.unwrap_or_default()
    }

    /// The number fact with this name.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.fields.iter().find_map(|(field, value)| match value {
            Field::Number(number) if *field == name => Some(*number),
            Field::Text(_) | Field::Number(_) | Field::Flag(_) | Field::Words(_) => None,
        })
    }
}

impl Field {
    /// Adds a form in which no two different fields are equal.
    fn add_to(&self, parts: &mut Parts) {
        match self {
            Self::Text(text) => parts.add(&[b"t", text.as_bytes()]),
            Self::Number(number) => parts.add(&[b"n", number.to_string().as_bytes()]),
            Self::Flag(flag) => parts.add(&[b"f", flag.to_string().as_bytes()]),
            Self::Words(words) => parts.add(&[b"w", spelled(words).as_bytes()]),
        }
    }
}

/// Each word after its length. An agent chooses how many there are, so the text grows in place.
fn spelled(words: &[String]) -> String {
    let mut all = String::new();
    for word in words {
        all.push_str(&word.len().to_string());
        all.push(':');
        all.push_str(word);
    }
    all
}

impl From<&str> for Field {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Field {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(fields: Vec<(&'static str, Field)>) -> Digest {
        let repo = RepoName::parse("acme/shop").unwrap();
        let resource = Resource { kind: ResourceKind::Repository, name: "acme/shop".to_owned(), repo };
        Description { verb: Verb::TaskAdmit, resource, fields }.digest()
    }

    #[test]
    fn different_facts_never_share_a_fingerprint_a72() {
        let variants = [
            described(vec![]),
            described(vec![("a", Field::from("1"))]),
            described(vec![("a", Field::Number(1))]),
            described(vec![("a", Field::Flag(true))]),
            described(vec![("a", Field::Words(vec!["1".to_owned()]))]),
            described(vec![("a", Field::Words(vec!["1:1".to_owned()]))]),
            described(vec![("a", Field::Words(vec!["1".to_owned(), "1".to_owned()]))]),
            described(vec![("b", Field::from("1"))]),
        ];
        let distinct: std::collections::BTreeSet<_> = variants.iter().collect();
        assert_eq!(distinct.len(), variants.len());
    }

    #[test]
    fn a_fingerprint_of_very_many_words_is_soon_made_s29() {
        // The form fingerprints on record were made of.
        let recorded = |fields: &[(&str, String)]| {
            let head = ["task.admit", ResourceKind::Repository.as_str(), "acme/shop", "acme/shop"];
            let fields = fields.iter().flat_map(|(name, field)| [*name, field]);
            Digest::of_parts(head.into_iter().chain(fields).map(str::as_bytes))
        };
        let spelled =
            |words: &[String]| words.iter().fold(String::from("w"), |all, word| format!("{all}{}:{word}", word.len()));
        for words in [vec![], vec![String::new()], vec!["1:a".to_owned(), "\u{e9}".to_owned(), "b".repeat(12)]] {
            let form =
                [("a", spelled(&words)), ("b", "t1".to_owned()), ("c", "n2".to_owned()), ("d", "ftrue".to_owned())];
            let (b, c, d) = (Field::from("1"), Field::Number(2), Field::Flag(true));
            let fields = vec![("a", Field::Words(words)), ("b", b), ("c", c), ("d", d)];
            assert_eq!(described(fields), recorded(&form));
        }
        // Hundreds of gigabytes of copying, were each word to copy those before it.
        let many = vec!["p".repeat(200); 60_000];
        assert_ne!(described(vec![("a", Field::Words(many))]), described(vec![]));
    }

    #[test]
    fn every_verb_reads_back() {
        for verb in Verb::ALL {
            assert_eq!(Verb::parse(verb.as_str()), Some(*verb));
        }
    }
}
