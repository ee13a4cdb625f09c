//! Entries as rows: read with every column checked, so that a damaged one is named and never misread.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Row};
use selvedge_authority::Entry;
use selvedge_domain::{Actor, Digest, Owner, RunId, Time};

use crate::entry;
use crate::error::ReadError;
use crate::header::{Header, SALT_BYTES, commitment};
use crate::merkle::Hash;

/// The columns, in the order [`StoredRow::read`] expects.
pub(crate) const COLUMNS: &str = "seq, run, previous, kind, version, at, clock_back, actor, owner, salt, body, leaf";

/// An entry as the log holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its place in the log, counted from 0.
    pub seq: u64,
    /// What was recorded.
    pub entry: Entry,
    /// Whether an earlier entry bears a later time: the clock had been set back.
    pub clock_back: bool,
    /// The hash that stands for it in the log.
    pub leaf: Digest,
}

/// One row of `entry`, as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredRow {
    pub(crate) seq: u64,
    pub(crate) run: Option<Vec<u8>>,
    pub(crate) previous: Hash,
    pub(crate) kind: Vec<u8>,
    pub(crate) version: u32,
    pub(crate) at: u64,
    pub(crate) clock_back: bool,
    pub(crate) actor: Vec<u8>,
    pub(crate) owner: Option<Vec<u8>>,
    pub(crate) salt: [u8; SALT_BYTES],
    pub(crate) body: Vec<u8>,
    pub(crate) leaf: Hash,
}

/// The column that does not hold what it should.
type BadColumn = &'static str;

impl StoredRow {
    /// Reads a row of [`COLUMNS`]; a damaged column is named.
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Result<Self, BadColumn>> {
        let value = |at: usize| row.get_ref(at);
        Ok(Self::from_values([
            value(0)?,
            value(1)?,
            value(2)?,
            value(3)?,
            value(4)?,
            value(5)?,
            value(6)?,
            value(7)?,
            value(8)?,
            value(9)?,
            value(10)?,
            value(11)?,
        ]))
    }

    fn from_values(values: [ValueRef<'_>; 12]) -> Result<Self, BadColumn> {
        let [seq, run, previous, kind, version, at, clock_back, actor, owner, salt, body, leaf] = values;
        Ok(Self {
            seq: number(seq).ok_or("seq")?,
            run: optional(run).ok_or("run")?,
            previous: array(previous).ok_or("previous")?,
            kind: text(kind).ok_or("kind")?,
            version: number(version).and_then(|n| u32::try_from(n).ok()).ok_or("version")?,
            at: number(at).ok_or("at")?,
            clock_back: match clock_back {
                ValueRef::Integer(0) => false,
                ValueRef::Integer(1) => true,
                _ => return Err("clock_back"),
            },
            actor: text(actor).ok_or("actor")?,
            owner: optional(owner).ok_or("owner")?,
            salt: array(salt).ok_or("salt")?,
            body: text(body).ok_or("body")?,
            leaf: array(leaf).ok_or("leaf")?,
        })
    }

    /// The leaf this row must have.
    pub(crate) fn expected_leaf(&self) -> Hash {
        Header {
            seq: self.seq,
            run: self.run.as_deref(),
            previous: &self.previous,
            kind: &self.kind,
            version: self.version,
            at: self.at,
            clock_back: self.clock_back,
            actor: &self.actor,
            owner: self.owner.as_deref(),
            commitment: commitment(&self.salt, &self.body),
        }
        .leaf()
    }

    /// The entry it stands for. What does not hash to its own leaf is not believed.
    pub(crate) fn restore(&self) -> Result<Recorded, ReadError> {
        let damaged = |because: &str| ReadError::Damaged { seq: self.seq, because: because.to_owned() };
        if self.expected_leaf() != self.leaf {
            return Err(damaged("it is not the entry that was appended"));
        }
        let utf8 = |bytes| std::str::from_utf8(bytes).map_err(|_| damaged("it holds text that is not UTF-8"));
        let record = entry::decode(utf8(&self.kind)?, self.version, utf8(&self.body)?)
            .map_err(|source| ReadError::Entry { seq: self.seq, source })?;
        let run = self.run.as_deref().map(utf8).transpose()?.map(RunId::parse).transpose();
        let owner = match self.owner.as_deref() {
            Some(owner) => Some(Owner::parse(utf8(owner)?).ok_or_else(|| damaged("its owner cannot be read"))?),
            None => None,
        };
        let entry = Entry {
            at: Time::from_millis(self.at),
            run: run.map_err(|error| damaged(&error.to_string()))?,
            actor: Actor::parse(utf8(&self.actor)?).ok_or_else(|| damaged("its actor cannot be read"))?,
            owner,
            record,
        };
        Ok(Recorded { seq: self.seq, entry, clock_back: self.clock_back, leaf: Digest::from_bytes(self.leaf) })
    }
}

fn number(value: ValueRef<'_>) -> Option<u64> {
    value.as_i64().ok().and_then(|n| u64::try_from(n).ok())
}

fn text(value: ValueRef<'_>) -> Option<Vec<u8>> {
    if let ValueRef::Text(bytes) = value { Some(bytes.to_vec()) } else { None }
}

fn optional(value: ValueRef<'_>) -> Option<Option<Vec<u8>>> {
    match value {
        ValueRef::Null => Some(None),
        // Empty would hash like none at all.
        ValueRef::Text([]) => None,
        other => text(other).map(Some),
    }
}

fn array<const N: usize>(value: ValueRef<'_>) -> Option<[u8; N]> {
    if let ValueRef::Blob(bytes) = value { bytes.try_into().ok() } else { None }
}

/// The row at `seq`.
pub(crate) fn row_at(db: &Connection, seq: u64) -> Result<Option<StoredRow>, ReadError> {
    let sql = format!("SELECT {COLUMNS} FROM entry WHERE seq = ?1");
    let row = db.prepare_cached(&sql)?.query_row([to_sql(seq)], |row| StoredRow::read(row)).optional()?;
    row.transpose().map_err(|column| ReadError::Damaged { seq, because: format!("its `{column}` is damaged") })
}

/// The entry at `seq`, which a projection points at.
pub(crate) fn entry_at(db: &Connection, seq: u64) -> Result<Recorded, ReadError> {
    let gone = || ReadError::Damaged { seq, because: "it is missing".to_owned() };
    row_at(db, seq)?.ok_or_else(gone)?.restore()
}

/// Up to `limit` rows from `from` on, of one run or of all.
pub(crate) fn rows_from(
    db: &Connection,
    from: u64,
    run: Option<&RunId>,
    limit: usize,
) -> Result<Vec<StoredRow>, ReadError> {
    let filter = if run.is_some() { "run = ?3" } else { "?3 IS NULL" };
    let sql = format!("SELECT {COLUMNS} FROM entry WHERE seq >= ?1 AND {filter} ORDER BY seq LIMIT ?2");
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(rusqlite::params![to_sql(from), limit, run.map(RunId::as_str)])?;
    let mut read = Vec::new();
    while let Some(row) = rows.next()? {
        let seq = row.get_ref(0)?;
        let damaged = |column| ReadError::Damaged {
            seq: number(seq).unwrap_or(from),
            because: format!("its `{column}` is damaged"),
        };
        read.push(StoredRow::read(row)?.map_err(damaged)?);
    }
    Ok(read)
}

/// A count as SQLite keeps it. Sequence numbers and times are checked where they enter; beyond that they saturate.
pub(crate) fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A count as SQLite kept it; no table of ours holds a negative one.
pub(crate) fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
