//! `agents`: who they are and what they run as; and installing a coding agent.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::Common;
use super::people::{ask, text};
use crate::errors::{CliError, Kind};
use crate::keeper::Request;
use crate::output::Output;

/// List agents, or install a coding agent.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Agents {
    #[command(subcommand)]
    act: Option<Act>,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Fetch the version of a coding agent that is known to work, in a sandbox that reaches the registry and nothing else, with the
    /// package's scripts off; try it in another one; keep its digest on record.
    Install {
        /// One of those that `selvedge agents` lists: `claude-code`, `codex`, `opencode`, `gemini-cli`, `qwen-code`, `mini-swe-agent`, `aider`.
        name: String,
    },
}

impl Agents {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        match &self.act {
            None => list(common, output),
            Some(Act::Install { name }) => install(name, common, output),
        }
    }
}

fn list(common: &Common, output: &Output) -> Result<u8, CliError> {
    let value = ask(common, output, &Request::Agents)?;
    for agent in items(&value, "agents") {
        output.heading(&format!("{}: {} answers for it", text(agent, "agent"), text(agent, "owner")));
        output.line(format!("  for {}; trouble goes to {}", text(agent, "purpose"), text(agent, "escalate")));
        let model = agent.get("model").and_then(Value::as_str).map_or_else(String::new, |model| format!(", {model}"));
        let by_acp =
            agent.get("by_acp").and_then(Value::as_bool).unwrap_or_default() && text(agent, "runtime") != "acp";
        let runtime = format!("{}{}", text(agent, "runtime"), if by_acp { " by ACP" } else { "" });
        output.line(format!("  trust {}, runs as {runtime}{model}", text(agent, "trust")));
        for terms in agent.get("terms").and_then(Value::as_array).into_iter().flatten() {
            output.line(format!("    {}", terms.as_str().unwrap_or("-")));
        }
        if let Some(rehearsal) = agent.get("rehearsal").and_then(Value::as_str) {
            output.line(format!("    {rehearsal}"));
        }
        for said in agent.get("conduct").and_then(Value::as_array).into_iter().flatten() {
            output.line(format!("  {}", said.as_str().unwrap_or("-")));
        }
        if let Some(installed) = agent.get("installed").filter(|installed| installed.is_object()) {
            say(output, installed);
        }
    }
    output.heading("coding agents");
    let runtimes = items(&value, "runtimes");
    for runtime in &runtimes {
        output.line(format!("  {} ({} {})", text(runtime, "name"), text(runtime, "package"), text(runtime, "version")));
        say(output, runtime);
    }
    let is_any = runtimes.iter().any(|runtime| is_installed(runtime));
    let has_registry = value.get("registry").and_then(Value::as_bool).unwrap_or(false);
    match (is_any, has_registry) {
        (true, _) => {}
        (false, true) => output.line(
            "next: `selvedge agents install NAME`, then a `[model]`, and an `[agent]` with that `runtime` and `model`",
        ),
        (false, false) => output.line(
            "next: add `[registry.npm]` with its `hosts` to `selvedge.toml`, then `selvedge agents install NAME`",
        ),
    }
    Ok(0)
}

fn say(output: &Output, runtime: &Value) {
    match (is_installed(runtime), runtime.get("digest").and_then(Value::as_str)) {
        (true, Some(digest)) => output.line(format!("    installed and tested, digest {digest}")),
        (_, Some(_)) => output.line(format!(
            "    tested once, and no longer there: `selvedge agents install {}` fetches it again",
            text(runtime, "name")
        )),
        (_, None) => {
            output.line(format!("    not installed: `selvedge agents install {}`", text(runtime, "name")));
        }
    }
}

fn is_installed(runtime: &Value) -> bool {
    runtime.get("is_installed").and_then(Value::as_bool).unwrap_or(false)
}

fn install(name: &str, common: &Common, output: &Output) -> Result<u8, CliError> {
    let value = ask(common, output, &Request::InstallAgent { name: name.to_owned() })?;
    let run = text(&value, "run");
    match value.get("digest").and_then(Value::as_str) {
        Some(digest) => {
            output.line(format!("{name} {} is installed and started, in {run}", text(&value, "version")));
            output.line(format!("  digest {digest}, which it has to have from now on"));
            output.line(format!("  next: an `[agent]` with `runtime = \"{name}\"` and a `model` in `selvedge.toml`"));
            Ok(0)
        }
        None => {
            output.line(format!("{name} is NOT installed: {}", text(&value, "because")));
            output.line(format!("  `selvedge show {run}` has every step, `selvedge output {run}` what was written"));
            Ok(if text(&value, "stage") == "waiting" { Kind::Waiting as u8 } else { Kind::Failed as u8 })
        }
    }
}

fn items<'a>(value: &'a Value, name: &str) -> Vec<&'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten().collect()
}
