//! An advisory database: a directory of known vulnerabilities, judged as a whole.
//!
//! Owns: reading RustSec and OSV files, and whether a version is affected. Never knows: lock files, registries, fixes.
//! A file that cannot be read is an error that names it; nothing is skipped in silence, because a skipped advisory
//! would read as "not vulnerable".

mod osv;
mod range;
mod rustsec;
mod severity;
mod walk;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use selvedge_domain::Time;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::package::excerpt;
use crate::{Package, PackageName};
pub use range::Affected;
pub use severity::Severity;

/// Why a directory is no advisory database. Whoever gets this cannot say "clean".
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// A file or directory could not be read.
    #[error("cannot read `{}`: {cause}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A file is no advisory.
    #[error("`{}` is not an advisory: {because}; take a fresh copy of the database, or remove the file to judge without it", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        because: String,
    },
    /// Larger than any database we know.
    #[error("`{}` passes the limit of {limit}; point to the advisories alone", path.display())]
    TooLarge {
        /// Where the limit was passed.
        path: PathBuf,
        /// Which limit.
        limit: &'static str,
    },
    /// Nothing to judge with.
    #[error("`{}` holds no advisory: expected `RUSTSEC-*.md` files or OSV `*.json` files of the ecosystem crates.io", path.display())]
    Empty {
        /// The directory.
        path: PathBuf,
    },
}

/// An advisory's identifier, for example `RUSTSEC-2024-0421`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AdvisoryId(String);

/// What an advisory tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A vulnerability.
    Vulnerability,
    /// Unsound: safe code can reach undefined behaviour; told, but no known vulnerability.
    Unsound,
    /// Nobody maintains the package.
    Unmaintained,
    /// Something else worth knowing.
    Notice,
}

/// One advisory about one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advisory {
    /// Its identifier.
    pub id: AdvisoryId,
    /// The package it is about.
    pub package: PackageName,
    /// What it tells.
    pub kind: Kind,
    /// How bad it is, where it says so in a way we can compute.
    pub severity: Option<Severity>,
    /// The versions it is about.
    pub affected: Affected,
    /// When it was last changed, as far as it says.
    pub date: Time,
}

/// What a database is, for the record of a decision made with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// How many advisories it holds.
    pub advisories: usize,
    /// How many more were withdrawn.
    pub withdrawn: usize,
    /// How many files were about other ecosystems.
    pub other_ecosystems: usize,
    /// The date of its newest advisory: the database is at least this recent.
    pub newest: Time,
}

/// A whole advisory database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    by_package: BTreeMap<PackageName, Vec<Advisory>>,
    snapshot: Snapshot,
}

/// What one file came to.
enum Content {
    Advisories(Vec<Advisory>),
    Withdrawn,
    OtherEcosystem,
}

impl Database {
    /// Reads every advisory beneath `directory`.
    pub fn read(directory: &Path) -> Result<Self, DatabaseError> {
        let mut by_package: BTreeMap<PackageName, Vec<Advisory>> = BTreeMap::new();
        let mut snapshot = Snapshot { advisories: 0, withdrawn: 0, other_ecosystems: 0, newest: Time::from_millis(0) };
        walk::for_each_file(directory, |path, format, bytes| {
            let content = match format {
                walk::Format::RustSec => rustsec::parse(bytes),
                walk::Format::Osv => osv::parse(bytes),
            };
            let malformed = |because| DatabaseError::Malformed { path: path.to_owned(), because };
            match content.map_err(malformed)? {
                Content::Withdrawn => snapshot.withdrawn += 1,
                Content::OtherEcosystem => snapshot.other_ecosystems += 1,
                Content::Advisories(advisories) => {
                    snapshot.advisories += 1;
                    for advisory in advisories {
                        snapshot.newest = snapshot.newest.max(advisory.date);
                        by_package.entry(advisory.package.clone()).or_default().push(advisory);
                    }
                }
            }
            Ok(())
        })?;
        if snapshot.advisories == 0 {
            return Err(DatabaseError::Empty { path: directory.to_owned() });
        }
        for advisories in by_package.values_mut() {
            advisories.sort_by(|a, b| a.id.cmp(&b.id));
        }
        Ok(Self { by_package, snapshot })
    }

    /// The advisories that concern this version, in the order of their identifiers.
    pub fn about<'a>(&'a self, name: &PackageName, version: &'a Version) -> impl Iterator<Item = &'a Advisory> {
        self.by_package.get(name).into_iter().flatten().filter(move |advisory| advisory.affected.covers(version))
    }

    /// The known vulnerabilities of a package.
    pub fn vulnerabilities<'a>(&'a self, package: &'a Package) -> impl Iterator<Item = &'a Advisory> {
        self.about(&package.name, &package.version).filter(|advisory| advisory.kind == Kind::Vulnerability)
    }

    /// Every advisory, by package and identifier.
    pub fn advisories(&self) -> impl Iterator<Item = &Advisory> {
        self.by_package.values().flatten()
    }

    /// What this database is.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
}

impl AdvisoryId {
    /// Reads an identifier: letters, digits and dashes.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        fits.then(|| Self(text.to_owned()))
            .ok_or_else(|| format!("`{}` is not an advisory's identifier", excerpt(text)))
    }

    /// The identifier.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Kind {
    /// The kind behind the field `informational`. A word we do not know counts as a vulnerability: better a false alarm.
    fn from_informational(word: Option<&str>) -> Self {
        match word {
            Some("unsound") => Self::Unsound,
            Some("unmaintained") => Self::Unmaintained,
            Some("notice") => Self::Notice,
            Some(_) | None => Self::Vulnerability,
        }
    }
}

impl TryFrom<String> for AdvisoryId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<AdvisoryId> for String {
    fn from(id: AdvisoryId) -> Self {
        id.0
    }
}

impl fmt::Display for AdvisoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AdvisoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
