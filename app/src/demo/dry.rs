//! `demo --on PATH`: what would be found on the user's own repository, what the worker could do and reach, what would be
//! asked. Nothing is written, queued or run.

use std::path::Path;

use serde_json::{Value, json};

use crate::config::{AgentConfig, Config, discover, propose};
use crate::errors::{CliError, Kind};
use crate::output::Output;
use selvedge_workers::advisories::Database;
use selvedge_workers::lockfile::Lockfile;

/// When a person is asked, whatever the repository.
const ASKED: &[&str] = &[
    "to merge: always",
    "to open a proposal: when tests cannot be counted, when the change touches files that run elsewhere, or when the \
     repository is labelled `restricted` or `secret`",
];

/// A dry run on the repository at `path`.
pub(crate) fn dry_run(path: &Path, advisories: Option<&Path>, output: &mut Output) -> Result<u8, CliError> {
    let place = crate::cli::Place::find(path, None)?;
    let proposal = propose(place.name.as_str(), &place.root, &place.branch, &place.email(), &discover());
    let text = proposal.file.to_text().map_err(|error| CliError::caused(Kind::Internal, &error))?;
    let config = Config::parse("selvedge.toml", &text)?;
    let found = Found::look(&place.root, advisories)?;
    let notes: Vec<String> = proposal.notes.iter().cloned().chain(proposal.because_of_danger()).collect();

    output.heading(&format!("{} at {}, branch {}", place.name, place.root.display(), place.branch));
    output.heading("what would be found");
    found.show(advisories, output);
    for agent in config.agents.values() {
        show_agent(agent, output);
    }
    output.heading("what a person would be asked");
    ASKED.iter().for_each(|asked| output.line(format!("  {asked}")));
    notes.iter().for_each(|note| output.line(format!("note: {note}")));
    output.line("nothing was written; `selvedge init` sets this up");
    output.document(&json!({
        "repo": place.name.as_str(), "path": place.root, "branch": place.branch, "advisories": found.advisories,
        "packages": found.packages, "would_find": found.vulnerable,
        "agents": config.agents.values().map(agent_document).collect::<Vec<_>>(), "would_ask": ASKED, "notes": notes,
    }));
    Ok(0)
}

/// What a scan would find.
struct Found {
    /// How many advisories the database has.
    advisories: usize,
    /// How many packages are locked; none without a lock file.
    packages: Option<usize>,
    vulnerable: Vec<Value>,
}

impl Found {
    /// By the database named, or by the demonstration's small one.
    fn look(root: &Path, advisories: Option<&Path>) -> Result<Self, CliError> {
        let directory = match advisories {
            Some(named) => named.to_owned(),
            None => super::scratch::data("advisories")?,
        };
        let database = Database::read(&directory).map_err(|error| CliError::caused(Kind::Advisories, &error))?;
        let mut found = Self { advisories: database.advisories().count(), packages: None, vulnerable: Vec::new() };
        let Ok(bytes) = std::fs::read(root.join("Cargo.lock")) else { return Ok(found) };
        let lockfile = Lockfile::parse(&bytes).map_err(|error| CliError::caused(Kind::Advisories, &error))?;
        found.packages = Some(lockfile.packages().len());
        for locked in lockfile.from_registry() {
            for advisory in database.vulnerabilities(&locked.package) {
                let package = &locked.package;
                found.vulnerable.push(json!({
                    "package": package.name.to_string(), "version": package.version.to_string(),
                    "advisory": advisory.id.to_string(),
                }));
            }
        }
        Ok(found)
    }

    fn show(&self, advisories: Option<&Path>, output: &Output) {
        match advisories {
            Some(named) => output.line(format!("  by {} advisories in {}", self.advisories, named.display())),
            None => output.line(format!(
                "  by the demonstration's own snapshot of {} advisories; name the whole database with `--advisories DIR`",
                self.advisories
            )),
        }
        for found in &self.vulnerable {
            let word = |name: &str| found.get(name).and_then(Value::as_str).unwrap_or("-");
            output.line(format!("  {} {}: {}", word("package"), word("version"), word("advisory")));
        }
        match self.packages {
            None => output.line("  no Cargo.lock: the remediation worker would find nothing to do"),
            Some(packages) if self.vulnerable.is_empty() => {
                output.line(format!("  none of the {packages} packages in Cargo.lock"));
            }
            Some(_) => {}
        }
    }
}

fn show_agent(config: &AgentConfig, output: &Output) {
    let agent = &config.agent;
    output.heading(&format!("what `{}` could do, and reach", agent.name));
    let may: Vec<&str> = agent.may.iter().map(|may| may.as_str()).collect();
    output.line(format!("  do: {}, up to trust `{}`", may.join(", "), agent.trust));
    for reach in &agent.reach {
        output.line(format!("  reach: {}:{}{}", reach.endpoint.host, reach.endpoint.port, reach.path_prefix));
    }
}

fn agent_document(config: &AgentConfig) -> Value {
    let agent = &config.agent;
    let may: Vec<&str> = agent.may.iter().map(|may| may.as_str()).collect();
    let reach = agent.reach.iter().map(|reach| {
        let methods: Vec<&str> = reach.methods.iter().map(|method| method.as_str()).collect();
        format!("{} https://{}:{}{}", methods.join(" "), reach.endpoint.host, reach.endpoint.port, reach.path_prefix)
    });
    json!({
        "agent": agent.name.as_str(), "trust": agent.trust.as_str(), "may": may, "reach": reach.collect::<Vec<_>>(),
    })
}
