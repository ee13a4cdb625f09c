//! A secret value: it can be exposed on purpose, and in no other way. Knows nothing about what it opens.

use std::fmt;

use zeroize::Zeroizing;

/// Bytes that give whoever holds them authority. Wiped when dropped.
///
/// It cannot be printed, copied or compared by accident:
/// ```compile_fail
/// let secret = selvedge_credentials::Secret::new(vec![1]);
/// println!("{secret}");
/// ```
/// ```compile_fail
/// let secret = selvedge_credentials::Secret::new(vec![1]);
/// let twice = (secret.clone(), secret);
/// ```
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Takes over bytes that are wiped already when dropped.
    pub(crate) fn wiped(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The bytes themselves, for the wire or for sealing.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
