//! Projections: what each entry changes in the tables that are rebuilt from the log, and nowhere else.
//!
//! Pure in its inputs: the same entries in the same order give the same rows. Refuses nothing; the law was checked
//! before the entry was written.

use rusqlite::{Connection, OptionalExtension as _, params};
use selvedge_authority::{Entry, Hold, Observation, Record, Relinquished, Verdict};
use selvedge_domain::orders::Merged;
use selvedge_domain::{
    ApprovalId, Behaviour, Deed, Description, Digest, Event, Person, Run, RunId, Stage, Time, Trigger, TriggerId, Verb,
    WaitKind,
};

use crate::error::ReadError;
use crate::moment;
use crate::rows::{entry_at, from_sql, to_sql};
use crate::scope::scope_text;

/// Applies one entry. `run` is the entry's run after it, when the entry changed it.
pub(crate) fn apply(db: &Connection, seq: u64, entry: &Entry, run: Option<&Run>) -> Result<(), ReadError> {
    let run_id = entry.run.as_ref().map(RunId::as_str);
    let at = to_sql(entry.at.as_millis());
    match &entry.record {
        Record::Triggered(trigger) => {
            db.prepare_cached("INSERT INTO p_trigger VALUES (?1, ?2, ?3, ?4, NULL)")?.execute(params![
                trigger.id.as_str(),
                to_sql(seq),
                trigger.repo.as_str(),
                trigger.agent.as_str()
            ])?;
        }
        Record::RunBegan { trigger } => {
            db.prepare_cached("UPDATE p_trigger SET run = ?2 WHERE id = ?1")?
                .execute(params![trigger.as_str(), run_id])?;
            put_run(db, seq, at, run)?;
        }
        Record::Happened(event) => {
            put_run(db, seq, at, run)?;
            put_lease(db, event, run)?;
            if matches!(event, Event::AttemptLost { .. }) {
                lapse_with_attempt(db, run_id)?;
            }
        }
        Record::Decided { order, verdict: Verdict::Allow { .. }, .. } if keeps_order(order.verb) => {
            db.prepare_cached("INSERT INTO p_order VALUES (?1, ?2) ON CONFLICT DO UPDATE SET seq = ?2")?
                .execute(params![order.digest().as_bytes(), to_sql(seq)])?;
        }
        Record::Done { order, verb, deed } => put_deed(db, seq, entry, (order, *verb, deed))?,
        Record::ApprovalAsked { approval, order, until } => {
            // Asked again, after a crash or after a yes that expired, it is the same request with a new deadline. What a
            // person answered still counts: a no for good, a yes while it can be used.
            db.prepare_cached(
                "INSERT INTO p_approval VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'asked', NULL, NULL, NULL)
                 ON CONFLICT DO UPDATE SET seq = ?2, asked_at = ?5, until = ?6, state = 'asked', by_uid = NULL,
                     usable_until = NULL, answer_seq = NULL
                 WHERE NOT (state = 'denied' OR (state = 'granted' AND usable_until >= ?5))",
            )?
            .execute(params![
                approval.as_str(),
                to_sql(seq),
                run_id,
                order.digest().as_bytes(),
                at,
                to_sql(until.as_millis())
            ])?;
        }
        Record::ApprovalDenied { approval } => {
            db.prepare_cached(
                "UPDATE p_approval SET state = 'denied', answer_seq = ?2
                 WHERE id = ?1 AND state IN ('asked', 'granted')",
            )?
            .execute(params![approval.as_str(), to_sql(seq)])?;
        }
        Record::Held(Hold::Lapsed { approval, .. }) => {
            db.prepare_cached(
                "UPDATE p_approval SET state = 'lapsed' WHERE id = ?1 AND state IN ('asked', 'granted')",
            )?
            .execute([approval.as_str()])?;
        }
        Record::Relinquished(act) => put_halt(db, entry, act)?,
        Record::Observed(Observation::Finding { code, detail }) => {
            db.prepare_cached("INSERT INTO p_finding VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
                to_sql(seq),
                run_id,
                at,
                code,
                detail
            ])?;
        }
        Record::TenureChanged { of, .. } => {
            db.prepare_cached("INSERT INTO p_tenure VALUES (?1, ?2) ON CONFLICT DO UPDATE SET seq = ?2")?
                .execute(params![of.to_string(), to_sql(seq)])?;
        }
        Record::Behaved { agent, behaviour } => {
            db.prepare_cached("INSERT INTO p_behaviour VALUES (?1, ?2, ?3)")?.execute(params![
                agent.as_str(),
                sort(behaviour),
                to_sql(seq)
            ])?;
        }
        Record::Decided { .. }
        | Record::NotDone { .. }
        | Record::Held(Hold::Began { .. } | Hold::Ended)
        | Record::Observed(_)
        | Record::KeeperStarted { .. }
        | Record::KeyChanged { .. }
        | Record::RulesChanged { .. } => {}
    }
    Ok(())
}

/// Every sort of behaviour.
pub(crate) const SORTS: [&str; 3] = ["settled", "drifted", "departed"];

fn sort(behaviour: &Behaviour) -> &'static str {
    let [settled, drifted, departed] = SORTS;
    match behaviour {
        Behaviour::Settled(_) => settled,
        Behaviour::Drifted { .. } => drifted,
        Behaviour::Departed { .. } => departed,
    }
}

/// The orders whose deed says less than their description, so that the description is looked up when it is done.
pub(crate) fn keeps_order(verb: Verb) -> bool {
    matches!(verb, Verb::ApprovalGrant | Verb::QuestionAnswer | Verb::ProposalOpen | Verb::ProposalMerge)
}

fn put_run(db: &Connection, seq: u64, at: i64, run: Option<&Run>) -> Result<(), ReadError> {
    let Some(run) = run else { return Ok(()) };
    let outcome = run.outcome();
    let wait = match run.stage() {
        Stage::Parking(wait) | Stage::Waiting(wait) => Some(wait),
        _ => None,
    };
    let approval = wait.map(|wait| {
        let WaitKind::Approval { approval, order } = &wait.kind;
        (approval.as_str(), order.as_str())
    });
    db.prepare_cached(
        "INSERT INTO p_run VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11, ?12, ?13, ?14, ?15)
         ON CONFLICT DO UPDATE SET intent = ?6, stage = ?7, outcome = ?8, because = ?9, attempts = ?10,
             changed_at = ?11, wait_approval = ?12, wait_order = ?13, wait_since = ?14, wait_until = ?15",
    )?
    .execute(params![
        run.id().as_str(),
        to_sql(seq),
        run.trigger().id.as_str(),
        run.trigger().repo.as_str(),
        run.trigger().agent.as_str(),
        run.task().map(|task| task.intent.as_str()),
        run.stage().name(),
        outcome.map(selvedge_domain::Outcome::as_str),
        outcome.map(selvedge_domain::Outcome::because),
        run.attempts(),
        at,
        approval.map(|(id, _)| id),
        approval.map(|(_, order)| order),
        wait.map(|wait| to_sql(wait.since.as_millis())),
        wait.map(|wait| to_sql(wait.until.as_millis())),
    ])?;
    Ok(())
}

fn put_lease(db: &Connection, event: &Event, run: Option<&Run>) -> Result<(), ReadError> {
    let (Event::LeaseAnnounced(lease) | Event::LeaseChanged(lease, _), Some(run)) = (event, run) else {
        return Ok(());
    };
    let may_live = run.leases().get(lease).is_some_and(|state| state.may_live());
    db.prepare_cached("INSERT INTO p_lease VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET may_live = ?3")?
        .execute(params![lease.as_str(), run.id().as_str(), may_live])?;
    Ok(())
}

fn put_deed(
    db: &Connection,
    seq: u64,
    entry: &Entry,
    (digest, verb, deed): (&Digest, Verb, &Deed),
) -> Result<(), ReadError> {
    let at = to_sql(entry.at.as_millis());
    if let Some(run) = &entry.run {
        db.prepare_cached("INSERT INTO p_deed VALUES (?1, ?2, ?3)")?.execute(params![
            run.as_str(),
            digest.as_bytes(),
            to_sql(seq)
        ])?;
    }
    // One use is one recorded deed.
    db.prepare_cached("UPDATE p_approval SET state = 'used' WHERE order_digest = ?1 AND state = 'granted'")?
        .execute([digest.as_bytes()])?;
    if !keeps_order(verb) {
        return Ok(());
    }
    let Some(described) = order(db, digest)? else { return Ok(()) };
    match deed {
        Deed::Approved => grant_approval(db, seq, at, &described),
        Deed::Replied => answer_question(db, seq, at, &described),
        Deed::Opened(number) => {
            let decided = order_seq(db, digest)?.map(to_sql);
            let run = entry.run.as_ref().map(RunId::as_str);
            db.prepare_cached("INSERT INTO p_proposal VALUES (?1, ?2, ?3, ?4, 'open', ?5, NULL, NULL)")?
                .execute(params![described.resource.repo.as_str(), to_sql(number.get()), run, decided, at])?;
            Ok(())
        }
        Deed::Merged(merged) => merge_proposal(db, at, &described, merged),
        _ => Ok(()),
    }
}

/// A yes counts for exactly the order that was asked about, while the request stands.
fn grant_approval(db: &Connection, seq: u64, at: i64, described: &Description) -> Result<(), ReadError> {
    let Some(Granted { order, until, by }) = Granted::read(described) else { return Ok(()) };
    db.prepare_cached(
        "UPDATE p_approval SET state = 'granted', by_uid = ?3, usable_until = ?4, answer_seq = ?6
         WHERE id = ?1 AND order_digest = ?2 AND state = 'asked' AND until >= ?5",
    )?
    .execute(params![
        described.resource.name,
        order.as_bytes(),
        by.uid(),
        to_sql(until.as_millis()),
        at,
        to_sql(seq)
    ])?;
    Ok(())
}

/// What was asked while an attempt's turn was held is asked by nobody once that attempt is lost: the next one asks anew.
fn lapse_with_attempt(db: &Connection, run: Option<&str>) -> Result<(), ReadError> {
    let mut open =
        db.prepare_cached("SELECT id, seq FROM p_approval WHERE run = ?1 AND state IN ('asked', 'granted')")?;
    let open = open.query_map([run], |row| Ok((row.get::<_, String>(0)?, from_sql(row.get(1)?))))?;
    for (id, seq) in open.collect::<Result<Vec<_>, _>>()? {
        if matches!(described_at(db, seq)?.verb, Verb::ToolCall | Verb::QuestionAsk) {
            db.prepare_cached("UPDATE p_approval SET state = 'lapsed' WHERE id = ?1")?.execute([id])?;
        }
    }
    Ok(())
}

/// Words count for exactly the question that was asked, while it stands; the first who answers has answered.
fn answer_question(db: &Connection, seq: u64, at: i64, described: &Description) -> Result<(), ReadError> {
    let Some(Answered { question, by, .. }) = Answered::read(described) else { return Ok(()) };
    db.prepare_cached(
        "UPDATE p_approval SET state = 'answered', by_uid = ?3, answer_seq = ?5
         WHERE id = ?1 AND order_digest = ?2 AND state = 'asked' AND until >= ?4",
    )?
    .execute(params![described.resource.name, question.as_bytes(), by.uid(), at, to_sql(seq)])?;
    Ok(())
}

/// What a `question.answer` order says.
pub(crate) struct Answered {
    /// The question.
    pub(crate) question: Digest,
    /// The words.
    pub(crate) words: String,
    /// Whose.
    pub(crate) by: Person,
}

impl Answered {
    /// Reads it from the order laid open.
    pub(crate) fn read(described: &Description) -> Option<Self> {
        Some(Self {
            question: Digest::parse(described.text("order_digest")?).ok()?,
            words: described.text("answer")?.to_owned(),
            by: person(described)?,
        })
    }
}

fn person(described: &Description) -> Option<Person> {
    described.number("uid").and_then(|uid| u32::try_from(uid).ok()).map(Person::from_uid)
}

/// What an `approval.grant` order grants.
pub(crate) struct Granted {
    /// The order that may be carried out.
    pub(crate) order: Digest,
    /// Until when.
    pub(crate) until: Time,
    /// Who says so.
    pub(crate) by: Person,
}

impl Granted {
    /// Reads it from the order laid open.
    pub(crate) fn read(described: &Description) -> Option<Self> {
        Some(Self {
            order: Digest::parse(described.text("order_digest")?).ok()?,
            until: moment::parse(described.text("until")?)?,
            by: person(described)?,
        })
    }
}

fn merge_proposal(db: &Connection, at: i64, described: &Description, merged: &Merged) -> Result<(), ReadError> {
    let repo = described.resource.repo.as_str();
    let number = described.resource.name.strip_prefix(repo).and_then(|rest| rest.strip_prefix('#'));
    let Some(number) = number.and_then(|number| number.parse::<i64>().ok()) else { return Ok(()) };
    db.prepare_cached(
        "UPDATE p_proposal SET state = 'merged', merged_commit = ?3, merged_at = ?4 WHERE repo = ?1 AND number = ?2",
    )?
    .execute(params![repo, number, merged.commit.as_str(), at])?;
    Ok(())
}

fn put_halt(db: &Connection, entry: &Entry, act: &Relinquished) -> Result<(), ReadError> {
    match act {
        Relinquished::Halted(scope) => {
            db.prepare_cached("INSERT INTO p_halt VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?.execute(params![
                scope_text(scope),
                to_sql(entry.at.as_millis()),
                entry.actor.to_string()
            ])?;
        }
        Relinquished::Resumed(scope) => {
            db.prepare_cached("DELETE FROM p_halt WHERE scope = ?1")?.execute([scope_text(scope)])?;
        }
        Relinquished::SandboxKilled { .. } | Relinquished::DoorsClosed | Relinquished::Withdrawn { .. } => {}
    }
    Ok(())
}

/// Where the deed for this order in this run is recorded.
pub(crate) fn deed_seq(db: &Connection, run: &RunId, order: &Digest) -> Result<Option<u64>, ReadError> {
    let mut statement = db.prepare_cached("SELECT seq FROM p_deed WHERE run = ?1 AND order_digest = ?2")?;
    let seq: Option<i64> = statement.query_row(params![run.as_str(), order.as_bytes()], |row| row.get(0)).optional()?;
    Ok(seq.map(from_sql))
}

/// Whether this approval was asked for.
pub(crate) fn approval_exists(db: &Connection, approval: &ApprovalId) -> Result<bool, ReadError> {
    let mut statement = db.prepare_cached("SELECT EXISTS (SELECT 1 FROM p_approval WHERE id = ?1)")?;
    Ok(statement.query_row([approval.as_str()], |row| row.get(0))?)
}

/// Whether this approval was asked for, and for another order or another run.
pub(crate) fn approval_binds_another(
    db: &Connection,
    approval: &ApprovalId,
    run: Option<&RunId>,
    order: &Digest,
) -> Result<bool, ReadError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM p_approval WHERE id = ?1 AND NOT (run IS ?2 AND order_digest = ?3))";
    let parameters = params![approval.as_str(), run.map(RunId::as_str), order.as_bytes()];
    Ok(db.prepare_cached(sql)?.query_row(parameters, |row| row.get(0))?)
}

fn order_seq(db: &Connection, digest: &Digest) -> Result<Option<u64>, ReadError> {
    let mut statement = db.prepare_cached("SELECT seq FROM p_order WHERE order_digest = ?1")?;
    let seq: Option<i64> = statement.query_row([digest.as_bytes()], |row| row.get(0)).optional()?;
    Ok(seq.map(from_sql))
}

/// The order with this fingerprint, when it was allowed and is one of those that are looked up. The log has the last
/// word: a projection that points elsewhere finds nothing.
pub(crate) fn order(db: &Connection, digest: &Digest) -> Result<Option<Description>, ReadError> {
    let Some(seq) = order_seq(db, digest)? else { return Ok(None) };
    match entry_at(db, seq)?.entry.record {
        Record::Decided { order, verdict: Verdict::Allow { .. }, .. } if order.digest() == *digest => Ok(Some(order)),
        _ => Err(ReadError::Projection { because: format!("entry {seq} does not allow order {digest}") }),
    }
}

/// The order laid open in the entry at `seq`.
pub(crate) fn described_at(db: &Connection, seq: u64) -> Result<Description, ReadError> {
    match entry_at(db, seq)?.entry.record {
        Record::Decided { order, .. } | Record::ApprovalAsked { order, .. } => Ok(order),
        _ => Err(ReadError::Damaged { seq, because: "it holds no order".to_owned() }),
    }
}

/// A trigger, and the run that serves it.
pub(crate) fn trigger(db: &Connection, id: &TriggerId) -> Result<Option<(Trigger, Option<String>)>, ReadError> {
    let mut statement = db.prepare_cached("SELECT seq, run FROM p_trigger WHERE id = ?1")?;
    let found = statement.query_row([id.as_str()], |row| Ok((from_sql(row.get(0)?), row.get(1)?))).optional()?;
    let Some((seq, run)) = found else { return Ok(None) };
    match entry_at(db, seq)?.entry.record {
        Record::Triggered(trigger) => Ok(Some((*trigger, run))),
        _ => Err(ReadError::Damaged { seq, because: "it is not a trigger".to_owned() }),
    }
}
