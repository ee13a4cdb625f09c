//! How agents behave, by the record: what each run could do and did, what that makes of its agent, and what is usual for it
//! (requirements B5, G8). At hand for every decision, and read from the log when a keeper starts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use selvedge_authority::{Entry, JournalError, Record};
use selvedge_domain::{
    Actor, AgentName, Autonomy, Baseline, Behaviour, Capabilities, Conduct, Departure, Profile, RUNS_MAX, RunId, Seen,
    TenureChange, Time, Vouchee,
};
use selvedge_ledger::{Ledger, ReadError};

use super::Works;
use crate::config::{AD_HOC, AgentConfig, Runtime, What};

mod tally;

pub(super) use tally::Act;
use tally::Tally;

/// How often one run is recorded to have left what is usual: the first say what it is about, and whoever looks has all of it in its
/// profile.
const DEPARTURES_MAX: usize = 4;

/// What is at hand of every agent.
#[derive(Default)]
pub(super) struct Watch(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    agents: BTreeMap<AgentName, Watched>,
    at_work: BTreeMap<RunId, Tally>,
}

/// What is at hand of one.
#[derive(Default)]
struct Watched {
    /// What its last runs came to, oldest first.
    settled: VecDeque<(RunId, Profile)>,
    /// The highest grade among them.
    grade: Option<Autonomy>,
    /// Runs that left what was usual, and that nobody looked at since: they make nothing usual.
    unusual: BTreeSet<RunId>,
    baseline: Option<Baseline>,
    drift: Option<Drift>,
    certified: Option<Autonomy>,
    departed: Option<Departed>,
}

/// The last time an agent was seen to be more than before, and more than its owner registered it as.
#[derive(Debug, Clone)]
pub(crate) struct Drift {
    pub(crate) run: Option<RunId>,
    pub(crate) at: Time,
    pub(crate) registered: Autonomy,
    pub(crate) seen: Autonomy,
    pub(crate) facts: Capabilities,
}

/// The last time an agent left what is usual for it, if nobody vouched for it since.
#[derive(Debug, Clone)]
pub(crate) struct Departed {
    pub(crate) run: Option<RunId>,
    pub(crate) at: Time,
    pub(crate) departures: Vec<Departure>,
    pub(crate) lowers_trust: bool,
}

/// What people are shown of an agent.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) conduct: Conduct,
    /// How many of its runs are looked back on.
    pub(crate) runs: usize,
    /// What is usual; none yet when they are too few.
    pub(crate) baseline: Option<Baseline>,
    pub(crate) drift: Option<Drift>,
    pub(crate) departed: Option<Departed>,
}

impl Watch {
    /// What the log has.
    pub(super) fn read(ledger: &Ledger) -> Result<Self, ReadError> {
        let told = ledger.behaviours(RUNS_MAX.saturating_mul(DEPARTURES_MAX))?;
        let words = ledger.tenures()?;
        let mut entries: Vec<(u64, Entry)> = told.into_iter().chain(words).collect();
        entries.sort_by_key(|(seq, _)| *seq);
        let mut inner = Inner::default();
        for (_, Entry { at, run, record, .. }) in entries {
            match record {
                Record::Behaved { agent, behaviour } => inner.agents.entry(agent).or_default().take(run, at, behaviour),
                Record::TenureChanged { of: Vouchee::Agent(agent), change: TenureChange::Certified, .. } => {
                    inner.agents.entry(agent).or_default().certify();
                }
                _ => {}
            }
        }
        Ok(Self(Mutex::new(inner)))
    }

    /// What the record shows of an agent now.
    pub(super) fn seen(&self, agent: &AgentName) -> Seen {
        self.inner().seen(agent)
    }

    /// Somebody looked at this agent, and vouches for what it is and does.
    pub(super) fn certify(&self, agent: &AgentName) {
        if let Some(watched) = self.inner().agents.get_mut(agent) {
            watched.certify();
        }
    }

    /// Each statement leaves it whole.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Works {
    /// Counts what a run just did; what that means for its agent counts from here on, and is what has to be recorded now.
    pub(super) fn count(&self, run: &RunId, at: Time, act: &Act) -> Result<Vec<Entry>, JournalError> {
        let mut inner = self.watch.inner();
        match inner.at_work.get_mut(run) {
            Some(tally) => tally.take(at, act),
            None => drop(inner.at_work.insert(run.clone(), self.tally(run)?)),
        }
        Ok(self.notice(&mut inner, run, at))
    }

    /// What a run that is about to be settled came to; to be recorded before it is.
    pub(super) fn sum_up(&self, run: &RunId, at: Time) -> Result<Vec<Entry>, JournalError> {
        let mut inner = self.watch.inner();
        if !inner.at_work.contains_key(run) {
            let tally = self.tally(run)?;
            inner.at_work.insert(run.clone(), tally);
        }
        let mut told = self.notice(&mut inner, run, at);
        let Some(tally) = inner.at_work.remove(run) else { return Ok(told) };
        if let Some((agent, profile)) = tally.ended() {
            let behaviour = Behaviour::Settled(Box::new(profile));
            inner.agents.entry(agent.clone()).or_default().take(Some(run.clone()), at, behaviour.clone());
            told.push(entry(run, at, agent, behaviour));
        }
        Ok(told)
    }

    /// How an agent stands, for people.
    pub(crate) fn standing_of(&self, config: &AgentConfig) -> Standing {
        let (inner, name) = (self.watch.inner(), &config.agent.name);
        let conduct = Conduct { registered: config.agent.autonomy, seen: inner.seen(name) };
        match inner.agents.get(name) {
            None => Standing { conduct, runs: 0, baseline: None, drift: None, departed: None },
            Some(watched) => Standing {
                conduct,
                runs: watched.settled.len(),
                baseline: watched.baseline.clone(),
                drift: watched.drift.clone(),
                departed: watched.departed.clone(),
            },
        }
    }

    /// Somebody vouches for this agent as it is.
    pub(crate) fn certify_conduct(&self, agent: &AgentName) {
        self.watch.certify(agent);
    }

    /// What the log has of a run that this keeper has not counted yet.
    fn tally(&self, run: &RunId) -> Result<Tally, JournalError> {
        let known = self.run(run)?;
        let configured = self.config();
        let agent = configured.agents.get(&known.trigger().agent);
        let mut tally = Tally::begun(known.trigger(), agent.map(borrowed).unwrap_or_default());
        for recorded in self.ledger.entries(0, Some(run.clone())) {
            tally.reread(&recorded?.entry);
        }
        Ok(tally)
    }

    /// Sees whether the run made something else of its agent, or leaves what is usual for it.
    fn notice(&self, inner: &mut Inner, run: &RunId, at: Time) -> Vec<Entry> {
        let config = self.config();
        let Some(tally) = inner.at_work.get_mut(run) else { return Vec::new() };
        let agent = tally.agent.clone();
        // Who is not configured any more has nothing to ask with.
        let Some(configured) = config.agents.get(&agent) else { return Vec::new() };
        let registered = configured.agent.autonomy;
        let profile = tally.profile(at);
        let seen = profile.facts.autonomy();
        let watched = inner.agents.entry(agent.clone()).or_default();
        let mut told = Vec::new();
        if seen > watched.drift.as_ref().map_or(registered, |drift| registered.max(drift.seen)) {
            told.push(Behaviour::Drifted { registered, seen, facts: profile.facts.clone() });
        }
        let governed_as = registered.max(seen).max(watched.grade.unwrap_or(registered));
        let usual = watched.baseline.as_ref().filter(|_| has_routine(configured));
        let departures = usual.map(|usual| usual.departures(&profile, governed_as)).unwrap_or_default();
        let fresh = tally.departs(departures);
        if !fresh.is_empty() {
            let lowers_trust = governed_as != Autonomy::BoundedAutomation;
            told.push(Behaviour::Departed { departures: fresh, lowers_trust });
        }
        for behaviour in &told {
            watched.take(Some(run.clone()), at, behaviour.clone());
        }
        told.into_iter().map(|behaviour| entry(run, at, agent.clone(), behaviour)).collect()
    }
}

impl Inner {
    fn seen(&self, agent: &AgentName) -> Seen {
        let at_work = self.at_work.values().filter(|tally| tally.agent == *agent).map(Tally::autonomy).max();
        let Some(watched) = self.agents.get(agent) else { return Seen { autonomy: at_work, ..Seen::default() } };
        // What nobody looked at does not wear off.
        let drifted = watched.drift.as_ref().map(|drift| drift.seen).filter(|seen| watched.certified < Some(*seen));
        Seen {
            autonomy: at_work.max(watched.grade).max(drifted),
            certified: watched.certified,
            departed: watched.departed.as_ref().is_some_and(|departed| departed.lowers_trust),
        }
    }
}

impl Watched {
    /// Takes up what is recorded, in the order it is recorded in.
    fn take(&mut self, run: Option<RunId>, at: Time, behaviour: Behaviour) {
        match behaviour {
            Behaviour::Settled(profile) => {
                let Some(run) = run else { return };
                // Recorded twice where a keeper died between that and the end.
                self.settled.retain(|(known, _)| *known != run);
                self.settled.push_back((run, *profile));
                while self.settled.len() > RUNS_MAX {
                    if let Some((gone, _)) = self.settled.pop_front() {
                        self.unusual.remove(&gone);
                    }
                }
                self.look_back();
            }
            Behaviour::Drifted { registered, seen, facts } => {
                self.drift = Some(Drift { run, at, registered, seen, facts });
            }
            Behaviour::Departed { departures, lowers_trust } => {
                // What leaves trust alone does not hide what lowered it.
                if lowers_trust || self.departed.as_ref().is_none_or(|departed| !departed.lowers_trust) {
                    self.departed = Some(Departed { run: run.clone(), at, departures, lowers_trust });
                }
                self.unusual.extend(run.filter(|_| lowers_trust));
            }
        }
    }

    /// Somebody vouches for what it is and for what it did.
    fn certify(&mut self) {
        self.certified = self.drift.as_ref().map(|drift| drift.seen).max(self.certified);
        self.departed = None;
        self.unusual.clear();
        self.look_back();
    }

    fn look_back(&mut self) {
        self.grade = self.settled.iter().map(|(_, profile)| profile.facts.autonomy()).max();
        let usual = self.settled.iter().filter(|(run, _)| !self.unusual.contains(run));
        self.baseline = Baseline::of(usual.map(|(_, profile)| profile));
    }
}

fn entry(run: &RunId, at: Time, agent: AgentName, behaviour: Behaviour) -> Entry {
    let record = Record::Behaved { agent, behaviour };
    Entry { at, run: Some(run.clone()), actor: Actor::Factory, owner: None, record }
}

/// The credentials it may borrow, through its tool servers too, other than its model's.
fn borrowed(config: &AgentConfig) -> BTreeSet<String> {
    let name = |what: &What| match what {
        What::Credential(name) => Some(name.as_str().to_owned()),
        _ => None,
    };
    let for_servers = config.for_servers.iter().map(|name| name.as_str().to_owned());
    config.rights.iter().filter_map(|right| name(&right.what)).chain(for_servers).collect()
}

/// Whether one run of it is like another: those that are built in do what they are told, something else each time.
fn has_routine(config: &AgentConfig) -> bool {
    config.tries.is_none() && !matches!(config.runtime, Runtime::Install(_)) && config.agent.name.as_str() != AD_HOC
}

#[cfg(test)]
mod tests {
    use selvedge_domain::{Amounts, RUNS_MIN, Started};

    use super::*;

    fn run(n: usize) -> RunId {
        RunId::from_entropy(u64::try_from(n).unwrap())
    }

    fn profile(host: &str, tool_calls: u32) -> Profile {
        let facts = Capabilities {
            started: Started::Person,
            chain_depth: 0,
            model_calls: 1,
            tool_calls,
            tools: u32::from(tool_calls > 0),
            queued: 0,
            changes: 0,
            confirmed: 0,
            powers: BTreeSet::new(),
        };
        let hosts = [host.to_owned()].into();
        Profile { facts, tools: BTreeSet::new(), hosts, amounts: Amounts::default() }
    }

    fn settle(watched: &mut Watched, n: usize, profile: Profile) {
        watched.take(Some(run(n)), Time::from_millis(0), Behaviour::Settled(Box::new(profile)));
    }

    fn seen(watched: Watched) -> Seen {
        let name = AgentName::parse("helper").unwrap();
        let mut inner = Inner::default();
        inner.agents.insert(name.clone(), watched);
        inner.seen(&name)
    }

    #[test]
    fn what_left_the_usual_makes_nothing_usual_until_somebody_looks_g8() {
        let mut watched = Watched::default();
        (0..RUNS_MIN).for_each(|n| settle(&mut watched, n, profile("a.example", 0)));
        let departures = vec![Departure::Host("b.example".to_owned())];
        let (at, departed) = (Time::from_millis(0), Behaviour::Departed { departures, lowers_trust: true });
        watched.take(Some(run(9)), at, departed);
        settle(&mut watched, 9, profile("b.example", 0));
        let knows_b = |watched: &Watched| watched.baseline.as_ref().unwrap().hosts.contains("b.example");
        assert!(!knows_b(&watched) && watched.departed.is_some());
        watched.certify();
        assert!(knows_b(&watched) && !seen(watched).departed);
    }

    #[test]
    fn what_a_fixed_program_left_takes_no_trust_and_is_usual_from_then_on_b8() {
        let mut watched = Watched::default();
        let departed = Behaviour::Departed { departures: Vec::new(), lowers_trust: false };
        watched.take(Some(run(0)), Time::from_millis(0), departed);
        (0..RUNS_MIN).for_each(|n| settle(&mut watched, n, profile("a.example", 0)));
        assert_eq!(watched.baseline.as_ref().unwrap().runs, RUNS_MIN);
        assert!(!seen(watched).departed);
    }

    #[test]
    fn a_step_up_does_not_wear_off_and_a_look_covers_no_further_step_b5() {
        let mut watched = Watched::default();
        let step = |watched: &mut Watched, autonomy| {
            let facts = profile("a.example", 0).facts;
            let drifted = Behaviour::Drifted { registered: Autonomy::Assistant, seen: autonomy, facts };
            watched.take(Some(run(0)), Time::from_millis(0), drifted);
        };
        let drifted = |watched: &Watched| {
            let seen =
                seen(Watched { drift: watched.drift.clone(), certified: watched.certified, ..Watched::default() });
            Conduct { registered: Autonomy::Assistant, seen }.has_drifted()
        };
        step(&mut watched, Autonomy::Supervised);
        (0..2 * RUNS_MAX).for_each(|n| settle(&mut watched, n, profile("a.example", 0)));
        assert_eq!((watched.settled.len(), watched.grade), (RUNS_MAX, Some(Autonomy::Assistant)));
        assert!(drifted(&watched));
        watched.certify();
        assert!(!drifted(&watched));
        step(&mut watched, Autonomy::Autonomous);
        assert!(drifted(&watched));
    }

    #[test]
    fn a_run_that_is_summed_up_twice_counts_once_g8() {
        let mut watched = Watched::default();
        (0..RUNS_MIN).for_each(|_| settle(&mut watched, 1, profile("a.example", 5)));
        assert_eq!((watched.settled.len(), watched.grade), (1, Some(Autonomy::Supervised)));
        assert!(watched.baseline.is_none());
    }
}
