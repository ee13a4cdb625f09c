//! The one writer's view of the store: appends entries in a transaction, keeps the right edge of the log at hand.
//!
//! Owns what must hold when an entry is written: the law of its run, its place in the chain and in the tree. Knows
//! nothing of threads, promises or files outside the database.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};
use selvedge_authority::{Class, Entry, Hold, Observation, Record};
use selvedge_domain::{Deed, Digest, Event, Run, RunId, Time, TriggerId, Verb};

use crate::checkpoint::Checkpoint;
use crate::entry::{self, Stored};
use crate::error::{ReadError, Refusal, StepError};
use crate::header::{Header, SALT_BYTES, commitment};
use crate::key::{Entropy, LogKey};
use crate::merkle::{Hash, Tree};
use crate::pool::plan_once;
use crate::rows::{RawRow, from_sql, to_sql, visit_rows};
use crate::{approvals, project, proposals, tiles};

/// Largest body we store: a report of some hundred thousand tests. Readers may rely on it.
pub(crate) const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How many runs are kept at hand; beyond it all are forgotten and replayed when needed.
const RUNS_KEPT_MAX: usize = 4096;

/// An entry with its stored form, made before the writer is asked.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) entry: Entry,
    stored: Stored,
}

impl Prepared {
    /// Puts `entry` into its stored form.
    pub(crate) fn new(entry: Entry) -> Result<Self, Refusal> {
        let stored = entry::encode(&entry.record)?;
        if stored.body.len() > BODY_BYTES_MAX {
            return Err(Refusal::TooLarge { bytes: stored.body.len(), limit: BODY_BYTES_MAX });
        }
        if i64::try_from(entry.at.as_millis()).is_err() {
            return Err(Refusal::OutOfRange { what: "the time of an entry" });
        }
        Ok(Self { entry, stored })
    }
}

/// The database and the right edge of the log.
pub(crate) struct Store {
    pub(crate) db: Connection,
    pub(crate) key: LogKey,
    pub(crate) entropy: Box<dyn Entropy>,
    head: Head,
    /// Whether `head` may differ from the database.
    broken: bool,
    /// What `synchronous` is set to.
    sync: &'static str,
}

/// What appending needs to know of everything before. Thrown away and read again when a transaction fails.
#[derive(Default)]
struct Head {
    tree: Tree,
    last_at: u64,
    /// The last leaf of the entries without a run.
    outside: Hash,
    /// The last leaf of each run that was touched lately.
    chains: BTreeMap<RunId, Hash>,
    /// Runs that were touched lately, as their events made them.
    runs: BTreeMap<RunId, Run>,
    /// The orders with a yes that was not used.
    granted: Arc<BTreeSet<Digest>>,
}

impl Store {
    /// Takes over a database whose tables exist.
    pub(crate) fn open(db: Connection, key: LogKey, entropy: Box<dyn Entropy>) -> Result<Self, ReadError> {
        db.set_prepared_statement_cache_capacity(128);
        plan_once(&db)?;
        let head = Head::read(&db)?;
        Ok(Self { db, key, entropy, head, broken: false, sync: "" })
    }

    /// Forgets what is kept at hand and reads it again: after a failed transaction nothing in memory is believed.
    pub(crate) fn reload(&mut self) -> Result<(), ReadError> {
        self.head = Head::read(&self.db)?;
        self.broken = false;
        Ok(())
    }

    /// Begins a transaction that is as safe as `class` demands once committed.
    pub(crate) fn begin(&mut self, class: Class) -> Result<(), ReadError> {
        if self.broken {
            // The last rollback could not read the store again; nothing may be built on what memory held.
            self.reload()?;
        }
        let sync = if class == Class::Durable { "FULL" } else { "NORMAL" };
        if sync != self.sync {
            self.db.pragma_update(None, "synchronous", sync)?;
            self.sync = sync;
        }
        self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(())
    }

    /// Commits the transaction under way.
    pub(crate) fn commit(&mut self) -> rusqlite::Result<()> {
        self.db.prepare_cached("COMMIT")?.execute([]).map(drop)
    }

    /// Takes the transaction under way back.
    pub(crate) fn roll_back(&mut self) {
        if !self.db.is_autocommit() {
            // SQLite rolls back by itself on the errors that leave nothing to roll back.
            drop(self.db.execute_batch("ROLLBACK"));
        }
        self.broken = true;
        drop(self.reload());
    }

    /// How many entries there are.
    pub(crate) fn size(&self) -> u64 {
        self.head.tree.size()
    }

    /// The root over all entries.
    pub(crate) fn root(&self) -> Hash {
        self.head.tree.root()
    }

    /// The time the last entry bears.
    pub(crate) fn last_at(&self) -> Time {
        Time::from_millis(self.head.last_at)
    }

    /// The orders with a yes that was not used.
    pub(crate) fn granted(&self) -> &Arc<BTreeSet<Digest>> {
        &self.head.granted
    }

    /// Appends one entry within the transaction under way.
    pub(crate) fn append(&mut self, prepared: &Prepared) -> Result<u64, StepError> {
        let Prepared { entry, stored } = prepared;
        let run = self.check_law(entry)?;
        let seq = self.size();
        let previous = self.previous(entry.run.as_ref())?;
        let mut salt = [0; SALT_BYTES];
        self.entropy.fill(&mut salt).map_err(StepError::Entropy)?;
        let (actor, at) = (entry.actor.to_string(), entry.at.as_millis());
        let clock_back = at < self.head.last_at;
        let leaf = Header {
            seq,
            run: entry.run.as_ref().map(|run| run.as_str().as_bytes()),
            previous: &previous,
            kind: stored.kind.as_bytes(),
            version: stored.version,
            at,
            clock_back,
            actor: actor.as_bytes(),
            owner: entry.owner.as_ref().map(|owner| owner.as_str().as_bytes()),
            commitment: commitment(&salt, stored.body.as_bytes()),
        }
        .leaf();
        self.db
            .prepare_cached("INSERT INTO entry VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)")?
            .execute(params![
                to_sql(seq),
                entry.run.as_ref().map(RunId::as_str),
                previous,
                stored.kind,
                stored.version,
                to_sql(at),
                clock_back,
                actor,
                entry.owner.as_ref().map(selvedge_domain::Owner::as_str),
                salt,
                stored.body,
                leaf
            ])?;
        project::apply(&self.db, seq, entry, run.as_ref())?;
        if self.changes_what_is_granted(&entry.record) {
            self.head.granted = Arc::new(approvals::granted(&self.db)?);
        }
        self.advance(entry.run.as_ref(), leaf, at, run)?;
        Ok(seq)
    }

    fn changes_what_is_granted(&self, record: &Record) -> bool {
        match record {
            Record::Done { order, verb, .. } => *verb == Verb::ApprovalGrant || self.head.granted.contains(order),
            Record::ApprovalAsked { .. } | Record::ApprovalDenied { .. } | Record::Held(Hold::Lapsed { .. }) => true,
            _ => false,
        }
    }

    fn advance(&mut self, id: Option<&RunId>, leaf: Hash, at: u64, run: Option<Run>) -> Result<(), StepError> {
        for tile in self.head.tree.push(leaf) {
            tiles::keep(&self.db, &tile)?;
        }
        self.head.last_at = at;
        if self.head.chains.len() >= RUNS_KEPT_MAX {
            self.head.chains.clear();
            self.head.runs.clear();
        }
        match id {
            None => self.head.outside = leaf,
            Some(id) => drop(self.head.chains.insert(id.clone(), leaf)),
        }
        if let Some(run) = run {
            self.head.runs.insert(run.id().clone(), run);
        }
        Ok(())
    }

    /// The last leaf of the chain that the next entry of `run` continues.
    fn previous(&self, run: Option<&RunId>) -> Result<Hash, StepError> {
        let Some(run) = run else { return Ok(self.head.outside) };
        if let Some(leaf) = self.head.chains.get(run) {
            return Ok(*leaf);
        }
        let last = self
            .db
            .prepare_cached("SELECT leaf FROM entry WHERE run = ?1 ORDER BY seq DESC LIMIT 1")?
            .query_row([run.as_str()], |row| row.get(0))
            .optional()?;
        Ok(last.unwrap_or_default())
    }

    /// What must hold before `entry` may be written. Returns its run as the entry leaves it, when it changes one.
    fn check_law(&mut self, entry: &Entry) -> Result<Option<Run>, StepError> {
        let run = || entry.run.clone().ok_or(Refusal::NoRun { kind: "the record" });
        match &entry.record {
            Record::Triggered(trigger) if project::trigger(&self.db, &trigger.id)?.is_some() => {
                Err(Refusal::InUse { id: trigger.id.to_string() }.into())
            }
            Record::RunBegan { trigger } => self.begin_run(run()?, trigger).map(Some),
            Record::Happened(event) => self.happen(&run()?, event).map(Some),
            Record::Observed(Observation::SensitiveRead { .. }) => {
                Ok(entry.run.as_ref().map(|run| self.run(run)).transpose()?.flatten().map(Run::having_read))
            }
            Record::Done { order, verb, deed } => {
                self.check_deed(entry.run.as_ref(), order, *verb, deed)?;
                Ok(None)
            }
            Record::ApprovalAsked { approval, order, .. }
                if project::approval_binds_another(&self.db, approval, entry.run.as_ref(), &order.digest())? =>
            {
                Err(Refusal::InUse { id: approval.to_string() }.into())
            }
            Record::ApprovalDenied { approval } if !project::approval_exists(&self.db, approval)? => {
                Err(Refusal::UnknownApproval { approval: approval.clone() }.into())
            }
            Record::Triggered(_)
            | Record::Decided { .. }
            | Record::NotDone { .. }
            | Record::ApprovalAsked { .. }
            | Record::ApprovalDenied { .. }
            | Record::Held(_)
            | Record::Relinquished(_)
            | Record::Observed(_)
            | Record::KeeperStarted { .. }
            | Record::KeyChanged { .. }
            | Record::TenureChanged { .. }
            | Record::Behaved { .. }
            | Record::RulesChanged { .. } => Ok(None),
        }
    }

    /// A deed is recorded once, after its decision, and a proposal's number belongs to one run.
    fn check_deed(&self, run: Option<&RunId>, order: &Digest, verb: Verb, deed: &Deed) -> Result<(), StepError> {
        if let Some(run) = run
            && project::deed_seq(&self.db, run, order)?.is_some()
        {
            return Err(Refusal::DoneBefore { run: run.clone(), order: *order }.into());
        }
        if !project::keeps_order(verb) {
            return Ok(());
        }
        let Some(described) = project::order(&self.db, order)? else {
            return Err(Refusal::Undecided { order: *order }.into());
        };
        match deed {
            Deed::Opened(number) => proposals::check_number(&self.db, run, &described.resource.repo, *number),
            _ => Ok(()),
        }
    }

    fn begin_run(&self, run: RunId, trigger: &TriggerId) -> Result<Run, StepError> {
        let Some((trigger, served_by)) = project::trigger(&self.db, trigger)? else {
            return Err(Refusal::UnknownTrigger { trigger: trigger.clone() }.into());
        };
        if served_by.is_some() || self.run(&run)?.is_some() {
            return Err(Refusal::InUse { id: run.to_string() }.into());
        }
        Ok(Run::begin(run, trigger))
    }

    fn happen(&self, id: &RunId, event: &Event) -> Result<Run, StepError> {
        let run = self.run(id)?.ok_or_else(|| Refusal::UnknownRun { run: id.clone() })?;
        Ok(run.apply(event.clone()).map_err(Refusal::Illegal)?)
    }

    /// A run as its events made it.
    pub(crate) fn run(&self, id: &RunId) -> Result<Option<Run>, ReadError> {
        match self.head.runs.get(id) {
            Some(run) => Ok(Some(run.clone())),
            None => replay_run(&self.db, id),
        }
    }

    /// Signs the head and keeps the checkpoint within the transaction under way.
    pub(crate) fn checkpoint(&self) -> Result<Checkpoint, StepError> {
        let checkpoint = Checkpoint::sign(&self.key, self.size(), self.root());
        self.db
            .prepare_cached("INSERT INTO checkpoint VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
            .execute(params![to_sql(checkpoint.size()), checkpoint.note()])?;
        Ok(checkpoint)
    }
}

impl Head {
    fn read(db: &Connection) -> Result<Self, ReadError> {
        let (size, last_at) = db
            .query_row("SELECT seq + 1, at FROM entry ORDER BY seq DESC LIMIT 1", [], |row| {
                Ok((from_sql(row.get(0)?), from_sql(row.get(1)?)))
            })
            .optional()?
            .unwrap_or_default();
        let outside: Option<Hash> = db
            .query_row("SELECT leaf FROM entry WHERE run IS NULL ORDER BY seq DESC LIMIT 1", [], |row| row.get(0))
            .optional()?;
        let tree = tiles::right_edge(db, size)?;
        let granted = Arc::new(approvals::granted(db)?);
        Ok(Self { tree, last_at, outside: outside.unwrap_or_default(), granted, ..Self::default() })
    }
}

/// Entries read at a time while a run is replayed.
const REPLAY_ROWS: usize = 256;

/// A run, made again from its recorded events. What the law forbids is damage here: it was checked when written.
pub(crate) fn replay_run(db: &Connection, id: &RunId) -> Result<Option<Run>, ReadError> {
    let (mut run, mut from): (Option<Run>, u64) = (None, 0);
    loop {
        let next = visit_rows(db, from, Some(id), REPLAY_ROWS, |row| {
            if matches!(row.kind, b"run_began" | b"happened") || may_tell_of_reading(&row) {
                let recorded = row.restore()?;
                run = step(db, recorded.seq, run.take(), id, recorded.entry.record)?;
            }
            Ok(())
        })?;
        match next {
            Some(next) => from = next,
            None => return Ok(run),
        }
    }
}

fn step(db: &Connection, seq: u64, run: Option<Run>, id: &RunId, record: Record) -> Result<Option<Run>, ReadError> {
    let damaged = |because: String| ReadError::Damaged { seq, because };
    match (record, run) {
        (Record::RunBegan { trigger }, None) => {
            let (trigger, _) = project::trigger(db, &trigger)?
                .ok_or_else(|| damaged(format!("its trigger {trigger} is not in the log")))?;
            Ok(Some(Run::begin(id.clone(), trigger)))
        }
        (Record::Happened(event), Some(run)) => {
            run.apply(event).map(Some).map_err(|illegal| damaged(illegal.to_string()))
        }
        (Record::Observed(Observation::SensitiveRead { .. }), run) => Ok(run.map(Run::having_read)),
        (Record::RunBegan { .. }, Some(_)) => Err(damaged("its run had begun before".to_owned())),
        (Record::Happened(_), None) => Err(damaged("its run had not begun".to_owned())),
        (_, run) => Ok(run),
    }
}

/// Whether a row is worth reading whole for what was read in its run: of what is observed, most is something else.
fn may_tell_of_reading(row: &RawRow<'_>) -> bool {
    row.kind == b"observed" && row.body.windows(SENSITIVE_READ.len()).any(|word| word == SENSITIVE_READ)
}

/// The word in its stored form.
const SENSITIVE_READ: &[u8] = b"sensitive_read";
