//! `run`, `scan`, `serve`: commands that make the factory work.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use serde_json::Value;

use super::Common;
use crate::errors::{CliError, Kind};
use crate::keeper::{Keeper, Reply, Request, RunRequest, State, connect, serve, stay};
use crate::output::{Output, Stream};

/// Give an agent a task, or run any program as an ad-hoc governed worker.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The agent that should do it.
    #[arg(long, value_name = "NAME", conflicts_with = "command", required_unless_present_any = ["command", "pipeline"])]
    agent: Option<String>,
    /// The pipeline that should do it, stage by stage.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["agent", "command"])]
    pipeline: Option<String>,
    /// Run a program on HEAD's tree with trust `draft`: it never proposes.
    #[arg(long)]
    command: bool,
    /// The repository, when there is more than one.
    #[arg(long, value_name = "NAME")]
    repo: Option<String>,
    /// Wait until the run is settled or waiting.
    #[arg(long)]
    wait: bool,
    /// What is asked; with `--command`, the program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Look for vulnerable dependencies and remediate them.
#[derive(Debug, Args)]
pub(crate) struct Scan {
    /// The advisory database: a directory in RustSec or OSV form.
    #[arg(long, value_name = "DIR")]
    advisories: Option<PathBuf>,
    /// The repository, when there is more than one.
    #[arg(long, value_name = "NAME")]
    repo: Option<String>,
    /// Wait until the scan and everything that follows from it is settled or waiting.
    #[arg(long)]
    wait: bool,
}

impl Run {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        let request = RunRequest {
            agent: self.agent.clone().unwrap_or_default(),
            pipeline: self.pipeline.clone(),
            repo: self.repo.clone(),
            text: if self.command { String::new() } else { self.words.join(" ") },
            argv: if self.command { self.words.clone() } else { Vec::new() },
            scan: false,
            advisories: None,
            wait: self.wait,
        };
        queue(common, output, request)
    }
}

impl Scan {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        let advisories = match &self.advisories {
            Some(dir) => Some(std::fs::canonicalize(dir).map_err(|error| {
                CliError::new(Kind::Advisories, format!("cannot read advisories `{}`: {error}", dir.display()))
                    .hint("name a directory in RustSec or OSV form")
            })?),
            None => None,
        };
        let request = RunRequest {
            agent: String::new(),
            pipeline: None,
            repo: self.repo.clone(),
            text: "remediate the first vulnerable dependency".to_owned(),
            argv: Vec::new(),
            scan: true,
            advisories,
            wait: self.wait,
        };
        queue(common, output, request)
    }
}

fn queue(common: &Common, output: &mut Output, request: RunRequest) -> Result<u8, CliError> {
    let state = State::locate(common.state.as_deref())?;
    let session = connect(&state)?;
    let said = Said::of(&request);
    let mut wrote = Wrote::default();
    let waits = request.wait;
    let mut result = session.ask(&Request::Run(request), &mut |reply| match reply {
        // One document is promised, so what the program wrote becomes a part of it.
        Reply::Wrote { stderr, bytes } if common.json => wrote.add(*stderr, bytes),
        other => show(output, other),
    })?;
    // Whoever did not wait has not seen what the program wrote: `selvedge output` prints it.
    if let (Said::Program, true, Some(fields)) = (said, waits, result.as_object_mut()) {
        fields.insert("program_stdout".to_owned(), String::from_utf8_lossy(&wrote.out).into());
        fields.insert("program_stderr".to_owned(), String::from_utf8_lossy(&wrote.err).into());
    }
    output.document(&result);
    finish(output, &result, said)
}

/// Whose words standard output carries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    /// The program's, byte for byte; ours go to standard error.
    Program,
    /// Ours.
    Factory,
}

impl Said {
    fn of(request: &RunRequest) -> Self {
        if request.argv.is_empty() { Self::Factory } else { Self::Program }
    }
}

/// What a program wrote, kept for the document about it. Its sandbox limits how much that can be.
#[derive(Default)]
struct Wrote {
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Wrote {
    fn add(&mut self, stderr: bool, bytes: &[u8]) {
        if stderr { self.err.extend_from_slice(bytes) } else { self.out.extend_from_slice(bytes) }
    }
}

/// What the result means for the exit status: the program's own for ad-hoc work, the worst outcome otherwise.
fn finish(output: &Output, result: &Value, said: Said) -> Result<u8, CliError> {
    for run in result.get("runs").and_then(Value::as_array).into_iter().flatten() {
        let word = |name: &str| run.get(name).and_then(Value::as_str).unwrap_or("-");
        let line = format!("{}  {}  {}", word("run"), word("outcome"), word("because"));
        match said {
            Said::Program => output.progress(&line),
            Said::Factory => output.line(line),
        }
    }
    if let Some(status) = result.get("program_status").and_then(Value::as_u64) {
        return Ok(u8::try_from(status).unwrap_or(1));
    }
    let outcomes = result.get("runs").and_then(Value::as_array).into_iter().flatten();
    let worst = outcomes.filter_map(|run| run.get("outcome").and_then(Value::as_str)).map(status_of).max();
    Ok(worst.unwrap_or(0))
}

fn status_of(outcome: &str) -> u8 {
    match outcome {
        "held" => Kind::Held as u8,
        "refused" => Kind::Refused as u8,
        "failed" => Kind::Failed as u8,
        "halted" => Kind::Halted as u8,
        "waiting" => Kind::Waiting as u8,
        _ => 0,
    }
}

/// Shows what the keeper says on the way.
pub(crate) fn show(output: &Output, reply: &Reply) {
    match reply {
        Reply::Progress { text } => output.progress(text),
        Reply::Wrote { stderr, bytes } => output.program(bytes, if *stderr { Stream::Err } else { Stream::Out }),
        Reply::Item { value } => output.document(value),
        Reply::Kept { .. } | Reply::Element { .. } | Reply::Text { .. } => {}
        Reply::Done { .. } | Reply::Failed { .. } => {}
    }
}

/// Keeps the factory running until a signal ends it.
pub(crate) fn serve_command(common: &Common, output: &mut Output) -> Result<u8, CliError> {
    let state = State::locate(common.state.as_deref())?;
    state.require()?;
    let Some(lock) = stay(&state, &|told| output.progress(told))? else {
        return Err(CliError::new(Kind::State, format!("another process keeps `{}`", state.root().display()))
            .hint("one keeper per state directory: stop the other one, or use it"));
    };
    let keeper = Arc::new(Keeper::open(state.clone(), lock, crate::wiring::Purpose::Work)?);
    output.progress(&format!("keeping {}; stop with Ctrl-C", state.root().display()));
    // A signal ends the process; the next keeper recovers what it left, as after any crash.
    serve(keeper, &state, &AtomicBool::new(false), &|told| output.progress(told))?;
    Ok(0)
}
