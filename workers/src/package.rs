//! A package of a Cargo registry: its name and its version.

use std::fmt;

use semver::Version;
use serde::{Deserialize, Serialize};

/// Text that is no package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPackage {
    /// Not a name a registry could hold.
    #[error("`{0}` is not a package name: 1 to 64 ASCII letters, digits, `-` and `_`")]
    Name(String),
    /// Not a semantic version.
    #[error("`{text}` is not a version: {cause}")]
    Version {
        /// What was read.
        text: String,
        /// Why it is none.
        cause: String,
    },
}

/// Longest name the registry accepts.
const NAME_BYTES_MAX: usize = 64;

/// A package's name.
///
/// ASCII letters, digits, `-` and `_` only. So it is safe as a path component and as a part of a cargo argument.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PackageName(String);

/// One version of a package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Package {
    /// Which package.
    pub name: PackageName,
    /// Which version.
    pub version: Version,
}

impl PackageName {
    /// Reads a name.
    pub fn parse(text: &str) -> Result<Self, BadPackage> {
        let fits = (1..=NAME_BYTES_MAX).contains(&text.len())
            && !text.starts_with('-')
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        fits.then(|| Self(text.to_owned())).ok_or_else(|| BadPackage::Name(excerpt(text)))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads a semantic version, naming it when it is none.
pub(crate) fn parse_version(text: &str) -> Result<Version, BadPackage> {
    Version::parse(text).map_err(|cause| BadPackage::Version { text: excerpt(text), cause: cause.to_string() })
}

/// The beginning of hostile text, fit for a message.
pub(crate) fn excerpt(text: &str) -> String {
    text.escape_debug().take(80).collect()
}

impl TryFrom<String> for PackageName {
    type Error = BadPackage;

    fn try_from(text: String) -> Result<Self, BadPackage> {
        Self::parse(&text)
    }
}

impl From<PackageName> for String {
    fn from(name: PackageName) -> Self {
        name.0
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Display for Package {
    /// As cargo writes a package specification.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_neither_a_path_nor_an_option() {
        for text in ["", ".", "..", "../x", "a/b", "--config", "a b", "a\0", "é", &"a".repeat(65)] {
            assert!(PackageName::parse(text).is_err(), "{text:?}");
        }
        for text in ["a", "serde_json", "crossbeam-channel", "_x", "Inflector"] {
            assert!(PackageName::parse(text).is_ok(), "{text:?}");
        }
    }
}
