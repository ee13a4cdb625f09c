//! Names of branches: the people's, read narrowly, and the factory's, made from ids alone.

use std::fmt;

use selvedge_domain::RunId;

/// A branch people know, for example `main`. Never one of the factory's own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BranchName(String);

/// A name that cannot be a branch here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` {because}")]
pub struct BadBranch {
    text: String,
    because: &'static str,
}

/// Room for `refs/selvedge/source/heads/` and `.lock` within a file name's 255 bytes.
const BRANCH_BYTES_MAX: usize = 200;
/// The namespace of branches that runs make.
const OURS: &str = "selvedge";

impl BranchName {
    /// Reads a branch name: `git check-ref-format --branch`, without what a shell or an option parser would notice.
    pub fn parse(text: &str) -> Result<Self, BadBranch> {
        let bad = |because| BadBranch { text: text.escape_debug().take(100).collect(), because };
        if text.is_empty() || text.len() > BRANCH_BYTES_MAX {
            return Err(bad("is not 1 to 200 bytes long"));
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || "~^:?*[\\@{}$`\"'<>|;&!()".contains(c)) {
            return Err(bad("holds a character that branch names may not hold"));
        }
        let component = |part: &str| {
            let edge_dots = part.starts_with('.') || part.ends_with('.') || part.contains("..");
            !part.is_empty()
                && !part.starts_with(['-', '+'])
                && !edge_dots
                && !part.to_ascii_lowercase().ends_with(".lock")
        };
        if !text.split('/').all(component) {
            return Err(bad("has a component that is empty, begins with `-`, `+` or `.`, or ends in `.lock`"));
        }
        let first = text.split('/').next().unwrap_or_default();
        if first.eq_ignore_ascii_case(OURS) {
            return Err(bad("belongs to the factory"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as people write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn reference(&self) -> String {
        format!("refs/heads/{}", self.0)
    }
}

/// The branch a run's commit is published under. Made from the id alone: a name that leaves says nothing (attack A-109).
pub fn run_branch(run: &RunId) -> String {
    format!("{OURS}/{run}")
}

pub(super) fn run_reference(run: &RunId) -> String {
    format!("refs/heads/{}", run_branch(run))
}

/// What every run's reference begins with.
pub(super) fn run_reference_prefix() -> String {
    format!("refs/heads/{OURS}/")
}

/// Where a closed run's commit stays reachable.
pub(super) fn closed_reference(run: &RunId) -> String {
    format!("refs/{OURS}/closed/{run}")
}

impl fmt::Display for BranchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BranchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_60_spellings_that_mean_something_else_are_refused() {
        for text in [
            "",
            "@",
            "HEAD:refs/heads/main",
            "+main",
            ":main",
            "a..b",
            "a//b",
            "/a",
            "a/",
            "-d",
            "x/-d",
            ".a",
            "a.lock",
            "a.LOCK/b",
            "a b",
            "a\n",
            "a~1",
            "a^",
            "ma*",
            "a\\b",
            "main@{1}",
            "$(id)",
            "selvedge",
            "selvedge/r-0",
            "Selvedge/x",
            "a.",
            "a;b",
        ] {
            assert!(BranchName::parse(text).is_err(), "{text:?}");
        }
        assert!(BranchName::parse(&"a".repeat(BRANCH_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn ordinary_branches_are_read() {
        for text in ["main", "release/1.2", "feature/a_b-c", "über", "dependabot/cargo/url-2.5.4", "a+b", "#12"] {
            assert_eq!(BranchName::parse(text).map(|b| b.reference()), Ok(format!("refs/heads/{text}")));
        }
    }

    #[test]
    fn a_run_s_branch_holds_only_its_id() {
        let run = RunId::from_entropy(7);
        assert_eq!(run_branch(&run), "selvedge/r-0000000000007");
    }
}
