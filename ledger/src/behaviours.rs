//! What is on record of how agents behave: the entries themselves, found by a projection.

use rusqlite::{Connection, OptionalExtension as _, params};
use selvedge_authority::{Entry, Record};

use crate::error::ReadError;
use crate::ledger::Ledger;
use crate::project::SORTS;
use crate::rows::{entry_at, from_sql};

impl Ledger {
    /// The last `most` entries of each sort about each agent, oldest first, with their numbers. What is read does not grow with the
    /// log. The entries themselves are read: a behaviour that is only in a projection is none.
    pub fn behaviours(&self, most: usize) -> Result<Vec<(u64, Entry)>, ReadError> {
        self.read(|db| {
            let mut places = places(db, most)?;
            places.sort_by_key(|(_, seq)| *seq);
            let told = |(about, seq): (String, i64)| {
                let recorded = entry_at(db, from_sql(seq))?;
                match &recorded.entry.record {
                    Record::Behaved { agent, .. } if agent.as_str() == about => Ok((recorded.seq, recorded.entry)),
                    _ => Err(ReadError::Projection { because: format!("entry {seq} tells nothing of `{about}`") }),
                }
            };
            places.into_iter().map(told).collect()
        })
    }
}

/// Which agents there are entries about, and where.
fn places(db: &Connection, most: usize) -> Result<Vec<(String, i64)>, ReadError> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut next = db.prepare_cached("SELECT agent FROM p_behaviour WHERE agent > ?1 ORDER BY agent LIMIT 1")?;
    let mut last =
        db.prepare_cached("SELECT seq FROM p_behaviour WHERE agent = ?1 AND sort = ?2 ORDER BY seq DESC LIMIT ?3")?;
    let (mut places, mut agent) = (Vec::new(), String::new());
    while let Some(found) = next.query_row([&agent], |row| row.get::<_, String>(0)).optional()? {
        for sort in SORTS {
            for seq in last.query_map(params![found, sort, most], |row| row.get(0))? {
                places.push((found.clone(), seq?));
            }
        }
        agent = found;
    }
    Ok(places)
}
