//! What becomes of a run's loans while its door is open: one that was withdrawn is ended, and on record as dead, before its run
//! is over. Owns the watch; never decides anything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use selvedge_domain::{CredentialName, LeaseId};
use selvedge_factory::ports::Doorkeeper;

use super::Works;

/// How long to wait before a lease that may live is asked for again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How long the watch sleeps when it waits for nothing in particular.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// Why a loan that was withdrawn is not lent, as an agent is told.
pub(crate) const WITHDRAWN: &str = "the credential was withdrawn from this run";

/// A credential that a door has.
pub(super) struct OnDoor {
    pub(super) credential: CredentialName,
    pub(super) lease: LeaseId,
}

/// Watches the loans of one open door until `is_over`.
pub(super) fn watch(works: &Works, mut loans: Vec<OnDoor>, doors: &dyn Doorkeeper, is_over: &AtomicBool) {
    while !loans.is_empty() {
        let moves = works.on_loan.moves();
        if is_over.load(Ordering::Acquire) {
            return;
        }
        let mut sleep = LONGEST_SLEEP;
        loans.retain(|loan| {
            if !works.on_loan.is_withdrawn(&loan.lease) {
                return true;
            }
            let is_dead = doors.retire(&loan.lease);
            if !is_dead {
                sleep = RETRY_AFTER;
            }
            !is_dead
        });
        works.on_loan.wait(moves, sleep);
    }
}
