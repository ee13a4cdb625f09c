//! What people decide: approvals, answers and merges.

use selvedge_authority::{ActError, PolicyName, Record, Stop, Verdict};
use selvedge_domain::orders::{AnswerQuestion, GrantApproval, Replied};
use selvedge_domain::{
    Actor, AgentName, ApprovalId, CommitId, CredentialName, Description, Person, ProposalNumber, ResourceKind, Trigger,
    Verb, is_deceptive,
};
use selvedge_factory::ports::Clock;
use selvedge_factory::{Decline, Merge};
use selvedge_forge::secret::Scanner;
use selvedge_ledger::{ApprovalRequest, ApprovalState};
use serde_json::{Value, json};

use super::hall::Keeper;
use super::message::Reply;
use super::view;
use crate::errors::{CliError, Kind};
use crate::wiring::ClaimedStore;

/// How much of a task's words is shown beside a request: `selvedge show` has all of them.
const TASK_CHARS_SHOWN_MAX: usize = 2000;

/// Longest answer to a question: it goes into an agent's context, and is kept on record for ever.
const ANSWER_CHARS_MAX: usize = 4_000;

pub(super) fn approvals(keeper: &Keeper, each: &mut dyn FnMut(&Reply)) -> Result<Value, CliError> {
    let works = &keeper.works;
    let open = works.ledger.open_approvals(works.now()).map_err(|error| CliError::caused(Kind::Ledger, &error))?;
    for request in &open {
        let run = request.run.as_ref().and_then(|run| works.run(run).ok());
        let shown = json!({
            "approval": request.id.as_str(),
            "run": request.run.as_ref().map(ToString::to_string),
            "repo": request.order.resource.repo.as_str(),
            "verb": request.order.verb.as_str(),
            "resource": request.order.resource.name,
            "order_digest": request.order.digest().to_string(),
            "asked_at": request.asked_at.to_string(),
            "until": request.until.to_string(),
            "asked_by": run.as_ref().map(|run| run.trigger().by.to_string()),
            "trigger": run.as_ref().map(|run| task(run.trigger())),
            "agent": run.as_ref().map(|run| who(keeper, &run.trigger().agent)),
            "credential_owner": key_owner(keeper, &request.order),
            "because": because(keeper, request),
            "facts": view::facts(&request.order),
        });
        each(&Reply::element("approvals", shown));
    }
    Ok(json!({ "approvals": [] }))
}

/// Who would be let: the agent, and who answers for it by the configuration in force. Nothing of it is the agent's own account.
fn who(keeper: &Keeper, agent: &AgentName) -> Value {
    let config = keeper.works.config();
    let configured = config.agents.get(agent).map(|found| &found.agent);
    json!({
        "agent": agent.as_str(),
        "owner": configured.map(|agent| agent.owner.as_str()),
        "purpose": configured.map(|agent| agent.purpose.as_str()),
        "escalate": configured.map(|agent| agent.escalate.as_str()),
    })
}

/// For which task, as it was recorded when it was queued. Its words may be an agent's.
fn task(trigger: &Trigger) -> Value {
    let mut words = view::shown(trigger);
    let is_cut = words.chars().count() > TASK_CHARS_SHOWN_MAX;
    if is_cut {
        words = words.chars().take(TASK_CHARS_SHOWN_MAX).collect();
    }
    json!({ "trigger": trigger.id.as_str(), "source": trigger.source.as_str(), "words": words, "cut": is_cut })
}

/// Who answers for the key that would be lent.
fn key_owner(keeper: &Keeper, order: &Description) -> Option<String> {
    let config = keeper.works.config();
    let is_meant = |name: &&CredentialName| {
        order.resource.kind == ResourceKind::Credential && name.as_str() == order.resource.name
    };
    let name = config.credentials.keys().find(is_meant)?;
    config.credentials.get(name).map(|found| found.credential.owner.as_str().to_owned())
}

/// Why a person is asked: what policy answered when the order was decided.
fn because(keeper: &Keeper, request: &ApprovalRequest) -> Option<String> {
    let entries = keeper.works.ledger.entries(0, Some(request.run.clone()?)).filter_map(Result::ok);
    let verdicts = entries.filter_map(|recorded| match recorded.entry.record {
        Record::Decided { order, verdict: Verdict::NeedsApproval(denial), .. } if order == request.order => {
            Some(denial)
        }
        _ => None,
    });
    let denial = verdicts.last()?;
    let policies: Vec<&str> = denial.policies.iter().map(PolicyName::as_str).collect();
    Some(format!("{}: {}", policies.join(", "), denial.next_step))
}

pub(super) fn approve(keeper: &Keeper, approval: &str, uid: u32) -> Result<Value, CliError> {
    let works = &keeper.works;
    let request = find(keeper, approval)?;
    open(&request)?;
    if request.order.verb == Verb::QuestionAsk {
        return Err(CliError::new(Kind::Refused, format!("{} asks for words, and a yes is none", request.id)).hint(
            format!("`selvedge answer {} \"…\"` answers it, `selvedge deny` says that nobody does", request.id),
        ));
    }
    let run = run_of(keeper, &request)?;
    let by = Person::from_uid(uid);
    let order = GrantApproval {
        approval: request.id.clone(),
        run: run.id().clone(),
        order: request.order.digest(),
        verb: request.order.verb,
        by,
        until: request.until,
        repo: run.trigger().repo.clone(),
        by_requester: requester(keeper, &run) == Actor::Person(by),
    };
    let store = ClaimedStore::unclaimed(works);
    let judge = works.judge();
    works.factory(&store, &*judge).approve(&run, order).map_err(|decline| declined(&decline))?;
    keeper.moved();
    Ok(json!({
        "approval": request.id.as_str(), "verb": request.order.verb.as_str(), "resource": request.order.resource.name,
        "run": run.id().as_str(), "until": request.until.to_string(), "agent": run.trigger().agent.as_str(),
    }))
}

pub(super) fn deny(keeper: &Keeper, approval: &str, uid: u32) -> Result<Value, CliError> {
    let works = &keeper.works;
    let request = find(keeper, approval)?;
    open(&request)?;
    let run = run_of(keeper, &request)?;
    let store = ClaimedStore::unclaimed(works);
    let judge = works.judge();
    let denied = works.factory(&store, &*judge).deny(&run, request.id.clone(), Person::from_uid(uid));
    denied.map_err(|stop| declined(&Decline::Stop(stop)))?;
    keeper.moved();
    Ok(json!({ "approval": request.id.as_str(), "run": run.id().as_str(), "verb": request.order.verb.as_str() }))
}

/// Gives a run that asks a person's words, and nothing else: whoever asked for the run may, too.
pub(super) fn answer(keeper: &Keeper, question: &str, words: &str, uid: u32) -> Result<Value, CliError> {
    let works = &keeper.works;
    let request = find(keeper, question)?;
    if request.order.verb != Verb::QuestionAsk {
        return Err(CliError::new(Kind::Refused, format!("{} asks for a yes or a no", request.id))
            .hint(format!("`selvedge approve {0}`, or `selvedge deny {0}`", request.id)));
    }
    open(&request)?;
    let run = run_of(keeper, &request)?;
    let by = Person::from_uid(uid);
    let order = AnswerQuestion {
        approval: request.id.clone(),
        run: run.id().clone(),
        repo: run.trigger().repo.clone(),
        order: request.order.digest(),
        answer: fit(words)?,
        by,
        by_requester: requester(keeper, &run) == Actor::Person(by),
    };
    let store = ClaimedStore::unclaimed(works);
    let judge = works.judge();
    let Replied = works.factory(&store, &*judge).answer(&run, order).map_err(|decline| declined(&decline))?;
    // Between looking and recording its hour may have come, or somebody else.
    let request = find(keeper, question)?;
    match &request.state {
        ApprovalState::Answered(reply) if reply.by == by => {}
        _ => open(&request)?,
    }
    keeper.moved();
    Ok(json!({ "question": request.id.as_str(), "run": run.id().as_str(), "agent": run.trigger().agent.as_str() }))
}

/// Words that may go into an agent's context: plain, few, and no secret, as they stay on record and go to a model.
fn fit(words: &str) -> Result<String, CliError> {
    let words = words.trim();
    let unfit = |because: String| Err(CliError::new(Kind::Usage, because));
    if !(1..=ANSWER_CHARS_MAX).contains(&words.chars().count()) {
        return unfit(format!("an answer has 1 to {ANSWER_CHARS_MAX} characters"));
    }
    if words.chars().any(|c| !matches!(c, '\n' | '\t') && is_deceptive(c)) {
        return unfit("an answer is plain text: no control characters, and none that turn text around".to_owned());
    }
    if let Some(found) = Scanner::default().added(b"", words.as_bytes()).first() {
        return Err(CliError::new(
            Kind::Refused,
            format!("the answer holds what looks like a secret ({})", found.kind),
        )
        .hint("it would go to a model and stay on record: store it with `selvedge credentials store`, and lend it"));
    }
    Ok(words.to_owned())
}

pub(super) fn merge(
    keeper: &Keeper,
    repo: Option<&str>,
    number: u64,
    head: Option<&str>,
    uid: u32,
) -> Result<Value, CliError> {
    let works = &keeper.works;
    let repo = super::ask_work::pick_repo(&works.config(), repo)?;
    let number = ProposalNumber::new(number);
    let found = works.ledger.proposal(&repo, number).map_err(|error| CliError::caused(Kind::Ledger, &error))?;
    let missing =
        || CliError::new(Kind::NotFound, format!("no proposal {repo}{number}")).hint("`selvedge proposals` lists them");
    let proposal = found.ok_or_else(missing)?;
    if let Some(head) = head {
        let head = CommitId::parse(head).map_err(|error| CliError::caused(Kind::Usage, &error))?;
        if head != proposal.commit {
            return Err(CliError::new(
                Kind::Refused,
                format!("proposal {number} is at {}, not at {head}", proposal.commit),
            )
            .hint("look at it again, then merge what you saw"));
        }
    }
    let run = proposal.run.as_ref().ok_or_else(missing)?;
    let run = works.run(run).map_err(|error| CliError::caused(Kind::Ledger, &error))?;
    let merge = Merge { number, head: proposal.commit.clone(), by: Actor::Person(Person::from_uid(uid)) };
    let store = ClaimedStore::unclaimed(works);
    let judge = works.judge();
    let merged = works.factory(&store, &*judge).merge(&run, merge).map_err(|decline| match &decline {
        Decline::Stop(Stop::Act(ActError::Permanent(_))) => apart(declined(&decline), &run, &proposal.target),
        _ => declined(&decline),
    })?;
    Ok(
        json!({ "repo": repo.as_str(), "number": number.get(), "commit": merged.commit.as_str(), "target": proposal.target }),
    )
}

/// What was proposed and what the branch holds by now do not go together: it is not for the factory to choose.
fn apart(error: CliError, run: &selvedge_domain::Run, target: &str) -> CliError {
    let (id, agent) = (run.id(), &run.trigger().agent);
    error
        .hint(format!(
            "`{target}` has moved on: have the task done again from what it holds now, `selvedge run --agent {agent} --wait \
             \"…\"`, with its words from `selvedge show {id}`"
        ))
        .hint(format!(
            "or bring both together in your own repository: `git pull --no-rebase selvedge {target}`, then \
             `git pull --no-rebase selvedge selvedge/{id}`, mend what conflicts, commit; the next run starts from that"
        ))
}

/// Who asked for the work in the first place: a follow-up was asked for by whoever asked for the first run of its chain.
fn requester(keeper: &Keeper, run: &selvedge_domain::Run) -> Actor {
    let first = run.trigger().lineage.ancestors.last().and_then(|first| keeper.works.run(first).ok());
    first.map_or_else(|| run.trigger().by.clone(), |first| first.trigger().by.clone())
}

fn find(keeper: &Keeper, approval: &str) -> Result<ApprovalRequest, CliError> {
    let works = &keeper.works;
    let id = ApprovalId::parse(approval).map_err(|error| CliError::caused(Kind::Usage, &error))?;
    let found =
        works.ledger.approval_request(&id, works.now()).map_err(|error| CliError::caused(Kind::Ledger, &error))?;
    found.ok_or_else(|| {
        CliError::new(Kind::NotFound, format!("nothing asks for approval {id}"))
            .hint("`selvedge approvals` lists what waits")
    })
}

/// A request is answered once: an answer to one that is no longer open would change nothing, and must not look as if.
fn open(request: &ApprovalRequest) -> Result<(), CliError> {
    let because = match &request.state {
        ApprovalState::Asked => return Ok(()),
        ApprovalState::Lapsed => "nobody answered it in time, which was a no",
        ApprovalState::Outlived => "its run is over, so no answer would change anything",
        ApprovalState::Granted { .. } => "it was approved already, and its run has yet to use that",
        ApprovalState::Denied => "it was denied already",
        ApprovalState::Used { .. } => "it was approved already, and that yes is spent",
        ApprovalState::Answered(_) => "somebody answered it already",
    };
    Err(CliError::new(Kind::Refused, format!("approval {} is not open: {because}", request.id))
        .hint("`selvedge approvals` lists what waits"))
}

fn run_of(keeper: &Keeper, request: &ApprovalRequest) -> Result<selvedge_domain::Run, CliError> {
    let missing = || CliError::new(Kind::NotFound, format!("approval {} belongs to no run", request.id));
    let run = request.run.as_ref().ok_or_else(missing)?;
    keeper.works.run(run).map_err(|error| CliError::caused(Kind::Ledger, &error))
}

fn declined(decline: &Decline) -> CliError {
    match decline {
        Decline::Stop(Stop::Denied(denial)) => {
            CliError::new(Kind::Refused, format!("refused: {}", denial.code.as_str())).hint(denial.next_step.clone())
        }
        Decline::Stop(Stop::NeedsApproval { denial, .. }) => {
            CliError::new(Kind::Waiting, "somebody else has to say yes to this first").hint(denial.next_step.clone())
        }
        Decline::Stop(Stop::Act(error)) => CliError::caused(Kind::Failed, error),
        Decline::Stop(Stop::Journal(error)) => CliError::caused(Kind::State, error)
            .hint("what cannot be recorded is not done; free some space if the disk is full"),
        Decline::Halted(because) => {
            CliError::new(Kind::Halted, because).hint("`selvedge resume`, with the same scope, lifts the halt")
        }
        Decline::Unknown(because) => CliError::new(Kind::NotFound, because),
    }
}
