//! Git in a sandbox: what parses the objects of a repository that agents wrote to runs where it can reach nothing else.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use selvedge_forge::git::{GitCall, GitError, GitOutput, GitRunner, HostGit};
use selvedge_sandbox::{Access, Bind, Ended, Limit, Limits, NativeDriver, Place};

/// Longest start of standard error that is kept.
const STDERR_CHARS_MAX: usize = 8 << 10;

/// Runs git on the factory's own repositories, each call in a sandbox of its own: no network, no file but the repository.
#[derive(Debug)]
pub(super) struct JailedGit {
    driver: Arc<NativeDriver>,
    host: HostGit,
    /// Tells our sandboxes from those of every other factory on this host: control groups have one name space.
    tag: u64,
    calls: AtomicU64,
}

impl JailedGit {
    /// Runs the git that `host` found.
    pub(super) fn new(driver: Arc<NativeDriver>, host: HostGit) -> Self {
        Self { driver, host, tag: super::random(), calls: AtomicU64::new(0) }
    }

    fn place(&self, call: &GitCall<'_>) -> Place {
        let program = self.host.program().display().to_string();
        let repo: PathBuf = call.repo.to_owned();
        // The host's git reads the configuration when it catches up with a source, so nothing in here may write it.
        let bind = |path: PathBuf, access| Bind { target: path.display().to_string(), source: path, access };
        Place {
            env: call.environment().map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            binds: vec![bind(repo.clone(), Access::ReadWrite), bind(repo.join("config"), Access::ReadOnly)],
            stdin: call.stdin.to_vec(),
            limits: Limits {
                output_bytes: u64::try_from(call.limits.stdout_bytes_max).unwrap_or(u64::MAX),
                wall: call.limits.time_max,
                ..Limits::default()
            },
            ..Place::new(std::iter::once(program).chain(call.argv()))
        }
    }
}

impl GitRunner for JailedGit {
    fn run(&self, call: &GitCall<'_>) -> Result<GitOutput, GitError> {
        // What an operator's own repository holds is read by the operator's own git, before any agent has seen it; and so
        // is everything when git does not lie where sandboxes can see it.
        if call.source.is_some() || !self.host.program().starts_with("/usr") {
            return self.host.run(call);
        }
        let id = format!("git-{:016x}-{}", self.tag, self.calls.fetch_add(1, Ordering::Relaxed));
        let failed = |cause: String| GitError::Start { what: call.what(), cause: std::io::Error::other(cause) };
        let done = self.driver.run_tool(&id, &self.place(call)).map_err(|refused| failed(refused.to_string()))?;
        let cut = done.exit.ended == Ended::Limit(Limit::Output);
        let status = match done.exit.ended {
            Ended::Status(status) => Some(status),
            Ended::Limit(Limit::Output) => None,
            Ended::Limit(Limit::Wall) => {
                return Err(GitError::TimedOut { what: call.what(), seconds: call.limits.time_max.as_secs() });
            }
            Ended::Signal(_) | Ended::Limit(_) | Ended::Killed => None,
            Ended::NotRun(because) => return Err(failed(because)),
        };
        let stderr = String::from_utf8_lossy(&done.stderr).chars().take(STDERR_CHARS_MAX).collect();
        let mut stdout = done.stdout;
        stdout.truncate(call.limits.stdout_bytes_max);
        Ok(GitOutput { status, stdout, stderr, cut })
    }
}
