//! Tokens of a GitHub App: as narrow as they were asked for, of either form, and made with a key that nothing lends (C4, C5).

use std::sync::Arc;

use selvedge_credentials::{
    AppKey, Ending, GithubApp, GithubAppSettings, Leases, MintingKeys, PermissionLevel, Secret, StoredKeyLoans,
    StoredKeys,
};
use selvedge_domain::orders::MintCredential;
use selvedge_domain::{Duration, LeaseState};

use crate::providers::{Kind, World, github_app, loan, name, world_beside};
use crate::vendors::Mood;
use crate::vendors::github::{Generous, Github, pkcs1_pem, pkcs8_pem};
use crate::world::{Cut, Fuse, NOW, Wired, holder, lease, order, permit, sealer, text};

fn world() -> (Arc<Github>, World) {
    let github = Arc::<Github>::default();
    let world = world_beside(Kind::GithubApp, Cut::Never, Arc::default(), Box::new(Arc::clone(&github)));
    (github, world)
}

#[test]
fn both_forms_of_token_are_lent_for_as_long_as_was_ordered_and_ended_c1_c4() {
    let (_, world) = world();
    let mut lengths = Vec::new();
    for number in [1, 2] {
        let lent = world.leases.lend(&permit(loan(number)), &holder(), NOW).unwrap();
        assert!(text(&lent.secret).starts_with("ghs_"));
        assert_eq!(lent.minted.expires, NOW.after(Duration::from_seconds(900)), "GitHub would give an hour");
        lengths.push(text(&lent.secret).len());
    }
    assert!(lengths[0] == 40 && (500..600).contains(&lengths[1]), "{lengths:?}");
    assert_eq!(world.vendor.live(), 2);
    for number in [1, 2] {
        assert_eq!(world.leases.revoke(&lease(number), LeaseState::Announced, NOW), Ending::Revoked);
    }
    assert_eq!(world.vendor.live(), 0);
}

#[test]
fn a_token_that_is_good_for_more_than_was_asked_is_ended_and_not_lent_c1() {
    use Generous::{All, Another, Level, Nameless, OneMore, Permission};
    for generous in [Permission, Level, All, Another, OneMore, Nameless] {
        for revoking in [Mood::Well, Mood::Status(500)] {
            let (github, world) = world();
            *github.generous.lock().unwrap() = generous;
            world.vendor.be(move |target| if target == "/api/v3/installation/token" { revoking } else { Mood::Well });
            let error = world.leases.lend(&permit(loan(1)), &holder(), NOW).unwrap_err();
            assert!(error.is_lasting() && error.to_string().contains("and is not used"), "{generous:?}: {error}");
            let ending = world.leases.revoke(&lease(1), LeaseState::Announced, NOW);
            match revoking {
                Mood::Well => assert_eq!((ending, world.vendor.live()), (Ending::Revoked, 0), "{generous:?}"),
                // It lives, nobody has it, and its run stays open until it is dead.
                _ => assert!(matches!(ending, Ending::ExpiresAt(_)) && world.vendor.live() == 1, "{ending:?}"),
            }
        }
    }
}

#[test]
fn a_token_that_was_never_seen_alive_is_not_lent_lest_it_look_dead_later_c4() {
    for (looking, revoking) in [(401, 401), (401, 204), (403, 204), (500, 204)] {
        let (_, world) = world();
        world.vendor.be(move |target| match target.split('?').next().unwrap() {
            "/api/v3/installation/repositories" => Mood::Status(looking),
            // GitHub may not know yet what it just made: refused is not dead.
            "/api/v3/installation/token" if revoking != 204 => Mood::Status(revoking),
            _ => Mood::Well,
        });
        let error = world.leases.lend(&permit(loan(1)), &holder(), NOW).unwrap_err();
        assert!(!error.is_lasting(), "it may be seen the next time: {error}");
        let ending = world.leases.revoke(&lease(1), LeaseState::Announced, NOW);
        match revoking {
            204 => assert_eq!((ending, world.vendor.live()), (Ending::Revoked, 0)),
            _ => assert!(matches!(ending, Ending::ExpiresAt(_)) && world.vendor.live() == 1, "{ending:?}"),
        }
    }
}

/// What is configured otherwise.
type Change<'a> = &'a dyn Fn(&mut GithubAppSettings);

#[test]
fn what_the_installation_was_not_granted_is_refused_with_what_to_look_at() {
    let (_, world) = world();
    let ask = |number, change: Change<'_>| {
        let mut settings = github_app();
        change(&mut settings);
        let store = Arc::new(Wired { disk: Arc::clone(&world.disk), fuse: Fuse::new(Cut::Never) });
        let keys = Arc::new(MintingKeys::new(sealer(), store.clone()));
        let app = GithubApp::new(settings, keys, world.vendor.clone());
        let lent = Leases::new(sealer(), store, vec![Arc::new(app)]).lend(&permit(loan(number)), &holder(), NOW);
        lent.map(drop).map_err(|error| (error.is_lasting(), error.to_string()))
    };
    assert_eq!(ask(1, &|_| {}), Ok(()), "the control");
    let changes: [(u64, &str, Change<'_>); 4] = [
        (2, "422", &|of| of.repositories.extend(["other".to_owned()])),
        (3, "422", &|of| of.permissions.extend([("secrets".to_owned(), PermissionLevel::Read)])),
        (4, "401", &|of| of.installed.as_mut().unwrap().app = "another".to_owned()),
        (5, "404", &|of| of.installed.as_mut().unwrap().id = 1),
    ];
    for (number, status, change) in changes {
        let (is_lasting, words) = ask(number, change).unwrap_err();
        assert!(is_lasting && words.contains(status), "{words}");
    }
    assert_eq!(world.vendor.live(), 1, "only the control's");
}

#[test]
fn the_key_that_makes_tokens_is_lent_to_nobody_whatever_is_configured_c5() {
    let (_, world) = world();
    // The same name, taken for a key that is lent: there is none.
    let store = Arc::new(Wired { disk: Arc::clone(&world.disk), fuse: Fuse::new(Cut::Never) });
    let stored = Arc::new(StoredKeys::new(sealer(), store.clone()));
    assert_eq!(stored.standing(&name()), Ok(None));
    let loans = Leases::new(sealer(), store.clone(), vec![Arc::new(StoredKeyLoans::new(stored, store.clone()))]);
    let asked = MintCredential { credential: Some(name()), is_stored: true, ttl_seconds: 60, ..order(7, "") };
    let error = loans.lend(&permit(asked), &holder(), NOW).unwrap_err();
    assert!(error.to_string().contains("no key is stored"), "{error}");
    // And it is nowhere in what is kept, said or lent.
    let lent = world.leases.lend(&permit(loan(1)), &holder(), NOW).unwrap();
    let key = pkcs1_pem();
    let line = key.lines().nth(3).unwrap();
    let keys = MintingKeys::new(sealer(), store);
    assert!(!format!("{lent:?} {keys:?} {:?} {}", world.leases, text(&lent.secret)).contains(line));
    let records = world.disk.records.lock().unwrap();
    for (slot, sealed) in records.iter() {
        assert!(!sealed.as_bytes().windows(8).any(|part| line.as_bytes().windows(8).any(|key| key == part)), "{slot}");
    }
    drop(records);
    // Removed, it makes nothing any more, and what it made still ends.
    assert_eq!(keys.stored_since(&name()), Ok(Some(NOW)));
    keys.remove(&name()).unwrap();
    assert_eq!(keys.stored_since(&name()), Ok(None));
    let error = world.leases.lend(&permit(loan(2)), &holder(), NOW).unwrap_err();
    assert!(error.is_lasting() && error.to_string().contains("selvedge credentials store db"), "{error}");
    for number in [1, 2] {
        assert_eq!(world.leases.revoke(&lease(number), LeaseState::Announced, NOW), Ending::Revoked);
    }
    assert_eq!(world.vendor.live(), 0);
}

#[test]
fn a_key_is_read_as_github_gives_it_out_and_as_tools_convert_it_and_nothing_else_is() {
    for pem in [pkcs1_pem(), pkcs8_pem(), pkcs1_pem().replace('\n', "\r\n"), format!("a note\n{}", pkcs8_pem())] {
        let key = AppKey::parse(pem.as_bytes()).unwrap();
        assert_eq!(format!("{key:?}"), "AppKey(..)");
    }
    let cut = pkcs1_pem().lines().take(10).collect::<Vec<_>>().join("\n");
    let public = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----";
    let crossed = pkcs1_pem().replace("RSA PRIVATE", "PRIVATE");
    for text in ["", "a-password-that-is-no-key", &cut, public, &crossed, "-----BEGIN RSA PRIVATE KEY-----"] {
        assert!(AppKey::parse(text.as_bytes()).is_err(), "{text}");
    }
    assert!(AppKey::parse(&[0xff; 40]).is_err());
}

#[test]
fn a_stored_key_that_is_none_asks_nobody() {
    let (_, world) = world();
    let store = Arc::new(Wired { disk: Arc::clone(&world.disk), fuse: Fuse::new(Cut::Never) });
    MintingKeys::new(sealer(), store).put(&name(), &Secret::new(b"not a key".to_vec()), NOW).unwrap();
    world.vendor.be(|_| panic!("asked"));
    let error = world.leases.lend(&permit(loan(1)), &holder(), NOW).unwrap_err();
    assert!(error.is_lasting() && error.to_string().contains("not the private key"), "{error}");
}
