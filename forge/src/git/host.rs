//! Git started directly on this machine, with an empty environment and limits.
//!
//! Safe for repositories the factory wrote itself. It is no jail: a flaw in git's own parsers would act with our rights.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{ANSWER, GitCall, GitError, GitOutput, GitRunner};

/// A git program on this machine.
#[derive(Debug, Clone)]
pub struct HostGit {
    program: PathBuf,
    version: String,
}

/// The first version with `merge-tree --write-tree --merge-base` and `ls-tree` as we use them.
const VERSION_NEEDED: (u32, u32) = (2, 40);
/// Read at once: the capacity of a pipe.
const PIPE_BYTES: usize = 64 << 10;
/// Enough of standard error to say what went wrong.
const STDERR_BYTES_MAX: u64 = 16 << 10;

impl HostGit {
    /// The program that was found.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The version it says it is.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Finds git in the absolute directories of a search path such as `$PATH`.
    pub fn find(search_path: &OsStr) -> Result<Self, GitError> {
        let found = std::env::split_paths(search_path)
            .filter(|dir| dir.is_absolute())
            .map(|dir| dir.join("git"))
            .find(|program| program.is_file());
        match found {
            Some(program) => Self::at(program),
            None => Err(GitError::NotFound { looked_in: search_path.to_string_lossy().into_owned() }),
        }
    }

    /// Uses the git at `program`, if it is new enough.
    pub fn at(program: PathBuf) -> Result<Self, GitError> {
        let git = Self { program, version: String::new() };
        let call =
            GitCall { repo: Path::new("/dev/null"), args: &["version"], stdin: b"", source: None, limits: ANSWER };
        let said = String::from_utf8_lossy(&git.run(&call)?.whole(&call)?).trim().to_owned();
        let version = said.strip_prefix("git version ").unwrap_or(&said);
        let mut numbers = version.split('.').map(|part| part.parse::<u32>().ok());
        match (numbers.next().flatten(), numbers.next().flatten()) {
            (Some(major), Some(minor)) if (major, minor) >= VERSION_NEEDED => {
                Ok(Self { version: version.to_owned(), ..git })
            }
            _ => Err(GitError::TooOld { path: git.program, found: version.to_owned(), needed: "2.40" }),
        }
    }
}

impl GitRunner for HostGit {
    fn pipe(&self, call: &GitCall<'_>, input: Option<File>, output: &mut dyn Write) -> Result<GitOutput, GitError> {
        let failed = |cause| GitError::Start { what: call.what(), cause };
        let mut child = start(&self.program, call, input.map_or_else(Stdio::null, Stdio::from)).map_err(failed)?;
        let deadline = Instant::now() + call.limits.time_max;
        let (pid, stderr) = (child.id(), child.stderr.take());
        let (finish, finished) = mpsc::channel::<()>();
        let (passed, stderr, status) = thread::scope(|scope| {
            let said = scope.spawn(|| stderr.map_or(Ok(Vec::new()), |stderr| drain(stderr, STDERR_BYTES_MAX)));
            scope.spawn(move || {
                let wait = deadline.saturating_duration_since(Instant::now());
                if finished.recv_timeout(wait) == Err(mpsc::RecvTimeoutError::Timeout) {
                    kill(pid);
                }
            });
            let passed = pass(&mut child, call, output);
            if !matches!(passed, Ok(true)) {
                kill(pid);
            }
            // Not reaped before the watcher has gone: until then the id is this child's.
            drop(finish);
            let said = said.join().unwrap_or_else(|_| Ok(Vec::new()));
            (passed, said, reap(&mut child, deadline))
        });
        let (whole, stderr) = (passed.map_err(failed)?, stderr.map_err(failed)?);
        match status.map_err(failed)? {
            Some(status) if Instant::now() < deadline => Ok(GitOutput {
                status: if whole { status.code() } else { None },
                stdout: Vec::new(),
                stderr: String::from_utf8_lossy(&stderr).into_owned(),
                cut: !whole,
            }),
            _ => Err(GitError::TimedOut { what: call.what(), seconds: call.limits.time_max.as_secs() }),
        }
    }

    fn run(&self, call: &GitCall<'_>) -> Result<GitOutput, GitError> {
        let failed = |cause| GitError::Start { what: call.what(), cause };
        let mut child = start(&self.program, call, Stdio::piped()).map_err(failed)?;
        let deadline = Instant::now() + call.limits.time_max;
        let spoken = converse(&mut child, call, deadline);
        if !matches!(spoken, Ok(ref said) if !said.cut) {
            kill(child.id());
        }
        let status = reap(&mut child, deadline).map_err(failed)?;
        let Conversation { stdout, stderr, cut, in_time } = spoken.map_err(failed)?;
        match status {
            Some(status) if in_time => {
                Ok(GitOutput { status: if cut { None } else { status.code() }, stdout, stderr, cut })
            }
            _ => Err(GitError::TimedOut { what: call.what(), seconds: call.limits.time_max.as_secs() }),
        }
    }
}

fn start(program: &Path, call: &GitCall<'_>, input: Stdio) -> io::Result<Child> {
    use std::os::unix::process::CommandExt as _;
    Command::new(program)
        .args(call.argv())
        .env_clear()
        .envs(call.environment())
        .current_dir("/")
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Its own group, so that the helpers git starts end with it.
        .process_group(0)
        .spawn()
}

/// Passes standard output on, up to the limit; whether all of it.
fn pass(child: &mut Child, call: &GitCall<'_>, output: &mut dyn Write) -> io::Result<bool> {
    let Some(mut stdout) = child.stdout.take() else { return Err(io::Error::other("a pipe is missing")) };
    let (mut left, mut chunk) = (call.limits.stdout_bytes_max, vec![0; PIPE_BYTES]);
    loop {
        let read = stdout.read(&mut chunk)?;
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else { return Ok(true) };
        let Some(after) = left.checked_sub(bytes.len()) else { return Ok(false) };
        left = after;
        output.write_all(bytes)?;
    }
}

struct Conversation {
    stdout: Vec<u8>,
    stderr: String,
    cut: bool,
    in_time: bool,
}

enum Heard {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
}

/// Feeds standard input and drains both outputs at once, since git may fill one pipe while we wait on another.
fn converse(child: &mut Child, call: &GitCall<'_>, deadline: Instant) -> io::Result<Conversation> {
    let (Some(mut stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(io::Error::other("a pipe is missing"));
    };
    let stdout_max = u64::try_from(call.limits.stdout_bytes_max).unwrap_or(u64::MAX);
    let (tell, hear) = mpsc::channel();
    let tell_stderr = tell.clone();
    thread::scope(|scope| {
        // A closed pipe means that git has ended early; its status says why.
        scope.spawn(move || drop(stdin.write_all(call.stdin)));
        scope.spawn(move || drop(tell.send(read_up_to(stdout, stdout_max.saturating_add(1)).map(Heard::Stdout))));
        scope.spawn(move || drop(tell_stderr.send(drain(stderr, STDERR_BYTES_MAX).map(Heard::Stderr))));
        let mut said = Conversation { stdout: Vec::new(), stderr: String::new(), cut: false, in_time: true };
        for _ in 0..2 {
            match hear.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Ok(Heard::Stdout(bytes))) => {
                    said.cut = bytes.len() > call.limits.stdout_bytes_max;
                    said.stdout = bytes;
                    said.stdout.truncate(call.limits.stdout_bytes_max);
                }
                Ok(Ok(Heard::Stderr(bytes))) => said.stderr = String::from_utf8_lossy(&bytes).into_owned(),
                Ok(Err(cause)) => {
                    kill(child.id());
                    return Err(cause);
                }
                Err(_) => said.in_time = false,
            }
            if said.cut || !said.in_time {
                // The other threads end when the group's ends of the pipes do.
                kill(child.id());
            }
        }
        Ok(said)
    })
}

fn read_up_to(from: impl Read, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Keeps the start and reads the rest away, so that a talkative git does not block.
fn drain(mut from: impl Read, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.by_ref().take(bytes_max).read_to_end(&mut bytes)?;
    io::copy(&mut from, &mut io::sink())?;
    Ok(bytes)
}

/// Kills the group of a child that is not yet reaped, so that the id is still its own.
fn kill(child_id: u32) {
    // A group that is already gone is what we want.
    if let Some(pid) = i32::try_from(child_id).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// Waits for a child that has closed its outputs; one that lingers past the deadline is killed.
fn reap(child: &mut Child, deadline: Instant) -> io::Result<Option<std::process::ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            kill(child.id());
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_micros(200));
    }
}
