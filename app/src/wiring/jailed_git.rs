//! Git in a sandbox: what parses the objects of a repository that agents wrote to runs where it can reach nothing else.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use selvedge_forge::git::{GitCall, GitError, GitOutput, GitRunner, HostGit};
use selvedge_sandbox::{Access, Bind, Ended, Input, Limit, Limits, NativeDriver, Place, ToolOutput};

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

    fn place(&self, call: &GitCall<'_>, stdin: Input) -> Place {
        let program = self.host.program().display().to_string();
        let repo: PathBuf = call.repo.to_owned();
        // The host's git reads the configuration when it catches up with a source, so nothing in here may write it.
        let bind = |path: PathBuf, access| Bind { target: path.display().to_string(), source: path, access };
        Place {
            env: call.environment().map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            binds: vec![bind(repo.clone(), Access::ReadWrite), bind(repo.join("config"), Access::ReadOnly)],
            stdin,
            limits: Limits {
                output_bytes: u64::try_from(call.limits.stdout_bytes_max).unwrap_or(u64::MAX),
                wall: call.limits.time_max,
                ..Limits::default()
            },
            ..Place::new(std::iter::once(program).chain(call.argv()))
        }
    }

    /// What an operator's own repository holds is read by the operator's own git, before any agent has seen it; an empty
    /// repository is made by it, and holds nothing to read; and it does everything when git does not lie where sandboxes
    /// can see it.
    fn is_for_the_host(&self, call: &GitCall<'_>) -> bool {
        let makes_one = call.args.first() == Some(&"init");
        call.source.is_some() || makes_one || !self.host.program().starts_with("/usr")
    }

    fn jailed(&self, call: &GitCall<'_>, stdin: Input, take: &mut dyn FnMut(&[u8])) -> Result<GitOutput, GitError> {
        let id = format!("git-{:016x}-{}", self.tag, self.calls.fetch_add(1, Ordering::Relaxed));
        let failed = |cause: String| GitError::Start { what: call.what(), cause: std::io::Error::other(cause) };
        let done = self.driver.run_tool_into(&id, &self.place(call, stdin), take);
        let done: ToolOutput = done.map_err(|refused| failed(refused.to_string()))?;
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
        Ok(GitOutput { status, stdout: Vec::new(), stderr, cut })
    }
}

impl GitRunner for JailedGit {
    fn run(&self, call: &GitCall<'_>) -> Result<GitOutput, GitError> {
        if self.is_for_the_host(call) {
            return self.host.run(call);
        }
        let mut stdout = Vec::new();
        let stdin = Input::Bytes(call.stdin.to_vec());
        let output = self.jailed(call, stdin, &mut |bytes| stdout.extend_from_slice(bytes))?;
        stdout.truncate(call.limits.stdout_bytes_max);
        Ok(GitOutput { stdout, ..output })
    }

    fn pipe(&self, call: &GitCall<'_>, input: Option<File>, output: &mut dyn Write) -> Result<GitOutput, GitError> {
        if self.is_for_the_host(call) {
            return self.host.pipe(call, input, output);
        }
        let stdin = input.map_or_else(Input::default, |file| Input::File(Arc::new(file)));
        let mut written = Ok(());
        // Once writing fails the rest is read away, and bounded by the limit on output.
        let mut take = |bytes: &[u8]| {
            if written.is_ok() {
                written = output.write_all(bytes);
            }
        };
        let done = self.jailed(call, stdin, &mut take)?;
        written.map_err(|cause| GitError::Start { what: call.what(), cause })?;
        Ok(done)
    }
}
