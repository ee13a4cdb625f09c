//! Withdrawing a credential from live runs, which go on without it. Doors come first, the provider after them, the record last
//! (invariant 2).

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use selvedge_authority::{Class, Entry, Journal as _, Record, Relinquished, Verdict};
use selvedge_domain::orders::MintCredential;
use selvedge_domain::{
    Actor, CredentialName, Description, LeaseId, LeaseState, Loan, Reach, ResourceKind, Revocation, Run, RunId, Time,
};
use selvedge_factory::ports::{Clock as _, TakenBack};
use selvedge_gateway::{Door, LoanChange};

use super::Works;
use super::on_loan::{OneLoan, is_being_lent};

/// Why a loan that was taken out of the configuration is not lent, as an agent is told.
const NOT_GIVEN: &str = "the credential was withdrawn from this run: its agent is not given it any more";

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
        if let Some(loan) = OneLoan::of(order) {
            self.on_loan.lend(&order.lease, loan);
        }
    }

    /// It is dead.
    pub(super) fn comes_off_loan(&self, lease: &LeaseId) {
        self.on_loan.forget(lease);
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
        self.on_loan.withdraw_all(loans.iter().map(|loan| loan.lease.clone()));
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
        let Some(lent) = OneLoan::of(order) else { return false };
        if !self.on_loan.is_denied(&lent.credential, run) && self.is_given(&lent, run) {
            return false;
        }
        self.on_loan.withdraw_all(std::iter::once(order.lease.clone()));
        let loan = [LiveLoan { run: lent.run, lease: order.lease.clone(), credential: lent.credential, until: None }];
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
    fn is_given(&self, lent: &OneLoan, run: &Run) -> bool {
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
        let Ok(run) = self.run(run) else {
            let known = self.on_loan.of_run(run).into_iter();
            return known.map(|lease| MayLive { lease, until: None }).collect();
        };
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
