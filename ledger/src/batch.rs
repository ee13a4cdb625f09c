//! Many callers' writes in one transaction (group commit), all or none.

use std::sync::mpsc::SyncSender;

use selvedge_authority::Class;

use crate::error::{StepError, WriteError};
use crate::reserve::{self, Reserve};
use crate::schema;
use crate::shared::Shared;
use crate::store::{Prepared, Store};

/// One caller's write.
pub(crate) trait Job: Send {
    /// How safe it must be before the caller hears of it.
    fn class(&self) -> Class;

    /// Writes within the transaction under way. An error dooms the transaction; a refusal is no error.
    fn run(&mut self, store: &mut Store) -> Result<(), String>;

    /// The entry to keep in the reserve when the store fails, for jobs that may use it.
    fn last_resort(&self) -> Option<&Prepared>;

    /// Answers the caller.
    fn answer(self: Box<Self>, answer: Answer);
}

/// A write as a closure with a typed answer.
pub(crate) struct Task<T, F> {
    pub(crate) class: Class,
    pub(crate) work: F,
    pub(crate) done: Option<Result<T, WriteError>>,
    pub(crate) last_resort: Option<(Prepared, fn() -> T)>,
    pub(crate) reply: SyncSender<Result<T, WriteError>>,
}

impl<T: Send, F: FnMut(&mut Store) -> Result<T, StepError> + Send> Job for Task<T, F> {
    fn class(&self) -> Class {
        self.class
    }

    fn run(&mut self, store: &mut Store) -> Result<(), String> {
        match (self.work)(store) {
            Ok(value) => self.done = Some(Ok(value)),
            Err(StepError::Refused(refusal)) => self.done = Some(Err(refusal.into())),
            Err(error @ (StepError::Read(_) | StepError::Entropy(_))) => return Err(error.to_string()),
        }
        Ok(())
    }

    fn last_resort(&self) -> Option<&Prepared> {
        self.last_resort.as_ref().map(|(prepared, _)| prepared)
    }

    fn answer(self: Box<Self>, answer: Answer) {
        let refused = matches!(self.done, Some(Err(WriteError::Refused(_))));
        let reply = match (answer, self.done, self.last_resort) {
            (Answer::Kept, _, Some((_, value))) => Ok(value()),
            (Answer::Failed(because), ..) if !refused => Err(WriteError::Storage(because)),
            (_, Some(done), _) => done,
            (_, None, _) => Err(WriteError::Closed),
        };
        // A caller that went away needs no answer.
        drop(self.reply.send(reply));
    }
}

/// Runs `jobs` in one transaction, tells readers, then answers the callers. Returns whether anything was committed.
pub(crate) fn commit(store: &mut Store, reserve: &mut Reserve, shared: &Shared, mut jobs: Vec<Box<dyn Job>>) -> bool {
    move_reserve(store, reserve);
    let class = jobs.iter().map(|job| job.class()).max().unwrap_or(Class::Observed);
    let outcome = transaction(store, class, |store| jobs.iter_mut().try_for_each(|job| job.run(store)));
    let answers: Vec<Answer> = jobs
        .iter()
        .map(|job| match (&outcome, job.last_resort()) {
            (Ok(()), _) => Answer::Committed,
            (Err(_), Some(prepared)) if reserve.keep(&prepared.entry).is_ok() => Answer::Kept,
            (Err(because), _) => Answer::Failed(because.clone()),
        })
        .collect();
    // Readers first: whoever hears that its entry was written may ask for it at once.
    shared.publish(store.size(), store.last_at(), reserve.pending());
    jobs.into_iter().zip(answers).for_each(|(job, answer)| job.answer(answer));
    outcome.is_ok()
}

/// What becomes of a job.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Its transaction was committed.
    Committed,
    /// Its transaction was rolled back, and its entry lies in the reserve.
    Kept,
    /// Its transaction was rolled back, and this is why.
    Failed(String),
}

/// Moves what lies in the reserve into the log, once, when the log can be written.
pub(crate) fn move_reserve(store: &mut Store, reserve: &mut Reserve) {
    if reserve.is_empty() {
        return;
    }
    let moved = transaction(store, Class::Durable, |store| {
        for entry in reserve.pending() {
            let prepared = Prepared::new(entry.clone()).map_err(|refusal| refusal.to_string())?;
            store.append(&prepared).map_err(|error| error.to_string())?;
        }
        let serial = i64::try_from(reserve.last_serial()).unwrap_or(i64::MAX);
        schema::set_meta(&store.db, "reserve_moved", serial).map_err(|error| error.to_string())
    });
    if moved.is_ok() {
        // When clearing fails the log still knows what was moved; the room is freed the next time.
        drop(reserve.clear());
    }
}

/// Runs `work` in a transaction that is as safe as `class` demands when this returns. After a failure nothing of it
/// remains, on disk or in memory.
pub(crate) fn transaction(
    store: &mut Store,
    class: Class,
    work: impl FnOnce(&mut Store) -> Result<(), String>,
) -> Result<(), String> {
    let begun = store.begin(class).map_err(|error| error.to_string());
    let outcome = begun.and_then(|()| work(store)).and_then(|()| store.commit().map_err(|error| error.to_string()));
    if outcome.is_err() {
        store.roll_back();
    }
    outcome
}

/// The entry a job may put into the reserve.
pub(crate) fn last_resort<T>(prepared: &Prepared, value: fn() -> T) -> Option<(Prepared, fn() -> T)> {
    reserve::may_use(&prepared.entry).then(|| (prepared.clone(), value))
}
