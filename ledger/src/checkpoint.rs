//! Checkpoints: a signed statement of how long the log is and what its root is (C2SP tlog-checkpoint, signed-note).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::key::{LogKey, PublicKey};
use crate::merkle::Hash;

/// Why a text is no checkpoint of this log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCheckpoint {
    /// It does not have the form.
    #[error("it does not read as a signed checkpoint")]
    Form,
    /// It speaks of another log.
    #[error("it belongs to another log")]
    Origin,
    /// The log's key did not sign it.
    #[error("the log's key did not sign it")]
    Signature,
}

/// The head of a log, signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    size: u64,
    root: Hash,
    note: String,
}

/// Longest note we read; ours has about 250 bytes, and each co-signature adds about 120.
const NOTE_BYTES_MAX: usize = 64 * 1024;
/// The algorithm byte of Ed25519 in a signed note's key id.
const ED25519: u8 = 1;

impl Checkpoint {
    /// Signs the head of the log.
    pub(crate) fn sign(key: &LogKey, size: u64, root: Hash) -> Self {
        let origin = key.public().log_id();
        let text = format!("{origin}\n{size}\n{}\n", STANDARD.encode(root));
        let mut signature = key_id(&key.public()).to_vec();
        signature.extend_from_slice(&key.sign(text.as_bytes()));
        let note = format!("{text}\n\u{2014} {origin} {}\n", STANDARD.encode(signature));
        Self { size, root, note }
    }

    /// Reads a checkpoint that the log with this key signed.
    pub fn parse(note: &str, key: &PublicKey) -> Result<Self, BadCheckpoint> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(BadCheckpoint::Form);
        }
        let (text, signatures) = note.split_once("\n\n").ok_or(BadCheckpoint::Form)?;
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root), None) = (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(BadCheckpoint::Form);
        };
        if origin != key.log_id().as_str() {
            return Err(BadCheckpoint::Origin);
        }
        let size = size.parse().ok().filter(|n: &u64| n.to_string() == size).ok_or(BadCheckpoint::Form)?;
        let root = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok()).ok_or(BadCheckpoint::Form)?;
        let signed = format!("{text}\n");
        let verifies = |line: &str| signature_of(line, key).is_some_and(|s| key.verifies(signed.as_bytes(), &s));
        if !signatures.ends_with('\n') {
            return Err(BadCheckpoint::Form);
        }
        if !signatures.lines().any(verifies) {
            return Err(BadCheckpoint::Signature);
        }
        Ok(Self { size, root, note: note.to_owned() })
    }

    /// How many entries it covers.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root over them.
    pub fn root(&self) -> &[u8; 32] {
        &self.root
    }

    /// The note: the text a witness or a verifier reads.
    pub fn note(&self) -> &str {
        &self.note
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.note)
    }
}

impl PublicKey {
    /// The key as verifiers of signed notes take it: name, key id and key joined by `+`.
    pub fn verifier_key(&self) -> String {
        let id = key_id(self).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let mut key = vec![ED25519];
        key.extend_from_slice(self.as_bytes());
        format!("{}+{id}+{}", self.log_id(), STANDARD.encode(key))
    }
}

/// The first bytes of SHA-256 over name, newline, algorithm and key (C2SP signed-note).
fn key_id(key: &PublicKey) -> [u8; 4] {
    let name = key.log_id();
    let digest = Sha256::new().chain_update(name.as_str()).chain_update([b'\n', ED25519]).chain_update(key.as_bytes());
    let [a, b, c, d, ..]: [u8; 32] = digest.finalize().into();
    [a, b, c, d]
}

/// The signature on a line `— <name> <base64 of key id and signature>`, when it is this key's.
fn signature_of(line: &str, key: &PublicKey) -> Option<Vec<u8>> {
    let (name, encoded) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    let bytes = STANDARD.decode(encoded).ok()?;
    let (id, signature) = bytes.split_at_checked(4)?;
    (name == key.log_id().as_str() && id == key_id(key)).then(|| signature.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> LogKey {
        LogKey::from_seed(&[seed; 32]).unwrap()
    }

    #[test]
    fn a_checkpoint_reads_back_with_its_own_key_only() {
        let signed = Checkpoint::sign(&key(1), 42, [7; 32]);
        assert_eq!(Checkpoint::parse(signed.note(), &key(1).public()), Ok(signed.clone()));
        assert_eq!(Checkpoint::parse(signed.note(), &key(2).public()), Err(BadCheckpoint::Origin));
    }

    #[test]
    fn any_other_character_makes_it_no_checkpoint() {
        let signed = Checkpoint::sign(&key(1), 42, [7; 32]);
        for at in 0..signed.note().len() {
            let mut bytes = signed.note().as_bytes().to_vec();
            bytes[at] ^= 1;
            let Ok(note) = String::from_utf8(bytes) else { continue };
            assert!(Checkpoint::parse(&note, &key(1).public()).is_err(), "byte {at}");
        }
        for text in ["", "\n\n", "a\n\nb\n", "a\n1\nAA==\n\n\u{2014} a AAAA\n"] {
            assert!(Checkpoint::parse(text, &key(1).public()).is_err());
        }
    }
}
