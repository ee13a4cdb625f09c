//! The pool: slots that take claims from the queue and turn runs until they settle or wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use selvedge_factory::Standing;
use selvedge_factory::ports::Clock;
use selvedge_ledger::{Claim, WriteError};

use super::hall::Keeper;
use crate::config::Runtime;
use crate::wiring::{ClaimedStore, CurrentJudge, Purpose, Works};

/// How long a claim lasts without a heartbeat. One keeper holds a state directory, so only its own death ends one early.
pub(crate) const CLAIM: selvedge_domain::Duration = selvedge_domain::Duration::from_seconds(24 * 3600);

/// How long a slot sleeps when there is nothing to do; a new trigger wakes it earlier.
const IDLE: Duration = Duration::from_millis(500);

/// First wait before something that failed is tried again, doubled up to the last.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LAST: Duration = Duration::from_secs(30);

/// How long a run that got nowhere is left alone before a slot takes it again.
const LEFT_ALONE: selvedge_domain::Duration = selvedge_domain::Duration::from_seconds(2);

/// How often a failing act of one run is tried before the run is given up, and a revocation before it is left for later.
const TRIES_MAX: u32 = 8;

/// Works the queue until the keeper closes.
pub(crate) fn slot(keeper: &Arc<Keeper>) {
    loop {
        let moves = keeper.moves();
        if keeper.closing.load(Ordering::Acquire) {
            return;
        }
        // A halt keeps new runs from beginning; what was begun has to be ended by somebody.
        match keeper.claim() {
            Some(claim) => {
                let settled = serve(keeper, &claim);
                let_go(keeper, &claim, settled);
                keeper.moved();
            }
            None => keeper.idle_since(moves, IDLE),
        }
    }
}

/// How often an act of this run is tried. Whoever tries a credential wants to know what happens, and not what happens in the end.
fn tries_of(works: &Works, claim: &Claim) -> u32 {
    let Ok(run) = works.run(&claim.run) else { return TRIES_MAX };
    let is_trial = works
        .config()
        .agents
        .get(&run.trigger().agent)
        .is_some_and(|agent| agent.tries.is_some() || matches!(agent.runtime, Runtime::Install(_)));
    if is_trial { 1 } else { TRIES_MAX }
}

/// Takes one run as far as it goes; whether that is its end.
fn serve(keeper: &Keeper, claim: &Claim) -> bool {
    let works = &keeper.works;
    let store = ClaimedStore::new(works, claim);
    let (mut wait, mut tries) = (RETRY_FIRST, 0);
    // Whoever came to stop something does not start what somebody else left.
    if keeper.purpose == Purpose::Stop && works.run(&claim.run).is_ok_and(|run| works.halt_covering(&run).is_none()) {
        return false;
    }
    let judge = CurrentJudge(works);
    if claim.taken_over && works.factory(&store, &judge).recover(&claim.run).is_err() {
        return false;
    }
    let most = tries_of(works, claim);
    loop {
        let standing = works.factory(&store, &judge).turn(&claim.run);
        keeper.moved();
        match standing {
            Ok(Standing::Settled(_)) => return true,
            Ok(Standing::Waiting(_)) | Err(_) => return false,
            Ok(Standing::Again { because }) if tries + 1 >= most => {
                let because = if most == 1 { because } else { format!("gave up after {most} tries: {because}") };
                if works.factory(&store, &judge).give_up(&claim.run, &because).is_err() {
                    return false;
                }
                tries = 0;
                continue;
            }
            Ok(Standing::Closing { .. } | Standing::Again { .. }) => {}
        }
        tries += 1;
        if tries >= TRIES_MAX || keeper.closing.load(Ordering::Acquire) {
            return false;
        }
        keeper.idle(wait);
        wait = (wait * 2).min(RETRY_LAST);
    }
}

/// Gives the claim back. It is for a day and nobody else takes the run up before, so one that cannot be given back now, because
/// the disk is full say, is given back as soon as that can be recorded.
fn let_go(keeper: &Keeper, claim: &Claim, settled: bool) {
    let works = &keeper.works;
    if settled {
        works.forget_advisories(&claim.trigger);
    }
    loop {
        let queue = works.ledger.queue();
        let given = if settled { queue.complete(claim) } else { queue.release(claim, works.now().after(LEFT_ALONE)) };
        match given {
            Ok(()) => return keeper.recorded(),
            // Somebody else has it, or nobody will.
            Err(WriteError::Refused(_) | WriteError::Closed) => return,
            Err(WriteError::Storage(because)) => keeper.cannot_record(because),
        }
        // The next keeper takes every claim away.
        if keeper.closing.load(Ordering::Acquire) {
            return;
        }
        keeper.idle(IDLE);
    }
}
