//! Owns the counting of refused system calls, bounded so that a sandbox cannot make the launcher, the keeper or the log
//! work for it: told at the first time of each call and whenever the count has doubled, and slower the more there are.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::thread;
use std::time::Duration;

use crate::message::Message;
use crate::sys::{self, Notified, Patience};

/// Different calls counted by name; there are fewer than this, so only nonsense numbers share the last place.
const CALLS_MAX: usize = 512;
/// Stands for every call beyond [`CALLS_MAX`].
const OTHERS: i32 = -1;
/// Calls answered at full speed. A build that probes for features stays far below.
const PROMPT_MAX: u64 = 1000;
/// The pause before each answer after that: at most a thousand a second.
const PAUSE: Duration = Duration::from_millis(1);

/// What was refused so far.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    calls: BTreeMap<i32, Counted>,
    total: u64,
}

#[derive(Debug)]
struct Counted {
    first_pid: u32,
    total: u64,
    told: u64,
}

impl Refusals {
    /// Counts one call and perhaps tells the keeper.
    pub(crate) fn count(&mut self, notified: &Notified, control: BorrowedFd<'_>) {
        self.total += 1;
        if self.total > PROMPT_MAX {
            thread::sleep(PAUSE);
        }
        let known = self.calls.contains_key(&notified.number) || self.calls.len() < CALLS_MAX;
        let number = if known { notified.number } else { OTHERS };
        let counted = self.calls.entry(number).or_insert(Counted { first_pid: notified.pid, total: 0, told: 0 });
        counted.total += 1;
        if counted.total >= counted.told * 2 {
            tell(number, counted, control);
        }
    }

    /// Tells every count that has grown since it was told.
    pub(crate) fn tell_all(&mut self, control: BorrowedFd<'_>) {
        for (number, counted) in &mut self.calls {
            if counted.told < counted.total {
                tell(*number, counted, control);
            }
        }
    }
}

/// Never waits for the keeper: counts are cumulative, so one that is not told now is told by the next.
fn tell(number: i32, counted: &mut Counted, control: BorrowedFd<'_>) {
    let message = Message::Refused { number, pid: counted.first_pid, total: counted.total };
    if sys::send(control, &message.encode(), &[], Patience::Hurry).is_ok() {
        counted.told = counted.total;
    }
}
