//! Stored keys: sealed, lent by lease, barred when they leak, and never shown (C5, C7).

use std::sync::Arc;

use selvedge_credentials::{Ending, Leases, LendError, Purpose, Secret, Standing, StoredKeyLoans, StoredKeys};
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
    let kept = || {
        let records = disk.records.lock().unwrap();
        records.iter().find(|(slot, _)| slot.purpose == Purpose::StoredKey).unwrap().1.as_bytes().len()
    };
    let before = kept();
    keys.bar(&name(), NOW).unwrap();
    assert!(kept() + KEY.len() <= before, "a barred key is not kept");
}
