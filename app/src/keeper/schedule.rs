//! Work that starts by the clock.

use selvedge_domain::{Actor, AgentName, Duration, Lineage, Part, Time, Trigger, TriggerId, TriggerSource};
use selvedge_factory::ports::{Clock, Entropy};
use selvedge_ledger::Triggered;

use super::hall::Keeper;
use crate::config::{Config, Scheduled, Who};
use crate::wiring::Works;

/// When each scheduled piece of work is due next.
#[derive(Debug)]
pub(crate) struct Schedule {
    due: Vec<(Time, Scheduled)>,
}

/// How long after its start a keeper first fires: long enough for a person to stop it.
const FIRST: Duration = Duration::from_seconds(5);

impl Schedule {
    /// What was started before is due when its period is over, whoever was the keeper then; what never was, a moment from now.
    pub(crate) fn new(works: &Works) -> Self {
        let config = works.config();
        Self { due: config.schedule.iter().map(|when| (first_due(works, when), when.clone())).collect() }
    }

    /// Goes by another configuration: what was scheduled before keeps its hour.
    fn keep_to(&mut self, works: &Works) {
        let due = |when: &Scheduled| {
            let known = self.due.iter().find(|(_, known)| known == when);
            known.map_or_else(|| first_due(works, when), |(at, _)| *at)
        };
        self.due = works.config().schedule.iter().map(|when| (due(when), when.clone())).collect();
    }

    /// What is due at `now`; each is then due again one period later.
    fn take_due(&mut self, now: Time) -> Vec<Scheduled> {
        let mut fired = Vec::new();
        for (at, when) in &mut self.due {
            if *at <= now {
                *at = now.after(when.every);
                fired.push(when.clone());
            }
        }
        fired
    }
}

impl Keeper {
    /// Takes up rules that changed; says so, when they did.
    pub(super) fn refresh(&self) -> Option<String> {
        let told = self.works.refresh_rules()?;
        if let Ok(mut schedule) = self.schedule.lock() {
            schedule.keep_to(&self.works);
        }
        self.moved();
        Some(told)
    }

    /// Queues what is due.
    pub(super) fn fire_schedule(&self) {
        let now = self.works.now();
        let due = self.schedule.lock().map(|mut schedule| schedule.take_due(now)).unwrap_or_default();
        for when in due {
            // Taken out of the configuration a moment ago, it is out of the schedule a moment later.
            let Some((agent, part)) = worker(&self.works.config(), &when.what) else { continue };
            // What is still at work, or waits, is not joined by another; and while it is halted nothing gathers.
            if self.works.halt_of_new_work(&agent, &when.repo).is_some() {
                continue;
            }
            if last(&self.works, &when).is_none_or(|last| last.is_some_and(|last| !last.is_over)) {
                continue;
            }
            let Scheduled { repo, text, .. } = when;
            let trigger = Trigger {
                id: TriggerId::from_entropy(self.works.draw()),
                source: TriggerSource::Schedule,
                by: Actor::Factory,
                repo,
                agent,
                text,
                argv: Vec::new(),
                lineage: Lineage { part: part.map(Box::new), ..Lineage::outside() },
            };
            // What cannot be queued now is due again one period later, and the keeper's other commands say what is wrong.
            let _not_queued = self.works.ledger.queue().enqueue(&trigger, now);
            self.moved();
        }
    }
}

/// Who works first, and on which part of a pipeline.
fn worker(config: &Config, what: &Who) -> Option<(AgentName, Option<Part>)> {
    match what {
        Who::Agent(agent) => Some((agent.clone(), None)),
        Who::Pipeline(name) => config.first_of(name).map(|(agent, first)| (agent, Some(first))),
    }
}

/// The latest start of this by the clock, if there was one; nothing where that cannot be told.
fn last(works: &Works, when: &Scheduled) -> Option<Option<Triggered>> {
    let (agent, part) = worker(&works.config(), &when.what)?;
    let pipeline = part.map(|part| part.pipeline);
    let config = works.config();
    // One whose words were corrected is the same, unless there is another with the words it had.
    let of_others: Vec<&String> = config
        .schedule
        .iter()
        .filter(|other| (&other.what, &other.repo) == (&when.what, &when.repo) && other.text != when.text)
        .map(|other| &other.text)
        .collect();
    let is_it = |trigger: &Trigger| {
        let of = trigger.lineage.part.as_ref().map(|part| &part.pipeline);
        trigger.source == TriggerSource::Schedule && of == pipeline.as_ref() && !of_others.contains(&&trigger.text)
    };
    works.ledger.last_trigger(&agent, &when.repo, is_it).ok()
}

fn first_due(works: &Works, when: &Scheduled) -> Time {
    let soon = works.now().after(FIRST);
    match last(works, when) {
        Some(Some(last)) => last.at.after(when.every).max(soon),
        Some(None) => soon,
        None => works.now().after(when.every),
    }
}
