//! The certificate authorities of the trust domain: one that signs, the next one, published already, and retired ones that
//! live certificates still need. Owns when they change, by the law of the signing keys.

use std::sync::Arc;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use selvedge_domain::{Duration, Time};

use crate::keyring::{BadKey, KEY_USED_FOR, PUBLISHED_AFTER_USE, PUBLISHED_BEFORE_USE};
use crate::{Secret, fields, x509};

/// How long an authority's certificate is valid. It is published and used for two weeks where a keeper runs; a year leaves
/// room for one that does not run for long. What lapses all the same is replaced as on first use.
const VALID_FOR: Duration = Duration::from_seconds(365 * 24 * 3600);

/// How far back its validity begins, for relying parties whose clock is behind.
const BACKDATED: Duration = Duration::from_seconds(3600);

/// The format of the sealed record.
const FORMAT: &[u8] = b"authorities 1";

/// Authorities and since when.
pub(crate) struct CaRing {
    current: Arc<CaKey>,
    used_since: Time,
    next: Arc<CaKey>,
    published_since: Time,
    retired: Vec<Retired>,
}

/// A key with its certificate.
pub(crate) struct CaKey {
    pair: KeyPair,
    trust_domain: String,
    certificate: Vec<u8>,
    until: Time,
}

#[derive(Clone)]
struct Retired {
    certificate: Vec<u8>,
    until: Time,
}

impl CaRing {
    /// The first authority, which nobody can have cached others before, and its successor.
    pub(crate) fn generate(trust_domain: &str, now: Time) -> Result<Self, BadKey> {
        Ok(Self {
            current: Arc::new(CaKey::generate(trust_domain, now)?),
            used_since: now,
            next: Arc::new(CaKey::generate(trust_domain, now)?),
            published_since: now,
            retired: Vec::new(),
        })
    }

    /// The one that signs.
    pub(crate) fn current(&self) -> &CaKey {
        &self.current
    }

    /// Since when it does.
    pub(crate) fn used_since(&self) -> Time {
        self.used_since
    }

    /// Every certificate a relying party should know, the one in use first.
    pub(crate) fn published(&self) -> impl Iterator<Item = &[u8]> {
        let living = [&self.current.certificate, &self.next.certificate];
        living.into_iter().chain(self.retired.iter().map(|retired| &retired.certificate)).map(Vec::as_slice)
    }

    /// When the one in use has served its time.
    pub(crate) fn due(&self) -> Time {
        self.used_since.after(KEY_USED_FOR).max(self.published_since.after(PUBLISHED_BEFORE_USE))
    }

    /// Whether any of them could sign something that outlives it.
    pub(crate) fn has_lapsed(&self, now: Time) -> bool {
        let needed = now.after(KEY_USED_FOR).after(KEY_USED_FOR);
        self.current.until < needed || self.next.until < needed
    }

    /// The ring after the next one came into use.
    pub(crate) fn rotated(&self, trust_domain: &str, now: Time) -> Result<Self, BadKey> {
        let mut retired: Vec<_> = self.retired.iter().filter(|retired| now < retired.until).cloned().collect();
        let certificate = self.current.certificate.clone();
        retired.push(Retired { certificate, until: now.after(PUBLISHED_AFTER_USE) });
        Ok(Self {
            current: Arc::clone(&self.next),
            used_since: now,
            next: Arc::new(CaKey::generate(trust_domain, now)?),
            published_since: now,
            retired,
        })
    }

    /// The ring as it is sealed.
    pub(crate) fn to_secret(&self) -> Secret {
        let [current, next] = [&self.current, &self.next].map(|key| Secret::new(key.pair.serialize_der()));
        let times = [self.used_since, self.current.until, self.published_since, self.next.until].map(fields::of_time);
        let [used_since, current_until, published_since, next_until] = &times;
        let mut record = vec![FORMAT, self.current.trust_domain.as_bytes()];
        record.extend([current.expose(), &self.current.certificate, current_until, used_since]);
        record.extend([next.expose(), &self.next.certificate, next_until, published_since]);
        let untils: Vec<_> = self.retired.iter().map(|retired| fields::of_time(retired.until)).collect();
        for (retired, until) in self.retired.iter().zip(&untils) {
            record.extend([retired.certificate.as_slice(), until]);
        }
        fields::join(&record)
    }

    /// The ring from what was sealed.
    pub(crate) fn from_secret(secret: &Secret) -> Result<Self, BadKey> {
        let fields = fields::split(secret.expose()).ok_or(BadKey)?;
        let [FORMAT, domain, current, current_cert, current_until, used_since, rest @ ..] = fields.as_slice() else {
            return Err(BadKey);
        };
        let [next, next_cert, next_until, published_since, retired @ ..] = rest else { return Err(BadKey) };
        let time = |field| fields::to_time(field).ok_or(BadKey);
        let domain = std::str::from_utf8(domain).map_err(|_| BadKey)?;
        let retired = retired.chunks(2).map(|pair| match pair {
            [certificate, until] => Ok(Retired { certificate: certificate.to_vec(), until: time(until)? }),
            _ => Err(BadKey),
        });
        Ok(Self {
            current: Arc::new(CaKey::from_parts(current, domain, current_cert, time(current_until)?)?),
            used_since: time(used_since)?,
            next: Arc::new(CaKey::from_parts(next, domain, next_cert, time(next_until)?)?),
            published_since: time(published_since)?,
            retired: retired.collect::<Result<_, _>>()?,
        })
    }
}

impl CaKey {
    fn generate(trust_domain: &str, now: Time) -> Result<Self, BadKey> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|_| BadKey)?;
        let from = Time::from_millis(now.as_millis().saturating_sub(BACKDATED.as_millis()));
        let until = now.after(VALID_FOR);
        let certificate = x509::self_signed(&pair, trust_domain, from, until)?;
        Ok(Self { pair, trust_domain: trust_domain.to_owned(), certificate, until })
    }

    fn from_parts(pair: &[u8], trust_domain: &str, certificate: &[u8], until: Time) -> Result<Self, BadKey> {
        let pair = KeyPair::try_from(pair).map_err(|_| BadKey)?;
        Ok(Self { pair, trust_domain: trust_domain.to_owned(), certificate: certificate.to_vec(), until })
    }

    /// The key pair.
    pub(crate) fn pair(&self) -> &KeyPair {
        &self.pair
    }

    /// Whose authority it is.
    pub(crate) fn trust_domain(&self) -> &str {
        &self.trust_domain
    }
}
