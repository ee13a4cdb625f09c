//! Playing a simulation to its end: keepers start, take turns, die and are replaced, until everything has settled.

use std::collections::{BTreeMap, VecDeque};

use selvedge_authority::{Class, Entry, Journal, JournalError, Record, Verdict};
use selvedge_domain::{Actor, Digest, Run, RunId, Stage, Trigger};
use selvedge_factory::Standing;

use crate::faults::{Fault, Kind};
use crate::keeper::{Keeper, Simulation, lock};
use crate::scenario::{Happening, Scenario};
use crate::script::Took;
use crate::world::Moment;

/// What is left when everything has come to rest.
#[derive(Debug)]
pub struct Ending {
    /// What was appended, as it was appended.
    pub written: Vec<Entry>,
    /// What the record holds.
    pub recorded: Vec<Entry>,
    /// What was true in the world, and when.
    pub history: Vec<Moment>,
    /// Every run, as the record gives it back.
    pub runs: Vec<Run>,
    /// Triggers that no run serves.
    pub queued: Vec<Trigger>,
    /// What asked for work from outside.
    pub triggers: Vec<Trigger>,
    /// Every fault point met, in order.
    pub points: Vec<(Kind, &'static str)>,
    /// Faults that struck: where, at which call, what.
    pub struck: Vec<(usize, &'static str, Fault)>,
    /// At which entry each order of each run was first permitted.
    pub(crate) permits: BTreeMap<(RunId, Digest), usize>,
    /// At which entry each order of each run was first recorded as done.
    pub(crate) deeds: BTreeMap<(RunId, Digest), usize>,
    /// Whether a turn went on without end.
    pub ran_away: bool,
    /// Whether the record could not be read in the end.
    pub unreadable: Option<String>,
}

/// More rounds than any scenario needs by a factor of ten; past this, something does not settle.
const ROUNDS_MAX: usize = 600;
/// How long a keeper waits before it looks again at what failed or is closing.
const SOON_MILLIS: u64 = 60_000;
/// How long passes when all that is left is to wait for a person.
const LATER_MILLIS: u64 = 1_800_000;

/// Plays the scenario until every run has settled, or for as many rounds as anything could need.
pub fn play(sim: &Simulation<'_>, scenario: &Scenario) -> Ending {
    let mut arriving: VecDeque<Trigger> = scenario.triggers.clone().into();
    let mut keeper: Option<Keeper<'_, '_>> = None;
    for _ in 0..ROUNDS_MAX {
        if lock(&sim.faults).ran_away() {
            break;
        }
        let before = lock(&sim.written).len();
        let mut current = match keeper.take().filter(|keeper| !keeper.is_dead()) {
            Some(keeper) => Some(keeper),
            None => start(sim),
        };
        let moved = current.as_mut().map_or(Moved::Stopped, |keeper| round(keeper, &mut arriving));
        if moved == Moved::Done {
            break;
        }
        let progressed = lock(&sim.written).len() > before;
        keeper = after(sim, current, moved, progressed);
    }
    ending(sim, scenario)
}

/// What a round came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moved {
    /// Everything has settled.
    Done,
    /// Something is to be tried again soon.
    Soon,
    /// All that is left waits for people.
    Waits,
    /// The record failed, or the keeper did.
    Stopped,
}

/// A new keeper: says so, and recovers what an earlier one left behind.
fn start<'s, 'm>(sim: &'s Simulation<'m>) -> Option<Keeper<'s, 'm>> {
    sim.memory.restart();
    let keeper = Keeper::new(sim);
    let record =
        Record::KeeperStarted { version: "0.0.0".to_owned(), configuration: Digest::of_parts([]), policies: None };
    said(&keeper, None, record).ok()?;
    for run in sim.memory.runs().ok()? {
        keeper.claim(&run).ok()?;
        if is_settled(sim, &run) {
            // A worker that had lost its claim may have left something up when its keeper died.
            let _found = keeper.factory().workplace.kill(&run);
        } else {
            keeper.factory().recover(&run).ok()?;
        }
    }
    Some(keeper)
}

fn said(keeper: &Keeper<'_, '_>, run: Option<RunId>, record: Record) -> Result<(), JournalError> {
    let at = lock(&keeper.sim.world).now();
    keeper.append(Entry { at, run, actor: Actor::Factory, owner: None, record }, Class::Durable)
}

/// Takes in what asks for work, and gives every run a turn.
fn round(keeper: &Keeper<'_, '_>, arriving: &mut VecDeque<Trigger>) -> Moved {
    if take_in(keeper, arriving).is_err() {
        return Moved::Stopped;
    }
    let Ok(runs) = keeper.sim.memory.runs() else { return Moved::Stopped };
    let mut moved = Moved::Done;
    for run in runs.iter().filter(|run| !is_settled(keeper.sim, run)) {
        // Its beginning was never answered, or another worker took it over and, in this world, is done with it.
        let held = keeper.claim_on(run).is_some();
        if !held && keeper.claim(run).and_then(|()| keeper.factory().recover(run)).is_err() {
            return Moved::Stopped;
        }
        let standing = keeper.turn(run);
        if keeper.is_dead() {
            return Moved::Stopped;
        }
        moved = match (standing, moved) {
            (Ok(Standing::Settled(_)), moved) => moved,
            (Ok(Standing::Waiting(_)), Moved::Done) => Moved::Waits,
            (Ok(Standing::Waiting(_)), moved) => moved,
            (Ok(Standing::Closing { .. } | Standing::Again { .. }), Moved::Done | Moved::Waits) => Moved::Soon,
            (Ok(Standing::Closing { .. } | Standing::Again { .. }), moved) => moved,
            (Err(_), _) => Moved::Stopped,
        };
    }
    // What was queued in this round begins in the next, unless a halt covers it.
    if moved != Moved::Done {
        return moved;
    }
    match take_in(keeper, arriving) {
        Ok(0) => Moved::Done,
        Ok(_) | Err(_) => Moved::Stopped,
    }
}

/// Records what arrives and begins what may begin; says how many runs that was.
fn take_in(keeper: &Keeper<'_, '_>, arriving: &mut VecDeque<Trigger>) -> Result<usize, JournalError> {
    while let Some(trigger) = arriving.front() {
        let known = lock(&keeper.sim.written)
            .iter()
            .any(|entry| matches!(&entry.record, Record::Triggered(known) if known.id == trigger.id));
        if !known {
            said(keeper, None, Record::Triggered(Box::new(trigger.clone())))?;
        }
        arriving.pop_front();
    }
    let mut began = 0;
    while let Some(run) = keeper.begin()? {
        keeper.claim(&run)?;
        began += 1;
    }
    Ok(began)
}

/// What comes after a round in which not everything settled: people act when all wait for them, or when the disk is full;
/// otherwise time passes.
fn after<'s, 'm>(
    sim: &'s Simulation<'m>,
    keeper: Option<Keeper<'s, 'm>>,
    moved: Moved,
    progressed: bool,
) -> Option<Keeper<'s, 'm>> {
    let disk_full = lock(&sim.world).disk_full;
    let happened = match &keeper {
        Some(keeper) if moved == Moved::Waits && !keeper.is_dead() => keeper.when_idle(),
        _ if disk_full && !progressed => Keeper::new(sim).when_idle(),
        _ => None,
    };
    if disk_full && !progressed && !matches!(happened, Some((_, Took::Place))) {
        // Nothing left can happen on a full disk, so somebody makes room.
        lock(&sim.world).disk_full = false;
    }
    let millis = match happened {
        Some((_, Took::Place)) => 0,
        None if moved == Moved::Waits => LATER_MILLIS,
        Some((_, Took::NoPlace)) | None => SOON_MILLIS,
    };
    lock(&sim.world).pass(millis);
    keeper.filter(|_| !matches!(happened, Some((Happening::Restart, _))))
}

fn is_settled(sim: &Simulation<'_>, run: &RunId) -> bool {
    sim.memory.load(run).is_ok_and(|run| matches!(run.stage(), Stage::Settled(_)))
}

fn ending(sim: &Simulation<'_>, scenario: &Scenario) -> Ending {
    let mut unreadable = None;
    let mut note = |error: JournalError| unreadable = Some(error.to_string());
    let recorded = sim.memory.entries().unwrap_or_else(|error| {
        note(error);
        Vec::new()
    });
    let ids = sim.memory.runs().unwrap_or_else(|error| {
        note(error);
        Vec::new()
    });
    let queued = sim.memory.queued().unwrap_or_else(|error| {
        note(error);
        Vec::new()
    });
    let mut runs = Vec::new();
    for id in ids {
        match sim.memory.load(&id) {
            Ok(run) => runs.push(run),
            Err(error) => note(error),
        }
    }
    let unreadable = unreadable.or_else(|| sim.memory.verify().err());
    let faults = lock(&sim.faults);
    let written = lock(&sim.written).clone();
    let (permits, deeds) = index(&written);
    Ending {
        written,
        recorded,
        permits,
        deeds,
        history: lock(&sim.world).history.clone(),
        runs,
        queued,
        triggers: scenario.triggers.clone(),
        points: faults.seen.clone(),
        struck: faults.struck.clone(),
        ran_away: faults.ran_away(),
        unreadable,
    }
}

type Places = BTreeMap<(RunId, Digest), usize>;

/// Where permits and deeds were first recorded.
fn index(written: &[Entry]) -> (Places, Places) {
    let (mut permits, mut deeds) = (Places::new(), Places::new());
    for (at, entry) in written.iter().enumerate() {
        let Some(run) = &entry.run else { continue };
        match &entry.record {
            Record::Decided { order, verdict: Verdict::Allow { .. }, .. } => {
                permits.entry((run.clone(), order.digest())).or_insert(at);
            }
            Record::Done { order, .. } => {
                deeds.entry((run.clone(), *order)).or_insert(at);
            }
            _ => {}
        }
    }
    (permits, deeds)
}

impl Ending {
    /// How each run stands, in the order they began; what a halt keeps in the queue is halted too.
    pub fn outcomes(&self) -> Vec<&'static str> {
        let runs = self.runs.iter().map(|run| run.outcome().map_or(run.stage().name(), |outcome| outcome.as_str()));
        runs.chain(self.queued.iter().map(|_| "halted")).collect()
    }

    /// A fingerprint of everything that was recorded.
    pub fn digest(&self) -> Digest {
        let lines: Vec<String> = self.recorded.iter().map(|entry| format!("{entry:?}")).collect();
        Digest::of_parts(lines.iter().map(String::as_bytes))
    }
}
