//! Stored forms of what checks said and what was verified.

use std::collections::BTreeMap;

use selvedge_domain::{CheckReport, CommitId, Failure, TestCount, TestName, TreeId, Verified};
use serde::{Deserialize, Serialize};

use super::Malformed;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::entry) struct CheckReportV1 {
    tree: String,
    commands: u64,
    failed: Option<String>,
    tests: Option<BTreeMap<String, bool>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::entry) struct VerifiedV1 {
    commit: String,
    base: String,
    count: TestCountV1,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
enum TestCountV1 {
    Counted { base: u64, change: u64 },
    Uncounted {},
}

impl CheckReportV1 {
    pub(in crate::entry) fn store(report: &CheckReport) -> Self {
        let CheckReport { tree, commands, failed, tests } = report;
        let tests = tests
            .as_ref()
            .map(|tests| tests.iter().map(|(name, passed)| (name.as_str().to_owned(), *passed)).collect());
        Self {
            tree: tree.to_string(),
            commands: widen(*commands),
            failed: failed.as_ref().map(Failure::to_string),
            tests,
        }
    }

    pub(in crate::entry) fn restore(self) -> Result<CheckReport, Malformed> {
        let tests = self
            .tests
            .map(|tests| tests.into_iter().map(|(name, passed)| (TestName::from_output(&name), passed)).collect());
        let (tree, commands) = (TreeId::parse(&self.tree)?, narrow(self.commands)?);
        // The words say whose failure it was, and always did: bodies older than the distinction are read with it.
        Ok(CheckReport { tree, commands, failed: self.failed.as_deref().map(Failure::from_words), tests })
    }
}

impl VerifiedV1 {
    pub(in crate::entry) fn store(verified: &Verified) -> Self {
        let count = match verified.count() {
            TestCount::Counted { base, change } => TestCountV1::Counted { base: widen(base), change: widen(change) },
            TestCount::Uncounted => TestCountV1::Uncounted {},
        };
        Self { commit: verified.commit().to_string(), base: verified.base().to_string(), count }
    }

    pub(in crate::entry) fn restore(self) -> Result<Verified, Malformed> {
        let count = match self.count {
            TestCountV1::Counted { base, change } => {
                TestCount::Counted { base: narrow(base)?, change: narrow(change)? }
            }
            TestCountV1::Uncounted {} => TestCount::Uncounted,
        };
        Ok(Verified::from_record(CommitId::parse(&self.commit)?, CommitId::parse(&self.base)?, count))
    }
}

/// A count fits 64 bits on every platform Rust has.
fn widen(count: usize) -> u64 {
    count as u64
}

fn narrow(count: u64) -> Result<usize, Malformed> {
    usize::try_from(count).map_err(|_| Malformed(format!("`{count}` is too large a count for this machine")))
}
