//! The crash matrix: every scenario × every fault point × every fault that can strike there, judged by the oracle.
//!
//! Replay one case with `SELVEDGE_CASE='<scenario>|<point>|<fault>' cargo test -p selvedge-simulator replay -- --nocapture`.

#![expect(clippy::print_stderr, reason = "a test run says how much it tried")]

use selvedge_simulator::{Case, Fault, calm, oracle, scenarios};

/// Plays every case with one of these faults and says how many there were.
fn every_case_with(faults: &[Fault]) {
    let (mut points, mut count, mut failed) = (0, 0, Vec::new());
    for scenario in scenarios::all() {
        let calm = calm(&scenario);
        if calm.ran_away {
            failed.push(format!("{}: never ends", scenario.name));
            continue;
        }
        points += calm.points.len();
        for case in Case::singles(&calm, faults) {
            count += 1;
            if let Err(because) = case.judge(&scenario, &calm, &case.run(&scenario)) {
                failed.push(because);
            }
        }
    }
    eprintln!("{faults:?}: {} scenarios, {points} points, {count} cases", scenarios::all().len());
    let shown: Vec<String> = failed.iter().take(12).cloned().collect();
    assert!(failed.is_empty(), "{} of {count} cases fail:\n{}", failed.len(), shown.join("\n"));
}

#[test]
fn every_scenario_ends_as_it_says() {
    let failed: Vec<String> = scenarios::all()
        .iter()
        .filter_map(|scenario| {
            let ending = calm(scenario);
            let violations = oracle::violations(&ending);
            (!violations.is_empty() || ending.outcomes() != scenario.outcomes)
                .then(|| format!("{}: {:?} {violations:#?}", scenario.name, ending.outcomes()))
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_step_survives_a_crash_before_it() {
    every_case_with(&[Fault::CrashBefore]);
}

#[test]
fn every_step_survives_a_crash_after_it() {
    every_case_with(&[Fault::CrashAfter]);
}

#[test]
fn every_step_may_repeat() {
    every_case_with(&[Fault::Repeated, Fault::AnswerLost]);
}

#[test]
fn every_failure_still_revokes() {
    every_case_with(&[Fault::Transient, Fault::Permanent]);
}

#[test]
fn a_stolen_claim_does_nothing_twice() {
    every_case_with(&[Fault::Stolen, Fault::StolenBriefly]);
}

#[test]
fn two_runs_may_cross_anywhere() {
    every_case_with(&[Fault::Elsewhere]);
}

#[test]
fn replay() {
    let Ok(line) = std::env::var("SELVEDGE_CASE") else { return };
    let (scenario, case) = Case::parse(&line).expect("`<scenario>|<point>|<fault>[|<point>|<fault>]`");
    let ending = case.run(&scenario);
    for (at, entry) in ending.written.iter().enumerate() {
        for moment in ending.history.iter().filter(|moment| moment.entries == at) {
            eprintln!("      {:?}", moment.fact);
        }
        eprintln!("{at:4} {:?}", entry.record);
    }
    eprintln!("struck: {:?}", ending.struck);
    case.judge(&scenario, &calm(&scenario), &ending).unwrap();
}
