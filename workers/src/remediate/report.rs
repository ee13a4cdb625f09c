//! What the remediation worker reports: one JSON document, version 1.
//!
//! Whoever reads it treats it as a claim: the factory scans the collected lock file again on its own side.

use serde::{Deserialize, Serialize};

/// The form of document this code writes and reads.
const VERSION: u32 = 1;

/// A report of a workspace of 50,000 vulnerable packages would have some 8 MiB.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why bytes are no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Longer than any report.
    #[error("the remediation report passes 16 MiB")]
    TooLarge,
    /// Not the document.
    #[error("the remediation report cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Written by another version of the worker.
    #[error("the remediation report has version {0}; version 1 is known")]
    Version(u32),
}

/// The whole document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Always 1.
    pub version: u32,
    /// What the lock file was found to be, before anything was changed.
    pub status: Status,
    /// What was done about it.
    pub outcome: Outcome,
    /// Why nothing could be said or done; present when the status is unknown or the outcome is held.
    pub reason: Option<String>,
    /// What was changed; empty unless the outcome is bumped.
    pub bumps: Vec<Bump>,
    /// Vulnerable packages that were looked at and could not be fixed.
    pub held: Vec<Held>,
    /// The vulnerable packages of the lock file as it now is, the held ones among them.
    pub remaining: Vec<Finding>,
    /// Packages that are unsound, unmaintained or worth a notice; told, never acted upon.
    pub informational: Vec<Finding>,
    /// Packages from git or other registries, about which the database says nothing.
    pub not_judged: Vec<Unjudged>,
    /// What was judged with; absent when the database could not be read.
    pub database: Option<DatabaseInfo>,
}

/// Whether known vulnerabilities were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// At least one.
    Vulnerable,
    /// None, by a database recent enough to say so, about every package there is.
    Clean,
    /// It could not be judged.
    Unknown,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A package was moved to a release without known vulnerabilities.
    Bumped,
    /// Something is or may be wrong and nothing was changed.
    Held,
    /// Nothing is wrong.
    NothingToDo,
}

/// One package that was moved: the vulnerable one, or the one that kept it from its fix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bump {
    /// Which package.
    pub package: String,
    /// From which version.
    pub from: String,
    /// To which version.
    pub to: String,
    /// How old that release is; absent when the registry does not say.
    pub release_age_days: Option<u64>,
    /// The advisories that no longer apply.
    pub advisories_fixed: Vec<String>,
    /// What cargo had to change besides.
    pub also_changed: Vec<Moved>,
}

/// A package that came, went or changed its version along with a bump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moved {
    /// Which package.
    pub package: String,
    /// The version that is gone; absent when the package is new.
    pub from: Option<String>,
    /// The version that is new; absent when the package is gone.
    pub to: Option<String>,
    /// How old the new version's release is.
    pub release_age_days: Option<u64>,
}

/// A vulnerable package that could not be fixed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Which package.
    pub package: String,
    /// Which version.
    pub version: String,
    /// What is known against it.
    pub advisories: Vec<String>,
    /// Why it stays.
    pub reason: String,
}

/// A package that advisories are about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Which package.
    pub package: String,
    /// Which version.
    pub version: String,
    /// The advisories.
    pub advisories: Vec<String>,
}

/// A package that could not be judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unjudged {
    /// Which package.
    pub package: String,
    /// Which version.
    pub version: String,
    /// Where it comes from, as the lock file says.
    pub source: String,
}

/// The advisory database behind the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseInfo {
    /// How many advisories it holds.
    pub advisories: usize,
    /// How many more were withdrawn.
    pub withdrawn: usize,
    /// The date of its newest advisory, in RFC 3339.
    pub newest: String,
    /// How long ago that was.
    pub age_days: u64,
    /// Whether that is too long for the word "clean".
    pub too_old: bool,
}

impl Report {
    /// Reads a report.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReportError> {
        if bytes.len() > BYTES_MAX {
            return Err(ReportError::TooLarge);
        }
        let report: Self = serde_json::from_slice(bytes)?;
        if report.version == VERSION { Ok(report) } else { Err(ReportError::Version(report.version)) }
    }

    /// A report that nothing could be judged.
    pub(super) fn unknown(reason: String) -> Self {
        Self { reason: Some(reason), ..Self::new(Status::Unknown, Outcome::Held) }
    }

    pub(super) fn new(status: Status, outcome: Outcome) -> Self {
        Self {
            version: VERSION,
            status,
            outcome,
            reason: None,
            bumps: Vec::new(),
            held: Vec::new(),
            remaining: Vec::new(),
            informational: Vec::new(),
            not_judged: Vec::new(),
            database: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_back() {
        let report = Report::unknown("no database".to_owned());
        assert_eq!(Report::parse(&serde_json::to_vec(&report).unwrap()).unwrap(), report);
    }

    #[test]
    fn what_is_no_report_of_ours_is_refused() {
        let text = serde_json::to_string(&Report::unknown(String::new())).unwrap();
        assert!(matches!(
            Report::parse(text.replace("\"version\":1", "\"version\":2").as_bytes()),
            Err(ReportError::Version(2))
        ));
        assert!(Report::parse(text.replace("\"reason\"", "\"raison\"").as_bytes()).is_err());
        assert!(Report::parse(b"").is_err());
        assert!(matches!(Report::parse(&vec![b' '; BYTES_MAX + 1]), Err(ReportError::TooLarge)));
    }
}
