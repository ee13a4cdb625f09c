//! Calls of tool servers: each decided before the server has it, under the yes that a person gave to the very same call when the agent's
//! model wrote it, once. Owns what counts as the same call, and which of them are under way.

use std::sync::{MutexGuard, PoisonError};

use selvedge_authority::{
    ActError, Approval, Class, Code, Denial, Entry, Funnel, Journal, JournalError, PolicyName, Stop, Verdict,
};
use selvedge_domain::orders::{AskPerson, BrokeredCall, ToolCall};
use selvedge_domain::{AgentName, Deed, Digest, Field, Order as _, RunId, Seen, Time};

use crate::doorkeeper::{Gatekeeper, busy};
use crate::hold::Holds;
use crate::ports::Shows;

/// What is called, with what. Which answer of a model it stands in, or which message of a client, makes no other call of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Same {
    server: Option<String>,
    tool: String,
    arguments: Digest,
}

impl From<&ToolCall> for Same {
    fn from(call: &ToolCall) -> Self {
        let of_server = call.of_server.as_ref().map(|tool| &tool.scope);
        let tool = of_server.and_then(|scope| scope.tool()).map_or(call.tool.as_str(), |tool| tool.as_str());
        let server = of_server.map(|scope| scope.server().to_string());
        Self { server, tool: tool.to_owned(), arguments: call.arguments }
    }
}

impl From<&BrokeredCall> for Same {
    fn from(call: &BrokeredCall) -> Self {
        let tool = call.tool().map(ToString::to_string).unwrap_or_default();
        Self { server: Some(call.server().to_string()), tool, arguments: call.arguments }
    }
}

impl From<&AskPerson> for Same {
    fn from(order: &AskPerson) -> Self {
        let arguments = Digest::of_parts([order.question.as_bytes()]);
        Self { server: None, tool: AskPerson::VERB.as_str().to_owned(), arguments }
    }
}

/// A yes to a model's call of a server's tool, that has yet to be used for the call itself.
#[derive(Debug)]
pub(crate) struct Cover {
    /// Which call.
    pub(crate) call: Same,
    /// The yes.
    pub(crate) yes: Approval,
    /// The policies that asked for it. It lifts these and no other.
    pub(crate) asked_by: Vec<PolicyName>,
}

/// A record in which one order has the yes that was given to another order about the same call.
struct Covered<'a> {
    journal: &'a dyn Journal,
    order: Digest,
    yes: Approval,
}

impl Journal for Covered<'_> {
    fn append(&self, entry: Entry, class: Class) -> Result<(), JournalError> {
        self.journal.append(entry, class)
    }

    fn recall(&self, run: &RunId, order: &Digest) -> Result<Option<Deed>, JournalError> {
        self.journal.recall(run, order)
    }

    fn approval(&self, order: &Digest, now: Time) -> Result<Option<Approval>, JournalError> {
        match *order == self.order && now <= self.yes.until {
            true => Ok(Some(self.yes.clone())),
            false => self.journal.approval(order, now),
        }
    }

    fn seen(&self, agent: &AgentName) -> Seen {
        self.journal.seen(agent)
    }
}

impl Gatekeeper<'_> {
    /// Decides a call of a server. Nothing of it leaves before this says so.
    pub(crate) fn open_server(&self, call: BrokeredCall) -> Result<(), Stop> {
        self.goes_on().map_err(Stop::Denied)?;
        let _entered = Entered::by(self).map_err(Stop::Denied)?;
        self.count_request().map_err(Stop::Denied)?;
        let (own, serial) = (self.funnel(), call.serial);
        match self.cover_of(&call) {
            None => self.brokered.open(&own, serial, call),
            Some(yes) => {
                let journal = Covered { journal: own.journal, order: call.recorded().digest(), yes };
                self.brokered.open(&Funnel { journal: &journal, ..own }, serial, call)
            }
        }
    }

    /// The same once a person has said yes to it: what a halt overtakes is recorded as not done.
    pub(crate) fn open_approved(&self, call: BrokeredCall) -> Result<(), Stop> {
        let (own, serial) = (self.funnel(), call.serial);
        self.brokered.open(&own, serial, call)?;
        self.standing().map_err(|halted| {
            self.brokered.settle(&own, serial, Err(halted.clone()));
            Stop::Act(halted)
        })
    }

    /// Whether an agent is shown a tool: what policy would say of a call that says nothing yet.
    pub(crate) fn foresees(&self, call: &BrokeredCall) -> Shows {
        let mut described = call.describe();
        for (name, fact) in &mut described.fields {
            if *name == "kind" {
                *fact = Field::from("offer");
            }
        }
        match self.funnel().foresee(call, &described) {
            Verdict::Allow { .. } => Shows::Yes,
            Verdict::NeedsApproval(_) => Shows::WherePeopleAnswer,
            Verdict::Deny(_) => Shows::No,
        }
    }

    /// Remembers a yes to what a model wrote, for the call that follows from it. What was refused as well is not covered.
    pub(crate) fn cover(&self, call: &ToolCall, yes: Approval, asked_by: Vec<PolicyName>) {
        let mut holds = self.holds();
        let same = Same::from(call);
        if call.of_server.is_some() && !holds.refused.contains(&same) {
            holds.covers.push(Cover { call: same, yes, asked_by });
        }
    }

    /// The yes for this call, if there is one: used up by being asked for, whether or not the call needs one. At the server's door the
    /// call has facts that nobody was shown with what the model wrote; a policy that asks because of these is answered by no earlier yes.
    fn cover_of(&self, call: &BrokeredCall) -> Option<Approval> {
        let cover = self.take_cover(&Same::from(call))?;
        match self.funnel().foresee(call, &call.describe()) {
            Verdict::NeedsApproval(denial) => {
                denial.policies.iter().all(|policy| cover.asked_by.contains(policy)).then_some(cover.yes)
            }
            Verdict::Allow { .. } | Verdict::Deny(_) => None,
        }
    }

    fn take_cover(&self, call: &Same) -> Option<Cover> {
        let now = self.funnel.clock.now();
        let mut holds = self.holds();
        holds.covers.retain(|cover| now <= cover.yes.until);
        let at = holds.covers.iter().position(|cover| cover.call == *call)?;
        Some(holds.covers.swap_remove(at))
    }

    /// How many calls of servers are under way. A question is itself one that waits.
    pub(crate) fn servers_under_way(&self) -> usize {
        let open = self.brokered.count();
        let holds = self.holds();
        open.saturating_add(holds.entering).saturating_sub(holds.questions.len())
    }

    pub(crate) fn standing(&self) -> Result<(), ActError> {
        let lending = self.lending.as_ref().ok_or_else(|| ActError::Permanent("nothing is held here".to_owned()))?;
        lending.refuse_when_halted(&self.run).map(|_| ()).map_err(ActError::Halted)
    }

    /// Each statement leaves it whole.
    pub(crate) fn holds(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody is about to have a server called: counted before it is asked whether that may be, so that a turn that is to be held finds
/// either the call or nobody.
struct Entered<'g, 'a>(&'g Gatekeeper<'a>);

impl<'g, 'a> Entered<'g, 'a> {
    fn by(of: &'g Gatekeeper<'a>) -> Result<Self, Denial> {
        let mut holds = of.holds();
        if holds.is_closing {
            return Err(busy("the turn is about to wait for a person; ask once more"));
        }
        holds.entering = holds.entering.saturating_add(1);
        drop(holds);
        Ok(Self(of))
    }
}

impl Drop for Entered<'_, '_> {
    fn drop(&mut self) {
        let mut holds = self.0.holds();
        holds.entering = holds.entering.saturating_sub(1);
    }
}

/// What is said where nobody can be asked.
pub fn nobody_here() -> Denial {
    let next_step = "nobody can be asked here; decide with what you know, and say in a report what is open".to_owned();
    Denial { code: Code::NotPermitted, policies: Vec::new(), next_step }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use selvedge_authority::{Clock, Context, Judge, Question, Record, Subject};
    use selvedge_domain::orders::{ServerTool, ToolAnswered};
    use selvedge_domain::{
        ApprovalId, HostPattern, Person, RepoName, Risk, Secrets, Sensitivity, ServerName, ToolName, ToolScope,
    };

    use super::*;
    use crate::ports::Doorkeeper as _;

    /// A record, and a policy that wants a yes to everything.
    struct World {
        now: Mutex<Time>,
        kept: Mutex<Vec<Record>>,
        context: Context,
    }

    impl Clock for World {
        fn now(&self) -> Time {
            *self.now.lock().unwrap()
        }
    }

    impl Journal for World {
        fn append(&self, entry: Entry, _: Class) -> Result<(), JournalError> {
            self.kept.lock().unwrap().push(entry.record);
            Ok(())
        }

        fn recall(&self, _: &RunId, _: &Digest) -> Result<Option<Deed>, JournalError> {
            Ok(None)
        }

        fn approval(&self, _: &Digest, _: Time) -> Result<Option<Approval>, JournalError> {
            Ok(None)
        }
    }

    impl Judge for World {
        fn judge(&self, question: &Question<'_>) -> Verdict {
            match question.approved {
                true => Verdict::Allow { policies: vec![PolicyName::new("test")] },
                // One asks about everything, one because of a fact that only a call at the server's door has.
                false => {
                    let at_host = question.order.text("host") == Some("mcp.example");
                    let host = at_host.then(|| PolicyName::new("host"));
                    let policies = asked().into_iter().chain(host).collect();
                    Verdict::NeedsApproval(Denial { policies, ..nobody_here() })
                }
            }
        }
    }

    impl World {
        fn new() -> Self {
            let context = Context {
                run: Some(run()),
                intent: None,
                sensitivity: Sensitivity::Internal,
                chain_depth: 0,
                follow_ups_left: 0,
                tainted: false,
                read_sensitive: false,
                lands_unattended: false,
                configuration: Digest::of_parts([]),
            };
            Self { now: Mutex::new(Time::from_millis(5)), kept: Mutex::default(), context }
        }

        /// The approvals that calls were allowed by.
        fn rested_on(&self) -> Vec<Option<ApprovalId>> {
            let allowed = |record: &Record| match record {
                Record::Decided { verdict: Verdict::Allow { .. }, approval, .. } => Some(approval.clone()),
                _ => None,
            };
            self.kept.lock().unwrap().iter().filter_map(allowed).collect()
        }
    }

    fn run() -> RunId {
        RunId::from_entropy(1)
    }

    fn scope(server: &str, tool: &str) -> ToolScope {
        ToolScope::Call {
            server: ServerName::parse(server).unwrap(),
            tool: ToolName::parse(tool).unwrap(),
            described: Digest::of_parts([]),
        }
    }

    fn written(arguments: &str) -> ToolCall {
        ToolCall {
            run: run(),
            repo: RepoName::parse("acme/shop").unwrap(),
            serial: 1,
            index: 0,
            tool: "mcp__tracker__delete".to_owned(),
            kind: "other".to_owned(),
            command: String::new(),
            paths: Vec::new(),
            steers: Vec::new(),
            addresses: Vec::new(),
            values: Vec::new(),
            arguments: Digest::of_parts([arguments.as_bytes()]),
            argument_bytes: 2,
            of_server: Some(ServerTool { scope: scope("tracker", "delete"), risk: Risk::Medium }),
            secrets: Secrets::default(),
        }
    }

    fn sent(serial: u64, server: &str, tool: &str, arguments: &str) -> BrokeredCall {
        BrokeredCall {
            run: run(),
            repo: RepoName::parse("acme/shop").unwrap(),
            serial,
            scope: scope(server, tool),
            risk: Risk::Medium,
            command: String::new(),
            paths: Vec::new(),
            addresses: Vec::new(),
            values: Vec::new(),
            arguments: Digest::of_parts([arguments.as_bytes()]),
            argument_bytes: 2,
            credential: None,
            host: None,
            request_bytes_max: 0,
            secrets: Secrets::default(),
        }
    }

    fn yes() -> Approval {
        Approval { id: ApprovalId::from_entropy(9), by: Person::from_uid(1), until: Time::from_millis(100) }
    }

    fn asked() -> Vec<PolicyName> {
        vec![PolicyName::new("test")]
    }

    #[test]
    fn a_yes_lifts_only_the_policies_that_asked_for_it_d3_a72() {
        let world = World::new();
        let (judge, journal, clock) = (&world as &dyn Judge, &world as &dyn Journal, &world as &dyn Clock);
        let funnel = Funnel { judge, journal, subject: &Subject::Factory, context: &world.context, clock };
        let doors = Gatekeeper::new(&funnel, &run());
        let at = |serial, host: &str| BrokeredCall {
            host: HostPattern::parse(host),
            ..sent(serial, "tracker", "delete", "{}")
        };
        doors.cover(&written("{}"), yes(), asked());
        let stopped = doors.open_server(at(2, "mcp.example"));
        let Err(Stop::NeedsApproval { denial, .. }) = stopped else { panic!("nobody said yes to that: {stopped:?}") };
        assert_eq!(denial.policies, ["test", "host"].map(PolicyName::new), "whoever is asked sees why");
        doors.cover(&written("{}"), yes(), asked());
        assert_eq!(doors.open_server(at(3, "other.example")), Ok(()));
        let both = ["test", "host"].map(PolicyName::new).to_vec();
        doors.cover(&written("{}"), yes(), both);
        assert_eq!(doors.open_server(at(4, "mcp.example")), Ok(()), "asked by both");
    }

    #[test]
    fn a_no_ends_an_earlier_yes_to_the_same_call_and_no_other_a72_a75() {
        let world = World::new();
        let (judge, journal, clock) = (&world as &dyn Judge, &world as &dyn Journal, &world as &dyn Clock);
        let funnel = Funnel { judge, journal, subject: &Subject::Factory, context: &world.context, clock };
        let doors = Gatekeeper::new(&funnel, &run());
        let asks = |call| matches!(doors.open_server(call), Err(Stop::NeedsApproval { .. }));
        doors.cover(&written("{}"), yes(), asked());
        doors.cover(&written("{ }"), yes(), asked());
        doors.refuse(Same::from(&written("{}")));
        assert!(asks(sent(2, "tracker", "delete", "{}")), "it was refused since");
        assert_eq!(doors.open_server(sent(3, "tracker", "delete", "{ }")), Ok(()), "which is another call");
        doors.cover(&written("{}"), yes(), asked());
        assert!(asks(sent(4, "tracker", "delete", "{}")), "of a yes and a no in one turn, the no holds");
    }

    #[test]
    fn a_yes_covers_the_same_call_once_within_its_hour_and_no_other_a72_a76() {
        let world = World::new();
        let (judge, journal, clock) = (&world as &dyn Judge, &world as &dyn Journal, &world as &dyn Clock);
        let funnel = Funnel { judge, journal, subject: &Subject::Factory, context: &world.context, clock };
        let doors = Gatekeeper::new(&funnel, &run());
        let asks = |call| matches!(doors.open_server(call), Err(Stop::NeedsApproval { .. }));
        doors.cover(&written("{}"), yes(), asked());
        for (server, tool, arguments) in
            [("tracker", "delete", "{ }"), ("tracker", "search", "{}"), ("other", "delete", "{}")]
        {
            assert!(asks(sent(2, server, tool, arguments)), "{server} {tool} {arguments}");
        }
        assert_eq!(doors.open_server(sent(3, "tracker", "delete", "{}")), Ok(()));
        assert_eq!(world.rested_on(), [Some(yes().id)], "the record names the yes");
        assert!(asks(sent(4, "tracker", "delete", "{}")), "it is spent");
        // Two yeses are two calls.
        doors.cover(&written("{}"), yes(), asked());
        doors.cover(&written("{}"), yes(), asked());
        assert_eq!(doors.open_server(sent(5, "tracker", "delete", "{}")), Ok(()));
        assert_eq!(doors.open_server(sent(6, "tracker", "delete", "{}")), Ok(()));
        assert!(asks(sent(7, "tracker", "delete", "{}")));
        doors.cover(&written("{}"), yes(), asked());
        *world.now.lock().unwrap() = Time::from_millis(101);
        assert!(asks(sent(8, "tracker", "delete", "{}")), "its hour is over");
        // What is no server's tool covers nothing.
        *world.now.lock().unwrap() = Time::from_millis(5);
        doors.cover(&ToolCall { of_server: None, tool: "delete".to_owned(), ..written("{}") }, yes(), asked());
        assert!(asks(sent(9, "tracker", "delete", "{}")));
    }

    #[test]
    fn no_server_is_asked_once_a_turn_is_to_be_held_and_what_is_under_way_is_known_e5() {
        let world = World::new();
        let (judge, journal, clock) = (&world as &dyn Judge, &world as &dyn Journal, &world as &dyn Clock);
        let funnel = Funnel { judge, journal, subject: &Subject::Factory, context: &world.context, clock };
        let doors = Gatekeeper::new(&funnel, &run());
        let holding: &dyn crate::hold::Holding = &doors;
        doors.cover(&written("{}"), yes(), asked());
        assert_eq!(doors.open_server(sent(3, "tracker", "delete", "{}")), Ok(()));
        holding.close();
        assert!(holding.is_server_at_work());
        doors.cover(&written("{}"), yes(), asked());
        let refused = doors.open_server(sent(4, "tracker", "delete", "{}"));
        assert!(matches!(refused, Err(Stop::Denied(denial)) if denial.next_step.contains("ask once more")));
        let came = ToolAnswered {
            code: "answered".to_owned(),
            answer: Digest::of_parts([]),
            answer_bytes: 0,
            request_bytes: 0,
        };
        doors.server_answered(3, came);
        assert!(!holding.is_server_at_work());
        holding.end();
        assert_eq!(doors.open_server(sent(5, "tracker", "delete", "{}")), Ok(()), "a yes is not spent on a refusal");
    }
}
