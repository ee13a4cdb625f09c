//! The queue: triggers that wait, and claims of workers on the runs that serve them.
//!
//! A claim has an epoch. Taking a run over raises it, and whoever still writes under an older one is fenced: two workers
//! can believe they hold a run, and only one can record.

use rusqlite::{OptionalExtension as _, params};
use selvedge_authority::{Entry, Record};
use selvedge_domain::{Actor, Duration, RunId, Stage, Time, Trigger, TriggerId};

use crate::error::{ReadError, Refusal, StepError};
use crate::project;
use crate::rows::{from_sql, to_sql};
use crate::store::{Prepared, Store};

/// A worker's hold on a run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a claim is kept alive with `heartbeat` and given back with `complete` or `release`"]
pub struct Claim {
    /// The trigger that the run serves.
    pub trigger: TriggerId,
    /// The run.
    pub run: RunId,
    /// Which hold it is; a later one fences this one.
    pub epoch: u64,
    /// Whether somebody held the run before, so that there may be things to recover.
    pub taken_over: bool,
}

/// What queueing a trigger came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// It was recorded and queued.
    Now,
    /// The very same trigger was queued before.
    Before,
}

/// Records and queues a trigger; the same trigger again changes nothing.
pub(crate) fn enqueue(store: &mut Store, prepared: &Prepared, trigger: &Trigger) -> Result<Enqueued, StepError> {
    match project::trigger(&store.db, &trigger.id)? {
        Some((known, _)) if known == *trigger => Ok(Enqueued::Before),
        Some(_) => Err(Refusal::InUse { id: trigger.id.to_string() }.into()),
        None => store.append(prepared).map(|_| Enqueued::Now),
    }
}

/// Takes the next run: first one that nobody holds any more and that has something to do, then a new one.
pub(crate) fn claim(store: &mut Store, now: Time, lease: Duration) -> Result<Option<Claim>, StepError> {
    let (trigger, run, epoch, taken_over) = match next_abandoned(store, now)? {
        Some((trigger, run, epoch)) => (trigger, run, epoch + 1, true),
        None => match begin_next(store, now)? {
            Some((trigger, run)) => (trigger, run, 1, false),
            None => return Ok(None),
        },
    };
    store
        .db
        .prepare_cached("INSERT INTO claim VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET epoch = ?2, until = ?3")?
        .execute(params![run.as_str(), to_sql(epoch), to_sql(now.after(lease).as_millis())])?;
    Ok(Some(Claim { trigger, run, epoch, taken_over }))
}

/// A run that is not over, that nobody holds at `now`, and that does not wait for anything still to come. Halts do not
/// keep a run from being taken over: someone has to end it.
fn next_abandoned(store: &Store, now: Time) -> Result<Option<(TriggerId, RunId, u64)>, StepError> {
    let found = store
        .db
        .prepare_cached(
            "SELECT run.trigger_id, run.id, coalesce(claim.epoch, 0) FROM p_run run LEFT JOIN claim ON claim.run = run.id
             WHERE run.stage <> 'settled' AND (claim.until IS NULL OR claim.until <= ?1)
               AND (run.stage <> 'waiting' OR run.wait_until <= ?1 OR EXISTS (
                   SELECT 1 FROM p_approval a WHERE a.id = run.wait_approval AND a.state <> 'asked'
               ) OR EXISTS (
                   SELECT 1 FROM p_halt h
                   WHERE h.scope IN ('all', 'run:' || run.id, 'repo:' || run.repo, 'agent:' || run.agent)
               ))
             ORDER BY run.seq LIMIT 1",
        )?
        .query_row([to_sql(now.as_millis())], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, from_sql(row.get(2)?)))
        })
        .optional()?;
    let Some((trigger, run, epoch)) = found else { return Ok(None) };
    Ok(Some((parse_trigger(&trigger)?, parse_run(&run)?, epoch)))
}

/// Begins a run for the oldest trigger that nothing serves and no halt covers.
fn begin_next(store: &mut Store, now: Time) -> Result<Option<(TriggerId, RunId)>, StepError> {
    let found: Option<String> = store
        .db
        .prepare_cached(
            "SELECT id FROM p_trigger WHERE run IS NULL AND NOT EXISTS (
                 SELECT 1 FROM p_halt WHERE scope IN ('all', 'repo:' || repo, 'agent:' || agent)
             ) ORDER BY seq LIMIT 1",
        )?
        .query_row([], |row| row.get(0))
        .optional()?;
    let Some(trigger) = found else { return Ok(None) };
    let trigger = parse_trigger(&trigger)?;
    let run = fresh_run_id(store)?;
    let record = Record::RunBegan { trigger: trigger.clone() };
    let entry = Entry { at: now, run: Some(run.clone()), actor: Actor::Factory, owner: None, record };
    store.append(&Prepared::new(entry)?)?;
    Ok(Some((trigger, run)))
}

/// How often a run's id is drawn before giving up; with real randomness the first is free.
const DRAWS_MAX: usize = 64;

/// An id that no run has.
fn fresh_run_id(store: &mut Store) -> Result<RunId, StepError> {
    let mut run = RunId::from_entropy(0);
    for _ in 0..DRAWS_MAX {
        let mut bits = [0; 8];
        store.entropy.fill(&mut bits).map_err(StepError::Entropy)?;
        run = RunId::from_entropy(u64::from_be_bytes(bits));
        if store.run(&run)?.is_none() {
            return Ok(run);
        }
    }
    Err(Refusal::InUse { id: run.to_string() }.into())
}

/// Refuses whoever does not hold the run under its current epoch.
pub(crate) fn check_fence(store: &Store, claim: &Claim) -> Result<(), StepError> {
    let held: Option<i64> = store
        .db
        .prepare_cached("SELECT epoch FROM claim WHERE run = ?1")?
        .query_row([claim.run.as_str()], |row| row.get(0))
        .optional()?;
    if held == Some(to_sql(claim.epoch)) { Ok(()) } else { Err(Refusal::Fenced { run: claim.run.clone() }.into()) }
}

/// Holds on for another `lease`.
pub(crate) fn heartbeat(store: &Store, claim: &Claim, now: Time, lease: Duration) -> Result<(), StepError> {
    check_fence(store, claim)?;
    set_hold(store, claim, claim.epoch, now.after(lease))
}

/// Lets go of a run that has something left to do, not before `not_before`.
pub(crate) fn release(store: &Store, claim: &Claim, not_before: Time) -> Result<(), StepError> {
    check_fence(store, claim)?;
    set_hold(store, claim, claim.epoch + 1, not_before)
}

fn set_hold(store: &Store, claim: &Claim, epoch: u64, until: Time) -> Result<(), StepError> {
    store.db.prepare_cached("UPDATE claim SET epoch = ?2, until = ?3 WHERE run = ?1")?.execute(params![
        claim.run.as_str(),
        to_sql(epoch),
        to_sql(until.as_millis())
    ])?;
    Ok(())
}

/// Lets go of a run that is over.
pub(crate) fn complete(store: &Store, claim: &Claim) -> Result<(), StepError> {
    check_fence(store, claim)?;
    match store.run(&claim.run)? {
        Some(run) if matches!(run.stage(), Stage::Settled(_)) => {
            store.db.prepare_cached("DELETE FROM claim WHERE run = ?1")?.execute([claim.run.as_str()])?;
            Ok(())
        }
        Some(_) => Err(Refusal::NotSettled { run: claim.run.clone() }.into()),
        None => Err(Refusal::UnknownRun { run: claim.run.clone() }.into()),
    }
}

/// Takes every hold away: after a keeper died, nobody it started still works.
pub(crate) fn reap(store: &Store) -> Result<u64, StepError> {
    let reaped = store.db.prepare_cached("UPDATE claim SET epoch = epoch + 1, until = NULL WHERE until IS NOT NULL")?;
    let reaped = { reaped }.execute([])?;
    Ok(reaped as u64)
}

/// When the next hold or wait ends by itself.
pub(crate) fn next_due(db: &rusqlite::Connection) -> Result<Option<Time>, ReadError> {
    let due: Option<i64> = db.query_row(
        "SELECT min(due) FROM (
             SELECT CASE WHEN run.stage = 'waiting' THEN max(run.wait_until, coalesce(claim.until, 0))
                         ELSE claim.until END AS due
             FROM p_run run LEFT JOIN claim ON claim.run = run.id WHERE run.stage <> 'settled'
         )",
        [],
        |row| row.get(0),
    )?;
    Ok(due.map(|millis| Time::from_millis(from_sql(millis))))
}

fn parse_trigger(text: &str) -> Result<TriggerId, ReadError> {
    TriggerId::parse(text).map_err(|error| ReadError::Projection { because: error.to_string() })
}

fn parse_run(text: &str) -> Result<RunId, ReadError> {
    RunId::parse(text).map_err(|error| ReadError::Projection { because: error.to_string() })
}
