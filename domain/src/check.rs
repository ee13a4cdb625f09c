//! Verification as a value: `Verified` exists only for a tree whose checks passed beside the base's (requirements A6, F1, F2).

use std::collections::BTreeMap;
use std::fmt;

use crate::{CommitId, TreeId};

/// A test, by the name its runner prints.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TestName(String);

/// Longest test name we keep; a name is data from the code under test.
const NAME_BYTES_MAX: usize = 500;

impl TestName {
    /// Takes a name a runner printed, with control characters and overlong tails removed.
    pub fn from_output(text: &str) -> Self {
        Self(text.chars().filter(|c| !c.is_control()).take(NAME_BYTES_MAX).collect())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the checks said about one tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// The tree they ran on.
    pub tree: TreeId,
    /// How many check commands were configured.
    pub commands: usize,
    /// The first command that failed, and how; none when all ended with exit status 0.
    pub failed: Option<String>,
    /// Tests by name and whether they passed; none when no known reporter was recognised.
    pub tests: Option<BTreeMap<TestName, bool>>,
}

/// How the base's tests were accounted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestCount {
    /// All of them ran, by name.
    Counted {
        /// How many passed on the base and again on the change.
        base: usize,
        /// How many ran on the change.
        change: usize,
    },
    /// No known reporter was recognised: exit status is all there is, and policy decides whether that is enough.
    Uncounted,
}

/// Why a result may not go further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeldBecause {
    /// There is nothing to verify with.
    #[error("no checks are configured, and no checks is not green: set `checks` for the repository")]
    NoChecks,
    /// The checks fail.
    #[error("a check fails on the change: {0}")]
    Red(String),
    /// The change breaks a test.
    #[error("`{0}` passes on the base and fails on the change")]
    Broke(TestName),
    /// The change makes a test disappear (A-110).
    #[error("`{0}` ran on the base and did not run on the change")]
    Vanished(TestName),
    /// The base counts tests, the change does not (A-110).
    #[error("the base's tests could be counted and the change's could not")]
    NoLongerCounted,
    /// There are no tests at all.
    #[error("the checks ran no test at all")]
    NoTests,
}

/// A commit whose tree passed the base's checks in a clean room. [`Verified::judge`] makes one; replay puts it back.
///
/// ```compile_fail
/// # use selvedge_domain::{Verified, TestCount, CommitId};
/// # let commit: CommitId = todo!(); let base: CommitId = todo!();
/// let forged = Verified { commit, base, count: TestCount::Uncounted };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    commit: CommitId,
    base: CommitId,
    count: TestCount,
}

impl Verified {
    /// Compares what the checks said about the base with what they said about the change.
    pub fn judge(
        commit: CommitId,
        base: CommitId,
        on_change: &CheckReport,
        on_base: &CheckReport,
    ) -> Result<Self, HeldBecause> {
        if on_change.commands == 0 {
            return Err(HeldBecause::NoChecks);
        }
        if let Some(failure) = &on_change.failed {
            return Err(HeldBecause::Red(failure.clone()));
        }
        let count = match (&on_base.tests, &on_change.tests) {
            (None, None) => TestCount::Uncounted,
            (Some(_), None) => return Err(HeldBecause::NoLongerCounted),
            (None, Some(change)) => count_tests(&BTreeMap::new(), change)?,
            (Some(base), Some(change)) => count_tests(base, change)?,
        };
        Ok(Self { commit, base, count })
    }

    /// Puts back what the record holds. For replay only: what was judged once is not judged again.
    pub fn from_record(commit: CommitId, base: CommitId, count: TestCount) -> Self {
        Self { commit, base, count }
    }

    /// The commit that was verified.
    pub fn commit(&self) -> &CommitId {
        &self.commit
    }

    /// The commit whose checks it passed.
    pub fn base(&self) -> &CommitId {
        &self.base
    }

    /// How the base's tests were accounted for.
    pub fn count(&self) -> TestCount {
        self.count
    }
}

fn count_tests(base: &BTreeMap<TestName, bool>, change: &BTreeMap<TestName, bool>) -> Result<TestCount, HeldBecause> {
    let passed_before = base.iter().filter(|(_, passed)| **passed);
    let mut counted = 0;
    for (name, _) in passed_before {
        match change.get(name) {
            Some(true) => counted += 1,
            Some(false) => return Err(HeldBecause::Broke(name.clone())),
            None => return Err(HeldBecause::Vanished(name.clone())),
        }
    }
    if change.is_empty() {
        return Err(HeldBecause::NoTests);
    }
    Ok(TestCount::Counted { base: counted, change: change.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(failed: Option<&str>, tests: Option<&[(&str, bool)]>) -> CheckReport {
        CheckReport {
            tree: TreeId::parse(&"0".repeat(40)).unwrap(),
            commands: 1,
            failed: failed.map(str::to_owned),
            tests: tests.map(|t| t.iter().map(|(n, p)| (TestName::from_output(n), *p)).collect()),
        }
    }

    fn judge(base: &CheckReport, change: &CheckReport) -> Result<TestCount, HeldBecause> {
        let id = CommitId::parse(&"1".repeat(40)).unwrap();
        Verified::judge(id.clone(), id, change, base).map(|v| v.count())
    }

    #[test]
    fn green_beside_the_base_is_verified() {
        let base = report(None, Some(&[("a", true), ("flaky", false)]));
        let change = report(None, Some(&[("a", true), ("b", true)]));
        assert_eq!(judge(&base, &change), Ok(TestCount::Counted { base: 1, change: 2 }));
        assert_eq!(judge(&report(None, None), &report(None, None)), Ok(TestCount::Uncounted));
    }

    #[test]
    fn a_change_cannot_pass_by_running_less_a110() {
        let base = report(None, Some(&[("a", true), ("b", true)]));
        assert_eq!(
            judge(&base, &report(None, Some(&[("a", true)]))),
            Err(HeldBecause::Vanished(TestName::from_output("b")))
        );
        assert_eq!(judge(&base, &report(None, None)), Err(HeldBecause::NoLongerCounted));
        assert_eq!(judge(&report(None, Some(&[])), &report(None, Some(&[]))), Err(HeldBecause::NoTests));
    }

    #[test]
    fn red_and_unchecked_are_held() {
        let base = report(None, Some(&[("a", true)]));
        assert_eq!(judge(&base, &report(Some("exit 1"), None)), Err(HeldBecause::Red("exit 1".to_owned())));
        let unchecked = CheckReport { commands: 0, ..base.clone() };
        assert_eq!(judge(&base, &unchecked), Err(HeldBecause::NoChecks));
    }
}
