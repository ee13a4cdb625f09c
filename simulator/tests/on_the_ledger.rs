//! The crash matrix once more, with the real ledger behind the store: its law, its queue, its fences, its projections.
//!
//! One case in [`SAMPLED`] runs by default; `SELVEDGE_LEDGER=all` runs every one, which takes minutes.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test may be blunt, and says how much it tried")]

use selvedge_simulator::{Books, Case, Ending, Fault, Plan, Scenario, Simulation, calm, oracle, play, scenarios};

/// How many cases stand for one another by default; odd, so that every fault is met at some point of every step.
const SAMPLED: usize = 13;

fn stride() -> usize {
    if std::env::var("SELVEDGE_LEDGER").is_ok_and(|which| which == "all") { 1 } else { SAMPLED }
}

fn calm_on_books(scenario: &Scenario) -> Ending {
    let books = Books::new(7).unwrap();
    play(&Simulation::new(scenario, Plan::Calm, &books), scenario)
}

fn every_case_with(faults: &[Fault]) {
    let (mut count, mut failed, stride) = (0, Vec::new(), stride());
    for (offset, scenario) in scenarios::all().into_iter().enumerate() {
        let calm = calm_on_books(&scenario);
        for case in Case::singles(&calm, faults).into_iter().skip(offset % stride).step_by(stride) {
            count += 1;
            let ending = case.run_on(&scenario, &Books::new(7).unwrap());
            failed.extend(case.judge(&scenario, &calm, &ending).err());
        }
    }
    eprintln!("on the ledger, {faults:?}: {} scenarios, {count} cases", scenarios::all().len());
    let shown: Vec<String> = failed.iter().take(12).cloned().collect();
    assert!(failed.is_empty(), "{} of {count} cases fail:\n{}", failed.len(), shown.join("\n"));
}

#[test]
fn the_ledger_and_the_notebook_agree() {
    for scenario in scenarios::all() {
        let (books, notebook) = (calm_on_books(&scenario), calm(&scenario));
        assert_eq!(oracle::violations(&books), [], "{}", scenario.name);
        assert_eq!(books.outcomes(), notebook.outcomes(), "{}", scenario.name);
        assert_eq!(books.points, notebook.points, "{}", scenario.name);
    }
}

#[test]
fn every_step_survives_a_crash() {
    every_case_with(&[Fault::CrashBefore, Fault::CrashAfter]);
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
    every_case_with(&[Fault::Stolen, Fault::StolenBriefly, Fault::Elsewhere]);
}
