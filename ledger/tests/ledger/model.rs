//! Random queueing, claiming, appending and restarting against a naive model of it: lists, and nothing else.

use selvedge_authority::{Class, Journal, JournalError};
use selvedge_domain::{Event, Outcome, RunId};
use selvedge_ledger::{Claim, Ledger, OpenOptions, Refusal, WriteError, danger};

use crate::support::*;

/// A small generator, so that a failing seed replays (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.roll(count as u64)).unwrap()
    }
}

#[derive(Default)]
struct Model {
    queued: Vec<u64>,
    known: Vec<u64>,
    runs: Vec<ModelRun>,
    entries: u64,
}

struct ModelRun {
    id: RunId,
    steps: usize,
    epoch: u64,
    until: Option<u64>,
    completed: bool,
}

const STEPS: usize = 3;

fn step(number: usize) -> Event {
    let because = "model".to_owned();
    match number {
        0 => Event::Ended(Outcome::Failed { because }),
        1 => Event::Revoked,
        _ => Event::Settled,
    }
}

impl Model {
    fn claim(&mut self, now: u64, got: Option<&Claim>) {
        let free = |run: &&mut ModelRun| run.steps < STEPS && run.until.is_none_or(|until| until <= now);
        let until = Some(now + 1_000);
        if let Some(run) = self.runs.iter_mut().find(free) {
            let got = got.expect("the model knows a run that nobody holds");
            (run.epoch, run.until) = (run.epoch + 1, until);
            assert_eq!((&got.run, got.epoch, got.taken_over), (&run.id, run.epoch, true));
        } else if self.queued.is_empty() {
            assert_eq!(got, None);
        } else {
            let got = got.expect("the model knows a trigger that nothing serves");
            assert_eq!(got.trigger, trigger(self.queued.remove(0)).id, "first come, first served");
            self.runs.push(ModelRun { id: got.run.clone(), steps: 0, epoch: 1, until, completed: false });
            self.entries += 1;
        }
    }

    fn holds(&mut self, claim: &Claim) -> Option<&mut ModelRun> {
        self.runs.iter_mut().find(|run| run.id == claim.run && run.epoch == claim.epoch && !run.completed)
    }
}

fn is_fenced<T>(outcome: &Result<T, WriteError>) -> bool {
    matches!(outcome, Err(WriteError::Refused(Refusal::Fenced { .. })))
}

/// Plays `turns` random turns; `restart` gives the ledger back after a crash.
fn play(seed: u64, turns: u64, mut ledger: Ledger, mut restart: impl FnMut(Ledger) -> Ledger) -> [u8; 32] {
    let (mut dice, mut model, mut claims, mut now) = (Dice(seed), Model::default(), Vec::<Claim>::new(), 0);
    for turn in 0..turns {
        now += dice.roll(400);
        let pick = dice.roll(100);
        let chosen = (!claims.is_empty()).then(|| claims[dice.below(claims.len())].clone());
        match (pick, chosen) {
            (0..20, _) => {
                let id = dice.roll(40);
                ledger.queue().enqueue(&trigger(id), time(now)).unwrap();
                if !model.known.contains(&id) {
                    model.known.push(id);
                    model.queued.push(id);
                    model.entries += 1;
                }
            }
            (20..45, _) => {
                let got = ledger.queue().claim(time(now), LEASE).unwrap();
                model.claim(now, got.as_ref());
                claims.extend(got);
            }
            (45..55, Some(claim)) => {
                let outcome = ledger.queue().heartbeat(&claim, time(now), LEASE);
                let held = model.holds(&claim).map(|run| run.until = Some(now + 1_000));
                assert_eq!(is_fenced(&outcome), held.is_none(), "turn {turn}");
            }
            (55..60, Some(claim)) => {
                let outcome = ledger.queue().release(&claim, time(now + 50));
                let held = model.holds(&claim).map(|run| (run.epoch, run.until) = (run.epoch + 1, Some(now + 50)));
                assert_eq!(is_fenced(&outcome), held.is_none(), "turn {turn}");
            }
            (60..85, Some(claim)) => {
                let number = dice.below(STEPS);
                let outcome = ledger.claimed(&claim).append(happened(now, &claim.run, step(number)), Class::Ordered);
                let mut written = 0;
                match model.holds(&claim) {
                    None => assert_eq!(outcome, Err(JournalError::Fenced)),
                    Some(run) if run.steps == number => {
                        assert_eq!(outcome, Ok(()));
                        (run.steps, written) = (number + 1, 1);
                    }
                    Some(_) => assert!(matches!(outcome, Err(JournalError::Write(_))), "the law says no"),
                }
                model.entries += written;
            }
            (85..95, Some(claim)) => {
                let outcome = ledger.queue().complete(&claim);
                match model.holds(&claim) {
                    None => assert!(is_fenced(&outcome)),
                    Some(run) if run.steps == STEPS => {
                        outcome.unwrap();
                        run.completed = true;
                    }
                    Some(_) => assert!(matches!(outcome, Err(WriteError::Refused(Refusal::NotSettled { .. })))),
                }
            }
            _ => ledger = restart(ledger),
        }
        assert_eq!(ledger.head().unwrap().size, model.entries, "turn {turn}");
    }
    let open = model.runs.iter().filter(|run| run.steps < STEPS).map(|run| run.id.clone());
    assert_eq!(ledger.open_runs().unwrap().into_iter().map(|run| run.id).collect::<Vec<_>>(), open.collect::<Vec<_>>());
    let waiting = ledger.queue().waiting(100).unwrap().into_iter().map(|trigger| trigger.id);
    assert_eq!(waiting.collect::<Vec<_>>(), model.queued.iter().map(|id| trigger(*id).id).collect::<Vec<_>>());
    assert_eq!(ledger.check_projections().unwrap(), Vec::<&str>::new(), "projections are the replay");
    ledger.verify(None).map(|report| report.root).unwrap_or_else(|error| panic!("seed {seed}: {error}"))
}

fn in_memory(seed: u64) -> Ledger {
    Ledger::in_memory(Box::new(danger::SeededEntropy::new(seed))).unwrap()
}

#[test]
fn queue_and_log_do_what_the_model_says_in_memory() {
    for seed in 0..60 {
        play(seed, 300, in_memory(seed), |ledger| {
            assert!(danger::simulate_restart(&ledger));
            ledger
        });
    }
}

#[test]
fn queue_and_log_do_what_the_model_says_on_disk_across_restarts() {
    for seed in 100..104 {
        let place = Place::new();
        play(seed, 150, place.open(), |ledger| {
            drop(ledger);
            place.open()
        });
    }
}

#[test]
fn the_same_seed_gives_the_same_head() {
    let head = |seed| play(seed, 200, in_memory(seed), |ledger| ledger);
    assert_eq!(head(5), head(5));
    assert_ne!(head(5), head(6));
}

#[test]
fn the_system_s_randomness_never_gives_the_same_head() {
    let head = || {
        let place = Place::new();
        let ledger = Ledger::open(&place.state(), &place.anchor(), OpenOptions::default()).unwrap();
        ledger.append_entry(not_done(1, None, "the same"), Class::Durable).unwrap();
        ledger.head().unwrap().root
    };
    assert_ne!(head(), head(), "bodies are salted, so that nobody can guess them from their hash");
}
