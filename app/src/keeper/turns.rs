//! Who reads the whole log: one client of a uid at a time. Whoever asks over and over keeps one core busy at most, and nobody else
//! waiting.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often it is looked whether whoever waits is still there.
const LOOK: Duration = Duration::from_millis(500);

/// Whose turn it is.
#[derive(Default)]
pub(super) struct Turns {
    reading: Mutex<BTreeSet<u32>>,
    ended: Condvar,
}

/// A turn, over when dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    uid: u32,
}

impl Turns {
    /// Waits until nobody of this uid reads; none once `is_there` says that nobody waits any more.
    pub(super) fn take(&self, uid: u32, is_there: &dyn Fn() -> bool) -> Option<Turn<'_>> {
        let mut reading = self.reading();
        while reading.contains(&uid) {
            if !is_there() {
                return None;
            }
            reading = self.ended.wait_timeout(reading, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        reading.insert(uid);
        Some(Turn { turns: self, uid })
    }

    /// Each statement leaves it whole.
    fn reading(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.reading().remove(&self.uid);
        self.turns.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a107_one_uid_reads_the_log_once_at_a_time_and_keeps_no_other_waiting() {
        let turns = Turns::default();
        let first = turns.take(1, &|| true).unwrap();
        assert!(turns.take(1, &|| false).is_none(), "whoever left does not read it afterwards");
        assert!(turns.take(2, &|| false).is_some());
        drop(first);

        let (at_once, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let _turn = turns.take(1, &|| true).unwrap();
                    most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    at_once.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!((most.into_inner(), at_once.into_inner()), (1, 0), "all of them read it, one after another");
    }
}
