//! Stopping. Acts that only take authority away: they need no permit, never wait for one, work with a full disk and broken
//! policies, and are recorded afterwards (invariant 2, requirement G5).

use std::sync::Arc;

use selvedge_authority::{Class, Entry, HaltScope, Journal, Record, Relinquished};
use selvedge_domain::{Actor, AgentName, Person, RepoName, RunId};
use selvedge_factory::ports::Clock;
use serde_json::{Value, json};

use super::hall::Keeper;
use super::message::Scope;
use crate::errors::{CliError, Kind};

pub(super) fn halt(keeper: &Arc<Keeper>, scope: &Scope, uid: u32) -> Result<Value, CliError> {
    let scope = parse(scope)?;
    known(keeper, &scope)?;
    let killed = stop(keeper, &scope);
    let recorded = record(keeper, Relinquished::Halted(scope), uid);
    settle(keeper);
    Ok(json!({ "killed": killed, "recorded": recorded }))
}

pub(super) fn resume(keeper: &Keeper, scope: &Scope, uid: u32) -> Result<Value, CliError> {
    let scope = parse(scope)?;
    // Lifting a halt gives authority back, so here the record comes first.
    if !record(keeper, Relinquished::Resumed(scope.clone()), uid) {
        return Err(
            CliError::new(Kind::State, "cannot record that the halt is lifted, so it is not").hint("free some space")
        );
    }
    keeper.works.set_halt(&scope, false);
    keeper.moved();
    Ok(Value::Null)
}

pub(super) fn revoke(keeper: &Arc<Keeper>, run: &str, uid: u32) -> Result<Value, CliError> {
    let run =
        RunId::parse(run).map_err(|error| CliError::caused(Kind::Usage, &error).hint("`selvedge ps` lists runs"))?;
    let scope = HaltScope::Run(run);
    known(keeper, &scope)?;
    let killed = stop(keeper, &scope);
    let recorded = record(keeper, Relinquished::Halted(scope), uid);
    settle(keeper);
    Ok(json!({ "killed": killed, "recorded": recorded }))
}

/// A misspelt name must not look like a stop that worked. What cannot be looked up is stopped all the same.
fn known(keeper: &Keeper, scope: &HaltScope) -> Result<(), CliError> {
    let config = keeper.works.config();
    let (known, what, hint) = match scope {
        HaltScope::All => return Ok(()),
        HaltScope::Agent(name) => {
            (config.agents.contains_key(name), format!("agent `{name}`"), "`selvedge.toml` names them")
        }
        HaltScope::Repo(name) => {
            (config.repos.contains_key(name), format!("repository `{name}`"), "`selvedge.toml` names them")
        }
        HaltScope::Run(id) => (
            !matches!(keeper.works.ledger.run_summary(id), Ok(None)),
            format!("run {id}"),
            "`selvedge ps --all` lists runs",
        ),
    };
    if known {
        Ok(())
    } else {
        Err(CliError::new(Kind::NotFound, format!("no {what}, so nothing was stopped")).hint(hint))
    }
}

/// Stops dispatch, then kills what is alive in scope: doors first, all runs at once.
fn stop(keeper: &Keeper, scope: &HaltScope) -> usize {
    let works = &keeper.works;
    works.set_halt(scope, true);
    let covered = |run: &RunId| match scope {
        HaltScope::All => true,
        HaltScope::Run(id) => id == run,
        HaltScope::Agent(_) | HaltScope::Repo(_) => works.run(run).is_ok_and(|run| works.halt_covering(&run).is_some()),
    };
    let runs: Vec<RunId> = works.live_runs().into_iter().filter(|run| covered(run)).collect();
    std::thread::scope(|threads| {
        for run in &runs {
            threads.spawn(|| works.kill_run(run));
        }
    });
    runs.len()
}

/// Lets a keeper that lives only for this command end the runs it just stopped.
fn settle(keeper: &Arc<Keeper>) {
    keeper.start_pool();
    keeper.moved();
}

fn record(keeper: &Keeper, what: Relinquished, uid: u32) -> bool {
    let works = &keeper.works;
    let actor = Actor::Person(Person::from_uid(uid));
    let entry = Entry { at: works.now(), run: None, actor, owner: None, record: Record::Relinquished(what) };
    works.ledger.append(entry, Class::Durable).is_ok()
}

fn parse(scope: &Scope) -> Result<HaltScope, CliError> {
    let bad = |error: &dyn std::error::Error| CliError::caused(Kind::Usage, error);
    Ok(match scope {
        Scope::All => HaltScope::All,
        Scope::Agent(name) => HaltScope::Agent(AgentName::parse(name).map_err(|error| bad(&error))?),
        Scope::Repo(name) => HaltScope::Repo(RepoName::parse(name).map_err(|error| bad(&error))?),
        Scope::Run(id) => HaltScope::Run(RunId::parse(id).map_err(|error| bad(&error))?),
    })
}
