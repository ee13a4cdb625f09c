//! A secret shows nowhere but where it is exposed on purpose: no output of ours, no record, no error holds any of it (C5, C7).

use std::sync::Arc;

use selvedge_credentials::{Handle, OWN_AUDIENCE, Secret};
use selvedge_domain::LeaseState;

use crate::world::{Cut, Disk, NOW, holder, keeper, lease, order, permit, text};

/// Whether any eight bytes in a row of `secret` are in `place`.
fn shows(secret: &[u8], place: &[u8]) -> bool {
    place.windows(8).any(|part| secret.windows(8).any(|secret| secret == part))
}

#[test]
fn a_token_shows_in_nothing_we_print_keep_or_refuse() {
    let disk = Arc::<Disk>::default();
    let keeper = keeper(&disk, Cut::Never);
    let lent = keeper.leases.lend(&permit(order(1, OWN_AUDIENCE)), &holder(), NOW).unwrap();
    let token = text(&lent.secret);
    let again = keeper.leases.lend(&permit(order(1, OWN_AUDIENCE)), &holder(), NOW).unwrap_err();
    let ending = keeper.leases.revoke(&lease(1), LeaseState::Announced, NOW);
    let said = format!("{lent:?} {again} {again:?} {ending:?} {:?} {:?}", keeper.leases, keeper.issuer);
    // The header is the same for every token of a key, and no secret.
    let (_, secret) = token.split_once('.').unwrap();
    assert!(shows(secret.as_bytes(), token.as_bytes()), "the search finds what is there");
    assert!(!shows(secret.as_bytes(), said.as_bytes()), "{said}");
    for (slot, sealed) in disk.records.lock().unwrap().iter() {
        assert!(!shows(token.as_bytes(), sealed.as_bytes()), "{slot}");
        assert!(!shows(token.as_bytes(), format!("{slot} {slot:?} {sealed:?}").as_bytes()), "{slot}");
    }
}

#[test]
fn debug_says_that_there_is_a_secret_and_no_more() {
    let secret = || Secret::new(b"canary-3f9a1c77e5".to_vec());
    assert_eq!(format!("{:?}", secret()), "Secret(..)");
    assert_eq!(format!("{:#?}", Handle::new(secret())), "Handle(..)");
}
