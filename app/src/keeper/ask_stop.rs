//! Stopping. Acts that only take authority away: they need no permit, never wait for one, work with a full disk and broken
//! policies, and are recorded afterwards (invariant 2, requirement G5).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use selvedge_authority::{Class, Entry, HaltScope, Journal, Record, Relinquished};
use selvedge_domain::{Actor, AgentName, Person, RepoName, RunId};
use selvedge_factory::ports::Clock;
use serde_json::{Value, json};

use super::hall::{Keeper, Listener};
use super::message::Scope;
use super::view::scope_words;
use crate::errors::{CliError, Kind};
use crate::wiring::MayLive;

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
fn stop(keeper: &Arc<Keeper>, scope: HaltScope, uid: u32, listener: &dyn Listener) -> Result<Value, CliError> {
    let works = &keeper.works;
    works.set_halt(&scope);
    let covered = |run: &RunId| match &scope {
        HaltScope::All => true,
        HaltScope::Run(id) if id == run => true,
        // Its children hang on it. One that cannot be read may be one of them, of this agent, or on this repository.
        HaltScope::Run(_) | HaltScope::Agent(_) | HaltScope::Repo(_) => {
            works.run(run).map_or(true, |run| works.halt_covering(&run).is_some())
        }
    };
    // What is alive in this process, and what the log says is not over: either may know of a run that the other does not.
    let open = works.ledger.open_runs();
    let is_listed = open.is_ok();
    let open = open.unwrap_or_default().into_iter().map(|run| run.id);
    let runs: BTreeSet<RunId> = works.live_runs().into_iter().chain(open).filter(covered).collect();
    let mut stopped = end(keeper, &[scope], &runs, uid, listener);
    stopped.log_read &= is_listed;
    Ok(stopped.told())
}

/// What stopping came to.
pub(super) struct Stopped {
    killed: usize,
    ended: usize,
    living: Vec<MayLive>,
    pub(super) recorded: bool,
    /// Whether the log could say which runs there are, and what they were lent.
    pub(super) log_read: bool,
    /// Why nobody could look a name up, where that is so.
    names_unknown: Option<String>,
}

impl Stopped {
    /// As a client gets it.
    pub(super) fn told(&self) -> Value {
        let lease = |lent: &MayLive| lent.lease.to_string();
        let until = |lent: &MayLive| Some((lease(lent), json!(lent.until?.to_string())));
        json!({
            "killed": self.killed,
            "ended": self.ended,
            "may_still_live": self.living.iter().map(lease).collect::<Vec<_>>(),
            "may_live_until": self.living.iter().filter_map(until).collect::<serde_json::Map<_, _>>(),
            "recorded": self.recorded,
            "log_read": self.log_read,
            "configuration": self.names_unknown,
        })
    }
}

/// Stops each of these runs for itself, all at once: nobody's door stays open while somebody else's provider is waited for.
pub(super) fn stop_runs(keeper: &Arc<Keeper>, runs: &BTreeSet<RunId>, uid: u32, listener: &dyn Listener) -> Stopped {
    let scopes: Vec<HaltScope> = runs.iter().cloned().map(HaltScope::Run).collect();
    scopes.iter().for_each(|scope| keeper.works.set_halt(scope));
    end(keeper, &scopes, runs, uid, listener)
}

/// Ends what halts cover that are in force already.
fn end(
    keeper: &Arc<Keeper>,
    scopes: &[HaltScope],
    runs: &BTreeSet<RunId>,
    uid: u32,
    listener: &dyn Listener,
) -> Stopped {
    let works = &keeper.works;
    let answers = begin_to_take_back(keeper, runs);
    let killed = std::thread::scope(|threads| {
        let threads: Vec<_> = runs.iter().map(|run| threads.spawn(|| works.kill_run(run).is_some())).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|killed| *killed).count()
    });
    let living = still_living(keeper, runs, &answers);
    let waiting: BTreeSet<RunId> = scopes.iter().flat_map(|scope| waiting_children(keeper, scope, runs)).collect();
    let unrecorded = scopes.iter().filter(|scope| !record(keeper, Relinquished::Halted((*scope).clone()), uid)).count();
    let recorded = unrecorded == 0;
    // Holding nothing, it would wait for a person until their time is up.
    for child in waiting.into_iter().map(HaltScope::Run) {
        works.set_halt(&child);
        let _ends_later = record(keeper, Relinquished::Halted(child), uid);
    }
    keeper.start_pool();
    keeper.moved();
    if listener.is_the_keeper() && recorded {
        see_end(keeper, runs);
    }
    let log_read = runs.iter().all(|run| works.run(run).is_ok());
    Stopped { killed, ended: runs.len(), living, recorded, log_read, names_unknown: works.names_unknown() }
}

/// Runs that wait, and hang on the one that is stopped. Only a halt of its own wakes a run that waits.
fn waiting_children(keeper: &Keeper, scope: &HaltScope, runs: &BTreeSet<RunId>) -> Vec<RunId> {
    let HaltScope::Run(giver) = scope else { return Vec::new() };
    let waits = |run: &&RunId| {
        let found = keeper.works.ledger.run_summary(run);
        *run != giver && found.is_ok_and(|found| found.is_some_and(|found| found.stage == "waiting"))
    };
    runs.iter().filter(waits).cloned().collect()
}

/// What each run was lent that may still live, once that is known.
type Answers = Receiver<(RunId, Vec<MayLive>)>;

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
fn still_living(keeper: &Keeper, runs: &BTreeSet<RunId>, answers: &Answers) -> Vec<MayLive> {
    let begun = Instant::now();
    let mut waiting = runs.clone();
    let mut living = Vec::new();
    while let Ok((run, leases)) = answers.recv_timeout(REVOKE_WITHIN.saturating_sub(begun.elapsed())) {
        waiting.remove(&run);
        living.extend(leases);
    }
    living.extend(waiting.iter().flat_map(|run| keeper.works.may_live(run)));
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
