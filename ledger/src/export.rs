//! Export: the log, or one run of it, as lines of JSON that a stranger's program can verify with SHA-256 and Ed25519.
//!
//! First line: which log, its key, a signed checkpoint, how many entries follow. Then one line per entry with everything
//! its hash is made of. A whole log proves itself by its root; the entries of one run bring their audit paths.

use std::io::Write;

use rusqlite::Connection;
use selvedge_domain::RunId;
use serde::Serialize;

use crate::checkpoint::Checkpoint;
use crate::error::{ReadError, WriteError};
use crate::ledger::Ledger;
use crate::merkle::inclusion;
use crate::rows::{RawRow, from_sql, to_sql, visit_rows};
use crate::tiles::Stored;

/// What to export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportScope {
    /// Every entry.
    All,
    /// The entries of one run, each with its audit path.
    Run(RunId),
}

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The log could not be signed.
    #[error("cannot sign the log: {0}")]
    Sign(#[from] WriteError),
    /// The log could not be read, or the export not be written.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// The layout of an export.
const VERSION: u32 = 1;
/// Entries read at a time: enough that beginning to read costs little, few enough to be read again when they are long.
const ROWS: usize = 32;
/// Bytes of a page after which the next entry begins another. An entry may be longer than a page; no export is held whole.
const PAGE_BYTES: usize = 256 << 10;

#[derive(Serialize)]
struct HeadLine<'a> {
    selvedge_export: u32,
    log: &'a str,
    public_key: String,
    verifier_key: String,
    checkpoint: &'a str,
    run: Option<&'a str>,
    entries: u64,
}

#[derive(Serialize)]
struct EntryLine<'a> {
    seq: u64,
    run: Option<&'a str>,
    previous: String,
    kind: &'a str,
    version: u32,
    at: u64,
    clock_back: bool,
    actor: &'a str,
    owner: Option<&'a str>,
    salt: String,
    body: &'a str,
    leaf: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<Vec<String>>,
}

impl Ledger {
    /// Signs the log and writes it, up to that checkpoint, to `to`. Returns the checkpoint.
    ///
    /// It is read page by page and written in between, so that whoever takes long to read keeps nobody from the log.
    pub fn export(&self, scope: &ExportScope, to: &mut dyn Write) -> Result<Checkpoint, ExportError> {
        let checkpoint = self.checkpoint()?;
        let run = match scope {
            ExportScope::All => None,
            ExportScope::Run(run) => Some(run),
        };
        self.write_head(&checkpoint, run, to)?;
        let mut from = 0;
        while from < checkpoint.size() {
            let mut page = Page { from, size: checkpoint.size(), run, lines: Vec::new() };
            let next = self.read(|db| page.fill(db))?;
            to.write_all(&page.lines).map_err(ReadError::from)?;
            let Some(next) = next else { break };
            from = next;
        }
        to.flush().map_err(ReadError::from)?;
        Ok(checkpoint)
    }

    fn write_head(&self, checkpoint: &Checkpoint, run: Option<&RunId>, to: &mut dyn Write) -> Result<(), ReadError> {
        let entries: i64 = self.read(|db| {
            Ok(db.query_row(
                "SELECT count(*) FROM entry WHERE seq < ?1 AND (?2 IS NULL OR run = ?2)",
                rusqlite::params![to_sql(checkpoint.size()), run.map(RunId::as_str)],
                |row| row.get(0),
            )?)
        })?;
        let key = self.public_key();
        let log = key.log_id();
        let head = HeadLine {
            selvedge_export: VERSION,
            log: log.as_str(),
            public_key: hex(key.as_bytes()),
            verifier_key: key.verifier_key(),
            checkpoint: checkpoint.note(),
            run: run.map(RunId::as_str),
            entries: from_sql(entries),
        };
        write_line(to, &head)
    }
}

/// Some entries as lines.
struct Page<'a> {
    from: u64,
    /// How many entries the checkpoint covers.
    size: u64,
    run: Option<&'a RunId>,
    lines: Vec<u8>,
}

impl Page<'_> {
    /// Writes entries until the page is full; returns where the next one begins, or none at the end.
    fn fill(&mut self, db: &Connection) -> Result<Option<u64>, ReadError> {
        let mut left_off = None;
        let next = visit_rows(db, self.from, self.run, ROWS, |row| {
            if row.seq >= self.size || left_off.is_some() {
                return Ok(());
            }
            if self.lines.len() >= PAGE_BYTES {
                left_off = Some(row.seq);
                return Ok(());
            }
            let path = self.run.map(|_| audit_path(db, row.seq, self.size)).transpose()?;
            write_line(&mut self.lines, &entry_line(&row, path)?)
        })?;
        Ok(left_off.or(next))
    }
}

fn audit_path(db: &Connection, seq: u64, size: u64) -> Result<Vec<String>, ReadError> {
    Ok(inclusion(&Stored { db }, seq, size)?.iter().map(|hash| hex(hash)).collect())
}

fn entry_line<'a>(row: &RawRow<'a>, path: Option<Vec<String>>) -> Result<EntryLine<'a>, ReadError> {
    let damaged = || ReadError::Damaged { seq: row.seq, because: "it holds text that is not UTF-8".to_owned() };
    let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).map_err(|_| damaged());
    Ok(EntryLine {
        seq: row.seq,
        run: row.run.map(text).transpose()?,
        previous: hex(row.previous),
        kind: text(row.kind)?,
        version: row.version,
        at: row.at,
        clock_back: row.clock_back,
        actor: text(row.actor)?,
        owner: row.owner.map(text).transpose()?,
        salt: hex(row.salt),
        body: text(row.body)?,
        leaf: hex(row.leaf),
        path,
    })
}

fn write_line(to: &mut dyn Write, line: &impl Serialize) -> Result<(), ReadError> {
    serde_json::to_writer(&mut *to, line).map_err(std::io::Error::from)?;
    Ok(to.write_all(b"\n")?)
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
