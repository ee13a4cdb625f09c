//! What happens meanwhile: people answer and halt, policy changes, time passes, disks fill.

use std::collections::VecDeque;

use selvedge_authority::{Class, Entry, HaltScope, Record, Relinquished};
use selvedge_domain::orders::GrantApproval;
use selvedge_domain::{Actor, Person, Run, RunId, Stage, Wait, WaitKind};
use selvedge_factory::Decline;

use crate::keeper::{Keeper, lock};
use crate::notebook::covers;
use crate::scenario::{Happening, Scenario};

/// What is still to happen.
#[derive(Debug)]
pub(crate) struct Script {
    during_work: VecDeque<Happening>,
    when_idle: VecDeque<Happening>,
    attempts_lost: u32,
}

/// Whether a happening took place, or has to be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Took {
    Place,
    NoPlace,
}

/// Who answers requests for approval; not the person who asks for work.
const APPROVER_UID: u32 = 1001;

impl Script {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            during_work: scenario.during_work.clone().into(),
            when_idle: scenario.when_idle.clone().into(),
            attempts_lost: scenario.attempts_lost,
        }
    }
}

impl Keeper<'_, '_> {
    pub(crate) fn during_work(&self) {
        let happening = lock(&self.sim.script).during_work.pop_front();
        if let Some(happening) = happening {
            let _once = self.happen(&happening);
        }
    }

    pub(crate) fn loses_attempt(&self) -> bool {
        let mut script = lock(&self.sim.script);
        let loses = script.attempts_lost > 0;
        script.attempts_lost = script.attempts_lost.saturating_sub(1);
        loses
    }

    /// The next thing that happens when nothing moves, and whether it did; none when there is nothing left.
    pub(crate) fn when_idle(&self) -> Option<(Happening, Took)> {
        let happening = lock(&self.sim.script).when_idle.front().cloned()?;
        let took = self.happen(&happening);
        if took == Took::Place {
            lock(&self.sim.script).when_idle.pop_front();
        }
        Some((happening, took))
    }

    fn happen(&self, happening: &Happening) -> Took {
        match happening {
            Happening::Nothing | Happening::Restart => {}
            Happening::Grant => return self.answer_all(Keeper::grant),
            Happening::Deny => return self.answer_all(Keeper::deny),
            Happening::GrantThenPass(span) => {
                let _heard_or_not = self.answer_all(Keeper::grant);
                lock(&self.sim.world).pass(span.as_millis());
            }
            Happening::Pass(span) => lock(&self.sim.world).pass(span.as_millis()),
            Happening::SetBack(span) => lock(&self.sim.world).set_clock_back(span.as_millis()),
            Happening::Halt(scope) => return self.halt(scope),
            Happening::Rules(rules) => lock(&self.sim.world).rules = rules.clone(),
            Happening::DropAgents => {
                let mut world = lock(&self.sim.world);
                world.agents.clear();
                world.configurations += 1;
            }
            Happening::DiskFull => lock(&self.sim.world).disk_full = true,
            Happening::DiskFree => lock(&self.sim.world).disk_full = false,
        }
        Took::Place
    }

    /// Kills first and records afterwards (invariant 2).
    fn halt(&self, scope: &HaltScope) -> Took {
        let running = lock(&self.sim.world).running();
        for run in running.iter().filter_map(|run| self.sim.memory.load(run).ok()) {
            if covers(scope, run.trigger(), Some(run.id())) {
                lock(&self.sim.world).kill(run.id(), Some("a person halted it"));
            }
        }
        let record = Record::Relinquished(Relinquished::Halted(scope.clone()));
        let at = lock(&self.sim.world).now();
        let entry = Entry { at, run: None, actor: person(), owner: None, record };
        if self.sim.write(None, entry, Class::Durable).is_ok() { Took::Place } else { Took::NoPlace }
    }

    /// Answers every run that waits; whoever got no answer through, or found nobody waiting, tries again.
    fn answer_all(&self, answer: fn(&Self, &Run, &Wait) -> Took) -> Took {
        let runs: Vec<RunId> = self.sim.memory.runs().unwrap_or_default();
        let mut took = Took::NoPlace;
        for run in runs.iter().filter_map(|run| self.sim.memory.load(run).ok()) {
            let Stage::Waiting(wait) = run.stage() else { continue };
            took = answer(self, &run, wait);
            if took == Took::NoPlace {
                break;
            }
        }
        took
    }

    fn grant(&self, run: &Run, wait: &Wait) -> Took {
        let WaitKind::Approval { approval, .. } = &wait.kind;
        let asked = lock(&self.sim.written).iter().rev().find_map(|entry| match &entry.record {
            Record::ApprovalAsked { approval: asked, order, .. } if asked == approval => Some(order.clone()),
            _ => None,
        });
        let Some(order) = asked else { return Took::Place };
        let yes = GrantApproval {
            approval: approval.clone(),
            run: run.id().clone(),
            order: order.digest(),
            verb: order.verb,
            by: Person::from_uid(APPROVER_UID),
            until: wait.until,
            repo: run.trigger().repo.clone(),
            by_requester: false,
        };
        match self.factory().approve(run, yes) {
            Ok(()) | Err(Decline::Unknown(_) | Decline::Halted(_)) => Took::Place,
            Err(Decline::Stop(_)) => Took::NoPlace,
        }
    }

    fn deny(&self, run: &Run, wait: &Wait) -> Took {
        let WaitKind::Approval { approval, .. } = &wait.kind;
        match self.factory().deny(run, approval.clone(), Person::from_uid(APPROVER_UID)) {
            Ok(()) => Took::Place,
            Err(_) => Took::NoPlace,
        }
    }
}

fn person() -> Actor {
    Actor::Person(Person::from_uid(APPROVER_UID))
}
