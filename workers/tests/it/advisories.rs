//! Advisory databases, with a part of the real one.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::demo;
use selvedge_workers::advisories::{Database, DatabaseError, Kind};
use selvedge_workers::{Package, PackageName};
use semver::Version;

/// For advisories of the demonstration's database: versions at and around every bound, and whether the `rustsec` crate
/// (0.33.0, the library behind cargo-audit) calls them affected.
const REFERENCE: &str = include_str!("../data/affected.tsv");

fn real() -> Database {
    Database::read(&demo("advisories")).unwrap()
}

fn error(directory: &Path) -> DatabaseError {
    Database::read(directory).unwrap_err()
}

#[test]
fn every_advisory_and_version_is_judged_as_the_reference_does() {
    let database = real();
    let mut judged = BTreeSet::new();
    for line in REFERENCE.lines() {
        let [id, version, word] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let advisory = database
            .advisories()
            .find(|advisory| advisory.id.as_str() == id)
            .unwrap_or_else(|| panic!("{id} is missing"));
        assert_eq!(advisory.affected.covers(&Version::parse(version).unwrap()), word == "affected", "{id} {version}");
        judged.insert(id);
    }
    assert_eq!(
        (judged.len(), REFERENCE.lines().count()),
        (database.snapshot().advisories, 1890),
        "every advisory is in the reference"
    );
}

#[test]
fn the_real_database_is_told_apart_by_kind() {
    let database = real();
    let snapshot = database.snapshot();
    assert!(snapshot.withdrawn >= 2 && snapshot.newest.to_string().starts_with("2026-08-20"), "{snapshot:?}");
    for kind in [Kind::Vulnerability, Kind::Unsound, Kind::Unmaintained, Kind::Notice] {
        assert!(database.advisories().any(|advisory| advisory.kind == kind), "{kind:?}");
    }
    let package = |name: &str, version: &str| Package {
        name: PackageName::parse(name).unwrap(),
        version: Version::parse(version).unwrap(),
    };
    let ids = |package: &Package| {
        database.vulnerabilities(package).map(|advisory| advisory.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&package("time", "0.3.17")), ["RUSTSEC-2026-0009"]);
    assert_eq!(ids(&package("time", "0.3.47")), [""; 0]);
    assert_eq!(ids(&package("owning_ref", "0.4.1")), ["RUSTSEC-2022-0040"]);
    assert_eq!(ids(&package("atty", "0.2.14")), [""; 0], "unsound is told, not counted");
    assert!(database.about(&PackageName::parse("atty").unwrap(), &Version::new(0, 2, 14)).next().is_some());
}

#[test]
fn one_damaged_file_spoils_the_database_and_is_named() {
    let copy = tempfile::tempdir().unwrap();
    crate::support::copy(&demo("advisories"), copy.path());
    Database::read(copy.path()).unwrap();
    let damaged = copy.path().join("crates/time/RUSTSEC-2026-0009.md");
    let whole = fs::read_to_string(&damaged).unwrap();
    fs::write(&damaged, whole.split_at(whole.len() / 8).0).unwrap();
    let error = error(copy.path());
    assert!(matches!(&error, DatabaseError::Malformed { path, .. } if *path == damaged));
    assert!(error.to_string().contains("take a fresh copy of the database"), "{error}");
}

#[test]
fn nothing_to_judge_with_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(error(&directory.path().join("absent")), DatabaseError::Unreadable { .. }));
    assert!(matches!(error(directory.path()), DatabaseError::Empty { .. }));
    fs::write(directory.path().join("README.md"), "# advisories").unwrap();
    fs::write(
        directory.path().join("npm.json"),
        r#"{"id":"X-1","modified":"2026-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"a"}}]}"#,
    )
    .unwrap();
    assert!(matches!(error(directory.path()), DatabaseError::Empty { .. }));
}

#[test]
fn hostile_directories_are_bounded() {
    let directory = tempfile::tempdir().unwrap();
    crate::support::copy(&demo("advisories/crates/time"), &directory.path().join("crates/time"));
    Database::read(directory.path()).unwrap();
    let big = directory.path().join("big.json");
    fs::write(&big, vec![b' '; 1024 * 1024 + 1]).unwrap();
    assert!(matches!(error(directory.path()), DatabaseError::TooLarge { path, .. } if path == big));
    fs::remove_file(big).unwrap();
    let deep = directory.path().join("a/b/c/d/e/f");
    fs::create_dir_all(&deep).unwrap();
    assert!(matches!(error(directory.path()), DatabaseError::TooLarge { .. }));
    fs::remove_dir_all(directory.path().join("a")).unwrap();
    std::os::unix::fs::symlink("/etc", directory.path().join("crates/link")).unwrap();
    assert!(matches!(error(directory.path()), DatabaseError::Malformed { .. }));
}

#[test]
fn advisories_about_the_toolchain_are_not_about_packages() {
    let directory = tempfile::tempdir().unwrap();
    let of_time = demo("advisories/crates/time");
    crate::support::copy(&of_time, &directory.path().join("crates/time"));
    let only_packages = Database::read(directory.path()).unwrap();
    crate::support::copy(&of_time, &directory.path().join("rust/std"));
    crate::support::copy(&of_time, &directory.path().join(".git/time"));
    assert_eq!(Database::read(directory.path()).unwrap(), only_packages);
}
