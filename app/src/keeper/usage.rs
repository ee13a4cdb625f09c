//! What the log says of standing identities and secrets: since when they are there, what was granted and used, what is alive.
//! One pass; what is kept of it is bounded by what is configured and what is alive, never by the length of the log.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_authority::{Entry, KeyChange, Record, Verdict};
use selvedge_domain::{
    Actor, AgentName, CredentialName, Description, Event, LeaseEvent, LeaseId, LeaseState, Method, ModelName, Reach,
    ResourceKind, RunId, ServerName, Time, TriggerId, TriggerSource, Trust, Verb,
};

use super::hall::Keeper;
use super::turns::Turn;
use crate::config::{Config, Right, What};
use crate::errors::{CliError, Kind};
use crate::wiring::dies_by_itself;

/// What was seen up to now.
pub(super) struct Usage {
    /// From when on a use counts.
    since: Time,
    /// When the log began.
    pub(super) begins: Option<Time>,
    /// When an identity document was made last.
    pub(super) last_identity: Option<Time>,
    pub(super) agents: BTreeMap<AgentName, AgentUse>,
    pub(super) credentials: BTreeMap<CredentialName, CredentialUse>,
    /// Keys that were stored and not removed, whether or not their credential is configured still: each with when it
    /// replaced another.
    pub(super) keys: BTreeMap<CredentialName, Option<Time>>,
    /// Credentials that may work somewhere, as the record has it and no projection.
    pub(super) leases: BTreeMap<LeaseId, Lent>,
    /// What each lease that was decided on is for, as long as it may live.
    meant: BTreeMap<LeaseId, Meant>,
    queued: BTreeMap<TriggerId, AgentName>,
    runs: BTreeMap<RunId, AgentName>,
}

/// What an agent did.
#[derive(Debug, Default)]
pub(super) struct AgentUse {
    pub(super) first: Option<Time>,
    pub(super) last: Option<Time>,
    /// Runs that began within the window.
    pub(super) runs: u64,
    /// When each right was used last within the window, in the order of the configuration.
    pub(super) rights: Vec<Option<Time>>,
    /// The furthest it had to be trusted within the window.
    pub(super) trust: Option<Trust>,
}

/// What a credential was used for.
#[derive(Debug, Default)]
pub(super) struct CredentialUse {
    pub(super) first_lent: Option<Time>,
    pub(super) last_lent: Option<Time>,
    pub(super) last_used: Option<Time>,
    /// When each of its uses was made last within the window.
    pub(super) uses: BTreeMap<Reach, Time>,
}

/// A lease that may live.
#[derive(Debug)]
pub(super) struct Lent {
    pub(super) run: RunId,
    pub(super) agent: Option<AgentName>,
    pub(super) state: LeaseState,
    pub(super) what: Option<Meant>,
    /// Whether its run is over, which no lease may outlive.
    pub(super) is_run_over: bool,
}

/// What a lease is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meant {
    /// An identity for this audience.
    Audience(String),
    /// This credential.
    Credential(String),
}

impl Lent {
    /// When it dies by itself; none when it is not known whether it was made.
    pub(super) fn expires(&self) -> Option<Time> {
        dies_by_itself(self.state)
    }
}

impl Usage {
    /// Reads the log, which is whoever's turn it is. Uses count from `since` on.
    pub(super) fn read(keeper: &Keeper, _turn: &Turn<'_>, config: &Config, since: Time) -> Result<Self, CliError> {
        let agents = config.agents.iter().map(|(name, agent)| {
            (name.clone(), AgentUse { rights: vec![None; agent.rights.len()], ..AgentUse::default() })
        });
        let credentials = config.credentials.keys().map(|name| (name.clone(), CredentialUse::default()));
        let mut usage = Self {
            since,
            begins: None,
            last_identity: None,
            agents: agents.collect(),
            credentials: credentials.collect(),
            keys: BTreeMap::new(),
            leases: BTreeMap::new(),
            meant: BTreeMap::new(),
            queued: BTreeMap::new(),
            runs: BTreeMap::new(),
        };
        for recorded in keeper.works.ledger.entries(0, None) {
            let entry = recorded.map_err(|error| CliError::caused(Kind::Ledger, &error))?.entry;
            usage.begins = usage.begins.or(Some(entry.at));
            usage.take(config, &entry);
        }
        Ok(usage)
    }

    fn take(&mut self, config: &Config, entry: &Entry) {
        match &entry.record {
            Record::Triggered(trigger) => {
                self.queued.insert(trigger.id.clone(), trigger.agent.clone());
            }
            Record::RunBegan { trigger } => self.began(trigger, entry),
            Record::Happened(event) => self.happened(event, entry),
            Record::Decided { order, verdict: Verdict::Allow { .. }, .. } => self.allowed(config, order, entry),
            Record::KeyChanged { credential, change: KeyChange::Stored | KeyChange::Made { .. } } => {
                self.keys.entry(credential.clone()).and_modify(|rotated| *rotated = Some(entry.at)).or_insert(None);
            }
            Record::KeyChanged { credential, change: KeyChange::Removed } => {
                self.keys.remove(credential);
            }
            Record::Decided { .. }
            | Record::Done { .. }
            | Record::NotDone { .. }
            | Record::ApprovalAsked { .. }
            | Record::ApprovalDenied { .. }
            | Record::Held(_)
            | Record::Relinquished(_)
            | Record::Observed(_)
            | Record::KeeperStarted { .. }
            | Record::TenureChanged { .. }
            | Record::Behaved { .. }
            | Record::RulesChanged { .. } => {}
        }
    }

    fn began(&mut self, trigger: &TriggerId, entry: &Entry) {
        let (Some(agent), Some(run)) = (self.queued.remove(trigger), &entry.run) else { return };
        if let Some(used) = self.agents.get_mut(&agent) {
            used.first = used.first.or(Some(entry.at));
            used.last = Some(entry.at);
            used.runs += u64::from(entry.at >= self.since);
        }
        self.runs.insert(run.clone(), agent);
    }

    fn happened(&mut self, event: &Event, entry: &Entry) {
        let Some(run) = &entry.run else { return };
        match event {
            Event::LeaseAnnounced(lease) => {
                let (agent, what) = (self.runs.get(run).cloned(), self.meant.get(lease).cloned());
                let lent = Lent { run: run.clone(), agent, state: LeaseState::Announced, what, is_run_over: false };
                self.leases.insert(lease.clone(), lent);
            }
            Event::LeaseChanged(lease, change) => {
                if let (LeaseEvent::Minted { .. }, Some(what)) = (change, self.meant.get(lease).cloned()) {
                    self.lent(&what, entry.at);
                }
                let Some(lent) = self.leases.get_mut(lease) else { return };
                lent.state = lent.state.next(*change).unwrap_or(lent.state);
                if !lent.state.may_live() {
                    self.leases.remove(lease);
                    self.meant.remove(lease);
                }
            }
            Event::Settled => {
                self.runs.remove(run);
                self.leases.values_mut().filter(|lent| lent.run == *run).for_each(|lent| lent.is_run_over = true);
            }
            Event::Admitted(_)
            | Event::AttemptBegan { .. }
            | Event::AttemptLost { .. }
            | Event::Worked { .. }
            | Event::Verified(_)
            | Event::Delivered(_)
            | Event::Waited { .. }
            | Event::Parked
            | Event::Resumed
            | Event::Ended(_)
            | Event::Revoked => {}
        }
    }

    fn allowed(&mut self, config: &Config, order: &Description, entry: &Entry) {
        let used = credential_used(order);
        if let Some(name) = &used
            && matches!(order.verb, Verb::HttpRequest | Verb::ModelCall | Verb::ToolCall)
        {
            self.carried(config, name, order, entry.at);
        }
        if matches!(order.verb, Verb::CredentialMint | Verb::Delegate) {
            self.means(order);
        }
        let Actor::Workload(workload) = &entry.actor else { return };
        let (Some(seen), Some(agent)) = (self.agents.get_mut(workload.agent()), config.agents.get(workload.agent()))
        else {
            return;
        };
        seen.last = Some(entry.at);
        if entry.at < self.since {
            return;
        }
        seen.trust = seen.trust.max(Some(trust_for(order)));
        for (right, last) in agent.rights.iter().zip(&mut seen.rights) {
            if uses(right, order, used.as_ref()) {
                *last = Some(entry.at);
            }
        }
    }

    /// A request carried this credential.
    fn carried(&mut self, config: &Config, name: &CredentialName, order: &Description, at: Time) {
        let (Some(seen), Some(configured)) = (self.credentials.get_mut(name), config.credentials.get(name)) else {
            return;
        };
        seen.last_used = Some(at);
        if at >= self.since {
            let model = order.text("model").and_then(|name| ModelName::parse(name).ok());
            let model = model.and_then(|name| config.models.get(&name)).filter(|_| order.verb == Verb::ModelCall);
            let server = order.text("server").and_then(|name| ServerName::parse(name).ok());
            let server = server.and_then(|name| config.servers.get(&name)).filter(|_| order.verb == Verb::ToolCall);
            let is_made = |uses: &&Reach| match (model, server) {
                (Some(model), _) => model.loans().any(|loan| uses.contains(&loan.uses)),
                (None, Some(server)) => server.loan().is_some_and(|loan| uses.contains(&loan.uses)),
                (None, None) => covers(uses, order),
            };
            let made = configured.uses.iter().filter(is_made);
            seen.uses.extend(made.map(|uses| (uses.clone(), at)));
        }
    }

    /// It was allowed: what the lease is for, if something comes of it.
    fn means(&mut self, order: &Description) {
        let name = order.resource.name.clone();
        let what = match order.resource.kind {
            ResourceKind::Credential => Meant::Credential(name),
            _ => Meant::Audience(name),
        };
        let Some(lease) = order.text("lease").and_then(|lease| LeaseId::parse(lease).ok()) else { return };
        if let Some(lent) = self.leases.get_mut(&lease) {
            lent.what = Some(what.clone());
        }
        self.meant.insert(lease, what);
    }

    /// It was made, and lent: what was only allowed may have failed at whoever makes it.
    fn lent(&mut self, what: &Meant, at: Time) {
        match what {
            Meant::Credential(name) => {
                if let Some(seen) = CredentialName::parse(name).ok().and_then(|name| self.credentials.get_mut(&name)) {
                    seen.first_lent = seen.first_lent.or(Some(at));
                    seen.last_lent = Some(at);
                }
            }
            Meant::Audience(_) => self.last_identity = Some(at),
        }
    }
}

/// Whether it took this right for the order to lie within the grant. Mirrors what containment asks of each order.
fn uses(right: &Right, order: &Description, credential: Option<&CredentialName>) -> bool {
    use selvedge_domain::May;
    match &right.what {
        // How far is asked of all rights together.
        What::Trust(_) => true,
        What::May(May::Read) => matches!(order.verb, Verb::TaskAdmit | Verb::GitRead),
        What::May(May::Write) => order.verb == Verb::SandboxStart && order.text("purpose") == Some("work"),
        What::May(May::OpenProposal) => matches!(order.verb, Verb::ProposalOpen | Verb::ProposalMerge),
        What::May(May::FollowUp) => order.verb == Verb::TaskEnqueue && !is_child(order),
        What::May(May::Push) => order.verb == Verb::GitPush,
        What::May(May::Delegate) => order.verb == Verb::Delegate || is_child(order),
        What::Reach(reach) => order.verb == Verb::HttpRequest && reach.iter().any(|reach| covers(reach, order)),
        What::Asking(rule) => order.verb == Verb::AccessRequest && contains(rule, order),
        What::Audience(audience) => {
            matches!(order.verb, Verb::CredentialMint | Verb::Delegate)
                && order.resource.kind == ResourceKind::Audience
                && order.resource.name == *audience
        }
        What::Credential(name) => order.verb == Verb::HttpRequest && credential == Some(name),
        What::Model(name) => order.verb == Verb::ModelCall && order.text("model") == Some(name.as_str()),
        What::Tools(word) => order.verb == Verb::ToolCall && calls(word, order),
    }
}

/// Whether a tool of this server was called, or this one.
fn calls(word: &str, order: &Description) -> bool {
    let is_call = order.text("kind") == Some("brokered");
    is_call
        && match word.split_once(':') {
            None => order.text("server") == Some(word),
            Some((server, tool)) => order.text("server") == Some(server) && order.text("tool") == Some(tool),
        }
}

/// Whether a run asked for a child, rather than left something for later.
fn is_child(order: &Description) -> bool {
    order.verb == Verb::TaskEnqueue && order.text("source") == Some(TriggerSource::Child.as_str())
}

/// How far an agent has to be trusted for an order. Mirrors what containment asks.
fn trust_for(order: &Description) -> Trust {
    match order.verb {
        Verb::SandboxStart if order.text("purpose") == Some("work") => Trust::Draft,
        Verb::GitPush => Trust::Draft,
        Verb::ProposalOpen => Trust::Propose,
        Verb::ProposalMerge => Trust::Land,
        _ => Trust::Observe,
    }
}

/// The credential that went into a request.
fn credential_used(order: &Description) -> Option<CredentialName> {
    order.text("credential").filter(|name| *name != "none").and_then(|name| CredentialName::parse(name).ok())
}

/// Whether a rule covers everything that a recorded request for access asked for.
fn contains(rule: &Reach, order: &Description) -> bool {
    let is_there = order.text("host") == Some(rule.endpoint.host.as_str())
        && order.number("port") == Some(i64::from(rule.endpoint.port));
    let methods: Option<BTreeSet<Method>> = order.words("methods").iter().map(|method| Method::parse(method)).collect();
    match (methods, order.text("path")) {
        (Some(methods), Some(path)) if is_there => {
            rule.contains(&Reach { endpoint: rule.endpoint.clone(), methods, path_prefix: path.to_owned() })
        }
        _ => false,
    }
}

/// Whether a rule covers a recorded request.
fn covers(uses: &Reach, order: &Description) -> bool {
    let is_there = order.text("host") == Some(uses.endpoint.host.as_str())
        && order.number("port") == Some(i64::from(uses.endpoint.port));
    match (order.text("method").and_then(Method::parse), order.text("path")) {
        (Some(method), Some(path)) if is_there => uses.covers(&uses.endpoint, method, path),
        _ => false,
    }
}
