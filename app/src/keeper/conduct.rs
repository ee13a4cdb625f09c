//! What people see of how agents behave: what each is registered as and was seen to be, what is usual for it, and what left that
//! (requirements B5, B8, G8).

use selvedge_domain::{Autonomy, Baseline, RUNS_MIN, Seen};
use serde_json::{Value, json};

use super::ask_identities::problem;
use super::hall::Keeper;
use crate::config::AgentConfig;
use crate::wiring::ConductStanding as Standing;

/// Most names of hosts or tools in one line.
const NAMES_SHOWN_MAX: usize = 8;

/// What governs an agent of this grade, beyond what governs all of them: the funnel, its grant, its sandbox, its doors and the record.
fn controls(autonomy: Autonomy) -> &'static [&'static str] {
    const WATCHED: &str = "a host or a kind of tool that is new to it, and far more calls, bytes, cost or time than usual, take a grade \
                           of trust until somebody looks";
    match autonomy {
        Autonomy::Assistant => {
            &["what it makes stays: no proposal, merge, push or further run, whatever trust it was granted", WATCHED]
        }
        Autonomy::BoundedAutomation => &[
            "the lighter set: a host or a kind of tool that is new to it is told, and takes no trust; how much it does follows what it \
             is given, and is not judged",
        ],
        Autonomy::Supervised => &["it goes no further than `propose`: a person merges", WATCHED],
        Autonomy::Autonomous => {
            &["it merges nothing that a person did not approve, whatever trust it was granted", WATCHED]
        }
    }
}

/// How an agent stands, a line each.
pub(super) fn lines(keeper: &Keeper, config: &AgentConfig) -> Vec<String> {
    let standing = keeper.works.standing_of(config);
    let Seen { autonomy: seen, .. } = standing.conduct.seen;
    let registered = standing.conduct.registered;
    let mut lines = vec![match seen {
        None => format!("registered as `{registered}`, and nothing was seen of it yet"),
        Some(seen) => format!(
            "registered as `{registered}`, seen as `{seen}`, governed as `{}`{}",
            standing.conduct.autonomy(),
            if standing.conduct.has_drifted() { ": it DRIFTED" } else { "" }
        ),
    }];
    lines.extend(controls(standing.conduct.autonomy()).iter().map(|control| format!("  {control}")));
    lines.extend(drift(&standing).map(|said| format!("  {said}")));
    lines.extend(departure(&standing).map(|said| format!("  {said}")));
    lines.push(match &standing.baseline {
        None => format!("  no baseline yet: {} of {RUNS_MIN} runs that are usual for it", standing.runs.min(RUNS_MIN)),
        Some(baseline) => format!("  {}", usual(baseline)),
    });
    lines.extend(surplus(&standing, config).map(|said| format!("  {said}")));
    lines
}

/// The same for scripts.
pub(super) fn shown(keeper: &Keeper, config: &AgentConfig) -> Value {
    let standing = keeper.works.standing_of(config);
    let conduct = &standing.conduct;
    let drift = standing.drift.as_ref().map(|drift| {
        json!({
            "at": drift.at.to_string(), "run": drift.run.as_ref().map(ToString::to_string), "registered": drift.registered.as_str(),
            "seen": drift.seen.as_str(), "facts": drift.facts.words(),
        })
    });
    let departed = standing.departed.as_ref().map(|departed| {
        json!({
            "at": departed.at.to_string(), "run": departed.run.as_ref().map(ToString::to_string),
            "departures": departed.departures.iter().map(|departure| departure.words()).collect::<Vec<_>>(),
            "lowers_trust": departed.lowers_trust,
        })
    });
    let baseline = standing.baseline.as_ref().map(|baseline| {
        let usual = baseline
            .usual
            .iter()
            .map(|(what, usual)| json!({ "what": what.as_str(), "median": usual.median, "spread": usual.spread }));
        json!({
            "runs": baseline.runs, "hosts": baseline.hosts, "tools": baseline.tools, "usual": usual.collect::<Vec<_>>(),
        })
    });
    json!({
        "agent": config.agent.name.as_str(), "owner": config.agent.owner.as_str(), "escalate": config.agent.escalate,
        "registered": conduct.registered.as_str(), "seen": conduct.seen.autonomy.map(Autonomy::as_str),
        "autonomy": conduct.autonomy().as_str(), "has_drifted": conduct.has_drifted(),
        "has_departed": conduct.seen.departed, "granted": config.agent.trust.as_str(),
        "trust": conduct.trust(config.agent.trust).as_str(), "runs": standing.runs, "drift": drift, "departed": departed,
        "baseline": baseline, "lines": lines(keeper, config),
    })
}

/// What a check stops at, and whom it concerns.
pub(super) fn problems(keeper: &Keeper, config: &AgentConfig) -> Vec<Value> {
    let (standing, agent) = (keeper.works.standing_of(config), &config.agent);
    let name = format!("agent:{}", agent.name);
    let whom = format!("{} answers for it, and trouble goes to {}", agent.owner, agent.escalate);
    let mut problems = Vec::new();
    if standing.conduct.has_drifted() {
        let seen = standing.conduct.autonomy();
        let facts = drift(&standing).map_or_else(String::new, |said| format!(": {said}"));
        let what = format!(
            "{name} is registered as `{}` and is `{seen}` by what it does, so it asks a person before it changes anything{facts}; {whom}",
            standing.conduct.registered
        );
        let remedy = format!(
            "set `agent.{}.autonomy` to \"{seen}\" in `selvedge.toml`; or look, and selvedge identities certify {name}; or selvedge \
             halt agent {}",
            agent.name, agent.name
        );
        problems.push(problem("drifted", &name, what, &remedy));
    }
    if let (true, Some(said)) = (standing.conduct.seen.departed, departure(&standing)) {
        let trust = standing.conduct.trust(agent.trust);
        let what = format!("{name} {said}, so it goes as far as `{trust}` and no further; {whom}");
        let remedy =
            format!("look at that run, then selvedge identities certify {name}; or selvedge halt agent {}", agent.name);
        problems.push(problem("departed", &name, what, &remedy));
    }
    problems
}

/// Agents that are not what their owners know, in one line each: for lists that people look at anyway.
pub(super) fn unknown(keeper: &Keeper) -> Vec<String> {
    let config = keeper.works.config();
    let mut unknown = Vec::new();
    for agent in config.agents.values() {
        let conduct = keeper.works.standing_of(agent).conduct;
        let name = &agent.agent.name;
        if conduct.has_drifted() {
            unknown.push(format!("agent:{name} is registered as {} and is {}", conduct.registered, conduct.autonomy()));
        }
        if conduct.seen.departed {
            unknown.push(format!("agent:{name} left what is usual for it"));
        }
    }
    unknown
}

fn drift(standing: &Standing) -> Option<String> {
    let drift = standing.drift.as_ref().filter(|_| standing.conduct.has_drifted())?;
    let run = drift.run.as_ref().map_or_else(String::new, |run| format!(" in {run}"));
    Some(format!("at {}{run} it was {}: {}", drift.at, drift.seen, drift.facts.words().join(", ")))
}

fn departure(standing: &Standing) -> Option<String> {
    let departed = standing.departed.as_ref()?;
    let run = departed.run.as_ref().map_or_else(String::new, |run| format!(" in {run}"));
    let how: Vec<String> = departed.departures.iter().map(|departure| departure.words()).collect();
    let trust = if departed.lowers_trust { "" } else { "; that takes no trust of it" };
    Some(format!("left what is usual for it at {}{run}: it {}{trust}", departed.at, how.join("; it ")))
}

fn usual(baseline: &Baseline) -> String {
    let names = |names: &std::collections::BTreeSet<String>| {
        let shown: Vec<&str> = names.iter().take(NAMES_SHOWN_MAX).map(String::as_str).collect();
        match names.len().saturating_sub(shown.len()) {
            _ if names.is_empty() => "none".to_owned(),
            0 => shown.join(" "),
            more => format!("{} and {more} more", shown.join(" ")),
        }
    };
    let amounts: Vec<String> = baseline
        .usual
        .iter()
        .map(|(what, usual)| format!("{} {} give or take {}", what.as_str(), usual.median, usual.spread))
        .collect();
    format!(
        "usual, by {} runs: hosts {}; kinds of tools {}; {}",
        baseline.runs,
        names(&baseline.hosts),
        names(&baseline.tools),
        amounts.join(", ")
    )
}

/// A registration that is more than the agent ever was. Said, and not acted on: it may only not have come to it yet. A fixed program
/// that had nothing to do is none the less one.
fn surplus(standing: &Standing, config: &AgentConfig) -> Option<String> {
    let (registered, seen) = (standing.conduct.registered, standing.conduct.seen.autonomy?);
    (standing.runs >= RUNS_MIN && seen < registered && registered > Autonomy::BoundedAutomation).then(|| {
        format!(
            "in {} runs it was no more than `{seen}`: `autonomy = \"{seen}\"` under `[agent.{}]` would do",
            standing.runs, config.agent.name
        )
    })
}
