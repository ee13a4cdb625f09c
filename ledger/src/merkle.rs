//! The Merkle tree over all entries (RFC 6962 section 2.1), kept in tiles of 256 hashes (C2SP tlog-tiles).
//!
//! Owns how hashes combine and which of them must be kept to prove anything later. Knows neither entries nor storage.

use sha2::{Digest as _, Sha256};

/// A SHA-256 hash.
pub(crate) type Hash = [u8; 32];

/// Levels of the tree that one tile spans.
const TILE_LEVELS: u32 = 8;
/// Hashes in a full tile.
pub(crate) const TILE_WIDTH: u64 = 1 << TILE_LEVELS;

/// What precedes the data of a leaf, so that no inner node can be passed off as an entry.
pub(crate) const LEAF_PREFIX: u8 = 0;
/// What precedes the children of an inner node.
const NODE_PREFIX: u8 = 1;

/// The hash of a leaf, whose bytes begin with [`LEAF_PREFIX`].
pub(crate) fn leaf_hash(prefixed: &[u8]) -> Hash {
    Sha256::digest(prefixed).into()
}

/// The hash of an inner node.
fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([NODE_PREFIX]).chain_update(left).chain_update(right).finalize().into()
}

/// The hash of the tree without leaves.
fn empty_hash() -> Hash {
    Sha256::digest([]).into()
}

/// The roots of the complete subtrees that cover all leaves, left to right: all that appending and the root need.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frontier {
    peaks: Vec<(u32, Hash)>,
}

impl Frontier {
    /// Adds the root of the next complete subtree of `level`; 0 is a leaf.
    pub(crate) fn push(&mut self, level: u32, hash: Hash) {
        let (mut level, mut hash) = (level, hash);
        while let Some((_, left)) = self.peaks.pop_if(|(peak, _)| *peak == level) {
            hash = node_hash(&left, &hash);
            level += 1;
        }
        self.peaks.push((level, hash));
    }

    /// The root of the whole tree.
    pub(crate) fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev().map(|(_, hash)| *hash);
        match peaks.next() {
            Some(last) => peaks.fold(last, |right, left| node_hash(&left, &right)),
            None => empty_hash(),
        }
    }
}

/// A full tile: 256 neighbouring hashes of one level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tile {
    /// Its level, counted in tiles: hashes in it are roots of subtrees of `256^level` leaves.
    pub(crate) level: u32,
    /// Its place among the tiles of that level.
    pub(crate) index: u64,
    /// Its hashes.
    pub(crate) hashes: Vec<Hash>,
}

/// The right edge of the tree.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    size: u64,
    frontier: Frontier,
    /// The hashes of the tiles that are not full yet, by tile level.
    open: Vec<Vec<Hash>>,
}

impl Tree {
    /// Puts the right edge back: the hashes of every tile that is not full, lowest level first.
    pub(crate) fn restore(size: u64, open: Vec<Vec<Hash>>) -> Self {
        let mut frontier = Frontier::default();
        let levels: Vec<(u32, &Vec<Hash>)> = (0..).step_by(8).zip(&open).collect();
        for (level, hashes) in levels.into_iter().rev() {
            hashes.iter().for_each(|hash| frontier.push(level, *hash));
        }
        Self { size, frontier, open }
    }

    /// How many leaves there are.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The root.
    pub(crate) fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Appends a leaf; returns the tiles this made full.
    pub(crate) fn push(&mut self, leaf: Hash) -> Vec<Tile> {
        self.frontier.push(0, leaf);
        self.size += 1;
        let mut full = Vec::new();
        let (mut level, mut hash) = (0, leaf);
        loop {
            let tile_level = level as usize;
            if self.open.len() <= tile_level {
                self.open.push(Vec::new());
            }
            let Some(open) = self.open.get_mut(tile_level) else { return full };
            open.push(hash);
            if (open.len() as u64) < TILE_WIDTH {
                return full;
            }
            let hashes = std::mem::take(open);
            hash = tile_root(&hashes);
            let index = (self.size >> (TILE_LEVELS * (level + 1))) - 1;
            full.push(Tile { level, index, hashes });
            level += 1;
        }
    }
}

/// The root over the hashes of a full tile, or over any run of leaves.
pub(crate) fn tile_root(hashes: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    hashes.iter().for_each(|hash| frontier.push(0, *hash));
    frontier.root()
}

/// Where hashes of complete subtrees come from.
pub(crate) trait Hashes {
    /// What can go wrong.
    type Error;

    /// The root of the complete subtree of `2^level` leaves that begins at leaf `index << level`.
    fn node(&self, level: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// The root over leaves `from..to`.
pub(crate) fn range_root<H: Hashes>(hashes: &H, from: u64, to: u64) -> Result<Hash, H::Error> {
    let width = to.saturating_sub(from);
    if width == 0 {
        return Ok(empty_hash());
    }
    if width.is_power_of_two() && from.is_multiple_of(width) {
        let level = width.trailing_zeros();
        return hashes.node(level, from >> level);
    }
    let middle = from + split(width);
    Ok(node_hash(&range_root(hashes, from, middle)?, &range_root(hashes, middle, to)?))
}

/// The audit path of leaf `index` in the tree of `size` leaves, nearest first (RFC 6962 section 2.1.1).
pub(crate) fn inclusion<H: Hashes>(hashes: &H, index: u64, size: u64) -> Result<Vec<Hash>, H::Error> {
    let (mut from, mut to, mut path) = (0, size, Vec::new());
    while to.saturating_sub(from) > 1 {
        let middle = from + split(to - from);
        if index < middle {
            path.push(range_root(hashes, middle, to)?);
            to = middle;
        } else {
            path.push(range_root(hashes, from, middle)?);
            from = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The largest power of two below `width`, which is at least 2.
fn split(width: u64) -> u64 {
    1 << (width - 1).ilog2()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    struct All(Vec<Hash>);

    impl Hashes for All {
        type Error = Infallible;

        fn node(&self, level: u32, index: u64) -> Result<Hash, Infallible> {
            let from = usize::try_from(index << level).unwrap();
            Ok(naive(&self.0[from..from + (1 << level)]))
        }
    }

    /// RFC 6962 section 2.1, word for word.
    fn naive(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_hash(),
            [one] => *one,
            many => {
                let k = 1 << (many.len() - 1).ilog2();
                node_hash(&naive(&many[..k]), &naive(&many[k..]))
            }
        }
    }

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|i| leaf_hash(&[&[LEAF_PREFIX], i.to_be_bytes().as_slice()].concat())).collect()
    }

    #[test]
    fn the_root_is_the_one_of_the_rfc_at_every_size() {
        let leaves = leaves(600);
        let mut tree = Tree::default();
        for (size, leaf) in leaves.iter().enumerate() {
            assert_eq!(tree.root(), naive(&leaves[..size]));
            tree.push(*leaf);
        }
    }

    #[test]
    fn known_answers_from_the_certificate_transparency_test_vectors() {
        let inputs: [&[u8]; 8] = [
            &[],
            &[0x00],
            &[0x10],
            &[0x20, 0x21],
            &[0x30, 0x31],
            &[0x40, 0x41, 0x42, 0x43],
            &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
            &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
        ];
        let mut tree = Tree::default();
        inputs.iter().for_each(|input| drop(tree.push(leaf_hash(&[&[LEAF_PREFIX], *input].concat()))));
        let root = selvedge_domain::Digest::from_bytes(tree.root()).to_string();
        assert_eq!(root, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
    }

    #[test]
    fn a_tile_is_handed_over_once_when_full_and_the_edge_can_be_put_back() {
        let leaves = leaves(256 * 256 + 300);
        let mut tree = Tree::default();
        let tiles: Vec<Tile> = leaves.iter().flat_map(|leaf| tree.push(*leaf)).collect();
        assert_eq!(tiles.iter().filter(|tile| tile.level == 0).count(), 257);
        assert_eq!(tiles.iter().filter(|tile| tile.level == 1).map(|tile| tile.index).collect::<Vec<_>>(), [0]);
        let restored = Tree::restore(tree.size(), tree.open.clone());
        assert_eq!(restored.root(), tree.root());
    }

    #[test]
    fn an_audit_path_leads_from_every_leaf_to_the_root() {
        for size in 1..70 {
            let all = All(leaves(size));
            for index in 0..size {
                let path = inclusion(&all, index, size).unwrap();
                assert_eq!(climb(index, size, all.0[usize::try_from(index).unwrap()], &path), naive(&all.0));
            }
        }
    }

    /// RFC 9162 section 2.1.3.2.
    fn climb(index: u64, size: u64, leaf: Hash, path: &[Hash]) -> Hash {
        let (mut at, mut last, mut hash) = (index, size - 1, leaf);
        for sibling in path {
            if at % 2 == 1 || at == last {
                hash = node_hash(sibling, &hash);
                while at % 2 == 0 && at != 0 {
                    (at, last) = (at >> 1, last >> 1);
                }
            } else {
                hash = node_hash(&hash, sibling);
            }
            (at, last) = (at >> 1, last >> 1);
        }
        hash
    }
}
