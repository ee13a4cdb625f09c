//! Entries as rows: read with every column checked, so that a damaged one is named and never misread.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
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

/// One row of `entry`, as it lies in the database.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawRow<'a> {
    pub(crate) seq: u64,
    pub(crate) run: Option<&'a [u8]>,
    pub(crate) previous: &'a Hash,
    pub(crate) kind: &'a [u8],
    pub(crate) version: u32,
    pub(crate) at: u64,
    pub(crate) clock_back: bool,
    pub(crate) actor: &'a [u8],
    pub(crate) owner: Option<&'a [u8]>,
    pub(crate) salt: &'a [u8; SALT_BYTES],
    pub(crate) body: &'a [u8],
    pub(crate) leaf: &'a Hash,
}

impl<'a> RawRow<'a> {
    /// Reads a row of [`COLUMNS`]; a damaged column is named. `expected` names the entry when its own number is damaged.
    pub(crate) fn read(row: &'a Row<'_>, expected: u64) -> Result<Self, ReadError> {
        let seq = number(row.get_ref(0)?).unwrap_or(expected);
        let damaged = |column: &str| ReadError::Damaged { seq, because: format!("its `{column}` is damaged") };
        Ok(Self {
            seq,
            run: optional(row.get_ref(1)?).ok_or_else(|| damaged("run"))?,
            previous: array(row.get_ref(2)?).ok_or_else(|| damaged("previous"))?,
            kind: text(row.get_ref(3)?).ok_or_else(|| damaged("kind"))?,
            version: number(row.get_ref(4)?).and_then(|n| n.try_into().ok()).ok_or_else(|| damaged("version"))?,
            at: number(row.get_ref(5)?).ok_or_else(|| damaged("at"))?,
            clock_back: flag(row.get_ref(6)?).ok_or_else(|| damaged("clock_back"))?,
            actor: text(row.get_ref(7)?).ok_or_else(|| damaged("actor"))?,
            owner: optional(row.get_ref(8)?).ok_or_else(|| damaged("owner"))?,
            salt: array(row.get_ref(9)?).ok_or_else(|| damaged("salt"))?,
            body: text(row.get_ref(10)?).ok_or_else(|| damaged("body"))?,
            leaf: array(row.get_ref(11)?).ok_or_else(|| damaged("leaf"))?,
        })
    }

    /// The leaf this row must have.
    pub(crate) fn expected_leaf(&self) -> Hash {
        Header {
            seq: self.seq,
            run: self.run,
            previous: self.previous,
            kind: self.kind,
            version: self.version,
            at: self.at,
            clock_back: self.clock_back,
            actor: self.actor,
            owner: self.owner,
            commitment: commitment(self.salt, self.body),
        }
        .leaf()
    }

    /// The entry it stands for. What does not hash to its own leaf is not believed.
    pub(crate) fn restore(&self) -> Result<Recorded, ReadError> {
        let damaged = |because: &str| ReadError::Damaged { seq: self.seq, because: because.to_owned() };
        if self.expected_leaf() != *self.leaf {
            return Err(damaged("it is not the entry that was appended"));
        }
        let utf8 = |bytes| std::str::from_utf8(bytes).map_err(|_| damaged("it holds text that is not UTF-8"));
        let record = entry::decode(utf8(self.kind)?, self.version, utf8(self.body)?)
            .map_err(|source| ReadError::Entry { seq: self.seq, source })?;
        let run = self.run.map(utf8).transpose()?.map(RunId::parse).transpose();
        let owner = match self.owner {
            Some(owner) => Some(Owner::parse(utf8(owner)?).ok_or_else(|| damaged("its owner cannot be read"))?),
            None => None,
        };
        let entry = Entry {
            at: Time::from_millis(self.at),
            run: run.map_err(|error| damaged(&error.to_string()))?,
            actor: Actor::parse(utf8(self.actor)?).ok_or_else(|| damaged("its actor cannot be read"))?,
            owner,
            record,
        };
        Ok(Recorded { seq: self.seq, entry, clock_back: self.clock_back, leaf: Digest::from_bytes(*self.leaf) })
    }
}

fn number(value: ValueRef<'_>) -> Option<u64> {
    value.as_i64().ok().and_then(|n| u64::try_from(n).ok())
}

fn flag(value: ValueRef<'_>) -> Option<bool> {
    match value {
        ValueRef::Integer(0) => Some(false),
        ValueRef::Integer(1) => Some(true),
        _ => None,
    }
}

fn text(value: ValueRef<'_>) -> Option<&[u8]> {
    if let ValueRef::Text(bytes) = value { Some(bytes) } else { None }
}

fn optional(value: ValueRef<'_>) -> Option<Option<&[u8]>> {
    match value {
        ValueRef::Null => Some(None),
        // Empty would hash like none at all.
        ValueRef::Text([]) => None,
        other => text(other).map(Some),
    }
}

fn array<const N: usize>(value: ValueRef<'_>) -> Option<&[u8; N]> {
    if let ValueRef::Blob(bytes) = value { bytes.try_into().ok() } else { None }
}

/// The entry at `seq`, which a projection points at.
pub(crate) fn entry_at(db: &Connection, seq: u64) -> Result<Recorded, ReadError> {
    let mut statement = db.prepare_cached(&format!("SELECT {COLUMNS} FROM entry WHERE seq = ?1"))?;
    let mut rows = statement.query([to_sql(seq)])?;
    match rows.next()? {
        Some(row) => RawRow::read(row, seq)?.restore(),
        None => Err(ReadError::Damaged { seq, because: "it is missing".to_owned() }),
    }
}

/// Shows up to `limit` rows from `from` on, of one run or of all, to `visit`; returns where to go on, or none at the end.
pub(crate) fn visit_rows(
    db: &Connection,
    from: u64,
    run: Option<&RunId>,
    limit: usize,
    mut visit: impl FnMut(RawRow<'_>) -> Result<(), ReadError>,
) -> Result<Option<u64>, ReadError> {
    let filter = if run.is_some() { "run = ?3" } else { "?3 IS NULL" };
    let sql = format!("SELECT {COLUMNS} FROM entry WHERE seq >= ?1 AND {filter} ORDER BY seq LIMIT ?2");
    let mut statement = db.prepare_cached(&sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(rusqlite::params![to_sql(from), limit, run.map(RunId::as_str)])?;
    let mut next = None;
    while let Some(row) = rows.next()? {
        let raw = RawRow::read(row, next.unwrap_or(from))?;
        next = Some(raw.seq.saturating_add(1));
        visit(raw)?;
    }
    Ok(next)
}

/// A count as SQLite keeps it. Sequence numbers and times are checked where they enter; beyond that they saturate.
pub(crate) fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A count as SQLite kept it; no table of ours holds a negative one.
pub(crate) fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
