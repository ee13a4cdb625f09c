//! Tokens of a GitLab project: deleted at the end, found by their lease when nobody heard of them, and no wider than asked (C4).

use std::sync::Arc;

use selvedge_credentials::{Ending, MintingKeys, Purpose, Sealed, Slot};
use selvedge_domain::{Duration, LeaseState, Revocation, Time};

use crate::providers::{Kind, World, loan, minting_keys, name, world_beside};
use crate::vendors::Mood;
use crate::vendors::gitlab::{Generous, Gitlab};
use crate::world::{Cut, Fuse, NOW, holder, lease, permit, text};

const TOKENS: &str = "/api/v4/projects/acme%2Fshop/access_tokens";

fn world() -> (Arc<Gitlab>, World) {
    let gitlab = Arc::<Gitlab>::default();
    let world = world_beside(Kind::Gitlab, Cut::Never, Arc::default(), Box::new(Arc::clone(&gitlab)));
    (gitlab, world)
}

fn keys(world: &World) -> Arc<MintingKeys> {
    minting_keys(&world.disk, &Fuse::new(Cut::Never))
}

fn revoke(world: &World, now: Time) -> Ending {
    world.leases.revoke(&lease(1), LeaseState::Announced, now)
}

#[test]
fn a_token_carries_its_lease_dies_at_the_next_midnight_and_is_deleted_before_c1_c4() {
    let (gitlab, world) = world();
    let lent = world.leases.lend(&permit(loan(1)), &holder(), NOW).unwrap();
    assert_eq!(
        (lent.minted.revocation, lent.minted.expires),
        (Revocation::Immediate, NOW.after(Duration::from_seconds(900)))
    );
    assert!(text(&lent.secret).starts_with("glpat-canary-"));
    assert_eq!(gitlab.tokens.lock().unwrap()[0].name, lease(1).as_str());
    *world.vendor.now.lock().unwrap() = NOW.after(Duration::from_seconds(24 * 3600));
    assert_eq!(world.vendor.live(), 0, "should everything fail, it dies by itself");
    *world.vendor.now.lock().unwrap() = NOW;
    assert_eq!((revoke(&world, NOW), world.vendor.live()), (Ending::Revoked, 0));
}

#[test]
fn a_lost_token_is_found_by_its_lease_among_others_and_late_ones_are_waited_for_c4_a07() {
    for lists_all in [Generous::No, Generous::ListsAll] {
        let (gitlab, world) = world();
        *gitlab.generous.lock().unwrap() = lists_all;
        // Other tokens of the project, more than a page of them, one of them dead and of that name.
        for number in 0..70 {
            gitlab.make(&format!("release-{number}"), "2027-01-01");
        }
        gitlab.make(lease(1).as_str(), "2026-11-01");
        world.vendor.be(|_| Mood::Mute);
        assert!(world.leases.lend(&permit(loan(1)), &holder(), NOW).is_err());
        assert_eq!(world.vendor.live(), 71);
        world.vendor.be(|_| Mood::Well);
        let Ending::ExpiresAt(settled) = revoke(&world, NOW) else { panic!("it may have been asked twice") };
        assert_eq!(world.vendor.live(), 70, "ended at once, {lists_all:?}");
        // What the service was slow to make is ended when nothing more can come.
        gitlab.make(lease(1).as_str(), "2027-01-01");
        assert_eq!((revoke(&world, settled), world.vendor.live()), (Ending::Revoked, 70));
        assert!(settled > NOW.after(Duration::from_seconds(60)), "longer than a courier waits");
    }
}

#[test]
fn a_list_that_makes_no_sense_or_has_no_end_proves_nothing_c4() {
    for status in [401, 403, 404, 429, 500, 200] {
        let (_, world) = world();
        world.vendor.be(|_| Mood::Mute);
        assert!(world.leases.lend(&permit(loan(1)), &holder(), NOW).is_err());
        // Without a body, `200` is not an empty list.
        world.vendor.be(move |target| if target.contains('?') { Mood::Status(status) } else { Mood::Well });
        let late = NOW.after(Duration::from_seconds(3600));
        let ending = revoke(&world, late);
        assert!(matches!(ending, Ending::Stuck { .. }) && world.vendor.live() == 1, "{status}: {ending:?}");
        world.vendor.be(|_| Mood::Well);
        assert_eq!((revoke(&world, late), world.vendor.live()), (Ending::Revoked, 0));
    }
    let (gitlab, world) = world();
    for _ in 0..1001 {
        gitlab.make("l-of-another-factory", "2027-01-01");
    }
    *gitlab.generous.lock().unwrap() = Generous::ListsAll;
    world.vendor.be(|_| Mood::Mute);
    assert!(world.leases.lend(&permit(loan(1)), &holder(), NOW).is_err());
    world.vendor.be(|_| Mood::Well);
    let Ending::Stuck { because, .. } = revoke(&world, NOW) else { panic!("nobody looked at all of them") };
    assert!(because.contains("more than 1000 tokens"), "{because}");
}

#[test]
fn a_token_that_is_good_for_more_than_was_asked_is_deleted_and_not_lent_c1() {
    for generous in [Generous::Scope, Generous::Level, Generous::Longer, Generous::Renamed] {
        let (gitlab, world) = world();
        *gitlab.generous.lock().unwrap() = generous;
        let error = world.leases.lend(&permit(loan(1)), &holder(), NOW).unwrap_err();
        assert!(error.is_lasting() && error.to_string().contains("and is not used"), "{generous:?}: {error}");
        assert_eq!((revoke(&world, NOW), world.vendor.live()), (Ending::Revoked, 0), "{generous:?}");
    }
}

#[test]
fn a_token_that_was_never_seen_alive_is_not_lent_lest_it_look_dead_later_c4() {
    for (looking, deleting) in [(401, 204), (500, 204), (401, 404), (401, 500)] {
        let (_, world) = world();
        world.vendor.be(move |target| match target {
            "/api/v4/personal_access_tokens/self" => Mood::Status(looking),
            _ if target == format!("{TOKENS}/1") && deleting != 204 => Mood::Status(deleting),
            _ => Mood::Well,
        });
        assert!(world.leases.lend(&permit(loan(1)), &holder(), NOW).is_err());
        world.vendor.be(|_| Mood::Well);
        let ending = revoke(&world, NOW);
        match deleting {
            204 => assert_eq!(ending, Ending::Revoked),
            // It was not believed: its lease is looked for.
            _ => assert!(matches!(ending, Ending::ExpiresAt(_)), "{ending:?}"),
        }
        assert_eq!(world.vendor.live(), 0);
    }
}

#[test]
fn a_token_ends_by_its_own_word_when_the_key_that_made_it_is_gone_c4() {
    let (_, world) = world();
    let _lent = world.leases.lend(&permit(loan(1)), &holder(), NOW).unwrap();
    keys(&world).remove(&name()).unwrap();
    // Neither way: it is alive, and its run stays open.
    world.vendor.be(|target| if target.ends_with("self") { Mood::Status(500) } else { Mood::Well });
    let ending = revoke(&world, NOW);
    assert!(matches!(ending, Ending::Stuck { .. }) && world.vendor.live() == 1, "{ending:?}");
    world.vendor.be(|_| Mood::Well);
    assert_eq!((revoke(&world, NOW), world.vendor.live()), (Ending::Revoked, 0));
}

#[test]
fn a_lost_token_whose_key_is_gone_keeps_its_lease_open_and_says_what_to_do_c4() {
    let (_, world) = world();
    world.vendor.be(|_| Mood::Mute);
    assert!(world.leases.lend(&permit(loan(1)), &holder(), NOW).is_err());
    world.vendor.be(|_| Mood::Well);
    keys(&world).remove(&name()).unwrap();
    let late = NOW.after(Duration::from_seconds(3600));
    let Ending::Stuck { because, .. } = revoke(&world, late) else { panic!("it lives") };
    assert!(because.contains("selvedge credentials store db"), "{because}");
}

#[test]
fn a_lease_that_was_never_minted_asks_no_service() {
    let (_, world) = world();
    world.vendor.be(|_| panic!("asked"));
    assert_eq!(revoke(&world, NOW), Ending::Revoked);
}

#[test]
fn a_note_that_cannot_be_read_still_gets_its_token_deleted_and_no_clock_is_believed() {
    let (_, world) = world();
    let lent = world.leases.lend(&permit(loan(1)), &holder(), NOW).unwrap();
    let slot = Slot { purpose: Purpose::Lease, id: lease(1).to_string(), version: 1 };
    world.disk.records.lock().unwrap().insert(slot, Sealed::from_bytes(b"garbage".to_vec()));
    let live = LeaseState::Live { revocation: lent.minted.revocation, expires: lent.minted.expires };
    // A loan ends before what was lent does.
    let ending = world.leases.revoke(&lease(1), live, lent.minted.expires);
    assert!(matches!(ending, Ending::Stuck { .. }), "{ending:?}");
    assert_eq!(world.vendor.live(), 0);
}
