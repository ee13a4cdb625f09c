//! Scenarios: what the world is like, what is asked of the factory, and what happens meanwhile.

use std::collections::BTreeSet;

use selvedge_authority::HaltScope;
use selvedge_domain::{
    Actor, AgentName, Autonomy, CredentialName, Declared, Digest, Duration, Endpoint, HostPattern, Intent, Lineage,
    Loan, May, Method, Owner, PartName, Person, PipelineName, Reach, RepoName, Sensitivity, Tenure, Trigger, TriggerId,
    TriggerSource, Trust,
};
use selvedge_factory::ports::{Agent, Credential, Pipeline, PipelinePart, Repository};

use crate::rules::Rules;

/// One world and what is asked of it.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What it is called in reports.
    pub name: &'static str,
    /// What ids are drawn from.
    pub seed: u64,
    /// What policy says at first.
    pub rules: Rules,
    /// Registered agents.
    pub agents: Vec<Agent>,
    /// Repositories.
    pub repos: Vec<Repository>,
    /// How many check commands there are.
    pub checks: usize,
    /// How credentials die.
    pub lending: Lending,
    /// What asks for work.
    pub triggers: Vec<Trigger>,
    /// What happens while an agent is at work, one item per attempt, until none is left.
    pub during_work: Vec<Happening>,
    /// What happens when nothing moves, one item at a time.
    pub when_idle: Vec<Happening>,
    /// How often the host dies under an agent, whichever run it is.
    pub attempts_lost: u32,
    /// How the runs end when nothing fails, in the order they began.
    pub outcomes: Vec<&'static str>,
}

/// How credentials die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lending {
    /// At once.
    Immediate,
    /// After the lease service refused this often.
    StuckFor(u32),
    /// Only by themselves.
    ExpiryOnly,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// Nothing.
    Nothing,
    /// A person says yes to every order that waits.
    Grant,
    /// A person says no to every order that waits.
    Deny,
    /// A person says yes, once, and then nothing looks at it for this long.
    GrantThenPass(Duration),
    /// Time passes.
    Pass(Duration),
    /// The clock is set back.
    SetBack(Duration),
    /// A person stops this.
    Halt(HaltScope),
    /// Policy changes.
    Rules(Rules),
    /// The operator drops every agent from the configuration.
    DropAgents,
    /// Nothing can be recorded any more.
    DiskFull,
    /// There is room again.
    DiskFree,
    /// The keeper is stopped and started.
    Restart,
}

impl Scenario {
    /// A repository with checks, an agent that changes code, one that runs commands and one that borrows credentials, and
    /// nobody in the way.
    pub fn plain(name: &'static str) -> Self {
        Self {
            name,
            seed: 0,
            rules: Rules::open(),
            agents: vec![agent("fixer", Intent::ProposeChange), agent("runner", Intent::RunCommand), borrower()],
            repos: vec![repository("acme/shop"), repository("acme/till")],
            checks: 1,
            lending: Lending::Immediate,
            triggers: Vec::new(),
            during_work: Vec::new(),
            when_idle: Vec::new(),
            attempts_lost: 0,
            outcomes: Vec::new(),
        }
    }

    /// Asks the agent for this.
    #[must_use]
    pub fn asks(mut self, agent: &str, text: &str) -> Self {
        let number = u64::try_from(self.triggers.len()).unwrap_or(u64::MAX);
        self.triggers.push(trigger(number, agent, "acme/shop", text));
        self
    }

    /// Asks the pipeline for this.
    #[must_use]
    pub fn pipes(self, text: &str) -> Self {
        let mut asked = self.asks("fixer", text);
        if let Some(first) = asked.triggers.last_mut() {
            first.lineage.part = pipeline().part(1).map(|(part, _)| Box::new(part));
        }
        asked
    }

    /// How it ends when nothing fails.
    #[must_use]
    pub fn ends(mut self, outcomes: &[&'static str]) -> Self {
        self.outcomes = outcomes.to_vec();
        self
    }

    /// The rules in force at first.
    #[must_use]
    pub fn under(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// What happens while an agent is at work.
    #[must_use]
    pub fn meanwhile(mut self, happenings: &[Happening]) -> Self {
        self.during_work = happenings.to_vec();
        self
    }

    /// What happens when nothing moves.
    #[must_use]
    pub fn then(mut self, happenings: &[Happening]) -> Self {
        self.when_idle = happenings.to_vec();
        self
    }
}

/// How long a person has to answer in these scenarios.
pub(crate) const APPROVAL_WITHIN: Duration = Duration::from_seconds(3600);
/// How long an attempt may last in these scenarios.
pub(crate) const ATTEMPT_AT_MOST: Duration = Duration::from_seconds(900);
/// How long a chain of follow-ups may get in these scenarios.
pub(crate) const CHAIN_DEPTH_MAX: u32 = 3;

#[expect(clippy::expect_used, reason = "by INVARIANT: scenarios are written here, with names that parse")]
fn agent(name: &str, intent: Intent) -> Agent {
    Agent {
        name: AgentName::parse(name).expect("an agent's name"),
        owner: Owner::parse("team-shop@acme.example").expect("an owner"),
        purpose: "small fixes".to_owned(),
        escalate: "#shop-oncall".to_owned(),
        intent,
        trust: Trust::Propose,
        autonomy: Autonomy::BoundedAutomation,
        may: May::ALL.iter().copied().collect(),
        reach: BTreeSet::from([Reach {
            endpoint: registry(),
            methods: BTreeSet::from([Method::Get]),
            path_prefix: "/index".to_owned(),
        }]),
        may_ask: BTreeSet::new(),
        models: BTreeSet::new(),
        tools: BTreeSet::new(),
        loans: BTreeSet::new(),
        audiences: BTreeSet::new(),
        level: "full".to_owned(),
        attempt_at_most: ATTEMPT_AT_MOST,
        tenure: Tenure::Active,
        declared: Declared::default(),
    }
}

/// An agent whose doors use two credentials: a stored key, and one that is made for each run.
fn borrower() -> Agent {
    let fixer = agent("borrower", Intent::ProposeChange);
    let uses = || fixer.reach.iter().cloned();
    let loans = [STORED_KEY, "minted"].into_iter().flat_map(|name| uses().map(move |uses| loan(name, uses)));
    Agent { loans: loans.collect(), ..fixer.clone() }
}

/// The credential that is stored; every other is made for each run.
const STORED_KEY: &str = "stored";

#[expect(clippy::expect_used, reason = "by INVARIANT: scenarios are written here, with names that parse")]
fn loan(name: &str, uses: Reach) -> Loan {
    Loan { credential: CredentialName::parse(name).expect("a credential's name"), uses }
}

/// A credential as its operator configured it.
#[expect(clippy::expect_used, reason = "by INVARIANT: the owner is written here and parses")]
pub(crate) fn credential(name: &CredentialName) -> Credential {
    Credential {
        name: name.clone(),
        owner: Owner::parse("team-shop@acme.example").expect("an owner"),
        is_stored: name.as_str() == STORED_KEY,
        lent_at_most: ATTEMPT_AT_MOST,
        tenure: Tenure::Active,
        unlent: None,
    }
}

#[expect(clippy::expect_used, reason = "by INVARIANT: scenarios are written here, with names that parse")]
fn repository(name: &str) -> Repository {
    Repository {
        name: RepoName::parse(name).expect("a repository's name"),
        target: "main".to_owned(),
        sensitivity: Sensitivity::Internal,
        lands_unattended: false,
        chain_depth_max: CHAIN_DEPTH_MAX,
        approval_within: APPROVAL_WITHIN,
        hold_at_most: Duration::ZERO,
    }
}

/// The one pipeline: a change and a review.
#[expect(clippy::expect_used, reason = "by INVARIANT: the names are written here and parse")]
pub(crate) fn pipeline() -> Pipeline {
    let part = |name: &str, agent: &str, reviews| PipelinePart {
        name: PartName::parse(name).expect("a stage's name"),
        agent: AgentName::parse(agent).expect("an agent's name"),
        reviews,
    };
    Pipeline {
        name: PipelineName::parse("fix").expect("a pipeline's name"),
        definition: Digest::of_parts([b"fix".as_slice()]),
        parts: vec![part("execute", "fixer", false), part("review", "runner", true)],
    }
}

/// Where the simulated agents fetch from.
#[expect(clippy::expect_used, reason = "by INVARIANT: the host is written here and parses")]
pub(crate) fn registry() -> Endpoint {
    Endpoint { host: HostPattern::parse("registry.example").expect("a host"), port: 443 }
}

/// A request for work, by the person with uid 1000.
#[expect(clippy::expect_used, reason = "by INVARIANT: scenarios are written here, with names that parse")]
pub(crate) fn trigger(number: u64, agent: &str, repo: &str, text: &str) -> Trigger {
    Trigger {
        id: TriggerId::from_entropy(number),
        source: TriggerSource::Command,
        by: Actor::Person(Person::from_uid(1000)),
        repo: RepoName::parse(repo).expect("a repository's name"),
        agent: AgentName::parse(agent).expect("an agent's name"),
        text: text.to_owned(),
        argv: Vec::new(),
        lineage: Lineage::outside(),
    }
}
