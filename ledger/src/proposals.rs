//! Numbers of proposals: given out once per repository, and to the same run always the same.

use rusqlite::{Connection, OptionalExtension as _, params};
use selvedge_domain::{ProposalNumber, RepoName, RunId};

use crate::error::{Refusal, StepError};
use crate::rows::{from_sql, to_sql};

/// The number of `run`'s proposal in `repo`: the one it was given before, else the next one that is free.
pub(crate) fn allocate(db: &Connection, repo: &RepoName, run: &RunId) -> Result<ProposalNumber, StepError> {
    let given: Option<i64> = db
        .prepare_cached("SELECT number FROM proposal_number WHERE repo = ?1 AND run = ?2")?
        .query_row([repo.as_str(), run.as_str()], |row| row.get(0))
        .optional()?;
    if let Some(number) = given {
        return Ok(ProposalNumber::new(from_sql(number)));
    }
    // Both tables: what was given out and never recorded, and what was recorded before working state was lost.
    let highest: i64 = db.query_row(
        "SELECT max((SELECT coalesce(max(number), 0) FROM proposal_number WHERE repo = ?1),
                    (SELECT coalesce(max(number), 0) FROM p_proposal WHERE repo = ?1))",
        [repo.as_str()],
        |row| row.get(0),
    )?;
    let next = highest.checked_add(1).ok_or(Refusal::OutOfRange { what: "the number of a proposal" })?;
    db.execute("INSERT INTO proposal_number VALUES (?1, ?2, ?3)", params![repo.as_str(), next, run.as_str()])?;
    Ok(ProposalNumber::new(from_sql(next)))
}

/// Refuses proposal `number` of `repo` when it was opened before, or given to another run than `run`.
pub(crate) fn check_number(
    db: &Connection,
    run: Option<&RunId>,
    repo: &RepoName,
    number: ProposalNumber,
) -> Result<(), StepError> {
    if i64::try_from(number.get()).is_err() {
        return Err(Refusal::OutOfRange { what: "the number of a proposal" }.into());
    }
    let parameters = params![repo.as_str(), to_sql(number.get()), run.map(RunId::as_str)];
    let taken: bool = db
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM p_proposal WHERE repo = ?1 AND number = ?2)
                 OR EXISTS (SELECT 1 FROM proposal_number WHERE repo = ?1 AND number = ?2 AND run IS NOT ?3)",
        )?
        .query_row(parameters, |row| row.get(0))?;
    if taken { Err(Refusal::ProposalTaken { repo: repo.clone(), number }.into()) } else { Ok(()) }
}
