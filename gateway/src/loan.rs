//! Credentials that a door uses for its run: which requests they go into, how they are written there or sign them, and what
//! stands for them inside. Owns that a secret goes into these requests and nowhere else; never knows where it comes from.

mod codes;
mod held;
mod sigv4;
mod watch;

use std::fmt;
use std::time::Duration;

use selvedge_domain::{CredentialName, Reach};
use zeroize::Zeroizing;

use crate::http::fields::{is_hop_by_hop, is_token_byte};
pub(crate) use codes::{forms_of, percent_decoded};
pub(crate) use held::{DRAINED_WITHIN, Held, InHand, Loans};
pub use sigv4::{NotSigned, SignedFor};
pub(crate) use sigv4::{SessionKeys, Signable, sha256_hex, stamp};
pub use watch::{SecretSieve, SecretWatch};

/// Shortest secret a door uses. A shorter one is met in ordinary traffic, or guessed by an agent that wants it barred.
pub const SECRET_BYTES_MIN: usize = 16;

/// Longest secret a door uses; stateless tokens of forges have some 520 bytes, cloud tokens up to two thousand.
pub const SECRET_BYTES_MAX: usize = 8 * 1024;

/// Where AWS looks for a signature, and for the token of the session that made it.
pub(crate) const AUTHORIZATION: &str = "authorization";
pub(crate) const SESSION_TOKEN: &str = "x-amz-security-token";

/// A request field that carries a credential, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldName(String);

/// How a secret is written into its field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheme {
    /// `Bearer <secret>` (RFC 6750).
    Bearer,
    /// `Basic <user:secret>` (RFC 7617).
    Basic(User),
    /// The secret alone.
    Plain,
}

/// How a credential goes into the requests it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// It is written into a field.
    Field(FieldName, Scheme),
    /// It signs each request, and its secret stays with the door. It is then the keys of one session, `<id>:<secret>:<token>`.
    Signature(SignedFor),
}

/// The user of `Basic`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User(String);

/// What a program inside finds in the secret's place: worthless, and different for every run and credential, so that
/// wherever it turns up it says whose it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholder(String);

/// The bytes of a credential, written into a field, never shown, and wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

/// Bytes that cannot be written into a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret has {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} printable ASCII characters, without spaces")]
pub struct NotASecret;

/// A credential as its door is given it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loan {
    /// Which credential.
    pub credential: CredentialName,
    /// The requests it is for.
    pub uses: Vec<Reach>,
    /// How it goes into them.
    pub way: Way,
    /// What stands for it inside.
    pub placeholder: Placeholder,
    /// The secret, and how long it may be used; none where nothing is lent, and then these requests are refused.
    pub secret: Option<(SecretText, Duration)>,
}

/// What becomes of a loan while its door is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoanChange {
    /// It is taken away: the secret is forgotten, requests under way with it are cut, and none comes in its place.
    Withdrawn {
        /// Why, as the client is told.
        because: String,
    },
    /// A new secret takes the place of the one that is about to end.
    Renewed {
        /// The secret.
        secret: SecretText,
        /// How long it may be used.
        lasts: Duration,
    },
    /// It is taken away for now, as when it is withdrawn; a new secret may come in its place.
    Paused {
        /// Why, as the client is told.
        because: String,
    },
    /// It ends when its time is over, and nothing takes its place.
    Lapses {
        /// Why, as the client is told then.
        because: String,
    },
}

impl Way {
    /// What of a secret that goes in this way must turn up nowhere, in every common form.
    pub(crate) fn forms(&self, secret: &SecretText) -> Vec<Vec<u8>> {
        self.wiped_forms(secret).iter().map(|form| form.to_vec()).collect()
    }

    /// The same for whoever does not keep them.
    fn wiped_forms(&self, secret: &SecretText) -> Vec<Zeroizing<Vec<u8>>> {
        match (self, SessionKeys::parse(secret)) {
            (Self::Signature(_), Some(keys)) => {
                keys.secrets().iter().flat_map(|part| codes::wiped_forms_of(part.as_bytes())).collect()
            }
            (Self::Signature(_), None) | (Self::Field(..), _) => codes::wiped_forms_of(secret.expose().as_bytes()),
        }
    }
}

/// What `Basic` carries (RFC 7617).
pub(crate) fn basic_pair(user: &str, password: &str) -> String {
    codes::base64(format!("{user}:{password}").as_bytes())
}

/// What a value carries in base64, behind its scheme; nothing where it is none.
pub(crate) fn decoded(value: &[u8]) -> Vec<u8> {
    codes::base64_decoded(split_scheme(value).1).unwrap_or_default()
}

/// `Bearer x` in two; a value of one word has no scheme.
fn split_scheme(value: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = value.splitn(2, |&byte| byte == b' ');
    match (parts.next(), parts.next()) {
        (Some(scheme), Some(rest)) => (scheme, rest.trim_ascii()),
        (Some(rest), None) => (b"", rest),
        (None, _) => (b"", b""),
    }
}

impl FieldName {
    /// Reads the name of a field that may carry a credential: not one that says where a message ends or goes.
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let is_token = (1..=64).contains(&name.len()) && name.bytes().all(|b| is_token_byte(b) && b != b'_');
        let steers = is_hop_by_hop(&name)
            || matches!(name.as_str(), "host" | "content-length" | "content-type" | "expect" | "range" | "upgrade");
        (is_token && !steers && !name.starts_with("x-forwarded")).then_some(Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Scheme {
    /// `Basic` for this user; none for one that cannot be told from the secret behind it.
    pub fn basic(user: &str) -> Option<Self> {
        let is_plain = user.bytes().all(|b| b.is_ascii_graphic() && b != b':');
        (user.len() <= 255 && is_plain).then(|| Self::Basic(User(user.to_owned())))
    }

    /// The secret as it is written into its field.
    pub(crate) fn write(&self, secret: &SecretText) -> Vec<u8> {
        let secret = secret.expose();
        match self {
            Self::Bearer => format!("Bearer {secret}").into_bytes(),
            Self::Basic(User(user)) => format!("Basic {}", basic_pair(user, secret)).into_bytes(),
            Self::Plain => secret.as_bytes().to_vec(),
        }
    }
}

impl User {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Placeholder {
    /// Makes one of 128 random bits. Letters, digits and dashes only: whatever encodes a URL or a form leaves them alone.
    pub fn of_bits(bits: u128) -> Self {
        Self(format!("selvedge-{bits:032x}"))
    }

    /// Reads one.
    pub fn parse(text: &str) -> Option<Self> {
        let bits = text.strip_prefix("selvedge-")?;
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (bits.len() == 32 && bits.bytes().all(is_hex)).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The bits it was made of: as good a salt as any, for they are of one run and credential.
    fn bits(&self) -> u128 {
        self.0.strip_prefix("selvedge-").and_then(|bits| u128::from_str_radix(bits, 16).ok()).unwrap_or_default()
    }
}

impl SecretText {
    /// Takes a secret that can be written into a field.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotASecret> {
        let fits =
            (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
        let text = std::str::from_utf8(bytes).map_err(|_| NotASecret)?;
        if fits { Ok(Self(Zeroizing::new(text.to_owned()))) } else { Err(NotASecret) }
    }

    /// The text, for the frame that carries it to the door and the field that carries it on.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_steers_a_message_carries_no_secret() {
        for name in ["", "host", "Content-Length", "transfer-encoding", "x_key", "a b", "x-forwarded-for", "connection"]
        {
            assert_eq!(FieldName::parse(name), None, "{name}");
        }
        assert_eq!(FieldName::parse("PRIVATE-TOKEN").unwrap().as_str(), "private-token");
    }
}
