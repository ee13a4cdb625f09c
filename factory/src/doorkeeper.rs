//! The gatekeeper: answers every request at a run's doors through the funnel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use selvedge_authority::{
    ActError, Class, Code, Context, Denial, Entry, Funnel, Observation, Permit, Record, Stop, Verdict,
};
use selvedge_domain::orders::{
    BrokeredCall, Delegate, GitServed, HttpAnswered, HttpRequest, Minted, ModelAnswered, ModelCall, PushGit, Pushed,
    ReadGit, RequestAccess, ToolAnswered, ToolCall, ToolPassed, Widened,
};
use selvedge_domain::{CredentialName, Duration, Field, LeaseId, Order, Reach, RunId, TriggerId};

use crate::access::{Access, Asking, nothing_to_ask};
use crate::beside::Beside;
use crate::hold::Holds;
use crate::identity::Lending;
use crate::ports::{ChildWish, Doorkeeper, Holding, Unrenewed};

/// How many requests of one run may be under way; more are denied until one is answered.
const OPEN_MAX: usize = 1024;

/// How many requests one sandbox may make. A build of a large project makes some thousands; each costs two entries of the log
/// for ever.
const REQUESTS_MAX: u64 = 20_000;

/// How many observations of one sandbox are kept.
const OBSERVATIONS_MAX: u64 = 5_000;

/// How many more may be made and a finding is kept all the same: an agent that floods the record does not hide in it.
const FINDINGS_MORE: u64 = 5_000;

/// Answers doors on behalf of the run's agent. Each request is its own order and its own decision (D3, A-45).
#[expect(missing_debug_implementations, reason = "borrows a funnel, which has nothing to show")]
pub struct Gatekeeper<'a> {
    pub(crate) funnel: &'a Funnel<'a>,
    pub(crate) run: RunId,
    open: Mutex<BTreeMap<u64, Permit<HttpRequest>>>,
    calls: Mutex<BTreeMap<u64, Permit<ModelCall>>>,
    brokered: Mutex<BTreeMap<u64, Permit<BrokeredCall>>>,
    requests: AtomicU64,
    observations: AtomicU64,
    /// Whether a program of the sandbox was seen to read a sensitive file, and what is decided on from then on.
    has_read: AtomicBool,
    context_having_read: Context,
    pub(crate) lending: Option<Lending<'a>>,
    pub(crate) holds: Mutex<Holds>,
    /// Whether its turn waits for a person. What the sandbox asked for just before it was frozen waits as well.
    pub(crate) is_held: AtomicBool,
    asking: Option<Asking<'a>>,
}

impl<'a> Gatekeeper<'a> {
    /// The gatekeeper of `run`, deciding through `funnel`.
    pub fn new(funnel: &'a Funnel<'a>, run: &RunId) -> Self {
        Self {
            funnel,
            run: run.clone(),
            open: Mutex::default(),
            calls: Mutex::default(),
            brokered: Mutex::default(),
            requests: AtomicU64::new(0),
            observations: AtomicU64::new(0),
            has_read: AtomicBool::new(false),
            context_having_read: Context { read_sensitive: true, ..funnel.context.clone() },
            lending: None,
            holds: Mutex::default(),
            is_held: AtomicBool::new(false),
            asking: None,
        }
    }

    /// The same, for a sandbox that may ask for identity documents too.
    pub(crate) fn lending(mut self, lending: Lending<'a>) -> Self {
        self.lending = Some(lending);
        self
    }

    /// The same, for a sandbox that may ask for more reach too.
    pub(crate) fn asking(mut self, asking: Asking<'a>) -> Self {
        self.asking = Some(asking);
        self
    }

    /// The funnel, with what is known by now.
    pub(crate) fn funnel(&self) -> Funnel<'_> {
        match self.has_read.load(Ordering::Acquire) {
            true => Funnel { context: &self.context_having_read, ..*self.funnel },
            false => *self.funnel,
        }
    }

    /// Denies what is asked while the turn is held: the sandbox stands still, and so does what it sent before.
    pub(crate) fn goes_on(&self) -> Result<(), Denial> {
        match self.is_held.load(Ordering::Acquire) {
            true => Err(busy("the turn waits for a person, and nothing is done for it meanwhile; ask once more")),
            false => Ok(()),
        }
    }

    pub(crate) fn count_request(&self) -> Result<(), Denial> {
        let made = self.requests.fetch_add(1, Ordering::Relaxed);
        if made == REQUESTS_MAX {
            let detail = format!("more than {REQUESTS_MAX} requests; the rest are denied and not recorded one by one");
            self.saw(Observation::Finding { code: "too_many_requests".to_owned(), detail });
        }
        if made >= REQUESTS_MAX {
            return Err(busy("this sandbox has made all the requests it may make"));
        }
        Ok(())
    }

    pub(crate) fn hold<O: Order>(
        &self,
        open: &Mutex<BTreeMap<u64, Permit<O>>>,
        serial: u64,
        permit: Permit<O>,
    ) -> Result<(), Denial> {
        let Ok(mut open) = open.lock() else { return Err(busy("the gatekeeper failed; the run cannot go on")) };
        if open.len() >= OPEN_MAX {
            return Err(busy("too many requests are open; wait for one to be answered"));
        }
        open.insert(serial, permit);
        Ok(())
    }
}

impl Doorkeeper for Gatekeeper<'_> {
    fn ask(&self, request: HttpRequest) -> Result<(), Denial> {
        let serial = request.serial;
        self.goes_on()?;
        self.count_request()?;
        // Requests alone are judged by the wider grant, each by itself.
        let wider = self.asking.as_ref().and_then(Asking::subject);
        let own = self.funnel();
        let funnel = Funnel { subject: wider.as_deref().unwrap_or(own.subject), ..own };
        match funnel.open(request) {
            Ok(permit) => self.hold(&self.open, serial, permit),
            Err(stop) => Err(denial_of(stop)),
        }
    }

    fn call_model(&self, call: ModelCall) -> Result<(), Denial> {
        let serial = call.serial;
        self.goes_on()?;
        self.count_request()?;
        match self.funnel().open(call) {
            Ok(permit) => self.hold(&self.calls, serial, permit),
            Err(stop) => Err(denial_of(stop)),
        }
    }

    fn model_answered(&self, serial: u64, answer: ModelAnswered) {
        let permit = self.calls.lock().ok().and_then(|mut open| open.remove(&serial));
        if let Some(permit) = permit {
            // What was spent is known also where nobody answered. A deed that cannot be recorded shows as an open decision.
            let _unrecorded = self.funnel().close(permit, Ok(answer));
        }
    }

    fn call_tool(&self, call: ToolCall) -> Result<(), Denial> {
        self.goes_on()?;
        self.count_request()?;
        self.funnel().perform(call, |_: &Permit<ToolCall>| Ok(ToolPassed)).map(|ToolPassed| ()).map_err(denial_of)
    }

    fn holding(&self) -> Option<&dyn Holding> {
        let at_most = self.lending.as_ref()?.desk.repository.hold_at_most;
        (at_most > Duration::ZERO).then_some(self)
    }

    fn call_server(&self, call: BrokeredCall) -> Result<(), Denial> {
        let serial = call.serial;
        self.goes_on()?;
        self.count_request()?;
        match self.funnel().open(call) {
            Ok(permit) => self.hold(&self.brokered, serial, permit),
            Err(stop) => Err(denial_of(stop)),
        }
    }

    fn server_answered(&self, serial: u64, answer: ToolAnswered) {
        let permit = self.brokered.lock().ok().and_then(|mut open| open.remove(&serial));
        if let Some(permit) = permit {
            // A deed that cannot be recorded shows as an open decision; the next decision fails on the same record.
            let _unrecorded = self.funnel().close(permit, Ok(answer));
        }
    }

    fn shows(&self, call: &BrokeredCall) -> bool {
        let mut described = call.describe();
        for (name, fact) in &mut described.fields {
            if *name == "kind" {
                *fact = Field::from("offer");
            }
        }
        matches!(self.funnel().foresee(call, &described), Verdict::Allow { .. })
    }

    fn answered(&self, serial: u64, answer: HttpAnswered) {
        close(&self.funnel(), &self.open, serial, answer);
    }

    fn beside(&self, reach: BTreeSet<Reach>) -> Option<Box<dyn Doorkeeper + '_>> {
        Beside::new(self, reach).map(|beside| Box::new(beside) as Box<dyn Doorkeeper>)
    }

    fn lend(&self, lease: &LeaseId, audience: &str) -> Result<Minted, Denial> {
        match &self.lending {
            Some(lending) => lending.lend(self, &self.funnel(), &self.run, lease, audience),
            None => Err(Denial {
                code: Code::OutsideGrant,
                policies: Vec::new(),
                next_step: "checks have no identity; what they prove must not depend on one".to_owned(),
            }),
        }
    }

    fn delegate(
        &self,
        order: Delegate,
        sign: &mut dyn FnMut(&Permit<Delegate>) -> Result<Minted, ActError>,
    ) -> Result<Minted, Denial> {
        self.goes_on()?;
        match &self.lending {
            Some(lending) => lending.hand_on(self, &self.funnel(), order, sign),
            None => Err(Denial {
                code: Code::OutsideGrant,
                policies: Vec::new(),
                next_step: "checks hold nothing that could be handed on".to_owned(),
            }),
        }
    }

    fn child(&self, wish: ChildWish) -> Result<TriggerId, Denial> {
        self.goes_on()?;
        match &self.lending {
            Some(lending) => lending.ask_for_child(self, &self.funnel(), &self.run, wish),
            None => Err(Denial {
                code: Code::OutsideGrant,
                policies: Vec::new(),
                next_step: "checks hold nothing that could be given to a child".to_owned(),
            }),
        }
    }

    fn request_access(
        &self,
        order: RequestAccess,
        widen: &mut dyn FnMut(&Permit<RequestAccess>) -> Result<Widened, ActError>,
    ) -> Result<Access, Denial> {
        self.goes_on()?;
        match &self.asking {
            Some(asking) => asking.ask(self, &self.funnel(), &self.run, order, widen),
            None => Err(nothing_to_ask()),
        }
    }

    fn renew(&self, credential: &CredentialName) -> Result<Minted, Unrenewed> {
        match &self.lending {
            Some(lending) => lending.renew(&self.funnel(), &self.run, credential),
            None => Err(Unrenewed::for_good("this sandbox is lent nothing")),
        }
    }

    fn retire(&self, credential: &CredentialName, lease: &LeaseId) -> bool {
        self.lending.as_ref().is_some_and(|lending| lending.retire(&self.run, credential, lease))
    }

    fn read_git(
        &self,
        order: ReadGit,
        serve: &mut dyn FnMut(&Permit<ReadGit>) -> Result<GitServed, ActError>,
    ) -> Result<GitServed, Stop> {
        self.goes_on().and_then(|()| self.count_request()).map_err(Stop::Denied)?;
        self.funnel().perform(order, serve)
    }

    fn push_git(
        &self,
        order: PushGit,
        land: &mut dyn FnMut(&Permit<PushGit>) -> Result<Pushed, ActError>,
    ) -> Result<Pushed, Stop> {
        self.goes_on().and_then(|()| self.count_request()).map_err(Stop::Denied)?;
        self.funnel().perform(order, land)
    }

    fn saw(&self, observation: Observation) {
        if matches!(observation, Observation::SensitiveRead { .. }) {
            self.has_read.store(true, Ordering::Release);
        }
        let seen = self.observations.fetch_add(1, Ordering::Relaxed);
        if seen == OBSERVATIONS_MAX {
            let detail =
                format!("more than {OBSERVATIONS_MAX}; from here on only findings are kept, and some more of those");
            self.keep(Observation::Finding { code: "too_many_observations".to_owned(), detail });
        }
        let most = match &observation {
            Observation::Finding { .. } | Observation::SensitiveRead { .. } => OBSERVATIONS_MAX + FINDINGS_MORE,
            // One for each attempt: an agent that floods the record does not hide what it did.
            Observation::SideEffects(_) => u64::MAX,
            _ => OBSERVATIONS_MAX,
        };
        if seen < most {
            self.keep(observation);
        }
    }
}

impl Gatekeeper<'_> {
    fn keep(&self, observation: Observation) {
        let entry = Entry {
            at: self.funnel.clock.now(),
            run: Some(self.run.clone()),
            actor: self.funnel.subject.actor(),
            owner: self.funnel.subject.owner().cloned(),
            record: Record::Observed(observation),
        };
        // What was seen and cannot be recorded is lost to the record, never to the fence: the act was refused already.
        let _unrecorded = self.funnel.journal.append(entry, Class::Observed);
    }
}

/// Records what a request came to.
pub(crate) fn close(
    funnel: &Funnel<'_>,
    open: &Mutex<BTreeMap<u64, Permit<HttpRequest>>>,
    serial: u64,
    answer: HttpAnswered,
) {
    let permit = open.lock().ok().and_then(|mut open| open.remove(&serial));
    if let Some(permit) = permit {
        let outcome = match answer.status {
            // What left has left, whether or not an answer came back.
            0 if answer.request_bytes == 0 => Err(ActError::Transient("the upstream did not answer".to_owned())),
            _ => Ok(answer),
        };
        // A deed that cannot be recorded shows as an open decision; the next decision fails on the same record.
        let _unrecorded = funnel.close(permit, outcome);
    }
}

/// What a door is told of an order that was not allowed.
pub(crate) fn denial_of(stop: Stop) -> Denial {
    match stop {
        Stop::Denied(denial) | Stop::NeedsApproval { denial, .. } => denial,
        Stop::Act(_) => busy("the request could not be decided; try again"),
        Stop::Journal(_) => Denial {
            code: Code::NotRecorded,
            policies: Vec::new(),
            next_step: "the decision could not be recorded, so the request is denied; tell the operator".to_owned(),
        },
    }
}

pub(crate) fn busy(next_step: &str) -> Denial {
    Denial { code: Code::NotPermitted, policies: Vec::new(), next_step: next_step.to_owned() }
}

#[cfg(test)]
mod tests;
