//! Makes the projections again from the log, and compares.

use std::collections::BTreeMap;

use rusqlite::types::Value;
use rusqlite::{Connection, params};
use selvedge_authority::{Observation, Record};
use selvedge_domain::{Run, RunId};

use crate::error::ReadError;
use crate::rows::{COLUMNS, Recorded, visit_rows};
use crate::{project, schema};

/// Entries read at a time.
const ROWS: usize = 1024;

/// Empties the projections of `db` and replays every entry into them.
pub(crate) fn rebuild(db: &Connection) -> Result<(), ReadError> {
    schema::reset_projections(db)?;
    let (mut runs, mut from) = (BTreeMap::new(), 0);
    loop {
        let next = visit_rows(db, from, None, ROWS, |row| {
            let recorded = row.restore()?;
            let run = advance(db, &mut runs, &recorded)?;
            project::apply(db, recorded.seq, &recorded.entry, run.as_ref())
        })?;
        match next {
            Some(next) => from = next,
            None => return Ok(()),
        }
    }
}

/// The run of an entry after it, when the entry changed it.
fn advance(db: &Connection, runs: &mut BTreeMap<RunId, Run>, recorded: &Recorded) -> Result<Option<Run>, ReadError> {
    let damaged = |because: String| ReadError::Damaged { seq: recorded.seq, because };
    let run = match (&recorded.entry.record, &recorded.entry.run) {
        (Record::RunBegan { trigger }, Some(run)) => {
            let (trigger, _) = project::trigger(db, trigger)?
                .ok_or_else(|| damaged(format!("its trigger {trigger} is not in the log")))?;
            Run::begin(run.clone(), trigger)
        }
        (Record::Happened(event), Some(id)) => {
            let run = runs.remove(id).ok_or_else(|| damaged(format!("its run {id} had not begun")))?;
            run.apply(event.clone()).map_err(|illegal| damaged(illegal.to_string()))?
        }
        (Record::Observed(Observation::SensitiveRead { .. }), Some(id)) => {
            let Some(run) = runs.remove(id) else { return Ok(None) };
            run.having_read()
        }
        _ => return Ok(None),
    };
    runs.insert(run.id().clone(), run.clone());
    Ok(Some(run))
}

/// The projections of `db` that differ from a replay of its log.
pub(crate) fn differences(db: &Connection) -> Result<Vec<&'static str>, ReadError> {
    // The empty name stands for a private database that spills to disk: a log may be larger than memory.
    let replayed = Connection::open("")?;
    replayed.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN")?;
    schema::create(&replayed)?;
    copy_entries(db, &replayed)?;
    rebuild(&replayed)?;
    let mut different = Vec::new();
    for table in schema::PROJECTION_NAMES {
        if dump(db, table)? != dump(&replayed, table)? {
            different.push(table);
        }
    }
    Ok(different)
}

/// Replaying looks entries up, so the replica gets them too.
fn copy_entries(from: &Connection, to: &Connection) -> Result<(), ReadError> {
    let mut read = from.prepare(&format!("SELECT {COLUMNS} FROM entry"))?;
    let mut write = to.prepare("INSERT INTO entry VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)")?;
    let mut rows = read.query([])?;
    while let Some(row) = rows.next()? {
        let values = (0..12).map(|column| row.get::<_, Value>(column)).collect::<Result<Vec<_>, _>>()?;
        write.execute(rusqlite::params_from_iter(values))?;
    }
    Ok(())
}

/// Every row of a table as text, in a fixed order.
fn dump(db: &Connection, table: &str) -> Result<Vec<String>, ReadError> {
    let mut statement = db.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2"))?;
    let columns = statement.column_count();
    let rows = statement.query_map(params![], |row| {
        let values = (0..columns).map(|column| row.get::<_, Value>(column)).collect::<Result<Vec<_>, _>>()?;
        Ok(format!("{values:?}"))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
