//! Judging a lock file by an advisory database. Pure.

use std::collections::BTreeMap;

use super::report::{Finding, Unjudged};
use crate::Package;
use crate::advisories::{Advisory, Database, Kind, Severity};
use crate::lockfile::{Lockfile, Source};
use crate::package::excerpt;

/// The vulnerable packages of a lock file, the worst first: by severity, then by the identifier of the advisory.
pub(super) fn vulnerable<'a>(lock: &'a Lockfile, database: &'a Database) -> Vec<(&'a Package, Vec<&'a Advisory>)> {
    let mut found: Vec<(&Package, Vec<&Advisory>)> = lock
        .from_registry()
        .map(|locked| (&locked.package, database.vulnerabilities(&locked.package).collect::<Vec<_>>()))
        .filter(|(_, advisories)| !advisories.is_empty())
        .collect();
    found.sort_by_cached_key(|(package, advisories)| {
        let worst = advisories.iter().map(|advisory| advisory.severity.unwrap_or(Severity::ASSUMED)).max();
        (std::cmp::Reverse(worst), advisories.first().map(|advisory| advisory.id.clone()), (*package).clone())
    });
    found
}

/// The same as the report tells it, in the order of names.
pub(super) fn findings(lock: &Lockfile, database: &Database) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        vulnerable(lock, database).iter().map(|(package, advisories)| finding(package, advisories)).collect();
    findings.sort();
    findings
}

/// What is known of packages besides vulnerabilities.
pub(super) fn informational(lock: &Lockfile, database: &Database) -> Vec<Finding> {
    let mut by_package: BTreeMap<&Package, Vec<&Advisory>> = BTreeMap::new();
    for locked in lock.from_registry() {
        let about = database.about(&locked.package.name, &locked.package.version);
        let told: Vec<&Advisory> = about.filter(|advisory| advisory.kind != Kind::Vulnerability).collect();
        if !told.is_empty() {
            by_package.insert(&locked.package, told);
        }
    }
    by_package.iter().map(|(package, advisories)| finding(package, advisories)).collect()
}

/// The packages that no advisory of the public registry can be about.
pub(super) fn not_judged(lock: &Lockfile) -> Vec<Unjudged> {
    let mut unjudged = Vec::new();
    for locked in lock.packages() {
        if let Source::Other(source) = &locked.source {
            unjudged.push(Unjudged {
                package: locked.package.name.to_string(),
                version: locked.package.version.to_string(),
                source: excerpt(source),
            });
        }
    }
    unjudged
}

fn finding(package: &Package, advisories: &[&Advisory]) -> Finding {
    Finding { package: package.name.to_string(), version: package.version.to_string(), advisories: ids(advisories) }
}

/// The identifiers of advisories.
pub(super) fn ids(advisories: &[&Advisory]) -> Vec<String> {
    advisories.iter().map(|advisory| advisory.id.to_string()).collect()
}
