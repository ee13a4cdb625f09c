//! The writer: one thread that owns the store, and its upkeep between batches.
//!
//! Callers hand it jobs over a bounded channel and wait for their answer. While one batch is being committed the next
//! gathers, so the more callers wait, the more of them share one fsync.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use selvedge_authority::Class;

use crate::anchor::Anchor;
use crate::batch::{self, Doomed, Job};
use crate::reserve::Reserve;
use crate::shared::Shared;
use crate::store::Store;

/// How many jobs may wait for the writer; beyond it callers wait to hand theirs over.
pub(crate) const JOBS_WAITING_MAX: usize = 1024;
/// How many jobs share a transaction: enough for every caller that can wait, few enough to stay in the page cache.
const BATCH_JOBS_MAX: usize = 512;
/// How long an `Ordered` entry may stay off stable storage; the promise is 50 ms, the difference is for the fsync.
const ORDERED_SYNC: Duration = Duration::from_millis(35);
/// How long entries may stay unsigned; the promise is one second.
const SIGN_WITHIN: Duration = Duration::from_millis(800);
/// How often a full disk is tried again for what lies in the reserve.
const RESERVE_RETRY: Duration = Duration::from_secs(1);
/// How long the writer sleeps when there is nothing to do.
const IDLE: Duration = Duration::from_secs(3600);

/// What the writer is told.
pub(crate) enum Message {
    /// Do this.
    Job(Box<dyn Job>),
    /// Sign, sync and end.
    Stop,
}

/// The writer's own things.
pub(crate) struct Writer {
    pub(crate) store: Store,
    pub(crate) reserve: Reserve,
    pub(crate) anchor: Anchor,
    pub(crate) wal: PathBuf,
    pub(crate) jobs: Receiver<Message>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) unsynced_since: Option<Instant>,
    pub(crate) unsigned_since: Option<Instant>,
}

impl Writer {
    /// Serves jobs until told to stop or nobody can ask any more.
    pub(crate) fn run(mut self) {
        loop {
            match self.jobs.recv_timeout(self.until_upkeep()) {
                Ok(Message::Job(first)) => {
                    let more = self.batch(first);
                    self.upkeep();
                    if !more {
                        break;
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.upkeep(),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.unsynced_since = None;
        self.sign();
        self.shared.close();
    }

    /// Commits `first` and everything that waits behind it. Returns whether to go on.
    fn batch(&mut self, first: Box<dyn Job>) -> bool {
        let (mut jobs, mut more) = (vec![first], true);
        while jobs.len() < BATCH_JOBS_MAX {
            match self.jobs.try_recv() {
                Ok(Message::Job(job)) => jobs.push(job),
                Ok(Message::Stop) => {
                    more = false;
                    break;
                }
                Err(_) => break,
            }
        }
        let before = self.store.size();
        let durable = jobs.iter().any(|job| job.class() == Class::Durable);
        let committed = batch::commit(&mut self.store, &mut self.reserve, &self.shared, jobs);
        if committed && durable {
            // One fsync of the write-ahead log covers everything before it.
            self.unsynced_since = None;
        } else if committed {
            self.unsynced_since.get_or_insert_with(Instant::now);
        }
        if self.store.size() != before {
            self.unsigned_since.get_or_insert_with(Instant::now);
        }
        more
    }

    /// How long until something is due.
    fn until_upkeep(&self) -> Duration {
        let left = |since: Option<Instant>, span: Duration| since.map(|since| span.saturating_sub(since.elapsed()));
        let retry = (!self.reserve.is_empty()).then_some(RESERVE_RETRY);
        let due = [left(self.unsynced_since, ORDERED_SYNC), left(self.unsigned_since, SIGN_WITHIN), retry];
        due.into_iter().flatten().min().unwrap_or(IDLE)
    }

    fn upkeep(&mut self) {
        if self.unsynced_since.is_some_and(|since| since.elapsed() >= ORDERED_SYNC) {
            match File::open(&self.wal).and_then(|wal| wal.sync_data()) {
                Ok(()) => self.unsynced_since = None,
                Err(error) => self.shared.trouble(format!("cannot sync the log: {error}")),
            }
        }
        if self.unsigned_since.is_some_and(|since| since.elapsed() >= SIGN_WITHIN) {
            self.sign();
        }
        if !self.reserve.is_empty() {
            batch::move_reserve(&mut self.store, &mut self.reserve);
            self.shared.publish(&self.store, self.reserve.pending());
        }
    }

    /// Signs the head. It goes into the anchor only once it is on stable storage here: an anchor that is ahead of its
    /// own log would refuse it.
    fn sign(&mut self) {
        let mut signed = None;
        let outcome = batch::transaction(&mut self.store, Class::Durable, |store| {
            signed = Some(store.checkpoint().map_err(|error| Doomed::Store(error.to_string()))?);
            Ok(())
        });
        match (outcome, signed) {
            (Ok(()), Some(checkpoint)) => {
                self.unsigned_since = None;
                self.unsynced_since = None;
                if let Err(error) = self.anchor.write(&checkpoint) {
                    self.shared.trouble(format!("cannot write `{}`: {error}", self.anchor.path().display()));
                }
            }
            (Err(doomed), _) => {
                // Tried again after the same span; the entries themselves are safe.
                self.unsigned_since = Some(Instant::now());
                self.shared.trouble(format!("cannot sign the log: {}", doomed.because()));
            }
            (Ok(()), None) => {}
        }
    }
}
