//! Stopping. Acts that only take authority away: they need no permit, never wait for one, work with a full disk and broken
//! policies, and are recorded afterwards (invariant 2, requirement G5).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use selvedge_authority::{Class, Entry, HaltScope, Journal, Record, Relinquished};
use selvedge_domain::{Actor, AgentName, LeaseId, Person, RepoName, RunId};
use selvedge_factory::ports::Clock;
use serde_json::{Value, json};

use super::hall::{Keeper, Listener};
use super::message::Scope;
use super::view::scope_words;
use crate::errors::{CliError, Kind};

/// How often it is looked whether what was stopped has ended.
const LOOK: Duration = Duration::from_millis(50);

/// How long whoever stops something waits for providers to confirm; ours take milliseconds, others answer or do not.
pub(super) const REVOKE_WITHIN: Duration = Duration::from_secs(2);

/// How long a keeper that lives only for this command waits for what it stopped to come to its end.
const SETTLE_WITHIN: Duration = Duration::from_secs(20);

pub(super) fn halt(keeper: &Arc<Keeper>, scope: &Scope, uid: u32, listener: &dyn Listener) -> Result<Value, CliError> {
    let scope = parse(scope)?;
    known(keeper, &scope)?;
    stop(keeper, scope, uid, listener)
}

pub(super) fn revoke(keeper: &Arc<Keeper>, run: &str, uid: u32, listener: &dyn Listener) -> Result<Value, CliError> {
    let run =
        RunId::parse(run).map_err(|error| CliError::caused(Kind::Usage, &error).hint("`selvedge ps` lists runs"))?;
    let scope = HaltScope::Run(run);
    known(keeper, &scope)?;
    stop(keeper, scope, uid, listener)
}

pub(super) fn resume(keeper: &Keeper, scope: &Scope, uid: u32) -> Result<Value, CliError> {
    let scope = parse(scope)?;
    let halts = keeper.works.halts();
    let mut rest: Vec<String> = halts.iter().filter(|halt| **halt != scope).map(scope_words).collect();
    rest.sort();
    if !halts.contains(&scope) {
        let still =
            if rest.is_empty() { "nothing is halted".to_owned() } else { format!("halted are: {}", rest.join(", ")) };
        let nothing = format!("{} is not halted, so there is nothing to lift", scope_words(&scope));
        return Err(CliError::new(Kind::NotFound, nothing).hint(still));
    }
    // Lifting a halt gives authority back, so here the record comes first.
    if !record(keeper, Relinquished::Resumed(scope.clone()), uid) {
        return Err(
            CliError::new(Kind::State, "cannot record that the halt is lifted, so it is not").hint("free some space")
        );
    }
    keeper.works.lift_halt(&scope);
    keeper.moved();
    Ok(json!({ "resumed": scope_words(&scope), "still_halted": rest }))
}

/// A misspelt name must not look like a stop that worked. What cannot be looked up is stopped all the same, and whoever stops it is
/// told so.
fn known(keeper: &Keeper, scope: &HaltScope) -> Result<(), CliError> {
    if matches!(scope, HaltScope::Agent(_) | HaltScope::Repo(_)) && keeper.works.names_unknown().is_some() {
        return Ok(());
    }
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

/// Stops dispatch, then kills what is alive in scope and takes back what it was lent: doors first, all runs at once, and
/// without waiting for whatever their slots are busy with.
pub(super) fn stop(
    keeper: &Arc<Keeper>,
    scope: HaltScope,
    uid: u32,
    listener: &dyn Listener,
) -> Result<Value, CliError> {
    let works = &keeper.works;
    works.set_halt(&scope);
    let covered = |run: &RunId| match &scope {
        HaltScope::All => true,
        HaltScope::Run(id) => id == run,
        HaltScope::Agent(_) | HaltScope::Repo(_) => works.run(run).is_ok_and(|run| works.halt_covering(&run).is_some()),
    };
    // What is alive in this process, and what the log says is not over: either may know of a run that the other does not.
    let open = works.ledger.open_runs().unwrap_or_default().into_iter().map(|run| run.id);
    let runs: BTreeSet<RunId> = works.live_runs().into_iter().chain(open).filter(covered).collect();
    let answers = begin_to_take_back(keeper, &runs);
    let killed = std::thread::scope(|threads| {
        let threads: Vec<_> = runs.iter().map(|run| threads.spawn(|| works.kill_run(run).is_some())).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|killed| *killed).count()
    });
    let living = still_living(keeper, &runs, &answers);
    let recorded = record(keeper, Relinquished::Halted(scope), uid);
    keeper.start_pool();
    keeper.moved();
    if listener.is_the_keeper() && recorded {
        see_end(keeper, &runs);
    }
    Ok(json!({
        "configuration": works.names_unknown(),
        "killed": killed,
        "ended": runs.len(),
        "may_still_live": living.iter().map(|lease| lease.as_str()).collect::<Vec<_>>(),
        "recorded": recorded,
    }))
}

/// What each run was lent that may still live, once that is known.
type Answers = Receiver<(RunId, Vec<LeaseId>)>;

/// Takes back what the runs were lent, all at once and while they are being killed: one is work for the disk and for others, the
/// other for the kernel.
fn begin_to_take_back(keeper: &Arc<Keeper>, runs: &BTreeSet<RunId>) -> Answers {
    let (told, answers) = std::sync::mpsc::channel();
    for run in runs {
        let (keeper, run, told) = (Arc::clone(keeper), run.clone(), told.clone());
        std::thread::spawn(move || {
            let living = keeper.works.take_leases_back(&run);
            // Nobody waits for it any more.
            let _unheard = told.send((run, living));
        });
    }
    answers
}

/// Whoever stops something is not kept by a provider that does not answer: what it may still take is said to live, and goes on
/// being revoked.
fn still_living(keeper: &Keeper, runs: &BTreeSet<RunId>, answers: &Answers) -> Vec<LeaseId> {
    let begun = Instant::now();
    let mut waiting = runs.clone();
    let mut living = Vec::new();
    while let Ok((run, leases)) = answers.recv_timeout(REVOKE_WITHIN.saturating_sub(begun.elapsed())) {
        waiting.remove(&run);
        living.extend(leases);
    }
    for run in waiting.iter().filter_map(|run| keeper.works.run(run).ok()) {
        living.extend(run.leases().iter().filter(|(_, state)| state.may_live()).map(|(lease, _)| lease.clone()));
    }
    living
}

/// Nobody else would end these runs, and the next keeper would find them as they are now.
fn see_end(keeper: &Arc<Keeper>, runs: &BTreeSet<RunId>) {
    let begun = Instant::now();
    let is_open = |run: &RunId| {
        keeper.works.ledger.run_summary(run).is_ok_and(|found| found.is_some_and(|found| found.stage != "settled"))
    };
    while runs.iter().any(is_open) && begun.elapsed() < SETTLE_WITHIN {
        keeper.idle(LOOK);
    }
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
