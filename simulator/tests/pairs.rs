//! Two faults: after every single one, a second strikes somewhere on the way that the first one led to.
//!
//! A sample by default; `SELVEDGE_PAIRS=all` plays every pair, which takes hours and belongs in a nightly run, and
//! `SELVEDGE_PAIRS='<scenario>'` every pair of one scenario.

use selvedge_simulator::{Case, Fault, Scenario, calm, scenarios};

/// One first fault and one second fault in this many are sampled; prime, so that all kinds are met.
const SAMPLED: usize = 53;

fn every_pair_of(scenario: &Scenario, stride: usize, failed: &mut Vec<String>) -> usize {
    let calm = calm(scenario);
    let mut count = 0;
    for (number, first) in Case::singles(&calm, Fault::ALL).into_iter().step_by(stride).enumerate() {
        let struck = first.run(scenario);
        let last = first.strikes.keys().copied().max().unwrap_or(0);
        let seconds = Case::singles(&struck, Fault::ALL);
        let later = seconds.into_iter().filter(|second| second.strikes.keys().all(|point| *point > last));
        for mut case in later.skip(number % stride).step_by(stride) {
            case.strikes.extend(first.strikes.iter().map(|(point, fault)| (*point, *fault)));
            failed.extend(case.judge(scenario, &calm, &case.run(scenario)).err());
            count += 1;
        }
    }
    count
}

#[test]
fn every_pair_of_faults_is_survived() {
    let wanted = std::env::var("SELVEDGE_PAIRS").unwrap_or_default();
    let (mut count, mut failed) = (0, Vec::new());
    for scenario in scenarios::all() {
        let (every, named) = (wanted == "all", wanted == scenario.name);
        if wanted.is_empty() || every || named {
            count += every_pair_of(&scenario, if every || named { 1 } else { SAMPLED }, &mut failed);
        }
    }
    eprintln!("{count} pairs of faults");
    let shown: Vec<String> = failed.iter().take(12).cloned().collect();
    assert!(failed.is_empty(), "{} of {count} pairs fail:\n{}", failed.len(), shown.join("\n"));
    assert!(count > 0, "`SELVEDGE_PAIRS={wanted}` names no scenario");
}
