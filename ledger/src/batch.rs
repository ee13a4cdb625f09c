//! Many callers' writes in one transaction (group commit), all or none.

use std::sync::mpsc::SyncSender;

use selvedge_authority::Class;

use crate::error::{ReadError, StepError, WriteError};
use crate::reserve::{self, Reserve};
use crate::rows::to_sql;
use crate::schema;
use crate::shared::Shared;
use crate::store::{Prepared, Store};

/// One caller's write.
pub(crate) trait Job: Send {
    /// How safe it must be before the caller hears of it.
    fn class(&self) -> Class;

    /// Writes within the transaction under way, which an error dooms; a refusal is no error. May be run again after a
    /// transaction that was rolled back.
    fn run(&mut self, store: &mut Store) -> Result<(), Doomed>;

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

    fn run(&mut self, store: &mut Store) -> Result<(), Doomed> {
        match (self.work)(store) {
            Ok(value) => self.done = Some(Ok(value)),
            Err(StepError::Refused(refusal)) => self.done = Some(Err(refusal.into())),
            Err(error) => return Err(Doomed::by(&error)),
        }
        Ok(())
    }

    fn last_resort(&self) -> Option<&Prepared> {
        self.last_resort.as_ref().map(|(prepared, _)| prepared)
    }

    fn answer(self: Box<Self>, answer: Answer) {
        let reply = match (answer, self.done, self.last_resort) {
            (Answer::Kept, _, Some((_, value))) => Ok(value()),
            (Answer::Failed(because), ..) => Err(WriteError::Storage(because)),
            (_, Some(done), _) => done,
            (_, None, _) => Err(WriteError::Closed),
        };
        // A caller that went away needs no answer.
        drop(self.reply.send(reply));
    }
}

/// Why a transaction was rolled back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Doomed {
    /// The store cannot write: nobody's write would have fared better.
    Store(String),
    /// One job met something it could not cope with, a damaged run for instance: the others deserve another try.
    Job(String),
}

impl Doomed {
    fn by(error: &StepError) -> Self {
        use rusqlite::ErrorCode as Code;
        let because = error.to_string();
        match error {
            StepError::Read(ReadError::Storage(error))
                if error.sqlite_error_code() != Some(Code::ConstraintViolation) =>
            {
                Self::Store(because)
            }
            _ => Self::Job(because),
        }
    }

    /// The sentence.
    pub(crate) fn because(&self) -> &str {
        let (Self::Store(because) | Self::Job(because)) = self;
        because
    }
}

/// What a commit left that is not on stable storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// As before: nothing was committed, or nothing that can be known to have been synced.
    AsBefore,
    /// What was committed is not.
    Something,
    /// All of the log is.
    Nothing,
}

/// Runs `jobs` in one transaction, tells readers, then answers the callers.
pub(crate) fn commit(store: &mut Store, reserve: &mut Reserve, shared: &Shared, mut jobs: Vec<Box<dyn Job>>) -> Left {
    move_reserve(store, reserve);
    let before = store.size();
    let class = jobs.iter().map(|job| job.class()).max().unwrap_or(Class::Observed);
    let outcome = transaction(store, class, |store| jobs.iter_mut().try_for_each(|job| job.run(store)));
    if matches!(outcome, Err(Doomed::Job(_))) && jobs.len() > 1 {
        // One by one: whoever doomed the batch fails alone.
        return jobs.into_iter().fold(Left::AsBefore, |left, job| match commit(store, reserve, shared, vec![job]) {
            Left::AsBefore => left,
            after => after,
        });
    }
    let answers: Vec<Answer> = jobs
        .iter()
        .map(|job| match (&outcome, job.last_resort()) {
            (Ok(()), _) => Answer::Committed,
            (Err(_), Some(prepared)) if reserve.keep(&prepared.entry).is_ok() => Answer::Kept,
            (Err(doomed), _) => Answer::Failed(doomed.because().to_owned()),
        })
        .collect();
    // Readers first: whoever hears that its entry was written may ask for it at once.
    shared.publish(store, reserve.pending());
    jobs.into_iter().zip(answers).for_each(|(job, answer)| job.answer(answer));
    match (outcome, class) {
        (Err(_), _) => Left::AsBefore,
        // SQLite syncs what is written, and a transaction that writes nothing syncs nothing. An entry is always written.
        (Ok(()), Class::Durable) if store.size() == before => Left::AsBefore,
        (Ok(()), Class::Durable) => Left::Nothing,
        (Ok(()), Class::Ordered | Class::Observed) => Left::Something,
    }
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
            let prepared = Prepared::new(entry.clone()).map_err(|refusal| Doomed::by(&refusal.into()))?;
            store.append(&prepared).map_err(|error| Doomed::by(&error))?;
        }
        let serial = to_sql(reserve.last_serial());
        schema::set_meta(&store.db, "reserve_moved", serial).map_err(|error| Doomed::by(&error.into()))
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
    work: impl FnOnce(&mut Store) -> Result<(), Doomed>,
) -> Result<(), Doomed> {
    let begun = store.begin(class).map_err(|error| Doomed::Store(error.to_string()));
    let commit = |store: &mut Store| store.commit().map_err(|error| Doomed::Store(error.to_string()));
    let outcome = begun.and_then(|()| work(store)).and_then(|()| commit(store));
    if outcome.is_err() {
        store.roll_back();
    }
    outcome
}

/// The entry a job may put into the reserve.
pub(crate) fn last_resort<T>(prepared: &Prepared, value: fn() -> T) -> Option<(Prepared, fn() -> T)> {
    reserve::may_use(&prepared.entry).then(|| (prepared.clone(), value))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};

    use rusqlite::Connection;
    use selvedge_authority::{Entry, Record};
    use selvedge_domain::{Actor, Digest, Time, Verb};

    use super::*;
    use crate::danger::SeededEntropy;
    use crate::error::Refusal;
    use crate::key::LogKey;

    fn store() -> Store {
        let db = Connection::open_in_memory().unwrap();
        schema::create(&db).unwrap();
        Store::open(db, LogKey::from_seed(&[1; 32]).unwrap(), Box::new(SeededEntropy::new(1))).unwrap()
    }

    fn job(
        work: impl FnMut(&mut Store) -> Result<u64, StepError> + Send + 'static,
    ) -> (Box<dyn Job>, Receiver<Result<u64, WriteError>>) {
        let (reply, answer) = sync_channel(1);
        (Box::new(Task { class: Class::Durable, work, done: None, last_resort: None, reply }), answer)
    }

    fn append(store: &mut Store) -> Result<u64, StepError> {
        let record = Record::NotDone { order: Digest::of_parts([]), verb: Verb::GitRead, because: String::new() };
        let entry = Entry { at: Time::from_millis(1), run: None, actor: Actor::Factory, owner: None, record };
        store.append(&Prepared::new(entry)?)
    }

    #[test]
    fn a_write_that_meets_damage_fails_alone() {
        let mut store = store();
        let damaged = |store: &mut Store| {
            append(store)?;
            Err(StepError::Read(ReadError::Damaged { seq: 7, because: "flipped".to_owned() }))
        };
        let (jobs, answers): (Vec<_>, Vec<_>) = [job(append), job(damaged), job(append)].into_iter().unzip();
        let left = commit(&mut store, &mut Reserve::default(), &Shared::default(), jobs);
        assert_eq!(left, Left::Nothing, "the last one was synced, and everything before it");
        let answers: Vec<_> = answers.iter().map(|answer| answer.recv().unwrap()).collect();
        assert!(matches!(&answers[..], [Ok(0), Err(WriteError::Storage(_)), Ok(1)]), "{answers:?}");
        assert_eq!(store.size(), 2, "nothing of the failed write remains");
    }

    #[test]
    fn when_the_store_fails_everybody_in_the_batch_hears_so() {
        let mut store = store();
        let full = |_: &mut Store| {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
            Err(rusqlite::Error::SqliteFailure(code, None).into())
        };
        let (jobs, answers): (Vec<_>, Vec<_>) = [job(append), job(full)].into_iter().unzip();
        let left = commit(&mut store, &mut Reserve::default(), &Shared::default(), jobs);
        assert_eq!(left, Left::AsBefore);
        assert!(answers.iter().all(|answer| matches!(answer.recv().unwrap(), Err(WriteError::Storage(_)))));
        assert_eq!(store.size(), 0);
    }

    #[test]
    fn a_commit_that_wrote_nothing_or_failed_does_not_count_as_synced() {
        let committed =
            |jobs: Vec<Box<dyn Job>>| commit(&mut store(), &mut Reserve::default(), &Shared::default(), jobs);
        let of_class = |class: Class, work: fn(&mut Store) -> Result<u64, StepError>| -> Box<dyn Job> {
            let (reply, _unheard) = sync_channel(1);
            Box::new(Task { class, work, done: None, last_resort: None, reply })
        };
        let refused = |_: &mut Store| Err(StepError::Refused(Refusal::NoRun { kind: "nothing" }));
        let damaged = |_: &mut Store| Err(StepError::Read(ReadError::Damaged { seq: 7, because: "x".to_owned() }));
        assert_eq!(committed(vec![of_class(Class::Durable, append)]), Left::Nothing);
        assert_eq!(committed(vec![of_class(Class::Ordered, append)]), Left::Something);
        assert_eq!(committed(vec![of_class(Class::Durable, refused)]), Left::AsBefore);
        // One by one, each with what it asks for.
        let alone = [of_class(Class::Ordered, append), of_class(Class::Durable, damaged)];
        assert_eq!(committed(alone.into()), Left::Something);
        let alone =
            [of_class(Class::Durable, append), of_class(Class::Ordered, append), of_class(Class::Durable, damaged)];
        assert_eq!(committed(alone.into()), Left::Something);
    }
}
