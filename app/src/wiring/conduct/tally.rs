//! Counting what a run does, entry by entry. Pure, so that what a keeper counts while it looks and what the next one reads from the log
//! is the same.

use std::collections::BTreeSet;

use selvedge_authority::{Entry, Record, Verdict};
use selvedge_domain::orders::{HttpAnswered, ModelAnswered};
use selvedge_domain::{
    Actor, AgentName, Autonomy, Behaviour, Capabilities, Deed, Departure, Description, Event, Method, Power, Profile,
    ResourceKind, Time, Trigger, Trust, Verb,
};

use super::DEPARTURES_MAX;

/// What one entry says that a run did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::wiring) enum Act {
    /// An attempt began.
    Began,
    /// It is over.
    Stopped,
    /// It was allowed to do this.
    Allowed(Allowed),
    /// It sent these bytes.
    Sent(u64),
    /// Its model cost this.
    Paid(u64),
}

/// What an agent was allowed to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::wiring) enum Allowed {
    /// To have its model answer.
    Model { host: String, bytes: u64 },
    /// To be given a tool call of this kind; `changes` where it is one of a server's that may change something.
    Tool { kind: String, changes: bool, is_confirmed: bool },
    /// To send a request.
    Request { host: String, reads: bool, is_confirmed: bool },
    /// To queue a run.
    Queue,
    /// To do what others feel.
    Change { is_confirmed: bool, power: Option<Power> },
    /// To borrow a credential.
    Borrow { credential: String },
    /// To go as far as this, once it works.
    Work { trust: Option<Trust> },
}

/// What one run could do and did up to now.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    pub(super) agent: AgentName,
    profile: Profile,
    /// The credentials whose loan is one of a secret that it can use.
    secrets: BTreeSet<String>,
    /// When the attempt under way began.
    began: Option<Time>,
    /// Whether there was any.
    worked: bool,
    /// Whether its sum is on record already.
    is_summed: bool,
    departed: Vec<Departure>,
    told: usize,
}

impl Act {
    /// What `entry` says; none where that is nothing a run did.
    pub(in crate::wiring) fn of(entry: &Entry) -> Option<Self> {
        match (&entry.record, &entry.actor) {
            (Record::Decided { order, verdict: Verdict::Allow { .. }, approval }, Actor::Workload(_)) => {
                Allowed::of(order, approval.is_some()).map(Self::Allowed)
            }
            (Record::Done { deed: Deed::Answered(HttpAnswered { request_bytes, .. }), .. }, Actor::Workload(_)) => {
                Some(Self::Sent(*request_bytes))
            }
            (Record::Done { deed: Deed::ModelAnswered(ModelAnswered { cost, .. }), .. }, Actor::Workload(_)) => {
                Some(Self::Paid(*cost))
            }
            (Record::Happened(Event::AttemptBegan { .. }), _) => Some(Self::Began),
            (Record::Happened(Event::Worked { .. } | Event::AttemptLost { .. } | Event::Ended(_)), _) => {
                Some(Self::Stopped)
            }
            _ => None,
        }
    }
}

impl Allowed {
    fn of(order: &Description, is_confirmed: bool) -> Option<Self> {
        let change = |power| Some(Self::Change { is_confirmed, power });
        let host = || order.resource.name.clone();
        match order.verb {
            Verb::ModelCall => {
                let bytes = order.number("request_bytes").and_then(|bytes| u64::try_from(bytes).ok());
                Some(Self::Model { host: host(), bytes: bytes.unwrap_or_default() })
            }
            Verb::ToolCall => {
                let text = |name: &str| order.text(name).unwrap_or_default();
                let is_brokered = text("kind") == "brokered";
                let kind = match text("kind") {
                    // To be told which there are is to do nothing with them.
                    "list" => return None,
                    "brokered" => format!("{}:{}", text("server"), text("tool")),
                    // What nobody told the kind of goes by its own name.
                    "other" | "" => text("tool").to_owned(),
                    kind => kind.to_owned(),
                };
                Some(Self::Tool { kind, changes: is_brokered && text("risk") != "low", is_confirmed })
            }
            Verb::HttpRequest => {
                let method = order.text("method").and_then(Method::parse);
                let reads = matches!(method, Some(Method::Get | Method::Head));
                Some(Self::Request { host: host(), reads, is_confirmed })
            }
            Verb::TaskEnqueue => Some(Self::Queue),
            // A person has it before them, to say yes or no to.
            Verb::ProposalOpen => Some(Self::Change { is_confirmed: true, power: None }),
            Verb::ProposalMerge | Verb::ProposalClose | Verb::TicketChange | Verb::Delegate => change(None),
            Verb::Deploy | Verb::Rollback | Verb::ArtifactPublish | Verb::ArtifactRotate => change(Some(Power::Deploy)),
            Verb::InfraApply => change(Some(Power::Infrastructure)),
            Verb::SecretUse | Verb::CredentialMint if order.resource.kind == ResourceKind::Credential => {
                Some(Self::Borrow { credential: order.resource.name.clone() })
            }
            Verb::SandboxStart if order.text("purpose") == Some("work") => {
                Some(Self::Work { trust: order.text("trust").and_then(Trust::parse) })
            }
            _ => None,
        }
    }
}

impl Tally {
    /// A run of this trigger that did nothing yet, and may borrow `secrets`.
    pub(super) fn begun(trigger: &Trigger, secrets: BTreeSet<String>) -> Self {
        Self {
            agent: trigger.agent.clone(),
            profile: Profile::begun(Capabilities::begun(trigger)),
            secrets,
            began: None,
            worked: false,
            is_summed: false,
            departed: Vec::new(),
            told: 0,
        }
    }

    /// Counts an entry that is on record.
    pub(super) fn reread(&mut self, entry: &Entry) {
        match (&entry.record, Act::of(entry)) {
            (Record::Behaved { behaviour: Behaviour::Settled(_), .. }, _) => self.is_summed = true,
            (Record::Behaved { behaviour: Behaviour::Departed { departures, .. }, .. }, _) => {
                self.departed.extend(departures.iter().cloned());
                self.told = self.told.saturating_add(1);
            }
            (_, Some(act)) => self.take(entry.at, &act),
            (_, None) => {}
        }
    }

    /// Counts what it just did.
    pub(super) fn take(&mut self, at: Time, act: &Act) {
        let amounts = &mut self.profile.amounts;
        match act {
            Act::Began => {
                self.worked = true;
                self.began = Some(at);
            }
            Act::Stopped => {
                if let Some(began) = self.began.take() {
                    amounts.millis = amounts.millis.saturating_add(at.since(began).as_millis());
                }
            }
            Act::Sent(bytes) => amounts.bytes = amounts.bytes.saturating_add(*bytes),
            Act::Paid(cost) => amounts.cost = amounts.cost.saturating_add(*cost),
            Act::Allowed(allowed) => self.allow(allowed),
        }
    }

    fn allow(&mut self, allowed: &Allowed) {
        let Profile { facts, amounts, .. } = &mut self.profile;
        match allowed {
            Allowed::Model { host, bytes } => {
                facts.model_calls = facts.model_calls.saturating_add(1);
                amounts.calls = amounts.calls.saturating_add(1);
                amounts.bytes = amounts.bytes.saturating_add(*bytes);
                self.profile.reaches(host);
            }
            Allowed::Tool { kind, changes, is_confirmed } => {
                amounts.calls = amounts.calls.saturating_add(1);
                if *changes {
                    changed(facts, *is_confirmed);
                }
                self.profile.uses_tool(kind);
            }
            Allowed::Request { host, reads, is_confirmed } => {
                amounts.calls = amounts.calls.saturating_add(1);
                if !reads {
                    changed(facts, *is_confirmed);
                }
                self.profile.reaches(host);
            }
            Allowed::Queue => facts.queued = facts.queued.saturating_add(1),
            Allowed::Change { is_confirmed, power } => {
                changed(facts, *is_confirmed);
                facts.powers.extend(*power);
            }
            Allowed::Borrow { credential } => {
                if self.secrets.contains(credential) {
                    facts.powers.insert(Power::Secret);
                }
            }
            Allowed::Work { trust } => facts.powers.extend((*trust == Some(Trust::Release)).then_some(Power::Deploy)),
        }
    }

    /// What it came to by now.
    pub(super) fn profile(&self, now: Time) -> Profile {
        let mut profile = self.profile.clone();
        let under_way = self.began.map_or(0, |began| now.since(began).as_millis());
        profile.amounts.millis = profile.amounts.millis.saturating_add(under_way);
        profile
    }

    /// What that makes of its agent.
    pub(super) fn autonomy(&self) -> Autonomy {
        self.profile.facts.autonomy()
    }

    /// Which of these were not told yet. Remembers them.
    pub(super) fn departs(&mut self, departures: Vec<Departure>) -> Vec<Departure> {
        if self.told >= DEPARTURES_MAX {
            return Vec::new();
        }
        let is_new = |departure: &Departure| !self.departed.iter().any(|known| known.is_like(departure));
        let fresh: Vec<Departure> = departures.into_iter().filter(is_new).collect();
        if !fresh.is_empty() {
            self.told = self.told.saturating_add(1);
            self.departed.extend(fresh.iter().cloned());
        }
        fresh
    }

    /// What is recorded of it at its end; none for a run that never began to work, or whose sum is on record.
    pub(super) fn ended(self) -> Option<(AgentName, Profile)> {
        (self.worked && !self.is_summed).then_some((self.agent, self.profile))
    }
}

fn changed(facts: &mut Capabilities, is_confirmed: bool) {
    facts.changes = facts.changes.saturating_add(1);
    facts.confirmed = facts.confirmed.saturating_add(u32::from(is_confirmed));
}

#[cfg(test)]
mod tests {
    use selvedge_domain::{Field, RepoName, Resource};

    use super::*;

    fn tool_call(server: &str, kind: &str, risk: &str) -> Option<Allowed> {
        let repo = RepoName::parse("acme/shop").unwrap();
        let resource = Resource { kind: ResourceKind::Repository, name: "acme/shop".to_owned(), repo };
        let fields = [("tool", "search"), ("kind", kind), ("server", server), ("risk", risk)];
        let fields = fields.into_iter().map(|(name, word)| (name, Field::from(word))).collect();
        Allowed::of(&Description { verb: Verb::ToolCall, resource, fields }, false)
    }

    #[test]
    fn a_server_s_tool_goes_by_its_own_name_and_may_be_an_act_b5_b7() {
        let counted = |kind: &str, changes| Some(Allowed::Tool { kind: kind.to_owned(), changes, is_confirmed: false });
        assert_eq!(tool_call("none", "shell", "low"), counted("shell", false));
        assert_eq!(tool_call("none", "other", "medium"), counted("search", false));
        assert_eq!(tool_call("tracker", "brokered", "low"), counted("tracker:search", false));
        assert_eq!(tool_call("tracker", "brokered", "medium"), counted("tracker:search", true));
        assert_eq!(tool_call("tracker", "list", "low"), None);
        // As a model wrote it, the agent has yet to make it.
        assert_eq!(tool_call("tracker", "other", "medium"), counted("search", false));
    }
}
