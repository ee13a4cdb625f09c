//! Where the log and its anchor lie.

use std::path::PathBuf;

use selvedge_ledger::{AnchorProblem, Ledger, OpenError, OpenOptions};

use crate::errors::{CliError, Kind};
use crate::keeper::State;

/// The directory of the log.
pub(crate) fn ledger(state: &State) -> PathBuf {
    state.at("ledger")
}

/// The directory, outside every state directory, that remembers how long each log was.
pub(crate) fn anchor(state: &State) -> Result<PathBuf, CliError> {
    if let Some(chosen) = state.anchor() {
        return Ok(chosen.to_owned());
    }
    if let Some(named) = std::env::var_os("SELVEDGE_ANCHOR") {
        return Ok(PathBuf::from(named));
    }
    let base = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    let path = base.or_else(home).map(|base| base.join("selvedge/anchors"));
    match path {
        Some(path) if !path.starts_with(state.root()) => Ok(path),
        _ => Err(CliError::new(Kind::State, "no place outside the state directory for the log's anchor")
            .hint("set SELVEDGE_ANCHOR to a directory that is not backed up together with the state")),
    }
}

/// Opens the log, or says what is wrong with it.
pub(crate) fn open_ledger(state: &State) -> Result<Ledger, CliError> {
    Ledger::open(&ledger(state), &anchor(state)?, OpenOptions::default()).map_err(|error| refuse(state, &error))
}

/// With less than this a log cannot be opened, let alone written.
const ROOM_BYTES_MIN: u64 = 256 << 10;

fn is_full(state: &State) -> bool {
    rustix::fs::statvfs(state.root()).is_ok_and(|room| room.f_bavail.saturating_mul(room.f_frsize) < ROOM_BYTES_MIN)
}

fn refuse(state: &State, error: &OpenError) -> CliError {
    match error {
        OpenError::Anchor { problem, .. } => anchored(CliError::caused(Kind::Ledger, error), problem),
        OpenError::NewerFormat { .. } => {
            CliError::caused(Kind::Ledger, error).hint("use the newer Selvedge that wrote it")
        }
        OpenError::Locked { .. } => CliError::caused(Kind::State, error).hint("one keeper per state directory"),
        OpenError::ReadOnly { .. } => CliError::caused(Kind::State, error)
            .hint("the file system is read-only: remount it, or name another `--state DIR`"),
        OpenError::Io { .. } if is_full(state) => {
            CliError::new(Kind::State, format!("the disk of `{}` is full: {error}", state.root().display()))
                .hint("free some space; `selvedge halt` and `revoke` work all the same")
        }
        OpenError::Io { .. } => CliError::caused(Kind::State, error)
            .hint("check the disk and the permissions of the state directory, or name another `--state DIR`"),
        OpenError::Corrupt { .. } => {
            CliError::caused(Kind::Ledger, error).hint("`selvedge audit verify` names the first bad entry")
        }
    }
}

/// What to do about a log that its anchor does not vouch for.
fn anchored(error: CliError, problem: &AnchorProblem) -> CliError {
    match problem {
        AnchorProblem::Missing => error
            .hint("if the anchor was moved, point SELVEDGE_ANCHOR at its directory")
            .hint("if it is lost, nobody can tell this log from an older copy; start a new state directory and keep this one"),
        AnchorProblem::Shorter { .. } => error
            .hint("restore the newest copy of the state directory: spent approvals and budgets live in the log, so an old copy is never continued"),
        AnchorProblem::Replaced { .. } => error
            .hint("if the old log was deleted on purpose, remove the anchor named above; otherwise restore the log"),
        AnchorProblem::Forked { .. } => error
            .hint("somebody with access to the state directory rewrote the log: keep it as evidence, and restore a copy"),
        AnchorProblem::Unusable { .. } => error.hint("check the permissions of the anchor's directory, or set SELVEDGE_ANCHOR"),
    }
}
