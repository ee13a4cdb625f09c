//! Two faults: after every single one, a second strikes somewhere on the way that the first one led to.
//!
//! A sample by default; `SELVEDGE_PAIRS=all` plays every pair, some ten million, which takes more than an hour and belongs in a
//! nightly run; `SELVEDGE_PAIRS='<scenario>'` every pair of one scenario, and a number every so many faults of each kind.

#![expect(clippy::unwrap_used, reason = "a test may be blunt")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use selvedge_simulator::{Case, Ending, Fault, Scenario, calm, scenarios};

/// One first fault and one second fault in this many are sampled; prime, so that all kinds are met.
const SAMPLED: usize = 53;

/// Every second fault after this first one, or every so many of them: how many were played, and those that failed.
fn every_second(scenario: &Scenario, calm: &Ending, first: &Case, skip: usize, stride: usize) -> (usize, Vec<String>) {
    let last = first.strikes.keys().copied().max().unwrap_or(0);
    let seconds = Case::singles(&first.run(scenario), Fault::ALL);
    let later = seconds.into_iter().filter(|second| second.strikes.keys().all(|point| *point > last));
    let (mut count, mut failed) = (0, Vec::new());
    for mut case in later.skip(skip).step_by(stride) {
        case.strikes.extend(first.strikes.iter().map(|(point, fault)| (*point, *fault)));
        failed.extend(case.judge(scenario, calm, &case.run(scenario)).err());
        count += 1;
    }
    (count, failed)
}

/// The pairs of one scenario, each core taking the next first fault.
fn pairs_of(scenario: &Scenario, stride: usize) -> (usize, Vec<String>) {
    let calm = calm(scenario);
    let firsts: Vec<Case> = Case::singles(&calm, Fault::ALL).into_iter().step_by(stride).collect();
    let (next, done) = (AtomicUsize::new(0), Mutex::new((0, Vec::new())));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(first) = firsts.get(number) else { return };
            let (count, failed) = every_second(scenario, &calm, first, number % stride, stride);
            let mut done = done.lock().unwrap();
            done.0 += count;
            done.1.extend(failed);
        }
    };
    std::thread::scope(|threads| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        (0..cores).for_each(|_| drop(threads.spawn(work)));
    });
    done.into_inner().unwrap()
}

#[test]
fn every_pair_of_faults_is_survived() {
    let wanted = std::env::var("SELVEDGE_PAIRS").unwrap_or_default();
    let sampled = if wanted.is_empty() { Some(SAMPLED) } else { wanted.parse().ok().filter(|stride| *stride > 0) };
    let is_wanted = |scenario: &Scenario| sampled.is_some() || wanted == "all" || wanted == scenario.name;
    let (mut count, mut failed) = (0, Vec::new());
    for scenario in scenarios::all().into_iter().filter(is_wanted) {
        let (played, fails) = pairs_of(&scenario, sampled.unwrap_or(1));
        eprintln!("{}: {played} pairs of faults, {} fail", scenario.name, fails.len());
        count += played;
        failed.extend(fails);
    }
    eprintln!("{count} pairs of faults");
    let shown: Vec<String> = failed.iter().take(12).cloned().collect();
    assert!(failed.is_empty(), "{} of {count} pairs fail:\n{}", failed.len(), shown.join("\n"));
    assert!(count > 0, "`SELVEDGE_PAIRS={wanted}` names no scenario");
}
