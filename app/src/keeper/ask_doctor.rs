//! Trying a credential: an ordinary run of the agent that is built in for it, and what its record says.

use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_domain::{
    Actor, AgentName, CredentialName, Lineage, Person, RepoName, RunId, Trigger, TriggerId, TriggerSource, Trust,
};
use selvedge_factory::ports::{Clock, Entropy};
use selvedge_ledger::RunSummary;
use serde_json::{Value, json};

use super::ask_credentials::configured;
use super::hall::{Keeper, Listener};
use super::message::Reply;
use super::trial::{State, Trial};
use crate::errors::{CliError, Kind};

/// How often it is looked how far the run is.
const LOOK: Duration = Duration::from_millis(50);

/// How long a run that has ended and cannot settle is waited for: a provider that is only slow has ended what it made by then.
const CLOSES_WITHIN: Duration = Duration::from_secs(5);

/// Makes the credential, uses it once, ends it, and says how each step went.
pub(super) fn attempt(
    keeper: &Arc<Keeper>,
    credential: &str,
    uid: u32,
    listener: &dyn Listener,
    each: &mut dyn FnMut(&Reply),
) -> Result<Value, CliError> {
    let works = &keeper.works;
    let (name, _) = configured(keeper, credential)?;
    let agent = agent_for(keeper, &name)?;
    let repo = any_repo(keeper)?;
    crate::cli::complete(&works.probe())?;
    if let Some(because) = works.halt_of_new_work(&agent, &repo) {
        return Err(CliError::new(Kind::Halted, format!("{because}, so nothing starts"))
            .hint("`selvedge resume`, with the same scope, lifts the halt"));
    }
    let trigger = Trigger {
        id: TriggerId::from_entropy(works.draw()),
        source: TriggerSource::Command,
        by: Actor::Person(Person::from_uid(uid)),
        repo,
        agent,
        text: format!("try credential `{name}`"),
        argv: Vec::new(),
        lineage: Lineage { ceiling: Trust::Draft, ..Lineage::outside() },
    };
    works.ledger.queue().enqueue(&trigger, works.now()).map_err(|error| {
        CliError::caused(Kind::State, &error)
            .hint("what cannot be recorded is not done; free some space if the disk is full")
    })?;
    keeper.moved();
    keeper.start_pool();
    let Some(run) = follow(keeper, &trigger.id, listener, each)? else { return Ok(Value::Null) };
    said(keeper, &name, &run)
}

/// How an earlier trial went.
pub(super) fn report(keeper: &Keeper, credential: &str, run: &str) -> Result<Value, CliError> {
    let (name, _) = configured(keeper, credential)?;
    let hint = "`selvedge ps --all` lists runs";
    let id = RunId::parse(run).map_err(|error| CliError::caused(Kind::Usage, &error).hint(hint))?;
    let found = keeper.works.ledger.run_summary(&id).map_err(|error| CliError::caused(Kind::Ledger, &error))?;
    let found = found.ok_or_else(|| CliError::new(Kind::NotFound, format!("no run {id}")).hint(hint))?;
    if found.agent != agent_for(keeper, &name)? {
        let other = format!("run {id} is not a trial of credential `{name}`; its agent is `{}`", found.agent);
        return Err(CliError::new(Kind::NotFound, other).hint(hint));
    }
    said(keeper, &name, &found)
}

fn said(keeper: &Keeper, name: &CredentialName, run: &RunSummary) -> Result<Value, CliError> {
    let because = run.because.clone().unwrap_or_else(|| format!("the run is {}", run.stage));
    let steps = Trial::read(keeper, &run.id, name)?.steps(&because);
    let ended = |state| steps.iter().any(|step| step.state == state);
    let verdict = match () {
        () if ended(State::Waits) => "waits",
        () if steps.iter().all(|step| step.state == State::Ok) => "works",
        () => "fails",
    };
    Ok(json!({
        "credential": name.as_str(), "run": run.id.as_str(), "stage": run.stage, "verdict": verdict,
        "steps": steps.iter().map(|step| step.shown(name, &run.id)).collect::<Vec<_>>(),
    }))
}

/// The agent that is built in for this credential.
fn agent_for(keeper: &Keeper, credential: &CredentialName) -> Result<AgentName, CliError> {
    let config = keeper.works.config();
    let found = config.agents.values().find(|agent| agent.tries.as_ref() == Some(credential));
    found.map(|agent| agent.agent.name.clone()).ok_or_else(|| {
        CliError::new(Kind::Config, format!("nothing says what credential `{credential}` is tried with")).hint(format!(
            "name one harmless request within its uses: `probe = \"GET https://<host>/<path>\"` under `[credential.{credential}]`"
        ))
    })
}

/// A run belongs to a repository; a trial reads nothing of it, so any will do.
pub(super) fn any_repo(keeper: &Keeper) -> Result<RepoName, CliError> {
    let repo = keeper.works.config().repos.keys().next().cloned();
    repo.ok_or_else(|| CliError::new(Kind::NotFound, "no repository is configured").hint("run `selvedge init` in one"))
}

/// Waits until nothing more happens to the run; none when whoever asked has gone.
pub(super) fn follow(
    keeper: &Keeper,
    trigger: &TriggerId,
    listener: &dyn Listener,
    each: &mut dyn FnMut(&Reply),
) -> Result<Option<RunSummary>, CliError> {
    let ledger = &keeper.works.ledger;
    let failed = |error: &dyn std::error::Error| CliError::caused(Kind::Ledger, error);
    let mut closing: Option<Instant> = None;
    while listener.is_there() {
        let run = ledger.run_of(trigger).map_err(|error| failed(&error))?;
        let found = run.map(|run| ledger.run_summary(&run)).transpose().map_err(|error| failed(&error))?.flatten();
        if let Some(found) = found {
            match found.stage.as_str() {
                "settled" | "waiting" => return Ok(Some(found)),
                "closing" => {
                    let since = *closing.get_or_insert_with(Instant::now);
                    if since.elapsed() > CLOSES_WITHIN {
                        let text = format!("{} has not ended everything yet; it goes on trying", found.id);
                        each(&Reply::Progress { text });
                        return Ok(Some(found));
                    }
                }
                _ => {}
            }
        }
        keeper.goes_on()?;
        keeper.idle(LOOK);
    }
    Ok(None)
}
