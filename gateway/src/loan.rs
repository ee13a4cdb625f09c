//! Credentials that a door uses for its run: which requests they go into, how they are written there or sign them, and what
//! stands for them inside. Owns that a secret goes into these requests and nowhere else; never knows where it comes from.

mod codes;
mod sigv4;
mod watch;

use std::fmt;
use std::time::{Duration, Instant};

use selvedge_domain::{CredentialName, Endpoint, Method, Reach};

use crate::http::fields::{is_hop_by_hop, is_token_byte};
pub(crate) use codes::{forms_of, percent_decoded};
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

/// The bytes of a credential, written into a field and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

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

/// The credentials of a door, ready to be asked.
#[derive(Debug, Default)]
pub(crate) struct Loans {
    loans: Vec<Held>,
}

/// A loan with the moment it ends.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) loan: Loan,
    ends: Option<Instant>,
}

impl Loans {
    /// Counts the time of each loan from now.
    pub(crate) fn begin(loans: Vec<Loan>) -> Self {
        let begin = |loan: Loan| {
            let ends = loan.secret.as_ref().and_then(|(_, lasts)| Instant::now().checked_add(*lasts));
            Held { loan, ends }
        };
        Self { loans: loans.into_iter().map(begin).collect() }
    }

    /// The loan that goes into this request. Configuration sees to it that there is at most one.
    pub(crate) fn of(&self, endpoint: &Endpoint, method: Method, path: &str) -> Option<&Held> {
        self.loans.iter().find(|held| held.loan.uses.iter().any(|uses| uses.covers(endpoint, method, path)))
    }

    /// Every loan.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Loan> {
        self.loans.iter().map(|held| &held.loan)
    }

    /// Whether there is none, so that nothing has to be looked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.loans.is_empty()
    }
}

impl Held {
    /// The secret, while the loan lasts.
    pub(crate) fn secret(&self) -> Option<&SecretText> {
        let (secret, _) = self.loan.secret.as_ref()?;
        self.ends.is_some_and(|ends| Instant::now() < ends).then_some(secret)
    }

    /// Whether a credential in this field would stand where ours goes.
    pub(crate) fn goes_into(&self, field: &str) -> bool {
        match &self.loan.way {
            Way::Field(name, _) => field == name.0,
            Way::Signature(_) => matches!(field, AUTHORIZATION | SESSION_TOKEN | "x-amz-s3session-token"),
        }
    }

    /// Whether a client that was told the placeholder would write this.
    pub(crate) fn is_placeholder(&self, field: &str, value: &[u8]) -> bool {
        let placeholder = self.loan.placeholder.0.as_bytes();
        match &self.loan.way {
            Way::Field(name, scheme) => field == name.0 && self.is_written(scheme, value),
            // What a client signs with the placeholder for a key names it first.
            Way::Signature(_) if field == AUTHORIZATION => {
                let signed = value.strip_prefix(b"AWS4-HMAC-SHA256 Credential=");
                let scope = signed.and_then(|signed| signed.strip_prefix(placeholder));
                scope.is_some_and(|scope| scope.starts_with(b"/"))
            }
            Way::Signature(_) => field == SESSION_TOKEN && value == placeholder,
        }
    }

    fn is_written(&self, scheme: &Scheme, value: &[u8]) -> bool {
        let (word, rest) = split_scheme(value);
        match scheme {
            Scheme::Plain => value == self.loan.placeholder.0.as_bytes(),
            // A client knows best how it writes a token: `token`, `Bearer` and `Basic` all mean this one.
            Scheme::Bearer | Scheme::Basic(_) if word.eq_ignore_ascii_case(b"basic") => {
                codes::base64_decoded(rest).is_some_and(|pair| pair.ends_with(self.loan.placeholder.0.as_bytes()))
            }
            Scheme::Bearer | Scheme::Basic(_) => rest == self.loan.placeholder.0.as_bytes(),
        }
    }
}

impl Loan {
    /// What of the secret must turn up nowhere, in every common form.
    pub(crate) fn forms(&self) -> Vec<Vec<u8>> {
        let Some((secret, _)) = &self.secret else { return Vec::new() };
        match (&self.way, SessionKeys::parse(secret)) {
            (Way::Signature(_), Some(keys)) => {
                keys.secrets().iter().flat_map(|part| forms_of(part.as_bytes())).collect()
            }
            (Way::Signature(_), None) | (Way::Field(..), _) => forms_of(secret.0.as_bytes()),
        }
    }
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
        let secret = &secret.0;
        match self {
            Self::Bearer => format!("Bearer {secret}").into_bytes(),
            Self::Basic(User(user)) => {
                format!("Basic {}", codes::base64(format!("{user}:{secret}").as_bytes())).into_bytes()
            }
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
}

impl SecretText {
    /// Takes a secret that can be written into a field.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotASecret> {
        let fits =
            (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
        let text = std::str::from_utf8(bytes).map_err(|_| NotASecret)?;
        if fits { Ok(Self(text.to_owned())) } else { Err(NotASecret) }
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
    use selvedge_domain::HostPattern;

    use super::*;

    fn held(scheme: Scheme, secret: Option<Duration>) -> Held {
        let endpoint = Endpoint { host: HostPattern::parse("api.example").unwrap(), port: 443 };
        let uses = Reach { endpoint, methods: [Method::Get].into(), path_prefix: "/v1".to_owned() };
        let loan = Loan {
            credential: CredentialName::parse("key").unwrap(),
            uses: vec![uses],
            way: Way::Field(FieldName::parse("Authorization").unwrap(), scheme),
            placeholder: Placeholder::of_bits(7),
            secret: secret.map(|lasts| (SecretText::parse(b"s3cr3t-value-0001").unwrap(), lasts)),
        };
        Loans::begin(vec![loan]).loans.pop().unwrap()
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_secret_is_written_as_its_scheme_says() {
        let value = |scheme: Scheme| scheme.write(held(scheme.clone(), Some(LONG)).secret().unwrap());
        assert_eq!(value(Scheme::Bearer), b"Bearer s3cr3t-value-0001");
        assert_eq!(value(Scheme::Plain), b"s3cr3t-value-0001");
        // `printf 'me:s3cr3t-value-0001' | base64`
        assert_eq!(value(Scheme::basic("me").unwrap()), b"Basic bWU6czNjcjN0LXZhbHVlLTAwMDE=");
    }

    #[test]
    fn a_loan_that_ended_or_never_was_has_no_value_a07() {
        assert_eq!(held(Scheme::Bearer, None).secret(), None);
        assert_eq!(held(Scheme::Bearer, Some(Duration::ZERO)).secret(), None);
    }

    #[test]
    fn a_placeholder_is_known_however_a_client_writes_it_and_nothing_else_is() {
        let text = Placeholder::of_bits(7).0;
        let basic = |pair: String| format!("Basic {}", codes::base64(pair.as_bytes()));
        let bearer = held(Scheme::Bearer, Some(LONG));
        for value in [text.clone(), format!("Bearer {text}"), format!("token {text}"), basic(format!("x-token:{text}"))]
        {
            assert!(bearer.is_placeholder("authorization", value.as_bytes()), "{value}");
            assert!(!bearer.is_placeholder("x-api-key", value.as_bytes()), "{value}");
        }
        for value in
            ["", "Bearer", "Bearer stolen-token", "Basic !", &format!("Bearer {text}x"), &basic("a:b".to_owned())]
        {
            assert!(!bearer.is_placeholder("authorization", value.as_bytes()), "{value}");
        }
        assert!(held(Scheme::Plain, None).is_placeholder("authorization", text.as_bytes()));
    }

    #[test]
    fn a_field_that_steers_a_message_carries_no_secret() {
        for name in ["", "host", "Content-Length", "transfer-encoding", "x_key", "a b", "x-forwarded-for", "connection"]
        {
            assert_eq!(FieldName::parse(name), None, "{name}");
        }
        assert_eq!(FieldName::parse("PRIVATE-TOKEN").unwrap().as_str(), "private-token");
    }

    #[test]
    fn a_secret_that_would_break_out_of_its_field_is_refused() {
        for bytes in [
            &b"short"[..],
            b"fifteen-letters",
            b"with space here",
            b"line\r\nbreak: 1",
            b"caf\xc3\xa9-secret",
            &[b'x'; 9000],
        ] {
            assert_eq!(SecretText::parse(bytes), Err(NotASecret));
        }
        assert_eq!(format!("{:?}", held(Scheme::Bearer, Some(LONG))).find("s3cr3t"), None);
    }
}
