//! Commands that only look: ps, show, watch, proposals, can, policy.

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::Common;
use super::people::{ask, text};
use crate::config::Config;
use crate::errors::{CliError, Kind};
use crate::keeper::{Reply, Request, State, connect};
use crate::output::{Output, Stream};
use crate::wiring;

/// List runs.
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Settled runs too; `--json` lists them always.
    #[arg(long)]
    all: bool,
}

/// Reconstruct a run: trigger, decisions, acts and results, each with its actor and owner.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The run.
    run: String,
}

/// Print what a run changed, proposed or not: what a person says yes or no to.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The run.
    run: String,
}

/// Print what a run's programs wrote: the agent, the set-up, the checks.
#[derive(Debug, Args)]
pub(crate) struct Wrote {
    /// The run.
    run: String,
}

/// Follow the log as it grows.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Begin after this entry instead of at the end.
    #[arg(long, value_name = "ENTRY")]
    after: Option<u64>,
}

/// List proposals.
#[derive(Debug, Args)]
pub(crate) struct Proposals {}

/// Show an agent's authority card.
#[derive(Debug, Args)]
pub(crate) struct Can {
    /// The agent.
    agent: String,
}

/// Check or explain the policies in force, and the words they are written in.
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Parse and validate the policies, and name the default ones that are not among them; nothing is loaded.
    Check {
        /// Print those that are missing, to be added to a file of the directory, and nothing else.
        #[arg(long)]
        missing: bool,
    },
    /// Print the words policies are written in: actions, resources and facts, as a Cedar schema.
    Schema,
    /// Explain a recorded decision: which policies answered, and what would change it.
    Explain {
        /// The entry of the decision, as `selvedge show` numbers it.
        entry: u64,
    },
}

impl Ps {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        let state = State::locate(common.state.as_deref())?;
        let value = connect(&state)?.ask(&Request::Ps, &mut |_| {})?;
        output.document(&value);
        let runs: Vec<&Value> = value.get("runs").and_then(Value::as_array).into_iter().flatten().collect();
        let shown = runs.iter().filter(|run| self.all || text(run, "stage") != "settled");
        let mut none = true;
        let halts = |list: &str| value.get(list).and_then(Value::as_array).cloned().unwrap_or_default();
        let settled = halts("settled_halts");
        for scope in halts("halts") {
            match (settled.contains(&scope), self.all) {
                (false, _) => output.line(format!("halted: {}", text_of(&scope))),
                (true, true) => output.line(format!("halted: {}, which is settled", text_of(&scope))),
                (true, false) => {}
            }
        }
        if let Some(because) = value.get("configuration").and_then(Value::as_str) {
            output.line(format!("the configuration on disk is not in force: {because}"));
        }
        if let Some(because) = value.get("restart").and_then(Value::as_str) {
            output.line(because);
        }
        let concerns =
            ["unvouched", "conduct"].into_iter().filter_map(|list| value.get(list).and_then(Value::as_array));
        for what in concerns.flatten() {
            output.line(format!("{}; `selvedge identities --check` says what to do", what.as_str().unwrap_or("-")));
        }
        for queued in value.get("queued").and_then(Value::as_array).into_iter().flatten() {
            none = false;
            let (trigger, agent, repo) = (text(queued, "trigger"), text(queued, "agent"), text(queued, "repo"));
            output.line(format!("{trigger}  {:<13}  {agent:<12}  {repo}", "queued"));
        }
        for run in shown {
            none = false;
            let end = match text(run, "outcome") {
                "-" => text(run, "stage"),
                outcome => outcome,
            };
            output.line(format!(
                "{}  {:<13}  {:<12}  {}  {}{}",
                text(run, "run"),
                end,
                text(run, "agent"),
                text(run, "repo"),
                part_of(run).map(|part| format!("[{part}] ")).unwrap_or_default(),
                text(run, "because")
            ));
        }
        if none {
            output.line(if self.all {
                "no runs yet".to_owned()
            } else {
                format!("nothing is going on; `selvedge ps --all` lists what is settled ({})", runs.len())
            });
        }
        Ok(0)
    }
}

/// Which stage of which pipeline a run is, in words.
fn part_of(run: &Value) -> Option<String> {
    let part = run.get("pipeline").filter(|part| !part.is_null())?;
    let number = |name: &str| part.get(name).and_then(Value::as_u64).unwrap_or(0);
    let (number, of) = (number("number"), number("of"));
    Some(format!("pipeline {}, stage {number} of {of}: {}", text(part, "name"), text(part, "stage")))
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

impl Show {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        let value = ask(common, output, &Request::Show { run: self.run.clone() })?;
        output.heading(&format!("run {}  {}", text(&value, "run"), text(&value, "stage")));
        output.line(format!(
            "  agent {} for {}, owner {}",
            text(&value, "agent"),
            text(&value, "repo"),
            text(&value, "owner")
        ));
        output.line(format!("  outcome {}: {}", text(&value, "outcome"), text(&value, "because")));
        if let Some(part) = part_of(&value) {
            output.line(format!("  {part}"));
        }
        if let Some(spent) = value.get("spent").and_then(|spent| spent.get("words")).and_then(Value::as_str) {
            output.line(format!("  {spent}"));
        }
        for entry in value.get("entries").and_then(Value::as_array).into_iter().flatten() {
            output.line(entry_line(entry));
        }
        Ok(0)
    }
}

/// One entry of the log in one line.
pub(crate) fn entry_line(entry: &Value) -> String {
    let seq = entry.get("seq").and_then(Value::as_u64).unwrap_or(0);
    let owner = match text(entry, "owner") {
        "-" => String::new(),
        owner => format!(" (owner {owner})"),
    };
    let said = crate::output::escape(text(entry, "summary").as_bytes());
    let said = String::from_utf8_lossy(&said).replace('\n', " ");
    format!(
        "{seq:>6}  {}  {:<13} {said}\n        by {}{owner}",
        text(entry, "at"),
        text(entry, "kind"),
        text(entry, "actor")
    )
}

impl Diff {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        let value = ask(common, output, &Request::Diff { run: self.run.clone() })?;
        if !common.json {
            output.program(text(&value, "patch").as_bytes(), Stream::Out);
        }
        if value.get("cut").and_then(Value::as_bool).unwrap_or(false) {
            output.progress(&format!(
                "cut here; the whole of it: `git fetch selvedge {}`, then `git diff {} FETCH_HEAD`",
                text(&value, "commit"),
                text(&value, "base")
            ));
        }
        Ok(0)
    }
}

impl Wrote {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        let state = State::locate(common.state.as_deref())?;
        let mut kept: Vec<(String, Vec<u8>)> = Vec::new();
        let request = Request::Output { run: self.run.clone() };
        let value = connect(&state)?.ask(&request, &mut |reply| {
            let Reply::Kept { purpose, bytes } = reply else { return };
            match kept.last_mut().filter(|(last, _)| last == purpose) {
                Some((_, text)) => text.extend_from_slice(bytes),
                None => kept.push((purpose.clone(), bytes.clone())),
            }
        })?;
        for (purpose, text) in &kept {
            output.heading(&format!("{purpose}:"));
            output.line(String::from_utf8_lossy(text));
        }
        if kept.is_empty() {
            output.line(format!("nothing is kept of {}", self.run));
        }
        let all = kept
            .iter()
            .map(|(purpose, text)| serde_json::json!({ "purpose": purpose, "text": String::from_utf8_lossy(text) }));
        output.document(&serde_json::json!({ "run": text(&value, "run"), "output": all.collect::<Vec<_>>() }));
        Ok(0)
    }
}

impl Watch {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        let state = State::locate(common.state.as_deref())?;
        let request = Request::Watch { after: self.after };
        connect(&state)?.ask(&request, &mut |reply| {
            if let Reply::Item { value } = reply {
                output.document(value);
                output.line(entry_line(value));
            }
        })?;
        Ok(0)
    }
}

impl Proposals {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        let value = ask(common, output, &Request::Proposals)?;
        let proposals: Vec<&Value> = value.get("proposals").and_then(Value::as_array).into_iter().flatten().collect();
        if proposals.is_empty() {
            output.line("no proposals yet");
        }
        for proposal in proposals {
            let number = proposal.get("number").and_then(Value::as_u64).unwrap_or(0);
            output.line(format!(
                "{}#{number}  {:<7}  {}  {}",
                text(proposal, "repo"),
                text(proposal, "state"),
                text(proposal, "run"),
                text(proposal, "title")
            ));
            output.line(format!("    {} into {}", text(proposal, "commit"), text(proposal, "target")));
        }
        Ok(0)
    }
}

impl Can {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        let value = ask(common, output, &Request::Can { agent: self.agent.clone() })?;
        card(output, &value);
        Ok(0)
    }
}

/// The authority card: three questions, three answers (requirement G3).
pub(crate) fn card(output: &Output, value: &Value) {
    output.heading(&format!("{}: {}", text(value, "agent"), text(value, "purpose")));
    output.line(format!("  answers for it: {}; trouble goes to {}", text(value, "owner"), text(value, "escalate")));
    for (title, field) in [("can do", "can_do"), ("can reach", "can_reach"), ("dies at the end", "dies_at_the_end")] {
        output.line(format!("  {title}:"));
        for item in value.get(field).and_then(Value::as_array).into_iter().flatten() {
            output.line(format!("    {}", item.as_str().unwrap_or("-")));
        }
    }
}

impl Policy {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        match self {
            Self::Check { missing } => check(common, output, *missing),
            Self::Schema => {
                output.document(&serde_json::json!({ "schema": selvedge_policy::SCHEMA }));
                output.line(selvedge_policy::SCHEMA.trim_end());
                Ok(0)
            }
            Self::Explain { entry } => {
                let value = ask(common, output, &Request::Explain { entry: *entry })?;
                output.heading(&format!("{}: {}", text(&value, "verdict"), text(&value, "next_step")));
                for policy in value.get("policies").and_then(Value::as_array).into_iter().flatten() {
                    output.line(format!("  {} (owner {})", text(policy, "id"), text(policy, "owner")));
                    output.line(format!("    {}", text(policy, "text").replace('\n', "\n    ")));
                }
                Ok(0)
            }
        }
    }
}

/// Works without the keeper, so that broken policies can be mended while it runs.
fn check(common: &Common, output: &Output, only_missing: bool) -> Result<u8, CliError> {
    let directory = State::locate(common.state.as_deref())?.at("policies");
    let loaded = selvedge_policy::Policies::load(&directory)
        .and_then(|policies| policies.missing_defaults().map(|missing| (policies, missing)));
    let (policies, missing) = loaded.map_err(|error| {
        CliError::caused(Kind::Policy, &error)
            .hint("until this is mended, every order is denied; `selvedge halt` and `revoke` work all the same")
    })?;
    let names: Vec<&str> = missing.iter().map(|policy| policy.name.as_str()).collect();
    let digest = policies.digest().to_string();
    let unknown = match Config::load(&State::locate(common.state.as_deref())?.config(), wiring::now()) {
        Ok(config) => unknown_names(&policies, &config),
        Err(_) => vec![
            "`selvedge.toml` does not load, so whether agents and repositories that policies name exist was not looked up"
                .to_owned(),
        ],
    };
    let warnings: Vec<String> = policies.check().warnings.iter().map(ToString::to_string).chain(unknown).collect();
    output.document(&serde_json::json!({
        "policies": policies.len(), "digest": digest, "missing_defaults": names, "warnings": warnings,
    }));
    if only_missing {
        missing.iter().for_each(|policy| output.line(format!("{}\n", policy.text)));
        return Ok(0);
    }
    output.line(format!("{} policies are valid; digest {digest}", policies.len()));
    warnings.iter().for_each(|warning| output.line(format!("warning: {warning}")));
    for policy in &missing {
        let what = match policy.effect {
            selvedge_policy::Effect::Forbid => "guard",
            selvedge_policy::Effect::Permit => "policy",
        };
        output.line(format!("warning: the default {what} `{}` is missing", policy.name.as_str()));
    }
    if !missing.is_empty() {
        let file = directory.join("guardrails.cedar");
        output.line(format!(
            "an earlier build wrote these policies, or somebody took those out: unless that was meant, add them with \
             `selvedge policy check --missing >> {}`",
            file.display()
        ));
    }
    Ok(0)
}

/// What policies name that is not configured: such a policy is never about anything.
fn unknown_names(policies: &selvedge_policy::Policies, config: &Config) -> Vec<String> {
    let agents: BTreeSet<String> = config.agents.keys().map(ToString::to_string).collect();
    let repos: BTreeSet<String> = config.repos.keys().map(ToString::to_string).collect();
    let credentials: BTreeSet<String> = config.credentials.keys().map(ToString::to_string).collect();
    let known = |kind: &str| match kind {
        "Agent" => Some(&agents),
        "Repository" => Some(&repos),
        "Credential" => Some(&credentials),
        _ => None,
    };
    let mut unknown = Vec::new();
    for policy in policies.list() {
        for (kind, name) in &policy.names {
            if let Some(known) = known(kind).filter(|known| !known.contains(name)) {
                let known = known.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                let known = if known.is_empty() { "none".to_owned() } else { known };
                unknown.push(format!(
                    "{}: `{}` names {kind}::{name:?}, which is not configured; known are: {known}",
                    policy.place, policy.name
                ));
            }
        }
    }
    unknown
}
