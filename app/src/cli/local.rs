//! Commands that need no keeper: demo, doctor, schema, exit codes, advisories.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Common;
use crate::config::{Config, schema as config_schema};
use crate::errors::{CliError, Kind};
use crate::keeper::State;
use crate::output::Output;
use crate::{demo, wiring};

/// Watch one governed run end to end, then a hostile one.
#[derive(Debug, Args)]
#[command(
    after_help = "The scratch factory is made in a temporary directory, or in `--state DIR`; SELVEDGE_STATE is left alone."
)]
pub(crate) struct Demo {
    /// A dry run on a repository of yours instead: what would be found, reached and asked.
    #[arg(long, value_name = "PATH")]
    on: Option<PathBuf>,
    /// The advisory database for `--on`; the demonstration's own small one when absent.
    #[arg(long, value_name = "DIR", requires = "on")]
    advisories: Option<PathBuf>,
    /// Keep the scratch factory, and say where it is.
    #[arg(long)]
    keep: bool,
}

impl Demo {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        match &self.on {
            Some(path) => demo::dry_run(path, self.advisories.as_deref(), output),
            None => demo::run(common.state.as_deref(), self.keep, output),
        }
    }
}

/// Refresh the advisories from their remote.
#[derive(Debug, Subcommand)]
pub(crate) enum Advisories {
    /// Fetch the newest advisories into the configured directory.
    Update,
}

impl Advisories {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        let Self::Update = self;
        let state = State::locate(common.state.as_deref())?;
        state.require()?;
        let config = Config::load(&state.config(), wiring::now())?;
        let (Some(path), Some(remote)) = (config.advisories, config.advisories_remote) else {
            return Err(CliError::new(Kind::Advisories, "no remote to update from")
                .hint(format!("set `advisories.path` and `advisories.remote` in `{}`", state.config().display())));
        };
        let commit = wiring::update_advisories(&path, &remote)?;
        output.document(&serde_json::json!({ "path": path, "commit": commit }));
        output.line(format!("advisories in {} are at {commit}", path.display()));
        Ok(0)
    }
}

/// Says what this machine can fence.
pub(crate) fn doctor(common: &Common, output: &mut Output) -> Result<u8, CliError> {
    let state = State::locate(common.state.as_deref())?;
    state.create()?;
    let at_work = wiring::git_at_work();
    let git = match &at_work {
        Ok(git) => format!("git version {}", git.version()),
        Err(error) => format!("missing: {}", error.message),
    };
    let report = wiring::probe(&state)?;
    output.line(format!("git: {git}"));
    output.line(format!("sandbox level: {}", report.level));
    // Whoever keeps the state directory refuses it just the same.
    let refused = state.config().exists().then(|| wiring::not_in_force(&state)).flatten();
    if let Some(because) = &refused {
        output.line(format!("the configuration on disk is not in force: {because}"));
    }
    let first = first_missing(&report);
    for row in &report.rows {
        let layer = row.layer.to_string();
        match &row.seen {
            Ok(seen) => output.line(format!("  {layer:<23} holds    {seen}")),
            Err(reason) if first.is_some_and(|first| first.layer == row.layer) => {
                output.line(format!("  {layer:<23} MISSING  {reason}"));
                output.line(format!("  {:<23} remedy:  {}", "", row.layer.remedy()));
            }
            // A sandbox is built layer by layer, so nobody knows of those behind the first that is missing.
            Err(_) => output.line(format!("  {layer:<23} unknown  not tried, because an earlier layer is missing")),
        }
    }
    let layers = report.rows.iter().map(|row| {
        serde_json::json!({ "layer": row.layer.to_string(), "holds": row.seen.is_ok(), "seen": row.seen.as_ref().ok(),
            "missing": row.seen.as_ref().err(), "remedy": row.seen.as_ref().err().map(|_| row.layer.remedy()) })
    });
    let layers: Vec<_> = layers.collect();
    output.document(&serde_json::json!({
        "git": git, "level": report.level.to_string(), "layers": layers, "configuration": refused,
    }));
    complete(&report).and(at_work.map(|_| 0))
}

/// The first layer that is missing; those behind it were not tried.
fn first_missing(report: &selvedge_sandbox::Report) -> Option<&selvedge_sandbox::Row> {
    report.rows.iter().find(|row| row.seen.is_err())
}

/// Refuses to go on where a layer is missing, and says how to get it.
pub(crate) fn complete(report: &selvedge_sandbox::Report) -> Result<(), CliError> {
    match first_missing(report) {
        None => Ok(()),
        Some(row) => {
            let reason = row.seen.as_ref().err().map_or("", String::as_str);
            let (kind, message) = match row.layer {
                selvedge_sandbox::Layer::State => (Kind::State, format!("cannot use the state directory: {reason}")),
                layer => (Kind::Sandbox, format!("{layer} is missing, so no run will start: {reason}")),
            };
            Err(CliError::new(kind, message).hint(row.layer.remedy()))
        }
    }
}

/// Prints the JSON Schema of the configuration.
pub(crate) fn schema(output: &mut Output) -> Result<u8, CliError> {
    let text =
        serde_json::to_string_pretty(&config_schema()).map_err(|error| CliError::caused(Kind::Internal, &error))?;
    output.document(&config_schema());
    output.line(text);
    Ok(0)
}

/// Lists the exit statuses.
pub(crate) fn exit_codes(output: &mut Output) -> Result<u8, CliError> {
    let all: Vec<_> = Kind::ALL
        .iter()
        .map(|kind| serde_json::json!({ "status": *kind as u8, "code": kind.code(), "meaning": kind.meaning() }))
        .collect();
    output.document(&serde_json::json!({ "exit_codes": all }));
    output.line("  0  proposed, changed, nothing to do, or the program's own status for `run --command`");
    for kind in Kind::ALL {
        output.line(format!("{:>3}  {:<10}  {}", *kind as u8, kind.code(), kind.meaning()));
    }
    Ok(0)
}
