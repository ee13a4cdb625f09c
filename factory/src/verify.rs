//! Verification by the factory, not by the agent: the base's checks, on the recorded tree, beside the base (A6, F1, F2).

use selvedge_authority::Subject;
use selvedge_domain::orders::CheckTree;
use selvedge_domain::{CheckReport, Effect, Event, HeldBecause, Intent, Outcome, Run, Task, TreeId, Verified};

use crate::cycle::{Desk, Factory, Halt};
use crate::doorkeeper::Gatekeeper;

impl Factory<'_> {
    /// Decides what the effect is worth. The attempt is over, so its leases die first.
    pub(crate) fn verify(&self, run: &mut Run, effect: &Effect) -> Result<Event, Halt> {
        *run = self.end_attempt(run.clone())?.map_err(Halt::Later)?;
        let desk = self.desk(run)?;
        let task = desk.task(run)?;
        self.see_that_part_stands(run)?;
        if run.trigger().part().is_some_and(|part| part.reviews) {
            return self.reviewed(run, task, effect);
        }
        // A stage's change is proposed by the run that reviews it, whose own list says nothing of this one's.
        if run.trigger().part().is_some() || !matches!(effect, Effect::Tree { .. }) {
            hold_undeclared(run)?;
        }
        let commit = match effect {
            Effect::Nothing { because } => {
                return Err(Halt::End(Outcome::NothingToDo { because: because.clone() }));
            }
            Effect::Unresolved { because } => return Err(Halt::End(Outcome::Held { because: because.clone() })),
            // An ad-hoc program never proposes; what it wrote stays in the record.
            _ if task.intent == Intent::RunCommand => {
                return Ok(Event::Delivered(Outcome::Changed {
                    what: "the program ran to its end; what it changed is discarded".to_owned(),
                }));
            }
            Effect::Document { digest, .. } => {
                return Ok(Event::Delivered(Outcome::Changed { what: format!("document {digest}") }));
            }
            Effect::Tree { commit, .. } => commit.clone(),
        };
        let on_base =
            self.check(&desk, run, task, &self.repositories.tree_of(&task.trigger.repo, &task.base).map_err(act)?)?;
        let on_change =
            self.check(&desk, run, task, &self.repositories.tree_of(&task.trigger.repo, &commit).map_err(act)?)?;
        Verified::judge(commit, task.base.clone(), &on_change, &on_base)
            .map(Event::Verified)
            .map_err(|because| held(run, &because))
    }

    /// One clean room. The factory asks, not the agent; requests at its door are judged by the agent's grant.
    fn check(&self, desk: &Desk, run: &Run, task: &Task, tree: &TreeId) -> Result<CheckReport, Halt> {
        let order = CheckTree {
            run: run.id().clone(),
            repo: task.trigger.repo.clone(),
            tree: tree.clone(),
            base: task.base.clone(),
        };
        let agent = desk.funnel(self);
        let doors = Gatekeeper::new(&agent, run.id());
        let funnel = self.funnel_of(&Subject::Factory, &desk.context);
        Ok(funnel.perform(order, |permit| self.workplace.check(permit, &doors))?)
    }
}

/// What leaves nothing to propose has no order by which policy could ask a person about it.
fn hold_undeclared(run: &Run) -> Result<(), Halt> {
    let undeclared = &run.seen().undeclared;
    match undeclared.first() {
        None => Ok(()),
        Some(first) => {
            let more = undeclared.len() - 1;
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            let because = format!("it did what its agent is not declared to do: it {first}{more}");
            let next = format!("see `selvedge show {}`, then declare it under `effects` or change the agent", run.id());
            Err(Halt::End(Outcome::Held { because: format!("{because}; {next}") }))
        }
    }
}

/// A judgement's reason, and where what the checks wrote can be read.
fn held(run: &Run, because: &HeldBecause) -> Halt {
    let because = match because {
        HeldBecause::NoChecks => because.to_string(),
        HeldBecause::BaseNotSetUp(_)
        | HeldBecause::NotSetUp(_)
        | HeldBecause::Red(_)
        | HeldBecause::Broke(_)
        | HeldBecause::Vanished(_)
        | HeldBecause::NoLongerCounted
        | HeldBecause::NoTests => format!("{because}; see `selvedge output {}`", run.id()),
    };
    Halt::End(Outcome::Held { because })
}

fn act(error: selvedge_authority::ActError) -> Halt {
    Halt::from(selvedge_authority::Stop::Act(error))
}
