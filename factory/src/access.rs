//! Asking for more reach while a run works: each request an order of its own, put before people where policy says so, and good for
//! the attempt that asked and nothing after it (requirement E7).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use selvedge_authority::{
    ActError, Clock, Code, Denial, Entry, Funnel, Observation, Permit, Record, Stop, Subject, class_of,
};
use selvedge_domain::orders::{RequestAccess, Widened};
use selvedge_domain::{Actor, ApprovalId, Description, Duration, Reach, RunId, Time, Verb};

use crate::cycle::{Desk, Factory, approval_of};
use crate::doorkeeper::{Gatekeeper, busy};
use crate::ports::{Answer, Doorkeeper as _, Store};

/// How many requests one attempt has decided. Work that needs more hosts than this was configured for another task; and each
/// request costs a person's attention, which is what an agent must not be able to wear out.
const ASKS_MAX: u32 = 32;

/// What came of asking for more, where it was not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// The run reaches it.
    Given,
    /// A person has to say yes; the run works on meanwhile, and asks again.
    Awaits {
        /// What they answer.
        approval: ApprovalId,
    },
}

/// What an attempt asked for beyond its configured grant, and what it was given.
pub(crate) struct Asking<'a> {
    store: &'a dyn Store,
    clock: &'a dyn Clock,
    /// Who asks, with the configured grant.
    own: &'a Subject,
    /// How long a person has to answer.
    within: Duration,
    /// When the attempt is over at the latest.
    ends: Time,
    asked: Mutex<Asked>,
    /// Who asks for requests from now on: the run's agent with the wider grant. None until something is given.
    wider: RwLock<Option<Arc<Subject>>>,
}

#[derive(Default)]
struct Asked {
    /// How many requests were decided.
    decided: u32,
    /// What people were asked, by the rule: the first reason given for a rule stands.
    waiting: BTreeMap<Reach, Waiting>,
}

#[derive(Clone)]
struct Waiting {
    order: RequestAccess,
    approval: ApprovalId,
    until: Time,
}

impl<'a> Asking<'a> {
    /// Nothing is asked for yet.
    pub(crate) fn new(factory: &'a Factory<'a>, desk: &'a Desk) -> Self {
        Self {
            store: factory.store,
            clock: factory.clock,
            own: &desk.subject,
            within: desk.repository.approval_within,
            ends: desk.grant.until,
            asked: Mutex::default(),
            wider: RwLock::default(),
        }
    }

    /// Who asks for a request: with what was given, if anything was.
    pub(crate) fn subject(&self) -> Option<Arc<Subject>> {
        self.wider.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Decide → record → widen the door → record → widen what requests are judged by. One at a time.
    pub(crate) fn ask(
        &self,
        doors: &Gatekeeper<'_>,
        funnel: &Funnel<'_>,
        run: &RunId,
        order: RequestAccess,
        widen: &mut dyn FnMut(&Permit<RequestAccess>) -> Result<Widened, ActError>,
    ) -> Result<Access, Denial> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if self.holds(&order.reach) {
            return Ok(Access::Given);
        }
        let earlier = asked.waiting.get(&order.reach).cloned();
        if let Some(Waiting { approval, until, .. }) = &earlier {
            // What did not change is not decided anew: an agent that keeps asking costs the record nothing.
            match self.store.answer(approval).map_err(|error| unrecorded(&error.to_string()))? {
                Answer::Denied => return Err(said_no()),
                Answer::Pending if self.clock.now() < *until => {
                    return Ok(Access::Awaits { approval: approval.clone() });
                }
                Answer::Pending | Answer::Granted | Answer::Words(_) => {}
            }
        }
        count(&mut asked.decided, doors)?;
        self.refuse_when_halted(run)?;
        let order = earlier.map_or(order, |earlier| earlier.order);
        match funnel.open(order.clone()) {
            Ok(permit) => {
                // What a halt overtook is recorded as not done, and the yes is not spent on it.
                let standing = self.refuse_when_halted(run).map_err(|denial| ActError::Halted(denial.next_step));
                let widened = standing.and_then(|()| widen(&permit));
                funnel.close(permit, widened).map_err(denied)?;
                self.give(&order.reach)?;
                asked.waiting.remove(&order.reach);
                Ok(Access::Given)
            }
            Err(Stop::NeedsApproval { order: description, .. }) => {
                let waiting = self.put_before_people(run, order, *description)?;
                let approval = waiting.approval.clone();
                asked.waiting.insert(waiting.order.reach.clone(), waiting);
                Ok(Access::Awaits { approval })
            }
            Err(stop) => Err(denied(stop)),
        }
    }

    /// Whether every request of the rule lies within what the attempt reaches already.
    fn holds(&self, rule: &Reach) -> bool {
        let wider = self.subject();
        match wider.as_deref().unwrap_or(self.own) {
            Subject::Agent { grant, .. } => grant.reach.iter().any(|held| held.contains(rule)),
            Subject::Person(_) | Subject::Factory => false,
        }
    }

    /// The rule joins what requests are judged by; nothing that is handed on, lent or delivered is judged by it.
    fn give(&self, rule: &Reach) -> Result<(), Denial> {
        let mut wider = self.wider.write().unwrap_or_else(PoisonError::into_inner);
        let current = wider.as_deref().unwrap_or(self.own);
        *wider = Some(Arc::new(widened(current, rule).ok_or_else(|| busy("only an agent's grant can be widened"))?));
        Ok(())
    }

    /// Asks for a yes that is good until the attempt is over: an answer that comes later has nothing to say yes to.
    fn put_before_people(
        &self,
        run: &RunId,
        order: RequestAccess,
        description: Description,
    ) -> Result<Waiting, Denial> {
        let at = self.clock.now();
        let until = at.after(self.within).min(self.ends);
        let approval = approval_of(&description);
        let record = Record::ApprovalAsked { approval: approval.clone(), order: description, until };
        let entry = Entry { at, run: Some(run.clone()), actor: Actor::Factory, owner: None, record };
        let asked = self.store.append(entry, class_of(Verb::ApprovalGrant));
        asked.map_err(|error| unrecorded(&error.to_string()))?;
        Ok(Waiting { order, approval, until })
    }

    fn refuse_when_halted(&self, run: &RunId) -> Result<(), Denial> {
        let standing = self.store.load(run).and_then(|run| self.store.halted(&run));
        match standing.map_err(|error| unrecorded(&error.to_string()))? {
            None => Ok(()),
            Some(because) => Err(Denial { code: Code::Halted, policies: Vec::new(), next_step: because }),
        }
    }
}

/// The subject with a grant that is wider by the rule; none where the rule lies beyond what may be asked for.
fn widened(subject: &Subject, rule: &Reach) -> Option<Subject> {
    let mut wider = subject.clone();
    match &mut wider {
        Subject::Agent { grant, .. } => **grant = grant.widened(rule)?,
        Subject::Person(_) | Subject::Factory => return None,
    }
    Some(wider)
}

/// Counts what is decided; a flood is named once.
fn count(decided: &mut u32, doors: &Gatekeeper<'_>) -> Result<(), Denial> {
    *decided = decided.saturating_add(1);
    if *decided == ASKS_MAX + 1 {
        let detail =
            format!("more than {ASKS_MAX} requests for access; the rest are denied and not recorded one by one");
        doors.saw(Observation::Finding { code: "too_many_access_requests".to_owned(), detail });
    }
    if *decided > ASKS_MAX {
        return Err(busy("this attempt has asked for all the access it may; work with what it has"));
    }
    Ok(())
}

/// What an attempt without anything to ask for is told.
pub(crate) fn nothing_to_ask() -> Denial {
    Denial {
        code: Code::OutsideGrant,
        policies: Vec::new(),
        next_step: "this sandbox may not ask for more; work with what it has".to_owned(),
    }
}

fn said_no() -> Denial {
    Denial {
        code: Code::Forbidden,
        policies: Vec::new(),
        next_step: "a person said no to this; work without it".to_owned(),
    }
}

fn unrecorded(because: &str) -> Denial {
    Denial {
        code: Code::NotRecorded,
        policies: Vec::new(),
        next_step: format!("nothing was given ({because}); work without it, or tell the operator"),
    }
}

fn denied(stop: Stop) -> Denial {
    match stop {
        Stop::Denied(denial) | Stop::NeedsApproval { denial, .. } => denial,
        Stop::Act(error) => busy(&format!("it was allowed and could not be given ({error}); ask once more")),
        Stop::Journal(error) => unrecorded(&error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use selvedge_authority::{Approval, Class, Context, Journal, JournalError, Judge, PolicyName, Question, Verdict};
    use selvedge_domain::orders::{Delegate, HttpRequest};
    use selvedge_domain::{
        AgentName, Autonomy, Conduct, Deed, Digest, Endpoint, Grant, HostPattern, LeaseId, Lineage, May, Method, Owner,
        Person, RepoName, Run, Secrets, Sensitivity, Trigger, TriggerId, TriggerSource, Trust, WorkloadId,
    };

    use super::*;

    /// A record, the people beside it, and policies that ask them.
    struct World {
        entries: Mutex<Vec<Entry>>,
        answer: Mutex<Answer>,
        halted: Mutex<bool>,
        /// A halt that comes while the decision is being recorded.
        halts_on_decision: bool,
        subject: Subject,
        context: Context,
    }

    fn run() -> RunId {
        RunId::from_entropy(1)
    }

    fn repo() -> RepoName {
        RepoName::parse("acme/shop").unwrap()
    }

    fn rule(path: &str) -> Reach {
        let endpoint = Endpoint { host: HostPattern::parse("docs.example").unwrap(), port: 443 };
        Reach { endpoint, methods: [Method::Get].into(), path_prefix: path.to_owned() }
    }

    fn grant(reach: BTreeSet<Reach>) -> Grant {
        Grant {
            trust: Trust::Draft,
            may: [May::Delegate].into(),
            reach,
            may_ask: [rule("/guide")].into(),
            models: BTreeSet::new(),
            tools: BTreeSet::new(),
            audiences: BTreeSet::new(),
            loans: BTreeSet::new(),
            until: Time::from_millis(1_000),
        }
    }

    fn world(halts_on_decision: bool) -> World {
        let name = AgentName::parse("reader").unwrap();
        World {
            entries: Mutex::default(),
            answer: Answer::Pending.into(),
            halted: false.into(),
            halts_on_decision,
            subject: Subject::Agent {
                workload: WorkloadId::new("example.org", run(), name.clone()),
                name,
                owner: Owner::parse("team@example.org").unwrap(),
                trust: Trust::Draft,
                conduct: Conduct::unseen(Autonomy::BoundedAutomation),
                grant: Box::new(grant(BTreeSet::new())),
            },
            context: Context {
                run: Some(run()),
                intent: None,
                sensitivity: Sensitivity::Internal,
                chain_depth: 0,
                follow_ups_left: 0,
                tainted: false,
                read_sensitive: false,
                lands_unattended: false,
                configuration: Digest::of_parts([]),
            },
        }
    }

    impl World {
        fn funnel(&self) -> Funnel<'_> {
            Funnel { judge: self, journal: self, subject: &self.subject, context: &self.context, clock: self }
        }

        fn asking(&self) -> Asking<'_> {
            let (within, ends) = (Duration::from_seconds(3600), Time::from_millis(1_000));
            let (asked, wider) = (Mutex::default(), RwLock::default());
            Asking { store: self, clock: self, own: &self.subject, within, ends, asked, wider }
        }

        fn say(&self, answer: Answer) {
            *self.answer.lock().unwrap() = answer;
        }

        fn recorded(&self) -> Vec<&'static str> {
            let kind = |entry: &Entry| match &entry.record {
                Record::Decided { verdict, .. } => verdict.as_str(),
                Record::Done { .. } => "done",
                Record::NotDone { .. } => "not done",
                Record::ApprovalAsked { until, .. } if *until == Time::from_millis(1_000) => "asked until it ends",
                _ => "other",
            };
            self.entries.lock().unwrap().iter().map(kind).collect()
        }
    }

    impl Clock for World {
        fn now(&self) -> Time {
            Time::from_millis(5)
        }
    }

    impl Journal for World {
        fn append(&self, entry: Entry, _: Class) -> Result<(), JournalError> {
            if self.halts_on_decision && matches!(entry.record, Record::Decided { verdict: Verdict::Allow { .. }, .. })
            {
                *self.halted.lock().unwrap() = true;
            }
            self.entries.lock().unwrap().push(entry);
            Ok(())
        }

        fn recall(&self, _: &RunId, _: &Digest) -> Result<Option<Deed>, JournalError> {
            Ok(None)
        }

        fn approval(&self, _: &Digest, until: Time) -> Result<Option<Approval>, JournalError> {
            let is_granted = *self.answer.lock().unwrap() == Answer::Granted;
            let (id, by) = (ApprovalId::from_entropy(1), Person::from_uid(1000));
            Ok(is_granted.then_some(Approval { id, by, until }))
        }
    }

    impl Store for World {
        fn load(&self, id: &RunId) -> Result<Run, JournalError> {
            let trigger = Trigger {
                id: TriggerId::from_entropy(2),
                source: TriggerSource::Command,
                by: Actor::Factory,
                repo: repo(),
                agent: AgentName::parse("reader").unwrap(),
                text: String::new(),
                argv: Vec::new(),
                lineage: Lineage::outside(),
            };
            Ok(Run::begin(id.clone(), trigger))
        }

        fn halted(&self, _: &Run) -> Result<Option<String>, JournalError> {
            Ok(self.halted.lock().unwrap().then(|| "halted by a person".to_owned()))
        }

        fn answer(&self, _: &ApprovalId) -> Result<Answer, JournalError> {
            Ok(self.answer.lock().unwrap().clone())
        }
    }

    impl Judge for World {
        fn judge(&self, question: &Question<'_>) -> Verdict {
            if question.order.verb != Verb::AccessRequest || question.approved {
                return Verdict::Allow { policies: vec![PolicyName::new("test")] };
            }
            let (code, policies, next_step) = (Code::NeedsApproval, Vec::new(), "ask".to_owned());
            Verdict::NeedsApproval(Denial { code, policies, next_step })
        }
    }

    fn ask(doors: &Gatekeeper<'_>, path: &str, reason: &str, told: &mut u32) -> Result<Access, Denial> {
        let (run, repo, reason) = (run(), repo(), reason.to_owned());
        doors.request_access(RequestAccess { run, repo, attempt: 1, reach: rule(path), reason }, &mut |_| {
            *told += 1;
            Ok(Widened)
        })
    }

    fn get(doors: &Gatekeeper<'_>, serial: u64, path: &str) -> Option<Code> {
        let (endpoint, path) = (rule("/").endpoint, path.to_owned());
        let (method, query_bytes, credential, graphql) = (Method::Get, 0, None, BTreeSet::new());
        let (run, repo, danger, body_bytes_max) = (run(), repo(), BTreeSet::new(), 0);
        let request = HttpRequest {
            run,
            repo,
            serial,
            endpoint,
            method,
            path,
            query_bytes,
            body_bytes_max,
            credential,
            graphql,
            danger,
            secrets: Secrets::default(),
        };
        doors.ask(request).err().map(|denial| denial.code)
    }

    #[test]
    fn a_yes_opens_one_rule_for_requests_of_this_attempt_and_for_nothing_else_e7() {
        let world = world(false);
        let funnel = world.funnel();
        let doors = Gatekeeper::new(&funnel, &run()).asking(world.asking());
        let mut told = 0;
        assert_eq!(get(&doors, 1, "/guide/a"), Some(Code::OutsideGrant));
        let first = ask(&doors, "/guide/a", "because", &mut told);
        assert!(matches!(first, Ok(Access::Awaits { .. })), "{first:?}");
        // Asked again, in whatever words, it is the same request, and costs the record nothing.
        assert_eq!(ask(&doors, "/guide/a", "in other words", &mut told), first);
        assert_eq!((get(&doors, 2, "/guide/a"), told), (Some(Code::OutsideGrant), 0));
        world.say(Answer::Granted);
        assert_eq!((ask(&doors, "/guide/a", "because", &mut told), told), (Ok(Access::Given), 1));
        assert_eq!((get(&doors, 3, "/guide/a/b"), get(&doors, 4, "/guide")), (None, Some(Code::OutsideGrant)));
        // What it holds already is given again without anybody being asked.
        assert_eq!((ask(&doors, "/guide/a/b", "because", &mut told), told), (Ok(Access::Given), 1));
        let denied = ["deny", "needs_approval", "asked until it ends", "deny"];
        assert_eq!(world.recorded(), [&denied[..], &["allow", "done", "allow", "deny"]].concat());
        // A token is made of the configured grant, which did not change.
        let hand_on = |reach: BTreeSet<Reach>| {
            let to = WorkloadId::new("example.org", RunId::from_entropy(2), AgentName::parse("child").unwrap());
            let grant = Grant { may: BTreeSet::new(), may_ask: BTreeSet::new(), ..grant(reach) };
            let (lease, audience) = (LeaseId::from_entropy(3), "selvedge".to_owned());
            let (run, repo, ttl_seconds, depth, budget) = (run(), repo(), 1, 1, 0);
            doors
                .funnel
                .open(Delegate {
                    from: lease.clone(),
                    lease,
                    run,
                    repo,
                    to,
                    audience,
                    grant,
                    ttl_seconds,
                    depth,
                    budget,
                })
                .is_ok()
        };
        assert_eq!((hand_on(BTreeSet::new()), hand_on([rule("/guide/a")].into())), (true, false));
        // Nor does the next attempt have it.
        let next = Gatekeeper::new(&funnel, &run()).asking(world.asking());
        assert_eq!(get(&next, 5, "/guide/a"), Some(Code::OutsideGrant));
    }

    #[test]
    fn what_lies_beyond_may_ask_is_denied_though_a_person_said_yes_e7() {
        let world = world(false);
        world.say(Answer::Granted);
        let funnel = world.funnel();
        let doors = Gatekeeper::new(&funnel, &run()).asking(world.asking());
        let mut told = 0;
        for path in ["/", "/guidebook", "/secret"] {
            assert_eq!(ask(&doors, path, "because", &mut told).unwrap_err().code, Code::OutsideGrant);
            assert_eq!(get(&doors, 1, path), Some(Code::OutsideGrant));
        }
        assert_eq!((told, world.recorded()), (0, vec!["deny"; 6]));
    }

    #[test]
    fn a_halted_run_gains_nothing_by_a_yes_e7() {
        for halts_on_decision in [false, true] {
            let world = world(halts_on_decision);
            world.say(Answer::Granted);
            *world.halted.lock().unwrap() = !halts_on_decision;
            let funnel = world.funnel();
            let doors = Gatekeeper::new(&funnel, &run()).asking(world.asking());
            let mut told = 0;
            assert!(ask(&doors, "/guide", "because", &mut told).is_err());
            assert_eq!((told, get(&doors, 1, "/guide")), (0, Some(Code::OutsideGrant)));
            let expected = if halts_on_decision { &["allow", "not done", "deny"][..] } else { &["deny"] };
            assert_eq!(world.recorded(), expected);
        }
    }

    #[test]
    fn a_no_is_final_and_is_not_asked_about_again_e7() {
        let world = world(false);
        let funnel = world.funnel();
        let doors = Gatekeeper::new(&funnel, &run()).asking(world.asking());
        let mut told = 0;
        assert!(ask(&doors, "/guide", "because", &mut told).is_ok());
        world.say(Answer::Denied);
        for reason in ["because", "please"] {
            assert_eq!(ask(&doors, "/guide", reason, &mut told).unwrap_err().code, Code::Forbidden);
        }
        assert_eq!((told, world.recorded()), (0, vec!["needs_approval", "asked until it ends"]));
    }
}
