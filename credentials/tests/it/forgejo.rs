//! Tokens of a Forgejo account, which never die by themselves: nothing but their deletion closes their lease (C4).

use std::sync::Arc;

use selvedge_credentials::Ending;
use selvedge_domain::{Duration, LeaseState, Time};

use crate::providers::{Kind, World, loan, minting_keys, name, world_beside};
use crate::vendors::Mood;
use crate::vendors::forgejo::{Forgejo, Generous, PASSWORD};
use crate::world::{Cut, Fuse, NOW, holder, lease, permit, text};

const TOKENS: &str = "/git/api/v1/users/factory-bot/tokens";

/// Long after everything that has an end has ended.
const YEARS: Duration = Duration::from_seconds(100_000_000);

fn world() -> (Arc<Forgejo>, World) {
    let forgejo = Arc::<Forgejo>::default();
    let world = world_beside(Kind::Forgejo, Cut::Never, Arc::default(), Box::new(Arc::clone(&forgejo)));
    (forgejo, world)
}

fn revoke(world: &World, now: Time) -> Ending {
    world.leases.revoke(&lease(1), LeaseState::Announced, now)
}

#[test]
fn a_token_is_made_with_the_password_and_shows_none_of_it_c5() {
    let (forgejo, world) = world();
    let lent = world.leases.lend(&permit(loan(1)), &holder(), NOW).unwrap();
    assert_eq!(forgejo.tokens.lock().unwrap()[0].0, lease(1).as_str());
    assert!(!text(&lent.secret).contains(PASSWORD) && !format!("{lent:?} {:?}", world.leases).contains("canary"));
    assert_eq!(lent.minted.expires, NOW.after(Duration::from_seconds(900)), "the loan, not the token");
    assert_eq!((revoke(&world, NOW), world.vendor.live()), (Ending::Revoked, 0));
}

#[test]
fn no_clock_closes_the_lease_of_a_token_that_never_dies_c4() {
    for lent in [Mood::Well, Mood::Mute] {
        let (_, world) = world();
        world.vendor.be(move |_| lent);
        let state = match world.leases.lend(&permit(loan(1)), &holder(), NOW) {
            Ok(lent) => LeaseState::Live { revocation: lent.minted.revocation, expires: lent.minted.expires },
            Err(_) => LeaseState::Announced,
        };
        let late = NOW.after(YEARS);
        for status in [401, 403, 429, 500] {
            world.vendor.be(move |target| if target.starts_with(TOKENS) { Mood::Status(status) } else { Mood::Well });
            let ending = world.leases.revoke(&lease(1), state, late);
            assert!(matches!(ending, Ending::Stuck { .. }) && world.vendor.live() == 1, "{status}: {ending:?}");
        }
        minting_keys(&world.disk, &Fuse::new(Cut::Never)).remove(&name()).unwrap();
        world.vendor.be(|_| Mood::Well);
        let Ending::Stuck { because, .. } = world.leases.revoke(&lease(1), state, late) else { panic!("it lives") };
        assert!(because.contains("selvedge credentials store db"), "{because}");
        let key = selvedge_credentials::Secret::new(PASSWORD.as_bytes().to_vec());
        minting_keys(&world.disk, &Fuse::new(Cut::Never)).put(&name(), &key, NOW).unwrap();
        assert_eq!(world.leases.revoke(&lease(1), state, late), Ending::Revoked);
        assert_eq!(world.vendor.live(), 0);
    }
}

#[test]
fn a_lost_token_is_deleted_by_its_lease_and_late_ones_are_waited_for_c4_a07() {
    let (forgejo, world) = world();
    for number in 0..40 {
        forgejo.make(&format!("laptop-{number}"), Vec::new());
    }
    world.vendor.be(|_| Mood::Mute);
    assert!(world.leases.lend(&permit(loan(1)), &holder(), NOW).is_err());
    // Not deleted, it is found on the second page.
    world.vendor.be(|target| if target.ends_with(lease(1).as_str()) { Mood::Status(404) } else { Mood::Well });
    let late = NOW.after(YEARS);
    assert!(matches!(revoke(&world, late), Ending::Stuck { .. }), "it is listed");
    world.vendor.be(|_| Mood::Well);
    let Ending::ExpiresAt(settled) = revoke(&world, NOW) else { panic!("it may have been asked twice") };
    assert_eq!(world.vendor.live(), 40, "and ended at once");
    forgejo.make(lease(1).as_str(), Vec::new());
    assert_eq!((revoke(&world, settled), world.vendor.live()), (Ending::Revoked, 40));
}

#[test]
fn a_token_that_is_good_for_more_than_was_asked_is_deleted_and_not_lent_c1() {
    for generous in [Generous::Scope, Generous::All, Generous::Unscoped] {
        for deleting in [Mood::Well, Mood::Status(500)] {
            let (forgejo, world) = world();
            *forgejo.generous.lock().unwrap() = generous;
            world.vendor.be(move |target| if target.ends_with(lease(1).as_str()) { deleting } else { Mood::Well });
            let error = world.leases.lend(&permit(loan(1)), &holder(), NOW).unwrap_err();
            assert!(error.is_lasting() && error.to_string().contains("and is not used"), "{generous:?}: {error}");
            world.vendor.be(|_| Mood::Well);
            let ending = revoke(&world, NOW.after(Duration::from_seconds(3600)));
            assert_eq!((ending, world.vendor.live()), (Ending::Revoked, 0), "{generous:?}");
        }
    }
}

#[test]
fn a_token_that_was_never_seen_alive_is_not_lent_lest_it_look_dead_later_c4() {
    for status in [401, 404, 500] {
        let (_, world) = world();
        world.vendor.be(move |target| if target.ends_with("/user") { Mood::Status(status) } else { Mood::Well });
        assert!(world.leases.lend(&permit(loan(1)), &holder(), NOW).is_err());
        assert_eq!((revoke(&world, NOW), world.vendor.live()), (Ending::Revoked, 0), "{status}");
    }
}
