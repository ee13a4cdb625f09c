//! Asking for more reach while a run works: each request an order of its own, put before people where policy says so, and good for
//! the attempt that asked and nothing after it (requirement E7).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use selvedge_authority::{ActError, Code, Denial, Funnel, Observation, Permit, Record, Stop, Subject};
use selvedge_domain::orders::{RequestAccess, Widened};
use selvedge_domain::{ApprovalId, Description, Reach, RunId, Time, Verb};

use crate::cycle::{Desk, Factory, approval_of};
use crate::doorkeeper::{Gatekeeper, busy};
use crate::ports::{Answer, Doorkeeper as _};

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
    factory: &'a Factory<'a>,
    desk: &'a Desk,
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
        Self { factory, desk, asked: Mutex::default(), wider: RwLock::default() }
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
            match self.factory.store.answer(approval).map_err(|error| unrecorded(&error.to_string()))? {
                Answer::Denied => return Err(said_no()),
                Answer::Pending if self.factory.clock.now() < *until => {
                    return Ok(Access::Awaits { approval: approval.clone() });
                }
                Answer::Pending | Answer::Granted => {}
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
        match wider.as_deref().unwrap_or(&self.desk.subject) {
            Subject::Agent { grant, .. } => grant.reach.iter().any(|held| held.contains(rule)),
            Subject::Person(_) | Subject::Factory => false,
        }
    }

    /// The rule joins what requests are judged by; nothing that is handed on, lent or delivered is judged by it.
    fn give(&self, rule: &Reach) -> Result<(), Denial> {
        let mut wider = self.wider.write().unwrap_or_else(PoisonError::into_inner);
        let current = wider.as_deref().unwrap_or(&self.desk.subject);
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
        let within = self.factory.clock.now().after(self.desk.repository.approval_within);
        let until = within.min(self.desk.grant.until);
        let approval = approval_of(&description);
        let record = Record::ApprovalAsked { approval: approval.clone(), order: description, until };
        self.factory.record(run, Verb::ApprovalGrant, record).map_err(|error| unrecorded(&error.to_string()))?;
        Ok(Waiting { order, approval, until })
    }

    fn refuse_when_halted(&self, run: &RunId) -> Result<(), Denial> {
        let standing = self.factory.store.load(run).and_then(|run| self.factory.store.halted(&run));
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
