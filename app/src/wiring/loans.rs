//! What becomes of a run's loans while its door is open: one that would end before its run is renewed, one that was withdrawn is
//! ended, and all are taken out and lent again where a turn is held. Owns the watch and its clock; never decides anything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use selvedge_domain::orders::MintCredential;
use selvedge_domain::{CredentialName, LeaseId, RunId, Time};
use selvedge_factory::ports::{Again, Clock as _, Doorkeeper, Holding, Unrenewed};
use selvedge_gateway::{Door, DoorGone, LoanChange, SecretText, SecretWatch};

use super::Works;
use super::lender::Kept;

/// How long to wait before a lease that may live is asked for again.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How long the watch sleeps at most: a clock that was set is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// A loan that ends this long before what it was asked for covers it all the same: services count in whole seconds.
const ROUNDING: selvedge_domain::Duration = selvedge_domain::Duration::from_seconds(1);

/// What a door says of a request that needs a credential while the turn is held.
const PAUSED: &str = "the turn waits for a person and is lent nothing meanwhile; ask once more";

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

/// The loans of one open door.
pub(super) struct DoorLoans<'a> {
    works: &'a Works,
    run: &'a RunId,
    door: &'a Door,
    doors: &'a dyn Doorkeeper,
    /// What is looked for in what the sandbox writes and leaves.
    secrets: Option<&'a SecretWatch>,
    /// What the door has; none of it while a turn is held, so that nobody renews it.
    loans: Mutex<Vec<OnDoor>>,
}

/// A lease that no door uses any more.
type Retired = (CredentialName, LeaseId);

impl<'a> DoorLoans<'a> {
    /// What a door was given at its start.
    pub(super) fn new(
        works: &'a Works,
        run: &'a RunId,
        door: &'a Door,
        doors: &'a dyn Doorkeeper,
        secrets: Option<&'a SecretWatch>,
        loans: Vec<OnDoor>,
    ) -> Self {
        Self { works, run, door, doors, secrets, loans: Mutex::new(loans) }
    }

    /// Watches until `is_over`.
    pub(super) fn keep(&self, is_over: &AtomicBool) {
        let mut retired: Vec<Retired> = Vec::new();
        loop {
            let moves = self.works.on_loan.moves();
            if is_over.load(Ordering::Acquire) {
                // What may still live is ended with the run's other leases.
                return;
            }
            let mut loans = self.loans();
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
        let (secret, kept) = self.fetch(&loan.credential, &minted.lease).map_err(|because| {
            retired.push((loan.credential.clone(), minted.lease.clone()));
            lost(because)
        })?;
        let handed = self.hand(&loan.credential, secret, &kept);
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

    /// Whether a text holds something that the door was lent.
    pub(super) fn are_in(&self, text: &str) -> bool {
        self.secrets.is_some_and(|secrets| secrets.found_in(text.as_bytes()).is_some())
    }

    /// Takes everything out of the door until it is [lent again](Self::lend_again). What it was.
    pub(super) fn pause(&self) -> Vec<CredentialName> {
        let taken = std::mem::take(&mut *self.loans());
        self.works.on_loan.pause(self.run);
        for loan in &taken {
            // A door that is gone lends nothing.
            let _gone = self.door.change_loan(&loan.credential, &LoanChange::Paused { because: PAUSED.to_owned() });
        }
        taken.into_iter().map(|loan| loan.credential).collect()
    }

    /// Has everything that was taken back decided and made anew, and gives it to the door. Why not all of it was.
    pub(super) fn lend_again(&self, holding: &dyn Holding, names: &[CredentialName]) -> Result<(), String> {
        let own = holding.lend_again(None).map_err(|unrenewed| unrenewed.because);
        if let Ok(minted) = &own {
            // The run's own identity goes nowhere: nothing but its keeper and its doors would take it.
            drop(self.works.take_lent_under(self.run, &minted.lease));
        }
        let mut whole = own.map(drop);
        for name in names {
            if let Err(because) = self.lend_one_again(holding, name) {
                let withdrawn = LoanChange::Withdrawn { because: because.clone() };
                let _gone = self.door.change_loan(name, &withdrawn);
                whole = Err(format!("credential `{name}` could not be lent again: {because}"));
            }
        }
        self.works.on_loan.ring();
        whole
    }

    fn lend_one_again(&self, holding: &dyn Holding, name: &CredentialName) -> Result<(), String> {
        if !self.works.may_be_lent_again(self.run, name) {
            return Err(WITHDRAWN.to_owned());
        }
        let minted = holding.lend_again(Some(name)).map_err(|unrenewed| unrenewed.because)?;
        // It may have been taken away while the new one was made, which is in no list of what was.
        let given = self.give(name, &minted.lease).and_then(|()| {
            self.works.may_be_lent_again(self.run, name).then_some(()).ok_or_else(|| WITHDRAWN.to_owned())
        });
        if given.is_err() {
            self.doors.retire(name, &minted.lease);
        }
        given
    }

    fn give(&self, name: &CredentialName, lease: &LeaseId) -> Result<(), String> {
        let (secret, kept) = self.fetch(name, lease)?;
        self.hand(name, secret, &kept).map_err(|gone| gone.to_string())?;
        // From here on a withdrawal finds it like any other.
        self.loans().push(OnDoor::new(name, &kept));
        match self.works.on_loan.is_withdrawn(lease) {
            true => Err(WITHDRAWN.to_owned()),
            false => Ok(()),
        }
    }

    /// Takes what was made out of the vault; from here on it is looked for in what the sandbox writes.
    fn fetch(&self, name: &CredentialName, lease: &LeaseId) -> Result<(SecretText, Kept), &'static str> {
        // None where it was withdrawn while it was made.
        let kept = self.works.take_lent_under(self.run, lease).ok_or(WITHDRAWN)?;
        let unusable = |_| "what was made cannot be put into a request";
        let secret = SecretText::parse(kept.secret.expose()).map_err(unusable)?;
        if let Some(secrets) = self.secrets {
            secrets.add(name, &secret);
        }
        Ok((secret, kept))
    }

    fn hand(&self, name: &CredentialName, secret: SecretText, kept: &Kept) -> Result<(), DoorGone> {
        let lasts = Duration::from_millis(kept.ends.since(self.works.now()).as_millis());
        self.door.change_loan(name, &LoanChange::Renewed { secret, lasts })
    }

    /// Each statement leaves it whole.
    fn loans(&self) -> MutexGuard<'_, Vec<OnDoor>> {
        self.loans.lock().unwrap_or_else(PoisonError::into_inner)
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
