//! The funnel: the only way from an order to an act.

use std::borrow::Cow;

use selvedge_domain::{Actor, Description, Digest, Owner, Remembered, RunId, Seen};

use crate::{
    Class, Clock, Code, Context, Denial, Entry, Granted, Journal, JournalError, Judge, Permit, Question, Record,
    Subject, Verdict, class_of, risk_of,
};

/// Asks, records, acts, records, on behalf of one subject in one context.
#[expect(missing_debug_implementations, reason = "borrows a judge and a journal, which have nothing to show")]
#[derive(Clone, Copy)]
pub struct Funnel<'a> {
    /// Who decides.
    pub judge: &'a dyn Judge,
    /// Who remembers.
    pub journal: &'a dyn Journal,
    /// Who asks.
    pub subject: &'a Subject,
    /// What the factory knows.
    pub context: &'a Context,
    /// What time it is.
    pub clock: &'a dyn Clock,
}

/// Why an act did not succeed. The act itself says whether trying again could help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// Trying again may help.
    #[error("{0}")]
    Transient(String),
    /// Trying again will not help.
    #[error("{0}")]
    Permanent(String),
    /// A person stopped it.
    #[error("{0}")]
    Halted(String),
}

/// Why there is no deed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// Policy or the grant said no.
    #[error("refused: {0}")]
    Denied(Denial),
    /// A person has to say yes to this order first.
    #[error("needs approval: {denial}")]
    NeedsApproval {
        /// The order, laid open for the person.
        order: Box<Description>,
        /// The denial that an approval would lift.
        denial: Denial,
    },
    /// It was allowed and could not be carried out.
    #[error(transparent)]
    Act(#[from] ActError),
    /// It could not be recorded, so it was not allowed; or it was done, and that could not be recorded.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Funnel<'_> {
    /// Recall (already done?) → decide → record → act → record.
    ///
    /// `act` runs at most once per call, only after the decision is as safe as the order's class demands, and may run
    /// again after a crash: it must be safe to repeat under the order's fingerprint (invariant 9).
    pub fn perform<O: Granted>(
        &self,
        order: O,
        act: impl FnOnce(&Permit<O>) -> Result<O::Deed, ActError>,
    ) -> Result<O::Deed, Stop> {
        let recorded = order.recorded();
        let digest = recorded.digest();
        if let Some(done) = self.recall::<O>(&digest)? {
            return Ok(done);
        }
        let permit = self.decide(order, recorded, digest)?;
        let outcome = act(&permit);
        self.close(permit, outcome)
    }

    /// The first half, for acts that happen elsewhere: decide → record. Whoever holds the permit must [`Self::close`] it.
    pub fn open<O: Granted>(&self, order: O) -> Result<Permit<O>, Stop> {
        let recorded = order.recorded();
        let digest = recorded.digest();
        self.decide(order, recorded, digest)
    }

    /// The second half: record what the act came to.
    pub fn close<O: Granted>(&self, permit: Permit<O>, outcome: Result<O::Deed, ActError>) -> Result<O::Deed, Stop> {
        let order = *permit.digest();
        let record = match &outcome {
            Ok(deed) => Record::Done { order, verb: O::VERB, deed: deed.remember() },
            Err(error) => Record::NotDone { order, verb: O::VERB, because: error.to_string() },
        };
        self.append(record, class_of(O::VERB))?;
        Ok(outcome?)
    }

    /// What would be said to an order that is described like this. It makes neither a permit nor a record, so nothing may follow from a
    /// yes but that something is shown.
    pub fn foresee<O: Granted>(&self, order: &O, described: &Description) -> Verdict {
        self.verdict(order, described, false)
    }

    fn verdict<O: Granted>(&self, order: &O, described: &Description, approved: bool) -> Verdict {
        let subject = self.subject_now();
        let (context, risk) = (self.context, risk_of(O::VERB));
        let ask = || self.judge.judge(&Question { subject: &subject, order: described, context, approved, risk });
        within_grant(&subject, order).unwrap_or_else(ask)
    }

    fn recall<O: Granted>(&self, digest: &Digest) -> Result<Option<O::Deed>, Stop> {
        let Some(run) = &self.context.run else { return Ok(None) };
        let Some(deed) = self.journal.recall(run, digest)? else { return Ok(None) };
        let mismatch = || JournalError::Read(format!("the deed recorded for {digest} is not one of `{}`", O::VERB));
        O::Deed::recall(deed).map(Some).ok_or_else(|| Stop::Journal(mismatch()))
    }

    /// What is judged is the order itself; what is recorded, and what a yes binds, is the order as it may be written down.
    fn decide<O: Granted>(&self, order: O, recorded: Description, digest: Digest) -> Result<Permit<O>, Stop> {
        let approval = self.journal.approval(&digest, self.clock.now())?;
        let verdict = self.verdict(&order, &order.describe(), approval.is_some());
        let approval = approval.map(|approval| approval.id);
        let record = Record::Decided { order: recorded.clone(), verdict: verdict.clone(), approval };
        self.append(record, order.class())?;
        match verdict {
            Verdict::Allow { .. } => Ok(Permit::after_record(order, digest)),
            Verdict::Deny(denial) => Err(Stop::Denied(denial)),
            Verdict::NeedsApproval(denial) => Err(Stop::NeedsApproval { order: Box::new(recorded), denial }),
        }
    }

    /// Who asks, as what they have become by now: what an agent did a moment ago counts for what it asks next (requirement B5).
    fn subject_now(&self) -> Cow<'_, Subject> {
        match self.subject {
            Subject::Agent { name, conduct, .. } => {
                let seen = self.journal.seen(name);
                if seen == conduct.seen { Cow::Borrowed(self.subject) } else { Cow::Owned(self.subject.as_seen(seen)) }
            }
            Subject::Person(_) | Subject::Factory => Cow::Borrowed(self.subject),
        }
    }

    fn append(&self, record: Record, class: Class) -> Result<(), JournalError> {
        let entry = Entry {
            at: self.clock.now(),
            run: self.context.run.clone(),
            actor: self.subject.actor(),
            owner: self.subject.owner().cloned(),
            record,
        };
        self.journal.append(entry, class)
    }

    /// The run this funnel serves.
    pub fn run(&self) -> Option<&RunId> {
        self.context.run.as_ref()
    }
}

/// A denial when an agent asks beyond its grant; policy is not even asked.
fn within_grant<O: Granted>(subject: &Subject, order: &O) -> Option<Verdict> {
    match subject {
        Subject::Agent { name, grant, conduct, .. } => order.within(grant).err().map(|outside| {
            let next_step = match conduct.seen.departed {
                false => format!("{outside}; work without it, or ask the agent's owner to widen the grant"),
                true => format!(
                    "{outside}; `{name}` left what is usual for it and is trusted a grade less until somebody looks and runs \
                     `selvedge identities certify agent:{name}`"
                ),
            };
            Verdict::Deny(Denial { code: Code::OutsideGrant, policies: Vec::new(), next_step })
        }),
        Subject::Person(_) | Subject::Factory => None,
    }
}

impl Subject {
    /// The same, once this was seen of it. Trust only sinks by it: what it gains back, its next step has.
    #[must_use]
    pub fn as_seen(&self, seen: Seen) -> Self {
        let mut subject = self.clone();
        if let Self::Agent { trust, conduct, grant, .. } = &mut subject {
            if seen.departed && !conduct.seen.departed {
                *trust = trust.lowered();
                grant.trust = grant.trust.lowered();
            }
            conduct.seen = seen;
        }
        subject
    }

    /// The actor of record.
    pub fn actor(&self) -> Actor {
        match self {
            Self::Agent { workload, .. } => Actor::Workload(workload.clone()),
            Self::Person(person) => Actor::Person(*person),
            Self::Factory => Actor::Factory,
        }
    }

    /// Who answers for it.
    pub fn owner(&self) -> Option<&Owner> {
        match self {
            Self::Agent { owner, .. } => Some(owner),
            Self::Person(_) | Self::Factory => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeSet;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use selvedge_domain::orders::HttpRequest;
    use selvedge_domain::{
        AgentName, Autonomy, Conduct, Deed, Endpoint, Grant, GraphqlAct, HostPattern, Method, Order, Reach, RepoName,
        Secrets, Sensitivity, Time, Trust, WorkloadId, orders::HttpAnswered,
    };

    use super::*;
    use crate::{Approval, Class, Granted, PolicyName};

    struct Five;

    impl Clock for Five {
        fn now(&self) -> Time {
            Time::from_millis(5)
        }
    }

    #[derive(Default)]
    struct Notes {
        entries: Mutex<Vec<Entry>>,
        full: AtomicBool,
        seen: Mutex<Seen>,
    }

    impl Journal for Notes {
        fn append(&self, entry: Entry, _: Class) -> Result<(), JournalError> {
            if self.full.load(Ordering::Relaxed) {
                return Err(JournalError::Write("disk full".to_owned()));
            }
            self.entries.lock().unwrap().push(entry);
            Ok(())
        }

        fn recall(&self, _: &RunId, order: &Digest) -> Result<Option<Deed>, JournalError> {
            Ok(self.entries.lock().unwrap().iter().find_map(|entry| match &entry.record {
                Record::Done { order: done, deed, .. } if done == order => Some(deed.clone()),
                _ => None,
            }))
        }

        fn approval(&self, _: &Digest, _: Time) -> Result<Option<Approval>, JournalError> {
            Ok(None)
        }

        fn seen(&self, _: &AgentName) -> Seen {
            *self.seen.lock().unwrap()
        }
    }

    /// Allows everything, and remembers how far whoever asked was trusted, by the grant too, and what they were taken for.
    #[derive(Default)]
    struct Looks(Mutex<Vec<(Trust, Trust, Autonomy)>>);

    impl Judge for Looks {
        fn judge(&self, question: &Question<'_>) -> Verdict {
            let Subject::Agent { trust, conduct, grant, .. } = question.subject else { panic!("not an agent") };
            self.0.lock().unwrap().push((*trust, grant.trust, conduct.autonomy()));
            Verdict::Allow { policies: vec![PolicyName::new("p")] }
        }
    }

    struct Says(Verdict);

    impl Judge for Says {
        fn judge(&self, _: &Question<'_>) -> Verdict {
            self.0.clone()
        }
    }

    fn allow() -> Says {
        Says(Verdict::Allow { policies: vec![PolicyName::new("p")] })
    }

    fn request(path: &str) -> HttpRequest {
        HttpRequest {
            run: RunId::from_entropy(1),
            repo: RepoName::parse("acme/shop").unwrap(),
            serial: 1,
            endpoint: Endpoint { host: HostPattern::parse("registry.example").unwrap(), port: 443 },
            method: Method::Get,
            path: path.to_owned(),
            query_bytes: 0,
            body_bytes_max: 0,
            credential: None,
            graphql: BTreeSet::new(),
            danger: BTreeSet::new(),
            secrets: Secrets::default(),
        }
    }

    #[test]
    fn a20_what_may_change_something_is_durable_and_within_no_grant_that_did_not_name_it() {
        let endpoint = request("/").endpoint;
        let reach = Reach { endpoint, methods: BTreeSet::from([Method::Get]), path_prefix: "/index".to_owned() };
        let grant = Grant {
            trust: Trust::Propose,
            may: BTreeSet::new(),
            reach: BTreeSet::from([reach]),
            audiences: BTreeSet::new(),
            may_ask: BTreeSet::new(),
            loans: BTreeSet::new(),
            models: BTreeSet::new(),
            tools: BTreeSet::new(),
            until: Time::from_millis(u64::MAX),
        };
        for method in Method::ALL.iter().copied() {
            let order = HttpRequest { method, ..request("/index/it") };
            let reads = matches!(method, Method::Get | Method::Head | Method::Options);
            assert_eq!(order.class(), if reads { Class::Ordered } else { Class::Durable }, "{method:?}");
            assert_eq!(order.within(&grant).is_ok(), method == Method::Get, "{method:?}");
        }
        let mutation = GraphqlAct::parse("mutation addComment").into_iter().collect();
        assert_eq!(HttpRequest { graphql: mutation, ..request("/index/it") }.class(), Class::Durable, "A-47");
    }

    fn subject() -> Subject {
        let endpoint = request("/").endpoint;
        let reach = Reach { endpoint, methods: BTreeSet::from([Method::Get]), path_prefix: "/index".to_owned() };
        let name = AgentName::parse("fixer").unwrap();
        Subject::Agent {
            workload: WorkloadId::new("example.org", RunId::from_entropy(1), name.clone()),
            name,
            owner: Owner::parse("team@example.org").unwrap(),
            trust: Trust::Propose,
            conduct: Conduct::unseen(Autonomy::BoundedAutomation),
            grant: Box::new(Grant {
                trust: Trust::Propose,
                may: BTreeSet::new(),
                reach: BTreeSet::from([reach]),
                audiences: BTreeSet::new(),
                may_ask: BTreeSet::new(),
                models: BTreeSet::new(),
                tools: BTreeSet::new(),
                loans: BTreeSet::new(),
                until: Time::from_millis(u64::MAX),
            }),
        }
    }

    fn context() -> Context {
        Context {
            run: Some(RunId::from_entropy(1)),
            intent: None,
            sensitivity: Sensitivity::Internal,
            chain_depth: 0,
            follow_ups_left: 0,
            tainted: false,
            read_sensitive: false,
            lands_unattended: false,
            configuration: Digest::of_parts([]),
        }
    }

    fn answered() -> HttpAnswered {
        HttpAnswered { status: 200, request_bytes: 0, response_bytes: 2 }
    }

    fn perform(judge: &Says, notes: &Notes, path: &str, acts: &Cell<u32>) -> Result<HttpAnswered, Stop> {
        let (subject, context) = (subject(), context());
        let funnel = Funnel { judge, journal: notes, subject: &subject, context: &context, clock: &Five };
        funnel.perform(request(path), |permit| {
            assert_eq!(permit.order(), &request(path));
            acts.set(acts.get() + 1);
            Ok(answered())
        })
    }

    fn kinds(notes: &Notes) -> Vec<&'static str> {
        let kind = |entry: &Entry| match &entry.record {
            Record::Decided { verdict, .. } => verdict.as_str(),
            Record::Done { .. } => "done",
            Record::NotDone { .. } => "not done",
            _ => "other",
        };
        notes.entries.lock().unwrap().iter().map(kind).collect()
    }

    #[test]
    fn an_allowed_order_is_recorded_before_and_after_and_recalled_the_second_time() {
        let (notes, acts) = (Notes::default(), Cell::new(0));
        assert_eq!(perform(&allow(), &notes, "/index/a", &acts), Ok(answered()));
        assert_eq!(perform(&allow(), &notes, "/index/a", &acts), Ok(answered()));
        assert_eq!(acts.get(), 1, "a recorded deed is never done again");
        assert_eq!(kinds(&notes), ["allow", "done"]);
        assert_eq!(notes.entries.lock().unwrap()[0].owner, Owner::parse("team@example.org"), "G6");
    }

    #[test]
    fn what_an_agent_did_a_moment_ago_counts_for_what_it_asks_next_b5_g8() {
        let (notes, looks) = (Notes::default(), Looks::default());
        let (subject, context) = (subject(), context());
        let funnel = Funnel { judge: &looks, journal: &notes, subject: &subject, context: &context, clock: &Five };
        let ask = |path: &str| funnel.perform(request(path), |_| Ok(answered()));
        ask("/index/a").unwrap();
        let seen = Seen { autonomy: Some(Autonomy::Autonomous), certified: None, departed: true };
        *notes.seen.lock().unwrap() = seen;
        ask("/index/b").unwrap();
        // Once more is no less: it was lowered once.
        ask("/index/c").unwrap();
        let lowered = (Trust::Draft, Trust::Draft, Autonomy::Autonomous);
        let before = (Trust::Propose, Trust::Propose, Autonomy::BoundedAutomation);
        assert_eq!(*looks.0.lock().unwrap(), [before, lowered, lowered]);
        assert_eq!(subject.as_seen(seen).as_seen(seen), subject.as_seen(seen));
        let Err(Stop::Denied(denial)) = ask("/elsewhere") else { panic!("it is outside the grant") };
        assert!(denial.next_step.contains("identities certify agent:fixer"), "{denial}");
    }

    #[test]
    fn what_cannot_be_recorded_is_not_done_a95() {
        let (notes, acts) = (Notes::default(), Cell::new(0));
        notes.full.store(true, Ordering::Relaxed);
        assert!(matches!(perform(&allow(), &notes, "/index/a", &acts), Err(Stop::Journal(_))));
        assert_eq!(acts.get(), 0);
    }

    #[test]
    fn beyond_the_grant_no_policy_can_allow_and_the_refusal_is_recorded() {
        let (notes, acts) = (Notes::default(), Cell::new(0));
        let Err(Stop::Denied(denial)) = perform(&allow(), &notes, "/secret", &acts) else { panic!("must be denied") };
        assert_eq!((denial.code, acts.get()), (Code::OutsideGrant, 0));
        assert_eq!(kinds(&notes), ["deny"]);
    }

    #[test]
    fn a_failed_act_is_recorded_as_not_done_a91() {
        let notes = Notes::default();
        let (subject, context) = (subject(), context());
        let judge = allow();
        let funnel = Funnel { judge: &judge, journal: &notes, subject: &subject, context: &context, clock: &Five };
        let failed = funnel.perform(request("/index"), |_| Err(ActError::Transient("upstream is down".to_owned())));
        assert!(matches!(failed, Err(Stop::Act(ActError::Transient(_)))));
        assert_eq!(kinds(&notes), ["allow", "not done"]);
    }

    #[test]
    fn an_order_that_needs_approval_names_itself() {
        let (notes, acts) = (Notes::default(), Cell::new(0));
        let denial = Denial { code: Code::NeedsApproval, policies: vec![], next_step: "ask".to_owned() };
        let stopped = perform(&Says(Verdict::NeedsApproval(denial)), &notes, "/index/a", &acts);
        let Err(Stop::NeedsApproval { order, .. }) = stopped else { panic!("must need approval") };
        assert_eq!(order.digest(), request("/index/a").describe().digest());
        assert_eq!(acts.get(), 0);
    }
}
