//! What can go wrong, one enum per operation; each variant names its subject and what a remedy needs to know.

use std::io;
use std::path::{Path, PathBuf};

use selvedge_authority::JournalError;
use selvedge_domain::{ApprovalId, Digest, Illegal, ProposalNumber, RepoName, RunId, TriggerId};

use crate::DecodeError;

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A newer program wrote it, and an older one would lose what it does not understand.
    #[error("`{}` has format {found}, and this Selvedge knows {known} at most", dir.display())]
    NewerFormat {
        /// The state directory.
        dir: PathBuf,
        /// The format it has.
        found: i64,
        /// The newest format this program knows.
        known: i64,
    },
    /// What is kept outside the state directory says that history is missing or another one.
    #[error("`{}`: {problem}, says `{}`", dir.display(), anchor.display())]
    Anchor {
        /// The state directory.
        dir: PathBuf,
        /// The anchor file that disagrees.
        anchor: PathBuf,
        /// How it disagrees.
        problem: AnchorProblem,
    },
    /// Another keeper holds the state directory.
    #[error("`{}` is held by another keeper", dir.display())]
    Locked {
        /// The state directory.
        dir: PathBuf,
    },
    /// The state directory cannot be written.
    #[error("`{}` is read-only", dir.display())]
    ReadOnly {
        /// The state directory.
        dir: PathBuf,
    },
    /// What is stored contradicts itself.
    #[error("`{}` is damaged: {because}", dir.display())]
    Corrupt {
        /// The state directory.
        dir: PathBuf,
        /// What was found.
        because: String,
    },
    /// A file could not be read or written.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// How a log and the checkpoint kept outside it disagree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnchorProblem {
    /// The log is shorter than it once was: truncated, or an old copy.
    #[error("the log has {found} entries and once had {anchored}: it was truncated, or an old copy was restored")]
    Shorter {
        /// How many entries the log has.
        found: u64,
        /// How many it had.
        anchored: u64,
    },
    /// The log is long enough and its history is another one.
    #[error("the first {anchored} entries are not the ones that were signed: history was rewritten")]
    Forked {
        /// How many entries the anchor covers.
        anchored: u64,
    },
    /// Another log was kept in this directory.
    #[error("the log {expected} was kept here and now there is another: it was replaced or deleted")]
    Replaced {
        /// The log that should be here.
        expected: String,
    },
    /// The log has signed history and nothing outside vouches for it.
    #[error("the log has a signed history, and its anchor is gone")]
    Missing,
    /// The anchor itself cannot be used.
    #[error("the anchor cannot be used: {because}")]
    Unusable {
        /// Why not.
        because: String,
    },
}

/// Why something was not written. Nothing of it remains.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It would break the law, or a limit.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store could not do it: disk full, read-only, gone.
    #[error("the store failed: {0}")]
    Storage(String),
    /// The ledger is closed.
    #[error("the ledger is closed")]
    Closed,
}

/// What the ledger refuses to write, whoever asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The claim is not the run's current one.
    #[error("the claim on run {run} was taken over")]
    Fenced {
        /// The run.
        run: RunId,
    },
    /// The law of a run does not allow the event.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// The entry speaks of a run and names none.
    #[error("`{kind}` concerns a run, and none is named")]
    NoRun {
        /// The kind of record.
        kind: &'static str,
    },
    /// The run never began.
    #[error("run {run} is not known")]
    UnknownRun {
        /// The run.
        run: RunId,
    },
    /// The trigger was never queued.
    #[error("trigger {trigger} is not known")]
    UnknownTrigger {
        /// The trigger.
        trigger: TriggerId,
    },
    /// The id stands for something else already.
    #[error("`{id}` is already in use")]
    InUse {
        /// The id.
        id: String,
    },
    /// A recorded deed is never done again.
    #[error("run {run} already has a deed for order {order}")]
    DoneBefore {
        /// The run.
        run: RunId,
        /// The order.
        order: Digest,
    },
    /// No allowing decision was recorded for the order.
    #[error("no decision allows order {order}")]
    Undecided {
        /// The order.
        order: Digest,
    },
    /// The proposal was opened before, or its number belongs to another run.
    #[error("proposal {number} of `{repo}` was opened before, or its number belongs to another run")]
    ProposalTaken {
        /// The repository.
        repo: RepoName,
        /// The number.
        number: ProposalNumber,
    },
    /// Nobody asked for this approval.
    #[error("approval {approval} was never asked for")]
    UnknownApproval {
        /// The approval.
        approval: ApprovalId,
    },
    /// The run is not over, so its claim cannot be completed.
    #[error("run {run} is not settled")]
    NotSettled {
        /// The run.
        run: RunId,
    },
    /// The entry is larger than any reader has to expect.
    #[error("an entry of {bytes} bytes is larger than the limit of {limit}")]
    TooLarge {
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        limit: usize,
    },
    /// A number does not fit what the store can hold.
    #[error("{what} is out of range")]
    OutOfRange {
        /// Which number.
        what: &'static str,
    },
    /// The record cannot be put into its stored form.
    #[error(transparent)]
    Unstorable(#[from] DecodeError),
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store could not answer.
    #[error("the store cannot be read: {0}")]
    Storage(#[from] rusqlite::Error),
    /// An entry cannot be understood.
    #[error("entry {seq}: {source}")]
    Entry {
        /// Which entry.
        seq: u64,
        /// Why not.
        source: DecodeError,
    },
    /// What is stored contradicts itself.
    #[error("entry {seq}: {because}")]
    Damaged {
        /// Where.
        seq: u64,
        /// What was found.
        because: String,
    },
    /// A projection holds what no entry can have put there; rebuilding it helps.
    #[error("a projection is damaged: {because}")]
    Projection {
        /// What was found.
        because: String,
    },
    /// A file could not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<WriteError> for JournalError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Refused(Refusal::Fenced { .. }) => Self::Fenced,
            WriteError::Refused(refusal) => Self::Write(refusal.to_string()),
            WriteError::Storage(because) => Self::Write(because),
            WriteError::Closed => Self::Write("the ledger is closed".to_owned()),
        }
    }
}

impl From<ReadError> for JournalError {
    fn from(error: ReadError) -> Self {
        Self::Read(error.to_string())
    }
}

/// Why a step inside a transaction stopped: refused before anything was written, or the store failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    /// Nothing was written; the transaction may go on.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The transaction must be rolled back.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The transaction must be rolled back.
    #[error("no randomness: {0}")]
    Entropy(io::Error),
}

impl From<rusqlite::Error> for StepError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Read(ReadError::Storage(error))
    }
}

impl OpenError {
    /// What SQLite says, in terms of the state directory.
    pub(crate) fn from_sqlite(dir: &Path, error: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let dir = dir.to_owned();
        match error.sqlite_error_code() {
            Some(Code::ReadOnly) => Self::ReadOnly { dir },
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => Self::Locked { dir },
            Some(Code::CannotOpen | Code::SystemIoFailure | Code::DiskFull | Code::PermissionDenied) => {
                Self::Io { path: dir, source: io::Error::other(error.to_string()) }
            }
            _ => Self::Corrupt { dir, because: error.to_string() },
        }
    }

    /// What the file system says about `path`.
    pub(crate) fn from_io(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { dir: path.to_owned() },
            _ => Self::Io { path: path.to_owned(), source },
        }
    }
}
