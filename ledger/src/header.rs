//! The canonical header of an entry: the bytes that the log commits to.
//!
//! The body is committed to by a salted hash, so a reader of the header can neither read nor guess it. No signature is
//! ever part of a header: signing twice must not change history.

use sha2::{Digest as _, Sha256};

use crate::merkle::{Hash, LEAF_PREFIX, leaf_hash};

/// Separates our headers from anything else that is ever hashed, and names their layout.
const LAYOUT: &[u8] = b"selvedge-entry-v1";

/// Bytes of salt: as much as the hash it blinds.
pub(crate) const SALT_BYTES: usize = 32;

/// Everything the log commits to about one entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header<'a> {
    /// Its place in the log, counted from 0.
    pub(crate) seq: u64,
    /// Its run; entries without one form a chain of their own.
    pub(crate) run: Option<&'a [u8]>,
    /// The leaf of the entry before it in the same run; zeros for the first.
    pub(crate) previous: &'a Hash,
    /// Which kind of record.
    pub(crate) kind: &'a [u8],
    /// Which version of that kind's form.
    pub(crate) version: u32,
    /// Milliseconds since the epoch, by the factory's clock.
    pub(crate) at: u64,
    /// Whether an earlier entry bears a later time: the clock was set back.
    pub(crate) clock_back: bool,
    /// By whom.
    pub(crate) actor: &'a [u8],
    /// Who answers for the actor.
    pub(crate) owner: Option<&'a [u8]>,
    /// The salted hash of the body.
    pub(crate) commitment: Hash,
}

/// The salted hash of a body. The salt has a fixed length, so no two pairs run into each other.
pub(crate) fn commitment(salt: &[u8; SALT_BYTES], body: &[u8]) -> Hash {
    Sha256::new().chain_update(salt).chain_update(body).finalize().into()
}

impl Header<'_> {
    /// The leaf that stands for the entry in the log.
    pub(crate) fn leaf(&self) -> Hash {
        let mut bytes = Vec::with_capacity(384);
        bytes.push(LEAF_PREFIX);
        let parts: [&[u8]; 11] = [
            LAYOUT,
            &self.seq.to_be_bytes(),
            self.run.unwrap_or_default(),
            self.previous,
            self.kind,
            &self.version.to_be_bytes(),
            &self.at.to_be_bytes(),
            &[u8::from(self.clock_back)],
            self.actor,
            self.owner.unwrap_or_default(),
            &self.commitment,
        ];
        for part in parts {
            // A slice's length fits 64 bits on every platform Rust has.
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        leaf_hash(&bytes)
    }
}
