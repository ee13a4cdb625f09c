//! Cargo's lock file, versions 1 to 4: which packages a workspace is built from, and who needs them.
//!
//! Owns: reading `Cargo.lock`. Never writes one: that is cargo's work.

use std::io::Read as _;

use semver::Version;
use serde::Deserialize;

use crate::package::{BadPackage, excerpt, parse_version};
use crate::{Package, PackageName};

/// Why bytes are no lock file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockfileError {
    /// Larger than any lock file we know.
    #[error("the lock file passes the limit of {0}")]
    TooLarge(&'static str),
    /// Not the format.
    #[error("the lock file cannot be read: {0}")]
    Malformed(String),
    /// A newer format than we know.
    #[error("the lock file has version {0}; versions 1 to 4 are known")]
    Version(u64),
    /// A package that could not exist.
    #[error("the lock file cannot be read: {0}")]
    Package(#[from] BadPackage),
}

/// The lock file of a workspace of 2,000 packages has 600 KiB.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// The largest workspaces we know lock some 3,000.
const PACKAGES_MAX: usize = 50_000;

/// How cargo names the public registry, whichever protocol it used to reach it.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Where a locked package comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A path: a member of the workspace, or beside it.
    Local,
    /// The public registry, which advisories are about.
    CratesIo,
    /// Another registry, or a git repository; advisories cannot judge it.
    Other(String),
}

/// One locked package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// Name and version.
    pub package: Package,
    /// Where it comes from.
    pub source: Source,
    /// SHA-256 of the archive, where the registry gave one.
    pub checksum: Option<String>,
    needs: Vec<Need>,
}

/// A reference from one package to another; the version is left out when the name alone is unique.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Need {
    name: PackageName,
    version: Option<Version>,
}

/// A lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lockfile {
    packages: Vec<Locked>,
}

#[derive(Deserialize)]
struct File {
    version: Option<u64>,
    root: Option<Entry>,
    #[serde(default)]
    package: Vec<Entry>,
    #[serde(default)]
    metadata: std::collections::BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

impl Lockfile {
    /// Reads a lock file.
    pub fn parse(bytes: &[u8]) -> Result<Self, LockfileError> {
        if bytes.len() > BYTES_MAX {
            return Err(LockfileError::TooLarge("16 MiB"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| LockfileError::Malformed("it is not UTF-8".to_owned()))?;
        let file: File = toml::from_str(text).map_err(|cause| LockfileError::Malformed(excerpt(cause.message())))?;
        // Versions 1 and 2 do not say so.
        if let Some(version) = file.version.filter(|version| !(1..=4).contains(version)) {
            return Err(LockfileError::Version(version));
        }
        if file.package.len() > PACKAGES_MAX {
            return Err(LockfileError::TooLarge("50,000 packages"));
        }
        let mut packages = file.root.iter().chain(&file.package).map(Entry::read).collect::<Result<Vec<_>, _>>()?;
        for locked in &mut packages {
            // Version 1 keeps the checksums apart, under `checksum <name> <version> (<source>)`.
            if locked.checksum.is_none() && locked.source == Source::CratesIo {
                let key = format!("checksum {} {} ({CRATES_IO})", locked.package.name, locked.package.version);
                locked.checksum = file.metadata.get(&key).and_then(toml::Value::as_str).map(str::to_owned);
            }
        }
        Ok(Self { packages })
    }

    /// Every locked package.
    pub fn packages(&self) -> &[Locked] {
        &self.packages
    }

    /// The packages from the public registry.
    pub fn from_registry(&self) -> impl Iterator<Item = &Locked> {
        self.packages.iter().filter(|locked| locked.source == Source::CratesIo)
    }

    /// The packages that need `package`.
    pub fn parents<'a>(&'a self, package: &'a Package) -> impl Iterator<Item = &'a Locked> {
        self.packages.iter().filter(move |locked| {
            locked.needs.iter().any(|need| {
                need.name == package.name && need.version.as_ref().is_none_or(|version| *version == package.version)
            })
        })
    }
}

/// Reads the bytes of a lock file, but no more than one byte beyond what [`Lockfile::parse`] takes.
pub(crate) fn read_bounded(path: &std::path::Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Entry {
    fn read(&self) -> Result<Locked, LockfileError> {
        Ok(Locked {
            package: Package { name: PackageName::parse(&self.name)?, version: parse_version(&self.version)? },
            source: match self.source.as_deref() {
                None => Source::Local,
                Some(CRATES_IO) => Source::CratesIo,
                Some(other) => Source::Other(other.to_owned()),
            },
            checksum: self.checksum.clone(),
            needs: self.dependencies.iter().map(|text| Need::parse(text)).collect::<Result<_, _>>()?,
        })
    }
}

impl Need {
    /// Reads `name`, `name version` or `name version (source)`.
    fn parse(text: &str) -> Result<Self, LockfileError> {
        let mut words = text.split(' ');
        let name = PackageName::parse(words.next().unwrap_or_default())?;
        let version = words.next().map(parse_version).transpose()?;
        Ok(Self { name, version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = r#"
[root]
name = "app"
version = "0.1.0"
dependencies = ["time 0.1.40 (registry+https://github.com/rust-lang/crates.io-index)"]

[[package]]
name = "time"
version = "0.1.40"
source = "registry+https://github.com/rust-lang/crates.io-index"

[metadata]
"checksum time 0.1.40 (registry+https://github.com/rust-lang/crates.io-index)" = "abc"
"#;
    const V4: &str = r#"
version = 4

[[package]]
name = "app"
version = "0.1.0"
dependencies = ["one", "time 0.1.40", "time 0.3.17"]

[[package]]
name = "one"
version = "1.0.0"
source = "git+https://forge.example/one?rev=1#1"

[[package]]
name = "time"
version = "0.1.40"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "abc"

[[package]]
name = "time"
version = "0.3.17"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "def"
"#;

    fn package(name: &str, version: &str) -> Package {
        Package { name: PackageName::parse(name).unwrap(), version: Version::parse(version).unwrap() }
    }

    #[test]
    fn the_first_format_and_the_last_are_read() {
        for text in [V1, V4] {
            let lock = Lockfile::parse(text.as_bytes()).unwrap();
            let time = lock.from_registry().find(|locked| locked.package == package("time", "0.1.40")).unwrap();
            assert_eq!(time.checksum.as_deref(), Some("abc"));
            assert_eq!(lock.parents(&time.package).map(|p| p.package.to_string()).collect::<Vec<_>>(), ["app@0.1.0"]);
        }
    }

    #[test]
    fn two_versions_of_one_package_have_each_their_parents() {
        let lock = Lockfile::parse(V4.replace(", \"time 0.3.17\"", "").as_bytes()).unwrap();
        assert_eq!(lock.parents(&package("time", "0.1.40")).count(), 1);
        assert_eq!(lock.parents(&package("time", "0.3.17")).count(), 0);
    }

    #[test]
    fn only_the_public_registry_is_judged() {
        let lock = Lockfile::parse(V4.as_bytes()).unwrap();
        assert_eq!(lock.from_registry().count(), 2);
        let sources: Vec<_> = lock.packages().iter().map(|locked| &locked.source).collect();
        assert!(matches!(sources.as_slice(), [Source::Local, Source::Other(_), Source::CratesIo, Source::CratesIo]));
    }

    #[test]
    fn two_sources_that_differ_only_at_the_end_are_two() {
        let long = format!("git+https://forge.example/{}", "a".repeat(500));
        let read = |revision: &str| {
            let text = V4.replace("git+https://forge.example/one?rev=1#1", &format!("{long}#{revision}"));
            Lockfile::parse(text.as_bytes()).unwrap()
        };
        assert_eq!(read("1"), read("1"));
        assert_ne!(read("1"), read("2"));
    }

    #[test]
    fn hostile_lock_files_are_refused() {
        let over = format!("[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n{}", "[[package]]\n");
        for text in [
            "version = 5",
            "package = 1",
            "[[package]]\nname = \"a\"",
            "[[package]]\nname = \"../a\"\nversion = \"1.0.0\"",
            "[[package]]\nname = \"a\"\nversion = \"one\"",
            "[[package]]\nname = \"--config\"\nversion = \"1.0.0\"",
            "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\ndependencies = [\"\"]",
            &over,
            &format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000)),
        ] {
            assert!(Lockfile::parse(text.as_bytes()).is_err(), "{}", excerpt(text));
        }
        assert!(Lockfile::parse(b"\xff").is_err());
        assert_eq!(Lockfile::parse(&vec![b'#'; BYTES_MAX + 1]), Err(LockfileError::TooLarge("16 MiB")));
    }

    proptest::proptest! {
        #[test]
        fn any_damage_is_read_without_panic(at in 0.0_f64..1.0, cut in 0_usize..40, with in proptest::collection::vec(proptest::num::u8::ANY, 0..12)) {
            let mut bytes = V4.as_bytes().to_vec();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a small length")]
            let at = (at * bytes.len() as f64) as usize;
            bytes.splice(at..(at + cut).min(bytes.len()), with);
            let _ = Lockfile::parse(&bytes);
        }
    }
}
