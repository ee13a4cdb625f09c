//! Fingerprints: SHA-256 of our own records, and git's object ids.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// Text that is not a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {kind}: expected {expected} lower-case hexadecimal characters")]
pub struct BadDigest {
    text: String,
    kind: &'static str,
    expected: &'static str,
}

/// SHA-256 (FIPS 180-4) of a canonical form. 32 bytes, printed as 64 hexadecimal characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// A digest in the making, for parts that need not be put together first.
#[derive(Default)]
pub(crate) struct Parts(Sha256);

impl Parts {
    /// Adds one part, given in pieces.
    pub(crate) fn add(&mut self, pieces: &[&[u8]]) {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        // A slice's length fits 64 bits on every platform Rust has.
        self.0.update((length as u64).to_be_bytes());
        pieces.iter().for_each(|piece| self.0.update(piece));
    }

    /// What [`Digest::of_parts`] gives for the parts added.
    pub(crate) fn digest(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl Digest {
    /// Hashes `parts`, each preceded by its length so that no two lists of parts collide.
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hashed = Parts::default();
        parts.into_iter().for_each(|part| hashed.add(&[part]));
        hashed.digest()
    }

    /// Takes 32 bytes that are already a digest.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads 64 hexadecimal characters.
    pub fn parse(text: &str) -> Result<Self, BadDigest> {
        let bad = || BadDigest { text: text.chars().take(80).collect(), kind: "a digest", expected: "64" };
        if text.len() != 64 || !is_lower_hex(text) {
            return Err(bad());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! git_ids {
    ($($(#[$doc:meta])* $name:ident $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Reads a full object id, SHA-1 or SHA-256; abbreviations are refused.
            pub fn parse(text: &str) -> Result<Self, BadDigest> {
                if (text.len() == 40 || text.len() == 64) && is_lower_hex(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(BadDigest { text: text.chars().take(80).collect(), kind: $kind, expected: "40 or 64" })
                }
            }

            /// The hexadecimal form git prints.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

git_ids! {
    /// A git commit.
    CommitId "a commit id";
    /// A git tree: exact content, no history.
    ///
    /// ```compile_fail
    /// # use selvedge_domain::{CommitId, TreeId};
    /// fn deliver(_: TreeId) {}
    /// deliver(CommitId::parse("0000000000000000000000000000000000000000").unwrap());
    /// ```
    TreeId "a tree id";
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        let ab_c = Digest::of_parts([b"ab".as_slice(), b"c"]);
        let a_bc = Digest::of_parts([b"a".as_slice(), b"bc"]);
        assert_ne!(ab_c, a_bc);
    }

    #[test]
    fn a_digest_reads_back_and_an_abbreviation_does_not() {
        let digest = Digest::of_parts([b"x".as_slice()]);
        assert_eq!(Digest::parse(&digest.to_string()), Ok(digest));
        assert!(Digest::parse("abc").is_err());
        assert!(CommitId::parse("abc1234").is_err());
        assert!(CommitId::parse(&"A".repeat(40)).is_err());
    }
}
