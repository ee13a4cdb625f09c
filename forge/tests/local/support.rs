//! A workshop for tests: a forge in a temporary directory, and a stranger's repositories made with plain git.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use selvedge_domain::{Change, ChangeSet, CommitId, FileMode, RepoName, RepoPath, Time};
use selvedge_forge::git::HostGit;
use selvedge_forge::local::{Author, Commit, CommitError, Draft, LocalForge, Repository, Source};
use tempfile::TempDir;

/// A temporary directory with a forge in it.
pub(crate) struct Workshop {
    dir: TempDir,
    pub(crate) forge: LocalForge,
}

/// Plain git as a person would run it, with an identity and no configuration of the machine's.
pub(crate) fn plain_git(dir: &Path, args: &[&str]) -> Vec<u8> {
    plain_git_reading(dir, args, b"")
}

/// The same with standard input.
pub(crate) fn plain_git_reading(dir: &Path, args: &[&str], stdin: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut child = Command::new("git")
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs([
            ("GIT_AUTHOR_NAME", "A"),
            ("GIT_AUTHOR_EMAIL", "a@example.org"),
            ("GIT_AUTHOR_DATE", "1700000000 +0000"),
        ])
        .envs([
            ("GIT_COMMITTER_NAME", "A"),
            ("GIT_COMMITTER_EMAIL", "a@example.org"),
            ("GIT_COMMITTER_DATE", "1700000000 +0000"),
        ])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("these tests need git on the path");
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The trimmed text of plain git's answer.
pub(crate) fn plain_git_line(dir: &Path, args: &[&str]) -> String {
    String::from_utf8(plain_git(dir, args)).unwrap().trim().to_owned()
}

impl Workshop {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let git = HostGit::find(&std::env::var_os("PATH").unwrap()).expect("these tests need git 2.40 or later");
        let forge = LocalForge::open(&dir.path().join("forge"), Arc::new(git)).unwrap();
        Self { dir, forge }
    }

    /// A path in the workshop.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A repository with a work tree, holding `files` in one commit on `main`.
    pub(crate) fn stranger(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let dir = self.path(name);
        std::fs::create_dir(&dir).unwrap();
        plain_git(&dir, &["init", "-q", "-b", "main"]);
        commit_files(&dir, files);
        dir
    }

    /// That repository, imported.
    pub(crate) fn import(&self, source: &Path) -> Repository {
        let source = Source::parse(source.to_str().unwrap()).unwrap();
        self.forge.import(&source, &shop_name()).unwrap().0
    }

    /// A fresh import of a repository holding `files`, and its head.
    pub(crate) fn shop(&self, files: &[(&str, &str)]) -> (Repository, CommitId) {
        let repository = self.import(&self.stranger("source", files));
        let head = repository.head(&repository.default_branch().unwrap()).unwrap().unwrap();
        (repository, head)
    }
}

/// Writes files and commits everything.
pub(crate) fn commit_files(dir: &Path, files: &[(&str, &str)]) {
    for (path, content) in files {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    plain_git(dir, &["add", "-A"]);
    plain_git(dir, &["commit", "-q", "--allow-empty", "-m", "work"]);
}

pub(crate) fn repo_name(text: &str) -> RepoName {
    RepoName::parse(text).unwrap()
}

/// What [`Workshop::import`] calls its repository.
pub(crate) fn shop_name() -> RepoName {
    repo_name("acme/shop")
}

pub(crate) fn path(text: &str) -> RepoPath {
    RepoPath::parse(text.as_bytes()).unwrap()
}

pub(crate) fn write(at: &str, content: &str) -> Change {
    Change::Write { path: path(at), mode: FileMode::Regular, content: content.as_bytes().to_vec() }
}

pub(crate) fn link(at: &str, target: &str) -> Change {
    Change::Write { path: path(at), mode: FileMode::Symlink, content: target.as_bytes().to_vec() }
}

pub(crate) fn remove(at: &str) -> Change {
    Change::Remove { path: path(at) }
}

pub(crate) fn author() -> Author {
    Author::new("Selvedge", "factory@example.org").unwrap()
}

/// A moment for commits.
pub(crate) const WHEN: Time = Time::from_millis(1_795_000_000_000);

/// The factory's commit of `changes` on `base`.
pub(crate) fn commit(
    repository: &Repository,
    base: &CommitId,
    changes: impl IntoIterator<Item = Change>,
) -> Result<Commit, CommitError> {
    let changes = ChangeSet::new(changes);
    repository.commit_tree(&Draft { base, changes: &changes, message: "fix: it\n", author: &author(), when: WHEN })
}
