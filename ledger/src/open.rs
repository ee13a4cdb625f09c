//! Opening a state directory: lock it, check it against what is kept outside, recover what was left behind.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rusqlite::Connection;

use crate::anchor::Anchor;
use crate::batch;
use crate::checkpoint::Checkpoint;
use crate::error::{AnchorProblem, OpenError, ReadError};
use crate::key::{Entropy, LogKey, OsEntropy};
use crate::ledger::{Backend, FileBackend, Ledger, MemoryBackend};
use crate::pool::Pool;
use crate::reserve::Reserve;
use crate::rows::from_sql;
use crate::shared::Shared;
use crate::store::Store;
use crate::writer::{Scribe, writer};
use crate::{rebuild, schema, tiles};

/// The database within the state directory.
pub(crate) const DATABASE: &str = "ledger.db";
const WAL: &str = "ledger.db-wal";
const KEY: &str = "log.key";
const LOCK: &str = "ledger.lock";
const RESERVE: &str = "reserve.log";

/// How the write-ahead log is kept: 16 MiB before it is folded back, so that folding, which syncs twice, is rare.
const WAL_PAGES: i64 = 4096;

/// How to open a ledger.
pub struct OpenOptions {
    pub(crate) entropy: Box<dyn Entropy>,
    pub(crate) adopt: bool,
}

impl Default for OpenOptions {
    /// Randomness from the system; a log whose anchor is gone is refused.
    fn default() -> Self {
        Self { entropy: Box::new(OsEntropy), adopt: false }
    }
}

impl std::fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenOptions").field("adopt", &self.adopt).finish_non_exhaustive()
    }
}

impl Ledger {
    /// Opens the ledger in `dir`, or makes one there. `anchor` is a directory elsewhere that remembers how long each
    /// log was; what is shorter than that, or another history, is refused.
    pub fn open(dir: &Path, anchor: &Path, options: OpenOptions) -> Result<Self, OpenError> {
        let OpenOptions { mut entropy, adopt } = options;
        let dir = prepare_dir(dir)?;
        let lock = lock(&dir)?;
        let key_path = dir.join(KEY);
        let key = LogKey::open(&key_path, &mut *entropy).map_err(|error| OpenError::from_io(&key_path, error))?;
        let anchor = Anchor::new(anchor, &dir, key.public().log_id());
        let db = open_database(&dir, &key, &anchor)?;
        check_anchor(&dir, &db, &key, &anchor, adopt)?;
        let in_dir = |error| read_error(&dir, error);
        if schema::meta::<i64>(&db, "projections").map_err(|e| in_dir(e.into()))? != Some(schema::PROJECTIONS) {
            rebuild_in_transaction(&db).map_err(in_dir)?;
        }
        let moved: Option<i64> = schema::meta(&db, "reserve_moved").map_err(|error| in_dir(error.into()))?;
        let reserve_path = dir.join(RESERVE);
        let mut reserve = Reserve::open(&reserve_path, from_sql(moved.unwrap_or(0)))
            .map_err(|error| OpenError::from_io(&reserve_path, error))?;
        let public = key.public();
        let mut store = Store::open(db, key, entropy).map_err(in_dir)?;
        batch::move_reserve(&mut store, &mut reserve);

        let shared = Arc::new(Shared::default());
        shared.publish(&store, reserve.pending());
        let scribe = Scribe::new(store, reserve, anchor.clone());
        let (jobs, writer) = writer(scribe, dir.join(WAL), Arc::clone(&shared));
        let writer = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| OpenError::from_io(&dir, error))?;
        let pool = Pool::new(&dir.join(DATABASE));
        let backend = FileBackend { jobs, pool, writer: Mutex::new(Some(writer)), anchor, _lock: lock };
        Ok(Self::new(shared, public, Backend::File(backend)))
    }

    /// A ledger that lives and dies with the process: the same code, without threads, files or promises.
    pub fn in_memory(mut entropy: Box<dyn Entropy>) -> Result<Self, OpenError> {
        let nowhere = Path::new(":memory:");
        let key = LogKey::seed(&mut *entropy)
            .and_then(|seed| LogKey::from_seed(&seed))
            .map_err(|error| OpenError::from_io(nowhere, error))?;
        let db = Connection::open_in_memory().map_err(|error| OpenError::from_sqlite(nowhere, &error))?;
        let public = key.public();
        schema::create(&db)
            .and_then(|()| schema::set_meta(&db, "log", public.log_id().as_str()))
            .map_err(|error| OpenError::from_sqlite(nowhere, &error))?;
        let store = Store::open(db, key, entropy).map_err(|error| read_error(nowhere, error))?;
        let memory = MemoryBackend { store, reserve: Reserve::default(), full: false };
        Ok(Self::new(Arc::default(), public, Backend::Memory(Box::new(Mutex::new(memory)))))
    }
}

fn prepare_dir(dir: &Path) -> Result<PathBuf, OpenError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.and_then(|()| fs::canonicalize(dir)).map_err(|error| OpenError::from_io(dir, error))
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(LOCK);
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| OpenError::from_io(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(OpenError::from_io(&path, error)),
    }
}

/// Opens the database, or makes it; the anchor is written first, so that no log ever lacks one.
fn open_database(dir: &Path, key: &LogKey, anchor: &Anchor) -> Result<Connection, OpenError> {
    let sqlite = |error: rusqlite::Error| OpenError::from_sqlite(dir, &error);
    let db = Connection::open(dir.join(DATABASE)).map_err(sqlite)?;
    db.pragma_update(None, "journal_mode", "WAL").map_err(sqlite)?;
    db.pragma_update(None, "wal_autocheckpoint", WAL_PAGES).map_err(sqlite)?;
    // A sealed secret that is deleted must not linger in a free page.
    db.pragma_update(None, "secure_delete", true).map_err(sqlite)?;
    if !schema::exists(&db).map_err(sqlite)? {
        refuse_replaced(dir, anchor)?;
        let kept = anchor.read(&key.public()).map_err(|problem| anchor_error(dir, anchor, problem))?;
        if let Some(kept) = kept.filter(|kept| kept.size() > 0) {
            return Err(anchor_error(dir, anchor, AnchorProblem::Shorter { found: 0, anchored: kept.size() }));
        }
        let empty = Checkpoint::sign(key, 0, crate::merkle::Tree::default().root());
        anchor.write(&empty).map_err(|error| OpenError::from_io(&anchor.path(), error))?;
        db.pragma_update(None, "synchronous", "FULL").map_err(sqlite)?;
        let transaction = db.unchecked_transaction().map_err(sqlite)?;
        schema::create(&transaction).map_err(sqlite)?;
        schema::set_meta(&transaction, "log", key.public().log_id().as_str()).map_err(sqlite)?;
        transaction.commit().map_err(sqlite)?;
        // The names of new files are only safe once their directory is.
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| OpenError::from_io(dir, error))?;
    }
    let found: i64 = schema::meta(&db, "format").map_err(sqlite)?.unwrap_or(0);
    if found > schema::FORMAT {
        return Err(OpenError::NewerFormat { dir: dir.to_owned(), found, known: schema::FORMAT });
    }
    Ok(db)
}

/// Refuses a log that is shorter than it was, another one, or without anything that vouches for it.
fn check_anchor(dir: &Path, db: &Connection, key: &LogKey, anchor: &Anchor, adopt: bool) -> Result<(), OpenError> {
    let log: Option<String> = schema::meta(db, "log").map_err(|error| OpenError::from_sqlite(dir, &error))?;
    if log.as_deref() != Some(key.public().log_id().as_str()) {
        refuse_replaced(dir, anchor)?;
        let because = format!("its log is not the one that `{KEY}` signs");
        return Err(OpenError::Corrupt { dir: dir.to_owned(), because });
    }
    refuse_replaced(dir, anchor)?;
    let size = db
        .query_row("SELECT coalesce(max(seq) + 1, 0) FROM entry", [], |row| row.get(0))
        .map(from_sql)
        .map_err(|error| OpenError::from_sqlite(dir, &error))?;
    let problem = match anchor.read(&key.public()) {
        Err(problem) => Some(problem),
        Ok(None) if size == 0 || adopt => None,
        Ok(None) => Some(AnchorProblem::Missing),
        Ok(Some(kept)) if kept.size() > size => Some(AnchorProblem::Shorter { found: size, anchored: kept.size() }),
        Ok(Some(kept)) => {
            let root = tiles::root_at(db, kept.size()).map_err(|error| read_error(dir, error))?;
            (root != *kept.root()).then_some(AnchorProblem::Forked { anchored: kept.size() })
        }
    };
    problem.map_or(Ok(()), |problem| Err(anchor_error(dir, anchor, problem)))
}

fn refuse_replaced(dir: &Path, anchor: &Anchor) -> Result<(), OpenError> {
    let other = anchor.other_log_here().map_err(|error| OpenError::from_io(&anchor.path(), error))?;
    let Some(path) = other else { return Ok(()) };
    let expected = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Err(OpenError::Anchor { dir: dir.to_owned(), anchor: path, problem: AnchorProblem::Replaced { expected } })
}

fn anchor_error(dir: &Path, anchor: &Anchor, problem: AnchorProblem) -> OpenError {
    OpenError::Anchor { dir: dir.to_owned(), anchor: anchor.path(), problem }
}

fn read_error(dir: &Path, error: ReadError) -> OpenError {
    match error {
        ReadError::Storage(error) => OpenError::from_sqlite(dir, &error),
        ReadError::Io(error) => OpenError::from_io(dir, error),
        other => OpenError::Corrupt { dir: dir.to_owned(), because: other.to_string() },
    }
}

fn rebuild_in_transaction(db: &Connection) -> Result<(), ReadError> {
    let transaction = db.unchecked_transaction()?;
    rebuild::rebuild(&transaction)?;
    transaction.commit()?;
    Ok(())
}
