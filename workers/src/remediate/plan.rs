//! Which release to try: the smallest one that is allowed, free of known vulnerabilities and old enough. Pure.

use std::fmt;

use selvedge_domain::Time;
use semver::{Version, VersionReq};

use crate::Package;
use crate::advisories::Database;
use crate::moment;
use crate::releases::{Release, Releases};

/// What the operator allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    /// The moment that ages count from.
    pub(super) now: Time,
    /// How long a release must have been out. Zero lifts the rule, also for releases of unknown age.
    pub(super) release_age_days_min: u64,
}

/// That a package needs the vulnerable one in these versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Constraint {
    pub(super) parent: Package,
    pub(super) range: VersionReq,
}

/// Why no release can be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoCandidate {
    /// Every newer release has a known vulnerability, or there is none.
    NoFix,
    /// The fixed releases lie outside what these parents ask for.
    Blocked { fixed: Version, by: Vec<Constraint> },
    /// The fixed releases that are allowed are too young; the oldest of them, with its age where known.
    TooYoung { fixed: Version, age_days: Option<u64>, wanted_days: u64 },
}

/// The releases to try, the smallest first.
pub(super) fn candidates<'a>(
    target: &Package,
    releases: &'a Releases,
    constraints: &[Constraint],
    database: &Database,
    rules: Rules,
) -> Result<Vec<&'a Release>, NoCandidate> {
    let is_clean = |version: &Version| {
        let package = Package { name: target.name.clone(), version: version.clone() };
        database.vulnerabilities(&package).next().is_none()
    };
    let fixed: Vec<&Release> = releases
        .all()
        .filter(|release| release.version > target.version && !release.yanked)
        // A pre-release is nobody's smallest fix, unless one is in use already.
        .filter(|release| release.version.pre.is_empty() || !target.version.pre.is_empty())
        .filter(|release| is_clean(&release.version))
        .collect();
    let first_fixed = fixed.first().ok_or(NoCandidate::NoFix)?;
    let allows = |release: &Release| constraints.iter().all(|constraint| constraint.range.matches(&release.version));
    let allowed: Vec<&Release> = fixed.iter().copied().filter(|release| allows(release)).collect();
    let Some(first_allowed) = allowed.first() else {
        let blocks = |constraint: &&Constraint| !fixed.iter().any(|release| constraint.range.matches(&release.version));
        let mut by: Vec<Constraint> = constraints.iter().filter(blocks).cloned().collect();
        if by.is_empty() {
            // Each allows some fix and no fix suits them all.
            by = constraints.to_vec();
        }
        return Err(NoCandidate::Blocked { fixed: first_fixed.version.clone(), by });
    };
    let old: Vec<&Release> = allowed.iter().copied().filter(|release| rules.is_old_enough(release)).collect();
    if old.is_empty() {
        return Err(NoCandidate::TooYoung {
            fixed: first_allowed.version.clone(),
            age_days: rules.age_days(first_allowed),
            wanted_days: rules.release_age_days_min,
        });
    }
    Ok(old)
}

impl Rules {
    /// Whether a release has been out for long enough. One of unknown age has not.
    pub(super) fn is_old_enough(&self, release: &Release) -> bool {
        let Some(published) = release.published else { return self.release_age_days_min == 0 };
        published.after(moment::days(self.release_age_days_min)) <= self.now || self.release_age_days_min == 0
    }

    /// How many whole days a release has been out.
    pub(super) fn age_days(&self, release: &Release) -> Option<u64> {
        release.published.map(|published| moment::days_between(published, self.now))
    }
}

impl fmt::Display for NoCandidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFix => f.write_str("no newer release is free of known vulnerabilities"),
            Self::Blocked { fixed, by } => {
                write!(f, "the first fixed release is {fixed}, but ")?;
                for (at, constraint) in by.iter().enumerate() {
                    let and = if at == 0 { "" } else { " and " };
                    write!(f, "{and}`{}` requires `{}`", constraint.parent, constraint.range)?;
                }
                Ok(())
            }
            Self::TooYoung { fixed, age_days: Some(age), wanted_days } => {
                write!(
                    f,
                    "the fixed release {fixed} is {age} days old and the minimum release age is {wanted_days} days"
                )
            }
            Self::TooYoung { fixed, age_days: None, wanted_days } => {
                write!(
                    f,
                    "the age of the fixed release {fixed} is unknown and the minimum release age is {wanted_days} days"
                )
            }
        }
    }
}
