//! What readers may know without asking the writer: how far the log goes, what lies in the reserve, what is wrong.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use selvedge_authority::Entry;
use selvedge_domain::{Digest, Time};

use crate::store::Store;

/// Shared between the writer and every handle.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    size: u64,
    last_at: Option<Time>,
    reserved: Vec<Entry>,
    granted: Arc<BTreeSet<Digest>>,
    trouble: Option<String>,
    closed: bool,
}

impl Shared {
    /// Tells readers what was committed.
    pub(crate) fn publish<'a>(&self, store: &Store, reserved: impl Iterator<Item = &'a Entry>) {
        let mut state = self.lock();
        state.size = store.size();
        state.last_at = Some(store.last_at());
        state.granted = Arc::clone(store.granted());
        state.reserved = reserved.cloned().collect();
        self.changed.notify_all();
    }

    /// Remembers what went wrong where no caller waits for the answer.
    pub(crate) fn trouble(&self, because: String) {
        self.lock().trouble = Some(because);
    }

    /// What went wrong last, once.
    pub(crate) fn take_trouble(&self) -> Option<String> {
        self.lock().trouble.take()
    }

    /// Nothing will be committed any more.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// The time the last entry bears.
    pub(crate) fn last_at(&self) -> Option<Time> {
        self.lock().last_at
    }

    /// Whether somebody said yes to this order, so that it is worth looking whether the yes can be used.
    pub(crate) fn is_granted(&self, order: &Digest) -> bool {
        self.lock().granted.contains(order)
    }

    /// What lies in the reserve.
    pub(crate) fn reserved(&self) -> Vec<Entry> {
        self.lock().reserved.clone()
    }

    /// Waits until there are more than `seq` entries, the ledger closes, or `timeout` has passed; returns how many there are.
    pub(crate) fn wait_after(&self, seq: u64, timeout: Duration) -> u64 {
        let give_up = Instant::now().checked_add(timeout);
        let mut state = self.lock();
        while state.size <= seq && !state.closed {
            let left = give_up.map_or(timeout, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.size
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
