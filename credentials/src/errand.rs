//! What is asked of a provider that is somewhere else, and who asks it. The answer is read in a process of its own, which has no
//! secret but those of this one errand (invariant 11); what comes back are a few named values.

use std::collections::BTreeMap;
use std::fmt;

use selvedge_domain::{Duration, Endpoint, Method};

use crate::{ProviderError, Secret};

/// How long a request may still be carried out after its answer was given up for lost: a courier waits less than a minute, a service
/// that queues is given the rest, and its clock may be behind ours.
pub(crate) const UNDER_WAY_AT_MOST: Duration = Duration::from_seconds(300);

/// Asks providers.
pub trait Courier: Send + Sync {
    /// Asks once. Blocks for as long as a slow provider takes, within a limit of the courier's own.
    fn carry(&self, errand: &Errand) -> Result<Brought, CourierError>;
}

/// One request to a provider.
#[derive(Debug)]
pub struct Errand {
    /// Where to.
    pub endpoint: Endpoint,
    /// How.
    pub method: Method,
    /// The path, and the query if there is one.
    pub target: String,
    /// Fields that prove who asks, names in lower case.
    pub fields: Vec<(&'static str, Secret)>,
    /// The body.
    pub body: Option<Body>,
    /// How the answer is written.
    pub reads: Reads,
    /// JSON pointers (RFC 6901) to the values that are wanted of the answer; in XML, the names of elements on the way to one.
    pub wants: Vec<String>,
    /// JSON pointers to the lists and objects of the answer whose members are to be counted.
    pub counts: Vec<String>,
}

/// How a provider writes its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// JSON. A refusal is known by its status alone.
    Json,
    /// XML, and of a refusal the text at this path is brought as well.
    Xml {
        /// Where a refusal says which it is.
        why: &'static str,
    },
}

/// The body of an errand.
#[derive(Debug)]
pub enum Body {
    /// `application/json`.
    Json(Secret),
    /// `application/x-www-form-urlencoded`.
    Form(Secret),
}

/// What a provider answered.
#[derive(Debug)]
pub struct Brought {
    /// Its status.
    pub status: u16,
    /// How long it asks us to wait.
    pub retry_after: Option<Duration>,
    /// The wanted values that were there, and of what is counted how many members it has: `[2]` of a list, `{2}` of an object.
    pub found: BTreeMap<String, Secret>,
}

/// Nothing came back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CourierError {
    /// The provider was not asked.
    #[error("it was not asked: {0}")]
    NotAsked(String),
    /// It may have been asked, and its answer is lost.
    #[error("its answer is lost: {0}")]
    AnswerLost(String),
}

impl Brought {
    /// The text of a wanted value.
    pub(crate) fn text(&self, pointer: &str) -> Option<&str> {
        std::str::from_utf8(self.found.get(pointer)?.expose()).ok()
    }

    /// A wanted value that is a whole number.
    pub(crate) fn number(&self, pointer: &str) -> Option<u64> {
        self.text(pointer)?.parse().ok()
    }

    /// How many entries a list has that was to be counted; none where there is no list.
    pub(crate) fn entries(&self, pointer: &str) -> Option<usize> {
        self.text(pointer)?.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
    }

    /// How many members an object has that was to be counted; none where there is no object.
    pub(crate) fn members(&self, pointer: &str) -> Option<usize> {
        self.text(pointer)?.strip_prefix('{')?.strip_suffix('}')?.parse().ok()
    }

    /// Whether the provider did as it was asked.
    pub(crate) fn is_done(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What a refusal means: whether asking again can help, and that nothing was made.
    pub(crate) fn refusal(&self, what: &str) -> ProviderError {
        let because = match self.status {
            400 | 404 | 405 | 422 => "it does not know what was asked: check the path, the role and the names",
            401 | 403 => "it does not accept who asks: check the key, or the role, the issuer and the audience there",
            429 => "it has had too many requests",
            500..=599 => "it is in trouble",
            _ => "it answered what nobody expects",
        };
        // Who says when to come back does not refuse for good, with whatever status.
        let is_lasting = self.retry_after.is_none() && matches!(self.status, 400..=428 | 430..=499 | 300..=399);
        let error = ProviderError::new(format!("{what}: {because} (status {})", self.status)).that_made_nothing();
        ProviderError { retry_after: self.retry_after, is_lasting, ..error }
    }
}

impl From<CourierError> for ProviderError {
    fn from(error: CourierError) -> Self {
        match error {
            CourierError::NotAsked(_) => Self::new(error).that_made_nothing(),
            CourierError::AnswerLost(_) => Self::new(error),
        }
    }
}

/// A field's value that is no secret.
pub(crate) fn plain(value: &str) -> Secret {
    Secret::new(value.as_bytes().to_vec())
}

/// A token as it is shown to who made it (RFC 6750).
pub(crate) fn bearer(token: &Secret) -> Secret {
    Secret::new([b"Bearer ", token.expose()].concat())
}

/// One pair of a form as it is sent (RFC 6749 appendix B).
pub(crate) fn form(pairs: &[(&str, &str)]) -> Secret {
    let encode = |text: &str| -> String {
        let byte = |b: u8| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        };
        text.bytes().map(byte).collect()
    };
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    Secret::new(pairs.join("&").into_bytes())
}

impl fmt::Display for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:{}", self.method.as_str(), self.endpoint.host, self.endpoint.port)
    }
}
