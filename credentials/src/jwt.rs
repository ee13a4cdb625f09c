//! The wire form of a JWT-SVID (RFC 7515 compact serialisation; SPIFFE JWT-SVID specification). Strict: exactly the members we
//! write, each once. Knows bytes, not what they authorise.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::keyring::{BadKey, SigningKey};

/// The one algorithm we sign with and accept.
pub(crate) const ALGORITHM: &str = "ES256";
/// Longest token we look at: ours are under a kilobyte.
const TOKEN_BYTES_MAX: usize = 4096;

/// The JOSE header.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeaderV1 {
    pub(crate) alg: String,
    pub(crate) typ: String,
    pub(crate) kid: String,
}

/// The claims, by their registered names (RFC 7519 section 4.1).
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClaimsV1 {
    pub(crate) iss: String,
    pub(crate) sub: String,
    pub(crate) aud: String,
    pub(crate) iat: u64,
    pub(crate) exp: u64,
    pub(crate) jti: String,
}

/// A token taken apart; nothing in it is believed yet.
pub(crate) struct Parts<'a> {
    pub(crate) header: HeaderV1,
    pub(crate) signed: &'a str,
    pub(crate) signature: Vec<u8>,
    claims: &'a str,
}

/// What is wrong with a token's form.
pub(crate) type Malformed = &'static str;

/// Signs `claims`.
pub(crate) fn sign(key: &SigningKey, claims: &ClaimsV1) -> Result<String, BadKey> {
    let kid = key.public().kid().to_owned();
    let header = HeaderV1 { alg: ALGORITHM.to_owned(), typ: "JWT".to_owned(), kid };
    let part = |json: serde_json::Result<Vec<u8>>| json.map(|json| BASE64.encode(json)).map_err(|_| BadKey);
    let mut token = format!("{}.{}", part(serde_json::to_vec(&header))?, part(serde_json::to_vec(claims))?);
    let signature = BASE64.encode(key.sign(token.as_bytes())?);
    token.push('.');
    token.push_str(&signature);
    Ok(token)
}

impl<'a> Parts<'a> {
    /// Takes a token apart.
    pub(crate) fn of(token: &'a str) -> Result<Self, Malformed> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err("it is too long");
        }
        let (signed, signature) = token.rsplit_once('.').ok_or("it is not three parts")?;
        let (header, claims) = signed.split_once('.').ok_or("it is not three parts")?;
        let signature = BASE64.decode(signature).map_err(|_| "its signature is not base64url")?;
        Ok(Self { header: json(header)?, signed, signature, claims })
    }

    /// The claims. Ask only after the signature was checked.
    pub(crate) fn claims(&self) -> Result<ClaimsV1, Malformed> {
        json(self.claims)
    }
}

/// Reads one part. A member that is unknown, missing or there twice is an error, as `serde` derives it.
fn json<T: DeserializeOwned>(part: &str) -> Result<T, Malformed> {
    let bytes = BASE64.decode(part).map_err(|_| "a part of it is not base64url")?;
    serde_json::from_slice(&bytes).map_err(|_| "a part of it is not the JSON object we write")
}
