//! `demo --on PATH`: what would be found on the user's own repository, what the worker could do and reach, what would be
//! asked. Nothing is written, queued or run.

use std::path::Path;

use crate::config::{Config, discover, propose};
use crate::errors::{CliError, Kind};
use crate::output::Output;
use selvedge_workers::advisories::Database;
use selvedge_workers::lockfile::Lockfile;

/// A dry run on the repository at `path`.
pub(crate) fn dry_run(path: &Path, advisories: Option<&Path>, output: &mut Output) -> Result<u8, CliError> {
    let place = crate::cli::Place::find(path, None)?;
    let found = discover();
    let proposal = propose(place.name.as_str(), &place.root, &place.branch, &place.email(), &found);
    let text = proposal.file.to_text().map_err(|error| CliError::caused(Kind::Internal, &error))?;
    let config = Config::parse("selvedge.toml", &text)?;
    output.heading(&format!("{} at {}, branch {}", place.name, place.root.display(), place.branch));
    output.heading("what would be found");
    look(&place.root, advisories, output)?;
    for agent in config.agents.values().map(|agent| &agent.agent) {
        output.heading(&format!("what `{}` could do, and reach", agent.name));
        let may: Vec<&str> = agent.may.iter().map(|may| may.as_str()).collect();
        output.line(format!("  do: {}, up to trust `{}`", may.join(", "), agent.trust));
        for reach in &agent.reach {
            output.line(format!("  reach: {}:{}{}", reach.endpoint.host, reach.endpoint.port, reach.path_prefix));
        }
    }
    output.heading("what a person would be asked");
    output.line("  to merge: always");
    output.line(
        "  to open a proposal: when tests cannot be counted, when the change touches files that run elsewhere, or when",
    );
    output.line("  the repository is labelled `restricted` or `secret`");
    for because in proposal.notes.iter().chain(&proposal.because_of_danger()) {
        output.line(format!("note: {because}"));
    }
    output.line("nothing was written; `selvedge init` sets this up");
    Ok(0)
}

/// What a scan would find, by the database named or by the demonstration's small one.
fn look(root: &Path, advisories: Option<&Path>, output: &Output) -> Result<(), CliError> {
    let directory = match advisories {
        Some(named) => named.to_owned(),
        None => super::scratch::data("advisories")?,
    };
    let database = Database::read(&directory).map_err(|error| CliError::caused(Kind::Advisories, &error))?;
    let count = database.advisories().count();
    output.line(format!("  by {count} advisories in {}", directory.display()));
    if advisories.is_none() {
        output.line("  which are the demonstration's; name the whole database with `--advisories DIR`");
    }
    let lockfile = match std::fs::read(root.join("Cargo.lock")).map(|bytes| Lockfile::parse(&bytes)) {
        Ok(Ok(lockfile)) => lockfile,
        Ok(Err(error)) => return Err(CliError::caused(Kind::Advisories, &error)),
        Err(_) => {
            output.line("  no Cargo.lock: the remediation worker would find nothing to do");
            return Ok(());
        }
    };
    let mut found = false;
    for locked in lockfile.from_registry() {
        for advisory in database.vulnerabilities(&locked.package) {
            found = true;
            output.line(format!("  {} {}: {}", locked.package.name, locked.package.version, advisory.id));
        }
    }
    if !found {
        output.line(format!("  none of the {} packages in Cargo.lock", lockfile.packages().len()));
    }
    Ok(())
}
