//! The factory against a naive reference of it: the same worlds must come to the same ends, whatever crashes on the way.
//!
//! `SELVEDGE_SEEDS=<count>` compares more of them, `SELVEDGE_SEED=<seed>` one.

#![expect(clippy::unwrap_used, reason = "a test may be blunt")]

use std::collections::BTreeMap;

use selvedge_simulator::reference::{People, outcomes};
use selvedge_simulator::swarm::Options;
use selvedge_simulator::{Fault, Happening, Notebook, Plan, Random};

const SEEDS: u64 = 400;
/// More yeses than any of these worlds asks for.
const YESES: usize = 20;
/// So few that no run loses all its attempts to them.
const FAULTS_MAX: u64 = 2;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// A drawn world in which nothing happens but what the reference knows of.
fn world(seed: u64) -> (Options, People) {
    let mut options = Options::draw(seed);
    let people = if seed.is_multiple_of(2) { People::Grant } else { People::Absent };
    options.scenario.during_work.clear();
    options.scenario.when_idle = match people {
        People::Grant => vec![Happening::Grant; YESES],
        People::Absent => Vec::new(),
    };
    (options, people)
}

/// A fault or two that every run survives.
fn survivable(seed: u64, points: usize) -> Plan {
    let mut random = Random::new(seed);
    let faults: Vec<Fault> = Fault::ALL.iter().copied().filter(|fault| fault.is_survived()).collect();
    let points = u64::try_from(points).unwrap();
    let strikes = 0..=random.below(FAULTS_MAX);
    let strikes = strikes.map(|_| (usize::try_from(random.below(points)).unwrap(), random.pick(&faults).unwrap()));
    Plan::At(strikes.collect::<BTreeMap<_, _>>())
}

#[test]
fn the_factory_and_the_reference_agree() {
    let seeds = match number("SELVEDGE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SELVEDGE_SEEDS").unwrap_or(SEEDS),
    };
    let mut runs = 0;
    for seed in seeds {
        let (options, people) = world(seed);
        let expected = outcomes(&options.scenario, people);
        let calm = options.play_on(Plan::Calm, &Notebook::default());
        let struck = options.play_on(survivable(seed, calm.points.len()), &Notebook::default());
        for (how, ending) in [("calm", &calm), ("struck", &struck)] {
            let mut found = ending.outcomes();
            found.sort_unstable();
            assert_eq!(found, expected, "SELVEDGE_SEED={seed} {how} {:?} {people:?}\n{options}", ending.struck);
        }
        runs += expected.len();
    }
    eprintln!("{runs} runs compared");
}
