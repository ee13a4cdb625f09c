//! Requests that only look.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use selvedge_authority::{HaltScope, Record};
use selvedge_domain::{AgentName, Declared, Lineage, May, ModelName, RunId, Trust, Verb};
use selvedge_factory::ports::Clock as _;
use selvedge_ledger::{ApprovalRequest, ProposalState, Recorded, RunSummary};
use serde_json::{Value, json};

use super::hall::{Keeper, Listener};
use super::message::Reply;
use super::view;
use crate::config::{AgentConfig, Config, RepoConfig};
use crate::errors::{CliError, Kind};
use crate::wiring::{Bill, Reel, dangers_for};

/// How many runs are listed: more than a person reads.
const RUNS_MAX: usize = 1000;

/// What a run's sandboxes are started for, in the order they usually are.
const PURPOSES: [&str; 6] = ["prepare", "rehearsal", "work", "scan", "check-base", "check"];

/// How long a follower waits before it is looked whether anybody still listens.
const FOLLOW: Duration = Duration::from_millis(500);

fn unreadable(error: &dyn std::error::Error) -> CliError {
    CliError::caused(Kind::Ledger, error).hint("`selvedge audit verify` names the first bad entry")
}

pub(super) fn ps(keeper: &Keeper, each: &mut dyn FnMut(&Reply)) -> Result<Value, CliError> {
    let ledger = &keeper.works.ledger;
    let held = held(keeper)?;
    for run in ledger.runs(RUNS_MAX).map_err(|error| unreadable(&error))? {
        let mut shown = summary(keeper, &run);
        let request = held.iter().find(|request| request.run.as_ref() == Some(&run.id));
        if let (Some(request), Some(fields)) = (request, shown.as_object_mut()) {
            let order = format!("{} on {}", request.order.verb, request.order.resource.name);
            fields.insert("because".to_owned(), json!(format!("its turn is held for a person: {order}")));
            let waiting = json!({
                "approval": request.id.as_str(), "order": order, "since": request.asked_at.to_string(), "until": request.until.to_string(),
            });
            fields.insert("waiting".to_owned(), waiting);
        }
        each(&Reply::element("runs", shown));
    }
    for trigger in ledger.queue().waiting(RUNS_MAX).map_err(|error| unreadable(&error))? {
        let queued = json!({
            "trigger": trigger.id.as_str(), "agent": trigger.agent.as_str(), "repo": trigger.repo.as_str(), "text": trigger.text,
        });
        each(&Reply::element("queued", queued));
    }
    let halts = ledger.halts().map_err(|error| unreadable(&error))?;
    Ok(json!({
        "runs": [], "queued": [], "halts": halts.iter().map(view::scope_words).collect::<Vec<_>>(),
        "settled_halts": settled(keeper, &halts).iter().map(view::scope_words).collect::<Vec<_>>(),
        "unvouched": super::ask_identities::unvouched(keeper),
        "conduct": super::conduct::unknown(keeper),
        "restart": keeper.works.awaits_restart(),
        "configuration": keeper.works.not_in_force().map(|refused| refused.because),
    }))
}

/// What people are asked about turns that are held: of a run that works, a tool call that is not decided, or a question.
fn held(keeper: &Keeper) -> Result<Vec<ApprovalRequest>, CliError> {
    let works = &keeper.works;
    let open = works.ledger.open_approvals(works.now()).map_err(|error| unreadable(&error))?;
    Ok(open.into_iter().filter(|request| matches!(request.order.verb, Verb::ToolCall | Verb::QuestionAsk)).collect())
}

/// Halts that stop nothing any more: their run is settled, and nothing that hangs on it is open. What cannot be read may be open.
fn settled(keeper: &Keeper, halts: &[HaltScope]) -> Vec<HaltScope> {
    let named = |scope: &HaltScope| match scope {
        HaltScope::Run(run) => Some(run.clone()),
        HaltScope::All | HaltScope::Agent(_) | HaltScope::Repo(_) => None,
    };
    if !halts.iter().any(|scope| named(scope).is_some()) {
        return Vec::new();
    }
    let Some(open) = open_lineages(keeper) else { return Vec::new() };
    let is_over = |run: &RunId| {
        let found = keeper.works.ledger.run_summary(run);
        found.is_ok_and(|found| found.is_some_and(|found| found.stage == "settled"))
            && !open.iter().any(|lineage| lineage.hangs_on(run))
    };
    halts.iter().filter(|scope| named(scope).is_some_and(|run| is_over(&run))).cloned().collect()
}

/// Where everything comes from that is queued or under way; none when that cannot be read.
fn open_lineages(keeper: &Keeper) -> Option<Vec<Lineage>> {
    let ledger = &keeper.works.ledger;
    let mut lineages = Vec::new();
    for run in ledger.open_runs().ok()? {
        lineages.push(keeper.works.run(&run.id).ok()?.trigger().lineage.clone());
    }
    lineages.extend(ledger.queue().waiting(usize::MAX).ok()?.into_iter().map(|trigger| trigger.lineage));
    Some(lineages)
}

/// One run in a list.
pub(super) fn summary(keeper: &Keeper, run: &RunSummary) -> Value {
    // What cannot be read is left out: who looks at the run itself is told why.
    let trigger = keeper.works.ledger.trigger(&run.trigger).ok().flatten();
    let part = trigger.as_ref().and_then(|(trigger, _)| trigger.part());
    let waiting = run.waiting.as_ref().map(|waiting| json!({
        "approval": waiting.approval.as_str(), "order": waiting.order, "since": waiting.since.to_string(), "until": waiting.until.to_string(),
    }));
    json!({
        "run": run.id.as_str(),
        "trigger": run.trigger.as_str(),
        "repo": run.repo.as_str(),
        "agent": run.agent.as_str(),
        "intent": run.intent,
        "stage": run.stage,
        "outcome": run.outcome.clone().or_else(|| run.waiting.as_ref().map(|_| "waiting".to_owned())),
        "because": run.because.clone().or_else(|| run.waiting.as_ref().map(|waiting| format!("waits for a person until {}: {} ({})", waiting.until, waiting.order, waiting.approval))),
        "attempts": run.attempts,
        "began_at": run.began_at.to_string(),
        "changed_at": run.changed_at.to_string(),
        "waiting": waiting,
        "pipeline": part.map(view::part),
    })
}

pub(super) fn show(
    keeper: &Keeper,
    run: &str,
    listener: &dyn Listener,
    each: &mut dyn FnMut(&Reply),
) -> Result<Value, CliError> {
    let ledger = &keeper.works.ledger;
    let found = find(keeper, run)?;
    // What asked for the run was recorded before the run began.
    let triggered = ledger.entries(0, None).find(|recorded| match recorded {
        Ok(recorded) => matches!(&recorded.entry.record, Record::Triggered(trigger) if trigger.id == found.trigger),
        Err(_) => true,
    });
    // Who answered for the agent then, which need not be who answers for it now.
    let (mut owner, mut bill, mut handed) = (None, Bill::default(), None);
    for recorded in triggered.into_iter().chain(ledger.entries(0, Some(found.id.clone()))) {
        let recorded = recorded.map_err(|error| unreadable(&error))?;
        if !listener.is_there() {
            break;
        }
        bill.take(&recorded.entry.record);
        if let Record::Triggered(trigger) = &recorded.entry.record {
            handed = trigger.lineage.within.as_ref().map(|within| within.budget);
        }
        owner = owner.or_else(|| recorded.entry.owner.as_ref().map(ToString::to_string));
        each(&Reply::element("entries", seen(&recorded)));
    }
    let mut value = summary(keeper, &found);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("owner".to_owned(), json!(owner));
        fields.insert("entries".to_owned(), json!([]));
        fields.insert("spent".to_owned(), super::budget::spent(&keeper.works.config(), &found.agent, handed, &bill));
    }
    Ok(value)
}

/// The run that is meant.
fn find(keeper: &Keeper, run: &str) -> Result<RunSummary, CliError> {
    let id = RunId::parse(run)
        .map_err(|error| CliError::caused(Kind::Usage, &error).hint("`selvedge ps --all` lists runs"))?;
    let found = keeper.works.ledger.run_summary(&id).map_err(|error| unreadable(&error))?;
    found.ok_or_else(|| CliError::new(Kind::NotFound, format!("no run {id}")).hint("`selvedge ps --all` lists runs"))
}

/// What is kept of the run's programs. Tapes are no record, only what a person wants to see next.
pub(super) fn output(
    keeper: &Keeper,
    run: &str,
    listener: &dyn Listener,
    each: &mut dyn FnMut(&Reply),
) -> Result<Value, CliError> {
    let run = find(keeper, run)?.id;
    let purposes = PURPOSES.iter().map(|purpose| (*purpose).to_owned());
    for purpose in purposes.chain(keeper.works.tool_tapes(&run)) {
        let mut reel = Reel::new(keeper.works.tape_path(&run, &purpose));
        loop {
            let frames = reel.read_on().map_err(|error| {
                CliError::new(Kind::State, format!("cannot read what the programs of {run} wrote: {error}"))
                    .hint("look at `runs` in the state directory, and at the disk it lies on")
            })?;
            if frames.is_empty() || !listener.is_there() {
                break;
            }
            for (_, bytes) in frames {
                each(&Reply::Kept { purpose: purpose.clone(), bytes });
            }
        }
    }
    Ok(json!({ "run": run.as_str() }))
}

fn seen(recorded: &Recorded) -> Value {
    view::entry(recorded.seq, &recorded.entry)
}

/// What a run's agent changed, from its base: what a person says yes or no to, or looks at when it was held.
pub(super) fn diff(keeper: &Keeper, run: &str, uid: u32) -> Result<Value, CliError> {
    let id = RunId::parse(run)
        .map_err(|error| CliError::caused(Kind::Usage, &error).hint("`selvedge ps --all` lists runs"))?;
    if keeper.works.ledger.run_summary(&id).map_err(|error| unreadable(&error))?.is_none() {
        return Err(CliError::new(Kind::NotFound, format!("no run {id}")).hint("`selvedge ps --all` lists runs"));
    }
    let shown = keeper.works.change_of(&id).map_err(|error| CliError::caused(Kind::Git, &error))?;
    let Some(change) = shown else {
        return Err(CliError::new(Kind::NotFound, format!("run {id} has left no change")).hint(format!(
            "`selvedge show {id}` says what it came to, `selvedge output {id}` what its programs wrote"
        )));
    };
    // Whoever may only ask the keeper does not get to read what was held back because it looks like a secret.
    if change.holds_secrets && uid != rustix::process::getuid().as_raw() {
        return Err(CliError::new(Kind::Refused, format!("the change of run {id} holds what looks like a secret"))
            .hint("only the user who runs the keeper may look at it"));
    }
    Ok(json!({
        "run": id.as_str(), "base": change.base.as_str(), "commit": change.commit.as_str(),
        "patch": String::from_utf8_lossy(&change.patch.text), "cut": change.patch.cut,
    }))
}

pub(super) fn watch(
    keeper: &Keeper,
    after: Option<u64>,
    listener: &dyn Listener,
    each: &mut dyn FnMut(&Reply),
) -> Result<Value, CliError> {
    let ledger = &keeper.works.ledger;
    let head = ledger.head().map_err(|error| unreadable(&error))?.size;
    let mut next = after.map_or(head, |after| after.saturating_add(1));
    while listener.is_there() && !keeper.leaving.load(std::sync::atomic::Ordering::Acquire) {
        for recorded in ledger.entries(next, None) {
            if !listener.is_there() {
                break;
            }
            let recorded = recorded.map_err(|error| unreadable(&error))?;
            next = recorded.seq + 1;
            each(&Reply::Item { value: seen(&recorded) });
        }
        ledger.wait_after(next, FOLLOW);
    }
    Ok(Value::Null)
}

pub(super) fn log(keeper: &Keeper, listener: &dyn Listener, each: &mut dyn FnMut(&Reply)) -> Result<Value, CliError> {
    for recorded in keeper.works.ledger.entries(0, None) {
        if !listener.is_there() {
            break;
        }
        each(&Reply::Item { value: seen(&recorded.map_err(|error| unreadable(&error))?) });
    }
    Ok(Value::Null)
}

pub(super) fn proposals(keeper: &Keeper, each: &mut dyn FnMut(&Reply)) -> Result<Value, CliError> {
    for repo in keeper.works.config().repos.keys() {
        for proposal in keeper.works.ledger.proposals(repo).map_err(|error| unreadable(&error))? {
            let shown = json!({
                "repo": proposal.repo.as_str(),
                "number": proposal.number.get(),
                "run": proposal.run.as_ref().map(ToString::to_string),
                "commit": proposal.commit.as_str(),
                "branch": proposal.run.as_ref().map(|run| format!("selvedge/{run}")),
                "target": proposal.target,
                "title": proposal.title,
                "body": proposal.body,
                "opened_at": proposal.opened_at.to_string(),
                "state": match &proposal.state {
                    ProposalState::Open => "open",
                    ProposalState::Merged { .. } => "merged",
                },
            });
            each(&Reply::element("proposals", shown));
        }
    }
    Ok(json!({ "proposals": [] }))
}

/// The authority card: what can it do, what can it reach, what dies at the end (requirement G3).
pub(super) fn can(keeper: &Keeper, agent: &str) -> Result<Value, CliError> {
    let config = keeper.works.config();
    let name = AgentName::parse(agent).map_err(|error| CliError::caused(Kind::Usage, &error))?;
    let Some(found) = config.agents.get(&name) else {
        let known = config.agents.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Err(CliError::new(Kind::NotFound, format!("no agent `{name}`")).hint(format!("there are: {known}")));
    };
    let agent = &found.agent;
    // A word of `may` beyond the agent's trust is no right.
    let within = |may: &&May| **may != May::OpenProposal || agent.trust >= Trust::Propose;
    let mut can_do: Vec<String> = agent.may.iter().filter(within).map(|may| meaning(*may).to_owned()).collect();
    if agent.may.contains(&May::Delegate) && !found.children.is_empty() {
        let children = found.children.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        can_do.push(format!("ask for children that have a part of what it may: {children}"));
    }
    can_do.extend(super::ask_tools::asks(&config, found));
    can_do.push(format!("go as far as trust `{}`; every single act is decided by policy when it happens", agent.trust));
    can_do.extend(declared(&agent.declared));
    can_do.extend(holds(&config, found));
    can_do.extend(super::conduct::lines(keeper, found));
    let model = agent.models.first().map(ModelName::as_str);
    can_do.extend(super::ask_agents::rehearsal(&found.runtime, model).map(str::to_owned));
    can_do.extend(
        found.tells().then(|| "its hooks tell what it says of its tool calls; nothing is decided by that".to_owned()),
    );
    can_do.push("never: merge what it made, approve, change rules, or hold a secret".to_owned());
    let reach = agent.reach.iter().map(|reach| {
        let methods: Vec<&str> = reach.methods.iter().map(|method| method.as_str()).collect();
        format!("{} https://{}:{}{}", methods.join(" "), reach.endpoint.host, reach.endpoint.port, reach.path_prefix)
    });
    let mut can_reach: Vec<String> = reach.collect();
    can_reach.extend(agent.loans.iter().map(|loan| {
        format!("with credential `{}`, which a door puts in and it never sees: {}", loan.credential, loan.uses)
    }));
    can_reach.extend(super::budget::words(&config, found, keeper.works.now()));
    can_reach.extend(super::ask_tools::words(&config, found));
    can_reach.extend(
        agent.may_ask.iter().map(|rule| format!("if it asks and that is allowed, until its attempt is over: {rule}")),
    );
    let hosts: BTreeSet<_> = agent.reach.iter().chain(&agent.may_ask).map(|reach| &reach.endpoint.host).collect();
    let at_most = |host| format!("it sends {host} {} KiB at most in all of a run", config.send.at(host) >> 10);
    can_reach.extend(hosts.into_iter().map(at_most));
    can_reach.extend(dangers_for(&config, agent.reach.iter().chain(&agent.may_ask)));
    can_reach.push("nothing else: no network but its doors, no host file but its toolchain, no other run".to_owned());
    let borrowed: BTreeSet<&str> = agent.loans.iter().map(|loan| loan.credential.as_str()).collect();
    let is_stored =
        |name: &str| config.credentials.iter().any(|(known, of)| known.as_str() == name && of.credential.is_stored);
    let loans = borrowed.into_iter().map(|name| match is_stored(name) {
        true => format!("its loan of credential `{name}`; the stored key lives on until its issuer ends it"),
        false => format!("its loan of credential `{name}`, revoked and probed, or waited for until it has expired"),
    });
    let mut dies: Vec<String> = loans.collect();
    dies.extend([
        format!("its identity spiffe://{}/run/<run>/agent/{name}, revoked and probed", config.issuer.trust_domain()),
        format!("its sandbox, after {} seconds at the latest", agent.attempt_at_most.as_millis() / 1000),
        "its doors, their certificate authority and every connection through them".to_owned(),
        "everything it wrote that was not collected into the factory's own commit".to_owned(),
    ]);
    Ok(json!({
        "agent": name.as_str(), "purpose": agent.purpose, "owner": agent.owner.as_str(), "escalate": agent.escalate,
        "trust": agent.trust.as_str(), "can_do": can_do, "can_reach": can_reach, "dies_at_the_end": dies,
        "model": super::budget::model(&config, found, keeper.works.now()), "budget": found.budget.millionths, "unit": found.budget.unit,
    }))
}

/// What it is declared to do on its way; what is not declared is not compared.
fn declared(declared: &Declared) -> Option<String> {
    let words = declared.words();
    (!words.is_empty()).then(|| {
        format!("on its way, as declared: {}; what it is seen to do beyond that holds the run", words.join(", "))
    })
}

/// How long its turn waits for a person where a tool call needs a yes, which each repository says for itself.
fn holds(config: &Config, agent: &AgentConfig) -> Vec<String> {
    let held = |repo: &RepoConfig| {
        let (name, at_most) = (&repo.repository.name, repo.repository.hold_at_most);
        match at_most > selvedge_domain::Duration::ZERO {
            true => format!(
                "a tool call that needs a yes holds its turn in `{name}` for {} seconds at most, and is denied then",
                at_most.as_millis() / 1000
            ),
            false => format!("a tool call that needs a yes is denied in `{name}`: nothing is held there"),
        }
    };
    let asks_a_model = !agent.agent.models.is_empty();
    config.repos.values().filter(|_| asks_a_model).map(held).collect()
}

fn meaning(may: May) -> &'static str {
    match may {
        May::Read => "read the repository's tree at the commit its task starts from",
        May::Write => "change files in its own sandbox",
        May::OpenProposal => "open a proposal, after the factory verified the change",
        May::FollowUp => "queue a follow-up, which is admitted anew",
        May::Push => "clone its repository, and push commits to its own branch there",
        May::Delegate => "hand on a part of what it may, as a token that dies with its run",
    }
}

pub(super) fn explain(keeper: &Arc<Keeper>, entry: u64) -> Result<Value, CliError> {
    let mut found = keeper.works.ledger.entries(entry, None);
    let recorded = found.next().transpose().map_err(|error| unreadable(&error))?;
    let Some(Record::Decided { order, verdict, .. }) = recorded.map(|recorded| recorded.entry.record) else {
        return Err(CliError::new(Kind::NotFound, format!("entry {entry} is not a decision"))
            .hint("`selvedge show RUN` lists decisions with their numbers"));
    };
    let policies: Vec<Value> = verdict.policies().iter().map(|policy| keeper.works.policy_text(policy)).collect();
    let next_step = match &verdict {
        selvedge_authority::Verdict::Allow { .. } => "nothing to do".to_owned(),
        selvedge_authority::Verdict::Deny(denial) | selvedge_authority::Verdict::NeedsApproval(denial) => {
            denial.to_string()
        }
    };
    Ok(json!({
        "entry": entry, "verb": order.verb.as_str(), "resource": order.resource.name, "verdict": verdict.as_str(),
        "next_step": next_step, "policies": policies, "facts": view::facts(&order),
    }))
}
