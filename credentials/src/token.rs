//! The core of a token endpoint: a run exchanges what it holds for a token that carries less of it, to use itself or to hand to a
//! child (RFC 8693); others ask whether a token lives (RFC 7662); whoever has a token gives it back (RFC 7009).
//!
//! Owns the forms in, the documents out, and that authority only narrows on the way (requirement B4). Knows no socket and no
//! HTTP: it is handed the body of a request and who asks, which is known by the listener the request came in on, never by anything
//! in the request. Why it is so: `docs/decisions/0009-token-endpoint.md`.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::{Issuer, RevocationList, Secret};

mod access;
mod child;
mod exchange;
mod form;
mod introspection;
mod lease;
mod metadata;
mod refusal;
mod revocation;
mod scope;

pub(crate) use access::AccessClaimsV1;
pub use access::{AccessToken, Link, TaskContext};
pub use child::{CHILD_TEXT_BYTES_MAX, ChildRequest, ChildStanding};
pub use exchange::{Considered, DELEGATION_DEPTH_MAX, Issued, Parent};
pub use introspection::{Inquirer, Introspected};
pub use lease::AccessTokens;
pub use metadata::{METADATA_PATH, Served, metadata};
pub use refusal::{Code, Refusal};

/// Answers requests for tokens and about them.
pub struct TokenEndpoint {
    issuer: Arc<Issuer>,
    list: Arc<dyn RevocationList>,
}

impl TokenEndpoint {
    /// Signs with `issuer`'s keys, and revokes through `list`.
    pub fn new(issuer: Arc<Issuer>, list: Arc<dyn RevocationList>) -> Self {
        Self { issuer, list }
    }
}

/// An answer, ready for whichever server writes it.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body; a token may be in it. JSON, unless it is empty.
    pub body: Secret,
}

impl Reply {
    /// The fields that go with every answer (RFC 6749 section 5.1): nobody keeps a copy.
    pub const FIELDS: [(&str, &str); 3] =
        [("content-type", "application/json"), ("cache-control", "no-store"), ("pragma", "no-cache")];

    fn of_status(status: u16) -> Self {
        Self { status, body: Secret::new(Vec::new()) }
    }

    fn of_json(status: u16, document: &impl Serialize) -> Self {
        // A struct of strings and numbers always serialises.
        Self { status, body: Secret::new(serde_json::to_vec(document).unwrap_or_default()) }
    }
}

impl fmt::Debug for TokenEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenEndpoint({:?})", self.issuer)
    }
}
