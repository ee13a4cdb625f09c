//! What a user sees when something does not work: a sentence, a hint, a stable code and an exit status.

use std::fmt;

/// Exit statuses of the factory's own. `run --command` passes its program's status through, so ours lie above what
/// programs use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The command line cannot be understood.
    Usage = 100,
    /// The configuration cannot be used.
    Config = 101,
    /// Policy refused it.
    Refused = 102,
    /// The run waits for a person.
    Waiting = 103,
    /// The state directory cannot be used: locked, read-only, full.
    State = 104,
    /// The ledger does not verify, or is older than its anchor.
    Ledger = 105,
    /// A layer of the sandbox is missing.
    Sandbox = 106,
    /// What was named does not exist.
    NotFound = 107,
    /// A repository, or git, cannot be used.
    Git = 108,
    /// The advisories cannot be used.
    Advisories = 109,
    /// The policies do not load.
    Policy = 110,
    /// There is a result, and a person has to look.
    Held = 111,
    /// The run failed.
    Failed = 112,
    /// The run was halted.
    Halted = 113,
    /// An attack got through, in `demo`.
    Breached = 114,
    /// Something standing is overdue or nobody's, or an orphan lives, in `identities --check`.
    Overdue = 115,
    /// A forge, or the browser that was sent there, did not answer, or not as it should, in `credentials create-app`.
    Unanswered = 116,
    /// A fault of the factory itself.
    Internal = 119,
}

impl Kind {
    /// Every kind, for the documentation.
    pub(crate) const ALL: &'static [Self] = &[
        Self::Usage,
        Self::Config,
        Self::Refused,
        Self::Waiting,
        Self::State,
        Self::Ledger,
        Self::Sandbox,
        Self::NotFound,
        Self::Git,
        Self::Advisories,
        Self::Policy,
        Self::Held,
        Self::Failed,
        Self::Halted,
        Self::Breached,
        Self::Overdue,
        Self::Unanswered,
        Self::Internal,
    ];

    /// The stable code.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Config => "config",
            Self::Refused => "refused",
            Self::Waiting => "waiting",
            Self::State => "state",
            Self::Ledger => "ledger",
            Self::Sandbox => "sandbox",
            Self::NotFound => "not_found",
            Self::Git => "git",
            Self::Advisories => "advisories",
            Self::Policy => "policy",
            Self::Held => "held",
            Self::Failed => "failed",
            Self::Halted => "halted",
            Self::Breached => "breached",
            Self::Overdue => "overdue",
            Self::Unanswered => "unanswered",
            Self::Internal => "internal",
        }
    }

    /// What it means, in a sentence.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Usage => "the command line cannot be understood",
            Self::Config => "the configuration cannot be used",
            Self::Refused => "policy refused it",
            Self::Waiting => "the run waits for a person; see `selvedge approvals`",
            Self::State => "the state directory cannot be used: locked, read-only, full",
            Self::Ledger => "the log does not verify, or is older than its anchor",
            Self::Sandbox => "a layer of the sandbox is missing; see `selvedge doctor`",
            Self::NotFound => "what was named does not exist",
            Self::Git => "a repository, or git, cannot be used",
            Self::Advisories => "the advisories cannot be used",
            Self::Policy => "the policies do not load; see `selvedge policy check`",
            Self::Held => "there is a result, and a person has to look before it goes further",
            Self::Failed => "the run failed",
            Self::Halted => "a halt covers it; `selvedge resume` lifts that",
            Self::Breached => "in `demo`: an attack got through",
            Self::Overdue => {
                "in `identities --check`: something is overdue, leaked, nobody's, or an orphan that may live, or the configuration on disk is not in force"
            }
            Self::Unanswered => {
                "in `credentials create-app`: nobody came back from the forge, or it did not answer as it should"
            }
            Self::Internal => "a fault of the factory itself",
        }
    }

    /// Reads the stable code.
    pub(crate) fn parse(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.code() == code)
    }
}

/// An error as a user sees it.
#[derive(Debug, Clone)]
pub(crate) struct CliError {
    /// What kind.
    pub(crate) kind: Kind,
    /// What is wrong: lower case, no full stop, causes joined by colons.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hints: Vec<String>,
}

impl CliError {
    /// An error of this kind.
    pub(crate) fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string(), hints: Vec::new() }
    }

    /// The same error, with one more thing to try.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// An error whose cause chain is told in full.
    pub(crate) fn caused(kind: Kind, error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !message.ends_with(&text) {
                message = format!("{message}: {text}");
            }
            source = cause.source();
        }
        Self::new(kind, message)
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        self.hints.iter().try_for_each(|hint| write!(f, "\n hint: {hint}"))
    }
}

impl From<crate::config::ConfigError> for CliError {
    fn from(error: crate::config::ConfigError) -> Self {
        use crate::config::ConfigError as E;
        let plain = Self::caused(Kind::Config, &error);
        match error {
            E::Read { path, .. } => plain.hint(format!("run `selvedge init` in a repository to write `{path}`")),
            E::Large { .. } => plain.hint("split the factory: one state directory per tenant"),
            E::Syntax { suggestion: Some(word), .. } => plain.hint(format!("did you mean `{word}`?")),
            E::Syntax { .. } => plain.hint("`selvedge schema` prints what may stand where"),
            E::Meaning { path, .. } => {
                plain.hint(format!("mend `{path}`; `selvedge schema` prints what may stand where"))
            }
        }
    }
}
