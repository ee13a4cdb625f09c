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
    pub failed: Option<Failure>,
    /// Tests by name and whether they passed; none when no known reporter was recognised.
    pub tests: Option<BTreeMap<TestName, bool>>,
}

/// Which command failed on a tree, and how, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// What prepares the checks, so that none of them ran.
    SetUp(String),
    /// A check. The words begin with its command.
    Check(String),
}

/// How the words about a set-up begin; those about a check begin with its command in backticks.
const SET_UP: &str = "set-up ";

impl Failure {
    /// Reads the words back.
    pub fn from_words(words: &str) -> Self {
        match words.strip_prefix(SET_UP) {
            Some(rest) => Self::SetUp(rest.to_owned()),
            None => Self::Check(words.to_owned()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetUp(words) => write!(f, "{SET_UP}{words}"),
            Self::Check(words) => f.write_str(words),
        }
    }
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
    /// Nobody can say which tests the base has: no known reporter was recognised, or the base's own checks failed. Exit
    /// status is all there is, and policy decides whether that is enough.
    Uncounted,
}

/// Why a result may not go further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeldBecause {
    /// There is nothing to verify with.
    #[error("no checks are configured, and no checks is not green: set `checks` for the repository")]
    NoChecks,
    /// The base cannot be prepared, so there is nothing to compare with, and the change is not to blame.
    #[error("the base's own checks cannot run: {0}")]
    BaseNotSetUp(Failure),
    /// The change cannot be prepared.
    #[error("no check can run on the change: {0}")]
    NotSetUp(Failure),
    /// The checks fail.
    #[error("a check fails on the change: {0}")]
    Red(Failure),
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
        if let Some(failure @ Failure::SetUp(_)) = &on_base.failed {
            return Err(HeldBecause::BaseNotSetUp(failure.clone()));
        }
        match &on_change.failed {
            Some(failure @ Failure::SetUp(_)) => return Err(HeldBecause::NotSetUp(failure.clone())),
            Some(failure @ Failure::Check(_)) => return Err(HeldBecause::Red(failure.clone())),
            None => {}
        }
        let compared = match (&on_base.tests, &on_change.tests) {
            (None, None) => TestCount::Uncounted,
            (Some(_), None) => return Err(HeldBecause::NoLongerCounted),
            (None, Some(change)) => count_tests(&BTreeMap::new(), change)?,
            (Some(base), Some(change)) => count_tests(base, change)?,
        };
        // What the base passed is required of the change either way. But a base that fails may have stopped early, as
        // `cargo test` does after the first binary with a failing test, and what never ran there is required of nobody.
        let all_known = on_base.tests.is_some() && on_base.failed.is_none();
        let count = if all_known { compared } else { TestCount::Uncounted };
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
            failed: failed.map(Failure::from_words),
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
        let red = Failure::Check("`make` ended with exit status 1".to_owned());
        assert_eq!(judge(&base, &report(Some(&red.to_string()), None)), Err(HeldBecause::Red(red)));
        let unchecked = CheckReport { commands: 0, ..base.clone() };
        assert_eq!(judge(&base, &unchecked), Err(HeldBecause::NoChecks));
    }

    #[test]
    fn a_base_that_was_not_counted_requires_nothing_and_a_person_is_asked_f1() {
        let change = report(None, Some(&[("a", true)]));
        assert_eq!(judge(&report(None, None), &change), Ok(TestCount::Uncounted));
        assert_eq!(judge(&report(Some("`make` ended with signal 9"), None), &change), Ok(TestCount::Uncounted));
        assert_eq!(judge(&report(None, None), &report(None, Some(&[]))), Err(HeldBecause::NoTests));
    }

    #[test]
    fn a_change_may_turn_a_red_base_green_but_what_the_base_passed_is_still_required_f1() {
        let base = report(Some("`make` ended with exit status 1"), Some(&[("a", true), ("b", false)]));
        let fixed = report(None, Some(&[("a", true), ("b", true), ("c", true)]));
        assert_eq!(judge(&base, &fixed), Ok(TestCount::Uncounted), "`c` may be a test the base never reached");
        let name = || TestName::from_output("a");
        let broken = report(None, Some(&[("a", false), ("b", true)]));
        assert_eq!(judge(&base, &broken), Err(HeldBecause::Broke(name())));
        assert_eq!(judge(&base, &report(None, Some(&[("b", true)]))), Err(HeldBecause::Vanished(name())));
        assert_eq!(judge(&base, &report(None, None)), Err(HeldBecause::NoLongerCounted));
    }

    #[test]
    fn a_set_up_that_fails_is_told_as_one_and_blames_the_right_tree_f1() {
        let unprepared = report(Some("set-up `cargo fetch` ended with exit status 101"), None);
        let green = report(None, Some(&[("a", true)]));
        let told = |base, change| judge(base, change).unwrap_err().to_string();
        let of_base = told(&unprepared, &green);
        assert_eq!(of_base, "the base's own checks cannot run: set-up `cargo fetch` ended with exit status 101");
        assert_eq!(told(&unprepared, &unprepared), of_base);
        assert_eq!(
            told(&green, &unprepared),
            "no check can run on the change: set-up `cargo fetch` ended with exit status 101"
        );
    }

    #[test]
    fn a_failure_is_read_back_from_its_words() {
        for failure in [Failure::SetUp("`a` ended".to_owned()), Failure::Check("`set-up ` ended".to_owned())] {
            assert_eq!(Failure::from_words(&failure.to_string()), failure);
        }
    }
}
