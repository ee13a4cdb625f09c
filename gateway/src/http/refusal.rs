//! Every way a request can be refused, with what the agent is shown: a status, a stable code and a next step, never an
//! address, a path or a cause from the host's side.

use selvedge_domain::CredentialName;

use crate::model::answer::Garbled;
use crate::model::request::Unfit as UnfitCall;

use super::body::BadBody;
use super::fields::BadHead;
use super::lend::Turned;
use super::path::BadTarget;
use super::request::BadRequest;
use crate::dial::DialError;
use crate::graphql::Unfit;
use crate::link::NotAllowed;

/// Why a request was not forwarded, or not answered.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It is not a request a door forwards.
    Request(BadRequest),
    /// Its body is not what it announced.
    Body(BadBody),
    /// Its target is written for another listener than it came in on.
    WrongForm,
    /// `Host`, SNI and `CONNECT` do not name the same place.
    HostMismatch(String),
    /// No rule of the grant is about this host and port.
    NotGranted(String),
    /// The keeper denied it, or did not answer.
    NotAllowed(NotAllowed),
    /// The keeper allowed what the grant does not cover.
    OutsideGrant,
    /// A placeholder or a secret is where it must not be.
    TurnedUp(Turned),
    /// This field carries somebody else's credential where the factory's own would go.
    ForeignCredential(String),
    /// It would make a credential with the one that is lent.
    MintsCredentials,
    /// It would be signed, and would do what its method and path do not show.
    Unshown {
        /// By which header or parameter.
        name: String,
        /// What the agent can do.
        next_step: String,
    },
    /// It needs a credential that is not lent, or not any more.
    NotLent {
        /// Which.
        credential: CredentialName,
        /// What the agent can do, and why there is none.
        next_step: String,
    },
    /// It needs a credential, which never goes out for a client that asked in clear text.
    LentInClear(CredentialName),
    /// It would send more to this host than the run may.
    SendSpent(String),
    /// It is no GraphQL that a door reads, or would do what was not configured, where GraphQL is spoken.
    Graphql(Unfit),
    /// No part of git's smart protocol, at the place where a repository is served.
    NotGit,
    /// No call of the token endpoint, at the place where it is served.
    NoSuchCall,
    /// The body of a call to the token endpoint is not encoded as a form.
    NotAForm,
    /// No request for access, at the place where one asks.
    NotAccess,
    /// No call of a model's protocol that is spoken here, at the place where a model is.
    NotModel,
    /// No tool server, or nothing that is said to one, at the place where tools are.
    NotTools,
    /// A request to a model that does not go upstream.
    UnfitCall(UnfitCall),
    /// A model's answer that is not passed on.
    Garbled(Garbled),
    /// The keeper did not serve it, or there is no room for it.
    NotServed,
    /// There is no connection to the server.
    Dial(DialError),
    /// The server broke off.
    ServerGone,
    /// The server was silent.
    ServerSilent,
    /// The server's answer is not one a door passes on.
    ServerMalformed,
    /// The server's answer is longer than allowed.
    ResponseTooLong,
}

/// What the agent sees.
pub(crate) struct Shown<'a> {
    pub(crate) status: u16,
    pub(crate) code: &'a str,
    pub(crate) next_step: &'a str,
}

/// Why a request that the door answers itself came to no answer.
pub(crate) enum Unserved {
    /// The client is told.
    Refused(Refusal),
    /// There is nobody to tell.
    ClientGone,
}

impl Refusal {
    /// The status, code and next step.
    pub(crate) fn shown(&self) -> Shown<'_> {
        let (status, code, next_step) = match self {
            Self::Request(bad) => show_request(bad),
            Self::Body(BadBody::TooLong) => (413, "body_too_long", "send less in one request"),
            Self::Body(_) => (400, "malformed_body", "send the body as its head announces it"),
            Self::WrongForm => {
                (400, "wrong_form", "send this request through the proxy, or directly, not half of each")
            }
            Self::HostMismatch(_) => (421, "host_mismatch", "name one host in the connection and in the request"),
            Self::NotGranted(_) => (403, "host_not_granted", "use a host this task was granted, or ask for this one"),
            Self::NotAllowed(NotAllowed::Denied { code, next_step }) => (403, code.as_str(), next_step.as_str()),
            Self::NotAllowed(NotAllowed::NoAnswer) => (403, "not_decided", "try again later"),
            Self::OutsideGrant => (403, "outside_grant", "use a method and path this task was granted"),
            Self::TurnedUp(Turned::Placeholder(_)) => {
                (403, "placeholder_misplaced", "a placeholder belongs into its own header of the requests it is for")
            }
            Self::TurnedUp(Turned::Secret(_)) => (403, "secret_in_request", "stop: the operator was told"),
            Self::ForeignCredential(_) => {
                (403, "foreign_credential", "leave credentials out: the factory brings its own")
            }
            Self::MintsCredentials => (403, "minting_denied", "work with the credential this task has"),
            Self::Unshown { next_step, .. } => (403, "act_not_shown", next_step.as_str()),
            Self::NotLent { next_step, .. } => (403, "credential_not_lent", next_step.as_str()),
            Self::LentInClear(_) => show_dial(DialError::ClearText),
            Self::SendSpent(_) => (
                403,
                "send_budget_spent",
                "send less: this task may send no more than it has to this host; a smaller request may still fit",
            ),
            Self::Graphql(unfit) => unfit.shown(),
            Self::NotGit => (404, "not_git", "use git with the URL in SELVEDGE_GIT_URL; nothing else is here"),
            Self::NoSuchCall => (
                404,
                "no_such_call",
                "send a form to SELVEDGE_TOKEN_URL, or to /introspect or /revoke beside it; nothing else is here",
            ),
            Self::NotAForm => (
                400,
                "invalid_request",
                "encode the form: a space is `+` or `%20` (curl does it with --data-urlencode)",
            ),
            Self::NotAccess => (
                404,
                "no_such_call",
                "post JSON in plain characters to SELVEDGE_ACCESS_URL: `reach`, a rule, and `reason`; nothing else is here",
            ),
            Self::NotModel => (
                404,
                "no_such_call",
                "speak the protocol this task's model has, at SELVEDGE_MODEL_URL; nothing else is here",
            ),
            Self::NotTools => (
                404,
                "no_such_call",
                "post one message of MCP, as JSON, to SELVEDGE_TOOLS_URL and the name of a server; nothing else is here",
            ),
            Self::UnfitCall(unfit) => show_unfit(unfit),
            Self::Garbled(_) => (502, "model_garbled", "ask again; if it stays so, tell the operator"),
            Self::NotServed => (503, "not_served", "the repository cannot be served now; try again later"),
            Self::Dial(error) => show_dial(*error),
            Self::ServerGone => (502, "server_gone", "try again later"),
            Self::ServerSilent => (504, "server_silent", "try again later"),
            Self::ResponseTooLong => (502, "response_too_long", "ask for less in one request"),
            Self::ServerMalformed => (502, "server_malformed", "this server's answer cannot be passed on"),
        };
        Shown { status, code, next_step }
    }

    /// What the operator is told it was about, with a code that is the door's own; nothing where the keeper knows already.
    pub(crate) fn reported(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Request(bad) => Some((show_request(bad).1, bad.to_string())),
            Self::Body(bad) => Some(("malformed_body", bad.to_string())),
            Self::WrongForm => Some(("wrong_form", String::new())),
            Self::HostMismatch(detail) => Some(("host_mismatch", detail.clone())),
            Self::NotGranted(host) => Some(("host_not_granted", host.clone())),
            Self::NotAllowed(NotAllowed::NoAnswer) => Some(("not_decided", String::new())),
            Self::OutsideGrant => Some(("outside_grant", String::new())),
            Self::TurnedUp(Turned::Placeholder(credential)) => Some(("placeholder_misplaced", credential.to_string())),
            Self::TurnedUp(Turned::Secret(credential)) => Some(("secret_in_request", credential.to_string())),
            Self::ForeignCredential(field) => Some(("foreign_credential", field.clone())),
            Self::MintsCredentials => Some(("minting_denied", String::new())),
            Self::Unshown { name, .. } => Some(("act_not_shown", name.clone())),
            Self::NotLent { credential, .. } => Some(("credential_not_lent", credential.to_string())),
            Self::LentInClear(credential) => Some(("clear_text_denied", credential.to_string())),
            Self::SendSpent(host) => Some(("send_budget_spent", host.clone())),
            Self::Graphql(unfit) => Some((unfit.shown().1, unfit.to_string())),
            Self::NotGit => Some(("not_git", String::new())),
            Self::NoSuchCall | Self::NotAccess => Some(("no_such_call", String::new())),
            Self::NotAForm => Some(("not_a_form", String::new())),
            Self::NotModel | Self::NotTools => Some(("no_such_call", String::new())),
            Self::UnfitCall(unfit) => Some((show_unfit(unfit).1, unfit.to_string())),
            Self::Garbled(garbled) => Some(("model_garbled", garbled.to_string())),
            Self::NotServed => Some(("not_served", String::new())),
            // Whoever runs the proxy can mend it, and only the operator knows them.
            Self::Dial(
                error @ (DialError::ProxyUnreachable
                | DialError::ProxySilent
                | DialError::ProxyLogin
                | DialError::ProxyRefused
                | DialError::ProxyMalformed),
            ) => Some((show_dial(*error).1, error.to_string())),
            Self::NotAllowed(NotAllowed::Denied { .. })
            | Self::Dial(_)
            | Self::ServerGone
            | Self::ServerSilent
            | Self::ServerMalformed
            | Self::ResponseTooLong => None,
        }
    }

    /// Writes the response. With a reason: botocore, which waits before it sends a body, takes no line without one for an answer.
    pub(crate) fn write(&self, closes: bool, out: &mut Vec<u8>) {
        let Shown { status, code, next_step } = self.shown();
        let body = serde_json::json!({ "code": code, "next_step": next_step }).to_string();
        let connection = if closes { "connection: close\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 {status} Refused\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{connection}\r\n",
            body.len()
        );
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(body.as_bytes());
    }
}

fn show_unfit(unfit: &UnfitCall) -> (u16, &'static str, &'static str) {
    match unfit {
        UnfitCall::Syntax | UnfitCall::Shape(_) => {
            (400, "malformed_request", "send what the protocol says, each member once")
        }
        UnfitCall::Unknown { .. } => {
            (400, "content_unknown", "leave this kind of content or tool out: this door cannot judge it")
        }
        UnfitCall::Egress { .. } => (
            403,
            "vendor_egress",
            "the model's vendor may not do this for this task: use the tools of this sandbox, and send content itself",
        ),
        UnfitCall::Model(_) => (403, "model_not_granted", "use the model that this task was given"),
        UnfitCall::TooMuch(_) => (413, "request_too_long", "send a shorter conversation"),
    }
}

fn show_request(bad: &BadRequest) -> (u16, &'static str, &'static str) {
    match bad {
        BadRequest::Head(BadHead::TooLong | BadHead::TooManyFields) => {
            (431, "head_too_long", "send fewer or shorter fields")
        }
        BadRequest::Head(_) => (400, "malformed_request", "send one well-formed HTTP/1.1 request"),
        BadRequest::Target(BadTarget::TooLong) => (414, "target_too_long", "ask with a shorter path or query"),
        BadRequest::Target(_) => {
            (400, "malformed_target", "write the path plainly, without dot segments or hidden separators")
        }
        BadRequest::Authority(_) => (400, "malformed_host", "name the host plainly"),
        BadRequest::Method => (501, "method_not_known", "use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS"),
        BadRequest::UnexpectedBody => (400, "unexpected_body", "send no body with this method"),
        BadRequest::HostMismatch => (421, "host_mismatch", "name one host in the target and in the request"),
        BadRequest::Scheme => (400, "scheme_not_known", "use CONNECT for https"),
        BadRequest::Upgrade => (403, "upgrade_denied", "stay with HTTP/1.1"),
        BadRequest::Expectation => (417, "expectation_not_known", "expect nothing, or 100-continue"),
        BadRequest::Override(_) => (403, "override_denied", "ask for what you mean in the request line"),
        BadRequest::CredentialInQuery(_) => {
            (403, "foreign_credential", "leave credentials out: the factory brings its own")
        }
        BadRequest::DnsOverHttps => (403, "dns_over_https_denied", "use the resolver of the sandbox"),
    }
}

fn show_dial(error: DialError) -> (u16, &'static str, &'static str) {
    match error {
        DialError::NotResolved => (502, "name_not_resolved", "check the name"),
        DialError::NotGlobal => (403, "address_denied", "this name leads somewhere this task may not go"),
        DialError::Unreachable => (502, "server_unreachable", "try again later"),
        DialError::NotVerified => (502, "server_not_verified", "this server does not prove its name"),
        DialError::TimedOut => (504, "server_silent", "try again later"),
        DialError::ClearText => (403, "clear_text_denied", "use https"),
        DialError::ProxyUnreachable => (502, "proxy_unreachable", "try again later; the operator was told"),
        DialError::ProxySilent => (504, "proxy_silent", "try again later; the operator was told"),
        DialError::ProxyLogin => (502, "proxy_login", "do without this request; the operator was told"),
        DialError::ProxyRefused => (403, "proxy_refused", "do without this server; the operator was told"),
        DialError::ProxyMalformed => (502, "proxy_malformed", "try again later; the operator was told"),
    }
}

impl From<BadRequest> for Refusal {
    fn from(bad: BadRequest) -> Self {
        Self::Request(bad)
    }
}

impl From<BadBody> for Refusal {
    fn from(bad: BadBody) -> Self {
        Self::Body(bad)
    }
}

impl From<NotAllowed> for Refusal {
    fn from(not_allowed: NotAllowed) -> Self {
        Self::NotAllowed(not_allowed)
    }
}

impl From<Unfit> for Refusal {
    fn from(unfit: Unfit) -> Self {
        Self::Graphql(unfit)
    }
}

impl From<DialError> for Refusal {
    fn from(error: DialError) -> Self {
        Self::Dial(error)
    }
}

impl<R: Into<Refusal>> From<R> for Unserved {
    fn from(refusal: R) -> Self {
        Self::Refused(refusal.into())
    }
}
