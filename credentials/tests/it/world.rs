//! A world for the lease engine, in memory, that can lose power before or after any of its acts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use selvedge_authority::{
    Approval, Class, Clock, Context, Entry, Funnel, Granted, Journal, JournalError, Judge, Permit, Question, Stop,
    Subject, Verdict,
};
use selvedge_credentials::{
    Credential, Fresh, Issuer, IssuerName, Leases, Lost, MasterKey, OwnSvid, Probe, Provider, ProviderError,
    RevocationList, Revoked, Sealed, SealedStore, Sealer, Secret, Slot, StoreError,
};
use selvedge_domain::orders::MintCredential;
use selvedge_domain::{AgentName, Deed, Digest, Duration, LeaseId, RepoName, RunId, Sensitivity, Time, WorkloadId};

pub(crate) const NOW: Time = Time::from_millis(1_795_132_800_500);
pub(crate) const TRUST_DOMAIN: &str = "factory.example.org";
pub(crate) const ISSUER: &str = "https://id.factory.example.org";

/// When the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    Never,
    Before(usize),
    After(usize),
}

/// Counts acts and cuts the power at one of them; from then on nothing happens any more.
pub(crate) struct Fuse {
    cut: Cut,
    acts: AtomicUsize,
}

impl Fuse {
    pub(crate) fn new(cut: Cut) -> Arc<Self> {
        Arc::new(Self { cut, acts: AtomicUsize::new(0) })
    }

    pub(crate) fn acts(&self) -> usize {
        self.acts.load(Ordering::SeqCst)
    }

    pub(crate) fn act<T>(&self, act: impl FnOnce() -> T) -> Result<T, StoreError> {
        let this = self.acts.fetch_add(1, Ordering::SeqCst);
        let off = || StoreError("the power is off".to_owned());
        match self.cut {
            Cut::Before(at) if this >= at => Err(off()),
            Cut::After(at) if this > at => Err(off()),
            Cut::After(at) if this == at => {
                act();
                Err(off())
            }
            Cut::Never | Cut::Before(_) | Cut::After(_) => Ok(act()),
        }
    }
}

/// What survives a power cut: sealed records, the revocation list, and every token that was ever made, which only the
/// test sees.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) records: Mutex<BTreeMap<Slot, Sealed>>,
    pub(crate) revoked: Mutex<BTreeSet<LeaseId>>,
    pub(crate) tokens: Mutex<Vec<String>>,
}

/// The disk, reached through a fuse.
pub(crate) struct Wired {
    pub(crate) disk: Arc<Disk>,
    pub(crate) fuse: Arc<Fuse>,
}

impl SealedStore for Wired {
    fn put(&self, slot: &Slot, sealed: &Sealed) -> Result<(), StoreError> {
        self.fuse.act(|| drop(self.disk.records.lock().unwrap().insert(slot.clone(), sealed.clone())))
    }

    fn get(&self, slot: &Slot) -> Result<Option<Sealed>, StoreError> {
        self.fuse.act(|| self.disk.records.lock().unwrap().get(slot).cloned())
    }

    fn delete(&self, slot: &Slot) -> Result<(), StoreError> {
        self.fuse.act(|| drop(self.disk.records.lock().unwrap().remove(slot)))
    }
}

impl Revoked for Wired {
    fn is_revoked(&self, lease: &LeaseId) -> Result<bool, StoreError> {
        self.fuse.act(|| self.disk.revoked.lock().unwrap().contains(lease))
    }
}

impl RevocationList for Wired {
    fn revoke(&self, lease: &LeaseId, _: Time) -> Result<(), StoreError> {
        self.fuse.act(|| self.disk.revoked.lock().unwrap().insert(lease.clone())).map(|_| ())
    }
}

/// The real provider, with every token it makes copied to the disk, where only the test looks.
pub(crate) struct Spied {
    pub(crate) inner: OwnSvid,
    pub(crate) disk: Arc<Disk>,
    pub(crate) fuse: Arc<Fuse>,
}

impl Provider for Spied {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn serves(&self, order: &MintCredential) -> bool {
        self.inner.serves(order)
    }

    fn mint(&self, permit: &Permit<MintCredential>, holder: &WorkloadId, now: Time) -> Result<Fresh, ProviderError> {
        let fresh = self.inner.mint(permit, holder, now)?;
        let token = text(&fresh.secret);
        self.fuse.act(|| self.disk.tokens.lock().unwrap().push(token)).map_err(ProviderError::new)?;
        Ok(fresh)
    }

    fn revoke(&self, credential: &Credential<'_>, now: Time) -> Result<(), ProviderError> {
        self.inner.revoke(credential, now)
    }

    fn probe(&self, credential: &Credential<'_>, now: Time) -> Probe {
        self.inner.probe(credential, now)
    }

    fn lost(&self, _: Time) -> Lost {
        Lost::EndedByLease
    }
}

/// One life of a keeper.
pub(crate) struct Keeper {
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) leases: Leases,
    pub(crate) fuse: Arc<Fuse>,
}

pub(crate) fn sealer() -> Arc<Sealer> {
    let master = MasterKey::supplied(&Secret::new(vec![7; 32])).unwrap();
    Arc::new(Sealer::new(&master).unwrap())
}

pub(crate) fn issuer(disk: &Arc<Disk>) -> Arc<Issuer> {
    let store = Arc::new(Wired { disk: Arc::clone(disk), fuse: Fuse::new(Cut::Never) });
    Arc::new(Issuer::open(IssuerName::parse(ISSUER, TRUST_DOMAIN).unwrap(), sealer(), store, NOW).unwrap())
}

/// Starts a keeper on `disk` whose power will be cut as `cut` says.
pub(crate) fn keeper(disk: &Arc<Disk>, cut: Cut) -> Keeper {
    let issuer = issuer(disk);
    let fuse = Fuse::new(cut);
    let wired = Arc::new(Wired { disk: Arc::clone(disk), fuse: Arc::clone(&fuse) });
    let inner = OwnSvid::new(Arc::clone(&issuer), Arc::<Wired>::clone(&wired));
    let provider = Spied { inner, disk: Arc::clone(disk), fuse: Arc::clone(&fuse) };
    let leases = Leases::new(sealer(), wired, vec![Arc::new(provider)]);
    Keeper { issuer, leases, fuse }
}

/// How many of the tokens that were ever made a relying party would accept now, by its own verification.
pub(crate) fn live_tokens(disk: &Arc<Disk>, audience: &str, now: Time) -> usize {
    let verifier = issuer(disk).verifier();
    let list = Wired { disk: Arc::clone(disk), fuse: Fuse::new(Cut::Never) };
    let tokens = disk.tokens.lock().unwrap();
    tokens.iter().filter(|token| verifier.verify(token, audience, now, &list).is_ok()).count()
}

pub(crate) fn lease(number: u64) -> LeaseId {
    LeaseId::from_entropy(number)
}

pub(crate) fn order(number: u64, audience: &str) -> MintCredential {
    MintCredential {
        lease: lease(number),
        run: RunId::from_entropy(1),
        repo: RepoName::parse("acme/shop").unwrap(),
        credential: None,
        audience: audience.to_owned(),
        uses: Vec::new(),
        is_stored: false,
        tenure: selvedge_domain::Tenure::Active,
        until: NOW.after(Duration::from_seconds(3600)),
        ttl_seconds: 3600,
    }
}

pub(crate) fn holder() -> WorkloadId {
    WorkloadId::new(TRUST_DOMAIN, RunId::from_entropy(1), AgentName::parse("fixer").unwrap())
}

pub(crate) fn text(secret: &Secret) -> String {
    String::from_utf8(secret.expose().to_vec()).unwrap()
}

/// A permit by the only way there is, from a judge who says yes and a journal that forgets.
pub(crate) fn permit(order: MintCredential) -> Permit<MintCredential> {
    let run = order.run.clone();
    permit_for(&Subject::Factory, run, order).unwrap()
}

/// The same for whoever asks and whatever they ask: what the grant of an agent does not hold is still refused.
pub(crate) fn permit_for<O: Granted>(subject: &Subject, run: RunId, order: O) -> Result<Permit<O>, Stop> {
    let context = Context {
        run: Some(run),
        intent: None,
        sensitivity: Sensitivity::Internal,
        chain_depth: 0,
        follow_ups_left: 0,
        tainted: false,
        read_sensitive: false,
        lands_unattended: false,
        configuration: Digest::of_parts([]),
    };
    Funnel { judge: &Yes, journal: &Yes, subject, context: &context, clock: &Yes }.open(order)
}

struct Yes;

impl Judge for Yes {
    fn judge(&self, _: &Question<'_>) -> Verdict {
        Verdict::Allow { policies: Vec::new() }
    }
}

impl Journal for Yes {
    fn append(&self, _: Entry, _: Class) -> Result<(), JournalError> {
        Ok(())
    }

    fn recall(&self, _: &RunId, _: &Digest) -> Result<Option<Deed>, JournalError> {
        Ok(None)
    }

    fn approval(&self, _: &Digest, _: Time) -> Result<Option<Approval>, JournalError> {
        Ok(None)
    }
}

impl Clock for Yes {
    fn now(&self) -> Time {
        NOW
    }
}
