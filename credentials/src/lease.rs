//! The lease engine: lends a credential once, and ends it however the run ended (requirements C4, C8; invariant 7).
//!
//! ```text
//! announced by the caller ─▶ note "begun" ─▶ mint ─▶ note "held", with the handle ─▶ the secret, once
//!                       revoke, always ─▶ provider revokes ─▶ probe ─▶ note "closed"
//! ```
//! Owns the sealed notes and the order of these steps. Records no event and knows no run: it answers, and whoever asked
//! records. A crash between any two steps leaves a note from which [`Leases::revoke`] ends what was made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use selvedge_authority::Permit;
use selvedge_domain::orders::{Delegate, MintCredential, Minted};
use selvedge_domain::{Duration, LeaseEvent, LeaseId, LeaseState, Revocation, Time, WorkloadId};

use crate::note::{Held, Note, Origin};
use crate::{
    Considered, Credential, Fresh, Issued, Lost, OpenError, Probe, Provider, ProviderError, Purpose, Refusal,
    SealError, SealedStore, Sealer, Secret, Slot, StoreError, TokenEndpoint,
};

/// Wait before a failed revocation is tried again, doubled with each failure.
const RETRY_FIRST: Duration = Duration::from_seconds(1);
/// Longest wait between two tries: a credential that may live is looked at every minute.
const RETRY_LONGEST: Duration = Duration::from_seconds(60);
/// Longest wait that a provider may ask for before its credential is revoked again. It may live that long, so nobody is believed who
/// asks for a day.
const ADVICE_LONGEST: Duration = Duration::from_seconds(900);

/// Every lease of one keeper.
pub struct Leases {
    sealer: Arc<Sealer>,
    store: Arc<dyn SealedStore>,
    providers: RwLock<Arc<Vec<Arc<dyn Provider>>>>,
    desk: Mutex<Desk>,
}

/// Who is told to end a lease of which only its id is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    /// Providers that need nobody else for it.
    Here,
    /// And those that look for it at a service.
    AlsoFarAway,
}

/// What only the living process knows.
#[derive(Default)]
struct Desk {
    /// Leases under somebody's hands: one step at a time per lease.
    busy: BTreeSet<LeaseId>,
    /// How often revoking each lease failed so far.
    failures: BTreeMap<LeaseId, u32>,
    /// What providers asked for that were too busy to revoke.
    advice: BTreeMap<LeaseId, Advice>,
}

/// A provider did not revoke, and said when to come back.
struct Advice {
    /// When it did.
    at: Time,
    because: String,
    /// When it is to be asked again.
    retry: Time,
}

/// A credential, and the one copy of its secret.
#[derive(Debug)]
#[must_use = "give the secret to the door that holds it, or revoke the lease"]
pub struct Lent {
    /// The deed.
    pub minted: Minted,
    /// What the door injects. It cannot be asked for again.
    pub secret: Secret,
}

/// Nothing was lent. Whether a credential exists is not known to the caller: revoke the lease and announce another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LendError {
    /// No provider makes credentials of this kind.
    #[error("no provider lends `{0}`")]
    NoProvider(String),
    /// A lease is minted at most once, so that no credential is forgotten behind another.
    #[error("lease {0} was minted or revoked before; announce another")]
    UsedBefore(LeaseId),
    /// Another thread has it under its hands.
    #[error("lease {0} is being minted or revoked")]
    Busy(LeaseId),
    /// The provider did not make it, or did not answer.
    #[error("`{provider}` lent nothing: {source}")]
    Provider {
        /// Which provider.
        provider: String,
        /// What it said.
        source: ProviderError,
    },
    /// What must be remembered could not be, so nothing was handed out.
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl LendError {
    /// Whether announcing another lease is of no use until a person did something.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::NoProvider(_) => true,
            Self::Provider { source, .. } => source.is_lasting,
            Self::UsedBefore(_) | Self::Busy(_) | Self::Note(_) => false,
        }
    }
}

/// No access token was handed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotHandedOn {
    /// The endpoint refuses it.
    #[error(transparent)]
    Refused(Refusal),
    /// Its lease could not be noted.
    #[error(transparent)]
    Lease(LendError),
}

/// A note about a lease could not be kept or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// It could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It opened, and is not a note of ours.
    #[error("the note about lease {0} was written by another version")]
    Foreign(LeaseId),
}

/// What ending a lease came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "record it, and come back at the time it names"]
pub enum Ending {
    /// It was revoked, or never minted; and trying it failed.
    Revoked,
    /// It could only expire, has, and trying it failed.
    Expired,
    /// Nothing can end it for certain before this moment. Ask again then.
    ExpiresAt(Time),
    /// It may still work.
    Stuck {
        /// Why, without any secret in it.
        because: String,
        /// When to try again.
        retry: Time,
    },
}

impl Ending {
    /// What to record; nothing yet for a lease that waits for its expiry.
    pub fn event(&self) -> Option<LeaseEvent> {
        match self {
            Self::Revoked | Self::Expired => Some(LeaseEvent::Died),
            Self::ExpiresAt(_) => None,
            Self::Stuck { .. } => Some(LeaseEvent::RevokeFailed),
        }
    }
}

impl Leases {
    /// Lends through `providers`; the first that serves an order carries it out.
    pub fn new(sealer: Arc<Sealer>, store: Arc<dyn SealedStore>, providers: Vec<Arc<dyn Provider>>) -> Self {
        Self { sealer, store, providers: RwLock::new(Arc::new(providers)), desk: Mutex::default() }
    }

    /// Takes up what is configured now. Providers that are not among these still end what they lent, until the keeper ends.
    pub fn configure(&self, providers: Vec<Arc<dyn Provider>>) {
        let mut current = self.providers.write().unwrap_or_else(PoisonError::into_inner);
        let is_gone = |old: &&Arc<dyn Provider>| !providers.iter().any(|new| new.name() == old.name());
        let gone: Vec<Arc<dyn Provider>> = current.iter().filter(is_gone).cloned().collect();
        *current = Arc::new(providers.into_iter().chain(gone).collect());
        drop(current);
        // Who said so may be somebody else now.
        self.desk().advice.clear();
    }

    /// Makes the credential this permit is for and hands its secret out, once. The lease must have been announced.
    ///
    /// `holder` is whom the permit was asked for. Repeating this for the same lease lends nothing.
    pub fn lend(&self, permit: &Permit<MintCredential>, holder: &WorkloadId, now: Time) -> Result<Lent, LendError> {
        let order = permit.order();
        let lease = &order.lease;
        let wanted = order.credential.as_ref().map_or(order.audience.as_str(), |credential| credential.as_str());
        let no_provider = || LendError::NoProvider(wanted.to_owned());
        let providers = self.providers();
        let provider = providers.iter().find(|provider| provider.serves(order)).ok_or_else(no_provider)?;
        // Whatever a service gives, it is lent for as long as was decided.
        let latest = order.until.min(now.after(Duration::from_seconds(order.ttl_seconds)));
        self.make(lease, provider.as_ref(), wanted, (now, latest), || provider.mint(permit, holder, now))
    }

    /// Signs the access token this permit is for, under its lease like every other credential. The lease must have been
    /// announced.
    pub fn hand_on(
        &self,
        permit: &Permit<Delegate>,
        considered: Considered,
        endpoint: &TokenEndpoint,
        now: Time,
    ) -> Result<Issued, NotHandedOn> {
        let order = permit.order();
        let mut said = Err(Refusal::unavailable());
        let made = self.make(&order.lease, &endpoint.tokens(), &order.audience, (now, order.grant.until), || {
            said = endpoint.issue(permit, considered, now);
            said.as_ref().map(Issued::fresh).map_err(|refusal| ProviderError::new(refusal).that_made_nothing())
        });
        match (made, said) {
            (Ok(_), Ok(issued)) => Ok(issued),
            (Err(LendError::Provider { .. }) | Ok(_), Err(refusal)) => Err(NotHandedOn::Refused(refusal)),
            (Err(error), _) => Err(NotHandedOn::Lease(error)),
        }
    }

    /// Takes the lease in hand, notes that something is being made, has it made, and notes what.
    fn make(
        &self,
        lease: &LeaseId,
        provider: &dyn Provider,
        wanted: &str,
        (now, latest): (Time, Time),
        mint: impl FnOnce() -> Result<Fresh, ProviderError>,
    ) -> Result<Lent, LendError> {
        let _hand = self.take(lease).ok_or_else(|| LendError::Busy(lease.clone()))?;
        if self.read(lease)?.is_some() {
            return Err(LendError::UsedBefore(lease.clone()));
        }
        let origin = || Origin { provider: provider.name().to_owned(), audience: wanted.to_owned() };
        self.write(lease, &Note::Begun(origin(), now))?;
        let Fresh { secret, handle, revocation, expires } = match mint() {
            Ok(fresh) => fresh,
            Err(source) => {
                if source.made_nothing {
                    self.write(lease, &Note::Closed)?;
                }
                return Err(LendError::Provider { provider: provider.name().to_owned(), source });
            }
        };
        let expires = expires.min(latest);
        self.write(lease, &Note::Held(origin(), Held { handle, revocation, expires }))?;
        Ok(Lent { minted: Minted { lease: lease.clone(), revocation, expires }, secret })
    }

    /// Ends a lease, whatever became of it: never minted, lost, lent, stuck, dead. Safe to repeat.
    ///
    /// `state` is where the ledger says it stands; it matters only when our own note cannot be read.
    pub fn revoke(&self, lease: &LeaseId, state: LeaseState, now: Time) -> Ending {
        let Some(_hand) = self.take(lease) else {
            return Ending::Stuck {
                because: "it is being minted or revoked".to_owned(),
                retry: now.after(RETRY_FIRST),
            };
        };
        self.desk().advice.remove(lease);
        let ending = self.end(lease, now).unwrap_or_else(|trouble| self.end_blindly(lease, state, trouble, now));
        let mut desk = self.desk();
        match ending {
            Ending::Stuck { .. } => *desk.failures.entry(lease.clone()).or_default() += 1,
            Ending::Revoked | Ending::Expired | Ending::ExpiresAt(_) => {
                desk.failures.remove(lease);
            }
        }
        ending
    }

    /// The same, unless its provider has said when to come back and that time has not come. Whoever cannot wait for that, a person
    /// who stops something say, calls [`Leases::revoke`].
    pub fn revoke_when_welcome(&self, lease: &LeaseId, state: LeaseState, now: Time) -> Ending {
        // A clock that was set back makes everybody welcome.
        let is_early = |advice: &&Advice| advice.at <= now && now < advice.retry;
        let left_alone = self
            .desk()
            .advice
            .get(lease)
            .filter(is_early)
            .map(|advice| Ending::Stuck { because: advice.because.clone(), retry: advice.retry });
        left_alone.unwrap_or_else(|| self.revoke(lease, state, now))
    }

    /// Revokes and probes every lease the ledger does not call dead: at start-up, and whenever a retry is due.
    pub fn sweep<'a>(
        &self,
        outstanding: impl IntoIterator<Item = (&'a LeaseId, LeaseState)>,
        now: Time,
    ) -> Vec<(LeaseId, Ending)> {
        outstanding
            .into_iter()
            .filter(|(_, state)| state.may_live())
            .map(|(lease, state)| (lease.clone(), self.revoke(lease, state, now)))
            .collect()
    }

    /// Drops the note about a lease that is dead, once its run is settled: after this, only the ledger's law keeps the
    /// lease from being minted again. Leaves any other note alone.
    pub fn forget(&self, lease: &LeaseId) -> Result<(), NoteError> {
        match self.read(lease)? {
            Some(Note::Closed) => Ok(self.store.delete(&slot(lease))?),
            Some(Note::Begun(..) | Note::Held(..) | Note::Barred) | None => Ok(()),
        }
    }

    fn end(&self, lease: &LeaseId, now: Time) -> Result<Ending, NoteError> {
        let ending = match self.read(lease)? {
            Some(Note::Closed) => return Ok(Ending::Revoked),
            Some(Note::Held(origin, held)) => self.end_held(lease, &origin, &held, now),
            Some(Note::Begun(origin, begun)) => match self.provider(&origin.provider) {
                Ok(provider) => self.end_lost(provider.as_ref(), lease, &origin, begun, now),
                Err(because) => self.stuck(lease, because, now),
            },
            // No mint has begun, and from here on none can. Whoever is here is told all the same: it costs little.
            None => {
                self.write(lease, &Note::Barred)?;
                self.kill_everywhere(lease, Whom::Here, now)
            }
            Some(Note::Barred) => self.kill_everywhere(lease, Whom::Here, now),
        };
        if matches!(ending, Ending::Revoked | Ending::Expired) {
            self.write(lease, &Note::Closed)?;
        }
        Ok(ending)
    }

    /// What a lost mint may have made: ended where its lease is enough for that, and waited for where it is not.
    fn end_lost(&self, provider: &dyn Provider, lease: &LeaseId, origin: &Origin, begun: Time, now: Time) -> Ending {
        let kill = || self.kill(provider, &Credential { lease, audience: Some(&origin.audience), handle: None }, now);
        match provider.lost(begun) {
            Lost::DiesAt(dies) if now >= dies => Ending::Expired,
            Lost::DiesAt(dies) => Ending::ExpiresAt(dies),
            Lost::EndedByLease => kill(),
            // What is there is ended now; that nothing is there is believed when nothing can come any more.
            Lost::FoundByLease { under_way_until } => match kill() {
                Ending::Revoked if now < under_way_until => Ending::ExpiresAt(under_way_until),
                ending => ending,
            },
        }
    }

    fn end_held(&self, lease: &LeaseId, origin: &Origin, held: &Held, now: Time) -> Ending {
        let provider = match self.provider(&origin.provider) {
            Ok(provider) => provider,
            Err(because) => return self.stuck(lease, because, now),
        };
        let credential = Credential { lease, audience: Some(&origin.audience), handle: Some(&held.handle) };
        let ending = self.kill(provider.as_ref(), &credential, now);
        match (held.revocation, ending) {
            (Revocation::ExpiryOnly(dies), Ending::Revoked) if now < dies => Ending::ExpiresAt(dies),
            (Revocation::ExpiryOnly(_), Ending::Revoked) => Ending::Expired,
            (Revocation::ExpiryOnly(_) | Revocation::Immediate | Revocation::LeaseRevoke, ending) => ending,
        }
    }

    /// When our note cannot be read or written: revoke by lease id, but believe nothing but the clock.
    fn end_blindly(&self, lease: &LeaseId, state: LeaseState, trouble: NoteError, now: Time) -> Ending {
        let told = self.kill_everywhere(lease, Whom::AlsoFarAway, now);
        let dies = match state {
            LeaseState::Live { revocation: Revocation::ExpiryOnly(dies), .. } => Some(dies),
            // A loan ends before what was lent does: some services give an hour at least, and some no end at all.
            LeaseState::Live { revocation: Revocation::Immediate | Revocation::LeaseRevoke, .. } => None,
            LeaseState::Stuck { .. } | LeaseState::Announced | LeaseState::Dead => None,
        };
        match (told, dies) {
            (Ending::Revoked, Some(dies)) if now >= dies => Ending::Expired,
            _ => self.stuck(lease, trouble.to_string(), now),
        }
    }

    fn kill_everywhere(&self, lease: &LeaseId, whom: Whom, now: Time) -> Ending {
        let nameless = Credential { lease, audience: None, handle: None };
        let providers = self.providers();
        let by_lease = providers.iter().filter(|provider| match provider.lost(now) {
            Lost::EndedByLease => true,
            Lost::FoundByLease { .. } => whom == Whom::AlsoFarAway,
            // They can do nothing with a lease alone.
            Lost::DiesAt(_) => false,
        });
        let endings = by_lease.map(|provider| self.kill(provider.as_ref(), &nameless, now));
        endings.fold(Ending::Revoked, |worst, ending| if worst == Ending::Revoked { ending } else { worst })
    }

    /// Revokes and probes. A failed revocation of something that is dead all the same does not matter.
    fn kill(&self, provider: &dyn Provider, credential: &Credential<'_>, now: Time) -> Ending {
        let revoked = provider.revoke(credential, now);
        let because = match (provider.probe(credential, now), revoked) {
            (Probe::Dead, _) => return Ending::Revoked,
            (_, Err(ProviderError { because, retry_after: Some(wait), .. })) => {
                let retry = now.after(wait.min(ADVICE_LONGEST));
                let advice = Advice { at: now, because: because.clone(), retry };
                self.desk().advice.insert(credential.lease.clone(), advice);
                return Ending::Stuck { because, retry };
            }
            (_, Err(error)) => format!("`{}` cannot revoke it: {error}", provider.name()),
            (Probe::Alive, Ok(())) => format!("`{}` revoked it, and it still works", provider.name()),
            (Probe::Unknown(why), Ok(())) => {
                format!("`{}` revoked it, and it could not be tried: {why}", provider.name())
            }
        };
        self.stuck(credential.lease, because, now)
    }

    fn stuck(&self, lease: &LeaseId, because: String, now: Time) -> Ending {
        let failures = self.desk().failures.get(lease).copied().unwrap_or(0);
        let doubled = RETRY_FIRST.as_millis().saturating_mul(1_u64.checked_shl(failures).unwrap_or(u64::MAX));
        Ending::Stuck { because, retry: now.after(Duration::from_millis(doubled).min(RETRY_LONGEST)) }
    }

    fn provider(&self, name: &str) -> Result<Arc<dyn Provider>, String> {
        let found = self.providers().iter().find(|provider| provider.name() == name).cloned();
        found.ok_or_else(|| format!("its provider `{name}` is not configured any more; configure it again to end it"))
    }

    fn providers(&self) -> Arc<Vec<Arc<dyn Provider>>> {
        Arc::clone(&self.providers.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn read(&self, lease: &LeaseId) -> Result<Option<Note>, NoteError> {
        let slot = slot(lease);
        let Some(sealed) = self.store.get(&slot)? else { return Ok(None) };
        let note = Note::from_secret(&self.sealer.open(&slot, &sealed)?);
        note.map(Some).ok_or_else(|| NoteError::Foreign(lease.clone()))
    }

    fn write(&self, lease: &LeaseId, note: &Note) -> Result<(), NoteError> {
        let slot = slot(lease);
        Ok(self.store.put(&slot, &self.sealer.seal(&slot, &note.to_secret())?)?)
    }

    /// Takes a lease in hand, unless somebody else has it.
    fn take<'a>(&'a self, lease: &'a LeaseId) -> Option<Hand<'a>> {
        // The desk is let go before a hand exists: dropping a hand takes the desk again.
        let taken = self.desk().busy.insert(lease.clone());
        if taken { Some(Hand { leases: self, lease }) } else { None }
    }

    /// The desk holds no invariant that a panic could break.
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lease in hand; let go when dropped.
struct Hand<'a> {
    leases: &'a Leases,
    lease: &'a LeaseId,
}

impl Drop for Hand<'_> {
    fn drop(&mut self) {
        self.leases.desk().busy.remove(self.lease);
    }
}

fn slot(lease: &LeaseId) -> Slot {
    Slot { purpose: Purpose::Lease, id: lease.to_string(), version: 1 }
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.providers().iter().map(|provider| provider.name().to_owned())).finish()
    }
}
