//! The issuer's signing keys: one in use, the next one published already, and retired ones that live tokens still need.
//! Owns when keys change; never shows a private key except sealed.

use std::sync::Arc;

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use selvedge_domain::{Duration, Time};

use crate::{SVID_LIFETIME_MAX, Secret, fields};

/// How long one key signs. A week bounds what a stolen key is worth without making relying parties refetch daily.
pub const KEY_USED_FOR: Duration = Duration::from_seconds(7 * 24 * 3600);
/// How long a key is published before it signs: longer than relying parties commonly cache a key set.
pub const PUBLISHED_BEFORE_USE: Duration = Duration::from_seconds(24 * 3600);
/// How long a key is published after it signed last: until its last token is dead for the slowest clock.
pub(crate) const PUBLISHED_AFTER_USE: Duration = Duration::from_millis(2 * SVID_LIFETIME_MAX.as_millis());

/// The format of the sealed record.
const FORMAT: &[u8] = b"keyring 1";

/// Keys and since when.
#[derive(Clone)]
pub(crate) struct Keyring {
    current: Arc<SigningKey>,
    used_since: Time,
    next: Arc<SigningKey>,
    published_since: Time,
    retired: Vec<Retired>,
}

/// A key pair for ES256 (RFC 7518 section 3.4).
pub(crate) struct SigningKey {
    pair: EcdsaKeyPair,
    public: PublicKey,
}

/// What everyone may know of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicKey {
    kid: String,
    x: String,
    y: String,
    point: [u8; POINT_BYTES],
}

/// An uncompressed point on P-256 (SEC 1 section 2.3.3): `04`, x, y.
const POINT_BYTES: usize = 65;
const COORDINATE_BYTES: usize = 32;

#[derive(Debug, Clone)]
struct Retired {
    key: PublicKey,
    until: Time,
}

/// The cryptographic library refused a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadKey;

impl Keyring {
    /// The first key, which nobody can have cached others before, and its successor.
    pub(crate) fn generate(now: Time) -> Result<Self, BadKey> {
        Ok(Self {
            current: Arc::new(SigningKey::generate()?),
            used_since: now,
            next: Arc::new(SigningKey::generate()?),
            published_since: now,
            retired: Vec::new(),
        })
    }

    /// The key that signs.
    pub(crate) fn current(&self) -> &SigningKey {
        &self.current
    }

    /// Every key a relying party should know, the one in use first.
    pub(crate) fn published(&self) -> impl Iterator<Item = &PublicKey> {
        [&self.current.public, &self.next.public].into_iter().chain(self.retired.iter().map(|retired| &retired.key))
    }

    /// Since when the key in use signs.
    pub(crate) fn used_since(&self) -> Time {
        self.used_since
    }

    /// When the key in use has served its time.
    pub(crate) fn due(&self) -> Time {
        self.used_since.after(KEY_USED_FOR).max(self.published_since.after(PUBLISHED_BEFORE_USE))
    }

    /// The keyring after the next key came into use.
    pub(crate) fn rotated(&self, now: Time) -> Result<Self, BadKey> {
        let mut retired: Vec<_> = self.retired.iter().filter(|retired| now < retired.until).cloned().collect();
        retired.push(Retired { key: self.current.public.clone(), until: now.after(PUBLISHED_AFTER_USE) });
        Ok(Self {
            current: Arc::clone(&self.next),
            used_since: now,
            next: Arc::new(SigningKey::generate()?),
            published_since: now,
            retired,
        })
    }

    /// The keyring as it is sealed.
    pub(crate) fn to_secret(&self) -> Result<Secret, BadKey> {
        let (current, next) = (self.current.to_pkcs8()?, self.next.to_pkcs8()?);
        let (used_since, published_since) = (fields::of_time(self.used_since), fields::of_time(self.published_since));
        let mut record = vec![FORMAT, current.expose(), &used_since, next.expose(), &published_since];
        let untils: Vec<_> = self.retired.iter().map(|retired| fields::of_time(retired.until)).collect();
        for (retired, until) in self.retired.iter().zip(&untils) {
            record.extend([retired.key.point.as_slice(), until]);
        }
        Ok(fields::join(&record))
    }

    /// The keyring from what was sealed.
    pub(crate) fn from_secret(secret: &Secret) -> Result<Self, BadKey> {
        let fields = fields::split(secret.expose()).ok_or(BadKey)?;
        let [FORMAT, current, used_since, next, published_since, retired @ ..] = fields.as_slice() else {
            return Err(BadKey);
        };
        let time = |field| fields::to_time(field).ok_or(BadKey);
        let retired = retired.chunks(2).map(|pair| match pair {
            [point, until] => Ok(Retired { key: PublicKey::from_point(point)?, until: time(until)? }),
            _ => Err(BadKey),
        });
        Ok(Self {
            current: Arc::new(SigningKey::from_pkcs8(current)?),
            used_since: time(used_since)?,
            next: Arc::new(SigningKey::from_pkcs8(next)?),
            published_since: time(published_since)?,
            retired: retired.collect::<Result<_, _>>()?,
        })
    }
}

impl SigningKey {
    pub(crate) fn generate() -> Result<Self, BadKey> {
        Self::of(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| BadKey)?)
    }

    fn from_pkcs8(bytes: &[u8]) -> Result<Self, BadKey> {
        Self::of(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes).map_err(|_| BadKey)?)
    }

    fn of(pair: EcdsaKeyPair) -> Result<Self, BadKey> {
        let public = PublicKey::from_point(pair.public_key().as_ref())?;
        Ok(Self { pair, public })
    }

    fn to_pkcs8(&self) -> Result<Secret, BadKey> {
        // The library wipes its own copy.
        Ok(Secret::new(self.pair.to_pkcs8v1().map_err(|_| BadKey)?.as_ref().to_vec()))
    }

    pub(crate) fn public(&self) -> &PublicKey {
        &self.public
    }

    /// An ES256 signature: r and s, 32 bytes each.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<impl AsRef<[u8]>, BadKey> {
        self.pair.sign(&SystemRandom::new(), message).map_err(|_| BadKey)
    }
}

impl PublicKey {
    fn from_point(bytes: &[u8]) -> Result<Self, BadKey> {
        let point: [u8; POINT_BYTES] = bytes.try_into().map_err(|_| BadKey)?;
        let [4, coordinates @ ..] = point.as_slice() else { return Err(BadKey) };
        let (x, y) = coordinates.split_at_checked(COORDINATE_BYTES).ok_or(BadKey)?;
        let (x, y) = (BASE64.encode(x), BASE64.encode(y));
        // RFC 7638: the members it requires, in its order, without white space.
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let kid = BASE64.encode(digest::digest(&digest::SHA256, canonical.as_bytes()));
        Ok(Self { kid, x, y, point })
    }

    /// Its name in token headers: the JWK thumbprint (RFC 7638).
    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    /// Its coordinates, as a JWK spells them.
    pub(crate) fn coordinates(&self) -> (&str, &str) {
        (&self.x, &self.y)
    }

    /// Whether `signature` is this key's, over `message`.
    pub(crate) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.point).verify(message, signature).is_ok()
    }
}
