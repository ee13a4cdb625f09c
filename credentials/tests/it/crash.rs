//! Crashes between any two steps of a lease leave nothing alive once the next keeper has swept (C4, invariant 7, A-56).

use std::sync::Arc;

use crate::world::{Cut, Disk, Keeper, NOW, holder, keeper, lease, live_tokens, order, permit};
use selvedge_credentials::{Ending, LendError, OWN_AUDIENCE};
use selvedge_domain::LeaseState;

/// A run's whole dealings with one lease; steps after the power cut come to nothing.
fn lend_and_revoke(keeper: &Keeper) {
    if let Ok(lent) = keeper.leases.lend(&permit(order(1, OWN_AUDIENCE)), &holder(), NOW) {
        assert!(!lent.secret.expose().is_empty());
        let _ = keeper.leases.revoke(&lease(1), LeaseState::Announced, NOW);
    }
}

fn sweep(keeper: &Keeper) -> Vec<Ending> {
    // The ledger announced the lease; whether it heard more before the crash must not matter.
    let swept = keeper.leases.sweep([(&lease(1), LeaseState::Announced)], NOW);
    swept.into_iter().map(|(_, ending)| ending).collect()
}

fn every_cut(life: impl Fn(&Keeper), disk: impl Fn() -> Arc<Disk>) -> Vec<Cut> {
    let counting = keeper(&disk(), Cut::Never);
    life(&counting);
    let acts = counting.fuse.acts();
    assert!(acts >= 3, "there is something to cut");
    (0..acts).flat_map(|at| [Cut::Before(at), Cut::After(at)]).collect()
}

#[test]
fn every_crash_leaves_nothing_alive_after_a_sweep() {
    let mut alive_without_sweep = 0;
    for cut in every_cut(lend_and_revoke, Arc::default) {
        let disk = Arc::<Disk>::default();
        lend_and_revoke(&keeper(&disk, cut));
        alive_without_sweep += live_tokens(&disk, OWN_AUDIENCE, NOW);

        let next = keeper(&disk, Cut::Never);
        assert_eq!(sweep(&next), [Ending::Revoked], "{cut:?}");
        assert_eq!(live_tokens(&disk, OWN_AUDIENCE, NOW), 0, "{cut:?}");
        assert_eq!(sweep(&next), [Ending::Revoked], "a sweep may repeat, {cut:?}");

        let again = next.leases.lend(&permit(order(1, OWN_AUDIENCE)), &holder(), NOW);
        assert_eq!(again.err(), Some(LendError::UsedBefore(lease(1))), "a swept lease is never minted, {cut:?}");
    }
    assert!(alive_without_sweep > 0, "without the sweep, some crash leaves a token that works");
}

#[test]
fn every_crash_of_the_sweep_itself_is_swept() {
    for first in every_cut(lend_and_revoke, Arc::default) {
        let crashed = || {
            let disk = Arc::<Disk>::default();
            lend_and_revoke(&keeper(&disk, first));
            disk
        };
        let sweep_once = |keeper: &Keeper| drop(sweep(keeper));
        let counting = keeper(&crashed(), Cut::Never);
        sweep_once(&counting);
        for at in 0..counting.fuse.acts() {
            for second in [Cut::Before(at), Cut::After(at)] {
                let disk = crashed();
                sweep_once(&keeper(&disk, second));
                assert_eq!(sweep(&keeper(&disk, Cut::Never)), [Ending::Revoked], "{first:?}, {second:?}");
                assert_eq!(live_tokens(&disk, OWN_AUDIENCE, NOW), 0, "{first:?}, {second:?}");
            }
        }
    }
}
