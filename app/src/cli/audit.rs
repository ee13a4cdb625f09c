//! The log: show, verify, export.

use std::path::PathBuf;

use clap::Subcommand;

use super::Common;
use super::inspect::entry_line;
use crate::errors::{CliError, Kind};
use crate::keeper::{self, Reply, Request, State, connect};
use crate::output::Output;
use crate::wiring::paths;

/// Show, verify or export the log.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Print every entry.
    Show,
    /// Check every entry, every chain and the last checkpoint; names the first bad entry.
    Verify {
        /// Check against this checkpoint too: a file somebody else kept.
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
    },
    /// Write the log, its checkpoint and its public key as JSON lines that others can check.
    Export,
}

impl Audit {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        let state = State::locate(common.state.as_deref())?;
        match self {
            Self::Show => {
                connect(&state)?.ask(&Request::Log, &mut |reply| {
                    if let Reply::Item { value } = reply {
                        output.document(value);
                        output.line(entry_line(value));
                    }
                })?;
                Ok(0)
            }
            Self::Verify { against } => verify(&state, against.as_deref(), output),
            Self::Export => export(&state),
        }
    }
}

/// Verifies the log itself, whether or not a keeper runs: a keeper that runs is asked, otherwise the files are read here.
fn verify(state: &State, against: Option<&std::path::Path>, output: &Output) -> Result<u8, CliError> {
    state.require()?;
    let against = match against {
        Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
            CliError::new(Kind::NotFound, format!("cannot read checkpoint `{}`: {error}", path.display()))
                .hint("name a file that holds the `checkpoint` of an earlier `selvedge audit verify --json`")
        })?),
        None => None,
    };
    let value = match state.lock()? {
        Some(_lock) => keeper::verify(&paths::open_ledger(state)?, against.as_deref())?,
        None => connect(state)?.ask(&Request::Verify { against }, &mut |_| {})?,
    };
    output.document(&value);
    let number = |name: &str| value.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0);
    output.line(format!(
        "{} entries verify; {} of them are signed; head {}",
        number("entries"),
        number("signed"),
        super::people::text(&value, "head")
    ));
    Ok(0)
}

fn export(state: &State) -> Result<u8, CliError> {
    state.require()?;
    let text = match state.lock()? {
        Some(_lock) => keeper::export(&paths::open_ledger(state)?)?,
        None => {
            let value = connect(state)?.ask(&Request::Export, &mut |_| {})?;
            value.as_str().unwrap_or_default().to_owned()
        }
    };
    let mut out = std::io::stdout().lock();
    match std::io::Write::write_all(&mut out, text.as_bytes()) {
        // A reader that went away wants no more, and that is not an error.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(CliError::caused(Kind::State, &error)
            .hint("what was written is not the whole log; write it where there is room")),
        _ => Ok(0),
    }
}
