//! The log: show, verify, export.

use std::io::Write;
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
    let mut out = Out { broken: None };
    let exported = match state.lock()? {
        Some(_lock) => keeper::export(&paths::open_ledger(state)?, &mut out),
        None => {
            let asked = connect(state)?.ask(&Request::Export, &mut |reply| {
                if let Reply::Text { text } = reply {
                    // What is wrong is kept, and told below.
                    let _broken = out.write_all(text.as_bytes());
                }
            });
            asked.map(drop)
        }
    };
    match out.broken {
        // A reader that went away wants no more, and that is not an error.
        Some(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(0),
        Some(error) => Err(CliError::caused(Kind::State, &error)
            .hint("what was written is not the whole log; write it where there is room")),
        None => exported.map(|()| 0),
    }
}

/// Standard output, and the first thing that went wrong with it.
struct Out {
    broken: Option<std::io::Error>,
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(error) = &self.broken {
            return Err(error.kind().into());
        }
        std::io::stdout().lock().write(bytes).inspect_err(|error| {
            if error.kind() != std::io::ErrorKind::Interrupted {
                self.broken = Some(error.kind().into());
            }
        })
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stdout().lock().flush().inspect_err(|error| self.broken = Some(error.kind().into()))
    }
}
