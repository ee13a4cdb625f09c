//! Which files belong to the gate: taken from the base when a change is checked, so that an agent cannot weaken what
//! judges it (requirement F2).

use selvedge_authority::ActError;
use selvedge_domain::orders::CheckTree;
use selvedge_domain::{Change, ChangeSet, Effect, RepoPath, TreeId};
use selvedge_forge::local::Draft;

use super::Works;
use super::repositories::{permanent, transient};

/// Directories whose files are tests, wherever they stand in a path.
const TEST_DIRS: &[&str] =
    &["tests", "test", "__tests__", "testdata", "testing", "spec", "specs", "fixtures", "snapshots", "__snapshots__"];

/// Files that steer how tests run.
const STEERING: &[&str] = &[
    "conftest.py",
    "pytest.ini",
    "tox.ini",
    "noxfile.py",
    "jest.config.js",
    "vitest.config.ts",
    "nextest.toml",
    "rust-toolchain",
    "rust-toolchain.toml",
    "makefile",
    "justfile",
    "clippy.toml",
    "rustfmt.toml",
];

/// Largest file of the gate that is restored.
const FILE_BYTES_MAX: u64 = 16 << 20;

impl Works {
    /// The tree to check: the change, with the base's version of every file of the gate that the base has.
    pub(super) fn with_the_base_s_checks(&self, order: &CheckTree) -> Result<TreeId, ActError> {
        let run = self.run(&order.run).map_err(transient)?;
        let repository = self.repository_of(&order.repo)?;
        let base_tree = repository.tree_of(&order.base).map_err(transient)?;
        let commit = match run.effect() {
            Some(Effect::Tree { tree, commit, .. }) if *tree == order.tree && *tree != base_tree => commit,
            _ => return Ok(order.tree.clone()),
        };
        let changed = repository.diff(&base_tree, &order.tree).map_err(transient)?;
        let gate = self.gate_of(&order.repo);
        let mut restored = Vec::new();
        for change in changed.iter().filter(|change| gate.holds(&change.path)) {
            match repository.file(&change.path, &order.base, FILE_BYTES_MAX).map_err(permanent)? {
                Some(file) => {
                    restored.push(Change::Write { path: change.path.clone(), mode: file.mode, content: file.content });
                }
                // A new test may join the base's; a new file that steers them may not.
                None if steers(&change.path) => restored.push(Change::Remove { path: change.path.clone() }),
                None => {}
            }
        }
        if restored.is_empty() {
            return Ok(order.tree.clone());
        }
        let author = self.author()?;
        let changes = ChangeSet::new(restored);
        let draft = Draft {
            base: commit,
            changes: &changes,
            message: "the base's checks on the change\n",
            author: &author,
            when: selvedge_domain::Time::from_millis(0),
        };
        repository.commit_tree(&draft).map(|commit| commit.tree).map_err(permanent)
    }
}

/// What judges a repository's changes: its tests, what steers them, and what the operator's commands name.
#[derive(Debug, Default)]
pub(super) struct Gate {
    named: Vec<String>,
}

impl Works {
    /// The gate of a repository. A script that a check runs by name is part of it; what that script runs in turn is not
    /// found by name, so the operator can list more under `gate`.
    pub(super) fn gate_of(&self, repo: &selvedge_domain::RepoName) -> Gate {
        let config = self.config();
        let Some(repo) = config.repos.get(repo) else { return Gate::default() };
        let commands = repo.checks.iter().chain(&repo.setup).chain(&repo.services);
        let words =
            commands.flat_map(|command| command.split(|c: char| c.is_whitespace() || "\"';&|()<>=".contains(c)));
        let named = words.chain(repo.gate.iter().map(String::as_str));
        Gate {
            named: named
                .map(|word| word.trim_start_matches("./").to_lowercase())
                .filter(|word| !word.is_empty())
                .collect(),
        }
    }
}

impl Gate {
    /// Whether a path is one of the project's judges rather than its code.
    pub(super) fn holds(&self, path: &RepoPath) -> bool {
        self.names(path) || steers(path) || is_test(path)
    }

    /// Whether the operator's own commands name the path.
    pub(super) fn names(&self, path: &RepoPath) -> bool {
        let path = path.as_str().to_lowercase();
        let beneath =
            |named: &String| path.strip_prefix(named.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'));
        self.named.iter().any(|named| *named == path || (named.ends_with('/') && beneath(named)))
    }
}

/// Whether a file steers how tests run.
fn steers(path: &RepoPath) -> bool {
    let lower = path.as_str().to_lowercase();
    let name = lower.rsplit('/').next().unwrap_or(&lower);
    STEERING.contains(&name) || [".github/", ".gitlab", ".config/", ".cargo/"].iter().any(|dir| lower.starts_with(dir))
}

/// Whether a file is a test, by the names that languages use.
fn is_test(path: &RepoPath) -> bool {
    let stem = path.file_name().split('.').next().unwrap_or("").to_owned();
    let camel = ["Test", "Tests", "Spec"].iter().any(|end| stem.ends_with(end));
    let lower = path.as_str().to_lowercase();
    let (dirs, name) = lower.rsplit_once('/').unwrap_or(("", &lower));
    let stem = stem.to_lowercase();
    let by_stem = ["test", "tests", "spec"].contains(&stem.as_str())
        || stem.starts_with("test_")
        || ["_test", "_tests", "-test", "-tests", "_spec"].iter().any(|end| stem.ends_with(end));
    let by_name = [".test.", ".tests.", ".spec."].iter().any(|part| name.contains(part)) || name.ends_with(".snap");
    camel || by_stem || by_name || dirs.split('/').any(|dir| TEST_DIRS.contains(&dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RepoPath {
        RepoPath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_gate_is_recognised_f2() {
        let gate = Gate::default();
        for text in [
            "tests/a.rs",
            "crates/x/tests/b.rs",
            "test_x.py",
            "pkg/x_test.go",
            "a.test.ts",
            ".github/workflows/ci.yml",
            "Makefile",
            ".cargo/config.toml",
            "src/tests.rs",
            "app/tests.py",
            "src/FooTest.java",
            "a/__snapshots__/x.snap",
        ] {
            assert!(gate.holds(&path(text)), "{text}");
        }
        for text in ["src/lib.rs", "Cargo.lock", "README.md", "src/contest.rs", "src/latest.rs", "src/attestation.rs"] {
            assert!(!gate.holds(&path(text)), "{text}");
        }
    }

    #[test]
    fn what_a_check_names_belongs_to_the_gate_f2() {
        let gate = Gate { named: vec!["check.sh".to_owned(), "ci/".to_owned(), "ci/test.sh".to_owned()] };
        for text in ["check.sh", "ci/test.sh", "ci/lib/more.sh"] {
            assert!(gate.names(&path(text)), "{text}");
        }
        assert!(!gate.names(&path("src/check.sh")) && !gate.names(&path("cinema.rs")));
    }
}
