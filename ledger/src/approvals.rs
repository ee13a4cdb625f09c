//! Approvals as the log made them: what was asked, who answered, whether the answer can still be used.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use selvedge_authority::{Approval, Record};
use selvedge_domain::{ApprovalId, Deed, Description, Digest, Person, RunId, Time, Verb};

use crate::error::ReadError;
use crate::ledger::Ledger;
use crate::project::{self, Answered, Granted};
use crate::rows::{entry_at, from_sql, to_sql};

/// A request for approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalRequest {
    /// Its id.
    pub id: ApprovalId,
    /// The run that waits.
    pub run: Option<RunId>,
    /// The order, laid open.
    pub order: Description,
    /// When it was asked.
    pub asked_at: Time,
    /// When the request lapses.
    pub until: Time,
    /// What came of it.
    pub state: ApprovalState,
}

/// What came of a request for approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApprovalState {
    /// Nobody has answered yet.
    Asked,
    /// Nobody answered in time, which is a no.
    Lapsed,
    /// Its run came to its end before anybody answered, so no answer changes anything.
    Outlived,
    /// A person said yes.
    Granted {
        /// Who.
        by: Person,
        /// Until when the yes can be used.
        until: Time,
    },
    /// A person said no.
    Denied,
    /// The yes was used.
    Used {
        /// Who had said yes.
        by: Person,
    },
    /// It was a question, and a person answered it in words.
    Answered(Reply),
}

/// A person's words on a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Whose.
    pub by: Person,
    /// When.
    pub at: Time,
    /// What they say.
    pub words: String,
}

const COLUMNS: &str = "id, seq, run, asked_at, until, state, by_uid, usable_until, run_is_over, answer_seq";

/// Every request, each with whether its run has an outcome and so no use for an answer.
const REQUESTS: &str = "(SELECT *, EXISTS (
        SELECT 1 FROM p_run WHERE p_run.id = p_approval.run AND p_run.stage IN ('closing', 'revoked', 'settled')
    ) AS run_is_over FROM p_approval)";

/// A yes to exactly this order that can be used at `now`. The projection only says where to look: what counts is the
/// recorded deed and the order it carried out.
pub(crate) fn usable(db: &Connection, order: &Digest, now: Time) -> Result<Option<Approval>, ReadError> {
    let found = db
        .prepare_cached(
            "SELECT id, answer_seq FROM p_approval
             WHERE order_digest = ?1 AND state = 'granted' AND usable_until >= ?2 ORDER BY usable_until DESC LIMIT 1",
        )?
        .query_row(params![order.as_bytes(), to_sql(now.as_millis())], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?))
        })
        .optional()?;
    let Some((id, seq)) = found else { return Ok(None) };
    let forged = || ReadError::Projection { because: format!("approval `{id}` was not granted in the log") };
    let answer = entry_at(db, seq.map(from_sql).ok_or_else(forged)?)?.entry.record;
    let Record::Done { order: granting, verb: Verb::ApprovalGrant, deed: Deed::Approved } = answer else {
        return Err(forged());
    };
    let described = project::order(db, &granting)?.ok_or_else(forged)?;
    let granted = Granted::read(&described).filter(|granted| granted.order == *order && granted.until >= now);
    match granted {
        Some(granted) if described.resource.name == id => {
            Ok(Some(Approval { id: parse_id(&id)?, by: granted.by, until: granted.until }))
        }
        _ => Err(forged()),
    }
}

/// A person's words on a question, as the log has them. The projection only says where to look.
fn words(db: &Connection, id: &str, seq: Option<i64>) -> Result<Reply, ReadError> {
    let forged = || ReadError::Projection { because: format!("question `{id}` was not answered in the log") };
    let recorded = entry_at(db, seq.map(from_sql).ok_or_else(forged)?)?;
    let Record::Done { order, verb: Verb::QuestionAnswer, deed: Deed::Replied } = recorded.entry.record else {
        return Err(forged());
    };
    let described = project::order(db, &order)?.filter(|order| order.resource.name == id).ok_or_else(forged)?;
    let Answered { words, by, .. } = Answered::read(&described).ok_or_else(forged)?;
    Ok(Reply { by, at: recorded.entry.at, words })
}

/// The orders with a yes that was not used. Where to look, and no more than that.
pub(crate) fn granted(db: &Connection) -> Result<BTreeSet<Digest>, ReadError> {
    let mut statement = db.prepare_cached("SELECT order_digest FROM p_approval WHERE state = 'granted'")?;
    let digests = statement.query_map([], |row| row.get(0).map(Digest::from_bytes))?;
    Ok(digests.collect::<Result<_, _>>()?)
}

impl Ledger {
    /// A request for approval, as it stands at `now`.
    pub fn approval_request(&self, id: &ApprovalId, now: Time) -> Result<Option<ApprovalRequest>, ReadError> {
        self.read(|db| {
            let sql = format!("SELECT {COLUMNS} FROM {REQUESTS} WHERE id = ?1");
            let row = db.prepare_cached(&sql)?.query_row([id.as_str()], RawRequest::read).optional()?;
            row.map(|raw| raw.restore(db, now)).transpose()
        })
    }

    /// Every request that nobody has answered, that has not lapsed at `now` and whose run can still use an answer, oldest first.
    pub fn open_approvals(&self, now: Time) -> Result<Vec<ApprovalRequest>, ReadError> {
        self.read(|db| {
            let sql = format!(
                "SELECT {COLUMNS} FROM {REQUESTS} WHERE state = 'asked' AND until >= ?1 AND NOT run_is_over ORDER BY seq"
            );
            let mut statement = db.prepare_cached(&sql)?;
            let rows = statement.query_map([to_sql(now.as_millis())], RawRequest::read)?;
            rows.map(|raw| raw?.restore(db, now)).collect()
        })
    }
}

struct RawRequest {
    id: String,
    seq: u64,
    run: Option<String>,
    asked_at: u64,
    until: u64,
    state: String,
    by: Option<i64>,
    usable_until: Option<i64>,
    run_is_over: bool,
    answer_seq: Option<i64>,
}

impl RawRequest {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            seq: from_sql(row.get(1)?),
            run: row.get(2)?,
            asked_at: from_sql(row.get(3)?),
            until: from_sql(row.get(4)?),
            state: row.get(5)?,
            by: row.get(6)?,
            usable_until: row.get(7)?,
            run_is_over: row.get(8)?,
            answer_seq: row.get(9)?,
        })
    }

    fn restore(self, db: &Connection, now: Time) -> Result<ApprovalRequest, ReadError> {
        let bad = |what: &str| ReadError::Projection { because: format!("approval `{}` has a bad {what}", self.id) };
        let by = || self.by.ok_or_else(|| bad("person")).and_then(person);
        let until = Time::from_millis(self.until);
        let state = match self.state.as_str() {
            "asked" if self.run_is_over => ApprovalState::Outlived,
            "asked" if until < now => ApprovalState::Lapsed,
            "asked" => ApprovalState::Asked,
            "granted" => {
                let usable = self.usable_until.ok_or_else(|| bad("expiry"))?;
                ApprovalState::Granted { by: by()?, until: Time::from_millis(from_sql(usable)) }
            }
            "denied" => ApprovalState::Denied,
            "lapsed" => ApprovalState::Lapsed,
            "used" => ApprovalState::Used { by: by()? },
            "answered" => ApprovalState::Answered(words(db, &self.id, self.answer_seq)?),
            _ => return Err(bad("state")),
        };
        Ok(ApprovalRequest {
            id: parse_id(&self.id)?,
            run: self.run.as_deref().map(RunId::parse).transpose().map_err(|_| bad("run"))?,
            order: project::described_at(db, self.seq)?,
            asked_at: Time::from_millis(self.asked_at),
            until,
            state,
        })
    }
}

fn parse_id(text: &str) -> Result<ApprovalId, ReadError> {
    ApprovalId::parse(text).map_err(|error| ReadError::Projection { because: error.to_string() })
}

fn person(uid: i64) -> Result<Person, ReadError> {
    let bad = |_| ReadError::Projection { because: format!("`{uid}` is no person") };
    u32::try_from(uid).map(Person::from_uid).map_err(bad)
}
