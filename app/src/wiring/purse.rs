//! An attempt's budget: one purse for what its model costs and for what it hands on, under one lock, so that no two of its spenders
//! can both have what is left. Knows no orders and no doors.

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
}

/// What is set aside for a call under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reserved {
    pub(super) price: Price,
    pub(super) cost: u64,
    /// Whether an answer is generated, or only counted.
    pub(super) generates: bool,
    pub(super) request_bytes: u64,
    /// The most the model may write.
    pub(super) output_max: u64,
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

    /// Whether the last that was asked of the model was refused because nothing was left for it.
    pub(super) fn is_spent(&self) -> bool {
        self.account().refused.is_some()
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

    /// Counts what a call came to.
    pub(super) fn pay(&mut self, cost: u64) {
        self.settled = self.settled.saturating_add(cost);
    }

    /// Counts a call that was refused for want of budget. Says, once, that whoever makes them will not stop by itself.
    pub(super) fn refuse(&mut self, now: Time) -> bool {
        let refused = self.refused.get_or_insert(RefusedCalls { first: now, count: 0, is_enough: false });
        refused.count = refused.count.saturating_add(1);
        let was_enough = refused.is_enough;
        refused.is_enough |= refused.count > REFUSED_CALLS_MAX || now.since(refused.first) > GRACE;
        refused.is_enough && !was_enough
    }

    fn in_all(&self) -> u64 {
        let paid = self.settled.saturating_add(self.handed_on.budget());
        self.reserved.values().fold(paid, |sum, reserved| sum.saturating_add(reserved.cost))
    }
}

#[cfg(test)]
mod tests {
    use selvedge_domain::LeaseId;

    use super::*;

    const PRICE: Price = Price { input: 1, cached: 1, cache_write: 1, output: 1 };

    fn reserved(cost: u64) -> Reserved {
        Reserved { price: PRICE, cost, generates: true, request_bytes: 1, output_max: 1 }
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
}
