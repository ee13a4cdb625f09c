//! What holds of whatever is read of tokens that others bring and of what a store kept, as functions from bytes: for the fuzz
//! targets in `fuzz/`, and with their corpora for the tests. Owns the promises; never part of a build.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a broken promise has to be seen")]

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use selvedge_domain::{Duration, LeaseId, Time};

use crate::keyring::{Keyring, SigningKey};
use crate::note::Note;
use crate::{
    IssuerName, MasterKey, Purpose, Revoked, SVID_LIFETIME_MAX, Sealed, Sealer, Secret, Slot, StoreError, SubjectKey,
    Verifier, Why, fields,
};

/// Whether the bytes were read. Panics where a promise about what was read is broken.
pub type Promise = fn(&[u8]) -> bool;

/// Every promise, by the name of its fuzz target.
pub const TARGETS: &[(&str, Promise)] = &[
    ("note", note),
    ("sealed", sealed),
    ("subject_key", subject_key),
    ("token", token),
    ("token_claims", token_claims),
];

/// Looks at `bytes` as the fuzz target of this name does.
pub fn run(target: &str, bytes: &[u8]) -> bool {
    let named = TARGETS.iter().find(|(name, _)| *name == target);
    named.map(|(_, promise)| promise(bytes)).unwrap_or_else(|| panic!("there is no target `{target}`"))
}

/// When tokens are looked at here: second 1,795,132,800.
const NOW: Time = Time::from_millis(1_795_132_800_000);

/// Who looks at them.
const AUDIENCE: &str = "selvedge";

/// Whether every lease is revoked, or none.
struct Every(bool);

impl Revoked for Every {
    fn is_revoked(&self, _: &LeaseId) -> Result<bool, StoreError> {
        Ok(self.0)
    }
}

/// The key that signs here; another in every process.
fn key() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::generate().unwrap())
}

fn verifier() -> Verifier {
    let issuer = IssuerName::parse("https://id.example.org", "example.org").unwrap();
    Verifier { issuer, keys: vec![key().public().clone()] }
}

/// A token is read where it fails by its key alone; nobody has that, so none is ever good.
fn token(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let refused = verifier().verify(text, AUDIENCE, NOW, &Every(false)).unwrap_err();
    matches!(refused.why, Why::UnknownKey | Why::Signature)
}

/// What our own key signed is good for one audience, for a short while, until it is revoked, and says only what we say.
fn token_claims(bytes: &[u8]) -> bool {
    let header = format!(r#"{{"alg":"ES256","typ":"JWT","kid":"{}"}}"#, key().public().kid());
    let mut token = format!("{}.{}", BASE64.encode(header), BASE64.encode(bytes));
    let signature = BASE64.encode(key().sign(token.as_bytes()).unwrap());
    token = format!("{token}.{signature}");
    let verifier = verifier();
    let Ok(claims) = verifier.verify(&token, AUDIENCE, NOW, &Every(false)) else { return false };
    assert!(claims.expires > NOW && claims.issued <= NOW.after(Duration::from_seconds(5)));
    assert!(claims.expires.since(claims.issued) <= SVID_LIFETIME_MAX);
    let said: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    assert_eq!(said.as_object().map(serde_json::Map::len), Some(6));
    let text = |name: &str| said.get(name).and_then(serde_json::Value::as_str).unwrap();
    assert_eq!((text("sub"), text("aud")), (claims.workload.to_string().as_str(), AUDIENCE));
    assert_eq!((text("jti"), text("iss")), (claims.lease.as_str(), "https://id.example.org"));
    let why = |audience: &str, now: Time, revoked: bool| {
        verifier.verify(&token, audience, now, &Every(revoked)).map_err(|refused| refused.why).err()
    };
    assert_eq!(why(AUDIENCE, NOW, true), Some(Why::Revoked));
    assert_eq!(why("another", NOW, false), Some(Why::Audience));
    assert_eq!(why(AUDIENCE, claims.expires, false), Some(Why::Expired));
    true
}

/// A record opens in its own place only, and what is sealed opens as it was.
fn sealed(bytes: &[u8]) -> bool {
    let sealer = Sealer::new(&MasterKey::supplied(&Secret::new(vec![7; 32])).unwrap()).unwrap();
    let [slot, other] = ["a", "b"].map(|id| Slot { purpose: Purpose::Lease, id: id.to_owned(), version: 1 });
    let again = sealer.seal(&slot, &Secret::new(bytes.to_vec())).unwrap();
    assert_eq!(sealer.open(&slot, &again).unwrap().expose(), bytes);
    let record = Sealed::from_bytes(bytes.to_vec());
    let Ok(secret) = sealer.open(&slot, &record) else { return false };
    assert!(secret.expose().len() < bytes.len());
    assert!(sealer.open(&other, &record).is_err(), "a record opens in another place as well");
    true
}

/// What was kept reads back as it is kept again.
fn note(bytes: &[u8]) -> bool {
    let kept = Secret::new(bytes.to_vec());
    if let Some(split) = fields::split(bytes) {
        assert_eq!(fields::join(&split).expose(), bytes);
    }
    if let Ok(ring) = Keyring::from_secret(&kept) {
        assert_eq!(ring.to_secret().unwrap().expose(), bytes);
    }
    let Some(note) = Note::from_secret(&kept) else { return false };
    let again = note.to_secret();
    let twice = Note::from_secret(&again).unwrap().to_secret();
    assert_eq!(again.expose(), twice.expose());
    assert!(again.expose().len() <= bytes.len() + 16, "a note grew by more than the time an old one lacks");
    true
}

/// A key that is certified is an uncompressed point.
fn subject_key(bytes: &[u8]) -> bool {
    let is_key = SubjectKey::parse(bytes).is_ok();
    assert!(!is_key || (bytes.len() == 65 && bytes.first() == Some(&4)));
    is_key
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a file is called says what becomes of it: `read-…` is read and `refused-…` is not. The others were found by a
    /// fuzzer and only have to keep the promises.
    #[test]
    fn every_corpus_is_read_and_refused_as_its_names_say() {
        let mut wrong = Vec::new();
        for (target, promise) in TARGETS {
            let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
            let (mut read, mut refused) = (0, 0);
            for file in std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display())) {
                let path = file.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                let is_read = promise(&std::fs::read(&path).unwrap());
                let (is_said_read, is_said_refused) = (name.starts_with("read-"), name.starts_with("refused-"));
                if (is_said_read && !is_read) || (is_said_refused && is_read) {
                    wrong.push(format!("{target}/{name}"));
                }
                read += usize::from(is_said_read);
                refused += usize::from(is_said_refused);
            }
            assert!(
                read > 0 && refused > 0,
                "the corpus of `{target}` needs something to read and something to refuse"
            );
        }
        assert!(wrong.is_empty(), "not as their names say: {wrong:#?}");
    }
}
