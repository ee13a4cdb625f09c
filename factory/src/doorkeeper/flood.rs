//! How much one sandbox may ask and have seen: an agent that floods its doors is denied, and one that floods the record does not hide in it.

use std::sync::atomic::Ordering;

use selvedge_authority::{Class, Denial, Entry, JournalError, Observation, Record};

use super::{Gatekeeper, busy};
use crate::ports::Doorkeeper as _;

/// How many requests one sandbox may make. A build of a large project makes some thousands; each costs two entries of the log
/// for ever.
const REQUESTS_MAX: u64 = 20_000;

/// How many observations of one sandbox are kept.
pub(super) const OBSERVATIONS_MAX: u64 = 5_000;

/// How many more may be made and a finding is kept all the same: an agent that floods the record does not hide in it.
pub(super) const FINDINGS_MORE: u64 = 5_000;

impl Gatekeeper<'_> {
    /// Counts what is asked.
    pub(crate) fn count_request(&self) -> Result<(), Denial> {
        let made = self.requests.fetch_add(1, Ordering::Relaxed);
        if made == REQUESTS_MAX {
            let detail = format!("more than {REQUESTS_MAX} requests; the rest are denied and not recorded one by one");
            self.saw(Observation::Finding { code: "too_many_requests".to_owned(), detail });
        }
        if made >= REQUESTS_MAX {
            return Err(busy("this sandbox has made all the requests it may make"));
        }
        Ok(())
    }

    /// Keeps what was seen, as long as there is room for it. What cannot be recorded is lost to the record, never to the fence: the act
    /// was refused already.
    pub(super) fn note(&self, observation: Observation) -> Result<(), JournalError> {
        let seen = self.observations.fetch_add(1, Ordering::Relaxed);
        if seen == OBSERVATIONS_MAX {
            let detail =
                format!("more than {OBSERVATIONS_MAX}; from here on only findings are kept, and some more of those");
            let _unrecorded = self.keep(Observation::Finding { code: "too_many_observations".to_owned(), detail });
        }
        let most = match &observation {
            Observation::Finding { .. } => OBSERVATIONS_MAX + FINDINGS_MORE,
            // One for each attempt, and one for each file that is watched: an agent that floods the record does not hide what it did.
            Observation::SideEffects(_) | Observation::SensitiveRead { .. } => u64::MAX,
            _ => OBSERVATIONS_MAX,
        };
        if seen < most { self.keep(observation) } else { Ok(()) }
    }

    fn keep(&self, observation: Observation) -> Result<(), JournalError> {
        let entry = Entry {
            at: self.funnel.clock.now(),
            run: Some(self.run.clone()),
            actor: self.funnel.subject.actor(),
            owner: self.funnel.subject.owner().cloned(),
            record: Record::Observed(observation),
        };
        self.funnel.journal.append(entry, Class::Observed)
    }
}
