//! Random worlds under random faults: nothing untrue while they strike, everything settled once they stop, and the same
//! seed writes the same log.
//!
//! `SELVEDGE_SEEDS=<count>` plays more of them, `SELVEDGE_SEED=<seed>` plays one and shows what it drew.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may be blunt")]

use selvedge_simulator::swarm::{Options, shrink};
use selvedge_simulator::{Books, Ending, Notebook, Plan, oracle};

/// How many seeds an ordinary run plays; nightly plays many more.
const SEEDS: u64 = 1500;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

fn seeds(ordinary: u64) -> std::ops::Range<u64> {
    match number("SELVEDGE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SELVEDGE_SEEDS").unwrap_or(ordinary),
    }
}

/// Fails with the seed, what it drew, and the least that has to go wrong.
fn judge(options: &Options, ending: &Ending) {
    let found = oracle::violations(ending);
    let Some(first) = found.first() else { return };
    let fails = |plan: Plan| {
        let again = options.play_on(plan, &Notebook::default());
        oracle::violations(&again).iter().any(|violation| violation.sentence == first.sentence)
    };
    let least = shrink(&ending.struck, fails);
    panic!("SELVEDGE_SEED={}: {found:#?}\nleast: {least:?}\n{options}", options.seed);
}

#[test]
fn every_seed_is_safe_and_then_settles() {
    let (mut played, mut struck, mut entries) = (0, 0, 0);
    for seed in seeds(SEEDS) {
        let options = Options::draw(seed);
        if number("SELVEDGE_SEED").is_some() {
            eprintln!("{options}");
        }
        let first = options.play_on(options.plan(), &Notebook::default());
        judge(&options, &first);
        let again = options.play_on(options.plan(), &Notebook::default());
        assert_eq!(first.digest(), again.digest(), "seed {seed} wrote two different logs");
        played += 1;
        struck += first.struck.len();
        entries += first.written.len();
    }
    eprintln!("{played} seeds, {struck} faults, {entries} entries");
}

#[test]
fn every_seed_is_safe_on_the_ledger() {
    for seed in seeds(SEEDS / 20) {
        let options = Options::draw(seed);
        let play = || options.play_on(options.plan(), &Books::new(seed).unwrap());
        let first = play();
        judge(&options, &first);
        assert_eq!(first.digest(), play().digest(), "seed {seed} wrote two different logs");
    }
}

#[test]
fn a_seed_means_the_same_tomorrow() {
    assert_eq!(format!("{:?}", Options::draw(7)), format!("{:?}", Options::draw(7)));
    assert_ne!(Options::draw(7).scenario.triggers, Options::draw(8).scenario.triggers);
}
