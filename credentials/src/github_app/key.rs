//! The private key of a GitHub App, and the token it signs to show who asks. Knows nothing of installations.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use selvedge_domain::{Duration, Time};
use zeroize::Zeroizing;

use crate::Secret;

/// How long a token of the App lives: one request, and clocks that differ. GitHub takes ten minutes at most.
const LIVES: Duration = Duration::from_seconds(240);

/// GitHub asks that tokens be issued a minute ago, for clocks that are behind.
const ISSUED_AGO_SECONDS: u64 = 60;

/// What GitHub gives out (PKCS #1), and what tools make of it (PKCS #8).
const PKCS1: (&str, &str) = ("-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----");
const PKCS8: (&str, &str) = ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----");

/// `{"alg":"RS256","typ":"JWT"}`.
const HEADER: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9";

/// The private key of a GitHub App.
pub struct AppKey(RsaKeyPair);

/// Bytes that are not the private key of a GitHub App.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not the private key of a GitHub App: an RSA key in PEM, as GitHub lets you download it")]
pub struct NotAnAppKey;

impl AppKey {
    /// Reads the file that GitHub lets the owner of an App download.
    pub fn parse(pem: &[u8]) -> Result<Self, NotAnAppKey> {
        let text = std::str::from_utf8(pem).map_err(|_| NotAnAppKey)?;
        let key = match (der(text, PKCS1), der(text, PKCS8)) {
            (Some(der), _) => RsaKeyPair::from_der(&der),
            (None, Some(der)) => RsaKeyPair::from_pkcs8(&der),
            (None, None) => return Err(NotAnAppKey),
        };
        key.map(Self).map_err(|_| NotAnAppKey)
    }

    /// The token that shows that `app` asks (RS256, RFC 7518 section 3.3).
    pub(super) fn token(&self, app: &str, now: Time) -> Result<Secret, NotAnAppKey> {
        let claims = serde_json::json!({
            "iat": (now.as_millis() / 1000).saturating_sub(ISSUED_AGO_SECONDS),
            "exp": now.after(LIVES).as_millis() / 1000,
            "iss": app,
        });
        let signed = format!("{HEADER}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; self.0.public_modulus_len()];
        let random = SystemRandom::new();
        self.0.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).map_err(|_| NotAnAppKey)?;
        Ok(Secret::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)).into_bytes()))
    }
}

/// What stands between these lines of a PEM file (RFC 7468), decoded.
fn der(text: &str, (begin, end): (&str, &str)) -> Option<Zeroizing<Vec<u8>>> {
    let (_, rest) = text.split_once(begin)?;
    let (body, _) = rest.split_once(end)?;
    let body: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
    STANDARD.decode(body.as_bytes()).ok().map(Zeroizing::new)
}

impl fmt::Debug for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppKey(..)")
    }
}
