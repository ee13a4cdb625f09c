//! What becomes of a run's loans while its door is open: one that would end before its run is renewed, one that was withdrawn is
//! ended, and both are on record before the run is over. Owns the watch and its clock; never decides anything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use selvedge_domain::orders::MintCredential;
use selvedge_domain::{CredentialName, LeaseId, RunId, Time};
use selvedge_factory::ports::{Again, Clock as _, Doorkeeper, Unrenewed};
use selvedge_gateway::{Door, LoanChange, SecretText, SecretWatch};

use super::Works;
use super::lender::Kept;

/// How long to wait before a lease that may live is asked for again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How long the watch sleeps at most: a clock that was set is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// A loan that ends this long before what it was asked for covers it all the same: services count in whole seconds.
const ROUNDING: selvedge_domain::Duration = selvedge_domain::Duration::from_seconds(1);

/// Why a loan that was withdrawn is not lent, as an agent is told.
pub(crate) const WITHDRAWN: &str = "the credential was withdrawn from this run";

/// A credential that a door has.
pub(super) struct OnDoor {
    pub(super) credential: CredentialName,
    pub(super) lease: LeaseId,
    /// Since when and until when; none where it covers its run, or is a stored key, which a person said yes to for so long.
    renewal: Option<Renewal>,
}

/// When a loan is due for renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Renewal {
    ends: Time,
    due: Time,
}

impl Renewal {
    /// For what was lent under `order` from now until `ends`.
    pub(super) fn of(order: &MintCredential, now: Time, ends: Time) -> Option<Self> {
        let is_short = order.credential.is_some() && !order.is_stored && ends.after(ROUNDING) < order.until;
        // Two thirds of its time, so that what fails can be tried again before it ends.
        let first = selvedge_domain::Duration::from_millis(ends.since(now).as_millis() / 3 * 2);
        is_short.then(|| Self { ends, due: now.after(first) })
    }

    /// After a try that failed at `now`: once more, in a quarter of what is left; none when nothing is left.
    fn again(self, now: Time) -> Option<Self> {
        let quarter = selvedge_domain::Duration::from_millis(self.ends.since(now).as_millis() / 4);
        let due = now.after(quarter.max(ROUNDING));
        (due < self.ends).then_some(Self { due, ..self })
    }
}

impl OnDoor {
    pub(super) fn new(credential: &CredentialName, kept: &Kept) -> Self {
        Self { credential: credential.clone(), lease: kept.lease.clone(), renewal: kept.renewal }
    }
}

/// The watch over the loans of one open door.
pub(super) struct LoanWatch<'a> {
    pub(super) works: &'a Works,
    pub(super) run: &'a RunId,
    pub(super) door: &'a Arc<Door>,
    pub(super) doors: &'a dyn Doorkeeper,
    /// What is looked for in what the sandbox writes and leaves.
    pub(super) secrets: Option<&'a SecretWatch>,
}

/// A lease that no door uses any more.
type Retired = (CredentialName, LeaseId);

impl LoanWatch<'_> {
    /// Watches until `is_over`. A turn that is held takes its loans out meanwhile.
    pub(super) fn keep(&self, loans: &Mutex<Vec<OnDoor>>, is_over: &AtomicBool) {
        let mut retired: Vec<Retired> = Vec::new();
        loop {
            let moves = self.works.on_loan.moves();
            if is_over.load(Ordering::Acquire) {
                // What may still live is ended with the run's other leases.
                return;
            }
            let mut loans = loans.lock().unwrap_or_else(PoisonError::into_inner);
            loans.retain_mut(|loan| self.goes_on(loan, &mut retired));
            let now = self.works.now();
            let due = loans.iter().filter_map(|loan| Some(loan.renewal?.due.since(now).as_millis()));
            let sleep = due.map(Duration::from_millis).min().unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP);
            drop(loans);
            retired.retain(|(credential, lease)| !self.doors.retire(credential, lease));
            self.works.on_loan.wait(moves, if retired.is_empty() { sleep } else { sleep.min(RETRY_AFTER) });
        }
    }

    /// Whether the door has it still.
    fn goes_on(&self, loan: &mut OnDoor, retired: &mut Vec<Retired>) -> bool {
        if self.works.on_loan.is_withdrawn(&loan.lease) {
            retired.push((loan.credential.clone(), loan.lease.clone()));
            return false;
        }
        let now = self.works.now();
        let Some(renewal) = loan.renewal.filter(|renewal| renewal.due <= now) else { return true };
        match self.renew(loan, retired) {
            Ok(next) => loan.renewal = next,
            Err(Unrenewed { because, again }) => {
                // It ends when it ends; what comes after is told why.
                let because = format!("the credential ended and could not be renewed: {because}");
                // A door that is gone lends nothing.
                let _gone = self.door.change_loan(&loan.credential, &LoanChange::Lapses { because });
                loan.renewal = match again {
                    Again::Later => renewal.again(self.works.now()),
                    Again::Never => None,
                };
            }
        }
        true
    }

    /// Has it made anew and gives it to the door; the one before is retired once nothing is under way with it. Says when the new
    /// one is due.
    fn renew(&self, loan: &mut OnDoor, retired: &mut Vec<Retired>) -> Result<Option<Renewal>, Unrenewed> {
        let minted = self.doors.renew(&loan.credential)?;
        let lost = |because: &str| Unrenewed { because: because.to_owned(), again: Again::Never };
        let Some(kept) = self.works.take_lent_under(self.run, &minted.lease) else {
            // Withdrawn while it was made.
            retired.push((loan.credential.clone(), minted.lease));
            return Err(lost(WITHDRAWN));
        };
        let Ok(secret) = SecretText::parse(kept.secret.expose()) else {
            retired.push((loan.credential.clone(), minted.lease));
            return Err(lost("what was made cannot be put into a request"));
        };
        if let Some(secrets) = self.secrets {
            secrets.add(&loan.credential, &secret);
        }
        let lasts = Duration::from_millis(kept.ends.since(self.works.now()).as_millis());
        let handed = self.door.change_loan(&loan.credential, &LoanChange::Renewed { secret, lasts });
        let old = std::mem::replace(&mut loan.lease, minted.lease.clone());
        retired.push((loan.credential.clone(), old.clone()));
        if handed.is_err() {
            retired.push((loan.credential.clone(), minted.lease));
            return Err(lost("its door is gone"));
        }
        // A withdrawal that came meanwhile meant this one too, and the door has forgotten both.
        if self.works.on_loan.is_withdrawn(&old) {
            retired.push((loan.credential.clone(), minted.lease));
            return Err(lost(WITHDRAWN));
        }
        Ok(kept.renewal)
    }
}

#[cfg(test)]
mod tests {
    use selvedge_domain::RepoName;

    use super::*;

    fn order(is_stored: bool, until: u64) -> MintCredential {
        MintCredential {
            lease: LeaseId::from_entropy(1),
            run: RunId::from_entropy(1),
            repo: RepoName::parse("acme/shop").unwrap(),
            credential: Some(CredentialName::parse("api").unwrap()),
            audience: String::new(),
            uses: Vec::new(),
            is_stored,
            tenure: selvedge_domain::Tenure::Active,
            until: Time::from_millis(until),
            ttl_seconds: 900,
        }
    }

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn only_what_is_made_and_ends_before_its_run_is_renewed_c1() {
        let renewal = |order: &MintCredential, ends| Renewal::of(order, at(0), at(ends)).map(|renewal| renewal.due);
        assert_eq!(renewal(&order(false, 3_600_000), 900_000), Some(at(600_000)));
        assert_eq!(renewal(&order(false, 900_000), 900_000), None, "it covers its run");
        assert_eq!(renewal(&order(false, 900_000), 899_500), None, "or all of it but what was rounded");
        assert_eq!(renewal(&order(true, 3_600_000), 900_000), None, "a person said yes to so much of a stored key");
        assert_eq!(renewal(&MintCredential { credential: None, ..order(false, 3_600_000) }, 900_000), None);
    }

    #[test]
    fn a_renewal_that_fails_is_tried_again_until_the_loan_ends() {
        let mut renewal = Renewal::of(&order(false, 3_600_000), at(0), at(900_000));
        let mut tried = Vec::new();
        while let Some(due) = renewal {
            tried.push(due.due);
            renewal = due.again(due.due);
        }
        assert!(tried.len() > 5 && tried.windows(2).all(|pair| pair[0] < pair[1]), "{tried:?}");
        assert!(tried.iter().all(|due| *due < at(900_000)), "{tried:?}");
    }
}
