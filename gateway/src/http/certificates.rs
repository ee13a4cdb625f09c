//! The certificate authority of one run: its key is made here, lives in this process's memory and nowhere else, and signs
//! only for hosts the run was granted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use selvedge_domain::HostPattern;

/// How long certificates outlive their run, for what still closes.
const LIFE_AFTER_RUN: Duration = Duration::from_secs(3600);

/// How far clocks may differ.
const CLOCK_SKEW: Duration = Duration::from_secs(3600);

/// Certificates kept ready; more hosts than this are signed for again and again.
const LEAVES_MAX: usize = 256;

/// Why a run has no certificates.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadAuthority {
    #[error("a certificate could not be made")]
    Certificate(#[from] rcgen::Error),
    #[error("the TLS settings are not accepted")]
    Tls(#[source] rustls::Error),
    #[error("the root certificates are not PEM")]
    Roots,
}

/// A run's own certificate authority.
pub(crate) struct RunAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
    leaf_key: KeyPair,
    not_before: SystemTime,
    not_after: SystemTime,
    configs: Mutex<BTreeMap<HostPattern, Arc<ServerConfig>>>,
}

impl fmt::Debug for RunAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunAuthority(..)")
    }
}

impl RunAuthority {
    /// Makes keys and a certificate for a run that lasts for `life`.
    pub(crate) fn make(common_name: &str, life: Duration) -> Result<Self, BadAuthority> {
        let now = SystemTime::now();
        let (not_before, not_after) = (now - CLOCK_SKEW, now + life.min(LIFE_MAX) + LIFE_AFTER_RUN);
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = not_before.into();
        params.not_after = not_after.into();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.self_signed(&key)?;
        let leaf_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let issuer = Issuer::new(params, key);
        Ok(Self { issuer, certificate, leaf_key, not_before, not_after, configs: Mutex::default() })
    }

    /// The certificate that clients must trust.
    pub(crate) fn certificate_pem(&self) -> String {
        self.certificate.pem()
    }

    /// How to be `host` towards a client. The caller has seen that the run was granted this host.
    pub(crate) fn server_config(&self, host: &HostPattern) -> Result<Arc<ServerConfig>, BadAuthority> {
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = configs.get(host) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.make_config(host)?);
        if configs.len() >= LEAVES_MAX {
            configs.pop_first();
        }
        configs.insert(host.clone(), Arc::clone(&config));
        Ok(config)
    }

    fn make_config(&self, host: &HostPattern) -> Result<ServerConfig, BadAuthority> {
        let name = host.as_str().trim_matches(['[', ']']);
        let mut params = CertificateParams::new([name.to_owned()])?;
        // A common name has 64 characters at most; the alternative name is what counts.
        params.distinguished_name.push(DnType::CommonName, name.chars().take(64).collect::<String>());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = self.not_before.into();
        params.not_after = self.not_after.into();
        let leaf = params.signed_by(&self.leaf_key, &self.issuer)?;
        let chain: Vec<CertificateDer<'static>> = vec![leaf.der().clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(BadAuthority::Tls)?;
        // One protocol, whose every message we parse.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// A run longer than a month is a mistake in a number, and some clients refuse certificates that live for years.
const LIFE_MAX: Duration = Duration::from_secs(31 * 24 * 3600);
