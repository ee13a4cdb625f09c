//! An attempt's budget: one purse for what its model costs and for what it hands on, under one lock, so that no two of its spenders
//! can both have what is left. Owns that of the calls under way at most one may cost more than is set aside for it, so that a budget is
//! exceeded by one call at most. Knows no orders and no doors.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use selvedge_authority::ActError;
use selvedge_domain::orders::StartWork;
use selvedge_domain::{Duration, Task, Time};

use super::Works;
use super::repositories::permanent;
use super::tokens::HandedOn;
use crate::config::Price;

/// Calls of the model that are refused in a row once the budget is spent, before whoever makes them is ended. Agents that do not stop
/// at the first try a handful of times, and some of them from several conversations at once.
const REFUSED_CALLS_MAX: u64 = 20;

/// How long an agent may go on asking after the first of them: enough to write down what it has, and no more.
const GRACE: Duration = Duration::from_millis(60_000);

/// What one attempt may spend, and spent.
pub(super) struct Purse {
    budget: u64,
    account: Mutex<Account>,
}

/// What was spent and set aside, in millionths.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// To tokens and children.
    pub(super) handed_on: HandedOn,
    /// For calls of the model that are over.
    settled: u64,
    /// For calls under way, by the door's number.
    reserved: BTreeMap<u64, Reserved>,
    refused: Option<RefusedCalls>,
    last: Option<LastCall>,
}

/// The call by which is told whether an agent heard its model to the end. One that offers tools says more than any that offers none: these
/// are made on the side (a title, a summary), unless the agent never offers any. Of its kind, the one that was made last; in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct LastCall {
    offers_tools: bool,
    serial: u64,
    is_whole: bool,
}

/// What is set aside for a call under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reserved {
    pub(super) price: Price,
    pub(super) cost: u64,
    /// Whether an answer is generated, or only counted.
    pub(super) generates: bool,
    pub(super) offers_tools: bool,
    pub(super) request_bytes: u64,
    /// The most the model may write.
    pub(super) output_max: u64,
    /// Whether it cannot cost more than `cost`.
    pub(super) is_covered: bool,
}

/// What a call may cost, before it is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Foreseen {
    /// What it is expected to cost at most: a request has several bytes to a token.
    pub(super) expected: u64,
    /// What it cannot cost more than; none where nobody can say.
    pub(super) most: Option<u64>,
}

/// Whether there is room for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// For the most it can cost.
    Covered(u64),
    /// For what it is expected to cost, and for no other such call beside it.
    Alone(u64),
    /// Not now, and there may be once the calls under way are settled.
    Later,
    /// None.
    Spent,
}

/// Calls that were refused for want of budget since one was allowed.
#[derive(Debug, Clone, Copy)]
struct RefusedCalls {
    first: Time,
    count: u64,
    is_enough: bool,
}

impl Works {
    /// The budget of an attempt: its agent's, or what it was handed, less what all attempts of its run spent by the record.
    pub(super) fn purse(&self, order: &StartWork, task: &Task) -> Result<Purse, ActError> {
        let config = self.config();
        let agent = config.agents.get(&order.agent).ok_or_else(|| permanent("the agent is no longer configured"))?;
        let handed = task.trigger.lineage.within.as_deref();
        let budget = handed.map_or(agent.budget.millionths, |handed| handed.budget);
        let bill = self.bill(&order.run);
        let settled = bill.paid();
        Ok(Purse::new(budget, Account { handed_on: bill.handed_on, settled, ..Account::default() }))
    }
}

impl Purse {
    fn new(budget: u64, account: Account) -> Self {
        Self { budget, account: account.into() }
    }

    /// All of it.
    pub(super) fn budget(&self) -> u64 {
        self.budget
    }

    /// What was spent; whoever spends holds it until that is decided. A poisoned lock guards numbers that are whole between statements.
    pub(super) fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What nobody spent or set aside.
    pub(super) fn left(&self, account: &Account) -> u64 {
        self.budget.saturating_sub(account.in_all())
    }

    /// Whether there is room for a call.
    pub(super) fn room(&self, account: &Account, call: Foreseen) -> Room {
        let left = self.left(account);
        // Nothing that may cost something goes out once all is spent, however little it is expected to be.
        let expected = call.expected.max(1);
        let is_alone = account.reserved.values().all(|reserved| reserved.is_covered);
        match call.most.filter(|most| *most <= left) {
            Some(most) => Room::Covered(most),
            None if is_alone && expected <= left => Room::Alone(expected),
            None if expected <= self.budget.saturating_sub(account.paid()) => Room::Later,
            None => Room::Spent,
        }
    }

    /// Whether the last that was asked of the model was refused because nothing was left for it.
    pub(super) fn is_spent(&self) -> bool {
        self.account().refused.is_some()
    }

    /// Whether the last that the model was asked was refused, not answered, or not to the end.
    pub(super) fn is_cut_short(&self) -> bool {
        self.account().last.is_some_and(|last| !last.is_whole)
    }

    /// Whether the attempt was ended because it went on asking all the same.
    pub(super) fn is_ended(&self) -> bool {
        self.account().refused.is_some_and(|refused| refused.is_enough)
    }
}

impl Account {
    /// Sets aside what a call that is allowed may cost.
    pub(super) fn reserve(&mut self, serial: u64, reserved: Reserved) {
        // Counting tokens costs nothing and says nothing of what is left.
        if reserved.cost > 0 {
            self.refused = None;
        }
        self.reserved.insert(serial, reserved);
    }

    /// What was set aside for a call that is over now; none when none was.
    pub(super) fn take_back(&mut self, serial: u64) -> Option<Reserved> {
        self.reserved.remove(&serial)
    }

    /// The door's numbers of the calls under way.
    pub(super) fn under_way(&self) -> Vec<u64> {
        self.reserved.keys().copied().collect()
    }

    /// Counts what a call came to.
    pub(super) fn pay(&mut self, cost: u64) {
        self.settled = self.settled.saturating_add(cost);
    }

    /// Whether an answer may be under way.
    pub(super) fn is_generating(&self) -> bool {
        self.reserved.values().any(|reserved| reserved.generates)
    }

    /// Remembers whether the agent has the answer to a call that generates one. What was asked last may be over before what was asked
    /// beside it, and what had to wait for room is heard of again.
    pub(super) fn heard(&mut self, serial: u64, offers_tools: bool, is_whole: bool) {
        self.last = self.last.max(Some(LastCall { offers_tools, serial, is_whole }));
    }

    /// Counts a call that was refused for want of budget. Says, once, that whoever makes them will not stop by itself.
    pub(super) fn refuse(&mut self, now: Time) -> bool {
        let refused = self.refused.get_or_insert(RefusedCalls { first: now, count: 0, is_enough: false });
        refused.count = refused.count.saturating_add(1);
        let was_enough = refused.is_enough;
        refused.is_enough |= refused.count > REFUSED_CALLS_MAX || now.since(refused.first) > GRACE;
        refused.is_enough && !was_enough
    }

    /// Without what is set aside for calls under way.
    fn paid(&self) -> u64 {
        self.settled.saturating_add(self.handed_on.budget())
    }

    fn in_all(&self) -> u64 {
        self.reserved.values().fold(self.paid(), |sum, reserved| sum.saturating_add(reserved.cost))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use selvedge_domain::LeaseId;

    use super::*;

    const PRICE: Price = Price { input: 1, cached: 1, cache_write: 1, output: 1 };

    fn reserved(cost: u64) -> Reserved {
        let (generates, offers_tools) = (true, true);
        Reserved { price: PRICE, cost, generates, offers_tools, request_bytes: 1, output_max: 1, is_covered: true }
    }

    #[test]
    fn whatever_ends_last_the_call_that_was_made_last_says_whether_the_agent_heard_it_all_e3() {
        let purse = Purse::new(1, Account::default());
        assert!(!purse.is_cut_short(), "nothing was asked");
        purse.account().heard(2, true, false);
        purse.account().heard(1, true, true);
        assert!(purse.is_cut_short());
        purse.account().heard(3, true, true);
        purse.account().heard(1, true, false);
        assert!(!purse.is_cut_short());
        purse.account().heard(4, true, false);
        purse.account().heard(4, true, true);
        assert!(!purse.is_cut_short(), "it waited for room, and was answered");
    }

    #[test]
    fn a_call_on_the_side_says_nothing_of_whether_the_agent_heard_it_all_e3() {
        for is_whole in [true, false] {
            let purse = Purse::new(1, Account::default());
            purse.account().heard(1, false, !is_whole);
            assert_eq!(purse.is_cut_short(), is_whole, "no call offers tools");
            purse.account().heard(2, true, is_whole);
            purse.account().heard(3, false, !is_whole);
            assert_eq!(purse.is_cut_short(), !is_whole, "a title, before and after");
        }
        let purse = Purse::new(1, Account::default());
        purse.account().heard(1, true, true);
        purse.account().refuse(Time::from_millis(0));
        assert!(!purse.is_cut_short() && purse.is_spent(), "nothing was left for a title");
    }

    #[test]
    fn what_the_model_has_set_aside_cannot_be_handed_on_and_the_other_way_round_b4() {
        let purse = Purse::new(10, Account::default());
        let mut account = purse.account();
        account.reserve(1, reserved(6));
        assert_eq!(purse.left(&account), 4, "set aside");
        assert!(account.take_back(1).is_some() && account.take_back(1).is_none());
        account.pay(5);
        assert_eq!(purse.left(&account), 5, "paid");
        account.handed_on.add(&LeaseId::from_entropy(1), 4);
        assert_eq!(purse.left(&account), 1, "handed on");
        account.pay(u64::MAX);
        assert_eq!(purse.left(&account), 0);
    }

    #[test]
    fn whoever_goes_on_asking_is_ended_by_count_or_by_time_and_once() {
        let (start, late) = (Time::from_millis(0), Time::from_millis(GRACE.as_millis() + 1));
        let mut account = Account::default();
        let ended = (0..=REFUSED_CALLS_MAX + 5).filter(|_| account.refuse(start)).count();
        assert_eq!(ended, 1);
        let mut account = Account::default();
        assert!(!account.refuse(start));
        account.reserve(1, reserved(0));
        assert!(account.refuse(late), "what costs nothing does not begin the count anew");
        let mut account = Account::default();
        assert!(!account.refuse(start));
        account.reserve(1, reserved(1));
        assert!(!account.refuse(late), "something was left in between");
    }
    /// What happens to a budget: a call is asked for, one under way ends, something is handed on.
    #[derive(Debug, Clone)]
    enum Event {
        /// Costs at most `most` where that is known, and otherwise whatever it costs.
        Asks {
            expected: u64,
            most: Option<u64>,
            costs: u64,
        },
        Ends {
            which: usize,
        },
        HandsOn(u64),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let known = (1..40u64, 0..40u64, 0..=100u64).prop_map(|(expected, more, percent)| {
            let most = expected + more;
            Event::Asks { expected, most: Some(most), costs: most * percent / 100 }
        });
        let unknown = (0..40u64, 0..400u64).prop_map(|(expected, costs)| Event::Asks { expected, most: None, costs });
        let ends = (0..9usize).prop_map(|which| Event::Ends { which });
        prop::collection::vec(
            prop_oneof![4 => known, 1 => unknown, 4 => ends, 1 => (0..40u64).prop_map(Event::HandsOn)],
            0..80,
        )
    }

    proptest! {
        #[test]
        fn e3_a_budget_is_never_exceeded_by_more_than_one_call_in_flight(budget in 0..200u64, events in events()) {
            let purse = Purse::new(budget, Account::default());
            let mut account = purse.account();
            // What the last call came to that was let out for less than it can cost.
            let (mut in_flight, mut paid, mut handed_on, mut alone) = (Vec::new(), 0, 0, 0);
            for (serial, event) in (0u64..).zip(events) {
                match event {
                    Event::Asks { expected, most, costs } => {
                        let room = purse.room(&account, Foreseen { expected, most });
                        let (cost, is_covered) = match room {
                            Room::Covered(cost) => (cost, true),
                            Room::Alone(cost) => (cost, false),
                            Room::Later => {
                                prop_assert!(!in_flight.is_empty(), "nothing is waited for that does not come");
                                continue;
                            }
                            Room::Spent => continue,
                        };
                        account.reserve(serial, Reserved { is_covered, ..reserved(cost) });
                        alone = if is_covered { alone } else { costs };
                        in_flight.push((serial, costs));
                    }
                    Event::Ends { which } if !in_flight.is_empty() => {
                        let (serial, costs) = in_flight.remove(which % in_flight.len());
                        account.take_back(serial).unwrap();
                        account.pay(costs);
                        paid += costs;
                    }
                    Event::Ends { .. } => {}
                    Event::HandsOn(amount) if amount <= purse.left(&account) => {
                        account.handed_on.add(&LeaseId::from_entropy(serial), amount);
                        handed_on += amount;
                    }
                    Event::HandsOn(_) => {}
                }
                // However the calls under way end: without that one, all is within the budget.
                let all = paid + handed_on + in_flight.iter().map(|(_, costs)| costs).sum::<u64>();
                prop_assert!(all <= budget + alone, "{all} of {budget}, and {alone}");
            }
        }
    }

    #[test]
    fn what_is_set_aside_for_others_is_waited_for_and_what_is_spent_is_not_e3() {
        let purse = Purse::new(10, Account::default());
        let mut account = purse.account();
        let asks = |account: &Account, expected, most| purse.room(account, Foreseen { expected, most });
        assert_eq!(asks(&account, 4, Some(9)), Room::Covered(9));
        assert_eq!(asks(&account, 4, Some(11)), Room::Alone(4));
        assert_eq!(asks(&account, 4, None), Room::Alone(4));
        assert_eq!(asks(&account, 11, None), Room::Spent);
        account.reserve(1, Reserved { is_covered: false, ..reserved(4) });
        assert_eq!(asks(&account, 4, Some(6)), Room::Covered(6), "beside it, what cannot cost more than is left");
        assert_eq!(asks(&account, 4, Some(7)), Room::Later);
        assert_eq!(asks(&account, 4, None), Room::Later);
        assert_eq!(asks(&account, 11, None), Room::Spent);
        account.take_back(1).unwrap();
        account.pay(7);
        assert_eq!(asks(&account, 4, None), Room::Spent);
    }
}
