//! Which files belong to the gate: taken from the base when a change is checked, so that an agent cannot weaken what
//! judges it (requirement F2).

use selvedge_authority::ActError;
use selvedge_domain::orders::CheckTree;
use selvedge_domain::{Change, ChangeSet, Effect, RepoPath, TreeId};
use selvedge_forge::local::Draft;

use super::Works;
use super::repositories::{permanent, transient};

/// Directories whose files are tests, wherever they stand in a path.
const TEST_DIRS: &[&str] = &["tests", "test", "__tests__", "testdata", "spec"];

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
        let mut restored = Vec::new();
        for change in changed.iter().filter(|change| change.old.is_some() && belongs_to_the_gate(&change.path)) {
            let file = repository.file(&change.path, &order.base, FILE_BYTES_MAX).map_err(permanent)?;
            let Some(file) = file else { continue };
            restored.push(Change::Write { path: change.path.clone(), mode: file.mode, content: file.content });
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

/// Whether a path is one of the project's judges rather than its code.
pub(crate) fn belongs_to_the_gate(path: &RepoPath) -> bool {
    let path = path.as_str().to_lowercase();
    let (dirs, name) = path.rsplit_once('/').unwrap_or(("", &path));
    let stem = name.split('.').next().unwrap_or(name);
    dirs.split('/').any(|dir| TEST_DIRS.contains(&dir))
        || path.starts_with(".github/")
        || path.starts_with(".gitlab")
        || path.starts_with(".config/")
        || path.starts_with(".cargo/")
        || STEERING.contains(&name)
        || stem.starts_with("test_")
        || stem.ends_with("_test")
        || stem.ends_with("_spec")
        || name.contains(".test.")
        || name.contains(".spec.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_is_recognised_f2() {
        let belongs = |path: &str| belongs_to_the_gate(&RepoPath::parse(path.as_bytes()).unwrap());
        for path in [
            "tests/a.rs",
            "crates/x/tests/b.rs",
            "test_x.py",
            "pkg/x_test.go",
            "a.test.ts",
            ".github/workflows/ci.yml",
            "Makefile",
            ".cargo/config.toml",
        ] {
            assert!(belongs(path), "{path}");
        }
        for path in ["src/lib.rs", "Cargo.lock", "README.md", "src/contest.rs", "src/latest.rs"] {
            assert!(!belongs(path), "{path}");
        }
    }
}
