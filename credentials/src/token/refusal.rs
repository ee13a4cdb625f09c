//! How the endpoints say no: the codes of the RFCs, each with what to do next. Never what is wrong inside, never anything that
//! was sent.

use std::borrow::Cow;

use selvedge_authority::Denial;
use serde::Serialize;

use super::Reply;

/// Why there is no answer, as the client is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {next_step}", code.as_str())]
pub struct Refusal {
    code: Code,
    next_step: Cow<'static, str>,
}

/// The error codes of RFC 6749 section 5.2, RFC 8693 section 2.2.2 and RFC 7009 section 2.2.1 that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Malformed, or one of its tokens does not do (RFC 8693).
    InvalidRequest,
    /// More authority than there is, or unreadable.
    InvalidScope,
    /// Not for this audience (RFC 8693).
    InvalidTarget,
    /// The token is somebody else's.
    InvalidGrant,
    /// Who asks may not.
    UnauthorizedClient,
    /// Another grant than token exchange.
    UnsupportedGrantType,
    /// A token of a kind that cannot be revoked here (RFC 7009).
    UnsupportedTokenType,
    /// Nobody knows at the moment. No code of the RFCs, but a status: RFC 7009 section 2.2.1.
    Unavailable,
}

impl Refusal {
    /// What funnels say of the order to delegate.
    pub fn denied(denial: &Denial) -> Self {
        Self::told(Code::UnauthorizedClient, denial.next_step.clone())
    }

    /// Nobody can tell at the moment whether this is to be done.
    pub fn unavailable() -> Self {
        Self::new(Code::Unavailable, "try again later")
    }

    pub(crate) fn new(code: Code, next_step: &'static str) -> Self {
        Self { code, next_step: Cow::Borrowed(next_step) }
    }

    /// For text that was not written here: what a description cannot hold (RFC 6749 section 5.2) becomes `'`.
    pub(crate) fn told(code: Code, next_step: String) -> Self {
        let fits = |c: char| matches!(c, ' ' | '!' | '#'..='[' | ']'..='~');
        let next_step = next_step.chars().map(|c| if fits(c) { c } else { '\'' }).collect();
        Self { code, next_step: Cow::Owned(next_step) }
    }

    /// Which error it is.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The answer (RFC 6749 section 5.2).
    pub fn reply(&self) -> Reply {
        match self.code {
            Code::Unavailable => Reply::of_status(503),
            code => Reply::of_json(400, &ErrorV1 { error: code.as_str(), error_description: &self.next_step }),
        }
    }
}

impl Code {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedTokenType => "unsupported_token_type",
            Self::Unavailable => "unavailable",
        }
    }
}

#[derive(Serialize)]
struct ErrorV1<'a> {
    error: &'static str,
    error_description: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_has_only_the_characters_it_may_have() {
        let refusal = Refusal::told(Code::InvalidScope, "say \"a\\b\"\n\u{e9}, `x`".to_owned());
        let json = String::from_utf8(refusal.reply().body.expose().to_vec()).unwrap();
        assert_eq!(json, r#"{"error":"invalid_scope","error_description":"say 'a'b''', `x`"}"#);
    }
}
