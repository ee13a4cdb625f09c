//! Git in a sandbox: what parses the objects of a repository that agents wrote to runs where it can reach nothing else.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use selvedge_forge::git::{GitCall, GitError, GitOutput, GitRunner, HostGit};
use selvedge_sandbox::{Access, Bind, Ended, Input, Killer, Limit, Limits, NativeDriver, Place, ToolOutput};

/// Longest start of standard error that is kept.
const STDERR_CHARS_MAX: usize = 8 << 10;

/// What a call that an agent asked for may use: a pack of some tens of MiB is taken apart in it, at the agent's pace and not at
/// the expense of other runs.
const TIED_MEMORY_BYTES: u64 = 2 << 30;
const TIED_CPU_PERCENT: u32 = 100;

/// Where every sandbox sees the programs of this machine, with all they need.
const SEEN_INSIDE: [&str; 2] = ["/usr", "/bin"];

/// Runs git on the factory's own repositories, each call in a sandbox of its own: no network, no file but the repository.
#[derive(Debug)]
pub(super) struct JailedGit {
    driver: Arc<NativeDriver>,
    host: HostGit,
    /// Where the same git is inside; none when it is not there.
    inside: Option<PathBuf>,
    /// Tells our sandboxes from those of every other factory on this host: control groups have one name space.
    tag: u64,
    calls: AtomicU64,
}

impl JailedGit {
    /// Runs the git that `host` found.
    pub(super) fn new(driver: Arc<NativeDriver>, host: HostGit) -> Self {
        let inside = inside(host.program());
        Self { driver, host, inside, tag: super::random(), calls: AtomicU64::new(0) }
    }

    fn limits(call: &GitCall<'_>, tie: Option<&Tie>) -> Limits {
        let output_bytes = u64::try_from(call.limits.stdout_bytes_max).unwrap_or(u64::MAX);
        let all = Limits { output_bytes, wall: call.limits.time_max, ..Limits::default() };
        match tie {
            None => all,
            Some(_) => Limits { memory_bytes: TIED_MEMORY_BYTES, cpu_percent: TIED_CPU_PERCENT, ..all },
        }
    }

    fn place(call: &GitCall<'_>, program: &Path, stdin: Input, tie: Option<&Tie>) -> Place {
        let program = program.display().to_string();
        let repo: PathBuf = call.repo.to_owned();
        // The host's git reads the configuration when it catches up with a source, so nothing in here may write it.
        let bind = |path: PathBuf, access| Bind { target: path.display().to_string(), source: path, access };
        Place {
            env: call.environment().map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            binds: vec![bind(repo.clone(), Access::ReadWrite), bind(repo.join("config"), Access::ReadOnly)],
            stdin,
            limits: Self::limits(call, tie),
            ..Place::new(std::iter::once(program).chain(call.argv()))
        }
    }

    /// What an operator's own repository holds is read by the operator's own git, before any agent has seen it; and an empty
    /// repository is made by it, and holds nothing to read.
    fn is_for_the_host(call: &GitCall<'_>) -> bool {
        let makes_one = call.args.first() == Some(&"init");
        call.source.is_some() || makes_one
    }

    fn jailed(
        &self,
        call: &GitCall<'_>,
        stdin: Input,
        tie: Option<&Tie>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<GitOutput, GitError> {
        let id = format!("git-{:016x}-{}", self.tag, self.calls.fetch_add(1, Ordering::Relaxed));
        let failed = |cause: String| GitError::Start { what: call.what(), cause: std::io::Error::other(cause) };
        // Never without the sandbox: who cannot have one is told, and nothing is parsed.
        let program = self.inside.as_deref().ok_or_else(|| failed(unseen(self.host.program())))?;
        let mut begun = |killer| tie.into_iter().for_each(|tie| tie.begun(&id, &killer));
        let done = self.driver.run_tool_into(&id, &Self::place(call, program, stdin, tie), &mut begun, take);
        tie.into_iter().for_each(|tie| tie.done(&id));
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

impl JailedGit {
    fn run_tied(&self, call: &GitCall<'_>, tie: Option<&Tie>) -> Result<GitOutput, GitError> {
        if Self::is_for_the_host(call) {
            return self.host.run(call);
        }
        let mut stdout = Vec::new();
        let stdin = Input::Bytes(call.stdin.to_vec());
        let output = self.jailed(call, stdin, tie, &mut |bytes| stdout.extend_from_slice(bytes))?;
        stdout.truncate(call.limits.stdout_bytes_max);
        Ok(GitOutput { stdout, ..output })
    }

    fn pipe_tied(
        &self,
        call: &GitCall<'_>,
        tie: Option<&Tie>,
        input: Option<File>,
        output: &mut dyn Write,
    ) -> Result<GitOutput, GitError> {
        if Self::is_for_the_host(call) {
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
        let done = self.jailed(call, stdin, tie, &mut take)?;
        written.map_err(|cause| GitError::Start { what: call.what(), cause })?;
        Ok(done)
    }
}

impl GitRunner for JailedGit {
    fn run(&self, call: &GitCall<'_>) -> Result<GitOutput, GitError> {
        self.run_tied(call, None)
    }

    fn pipe(&self, call: &GitCall<'_>, input: Option<File>, output: &mut dyn Write) -> Result<GitOutput, GitError> {
        self.pipe_tied(call, None, input, output)
    }
}

/// Where a program of this machine is inside every sandbox; none when it is not there.
pub(super) fn inside(program: &Path) -> Option<PathBuf> {
    let is_seen = |path: &Path| SEEN_INSIDE.iter().any(|seen| path.starts_with(seen));
    let real = program.canonicalize().ok().filter(|real| is_seen(real))?;
    Some(if is_seen(program) { program.to_owned() } else { real })
}

/// Why no sandbox runs this git.
pub(super) fn unseen(program: &Path) -> String {
    format!(
        "git is `{}`, where no sandbox can see it, and what agents wrote is read by git in sandboxes only",
        program.display()
    )
}

/// What to do about it.
pub(super) const SEE_TO_IT: &str = "install git 2.40 or newer below /usr, and have its directory in PATH";

/// Ties calls of git to a run: they end when it is stopped, however long they would have taken (G5).
#[derive(Debug, Default)]
pub(super) struct Tie(Mutex<Tied>);

#[derive(Debug, Default)]
struct Tied {
    calls: BTreeMap<String, Killer>,
    /// Until it is mended.
    is_cut: bool,
    /// For good.
    is_stopped: bool,
}

impl Tie {
    /// Ends the calls that are under way, and each that begins, until [`Self::mend`].
    pub(super) fn cut(&self) {
        let mut tied = self.tied();
        tied.is_cut = true;
        tied.calls.values().for_each(end);
    }

    /// The same, and nothing mends it: the run is stopped.
    pub(super) fn stop(&self) {
        let mut tied = self.tied();
        tied.is_stopped = true;
        tied.calls.values().for_each(end);
    }

    /// Lets calls go on again, for what the factory itself has to look at.
    pub(super) fn mend(&self) {
        self.tied().is_cut = false;
    }

    /// Whether the run is stopped.
    pub(super) fn is_stopped(&self) -> bool {
        self.tied().is_stopped
    }

    fn begun(&self, id: &str, killer: &Killer) {
        let mut tied = self.tied();
        if tied.is_cut || tied.is_stopped {
            end(killer);
        }
        tied.calls.insert(id.to_owned(), killer.clone());
    }

    fn done(&self, id: &str) {
        self.tied().calls.remove(id);
    }

    /// Each statement leaves it whole.
    fn tied(&self) -> MutexGuard<'_, Tied> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever runs the call sees it end; one that does not die is ended by its own limit on time.
fn end(killer: &Killer) {
    let _dying = killer.halt(Duration::ZERO);
}

/// Git whose calls are tied.
#[derive(Debug)]
pub(super) struct TiedGit {
    pub(super) git: Arc<JailedGit>,
    pub(super) tie: Arc<Tie>,
}

impl GitRunner for TiedGit {
    fn run(&self, call: &GitCall<'_>) -> Result<GitOutput, GitError> {
        self.git.run_tied(call, Some(&self.tie))
    }

    fn pipe(&self, call: &GitCall<'_>, input: Option<File>, output: &mut dyn Write) -> Result<GitOutput, GitError> {
        self.git.pipe_tied(call, Some(&self.tie), input, output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_git_is_run_where_sandboxes_see_it_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("own"), "").unwrap();
        std::os::unix::fs::symlink("/usr/bin/env", at("link")).unwrap();
        std::os::unix::fs::symlink(at("own"), at("other")).unwrap();
        assert_eq!(inside(Path::new("/usr/bin/env")), Some("/usr/bin/env".into()));
        assert_eq!(inside(&at("link")), Some(Path::new("/usr/bin/env").canonicalize().unwrap()), "by its own name");
        for outside in [at("own"), at("other"), at("none"), PathBuf::from("/usr/../etc/passwd"), "/usr/none".into()] {
            assert_eq!(inside(&outside), None, "{}", outside.display());
        }
    }
}
