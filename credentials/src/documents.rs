//! What the issuer publishes for relying parties, as the documents they read: a SPIFFE bundle and an OpenID Connect
//! discovery document. The JWKS is [`Issuer::jwks`]. Knows no server: whoever serves them is handed text.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD};
use serde::Serialize;

use crate::keyring::PublicKey;
use crate::{Issuer, X509Issuer, jwt};

/// Where the key set lies below the issuer's URL, and in a published directory.
pub const JWKS_PATH: &str = "keys.json";
/// Where the SPIFFE bundle lies.
pub const BUNDLE_PATH: &str = "bundle.json";
/// Where the discovery document lies (OpenID Connect Discovery 1.0 section 4).
pub const DISCOVERY_PATH: &str = ".well-known/openid-configuration";

/// How often relying parties should come back, in seconds. A key is published for a day before it signs, so an hour leaves
/// room for many misses.
const REFRESH_HINT_SECONDS: u64 = 3600;

/// The SPIFFE bundle of the trust domain (SPIFFE Trust Domain and Bundle specification, section 4): JWT and X.509 keys.
pub fn bundle(issuer: &Issuer, x509: &X509Issuer) -> String {
    let keys = issuer.published();
    let certificates = x509.bundle();
    let jwt_keys = keys.iter().map(BundleKeyV1::of_token_key);
    let x509_keys = certificates.iter().filter_map(|der| BundleKeyV1::of_certificate(der));
    let bundle = BundleV1 {
        // Grows whenever either half changes its keys, and only then.
        spiffe_sequence: issuer.used_since().as_millis().saturating_add(x509.used_since().as_millis()),
        spiffe_refresh_hint: REFRESH_HINT_SECONDS,
        keys: x509_keys.chain(jwt_keys).collect(),
    };
    // A struct of strings and numbers always serialises.
    serde_json::to_string(&bundle).unwrap_or_default()
}

/// The discovery document of the issuer: enough for a relying party to find the keys, and no endpoint we do not have.
pub fn discovery(issuer: &Issuer) -> String {
    let url = issuer.name().as_str();
    let document = DiscoveryV1 {
        issuer: url,
        jwks_uri: format!("{url}/{JWKS_PATH}"),
        // Required by the specification. Nobody logs in here, so there is only what an identity token is.
        response_types_supported: ["id_token"],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: [jwt::ALGORITHM],
        claims_supported: ["iss", "sub", "aud", "iat", "exp", "jti"],
    };
    serde_json::to_string(&document).unwrap_or_default()
}

#[derive(Serialize)]
struct BundleV1 {
    spiffe_sequence: u64,
    spiffe_refresh_hint: u64,
    keys: Vec<BundleKeyV1>,
}

#[derive(Serialize)]
struct BundleKeyV1 {
    kty: &'static str,
    crv: &'static str,
    x: String,
    y: String,
    #[serde(rename = "use")]
    usage: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x5c: Option<[String; 1]>,
}

impl BundleKeyV1 {
    fn of_token_key(key: &PublicKey) -> Self {
        let (x, y) = key.coordinates();
        let (x, y, kid) = (x.to_owned(), y.to_owned(), Some(key.kid().to_owned()));
        Self { kty: "EC", crv: "P-256", x, y, usage: "jwt-svid", kid, x5c: None }
    }

    /// A certificate of ours as a key. The point stands in it as written by us, behind the head of a P-256 key.
    fn of_certificate(der: &[u8]) -> Option<Self> {
        let at = der.windows(P256_KEY_HEAD.len()).position(|window| window == P256_KEY_HEAD)?;
        let (x, rest) = der.get(at + P256_KEY_HEAD.len()..)?.split_at_checked(32)?;
        let [x, y] = [x, rest.get(..32)?].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
        let x5c = Some([BASE64.encode(der)]);
        Some(Self { kty: "EC", crv: "P-256", x, y, usage: "x509-svid", kid: None, x5c })
    }
}

/// The end of a P-256 key's algorithm (OID 1.2.840.10045.3.1.7, RFC 5480) and the head of the point behind it: a bit string
/// of 66 bytes, no unused bits, uncompressed.
const P256_KEY_HEAD: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04];

#[derive(Serialize)]
struct DiscoveryV1<'a> {
    issuer: &'a str,
    jwks_uri: String,
    response_types_supported: [&'static str; 1],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: [&'static str; 1],
    claims_supported: [&'static str; 6],
}
