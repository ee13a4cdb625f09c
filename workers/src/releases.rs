//! What cargo knows about the releases of a package: its cache of the registry's sparse index.
//!
//! cargo writes the cache whenever it asks the registry, and keeps each release's line as the registry sent it, with
//! the moment of publication in `pubtime`. Reading it needs no client, no address and no credential of our own: the
//! registry is whichever cargo was configured to use.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use selvedge_domain::Time;
use semver::{Version, VersionReq};
use serde::Deserialize;

use crate::PackageName;
use crate::package::excerpt;

/// Why the releases of a package are not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReleasesError {
    /// cargo never asked, or uses a registry without an index (a vendored directory).
    #[error("cargo has no index of the releases of `{0}`")]
    Absent(PackageName),
    /// The cache could not be read.
    #[error("cannot read cargo's index cache `{}`: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: std::io::Error },
    /// The cache is in a form we do not know.
    #[error("cargo's index cache `{}` is not in the form we know: {because}", path.display())]
    Malformed { path: PathBuf, because: String },
}

/// The longest index file on the public registry is about 8 MiB.
const CACHE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// More registries than anyone configures.
const REGISTRIES_MAX: usize = 64;

/// The form of cache cargo has written since 1.60: this byte, a 32-bit index version, then parts that end in NUL.
const CACHE_FORMAT: u8 = 3;
const HEADER_BYTES: usize = 5;

/// One release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Release {
    pub(crate) version: Version,
    /// When it was published; none where the registry does not say.
    pub(crate) published: Option<Time>,
    /// Taken back by its authors.
    pub(crate) yanked: bool,
    /// SHA-256 of its archive.
    pub(crate) checksum: String,
    needs: Vec<Requirement>,
}

/// That one package needs another in these versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Requirement {
    pub(crate) name: PackageName,
    pub(crate) range: VersionReq,
}

#[derive(Deserialize)]
struct Line {
    name: String,
    vers: String,
    #[serde(default)]
    deps: Vec<Dependency>,
    cksum: String,
    #[serde(default)]
    yanked: bool,
    pubtime: Option<String>,
}

/// A dependency, in the index or in `cargo metadata`.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    name: String,
    req: String,
    /// The real name, where `name` is what the code calls it (index only).
    package: Option<String>,
}

/// The releases of one package, oldest version first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Releases(BTreeMap<Version, Release>);

impl Releases {
    /// Reads every cache beneath `cargo_home` that knows `name`.
    ///
    /// Several registries may be configured and their directories' names are cargo's secret. So where two know a
    /// release, the more cautious word counts: the younger age, the taken-back state; and a caller compares the checksum
    /// with the one cargo then locks.
    pub(crate) fn read(cargo_home: &Path, name: &PackageName) -> Result<Self, ReleasesError> {
        let mut releases: BTreeMap<Version, Release> = BTreeMap::new();
        for path in caches(cargo_home, name)? {
            for release in parse_cache(&read_bounded(&path)?, name)
                .map_err(|because| ReleasesError::Malformed { path: path.clone(), because })?
            {
                match releases.get_mut(&release.version) {
                    None => {
                        releases.insert(release.version.clone(), release);
                    }
                    Some(known) if known.checksum != release.checksum => known.published = None,
                    Some(known) => {
                        known.published = known.published.zip(release.published).map(|(a, b)| a.max(b));
                        known.yanked |= release.yanked;
                    }
                }
            }
        }
        if releases.is_empty() { Err(ReleasesError::Absent(name.clone())) } else { Ok(Self(releases)) }
    }

    /// Every release, oldest version first.
    pub(crate) fn all(&self) -> impl DoubleEndedIterator<Item = &Release> {
        self.0.values()
    }

    /// The release of one version.
    pub(crate) fn get(&self, version: &Version) -> Option<&Release> {
        self.0.get(version)
    }
}

impl Release {
    /// In which versions this release needs `name`; several when it uses two at once under different names.
    pub(crate) fn needs<'a>(&'a self, name: &'a PackageName) -> impl Iterator<Item = &'a VersionReq> {
        self.needs.iter().filter(move |need| need.name == *name).map(|need| &need.range)
    }
}

impl Dependency {
    /// The requirement, by the real name.
    pub(crate) fn read(&self) -> Result<Requirement, String> {
        Ok(Requirement {
            name: PackageName::parse(self.package.as_ref().unwrap_or(&self.name)).map_err(|bad| bad.to_string())?,
            range: VersionReq::parse(&self.req)
                .map_err(|cause| format!("`{}` is not a requirement: {cause}", excerpt(&self.req)))?,
        })
    }
}

fn caches(cargo_home: &Path, name: &PackageName) -> Result<Vec<PathBuf>, ReleasesError> {
    let index = cargo_home.join("registry").join("index");
    let unreadable = |cause| ReleasesError::Unreadable { path: index.clone(), cause };
    let registries = match std::fs::read_dir(&index) {
        Ok(registries) => registries,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Err(ReleasesError::Absent(name.clone())),
        Err(cause) => return Err(unreadable(cause)),
    };
    let mut found = Vec::new();
    for registry in registries.take(REGISTRIES_MAX) {
        let path = registry.map_err(unreadable)?.path().join(".cache").join(beneath_cache(name));
        if path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Where a package's file lies, by the index's rule: `1/a`, `2/ab`, `3/a/abc`, `ab/cd/abcd`; in lower case.
fn beneath_cache(name: &PackageName) -> PathBuf {
    let name = name.as_str().to_ascii_lowercase();
    let part = |range: std::ops::Range<usize>| name.get(range).unwrap_or_default().to_owned();
    match name.len() {
        1 => PathBuf::from("1"),
        2 => PathBuf::from("2"),
        3 => Path::new("3").join(part(0..1)),
        _ => Path::new(&part(0..2)).join(part(2..4)),
    }
    .join(&name)
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, ReleasesError> {
    let unreadable = |cause| ReleasesError::Unreadable { path: path.to_owned(), cause };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .map_err(unreadable)?
        .take(CACHE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    // A buffer's length fits 64 bits.
    if bytes.len() as u64 > CACHE_BYTES_MAX {
        return Err(ReleasesError::Malformed { path: path.to_owned(), because: "it passes 64 MiB".to_owned() });
    }
    Ok(bytes)
}

/// Reads a cache: after the header come the registry's revision, then version and line in turn, each ended by NUL.
fn parse_cache(bytes: &[u8], name: &PackageName) -> Result<Vec<Release>, String> {
    if bytes.first() != Some(&CACHE_FORMAT) {
        return Err(format!("it begins with {:?} and not with {CACHE_FORMAT}", bytes.first()));
    }
    let mut parts = bytes.get(HEADER_BYTES..).unwrap_or_default().split(|byte| *byte == 0);
    let _revision = parts.next();
    let mut releases = Vec::new();
    while let (Some(version), Some(line)) = (parts.next(), parts.next()) {
        let line: Line = serde_json::from_slice(line)
            .map_err(|cause| format!("the line of `{}`: {cause}", excerpt(&String::from_utf8_lossy(version))))?;
        if line.name != name.as_str() {
            return Err(format!("it is about `{}`", excerpt(&line.name)));
        }
        releases.push(line.read()?);
    }
    Ok(releases)
}

impl Line {
    fn read(&self) -> Result<Release, String> {
        Ok(Release {
            version: crate::package::parse_version(&self.vers).map_err(|bad| bad.to_string())?,
            published: self.pubtime.as_deref().and_then(crate::moment::parse),
            yanked: self.yanked,
            checksum: self.cksum.clone(),
            // Releases from before the registry checked names and requirements are older than any lock file we judge;
            // a need we cannot read is left out and cargo has the last word.
            needs: self.deps.iter().filter_map(|dependency| dependency.read().ok()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What cargo 1.95 wrote for `time-core` from the public registry.
    const CAPTURED: &[u8] = include_bytes!("../tests/data/index-cache-time-core");

    fn name(text: &str) -> PackageName {
        PackageName::parse(text).unwrap()
    }

    fn home_with(registries: &[(&str, &[u8])]) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        for (registry, bytes) in registries {
            let directory = home.path().join("registry/index").join(registry).join(".cache/ti/me");
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join("time-core"), bytes).unwrap();
        }
        home
    }

    #[test]
    fn a_real_cache_reads_with_ages_and_checksums() {
        let home = home_with(&[("a", CAPTURED)]);
        let releases = Releases::read(home.path(), &name("time-core")).unwrap();
        let first = releases.get(&Version::new(0, 1, 0)).unwrap();
        assert_eq!(first.checksum, "2e153e1f1acaef8acc537e68b44906d2db6436e2b35ac2c6b42640fff91f00fd");
        assert!(first.published.unwrap().to_string().starts_with("2022-"), "{first:?}");
        assert!(releases.all().count() >= 9 && releases.all().is_sorted_by(|a, b| a.version < b.version));
    }

    #[test]
    fn two_registries_that_differ_give_the_more_cautious_word() {
        let line = |published: &str, checksum: &str, yanked: &str| {
            format!(
                "\u{3}\u{2}\0\0\0rev\x001.0.0\0{{\"name\":\"time-core\",\"vers\":\"1.0.0\",\"deps\":[],\"cksum\":\"{checksum}\",\"features\":{{}},\"yanked\":{yanked}{published}}}\0"
            )
        };
        let (old, young) = (r#","pubtime":"2020-01-01T00:00:00Z""#, r#","pubtime":"2026-01-01T00:00:00Z""#);
        let read = |one: String, other: String| {
            let home = home_with(&[("one", one.as_bytes()), ("other", other.as_bytes())]);
            Releases::read(home.path(), &name("time-core")).unwrap().get(&Version::new(1, 0, 0)).unwrap().clone()
        };
        let both = read(line(old, "aa", "false"), line(young, "aa", "true"));
        assert!(both.yanked && both.published.unwrap().to_string().starts_with("2026-"));
        assert_eq!(read(line(old, "aa", "false"), line("", "aa", "false")).published, None);
        assert_eq!(read(line(old, "aa", "false"), line(old, "bb", "false")).published, None);
    }

    #[test]
    fn what_cargo_does_not_know_or_we_cannot_read_is_an_error() {
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(Releases::read(empty.path(), &name("time-core")), Err(ReleasesError::Absent(_))));
        for bytes in [
            &b""[..],
            b"\x04\0\0\0\0",
            b"\x03\x02\0\0\0rev\x001.0.0\0{}\0",
            b"\x03\x02\0\0\0rev\x001.0.0\0{\"name\":\"other\",\"vers\":\"1.0.0\",\"cksum\":\"\"}\0",
        ] {
            let home = home_with(&[("a", bytes)]);
            assert!(
                matches!(Releases::read(home.path(), &name("time-core")), Err(ReleasesError::Malformed { .. })),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn names_lie_where_the_index_puts_them() {
        for (text, path) in [("a", "1/a"), ("ab", "2/ab"), ("abc", "3/a/abc"), ("Time-Core", "ti/me/time-core")] {
            assert_eq!(beneath_cache(&name(text)), Path::new(path));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_damage_is_read_without_panic(at in 0.0_f64..1.0, cut in 0_usize..40, with in proptest::collection::vec(proptest::num::u8::ANY, 0..12)) {
            let mut bytes = CAPTURED.to_vec();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a small length")]
            let at = (at * bytes.len() as f64) as usize;
            bytes.splice(at..(at + cut).min(bytes.len()), with);
            let _ = parse_cache(&bytes, &name("time-core"));
        }
    }
}
