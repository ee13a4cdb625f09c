//! What a client may ask of the keeper, and what it answers: one JSON line each way, then a stream of replies.

use serde::{Deserialize, Serialize};

use crate::errors::{CliError, Kind};

/// Longest line of the control socket.
pub(crate) const LINE_BYTES_MAX: u64 = 4 << 20;

/// What can be asked. Who asks is the uid on the socket, never a field.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Queue work.
    Run(RunRequest),
    /// List runs.
    Ps,
    /// Everything about one run.
    Show { run: String },
    /// What a run changed, as text.
    Diff { run: String },
    /// The log after this entry, and whatever comes.
    Watch { after: Option<u64> },
    /// The log as stored.
    Log,
    /// List proposals.
    Proposals,
    /// Merge one.
    Merge { repo: Option<String>, number: u64, head: Option<String> },
    /// List what waits for a person.
    Approvals,
    /// Say yes.
    Approve { approval: String },
    /// Say no.
    Deny { approval: String },
    /// Stop.
    Halt(Scope),
    /// Go on.
    Resume(Scope),
    /// Revoke a run's credentials and end it.
    Revoke { run: String },
    /// The authority card of an agent.
    Can { agent: String },
    /// Explain a decision on record.
    Explain { entry: u64 },
    /// Verify the log, also against a checkpoint somebody else kept.
    Verify { against: Option<String> },
    /// The whole log, for others to check.
    Export,
    /// Is anyone there?
    Ping,
}

/// Work to queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunRequest {
    /// Which agent.
    pub(crate) agent: String,
    /// On which repository; the only one when absent.
    pub(crate) repo: Option<String>,
    /// The words of the task.
    pub(crate) text: String,
    /// The program, for ad-hoc work.
    pub(crate) argv: Vec<String>,
    /// Whether this is a scan.
    pub(crate) scan: bool,
    /// The advisory database, when another one than the configured is meant.
    pub(crate) advisories: Option<std::path::PathBuf>,
    /// Wait until the run is settled or waiting, and follow its follow-ups.
    pub(crate) wait: bool,
}

/// How far a halt reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "scope", content = "name", rename_all = "snake_case")]
pub(crate) enum Scope {
    /// Everything.
    All,
    /// One agent.
    Agent(String),
    /// One repository.
    Repo(String),
    /// One run.
    Run(String),
}

/// What the keeper says. The last reply is `Done` or `Failed`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub(crate) enum Reply {
    /// One item of a list or one event of a stream.
    Item { value: serde_json::Value },
    /// A line about progress.
    Progress { text: String },
    /// What a governed program wrote.
    Wrote { stderr: bool, bytes: Vec<u8> },
    /// The end, with the result.
    Done { value: serde_json::Value },
    /// The end, without.
    Failed { code: String, message: String, hints: Vec<String> },
}

impl From<CliError> for Reply {
    fn from(error: CliError) -> Self {
        Self::Failed { code: error.kind.code().to_owned(), message: error.message, hints: error.hints }
    }
}

impl Reply {
    /// The error this reply reports.
    pub(crate) fn into_error(code: &str, message: String, hints: Vec<String>) -> CliError {
        CliError { kind: Kind::parse(code).unwrap_or(Kind::Internal), message, hints }
    }
}
