//! The tables, and what number their layout has.
//!
//! Three sorts, never mixed: the log (`entry`, `tile`, `checkpoint`), which is the truth; projections (`p_…`), which
//! replay rebuilds; and working state (`claim`, `proposal_number`, `sealed`), which no entry holds.

use rusqlite::{Connection, OptionalExtension as _, params};

/// The layout of the log and the working state. A newer one is refused.
pub(crate) const FORMAT: i64 = 1;
/// The layout and meaning of the projections. Any other number means: rebuild.
pub(crate) const PROJECTIONS: i64 = 4;

const LOG: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
CREATE TABLE entry (
    seq INTEGER PRIMARY KEY,
    run TEXT,
    previous BLOB NOT NULL,
    kind TEXT NOT NULL,
    version INTEGER NOT NULL,
    at INTEGER NOT NULL,
    clock_back INTEGER NOT NULL,
    actor TEXT NOT NULL,
    owner TEXT,
    salt BLOB NOT NULL,
    body TEXT NOT NULL,
    leaf BLOB NOT NULL
) STRICT;
CREATE INDEX entry_of_run ON entry (run, seq) WHERE run IS NOT NULL;
CREATE INDEX entry_outside ON entry (seq) WHERE run IS NULL;
CREATE TABLE tile (level INTEGER, place INTEGER, hashes BLOB NOT NULL, PRIMARY KEY (level, place)) STRICT;
CREATE TABLE checkpoint (size INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT;
CREATE TABLE claim (run TEXT PRIMARY KEY, epoch INTEGER NOT NULL, until INTEGER) STRICT, WITHOUT ROWID;
CREATE TABLE proposal_number (
    repo TEXT, number INTEGER, run TEXT NOT NULL, PRIMARY KEY (repo, number), UNIQUE (repo, run)
) STRICT, WITHOUT ROWID;
CREATE TABLE sealed (id TEXT PRIMARY KEY, version INTEGER NOT NULL, bytes BLOB NOT NULL) STRICT, WITHOUT ROWID;
";

const PROJECTION_TABLES: &str = "
DROP TABLE IF EXISTS p_trigger;
DROP TABLE IF EXISTS p_run;
DROP TABLE IF EXISTS p_lease;
DROP TABLE IF EXISTS p_deed;
DROP TABLE IF EXISTS p_order;
DROP TABLE IF EXISTS p_approval;
DROP TABLE IF EXISTS p_proposal;
DROP TABLE IF EXISTS p_halt;
DROP TABLE IF EXISTS p_finding;
DROP TABLE IF EXISTS p_tenure;
DROP TABLE IF EXISTS p_behaviour;
CREATE TABLE p_trigger (
    id TEXT PRIMARY KEY, seq INTEGER NOT NULL UNIQUE, repo TEXT NOT NULL, agent TEXT NOT NULL, run TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX p_trigger_queued ON p_trigger (seq) WHERE run IS NULL;
CREATE TABLE p_run (
    id TEXT PRIMARY KEY, seq INTEGER NOT NULL UNIQUE, trigger_id TEXT NOT NULL, repo TEXT NOT NULL, agent TEXT NOT NULL,
    intent TEXT, stage TEXT NOT NULL, outcome TEXT, because TEXT, attempts INTEGER NOT NULL,
    began_at INTEGER NOT NULL, changed_at INTEGER NOT NULL,
    wait_approval TEXT, wait_order TEXT, wait_since INTEGER, wait_until INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX p_run_open ON p_run (seq) WHERE stage <> 'settled';
CREATE TABLE p_lease (id TEXT PRIMARY KEY, run TEXT NOT NULL, may_live INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX p_lease_live ON p_lease (id) WHERE may_live = 1;
CREATE TABLE p_deed (run TEXT, order_digest BLOB, seq INTEGER NOT NULL, PRIMARY KEY (run, order_digest))
    STRICT, WITHOUT ROWID;
CREATE TABLE p_order (order_digest BLOB PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE p_approval (
    id TEXT PRIMARY KEY, seq INTEGER NOT NULL, run TEXT, order_digest BLOB NOT NULL, asked_at INTEGER NOT NULL,
    until INTEGER NOT NULL, state TEXT NOT NULL, by_uid INTEGER, usable_until INTEGER, answer_seq INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX p_approval_order ON p_approval (order_digest);
CREATE TABLE p_proposal (
    repo TEXT, number INTEGER, run TEXT, opened_seq INTEGER NOT NULL, state TEXT NOT NULL, opened_at INTEGER NOT NULL,
    merged_commit TEXT, merged_at INTEGER, PRIMARY KEY (repo, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE p_halt (scope TEXT PRIMARY KEY, at INTEGER NOT NULL, by TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE p_finding (
    seq INTEGER PRIMARY KEY, run TEXT, at INTEGER NOT NULL, code TEXT NOT NULL, detail TEXT NOT NULL
) STRICT;
CREATE TABLE p_tenure (of TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE p_behaviour (agent TEXT, sort TEXT, seq INTEGER, PRIMARY KEY (agent, sort, seq)) STRICT, WITHOUT ROWID;
";

/// Every projection, for rebuilding and comparing.
pub(crate) const PROJECTION_NAMES: [&str; 11] = [
    "p_trigger",
    "p_run",
    "p_lease",
    "p_deed",
    "p_order",
    "p_approval",
    "p_proposal",
    "p_halt",
    "p_finding",
    "p_tenure",
    "p_behaviour",
];

/// Creates the tables of an empty log.
pub(crate) fn create(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch(LOG)?;
    set_meta(db, "format", FORMAT)?;
    reset_projections(db)
}

/// Empties every projection and gives it today's layout.
pub(crate) fn reset_projections(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch(PROJECTION_TABLES)?;
    set_meta(db, "projections", PROJECTIONS)
}

/// Whether there is a log at all.
pub(crate) fn exists(db: &Connection) -> rusqlite::Result<bool> {
    db.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'meta')", [], |row| row.get(0))
}

/// A fact about the whole log.
pub(crate) fn meta<T: rusqlite::types::FromSql>(db: &Connection, key: &str) -> rusqlite::Result<Option<T>> {
    db.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()
}

/// Sets a fact about the whole log.
pub(crate) fn set_meta(db: &Connection, key: &str, value: impl rusqlite::ToSql) -> rusqlite::Result<()> {
    db.execute(
        "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2",
        params![key, value],
    )
    .map(drop)
}
