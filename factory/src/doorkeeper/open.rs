//! Orders that a door has under way: allowed and on record, and waited for until their door says what they came to.

use std::collections::BTreeMap;
use std::sync::Mutex;

use selvedge_authority::{ActError, Denial, Funnel, Granted, Permit, Stop};
use selvedge_domain::orders::HttpAnswered;

use super::{busy, denial_of};

/// How many orders of one kind may be under way; more are denied until one is answered.
const OPEN_MAX: usize = 1024;

/// Those of one kind, each under its door's number.
pub(crate) struct Open<O>(Mutex<BTreeMap<u64, Permit<O>>>);

impl<O> Default for Open<O> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<O: Granted> Open<O> {
    /// Has an order decided, and keeps its permit.
    pub(crate) fn ask(&self, funnel: &Funnel<'_>, serial: u64, order: O) -> Result<(), Denial> {
        self.open(funnel, serial, order).map_err(denial_of)
    }

    /// The same, for who can do something about a yes that is missing.
    pub(crate) fn open(&self, funnel: &Funnel<'_>, serial: u64, order: O) -> Result<(), Stop> {
        let permit = funnel.open(order)?;
        let mut open = self.0.lock().map_err(|_| Stop::Denied(busy("the gatekeeper failed; the run cannot go on")))?;
        if open.len() >= OPEN_MAX {
            return Err(Stop::Denied(busy("too many requests are open; wait for one to be answered")));
        }
        open.insert(serial, permit);
        Ok(())
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().map_or(0, |open| open.len())
    }

    /// Records what one came to.
    pub(crate) fn settle(&self, funnel: &Funnel<'_>, serial: u64, outcome: Result<O::Deed, ActError>) {
        let permit = self.0.lock().ok().and_then(|mut open| open.remove(&serial));
        if let Some(permit) = permit {
            // A deed that cannot be recorded shows as an open decision; the next decision fails on the same record.
            let _unrecorded = funnel.close(permit, outcome);
        }
    }
}

/// What a request came to. What left has left, whether or not an answer came back.
pub(crate) fn came_to(answer: HttpAnswered) -> Result<HttpAnswered, ActError> {
    match answer.status {
        0 if answer.request_bytes == 0 => Err(ActError::Transient("the upstream did not answer".to_owned())),
        _ => Ok(answer),
    }
}
