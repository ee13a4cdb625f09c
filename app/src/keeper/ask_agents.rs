//! Agents: who they are, what they run as, and what of that is installed; and installing it, by an ordinary run.

use std::sync::Arc;

use selvedge_domain::{Actor, AgentName, Effect, Lineage, Person, Trigger, TriggerId, TriggerSource, Trust};
use selvedge_factory::ports::{Clock, Entropy};
use selvedge_workers::agents::Adapter;
use serde_json::{Value, json};

use super::ask_doctor::{any_repo, follow};
use super::hall::{Keeper, Listener};
use super::message::Reply;
use crate::config::{AgentConfig, INSTALL, Runtime, registry_tables};
use crate::errors::{CliError, Kind};
use crate::wiring::asked;

/// Every agent that is configured, and every one that could be installed.
pub(super) fn list(keeper: &Keeper, each: &mut dyn FnMut(&Reply)) -> Result<Value, CliError> {
    let config = keeper.works.config();
    for (name, configured) in &config.agents {
        let agent = &configured.agent;
        let model = agent.models.first().map(ToString::to_string);
        let adapter = configured.runtime.adapter();
        let runtime = match &configured.runtime {
            Runtime::Remediate => "remediate",
            Runtime::Command(_) => "command",
            Runtime::Acp(_) => adapter.map_or("acp", |adapter| adapter.name),
            Runtime::Agent(adapter) => adapter.name,
            // Listed below, as what they install.
            Runtime::Install(_) => continue,
        };
        let by_acp = matches!(configured.runtime, Runtime::Acp(_));
        let installed = adapter.map(|adapter| standing(keeper, adapter)).transpose()?;
        each(&Reply::element(
            "agents",
            json!({
                "agent": name.as_str(), "owner": agent.owner.as_str(), "purpose": agent.purpose,
                "escalate": agent.escalate, "trust": agent.trust.as_str(), "runtime": runtime, "by_acp": by_acp, "model": model,
                "rehearsal": rehearsal(&configured.runtime, model.as_deref()), "installed": installed, "budget": configured.budget.millionths, "unit": configured.budget.unit,
                "terms": super::budget::words(&config, configured, keeper.works.now()),
                "conduct": super::conduct::lines(keeper, configured),
            }),
        ));
    }
    for adapter in Adapter::ALL {
        each(&Reply::element("runtimes", standing(keeper, adapter)?));
    }
    Ok(json!({ "agents": [], "runtimes": [], "registry": config.registries.contains_key("npm") }))
}

/// What is known of how it takes a call that is denied, before it has a task; nothing where it asks no model.
pub(super) fn rehearsal(runtime: &Runtime, model: Option<&str>) -> Option<&'static str> {
    match (runtime.adapter(), runtime) {
        (Some(adapter), _) => Some(adapter.rehearses()),
        (None, Runtime::Agent(_) | Runtime::Acp(_) | Runtime::Command(_)) => model.map(|_| {
            "rehearses nothing: what a program of its operator's does with a denied call is not known before its task"
        }),
        (None, Runtime::Remediate | Runtime::Install(_)) => None,
    }
}

fn standing(keeper: &Keeper, adapter: &Adapter) -> Result<Value, CliError> {
    let digest = keeper.works.installed(adapter).map_err(|error| CliError::caused(Kind::Ledger, &error))?;
    let is_there = digest.is_some() && keeper.works.agent_tree(adapter).is_dir();
    Ok(json!({
        "name": adapter.name, "package": adapter.pin.package, "version": adapter.pin.version,
        "protocol": adapter.protocol, "is_installed": is_there, "digest": digest.map(|digest| digest.to_string()),
    }))
}

/// Refuses work that is known to fail once somebody was asked for its key: its agent is not there, or its key is not.
pub(super) fn see_that_it_is_ready(keeper: &Keeper, configured: &AgentConfig) -> Result<(), CliError> {
    let name = &configured.agent.name;
    if let Some(adapter) = configured.runtime.adapter() {
        let digest = keeper.works.installed(adapter).map_err(|error| CliError::caused(Kind::Ledger, &error))?;
        if digest.is_none() {
            return Err(CliError::new(
                Kind::NotFound,
                format!("agent `{name}` is {}, which is not installed", adapter.name),
            )
            .hint(format!("`selvedge agents install {}` does that", adapter.name)));
        }
    }
    Ok(())
}

/// Fetches the pinned version of an agent in a sandbox, and says how that went.
pub(super) fn install(
    keeper: &Arc<Keeper>,
    name: &str,
    uid: u32,
    listener: &dyn Listener,
    each: &mut dyn FnMut(&Reply),
) -> Result<Value, CliError> {
    let works = &keeper.works;
    let adapter = Adapter::named(name).ok_or_else(|| {
        let known: Vec<&str> = Adapter::ALL.iter().map(|adapter| adapter.name).collect();
        CliError::new(Kind::NotFound, format!("no agent `{name}` to install"))
            .hint(format!("there are: {}", known.join(", ")))
    })?;
    let agent = AgentName::parse(&format!("{INSTALL}{name}")).map_err(|error| CliError::caused(Kind::Usage, &error))?;
    if !works.config().agents.contains_key(&agent) {
        let manager = adapter.pin.manager;
        let error = CliError::new(Kind::Config, format!("no registry `{manager}` is configured to fetch it from"));
        return Err(error.hint(match (registry_tables(manager), manager) {
            (Some(tables), _) => {
                format!("this is the one your own client uses; add it to `selvedge.toml`:\n{tables}")
            }
            (None, "npm") => {
                "add `[registry.npm]` with its `hosts` to `selvedge.toml`, and its address as `replace_with`; `npm config get registry` says it"
                    .to_owned()
            }
            (None, _) => format!(
                "add `[registry.{manager}]` to `selvedge.toml` with its `hosts`, that of the index and that of the files; the index of a mirror is its `replace_with`"
            ),
        }));
    }
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
        text: format!("install {name}"),
        argv: asked(adapter),
        lineage: Lineage { ceiling: Trust::Draft, ..Lineage::outside() },
    };
    works.ledger.queue().enqueue(&trigger, works.now()).map_err(|error| {
        CliError::caused(Kind::State, &error)
            .hint("what cannot be recorded is not done; free some space if the disk is full")
    })?;
    keeper.moved();
    keeper.start_pool();
    let Some(found) = follow(keeper, &trigger.id, listener, each)? else { return Ok(Value::Null) };
    let run = works.ledger.load_run(&found.id).map_err(|error| CliError::caused(Kind::Ledger, &error))?;
    let digest = match run.as_ref().and_then(selvedge_domain::Run::effect) {
        Some(Effect::Document { digest, .. }) => Some(digest.to_string()),
        _ => None,
    };
    Ok(json!({
        "name": adapter.name, "package": adapter.pin.package, "version": adapter.pin.version, "run": found.id.as_str(),
        "stage": found.stage, "digest": digest, "because": found.because,
    }))
}
