//! A few read-only connections, so that readers never wait for the writer.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::ReadError;

/// How many readers work at once; more wait. The machine has few cores, and each connection keeps a page cache.
const CONNECTIONS_MAX: usize = 4;

/// Connections that cannot write.
#[derive(Debug)]
pub(crate) struct Pool {
    path: PathBuf,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Connection>,
    open: usize,
}

impl Pool {
    /// Connections to the database at `path`.
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), state: Mutex::default(), returned: Condvar::new() }
    }

    /// Reads within one snapshot.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, ReadError>) -> Result<T, ReadError> {
        let db = self.take()?;
        let outcome = snapshot(&db, work);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.idle.push(db);
        self.returned.notify_one();
        outcome
    }

    /// Closes what is idle, so that the writer is the last to close and folds the write-ahead log back.
    pub(crate) fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).idle.clear();
    }

    fn take(&self) -> Result<Connection, ReadError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(db) = state.idle.pop() {
                return Ok(db);
            }
            if state.open < CONNECTIONS_MAX {
                let db = open_read_only(&self.path)?;
                state.open += 1;
                return Ok(db);
            }
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Opens a database so that nothing can be written through it.
pub(crate) fn open_read_only(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.pragma_update(None, "query_only", true)?;
    db.set_prepared_statement_cache_capacity(64);
    plan_once(&db)?;
    Ok(db)
}

/// Has each statement planned when it is prepared. SQLite plans anew whenever what is bound might lead to a better plan, which takes longer
/// than any of our statements.
pub(crate) fn plan_once(db: &Connection) -> rusqlite::Result<()> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn snapshot<T>(db: &Connection, work: impl FnOnce(&Connection) -> Result<T, ReadError>) -> Result<T, ReadError> {
    let transaction = db.unchecked_transaction()?;
    let outcome = work(&transaction);
    transaction.finish()?;
    outcome
}
