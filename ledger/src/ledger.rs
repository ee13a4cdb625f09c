//! The handle everyone shares: brings writes to the store, reads from the pool, ends the writer when dropped.

use std::fmt;
use std::fs::File;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use selvedge_authority::{Class, Entry};
use selvedge_domain::{Digest, ProposalNumber, RepoName, RunId, Time};

use crate::anchor::Anchor;
use crate::batch::{self, Answer, Job, Task};
use crate::checkpoint::Checkpoint;
use crate::error::{ReadError, Refusal, StepError, WriteError};
use crate::key::PublicKey;
use crate::pool::Pool;
use crate::queue::{self, Claim};
use crate::reserve::Reserve;
use crate::shared::Shared;
use crate::store::{Prepared, Store};
use crate::verify::VerifyError;
use crate::writer::Inbox;
use crate::{proposals, rebuild, tiles};

/// The log, the queue, the projections. Cheap to clone; the last clone signs, syncs and closes.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    public: PublicKey,
    backend: Backend,
}

pub(crate) enum Backend {
    File(FileBackend),
    Memory(Box<Mutex<MemoryBackend>>),
}

/// A database file with its writer.
pub(crate) struct FileBackend {
    pub(crate) jobs: Inbox,
    pub(crate) pool: Pool,
    pub(crate) writer: Mutex<Option<JoinHandle<()>>>,
    pub(crate) anchor: Anchor,
    /// Held as long as the ledger is open.
    pub(crate) _lock: File,
}

/// A database in memory, written by whoever asks.
pub(crate) struct MemoryBackend {
    pub(crate) store: Store,
    pub(crate) reserve: Reserve,
    /// Whether the simulated disk is full.
    pub(crate) full: bool,
}

/// How long the log is and what its root is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogHead {
    /// How many entries there are.
    pub size: u64,
    /// The root over them.
    pub root: [u8; 32],
}

impl Ledger {
    pub(crate) fn new(shared: Arc<Shared>, public: PublicKey, backend: Backend) -> Self {
        Self { inner: Arc::new(Inner { shared, public, backend }) }
    }

    /// Appends `entry`; when this returns it is as safe as `class` promises. Returns its place in the log, or `u64::MAX` for
    /// an act that takes authority away and lies in the reserve until there is room.
    pub fn append_entry(&self, entry: Entry, class: Class) -> Result<u64, WriteError> {
        self.append_fenced(entry, class, None)
    }

    /// Appends `entry` for whoever holds `claim`; without one, for the factory at large.
    pub(crate) fn append_fenced(&self, entry: Entry, class: Class, claim: Option<Claim>) -> Result<u64, WriteError> {
        let prepared = Prepared::new(entry)?;
        let last_resort = batch::last_resort(&prepared, || u64::MAX);
        self.write_with(class, last_resort, move |store| {
            if let Some(claim) = &claim {
                queue::check_fence(store, claim)?;
                if prepared.entry.run.as_ref() != Some(&claim.run) {
                    return Err(Refusal::Fenced { run: claim.run.clone() }.into());
                }
            }
            store.append(&prepared)
        })
    }

    /// The number of `run`'s proposal in `repo`. Asking again gives the same one; no other run ever gets it.
    pub fn proposal_number(&self, repo: &RepoName, run: &RunId) -> Result<ProposalNumber, WriteError> {
        let (repo, run) = (repo.clone(), run.clone());
        self.write(Class::Durable, move |store| proposals::allocate(&store.db, &repo, &run))
    }

    /// How long the log is and what its root is.
    pub fn head(&self) -> Result<LogHead, ReadError> {
        self.read(|db| {
            let size = db.query_row("SELECT coalesce(max(seq) + 1, 0) FROM entry", [], |row| row.get(0))?;
            let size = crate::rows::from_sql(size);
            Ok(LogHead { size, root: tiles::root_at(db, size)? })
        })
    }

    /// Signs the log as it is now. The anchor follows within a second.
    pub fn checkpoint(&self) -> Result<Checkpoint, WriteError> {
        self.write(Class::Durable, |store| store.checkpoint())
    }

    /// The key that this log's checkpoints are verified with.
    pub fn public_key(&self) -> PublicKey {
        self.inner.public
    }

    /// The time the last entry bears; whoever sees an earlier one now knows that the clock was set back.
    pub fn last_at(&self) -> Option<Time> {
        self.inner.shared.last_at()
    }

    /// Waits until there are more than `seq` entries or `timeout` has passed; returns how many there are.
    pub fn wait_after(&self, seq: u64, timeout: Duration) -> u64 {
        self.inner.shared.wait_after(seq, timeout)
    }

    /// What went wrong since last asked where no caller waited for the answer: signing, syncing, anchoring.
    pub fn take_trouble(&self) -> Option<String> {
        self.inner.shared.take_trouble()
    }

    /// Throws the projections away and makes them again from the log.
    pub fn rebuild_projections(&self) -> Result<(), WriteError> {
        self.write(Class::Durable, |store| {
            rebuild::rebuild(&store.db)?;
            // Memory may hold what a damaged projection said.
            Ok(store.reload()?)
        })
    }

    /// The projections that differ from what the log says; none when all is well.
    pub fn check_projections(&self) -> Result<Vec<&'static str>, ReadError> {
        self.read(rebuild::differences)
    }

    /// Whether somebody said yes to this order.
    pub(crate) fn is_granted(&self, order: &Digest) -> bool {
        self.inner.shared.is_granted(order)
    }

    /// Acts that lie in the reserve because the log could not be written.
    pub(crate) fn reserved(&self) -> Vec<Entry> {
        self.inner.shared.reserved()
    }

    /// Has it written and waits until it is as safe as `class` promises.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        class: Class,
        work: impl FnMut(&mut Store) -> Result<T, StepError> + Send + 'static,
    ) -> Result<T, WriteError> {
        self.write_with(class, None, work)
    }

    fn write_with<T: Send + 'static>(
        &self,
        class: Class,
        last_resort: Option<(Prepared, fn() -> T)>,
        work: impl FnMut(&mut Store) -> Result<T, StepError> + Send + 'static,
    ) -> Result<T, WriteError> {
        let (reply, answer) = sync_channel(1);
        let job: Box<dyn Job> = Box::new(Task { class, work, done: None, last_resort, reply });
        match &self.inner.backend {
            Backend::File(file) => file.jobs.submit(job)?,
            Backend::Memory(memory) => {
                let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                memory.write(&self.inner.shared, job);
            }
        }
        answer.recv().map_err(|_| WriteError::Closed)?
    }

    /// Reads within one snapshot.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, ReadError>) -> Result<T, ReadError> {
        match &self.inner.backend {
            Backend::File(file) => file.pool.read(work),
            Backend::Memory(memory) => work(&memory.lock().unwrap_or_else(PoisonError::into_inner).store.db),
        }
    }

    /// Reads within one snapshot, for whoever tells apart more than reading errors.
    pub(crate) fn read_verified<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, VerifyError>,
    ) -> Result<T, VerifyError> {
        self.read(|db| Ok(work(db)))?
    }

    /// What remembers this log outside its directory.
    pub(crate) fn anchor(&self) -> Option<&Anchor> {
        match &self.inner.backend {
            Backend::File(file) => Some(&file.anchor),
            Backend::Memory(_) => None,
        }
    }

    /// The backend in memory, when that is what this is.
    pub(crate) fn with_memory<T>(&self, work: impl FnOnce(&mut MemoryBackend) -> T) -> Option<T> {
        let Backend::Memory(memory) = &self.inner.backend else { return None };
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        let value = work(&mut memory);
        memory.publish(&self.inner.shared);
        Some(value)
    }
}

impl MemoryBackend {
    fn write(&mut self, shared: &Shared, job: Box<dyn Job>) {
        if !self.full {
            batch::commit(&mut self.store, &mut self.reserve, shared, vec![job]);
            return;
        }
        let kept = job.last_resort().is_some_and(|prepared| self.reserve.keep(&prepared.entry).is_ok());
        self.publish(shared);
        job.answer(if kept { Answer::Kept } else { Answer::Failed("the disk is full".to_owned()) });
    }

    fn publish(&self, shared: &Shared) {
        shared.publish(&self.store, self.reserve.pending());
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Backend::File(file) = &self.backend {
            file.pool.close();
            file.jobs.stop();
            let writer = file.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(writer.map(JoinHandle::join));
        }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ledger({})", self.inner.public.log_id())
    }
}
