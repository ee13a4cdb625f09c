//! Introspection (RFC 7662): whether a token lives, told to those whom it concerns. To everybody else, and of everything else,
//! there is one answer, which says nothing.

use selvedge_domain::{Time, WorkloadId};
use serde::Serialize;

use super::access::{AccessClaimsV1, ActV1, OursV1, seconds};
use super::form::Form;
use super::{AccessToken, Refusal, Reply, TokenEndpoint};
use crate::{Claims, IssuerName, OWN_AUDIENCE};

/// Who asks about a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inquirer<'a> {
    /// A run: told of tokens that it holds, or that were exchanged from one it held.
    Run(&'a WorkloadId),
    /// A service, by the audience it is known under: told of tokens that are for it.
    Service(&'a str),
}

/// What is told of a token.
#[derive(Debug)]
pub enum Introspected {
    /// It is dead, or none of ours, or not for whoever asks.
    Inactive,
    /// It lives, and so does all it was exchanged from.
    Active(Box<AccessToken>, IssuerName),
    /// It is a live identity document.
    Document(Claims, IssuerName),
}

impl TokenEndpoint {
    /// Answers a request about a token. Not knowing whether it was revoked is as good as revoked.
    pub fn introspect(&self, body: &[u8], inquirer: Inquirer<'_>, now: Time) -> Result<Introspected, Refusal> {
        let form = Form::parse(body)?;
        Ok(self.look_at(form.need("token")?, inquirer, now))
    }

    /// The same, of a token that came without a form.
    pub fn look_at(&self, token: &str, inquirer: Inquirer<'_>, now: Time) -> Introspected {
        let (verifier, issuer) = (self.issuer.verifier(), self.issuer.name().clone());
        match verifier.live_access(token, now, &*self.list) {
            Ok(token) if concerns(&token, inquirer) => return Introspected::Active(Box::new(token), issuer),
            Ok(_) | Err(_) => {}
        }
        let (audience, holder) = match inquirer {
            Inquirer::Run(workload) => (OWN_AUDIENCE, Some(workload)),
            Inquirer::Service(audience) => (audience, None),
        };
        match verifier.verify(token, audience, now, &*self.list) {
            Ok(says) if holder.is_none_or(|holder| says.workload == *holder) => Introspected::Document(says, issuer),
            Ok(_) | Err(_) => Introspected::Inactive,
        }
    }
}

fn concerns(token: &AccessToken, inquirer: Inquirer<'_>) -> bool {
    match inquirer {
        Inquirer::Run(workload) => token.is_of(workload),
        Inquirer::Service(audience) => token.audience == audience,
    }
}

impl AccessToken {
    /// Whether this workload holds it, or held one that it was exchanged from.
    pub(super) fn is_of(&self, workload: &WorkloadId) -> bool {
        self.holder == *workload || self.chain.iter().any(|link| link.holder == *workload)
    }
}

impl Introspected {
    /// The answer (RFC 7662 section 2.2).
    pub fn reply(&self) -> Reply {
        match self {
            Self::Inactive => Reply::of_json(200, &InactiveV1 { active: false }),
            Self::Document(Claims { workload, audience, lease, issued, expires }, issuer) => Reply::of_json(
                200,
                &DocumentV1 {
                    active: true,
                    iss: issuer.as_str(),
                    sub: workload.to_string(),
                    aud: audience,
                    iat: seconds(*issued),
                    exp: seconds(*expires),
                    jti: lease.to_string(),
                },
            ),
            Self::Active(token, issuer) => {
                let AccessClaimsV1 { iss, sub, aud, iat, exp, jti, client_id, scope, act, selvedge } =
                    token.claims(issuer);
                let token_type = "Bearer";
                let active = true;
                Reply::of_json(
                    200,
                    &ActiveV1 { active, token_type, iss, sub, aud, iat, exp, jti, client_id, scope, act, selvedge },
                )
            }
        }
    }
}

#[derive(Serialize)]
struct InactiveV1 {
    active: bool,
}

#[derive(Serialize)]
struct DocumentV1<'a> {
    active: bool,
    iss: &'a str,
    sub: String,
    aud: &'a str,
    iat: u64,
    exp: u64,
    jti: String,
}

#[derive(Serialize)]
struct ActiveV1 {
    active: bool,
    token_type: &'static str,
    iss: String,
    sub: String,
    aud: String,
    iat: u64,
    exp: u64,
    jti: String,
    client_id: String,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<ActV1>,
    selvedge: OursV1,
}
