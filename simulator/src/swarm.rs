//! Swarm: a seed draws a whole world and a mix of faults; safety while they strike, liveness once they stop.
//!
//! Options are drawn before anything runs, so that a seed can be read, and a failing one shrunk to the faults that matter.

use std::collections::BTreeMap;
use std::fmt;

use selvedge_authority::HaltScope;
use selvedge_domain::Duration;

use crate::faults::{Fault, Plan};
use crate::keeper::Simulation;
use crate::notebook::Memory;
use crate::play::{Ending, play};
use crate::random::Random;
use crate::rules::Rules;
use crate::scenario::{Happening, Lending, Scenario, trigger};

/// Everything a seed decides.
#[derive(Debug, Clone)]
pub struct Options {
    /// The seed.
    pub seed: u64,
    /// The world.
    pub scenario: Scenario,
    /// Which faults may strike.
    pub faults: Vec<Fault>,
    /// One point in this many is struck.
    pub one_in: u64,
    /// After how many points faults stop.
    pub until: usize,
}

/// What agents are asked for.
const TEXTS: &[&str] = &[
    "fix",
    "fix; then more",
    "one; then vanish; then three",
    "nothing",
    "vanish",
    "red",
    "secret",
    "unresolved",
    "broken",
    "lost",
    "flood",
];

/// Orders policy may be strict about.
const ORDERS: &[&str] = &[
    "task.admit",
    "credential.mint",
    "sandbox.start/work",
    "sandbox.start/check",
    "proposal.open",
    "task.enqueue",
    "approval.grant",
];

const TRIGGERS_MAX: u64 = 4;
const HAPPENINGS_MAX: u64 = 5;

impl Options {
    /// What this seed decides.
    pub fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let random = &mut random;
        let mut scenario = Scenario { seed, ..Scenario::plain("swarm") };
        scenario.triggers = (0..=random.below(TRIGGERS_MAX - 1))
            .map(|number| {
                let agent = if random.once_in(6) { "runner" } else { "fixer" };
                let repo = if random.once_in(3) { "acme/till" } else { "acme/shop" };
                trigger(number, agent, repo, random.pick(TEXTS).unwrap_or("fix"))
            })
            .collect();
        scenario.rules = rules(random);
        scenario.checks = usize::from(!random.once_in(8));
        scenario.lending = match random.below(4) {
            0 => Lending::ExpiryOnly,
            1 => Lending::StuckFor(2),
            _ => Lending::Immediate,
        };
        scenario.during_work = (0..random.below(HAPPENINGS_MAX)).map(|_| during_work(random)).collect();
        scenario.when_idle = (0..random.below(HAPPENINGS_MAX)).map(|_| when_idle(random)).collect();
        let faults = Fault::ALL.iter().copied().filter(|_| random.once_in(2)).collect();
        let one_in = 4 + random.below(60);
        let until = usize::try_from(random.below(600)).unwrap_or(0);
        Self { seed, scenario, faults, one_in, until }
    }

    /// Where this seed's faults strike.
    pub fn plan(&self) -> Plan {
        let random = Random::new(!self.seed);
        Plan::Random { random, one_in: self.one_in, faults: self.faults.clone(), until: self.until }
    }

    /// Plays it.
    pub fn play_on(&self, plan: Plan, memory: &dyn Memory) -> Ending {
        play(&Simulation::new(&self.scenario, plan, memory), &self.scenario)
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scenario { rules, checks, lending, triggers, during_work, when_idle, .. } = &self.scenario;
        writeln!(f, "seed {}: one point in {} of the first {}: {:?}", self.seed, self.one_in, self.until, self.faults)?;
        for trigger in triggers {
            writeln!(f, "  asks `{}` on {} for `{}`", trigger.agent, trigger.repo, trigger.text)?;
        }
        writeln!(f, "  {rules:?}, {checks} checks, credentials die {lending:?}")?;
        writeln!(f, "  during work {during_work:?}")?;
        write!(f, "  when idle {when_idle:?}")
    }
}

fn rules(random: &mut Random) -> Rules {
    let mut rules = Rules::open();
    for _ in 0..random.below(3) {
        if let Some(order) = random.pick(ORDERS) {
            rules = if random.once_in(3) { rules.deny(order) } else { rules.ask(order) };
        }
    }
    rules
}

fn during_work(random: &mut Random) -> Happening {
    match random.below(12) {
        0 => Happening::Halt(HaltScope::All),
        1 => halt_of_one(random),
        2 => Happening::Rules(rules(random)),
        3 => Happening::DropAgents,
        4 => Happening::DiskFull,
        5 => Happening::SetBack(Duration::from_seconds(random.below(7200))),
        6 => Happening::Pass(Duration::from_seconds(random.below(60))),
        _ => Happening::Nothing,
    }
}

fn when_idle(random: &mut Random) -> Happening {
    match random.below(10) {
        0..=3 => Happening::Grant,
        4 => Happening::Deny,
        5 => Happening::Pass(Duration::from_seconds(random.below(7200))),
        6 => Happening::GrantThenPass(Duration::from_seconds(random.below(7200))),
        7 => halt_of_one(random),
        8 => Happening::Rules(rules(random)),
        _ => Happening::Restart,
    }
}

fn halt_of_one(random: &mut Random) -> Happening {
    let of = trigger(0, if random.once_in(2) { "fixer" } else { "runner" }, "acme/till", "");
    Happening::Halt(if random.once_in(2) { HaltScope::Agent(of.agent) } else { HaltScope::Repo(of.repo) })
}

/// The smallest part of what struck that still fails, found by leaving out one fault at a time.
pub fn shrink(struck: &[(usize, &'static str, Fault)], fails: impl Fn(Plan) -> bool) -> BTreeMap<usize, Fault> {
    let mut kept: BTreeMap<usize, Fault> = struck.iter().map(|(at, _, fault)| (*at, *fault)).collect();
    loop {
        let smaller = kept.keys().copied().find_map(|at| {
            let mut without = kept.clone();
            without.remove(&at);
            fails(Plan::At(without.clone())).then_some(without)
        });
        match smaller {
            Some(smaller) => kept = smaller,
            None => return kept,
        }
    }
}
