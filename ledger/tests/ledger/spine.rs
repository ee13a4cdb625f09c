//! One run from its trigger to its end, the queue, the law at the store's door, and everything again after reopening.

use selvedge_authority::{Class, HaltScope, Hold, Journal, JournalError, Lapse, Observation, Record, Relinquished};
use selvedge_domain::{
    ApprovalId, Deed, Description, Digest, Event, Order, Outcome, Person, ProposalNumber, Stage, Time, WaitKind,
};
use selvedge_ledger::{ApprovalState, Enqueued, Ledger, ProposalState, Refusal, Reply, WriteError};

use crate::support::*;

#[test]
fn a_run_is_queued_claimed_walked_and_is_the_same_after_reopening() {
    let place = Place::new();
    let ledger = place.open();
    assert_eq!(ledger.queue().enqueue(&trigger(1), time(1)).unwrap(), Enqueued::Now);
    assert_eq!(ledger.queue().enqueue(&trigger(1), time(2)).unwrap(), Enqueued::Before, "queueing is safe to repeat");
    assert_eq!(ledger.queue().waiting(10).unwrap(), [trigger(1)]);
    let claim = ledger.queue().claim(time(10), LEASE).unwrap().unwrap();
    assert_eq!(ledger.queue().claim(time(10), LEASE).unwrap(), None, "a claimed run is nobody else's");
    assert!(matches!(ledger.queue().complete(&claim), Err(WriteError::Refused(Refusal::NotSettled { .. }))));
    let number = walk(&ledger, &claim, 100);
    ledger.queue().complete(&claim).unwrap();
    let (run, head) = (ledger.load_run(&claim.run).unwrap(), ledger.head().unwrap());
    assert_eq!(run.as_ref().map(|run| run.stage().clone()), Some(Stage::Settled(Outcome::Proposed(number))));
    assert_eq!(ledger.check_projections().unwrap(), Vec::<&str>::new());
    drop(ledger);

    let ledger = place.open();
    assert_eq!(ledger.load_run(&claim.run).unwrap(), run);
    assert_eq!(ledger.head().unwrap(), head);
    assert_eq!(ledger.run_of(&trigger(1).id).unwrap(), Some(claim.run.clone()));
    let summary = ledger.run_summary(&claim.run).unwrap().unwrap();
    assert_eq!((summary.stage.as_str(), summary.outcome.as_deref()), ("settled", Some("proposed")));
    assert_eq!(ledger.runs(10).unwrap(), [summary]);
    assert!(ledger.open_runs().unwrap().is_empty() && ledger.live_leases().unwrap().is_empty());
    let proposal = ledger.proposal(&repo(), number).unwrap().unwrap();
    assert_eq!(
        (proposal.commit, proposal.title.as_str(), proposal.state),
        (commit('1'), "Fix it", ProposalState::Open)
    );
    assert_eq!(ledger.entries(0, None).count() as u64, head.size);
    assert!(ledger.entries(0, Some(claim.run.clone())).all(|r| r.unwrap().entry.run == Some(claim.run.clone())));
    ledger.rebuild_projections().unwrap();
    assert_eq!(ledger.check_projections().unwrap(), Vec::<&str>::new());
}

#[test]
fn what_was_read_in_a_run_is_known_of_it_before_and_after_reopening_a78_a56() {
    let place = Place::new();
    let ledger = place.open();
    for id in [1, 2] {
        ledger.queue().enqueue(&trigger(id), time(1)).unwrap();
    }
    let [reads, other] = [10, 11].map(|at| ledger.queue().claim(time(at), LEASE).unwrap().unwrap().run);
    let has_read = |ledger: &Ledger| [&reads, &other].map(|run| ledger.load_run(run).unwrap().unwrap().has_read());
    let observe = |run, observation| {
        ledger.append_entry(entry(20, Some(run), Record::Observed(observation)), Class::Observed).unwrap();
    };
    // It speaks of one, and is none.
    observe(&other, Observation::Finding { code: "sensitive_read".to_owned(), detail: "sensitive_read".to_owned() });
    assert_eq!(has_read(&ledger), [false, false]);
    observe(&reads, Observation::SensitiveRead { path: ".env".to_owned() });
    assert_eq!(has_read(&ledger), [true, false]);
    drop(ledger);
    let ledger = place.open();
    assert_eq!(has_read(&ledger), [true, false]);
    ledger.rebuild_projections().unwrap();
    assert_eq!(ledger.check_projections().unwrap(), Vec::<&str>::new());
    ledger
        .append_entry(happened(30, &reads, Event::Ended(Outcome::Failed { because: "x".to_owned() })), Class::Durable)
        .unwrap();
    assert_eq!(has_read(&ledger), [true, false], "it goes on being so");
}

#[test]
fn a_worker_whose_claim_was_taken_over_cannot_write_any_more() {
    let place = Place::new();
    let ledger = place.open();
    ledger.queue().enqueue(&trigger(1), time(1)).unwrap();
    let first = ledger.queue().claim(time(10), LEASE).unwrap().unwrap();
    let append = |claim, at| ledger.claimed(claim).append(not_done(at, Some(&first.run), "x"), Class::Durable);
    append(&first, 11).unwrap();
    ledger.queue().heartbeat(&first, time(900), LEASE).unwrap();
    assert_eq!(ledger.queue().next_due().unwrap(), Some(time(1_900)));
    assert_eq!(ledger.queue().claim(time(1_899), LEASE).unwrap(), None);
    append(&first, 1_950).unwrap();
    let second = ledger.queue().claim(time(1_900), LEASE).unwrap().unwrap();
    assert_eq!((&second.run, second.epoch, second.taken_over), (&first.run, 2, true));
    assert_eq!(append(&first, 1_960), Err(JournalError::Fenced));
    assert!(ledger.queue().heartbeat(&first, time(1_960), LEASE).is_err());
    assert!(ledger.queue().complete(&first).is_err());
    append(&second, 1_970).unwrap();
    let elsewhere = not_done(1_980, None, "x");
    assert_eq!(
        ledger.claimed(&second).append(elsewhere, Class::Durable),
        Err(JournalError::Fenced),
        "only its own run"
    );
    ledger.queue().release(&second, time(3_000)).unwrap();
    assert_eq!(append(&second, 1_990), Err(JournalError::Fenced), "what was let go is gone");
    assert_eq!(ledger.queue().claim(time(2_999), LEASE).unwrap(), None);
    assert!(ledger.queue().claim(time(3_000), LEASE).unwrap().is_some());
    assert_eq!(ledger.queue().reap().unwrap(), 1, "a keeper that starts takes every hold away");
    assert!(ledger.queue().claim(time(3_001), LEASE).unwrap().is_some());
}

#[test]
fn what_the_law_forbids_is_not_written() {
    let place = Place::new();
    let ledger = place.open();
    ledger.queue().enqueue(&trigger(1), time(1)).unwrap();
    let claim = ledger.queue().claim(time(10), LEASE).unwrap().unwrap();
    let before = ledger.head().unwrap();
    let refused = |entry| matches!(ledger.append_entry(entry, Class::Durable), Err(WriteError::Refused(_)));
    assert!(refused(happened(11, &claim.run, Event::Settled)), "a run cannot settle before it was revoked");
    assert!(refused(happened(11, &selvedge_domain::RunId::from_entropy(99), Event::Parked)), "it never began");
    assert!(refused(entry(11, None, Record::Happened(Event::Parked))), "of no run");
    assert!(refused(entry(11, Some(&claim.run), Record::RunBegan { trigger: trigger(1).id })), "twice");
    assert!(refused(entry(11, None, Record::Triggered(Box::new(trigger(1))))), "queued before");
    let mut other = trigger(1);
    other.text.push('!');
    assert!(ledger.queue().enqueue(&other, time(12)).is_err(), "an id stands for one text (A-102)");
    let order = open_proposal(&claim.run);
    let done = |digest: Digest, deed| Record::Done { order: digest, verb: selvedge_domain::Verb::ProposalOpen, deed };
    let opened = done(order.describe().digest(), Deed::Opened(ProposalNumber::new(1)));
    assert!(refused(entry(12, Some(&claim.run), opened)), "a deed without a decision");
    assert_eq!(ledger.head().unwrap(), before, "nothing of a refused entry remains");
}

#[test]
fn a_deed_is_recalled_for_its_run_and_never_recorded_twice() {
    let place = Place::new();
    let ledger = place.open();
    ledger.queue().enqueue(&trigger(1), time(1)).unwrap();
    ledger.queue().enqueue(&trigger(2), time(1)).unwrap();
    let one = ledger.queue().claim(time(10), LEASE).unwrap().unwrap();
    let two = ledger.queue().claim(time(10), LEASE).unwrap().unwrap();
    let order = open_proposal(&one.run);
    let digest = order.describe().digest();
    assert_eq!(ledger.recall(&one.run, &digest).unwrap(), None);
    let number = ledger.proposal_number(&repo(), &one.run).unwrap();
    assert_eq!(ledger.proposal_number(&repo(), &one.run).unwrap(), number, "asking again changes nothing");
    assert_ne!(ledger.proposal_number(&repo(), &two.run).unwrap(), number);
    decide_and_do(&ledger, 20, Some(&one.run), &order, Deed::Opened(number)).unwrap();
    assert_eq!(ledger.recall(&one.run, &digest).unwrap(), Some(Deed::Opened(number)));
    assert_eq!(ledger.recall(&two.run, &digest).unwrap(), None);
    assert!(decide_and_do(&ledger, 21, Some(&one.run), &order, Deed::Opened(number)).is_err());
    let stolen = decide_and_do(&ledger, 22, Some(&two.run), &open_proposal(&two.run), Deed::Opened(number));
    assert!(matches!(stolen, Err(WriteError::Refused(Refusal::ProposalTaken { .. }))));
    let mut reworded = order;
    reworded.title.push('!');
    let again = decide_and_do(&ledger, 23, Some(&one.run), &reworded, Deed::Opened(number));
    assert!(matches!(again, Err(WriteError::Refused(Refusal::ProposalTaken { .. }))), "one number, one proposal");
    assert_eq!(ledger.check_projections().unwrap(), Vec::<&str>::new());
}

#[test]
fn a_yes_counts_for_its_order_once_and_until_it_expires_a72_a75_a76() {
    let place = Place::new();
    let ledger = place.open();
    ledger.queue().enqueue(&trigger(1), time(1)).unwrap();
    let claim = ledger.queue().claim(time(10), LEASE).unwrap().unwrap();
    let run = &claim.run;
    let order = open_proposal(run);
    let (described, digest) = (order.describe(), order.describe().digest());
    let ask = |id: u64, at: u64, until: u64| {
        let asked = Record::ApprovalAsked {
            approval: ApprovalId::from_entropy(id),
            order: described.clone(),
            until: time(until),
        };
        ledger.append_entry(entry(at, Some(run), asked), Class::Durable).unwrap();
        ApprovalId::from_entropy(id)
    };
    let say_yes = |id: &ApprovalId, order: Digest, at: u64, until: u64| {
        decide_and_do(&ledger, at, None, &grant(id, run, order, until), Deed::Approved).unwrap();
    };
    let usable = |now: u64| ledger.approval(&digest, time(now)).unwrap().map(|approval| approval.id);
    let state = |id: &ApprovalId, now: u64| ledger.approval_request(id, time(now)).unwrap().unwrap().state;

    let late = ask(1, 20, 30);
    assert_eq!(state(&late, 30), ApprovalState::Asked);
    assert_eq!(state(&late, 31), ApprovalState::Lapsed);
    say_yes(&late, digest, 31, 90);
    assert_eq!(usable(32), None, "a yes after the request lapsed is no yes (A-75)");

    let other = ask(2, 40, 100);
    say_yes(&other, Digest::of_parts([b"other bytes".as_slice()]), 41, 90);
    assert_eq!(usable(42), None, "a yes binds exact bytes (A-72)");
    ledger.append_entry(entry(43, None, Record::ApprovalDenied { approval: other.clone() }), Class::Durable).unwrap();
    say_yes(&other, digest, 44, 91);
    assert_eq!((usable(45), state(&other, 45)), (None, ApprovalState::Denied), "a no stays a no");

    let third = ask(3, 50, 100);
    assert_eq!(ledger.open_approvals(time(51)).unwrap().len(), 1);
    say_yes(&third, digest, 51, 60);
    assert_eq!(usable(60), Some(third.clone()));
    assert_eq!(usable(61), None, "it expired");
    let number = ledger.proposal_number(&repo(), run).unwrap();
    decide_and_do(&ledger, 55, Some(run), &order, Deed::Opened(number)).unwrap();
    assert_eq!(usable(56), None, "one yes, one deed (A-76)");
    assert!(matches!(state(&third, 56), ApprovalState::Used { .. }));
    assert_eq!(ledger.check_projections().unwrap(), Vec::<&str>::new());
}

#[test]
fn what_lapsed_on_record_is_answered_by_nobody_though_its_hour_has_not_come_a75() {
    let place = Place::new();
    let ledger = place.open();
    ledger.queue().enqueue(&trigger(1), time(1)).unwrap();
    let claim = ledger.queue().claim(time(10), LEASE).unwrap().unwrap();
    let order = open_proposal(&claim.run).describe();
    for (id, answers_first, lapse) in
        [(1, false, Lapse::TimedOut), (2, true, Lapse::Ended { because: "halted".to_owned() })]
    {
        let approval = ApprovalId::from_entropy(id);
        let asked = Record::ApprovalAsked { approval: approval.clone(), order: order.clone(), until: time(1_000) };
        ledger.append_entry(entry(20, Some(&claim.run), asked), Class::Durable).unwrap();
        let say_yes = |at| {
            let yes = grant(&approval, &claim.run, order.digest(), 900);
            decide_and_do(&ledger, at, None, &yes, Deed::Approved).unwrap();
        };
        if answers_first {
            say_yes(25);
        }
        let lapsed = Record::Held(Hold::Lapsed { approval: approval.clone(), lapse });
        ledger.append_entry(entry(30, Some(&claim.run), lapsed), Class::Durable).unwrap();
        if !answers_first {
            say_yes(35);
        }
        assert_eq!(ledger.approval(&order.digest(), time(40)).unwrap(), None);
        let state = ledger.approval_request(&approval, time(40)).unwrap().unwrap().state;
        assert_eq!((state, ledger.open_approvals(time(40)).unwrap().len()), (ApprovalState::Lapsed, 0));
    }
    assert_eq!(ledger.check_projections().unwrap(), Vec::<&str>::new());
}

#[test]
fn the_first_words_in_time_answer_exactly_the_question_that_was_asked_a72_a75() {
    let place = Place::new();
    let ledger = place.open();
    ledger.queue().enqueue(&trigger(1), time(1)).unwrap();
    let claim = ledger.queue().claim(time(10), LEASE).unwrap().unwrap();
    let order = question(&claim.run).describe();
    let say = |approval: &ApprovalId, at: u64, order: Digest, answer: &str| {
        decide_and_do(&ledger, at, None, &words(approval, &claim.run, order, answer), Deed::Replied).unwrap();
    };
    let state = |approval: &ApprovalId| ledger.approval_request(approval, time(40)).unwrap().unwrap().state;
    let ask = |id: u64, until: u64| {
        let approval = ApprovalId::from_entropy(id);
        let asked = Record::ApprovalAsked { approval: approval.clone(), order: order.clone(), until: time(until) };
        ledger.append_entry(entry(20, Some(&claim.run), asked), Class::Durable).unwrap();
        approval
    };
    let (first, late) = (ask(1, 1_000), ask(2, 21));
    say(&first, 25, Digest::of_parts([b"another".as_slice()]), "to nothing");
    assert_eq!(state(&first), ApprovalState::Asked, "words on other bytes answer nothing");
    say(&first, 26, order.digest(), "the second");
    say(&first, 27, order.digest(), "the first");
    say(&late, 30, order.digest(), "too late");
    let reply = Reply { by: Person::from_uid(1001), at: time(26), words: "the second".to_owned() };
    assert_eq!((state(&first), state(&late)), (ApprovalState::Answered(reply), ApprovalState::Lapsed));
    assert_eq!(ledger.approval(&order.digest(), time(40)).unwrap(), None, "nothing may be done by it");
    assert_eq!(ledger.check_projections().unwrap(), Vec::<&str>::new());
}

#[test]
fn what_was_asked_in_a_turn_lapses_with_its_attempt_a72_c8() {
    let place = Place::new();
    let ledger = place.open();
    ledger.queue().enqueue(&trigger(1), time(1)).unwrap();
    let claim = ledger.queue().claim(time(10), LEASE).unwrap().unwrap();
    let journal = ledger.claimed(&claim);
    for event in [admitted(&ledger, &claim.run, 1), Event::AttemptBegan { attempt: 1 }] {
        journal.append(happened(20, &claim.run, event), Class::Durable).unwrap();
    }
    for (id, order) in [(1, question(&claim.run).describe()), (2, open_proposal(&claim.run).describe())] {
        let asked = Record::ApprovalAsked { approval: ApprovalId::from_entropy(id), order, until: time(1_000) };
        journal.append(entry(21, Some(&claim.run), asked), Class::Durable).unwrap();
    }
    journal.append(happened(30, &claim.run, Event::AttemptLost { attempt: 1 }), Class::Durable).unwrap();
    let open: Vec<_> = ledger.open_approvals(time(40)).unwrap().into_iter().map(|request| request.id).collect();
    assert_eq!(open, [ApprovalId::from_entropy(2)]);
    assert_eq!(ledger.check_projections().unwrap(), Vec::<&str>::new());
}

#[test]
fn a_request_whose_run_is_over_is_open_to_nobody_a72() {
    let place = Place::new();
    let ledger = place.open();
    ledger.queue().enqueue(&trigger(1), time(1)).unwrap();
    let claim = ledger.queue().claim(time(10), LEASE).unwrap().unwrap();
    let approval = ApprovalId::from_entropy(1);
    let order = open_proposal(&claim.run).describe();
    let asked = Record::ApprovalAsked { approval: approval.clone(), order, until: time(1_000) };
    let journal = ledger.claimed(&claim);
    journal.append(entry(20, Some(&claim.run), asked), Class::Durable).unwrap();
    let seen = || {
        let open: Vec<_> = ledger.open_approvals(time(30)).unwrap().into_iter().map(|request| request.id).collect();
        (open, ledger.approval_request(&approval, time(30)).unwrap().unwrap().state)
    };
    assert_eq!(seen(), (vec![approval.clone()], ApprovalState::Asked));
    for event in [Event::Ended(Outcome::Halted { because: "halted".to_owned() }), Event::Revoked, Event::Settled] {
        journal.append(happened(25, &claim.run, event), Class::Durable).unwrap();
        assert_eq!(seen(), (Vec::new(), ApprovalState::Outlived));
    }
    assert_eq!(ledger.check_projections().unwrap(), Vec::<&str>::new());
}

#[test]
fn asking_again_is_the_same_request_and_answers_still_count() {
    let place = Place::new();
    let ledger = place.open();
    ledger.queue().enqueue(&trigger(1), time(1)).unwrap();
    let claim = ledger.queue().claim(time(10), LEASE).unwrap().unwrap();
    let run = &claim.run;
    let order = open_proposal(run).describe();
    let digest = order.digest();
    let ask = |id: u64, order: &Description, at: u64, until: u64| {
        let approval = ApprovalId::from_entropy(id);
        let asked = Record::ApprovalAsked { approval, order: order.clone(), until: time(until) };
        ledger.append_entry(entry(at, Some(run), asked), Class::Durable).map(drop)
    };
    let state =
        |id: u64, now| ledger.approval_request(&ApprovalId::from_entropy(id), time(now)).unwrap().unwrap().state;
    ask(1, &order, 20, 30).unwrap();
    ask(1, &order, 40, 50).expect("a crash between asking and waiting asks again");
    assert_eq!(state(1, 45), ApprovalState::Asked, "with a new deadline");
    let mut other = open_proposal(run);
    other.title.push('!');
    let reused = ask(1, &other.describe(), 41, 50);
    assert!(matches!(reused, Err(WriteError::Refused(Refusal::InUse { .. }))), "never for other bytes (A-72)");

    decide_and_do(&ledger, 45, None, &grant(&ApprovalId::from_entropy(1), run, digest, 60), Deed::Approved).unwrap();
    ask(1, &order, 50, 100).unwrap();
    assert!(matches!(state(1, 50), ApprovalState::Granted { .. }), "a yes that can be used is not lost");
    ask(1, &order, 61, 100).unwrap();
    assert_eq!(state(1, 61), ApprovalState::Asked, "a yes that expired is asked for again");
    assert_eq!(ledger.approval(&digest, time(61)).unwrap(), None);
    let denied = Record::ApprovalDenied { approval: ApprovalId::from_entropy(1) };
    ledger.append_entry(entry(62, Some(run), denied), Class::Durable).unwrap();
    ask(1, &order, 63, 100).unwrap();
    assert_eq!(state(1, 63), ApprovalState::Denied, "a no stays a no");
    assert_eq!(ledger.check_projections().unwrap(), Vec::<&str>::new());
}

#[test]
fn a_waiting_run_is_nobody_s_until_it_is_answered_or_gives_up() {
    for (answered, claimable_from) in [(true, 50), (false, 1_000)] {
        let place = Place::new();
        let ledger = place.open();
        ledger.queue().enqueue(&trigger(1), time(1)).unwrap();
        let claim = ledger.queue().claim(time(10), LEASE).unwrap().unwrap();
        let approval = ApprovalId::from_entropy(1);
        let order = open_proposal(&claim.run).describe();
        let asked = Record::ApprovalAsked { approval: approval.clone(), order: order.clone(), until: time(1_000) };
        let kind = WaitKind::Approval { approval: approval.clone(), order: "open a proposal".to_owned() };
        let waited = Event::Waited { kind, since: time(20), until: time(1_000) };
        let journal = ledger.claimed(&claim);
        journal.append(entry(20, Some(&claim.run), asked), Class::Durable).unwrap();
        journal.append(happened(20, &claim.run, waited), Class::Durable).unwrap();
        journal.append(happened(21, &claim.run, Event::Parked), Class::Durable).unwrap();
        ledger.queue().release(&claim, time(21)).unwrap();
        let waiting = ledger.run_summary(&claim.run).unwrap().unwrap().waiting.unwrap();
        assert_eq!((waiting.approval, waiting.until), (approval.clone(), time(1_000)), "every stall speaks");
        assert_eq!(ledger.queue().claim(time(40), LEASE).unwrap(), None);
        assert_eq!(ledger.queue().next_due().unwrap(), Some(time(1_000)));
        if answered {
            let yes = grant(&approval, &claim.run, order.digest(), 900);
            decide_and_do(&ledger, 45, None, &yes, Deed::Approved).unwrap();
        }
        assert!(answered || ledger.queue().claim(time(999), LEASE).unwrap().is_none());
        let again = ledger.queue().claim(time(claimable_from), LEASE).unwrap().unwrap();
        assert_eq!((&again.run, again.taken_over), (&claim.run, true));
        assert_eq!(ledger.check_projections().unwrap(), Vec::<&str>::new());
    }
}

#[test]
fn a_halt_stops_new_runs_in_its_scope_and_nothing_else() {
    let place = Place::new();
    let ledger = place.open();
    let say = |at, act| ledger.append_entry(entry(at, None, Record::Relinquished(act)), Class::Durable).unwrap();
    ledger.queue().enqueue(&trigger(1), time(1)).unwrap();
    say(2, Relinquished::Halted(HaltScope::Repo(repo())));
    assert_eq!(ledger.halts().unwrap(), [HaltScope::Repo(repo())]);
    assert_eq!(ledger.queue().claim(time(3), LEASE).unwrap(), None);
    say(4, Relinquished::Resumed(HaltScope::Repo(repo())));
    say(4, Relinquished::Halted(HaltScope::Agent(selvedge_domain::AgentName::parse("other").unwrap())));
    let claim = ledger.queue().claim(time(5), LEASE).unwrap().unwrap();
    assert!(!ledger.is_halted(&claim.run, &agent(), &repo()).unwrap());
    say(6, Relinquished::Halted(HaltScope::All));
    assert!(ledger.is_halted(&claim.run, &agent(), &repo()).unwrap());
    let again = ledger.queue().claim(time(5_000), LEASE).unwrap();
    assert_eq!(again.map(|claim| claim.taken_over), Some(true), "somebody has to end a halted run");
}

#[test]
fn a_clock_that_was_set_back_is_flagged_and_order_stays() {
    let place = Place::new();
    let ledger = place.open();
    for at in [100, 50, 60] {
        ledger.append_entry(not_done(at, None, "x"), Class::Ordered).unwrap();
    }
    assert_eq!(ledger.last_at(), Some(Time::from_millis(60)));
    let flags: Vec<bool> = ledger.entries(0, None).map(|recorded| recorded.unwrap().clock_back).collect();
    assert_eq!(flags, [false, true, false]);
}

#[test]
fn a_reader_can_wait_for_more() {
    let place = Place::new();
    let ledger = place.open();
    let waiting = ledger.clone();
    let reader = std::thread::spawn(move || waiting.wait_after(0, std::time::Duration::from_secs(60)));
    ledger.append_entry(not_done(1, None, "x"), Class::Ordered).unwrap();
    assert_eq!(reader.join().unwrap(), 1);
    assert_eq!(ledger.wait_after(5, std::time::Duration::ZERO), 1);
}
