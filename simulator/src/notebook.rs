//! The record behind the store: what a keeper's death does not touch. [`Notebook`] keeps it in memory.
//!
//! Owns what is durable and who holds which run. Never injects faults: those strike on the way here.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use selvedge_authority::{Approval, Class, Entry, HaltScope, JournalError, Observation, Record, Relinquished, Verdict};
use selvedge_domain::{Actor, ApprovalId, Deed, Digest, Run, RunId, Time, Trigger, TriggerId, Verb};
use selvedge_factory::ports::Answer;

/// A record that a keeper writes to and a later keeper reads.
pub trait Memory: Sync {
    /// Takes the run from whoever holds it; what they append from now on is refused.
    fn claim(&self, run: &RunId) -> Result<u64, JournalError>;

    /// Appends; `claim` is the writer's hold on the entry's run, when it has one.
    fn append(&self, claim: Option<u64>, entry: Entry, class: Class) -> Result<(), JournalError>;

    /// The deed recorded for this order.
    fn recall(&self, run: &RunId, order: &Digest) -> Result<Option<Deed>, JournalError>;

    /// A yes to exactly this order that can be used now.
    fn approval(&self, order: &Digest, now: Time) -> Result<Option<Approval>, JournalError>;

    /// The run, as its events made it.
    fn load(&self, run: &RunId) -> Result<Run, JournalError>;

    /// Why the run may not go on.
    fn halted(&self, run: &Run) -> Result<Option<String>, JournalError>;

    /// What a person answered, as it stands now.
    fn answer(&self, approval: &ApprovalId, now: Time) -> Result<Answer, JournalError>;

    /// Begins a run for the oldest trigger that no run serves and no halt covers; `bits` may become its id.
    fn begin(&self, now: Time, bits: u64) -> Result<Option<(RunId, TriggerId)>, JournalError>;

    /// Triggers that no run serves yet, oldest first.
    fn queued(&self) -> Result<Vec<Trigger>, JournalError>;

    /// Every run that began, oldest first.
    fn runs(&self) -> Result<Vec<RunId>, JournalError>;

    /// Every entry, oldest first.
    fn entries(&self) -> Result<Vec<Entry>, JournalError>;

    /// Forgets what is not durable, as a restart would.
    fn restart(&self) {}

    /// Whether the record still proves what it says it proves.
    fn verify(&self) -> Result<(), String> {
        Ok(())
    }
}

/// The record in memory.
#[derive(Debug, Default)]
pub struct Notebook(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    entries: Vec<Entry>,
    runs: BTreeMap<RunId, Run>,
    order: Vec<RunId>,
    triggers: BTreeMap<TriggerId, Trigger>,
    claims: BTreeMap<RunId, u64>,
}

impl Notebook {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    /// The law has the last word here too: an entry that cannot follow is not kept.
    fn project(&mut self, entry: &Entry) -> Result<(), JournalError> {
        let refuse = |what: String| JournalError::Write(format!("not a possible record: {what}"));
        match (&entry.record, &entry.run) {
            (Record::Triggered(trigger), _) => {
                self.triggers.insert(trigger.id.clone(), (**trigger).clone());
            }
            (Record::RunBegan { trigger }, Some(run)) => {
                let trigger = self.triggers.get(trigger).ok_or_else(|| refuse(format!("no trigger {trigger}")))?;
                if self.runs.contains_key(run) || self.runs.values().any(|known| known.trigger().id == trigger.id) {
                    return Err(refuse(format!("run {run} began before, or another serves its trigger")));
                }
                self.runs.insert(run.clone(), Run::begin(run.clone(), trigger.clone()));
                self.order.push(run.clone());
            }
            (Record::Happened(event), Some(run)) => {
                let before = self.runs.get(run).ok_or_else(|| refuse(format!("no run {run}")))?;
                let after = before.clone().apply(event.clone()).map_err(|illegal| refuse(illegal.to_string()))?;
                self.runs.insert(run.clone(), after);
            }
            (Record::Observed(Observation::SensitiveRead { .. }), Some(run)) => {
                if let Some(before) = self.runs.remove(run) {
                    self.runs.insert(run.clone(), before.having_read());
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Pages {
    fn queued(&self) -> impl Iterator<Item = &Trigger> {
        let served = |id: &TriggerId| self.runs.values().any(|run| run.trigger().id == *id);
        self.entries.iter().filter_map(move |entry| match &entry.record {
            Record::Triggered(trigger) if !served(&trigger.id) => Some(&**trigger),
            _ => None,
        })
    }

    fn halts(&self) -> Vec<HaltScope> {
        let mut halts: Vec<HaltScope> = Vec::new();
        for entry in &self.entries {
            match &entry.record {
                Record::Relinquished(Relinquished::Halted(scope)) => halts.push(scope.clone()),
                Record::Relinquished(Relinquished::Resumed(scope)) => halts.retain(|halted| halted != scope),
                _ => {}
            }
        }
        halts
    }
}

/// The entry that begins a run.
pub(crate) fn began(at: Time, run: &RunId, trigger: &TriggerId) -> Entry {
    let record = Record::RunBegan { trigger: trigger.clone() };
    Entry { at, run: Some(run.clone()), actor: Actor::Factory, owner: None, record }
}

/// Whether a halt reaches this trigger, or the run that serves it.
pub(crate) fn covers(scope: &HaltScope, trigger: &Trigger, run: Option<&RunId>) -> bool {
    match scope {
        HaltScope::All => true,
        HaltScope::Agent(agent) => *agent == trigger.agent,
        HaltScope::Repo(repo) => *repo == trigger.repo,
        HaltScope::Run(id) => run == Some(id),
    }
}

impl Memory for Notebook {
    fn claim(&self, run: &RunId) -> Result<u64, JournalError> {
        let mut pages = self.pages();
        let claim = pages.claims.entry(run.clone()).or_default();
        *claim += 1;
        Ok(*claim)
    }

    fn append(&self, claim: Option<u64>, entry: Entry, _: Class) -> Result<(), JournalError> {
        let mut pages = self.pages();
        if let (Some(run), Some(claim)) = (&entry.run, claim)
            && pages.claims.get(run) != Some(&claim)
        {
            return Err(JournalError::Fenced);
        }
        pages.project(&entry)?;
        pages.entries.push(entry);
        Ok(())
    }

    fn recall(&self, run: &RunId, order: &Digest) -> Result<Option<Deed>, JournalError> {
        Ok(self.pages().entries.iter().find_map(|entry| match &entry.record {
            Record::Done { order: done, deed, .. } if done == order && entry.run.as_ref() == Some(run) => {
                Some(deed.clone())
            }
            _ => None,
        }))
    }

    fn approval(&self, order: &Digest, now: Time) -> Result<Option<Approval>, JournalError> {
        let pages = self.pages();
        Ok(yeses(&pages.entries).filter(|yes| yes.order == order.to_string()).find_map(|yes| {
            let Actor::Person(by) = yes.by else { return None };
            let until = asked_until(&pages.entries, yes.approval).filter(|until| *until > now)?;
            // Times are printed at a fixed width, so that their texts sort as they do.
            (yes.until > now.to_string().as_str()).then(|| Approval { id: yes.approval.clone(), by, until })
        }))
    }

    fn load(&self, run: &RunId) -> Result<Run, JournalError> {
        self.pages().runs.get(run).cloned().ok_or_else(|| JournalError::Read(format!("no run {run}")))
    }

    fn halted(&self, run: &Run) -> Result<Option<String>, JournalError> {
        let halts = self.pages().halts();
        let covering = halts.iter().find(|scope| covers(scope, run.trigger(), Some(run.id())));
        Ok(covering.map(|scope| format!("halted: {scope:?}")))
    }

    fn begin(&self, now: Time, bits: u64) -> Result<Option<(RunId, TriggerId)>, JournalError> {
        let mut pages = self.pages();
        let halts = pages.halts();
        let next = pages.queued().find(|trigger| !halts.iter().any(|scope| covers(scope, trigger, None)));
        let Some(trigger) = next.map(|trigger| trigger.id.clone()) else { return Ok(None) };
        let run = RunId::from_entropy(bits);
        let entry = began(now, &run, &trigger);
        pages.project(&entry)?;
        pages.entries.push(entry);
        Ok(Some((run, trigger)))
    }

    fn answer(&self, approval: &ApprovalId, _: Time) -> Result<Answer, JournalError> {
        let pages = self.pages();
        let denied = pages
            .entries
            .iter()
            .any(|entry| matches!(&entry.record, Record::ApprovalDenied { approval: denied } if denied == approval));
        let granted = yeses(&pages.entries).any(|yes| yes.approval == approval);
        Ok(match (denied, granted) {
            (true, _) => Answer::Denied,
            (false, true) => Answer::Granted,
            (false, false) => Answer::Pending,
        })
    }

    fn queued(&self) -> Result<Vec<Trigger>, JournalError> {
        Ok(self.pages().queued().cloned().collect())
    }

    fn runs(&self) -> Result<Vec<RunId>, JournalError> {
        Ok(self.pages().order.clone())
    }

    fn entries(&self) -> Result<Vec<Entry>, JournalError> {
        Ok(self.pages().entries.clone())
    }
}

/// A yes that was carried out.
struct Yes<'a> {
    approval: &'a ApprovalId,
    order: &'a str,
    until: &'a str,
    by: Actor,
}

/// Every `approval.grant` that was decided and done, matched with the request it answers.
fn yeses(entries: &[Entry]) -> impl Iterator<Item = Yes<'_>> {
    let decisions = entries.iter().filter_map(|entry| match &entry.record {
        Record::Decided { order, verdict: Verdict::Allow { .. }, .. } if order.verb == Verb::ApprovalGrant => {
            Some((entry, order))
        }
        _ => None,
    });
    decisions.filter_map(move |(entry, order)| {
        let digest = order.digest();
        let done = entries.iter().any(
            |entry| matches!(&entry.record, Record::Done { order: done, deed: Deed::Approved, .. } if *done == digest),
        );
        let asked = entries.iter().find_map(|entry| match &entry.record {
            Record::ApprovalAsked { approval, .. } if approval.as_str() == order.resource.name => Some(approval),
            _ => None,
        })?;
        let (of, until) = (order.text("order_digest")?, order.text("until")?);
        done.then(|| Yes { approval: asked, order: of, until, by: entry.actor.clone() })
    })
}

/// When the last request under this id lapses.
fn asked_until(entries: &[Entry], approval: &ApprovalId) -> Option<Time> {
    entries.iter().rev().find_map(|entry| match &entry.record {
        Record::ApprovalAsked { approval: asked, until, .. } if asked == approval => Some(*until),
        _ => None,
    })
}
