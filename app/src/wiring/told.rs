//! What an attempt's agent says of its own tool calls, through its hooks: kept as its word, beside what was decided and seen. Nothing here is
//! asked by anybody who decides, and hooks that say nothing are at most named (`docs/decisions/0017-observed.md`).

use std::sync::{Mutex, MutexGuard, PoisonError};

use selvedge_authority::Observation;
use selvedge_domain::{Cause, Time, ToldCall};
use selvedge_factory::ports::Doorkeeper;
use selvedge_gateway::model::wanted::Told;
use selvedge_sandbox::{Ended, Exit};

use super::secrets::masked;

/// Calls that are kept of an attempt; more are counted.
const CALLS_MAX: usize = 500;

/// Under which name it is found that an agent's hooks say nothing.
const SILENT: &str = "hooks_silent";

/// Where an attempt's agent tells of its calls.
#[derive(Default)]
pub(super) struct ToldDesk {
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    told: Vec<Kept>,
    more: u64,
    /// Calls that the agent was allowed.
    passed: u64,
}

struct Kept {
    id: String,
    began: Option<Time>,
    call: ToldCall,
}

impl ToldDesk {
    /// The agent was allowed a call.
    pub(super) fn passed(&self) {
        let mut calls = self.calls();
        calls.passed = calls.passed.saturating_add(1);
    }

    /// Notes what it tells, at the moment it does.
    pub(super) fn hear(&self, told: &Told, serials_from: u64, now: Time) {
        let cause = told.call.map(|(serial, index)| Cause { serial: serials_from.wrapping_add(serial), index });
        let mut calls = self.calls();
        let open = |kept: &&mut Kept| kept.id == told.id && kept.call.tool == masked(&told.tool) && kept.call.is_open;
        if told.is_over
            && let Some(kept) = calls.told.iter_mut().rev().find(open)
        {
            kept.call.is_open = false;
            kept.call.millis = kept.began.map(|began| now.since(began).as_millis());
            kept.call.has_failed = told.has_failed;
            kept.call.exit = told.exit;
            return;
        }
        if calls.told.len() >= CALLS_MAX {
            calls.more = calls.more.saturating_add(1);
            return;
        }
        let call = ToldCall {
            tool: masked(&told.tool),
            cause,
            is_open: !told.is_over,
            millis: None,
            has_failed: told.has_failed,
            exit: told.exit,
        };
        calls.told.push(Kept { id: told.id.clone(), began: (!told.is_over).then_some(now), call });
    }

    /// Records it, once the attempt is over. What is allowed is not yet what the agent has: one that was ended, or whose model was cut
    /// short, may have had nothing to tell of.
    pub(super) fn conclude(&self, exit: &Exit, is_cut_short: bool, doors: &dyn Doorkeeper) {
        if let Some(observation) = self.concluded(exit, is_cut_short) {
            doors.saw(observation);
        }
    }

    fn concluded(&self, exit: &Exit, is_cut_short: bool) -> Option<Observation> {
        let had_time = matches!(exit.ended, Ended::Status(_)) && !is_cut_short;
        let mut calls = self.calls();
        let told: Vec<ToldCall> = std::mem::take(&mut calls.told).into_iter().map(|kept| kept.call).collect();
        match told.is_empty() {
            false => Some(Observation::Told { calls: told, more: calls.more }),
            true => (had_time && calls.passed > 0).then(|| Observation::Finding {
                code: SILENT.to_owned(),
                detail: format!(
                    "the agent was allowed {} calls and ended by itself, and its hooks told of none",
                    calls.passed
                ),
            }),
        }
    }

    /// A poisoned lock guards a list that is whole between statements.
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use selvedge_sandbox::Limit;

    use super::*;

    const BY_ITSELF: Exit = Exit { ended: Ended::Status(0), limits: Vec::new() };

    fn told(id: &str, is_over: bool) -> Told {
        let call = (id == "known").then_some((1, 2));
        Told {
            id: id.to_owned(),
            tool: "Bash".to_owned(),
            call,
            is_over,
            has_failed: false,
            exit: is_over.then_some(3),
        }
    }

    #[test]
    fn a_call_is_told_of_once_with_how_long_it_took_and_which_it_was() {
        let desk = ToldDesk::default();
        for (id, is_over, at) in
            [("known", false, 100), ("other", false, 110), ("known", true, 150), ("late", true, 160)]
        {
            desk.hear(&told(id, is_over), 40, Time::from_millis(at));
        }
        let Some(Observation::Told { calls, more: 0 }) = desk.concluded(&BY_ITSELF, false) else {
            panic!("something was told")
        };
        let shown: Vec<_> = calls.iter().map(|call| (call.cause, call.is_open, call.millis, call.exit)).collect();
        let cause = Some(Cause { serial: 41, index: 2 });
        assert_eq!(shown, [(cause, false, Some(50), Some(3)), (None, true, None, None), (None, false, None, Some(3))]);
    }

    #[test]
    fn what_looks_like_a_secret_is_not_written_down_with_what_a_hook_tells_c7() {
        let desk = ToldDesk::default();
        let tool = format!("ghp_{}", "aB3dE5gH7jK9mN1pQ2sT4vW6xY8zA0cDaB3d");
        for is_over in [false, true] {
            desk.hear(&Told { tool: tool.clone(), ..told("known", is_over) }, 0, Time::from_millis(0));
        }
        let Some(Observation::Told { calls, .. }) = desk.concluded(&BY_ITSELF, false) else {
            panic!("something was told")
        };
        let shown: Vec<_> = calls.iter().map(|call| (call.tool.as_str(), call.is_open)).collect();
        assert_eq!(shown, [("[GitHub token]", false)]);
    }

    #[test]
    fn an_agent_that_was_ended_is_not_accused_of_saying_nothing() {
        let desk = ToldDesk::default();
        desk.passed();
        for ended in [Ended::Killed, Ended::Signal(9), Ended::Limit(Limit::Wall)] {
            assert_eq!(desk.concluded(&Exit { ended, limits: Vec::new() }, false), None);
        }
        assert_eq!(desk.concluded(&BY_ITSELF, true), None);
        assert!(desk.concluded(&BY_ITSELF, false).is_some());
    }

    #[test]
    fn hooks_that_say_nothing_are_found_and_more_than_is_kept_is_counted() {
        let desk = ToldDesk::default();
        assert_eq!(desk.concluded(&BY_ITSELF, false), None, "there was nothing to tell of");
        desk.passed();
        assert!(matches!(desk.concluded(&BY_ITSELF, false), Some(Observation::Finding { code, .. }) if code == SILENT));
        for n in 0..CALLS_MAX + 7 {
            desk.hear(&told(&n.to_string(), false), 0, Time::from_millis(0));
        }
        assert!(
            matches!(desk.concluded(&BY_ITSELF, false), Some(Observation::Told { calls, more: 7 }) if calls.len() == CALLS_MAX)
        );
    }
}
