//! Moving one vulnerable package, and judging everything that moved with it.
//!
//! cargo chooses the newest release of whatever a fix newly needs. That is exactly how an hours-old malicious release
//! would come in (A-112), so every package that moved is held to the same rules as the fix itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use semver::Version;

use super::cargo::{Cargo, CargoError};
use super::plan::{self, Constraint, NoCandidate, Rules};
use super::report::{Bump, Moved};
use super::scan;
use crate::Package;
use crate::advisories::{Advisory, Database};
use crate::lockfile::{Locked, Lockfile, LockfileError, Source};
use crate::releases::{Release, Releases, ReleasesError};

/// Why a package stays as it is. The text is for people.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stays {
    #[error("{0}")]
    NoCandidate(NoCandidate),
    #[error("{0}")]
    Cargo(#[from] CargoError),
    #[error("{0}")]
    Releases(#[from] ReleasesError),
    #[error("{0}")]
    Lockfile(#[from] LockfileError),
    #[error("cannot use the lock file `{}`: {cause}", path.display())]
    Unusable { path: PathBuf, cause: std::io::Error },
    #[error("moving it to {to} would bring in `{package}`, {because}")]
    BringsIn { to: Version, package: String, because: String },
    #[error("cargo locked `{0}` in spite of being told to move it")]
    StillThere(String),
}

/// Releases of the fix that are tried; each is a run of cargo, and the first nearly always does.
const CANDIDATES_MAX: usize = 5;

/// Times that a package brought in along is moved to an older release.
const SETTLING_MAX: usize = 40;

/// One workspace under repair.
pub(super) struct Workshop<'a> {
    pub(super) cargo: Cargo,
    pub(super) lock_path: PathBuf,
    pub(super) database: &'a Database,
    pub(super) rules: Rules,
}

impl Workshop<'_> {
    /// Moves `target` to the smallest release that will do. On failure the lock file is as it was.
    pub(super) fn fix(&self, target: &Package, advisories: &[&Advisory]) -> Result<Bump, Stays> {
        let bytes = read_lock(&self.lock_path)?;
        let before = Lockfile::parse(&bytes)?;
        self.cargo.ask_registry(target)?;
        let releases = Releases::read(self.cargo.home(), &target.name)?;
        let constraints = self.constraints(&before, target)?;
        let candidates = match plan::candidates(target, &releases, &constraints, self.database, self.rules) {
            Ok(candidates) => candidates,
            Err(NoCandidate::Blocked { fixed, by }) => {
                let lifted = self.lift(&before, target, &releases, &by, advisories);
                if lifted.is_err() {
                    self.restore(&bytes)?;
                }
                return lifted.map_err(|_| Stays::NoCandidate(NoCandidate::Blocked { fixed, by }));
            }
            Err(none) => return Err(Stays::NoCandidate(none)),
        };
        let mut first_failure = None;
        for release in candidates.into_iter().take(CANDIDATES_MAX) {
            match self.try_release(&before, target, release, target, advisories) {
                Ok(bump) => return Ok(bump),
                Err(stays) => {
                    self.restore(&bytes)?;
                    first_failure.get_or_insert(stays);
                }
            }
        }
        Err(first_failure.unwrap_or(Stays::NoCandidate(NoCandidate::NoFix)))
    }

    /// Where one package keeps `target` from its fix, moves that one: to its smallest release, by the same rules, that
    /// asks for a fixed release of `target` or for none at all. Leaves the lock file to the caller when it fails.
    fn lift(
        &self,
        before: &Lockfile,
        target: &Package,
        releases: &Releases,
        by: &[Constraint],
        advisories: &[&Advisory],
    ) -> Result<Bump, Stays> {
        let none = || Stays::NoCandidate(NoCandidate::NoFix);
        let [Constraint { parent, .. }] = by else { return Err(none()) };
        let fixed = plan::candidates(target, releases, &[], self.database, self.rules).map_err(Stays::NoCandidate)?;
        let of_parent = Releases::read(self.cargo.home(), &parent.name)?;
        let constraints = self.constraints(before, parent)?;
        let candidates = plan::candidates(parent, &of_parent, &constraints, self.database, self.rules)
            .map_err(Stays::NoCandidate)?;
        let lets_go = |release: &&Release| {
            release.needs(&target.name).all(|range| fixed.iter().any(|fixed| range.matches(&fixed.version)))
        };
        let release = candidates.into_iter().find(lets_go).ok_or_else(none)?;
        self.try_release(before, parent, release, target, advisories)
    }

    /// Moves `moved` to `release`, after which `vulnerable`, which may be the same, must be gone.
    fn try_release(
        &self,
        before: &Lockfile,
        moved: &Package,
        release: &Release,
        vulnerable: &Package,
        advisories: &[&Advisory],
    ) -> Result<Bump, Stays> {
        self.cargo.move_to(moved, &release.version)?;
        let after = self.settle(before, &release.version)?;
        let is = |package: &Package| after.from_registry().any(|locked| locked.package == *package);
        let new = Package { name: moved.name.clone(), version: release.version.clone() };
        if is(vulnerable) || !is(&new) {
            return Err(Stays::StillThere(vulnerable.to_string()));
        }
        Ok(Bump {
            package: moved.name.to_string(),
            from: moved.version.to_string(),
            to: release.version.to_string(),
            release_age_days: self.rules.age_days(release),
            advisories_fixed: scan::ids(advisories),
            also_changed: self.also_changed(before, &after, moved, &new)?,
        })
    }

    /// Judges what came in, and moves what is too young to the newest release that is not. Gives the lock file as it
    /// then is, in which everything new has passed.
    fn settle(&self, before: &Lockfile, to: &Version) -> Result<Lockfile, Stays> {
        let mut tried = BTreeSet::new();
        loop {
            let after = Lockfile::parse(&read_lock(&self.lock_path)?)?;
            let Some((locked, because)) = self.first_refused(before, &after)? else { return Ok(after) };
            let brings_in =
                || Stays::BringsIn { to: to.clone(), package: locked.package.to_string(), because: because.clone() };
            let releases = Releases::read(self.cargo.home(), &locked.package.name)?;
            let older = releases.all().rev().find(|release| {
                let package = Package { name: locked.package.name.clone(), version: release.version.clone() };
                release.version < locked.package.version
                    && !release.yanked
                    && self.rules.is_old_enough(release)
                    && self.database.vulnerabilities(&package).next().is_none()
                    && tried.insert(package)
            });
            let older = older.filter(|_| tried.len() <= SETTLING_MAX).ok_or_else(brings_in)?;
            // Refused means outside what its parents ask for, and then no older release will do.
            self.cargo.move_to(&locked.package, &older.version).map_err(|_| brings_in())?;
        }
    }

    /// The first new package that may not come in, and why.
    fn first_refused<'a>(&self, before: &Lockfile, after: &'a Lockfile) -> Result<Option<(&'a Locked, String)>, Stays> {
        for locked in after.packages().iter().filter(|locked| !before.packages().contains(locked)) {
            if let Some(because) = self.refusal(before, locked)? {
                return Ok(Some((locked, because)));
            }
        }
        Ok(None)
    }

    fn refusal(&self, before: &Lockfile, locked: &Locked) -> Result<Option<String>, Stays> {
        let same = |one: &&Locked| {
            one.package == locked.package && one.source == locked.source && one.checksum == locked.checksum
        };
        // The same package with other dependencies of its own.
        if before.packages().iter().any(|one| same(&one)) {
            return Ok(None);
        }
        if locked.source != Source::CratesIo {
            return Ok(Some("which is not from the public registry".to_owned()));
        }
        if let Some(advisory) = self.database.vulnerabilities(&locked.package).next() {
            return Ok(Some(format!("which {} is about", advisory.id)));
        }
        let releases = Releases::read(self.cargo.home(), &locked.package.name)?;
        Ok(match releases.get(&locked.package.version) {
            None => Some("which cargo's index does not list".to_owned()),
            Some(release) if locked.checksum.as_ref() != Some(&release.checksum) => {
                Some("whose checksum is not the one in cargo's index".to_owned())
            }
            Some(release) if !self.rules.is_old_enough(release) => Some(match self.rules.age_days(release) {
                Some(days) => format!(
                    "which is {days} days old; the minimum release age is {} days",
                    self.rules.release_age_days_min
                ),
                None => {
                    format!("whose age is unknown; the minimum release age is {} days", self.rules.release_age_days_min)
                }
            }),
            Some(_) => None,
        })
    }

    /// What each parent of `target` asks for, as far as it is known; where it is not, cargo has the last word.
    fn constraints(&self, lock: &Lockfile, target: &Package) -> Result<Vec<Constraint>, Stays> {
        let members = self.cargo.members()?;
        let mut constraints = Vec::new();
        for parent in lock.parents(target) {
            let ranges: Vec<_> = match parent.source {
                Source::Local => {
                    let of_parent = members.iter().filter(|(member, _)| *member == parent.package);
                    of_parent
                        .flat_map(|(_, needs)| needs)
                        .filter(|need| need.name == target.name)
                        .map(|need| need.range.clone())
                        .collect()
                }
                Source::CratesIo => {
                    let releases = Releases::read(self.cargo.home(), &parent.package.name).ok();
                    let release = releases.as_ref().and_then(|releases| releases.get(&parent.package.version));
                    release.into_iter().flat_map(|release| release.needs(&target.name)).cloned().collect()
                }
                Source::Other(_) => Vec::new(),
            };
            // A parent may use two versions at once; only the need that this version meets is about it.
            let about = ranges.into_iter().filter(|range| range.matches(&target.version));
            constraints.extend(about.map(|range| Constraint { parent: parent.package.clone(), range }));
        }
        Ok(constraints)
    }

    fn also_changed(
        &self,
        before: &Lockfile,
        after: &Lockfile,
        target: &Package,
        fixed: &Package,
    ) -> Result<Vec<Moved>, Stays> {
        let of = |lock: &Lockfile| lock.packages().iter().map(|locked| locked.package.clone()).collect::<BTreeSet<_>>();
        let (before, after) = (of(before), of(after));
        let mut gone: Vec<&Package> = before.difference(&after).filter(|package| *package != target).collect();
        let mut moved = Vec::new();
        for package in after.difference(&before).filter(|package| *package != fixed) {
            let from =
                gone.iter().position(|one| one.name == package.name).map(|at| gone.remove(at).version.to_string());
            let releases = Releases::read(self.cargo.home(), &package.name)?;
            moved.push(Moved {
                package: package.name.to_string(),
                from,
                to: Some(package.version.to_string()),
                release_age_days: releases.get(&package.version).and_then(|release| self.rules.age_days(release)),
            });
        }
        moved.extend(gone.iter().map(|package| Moved {
            package: package.name.to_string(),
            from: Some(package.version.to_string()),
            to: None,
            release_age_days: None,
        }));
        moved.sort_by(|a, b| a.package.cmp(&b.package));
        Ok(moved)
    }

    fn restore(&self, bytes: &[u8]) -> Result<(), Stays> {
        fs::write(&self.lock_path, bytes).map_err(|cause| Stays::Unusable { path: self.lock_path.clone(), cause })
    }
}

/// Reads a lock file; its size is bounded by [`Lockfile::parse`].
pub(super) fn read_lock(path: &Path) -> Result<Vec<u8>, Stays> {
    crate::lockfile::read_bounded(path).map_err(|cause| Stays::Unusable { path: path.to_owned(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PackageName;

    const CHECKSUM: &str = "2e153e1f1acaef8acc537e68b44906d2db6436e2b35ac2c6b42640fff91f00fd";

    /// Judges `time-core` 0.1.0, locked with `checksum`, as something that came in.
    fn refusal(checksum: &str, release_age_days_min: u64) -> Option<String> {
        let (home, advisories) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let cache = home.path().join("registry/index/any/.cache/ti/me");
        fs::create_dir_all(&cache).unwrap();
        fs::write(cache.join("time-core"), include_bytes!("../../tests/data/index-cache-time-core")).unwrap();
        let advisory = "```toml\n[advisory]\nid = \"X-1\"\npackage = \"a\"\ndate = \"2026-01-01\"\n[versions]\npatched = []\n```\n";
        fs::write(advisories.path().join("RUSTSEC-1.md"), advisory).unwrap();
        let workshop = Workshop {
            cargo: Cargo::new(home.path(), home.path()),
            lock_path: home.path().join("Cargo.lock"),
            database: &Database::read(advisories.path()).unwrap(),
            rules: Rules { now: selvedge_domain::Time::from_millis(1_795_132_800_000), release_age_days_min },
        };
        let lock = format!(
            "version = 4\n[[package]]\nname = \"time-core\"\nversion = \"0.1.0\"\nchecksum = \"{checksum}\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n"
        );
        let (before, after) = (Lockfile::parse(b"version = 4").unwrap(), Lockfile::parse(lock.as_bytes()).unwrap());
        let locked = after.from_registry().next().unwrap();
        assert_eq!(locked.package.name, PackageName::parse("time-core").unwrap());
        workshop.refusal(&before, locked).unwrap()
    }

    #[test]
    fn an_age_counts_only_for_the_archive_it_was_told_of() {
        assert_eq!(refusal(CHECKSUM, 3), None);
        assert_eq!(refusal(&CHECKSUM.replace('2', "3"), 3).unwrap(), "whose checksum is not the one in cargo's index");
        assert!(refusal(CHECKSUM, 100_000).unwrap().contains("the minimum release age is 100000 days"));
    }
}
