//! Which leases are on loan, which of them were withdrawn, and which are taken back for as long as a turn is held. Known to the keeper that
//! lent them, and to no other: what counts after it is on record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use selvedge_domain::orders::MintCredential;
use selvedge_domain::{CredentialName, LeaseId, Reach, Run, RunId, Stage};

/// Credentials that were lent and are not known to be dead.
#[derive(Default)]
pub(super) struct OnLoan {
    loans: Mutex<Loans>,
    moved: Condvar,
}

#[derive(Default)]
struct Loans {
    lent: BTreeMap<LeaseId, OneLoan>,
    /// For as long as the keeper lives: a person makes few of them.
    withdrawn: BTreeSet<LeaseId>,
    /// Withdrawn from runs whose attempt was just being lent what it needs, after so many attempts: a lease of it may have been allowed,
    /// or may yet be, that nobody could find. Kept as long.
    denied: BTreeMap<(RunId, CredentialName), u32>,
    /// What was taken back from runs whose turn is held, until that goes on: dead, and to be lent again.
    paused: BTreeMap<LeaseId, OneLoan>,
    moves: u64,
}

/// What a run was lent.
#[derive(Clone)]
pub(super) struct OneLoan {
    pub(super) run: RunId,
    pub(super) credential: CredentialName,
    /// What it may be used for.
    pub(super) uses: Vec<Reach>,
}

impl OnLoan {
    /// Remembers what is lent, from before it is made.
    pub(super) fn lend(&self, lease: &LeaseId, loan: OneLoan) {
        self.loans().lent.insert(lease.clone(), loan);
    }

    /// It is dead.
    pub(super) fn forget(&self, lease: &LeaseId) {
        self.loans().lent.remove(lease);
    }

    /// Does something unless the lease was withdrawn; nobody withdraws it meanwhile.
    pub(super) fn unless_withdrawn<T>(&self, lease: &LeaseId, act: impl FnOnce() -> T) -> Option<T> {
        let loans = self.loans();
        (!loans.withdrawn.contains(lease)).then(act)
    }

    /// Whether it was withdrawn.
    pub(super) fn is_withdrawn(&self, lease: &LeaseId) -> bool {
        self.loans().withdrawn.contains(lease)
    }

    /// Withdraws what was lent of this, from one run or all. Which leases.
    pub(super) fn withdraw(&self, credential: &CredentialName, from: Option<&RunId>) -> Vec<(RunId, LeaseId)> {
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

    /// What was taken back from this run of this, until its turn goes on.
    pub(super) fn paused(&self, run: &RunId, credential: &CredentialName) -> Vec<(LeaseId, OneLoan)> {
        let loans = self.loans();
        let paused = loans.paused.iter().filter(|(_, lent)| lent.run == *run && lent.credential == *credential);
        paused.map(|(lease, lent)| (lease.clone(), lent.clone())).collect()
    }

    /// Withdraws these too, whoever found them.
    pub(super) fn withdraw_all(&self, leases: impl Iterator<Item = LeaseId>) {
        self.loans().withdrawn.extend(leases);
    }

    /// Lends this to none of these attempts any more.
    pub(super) fn deny(&self, credential: &CredentialName, attempts: Vec<(RunId, u32)>) {
        let denied = attempts.into_iter().map(|(run, attempts)| ((run, credential.clone()), attempts));
        self.loans().denied.extend(denied);
    }

    /// Whether it was withdrawn from this attempt while that was being lent what it needs.
    pub(super) fn is_denied(&self, credential: &CredentialName, run: &Run) -> bool {
        let denied = (run.id().clone(), credential.clone());
        is_being_lent(run) && self.loans().denied.get(&denied) == Some(&run.attempts())
    }

    /// What this run was lent.
    pub(super) fn of_run(&self, run: &RunId) -> Vec<LeaseId> {
        let loans = self.loans();
        let lent = loans.lent.iter().filter(|(_, lent)| lent.run == *run);
        lent.map(|(lease, _)| lease.clone()).collect()
    }

    /// What doors may have, or get.
    pub(super) fn held(&self) -> Vec<OneLoan> {
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
pub(super) fn is_being_lent(run: &Run) -> bool {
    matches!(run.stage(), Stage::Admitted) && run.leases().values().any(|state| state.may_live())
}

impl OneLoan {
    /// What this order lends; none where it makes an identity document.
    pub(super) fn of(order: &MintCredential) -> Option<Self> {
        let credential = order.credential.clone()?;
        Some(Self { run: order.run.clone(), credential, uses: order.uses.clone() })
    }
}
