//! Standing identities and secrets, and live ones: for whom, until when, how they die, what was granted and what was used, and
//! what is wrong with that (requirement B6). Shows no secret: it has none.

use selvedge_domain::{Duration, LeaseId, LeaseState, Revocation, Tenure, Time, WorkloadId};
use selvedge_factory::ports::Clock;
use serde_json::{Value, json};

use super::ask_credentials::PROXY;
use super::census::{Census, Standing};
use super::hall::{Keeper, Listener};
use super::message::Reply;
use super::usage::{Lent, Meant, Usage};
use crate::errors::CliError;
use crate::wiring::dies_by_itself;

const DAY: Duration = Duration::from_seconds(86_400);

/// How long an orphan that nothing can end is only waited for: as long as the documents live that we sign ourselves.
const WAITED_FOR: Duration = Duration::from_seconds(300);

/// What ends a lease that nobody is at work on.
const RECOVERY: &str = "run `selvedge serve`, which takes up what a dead keeper left, or `selvedge halt`";

/// Everything that stands, and everything that is lent. Uses count that were made in the last `days`.
pub(super) fn list(
    keeper: &Keeper,
    days: u32,
    uid: u32,
    listener: &dyn Listener,
    each: &mut dyn FnMut(&Reply),
) -> Result<Value, CliError> {
    let (config, now) = (keeper.works.config(), keeper.works.now());
    let window = DAY.as_millis().saturating_mul(u64::from(days));
    let since = Time::from_millis(now.as_millis().saturating_sub(window));
    let Some(turn) = keeper.turn_at_the_log(uid, listener) else { return Ok(Value::Null) };
    let usage = Usage::read(keeper, &turn, &config, since)?;
    drop(turn);
    let census = Census { keeper, config: &config, usage: &usage };
    let (mut problems, mut expiring) = (Vec::new(), Vec::new());
    for standing in census.standing()? {
        problems.extend(trouble(&standing));
        each(&Reply::element("identities", shown(&standing, now)));
    }
    for agent in config.agents.values() {
        problems.extend(super::conduct::problems(keeper, agent));
        each(&Reply::element("conduct", super::conduct::shown(keeper, agent)));
    }
    for (lease, lent) in &usage.leases {
        let orphaned = orphaned(keeper, lent);
        if let Some(because) = &orphaned {
            let what = format!("lease {lease} may live, and {because}; {}", dies_alone(lent.state, now));
            match waited_for(lent.state, now) {
                Some(at) => expiring.push(json!({ "lease": lease.as_str(), "until": at.to_string(), "what": what })),
                None => problems.push(problem("orphan", lease.as_str(), what, RECOVERY)),
            }
        }
        each(&Reply::element("live", alive(&census, lease, lent, orphaned.as_deref())));
    }
    if let Some(refused) = keeper.works.not_in_force() {
        let what = format!("the configuration on disk is not in force: {}", refused.because);
        let remedy =
            "mend it; `selvedge schema` prints what may stand where, and `selvedge ps` says whether it is in force";
        problems.push(problem("configuration", "selvedge.toml", what, remedy));
    }
    for name in census.keys_without_owner() {
        let what =
            format!("a key is stored for credential `{name}`, which is not configured, so nobody answers for it");
        let which = if name.as_str() == PROXY { "--proxy" } else { name.as_str() };
        problems.push(problem("ownerless", name.as_str(), what, &format!("selvedge credentials remove {which}")));
    }
    let from = since.max(usage.begins.unwrap_or(now));
    Ok(json!({
        "identities": [],
        "conduct": [],
        "live": [],
        "window": { "days": days, "from": from.to_string(), "until": now.to_string() },
        "problems": problems,
        "expiring": expiring,
    }))
}

/// What becomes of a lease if nobody does anything.
fn dies_alone(state: LeaseState, now: Time) -> String {
    match (state, dies_by_itself(state)) {
        (_, None) => "it is not known whether it was made, nor until when".to_owned(),
        (_, Some(at)) if at <= now => format!("it expired by itself at {at}, and that is not recorded yet"),
        (LeaseState::Live { revocation: Revocation::ExpiryOnly(_), .. }, Some(at)) => {
            format!("nothing can end it before it expires by itself at {at}")
        }
        (_, Some(at)) => format!("it expires by itself at {at}, and can be ended before"),
    }
}

/// When an orphan is dead that nobody can do anything about, if that is soon. A check that failed on it would call somebody who could
/// only wait; whatever can be ended, or lives longer, calls them.
fn waited_for(state: LeaseState, now: Time) -> Option<Time> {
    match state {
        LeaseState::Live { revocation: Revocation::ExpiryOnly(_), .. } => {
            dies_by_itself(state).filter(|at| *at <= now.after(WAITED_FOR))
        }
        LeaseState::Live { .. } | LeaseState::Announced | LeaseState::Stuck { .. } | LeaseState::Dead => None,
    }
}

fn shown(standing: &Standing, now: Time) -> Value {
    let time = |time: Option<Time>| time.map(|time| time.to_string());
    json!({
        "identity": standing.name,
        "kind": standing.kind,
        "owner": standing.owner.as_str(),
        "purpose": standing.purpose,
        "state": standing.vouched.tenure.as_str(),
        "since": time(standing.since),
        "age_days": standing.since.map(|since| now.since(since).as_millis() / DAY.as_millis()),
        "last_used": time(standing.last_used),
        "last_rotated": time(standing.rotated),
        "rotates_at": time(standing.rotates),
        "leaked_at": time(standing.leaked),
        "certified_at": time(standing.vouched.certified.as_ref().map(|(at, _)| *at)),
        "certified_by": standing.vouched.certified.as_ref().map(|(_, by)| by.to_string()),
        "recertify_by": time(standing.vouched.until),
        "runs": standing.runs,
        "granted": standing.rights,
        "surplus": standing.surplus,
    })
}

/// What a check stops at.
fn trouble(standing: &Standing) -> Option<Value> {
    let Standing { name, owner, vouched, .. } = standing;
    if let Some(at) = standing.leaked {
        let said = format!(
            "the key of {name} was seen at {at} where it must not be, and is not lent: {owner} ends it at its issuer"
        );
        let key = name.trim_start_matches("credential:");
        let remedy = format!("then store the new one: selvedge credentials store {key}");
        return Some(problem("leaked", name, said, &remedy));
    }
    // The factory's own keys are vouched for together.
    let what = if name.starts_with("factory:") { "factory" } else { name.as_str() };
    match vouched.tenure {
        Tenure::Overdue => {
            let by = vouched.until.map_or_else(String::new, |by| format!(" since {by}"));
            let said = format!("{name} is overdue{by}: {owner} has to look whether it is still needed");
            let remedy = format!("selvedge identities certify {what}; or take it out");
            Some(problem("overdue", name, said, &remedy))
        }
        Tenure::Offboarded => {
            let said = format!("{name} is offboarded and not used: {owner}, who answered for it, has left");
            let remedy =
                format!("name another owner in `selvedge.toml`, selvedge identities certify {what}, or take it out");
            Some(problem("offboarded", name, said, &remedy))
        }
        Tenure::Active | Tenure::Due if vouched.owner_left => {
            let said = format!("{name} is vouched for, and {owner}, whom the configuration names, has left");
            Some(problem("owner_left", name, said, "name another owner in `selvedge.toml`"))
        }
        Tenure::Active | Tenure::Due => None,
    }
}

/// What nobody vouches for, in one line each: for lists that people look at anyway.
pub(super) fn unvouched(keeper: &Keeper) -> Vec<String> {
    let (works, config) = (&keeper.works, keeper.works.config());
    let agents = config.agents.values().filter(|config| config.tries.is_none());
    let agents = agents.map(|config| (format!("agent:{}", config.agent.name), works.agent_vouched(config).tenure));
    let credentials = config.credentials.values();
    let credentials = credentials
        .map(|config| (format!("credential:{}", config.credential.name), works.credential_vouched(config).tenure));
    let ended = agents.chain(credentials).filter(|(_, tenure)| matches!(tenure, Tenure::Overdue | Tenure::Offboarded));
    ended.map(|(name, tenure)| format!("{name} is {tenure}")).collect()
}

pub(super) fn problem(code: &str, subject: &str, what: String, remedy: &str) -> Value {
    json!({ "code": code, "subject": subject, "what": what, "remedy": remedy })
}

/// Why a lease that may live is nobody's: no run may end before its leases have, so somebody has to be at work on it.
fn orphaned(keeper: &Keeper, lent: &Lent) -> Option<String> {
    if lent.is_run_over {
        Some(format!("its run {} is over", lent.run))
    } else if !keeper.is_at_work() {
        Some(format!("no keeper is at work on its run {}", lent.run))
    } else {
        None
    }
}

fn alive(census: &Census<'_>, lease: &LeaseId, lent: &Lent, orphaned: Option<&str>) -> Value {
    let agent = lent.agent.as_ref();
    let trust_domain = census.config.issuer.trust_domain();
    let owner = agent.and_then(|agent| census.config.agents.get(agent)).map(|agent| agent.agent.owner.as_str());
    let holder = agent.map(|agent| WorkloadId::new(trust_domain, lent.run.clone(), agent.clone()).to_string());
    let what = match &lent.what {
        Some(Meant::Audience(audience)) => format!("identity for {audience}"),
        Some(Meant::Credential(name)) => format!("credential {name}"),
        None => "announced, and not decided".to_owned(),
    };
    let dies = match lent.state {
        LeaseState::Announced => "with its run; it is not known yet whether it was made",
        LeaseState::Live { revocation: Revocation::Immediate, .. } => "revoked with its run, at once, and probed",
        LeaseState::Live { revocation: Revocation::LeaseRevoke, .. } => {
            "revoked with its run by the service that made it, and probed"
        }
        LeaseState::Live { revocation: Revocation::ExpiryOnly(_), .. } => "by its expiry alone; its run ends after it",
        LeaseState::Stuck { .. } => "it could not be revoked; the factory goes on trying",
        LeaseState::Dead => "it is dead",
    };
    json!({
        "lease": lease.as_str(), "what": what, "holder": holder, "agent": agent.map(|agent| agent.as_str()),
        "owner": owner, "run": lent.run.as_str(), "until": lent.expires().map(|until| until.to_string()),
        "dies": dies, "orphaned": orphaned,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_orphan_that_nothing_can_end_and_that_dies_soon_is_waited_for_b6() {
        let at = |seconds: u64| Time::from_millis(seconds * 1000);
        let live = |revocation, expires| LeaseState::Live { revocation, expires };
        let (now, soon, late) = (at(1000), at(1300), at(1301));
        assert_eq!(waited_for(live(Revocation::ExpiryOnly(soon), soon), now), Some(soon));
        for calls_somebody in [
            live(Revocation::ExpiryOnly(late), soon),
            live(Revocation::Immediate, soon),
            live(Revocation::LeaseRevoke, soon),
            LeaseState::Stuck { expires: soon },
            LeaseState::Announced,
        ] {
            assert_eq!(waited_for(calls_somebody, now), None, "{calls_somebody:?}");
        }
        for (state, words) in [
            (
                live(Revocation::ExpiryOnly(late), soon),
                format!("nothing can end it before it expires by itself at {late}"),
            ),
            (live(Revocation::Immediate, soon), format!("expires by itself at {soon}, and can be ended before")),
            (live(Revocation::Immediate, now), format!("expired by itself at {now}")),
            (LeaseState::Announced, "not known".to_owned()),
        ] {
            assert!(dies_alone(state, now).contains(&words), "{}", dies_alone(state, now));
        }
    }
}
