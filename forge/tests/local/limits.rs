//! Limits on the process itself, shown with programs that misbehave in git's place.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use selvedge_forge::git::{GitCall, GitError, GitLimits, GitOutput, GitRunner as _, HostGit};
use tempfile::TempDir;

/// A program that answers `git version` properly and then runs `body`.
fn impostor(dir: &Path, body: &str) -> HostGit {
    let path = dir.join("git");
    let script =
        format!("#!/bin/sh\nfor a; do [ \"$a\" = version ] && echo git version 2.47.3 && exit 0; done\n{body}\n");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    HostGit::at(path).unwrap()
}

fn run(git: &HostGit, stdin: &[u8], stdout_bytes_max: usize, time_max: Duration) -> Result<GitOutput, GitError> {
    let limits = GitLimits { stdout_bytes_max, time_max };
    git.run(&GitCall { repo: Path::new("/nonexistent"), args: &["work"], stdin, source: None, limits })
}

/// Generous: a deadline here never stands for speed.
const LONG: Duration = Duration::from_mins(2);

#[test]
fn a_git_that_never_ends_is_killed_with_its_helpers() {
    let dir = TempDir::new().unwrap();
    let pid_file = dir.path().join("pid");
    let git = impostor(dir.path(), &format!("sleep 1000 & echo $! > {}; wait", pid_file.display()));
    let error = run(&git, b"", 100, Duration::from_secs(5)).unwrap_err();
    assert!(matches!(error, GitError::TimedOut { seconds: 5, .. }), "{error}");
    let pid = std::fs::read_to_string(pid_file).unwrap();
    // Killed is not yet gone: whoever adopted it has to look. Without the kill it would sleep on for good.
    let alive = || {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        !status.is_empty() && !status.contains(") Z ")
    };
    let started = std::time::Instant::now();
    while alive() && started.elapsed() < LONG {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(!alive());
}

#[test]
fn output_beyond_the_limit_ends_the_call() {
    let dir = TempDir::new().unwrap();
    let git = impostor(dir.path(), "yes");
    let output = run(&git, b"", 1000, LONG).unwrap();
    assert_eq!((output.stdout.len(), output.cut, output.status), (1000, true, None));
}

#[test]
fn a_flood_on_standard_error_neither_blocks_nor_grows() {
    let dir = TempDir::new().unwrap();
    let git = impostor(dir.path(), "head -c 5000000 /dev/zero | tr '\\0' x >&2; echo fine; exit 3");
    let output = run(&git, b"", 1000, LONG).unwrap();
    assert_eq!((output.status, output.stdout.as_slice()), (Some(3), &b"fine\n"[..]));
    assert!(output.stderr.len() <= 16 << 10);
}

#[test]
fn input_that_nobody_reads_is_no_error() {
    let dir = TempDir::new().unwrap();
    let git = impostor(dir.path(), "exit 0");
    assert_eq!(run(&git, &vec![b'x'; 5_000_000], 1000, LONG).unwrap().status, Some(0));
}

#[test]
fn s_35_the_environment_is_the_list_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let git = impostor(dir.path(), "env");
    let output = String::from_utf8(run(&git, b"", 100_000, LONG).unwrap().stdout).unwrap();
    assert!(!output.contains("HOME="), "{output}");
    assert!(!output.contains("CARGO"), "{output}");
    assert!(output.contains("GIT_CONFIG_GLOBAL=/dev/null\n") && output.contains("PATH=/usr/bin:/bin\n"), "{output}");
}

#[test]
fn an_old_git_and_a_missing_git_are_told_apart() {
    let dir = TempDir::new().unwrap();
    let old = dir.path().join("git");
    std::fs::write(&old, "#!/bin/sh\necho git version 2.39.5\n").unwrap();
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(HostGit::at(old), Err(GitError::TooOld { found, .. }) if found == "2.39.5"));
    let missing = HostGit::find("relative:/nonexistent".as_ref()).unwrap_err();
    assert!(matches!(missing, GitError::NotFound { .. }), "{missing}");
    assert!(matches!(HostGit::at(PathBuf::from("/nonexistent/git")), Err(GitError::Start { .. })));
}
