//! Which files belong to the gate: a project's tests, what steers them, and what the operator's commands name.
//!
//! Judges names only. Never knows what a file holds; what is done about a file of the gate is decided in `checks`.

use selvedge_domain::{FileMode, RepoPath};
use selvedge_forge::local::ChangedPath;
use selvedge_forge::sensitive::acted_on_by;

use crate::config::RepoConfig;

/// What judges a repository's changes: its tests, what steers them, and what the operator's commands name.
#[derive(Debug, Default)]
pub(super) struct Gate {
    named: Vec<String>,
}

impl Gate {
    /// The gate of a repository. A script that a check runs by name is part of it; what that script runs in turn is not
    /// found by name, so the operator can list more under `gate`. A directory in a command is as a rule what is checked
    /// (`ruff check src/`): with the base's, the change would not be judged at all. Only `gate` makes one a judge.
    pub(super) fn of(repo: &RepoConfig) -> Self {
        let commands = repo.checks.iter().chain(&repo.setup).chain(&repo.services);
        let words =
            commands.flat_map(|command| command.split(|c: char| c.is_whitespace() || "\"';&|()<>=".contains(c)));
        let files = words.filter(|word| !word.ends_with('/'));
        let named = files.chain(repo.gate.iter().map(String::as_str));
        Self {
            named: named
                .map(|word| word.trim_start_matches("./").to_lowercase())
                .filter(|word| !word.is_empty())
                .collect(),
        }
    }

    /// What a change does to the gate and is not judged with: files of the base that it alters or deletes, and new ones
    /// that are no tests of their own.
    pub(super) fn overruled<'a>(&self, changed: &'a [ChangedPath]) -> impl Iterator<Item = &'a ChangedPath> {
        changed.iter().filter(|change| self.holds(&change.path) && (change.old.is_some() || !self.may_join(change)))
    }

    /// Whether a path is one of the project's judges rather than its code.
    fn holds(&self, path: &RepoPath) -> bool {
        self.names(path) || steers(path) || is_test_by_name(path) || lies_in(path, TEST_DIRS)
    }

    /// Whether the operator's own commands name the path.
    pub(super) fn names(&self, path: &RepoPath) -> bool {
        let path = path.as_str().to_lowercase();
        let beneath =
            |named: &String| path.strip_prefix(named.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'));
        self.named.iter().any(|named| *named == path || (named.ends_with('/') && beneath(named)))
    }

    /// Whether a new file of the gate only adds to what the base's tests say. A helper beside them may not: it can stand
    /// in for what they load, as `tests/json.py` does for Python's own `json` when `tests/run.py` imports it.
    fn may_join(&self, change: &ChangedPath) -> bool {
        let path = &change.path;
        let is_link = change.new.as_ref().is_some_and(|new| new.mode == FileMode::Symlink);
        // Cargo takes every file in `tests` for a test, and no Rust file stands in for another by its name.
        let rust = path.as_str().ends_with(".rs");
        !is_link && !steers(path) && !self.names(path) && (is_test_by_name(path) || rust || is_test_data(path))
    }
}

/// Directories whose files are tests, wherever they stand in a path.
const TEST_DIRS: &[&str] =
    &["tests", "test", "__tests__", "testdata", "testing", "spec", "specs", "fixtures", "snapshots", "__snapshots__"];

/// Those of them that hold what tests read.
const DATA_DIRS: &[&str] = &["testdata", "fixtures", "snapshots", "__snapshots__"];

/// Endings of files that nothing runs for lying where they lie. A new test usually brings some of them.
const DATA_ENDINGS: &[&str] = &[
    ".txt",
    ".json",
    ".csv",
    ".xml",
    ".html",
    ".md",
    ".yaml",
    ".yml",
    ".svg",
    ".png",
    ".bin",
    ".golden",
    ".expected",
    ".stdout",
    ".stderr",
];

/// Files that steer how tests run. Manifests that also hold dependencies (`Cargo.toml`, `package.json`,
/// `pyproject.toml`, `build.gradle`) are missing: with the base's, no change of a dependency could be checked. Forges
/// and builds act on them, so the proposal names them and a person is asked (`selvedge_forge::sensitive`).
const STEERING: &[&str] = &[
    "conftest.py",
    "pytest.ini",
    ".pytest.ini",
    "pytest.toml",
    ".pytest.toml",
    "tox.ini",
    "setup.cfg",
    "noxfile.py",
    ".coveragerc",
    "sitecustomize.py",
    "usercustomize.py",
    "pip.conf",
    "mypy.ini",
    ".mypy.ini",
    ".flake8",
    "ruff.toml",
    ".ruff.toml",
    "pylintrc",
    ".pylintrc",
    "nextest.toml",
    "rust-toolchain",
    "rust-toolchain.toml",
    "clippy.toml",
    ".clippy.toml",
    "rustfmt.toml",
    ".rustfmt.toml",
    "deny.toml",
    "makefile",
    "gnumakefile",
    "justfile",
    ".justfile",
    "rakefile",
    "magefile.go",
    ".npmrc",
    ".pnpmfile.cjs",
    "bunfig.toml",
    ".rubocop.yml",
    ".bazelrc",
    "ctestconfig.cmake",
    "ctestcustom.cmake",
    ".gitlab-ci.yml",
    ".env",
    ".env.test",
    ".envrc",
    "mise.toml",
    ".mise.toml",
    ".tool-versions",
];

/// Beginnings of such files' names: tools that read their settings under one of many endings.
const STEERING_BEGINNINGS: &[&str] = &[
    "jest.config.",
    "jest.setup.",
    "jest-preset.",
    "setuptests.",
    "vitest.config.",
    "vitest.setup.",
    "vitest.workspace.",
    "vite.config.",
    "playwright.config.",
    "cypress.config.",
    "ava.config.",
    "babel.config.",
    "eslint.config.",
    "karma.conf",
    "wdio.conf",
    "phpunit.xml",
    "phpunit.dist.xml",
    ".mocharc",
    ".nycrc",
    ".c8rc",
    ".taprc",
    ".swcrc",
    ".babelrc",
    ".eslintrc",
    ".yarnrc",
    ".rspec",
    ".golangci.",
    "taskfile.",
    "gulpfile.",
    "gruntfile.",
];

/// Endings of such files' names.
const STEERING_ENDINGS: &[&str] = &[".mk", ".pth"];

/// Directories whose files do, wherever they stand in a path.
const STEERING_DIRS: &[&str] =
    &[".github/", ".gitlab/", ".config/", ".cargo/", ".mvn/", ".yarn/plugins/", ".yarn/releases/"];

/// Whether a file steers how tests run.
fn steers(path: &RepoPath) -> bool {
    let lower = path.as_str().to_lowercase();
    let name = lower.rsplit('/').next().unwrap_or(&lower);
    // The slash at the end finds a link that stands in a directory's place.
    let slashed = format!("/{lower}/");
    STEERING.contains(&name)
        || STEERING_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
        || STEERING_ENDINGS.iter().any(|ending| name.ends_with(ending))
        || STEERING_DIRS.iter().any(|dir| slashed.contains(&format!("/{dir}")))
}

/// Whether a file is a test, by the names that languages use.
fn is_test_by_name(path: &RepoPath) -> bool {
    let stem = path.file_name().split('.').next().unwrap_or("").to_owned();
    let camel = ["Test", "Tests", "Spec"].iter().any(|end| stem.ends_with(end));
    let name = path.file_name().to_lowercase();
    let stem = stem.to_lowercase();
    let by_stem = ["test", "tests", "spec"].contains(&stem.as_str())
        || stem.starts_with("test_")
        || ["_test", "_tests", "-test", "-tests", "_spec"].iter().any(|end| stem.ends_with(end));
    let by_name = [".test.", ".tests.", ".spec."].iter().any(|part| name.contains(part)) || name.ends_with(".snap");
    camel || by_stem || by_name
}

/// Whether a file is what tests read, and nothing else acts on it.
fn is_test_data(path: &RepoPath) -> bool {
    let name = path.file_name().to_lowercase();
    let passive = !name.starts_with('.') && DATA_ENDINGS.iter().any(|ending| name.ends_with(ending));
    passive && lies_in(path, DATA_DIRS) && acted_on_by(path).is_none()
}

/// Whether one of these directories is above the file.
fn lies_in(path: &RepoPath, directories: &[&str]) -> bool {
    let lower = path.as_str().to_lowercase();
    let above = lower.rsplit_once('/').map_or("", |(above, _)| above);
    above.split('/').any(|directory| directories.contains(&directory))
}

#[cfg(test)]
mod tests {
    use selvedge_forge::local::{PathState, WhatChanged};

    use super::*;

    fn path(text: &str) -> RepoPath {
        RepoPath::parse(text.as_bytes()).unwrap()
    }

    fn state(mode: FileMode) -> PathState {
        PathState { mode, blob: "0".repeat(40) }
    }

    fn added(text: &str, mode: FileMode) -> ChangedPath {
        ChangedPath { path: path(text), what: WhatChanged::Added, old: None, new: Some(state(mode)), lines: None }
    }

    fn may_join(text: &str) -> bool {
        Gate::default().overruled(&[added(text, FileMode::Regular)]).next().is_none()
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
            "GNUmakefile",
            "sub/GNUmakefile",
            "rules.mk",
            ".cargo/config.toml",
            "crates/x/.cargo/config.toml",
            "crates/x/.config/nextest.toml",
            ".mocharc.json",
            ".pytest.ini",
            "pytest.toml",
            "setup.cfg",
            ".npmrc",
            ".yarnrc.yml",
            ".rspec",
            "phpunit.xml.dist",
            "karma.conf.js",
            "jest.config.mjs",
            "web/vitest.config.mts",
            "playwright.config.ts",
            "src/setupTests.js",
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
    fn what_also_holds_dependencies_is_left_to_the_change_and_called_out_f2() {
        for text in ["Cargo.toml", "package.json", "pyproject.toml", "build.gradle", "pom.xml", "go.mod", "Gemfile"] {
            let path = path(text);
            assert!(!Gate::default().holds(&path) && acted_on_by(&path).is_some(), "{text}");
        }
    }

    #[test]
    fn a_new_test_may_join_and_what_could_steer_the_base_s_tests_may_not_f2() {
        for text in [
            "tests/test_new.py",
            "tests/new.rs",
            "tests/it/more.rs",
            "pkg/new_test.go",
            "src/new.test.ts",
            "tests/__snapshots__/new.snap",
            "tests/fixtures/new.json",
        ] {
            assert!(may_join(text), "{text}");
        }
        for text in [
            "tests/json.py",
            "tests/__init__.py",
            "tests/lib/helper.js",
            "tests/run",
            "test/java/org/junit/Assert.java",
            "tests/conftest.py",
            "tests/config.json",
            "tests/fixtures/json.py",
            "tests/fixtures/package.json",
            "tests/fixtures/.hidden.json",
            "GNUmakefile",
            ".cargo/config.toml",
        ] {
            assert!(!may_join(text), "{text}");
        }
        let links = [added("tests", FileMode::Symlink), added(".cargo", FileMode::Symlink)];
        assert_eq!(Gate::default().overruled(&links).count(), 2, "a link can stand in a directory's place");
    }

    #[test]
    fn what_the_base_has_of_the_gate_is_the_base_s_f2() {
        let mut change = added("tests/test_old.py", FileMode::Regular);
        change.old = change.new.clone();
        assert_eq!(Gate::default().overruled(std::slice::from_ref(&change)).count(), 1);
        change.new = None;
        assert_eq!(Gate::default().overruled(std::slice::from_ref(&change)).count(), 1);
        change.path = path("src/lib.rs");
        assert_eq!(Gate::default().overruled(&[change]).count(), 0);
    }

    #[test]
    fn a_directory_in_a_command_is_what_is_checked_and_no_judge_f2() {
        let text = "[repo.r]\npath = \"/r\"\nbranch = \"main\"\nchecks = [\"ruff check src/\", \"sh ci/run.sh\"]\ngate = [\"ci/\"]\n";
        let config = crate::config::Config::parse("selvedge.toml", text).unwrap();
        let gate = Gate::of(config.repos.values().next().unwrap());
        assert!(!gate.names(&path("src/code.py")), "the change's own code would never be judged");
        assert!(gate.names(&path("ci/run.sh")) && gate.names(&path("ci/lib/more.sh")));
    }

    #[test]
    fn what_a_check_names_belongs_to_the_gate_f2() {
        let gate = Gate { named: vec!["check.sh".to_owned(), "ci/".to_owned(), "ci/test.sh".to_owned()] };
        for text in ["check.sh", "ci/test.sh", "ci/lib/more.sh"] {
            assert!(gate.names(&path(text)), "{text}");
        }
        assert!(!gate.names(&path("src/check.sh")) && !gate.names(&path("cinema.rs")));
        let new = [added("ci/lib/json.py", FileMode::Regular), added("ci/test_more.py", FileMode::Regular)];
        assert_eq!(gate.overruled(&new).count(), 2, "nothing joins what the operator named");
    }
}
