//! The log's signing key and where randomness comes from.
//!
//! The key proves that this log, and not a copy made elsewhere, reached a size. It is no run's credential. The log's
//! name is derived from it, so whoever knows the name knows the key.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};

/// Fills bytes that nobody can predict. A trait, so that a simulated log has the same head every time.
pub trait Entropy: Send {
    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()>;
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        aws_lc_rs::rand::fill(bytes).map_err(|_| io::Error::other("the system gives no random bytes"))
    }
}

/// The log's signing key.
pub(crate) struct LogKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

/// The key that a log's checkpoints are verified with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// A log's name: the origin of its checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(String);

const SEED_BYTES: usize = 32;

impl LogKey {
    /// A fresh seed.
    pub(crate) fn seed(entropy: &mut dyn Entropy) -> io::Result<[u8; SEED_BYTES]> {
        let mut seed = [0; SEED_BYTES];
        entropy.fill(&mut seed)?;
        Ok(seed)
    }

    /// The key that grows from a seed.
    pub(crate) fn from_seed(seed: &[u8]) -> io::Result<Self> {
        let refused = || io::Error::new(io::ErrorKind::InvalidData, "the log's key is not an Ed25519 seed");
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| refused())?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| refused())?;
        Ok(Self { pair, public: PublicKey(public) })
    }

    /// Reads the key kept at `path`, or makes one there that only its owner can read.
    pub(crate) fn open(path: &Path, entropy: &mut dyn Entropy) -> io::Result<Self> {
        match fs::read(path) {
            Ok(seed) => Self::from_seed(&seed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let seed = Self::seed(entropy)?;
                let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
                file.write_all(&seed)?;
                file.sync_all()?;
                Self::from_seed(&seed)
            }
            Err(error) => Err(error),
        }
    }

    /// Signs `message`.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        let signed = self.pair.sign(message);
        signature.iter_mut().zip(signed.as_ref()).for_each(|(to, from)| *to = *from);
        signature
    }

    /// The key others verify with.
    pub(crate) fn public(&self) -> PublicKey {
        self.public
    }
}

impl PublicKey {
    /// Takes 32 bytes that are already a key.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes (RFC 8032).
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The name of the log that signs with this key.
    pub fn log_id(&self) -> LogId {
        let digest = Sha256::digest(self.0);
        LogId(digest.iter().take(16).fold(String::from("selvedge-"), |id, byte| format!("{id}{byte:02x}")))
    }

    /// Whether `signature` over `message` was made with this key.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

impl LogId {
    /// The name as checkpoints print it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogKey({})", self.public.log_id())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.log_id())
    }
}
