//! Stored keys: sealed, lent by lease, barred when they leak, and never shown (C5, C7).

use std::sync::Arc;

use selvedge_credentials::{
    Ending, Leases, LendError, Purpose, Secret, Slot, Standing, StoredKeyError, StoredKeyLoans, StoredKeys,
};
use selvedge_domain::orders::MintCredential;
use selvedge_domain::{CredentialName, Duration, LeaseState, Time};

use crate::world::{Cut, Disk, Fuse, NOW, Wired, holder, lease, order, permit, sealer, text};

const KEY: &str = "canary-3f9a1c77e5-of-the-operator";

fn world(disk: &Arc<Disk>) -> (Arc<StoredKeys>, Leases) {
    let store = Arc::new(Wired { disk: Arc::clone(disk), fuse: Fuse::new(Cut::Never) });
    let keys = Arc::new(StoredKeys::new(sealer(), store.clone()));
    let loans = StoredKeyLoans::new(Arc::clone(&keys), store.clone());
    (keys, Leases::new(sealer(), store, vec![Arc::new(loans)]))
}

fn name() -> CredentialName {
    CredentialName::parse("crates").unwrap()
}

fn loan(number: u64) -> MintCredential {
    MintCredential { credential: Some(name()), is_stored: true, ttl_seconds: 60, ..order(number, "") }
}

fn store(keys: &StoredKeys, key: &str, now: Time) {
    keys.put(&name(), &Secret::new(key.as_bytes().to_vec()), now).unwrap();
}

#[test]
fn a_stored_key_is_lent_for_a_while_and_once_per_lease_c1() {
    let disk = Arc::<Disk>::default();
    let (keys, leases) = world(&disk);
    store(&keys, KEY, NOW);
    assert_eq!(keys.standing(&name()), Ok(Some(Standing::StoredSince(NOW))));
    let lent = leases.lend(&permit(loan(1)), &holder(), NOW).unwrap();
    assert_eq!((text(&lent.secret).as_str(), lent.minted.expires), (KEY, NOW.after(Duration::from_seconds(60))));
    assert_eq!(leases.lend(&permit(loan(1)), &holder(), NOW).err(), Some(LendError::UsedBefore(lease(1))));
    assert_eq!(leases.revoke(&lease(1), LeaseState::Announced, NOW), Ending::Revoked);
    // Another lease of another run is another loan.
    assert!(leases.lend(&permit(loan(2)), &holder(), NOW).is_ok());
    // A lease that was given up before it was minted lends nothing.
    assert_eq!(leases.revoke(&lease(3), LeaseState::Announced, NOW), Ending::Revoked);
    assert!(leases.lend(&permit(loan(3)), &holder(), NOW).is_err());
}

#[test]
fn a_key_that_is_missing_removed_or_leaked_is_not_lent_and_waiting_does_not_help_c7() {
    let disk = Arc::<Disk>::default();
    let (keys, leases) = world(&disk);
    let refused = |number| leases.lend(&permit(loan(number)), &holder(), NOW).unwrap_err();
    assert!(refused(1).is_lasting() && refused(2).to_string().contains("no key is stored"));
    store(&keys, KEY, NOW);
    keys.bar(&name(), NOW.after(Duration::from_seconds(9))).unwrap();
    assert_eq!(keys.standing(&name()), Ok(Some(Standing::LeakedAt(NOW.after(Duration::from_seconds(9))))));
    let error = refused(3);
    assert!(error.is_lasting() && error.to_string().contains("leaked at"), "{error}");
    // Only a new key ends that, and barring what leaked before does not move the clock.
    keys.bar(&name(), NOW.after(Duration::from_seconds(99))).unwrap();
    assert_eq!(keys.standing(&name()), Ok(Some(Standing::LeakedAt(NOW.after(Duration::from_seconds(9))))));
    store(&keys, "another-key-of-the-operator", NOW);
    assert!(leases.lend(&permit(loan(4)), &holder(), NOW).is_ok());
    keys.remove(&name()).unwrap();
    assert_eq!(keys.standing(&name()), Ok(None));
    assert!(refused(5).is_lasting());
    // Nothing is made of nothing.
    keys.bar(&name(), NOW).unwrap();
    assert_eq!(keys.standing(&name()), Ok(None));
}

#[test]
fn a_stored_key_shows_nowhere_and_a_leaked_one_is_gone_c5() {
    let disk = Arc::<Disk>::default();
    let (keys, leases) = world(&disk);
    store(&keys, KEY, NOW);
    let lent = leases.lend(&permit(loan(1)), &holder(), NOW).unwrap();
    let said = format!("{keys:?} {leases:?} {lent:?} {:?}", keys.standing(&name()));
    assert!(!said.contains("canary-3f9a"), "{said}");
    let records = disk.records.lock().unwrap();
    assert_eq!(records.len(), 2, "the key, and the note about the lease");
    for (slot, sealed) in records.iter() {
        assert!(!sealed.as_bytes().windows(8).any(|part| KEY.as_bytes().windows(8).any(|key| key == part)), "{slot}");
    }
    drop(records);
    keys.bar(&name(), NOW).unwrap();
    let slot = Slot { purpose: Purpose::StoredKey, id: name().to_string(), version: 1 };
    let kept = sealer().open(&slot, &disk.records.lock().unwrap()[&slot]).unwrap();
    assert!(!kept.expose().windows(8).any(|part| KEY.as_bytes().windows(8).any(|key| key == part)), "it is kept");
}

/// Whatever is stored or removed in between, a key that leaked is known again; another one never is.
#[test]
fn a_key_that_leaked_is_not_taken_again_by_any_detour_c7() {
    let disk = Arc::<Disk>::default();
    let (keys, _) = world(&disk);
    let put = |key: &str| keys.put(&name(), &Secret::new(key.as_bytes().to_vec()), NOW);
    let leaked = NOW.after(Duration::from_seconds(9));
    put(KEY).unwrap();
    keys.bar(&name(), leaked).unwrap();
    let again = || assert_eq!(put(KEY), Err(StoredKeyError::LeakedBefore(name(), leaked)));
    again();
    assert_eq!(keys.standing(&name()), Ok(Some(Standing::LeakedAt(leaked))));
    put("another-key-of-the-operator").unwrap();
    again();
    keys.remove(&name()).unwrap();
    assert_eq!(keys.standing(&name()), Ok(None));
    again();
    put("a-third-key-of-the-operator").unwrap();
    keys.bar(&name(), NOW).unwrap();
    again();
    assert_eq!(put("a-third-key-of-the-operator"), Err(StoredKeyError::LeakedBefore(name(), NOW)));
    put("a-fourth-key-of-the-operator").unwrap();
    // Under another name it is another credential.
    let other = CredentialName::parse("other").unwrap();
    assert!(keys.put(&other, &Secret::new(KEY.as_bytes().to_vec()), NOW).is_ok());
}

#[test]
fn records_of_earlier_versions_read_as_before_g5() {
    let disk = Arc::<Disk>::default();
    let (keys, _) = world(&disk);
    let slot = Slot { purpose: Purpose::StoredKey, id: name().to_string(), version: 1 };
    let old = |parts: &[&[u8]]| {
        let joined = parts.iter().flat_map(|part| [&(part.len() as u64).to_be_bytes()[..], part].concat()).collect();
        let sealed = sealer().seal(&slot, &Secret::new(joined)).unwrap();
        disk.records.lock().unwrap().insert(slot.clone(), sealed);
    };
    let at = NOW.as_millis().to_be_bytes();
    old(&[b"leaked 1", &at]);
    assert_eq!(keys.standing(&name()), Ok(Some(Standing::LeakedAt(NOW))));
    old(&[b"stored 1", &at, KEY.as_bytes()]);
    assert_eq!(keys.standing(&name()), Ok(Some(Standing::StoredSince(NOW))));
    old(&[b"stored 1", &at, KEY.as_bytes(), b"no leak"]);
    assert_eq!(keys.standing(&name()), Err(StoredKeyError::Foreign(name())));
}
