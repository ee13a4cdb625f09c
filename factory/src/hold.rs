//! A turn held inside an attempt: a tool call that needs a yes is put before people while its sandbox stands still and holds nothing
//! (requirement C8). Owns what may be asked, how often, and what an answer means; freezing, waiting and handing over are the caller's.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use selvedge_authority::{ActError, Code, Denial, Entry, Hold, Lapse, Observation, Record, Stop, class_of};
use selvedge_domain::orders::{MayBorrow, Minted, ToolCall, ToolPassed};
use selvedge_domain::{Actor, ApprovalId, CredentialName, Digest, LeaseId, Time, Verb};

use crate::cycle::approval_of;
use crate::doorkeeper::{Gatekeeper, busy, denial_of};
use crate::identity::Lending;
use crate::ports::{Answer, Doorkeeper as _, Unrenewed};
use crate::renewal::unrenewed;

/// How many calls of one attempt are put before people. Each stops the work for minutes, and takes the attention of somebody who would
/// sooner or later say yes to anything.
const ASKS_MAX: u32 = 16;

/// What came of a tool call, where it was not denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The agent may have it.
    Passed,
    /// A person has to say yes, and was asked.
    Waits(Box<HeldCall>),
}

/// A tool call that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldCall {
    call: ToolCall,
    approval: ApprovalId,
    until: Time,
}

impl HeldCall {
    /// What people answer.
    pub fn approval(&self) -> &ApprovalId {
        &self.approval
    }

    /// When it is a no.
    pub fn until(&self) -> Time {
        self.until
    }
}

/// What was heard of a call that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Nothing so far.
    Nothing,
    /// A person said yes.
    Yes,
    /// A person said no.
    No,
    /// Nobody answered in time.
    TimedOut,
    /// It is not waited for any more, whatever anybody says.
    Ended {
        /// Why.
        because: String,
    },
}

/// Holds turns of one attempt. Each call is an order of its own; they are held together and each is answered for itself.
pub trait Holding: Sync {
    /// Decides a call, and puts it before people where it needs a yes.
    fn ask(&self, call: ToolCall) -> Result<Asked, Denial>;

    /// Records that the turn is held for these. What cannot be recorded is not waited for.
    fn begin(&self, held: &[&HeldCall]) -> Result<(), Denial>;

    /// Takes back everything the run was lent; nothing is lent until it is [lent again](Self::lend_again). Says what may live though it
    /// was to be revoked; safe to repeat.
    fn take_back(&self) -> Result<(), String>;

    /// What people said by now.
    fn hear(&self, held: &HeldCall) -> Heard;

    /// Lends a credential anew, or the run's own identity, decided like the first time; the secret stays with the lender, to be fetched
    /// for the door.
    fn lend_again(&self, credential: Option<&CredentialName>) -> Result<Minted, Unrenewed>;

    /// The last word on a call: what was heard of it, and policy once more where that was a yes. To be asked once.
    fn rule(&self, held: &HeldCall, heard: &Heard) -> Result<(), Denial>;

    /// Records that the turn goes on.
    fn end(&self);
}

/// What people were asked in one attempt, and said no to.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    asked: u32,
    /// What is called, with what: where it stands in which answer makes no other call of it.
    refused: BTreeSet<(String, Digest)>,
}

fn same(call: &ToolCall) -> (String, Digest) {
    (call.tool.clone(), call.arguments)
}

impl Holding for Gatekeeper<'_> {
    fn ask(&self, call: ToolCall) -> Result<Asked, Denial> {
        self.count_request()?;
        let stop = match self.funnel().perform(call.clone(), |_| Ok(ToolPassed)) {
            Ok(ToolPassed) => return Ok(Asked::Passed),
            Err(stop) => stop,
        };
        let Stop::NeedsApproval { order, .. } = stop else { return Err(denial_of(stop)) };
        self.one_more_ask(&call)?;
        let lending = self.lent()?;
        let at = self.funnel.clock.now();
        let until = at.after(lending.desk.repository.hold_at_most).min(lending.desk.grant.until);
        let approval = approval_of(&order);
        self.keep_hold(Record::ApprovalAsked { approval: approval.clone(), order: *order, until })?;
        Ok(Asked::Waits(Box::new(HeldCall { call, approval, until })))
    }

    fn begin(&self, held: &[&HeldCall]) -> Result<(), Denial> {
        let until = held.iter().map(|held| held.until).min().unwrap_or(self.funnel.clock.now());
        let approvals = held.iter().map(|held| held.approval.clone()).collect();
        self.keep_hold(Record::Held(Hold::Began { approvals, until }))?;
        self.is_held.store(true, Ordering::Release);
        Ok(())
    }

    fn take_back(&self) -> Result<(), String> {
        self.lending.as_ref().map_or(Ok(()), |lending| lending.pause(&self.run))
    }

    fn hear(&self, held: &HeldCall) -> Heard {
        let Some(lending) = &self.lending else { return Heard::Ended { because: "nothing is held here".to_owned() } };
        if let Err(because) = lending.refuse_when_halted(&self.run) {
            return Heard::Ended { because };
        }
        // One hour for both: a yes that is recorded later cannot be used any more either.
        let is_over = self.funnel.clock.now() >= held.until;
        match lending.factory.store.answer(&held.approval) {
            Ok(Answer::Denied) => Heard::No,
            Ok(Answer::Granted) if !is_over => Heard::Yes,
            Ok(_) if is_over => Heard::TimedOut,
            Ok(_) => Heard::Nothing,
            Err(error) => Heard::Ended { because: error.to_string() },
        }
    }

    fn lend_again(&self, credential: Option<&CredentialName>) -> Result<Minted, Unrenewed> {
        let Some(lending) = &self.lending else { return Err(Unrenewed::for_good("this sandbox is lent nothing")) };
        lending.resume();
        let lease = LeaseId::from_entropy(lending.factory.entropy.draw());
        let Some(credential) = credential else {
            let order = lending.desk.identity_order(&self.run, lease);
            return lending.make(&self.funnel(), &self.run, order).map_err(|stop| unrenewed(&stop));
        };
        let order = lending.renewal_order(&self.run, credential)?;
        if order.is_stored {
            let borrow = lending.borrow_order(&self.run, credential, &order.uses)?;
            self.funnel().perform(borrow, |_| Ok(MayBorrow)).map_err(|stop| unrenewed(&stop))?;
        }
        let lease = order.lease.clone();
        lending.make(&self.funnel(), &self.run, order).map_err(|stop| {
            // Announced or not, made or not.
            let _ended_with_the_others_otherwise = lending.retire(&self.run, credential, &lease);
            unrenewed(&stop)
        })
    }

    fn rule(&self, held: &HeldCall, heard: &Heard) -> Result<(), Denial> {
        let (denial, lapse) = match heard {
            Heard::Yes => match self.funnel().perform(held.call.clone(), |_| self.standing()) {
                Ok(ToolPassed) => return Ok(()),
                Err(stop) => {
                    let denial = denial_of(stop);
                    let lapse = Lapse::Ended { because: denial.to_string() };
                    (denial, Some(lapse))
                }
            },
            Heard::No => (self.refused(held, Code::Forbidden, SAID_NO), None),
            Heard::TimedOut => (self.refused(held, Code::NeedsApproval, TIMED_OUT), Some(Lapse::TimedOut)),
            Heard::Ended { because } => {
                let next_step = format!("nobody is asked about this call any more: {because}");
                let denial = Denial { code: Code::NotPermitted, policies: Vec::new(), next_step };
                (denial, Some(Lapse::Ended { because: because.clone() }))
            }
            Heard::Nothing => {
                let because = "the turn went on before anybody answered".to_owned();
                (busy(&because), Some(Lapse::Ended { because }))
            }
        };
        if let Some(lapse) = lapse {
            let lapsed = Record::Held(Hold::Lapsed { approval: held.approval.clone(), lapse });
            // Denied whether or not it can be recorded; the request lapses at its hour by itself.
            let _unrecorded = self.keep_hold(lapsed);
        }
        Err(denial)
    }

    fn end(&self) {
        self.is_held.store(false, Ordering::Release);
        // What cannot be recorded shows as a hold without an end, in a run whose next order fails on the same record.
        let _unrecorded = self.keep_hold(Record::Held(Hold::Ended));
    }
}

const SAID_NO: &str = "a person said no to this call; do not ask for it again, find another way";
const TIMED_OUT: &str = "nobody answered in time, which is a no; do not ask for it again, find another way";

impl Gatekeeper<'_> {
    /// Counts what people are asked, and spares them what was refused already.
    fn one_more_ask(&self, call: &ToolCall) -> Result<(), Denial> {
        let mut holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
        if holds.refused.contains(&same(call)) {
            let next_step = "this very call was refused in this attempt; find another way".to_owned();
            return Err(Denial { code: Code::Forbidden, policies: Vec::new(), next_step });
        }
        holds.asked = holds.asked.saturating_add(1);
        let asked = holds.asked;
        drop(holds);
        if asked == ASKS_MAX + 1 {
            let detail = format!("more than {ASKS_MAX} tool calls for people to decide; the rest are denied");
            self.saw(Observation::Finding { code: "too_many_held_calls".to_owned(), detail });
        }
        if asked > ASKS_MAX {
            return Err(busy(
                "this attempt has asked people about as many calls as it may; work with what needs no yes",
            ));
        }
        Ok(())
    }

    fn refused(&self, held: &HeldCall, code: Code, next_step: &str) -> Denial {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner).refused.insert(same(&held.call));
        Denial { code, policies: Vec::new(), next_step: next_step.to_owned() }
    }

    /// What a halt overtakes is recorded as not done, and the yes is not spent on it.
    fn standing(&self) -> Result<ToolPassed, ActError> {
        let lending = self.lending.as_ref().ok_or_else(|| ActError::Permanent("nothing is held here".to_owned()))?;
        lending.refuse_when_halted(&self.run).map(|_| ToolPassed).map_err(ActError::Halted)
    }

    fn lent(&self) -> Result<&Lending<'_>, Denial> {
        self.lending.as_ref().ok_or_else(|| busy("nobody can be asked about this call; work without it"))
    }

    fn keep_hold(&self, record: Record) -> Result<(), Denial> {
        let (at, run) = (self.funnel.clock.now(), Some(self.run.clone()));
        let entry = Entry { at, run, actor: Actor::Factory, owner: None, record };
        let kept = self.funnel.journal.append(entry, class_of(Verb::ApprovalGrant));
        kept.map_err(|error| denial_of(Stop::Journal(error)))
    }
}
