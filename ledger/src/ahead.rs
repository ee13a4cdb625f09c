//! Hashing beside reading: while one thread reads rows, another works out the leaf that each must have. Half of what
//! verification costs is hashing, and the order in which entries are judged stays the order of the log.

use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use crate::header::SALT_BYTES;
use crate::merkle::Hash;
use crate::rows::RawRow;

/// Rows in a batch: enough that handing it over costs nothing, few enough that it stays in the processor's cache.
pub(crate) const BATCH_ROWS: usize = 256;

/// Batches under way at once: one is read, one is hashed, one waits.
const BATCHES_AHEAD: usize = 2;

/// Rows that were read, by value: the database reuses its own memory for the next.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    rows: Vec<KeptRow>,
}

#[derive(Debug)]
struct KeptRow {
    seq: u64,
    version: u32,
    at: u64,
    clock_back: bool,
    previous: Hash,
    leaf: Hash,
    salt: [u8; SALT_BYTES],
    run: Option<Range<usize>>,
    kind: Range<usize>,
    actor: Range<usize>,
    owner: Option<Range<usize>>,
    body: Range<usize>,
}

impl Batch {
    /// Keeps a copy of a row.
    pub(crate) fn push(&mut self, row: &RawRow<'_>) {
        let mut keep = |part: &[u8]| {
            let begin = self.bytes.len();
            self.bytes.extend_from_slice(part);
            begin..self.bytes.len()
        };
        let kept = KeptRow {
            seq: row.seq,
            version: row.version,
            at: row.at,
            clock_back: row.clock_back,
            previous: *row.previous,
            leaf: *row.leaf,
            salt: *row.salt,
            run: row.run.map(&mut keep),
            kind: keep(row.kind),
            actor: keep(row.actor),
            owner: row.owner.map(&mut keep),
            body: keep(row.body),
        };
        self.rows.push(kept);
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The rows, in the order they were read.
    pub(crate) fn rows(&self) -> impl Iterator<Item = RawRow<'_>> {
        // Every range was made by `push` for these very bytes.
        let part = |range: &Range<usize>| self.bytes.get(range.clone()).unwrap_or_default();
        self.rows.iter().map(move |kept| RawRow {
            seq: kept.seq,
            run: kept.run.as_ref().map(part),
            previous: &kept.previous,
            kind: part(&kept.kind),
            version: kept.version,
            at: kept.at,
            clock_back: kept.clock_back,
            actor: part(&kept.actor),
            owner: kept.owner.as_ref().map(part),
            salt: &kept.salt,
            body: part(&kept.body),
            leaf: &kept.leaf,
        })
    }
}

/// A batch, and the leaf that each of its rows must have.
pub(crate) type Hashed = (Batch, Vec<Hash>);

/// The other thread. It ends when this is dropped.
pub(crate) struct Ahead {
    read: SyncSender<Batch>,
    hashed: Receiver<Hashed>,
    under_way: usize,
}

impl Ahead {
    /// Starts the thread.
    pub(crate) fn start<'scope>(scope: &'scope Scope<'scope, '_>) -> Self {
        let (read, to_hash) = sync_channel::<Batch>(BATCHES_AHEAD);
        let (done, hashed) = sync_channel(BATCHES_AHEAD);
        scope.spawn(move || {
            for batch in to_hash {
                let leaves = batch.rows().map(|row| row.expected_leaf()).collect();
                if done.send((batch, leaves)).is_err() {
                    return;
                }
            }
        });
        Self { read, hashed, under_way: 0 }
    }

    /// Hands a batch over; returns the oldest one under way when enough are.
    pub(crate) fn push(&mut self, batch: Batch) -> Option<Hashed> {
        // It only fails when the other thread is gone, and then nothing comes back either: `finish` tells.
        self.under_way += usize::from(self.read.send(batch).is_ok());
        if self.under_way > BATCHES_AHEAD { self.pop() } else { None }
    }

    /// The oldest batch under way; none when there is none left.
    pub(crate) fn pop(&mut self) -> Option<Hashed> {
        self.under_way = self.under_way.checked_sub(1)?;
        self.hashed.recv().ok()
    }
}
