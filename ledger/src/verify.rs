//! Verification: reads every entry and holds it against its hash, its chain, the tree and every signed checkpoint.
//!
//! Trusts nothing the database says about itself: the key comes from the caller, the anchor from outside. Names the first
//! entry that is wrong.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, Rows};

use crate::ahead::{Ahead, BATCH_ROWS, Batch, Hashed};
use crate::anchor::Anchor;
use crate::checkpoint::{BadCheckpoint, Checkpoint};
use crate::error::{AnchorProblem, ReadError};
use crate::key::PublicKey;
use crate::ledger::Ledger;
use crate::merkle::{Frontier, Hash, Tree};
use crate::open::DATABASE;
use crate::pool::open_read_only;
use crate::rows::{COLUMNS, RawRow, from_sql};
use crate::{schema, tiles};

/// A log that was found whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogReport {
    /// How many entries it has.
    pub entries: u64,
    /// The root over them.
    pub root: [u8; 32],
    /// How many of them a signed checkpoint covers.
    pub signed: u64,
}

/// What is wrong with a log.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// An entry is not what was appended; all before it are.
    #[error("entry {seq}: {because}")]
    Entry {
        /// The first bad entry.
        seq: u64,
        /// What is wrong with it.
        because: String,
    },
    /// Entries were rewritten together with everything that hangs on them, but not what was signed.
    #[error("entries {from} to {to} are not the ones that were signed")]
    Rewritten {
        /// The first entry in doubt.
        from: u64,
        /// The last entry the signature covers.
        to: u64,
    },
    /// A checkpoint kept in the log is not the log's own.
    #[error("the checkpoint at {size} entries: {source}")]
    Checkpoint {
        /// Where.
        size: u64,
        /// What is wrong with it.
        source: BadCheckpoint,
    },
    /// The log disagrees with what is kept outside it.
    #[error(transparent)]
    Outside(#[from] AnchorProblem),
    /// A projection does not say what the log says; rebuilding it helps.
    #[error("projection `{table}` does not say what the log says")]
    Projection {
        /// Which.
        table: &'static str,
    },
    /// It could not be read at all.
    #[error(transparent)]
    Read(ReadError),
}

impl From<ReadError> for VerifyError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damaged { seq, because } => Self::Entry { seq, because },
            ReadError::Entry { seq, source } => Self::Entry { seq, because: source.to_string() },
            other => Self::Read(other),
        }
    }
}

impl From<rusqlite::Error> for VerifyError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Read(error.into())
    }
}

impl Ledger {
    /// Verifies the log, the anchor and the projections; and, when given, that an earlier checkpoint is part of it.
    pub fn verify(&self, against: Option<&Checkpoint>) -> Result<LogReport, VerifyError> {
        let report = self.verify_log(against)?;
        match self.check_projections()?.first() {
            Some(table) => Err(VerifyError::Projection { table }),
            None => Ok(report),
        }
    }

    /// Verifies the log and the anchor alone: what others rely on.
    pub fn verify_log(&self, against: Option<&Checkpoint>) -> Result<LogReport, VerifyError> {
        let key = self.public_key();
        // The anchor first: the log may only have grown since.
        let anchored = self.anchor().map(|anchor| anchored(anchor, &key)).transpose()?;
        let outside: Vec<&Checkpoint> = anchored.iter().chain(against).collect();
        self.read_verified(|db| verify_log(db, &key, &outside))
    }
}

/// The root over leaves that came from elsewhere, for instance an export.
pub fn root_of(leaves: impl IntoIterator<Item = [u8; 32]>) -> [u8; 32] {
    let mut frontier = Frontier::default();
    leaves.into_iter().for_each(|leaf| frontier.push(0, leaf));
    frontier.root()
}

/// Verifies the log of a state directory that no keeper needs to hold, with the key the caller trusts.
pub fn verify_file(
    state: &Path,
    anchor: &Path,
    key: &PublicKey,
    against: Option<&Checkpoint>,
) -> Result<LogReport, VerifyError> {
    let anchor = Anchor::new(anchor, state, key.log_id());
    let anchored = anchored(&anchor, key)?;
    let db = open_read_only(&state.join(DATABASE))?;
    let outside: Vec<&Checkpoint> = [&anchored].into_iter().chain(against).collect();
    let report = verify_log(&db, key, &outside)?;
    match crate::rebuild::differences(&db)?.first() {
        Some(table) => Err(VerifyError::Projection { table }),
        None => Ok(report),
    }
}

fn anchored(anchor: &Anchor, key: &PublicKey) -> Result<Checkpoint, VerifyError> {
    Ok(anchor.read(key)?.ok_or(AnchorProblem::Missing)?)
}

/// Verifies the log in `db` against its own checkpoints and those from `outside`.
fn verify_log(db: &Connection, key: &PublicKey, outside: &[&Checkpoint]) -> Result<LogReport, VerifyError> {
    let log: Option<String> = schema::meta(db, "log")?;
    if log.as_deref() != Some(key.log_id().as_str()) {
        return Err(AnchorProblem::Replaced { expected: key.log_id().to_string() }.into());
    }
    let mut walk = Walk { db, key, tree: Tree::default(), last_at: 0, chains: BTreeMap::new(), signed: 0 };
    let mut statement = db.prepare(&format!("SELECT {COLUMNS} FROM entry ORDER BY seq"))?;
    let mut rows = statement.query([])?;
    let mut marks = Marks::read(db, outside)?;
    walk.check_marks(&mut marks)?;
    std::thread::scope(|scope| {
        let mut ahead = Ahead::start(scope);
        let (mut read, mut end) = (0, None);
        while end.is_none() {
            let batch;
            (batch, end) = read_batch(&mut rows, read);
            read += batch.len() as u64;
            if let Some(hashed) = ahead.push(batch) {
                walk.check(&hashed, &mut marks)?;
            }
        }
        while let Some(hashed) = ahead.pop() {
            walk.check(&hashed, &mut marks)?;
        }
        // What could not be read comes after everything that could.
        end.unwrap_or(Ok(()))
    })?;
    let found = walk.tree.size();
    if let Some(last) = outside.iter().map(|checkpoint| checkpoint.size()).max().filter(|size| *size > found) {
        return Err(AnchorProblem::Shorter { found, anchored: last }.into());
    }
    if let Some((size, _)) = marks.next {
        return Err(AnchorProblem::Shorter { found, anchored: size }.into());
    }
    tiles::check_count(db, found)?;
    Ok(LogReport { entries: found, root: walk.tree.root(), signed: walk.signed })
}

/// The next rows; and, when there are no more, whether that is the end of the log or damage.
fn read_batch(rows: &mut Rows<'_>, first: u64) -> (Batch, Option<Result<(), VerifyError>>) {
    let mut batch = Batch::default();
    while batch.len() < BATCH_ROWS {
        let seq = first + batch.len() as u64;
        match rows.next() {
            Ok(Some(row)) => match RawRow::read(row, seq) {
                Ok(row) => batch.push(&row),
                Err(damaged) => return (batch, Some(Err(damaged.into()))),
            },
            Ok(None) => return (batch, Some(Ok(()))),
            Err(error) => return (batch, Some(Err(VerifyError::Entry { seq, because: error.to_string() }))),
        }
    }
    (batch, None)
}

/// Where verification stands: everything before is as it was appended.
struct Walk<'a> {
    db: &'a Connection,
    key: &'a PublicKey,
    tree: Tree,
    last_at: u64,
    /// The last leaf of each run; the empty name stands for entries without one.
    chains: BTreeMap<Vec<u8>, Hash>,
    /// How many entries a signature covers.
    signed: u64,
}

impl Walk<'_> {
    fn check(&mut self, (batch, leaves): &Hashed, marks: &mut Marks<'_>) -> Result<(), VerifyError> {
        for (row, leaf) in batch.rows().zip(leaves) {
            self.check_entry(&row, leaf)?;
            self.check_marks(marks)?;
        }
        Ok(())
    }

    /// Checks the next row, which must have the leaf `expected`.
    fn check_entry(&mut self, row: &RawRow<'_>, expected: &Hash) -> Result<(), VerifyError> {
        let seq = self.tree.size();
        let bad = |because: &str| Err(VerifyError::Entry { seq, because: because.to_owned() });
        if row.seq != seq {
            return bad("it is missing");
        }
        if expected != row.leaf {
            return bad("it is not the entry that was appended");
        }
        if row.clock_back != (row.at < self.last_at) {
            return bad("its clock flag is wrong");
        }
        self.last_at = row.at;
        if self.follow(row) != *row.previous {
            return bad("it does not follow the entry before it in its run");
        }
        for tile in self.tree.push(*row.leaf) {
            let stored = tiles::Stored { db: self.db }.tile(tile.level, tile.index)?;
            if stored.as_ref() != Some(&tile.hashes) {
                return bad("the tile that ends with it is damaged");
            }
        }
        Ok(())
    }

    /// Continues the chain of the row's run; returns the leaf it continues.
    fn follow(&mut self, row: &RawRow<'_>) -> Hash {
        // No run is named by the empty text.
        let run = row.run.unwrap_or_default();
        match self.chains.get_mut(run) {
            Some(last) => std::mem::replace(last, *row.leaf),
            None => {
                self.chains.insert(run.to_vec(), *row.leaf);
                Hash::default()
            }
        }
    }

    /// Holds the tree so far against every checkpoint of exactly this size.
    fn check_marks(&mut self, marks: &mut Marks<'_>) -> Result<(), VerifyError> {
        let size = self.tree.size();
        let rewritten = VerifyError::Rewritten { from: self.signed, to: size.saturating_sub(1) };
        if marks.outside.iter().any(|checkpoint| checkpoint.size() == size && *checkpoint.root() != self.tree.root()) {
            return Err(rewritten);
        }
        if marks.next.as_ref().is_none_or(|(next, _)| *next != size) {
            return Ok(());
        }
        let Some((_, note)) = marks.next.take() else { return Ok(()) };
        let checkpoint =
            Checkpoint::parse(&note, self.key).map_err(|source| VerifyError::Checkpoint { size, source })?;
        if checkpoint.size() != size {
            return Err(VerifyError::Checkpoint { size, source: BadCheckpoint::Form });
        }
        if *checkpoint.root() != self.tree.root() {
            return Err(rewritten);
        }
        self.signed = size;
        marks.advance(self.db, size)
    }
}

/// The checkpoints ahead.
struct Marks<'a> {
    outside: &'a [&'a Checkpoint],
    next: Option<(u64, String)>,
}

impl<'a> Marks<'a> {
    fn read(db: &Connection, outside: &'a [&'a Checkpoint]) -> Result<Self, VerifyError> {
        let mut marks = Self { outside, next: None };
        marks.find(db, -1)?;
        Ok(marks)
    }

    fn advance(&mut self, db: &Connection, after: u64) -> Result<(), VerifyError> {
        self.find(db, crate::rows::to_sql(after))
    }

    fn find(&mut self, db: &Connection, after: i64) -> Result<(), VerifyError> {
        let mut statement =
            db.prepare_cached("SELECT size, note FROM checkpoint WHERE size > ?1 ORDER BY size LIMIT 1")?;
        let mut rows = statement.query([after])?;
        self.next = match rows.next()? {
            None => None,
            Some(row) => {
                let size = from_sql(row.get(0)?);
                let note = row
                    .get_ref(1)?
                    .as_str()
                    .map_err(|_| VerifyError::Checkpoint { size, source: BadCheckpoint::Form })?;
                Some((size, note.to_owned()))
            }
        };
        Ok(())
    }
}
