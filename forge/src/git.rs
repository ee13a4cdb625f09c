//! How this crate runs git: a call as plain data, with the environment and configuration that make it inert.
//!
//! Owns what git is told. Knows nothing of where git runs: [`HostGit`] starts it directly, the binary wires one that
//! starts it in a jail.

mod host;

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use host::HostGit;

/// Runs git somewhere safe.
pub trait GitRunner: fmt::Debug + Send + Sync {
    /// Runs one call to its end. A non-zero exit is an answer, not an error.
    ///
    /// An implementation starts git with exactly [`GitCall::argv`] and [`GitCall::environment`], gives it no file but
    /// `repo` (to write) and `source` (to read), no network, and keeps the limits. Git starts helpers of its own: it needs
    /// its program directory and, to read a `source`, `/bin/sh`. They must end with the call.
    fn run(&self, call: &GitCall<'_>) -> Result<GitOutput, GitError>;

    /// The same for what is too large to hold: git reads `input` from where it stands, or nothing, in place of
    /// [`GitCall::stdin`], and its standard output is written to `output` as it comes. `input` is open for reading only.
    fn pipe(&self, call: &GitCall<'_>, input: Option<File>, output: &mut dyn Write) -> Result<GitOutput, GitError>;
}

/// One call of git.
#[derive(Debug, Clone, Copy)]
pub struct GitCall<'a> {
    /// The factory-owned bare repository.
    pub repo: &'a Path,
    /// The subcommand and its arguments.
    pub args: &'a [&'a str],
    /// What git reads from standard input.
    pub stdin: &'a [u8],
    /// The one other repository this call may read.
    pub source: Option<&'a Path>,
    /// When to stop.
    pub limits: GitLimits,
}

/// What one call may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GitLimits {
    /// Output beyond this ends the call; what came before is kept.
    pub stdout_bytes_max: usize,
    /// Time after which the call is killed.
    pub time_max: Duration,
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitOutput {
    /// The exit status; `None` where the output limit ended the call or a signal did.
    pub status: Option<i32>,
    /// Standard output, up to the limit.
    pub stdout: Vec<u8>,
    /// The start of standard error. Data: it may quote what an agent wrote.
    pub stderr: String,
    /// Whether output was lost to the limit.
    pub cut: bool,
}

/// Git could not give an answer.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// No git on the search path.
    #[error("git is not installed: looked in {looked_in}")]
    NotFound {
        /// The directories tried.
        looked_in: String,
    },
    /// A git without what we need.
    #[error("`{path}` is git {found}, and {needed} or later is needed")]
    TooOld {
        /// The program.
        path: PathBuf,
        /// The version it reports.
        found: String,
        /// The version that has `merge-tree --write-tree` as we use it.
        needed: &'static str,
    },
    /// The process could not be started or spoken to.
    #[error("`git {what}` could not be run: {cause}")]
    Start {
        /// The subcommand.
        what: String,
        /// The system's answer.
        cause: std::io::Error,
    },
    /// It took too long and was killed.
    #[error("`git {what}` did not finish within {seconds} seconds")]
    TimedOut {
        /// The subcommand.
        what: String,
        /// The limit.
        seconds: u64,
    },
    /// It said more than we are willing to hold.
    #[error("`git {what}` answered with more than {bytes} bytes")]
    TooMuchOutput {
        /// The subcommand.
        what: String,
        /// The limit.
        bytes: usize,
    },
    /// It failed.
    #[error("`git {what}` failed: {said}")]
    Failed {
        /// The subcommand.
        what: String,
        /// The first lines of its standard error, control characters escaped.
        said: String,
    },
    /// It succeeded and said something we do not understand.
    #[error("`git {what}` answered in an unknown form")]
    Unreadable {
        /// The subcommand.
        what: String,
    },
}

/// Enough for any listing of a large repository; content is read in batches whose size is known beforehand.
pub(crate) const LISTING: GitLimits = GitLimits { stdout_bytes_max: 256 << 20, time_max: Duration::from_mins(5) };
/// One line or none.
pub(crate) const ANSWER: GitLimits = GitLimits { stdout_bytes_max: 64 << 10, time_max: Duration::from_mins(1) };
/// A first import moves the whole history and checks every object.
pub(crate) const TRANSFER: GitLimits = GitLimits { stdout_bytes_max: 64 << 20, time_max: Duration::from_hours(1) };

/// Settings that leave git nothing to run, nothing to ask and nothing to lose.
const SETTINGS: &[&str] = &[
    // Nothing that is a program.
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.alternateRefsCommand=",
    "gc.auto=0",
    "maintenance.auto=false",
    "commit.gpgSign=false",
    "fetch.recurseSubmodules=false",
    "submodule.recurse=false",
    // Names mean their bytes, whatever the file system beneath.
    "core.bare=true",
    "core.ignoreCase=false",
    "core.precomposeUnicode=false",
    // What a reference names is on the disk before the reference is.
    "core.fsync=all",
    // A pack per commit costs two fsyncs; loose objects cost one each.
    "fastimport.unpackLimit=0",
    "core.logAllRefUpdates=false",
    // Two writers wait for each other rather than fail.
    "core.filesRefLockTimeout=10000",
    "core.packedRefsTimeout=10000",
    // Comparing or deltifying larger files costs more than it tells.
    "core.bigFileThreshold=32m",
    // A merge combines what two sides wrote and moves nothing on its own guess.
    "merge.directoryRenames=false",
    "merge.renormalize=false",
    "user.useConfigOnly=true",
    // Objects are checked as they come in. The exceptions are untidy history, not hazards.
    "transfer.fsckObjects=true",
    "fetch.fsck.badDate=ignore",
    "fetch.fsck.badDateOverflow=ignore",
    "fetch.fsck.badEmail=ignore",
    "fetch.fsck.badFilemode=ignore",
    "fetch.fsck.badName=ignore",
    "fetch.fsck.badTagName=ignore",
    "fetch.fsck.badTimezone=ignore",
    "fetch.fsck.gitmodulesParse=ignore",
    "fetch.fsck.missingEmail=ignore",
    "fetch.fsck.missingNameBeforeEmail=ignore",
    "fetch.fsck.missingSpaceBeforeDate=ignore",
    "fetch.fsck.missingSpaceBeforeEmail=ignore",
    "fetch.fsck.missingTaggerEntry=ignore",
    "fetch.fsck.multipleAuthors=ignore",
    "fetch.fsck.zeroPaddedDate=ignore",
    "fetch.fsck.zeroPaddedFilemode=ignore",
];

impl GitCall<'_> {
    /// The arguments after the program's name.
    pub fn argv(&self) -> Vec<String> {
        let mut argv = vec![format!("--git-dir={}", self.repo.display())];
        for setting in SETTINGS {
            argv.extend(["-c".to_owned(), (*setting).to_owned()]);
        }
        argv.extend(self.args.iter().map(|arg| (*arg).to_owned()));
        argv
    }

    /// The whole environment; nothing else may be inherited.
    pub fn environment(&self) -> [(&'static str, &'static str); 14] {
        // `GIT_ALLOW_PROTOCOL` also reaches the `upload-pack` that serves a source, which does not see our settings.
        let protocol = if self.source.is_some() { "file" } else { "none" };
        [
            ("GIT_ALLOW_PROTOCOL", protocol),
            ("GIT_ASKPASS", "/bin/false"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
            ("GIT_LITERAL_PATHSPECS", "1"),
            ("GIT_NO_LAZY_FETCH", "1"),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
            ("GIT_OPTIONAL_LOCKS", "0"),
            ("GIT_PROTOCOL_FROM_USER", "0"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("LC_ALL", "C"),
            ("PATH", "/usr/bin:/bin"),
        ]
    }

    /// The subcommand, for messages.
    pub fn what(&self) -> String {
        self.args.first().copied().unwrap_or_default().to_owned()
    }
}

impl GitOutput {
    /// The output of a call that should succeed and fit.
    pub(crate) fn whole(self, call: &GitCall<'_>) -> Result<Vec<u8>, GitError> {
        if self.cut {
            return Err(GitError::TooMuchOutput { what: call.what(), bytes: call.limits.stdout_bytes_max });
        }
        if self.status != Some(0) {
            return Err(GitError::Failed { what: call.what(), said: self.said() });
        }
        Ok(self.stdout)
    }

    /// Standard error as one line that is safe to show.
    pub(crate) fn said(&self) -> String {
        let lines = self.stderr.lines().map(str::trim).filter(|line| !line.is_empty()).take(4);
        lines.map(|line| line.escape_debug().take(300).collect::<String>()).collect::<Vec<_>>().join("; ")
    }
}
