//! How many identity documents and access tokens per second are signed, exchanged, checked and lent by one thread, beside the bare
//! signature and its bare verification. What the store of a keeper costs is not in it: notes are kept in memory. Reported, never a gate. `cargo bench -p selvedge-credentials`.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a bench is run by hand and may be blunt")]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use selvedge_authority::{
    Approval, Class, Clock, Context, Entry, Funnel, Granted, Journal, JournalError, Judge, Permit, Question, Subject,
    Verdict,
};
use selvedge_credentials::{
    Ending, Inquirer, Issued, Issuer, IssuerName, Leases, MasterKey, OWN_AUDIENCE, OwnSvid, Parent, RevocationList,
    Revoked, Sealed, SealedStore, Sealer, Secret, Slot, StoreError, TaskContext, TokenEndpoint,
};
use selvedge_domain::orders::MintCredential;
use selvedge_domain::{
    AgentName, Deed, Digest, Grant, Intent, LeaseId, LeaseState, May, RepoName, RunId, Sensitivity, TaskId, Time,
    Trust, WorkloadId,
};

const NOW: Time = Time::from_millis(1_795_132_800_000);
/// Long enough for a stable mean, short enough to be run often.
const MEASURED_FOR: Duration = Duration::from_secs(2);

fn main() {
    let issuer = Arc::new(issuer());
    let run = RunId::from_entropy(1);
    let holder = WorkloadId::new("example.org", run.clone(), AgentName::parse("fixer").expect("a name"));
    let permit = permit_to_mint(run, LeaseId::from_entropy(1));
    let sign = || issuer.sign(&permit, &holder, NOW).expect("a token").0;
    let token = sign();
    let token = std::str::from_utf8(token.expose()).expect("text");
    let verifier = issuer.verifier();
    let bare = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");

    report("bare ES256 signature", || bare.sign(&SystemRandom::new(), token.as_bytes()).expect("a signature"));
    let signature = bare.sign(&SystemRandom::new(), token.as_bytes()).expect("a signature");
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bare.public_key().as_ref());
    report("bare ES256 verification", || public.verify(token.as_bytes(), signature.as_ref()).expect("valid"));
    report("sign a JWT-SVID", sign);
    report("verify a JWT-SVID", || verifier.verify(token, OWN_AUDIENCE, NOW, &Memory::default()).expect("valid"));

    let endpoint = TokenEndpoint::new(Arc::clone(&issuer), Arc::new(Memory::default()));
    let parent = parent(holder);
    let form = exchange_form(token);
    let exchange = || exchanged(&endpoint, &form, &parent);
    let access = exchange();
    let form = format!("token={}", std::str::from_utf8(access.token.expose()).expect("text"));
    report("exchange for a token", exchange);
    report("introspect a token", || {
        endpoint.introspect(form.as_bytes(), Inquirer::Service(OWN_AUDIENCE), NOW).expect("told").reply()
    });
    measure_leases(&issuer);
}

/// A lease from its permit to its end: two sealed notes and a signature; then the revocation, the probe that it worked, and the note
/// about that.
fn measure_leases(issuer: &Arc<Issuer>) {
    let shelf = Arc::new(Memory::default());
    let provider = OwnSvid::new(Arc::clone(issuer), Arc::<Memory>::clone(&shelf));
    let leases = Leases::new(sealer(), shelf, vec![Arc::new(provider)]);
    let (run, numbers) = (RunId::from_entropy(1), Cell::new(0));
    let holder = WorkloadId::new("example.org", run.clone(), AgentName::parse("fixer").expect("a name"));
    let lend = || {
        numbers.set(numbers.get() + 1);
        let lease = LeaseId::from_entropy(numbers.get());
        drop(leases.lend(&permit_to_mint(run.clone(), lease.clone()), &holder, NOW).expect("lent"));
        lease
    };
    report("mint a lease", lend);
    report("mint and end a lease", || {
        let lease = lend();
        assert_eq!(leases.revoke(&lease, LeaseState::Announced, NOW), Ending::Revoked);
        leases.forget(&lease).expect("forgotten");
    });
}

/// All of it: the form read, the document checked, the permit asked for of a judge that says yes, the token signed.
fn exchanged(endpoint: &TokenEndpoint, form: &str, parent: &Parent) -> Issued {
    let considered = endpoint.consider(form.as_bytes(), parent, LeaseId::from_entropy(2), NOW).expect("within");
    let permit = permit(parent.workload.run().clone(), considered.order().clone());
    endpoint.issue(&permit, considered, NOW).expect("a token")
}

fn exchange_form(subject: &str) -> String {
    format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={subject}&audience={OWN_AUDIENCE}\
         &subject_token_type=urn:ietf:params:oauth:token-type:jwt&scope=may:read"
    )
}

fn parent(workload: WorkloadId) -> Parent {
    Parent {
        workload,
        repo: RepoName::parse("acme/shop").expect("a name"),
        grant: Grant {
            trust: Trust::Propose,
            may: [May::Read, May::Delegate].into(),
            reach: BTreeSet::new(),
            audiences: BTreeSet::new(),
            may_ask: BTreeSet::new(),
            models: BTreeSet::new(),
            tools: BTreeSet::new(),
            loans: BTreeSet::new(),
            until: Time::from_millis(u64::MAX),
        },
        depth: 0,
        budget_left: 0,
        handed_on: std::collections::BTreeMap::new(),
        context: TaskContext { task: TaskId::from_entropy(1), intent: Intent::ProposeChange, lineage: Vec::new() },
    }
}

fn report<T>(what: &str, act: impl Fn() -> T) {
    let (begun, mut count) = (Instant::now(), 0_u32);
    while begun.elapsed() < MEASURED_FOR {
        black_box(act());
        count += 1;
    }
    let each = begun.elapsed() / count;
    println!("{what:24} {:>8.0} /s  {each:>10.1?} each", 1.0 / each.as_secs_f64());
}

fn sealer() -> Arc<Sealer> {
    let master = MasterKey::supplied(&Secret::new(vec![7; 32])).expect("32 bytes");
    Arc::new(Sealer::new(&master).expect("a sealer"))
}

fn issuer() -> Issuer {
    let name = IssuerName::parse("https://id.example.org", "example.org").expect("a name");
    Issuer::open(name, sealer(), Arc::new(Memory::default()), NOW).expect("an issuer")
}

fn permit_to_mint(run: RunId, lease: LeaseId) -> Permit<MintCredential> {
    let order = MintCredential {
        lease,
        run: run.clone(),
        repo: RepoName::parse("acme/shop").expect("a name"),
        credential: None,
        audience: OWN_AUDIENCE.to_owned(),
        uses: Vec::new(),
        is_stored: false,
        tenure: selvedge_domain::Tenure::Active,
        until: Time::from_millis(u64::MAX),
        ttl_seconds: 300,
    };
    permit(run, order)
}

fn permit<O: Granted>(run: RunId, order: O) -> Permit<O> {
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
    let here = Memory::default();
    let funnel = Funnel { judge: &here, journal: &here, subject: &Subject::Factory, context: &context, clock: &here };
    funnel.open(order).expect("allowed")
}

/// Stands for everything the issuer, the leases and the funnel need.
#[derive(Default)]
struct Memory {
    records: Mutex<BTreeMap<Slot, Sealed>>,
    revoked: Mutex<BTreeSet<LeaseId>>,
}

impl SealedStore for Memory {
    fn put(&self, slot: &Slot, sealed: &Sealed) -> Result<(), StoreError> {
        self.records.lock().expect("one thread").insert(slot.clone(), sealed.clone());
        Ok(())
    }

    fn get(&self, slot: &Slot) -> Result<Option<Sealed>, StoreError> {
        Ok(self.records.lock().expect("one thread").get(slot).cloned())
    }

    fn delete(&self, slot: &Slot) -> Result<(), StoreError> {
        self.records.lock().expect("one thread").remove(slot);
        Ok(())
    }
}

impl Revoked for Memory {
    fn is_revoked(&self, lease: &LeaseId) -> Result<bool, StoreError> {
        Ok(self.revoked.lock().expect("one thread").contains(lease))
    }
}

impl RevocationList for Memory {
    fn revoke(&self, lease: &LeaseId, _: Time) -> Result<(), StoreError> {
        self.revoked.lock().expect("one thread").insert(lease.clone());
        Ok(())
    }
}

impl Judge for Memory {
    fn judge(&self, _: &Question<'_>) -> Verdict {
        Verdict::Allow { policies: Vec::new() }
    }
}

impl Journal for Memory {
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

impl Clock for Memory {
    fn now(&self) -> Time {
        NOW
    }
}
