//! Sealed secrets: bytes that mean nothing here. `credentials` seals and opens them; this only keeps them.

use rusqlite::{OptionalExtension as _, params};
use selvedge_authority::Class;

use crate::error::{ReadError, Refusal, WriteError};
use crate::ledger::Ledger;

/// Longest sealed value; keys and tokens are a few kilobytes.
const SEALED_BYTES_MAX: usize = 64 * 1024;
/// Longest name of a sealed value.
const ID_BYTES_MAX: usize = 256;

/// A sealed value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Which way of sealing was used.
    pub version: u32,
    /// Nonce and ciphertext.
    pub bytes: Vec<u8>,
}

impl Ledger {
    /// Keeps a sealed value durably, in place of any before it.
    pub fn put_sealed(&self, id: &str, sealed: Sealed) -> Result<(), WriteError> {
        let sizes = [(sealed.bytes.len(), SEALED_BYTES_MAX), (id.len(), ID_BYTES_MAX)];
        if let Some((bytes, limit)) = sizes.into_iter().find(|(bytes, limit)| bytes > limit) {
            return Err(Refusal::TooLarge { bytes, limit }.into());
        }
        let id = id.to_owned();
        self.write(Class::Durable, move |store| {
            let sql = "INSERT INTO sealed VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET version = ?2, bytes = ?3";
            store.db.execute(sql, params![id, sealed.version, sealed.bytes])?;
            Ok(())
        })
    }

    /// A sealed value.
    pub fn get_sealed(&self, id: &str) -> Result<Option<Sealed>, ReadError> {
        self.read(|db| {
            let mut statement = db.prepare_cached("SELECT version, bytes FROM sealed WHERE id = ?1")?;
            Ok(statement.query_row([id], |row| Ok(Sealed { version: row.get(0)?, bytes: row.get(1)? })).optional()?)
        })
    }

    /// Forgets a sealed value. Returns whether there was one.
    pub fn delete_sealed(&self, id: &str) -> Result<bool, WriteError> {
        let id = id.to_owned();
        self.write(Class::Durable, move |store| Ok(store.db.execute("DELETE FROM sealed WHERE id = ?1", [&id])? > 0))
    }

    /// The names of all sealed values.
    pub fn sealed_ids(&self) -> Result<Vec<String>, ReadError> {
        self.read(|db| {
            let mut statement = db.prepare_cached("SELECT id FROM sealed ORDER BY id")?;
            let ids = statement.query_map([], |row| row.get(0))?;
            Ok(ids.collect::<Result<_, _>>()?)
        })
    }
}
