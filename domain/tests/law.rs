//! The law of a run, enumerated: every stage beside every event, as one table a reviewer can read.

#![expect(clippy::unwrap_used, reason = "a test may be blunt")]

use selvedge_domain::{
    AgentName, ApprovalId, CheckReport, CommitId, Effect, Event, Intent, LeaseEvent, LeaseId, Lineage, Outcome, Person,
    RepoName, Revocation, Run, RunId, Task, TaskId, Time, TreeId, Trigger, TriggerId, TriggerSource, Verified,
    WaitKind, Witnessed,
};

fn trigger() -> Trigger {
    Trigger {
        id: TriggerId::from_entropy(1),
        source: TriggerSource::Command,
        by: selvedge_domain::Actor::Person(Person::from_uid(1000)),
        repo: RepoName::parse("acme/shop").unwrap(),
        agent: AgentName::parse("fixer").unwrap(),
        text: "fix it".to_owned(),
        argv: Vec::new(),
        lineage: Lineage::outside(),
    }
}

fn commit() -> CommitId {
    CommitId::parse(&"1".repeat(40)).unwrap()
}

fn verified() -> Verified {
    let report = CheckReport { tree: TreeId::parse(&"2".repeat(40)).unwrap(), commands: 1, failed: None, tests: None };
    Verified::judge(commit(), commit(), &report, &report).unwrap()
}

/// One event of each kind, twice where the law looks inside.
fn events() -> Vec<(&'static str, Event)> {
    let because = || "test".to_owned();
    let lease = LeaseId::from_entropy(1);
    let died = Event::LeaseChanged(lease, LeaseEvent::Died);
    let kind = WaitKind::Approval { approval: ApprovalId::from_entropy(1), order: "deploy".to_owned() };
    let task = Task { id: TaskId::from_entropy(1), trigger: trigger(), intent: Intent::ProposeChange, base: commit() };
    vec![
        ("admitted", Event::Admitted(Box::new(task))),
        ("lease_announced", Event::LeaseAnnounced(LeaseId::from_entropy(2))),
        ("lease_changed", died),
        ("attempt_began", Event::AttemptBegan { attempt: 1 }),
        ("attempt_lost", Event::AttemptLost { attempt: 1 }),
        (
            "worked",
            Event::Worked {
                effect: Effect::Nothing { because: because() },
                follow_ups: Vec::new(),
                seen: Witnessed::default(),
            },
        ),
        ("verified", Event::Verified(verified())),
        ("delivered changed", Event::Delivered(Outcome::Changed { what: because() })),
        ("delivered proposed", Event::Delivered(Outcome::Proposed(selvedge_domain::ProposalNumber::new(1)))),
        ("waited", Event::Waited { kind, since: Time::from_millis(0), until: Time::from_millis(1) }),
        ("parked", Event::Parked),
        ("resumed", Event::Resumed),
        ("ended", Event::Ended(Outcome::Failed { because: because() })),
        ("revoked", Event::Revoked),
        ("settled", Event::Settled),
    ]
}

/// A run in each stage, reached by legal moves only, with one dead lease behind it.
fn runs() -> Vec<Run> {
    let by_name = |name: &str| events().into_iter().find(|(n, _)| *n == name).unwrap().1;
    let paths: &[&[&str]] = &[
        &[],
        &["admitted"],
        &["admitted", "attempt_began"],
        &["admitted", "attempt_began", "worked"],
        &["admitted", "attempt_began", "worked", "verified"],
        &["admitted", "attempt_began", "worked", "verified", "delivered proposed"],
        &["admitted", "waited"],
        &["admitted", "waited", "parked"],
        &["ended"],
        &["ended", "revoked"],
        &["ended", "revoked", "settled"],
    ];
    paths
        .iter()
        .map(|path| {
            let begun = Run::begin(RunId::from_entropy(1), trigger());
            let run = path.iter().fold(begun, |run, name| run.apply(by_name(name)).unwrap());
            assert_eq!(run.leases().len(), 0);
            run
        })
        .collect()
}

#[test]
fn the_table_of_legal_moves_is_the_one_we_agreed_on() {
    let mut table = String::new();
    for run in runs() {
        for (name, event) in events() {
            // A lease no run announced is refused before the stage is asked; announce one where that is legal.
            let from = run.stage().name();
            let announced = run.clone().apply(Event::LeaseAnnounced(LeaseId::from_entropy(1)));
            let subject = if name == "lease_changed" { announced.unwrap_or(run.clone()) } else { run.clone() };
            if let Ok(after) = subject.apply(event) {
                table.push_str(&format!("{from:<10} {name:<19} {}\n", after.stage().name()));
            }
        }
    }
    let golden = include_str!("law.golden");
    assert_eq!(table, golden, "the law changed; if that is meant, put this in domain/tests/law.golden:\n{table}");
}

#[test]
fn a_run_neither_settles_nor_waits_while_a_lease_may_live() {
    let lease = LeaseId::from_entropy(7);
    let minted = LeaseEvent::Minted { revocation: Revocation::Immediate, expires: Time::from_millis(9) };
    let by_name = |name: &str| events().into_iter().find(|(n, _)| *n == name).unwrap().1;
    let admitted = Run::begin(RunId::from_entropy(1), trigger()).apply(by_name("admitted")).unwrap();
    let leased = admitted.apply(Event::LeaseAnnounced(lease.clone())).unwrap();
    for (leaving, arriving) in [("ended", "revoked"), ("waited", "parked")] {
        let announced = leased.clone().apply(by_name(leaving)).unwrap();
        assert!(announced.clone().apply(by_name(arriving)).is_err(), "announced, so it may exist");
        let live = announced.apply(Event::LeaseChanged(lease.clone(), minted)).unwrap();
        assert!(live.clone().apply(by_name(arriving)).is_err());
        let stuck = live.apply(Event::LeaseChanged(lease.clone(), LeaseEvent::RevokeFailed)).unwrap();
        assert!(stuck.clone().apply(by_name(arriving)).is_err());
        let dead = stuck.apply(Event::LeaseChanged(lease.clone(), LeaseEvent::Died)).unwrap();
        assert!(dead.apply(by_name(arriving)).is_ok());
    }
}

#[test]
fn attempts_are_counted_and_limited() {
    let by_name = |name: &str| events().into_iter().find(|(n, _)| *n == name).unwrap().1;
    let mut run = Run::begin(RunId::from_entropy(1), trigger()).apply(by_name("admitted")).unwrap();
    assert!(run.clone().apply(Event::AttemptBegan { attempt: 2 }).is_err());
    for attempt in 1..=3 {
        assert!(run.may_try_again());
        run = run.apply(Event::AttemptBegan { attempt }).unwrap();
        run = run.apply(Event::AttemptLost { attempt }).unwrap();
    }
    assert!(!run.may_try_again());
    assert!(run.apply(Event::AttemptBegan { attempt: 4 }).is_err());
}

#[test]
fn a_run_resumes_exactly_where_it_stood() {
    for run in runs() {
        let stood = run.stage().clone();
        let by_name = |name: &str| events().into_iter().find(|(n, _)| *n == name).unwrap().1;
        if let Ok(parking) = run.apply(by_name("waited")) {
            let resumed = parking.apply(by_name("parked")).unwrap().apply(by_name("resumed")).unwrap();
            assert_eq!(resumed.stage(), &stood);
        }
    }
}
