//! The state directory, and the lock that makes one process its keeper.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, FlockOperation, access, flock};

use crate::errors::{CliError, Kind};

/// Where everything of one factory lies.
#[derive(Debug, Clone)]
pub(crate) struct State {
    root: PathBuf,
    anchor: Option<PathBuf>,
}

/// Held by the keeper for as long as it lives; the kernel lets go when the process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl State {
    /// The directory that was named, here or in SELVEDGE_STATE, or the user's own.
    pub(crate) fn locate(named: Option<&Path>) -> Result<Self, CliError> {
        let variable = || std::env::var_os("SELVEDGE_STATE").filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(named) = named.map(Path::to_owned).or_else(variable) {
            let absolute = std::path::absolute(&named).map_err(|error| CliError::caused(Kind::State, &error))?;
            return Ok(Self { root: absolute, anchor: None });
        }
        let base = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
        match base.or_else(home) {
            Some(base) => Ok(Self { root: base.join("selvedge"), anchor: None }),
            None => Err(CliError::new(Kind::State, "no state directory: neither HOME nor XDG_STATE_HOME is set")
                .hint("name one with `--state DIR` or SELVEDGE_STATE")),
        }
    }

    /// The same directory, with its log's anchor in a place of the caller's choosing.
    pub(crate) fn with_anchor(self, anchor: PathBuf) -> Self {
        Self { anchor: Some(anchor), ..self }
    }

    /// Where the caller wants the log's anchor.
    pub(crate) fn anchor(&self) -> Option<&Path> {
        self.anchor.as_deref()
    }

    /// A path inside it.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The directory itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.at("selvedge.toml")
    }

    /// The control socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.at("control.sock")
    }

    /// Makes the directory, for its owner's eyes only.
    pub(crate) fn create(&self) -> Result<(), CliError> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.root).map_err(|error| self.unusable(&error))
    }

    /// Whether `init` was here.
    pub(crate) fn require(&self) -> Result<(), CliError> {
        match std::fs::metadata(self.config()) {
            Ok(found) if found.is_file() => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Err(self.unusable(&error)),
            Ok(_) | Err(_) => {}
        }
        Err(CliError::new(Kind::State, format!("`{}` holds no factory", self.root.display()))
            .hint("run `selvedge init` in a repository, or `selvedge demo` to look around first"))
    }

    /// Whether there is anything here that could be stopped: a log is enough, whatever became of the configuration.
    pub(crate) fn require_log(&self) -> Result<(), CliError> {
        if self.at("ledger").is_dir() { Ok(()) } else { self.require() }
    }

    /// Becomes the keeper, or says that somebody else is.
    pub(crate) fn lock(&self) -> Result<Option<Lock>, CliError> {
        let path = self.at("lock");
        let open = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(&path);
        let file = open.map_err(|error| self.unusable(&error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(self.unusable(&std::io::Error::from(errno))),
        }
    }

    /// The first directory on the way that this user may not go through.
    fn closed(&self) -> Option<Closed> {
        let mut way: Vec<&Path> = self.root.ancestors().collect();
        way.reverse();
        let is_closed = |path: &&Path| access(*path, Access::EXEC_OK) == Err(rustix::io::Errno::ACCESS);
        let path = way.into_iter().find(is_closed)?;
        let found = std::fs::metadata(path).ok()?;
        Some(Closed { path: path.to_owned(), user: found.uid(), group: found.gid(), mode: found.mode() & 0o777 })
    }

    /// Why somebody else's keeper could not be spoken to, when nobody but its owner could become one. `refused` is what the
    /// socket said.
    pub(crate) fn kept_out(&self, refused: &std::io::Error) -> Option<CliError> {
        let owner = std::fs::metadata(&self.root).ok()?.uid();
        let me = rustix::process::geteuid();
        if me.is_root() || me.as_raw() == owner || self.closed().is_some() {
            return None;
        }
        let (owner, root) = (name_in("/etc/passwd", owner), self.root.display());
        Some(match refused.kind() {
            std::io::ErrorKind::PermissionDenied => {
                let group = std::fs::metadata(self.socket()).map_or_else(
                    |_| "its group".to_owned(),
                    |socket| format!("group `{}`", name_in("/etc/group", socket.gid())),
                );
                CliError::new(Kind::State, format!("the control socket of `{root}` is not for you")).hint(format!(
                    "user `{owner}` and {group} may use it: join that group, or have `{owner}` name one of yours, \
                     `people = \"GROUP\"` under `[factory]`"
                ))
            }
            _ => CliError::new(
                Kind::State,
                format!("no keeper is at work on `{root}`, and only user `{owner}` can be one"),
            )
            .hint(format!("have `{owner}` run `selvedge serve --state {root}`, then do this again")),
        })
    }

    /// The directory cannot be used, and why.
    pub(crate) fn unusable(&self, error: &std::io::Error) -> CliError {
        let plain = CliError::new(Kind::State, format!("cannot use `{}`: {error}", self.root.display()));
        match error.kind() {
            std::io::ErrorKind::ReadOnlyFilesystem => {
                plain.hint("the file system is read-only: remount it, or name another `--state DIR`")
            }
            std::io::ErrorKind::PermissionDenied => match self.closed() {
                Some(closed) => plain.hint(closed.who_may()).hint(closed.how_to_let_in()),
                None => plain.hint("it belongs to somebody else: name your own `--state DIR`"),
            },
            std::io::ErrorKind::StorageFull => {
                plain.hint("the disk is full: free some space; `selvedge halt` and `revoke` work all the same")
            }
            _ => plain,
        }
    }
}

/// A directory that does not let this user through.
struct Closed {
    path: PathBuf,
    user: u32,
    group: u32,
    mode: u32,
}

impl Closed {
    fn who_may(&self) -> String {
        let Self { path, mode, .. } = self;
        let (user, group) = (name_in("/etc/passwd", self.user), name_in("/etc/group", self.group));
        let who = match mode & 0o010 {
            0 => format!("only user `{user}` may"),
            _ => format!("user `{user}` and group `{group}` may"),
        };
        format!("`{}` does not let you through: {who} (its mode is {mode:o})", path.display())
    }

    /// Through, and no further: who goes through reads nothing that is not open to them by itself.
    fn how_to_let_in(&self) -> String {
        let (path, user) = (self.path.display(), name_in("/etc/passwd", self.user));
        format!(
            "to be let in, have `{user}` run `chgrp GROUP {path} && chmod g+x {path}`, with a group of yours that `people` under \
             `[factory]` names; or name your own `--state DIR`"
        )
    }
}

/// The name of a user or a group, or the number where this machine knows none.
fn name_in(table: &str, id: u32) -> String {
    let number = id.to_string();
    let lines = std::fs::read_to_string(table).unwrap_or_default();
    let name = lines.lines().find_map(|line| match line.split(':').collect::<Vec<_>>().as_slice() {
        [name, _, found, ..] if *found == number => Some((*name).to_owned()),
        _ => None,
    });
    name.unwrap_or(number)
}
