//! The oracle has teeth: one part of the world is broken at a time, and the sentence it violates says so.

#![expect(clippy::unwrap_used, reason = "a failing test is allowed to be blunt")]

use selvedge_simulator::{
    Break, Case, Ending, Fault, Notebook, Plan, Scenario, Simulation, calm, oracle, play, scenarios,
};

fn broken(scenario: &Scenario, plan: Plan, part: Break) -> Ending {
    let notebook = Notebook::default();
    play(&Simulation::new(scenario, plan, &notebook).breaking(part), scenario)
}

fn scenario(name: &str) -> Scenario {
    scenarios::all().into_iter().find(|scenario| scenario.name == name).unwrap()
}

/// Some fault at some point of `scenario` must make this sentence untrue.
fn caught_by(part: Break, name: &str, sentence: &str, fault: Option<Fault>) {
    let scenario = scenario(name);
    let sound = calm(&scenario);
    assert_eq!(oracle::violations(&sound), [], "unbroken, nothing is wrong");
    let plans: Vec<Plan> = match fault {
        None => vec![Plan::Calm],
        Some(fault) => Case::singles(&sound, &[fault]).into_iter().map(|case| Plan::At(case.strikes)).collect(),
    };
    let mut said = std::collections::BTreeSet::new();
    for plan in plans {
        said.extend(oracle::violations(&broken(&scenario, plan, part)).into_iter().map(|found| found.sentence));
    }
    assert!(said.contains(sentence), "{part:?} should violate `{sentence}` and violates {said:#?}");
}

const FIX: &str = "a change is proposed";

#[test]
fn a_journal_that_forgets_is_caught() {
    caught_by(Break::ForgetsDeeds, FIX, "a recorded deed is never done again", Some(Fault::CrashAfter));
}

#[test]
fn a_journal_that_swallows_decisions_is_caught() {
    caught_by(Break::SwallowsDecisions, FIX, "no act without an earlier recorded permit for the same order", None);
    caught_by(Break::SwallowsDecisions, FIX, "no deed without a recorded decision", None);
}

#[test]
fn a_lender_that_keeps_leases_is_caught() {
    caught_by(Break::KeepsLeases, FIX, "no live credential in a run that waits or has settled", None);
    let one = "a run holds one of each credential at a time, one more while it is renewed, and none while its result is checked";
    caught_by(Break::KeepsLeases, "credentials are renewed while the agent works", one, None);
    let waits = "an approval is granted";
    caught_by(Break::KeepsLeases, waits, "no live credential in a run that waits or has settled", None);
}

#[test]
fn a_lender_that_mints_for_a_lease_given_up_is_caught() {
    let sentence = "no live credential in a run that waits or has settled";
    caught_by(Break::MintsLate, FIX, sentence, Some(Fault::Stolen));
}

#[test]
fn a_lender_that_mints_a_spare_is_caught() {
    caught_by(Break::MintsASpare, FIX, "every credential was announced before it was made", None);
    caught_by(Break::MintsASpare, FIX, "every credential dies", None);
}

#[test]
fn a_lender_that_repeats_a_key_is_caught() {
    caught_by(Break::LeaksSecrets, FIX, "no secret is in any record", None);
}

#[test]
fn a_forge_that_proposes_twice_is_caught() {
    caught_by(Break::ProposesTwice, FIX, "at most one proposal per run, of exactly the verified commit", None);
}

#[test]
fn a_workplace_that_keeps_sandboxes_is_caught() {
    caught_by(Break::KeepsSandboxes, FIX, "no sandbox in a run that waits or has settled", None);
}

#[test]
fn a_door_that_does_not_ask_is_caught() {
    let sentence = "no act without an earlier recorded permit for the same order";
    caught_by(Break::IgnoresTheDoorkeeper, FIX, sentence, None);
}

#[test]
fn a_queue_that_forgets_is_caught() {
    caught_by(Break::LosesFollowUps, "a chain of three, one of them held", "what was queued is served", None);
}

#[test]
fn every_broken_part_is_caught_by_something() {
    for part in Break::ALL {
        let caught = scenarios::all().iter().any(|scenario| {
            let sound = calm(scenario);
            let struck = |case: Case| !oracle::violations(&broken(scenario, Plan::At(case.strikes), *part)).is_empty();
            !oracle::violations(&broken(scenario, Plan::Calm, *part)).is_empty()
                || Case::singles(&sound, &[Fault::CrashAfter, Fault::Stolen]).into_iter().any(struck)
        });
        assert!(caught, "{part:?}");
    }
}
