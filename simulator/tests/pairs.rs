//! Two faults: after every single one, a second strikes somewhere on the way that the first one led to.
//!
//! A sample by default; `SELVEDGE_PAIRS=all` plays every pair, some ten million, which takes an hour or two and belongs in a
//! nightly run; `SELVEDGE_PAIRS='<scenario>'` every pair of one scenario, and a number every so many faults of each kind.

use std::sync::Mutex;

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
    let sampled = if wanted.is_empty() { Some(SAMPLED) } else { wanted.parse().ok().filter(|stride| *stride > 0) };
    let is_wanted = |scenario: &Scenario| sampled.is_some() || wanted == "all" || wanted == scenario.name;
    let stride = sampled.unwrap_or(1);
    let queue = Mutex::new(scenarios::all().into_iter().filter(is_wanted).collect::<Vec<_>>());
    let done = Mutex::new((0, Vec::new()));
    // One scenario knows nothing of another, and each says when it is through: all of them take hours.
    let work = || {
        while let Some(scenario) = { queue.lock().unwrap().pop() } {
            let mut failed = Vec::new();
            let count = every_pair_of(&scenario, stride, &mut failed);
            eprintln!("{}: {count} pairs of faults, {} fail", scenario.name, failed.len());
            let mut done = done.lock().unwrap();
            done.0 += count;
            done.1.extend(failed);
        }
    };
    std::thread::scope(|threads| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        (0..cores).for_each(|_| drop(threads.spawn(work)));
    });
    let (count, failed) = done.into_inner().unwrap();
    eprintln!("{count} pairs of faults");
    let shown: Vec<String> = failed.iter().take(12).cloned().collect();
    assert!(failed.is_empty(), "{} of {count} pairs fail:\n{}", failed.len(), shown.join("\n"));
    assert!(count > 0, "`SELVEDGE_PAIRS={wanted}` names no scenario");
}
