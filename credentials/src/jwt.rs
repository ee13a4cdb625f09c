//! The wire form of our tokens (RFC 7515 compact serialisation; SPIFFE JWT-SVID specification, RFC 9068). Strict: exactly the
//! members we write, each once. Knows bytes, not what they authorise.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::keyring::{BadKey, SigningKey};

/// The one algorithm we sign with and accept.
pub(crate) const ALGORITHM: &str = "ES256";

/// A kind of token. Each says in its header which it is, so that none can stand in for another (RFC 8725 section 3.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Says who somebody is.
    Svid,
    /// Says what somebody may do.
    Access,
}

/// The JOSE header.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeaderV1 {
    pub(crate) alg: String,
    pub(crate) typ: String,
    pub(crate) kid: String,
}

/// The claims of a JWT-SVID, by their registered names (RFC 7519 section 4.1).
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

impl Kind {
    /// Its `typ`: plain for identity documents, as SPIFFE has it, and by RFC 9068 section 2.1 for access tokens.
    pub(crate) fn typ(self) -> &'static str {
        match self {
            Self::Svid => "JWT",
            Self::Access => "at+jwt",
        }
    }

    /// Longest one we look at: our identity documents are under a kilobyte; access tokens carry scope and history, and have to
    /// leave room in the 8 KiB that servers commonly take of a request's head.
    pub(crate) fn bytes_max(self) -> usize {
        match self {
            Self::Svid => 4096,
            Self::Access => 6144,
        }
    }
}

/// Signs the claims of a JWT-SVID.
pub(crate) fn sign(key: &SigningKey, claims: &ClaimsV1) -> Result<String, BadKey> {
    sign_as(Kind::Svid, key, claims)
}

/// Signs the claims of a token of this kind.
pub(crate) fn sign_as(kind: Kind, key: &SigningKey, claims: &impl Serialize) -> Result<String, BadKey> {
    let kid = key.public().kid().to_owned();
    let header = HeaderV1 { alg: ALGORITHM.to_owned(), typ: kind.typ().to_owned(), kid };
    let part = |json: serde_json::Result<Vec<u8>>| json.map(|json| BASE64.encode(json)).map_err(|_| BadKey);
    let mut token = format!("{}.{}", part(serde_json::to_vec(&header))?, part(serde_json::to_vec(claims))?);
    let signature = BASE64.encode(key.sign(token.as_bytes())?);
    token.push('.');
    token.push_str(&signature);
    Ok(token)
}

impl<'a> Parts<'a> {
    /// Takes a token apart that is to be of this kind.
    pub(crate) fn of(kind: Kind, token: &'a str) -> Result<Self, Malformed> {
        if token.len() > kind.bytes_max() {
            return Err("it is too long");
        }
        let (signed, signature) = token.rsplit_once('.').ok_or("it is not three parts")?;
        let (header, claims) = signed.split_once('.').ok_or("it is not three parts")?;
        let signature = BASE64.decode(signature).map_err(|_| "its signature is not base64url")?;
        Ok(Self { header: json(header)?, signed, signature, claims })
    }

    /// The claims. Ask only after the signature was checked.
    pub(crate) fn claims<T: DeserializeOwned>(&self) -> Result<T, Malformed> {
        json(self.claims)
    }
}

/// Reads one part. A member that is unknown, missing or there twice is an error, as `serde` derives it.
fn json<T: DeserializeOwned>(part: &str) -> Result<T, Malformed> {
    let bytes = BASE64.decode(part).map_err(|_| "a part of it is not base64url")?;
    serde_json::from_slice(&bytes).map_err(|_| "a part of it is not the JSON object we write")
}
