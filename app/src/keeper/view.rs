//! How records look to people and scripts: stable snake_case fields, and one line each.

use selvedge_authority::{Entry, HaltScope, Hold, KeyChange, Lapse, Observation, Record, Relinquished, Verdict};
use selvedge_domain::orders::Tokens;
use selvedge_domain::{
    AgentName, Amounts, Behaviour, Deed, Departure, Description, Event, Field, Handed, LeaseEvent, Part, TenureChange,
    Verb,
};
use serde_json::{Value, json};

use super::side_effects::side_effects;
use crate::config::ALWAYS;

/// One entry of the log.
pub(crate) fn entry(seq: u64, entry: &Entry) -> Value {
    let (kind, summary, detail) = record(&entry.record);
    json!({
        "seq": seq,
        "at": entry.at.to_string(),
        "run": entry.run.as_ref().map(ToString::to_string),
        "actor": entry.actor.to_string(),
        "owner": entry.owner.as_ref().map(ToString::to_string),
        "kind": kind,
        "summary": summary,
        "detail": detail,
    })
}

/// How many words of a fact are shown: more than a person reads. The fingerprint binds all of them.
const WORDS_SHOWN_MAX: usize = 1000;

/// What follows the name of a fact in the name of how many of its words are not shown.
pub(crate) const NOT_SHOWN: &str = "_not_shown";

/// An order's facts.
pub(crate) fn facts(order: &Description) -> Value {
    let mut facts = serde_json::Map::new();
    for (name, field) in &order.fields {
        let value = match field {
            Field::Text(text) => json!(text),
            Field::Number(number) => json!(number),
            Field::Flag(flag) => json!(flag),
            Field::Words(words) => {
                let more = words.len().saturating_sub(WORDS_SHOWN_MAX);
                if more > 0 {
                    facts.insert(format!("{name}{NOT_SHOWN}"), json!(more));
                }
                json!(words.iter().take(WORDS_SHOWN_MAX).collect::<Vec<_>>())
            }
        };
        facts.insert((*name).to_owned(), value);
    }
    Value::Object(facts)
}

/// What a run handed its child.
fn handed(handed: &Handed) -> Value {
    let Handed { ceiling, depth, budget } = handed;
    json!({
        "trust": ceiling.trust.as_str(), "may": ceiling.may.iter().map(|may| may.as_str()).collect::<Vec<_>>(),
        "reach": ceiling.reach.iter().map(ToString::to_string).collect::<Vec<_>>(), "audiences": ceiling.audiences,
        "loans": ceiling.loans.iter().map(|loan| format!("{} for {}", loan.credential, loan.uses)).collect::<Vec<_>>(),
        "depth": depth, "budget": budget,
    })
}

/// Which stage of which pipeline something is.
pub(crate) fn part(part: &Part) -> Value {
    let Part { pipeline, definition: _, name, number, of, reviews } = part;
    json!({ "name": pipeline.as_str(), "stage": name.as_str(), "number": number, "of": of, "reviews": reviews })
}

fn record(record: &Record) -> (&'static str, String, Value) {
    match record {
        Record::Triggered(trigger) => (
            "triggered",
            format!("{} asks {} for: {}", trigger.by, trigger.agent, shown(trigger)),
            json!({
                "trigger": trigger.id.as_str(), "source": trigger.source.as_str(), "repo": trigger.repo.as_str(),
                "agent": trigger.agent.as_str(), "text": trigger.text, "argv": trigger.argv,
                "ancestors": trigger.lineage.ancestors.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "within": trigger.lineage.within.as_deref().map(handed),
                "pipeline": trigger.lineage.part.as_deref().map(part),
                "read_sensitive": trigger.lineage.read_sensitive,
                "digest": trigger.digest().to_string(),
            }),
        ),
        Record::RunBegan { trigger } => {
            ("run_began", format!("a run begins for trigger {trigger}"), json!({ "trigger": trigger.as_str() }))
        }
        Record::Happened(event) => ("happened", happened(event), json!({ "event": event.name() })),
        Record::Decided { order, verdict, approval } => (
            "decided",
            decided(order, verdict),
            json!({
                "verb": order.verb.as_str(), "resource": order.resource.name, "order_digest": order.digest().to_string(),
                "verdict": verdict.as_str(), "policies": verdict.policies().iter().map(|p| p.as_str().to_owned()).collect::<Vec<_>>(),
                "code": code(verdict), "next_step": next_step(verdict), "facts": facts(order),
                "approval": approval.as_ref().map(ToString::to_string),
            }),
        ),
        Record::Done { order, verb, deed } => (
            "done",
            format!("{verb}: {}", done(deed)),
            json!({ "verb": verb.as_str(), "order_digest": order.to_string() }),
        ),
        Record::NotDone { order, verb, because } => (
            "not_done",
            format!("{verb} was allowed and did not succeed: {because}"),
            json!({ "verb": verb.as_str(), "order_digest": order.to_string(), "because": because }),
        ),
        Record::ApprovalAsked { approval, order, until } => (
            "approval_asked",
            format!("a person is asked about {} on {}, until {until}", order.verb, order.resource.name),
            json!({
                "approval": approval.as_str(), "verb": order.verb.as_str(), "order_digest": order.digest().to_string(), "until": until.to_string(), "facts": facts(order),
            }),
        ),
        Record::ApprovalDenied { approval } => {
            ("approval_denied", format!("a person says no to {approval}"), json!({ "approval": approval.as_str() }))
        }
        Record::Held(hold) => held(hold),
        Record::Relinquished(what) => ("relinquished", relinquished(what), Value::Null),
        Record::Observed(what) => observed(what),
        Record::KeyChanged { credential, change } => (
            "key_changed",
            match change {
                KeyChange::Stored => format!("the key of credential `{credential}` is stored"),
                KeyChange::Made { app } => {
                    format!("App {app} is made for credential `{credential}`, and its key stored")
                }
                KeyChange::Removed => format!("the key of credential `{credential}` is removed"),
            },
            match change {
                KeyChange::Made { app } => json!({ "credential": credential.as_str(), "app": app }),
                KeyChange::Stored | KeyChange::Removed => json!({ "credential": credential.as_str() }),
            },
        ),
        Record::TenureChanged { of, owner, change } => (
            "tenure_changed",
            match change {
                TenureChange::Certified => format!("{of} is vouched for; {owner} answers for it"),
                TenureChange::Offboarded => format!("{of} is offboarded: {owner}, who answered for it, has left"),
            },
            json!({ "of": of.to_string(), "owner": owner.as_str() }),
        ),
        Record::Behaved { agent, behaviour } => {
            ("behaved", behaved(agent, behaviour), behaviour_shown(agent, behaviour))
        }
        Record::RulesChanged { configuration, policies } => (
            "rules_changed",
            match policies {
                Some(_) => "the policies or the configuration changed, and the new ones decide from here on".to_owned(),
                None => "the policies changed and do not load, so everything is denied".to_owned(),
            },
            json!({ "configuration": configuration.to_string(), "policies": policies.map(|p| p.to_string()) }),
        ),
        Record::KeeperStarted { version, configuration, policies } => (
            "keeper_started",
            format!(
                "keeper {version} starts{}",
                if policies.is_none() { "; the policies do not load, so everything is denied" } else { "" }
            ),
            json!({ "version": version, "configuration": configuration.to_string(), "policies": policies.map(|p| p.to_string()) }),
        ),
    }
}

fn behaved(agent: &AgentName, behaviour: &Behaviour) -> String {
    match behaviour {
        Behaviour::Settled(profile) => {
            let Amounts { calls, bytes, cost, millis } = profile.amounts;
            format!(
                "{agent} was {} in this run: {}; {calls} calls, {bytes} bytes sent, {cost} millionths, {millis} ms",
                profile.facts.autonomy(),
                profile.facts.words().join(", ")
            )
        }
        Behaviour::Drifted { registered, seen, facts } => {
            format!("{agent} DRIFTED: registered as {registered}, it is {seen}: {}", facts.words().join(", "))
        }
        Behaviour::Departed { departures, lowers_trust } => {
            let how: Vec<String> = departures.iter().map(Departure::words).collect();
            let trust = if *lowers_trust { "; it is trusted a grade less until somebody looks" } else { "" };
            format!("{agent} departed from what is usual for it: it {}{trust}", how.join("; it "))
        }
    }
}

fn behaviour_shown(agent: &AgentName, behaviour: &Behaviour) -> Value {
    match behaviour {
        Behaviour::Settled(profile) => {
            let Amounts { calls, bytes, cost, millis } = profile.amounts;
            json!({
                "agent": agent.as_str(), "is": "settled", "autonomy": profile.facts.autonomy().as_str(), "facts": profile.facts.words(),
                "tools": profile.tools, "hosts": profile.hosts, "calls": calls, "bytes": bytes, "cost": cost, "millis": millis,
            })
        }
        Behaviour::Drifted { registered, seen, facts } => json!({
            "agent": agent.as_str(), "is": "drifted", "registered": registered.as_str(), "seen": seen.as_str(), "facts": facts.words(),
        }),
        Behaviour::Departed { departures, lowers_trust } => json!({
            "agent": agent.as_str(), "is": "departed", "lowers_trust": lowers_trust,
            "departures": departures.iter().map(Departure::words).collect::<Vec<_>>(),
        }),
    }
}

/// What a trigger asks for: the words of whoever asked, or the program they named.
pub(super) fn shown(trigger: &selvedge_domain::Trigger) -> String {
    if trigger.argv.is_empty() { trigger.text.clone() } else { trigger.argv.join(" ") }
}

fn happened(event: &Event) -> String {
    match event {
        Event::Admitted(task) => format!("admitted as {} for {}, from commit {}", task.id, task.intent, task.base),
        Event::LeaseAnnounced(lease) => format!("lease {lease} is announced"),
        Event::LeaseChanged(lease, LeaseEvent::Minted { expires, .. }) => {
            format!("lease {lease} lives, until {expires} at the latest")
        }
        Event::LeaseChanged(lease, LeaseEvent::Died) => format!("lease {lease} is dead, and a probe says so"),
        Event::LeaseChanged(lease, LeaseEvent::RevokeFailed) => format!("lease {lease} could not be revoked"),
        Event::AttemptBegan { attempt } => format!("attempt {attempt} begins"),
        Event::AttemptLost { attempt } => format!("attempt {attempt} is lost"),
        Event::Worked { seen, .. } => match seen.undeclared.is_empty() {
            true => "the attempt left its effect".to_owned(),
            false => {
                format!("the attempt left its effect, and did what is not declared: {}", seen.undeclared.join("; "))
            }
        },
        Event::Verified(verified) => format!("commit {} is verified", verified.commit()),
        Event::Delivered(outcome) => format!("delivered: {}", outcome.because()),
        Event::Waited { until, .. } => format!("about to wait, until {until} at the latest"),
        Event::Parked => "waits, and holds no credential".to_owned(),
        Event::Resumed => "resumes; everything is decided again".to_owned(),
        Event::Ended(outcome) => format!("ends {}: {}", outcome.as_str(), outcome.because()),
        Event::Revoked => "every lease is dead".to_owned(),
        Event::Settled => "settled".to_owned(),
    }
}

fn held(hold: &Hold) -> (&'static str, String, Value) {
    match hold {
        Hold::Began { approvals, until } => (
            "turn_held",
            format!("the turn waits for people, frozen and without credentials, until {until} at the latest"),
            json!({ "approvals": approvals.iter().map(ToString::to_string).collect::<Vec<_>>(), "until": until.to_string() }),
        ),
        Hold::Lapsed { approval, lapse: Lapse::TimedOut } => (
            "approval_timed_out",
            format!("nobody answered {approval} in time, which is a no"),
            json!({ "approval": approval.as_str() }),
        ),
        Hold::Lapsed { approval, lapse: Lapse::Ended { because } } => (
            "approval_lapsed",
            format!("{approval} is no longer asked: {because}"),
            json!({ "approval": approval.as_str(), "because": because }),
        ),
        Hold::Ended => ("turn_goes_on", "the turn goes on".to_owned(), Value::Null),
    }
}

fn decided(order: &Description, verdict: &Verdict) -> String {
    let what = match order.text("path") {
        Some(path) if order.verb == Verb::AccessRequest => {
            let methods = order.words("methods").join(",");
            format!("{} for {methods} {}{path}", order.verb, order.resource.name)
        }
        Some(path) => format!("{} {} {}{path}", order.verb, order.text("method").unwrap_or(""), order.resource.name),
        None if order.text("price_since").is_some_and(|since| since != ALWAYS) => {
            let since = order.text("price_since").unwrap_or_default();
            format!("{} on {} at the price since {since}", order.verb, order.resource.name)
        }
        None => format!("{} on {}", order.verb, order.resource.name),
    };
    match verdict {
        Verdict::Allow { policies } => {
            let by: Vec<String> = policies.iter().map(|policy| format!("`{policy}`")).collect();
            format!("{what}: allowed by {}", by.join(", "))
        }
        Verdict::Deny(denial) => format!("{what}: denied, {denial}"),
        Verdict::NeedsApproval(denial) => format!("{what}: needs approval, {denial}"),
    }
}

fn code(verdict: &Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Allow { .. } => None,
        Verdict::Deny(denial) | Verdict::NeedsApproval(denial) => Some(denial.code.as_str()),
    }
}

fn next_step(verdict: &Verdict) -> Option<&str> {
    match verdict {
        Verdict::Allow { .. } => None,
        Verdict::Deny(denial) | Verdict::NeedsApproval(denial) => Some(&denial.next_step),
    }
}

fn done(deed: &Deed) -> String {
    match deed {
        Deed::Admitted(task) => format!("task {}", task.id),
        Deed::Minted(minted) => format!("credential of lease {} until {}", minted.lease, minted.expires),
        Deed::Ran(ran) => format!("the agent ended with {}", ran.exit),
        Deed::Checked(report) => match (&report.failed, &report.tests) {
            _ if report.commands == 0 => "no checks are configured".to_owned(),
            (Some(failed), _) => format!("checks on tree {}: {failed}", report.tree),
            (None, Some(tests)) => format!("checks on tree {} passed; {} tests ran", report.tree, tests.len()),
            (None, None) => format!("checks on tree {} passed; tests uncounted", report.tree),
        },
        Deed::Opened(number) => format!("proposal {number}"),
        Deed::Merged(merged) => format!("the branch is at {}", merged.commit),
        Deed::Enqueued(trigger) => format!("trigger {trigger} is queued"),
        Deed::Approved => "approved".to_owned(),
        Deed::MayBorrow => "the stored key may be lent".to_owned(),
        Deed::GitServed(served) => format!("{} bytes of history", served.response_bytes),
        Deed::Pushed(pushed) => format!("its branch is at {}", pushed.commit),
        Deed::ToolPassed => "the agent was given the call".to_owned(),
        Deed::ToolAnswered(answer) => format!("{}, {} bytes", answer.code, answer.answer_bytes),
        Deed::ModelAnswered(answer) => {
            let estimated = if answer.is_estimated { ", estimated" } else { "" };
            let Tokens { input, cached, cache_write, output, .. } = answer.tokens;
            let read = input.saturating_add(cached).saturating_add(cache_write);
            format!("status {}, {read} tokens read and {output} written{estimated}", answer.status)
        }
        Deed::Widened => "reached from here on, until the attempt is over".to_owned(),
        Deed::Replied => "the run that asked has these words".to_owned(),
        Deed::Answered(answer) => format!("status {}, {} bytes", answer.status, answer.response_bytes),
    }
}

fn relinquished(what: &Relinquished) -> String {
    match what {
        Relinquished::Halted(scope) => format!("halted: {}", scope_words(scope)),
        Relinquished::Resumed(scope) => format!("resumed: {}", scope_words(scope)),
        Relinquished::SandboxKilled { found } => format!("killed {found}"),
        Relinquished::DoorsClosed => "its doors closed".to_owned(),
        Relinquished::Withdrawn { credential, lease } => {
            format!("credential {credential} was withdrawn (lease {lease}), and the run goes on without it")
        }
    }
}

/// A halt's scope in words.
pub(crate) fn scope_words(scope: &HaltScope) -> String {
    match scope {
        HaltScope::All => "everything".to_owned(),
        HaltScope::Agent(name) => format!("agent {name}"),
        HaltScope::Repo(name) => format!("repo {name}"),
        HaltScope::Run(id) => format!("run {id}"),
    }
}

fn observed(what: &Observation) -> (&'static str, String, Value) {
    match what {
        Observation::SandboxStarted { level, layers, unreachable } => (
            "sandbox_started",
            format!("a sandbox of level {level} holds {} layers", layers.len()),
            json!({ "level": level, "layers": layers, "unreachable": unreachable }),
        ),
        Observation::CallRefused { call, count } => (
            "call_refused",
            format!("seccomp refused {call}, {count} times"),
            json!({ "layer": "seccomp", "call": call, "count": count }),
        ),
        Observation::DoorRefused { door, code, detail, count } => (
            "door_refused",
            format!("the {door} door refused {detail}: {code}, {count} times"),
            json!({ "door": door, "code": code, "detail": detail, "count": count }),
        ),
        Observation::SandboxEnded { purpose, exit, output_bytes } => (
            "sandbox_ended",
            format!("{purpose} ended with {exit}, {output_bytes} bytes of output"),
            json!({ "purpose": purpose, "exit": exit, "output_bytes": output_bytes }),
        ),
        Observation::SideEffects(seen) => side_effects(seen),
        Observation::SensitiveRead { path } => {
            ("sensitive_read", format!("observed read {path}, which is sensitive"), json!({ "path": path }))
        }
        Observation::Told { calls, more } => super::side_effects::told(calls, *more),
        Observation::Rehearsed { agent, shown } => (
            "rehearsed",
            format!("{agent} rehearsed before its task: {}", shown.join("; ")),
            json!({ "agent": agent, "shown": shown }),
        ),
        Observation::Finding { code, detail } => {
            ("finding", format!("{code}: {detail}"), json!({ "code": code, "detail": detail }))
        }
    }
}

#[cfg(test)]
mod tests {
    use selvedge_domain::{RepoName, Resource, ResourceKind};

    use super::*;

    #[test]
    fn s37_a_person_is_shown_some_paths_and_how_many_more_there_are() {
        let repo = RepoName::parse("acme/shop").unwrap();
        let resource = Resource { kind: ResourceKind::Repository, name: "acme/shop".to_owned(), repo };
        let paths = |count: usize| (0..count).map(|n| format!("p{n}")).collect::<Vec<_>>();
        let order = |paths: Vec<String>| Description {
            verb: Verb::ProposalOpen,
            resource: resource.clone(),
            fields: vec![("paths", Field::Words(paths)), ("tests", Field::Number(3))],
        };
        assert_eq!(facts(&order(paths(2))), json!({ "paths": ["p0", "p1"], "tests": 3 }));
        let shown = facts(&order(paths(60_000)));
        assert_eq!(shown["paths"].as_array().unwrap().len(), WORDS_SHOWN_MAX);
        assert_eq!(shown["paths_not_shown"], json!(60_000 - WORDS_SHOWN_MAX));
        assert_ne!(order(paths(60_000)).digest(), order(paths(59_999)).digest());
    }
}
