//! The X.509 half of the issuer: a certificate authority for the trust domain that signs X.509-SVIDs for permitted runs
//! (SPIFFE X.509-SVID specification). Owns what a certificate says; sees public keys of workloads and never a private one.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration as Span, SystemTime};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm,
};
use selvedge_authority::Permit;
use selvedge_domain::orders::MintCredential;
use selvedge_domain::{Duration, Time, WorkloadId};

use crate::ca::{CaKey, CaRing};
use crate::keyring::BadKey;
use crate::{IssuerError, IssuerName, Purpose, SVID_LIFETIME_MAX, SealedStore, Sealer, Slot, SvidError};

/// How far back a certificate's validity begins, for relying parties whose clock is behind. It is part of the lifetime, so
/// that a certificate is never valid for longer than a token.
const BACKDATED: Duration = Duration::from_seconds(10);

/// Long enough that nobody guesses or repeats it (CA/Browser Forum asks for 8 bytes), short enough for RFC 5280's 20.
const SERIAL_BYTES: usize = 16;

/// Signs X.509-SVIDs.
pub struct X509Issuer {
    name: IssuerName,
    sealer: Arc<Sealer>,
    store: Arc<dyn SealedStore>,
    keys: RwLock<Arc<CaRing>>,
}

/// A workload's public key: an uncompressed point on P-256 (SEC 1 section 2.3.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectKey([u8; POINT_BYTES]);

const POINT_BYTES: usize = 65;

/// Bytes that are no public key of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a public key on P-256; make one with `KeyPair::generate` of any library and send its uncompressed point")]
pub struct NotAKey;

impl SubjectKey {
    /// Reads a point, and refuses one that is not on the curve.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotAKey> {
        let point: [u8; POINT_BYTES] = bytes.try_into().map_err(|_| NotAKey)?;
        let is_uncompressed = point.first() == Some(&4);
        let parsed = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point.as_slice());
        if is_uncompressed && parsed.is_ok() { Ok(Self(point)) } else { Err(NotAKey) }
    }
}

impl PublicKeyData for SubjectKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl X509Issuer {
    /// The authority with its sealed keys; on first use, or when the old ones lapsed while no keeper ran, with new ones.
    pub fn open(
        name: IssuerName,
        sealer: Arc<Sealer>,
        store: Arc<dyn SealedStore>,
        now: Time,
    ) -> Result<Self, IssuerError> {
        let slot = slot(&name);
        let kept = match store.get(&slot)? {
            Some(sealed) => Some(CaRing::from_secret(&sealer.open(&slot, &sealed)?)?),
            None => None,
        };
        let keys = match kept.filter(|keys| !keys.has_lapsed(now)) {
            Some(keys) => keys,
            None => {
                let keys = CaRing::generate(name.trust_domain(), now)?;
                store.put(&slot, &sealer.seal(&slot, &keys.to_secret())?)?;
                keys
            }
        };
        Ok(Self { name, sealer, store, keys: RwLock::new(Arc::new(keys)) })
    }

    /// Signs the X.509-SVID this permit is for, for the holder of `key`. Gives the certificate in DER, and when it dies.
    pub fn sign(
        &self,
        permit: &Permit<MintCredential>,
        holder: &WorkloadId,
        key: &SubjectKey,
        now: Time,
    ) -> Result<(Vec<u8>, Time), SvidError> {
        let order = permit.order();
        let id = self.name.holder_of(order, holder)?;
        if order.audience != self.name.x509_audience() {
            return Err(SvidError::Audience);
        }
        let not_before = Time::from_millis(now.as_millis().saturating_sub(BACKDATED.as_millis()));
        let lifetime = SVID_LIFETIME_MAX.min(Duration::from_seconds(order.ttl_seconds));
        // Whole seconds, rounded down: never later than was allowed.
        let [from, until] =
            [not_before, order.until.min(not_before.after(lifetime))].map(|time| time.as_millis() / 1000);
        let expires = Time::from_millis(0).after(Duration::from_seconds(until));
        if expires <= now {
            return Err(SvidError::NoLifetime);
        }
        let mut params = params(self.name.trust_domain(), &id, from, until).map_err(|BadKey| SvidError::Library)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let keys = self.keys();
        let issuer = keys.current().issuer().map_err(|BadKey| SvidError::Library)?;
        let certificate = params.signed_by(key, &issuer).map_err(|_| SvidError::Library)?;
        Ok((certificate.der().to_vec(), expires))
    }

    /// Brings the published next authority into use, once it has been published and the old one used long enough.
    pub fn rotate(&self, now: Time) -> Result<(), IssuerError> {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if now < keys.due() {
            return Err(IssuerError::TooSoon(keys.due()));
        }
        let (rotated, slot) = (keys.rotated(self.name.trust_domain(), now)?, slot(&self.name));
        self.store.put(&slot, &self.sealer.seal(&slot, &rotated.to_secret())?)?;
        *keys = Arc::new(rotated);
        Ok(())
    }

    /// Since when the authority in use signs.
    pub fn signs_since(&self) -> Time {
        self.keys().used_since()
    }

    /// When [`Self::rotate`] is due.
    pub fn rotation_due(&self) -> Time {
        self.keys().due()
    }

    /// Every certificate a relying party should trust, in DER: the one that signs, the next one, and those whose last
    /// certificate may still live.
    pub fn bundle(&self) -> Vec<Vec<u8>> {
        self.keys().published().map(<[u8]>::to_vec).collect()
    }

    /// Its names.
    pub fn name(&self) -> &IssuerName {
        &self.name
    }

    /// Since when the authority in use signs.
    pub(crate) fn used_since(&self) -> Time {
        self.keys().used_since()
    }

    /// A copy, so that nobody holds the lock while signing. A writer that died has changed nothing.
    fn keys(&self) -> Arc<CaRing> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An authority's own certificate, self-signed.
pub(crate) fn self_signed(key: &KeyPair, trust_domain: &str, from: Time, until: Time) -> Result<Vec<u8>, BadKey> {
    let [from, until] = [from, until].map(|time| time.as_millis() / 1000);
    let params = authority_params(trust_domain, from, until)?;
    Ok(params.self_signed(key).map_err(|_| BadKey)?.der().to_vec())
}

/// What an authority's certificate says, also as far as its signatures refer to it.
pub(crate) fn authority_params(trust_domain: &str, from: u64, until: u64) -> Result<CertificateParams, BadKey> {
    let mut params = params(trust_domain, &format!("spiffe://{trust_domain}"), from, until)?;
    params.distinguished_name.push(DnType::OrganizationalUnitName, "certificate authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// What every certificate of the trust domain has: one URI for a name, a random serial number, a subject that means nothing.
fn params(trust_domain: &str, id: &str, from: u64, until: u64) -> Result<CertificateParams, BadKey> {
    let mut serial = [0; SERIAL_BYTES];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| BadKey)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, trust_domain);
    params.subject_alt_names = vec![SanType::URI(id.try_into().map_err(|_| BadKey)?)];
    // A serial number is positive (RFC 5280 section 4.1.2.2).
    let [first, rest @ ..] = serial;
    params.serial_number = Some(SerialNumber::from([&[first & 0x7f | 0x01], rest.as_slice()].concat()));
    params.not_before = (SystemTime::UNIX_EPOCH + Span::from_secs(from)).into();
    params.not_after = (SystemTime::UNIX_EPOCH + Span::from_secs(until)).into();
    Ok(params)
}

impl CaKey {
    /// The key as one that signs for others.
    fn issuer(&self) -> Result<rcgen::Issuer<'static, &KeyPair>, BadKey> {
        // Only the name, the key's identifier and its usages are taken from these.
        Ok(rcgen::Issuer::new(authority_params(self.trust_domain(), 0, 0)?, self.pair()))
    }
}

fn slot(name: &IssuerName) -> Slot {
    Slot { purpose: Purpose::CertificateAuthority, id: name.trust_domain().to_owned(), version: 1 }
}

impl fmt::Debug for X509Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "X509Issuer({})", self.name.trust_domain())
    }
}
