//! Who acts, and who answers for it (requirement G6).

use std::fmt;

use crate::{AgentName, RunId};

/// The actor of record of an act.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Actor {
    /// A person, known by what the control socket proved about them.
    Person(Person),
    /// An agent in a run.
    Workload(WorkloadId),
    /// The factory itself: the scheduler, recovery, revocation.
    Factory,
}

/// A local person: the uid on the control socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Person {
    uid: u32,
}

/// The SPIFFE ID of a run's agent: `spiffe://<trust domain>/run/<run>/agent/<agent>`.
///
/// Holds no name an attacker could choose and is never reused (SPIFFE-ID specification, section 2).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadId {
    trust_domain: String,
    run: RunId,
    agent: AgentName,
}

/// The person or team that answers for an agent, as the configuration names them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(String);

impl Actor {
    /// Reads an actor as records print it.
    pub fn parse(text: &str) -> Option<Self> {
        let actor = if text == "factory" {
            Self::Factory
        } else if let Some(uid) = text.strip_prefix("person:uid-") {
            Self::Person(Person::from_uid(uid.parse().ok()?))
        } else {
            let (trust_domain, path) = text.strip_prefix("spiffe://")?.split_once('/')?;
            let (run, agent) = path.strip_prefix("run/")?.split_once("/agent/")?;
            Self::Workload(WorkloadId::new(trust_domain, RunId::parse(run).ok()?, AgentName::parse(agent).ok()?))
        };
        // Only the printed form is read: `uid-+7` and `uid-007` name nobody.
        (actor.to_string() == text).then_some(actor)
    }
}

impl Person {
    /// The person behind a uid.
    pub fn from_uid(uid: u32) -> Self {
        Self { uid }
    }

    /// Their uid.
    pub fn uid(self) -> u32 {
        self.uid
    }
}

impl WorkloadId {
    /// The identity of `agent` in `run`, within `trust_domain`.
    pub fn new(trust_domain: &str, run: RunId, agent: AgentName) -> Self {
        Self { trust_domain: trust_domain.to_owned(), run, agent }
    }

    /// The run this identity lives and dies with.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// The agent that acts.
    pub fn agent(&self) -> &AgentName {
        &self.agent
    }
}

impl Owner {
    /// Reads an owner; empty means nobody answers, which is refused (requirement B3).
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty() && text.len() <= 200 && !text.chars().any(char::is_control)).then(|| Self(text.to_owned()))
    }

    /// The owner as configured.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(person) => write!(f, "person:uid-{}", person.uid),
            Self::Workload(workload) => workload.fmt(f),
            Self::Factory => f.write_str("factory"),
        }
    }
}

impl fmt::Display for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/run/{}/agent/{}", self.trust_domain, self.run, self.agent)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_reads_back_as_printed_and_not_otherwise() {
        let workload = WorkloadId::new("example.org", RunId::from_entropy(1), AgentName::parse("fixer").unwrap());
        for actor in [Actor::Factory, Actor::Person(Person::from_uid(1000)), Actor::Workload(workload)] {
            assert_eq!(Actor::parse(&actor.to_string()), Some(actor));
        }
        for text in ["", "Factory", "person:uid-", "person:uid-+7", "person:uid-007", "spiffe://x/run/r-1/agent/a"] {
            assert_eq!(Actor::parse(text), None, "{text:?}");
        }
    }
}
