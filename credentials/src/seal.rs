//! Envelope encryption of secrets at rest. Owns the format of a sealed record; knows neither where records are kept nor
//! what is in them.
//!
//! ```text
//! format 1 | master key id 8 | nonce 12 | record key, sealed 32+16 | nonce 12 | secret, sealed n+16
//! ```
//! Every record has its own AES-256-GCM key; the master key seals only those, so that a new master key means sealing
//! 32 bytes per record again. The slot is authenticated with both (NIST SP 800-38D, additional data).

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use selvedge_domain::Digest;
use zeroize::Zeroizing;

use crate::{MasterKey, Secret, Slot};

/// The only format so far.
const FORMAT: u8 = 1;
const KEY_BYTES: usize = 32;
const KEY_ID_BYTES: usize = 8;
const TAG_BYTES: usize = 16;
/// Largest secret we seal: signing keys and tokens are a few kilobytes; a whole megabyte is a mistake.
const SECRET_BYTES_MAX: usize = 1 << 20;

/// Seals and opens records under one master key.
pub struct Sealer {
    master: RandomizedNonceKey,
    key_id: [u8; KEY_ID_BYTES],
}

/// A sealed record: safe to store, worthless without the master key.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

/// A secret was not sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It is larger than any secret we know.
    #[error("cannot seal `{slot}`: more than {SECRET_BYTES_MAX} bytes")]
    TooLarge {
        /// Where it was to go.
        slot: Slot,
    },
    /// No randomness, no memory.
    #[error("cannot seal: the cryptographic library refused")]
    Library,
}

/// A record was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot open the sealed record `{slot}`: {why}")]
pub struct OpenError {
    /// Where it was found.
    pub slot: Slot,
    /// What is wrong.
    pub why: Unreadable,
}

/// What can be wrong with a sealed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Too short to be one, or longer than any we write.
    #[error("it is cut short, or not a sealed record")]
    Malformed,
    /// Written by a later version.
    #[error("format {0} is not known to this version")]
    Format(u8),
    /// Sealed under another master key.
    #[error("it was sealed under another master key; bring that key file back")]
    OtherKey,
    /// Changed, moved from another slot, or sealed as another version.
    #[error("it was changed, or belongs in another place")]
    Tampered,
}

impl Sealer {
    /// Seals under this master key.
    pub fn new(master: &MasterKey) -> Result<Self, SealError> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, master.expose()).map_err(|_| SealError::Library)?;
        Ok(Self { master: key, key_id: master.id() })
    }

    /// Seals `secret` so that it opens only in `slot`.
    pub fn seal(&self, slot: &Slot, secret: &Secret) -> Result<Sealed, SealError> {
        if secret.expose().len() > SECRET_BYTES_MAX {
            return Err(SealError::TooLarge { slot: slot.clone() });
        }
        self.seal_within_bounds(slot, secret).map_err(|_| SealError::Library)
    }

    fn seal_within_bounds(&self, slot: &Slot, secret: &Secret) -> Result<Sealed, aws_lc_rs::error::Unspecified> {
        let bound = self.bound(slot);
        let mut record_key = Zeroizing::new([0; KEY_BYTES]);
        aws_lc_rs::rand::fill(record_key.as_mut())?;
        let mut sealed =
            Vec::with_capacity(1 + KEY_ID_BYTES + 2 * (NONCE_LEN + TAG_BYTES) + KEY_BYTES + secret.expose().len());
        sealed.push(FORMAT);
        sealed.extend_from_slice(&self.key_id);
        encrypt(&self.master, &bound, record_key.as_ref(), &mut sealed)?;
        let record_key = RandomizedNonceKey::new(&AES_256_GCM, record_key.as_ref())?;
        encrypt(&record_key, &bound, secret.expose(), &mut sealed)?;
        Ok(Sealed(sealed))
    }

    /// Opens what was sealed for `slot`.
    pub fn open(&self, slot: &Slot, sealed: &Sealed) -> Result<Secret, OpenError> {
        self.open_record(slot, &sealed.0).map_err(|why| OpenError { slot: slot.clone(), why })
    }

    fn open_record(&self, slot: &Slot, record: &[u8]) -> Result<Secret, Unreadable> {
        let (&format, rest) = record.split_first().ok_or(Unreadable::Malformed)?;
        if format != FORMAT {
            return Err(Unreadable::Format(format));
        }
        let (key_id, rest) = rest.split_at_checked(KEY_ID_BYTES).ok_or(Unreadable::Malformed)?;
        let (wrapped, body) = rest.split_at_checked(NONCE_LEN + KEY_BYTES + TAG_BYTES).ok_or(Unreadable::Malformed)?;
        if body.len() < NONCE_LEN + TAG_BYTES || body.len() > NONCE_LEN + SECRET_BYTES_MAX + TAG_BYTES {
            return Err(Unreadable::Malformed);
        }
        if key_id != self.key_id {
            return Err(Unreadable::OtherKey);
        }
        let bound = self.bound(slot);
        let record_key = decrypt(&self.master, &bound, wrapped)?;
        let record_key =
            RandomizedNonceKey::new(&AES_256_GCM, record_key.expose()).map_err(|_| Unreadable::Tampered)?;
        decrypt(&record_key, &bound, body)
    }

    /// What is authenticated beside the secret: a digest in which no two slots, formats or keys coincide.
    fn bound(&self, slot: &Slot) -> Digest {
        let version = slot.version.to_be_bytes();
        Digest::of_parts([
            b"selvedge sealed record".as_slice(),
            &[FORMAT],
            &self.key_id,
            slot.purpose.as_str().as_bytes(),
            slot.id.as_bytes(),
            &version,
        ])
    }
}

/// Appends nonce and ciphertext of `plain` to `out`.
fn encrypt(
    key: &RandomizedNonceKey,
    bound: &Digest,
    plain: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), aws_lc_rs::error::Unspecified> {
    // Room for the tag from the start: growing would leave a copy of the plain bytes behind.
    let mut body = Zeroizing::new(Vec::with_capacity(plain.len() + TAG_BYTES));
    body.extend_from_slice(plain);
    let nonce = key.seal_in_place_append_tag(Aad::from(bound.as_bytes()), &mut *body)?;
    out.extend_from_slice(nonce.as_ref());
    out.extend_from_slice(&body);
    Ok(())
}

fn decrypt(key: &RandomizedNonceKey, bound: &Digest, record: &[u8]) -> Result<Secret, Unreadable> {
    let (nonce, body) = record.split_at_checked(NONCE_LEN).ok_or(Unreadable::Malformed)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unreadable::Malformed)?;
    let mut body = Zeroizing::new(body.to_vec());
    let plain = key.open_in_place(nonce, Aad::from(bound.as_bytes()), &mut body).map_err(|_| Unreadable::Tampered)?;
    let length = plain.len();
    body.truncate(length);
    Ok(Secret::wiped(body))
}

impl Sealed {
    /// Takes bytes that a store kept; whether they are whole shows when they are opened.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes to keep.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(..)")
    }
}
