//! The issuer's keys: sealed, published before use, retired after it; and its names.

use std::sync::Arc;

use selvedge_credentials::{
    Issuer, IssuerError, IssuerName, KEY_USED_FOR, MasterKey, OWN_AUDIENCE, PUBLISHED_BEFORE_USE, Purpose,
    SVID_LIFETIME_MAX, Sealer, Secret, Slot, Why,
};
use selvedge_domain::Time;

use crate::world::{Cut, Disk, Fuse, ISSUER, NOW, TRUST_DOMAIN, Wired, holder, issuer, order, permit, sealer, text};

fn wired(disk: &Arc<Disk>, cut: Cut) -> Arc<Wired> {
    Arc::new(Wired { disk: Arc::clone(disk), fuse: Fuse::new(cut) })
}

fn name() -> IssuerName {
    IssuerName::parse(ISSUER, TRUST_DOMAIN).unwrap()
}

fn sign(issuer: &Issuer, now: Time) -> String {
    let order = order(1, OWN_AUDIENCE);
    let until = now.after(SVID_LIFETIME_MAX);
    text(&issuer.sign(&permit(selvedge_domain::orders::MintCredential { until, ..order }), &holder(), now).unwrap().0)
}

fn kid(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

fn kids(issuer: &Issuer) -> Vec<String> {
    let set: serde_json::Value = serde_json::from_str(&issuer.jwks()).unwrap();
    set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn keys_survive_a_restart_and_never_lie_open() {
    let disk = Arc::<Disk>::default();
    let first = issuer(&disk);
    let second = issuer(&disk);
    assert_eq!(kids(&first), kids(&second));
    let token = sign(&first, NOW);
    assert!(second.verifier().verify(&token, OWN_AUDIENCE, NOW, &*wired(&disk, Cut::Never)).is_ok());

    let slot = Slot { purpose: Purpose::SigningKeys, id: TRUST_DOMAIN.to_owned(), version: 1 };
    let sealed = disk.records.lock().unwrap()[&slot].clone();
    let opened = sealer().open(&slot, &sealed).unwrap();
    let windows = || opened.expose().windows(16);
    assert!(windows().count() > 64, "there is key material");
    assert!(!windows().any(|part| sealed.as_bytes().windows(16).any(|sealed| sealed == part)));
    let said = format!("{first:?} {sealed:?} {opened:?}");
    assert!(!said.contains(&format!("{:?}", &opened.expose()[40..44])), "{said}");
}

#[test]
fn another_master_key_makes_no_new_keys() {
    let disk = Arc::<Disk>::default();
    let before = kids(&issuer(&disk));
    let other = Sealer::new(&MasterKey::supplied(&Secret::new(vec![9; 32])).unwrap()).unwrap();
    let refused = Issuer::open(name(), Arc::new(other), wired(&disk, Cut::Never), NOW);
    assert!(matches!(refused, Err(IssuerError::Open(_))));
    assert_eq!(kids(&issuer(&disk)), before, "the keys are as they were");
}

#[test]
fn a_key_is_published_before_it_signs_and_after() {
    let disk = Arc::<Disk>::default();
    let issuer = issuer(&disk);
    let list = wired(&disk, Cut::Never);
    let announced = kids(&issuer);
    assert_eq!(announced.len(), 2, "the next key is there already");
    let old = sign(&issuer, NOW);
    assert_eq!(kid(&old), announced[0]);

    let due = NOW.after(KEY_USED_FOR.max(PUBLISHED_BEFORE_USE));
    assert_eq!(issuer.rotation_due(), due);
    let early = Time::from_millis(due.as_millis() - 1);
    assert_eq!(issuer.rotate(early), Err(IssuerError::TooSoon(due)));
    let last = sign(&issuer, early);
    issuer.rotate(due).unwrap();
    assert_eq!(kid(&sign(&issuer, due)), announced[1], "only a key that was published signs");
    assert!(issuer.verifier().verify(&last, OWN_AUDIENCE, due, &*list).is_ok(), "live tokens outlast their key");
    assert_eq!(kids(&issuer).len(), 3);
    assert_eq!(kids(&crate::world::issuer(&disk)), kids(&issuer), "and so after a restart");

    let next_due = issuer.rotation_due();
    issuer.rotate(next_due).unwrap();
    assert!(!kids(&issuer).contains(&announced[0]), "a retired key goes");
    let refused = issuer.verifier().verify(&last, OWN_AUDIENCE, early, &*list).unwrap_err();
    assert_eq!(refused.why, Why::UnknownKey);
}

#[test]
fn a_rotation_that_cannot_be_kept_does_not_happen() {
    for cut in [Cut::Before(1), Cut::After(1)] {
        let disk = Arc::<Disk>::default();
        let _made = issuer(&disk);
        let issuer = Issuer::open(name(), sealer(), wired(&disk, cut), NOW).unwrap();
        let signing = kid(&sign(&issuer, NOW));
        assert!(matches!(issuer.rotate(issuer.rotation_due()), Err(IssuerError::Store(_))));
        assert_eq!(kid(&sign(&issuer, NOW)), signing, "{cut:?}");
        let restarted = crate::world::issuer(&disk);
        assert!(kids(&restarted).contains(&signing), "whichever was kept, live tokens verify, {cut:?}");
    }
}

#[test]
fn names_that_could_mean_something_else_are_refused() {
    for url in [
        "http://id.example.org",
        "https://",
        "https://id.example.org/",
        "https://id.example.org/a/../b",
        "https://user@id.example.org",
        "https://id.example.org?x",
        "https://id.example.org#x",
        "https://ID.example.org",
        "https://id.example.org:0",
        "https://id.example.org:99999",
        "https://id.example.org\n",
        "id.example.org",
    ] {
        assert!(IssuerName::parse(url, TRUST_DOMAIN).is_err(), "{url}");
    }
    assert!(IssuerName::parse("https://id.example.org:8443", TRUST_DOMAIN).is_ok());
    for domain in ["", "Example.org", "a/b", "a b", "spiffe://a", "a\n", &"a".repeat(101)] {
        assert!(IssuerName::parse(ISSUER, domain).is_err(), "{domain}");
    }
}
