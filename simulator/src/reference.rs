//! The whole factory once more, as naive as it can be: what each run must come to, worked out from what was asked, without
//! a record, a crash, a lease or a turn.
//!
//! Shares no code with the factory. Where the two differ, one of them is wrong, and finding out which is the point.

use selvedge_domain::Trigger;

use crate::scenario::{CHAIN_DEPTH_MAX, Scenario};

/// What people do about requests for approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum People {
    /// They say yes to everything, in time.
    Grant,
    /// They never look.
    Absent,
}

/// What policy comes to, once people have had their say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Yes,
    No,
    /// Only if somebody could be asked here.
    Ask,
}

/// How every run ends, sorted: the runs that triggers lead to, and those that follow.
pub fn outcomes(scenario: &Scenario, people: People) -> Vec<&'static str> {
    let mut all = Vec::new();
    let mut queue: Vec<(String, String, u32)> =
        scenario.triggers.iter().map(|Trigger { agent, text, .. }| (agent.to_string(), text.clone(), 0)).collect();
    while let Some((agent, text, depth)) = queue.pop() {
        let (outcome, follow_ups) = outcome(scenario, people, &agent, &text);
        all.push(outcome);
        let follows = matches!(outcome, "proposed" | "changed" | "held" | "nothing_to_do");
        if follows && depth < CHAIN_DEPTH_MAX && word(scenario, "task.enqueue") == Word::Yes {
            queue.extend(follow_ups.into_iter().take(3).map(|text| (agent.clone(), text, depth + 1)));
        }
    }
    all.sort_unstable();
    all
}

fn outcome(scenario: &Scenario, people: People, agent: &str, text: &str) -> (&'static str, Vec<String>) {
    let refused = ("refused", Vec::new());
    let granted = people == People::Grant && word(scenario, "approval.grant") == Word::Yes;
    let may = |order| match word(scenario, order) {
        Word::Yes => true,
        Word::No => false,
        Word::Ask => granted,
    };
    // A credential and a sandbox are new each time they are asked for, so no approval ever fits them.
    let may_now = |order| word(scenario, order) == Word::Yes;
    if !scenario.agents.iter().any(|known| known.name.as_str() == agent) || !may("task.admit") {
        return refused;
    }
    if !may_now("credential.mint") || !may_now("sandbox.start/work") {
        return refused;
    }
    let (content, rest) = text.split_once("; then ").map_or((text, None), |(content, rest)| (content, Some(rest)));
    let follow_ups: Vec<String> = match content {
        "flood" => vec!["nothing".to_owned(); 10],
        _ => rest.into_iter().map(str::to_owned).collect(),
    };
    let outcome = match content {
        "broken" | "lost" => return ("failed", Vec::new()),
        "nothing" => "nothing_to_do",
        "unresolved" => "held",
        _ if agent == "runner" => "changed",
        _ if !may("sandbox.start/check") => "refused",
        "red" | "vanish" | "secret" => "held",
        _ if scenario.checks == 0 => "held",
        _ if !may("proposal.open") => "refused",
        _ => "proposed",
    };
    (outcome, follow_ups)
}

fn word(scenario: &Scenario, order: &'static str) -> Word {
    if scenario.rules.deny.contains(order) {
        Word::No
    } else if scenario.rules.ask.contains(order) {
        Word::Ask
    } else {
        Word::Yes
    }
}
