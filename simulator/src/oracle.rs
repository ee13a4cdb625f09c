//! The oracle: what must be true of every ending, whatever went wrong on the way. One function, one sentence.
//!
//! Reads what was recorded and what was true, side by side; never how it came about.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use selvedge_authority::{Entry, Observation, Record, Relinquished};
use selvedge_domain::{
    CommitId, CredentialName, Deed, Digest, Event, LeaseEvent, LeaseId, Outcome, Run, RunId, Stage, TriggerId, Verb,
};

use crate::play::Ending;
use crate::scenario::CHAIN_DEPTH_MAX;
use crate::world::{CANARY, Fact, Held, Purpose};

/// A sentence that is not true of an ending, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The sentence.
    pub sentence: &'static str,
    /// What contradicts it.
    pub found: String,
}

type Sentence = (&'static str, fn(&Ending) -> Result<(), String>);

/// Every sentence.
pub const SENTENCES: &[Sentence] = &[
    ("no act without an earlier recorded permit for the same order", no_act_without_a_permit),
    ("no deed without a recorded decision", no_deed_without_a_decision),
    ("a recorded deed is never done again", a_deed_is_never_done_again),
    ("no live credential in a run that waits or has settled", no_credential_at_rest),
    ("no sandbox in a run that waits or has settled", no_sandbox_at_rest),
    ("every credential dies", every_credential_dies),
    ("an agent works only while its run holds a live credential", work_holds_a_credential),
    (
        "a run holds one of each credential at a time, one more while it is renewed, and none while its result is checked",
        one_of_each_credential_at_a_time,
    ),
    ("every credential was announced before it was made", every_credential_was_announced),
    ("a run whose record fails is asked for its leases at once", an_interrupted_run_is_asked_for_its_leases),
    ("at most one proposal per run, of exactly the verified commit", one_proposal_of_the_verified_commit),
    ("a proposal and the outcome that names it come together", proposals_and_outcomes_agree),
    ("a refused run touches nothing it was not permitted to", a_refused_run_touches_nothing),
    ("an approval is used only for the order it was asked for", approvals_bind),
    ("every trigger is served by one run that settles, or is kept in the queue by a halt", every_trigger_settles),
    ("what was queued is served", what_was_queued_is_served),
    ("replaying the record gives the state", replay_equals_state),
    ("the record is what was written", the_record_is_what_was_written),
    ("no secret is in any record", no_secret_is_recorded),
    ("work that is on record is never begun again", recorded_work_is_kept),
    ("limits are never exceeded", limits_hold),
    ("what cannot be revoked is recorded once, not at every try", a_stuck_lease_is_recorded_once),
    ("a worker that was told it lost its claim kills nothing of the one that has it", strangers_kill_nothing),
    ("every turn ends", every_turn_ends),
];

/// Every sentence that is not true of this ending.
pub fn violations(ending: &Ending) -> Vec<Violation> {
    let judged = SENTENCES.iter().map(|(sentence, holds)| (*sentence, holds(ending)));
    judged.filter_map(|(sentence, holds)| holds.err().map(|found| Violation { sentence, found })).collect()
}

fn before(ending: &Ending, count: usize) -> impl DoubleEndedIterator<Item = &Entry> {
    ending.written.iter().take(count)
}

fn acts(ending: &Ending) -> impl Iterator<Item = (usize, &Digest, &RunId, Verb, bool)> {
    ending.history.iter().filter_map(|moment| match &moment.fact {
        Fact::Acted { order, run, verb, stale } => Some((moment.entries, order, run, *verb, *stale)),
        _ => None,
    })
}

/// Whether the order was permitted, or done, among the first `at` entries.
fn stood(places: &BTreeMap<(RunId, Digest), usize>, order: &Digest, run: &RunId, at: usize) -> bool {
    places.get(&(run.clone(), *order)).is_some_and(|first| *first < at)
}

fn no_act_without_a_permit(ending: &Ending) -> Result<(), String> {
    for (at, order, run, verb, _) in acts(ending) {
        if !stood(&ending.permits, order, run, at) {
            return Err(format!("{verb} in {run} after {at} entries"));
        }
    }
    Ok(())
}

fn no_deed_without_a_decision(ending: &Ending) -> Result<(), String> {
    for (at, entry) in ending.written.iter().enumerate() {
        if let (Record::Done { order, verb, .. } | Record::NotDone { order, verb, .. }, Some(run)) =
            (&entry.record, &entry.run)
            && !stood(&ending.permits, order, run, at)
        {
            return Err(format!("{verb} in {run}, entry {at}"));
        }
    }
    Ok(())
}

/// A worker that lost its claim may still finish the act it was permitted; the effect is the same under the order's key.
fn a_deed_is_never_done_again(ending: &Ending) -> Result<(), String> {
    for (at, order, run, verb, stale) in acts(ending) {
        if !stale && stood(&ending.deeds, order, run, at) {
            return Err(format!("{verb} in {run} after {at} entries"));
        }
    }
    Ok(())
}

/// Walks record and world side by side: `looks` sees each run's stage, and the world, after every entry.
fn walk<T: Default>(
    ending: &Ending,
    mut learn: impl FnMut(&mut T, &Fact),
    mut looks: impl FnMut(&T, &RunId) -> Result<(), String>,
) -> Result<(), String> {
    let (mut known, mut resting, mut facts) = (T::default(), BTreeSet::new(), ending.history.iter().peekable());
    for at in 0..=ending.written.len() {
        if let Some(entry) = at.checked_sub(1).and_then(|last| ending.written.get(last))
            && let (Record::Happened(event), Some(run)) = (&entry.record, &entry.run)
        {
            match event {
                Event::Parked | Event::Revoked | Event::Settled => resting.insert(run.clone()),
                Event::Resumed | Event::Ended(_) => resting.remove(run),
                _ => false,
            };
        }
        // The entry came first: at that moment nothing may live, and nothing may come alive while the run rests.
        resting.iter().try_for_each(|run| looks(&known, run).map_err(|found| format!("{found} after {at} entries")))?;
        while let Some(moment) = facts.next_if(|moment| moment.entries == at) {
            learn(&mut known, &moment.fact);
            resting
                .iter()
                .try_for_each(|run| looks(&known, run).map_err(|found| format!("{found} after {at} entries")))?;
        }
    }
    Ok(())
}

fn no_credential_at_rest(ending: &Ending) -> Result<(), String> {
    walk(
        ending,
        |live: &mut BTreeMap<LeaseId, RunId>, fact| match fact {
            Fact::Born(lease, run, _) => {
                live.insert(lease.clone(), run.clone());
            }
            Fact::Died(lease, _) => {
                live.remove(lease);
            }
            _ => {}
        },
        |live, run| match live.iter().find(|(_, of)| *of == run) {
            Some((lease, _)) => Err(format!("lease {lease} of {run} lives")),
            None => Ok(()),
        },
    )
}

/// What a worker without a claim started is its own to end, and has ended when everything has.
fn no_sandbox_at_rest(ending: &Ending) -> Result<(), String> {
    walk(
        ending,
        |up: &mut BTreeMap<u64, RunId>, fact| match fact {
            Fact::SandboxUp(id, run, Held::Yes, _) => {
                up.insert(*id, run.clone());
            }
            Fact::SandboxDown(id, _) => {
                up.remove(id);
            }
            _ => {}
        },
        |up, run| match up.iter().find(|(_, of)| *of == run) {
            Some((id, _)) => Err(format!("sandbox {id} of {run} is up")),
            None => Ok(()),
        },
    )?;
    let count = |wanted: fn(&Fact) -> bool| ending.history.iter().filter(|moment| wanted(&moment.fact)).count();
    let up = count(|fact| matches!(fact, Fact::SandboxUp(..)));
    let down = count(|fact| matches!(fact, Fact::SandboxDown(..)));
    if up == down { Ok(()) } else { Err(format!("{up} started and {down} ended")) }
}

fn every_credential_dies(ending: &Ending) -> Result<(), String> {
    let died = |wanted: &LeaseId| {
        ending.history.iter().any(|moment| matches!(&moment.fact, Fact::Died(lease, _) if lease == wanted))
    };
    ending.history.iter().try_for_each(|moment| match &moment.fact {
        Fact::Born(lease, run, _) if !died(lease) => Err(format!("lease {lease} of {run} still works")),
        _ => Ok(()),
    })
}

/// The other side of revoking everything: a run that goes on with what was taken from it works for nothing.
fn work_holds_a_credential(ending: &Ending) -> Result<(), String> {
    let mut live: BTreeMap<&LeaseId, &RunId> = BTreeMap::new();
    for moment in &ending.history {
        match &moment.fact {
            Fact::Born(lease, run, _) => {
                live.insert(lease, run);
            }
            Fact::Died(lease, _) => {
                live.remove(lease);
            }
            Fact::SandboxUp(_, run, Held::Yes, Purpose::Work) if !live.values().any(|of| *of == run) => {
                return Err(format!("{run} after {} entries", moment.entries));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What a lost attempt held dies before the next gets the like, and what the last one held before anything is checked.
fn one_of_each_credential_at_a_time(ending: &Ending) -> Result<(), String> {
    let mut live: BTreeMap<&LeaseId, (&RunId, &Option<CredentialName>)> = BTreeMap::new();
    for moment in &ending.history {
        let at = moment.entries;
        match &moment.fact {
            Fact::Born(lease, run, what) => {
                let held = live.values().filter(|of| **of == (run, what)).count();
                // A successor overlaps with what it replaces: a loan, and one that was announced while the agent worked.
                let is_renewed = || what.is_some() && announced_at_work(ending, at, run, lease);
                if held > 1 || (held == 1 && !is_renewed()) {
                    return Err(format!("{run} got {lease} while another of its kind lived, after {at} entries"));
                }
                live.insert(lease, (run, what));
            }
            Fact::Died(lease, _) => {
                live.remove(lease);
            }
            Fact::SandboxUp(_, run, Held::Yes, Purpose::Check) if live.values().any(|(of, _)| *of == run) => {
                return Err(format!("{run} was checked while one lived, after {at} entries"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn announced_at_work(ending: &Ending, until: usize, run: &RunId, lease: &LeaseId) -> bool {
    let mut is_working = false;
    for entry in before(ending, until).filter(|entry| entry.run.as_ref() == Some(run)) {
        match &entry.record {
            Record::Happened(Event::AttemptBegan { .. }) => is_working = true,
            Record::Happened(Event::AttemptLost { .. } | Event::Worked { .. } | Event::Ended(_)) => is_working = false,
            Record::Happened(Event::LeaseAnnounced(announced)) if announced == lease => return is_working,
            _ => {}
        }
    }
    false
}

fn every_credential_was_announced(ending: &Ending) -> Result<(), String> {
    ending.history.iter().try_for_each(|moment| match &moment.fact {
        Fact::Born(lease, run, _) => before(ending, moment.entries)
            .any(|entry| {
                entry.run.as_ref() == Some(run)
                    && matches!(&entry.record, Record::Happened(Event::LeaseAnnounced(announced)) if announced == lease)
            })
            .then_some(())
            .ok_or_else(|| format!("lease {lease} of {run}")),
        _ => Ok(()),
    })
}

fn an_interrupted_run_is_asked_for_its_leases(ending: &Ending) -> Result<(), String> {
    let (mut born, mut asked) = (BTreeMap::new(), BTreeSet::new());
    for moment in &ending.history {
        match &moment.fact {
            Fact::Born(lease, run, _) => {
                born.insert(lease, run);
            }
            Fact::AskedBack(lease) | Fact::Died(lease, _) => {
                asked.insert(lease);
            }
            Fact::Interrupted(run) => {
                if let Some((lease, _)) = born.iter().find(|(lease, of)| **of == run && !asked.contains(*lease)) {
                    return Err(format!("lease {lease} of {run} was left alone after {} entries", moment.entries));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn one_proposal_of_the_verified_commit(ending: &Ending) -> Result<(), String> {
    let mut proposed: BTreeMap<&RunId, &CommitId> = BTreeMap::new();
    for moment in &ending.history {
        let Fact::Proposed(number, run, commit) = &moment.fact else { continue };
        if proposed.insert(run, commit).is_some() {
            return Err(format!("{run} has a second proposal, {number}"));
        }
        let verified = before(ending, moment.entries).rev().find_map(|entry| match &entry.record {
            Record::Happened(Event::Verified(verified)) if entry.run.as_ref() == Some(run) => Some(verified.commit()),
            _ => None,
        });
        if verified != Some(commit) {
            return Err(format!("{run} proposed {commit} and verified {verified:?}"));
        }
    }
    Ok(())
}

fn proposals_and_outcomes_agree(ending: &Ending) -> Result<(), String> {
    for run in &ending.runs {
        let opened = ending.history.iter().find_map(|moment| match &moment.fact {
            Fact::Proposed(number, of, _) if of == run.id() => Some(*number),
            _ => None,
        });
        match (run.outcome(), opened) {
            (Some(Outcome::Proposed(named)), Some(number)) if *named == number => {}
            (Some(Outcome::Proposed(named)), opened) => {
                return Err(format!("{} names {named}, opened is {opened:?}", run.id()));
            }
            // A halt, or an answer that never came, may strike between the proposal and its record; that is said.
            (Some(Outcome::Halted { .. } | Outcome::Failed { .. } | Outcome::Refused { .. }) | None, _) | (_, None) => {
            }
            (Some(outcome), Some(number)) => {
                return Err(format!("{} opened {number} and ended {}", run.id(), outcome.as_str()));
            }
        }
    }
    Ok(())
}

fn a_refused_run_touches_nothing(ending: &Ending) -> Result<(), String> {
    let admitted: BTreeSet<&RunId> = ending.runs.iter().filter(|run| run.task().is_some()).map(Run::id).collect();
    ending.history.iter().try_for_each(|moment| match &moment.fact {
        Fact::Born(_, run, _) | Fact::SandboxUp(_, run, ..) | Fact::Proposed(_, run, _) if !admitted.contains(run) => {
            Err(format!("{run} was never admitted: {:?}", moment.fact))
        }
        _ => Ok(()),
    })
}

fn approvals_bind(ending: &Ending) -> Result<(), String> {
    for (at, entry) in ending.written.iter().enumerate() {
        let Record::Decided { order, approval: Some(used), .. } = &entry.record else { continue };
        let asked = before(ending, at).rev().find_map(|entry| match &entry.record {
            Record::ApprovalAsked { approval, order, until } if approval == used => Some((order.digest(), *until)),
            _ => None,
        });
        match asked {
            Some((digest, until)) if digest == order.digest() && entry.at < until => {}
            Some((_, until)) => return Err(format!("{used} used for {} at {} until {until}", order.verb, entry.at)),
            None => return Err(format!("{used} was never asked for")),
        }
    }
    Ok(())
}

fn every_trigger_settles(ending: &Ending) -> Result<(), String> {
    let halted =
        ending.written.iter().any(|entry| matches!(entry.record, Record::Relinquished(Relinquished::Halted(_))));
    let recorded = ending.written.iter().filter_map(|entry| match &entry.record {
        Record::Triggered(trigger) => Some(&trigger.id),
        _ => None,
    });
    let wanted: Vec<&TriggerId> = ending.triggers.iter().map(|trigger| &trigger.id).chain(recorded).collect();
    for id in wanted {
        let serving: Vec<&Run> = ending.runs.iter().filter(|run| run.trigger().id == *id).collect();
        match serving.as_slice() {
            [run] if matches!(run.stage(), Stage::Settled(_)) => {}
            [run] => return Err(format!("{} is still {}", run.id(), run.stage().name())),
            [] if halted && ending.queued.iter().any(|trigger| trigger.id == *id) => {}
            runs => return Err(format!("{id} is served by {} runs", runs.len())),
        }
    }
    Ok(())
}

fn what_was_queued_is_served(ending: &Ending) -> Result<(), String> {
    ending.history.iter().try_for_each(|moment| match &moment.fact {
        Fact::Enqueued(id)
            if !ending.runs.iter().map(Run::trigger).chain(&ending.queued).any(|trigger| trigger.id == *id) =>
        {
            Err(format!("follow-up {id} was lost"))
        }
        _ => Ok(()),
    })
}

fn replay_equals_state(ending: &Ending) -> Result<(), String> {
    for run in &ending.runs {
        let mut of_run = ending.written.iter().filter(|entry| entry.run.as_ref() == Some(run.id()));
        let begun = Run::begin(run.id().clone(), run.trigger().clone());
        let replayed = of_run.try_fold(begun, |run, entry| match &entry.record {
            Record::Happened(event) => run.apply(event.clone()),
            Record::Observed(Observation::SensitiveRead { .. }) => Ok(run.having_read()),
            _ => Ok(run),
        });
        let replayed = replayed.map_err(|illegal| illegal.to_string())?;
        if replayed != *run {
            return Err(format!("{} is {} and replays to {}", run.id(), run.stage().name(), replayed.stage().name()));
        }
    }
    Ok(())
}

fn the_record_is_what_was_written(ending: &Ending) -> Result<(), String> {
    if let Some(unreadable) = &ending.unreadable {
        return Err(unreadable.clone());
    }
    let differing = ending.written.iter().zip(&ending.recorded).position(|(written, recorded)| written != recorded);
    match differing {
        Some(at) => Err(format!(
            "entry {at}: wrote {:?}, holds {:?}",
            ending.written.get(at).map(|entry| &entry.record),
            ending.recorded.get(at).map(|entry| &entry.record)
        )),
        None if ending.written.len() != ending.recorded.len() => {
            Err(format!("wrote {} entries, holds {}", ending.written.len(), ending.recorded.len()))
        }
        None => Ok(()),
    }
}

fn no_secret_is_recorded(ending: &Ending) -> Result<(), String> {
    let mut shown = String::new();
    let leak = ending.recorded.iter().position(|entry| {
        shown.clear();
        write!(shown, "{entry:?}").is_err() || shown.contains(CANARY)
    });
    leak.map_or(Ok(()), |at| Err(format!("entry {at}")))
}

/// Attempts a run may make; the domain's own limit, written again so that raising it there is noticed here.
const ATTEMPTS_MAX: usize = 3;
/// Follow-ups a run may queue; the factory's own limit, written again.
const FOLLOW_UPS_MAX: usize = 3;

fn limits_hold(ending: &Ending) -> Result<(), String> {
    for run in &ending.runs {
        let began = |entry: &&Entry| {
            entry.run.as_ref() == Some(run.id()) && matches!(entry.record, Record::Happened(Event::AttemptBegan { .. }))
        };
        let attempts = ending.written.iter().filter(began).count();
        let children = ending.runs.iter().filter(|child| child.trigger().lineage.ancestors.first() == Some(run.id()));
        let (follow_ups, depth) = (children.count(), run.trigger().lineage.depth());
        let depth_max = usize::try_from(CHAIN_DEPTH_MAX).unwrap_or(usize::MAX);
        if attempts > ATTEMPTS_MAX || follow_ups > FOLLOW_UPS_MAX || depth > depth_max {
            return Err(format!("{}: {attempts} attempts, {follow_ups} follow-ups, depth {depth}", run.id()));
        }
    }
    Ok(())
}

/// Recovery recalls what an attempt left; only what was never recorded is lost.
fn recorded_work_is_kept(ending: &Ending) -> Result<(), String> {
    let mut ran = BTreeSet::new();
    ending.written.iter().try_for_each(|entry| match (&entry.record, &entry.run) {
        (Record::Done { deed: Deed::Ran(_), .. }, Some(run)) => {
            ran.insert(run);
            Ok(())
        }
        (Record::Happened(Event::AttemptBegan { attempt }), Some(run)) if ran.contains(run) => {
            Err(format!("attempt {attempt} of {run}"))
        }
        _ => Ok(()),
    })
}

/// A credential may outlast many looks at it, and the log must not grow with each.
fn a_stuck_lease_is_recorded_once(ending: &Ending) -> Result<(), String> {
    let mut stuck = BTreeSet::new();
    ending.written.iter().try_for_each(|entry| match &entry.record {
        Record::Happened(Event::LeaseChanged(lease, LeaseEvent::RevokeFailed)) if !stuck.insert(lease) => {
            Err(format!("lease {lease}"))
        }
        _ => Ok(()),
    })
}

fn strangers_kill_nothing(ending: &Ending) -> Result<(), String> {
    ending.history.iter().try_for_each(|moment| match &moment.fact {
        Fact::KilledByStranger(run) => Err(format!("{run} after {} entries", moment.entries)),
        _ => Ok(()),
    })
}

fn every_turn_ends(ending: &Ending) -> Result<(), String> {
    if ending.ran_away { Err(format!("{} calls and no end", ending.points.len())) } else { Ok(()) }
}
