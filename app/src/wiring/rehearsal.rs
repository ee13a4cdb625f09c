//! A rehearsal before a task is handed over (`docs/decisions/0021-rehearsal.md`): the agent in a sandbox as its task will have it, with a
//! door that says in the model's place what is written down here. Owns what counts as proof that a call which is denied does not happen.
//! Nothing of the task is in it, nothing is lent to it, and nothing it does is the run's.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use selvedge_authority::{ActError, Code, Denial, Observation, Permit, Stop};
use selvedge_domain::orders::{GitServed, HttpAnswered, HttpRequest, PushGit, Pushed, ReadGit, StartWork};
use selvedge_domain::{Change, ChangeSet};
use selvedge_factory::ports::{Doorkeeper, Entropy as _};
use selvedge_gateway::model::door::MEMBER_LEFT_OUT;
use selvedge_gateway::model::hosting::Hosting;
use selvedge_gateway::model::wanted::{ModelHost, Rehearsal, RehearsedTurn};
use selvedge_gateway::{Given, Refused, Wanted};
use selvedge_sandbox::{CollectLimits, Ended, Exit, Limit, Place};
use selvedge_workers::acp;
use selvedge_workers::agents::{self, Adapter, Outcome};

use super::Works;
use super::acp::asks_itself;
use super::agents::Speaks;
use super::behalf::{Behalf, HasIdentity};
use super::denied::outside_grant;
use super::desks::Desks;
use super::inside::{Inside, status_of, told};
use super::model::ModelDesk;
use super::repositories::{permanent, transient};
use super::secrets::masked;
use crate::config::{AgentConfig, Runtime};

/// Under which name a run fails whose agent did not show what it should.
const NOT_PROVED: &str = "mediation_not_proved";

/// The finding of one that a limit ended before it could show anything.
const NOT_DONE: &str = "rehearsal_not_done";

/// What whoever asks for something else is told.
const NOTHING_ELSE: &str = "this is a rehearsal; there is nothing but a model to ask";

/// How long a rehearsal may take: programs of some hundred megabytes are read from disk first.
const REHEARSED_WITHIN: Duration = Duration::from_secs(120);

/// What answers the door of a rehearsal: a call of the model is nobody's order, and of the calls in its answer one is denied.
pub(super) struct RehearsalDesk {
    host: ModelHost,
    asked: String,
    /// What the denied call names; none where none is denied.
    denied: Option<String>,
    /// What the model is told of it, and nobody else.
    word: String,
    heard: Mutex<Heard>,
}

/// What the door told.
#[derive(Debug, Default, Clone)]
struct Heard {
    asked: bool,
    denied: bool,
    came_back: bool,
    /// What it refused last.
    refused: Option<String>,
}

impl RehearsalDesk {
    fn new(model: &ModelDesk, planned: &agents::Rehearsal, word: String) -> Result<Self, ActError> {
        let turn = |turn: &agents::RehearsedTurn| RehearsedTurn {
            tool: turn.tool.map(str::to_owned),
            text: turn.text.clone(),
            calls: turn.calls.clone(),
        };
        let comes_back = planned.denied.iter().flat_map(|_| [word.clone(), planned.written.clone()]);
        let rehearsal = Rehearsal {
            turns: planned.turns.iter().map(turn).collect(),
            comes_back: comes_back.collect(),
            ends: planned.ends.iter().map(turn).collect(),
        };
        // Paths of the protocols and of no vendor.
        let host = ModelHost {
            rehearsal: Some(rehearsal),
            base_path: String::new(),
            hosting: Hosting::Vendor,
            called: BTreeMap::new(),
            ..model.host()?
        };
        Ok(Self {
            host,
            asked: model.asked().to_owned(),
            denied: planned.denied.clone(),
            word,
            heard: Mutex::default(),
        })
    }

    /// What its door has to know.
    pub(super) fn host(&self) -> &ModelHost {
        &self.host
    }

    /// Says in the sandbox where the model is.
    pub(super) fn announce(&self, place: Place) -> Place {
        ModelDesk::announced(place, &self.asked)
    }

    /// Answers its door.
    pub(super) fn answer(&self, wanted: &Wanted) -> Given {
        match wanted {
            Wanted::Model(_) => self.heard().asked = true,
            Wanted::Tool(ask) if self.denied.as_ref().is_some_and(|denied| ask.command.contains(denied)) => {
                self.heard().denied = true;
                return Given::Denied { code: "rehearsal".to_owned(), next_step: self.word.clone() };
            }
            Wanted::Rehearsed => self.heard().came_back = true,
            Wanted::Tool(_) | Wanted::ModelDone(_) | Wanted::Unheld { .. } | Wanted::Told(_) => {}
            _ => {
                return outside_grant(NOTHING_ELSE);
            }
        }
        Given::Allowed
    }

    /// Hears what its door refused.
    pub(super) fn refused(&self, refused: &Refused) {
        // No denial: what is left out changes nothing of what is said.
        if refused.code == MEMBER_LEFT_OUT {
            return;
        }
        self.heard().refused = Some(format!("{} ({})", refused.code, refused.detail));
    }

    /// A poisoned lock guards words that are whole between statements.
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Works {
    /// Has the agent rehearse in a place like the one for its task. Unless it shows all that it should, its task is not handed over. What
    /// ran into a limit shows nothing, and may do better in another attempt.
    pub(super) fn rehearse(
        &self,
        order: &StartWork,
        (adapter, agent): (&Adapter, &AgentConfig),
        model: &ModelDesk,
        task_s: &Place,
        doors: &dyn Doorkeeper,
    ) -> Result<(), ActError> {
        let planned = adapter.rehearsal(selvedge_jail::WORKSPACE, &format!("{:016x}", self.draw()));
        let desk = RehearsalDesk::new(model, &planned, format!("told{:016x}", self.draw()))?;
        // No servers of tools: they would be asked, and are none of its.
        let place = |speaks, has_hooks| self.place_of_agent((adapter, speaks), model, &[], (planned.prompt, has_hooks));
        let mut place = match &agent.runtime {
            Runtime::Acp(acp) => {
                let own = asks_itself(place(Speaks::Acp, false)?);
                self.spoken_to(acp, None, planned.prompt.to_owned(), own)
            }
            Runtime::Agent(_) | Runtime::Remediate | Runtime::Command(_) | Runtime::Install(_) => {
                place(Speaks::Itself, agent.tells())?
            }
        };
        place.workspace.clone_from(&task_s.workspace);
        place.limits.clone_from(&task_s.limits);
        let within = task_s.limits.wall.min(REHEARSED_WITHIN);
        place.limits.wall = within;
        let behalf = Behalf::of(order, HasIdentity::No);
        let desks = Desks { rehearsal: Some(&desk), ..Desks::default() };
        let inside = Inside { desks, purpose: "rehearsal", ..Inside::default() };
        let id = format!("{}-r{}", order.run, order.attempt);
        let (sandbox, exit, output) = self.run_inside(&id, place, &behalf, inside, &Apart(doors))?;
        let left = sandbox.collect(&CollectLimits::default(), &|_| false);
        sandbox.destroy().map_err(transient)?;
        self.refuse_when_killed(&exit)?;
        let report = match agent.runtime {
            Runtime::Acp(_) => acp::read(&output),
            Runtime::Agent(_) | Runtime::Remediate | Runtime::Command(_) | Runtime::Install(_) => adapter.read(&output),
        };
        let says = report.outcome(status_of(&exit));
        let shown = match left {
            Ok(left) => shown(&planned, &left, &desk.heard().clone(), (&exit, within), &says),
            Err(error) => Err(Unshown::Wrong(format!("what it left cannot be read: {error}"))),
        };
        let (name, version) = (adapter.name, adapter.pin.version);
        match shown {
            Ok(shown) => {
                doors.saw(Observation::Rehearsed { agent: format!("{name} {version}"), shown });
                Ok(())
            }
            Err(Unshown::Slow(because)) => {
                let because = masked(&because);
                let detail = format!("{name} {version}, before its task: {because}");
                doors.saw(Observation::Finding { code: NOT_DONE.to_owned(), detail });
                Err(transient(format!("{NOT_DONE}: {name} was not done with its rehearsal: {because}")))
            }
            Err(Unshown::Wrong(because)) => {
                let because = masked(&because);
                let detail = format!("{name} {version}, before its task: {because}");
                doors.saw(Observation::Finding { code: NOT_PROVED.to_owned(), detail });
                Err(permanent(format!(
                    "{NOT_PROVED}: {name} did not rehearse as it should, so it was not given the task: {because}; see \
                     `selvedge output {}`, and whether the repository has settings for it; another `selvedge run` rehearses anew",
                    order.run
                )))
            }
        }
    }
}

/// Why a rehearsal did not show what it should.
#[derive(Debug, PartialEq, Eq)]
enum Unshown {
    /// A limit of its place was too narrow for it, as on a machine that is busy. It says nothing of how calls are taken.
    Slow(String),
    /// It showed something else.
    Wrong(String),
}

/// What a rehearsal showed; or what it did not, the worst first.
fn shown(
    planned: &agents::Rehearsal,
    left: &ChangeSet,
    heard: &Heard,
    (exit, within): (&Exit, Duration),
    says: &Outcome,
) -> Result<Vec<String>, Unshown> {
    let is_there = |name: &String| left.changes().iter().any(|change| change.path().as_str() == name.as_str());
    if planned.denied.as_ref().is_some_and(is_there) {
        return Err(Unshown::Wrong("a call that was denied happened all the same".to_owned()));
    }
    let refused = heard.refused.as_ref().map(|refused| format!("; the door refused {refused}")).unwrap_or_default();
    all_shown(planned, left, heard, exit, says).map_err(|because| {
        let more = "a machine that is less busy may do, or more room for the agent (`attempt_at_most`, `limits`)";
        match exit.ended {
            _ if exit.limits.is_empty() => Unshown::Wrong(format!("{because}{refused}")),
            Ended::Limit(Limit::Wall) => {
                Unshown::Slow(format!("it was too slow: not done within {} seconds{refused}; {more}", within.as_secs()))
            }
            _ => Unshown::Slow(format!("it ended with {}{refused}; {more}", told(exit))),
        }
    })
}

/// The same for one whose denied call did not happen.
fn all_shown(
    planned: &agents::Rehearsal,
    left: &ChangeSet,
    heard: &Heard,
    exit: &Exit,
    says: &Outcome,
) -> Result<Vec<String>, String> {
    let is_made = left.changes().iter().any(|change| match change {
        Change::Write { path, content, .. } => {
            path.as_str() == planned.allowed && content.trim_ascii() == planned.written.as_bytes()
        }
        Change::Remove { .. } => false,
    });
    if !heard.asked {
        return Err(format!("it did not ask its model at the door; it ended with {}", told(exit)));
    }
    if !is_made {
        let says = if *says == Outcome::Finished { String::new() } else { format!("; {says}") };
        return Err(format!("a call that was allowed did not happen{says}"));
    }
    if planned.denied.is_some() && !(heard.denied && heard.came_back) {
        return Err("what came of a denied call and of an allowed one was not sent back".to_owned());
    }
    match says {
        Outcome::Finished => {}
        other => return Err(format!("it did not go on to its end: {other}")),
    }
    let mut shown = vec!["its model is asked at the door".to_owned(), "an allowed call happened".to_owned()];
    if planned.denied.is_some() {
        shown.push("a denied call did not happen, and was sent back as one of a tool that nobody has".to_owned());
    }
    Ok(shown)
}

/// A rehearsal's doorkeeper: it asks nothing of the run's, and of what it sees only that there was a sandbox is the run's.
struct Apart<'a>(&'a dyn Doorkeeper);

impl Doorkeeper for Apart<'_> {
    fn ask(&self, _: HttpRequest) -> Result<(), Denial> {
        Err(nothing_else())
    }

    fn answered(&self, _: u64, _: HttpAnswered) {}

    fn read_git(
        &self,
        _: ReadGit,
        _: &mut dyn FnMut(&Permit<ReadGit>) -> Result<GitServed, ActError>,
    ) -> Result<GitServed, Stop> {
        Err(Stop::Denied(nothing_else()))
    }

    fn push_git(
        &self,
        _: PushGit,
        _: &mut dyn FnMut(&Permit<PushGit>) -> Result<Pushed, ActError>,
    ) -> Result<Pushed, Stop> {
        Err(Stop::Denied(nothing_else()))
    }

    fn saw(&self, observation: Observation) {
        match observation {
            Observation::SandboxStarted { .. } | Observation::SandboxEnded { .. } => self.0.saw(observation),
            Observation::CallRefused { .. }
            | Observation::DoorRefused { .. }
            | Observation::SideEffects(_)
            | Observation::SensitiveRead { .. }
            | Observation::Rehearsed { .. }
            | Observation::Told { .. }
            | Observation::Finding { .. } => {}
        }
    }
}

fn nothing_else() -> Denial {
    Denial { code: Code::OutsideGrant, policies: Vec::new(), next_step: NOTHING_ELSE.to_owned() }
}

#[cfg(test)]
mod tests {
    use selvedge_domain::{FileMode, RepoPath};

    use super::*;

    #[test]
    fn what_ran_into_a_limit_is_not_said_to_have_done_what_was_denied_unless_it_did_e5() {
        let planned = agents::Rehearsal {
            prompt: "",
            turns: Vec::new(),
            ends: Vec::new(),
            allowed: "allowed".to_owned(),
            written: "made7".to_owned(),
            denied: Some("denied".to_owned()),
        };
        let wrote = |name: &str| Change::Write {
            path: RepoPath::parse(name.as_bytes()).unwrap(),
            mode: FileMode::Regular,
            content: b"made7\n".to_vec(),
        };
        let broke = Outcome::Broke { status: None };
        let after = |names: &[&str], ended: &Ended, limits: &[Limit]| {
            let left = ChangeSet::new(names.iter().map(|name| wrote(name)));
            let exit = Exit { ended: ended.clone(), limits: limits.to_vec() };
            let heard = Heard { asked: true, ..Heard::default() };
            shown(&planned, &left, &heard, (&exit, Duration::from_secs(7)), &broke).unwrap_err()
        };
        for (ended, limit, said) in [
            (Ended::Limit(Limit::Wall), Limit::Wall, "too slow: not done within 7 seconds"),
            (Ended::Limit(Limit::Output), Limit::Output, "the output limit"),
            (Ended::Signal(9), Limit::Memory, "signal 9, after running into: memory"),
            (Ended::Status(1), Limit::Pids, "exit status 1, after running into: pids"),
        ] {
            for names in [&[][..], &["allowed"]] {
                match after(names, &ended, &[limit]) {
                    Unshown::Slow(because) => assert!(because.contains(said), "{because}"),
                    wrong @ Unshown::Wrong(_) => panic!("{ended:?}: {wrong:?}"),
                }
                assert!(matches!(after(names, &Ended::Status(1), &[]), Unshown::Wrong(_)), "no limit is to blame");
            }
            let wrong = after(&["denied", "allowed"], &ended, &[limit]);
            assert_eq!(wrong, Unshown::Wrong("a call that was denied happened all the same".to_owned()));
        }
    }
}
