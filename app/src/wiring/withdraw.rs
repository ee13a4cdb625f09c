//! Withdrawing a credential from live runs, which go on without it. Doors come first, the provider after them, the record last
//! (invariant 2). Owns which leases are on loan and which of them were withdrawn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use selvedge_authority::{Class, Entry, Journal as _, Record, Relinquished, Verdict};
use selvedge_domain::orders::MintCredential;
use selvedge_domain::{
    Actor, CredentialName, Description, LeaseId, LeaseState, Loan, Reach, ResourceKind, Revocation, Run, RunId, Stage,
    Time,
};
use selvedge_factory::ports::{Clock as _, TakenBack};
use selvedge_gateway::{Door, LoanChange};

use super::Works;

/// Why a loan that was taken out of the configuration is not lent, as an agent is told.
const NOT_GIVEN: &str = "the credential was withdrawn from this run: its agent is not given it any more";

/// Credentials that were lent and are not known to be dead.
#[derive(Default)]
pub(super) struct OnLoan {
    loans: Mutex<Loans>,
    moved: Condvar,
}

#[derive(Default)]
struct Loans {
    lent: BTreeMap<LeaseId, Lent>,
    /// For as long as the keeper lives: a person makes few of them.
    withdrawn: BTreeSet<LeaseId>,
    /// Withdrawn from runs whose attempt was just being lent what it needs, after so many attempts: a lease of it may have been allowed,
    /// or may yet be, that nobody could find. Kept as long.
    denied: BTreeMap<(RunId, CredentialName), u32>,
    /// What was taken back from runs whose turn is held, until that goes on: dead, and to be lent again.
    paused: BTreeMap<LeaseId, Lent>,
    moves: u64,
}

/// What a run was lent.
#[derive(Clone)]
struct Lent {
    run: RunId,
    credential: CredentialName,
    /// What it may be used for.
    uses: Vec<Reach>,
}

impl OnLoan {
    /// Does something unless the lease was withdrawn; nobody withdraws it meanwhile.
    pub(super) fn unless_withdrawn<T>(&self, lease: &LeaseId, act: impl FnOnce() -> T) -> Option<T> {
        let loans = self.loans();
        (!loans.withdrawn.contains(lease)).then(act)
    }

    /// Whether it was withdrawn.
    pub(super) fn is_withdrawn(&self, lease: &LeaseId) -> bool {
        self.loans().withdrawn.contains(lease)
    }

    fn withdraw(&self, credential: &CredentialName, from: Option<&RunId>) -> Vec<(RunId, LeaseId)> {
        let mut loans = self.loans();
        let is_meant = |run: &RunId, name: &CredentialName| name == credential && from.is_none_or(|from| from == run);
        let meant = loans.lent.iter().chain(&loans.paused).filter(|(_, lent)| is_meant(&lent.run, &lent.credential));
        let meant: BTreeSet<_> = meant.map(|(lease, lent)| (lent.run.clone(), lease.clone())).collect();
        loans.withdrawn.extend(meant.iter().map(|(_, lease)| lease.clone()));
        meant.into_iter().collect()
    }

    /// What this run holds is about to be taken back until its turn goes on.
    pub(super) fn pause(&self, run: &RunId) {
        let mut loans = self.loans();
        let lent = loans.lent.iter().filter(|(lease, lent)| lent.run == *run && !loans.withdrawn.contains(lease));
        let lent: Vec<_> = lent.map(|(lease, lent)| (lease.clone(), lent.clone())).collect();
        loans.paused.extend(lent);
    }

    /// Its turn goes on.
    pub(super) fn goes_on(&self, run: &RunId) {
        self.loans().paused.retain(|_, lent| lent.run != *run);
    }

    /// Whether something was withdrawn from a run while its turn was held.
    pub(super) fn is_withdrawn_meanwhile(&self, run: &RunId) -> bool {
        let loans = self.loans();
        loans.paused.iter().any(|(lease, lent)| lent.run == *run && loans.withdrawn.contains(lease))
    }

    fn paused(&self, run: &RunId, credential: &CredentialName) -> Vec<(LeaseId, Lent)> {
        let loans = self.loans();
        let paused = loans.paused.iter().filter(|(_, lent)| lent.run == *run && lent.credential == *credential);
        paused.map(|(lease, lent)| (lease.clone(), lent.clone())).collect()
    }

    /// Withdraws these too, whoever found them.
    fn withdraw_all(&self, loans: &[LiveLoan]) {
        self.loans().withdrawn.extend(loans.iter().map(|loan| loan.lease.clone()));
    }

    /// Lends this to none of these attempts any more.
    fn deny(&self, credential: &CredentialName, attempts: Vec<(RunId, u32)>) {
        let denied = attempts.into_iter().map(|(run, attempts)| ((run, credential.clone()), attempts));
        self.loans().denied.extend(denied);
    }

    /// Whether it was withdrawn from this attempt while that was being lent what it needs.
    fn is_denied(&self, credential: &CredentialName, run: &Run) -> bool {
        let denied = (run.id().clone(), credential.clone());
        is_being_lent(run) && self.loans().denied.get(&denied) == Some(&run.attempts())
    }

    fn of_run(&self, run: &RunId) -> Vec<MayLive> {
        let loans = self.loans();
        let lent = loans.lent.iter().filter(|(_, lent)| lent.run == *run);
        lent.map(|(lease, _)| MayLive { lease: lease.clone(), until: None }).collect()
    }

    /// What doors may have, or get.
    fn held(&self) -> Vec<Lent> {
        let loans = self.loans();
        let held = loans.lent.iter().chain(&loans.paused).filter(|(lease, _)| !loans.withdrawn.contains(*lease));
        held.map(|(_, lent)| lent.clone()).collect()
    }

    /// How often something has moved. Ask before looking, so that what moves while looking is not slept through.
    pub(super) fn moves(&self) -> u64 {
        self.loans().moves
    }

    /// Says that something moved.
    pub(super) fn ring(&self) {
        let mut loans = self.loans();
        loans.moves = loans.moves.wrapping_add(1);
        drop(loans);
        self.moved.notify_all();
    }

    /// Sleeps until something has moved since there were this many moves, but no longer than `at_most`.
    pub(super) fn wait(&self, moves: u64, at_most: Duration) {
        let _woken = self.moved.wait_timeout_while(self.loans(), at_most, |loans| loans.moves == moves);
    }

    /// Each statement leaves it whole.
    fn loans(&self) -> MutexGuard<'_, Loans> {
        self.loans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an attempt of it is about to begin and holds something: an attempt that waits holds nothing.
fn is_being_lent(run: &Run) -> bool {
    matches!(run.stage(), Stage::Admitted) && run.leases().values().any(|state| state.may_live())
}

/// A lease that may live still, though it was to be taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MayLive {
    pub(crate) lease: LeaseId,
    /// When it dies by itself; none when nobody knows.
    pub(crate) until: Option<Time>,
}

/// When a lease dies by itself; none when it is not known whether it was made.
pub(crate) fn dies_by_itself(state: LeaseState) -> Option<Time> {
    match state {
        LeaseState::Live { revocation: Revocation::ExpiryOnly(dies), expires } => Some(dies.max(expires)),
        LeaseState::Live { expires, .. } | LeaseState::Stuck { expires } => Some(expires),
        LeaseState::Announced | LeaseState::Dead => None,
    }
}

/// A credential that a run was lent, and that may live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LiveLoan {
    pub(crate) run: RunId,
    pub(crate) lease: LeaseId,
    pub(crate) credential: CredentialName,
    /// Until when, in words.
    pub(crate) until: Option<String>,
}

impl Works {
    /// Remembers a credential from before it is made.
    pub(super) fn goes_on_loan(&self, order: &MintCredential) {
        if let Some(credential) = &order.credential {
            let lent = Lent { run: order.run.clone(), credential: credential.clone(), uses: order.uses.clone() };
            self.on_loan.loans().lent.insert(order.lease.clone(), lent);
        }
    }

    /// It is dead.
    pub(super) fn comes_off_loan(&self, lease: &LeaseId) {
        self.on_loan.loans().lent.remove(lease);
    }

    /// Takes a credential out of the doors that have it, of one run or of all, and says which leases to end. No door that opens
    /// from here on under one of these leases has it either.
    pub(crate) fn withdraw_from_doors(
        &self,
        credential: &CredentialName,
        from: Option<&RunId>,
        because: &str,
    ) -> Vec<LiveLoan> {
        let known = self.on_loan.withdraw(credential, from);
        for (_, lease) in &known {
            self.drop_kept(lease);
        }
        let change = LoanChange::Withdrawn { because: because.to_owned() };
        let doors = self.doors_of(from);
        std::thread::scope(|threads| {
            for door in &doors {
                // One that is gone, or killed because it does not answer, has it no more.
                threads.spawn(|| door.change_loan(credential, &change));
            }
        });
        self.on_loan.deny(credential, self.being_lent(from));
        let mut loans: Vec<LiveLoan> = self.live_loans();
        loans.retain(|loan| loan.credential == *credential && from.is_none_or(|from| *from == loan.run));
        for (run, lease) in known {
            if !loans.iter().any(|loan| loan.lease == lease) {
                loans.push(LiveLoan { run, lease, credential: credential.clone(), until: None });
            }
        }
        // The log knows of what was allowed and is not being made yet.
        self.on_loan.withdraw_all(&loans);
        loans
    }

    /// Runs that are being lent what their next attempt needs, and after how many others.
    fn being_lent(&self, from: Option<&RunId>) -> Vec<(RunId, u32)> {
        let open = self.ledger.open_runs().unwrap_or_default().into_iter().map(|open| open.id);
        let meant = open.filter(|run| from.is_none_or(|from| from == run));
        let runs = meant.filter_map(|run| self.run(&run).ok()).filter(is_being_lent);
        runs.map(|run| (run.id().clone(), run.attempts())).collect()
    }

    /// Whether what was just made was taken away meanwhile, by a halt, a withdrawal or a configuration that could not find it: between
    /// the decision and the making nobody knows of it. If so it is withdrawn now.
    pub(super) fn was_taken_away(&self, order: &MintCredential, run: &Run) -> bool {
        if self.halt_covering(run).is_some() {
            return true;
        }
        let Some(credential) = &order.credential else { return false };
        let lent = Lent { run: order.run.clone(), credential: credential.clone(), uses: order.uses.clone() };
        if !self.on_loan.is_denied(credential, run) && self.is_given(&lent, run) {
            return false;
        }
        let (lease, credential) = (order.lease.clone(), credential.clone());
        let loan = [LiveLoan { run: order.run.clone(), lease, credential, until: None }];
        self.on_loan.withdraw_all(&loan);
        // Withdrawn whether or not it can be recorded.
        let _unrecorded = self.record_withdrawn(&loan, &Actor::Factory);
        true
    }

    /// The same for a key that nobody may use any more, with everything that follows. The run it was found out by is ended by
    /// whoever calls.
    pub(super) fn withdraw_from_all(&self, credential: &CredentialName, because: &str) {
        let loans = self.withdraw_from_doors(credential, None, because);
        std::thread::scope(|threads| {
            for loan in &loans {
                // What may live is asked for again by its run.
                threads.spawn(|| self.take_back_now(&loan.lease));
            }
        });
        // Withdrawn whether or not it can be recorded.
        let _unrecorded = self.record_withdrawn(&loans, &Actor::Factory);
    }

    /// Withdraws what runs were lent and the configuration gives their agents no more, in whole or in part. Whoever watches over a
    /// loan ends it where it was made; until then it is not renewed either. A run whose agent nobody can tell is given nothing.
    pub(super) fn withdraw_what_is_not_given(&self) {
        let ungiven: BTreeSet<(RunId, CredentialName)> = self
            .on_loan
            .held()
            .into_iter()
            .filter(|lent| !self.run(&lent.run).is_ok_and(|run| self.is_given(lent, &run)))
            .map(|lent| (lent.run, lent.credential))
            .collect();
        std::thread::scope(|threads| {
            for (run, credential) in &ungiven {
                threads.spawn(|| {
                    let loans = self.withdraw_from_doors(credential, Some(run), NOT_GIVEN);
                    // Withdrawn whether or not it can be recorded.
                    let _unrecorded = self.record_withdrawn(&loans, &Actor::Factory);
                });
            }
        });
    }

    /// Whether a run whose turn is held may be lent this again: it held it, nobody withdrew it meanwhile, and it is still given.
    pub(super) fn may_be_lent_again(&self, run: &RunId, credential: &CredentialName) -> bool {
        let paused = self.on_loan.paused(run, credential);
        let Ok(run) = self.run(run) else { return false };
        !paused.is_empty()
            && paused.iter().all(|(lease, lent)| !self.on_loan.is_withdrawn(lease) && self.is_given(lent, &run))
    }

    /// Whether its agent could be lent this now.
    fn is_given(&self, lent: &Lent, run: &Run) -> bool {
        let config = self.config();
        let given = config.agents.get(&run.trigger().agent).map(|agent| &agent.agent.loans);
        let covers = |uses: &Reach| {
            let wanted = Loan { credential: lent.credential.clone(), uses: uses.clone() };
            given.is_some_and(|given| given.iter().any(|loan| loan.contains(&wanted)))
        };
        lent.uses.iter().all(covers)
    }

    /// What a run was lent that may live: as the log says, or, when it cannot be read, as this process knows.
    pub(crate) fn may_live(&self, run: &RunId) -> Vec<MayLive> {
        let Ok(run) = self.run(run) else { return self.on_loan.of_run(run) };
        let lent = run.leases().iter().filter(|(_, state)| state.may_live());
        lent.map(|(lease, state)| MayLive { lease: lease.clone(), until: dies_by_itself(*state) }).collect()
    }

    /// Ends one lease; whether it is dead.
    pub(crate) fn end_loan(&self, loan: &LiveLoan) -> bool {
        self.take_back_now(&loan.lease) == TakenBack::Dead
    }

    /// Records what was withdrawn, each in its run, and has live runs record what is dead. Whether all of it is on record.
    pub(crate) fn record_withdrawn(&self, loans: &[LiveLoan], by: &Actor) -> bool {
        let record = |loan: &LiveLoan| {
            let what = Relinquished::Withdrawn { credential: loan.credential.clone(), lease: loan.lease.clone() };
            let record = Record::Relinquished(what);
            let (run, actor) = (Some(loan.run.clone()), by.clone());
            let entry = Entry { at: self.now(), run, actor, owner: None, record };
            self.ledger.append(entry, Class::Durable).is_ok()
        };
        let unrecorded = loans.iter().filter(|loan| !record(loan)).count();
        self.on_loan.ring();
        unrecorded == 0
    }

    /// Credentials that runs were lent and that may live, by the log.
    pub(crate) fn live_loans(&self) -> Vec<LiveLoan> {
        let mut live = Vec::new();
        for open in self.ledger.open_runs().unwrap_or_default() {
            let Ok(run) = self.run(&open.id) else { continue };
            let alive: BTreeSet<&str> =
                run.leases().iter().filter(|(_, state)| state.may_live()).map(|(lease, _)| lease.as_str()).collect();
            if alive.is_empty() {
                continue;
            }
            for recorded in self.ledger.entries(0, Some(run.id().clone())).filter_map(Result::ok) {
                let Record::Decided { order, verdict: Verdict::Allow { .. }, .. } = recorded.entry.record else {
                    continue;
                };
                let lease = order.text("lease").filter(|lease| alive.contains(lease));
                if let (Some(credential), Some(Ok(lease))) = (lent_by(&order), lease.map(LeaseId::parse)) {
                    let until = order.text("until").map(str::to_owned);
                    live.push(LiveLoan { run: run.id().clone(), lease, credential, until });
                }
            }
        }
        live
    }

    fn doors_of(&self, run: Option<&RunId>) -> Vec<Arc<Door>> {
        self.live(|live| {
            let meant = live.iter().filter(|(of, _)| run.is_none_or(|run| run == *of));
            meant.flat_map(|(_, live)| live.doors.iter().filter_map(Weak::upgrade)).collect()
        })
    }
}

/// The credential a mint was about; none for an identity document.
pub(crate) fn lent_by(order: &Description) -> Option<CredentialName> {
    (order.resource.kind == ResourceKind::Credential)
        .then(|| CredentialName::parse(&order.resource.name).ok())
        .flatten()
}
