//! Token exchange (RFC 8693). A run shows a token of its own and gets one that carries less, for itself or, with the child's
//! identity document as the actor token, for a child. In two steps, because nothing is signed without a permit: what was asked is
//! brought into an order, and the permit for that order is brought back.

use std::collections::BTreeMap;

use selvedge_authority::Permit;
use selvedge_domain::orders::Delegate;
use selvedge_domain::{Grant, LeaseId, RepoName, Time, WorkloadId};
use serde::Serialize;

use super::access::{moment, seconds};
use super::form::Form;
use super::refusal::{Code, Refusal};
use super::{AccessToken, Link, Reply, TaskContext, TokenEndpoint, scope};
use crate::jwt::Kind;
use crate::verifier::lives;
use crate::{Claims, OWN_AUDIENCE, SVID_LIFETIME_MAX, Secret, Why};

/// How many times authority may be handed on: planner, retriever, executor. Deeper chains are cut rather than trusted, and each
/// link is in every token below it.
pub const DELEGATION_DEPTH_MAX: u32 = 3;

pub(super) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The run that asks, as the keeper knows it. Nothing in a request is any of this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Who it is.
    pub workload: WorkloadId,
    /// On whose behalf it works.
    pub repo: RepoName,
    /// What it may use now, and until when.
    pub grant: Grant,
    /// How many times the authority it has was handed on before it got there.
    pub depth: u32,
    /// What is left of its budget, in millionths of the unit the operator counts in. Counted by the keeper, from the orders on
    /// record; what a token says it may spend only bounds that.
    pub budget_left: u64,
    /// What was handed on already of the access tokens it was given, by their leases, counted in the same way.
    pub handed_on: BTreeMap<LeaseId, u64>,
    /// What its work is for.
    pub context: TaskContext,
}

/// A request that asks for no more than there is, as the order that has to be allowed before a token is signed.
#[derive(Debug)]
#[must_use = "have `order` permitted, then `TokenEndpoint::issue`"]
pub struct Considered {
    order: Delegate,
    chain: Vec<Link>,
    context: TaskContext,
}

/// A token that was signed.
#[derive(Debug)]
pub struct Issued {
    /// The token.
    pub token: Secret,
    /// What it says.
    pub says: AccessToken,
}

/// The token that is exchanged.
enum Subject {
    Svid(Claims),
    Access(Box<AccessToken>),
}

impl TokenEndpoint {
    /// Reads a request of `parent` and checks it against all that the run holds. `lease` is the one the token will stand for.
    pub fn consider(&self, body: &[u8], parent: &Parent, lease: LeaseId, now: Time) -> Result<Considered, Refusal> {
        let form = Form::parse(body)?;
        if form.need("grant_type")? != GRANT_TYPE {
            return Err(Refusal::new(Code::UnsupportedGrantType, "use the grant type of token exchange (RFC 8693)"));
        }
        if form.one("requested_token_type").is_some_and(|wanted| wanted != ACCESS_TOKEN) {
            return Err(Refusal::new(Code::InvalidRequest, "only access tokens are issued; ask for one"));
        }
        let subject = self.subject(&form, parent, now)?;
        let to = self.actor(&form, now)?;
        let audience = target(&form, parent, &subject)?;
        let depth = parent.depth.max(subject.depth()).saturating_add(1);
        if depth > DELEGATION_DEPTH_MAX {
            let next_step = "this authority was handed on as often as it may be; work with the token there is";
            return Err(Refusal::new(Code::InvalidRequest, next_step));
        }
        let latest = [now.after(SVID_LIFETIME_MAX), parent.grant.until, subject.expires()];
        let until = latest.into_iter().chain(to.as_ref().map(|to| to.expires)).min().unwrap_or(now);
        // Whole seconds, rounded down: never later than was allowed.
        let until = moment(seconds(until));
        if until <= now {
            return Err(Refusal::new(Code::InvalidRequest, "it would have expired already; get a new document first"));
        }
        let order = Delegate {
            lease,
            from: subject.lease().clone(),
            run: parent.workload.run().clone(),
            repo: parent.repo.clone(),
            to: to.map_or_else(|| parent.workload.clone(), |to| to.workload),
            audience,
            grant: narrower(&form, parent, &subject, until)?,
            ttl_seconds: seconds(until).saturating_sub(seconds(now)),
            depth,
            budget: budget(&form, parent, &subject)?,
        };
        let (chain, context) = subject.handed_on(parent);
        Ok(Considered { order, chain, context })
    }

    /// Signs the token that was considered, if this is the permit for it.
    pub fn issue(&self, permit: &Permit<Delegate>, considered: Considered, now: Time) -> Result<Issued, Refusal> {
        let Considered { order, chain, context } = considered;
        if *permit.order() != order {
            return Err(Refusal::new(Code::UnauthorizedClient, "another request was permitted; ask again"));
        }
        // The clock may have been set back since.
        let until = order.grant.until.min(moment(seconds(now.after(SVID_LIFETIME_MAX))));
        let says = AccessToken {
            holder: order.to,
            audience: order.audience,
            lease: order.lease,
            issued: moment(seconds(now)),
            grant: Grant { until, ..order.grant },
            chain,
            context,
            depth: order.depth,
            budget: order.budget,
        };
        if says.grant.until <= now {
            return Err(Refusal::new(Code::InvalidRequest, "it would have expired already; get a new document first"));
        }
        // A halt may have been faster than this thread.
        says.leases().try_for_each(|lease| lives(lease, &*self.list)).map_err(|why| not_accepted(&why))?;
        let token = self.issuer.sign_access(permit, &says.claims(self.issuer.name()));
        let token = token.map_err(|_library| Refusal::unavailable())?;
        if token.expose().len() > Kind::Access.bytes_max() {
            return Err(Refusal::new(Code::InvalidScope, "the token would be too long; ask for fewer scopes"));
        }
        Ok(Issued { token, says })
    }

    /// The token that is exchanged: one of the run that asks, alive, and of the type it says.
    fn subject(&self, form: &Form, parent: &Parent, now: Time) -> Result<Subject, Refusal> {
        let token = form.need("subject_token")?;
        let verifier = self.issuer.verifier();
        let read = match form.need("subject_token_type")? {
            JWT => {
                verifier.verify(token, OWN_AUDIENCE, now, &*self.list).map(Subject::Svid).map_err(|refused| refused.why)
            }
            ACCESS_TOKEN => verifier.live_access(token, now, &*self.list).map(|token| Subject::Access(Box::new(token))),
            _ => {
                let next_step = "the subject token is an identity document (jwt) or an access token; name its type";
                return Err(Refusal::new(Code::InvalidRequest, next_step));
            }
        };
        let subject = read.map_err(|why| not_accepted(&why))?;
        if *subject.holder() == parent.workload {
            Ok(subject)
        } else {
            Err(Refusal::new(Code::InvalidRequest, "the subject token is another run's; send one of your own"))
        }
    }

    /// Who is to have the token, when that is another: whoever the actor token identifies.
    fn actor(&self, form: &Form, now: Time) -> Result<Option<Claims>, Refusal> {
        match (form.one("actor_token"), form.one("actor_token_type")) {
            (None, None) => Ok(None),
            (Some(token), Some(JWT)) => {
                let read = self.issuer.verifier().verify(token, OWN_AUDIENCE, now, &*self.list);
                read.map(Some).map_err(|refused| not_accepted(&refused.why))
            }
            (Some(_), _) | (None, Some(_)) => {
                let next_step = "the actor token is an identity document (jwt); send it with its type, or neither";
                Err(Refusal::new(Code::InvalidRequest, next_step))
            }
        }
    }
}

/// Who the token is for: one audience, so that nobody it is shown to can use it against another.
fn target(form: &Form, parent: &Parent, subject: &Subject) -> Result<String, Refusal> {
    let refuse = |next_step| Err(Refusal::new(Code::InvalidTarget, next_step));
    let mut named = form.all("audience").chain(form.all("resource"));
    let (Some(audience), None) = (named.next(), named.next()) else {
        return refuse("name one audience or resource that the token is for");
    };
    let is_resource = form.one("resource").is_some();
    // RFC 8707 section 2: an absolute URI without a fragment.
    if is_resource && (!audience.contains(':') || audience.contains('#')) {
        return refuse("a resource is an absolute URI without a fragment; name it so, or as an audience");
    }
    let granted = audience == OWN_AUDIENCE || parent.grant.audiences.contains(audience);
    if granted && subject.may_speak_to(audience) {
        Ok(audience.to_owned())
    } else {
        refuse("the audience is not among those granted; name another, or ask the agent's owner for it")
    }
}

/// What the token carries: what was asked for, if both the run and the token it shows hold it.
fn narrower(form: &Form, parent: &Parent, subject: &Subject, until: Time) -> Result<Grant, Refusal> {
    let refuse = |next_step| Refusal::new(Code::InvalidScope, next_step);
    let scope = form.one("scope").ok_or_else(|| refuse("name the scopes that are needed; nothing is given unasked"))?;
    let wanted = scope::read(scope, until).ok_or_else(|| refuse("a scope cannot be read; write each as documented"))?;
    let held = parent.grant.contains(&wanted) && subject.grant().is_none_or(|grant| grant.contains(&wanted));
    if held { Ok(wanted) } else { Err(refuse("the scope is wider than what is held; ask for less")) }
}

/// What the token may spend: what was asked for in our own parameter `budget`, or nothing.
fn budget(form: &Form, parent: &Parent, subject: &Subject) -> Result<u64, Refusal> {
    let handed_on = parent.handed_on.get(subject.lease()).copied().unwrap_or(0);
    let left = match subject {
        Subject::Svid(_) => parent.budget_left,
        Subject::Access(token) => parent.budget_left.min(token.budget.saturating_sub(handed_on)),
    };
    budget_of(form, left)
}

/// A budget that is asked for, if that much is left.
pub(super) fn budget_of(form: &Form, left: u64) -> Result<u64, Refusal> {
    let Some(text) = form.one("budget") else { return Ok(0) };
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    let wanted: Option<u64> = text.parse().ok().filter(|_| is_number);
    let wanted = wanted.ok_or_else(|| Refusal::new(Code::InvalidRequest, "the budget is a whole number; send one"))?;
    if wanted <= left {
        Ok(wanted)
    } else {
        Err(Refusal::new(Code::InvalidScope, "the budget is more than is left; ask for less"))
    }
}

/// A token that does not do. Which of the reasons it was is for the record, not for whoever tries tokens.
fn not_accepted(why: &Why) -> Refusal {
    match why {
        Why::RevocationUnknown(_) => Refusal::unavailable(),
        _ => Refusal::new(Code::InvalidRequest, "a token is not accepted; send live ones of the types named"),
    }
}

impl Subject {
    fn holder(&self) -> &WorkloadId {
        match self {
            Self::Svid(claims) => &claims.workload,
            Self::Access(token) => &token.holder,
        }
    }

    fn expires(&self) -> Time {
        match self {
            Self::Svid(claims) => claims.expires,
            Self::Access(token) => token.grant.until,
        }
    }

    /// An identity document bounds nothing but who and until when.
    fn grant(&self) -> Option<&Grant> {
        match self {
            Self::Svid(_) => None,
            Self::Access(token) => Some(&token.grant),
        }
    }

    fn depth(&self) -> u32 {
        match self {
            Self::Svid(_) => 0,
            Self::Access(token) => token.depth,
        }
    }

    fn lease(&self) -> &LeaseId {
        match self {
            Self::Svid(claims) => &claims.lease,
            Self::Access(token) => &token.lease,
        }
    }

    fn may_speak_to(&self, audience: &str) -> bool {
        match self {
            Self::Svid(_) => true,
            Self::Access(token) => token.audience == audience || token.grant.audiences.contains(audience),
        }
    }

    /// What the new token will say of where it comes from. The context stays that of the work the authority is for.
    fn handed_on(self, parent: &Parent) -> (Vec<Link>, TaskContext) {
        match self {
            Self::Svid(Claims { lease, workload, .. }) => {
                (vec![Link { lease, holder: workload }], parent.context.clone())
            }
            Self::Access(token) => {
                let AccessToken { lease, holder, chain, context, .. } = *token;
                (std::iter::once(Link { lease, holder }).chain(chain).collect(), context)
            }
        }
    }
}

impl Considered {
    /// What has to be permitted: by the run's own grant, by policy, and on record.
    pub fn order(&self) -> &Delegate {
        &self.order
    }
}

impl Issued {
    /// The answer (RFC 8693 section 2.2.1).
    pub fn reply(&self, now: Time) -> Reply {
        let Self { token, says } = self;
        Reply::of_json(
            200,
            &IssuedV1 {
                access_token: &String::from_utf8_lossy(token.expose()),
                issued_token_type: ACCESS_TOKEN,
                token_type: "Bearer",
                expires_in: says.grant.until.since(now).as_millis() / 1000,
                scope: &scope::write(&says.grant),
            },
        )
    }
}

#[derive(Serialize)]
struct IssuedV1<'a> {
    access_token: &'a str,
    issued_token_type: &'static str,
    token_type: &'static str,
    expires_in: u64,
    scope: &'a str,
}
