//! Owns what a caller asks for: the place an agent, a check or a tool is to run in, as plain data. Knows no kernel.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How strong the isolation must be. A missing layer refuses the start; nothing is made weaker instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The keeper is an ordinary user: all layers but mapped mounts; host ids come from the subordinate ids.
    User,
    /// The keeper is root: every live sandbox is a host user of its own.
    Full,
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Full => "full",
        })
    }
}

/// Everything about one sandbox.
#[derive(Debug, Clone)]
pub struct Place {
    /// The program and its arguments; a name without `/` is looked for along `PATH`.
    pub argv: Vec<String>,
    /// The whole environment: nothing of the keeper's is inherited.
    pub env: Vec<(String, String)>,
    /// Where the program starts; the workspace if there is one, else the home directory.
    pub directory: Option<String>,
    /// The tree worked on.
    pub workspace: Option<Workspace>,
    /// Other host directories and files to show.
    pub binds: Vec<Bind>,
    /// Files made for this sandbox, read-only inside.
    pub files: Vec<File>,
    /// What it may use up.
    pub limits: Limits,
    /// Whether there is a way out.
    pub network: Network,
    /// What the program reads; then its input ends.
    pub stdin: Input,
    /// What is observed of it while it lives; nothing when absent.
    pub observe: Option<Observe>,
}

/// What is observed of a sandbox: the programs it starts, and that some files are read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observe {
    /// Whether the programs are told, which makes each a little slower to start.
    pub programs: bool,
    /// Files of the workspace's pristine tree, relative to it: regular ones, each of them there.
    pub files: Vec<String>,
}

/// Most files whose reading can be observed in one sandbox: each is a watch of the kernel's, which are counted per user.
pub const OBSERVED_FILES_MAX: usize = 1000;

/// What a program reads from standard input.
#[derive(Debug, Clone)]
pub enum Input {
    /// These bytes.
    Bytes(Vec<u8>),
    /// What this file holds from where it stands. The program gets this very descriptor, so open it for reading only.
    File(Arc<std::fs::File>),
    /// What somebody else writes, who reads its output, too: [`crate::Sandbox::handed`] gives the other ends away, and nobody here reads
    /// any of it. If they are never given away, its input is at its end.
    Handed,
}

impl Default for Input {
    fn default() -> Self {
        Self::Bytes(Vec::new())
    }
}

/// Where programs are looked for when nothing else is said.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

impl Place {
    /// A place with a plain environment, ordinary limits, no workspace and no network.
    pub fn new(argv: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let env =
            [("PATH", PATH), ("HOME", selvedge_jail::HOME), ("USER", "agent"), ("LANG", "C.UTF-8"), ("TMPDIR", "/tmp")];
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            directory: None,
            workspace: None,
            binds: Vec::new(),
            files: Vec::new(),
            limits: Limits::default(),
            network: Network::None,
            stdin: Input::default(),
            observe: None,
        }
    }

    /// Sets one variable, replacing what it was.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// The tree worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// The pristine tree on the host. It is never written; changes are collected.
    pub pristine: PathBuf,
}

/// A host directory or file shown inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// On the host.
    pub source: PathBuf,
    /// Absolute path inside.
    pub target: String,
    /// What may be done with it.
    pub access: Access,
}

/// What may be done with a bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read and execute, as the host's permissions say: files only their owner may read stay closed.
    ReadOnly,
    /// Everything, on a copy that dies with the sandbox. Directories only.
    PrivateCopy,
    /// Everything, on the host's directory itself. Bounded by nothing but the host's disk.
    ReadWrite,
}

/// A file made for the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Absolute path inside.
    pub target: String,
    /// The bytes.
    pub content: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
}

/// Whether there is a way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// A loopback of its own, and nothing on it.
    None,
    /// The same, with listeners on it for the run's doors.
    Doors,
}

/// What a sandbox may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory of all processes and of everything they write outside read-write binds.
    pub memory_bytes: u64,
    /// Share of one processor, in percent; 200 is two processors.
    pub cpu_percent: u32,
    /// Processes and threads.
    pub pids: u32,
    /// Bytes written to everything writable together. Held in memory, so never more than `memory_bytes` in effect.
    pub disk_bytes: u64,
    /// Files there.
    pub disk_files: u64,
    /// Bytes of output and error output together.
    pub output_bytes: u64,
    /// Time from release to exit.
    pub wall: Duration,
}

impl Default for Limits {
    /// Enough for an ordinary build on a small machine.
    fn default() -> Self {
        Self {
            memory_bytes: 4 << 30,
            cpu_percent: 200,
            pids: 512,
            disk_bytes: 2 << 30,
            disk_files: 200_000,
            output_bytes: 64 << 20,
            wall: Duration::from_secs(3600),
        }
    }
}
