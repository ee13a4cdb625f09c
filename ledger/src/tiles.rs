//! Tiles of the Merkle tree in the database: kept when full, read back to prove things without reading every entry.

use rusqlite::{Connection, params};

use crate::error::ReadError;
use crate::merkle::{Hash, Hashes, TILE_WIDTH, Tile, Tree, range_root, tile_root};
use crate::rows::to_sql;

/// Keeps a tile that became full.
pub(crate) fn keep(db: &Connection, tile: &Tile) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT INTO tile VALUES (?1, ?2, ?3)")?
        .execute(params![tile.level, to_sql(tile.index), tile.hashes.concat()])
        .map(drop)
}

/// The right edge of a tree of `size` leaves.
pub(crate) fn right_edge(db: &Connection, size: u64) -> Result<Tree, ReadError> {
    let hashes = Stored { db };
    let mut open = Vec::new();
    let (mut level, mut complete) = (0, size);
    while complete > 0 {
        let first = complete - complete % TILE_WIDTH;
        open.push((first..complete).map(|index| hashes.node(level, index)).collect::<Result<_, _>>()?);
        complete /= TILE_WIDTH;
        level += 8;
    }
    Ok(Tree::restore(size, open))
}

/// Refuses tiles beyond those a tree of `size` leaves has.
pub(crate) fn check_count(db: &Connection, size: u64) -> Result<(), ReadError> {
    let (mut expected, mut full) = (0_u64, size / TILE_WIDTH);
    while full > 0 {
        expected += full;
        full /= TILE_WIDTH;
    }
    let kept: i64 = db.query_row("SELECT count(*) FROM tile", [], |row| row.get(0))?;
    if kept == to_sql(expected) {
        return Ok(());
    }
    Err(ReadError::Damaged { seq: size, because: format!("there are {kept} tiles for {expected}") })
}

/// The root over the first `size` leaves.
pub(crate) fn root_at(db: &Connection, size: u64) -> Result<Hash, ReadError> {
    range_root(&Stored { db }, 0, size)
}

/// The hashes a database holds.
pub(crate) struct Stored<'a> {
    pub(crate) db: &'a Connection,
}

impl Hashes for Stored<'_> {
    type Error = ReadError;

    fn node(&self, level: u32, index: u64) -> Result<Hash, ReadError> {
        if level == 0 {
            return self.leaf(index);
        }
        // A node between tile levels, or one atop a full tile: combine the hashes of the tile level beneath.
        let beneath = (level - 1) / 8 * 8;
        let width = 1 << (level - beneath);
        let first = index * width;
        let tile = self.tile(beneath / 8, first / TILE_WIDTH)?;
        let from = usize::try_from(first % TILE_WIDTH).unwrap_or(usize::MAX);
        let hashes = match &tile {
            Some(hashes) => hashes.iter().skip(from).take(usize::try_from(width).unwrap_or(0)).copied().collect(),
            None => (first..first + width).map(|i| self.node(beneath, i)).collect::<Result<Vec<_>, _>>()?,
        };
        Ok(tile_root(&hashes))
    }
}

impl Stored<'_> {
    fn leaf(&self, seq: u64) -> Result<Hash, ReadError> {
        use rusqlite::OptionalExtension as _;
        self.db
            .prepare_cached("SELECT leaf FROM entry WHERE seq = ?1")?
            .query_row([to_sql(seq)], |row| row.get(0))
            .optional()?
            .ok_or_else(|| ReadError::Damaged { seq, because: "it is missing".to_owned() })
    }

    /// The hashes of a full tile; none when it is not full yet.
    pub(crate) fn tile(&self, level: u32, index: u64) -> Result<Option<Vec<Hash>>, ReadError> {
        use rusqlite::OptionalExtension as _;
        let bytes: Option<Vec<u8>> = self
            .db
            .prepare_cached("SELECT hashes FROM tile WHERE level = ?1 AND place = ?2")?
            .query_row(params![level, to_sql(index)], |row| row.get(0))
            .optional()?;
        let Some(bytes) = bytes else { return Ok(None) };
        let (hashes, rest) = bytes.as_chunks::<32>();
        if hashes.len() as u64 != TILE_WIDTH || !rest.is_empty() {
            let seq = index.saturating_mul(TILE_WIDTH.saturating_pow(level + 1));
            return Err(ReadError::Damaged { seq, because: "the tile that begins with it is damaged".to_owned() });
        }
        Ok(Some(hashes.to_vec()))
    }
}
