//! Lending once, ending always, and saying so when it cannot be done (C1, C2, C4, invariant 7).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use crate::world::{Cut, Disk, NOW, Wired, holder, issuer, keeper, lease, live_tokens, order, permit, sealer, text};
use selvedge_authority::Permit;
use selvedge_credentials::{
    Credential, Ending, Fresh, Handle, Leases, LendError, Lost, MasterKey, OWN_AUDIENCE, OwnSvid, Probe, Provider,
    ProviderError, Purpose, SVID_LIFETIME_MAX, Sealed, Sealer, Secret, Slot,
};
use selvedge_domain::orders::MintCredential;
use selvedge_domain::{AgentName, Duration, LeaseEvent, LeaseState, Revocation, RunId, Time, WorkloadId};

const CLOUD: &str = "https://cloud.example";

fn seconds(count: u64) -> Duration {
    Duration::from_seconds(count)
}

#[test]
fn a_secret_is_lent_once_and_dies_on_revocation() {
    let disk = Arc::<Disk>::default();
    let keeper = keeper(&disk, Cut::Never);
    let lent = keeper.leases.lend(&permit(order(1, OWN_AUDIENCE)), &holder(), NOW).unwrap();
    assert_eq!(lent.minted.revocation, Revocation::Immediate);
    let list = Wired { disk: Arc::clone(&disk), fuse: crate::world::Fuse::new(Cut::Never) };
    let claims = keeper.issuer.verifier().verify(&text(&lent.secret), OWN_AUDIENCE, NOW, &list).unwrap();
    assert_eq!((claims.workload, claims.lease, claims.expires), (holder(), lease(1), lent.minted.expires));
    assert_eq!(live_tokens(&disk, OWN_AUDIENCE, NOW), 1, "it works before it is revoked");

    let again = keeper.leases.lend(&permit(order(1, OWN_AUDIENCE)), &holder(), NOW);
    assert_eq!(again.err(), Some(LendError::UsedBefore(lease(1))));

    let live = LeaseState::Live { revocation: lent.minted.revocation, expires: lent.minted.expires };
    for _ in 0..2 {
        let ending = keeper.leases.revoke(&lease(1), live, NOW);
        assert_eq!((ending.event(), &ending), (Some(LeaseEvent::Died), &Ending::Revoked));
    }
    assert_eq!(live_tokens(&disk, OWN_AUDIENCE, NOW), 0);
}

#[test]
fn no_lifetime_is_longer_than_ordered_or_allowed_c1() {
    let disk = Arc::<Disk>::default();
    let keeper = keeper(&disk, Cut::Never);
    let lend = |number, until, ttl_seconds| {
        let order = MintCredential { until, ttl_seconds, ..order(number, OWN_AUDIENCE) };
        keeper.leases.lend(&permit(order), &holder(), NOW).map(|lent| lent.minted.expires)
    };
    let far = NOW.after(seconds(9000));
    let rounded = |time: Time| Time::from_millis(time.as_millis() / 1000 * 1000);
    assert_eq!(lend(1, far, 9000), Ok(rounded(NOW.after(SVID_LIFETIME_MAX))));
    assert_eq!(lend(2, far, 60), Ok(rounded(NOW.after(seconds(60)))));
    assert_eq!(lend(3, NOW.after(seconds(30)), 60), Ok(rounded(NOW.after(seconds(30)))));
    for (number, until) in [(4, NOW), (5, Time::from_millis(0)), (6, NOW.after(Duration::from_millis(499)))] {
        assert!(matches!(lend(number, until, 60), Err(LendError::Provider { .. })), "dead on arrival");
    }
    assert!(matches!(lend(7, far, 0), Err(LendError::Provider { .. })));
}

#[test]
fn an_identity_is_lent_to_nobody_but_the_run_it_names_c2() {
    let disk = Arc::<Disk>::default();
    let keeper = keeper(&disk, Cut::Never);
    let agent = || AgentName::parse("fixer").unwrap();
    let others = [
        WorkloadId::new(crate::world::TRUST_DOMAIN, RunId::from_entropy(2), agent()),
        WorkloadId::new("evil.example", RunId::from_entropy(1), agent()),
        WorkloadId::new("factory.example.org.evil.example", RunId::from_entropy(1), agent()),
    ];
    for (number, other) in (1..).zip(&others) {
        let refused = keeper.leases.lend(&permit(order(number, OWN_AUDIENCE)), other, NOW);
        assert!(matches!(refused, Err(LendError::Provider { .. })), "{other}");
    }
    for (number, audience) in [(10, ""), (11, "a\nb")] {
        assert!(keeper.leases.lend(&permit(order(number, audience)), &holder(), NOW).is_err(), "{audience:?}");
    }
    assert!(disk.tokens.lock().unwrap().is_empty());
}

#[test]
fn what_can_only_expire_is_not_called_revoked_c4() {
    let disk = Arc::<Disk>::default();
    let keeper = keeper(&disk, Cut::Never);
    let lent = keeper.leases.lend(&permit(order(1, CLOUD)), &holder(), NOW).unwrap();
    let Revocation::ExpiryOnly(dies) = lent.minted.revocation else { panic!("{:?}", lent.minted) };
    assert!(dies > lent.minted.expires, "other verifiers have leeway");
    let live = LeaseState::Live { revocation: lent.minted.revocation, expires: lent.minted.expires };

    let early = keeper.leases.revoke(&lease(1), live, NOW);
    assert_eq!((early.event(), early), (None, Ending::ExpiresAt(dies)), "the run stays closing");
    let last_moment = Time::from_millis(dies.as_millis() - 1);
    assert_eq!(keeper.leases.revoke(&lease(1), live, last_moment), Ending::ExpiresAt(dies));
    let late = keeper.leases.revoke(&lease(1), live, dies);
    assert_eq!((late.event(), late), (Some(LeaseEvent::Died), Ending::Expired));
}

#[test]
fn a_dead_lease_can_be_forgotten_and_a_living_one_cannot() {
    let disk = Arc::<Disk>::default();
    let keeper = keeper(&disk, Cut::Never);
    let _lent = keeper.leases.lend(&permit(order(1, OWN_AUDIENCE)), &holder(), NOW).unwrap();
    let slot = Slot { purpose: Purpose::Lease, id: lease(1).to_string(), version: 1 };
    keeper.leases.forget(&lease(1)).unwrap();
    assert!(disk.records.lock().unwrap().contains_key(&slot), "it lives");
    assert_eq!(keeper.leases.revoke(&lease(1), LeaseState::Announced, NOW), Ending::Revoked);
    keeper.leases.forget(&lease(1)).unwrap();
    assert!(!disk.records.lock().unwrap().contains_key(&slot));
}

#[test]
fn a_note_that_cannot_be_read_still_gets_its_lease_revoked() {
    let disk = Arc::<Disk>::default();
    let lent = keeper(&disk, Cut::Never).leases.lend(&permit(order(1, OWN_AUDIENCE)), &holder(), NOW).unwrap();
    let slot = Slot { purpose: Purpose::Lease, id: lease(1).to_string(), version: 1 };
    disk.records.lock().unwrap().insert(slot, Sealed::from_bytes(b"garbage".to_vec()));

    let next = keeper(&disk, Cut::Never);
    let live = LeaseState::Live { revocation: lent.minted.revocation, expires: lent.minted.expires };
    assert!(matches!(next.leases.revoke(&lease(1), live, NOW), Ending::Stuck { .. }), "nobody knows what it was");
    assert_eq!(live_tokens(&disk, OWN_AUDIENCE, NOW), 0, "revoked by its id all the same");
    for state in [live, LeaseState::Announced] {
        let ending = next.leases.revoke(&lease(1), state, lent.minted.expires);
        assert!(matches!(ending, Ending::Stuck { .. }), "what can be revoked may outlive its loan: {ending:?}");
    }
    let only = LeaseState::Live { revocation: Revocation::ExpiryOnly(lent.minted.expires), expires: NOW };
    assert!(matches!(next.leases.revoke(&lease(1), only, NOW), Ending::Stuck { .. }));
    assert_eq!(next.leases.revoke(&lease(1), only, lent.minted.expires), Ending::Expired, "this clock is believed");
}

#[test]
fn another_master_key_opens_nothing_and_lends_nothing_twice() {
    let disk = Arc::<Disk>::default();
    let _lent = keeper(&disk, Cut::Never).leases.lend(&permit(order(1, OWN_AUDIENCE)), &holder(), NOW).unwrap();
    let wired = Arc::new(Wired { disk: Arc::clone(&disk), fuse: crate::world::Fuse::new(Cut::Never) });
    let other = MasterKey::supplied(&Secret::new(vec![8; 32])).unwrap();
    let own = OwnSvid::new(issuer(&disk), Arc::<Wired>::clone(&wired));
    let leases = Leases::new(Arc::new(Sealer::new(&other).unwrap()), wired, vec![Arc::new(own)]);
    let refused = leases.lend(&permit(order(1, OWN_AUDIENCE)), &holder(), NOW);
    assert!(matches!(refused, Err(LendError::Note(_))));
}

/// A provider whose answers the test chooses, and whose mint waits until it may go on.
struct Odd {
    revokes: Arc<Mutex<Result<(), ProviderError>>>,
    works: Arc<AtomicBool>,
    gate: Option<(Sender<()>, Mutex<Receiver<()>>)>,
}

impl Provider for Odd {
    fn name(&self) -> &str {
        "odd"
    }

    fn serves(&self, _: &MintCredential) -> bool {
        true
    }

    fn mint(&self, _: &Permit<MintCredential>, _: &WorkloadId, now: Time) -> Result<Fresh, ProviderError> {
        if let Some((entered, go_on)) = &self.gate {
            entered.send(()).unwrap();
            go_on.lock().unwrap().recv().unwrap();
        }
        self.works.store(true, Ordering::SeqCst);
        Ok(Fresh {
            secret: Secret::new(b"odd secret".to_vec()),
            handle: Handle::new(Secret::new(b"odd handle".to_vec())),
            revocation: Revocation::LeaseRevoke,
            expires: now.after(seconds(300)),
        })
    }

    fn revoke(&self, _: &Credential<'_>, _: Time) -> Result<(), ProviderError> {
        self.revokes.lock().unwrap().clone()
    }

    fn probe(&self, _: &Credential<'_>, _: Time) -> Probe {
        if self.works.load(Ordering::SeqCst) { Probe::Alive } else { Probe::Dead }
    }

    fn lost(&self, _: Time) -> Lost {
        Lost::EndedByLease
    }
}

fn odd_leases(odd: Odd) -> Leases {
    let wired = Wired { disk: Arc::default(), fuse: crate::world::Fuse::new(Cut::Never) };
    Leases::new(sealer(), Arc::new(wired), vec![Arc::new(odd)])
}

#[test]
fn a_revocation_that_fails_or_lies_is_stuck_with_a_reason_and_a_next_try() {
    let revokes = Arc::new(Mutex::new(Err(ProviderError::new("service unavailable"))));
    let works = Arc::<AtomicBool>::default();
    let leases = odd_leases(Odd { revokes: Arc::clone(&revokes), works: Arc::clone(&works), gate: None });
    let _lent = leases.lend(&permit(order(1, CLOUD)), &holder(), NOW).unwrap();
    let live = LeaseState::Stuck { expires: NOW.after(seconds(300)) };
    let stuck = || match leases.revoke(&lease(1), live, NOW) {
        Ending::Stuck { because, retry } => (because, retry.since(NOW)),
        other => panic!("{other:?}"),
    };
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        let (because, retry) = stuck();
        assert!(because.contains("service unavailable") && retry == seconds(wait), "{because}, {retry:?}");
    }
    let patient = ProviderError {
        because: "slow down".to_owned(),
        retry_after: Some(seconds(900)),
        is_lasting: false,
        made_nothing: false,
    };
    *revokes.lock().unwrap() = Err(patient);
    assert_eq!(stuck().1, seconds(900), "the provider's own advice");
    let again = |after| leases.revoke_when_welcome(&lease(1), live, NOW.after(seconds(after)));
    *revokes.lock().unwrap() =
        Err(ProviderError { retry_after: Some(seconds(86_400)), ..ProviderError::new("asked again") });
    for early in [again(0), again(899)] {
        assert!(
            matches!(&early, Ending::Stuck { because, retry } if because == "slow down" && *retry == NOW.after(seconds(900)))
        );
    }
    let Ending::Stuck { because, retry } = again(900) else { panic!("it still works") };
    assert_eq!(
        (because.as_str(), retry.since(NOW)),
        ("asked again", seconds(1800)),
        "and not for as long as anybody likes"
    );
    assert!(
        matches!(leases.revoke_when_welcome(&lease(1), live, NOW), Ending::Stuck { because, .. } if because == "asked again")
    );
    *revokes.lock().unwrap() = Ok(());
    assert!(stuck().0.contains("still works"), "saying `revoked` is not enough (A-56)");
    works.store(false, Ordering::SeqCst);
    assert_eq!(leases.revoke(&lease(1), live, NOW), Ending::Revoked);
}

#[test]
fn a_halt_during_the_mint_ends_what_the_mint_makes() {
    let (entered, has_entered) = channel();
    let (go_on, may_go_on) = channel();
    let works = Arc::<AtomicBool>::default();
    let gate = Some((entered, Mutex::new(may_go_on)));
    let leases = odd_leases(Odd { revokes: Arc::new(Mutex::new(Ok(()))), works: Arc::clone(&works), gate });
    let early = std::thread::scope(|scope| {
        let minting = scope.spawn(|| leases.lend(&permit(order(1, CLOUD)), &holder(), NOW).map(|lent| lent.minted));
        has_entered.recv().unwrap();
        let early = [(); 2].map(|()| leases.revoke(&lease(1), LeaseState::Announced, NOW));
        go_on.send(()).unwrap();
        assert!(minting.join().unwrap().is_ok());
        early
    });
    for ending in early {
        assert!(matches!(ending, Ending::Stuck { .. }), "nobody may call it dead while it is being made: {ending:?}");
    }
    works.store(false, Ordering::SeqCst);
    assert_eq!(leases.revoke(&lease(1), LeaseState::Announced, NOW), Ending::Revoked);
}

#[test]
fn a_halt_before_the_mint_keeps_it_from_happening() {
    let disk = Arc::<Disk>::default();
    let keeper = keeper(&disk, Cut::Never);
    assert_eq!(keeper.leases.revoke(&lease(1), LeaseState::Announced, NOW), Ending::Revoked);
    let late = keeper.leases.lend(&permit(order(1, OWN_AUDIENCE)), &holder(), NOW);
    assert_eq!(late.err(), Some(LendError::UsedBefore(lease(1))));
    assert!(disk.tokens.lock().unwrap().is_empty());
}

#[test]
fn of_many_who_ask_at_once_one_is_lent_the_secret() {
    let disk = Arc::<Disk>::default();
    let keeper = keeper(&disk, Cut::Never);
    let lent = std::thread::scope(|scope| {
        let ask = || keeper.leases.lend(&permit(order(1, OWN_AUDIENCE)), &holder(), NOW).is_ok();
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).filter(|lent| *lent).count()
    });
    assert_eq!((lent, disk.tokens.lock().unwrap().len()), (1, 1));
}

#[test]
fn a_mint_that_failed_is_not_tried_again_under_its_lease() {
    let disk = Arc::<Disk>::default();
    let keeper = keeper(&disk, Cut::Never);
    let other = WorkloadId::new(crate::world::TRUST_DOMAIN, RunId::from_entropy(2), AgentName::parse("fixer").unwrap());
    let failed = keeper.leases.lend(&permit(order(1, OWN_AUDIENCE)), &other, NOW);
    assert!(matches!(failed, Err(LendError::Provider { .. })));
    let again = keeper.leases.lend(&permit(order(1, OWN_AUDIENCE)), &holder(), NOW);
    assert_eq!(again.err(), Some(LendError::UsedBefore(lease(1))), "what the first try made is not known");
}

#[test]
fn a_halt_that_gets_stuck_before_the_mint_still_keeps_it_from_happening() {
    let revokes = Arc::new(Mutex::new(Err(ProviderError::new("service unavailable"))));
    let works = Arc::new(AtomicBool::new(true));
    let leases = odd_leases(Odd { revokes, works, gate: None });
    assert!(matches!(leases.revoke(&lease(1), LeaseState::Announced, NOW), Ending::Stuck { .. }));
    let late = leases.lend(&permit(order(1, CLOUD)), &holder(), NOW);
    assert_eq!(late.err(), Some(LendError::UsedBefore(lease(1))));
}

#[test]
fn a_probe_tries_the_very_token_against_its_own_audience() {
    let disk = Arc::<Disk>::default();
    let list = Arc::new(Wired { disk: Arc::clone(&disk), fuse: crate::world::Fuse::new(Cut::Never) });
    let own = OwnSvid::new(issuer(&disk), list);
    for (number, audience) in [(1, OWN_AUDIENCE), (2, CLOUD)] {
        let lease = lease(number);
        let fresh = own.mint(&permit(order(number, audience)), &holder(), NOW).unwrap();
        let credential = Credential { lease: &lease, audience: Some(audience), handle: Some(&fresh.handle) };
        assert_eq!(own.probe(&credential, NOW), Probe::Alive, "{audience}");
        assert_eq!(own.probe(&credential, fresh.expires), Probe::Dead, "{audience}");
        own.revoke(&credential, NOW).unwrap();
        assert_eq!(own.probe(&credential, NOW), Probe::Dead, "{audience}");
    }
}
