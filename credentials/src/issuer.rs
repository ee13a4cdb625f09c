//! The embedded issuer: signs identity documents for permitted runs and publishes the keys to check them with.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use selvedge_authority::Permit;
use selvedge_domain::orders::{Delegate, MintCredential};
use selvedge_domain::{Duration, HostPattern, Time, WorkloadId};
use serde::Serialize;

use crate::jwt::{self, ClaimsV1, Kind};
use crate::keyring::{BadKey, Keyring, PublicKey};
use crate::token::AccessClaimsV1;
use crate::{OpenError, Purpose, SealError, SealedStore, Sealer, Secret, Slot, StoreError, Verifier};

/// Longest a JWT-SVID lives, whatever was asked (requirement C1): the ceiling that policy narrows.
pub const SVID_LIFETIME_MAX: Duration = Duration::from_seconds(300);
/// Longest audience we sign; audiences are URLs and short names.
pub const AUDIENCE_BYTES_MAX: usize = 255;

/// Signs JWT-SVIDs.
pub struct Issuer {
    name: IssuerName,
    sealer: Arc<Sealer>,
    store: Arc<dyn SealedStore>,
    keys: RwLock<Keyring>,
}

/// Under which names the issuer speaks: its URL, and the trust domain of its identities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerName {
    url: String,
    trust_domain: String,
}

/// Text that cannot name an issuer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` cannot be {role}: expected {expected}")]
pub struct NotANameForAnIssuer {
    text: String,
    role: &'static str,
    expected: &'static str,
}

/// The issuer cannot be opened, or its keys not be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// The keys could not be read or kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The keys could not be unsealed.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What was unsealed is no keyring, or no key could be made.
    #[error("the cryptographic library refused a signing key")]
    Key,
    /// The next key was not published long enough.
    #[error("the signing key changes at {0}, not before")]
    TooSoon(Time),
}

/// No identity document was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SvidError {
    /// The holder is not who the order is for.
    #[error("`{holder}` is not an agent of run {run} in trust domain `{trust_domain}`")]
    Holder {
        /// Who was to hold it.
        holder: String,
        /// The run of the order.
        run: String,
        /// Our trust domain.
        trust_domain: String,
    },
    /// Nobody, or too long a name.
    #[error("an audience has 1 to {AUDIENCE_BYTES_MAX} bytes and no control characters")]
    Audience,
    /// It would be dead on arrival.
    #[error("it would have expired already")]
    NoLifetime,
    /// The cryptographic library refused.
    #[error("the cryptographic library refused to sign")]
    Library,
}

impl Issuer {
    /// The issuer with its sealed keys; on first use, with new ones.
    pub fn open(
        name: IssuerName,
        sealer: Arc<Sealer>,
        store: Arc<dyn SealedStore>,
        now: Time,
    ) -> Result<Self, IssuerError> {
        let slot = name.slot();
        let keys = match store.get(&slot)? {
            Some(sealed) => Keyring::from_secret(&sealer.open(&slot, &sealed)?)?,
            None => {
                let keys = Keyring::generate(now)?;
                store.put(&slot, &sealer.seal(&slot, &keys.to_secret()?)?)?;
                keys
            }
        };
        Ok(Self { name, sealer, store, keys: RwLock::new(keys) })
    }

    /// Signs the JWT-SVID this permit is for. `holder` is whom the permit was asked for.
    pub fn sign(
        &self,
        permit: &Permit<MintCredential>,
        holder: &WorkloadId,
        now: Time,
    ) -> Result<(Secret, Time), SvidError> {
        self.sign_for(permit, holder, &permit.order().audience, SVID_LIFETIME_MAX, now)
    }

    /// Signs the JWT-SVID with which the credential this permit is for is asked for: its audience is the provider.
    pub(crate) fn sign_for(
        &self,
        permit: &Permit<MintCredential>,
        holder: &WorkloadId,
        audience: &str,
        lifetime_max: Duration,
        now: Time,
    ) -> Result<(Secret, Time), SvidError> {
        let order = permit.order();
        let sub = self.name.holder_of(order, holder)?;
        let aud = audience.to_owned();
        if aud.is_empty() || aud.len() > AUDIENCE_BYTES_MAX || aud.chars().any(char::is_control) {
            return Err(SvidError::Audience);
        }
        // Whole seconds, rounded down: never later than was allowed.
        let lifetime = lifetime_max.min(SVID_LIFETIME_MAX).min(Duration::from_seconds(order.ttl_seconds));
        let [iat, exp] = [now, order.until.min(now.after(lifetime))].map(|time| time.as_millis() / 1000);
        let expires = Time::from_millis(0).after(Duration::from_seconds(exp));
        if expires <= now {
            return Err(SvidError::NoLifetime);
        }
        let claims = ClaimsV1 { iss: self.name.url.clone(), sub, aud, iat, exp, jti: order.lease.to_string() };
        let token = jwt::sign(self.keys().current(), &claims).map_err(|BadKey| SvidError::Library)?;
        Ok((Secret::new(token.into_bytes()), expires))
    }

    /// Signs the access token this permit is for.
    pub(crate) fn sign_access(&self, _: &Permit<Delegate>, claims: &AccessClaimsV1) -> Result<Secret, SvidError> {
        let token = jwt::sign_as(Kind::Access, self.keys().current(), claims).map_err(|BadKey| SvidError::Library)?;
        Ok(Secret::new(token.into_bytes()))
    }

    /// Brings the published next key into use, once it has been published and the old one used long enough.
    pub fn rotate(&self, now: Time) -> Result<(), IssuerError> {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if now < keys.due() {
            return Err(IssuerError::TooSoon(keys.due()));
        }
        let (rotated, slot) = (keys.rotated(now)?, self.name.slot());
        self.store.put(&slot, &self.sealer.seal(&slot, &rotated.to_secret()?)?)?;
        *keys = rotated;
        Ok(())
    }

    /// Since when the key in use signs.
    pub fn signs_since(&self) -> Time {
        self.keys().used_since()
    }

    /// When [`Self::rotate`] is due.
    pub fn rotation_due(&self) -> Time {
        self.keys().due()
    }

    /// Checks tokens against the keys published now.
    pub fn verifier(&self) -> Verifier {
        Verifier { issuer: self.name.clone(), keys: self.keys().published().cloned().collect() }
    }

    /// The JWKS document (RFC 7517): every published key, the next one included.
    pub fn jwks(&self) -> String {
        let keys = self.keys();
        let set = JwkSetV1 { keys: keys.published().map(JwkV1::of).collect() };
        // A struct of strings always serialises.
        serde_json::to_string(&set).unwrap_or_default()
    }

    /// Every key a relying party should know.
    pub(crate) fn published(&self) -> Vec<PublicKey> {
        self.keys().published().cloned().collect()
    }

    /// Since when the key in use signs.
    pub(crate) fn used_since(&self) -> Time {
        self.keys().used_since()
    }

    /// Its names.
    pub fn name(&self) -> &IssuerName {
        &self.name
    }

    /// A copy, so that nobody holds the lock while signing. A writer that died has changed nothing.
    fn keys(&self) -> Keyring {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl IssuerName {
    /// Reads an issuer's URL, `https://` and a host without any path, and its SPIFFE trust domain.
    pub fn parse(url: &str, trust_domain: &str) -> Result<Self, NotANameForAnIssuer> {
        let refuse = |text: &str, role, expected| NotANameForAnIssuer {
            text: text.escape_debug().take(80).collect(),
            role,
            expected,
        };
        let host = url.strip_prefix("https://").map(|rest| rest.rsplit_once(':').map_or((rest, "443"), |split| split));
        if !host.is_some_and(|(host, port)| is_lower_host(host) && port.parse::<u16>().is_ok_and(|port| port != 0)) {
            return Err(refuse(url, "an issuer", "`https://` and a lower-case host, without a path"));
        }
        if !is_trust_domain(trust_domain) {
            return Err(refuse(trust_domain, "a trust domain", "1 to 100 of a-z 0-9 . _ -"));
        }
        Ok(Self { url: url.to_owned(), trust_domain: trust_domain.to_owned() })
    }

    /// The `iss` of every token.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// What follows our trust domain in a SPIFFE ID; none when it belongs to another.
    pub(crate) fn strip_trust_domain<'a>(&self, id: &'a str) -> Option<&'a str> {
        id.strip_prefix("spiffe://")?.strip_prefix(self.trust_domain.as_str())?.strip_prefix('/')
    }

    /// The audience under which an X.509-SVID is asked for and granted: the trust domain itself, since whoever trusts its
    /// authority accepts the certificate.
    pub fn x509_audience(&self) -> String {
        format!("spiffe://{}", self.trust_domain)
    }

    /// The SPIFFE ID of `holder`, if the order is for it.
    pub(crate) fn holder_of(&self, order: &MintCredential, holder: &WorkloadId) -> Result<String, SvidError> {
        let id = holder.to_string();
        if self.strip_trust_domain(&id).is_none() || *holder.run() != order.run {
            let (run, trust_domain) = (order.run.to_string(), self.trust_domain.clone());
            return Err(SvidError::Holder { holder: id, run, trust_domain });
        }
        Ok(id)
    }

    fn slot(&self) -> Slot {
        Slot { purpose: Purpose::SigningKeys, id: self.trust_domain.clone(), version: 1 }
    }
}

fn is_lower_host(host: &str) -> bool {
    HostPattern::parse(host).is_some_and(|parsed| parsed.as_str() == host)
}

/// The characters of the SPIFFE-ID specification, section 2.1. At 100 bytes, with agent names of at most 100, every `sub` stays
/// below the 255 bytes that relying parties take (OpenID Connect Core 1.0 section 2).
fn is_trust_domain(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
}

#[derive(Serialize)]
struct JwkSetV1<'a> {
    keys: Vec<JwkV1<'a>>,
}

#[derive(Serialize)]
struct JwkV1<'a> {
    kty: &'static str,
    crv: &'static str,
    x: &'a str,
    y: &'a str,
    kid: &'a str,
    #[serde(rename = "use")]
    usage: &'static str,
    alg: &'static str,
}

impl<'a> JwkV1<'a> {
    fn of(key: &'a PublicKey) -> Self {
        let (x, y) = key.coordinates();
        Self { kty: "EC", crv: "P-256", x, y, kid: key.kid(), usage: "sig", alg: jwt::ALGORITHM }
    }
}

impl From<BadKey> for IssuerError {
    fn from(_: BadKey) -> Self {
        Self::Key
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issuer({})", self.name.url)
    }
}
