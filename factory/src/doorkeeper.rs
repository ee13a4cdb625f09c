//! The gatekeeper: answers every request at a run's doors through the funnel.

mod flood;
pub(crate) mod open;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use selvedge_authority::{ActError, Code, Context, Denial, Funnel, Observation, Permit, Stop};
use selvedge_domain::orders::{
    BrokeredCall, Delegate, GitServed, HttpAnswered, HttpRequest, Minted, ModelAnswered, ModelCall, PushGit, Pushed,
    ReadGit, RequestAccess, ToolAnswered, ToolCall, ToolPassed, Widened,
};
use selvedge_domain::{CredentialName, Duration, LeaseId, Reach, RunId, TriggerId};

use self::open::{Open, came_to};
use crate::access::{Access, Asking, nothing_to_ask};
use crate::beside::Beside;
use crate::hold::Holds;
use crate::identity::Lending;
use crate::ports::{ChildWish, Doorkeeper, Holding, Shows, Unrenewed};

/// Answers doors on behalf of the run's agent. Each request is its own order and its own decision (D3, A-45).
#[expect(missing_debug_implementations, reason = "borrows a funnel, which has nothing to show")]
pub struct Gatekeeper<'a> {
    pub(crate) funnel: &'a Funnel<'a>,
    pub(crate) run: RunId,
    open: Open<HttpRequest>,
    calls: Open<ModelCall>,
    pub(crate) brokered: Open<BrokeredCall>,
    requests: AtomicU64,
    observations: AtomicU64,
    /// Whether a program of the sandbox was seen to read a sensitive file, and what is decided on from then on.
    has_read: AtomicBool,
    context_having_read: Context,
    /// Whether such a read could not be recorded. A later attempt would not know of it, so nothing more goes out of this one.
    forgets: AtomicBool,
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
            open: Open::default(),
            calls: Open::default(),
            brokered: Open::default(),
            requests: AtomicU64::new(0),
            observations: AtomicU64::new(0),
            has_read: AtomicBool::new(false),
            context_having_read: Context { read_sensitive: true, ..funnel.context.clone() },
            forgets: AtomicBool::new(false),
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

    /// Denies what is asked after something was read that the record does not know of.
    pub(crate) fn remembers(&self) -> Result<(), Denial> {
        match self.forgets.load(Ordering::Acquire) {
            true => Err(unrecorded("what was read could not be recorded, so this is denied; tell the operator")),
            false => Ok(()),
        }
    }

    /// Denies what is asked while the turn is held: the sandbox stands still, and so does what it sent before.
    pub(crate) fn goes_on(&self) -> Result<(), Denial> {
        self.remembers()?;
        match self.is_held.load(Ordering::Acquire) {
            true => Err(busy("the turn waits for a person, and nothing is done for it meanwhile; ask once more")),
            false => Ok(()),
        }
    }

    /// Whether one more may be asked.
    pub(crate) fn one_more(&self) -> Result<(), Denial> {
        self.goes_on()?;
        self.count_request()
    }
}

impl Doorkeeper for Gatekeeper<'_> {
    fn ask(&self, request: HttpRequest) -> Result<(), Denial> {
        let serial = request.serial;
        self.one_more()?;
        // Requests alone are judged by the wider grant, each by itself.
        let wider = self.asking.as_ref().and_then(Asking::subject);
        let own = self.funnel();
        let funnel = Funnel { subject: wider.as_deref().unwrap_or(own.subject), ..own };
        self.open.ask(&funnel, serial, request)
    }

    fn call_model(&self, call: ModelCall) -> Result<(), Denial> {
        let serial = call.serial;
        self.one_more()?;
        self.calls.ask(&self.funnel(), serial, call)
    }

    fn model_answered(&self, serial: u64, answer: ModelAnswered) {
        // What was spent is known also where nobody answered.
        self.calls.settle(&self.funnel(), serial, Ok(answer));
    }

    fn call_tool(&self, call: ToolCall) -> Result<(), Denial> {
        self.one_more()?;
        self.funnel().perform(call, |_: &Permit<ToolCall>| Ok(ToolPassed)).map(|ToolPassed| ()).map_err(denial_of)
    }

    fn holding(&self) -> Option<&dyn Holding> {
        let at_most = self.lending.as_ref()?.desk.repository.hold_at_most;
        (at_most > Duration::ZERO).then_some(self)
    }

    fn call_server(&self, call: BrokeredCall) -> Result<(), Denial> {
        self.open_server(call).map_err(denial_of)
    }

    fn server_answered(&self, serial: u64, answer: ToolAnswered) {
        self.brokered.settle(&self.funnel(), serial, Ok(answer));
    }

    fn shows(&self, call: &BrokeredCall) -> Shows {
        self.foresees(call)
    }

    fn answered(&self, serial: u64, answer: HttpAnswered) {
        self.open.settle(&self.funnel(), serial, came_to(answer));
    }

    fn beside(&self, reach: BTreeSet<Reach>) -> Option<Box<dyn Doorkeeper + '_>> {
        Beside::new(self, reach).map(|beside| Box::new(beside) as Box<dyn Doorkeeper>)
    }

    fn lend(&self, lease: &LeaseId, audience: &str) -> Result<Minted, Denial> {
        match &self.lending {
            Some(lending) => lending.lend(self, &self.funnel(), &self.run, lease, audience),
            None => Err(outside_grant("checks have no identity; what they prove must not depend on one")),
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
            None => Err(outside_grant("checks hold nothing that could be handed on")),
        }
    }

    fn child(&self, wish: ChildWish) -> Result<TriggerId, Denial> {
        self.goes_on()?;
        match &self.lending {
            Some(lending) => lending.ask_for_child(self, &self.funnel(), &self.run, wish),
            None => Err(outside_grant("checks hold nothing that could be given to a child")),
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
        self.one_more().map_err(Stop::Denied)?;
        self.funnel().perform(order, serve)
    }

    fn push_git(
        &self,
        order: PushGit,
        land: &mut dyn FnMut(&Permit<PushGit>) -> Result<Pushed, ActError>,
    ) -> Result<Pushed, Stop> {
        self.one_more().map_err(Stop::Denied)?;
        self.funnel().perform(order, land)
    }

    fn saw(&self, observation: Observation) {
        let is_read = matches!(observation, Observation::SensitiveRead { .. });
        if is_read {
            self.has_read.store(true, Ordering::Release);
        }
        if self.note(observation).is_err() && is_read {
            self.forgets.store(true, Ordering::Release);
        }
    }
}

/// What a door is told of an order that was not allowed.
pub(crate) fn denial_of(stop: Stop) -> Denial {
    match stop {
        Stop::Denied(denial) | Stop::NeedsApproval { denial, .. } => denial,
        Stop::Act(_) => busy("the request could not be decided; try again"),
        Stop::Journal(_) => {
            unrecorded("the decision could not be recorded, so the request is denied; tell the operator")
        }
    }
}

fn unrecorded(next_step: &str) -> Denial {
    Denial { code: Code::NotRecorded, policies: Vec::new(), next_step: next_step.to_owned() }
}

/// What a sandbox is told that has nothing of the kind.
fn outside_grant(next_step: &str) -> Denial {
    Denial { code: Code::OutsideGrant, policies: Vec::new(), next_step: next_step.to_owned() }
}

pub(crate) fn busy(next_step: &str) -> Denial {
    Denial { code: Code::NotPermitted, policies: Vec::new(), next_step: next_step.to_owned() }
}

#[cfg(test)]
mod tests;
