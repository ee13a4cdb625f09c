//! What people and the factory look at: runs, proposals, halts, live leases, findings, and the log itself.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use selvedge_authority::{Entry, HaltScope, Record, Relinquished};
use selvedge_domain::{
    AgentName, ApprovalId, CommitId, Description, LeaseId, LeaseState, ProposalNumber, RepoName, Run, RunId, Time,
    Trigger, TriggerId,
};

use crate::error::ReadError;
use crate::ledger::Ledger;
use crate::project;
use crate::rows::{Recorded, entry_at, from_sql, to_sql, visit_rows};
use crate::scope::{parse_scope, scope_text};
use crate::store::replay_run;

/// A run in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSummary {
    /// Its id.
    pub id: RunId,
    /// What it serves.
    pub trigger: TriggerId,
    /// Which repository it works for.
    pub repo: RepoName,
    /// Which agent works.
    pub agent: AgentName,
    /// What its task is for, once admitted.
    pub intent: Option<String>,
    /// The stage's word.
    pub stage: String,
    /// The outcome's word, once there is one.
    pub outcome: Option<String>,
    /// The sentence that goes with the outcome.
    pub because: Option<String>,
    /// How many attempts began.
    pub attempts: u32,
    /// When it began.
    pub began_at: Time,
    /// When something last happened to it.
    pub changed_at: Time,
    /// What it waits for.
    pub waiting: Option<WaitingFor>,
}

/// What a run waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingFor {
    /// The request for approval.
    pub approval: ApprovalId,
    /// The order in one line.
    pub order: String,
    /// Since when.
    pub since: Time,
    /// When it gives up.
    pub until: Time,
}

/// A proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Its repository.
    pub repo: RepoName,
    /// Its number.
    pub number: ProposalNumber,
    /// The run that made it.
    pub run: Option<RunId>,
    /// The commit that was verified and proposed.
    pub commit: CommitId,
    /// The branch it is meant for.
    pub target: String,
    /// Its title.
    pub title: String,
    /// Its body.
    pub body: String,
    /// When it was opened.
    pub opened_at: Time,
    /// Where it stands.
    pub state: ProposalState,
}

/// Where a proposal stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposalState {
    /// It waits for review.
    Open,
    /// It was merged.
    Merged {
        /// The target branch's head afterwards.
        commit: CommitId,
    },
}

/// A credential that may still work somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveLease {
    /// Which.
    pub lease: LeaseId,
    /// Whose.
    pub run: RunId,
    /// Where it stands.
    pub state: LeaseState,
}

/// A trigger that is on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Triggered {
    /// When it was queued.
    pub at: Time,
    /// Whether the run that serves it is over; one that is only queued is not.
    pub is_over: bool,
}

/// How many triggers of one agent on one repository are looked at for the latest of a kind.
const TRIGGERS_LOOKED_AT_MAX: i64 = 1000;

/// Something worth an auditor's eye.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The entry that holds it.
    pub seq: u64,
    /// In which run.
    pub run: Option<RunId>,
    /// When.
    pub at: Time,
    /// What kind.
    pub code: String,
    /// Where.
    pub detail: String,
}

impl Ledger {
    /// A run, as its recorded events made it.
    pub fn load_run(&self, id: &RunId) -> Result<Option<Run>, ReadError> {
        self.read(|db| replay_run(db, id))
    }

    /// The last `limit` runs, newest first.
    pub fn runs(&self, limit: usize) -> Result<Vec<RunSummary>, ReadError> {
        self.read(|db| summaries(db, "1 ORDER BY seq DESC LIMIT ?1", limit_sql(limit)))
    }

    /// Every run of an agent, newest first.
    pub fn runs_of(&self, agent: &AgentName) -> Result<Vec<RunId>, ReadError> {
        self.read(|db| {
            let mut statement = db.prepare_cached("SELECT id FROM p_run WHERE agent = ?1 ORDER BY seq DESC")?;
            let rows = statement.query_map([agent.as_str()], |row| row.get::<_, String>(0))?;
            rows.map(|id| run_id(&id?)).collect()
        })
    }

    /// Every run that is not settled, oldest first.
    pub fn open_runs(&self) -> Result<Vec<RunSummary>, ReadError> {
        self.read(|db| summaries(db, "stage <> 'settled' AND ?1 = 0 ORDER BY seq", 0))
    }

    /// The latest trigger of this agent on this repository that `is_it`, among their latest thousand.
    pub fn last_trigger(
        &self,
        agent: &AgentName,
        repo: &RepoName,
        is_it: impl Fn(&Trigger) -> bool,
    ) -> Result<Option<Triggered>, ReadError> {
        self.read(|db| {
            let mut statement = db.prepare_cached(
                "SELECT t.seq, coalesce(r.stage = 'settled', FALSE) FROM p_trigger t LEFT JOIN p_run r ON r.id = t.run
                 WHERE t.agent = ?1 AND t.repo = ?2 ORDER BY t.seq DESC LIMIT ?3",
            )?;
            let mut rows = statement.query(params![agent.as_str(), repo.as_str(), TRIGGERS_LOOKED_AT_MAX])?;
            while let Some(row) = rows.next()? {
                let entry = entry_at(db, from_sql(row.get(0)?))?.entry;
                if matches!(&entry.record, Record::Triggered(trigger) if is_it(trigger)) {
                    return Ok(Some(Triggered { at: entry.at, is_over: row.get(1)? }));
                }
            }
            Ok(None)
        })
    }

    /// One run in one line.
    pub fn run_summary(&self, id: &RunId) -> Result<Option<RunSummary>, ReadError> {
        self.read(|db| {
            let mut statement = db.prepare_cached(&format!("SELECT {RUN_COLUMNS} FROM p_run WHERE id = ?1"))?;
            statement.query_row([id.as_str()], |row| Ok(RunSummary::read(row))).optional()?.transpose()
        })
    }

    /// A trigger, as it was queued, and the run that serves it, once one does.
    pub fn trigger(&self, id: &TriggerId) -> Result<Option<(Trigger, Option<RunId>)>, ReadError> {
        let Some((trigger, run)) = self.read(|db| project::trigger(db, id))? else { return Ok(None) };
        Ok(Some((trigger, run.map(|run| run_id(&run)).transpose()?)))
    }

    /// The run that serves a trigger, once one does; none when the trigger is not known or waits.
    pub fn run_of(&self, trigger: &TriggerId) -> Result<Option<RunId>, ReadError> {
        let found = self.read(|db| project::trigger(db, trigger))?;
        found.and_then(|(_, run)| run).map(|run| run_id(&run)).transpose()
    }

    /// A proposal.
    pub fn proposal(&self, repo: &RepoName, number: ProposalNumber) -> Result<Option<Proposal>, ReadError> {
        let found = self.proposals_where("repo = ?1 AND number = ?2", repo, to_sql(number.get()))?;
        Ok(found.into_iter().next())
    }

    /// Every proposal of a repository, newest first.
    pub fn proposals(&self, repo: &RepoName) -> Result<Vec<Proposal>, ReadError> {
        self.proposals_where("repo = ?1 AND number > ?2 ORDER BY number DESC", repo, 0)
    }

    fn proposals_where(&self, filter: &str, repo: &RepoName, number: i64) -> Result<Vec<Proposal>, ReadError> {
        let sql = format!("SELECT number, run, opened_seq, opened_at, merged_commit FROM p_proposal WHERE {filter}");
        self.read(|db| {
            let mut statement = db.prepare_cached(&sql)?;
            let mut rows = statement.query(rusqlite::params![repo.as_str(), number])?;
            let mut proposals = Vec::new();
            while let Some(row) = rows.next()? {
                proposals.push(read_proposal(db, repo, row)?);
            }
            Ok(proposals)
        })
    }

    /// Everything that is halted now, acts that wait in the reserve included.
    pub fn halts(&self) -> Result<Vec<HaltScope>, ReadError> {
        // The reserve first: what is moved into the log in between is then seen twice, and never not at all.
        let reserved = self.reserved();
        let mut halts = self.read(|db| {
            let mut statement = db.prepare_cached("SELECT scope FROM p_halt ORDER BY scope")?;
            let scopes = statement.query_map([], |row| row.get::<_, String>(0))?;
            scopes.map(|scope| Ok(scope?)).collect::<Result<std::collections::BTreeSet<String>, ReadError>>()
        })?;
        for entry in reserved {
            match entry.record {
                Record::Relinquished(Relinquished::Halted(scope)) => drop(halts.insert(scope_text(&scope))),
                Record::Relinquished(Relinquished::Resumed(scope)) => drop(halts.remove(&scope_text(&scope))),
                _ => {}
            }
        }
        let bad = |scope: &str| ReadError::Projection { because: format!("`{scope}` is no scope of a halt") };
        halts.iter().map(|scope| parse_scope(scope).ok_or_else(|| bad(scope))).collect()
    }

    /// Whether a halt covers this run.
    pub fn is_halted(&self, run: &RunId, agent: &AgentName, repo: &RepoName) -> Result<bool, ReadError> {
        Ok(self.halts()?.iter().any(|scope| match scope {
            HaltScope::All => true,
            HaltScope::Agent(halted) => halted == agent,
            HaltScope::Repo(halted) => halted == repo,
            HaltScope::Run(halted) => halted == run,
        }))
    }

    /// Every credential that may still work somewhere: what a sweep has to see to.
    pub fn live_leases(&self) -> Result<Vec<LiveLease>, ReadError> {
        self.read(|db| {
            let mut statement =
                db.prepare_cached("SELECT DISTINCT run FROM p_lease WHERE may_live = 1 ORDER BY run")?;
            let runs = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
            let mut live = Vec::new();
            for id in runs {
                let Some(run) = replay_run(db, &run_id(&id)?)? else { continue };
                let leases = run.leases().iter().filter(|(_, state)| state.may_live());
                live.extend(leases.map(|(lease, state)| LiveLease {
                    lease: lease.clone(),
                    run: run.id().clone(),
                    state: *state,
                }));
            }
            Ok(live)
        })
    }

    /// The last `limit` findings, newest first.
    pub fn findings(&self, limit: usize) -> Result<Vec<Finding>, ReadError> {
        self.read(|db| {
            let mut statement =
                db.prepare_cached("SELECT seq, run, at, code, detail FROM p_finding ORDER BY seq DESC LIMIT ?1")?;
            let mut rows = statement.query([limit_sql(limit)])?;
            let mut findings = Vec::new();
            while let Some(row) = rows.next()? {
                findings.push(Finding {
                    seq: from_sql(row.get(0)?),
                    run: row.get::<_, Option<String>>(1)?.map(|run| run_id(&run)).transpose()?,
                    at: Time::from_millis(from_sql(row.get(2)?)),
                    code: row.get(3)?,
                    detail: row.get(4)?,
                });
            }
            Ok(findings)
        })
    }

    /// What people said last of each thing that stands, oldest first, with the number of the entry; `u64::MAX` for what waits
    /// in the reserve. The entries themselves are read: a word that is only in a projection is none.
    pub fn tenures(&self) -> Result<Vec<(u64, Entry)>, ReadError> {
        // The reserve first, as for halts.
        let is_word = |entry: &Entry| matches!(entry.record, Record::TenureChanged { .. });
        let reserved = self.reserved().into_iter().filter(is_word).map(|entry| (u64::MAX, entry));
        let mut words = self.read(|db| {
            let mut statement = db.prepare_cached("SELECT of, seq FROM p_tenure ORDER BY seq")?;
            let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
            let rows = rows.collect::<Result<Vec<(String, i64)>, _>>()?;
            let said = |(about, seq): (String, i64)| {
                let recorded = entry_at(db, from_sql(seq))?;
                match &recorded.entry.record {
                    Record::TenureChanged { of, .. } if of.to_string() == about => Ok((recorded.seq, recorded.entry)),
                    _ => Err(ReadError::Projection { because: format!("entry {seq} says nothing of `{about}`") }),
                }
            };
            rows.into_iter().map(said).collect::<Result<Vec<_>, ReadError>>()
        })?;
        words.extend(reserved);
        Ok(words)
    }

    /// When an agent's first run began; none when it never ran.
    pub fn first_run_of(&self, agent: &AgentName) -> Result<Option<Time>, ReadError> {
        self.read(|db| {
            let mut statement = db.prepare_cached("SELECT min(began_at) FROM p_run WHERE agent = ?1")?;
            let first: Option<i64> = statement.query_row([agent.as_str()], |row| row.get(0))?;
            Ok(first.map(|millis| Time::from_millis(from_sql(millis))))
        })
    }

    /// The log from `from` on, of one run or of all. After its end it may be asked again, once there is more.
    pub fn entries(&self, from: u64, run: Option<RunId>) -> Entries {
        Entries { ledger: self.clone(), next: from, run, page: Vec::new().into_iter(), ended: false }
    }
}

/// Entries of the log in order. Ends at the first that cannot be read, after naming it.
#[derive(Debug)]
pub struct Entries {
    ledger: Ledger,
    next: u64,
    run: Option<RunId>,
    page: std::vec::IntoIter<Recorded>,
    ended: bool,
}

/// Entries read at a time.
const PAGE_ROWS: usize = 256;

impl Iterator for Entries {
    type Item = Result<Recorded, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(recorded) = self.page.next() {
            return Some(Ok(recorded));
        }
        if self.ended {
            return None;
        }
        match self.turn_page() {
            Ok(()) => self.page.next().map(Ok),
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
        }
    }
}

impl Entries {
    fn turn_page(&mut self) -> Result<(), ReadError> {
        let mut page = Vec::new();
        let keep = |row: crate::rows::RawRow<'_>| {
            page.push(row.restore()?);
            Ok(())
        };
        let turned = self.ledger.read(|db| visit_rows(db, self.next, self.run.as_ref(), PAGE_ROWS, keep));
        // What was read before a damaged entry is handed out first; the next turn names the damage.
        if let Some(last) = page.last() {
            self.next = last.seq + 1;
        } else {
            turned?;
        }
        self.page = page.into_iter();
        Ok(())
    }
}

const RUN_COLUMNS: &str =
    "id, trigger_id, repo, agent, intent, stage, outcome, because, attempts, began_at, changed_at,
    wait_approval, wait_order, wait_since, wait_until";

fn summaries(db: &Connection, filter: &str, argument: i64) -> Result<Vec<RunSummary>, ReadError> {
    let mut statement = db.prepare_cached(&format!("SELECT {RUN_COLUMNS} FROM p_run WHERE {filter}"))?;
    let rows = statement.query_map([argument], |row| Ok(RunSummary::read(row)))?;
    rows.map(|row| row?).collect()
}

impl RunSummary {
    fn read(row: &Row<'_>) -> Result<Self, ReadError> {
        let text = |at: usize| row.get::<_, String>(at);
        let time = |at: usize| row.get(at).map(|millis| Time::from_millis(from_sql(millis)));
        let bad = |error: String| ReadError::Projection { because: error };
        let waiting = match (row.get::<_, Option<String>>(11)?, row.get(12)?) {
            (Some(approval), Some(order)) => Some(WaitingFor {
                approval: ApprovalId::parse(&approval).map_err(|error| bad(error.to_string()))?,
                order,
                since: time(13)?,
                until: time(14)?,
            }),
            _ => None,
        };
        Ok(Self {
            id: run_id(&text(0)?)?,
            trigger: TriggerId::parse(&text(1)?).map_err(|error| bad(error.to_string()))?,
            repo: RepoName::parse(&text(2)?).map_err(|error| bad(error.to_string()))?,
            agent: AgentName::parse(&text(3)?).map_err(|error| bad(error.to_string()))?,
            intent: row.get(4)?,
            stage: text(5)?,
            outcome: row.get(6)?,
            because: row.get(7)?,
            attempts: row.get(8)?,
            began_at: time(9)?,
            changed_at: time(10)?,
            waiting,
        })
    }
}

fn read_proposal(db: &Connection, repo: &RepoName, row: &Row<'_>) -> Result<Proposal, ReadError> {
    let order = project::described_at(db, from_sql(row.get(2)?))?;
    let bad = |what: &str| ReadError::Projection { because: format!("a proposal of `{repo}` has a bad {what}") };
    let text = |order: &Description, name: &str| order.text(name).map(str::to_owned).ok_or_else(|| bad(name));
    let merged: Option<String> = row.get(4)?;
    let state = match merged {
        Some(commit) => ProposalState::Merged { commit: CommitId::parse(&commit).map_err(|_| bad("merge"))? },
        None => ProposalState::Open,
    };
    Ok(Proposal {
        repo: repo.clone(),
        number: ProposalNumber::new(from_sql(row.get(0)?)),
        run: row.get::<_, Option<String>>(1)?.map(|run| run_id(&run)).transpose()?,
        commit: CommitId::parse(&text(&order, "commit")?).map_err(|_| bad("commit"))?,
        target: text(&order, "target")?,
        title: text(&order, "title")?,
        body: text(&order, "body")?,
        opened_at: Time::from_millis(from_sql(row.get(3)?)),
        state,
    })
}

fn run_id(text: &str) -> Result<RunId, ReadError> {
    RunId::parse(text).map_err(|error| ReadError::Projection { because: error.to_string() })
}

fn limit_sql(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
