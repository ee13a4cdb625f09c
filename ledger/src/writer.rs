//! Who writes: whoever holds the store. A caller that finds it free commits its own job there and then, which spares two changes of
//! thread; what comes meanwhile gathers for the writer, a thread, which commits it together. The writer does the upkeep as well.
//!
//! Callers wait for their answer either way. While one batch is being committed the next gathers, so the more callers wait, the more of
//! them share one fsync.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use selvedge_authority::Class;

use crate::anchor::Anchor;
use crate::batch::{self, Doomed, Job, Left};
use crate::error::WriteError;
use crate::reserve::Reserve;
use crate::shared::Shared;
use crate::store::Store;

/// How many jobs may wait for the writer; beyond it callers wait to hand theirs over.
const JOBS_WAITING_MAX: usize = 1024;
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
enum Message {
    /// Do this.
    Job(Box<dyn Job>),
    /// Somebody else committed, and something is due now that was not.
    Due,
    /// Sign, sync and end.
    Stop,
}

/// What callers and the writer have in common.
struct Desk {
    scribe: Mutex<Scribe>,
    /// Jobs that were handed over and not taken up, and the writer itself where it is about to take the store: while there are any, no
    /// caller goes before them.
    waiting: AtomicUsize,
    /// Whether something that was committed may be lost: a sync failed. Nobody can tell afterwards what of it is on stable storage.
    is_broken: AtomicBool,
    shared: Arc<Shared>,
}

/// The store, and what is due for it.
pub(crate) struct Scribe {
    pub(crate) store: Store,
    pub(crate) reserve: Reserve,
    pub(crate) anchor: Anchor,
    unsynced_since: Option<Instant>,
    unsigned_since: Option<Instant>,
}

/// Where callers bring their jobs.
pub(crate) struct Inbox {
    desk: Arc<Desk>,
    jobs: SyncSender<Message>,
}

/// The thread's own things.
pub(crate) struct Writer {
    desk: Arc<Desk>,
    jobs: Receiver<Message>,
    wal: PathBuf,
}

/// A store with its write-ahead log at `wal`: where jobs are brought, and who writes them.
pub(crate) fn writer(scribe: Scribe, wal: PathBuf, shared: Arc<Shared>) -> (Inbox, Writer) {
    let (sender, jobs) = sync_channel(JOBS_WAITING_MAX);
    let desk = Arc::new(Desk {
        scribe: Mutex::new(scribe),
        waiting: AtomicUsize::new(0),
        is_broken: AtomicBool::new(false),
        shared,
    });
    (Inbox { desk: Arc::clone(&desk), jobs: sender }, Writer { desk, jobs, wal })
}

impl Inbox {
    /// Has `job` committed and answered, by this thread or by the writer.
    pub(crate) fn submit(&self, job: Box<dyn Job>) -> Result<(), WriteError> {
        let Desk { scribe, waiting, is_broken, shared } = &*self.desk;
        if is_broken.load(Ordering::Acquire) {
            return Err(WriteError::Closed);
        }
        if waiting.load(Ordering::Acquire) == 0 {
            match scribe.try_lock() {
                Ok(mut scribe) => {
                    let due = scribe.due();
                    scribe.commit(shared, vec![job]);
                    if scribe.due().iter().zip(due).any(|(is_due, was_due)| *is_due && !was_due) {
                        self.wake();
                    }
                    return Ok(());
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Poisoned(_)) => {
                    self.wake();
                    return Err(WriteError::Closed);
                }
            }
        }
        waiting.fetch_add(1, Ordering::AcqRel);
        self.jobs.send(Message::Job(job)).map_err(|_| WriteError::Closed)
    }

    /// With a full inbox the writer looks at what is due before it sleeps.
    fn wake(&self) {
        drop(self.jobs.try_send(Message::Due));
    }

    /// Has everything signed and synced, and the writer end.
    pub(crate) fn stop(&self) {
        // A writer that is gone needs no telling.
        drop(self.jobs.send(Message::Stop));
    }
}

impl Desk {
    /// The store, before anybody who comes now. None where a job panicked with it, or a sync failed: nothing is believed of it any more.
    fn take(&self) -> Option<MutexGuard<'_, Scribe>> {
        if self.is_broken.load(Ordering::Acquire) {
            return None;
        }
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let scribe = self.scribe.lock();
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        scribe.ok()
    }
}

impl Writer {
    /// Serves jobs until told to stop or nobody can ask any more.
    pub(crate) fn run(self) {
        while let Some(scribe) = self.desk.take() {
            let until_due = scribe.until_due();
            drop(scribe);
            let goes_on = match self.jobs.recv_timeout(until_due) {
                Ok(Message::Job(first)) => self.batch(first),
                Ok(Message::Due) | Err(RecvTimeoutError::Timeout) => true,
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => false,
            };
            self.sync();
            if let Some(mut scribe) = self.desk.take() {
                scribe.upkeep(&self.desk.shared);
            }
            if !goes_on {
                break;
            }
        }
        // Also after a job that panicked: what was committed before it stays.
        self.sync_now();
        if let Some(mut scribe) = self.desk.take() {
            scribe.sign(&self.desk.shared);
        }
        self.desk.shared.close();
    }

    /// Commits `first` and everything that waits behind it. Returns whether to go on.
    fn batch(&self, first: Box<dyn Job>) -> bool {
        let Desk { scribe, waiting, shared, .. } = &*self.desk;
        // A job that panicked left nobody who could answer.
        let Ok(mut scribe) = scribe.lock() else { return false };
        let (mut jobs, mut goes_on) = (vec![first], true);
        while jobs.len() < BATCH_JOBS_MAX {
            match self.jobs.try_recv() {
                Ok(Message::Job(job)) => jobs.push(job),
                Ok(Message::Due) => {}
                Ok(Message::Stop) => {
                    goes_on = false;
                    break;
                }
                Err(_) => break,
            }
        }
        waiting.fetch_sub(jobs.len(), Ordering::AcqRel);
        scribe.commit(shared, jobs);
        goes_on
    }

    /// Puts what was committed in order onto stable storage, when it is time. Callers commit meanwhile: what they add has a time of its own.
    fn sync(&self) {
        let Some(mut scribe) = self.desk.take() else { return };
        if scribe.unsynced_since.take_if(|since| since.elapsed() >= ORDERED_SYNC).is_none() {
            return;
        }
        drop(scribe);
        self.sync_now();
    }

    fn sync_now(&self) {
        let wal = match File::open(&self.wal) {
            Ok(wal) => wal,
            // Nothing is lost by that: tried again after the same span.
            Err(error) => {
                self.desk.shared.trouble(format!("cannot sync the log: {error}"));
                if let Some(mut scribe) = self.desk.take() {
                    scribe.unsynced_since.get_or_insert_with(Instant::now);
                }
                return;
            }
        };
        // The kernel tells of a write that failed once, and takes the page for clean then: a second try would succeed without it.
        if let Err(error) = wal.sync_data() {
            self.desk.is_broken.store(true, Ordering::Release);
            let because = "nothing more is recorded, so nothing more is allowed; look after the disk, then start anew";
            self.desk.shared.trouble(format!("cannot sync the log: {error}; {because}"));
        }
    }
}

impl Scribe {
    pub(crate) fn new(store: Store, reserve: Reserve, anchor: Anchor) -> Self {
        Self { store, reserve, anchor, unsynced_since: None, unsigned_since: None }
    }

    /// Commits `jobs` in one transaction and answers their callers.
    fn commit(&mut self, shared: &Shared, jobs: Vec<Box<dyn Job>>) {
        let before = self.store.size();
        match batch::commit(&mut self.store, &mut self.reserve, shared, jobs) {
            Left::Nothing => self.unsynced_since = None,
            Left::Something => drop(self.unsynced_since.get_or_insert_with(Instant::now)),
            Left::AsBefore => {}
        }
        if self.store.size() != before {
            self.unsigned_since.get_or_insert_with(Instant::now);
        }
    }

    /// What is due at some time.
    fn due(&self) -> [bool; 3] {
        [self.unsynced_since.is_some(), self.unsigned_since.is_some(), !self.reserve.is_empty()]
    }

    /// How long until something is due.
    fn until_due(&self) -> Duration {
        let left = |since: Option<Instant>, span: Duration| since.map(|since| span.saturating_sub(since.elapsed()));
        let retry = (!self.reserve.is_empty()).then_some(RESERVE_RETRY);
        let due = [left(self.unsynced_since, ORDERED_SYNC), left(self.unsigned_since, SIGN_WITHIN), retry];
        due.into_iter().flatten().min().unwrap_or(IDLE)
    }

    fn upkeep(&mut self, shared: &Shared) {
        if self.unsigned_since.is_some_and(|since| since.elapsed() >= SIGN_WITHIN) {
            self.sign(shared);
        }
        if !self.reserve.is_empty() {
            batch::move_reserve(&mut self.store, &mut self.reserve);
            shared.publish(&self.store, self.reserve.pending());
        }
    }

    /// Signs the head. It goes into the anchor only once it is on stable storage here: an anchor that is ahead of its
    /// own log would refuse it.
    fn sign(&mut self, shared: &Shared) {
        let mut signed = None;
        let outcome = batch::transaction(&mut self.store, Class::Durable, |store| {
            signed = Some(store.checkpoint().map_err(|error| Doomed::Store(error.to_string()))?);
            Ok(())
        });
        match (outcome, signed) {
            (Ok(()), Some(checkpoint)) => {
                self.unsigned_since = None;
                if let Err(error) = self.anchor.write(&checkpoint) {
                    shared.trouble(format!("cannot write `{}`: {error}", self.anchor.path().display()));
                }
            }
            (Err(doomed), _) => {
                // Tried again after the same span; the entries themselves are safe.
                self.unsigned_since = Some(Instant::now());
                shared.trouble(format!("cannot sign the log: {}", doomed.because()));
            }
            (Ok(()), None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::{self, JoinHandle, ThreadId};

    use rusqlite::Connection;
    use selvedge_authority::{Entry, Record};
    use selvedge_domain::{Actor, Digest, Time, Verb};

    use super::*;
    use crate::batch::Task;
    use crate::danger::SeededEntropy;
    use crate::key::LogKey;
    use crate::schema;
    use crate::store::Prepared;

    /// Longer than anything here takes, so that a test that hangs fails.
    const PATIENCE: Duration = Duration::from_secs(20);

    struct Written {
        inbox: Arc<Inbox>,
        writer: JoinHandle<()>,
        wal: PathBuf,
    }

    fn written(name: &str) -> Written {
        let dir = std::env::temp_dir().join(format!("selvedge-writer-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let db = Connection::open_in_memory().unwrap();
        schema::create(&db).unwrap();
        let key = LogKey::from_seed(&[1; 32]).unwrap();
        let anchor = Anchor::new(&dir, &dir, key.public().log_id());
        let store = Store::open(db, key, Box::new(SeededEntropy::new(1))).unwrap();
        let wal = dir.join("wal");
        std::fs::write(&wal, "").unwrap();
        let scribe = Scribe::new(store, Reserve::default(), anchor);
        let (inbox, writer) = writer(scribe, wal.clone(), Arc::default());
        Written { inbox: Arc::new(inbox), writer: thread::spawn(move || writer.run()), wal }
    }

    impl Written {
        /// Which thread commits a job that this one brings.
        fn committed_by(&self) -> ThreadId {
            bring(&self.inbox, || thread::current().id()).unwrap().recv_timeout(PATIENCE).unwrap().unwrap()
        }

        fn end(self) {
            self.inbox.stop();
            self.writer.join().unwrap();
            std::fs::remove_dir_all(self.wal.parent().unwrap()).unwrap();
        }
    }

    /// Brings a job that appends an entry in order and answers what `work` says.
    fn bring<T: Send + 'static>(
        inbox: &Inbox,
        work: impl Fn() -> T + Send + 'static,
    ) -> Result<mpsc::Receiver<Result<T, WriteError>>, WriteError> {
        let (reply, answer) = sync_channel(1);
        let append = move |store: &mut Store| {
            let record = Record::NotDone { order: Digest::of_parts([]), verb: Verb::GitRead, because: String::new() };
            let entry = Entry { at: Time::from_millis(1), run: None, actor: Actor::Factory, owner: None, record };
            store.append(&Prepared::new(entry)?)?;
            Ok(work())
        };
        let job = Task { class: Class::Ordered, work: append, done: None, last_resort: None, reply };
        inbox.submit(Box::new(job)).map(|()| answer)
    }

    fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < PATIENCE, "{what}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn a_caller_that_finds_the_store_free_commits_by_itself() {
        let ledger = written("free");
        // The writer may be looking at what is due just then.
        eventually("no caller commits by itself", || ledger.committed_by() == thread::current().id());
        ledger.end();
    }

    #[test]
    fn nobody_goes_before_those_who_wait_and_a_caller_that_finds_the_store_taken_waits() {
        let ledger = written("waits");
        let writer = ledger.writer.thread().id();
        ledger.inbox.desk.waiting.fetch_add(1, Ordering::AcqRel);
        assert_eq!(ledger.committed_by(), writer, "somebody waits");
        ledger.inbox.desk.waiting.fetch_sub(1, Ordering::AcqRel);

        let (begun, is_held) = mpsc::channel();
        let (let_go, held) = mpsc::channel::<()>();
        let inbox = Arc::clone(&ledger.inbox);
        let first = thread::spawn(move || {
            let holds = move || {
                begun.send(()).unwrap();
                held.recv_timeout(PATIENCE).unwrap();
            };
            bring(&inbox, holds).unwrap().recv_timeout(PATIENCE).unwrap().unwrap();
        });
        is_held.recv_timeout(PATIENCE).unwrap();
        let second = bring(&ledger.inbox, || thread::current().id()).unwrap();
        let_go.send(()).unwrap();
        first.join().unwrap();
        assert_eq!(second.recv_timeout(PATIENCE).unwrap().unwrap(), writer, "the store was taken");
        ledger.end();
    }

    #[test]
    fn what_a_caller_committed_by_itself_is_synced_and_signed_in_its_time() {
        let ledger = written("due");
        let due = || ledger.inbox.desk.scribe.lock().unwrap().due();
        // At first the writer may not have looked yet what is due; later it sleeps.
        for _ in 0..3 {
            eventually("no caller commits by itself", || ledger.committed_by() == thread::current().id());
            assert!(due()[1], "it is to be signed");
            eventually("the writer sleeps though something is due", || due() == [false; 3]);
        }
        ledger.end();
    }

    #[test]
    fn after_a_sync_that_failed_nothing_more_is_recorded() {
        let ledger = written("failed");
        std::fs::remove_file(&ledger.wal).unwrap();
        // It can be opened and not be synced.
        std::os::unix::fs::symlink("/dev/null", &ledger.wal).unwrap();
        ledger.committed_by();
        let shared = &ledger.inbox.desk.shared;
        eventually("nobody is told", || {
            shared.take_trouble().is_some_and(|told| told.contains("nothing more is recorded"))
        });
        assert!(matches!(bring(&ledger.inbox, || ()), Err(WriteError::Closed)));
        ledger.end();
    }

    #[test]
    fn a_log_that_cannot_be_opened_is_told_and_tried_again() {
        let ledger = written("unsynced");
        std::fs::remove_file(&ledger.wal).unwrap();
        ledger.committed_by();
        let shared = &ledger.inbox.desk.shared;
        eventually("nobody is told", || shared.take_trouble().is_some_and(|told| told.contains("sync the log")));
        eventually("it is not tried again", || shared.take_trouble().is_some_and(|told| told.contains("sync the log")));
        std::fs::write(&ledger.wal, "").unwrap();
        eventually("it stays due", || !ledger.inbox.desk.scribe.lock().unwrap().due()[0]);
        ledger.end();
    }

    #[test]
    fn after_a_job_that_panicked_everybody_is_told_that_the_ledger_is_closed() {
        let ledger = written("panic");
        let inbox = Arc::clone(&ledger.inbox);
        drop(thread::spawn(move || bring(&inbox, || panic!("on purpose")).map(drop)).join());
        eventually("the store is believed after a panic", || match bring(&ledger.inbox, || ()) {
            Ok(answer) => matches!(answer.recv_timeout(PATIENCE), Ok(Err(WriteError::Closed)) | Err(_)),
            Err(error) => matches!(error, WriteError::Closed),
        });
        ledger.inbox.stop();
        drop(ledger.writer.join());
        std::fs::remove_dir_all(ledger.wal.parent().unwrap()).unwrap();
    }
}
