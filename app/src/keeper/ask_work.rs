//! Requests for work: queue it, and if asked wait for it and everything that follows from it.

use std::sync::Arc;
use std::time::Duration;

use selvedge_domain::{
    Actor, AgentName, Lineage, Part, Person, PipelineName, RepoName, RunId, Trigger, TriggerId, TriggerSource, Trust,
};
use selvedge_factory::ports::{Clock, Entropy};
use selvedge_ledger::RunSummary;
use serde_json::{Value, json};

use super::hall::{Keeper, Listener};
use super::message::{Reply, RunRequest};
use crate::config::{Config, Runtime};
use crate::errors::{CliError, Kind};
use crate::wiring::Reel;

/// How often a waiting client is told what moved.
const LOOK: Duration = Duration::from_millis(100);

/// Queues the work and answers with the runs that came of it.
pub(super) fn run(
    keeper: &Arc<Keeper>,
    request: &RunRequest,
    uid: u32,
    listener: &dyn Listener,
    each: &mut dyn FnMut(&Reply),
) -> Result<Value, CliError> {
    let works = &keeper.works;
    let config = works.config();
    let repo = pick_repo(&config, request.repo.as_deref())?;
    let (agent, part) = match &request.pipeline {
        Some(named) => pick_pipeline(&config, named).map(|(agent, first)| (agent, Some(Box::new(first))))?,
        None => (pick_agent(&config, request)?, None),
    };
    // Without a sandbox nothing will start: better said now than after every retry of the run.
    works.see_that_it_can_fence()?;
    let stages = part
        .iter()
        .flat_map(|first| config.pipelines.get(&first.pipeline))
        .flat_map(|found| found.pipeline.parts.iter());
    for worker in stages.map(|stage| &stage.agent).chain([&agent]) {
        if let Some(configured) = config.agents.get(worker) {
            super::ask_agents::see_that_it_is_ready(keeper, configured)?;
        }
    }
    if request.scan && request.advisories.is_none() && config.advisories.is_none() {
        return Err(CliError::new(Kind::Advisories, "no advisory database")
            .hint("name one with `--advisories DIR`, or set `advisories.path`"));
    }
    // The keeper would read it with rights that whoever asks need not have.
    if request.advisories.is_some() && uid != rustix::process::getuid().as_raw() {
        return Err(CliError::new(Kind::Refused, "only the user who runs the keeper may name an advisory database")
            .hint("ask them to set `advisories.path`, and leave `--advisories` out"));
    }
    if let Some(because) = works.halt_of_new_work(&agent, &repo) {
        return Err(CliError::new(Kind::Halted, format!("{because}, so nothing starts"))
            .hint("`selvedge resume`, with the same scope, lifts the halt"));
    }
    let trigger = Trigger {
        id: TriggerId::from_entropy(works.draw()),
        source: if request.scan { TriggerSource::Scan } else { TriggerSource::Command },
        by: Actor::Person(Person::from_uid(uid)),
        repo,
        agent,
        text: request.text.clone(),
        argv: request.argv.clone(),
        lineage: Lineage {
            ceiling: if request.argv.is_empty() { Trust::Release } else { Trust::Draft },
            part,
            ..Lineage::outside()
        },
    };
    if let Some(path) = &request.advisories {
        let chosen = works.choose_advisories(&trigger.id, path);
        chosen.map_err(|error| works.state.unusable(&error))?;
    }
    works.ledger.queue().enqueue(&trigger, works.now()).map_err(|error| {
        CliError::caused(Kind::State, &error)
            .hint("what cannot be recorded is not done; free some space if the disk is full")
    })?;
    keeper.moved();
    if !request.wait {
        let then = if listener.is_the_keeper() {
            "no `selvedge serve` is running, so this command sees it through"
        } else {
            "`selvedge ps` lists its run once it begins, `selvedge watch` follows"
        };
        each(&Reply::Progress { text: format!("queued as {}; {then}", trigger.id) });
        if !listener.is_the_keeper() {
            return Ok(json!({ "trigger": trigger.id.as_str(), "runs": [], "program_status": null }));
        }
        // Whoever is the keeper only for this command has to see the work through.
        keeper.start_pool();
        return follow(keeper, trigger, listener, &mut |_| {});
    }
    keeper.start_pool();
    follow(keeper, trigger, listener, each)
}

fn follow(
    keeper: &Keeper,
    first: Trigger,
    listener: &dyn Listener,
    each: &mut dyn FnMut(&Reply),
) -> Result<Value, CliError> {
    let works = &keeper.works;
    let ad_hoc = !first.argv.is_empty();
    let mut watched: Vec<Watched> = vec![Watched::new(first.id.clone())];
    let mut told_of_the_halt = false;
    while listener.is_there() {
        let mut open = false;
        let mut found = Vec::new();
        for watched in &mut watched {
            let summary = watched.look(keeper, ad_hoc, each)?;
            match summary {
                Some(summary) if is_still(&summary) => found.push(summary.id.clone()),
                _ => open = true,
            }
        }
        for run in &found {
            for trigger in follow_ups(keeper, run)? {
                if !watched.iter().any(|known| known.trigger == trigger) {
                    watched.push(Watched::new(trigger));
                    open = true;
                }
            }
        }
        if !open {
            break;
        }
        if let Some(because) = works.halt_of_new_work(&first.agent, &first.repo).filter(|_| !told_of_the_halt) {
            let text = format!("{because}; what has not begun waits for `selvedge resume`");
            each(&Reply::Progress { text });
            told_of_the_halt = true;
        }
        keeper.goes_on()?;
        keeper.idle(LOOK);
    }
    let runs: Vec<Value> = watched
        .iter()
        .filter_map(|watched| works.ledger.run_of(&watched.trigger).ok().flatten())
        .filter_map(|run| works.ledger.run_summary(&run).ok().flatten())
        .map(|summary| super::ask_look::summary(keeper, &summary))
        .collect();
    let status = if ad_hoc { program_status(keeper, &watched) } else { None };
    if listener.is_the_keeper() {
        let mine: Vec<String> = watched.iter().filter_map(|watched| Some(watched.run.as_ref()?.to_string())).collect();
        for other in keeper.others_at_work(&mine) {
            let text = format!(
                "this is done; still ending {other}, which an earlier command left (Ctrl-C leaves it to the next)"
            );
            each(&Reply::Progress { text });
        }
    }
    Ok(json!({ "trigger": first.id.as_str(), "runs": runs, "program_status": status }))
}

/// Whoever is the keeper only to answer a request sees the run that waited for it go on; otherwise nobody would.
pub(super) fn see_through(
    keeper: &Arc<Keeper>,
    answered: &str,
    value: &Value,
    listener: &dyn Listener,
) -> Result<(), CliError> {
    let run = value.get("run").and_then(Value::as_str).and_then(|run| RunId::parse(run).ok());
    let Some(run) = run.filter(|_| listener.is_the_keeper()) else { return Ok(()) };
    keeper.start_pool();
    loop {
        let found = keeper.works.ledger.run_summary(&run).map_err(|error| CliError::caused(Kind::Ledger, &error))?;
        let Some(found) = found else { return Ok(()) };
        let waits_for_this = found.waiting.as_ref().is_some_and(|waiting| waiting.approval.as_str() == answered);
        if is_still(&found) && !waits_for_this {
            return Ok(());
        }
        keeper.goes_on()?;
        keeper.idle(LOOK);
    }
}

/// One trigger somebody waits for, and how much of its run was shown.
struct Watched {
    trigger: TriggerId,
    run: Option<RunId>,
    stage: String,
    reel: Option<Reel>,
}

impl Watched {
    fn new(trigger: TriggerId) -> Self {
        Self { trigger, run: None, stage: String::new(), reel: None }
    }

    fn look(
        &mut self,
        keeper: &Keeper,
        ad_hoc: bool,
        each: &mut dyn FnMut(&Reply),
    ) -> Result<Option<RunSummary>, CliError> {
        let works = &keeper.works;
        let failed = |error: &dyn std::error::Error| CliError::caused(Kind::Ledger, error);
        if self.run.is_none() {
            self.run = works.ledger.run_of(&self.trigger).map_err(|error| failed(&error))?;
        }
        let Some(run) = &self.run else { return Ok(None) };
        let summary = works.ledger.run_summary(run).map_err(|error| failed(&error))?;
        if ad_hoc {
            let reel = self.reel.get_or_insert_with(|| Reel::new(works.tape_path(run, "work")));
            for (stderr, bytes) in reel.next() {
                each(&Reply::Wrote { stderr, bytes });
            }
        }
        if let Some(summary) = summary.as_ref().filter(|summary| summary.stage != self.stage) {
            self.stage.clone_from(&summary.stage);
            if !ad_hoc {
                let end = summary.because.as_ref().map_or(String::new(), |because| format!(": {because}"));
                each(&Reply::Progress {
                    text: format!("{run}  {}{end}", summary.outcome.as_ref().unwrap_or(&summary.stage)),
                });
            }
        }
        Ok(summary)
    }
}

/// Whether nothing more happens to the run until a person acts.
fn is_still(summary: &RunSummary) -> bool {
    summary.stage == "settled" || summary.stage == "waiting"
}

/// Triggers that this run queued.
fn follow_ups(keeper: &Keeper, run: &RunId) -> Result<Vec<TriggerId>, CliError> {
    let mut queued = Vec::new();
    for recorded in keeper.works.ledger.entries(0, Some(run.clone())) {
        let recorded = recorded.map_err(|error| CliError::caused(Kind::Ledger, &error))?;
        if let selvedge_authority::Record::Done { deed: selvedge_domain::Deed::Enqueued(trigger), .. } =
            recorded.entry.record
        {
            queued.push(trigger);
        }
    }
    Ok(queued)
}

/// The exit status of an ad-hoc program, from the record.
fn program_status(keeper: &Keeper, watched: &[Watched]) -> Option<i32> {
    let run = watched.first()?.run.as_ref()?;
    keeper.works.ledger.entries(0, Some(run.clone())).filter_map(Result::ok).find_map(|recorded| {
        match recorded.entry.record {
            selvedge_authority::Record::Done { deed: selvedge_domain::Deed::Ran(ran), .. } => ran.status,
            _ => None,
        }
    })
}

/// The repository that is meant.
pub(super) fn pick_repo(config: &Config, named: Option<&str>) -> Result<RepoName, CliError> {
    let known = || config.repos.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match named {
        Some(named) => {
            let name = RepoName::parse(named).map_err(|error| CliError::caused(Kind::Usage, &error))?;
            let missing = || {
                CliError::new(Kind::NotFound, format!("no repository `{name}`")).hint(format!("there are: {}", known()))
            };
            config.repos.contains_key(&name).then(|| name.clone()).ok_or_else(missing)
        }
        None => match config.repos.keys().collect::<Vec<_>>().as_slice() {
            [only] => Ok((*only).clone()),
            [] => Err(CliError::new(Kind::NotFound, "no repository is configured").hint("run `selvedge init` in one")),
            _ => {
                Err(CliError::new(Kind::Usage, "which repository?")
                    .hint(format!("name one with `--repo`: {}", known())))
            }
        },
    }
}

/// Who works on the first stage of the pipeline that is meant, and which part that is.
fn pick_pipeline(config: &Config, named: &str) -> Result<(AgentName, Part), CliError> {
    let name = PipelineName::parse(named).map_err(|error| CliError::caused(Kind::Usage, &error))?;
    config.first_of(&name).ok_or_else(|| {
        let hint = match config.pipelines.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => {
                format!("add `[pipeline.{name}]` to `selvedge.toml`; `selvedge schema` prints what it needs")
            }
            known => format!("there are: {known}"),
        };
        CliError::new(Kind::NotFound, format!("no pipeline `{name}`")).hint(hint)
    })
}

/// The agent that is meant: by name, the remediation worker for a scan, the ad-hoc worker for a program.
fn pick_agent(config: &Config, request: &RunRequest) -> Result<AgentName, CliError> {
    if !request.argv.is_empty() {
        return AgentName::parse(crate::config::AD_HOC).map_err(|error| CliError::caused(Kind::Internal, &error));
    }
    if request.scan {
        let worker = config.agents.values().find(|agent| agent.runtime == Runtime::Remediate);
        return worker.map(|agent| agent.agent.name.clone()).ok_or_else(|| {
            CliError::new(Kind::NotFound, "no agent with `runtime = \"remediate\"`")
                .hint("add one to `selvedge.toml`; `selvedge schema` prints what it needs")
        });
    }
    let name = AgentName::parse(&request.agent).map_err(|error| CliError::caused(Kind::Usage, &error))?;
    if config.agents.contains_key(&name) {
        return Ok(name);
    }
    let known = config.agents.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Err(CliError::new(Kind::NotFound, format!("no agent `{name}`")).hint(format!("there are: {known}")))
}
