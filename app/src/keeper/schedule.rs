//! Work that starts by the clock.

use selvedge_domain::{Actor, Duration, Lineage, Time, Trigger, TriggerId, TriggerSource};
use selvedge_factory::ports::{Clock, Entropy};

use super::hall::Keeper;
use crate::config::{Config, Scheduled, Who};

/// When each scheduled piece of work is due next.
#[derive(Debug)]
pub(crate) struct Schedule {
    due: Vec<(Time, Scheduled)>,
}

/// How long after its start a keeper first fires: long enough for a person to stop it.
const FIRST: Duration = Duration::from_seconds(5);

impl Schedule {
    /// Everything is due a moment after the start, then at its pace.
    pub(crate) fn new(config: &Config, now: Time) -> Self {
        Self { due: config.schedule.iter().map(|when| (now.after(FIRST), when.clone())).collect() }
    }

    /// Goes by another configuration: what was scheduled before keeps its hour.
    fn keep_to(&mut self, config: &Config, now: Time) {
        let due = |when: &Scheduled| {
            let known = self.due.iter().find(|(_, known)| known == when);
            known.map_or_else(|| now.after(FIRST), |(at, _)| *at)
        };
        self.due = config.schedule.iter().map(|when| (due(when), when.clone())).collect();
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
            schedule.keep_to(&self.works.config(), self.works.now());
        }
        self.moved();
        Some(told)
    }

    /// Queues what is due.
    pub(super) fn fire_schedule(&self) {
        let now = self.works.now();
        let due = self.schedule.lock().map(|mut schedule| schedule.take_due(now)).unwrap_or_default();
        for Scheduled { what, repo, text, .. } in due {
            let (agent, part) = match what {
                Who::Agent(agent) => (agent, None),
                Who::Pipeline(name) => match self.works.config().first_of(&name) {
                    Some((agent, first)) => (agent, Some(Box::new(first))),
                    // Taken out of the configuration a moment ago, and out of the schedule a moment later.
                    None => continue,
                },
            };
            let trigger = Trigger {
                id: TriggerId::from_entropy(self.works.draw()),
                source: TriggerSource::Schedule,
                by: Actor::Factory,
                repo,
                agent,
                text,
                argv: Vec::new(),
                lineage: Lineage { part, ..Lineage::outside() },
            };
            // What cannot be queued now is due again one period later, and the keeper's other commands say what is wrong.
            let _not_queued = self.works.ledger.queue().enqueue(&trigger, now);
            self.moved();
        }
    }
}
