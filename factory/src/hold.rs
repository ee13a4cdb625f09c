//! A turn held inside an attempt: a call that needs a yes, or a question, is put before people while its sandbox stands still and holds
//! nothing (requirement C8). Owns what may be asked, how often, and what an answer means; freezing, waiting and handing over are the
//! caller's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use selvedge_authority::{
    Approval, Code, Denial, Entry, Hold, Lapse, Observation, Permit, PolicyName, Record, Stop, class_of,
};
use selvedge_domain::orders::{AskPerson, BrokeredCall, CUT, MayBorrow, Minted, ToolCall, ToolPassed};
use selvedge_domain::{Actor, ApprovalId, CredentialName, Description, LeaseId, Order as _, Time, Verb};

use crate::brokered::{Cover, Same};
use crate::cycle::approval_of;
use crate::doorkeeper::{Gatekeeper, busy, denial_of};
use crate::identity::Lending;
use crate::ports::{Answer, Doorkeeper as _, Reply, Unrenewed};
use crate::renewal::unrenewed;

/// How many calls of one attempt are put before people. Each stops the work for minutes, and takes the attention of somebody who would
/// sooner or later say yes to anything.
const ASKS_MAX: u32 = 16;

/// What came of a call or a question, where it was not denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The agent may have it.
    Passed,
    /// A person has to answer, and was asked.
    Waits(Box<HeldCall>),
}

/// What may wait for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holdable {
    /// A tool call as a model wrote it.
    Tool(ToolCall),
    /// A call of a tool server.
    Server(BrokeredCall),
    /// A question, which waits for words.
    Question(AskPerson),
}

impl Holdable {
    fn same(&self) -> Same {
        match self {
            Self::Tool(call) => call.into(),
            Self::Server(call) => call.into(),
            Self::Question(order) => order.into(),
        }
    }

    /// Why it is put before nobody: people say yes to what they see, and they would not see all of it.
    fn is_not_shown_whole(&self) -> Option<&'static str> {
        let (secrets, command, values) = match self {
            Self::Tool(call) => (&call.secrets, &call.command, &call.values),
            Self::Server(call) => (&call.secrets, &call.command, &call.values),
            // Looked through, and bounded, before it is an order.
            Self::Question(_) => return None,
        };
        let is_cut = command.ends_with(CUT) || values.iter().any(|value| value.ends_with(CUT));
        (!secrets.is_empty()).then_some(HOLDS_A_SECRET).or(is_cut.then_some(IS_CUT))
    }
}

/// What waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldCall {
    call: Holdable,
    /// The policies that want a yes to it.
    asked_by: Vec<PolicyName>,
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

/// What was heard of something that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Nothing so far.
    Nothing,
    /// A person said yes.
    Yes,
    /// A person answered a question.
    Words(Reply),
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

/// The last word on something that waited, where it is not denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruled {
    /// The agent may have it.
    Passed,
    /// The agent is told this.
    Told(String),
}

/// Holds turns of one attempt. Each call is an order of its own; they are held together and each is answered for itself.
pub trait Holding: Sync {
    /// Decides a call, and puts it before people where it needs a yes; a question that is allowed is put before them.
    fn ask(&self, call: Holdable) -> Result<Asked, Denial>;

    /// From here on no server is asked anything, until the turn [goes on](Self::end).
    fn close(&self);

    /// Whether a server is at work on a call. It is waited for: its patience runs on while it stands still, and what it did would be told
    /// as nothing.
    fn is_server_at_work(&self) -> bool;

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
    fn rule(&self, held: &HeldCall, heard: &Heard) -> Result<Ruled, Denial>;

    /// The turn goes on; where it was held, that is recorded.
    fn end(&self);
}

/// What people were asked in one attempt, and what they said.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    asked: u32,
    pub(crate) asked_questions: u32,
    pub(crate) refused: BTreeSet<Same>,
    /// Each yes to what a model wrote that the agent has yet to ask of a server.
    pub(crate) covers: Vec<Cover>,
    /// Questions that wait, by the calls they came with.
    pub(crate) questions: BTreeMap<u64, Permit<AskPerson>>,
    /// Whether the turn is about to be held, so that no server is asked any more.
    pub(crate) is_closing: bool,
    /// Calls of servers that are being decided.
    pub(crate) entering: usize,
}

impl Holding for Gatekeeper<'_> {
    fn ask(&self, call: Holdable) -> Result<Asked, Denial> {
        self.remembers()?;
        let asked = match &call {
            Holdable::Tool(call) => self.pass_tool(call.clone()),
            Holdable::Server(call) => self.open_server(call.clone()),
            Holdable::Question(order) => return self.ask_person(order.clone()),
        };
        let stop = match asked {
            Ok(()) => return Ok(Asked::Passed),
            Err(stop) => stop,
        };
        let Stop::NeedsApproval { order, denial } = stop else { return Err(denial_of(stop)) };
        if let Some(because) = call.is_not_shown_whole() {
            return Err(Denial { code: Code::NeedsApproval, policies: Vec::new(), next_step: because.to_owned() });
        }
        self.one_more_ask(&call.same())?;
        self.put_before_people(call, *order, denial.policies)
    }

    fn close(&self) {
        self.holds().is_closing = true;
    }

    fn is_server_at_work(&self) -> bool {
        self.servers_under_way() > 0
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
            // Words are recorded in time or not at all, and nothing has to be done with them in time.
            Ok(Answer::Words(reply)) => Heard::Words(reply),
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

    fn rule(&self, held: &HeldCall, heard: &Heard) -> Result<Ruled, Denial> {
        if let Holdable::Question(order) = &held.call {
            return self.conclude(order, held, heard);
        }
        let (denial, lapse) = match heard {
            Heard::Yes => match self.use_yes(held) {
                Ok(()) => return Ok(Ruled::Passed),
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
            Heard::Nothing | Heard::Words(_) => {
                let because = "the turn went on before anybody answered".to_owned();
                (busy(&because), Some(Lapse::Ended { because }))
            }
        };
        if let Some(lapse) = lapse {
            self.lapse(held, lapse);
        }
        Err(denial)
    }

    fn end(&self) {
        self.holds().is_closing = false;
        if self.is_held.swap(false, Ordering::AcqRel) {
            // What cannot be recorded shows as a hold without an end, in a run whose next order fails on the same record.
            let _unrecorded = self.keep_hold(Record::Held(Hold::Ended));
        }
    }
}

const HOLDS_A_SECRET: &str = "a person would have to say yes to this call, and nobody is shown what looks like a secret: write the call without it";
const IS_CUT: &str = "a person would have to say yes to this call, and it is too long to be shown whole: give shorter arguments, in several calls";
const SAID_NO: &str = "a person said no to this call; do not ask for it again, find another way";
const TIMED_OUT: &str = "nobody answered in time, which is a no; do not ask for it again, find another way";

impl Gatekeeper<'_> {
    fn pass_tool(&self, call: ToolCall) -> Result<(), Stop> {
        self.count_request().map_err(Stop::Denied)?;
        self.funnel().perform(call, |_| Ok(ToolPassed)).map(|ToolPassed| ())
    }

    /// Decides a call once more, with its yes. What a halt overtakes is recorded as not done, and the yes is not spent on it.
    fn use_yes(&self, held: &HeldCall) -> Result<(), Stop> {
        match &held.call {
            Holdable::Tool(call) => {
                // Looked up before it is spent: the agent may come with the call itself.
                let yes = self.yes_to(&call.recorded())?;
                self.funnel().perform(call.clone(), |_| self.standing().map(|()| ToolPassed))?;
                yes.into_iter().for_each(|yes| self.cover(call, yes, held.asked_by.clone()));
                Ok(())
            }
            Holdable::Server(call) => self.open_approved(call.clone()),
            Holdable::Question(_) => Err(Stop::Denied(busy("a question is answered in words"))),
        }
    }

    fn yes_to(&self, order: &Description) -> Result<Option<Approval>, Stop> {
        Ok(self.funnel.journal.approval(&order.digest(), self.funnel.clock.now())?)
    }

    /// Asks for an answer within the minutes that a turn may be held.
    pub(crate) fn put_before_people(
        &self,
        call: Holdable,
        order: Description,
        asked_by: Vec<PolicyName>,
    ) -> Result<Asked, Denial> {
        let lending = self.lent()?;
        let at = self.funnel.clock.now();
        let until = at.after(lending.desk.repository.hold_at_most).min(lending.desk.grant.until);
        let approval = approval_of(&order);
        self.keep_hold(Record::ApprovalAsked { approval: approval.clone(), order, until })?;
        Ok(Asked::Waits(Box::new(HeldCall { call, asked_by, approval, until })))
    }

    /// Denied whether or not it can be recorded; the request lapses at its hour by itself.
    pub(crate) fn lapse(&self, held: &HeldCall, lapse: Lapse) {
        let lapsed = Record::Held(Hold::Lapsed { approval: held.approval.clone(), lapse });
        let _unrecorded = self.keep_hold(lapsed);
    }

    /// Whether this was refused in this attempt, or nobody said anything to it.
    pub(crate) fn is_refused(&self, call: &Same) -> bool {
        self.holds().refused.contains(call)
    }

    /// It is not asked about again, and an earlier yes to the same is none any more.
    pub(crate) fn refuse(&self, call: Same) {
        let mut holds = self.holds();
        holds.covers.retain(|cover| cover.call != call);
        holds.refused.insert(call);
    }

    /// Counts what people are asked, and spares them what was refused already.
    fn one_more_ask(&self, call: &Same) -> Result<(), Denial> {
        if self.is_refused(call) {
            let next_step = "this very call was refused in this attempt; find another way".to_owned();
            return Err(Denial { code: Code::Forbidden, policies: Vec::new(), next_step });
        }
        let mut holds = self.holds();
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
        self.refuse(held.call.same());
        Denial { code, policies: Vec::new(), next_step: next_step.to_owned() }
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
