//! Certificates for runs: what they say, who else verifies them, and how their authority changes.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use proptest::prelude::*;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData as _};
use selvedge_credentials::{
    IssuerName, KEY_USED_FOR, Leases, OwnX509, PUBLISHED_BEFORE_USE, SVID_LIFETIME_MAX, SubjectKey, SvidError,
    X509Issuer, bundle,
};
use selvedge_domain::orders::MintCredential;
use selvedge_domain::{Duration, LeaseState, Revocation, Time};

use crate::world::{Cut, Disk, Fuse, ISSUER, NOW, TRUST_DOMAIN, Wired, holder, issuer, lease, order, permit, sealer};

fn wired(disk: &Arc<Disk>) -> Arc<Wired> {
    Arc::new(Wired { disk: Arc::clone(disk), fuse: Fuse::new(Cut::Never) })
}

fn authority(disk: &Arc<Disk>, now: Time) -> X509Issuer {
    X509Issuer::open(IssuerName::parse(ISSUER, TRUST_DOMAIN).unwrap(), sealer(), wired(disk), now).unwrap()
}

fn subject() -> SubjectKey {
    SubjectKey::parse(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().der_bytes()).unwrap()
}

fn for_everyone(number: u64) -> MintCredential {
    order(number, &format!("spiffe://{TRUST_DOMAIN}"))
}

fn wall_clock() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Time::from_millis(u64::try_from(since.as_millis()).unwrap())
}

/// Writes a certificate as PEM and asks OpenSSL.
fn openssl(directory: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("openssl").current_dir(directory).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn write(directory: &Path, name: &str, certificates: &[Vec<u8>]) {
    let mut text = String::new();
    for (index, der) in certificates.iter().enumerate() {
        let file = format!("{name}.{index}.der");
        std::fs::write(directory.join(&file), der).unwrap();
        text.push_str(&openssl(directory, &["x509", "-inform", "DER", "-in", &file]).1);
    }
    std::fs::write(directory.join(name), text).unwrap();
}

#[test]
fn openssl_verifies_a_certificate_against_the_bundle_and_reads_one_uri_in_it_b2() {
    let disk = Arc::<Disk>::default();
    let now = wall_clock();
    let x509 = authority(&disk, now);
    let order = MintCredential { until: now.after(Duration::from_seconds(600)), ..for_everyone(1) };
    let (leaf, expires) = x509.sign(&permit(order), &holder(), &subject(), now).unwrap();
    assert!(expires <= now.after(SVID_LIFETIME_MAX));
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    write(here, "bundle.pem", &x509.bundle());
    write(here, "leaf.pem", &[leaf]);
    for purpose in ["sslclient", "sslserver"] {
        let verify = ["verify", "-x509_strict", "-purpose", purpose, "-CAfile", "bundle.pem", "leaf.pem"];
        assert_eq!(openssl(here, &verify), (true, "leaf.pem: OK\n".to_owned()));
    }
    let text = openssl(here, &["x509", "-in", "leaf.pem", "-noout", "-text"]).1;
    assert_eq!(text.matches("URI:").count(), 1, "{text}");
    for said in [&format!("URI:{}", holder()), "CA:FALSE", "Digital Signature", "TLS Web Client Authentication"] {
        assert!(text.contains(said), "`{said}` is not in {text}");
    }
    assert!(!text.contains("Certificate Sign") && !text.contains("CN =") && !text.contains("CN="), "{text}");
    let ca = openssl(here, &["x509", "-in", "bundle.pem", "-noout", "-text"]).1;
    for said in [&format!("URI:spiffe://{TRUST_DOMAIN}\n"), "CA:TRUE", "Certificate Sign, CRL Sign"] {
        assert!(ca.contains(said), "`{said}` is not in {ca}");
    }
    // Another factory of the same name is another authority.
    write(here, "bundle.pem", &authority(&Arc::default(), now).bundle());
    assert!(!openssl(here, &["verify", "-CAfile", "bundle.pem", "leaf.pem"]).0);
}

#[test]
fn nothing_is_signed_for_another_run_another_audience_or_longer_than_allowed_c1() {
    let x509 = authority(&Arc::default(), NOW);
    let sign = |order: MintCredential| x509.sign(&permit(order), &holder(), &subject(), NOW);
    let other = MintCredential { run: selvedge_domain::RunId::from_entropy(2), ..for_everyone(1) };
    assert!(matches!(sign(other), Err(SvidError::Holder { .. })));
    assert_eq!(sign(order(1, "https://cloud.example")), Err(SvidError::Audience));
    assert_eq!(sign(MintCredential { until: NOW, ..for_everyone(1) }), Err(SvidError::NoLifetime));
    let soon = NOW.after(Duration::from_seconds(20));
    assert!(sign(MintCredential { until: soon, ..for_everyone(1) }).unwrap().1 <= soon);
    let [first, second] = [1, 2].map(|number| sign(for_everyone(number)).unwrap().0);
    assert_ne!(first, second);
}

#[test]
fn the_next_authority_is_in_the_bundle_before_it_signs_and_the_old_one_after() {
    let disk = Arc::<Disk>::default();
    let x509 = authority(&disk, NOW);
    let before = x509.bundle();
    assert_eq!(before.len(), 2);
    assert!(x509.rotate(NOW.after(PUBLISHED_BEFORE_USE)).is_err(), "not before its week is over");
    let due = NOW.after(KEY_USED_FOR);
    assert_eq!(x509.rotation_due(), due);
    x509.rotate(due).unwrap();
    let after = x509.bundle();
    assert_eq!(after[0], before[1], "what signs now was published before");
    assert!(after.contains(&before[0]), "what signed is known until its last certificate is dead");
    assert_eq!(after.len(), 3);
    // Another life of the keeper finds the same, and one that comes after a year begins anew.
    assert_eq!(authority(&disk, due).bundle(), after);
    let late = authority(&disk, due.after(Duration::from_seconds(366 * 24 * 3600))).bundle();
    assert!(late.iter().all(|certificate| !after.contains(certificate)));
    let stored =
        format!("{:?}", disk.records.lock().unwrap().values().map(|s| s.as_bytes().to_vec()).collect::<Vec<_>>());
    assert!(!stored.contains(&format!("{:?}", &before[0][..32]).replace(['[', ']'], "")), "kept sealed");
}

#[test]
fn the_bundle_names_what_each_key_is_for_and_grows_its_number_with_each_change_d8() {
    let disk = Arc::<Disk>::default();
    let (jwt, x509) = (issuer(&disk), authority(&disk, NOW));
    let read = || serde_json::from_str::<serde_json::Value>(&bundle(&jwt, &x509)).unwrap();
    let before = read();
    let keys = before["keys"].as_array().unwrap();
    let count = |usage: &str| keys.iter().filter(|key| key["use"] == usage).count();
    assert_eq!((count("x509-svid"), count("jwt-svid"), keys.len()), (2, 2, 4));
    assert!(keys.iter().all(|key| key["kty"] == "EC" && key["crv"] == "P-256" && key["x"].is_string()));
    assert!(keys.iter().all(|key| (key["use"] == "x509-svid") == key["x5c"].is_array()));
    assert!(keys.iter().all(|key| (key["use"] == "jwt-svid") == key["kid"].is_string()));
    x509.rotate(NOW.after(KEY_USED_FOR)).unwrap();
    assert!(read()["spiffe_sequence"].as_u64() > before["spiffe_sequence"].as_u64());
}

#[test]
fn a_certificate_is_lent_once_for_the_key_that_was_sent_and_dies_by_expiry_c4() {
    let disk = Arc::<Disk>::default();
    let x509 = Arc::new(authority(&disk, NOW));
    let provider = Arc::new(OwnX509::new(Arc::clone(&x509), wired(&disk)));
    let leases = Leases::new(sealer(), wired(&disk), vec![provider.clone()]);
    let keyless = leases.lend(&permit(for_everyone(1)), &holder(), NOW);
    assert!(keyless.is_err(), "without a key there is nothing to certify");
    provider.present(&lease(2), subject());
    let lent = leases.lend(&permit(for_everyone(2)), &holder(), NOW).unwrap();
    let Revocation::ExpiryOnly(dies) = lent.minted.revocation else {
        panic!("nobody asks our list about a certificate")
    };
    assert!(dies > lent.minted.expires, "others' clocks may be behind");
    let state = LeaseState::Live { revocation: lent.minted.revocation, expires: lent.minted.expires };
    assert_eq!(leases.revoke(&lease(2), state, NOW), selvedge_credentials::Ending::ExpiresAt(dies));
    assert_eq!(leases.revoke(&lease(2), state, dies), selvedge_credentials::Ending::Expired);
    provider.present(&lease(2), subject());
    assert!(leases.lend(&permit(for_everyone(2)), &holder(), NOW).is_err(), "a lease is minted at most once");
}

proptest! {
    #[test]
    fn bytes_that_are_no_point_on_the_curve_are_no_key(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        prop_assert!(SubjectKey::parse(&bytes).is_err());
    }

    #[test]
    fn a_point_with_one_bit_changed_is_no_key(bit in 0..65_usize * 8) {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut point = pair.der_bytes().to_vec();
        prop_assert!(SubjectKey::parse(&point).is_ok());
        point[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(SubjectKey::parse(&point).is_err());
    }
}

#[test]
fn a_key_of_another_kind_is_none() {
    assert!(SubjectKey::parse(KeyPair::generate_for(&PKCS_ED25519).unwrap().der_bytes()).is_err());
}
