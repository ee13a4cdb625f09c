//! Whether an order lies within a run's grant. Typed containment, asked before any policy; what cannot be compared lies outside.

use crate::{Class, class_of};
use selvedge_domain::orders::{
    AdmitTask, AnswerQuestion, AskPerson, BrokeredCall, CheckTree, Delegate, EnqueueTask, GrantApproval, HttpRequest,
    MergeProposal, MintCredential, ModelCall, OpenProposal, PushGit, ReadGit, RequestAccess, StartWork, ToolCall,
    UseSecret,
};

use selvedge_domain::{
    Ceiling, CredentialName, Grant, GraphqlKind, Loan, May, Method, ModelName, Order, Reach, ToolName, ToolScope,
    TriggerSource, Trust,
};

/// Why an order lies outside a grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Outside {
    /// The agent is not trusted this far.
    #[error("needs trust `{needed}`, granted is `{granted}`")]
    Trust {
        /// What it would take.
        needed: Trust,
        /// What there is.
        granted: Trust,
    },
    /// A word is missing from `may`.
    #[error("`{}` is not in `may`", .0.as_str())]
    May(May),
    /// No `reach` rule covers the request.
    #[error("no `reach` rule covers {0}")]
    Reach(String),
    /// No `may_ask` rule contains what is asked for.
    #[error("no `may_ask` rule covers {0}")]
    Asking(String),
    /// The audience was not granted.
    #[error("no credential for audience `{0}` is granted")]
    Audience(String),
    /// The credential was not granted, or not for this.
    #[error("credential `{0}` is not granted for this")]
    Credential(CredentialName),
    /// The model was not granted.
    #[error("model `{}` is not granted", .0.as_str())]
    Model(ModelName),
    /// The tool server was not granted, or not this tool of it as it was described.
    #[error("{0} is not granted")]
    Tool(String),
    /// More was asked for than is held.
    #[error("the grant asked for is wider than the one held")]
    Wider,
    /// It would outlive the grant.
    #[error("it would outlive the grant")]
    Late,
}

/// An order that can be compared with a grant.
pub trait Granted: Order {
    /// Whether the order lies within `grant`, or why not.
    fn within(&self, grant: &Grant) -> Result<(), Outside>;

    /// How firmly it must be recorded before it is carried out.
    fn class(&self) -> Class {
        class_of(Self::VERB)
    }
}

/// The audience of the identity every run has: our own doors and verifier.
const OWN_AUDIENCE: &str = "selvedge";

/// The factory's own tools, and the one of them that asks people.
const FACTORY: &str = "factory";
const ASK_PERSON: &str = "ask_person";

/// What it takes for a run to be admitted.
const ADMITTED: (May, Trust) = (May::Read, Trust::Observe);

/// What it takes for its agent to be let at the tree.
const AT_WORK: (May, Trust) = (May::Write, Trust::Draft);

/// What every run takes before its agent does anything. An agent that is granted less never works, whoever says yes to what.
pub const TO_START: [(May, Trust); 2] = [ADMITTED, AT_WORK];

fn needs(grant: &Grant, may: May, needed: Trust) -> Result<(), Outside> {
    if !grant.may.contains(&may) {
        Err(Outside::May(may))
    } else if grant.trust < needed {
        Err(Outside::Trust { needed, granted: grant.trust })
    } else {
        Ok(())
    }
}

impl Granted for AdmitTask {
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        let (may, trust) = ADMITTED;
        needs(grant, may, trust)
    }
}

impl Granted for MintCredential {
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        if self.until > grant.until {
            return Err(Outside::Late);
        }
        match &self.credential {
            None => accepted_by(grant, &self.audience),
            Some(credential) => lendable(grant, credential, &self.uses),
        }
    }
}

impl Granted for Delegate {
    /// Nobody gives what they do not hold, nor to be shown to somebody they may not speak to.
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        needs(grant, May::Delegate, Trust::Observe)?;
        if self.grant.until > grant.until {
            return Err(Outside::Late);
        }
        if !grant.contains(&self.grant) {
            return Err(Outside::Wider);
        }
        accepted_by(grant, &self.audience)
    }
}

/// Whether a document for this audience is granted.
fn accepted_by(grant: &Grant, audience: &str) -> Result<(), Outside> {
    if audience == OWN_AUDIENCE || grant.audiences.contains(audience) {
        Ok(())
    } else {
        Err(Outside::Audience(audience.to_owned()))
    }
}

impl Granted for UseSecret {
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        lendable(grant, &self.credential, &self.uses)
    }
}

/// Whether a credential is granted for all of these uses, and for any at all.
fn lendable(grant: &Grant, credential: &CredentialName, uses: &[Reach]) -> Result<(), Outside> {
    let is_held = |uses: &Reach| {
        let wanted = Loan { credential: credential.clone(), uses: uses.clone() };
        grant.loans.iter().any(|held| held.contains(&wanted))
    };
    if !uses.is_empty() && uses.iter().all(is_held) { Ok(()) } else { Err(Outside::Credential(credential.clone())) }
}

impl Granted for StartWork {
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        let (may, trust) = AT_WORK;
        needs(grant, may, trust)?;
        if grant.contains(&self.grant) { Ok(()) } else { Err(Outside::Wider) }
    }
}

impl Granted for CheckTree {
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        needs(grant, May::Read, Trust::Observe)
    }
}

impl Granted for HttpRequest {
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        let covers = |reach: &Reach| reach.covers(&self.endpoint, self.method, &self.path);
        if !grant.reach.iter().any(covers) {
            let (method, Self { endpoint, path, .. }) = (self.method.as_str(), self);
            return Err(Outside::Reach(format!("{method} {}:{}{path}", endpoint.host, endpoint.port)));
        }
        let Some(credential) = &self.credential else { return Ok(()) };
        let mut loans = grant.loans.iter().filter(|loan| loan.credential == *credential);
        if loans.any(|loan| covers(&loan.uses)) { Ok(()) } else { Err(Outside::Credential(credential.clone())) }
    }

    /// A request that carries a credential, or may change something where it goes, is on stable storage before it leaves.
    fn class(&self) -> Class {
        let reads = match self.method {
            Method::Get | Method::Head | Method::Options => {
                self.graphql.iter().all(|act| act.kind() == GraphqlKind::Query)
            }
            Method::Post | Method::Put | Method::Patch | Method::Delete => false,
        };
        if reads && self.credential.is_none() { class_of(Self::VERB) } else { Class::Durable }
    }
}

impl Granted for ModelCall {
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        if !grant.models.contains(&self.model) {
            return Err(Outside::Model(self.model.clone()));
        }
        let Some(credential) = &self.credential else { return Ok(()) };
        let is_here = |uses: &Reach| uses.endpoint == self.endpoint && uses.methods.contains(&Method::Post);
        let mut loans = grant.loans.iter().filter(|loan| loan.credential == *credential);
        if loans.any(|loan| is_here(&loan.uses)) { Ok(()) } else { Err(Outside::Credential(credential.clone())) }
    }
}

impl Granted for ToolCall {
    /// Whoever may work may use tools: what each may do is for policy, and what it can reach for the sandbox and the doors.
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        needs(grant, May::Read, Trust::Observe)
    }
}

impl Granted for BrokeredCall {
    /// This server, this tool, and described as it was taken on: what was granted is compared whole (E1).
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        needs(grant, May::Read, Trust::Observe)?;
        if !grant.tools.contains(&self.scope) {
            let server = self.server();
            let what =
                self.tool().map_or(format!("tool server `{server}`"), |tool| format!("tool `{tool}` of `{server}`"));
            return Err(Outside::Tool(what));
        }
        let Some(credential) = &self.credential else { return Ok(()) };
        let held = grant.loans.iter().any(|loan| loan.credential == *credential);
        if held { Ok(()) } else { Err(Outside::Credential(credential.clone())) }
    }
}

impl Granted for AskPerson {
    /// By the tool that its agent was given for it.
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        needs(grant, May::Read, Trust::Observe)?;
        let asks = |tool: &ToolName| tool.as_str() == ASK_PERSON;
        let is_given = |scope: &ToolScope| scope.server().as_str() == FACTORY && scope.tool().is_some_and(asks);
        let what = || Outside::Tool(format!("tool `{ASK_PERSON}` of `{FACTORY}`"));
        if grant.tools.iter().any(is_given) { Ok(()) } else { Err(what()) }
    }
}

impl Granted for AnswerQuestion {
    /// People answer; no agent's grant reaches this far.
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        Err(Outside::Trust { needed: Trust::Release, granted: grant.trust })
    }
}

impl Granted for RequestAccess {
    /// Asking goes as far as the configuration lets it, and no further: what cannot be compared cannot be asked for (E7).
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        if grant.may_be_asked(&self.reach) { Ok(()) } else { Err(Outside::Asking(self.reach.to_string())) }
    }
}

impl Granted for ReadGit {
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        needs(grant, May::Read, Trust::Observe)
    }
}

impl Granted for PushGit {
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        needs(grant, May::Push, Trust::Draft)
    }
}

impl Granted for OpenProposal {
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        needs(grant, May::OpenProposal, Trust::Propose)
    }
}

impl Granted for MergeProposal {
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        needs(grant, May::OpenProposal, Trust::Land)
    }
}

impl Granted for EnqueueTask {
    /// What is queued for later needs the word for it; a child is given no more than its giver holds (requirement B4), and one
    /// that was given nothing in particular could do whatever its agent may.
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        match (self.trigger.source, &self.trigger.lineage.within) {
            (TriggerSource::Child, Some(handed)) => {
                needs(grant, May::Delegate, Trust::Observe)?;
                if Ceiling::from(grant).contains(&handed.ceiling) { Ok(()) } else { Err(Outside::Wider) }
            }
            (TriggerSource::Child, None) => Err(Outside::Wider),
            // Who works next in a pipeline is said by its configuration: no agent's grant reaches this far.
            (TriggerSource::Stage, _) => Err(Outside::Wider),
            _ => needs(grant, May::FollowUp, Trust::Observe),
        }
    }
}

impl Granted for GrantApproval {
    /// People approve; no agent's grant reaches this far.
    fn within(&self, grant: &Grant) -> Result<(), Outside> {
        Err(Outside::Trust { needed: Trust::Release, granted: grant.trust })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use selvedge_domain::{
        Actor, AgentName, Digest, Endpoint, Handed, HostPattern, LeaseId, Lineage, Method, RepoName, Risk, RunId,
        Secrets, ServerName, Time, ToolName, ToolScope, Trigger, TriggerId, WorkloadId,
    };

    use super::*;

    #[test]
    fn a_child_is_given_no_more_than_its_giver_holds_b4() {
        let reach = |path: &str| Reach {
            endpoint: Endpoint { host: HostPattern::parse("files.example").unwrap(), port: 443 },
            methods: [Method::Get].into(),
            path_prefix: path.to_owned(),
        };
        let held = Grant {
            trust: Trust::Propose,
            may: [May::Read, May::Write, May::Delegate].into(),
            reach: [reach("/public")].into(),
            audiences: BTreeSet::new(),
            loans: BTreeSet::new(),
            models: BTreeSet::new(),
            tools: BTreeSet::new(),
            until: Time::from_millis(10),
            may_ask: BTreeSet::new(),
        };
        let asked = |source: TriggerSource, ceiling: Option<Ceiling>| {
            let within = ceiling.map(|ceiling| Box::new(Handed { ceiling, depth: 1, budget: 0 }));
            let trigger = Trigger {
                id: TriggerId::from_entropy(1),
                source,
                by: Actor::Factory,
                repo: RepoName::parse("acme/shop").unwrap(),
                agent: AgentName::parse("reader").unwrap(),
                text: String::new(),
                argv: Vec::new(),
                lineage: Lineage { within, ..Lineage::outside() },
            };
            EnqueueTask { trigger }
        };
        let (all, child) = (Ceiling::from(&held), TriggerSource::Child);
        let less =
            Ceiling { trust: Trust::Draft, may: [May::Read].into(), reach: [reach("/public/a")].into(), ..all.clone() };
        for given in [&all, &less] {
            assert_eq!(asked(child, Some(given.clone())).within(&held), Ok(()));
        }
        for wider in [
            Ceiling { trust: Trust::Land, ..less.clone() },
            Ceiling { may: [May::OpenProposal].into(), ..less.clone() },
            Ceiling { reach: [reach("/")].into(), ..less.clone() },
            Ceiling { audiences: ["cloud".to_owned()].into(), ..less.clone() },
        ] {
            assert_eq!(asked(child, Some(wider)).within(&held), Err(Outside::Wider));
        }
        assert_eq!(asked(child, None).within(&held), Err(Outside::Wider), "it could do whatever its agent may");
        let idle = Grant { may: [May::Read, May::Write, May::FollowUp].into(), ..held.clone() };
        assert_eq!(asked(child, Some(less.clone())).within(&idle), Err(Outside::May(May::Delegate)));
        assert_eq!(asked(TriggerSource::FollowUp, Some(less.clone())).within(&held), Err(Outside::May(May::FollowUp)));
        let all = Grant { may: May::ALL.iter().copied().collect(), trust: Trust::Release, ..held.clone() };
        for given in [None, Some(less)] {
            assert_eq!(
                asked(TriggerSource::Stage, given).within(&all),
                Err(Outside::Wider),
                "no agent queues a stage (A5)"
            );
        }
    }

    #[test]
    fn a_tool_is_called_as_it_was_granted_or_not_at_all_e1() {
        let server = |name: &str| ServerName::parse(name).unwrap();
        let call = |name: &str, tool: &str, text: &str| ToolScope::Call {
            server: server(name),
            tool: ToolName::parse(tool).unwrap(),
            described: Digest::of_parts([text.as_bytes()]),
        };
        let list = |name: &str| ToolScope::List { server: server(name) };
        let credential = CredentialName::parse("tracker").unwrap();
        let held = Grant {
            trust: Trust::Draft,
            may: [May::Read, May::Write].into(),
            reach: BTreeSet::new(),
            may_ask: BTreeSet::new(),
            audiences: BTreeSet::new(),
            loans: BTreeSet::new(),
            models: BTreeSet::new(),
            tools: [list("tracker"), call("tracker", "search", "as it was")].into(),
            until: Time::from_millis(10),
        };
        let order = |scope: ToolScope, credential: Option<CredentialName>| BrokeredCall {
            run: RunId::from_entropy(1),
            repo: RepoName::parse("acme/shop").unwrap(),
            serial: 1,
            scope,
            risk: Risk::Low,
            command: String::new(),
            paths: Vec::new(),
            addresses: Vec::new(),
            values: Vec::new(),
            arguments: Digest::of_parts([]),
            argument_bytes: 0,
            credential,
            host: None,
            request_bytes_max: 0,
            secrets: Secrets::default(),
        };
        for scope in held.tools.clone() {
            assert_eq!(order(scope.clone(), None).within(&held), Ok(()));
            assert_eq!(
                order(scope, Some(credential.clone())).within(&held),
                Err(Outside::Credential(credential.clone()))
            );
        }
        for scope in [
            list("files"),
            call("tracker", "delete", "as it was"),
            call("files", "search", "as it was"),
            call("tracker", "search", "as it is now"),
        ] {
            assert!(matches!(order(scope.clone(), None).within(&held), Err(Outside::Tool(_))), "{scope:?}");
        }
    }

    #[test]
    fn nobody_gives_away_more_than_they_hold_a58() {
        let held = Grant {
            trust: Trust::Propose,
            may: [May::Read, May::Write, May::Delegate].into(),
            reach: BTreeSet::new(),
            audiences: ["cloud".to_owned()].into(),
            may_ask: BTreeSet::new(),
            loans: BTreeSet::new(),
            models: BTreeSet::new(),
            tools: BTreeSet::new(),
            until: Time::from_millis(10),
        };
        let run = RunId::from_entropy(1);
        let give = |grant: Grant, audience: &str| {
            let order = Delegate {
                lease: LeaseId::from_entropy(1),
                from: LeaseId::from_entropy(2),
                run: run.clone(),
                repo: RepoName::parse("acme/shop").unwrap(),
                to: WorkloadId::new("example.org", RunId::from_entropy(2), AgentName::parse("reader").unwrap()),
                audience: audience.to_owned(),
                grant,
                ttl_seconds: 1,
                depth: 1,
                budget: 0,
            };
            // Whoever may not hand anything on hands on nothing, however little.
            let idle = Grant { may: [May::Read, May::Write].into(), ..held.clone() };
            assert!(order.within(&idle).is_err());
            order.within(&held)
        };
        let less =
            Grant { trust: Trust::Observe, may: [May::Read].into(), until: Time::from_millis(9), ..held.clone() };
        for grant in [&held, &less] {
            assert_eq!(give(grant.clone(), "cloud"), Ok(()));
            assert_eq!(give(grant.clone(), OWN_AUDIENCE), Ok(()));
            assert_eq!(give(grant.clone(), "elsewhere"), Err(Outside::Audience("elsewhere".to_owned())));
        }
        assert_eq!(give(Grant { until: Time::from_millis(11), ..less.clone() }, "cloud"), Err(Outside::Late));
        for wider in [
            Grant { trust: Trust::Land, ..less.clone() },
            Grant { may: [May::FollowUp].into(), ..less.clone() },
            Grant { audiences: ["elsewhere".to_owned()].into(), ..less },
        ] {
            assert_eq!(give(wider, "cloud"), Err(Outside::Wider));
        }
    }
}
