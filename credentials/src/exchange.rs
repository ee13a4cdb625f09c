//! Tokens of any authorisation server that trusts our issuer: OAuth 2.0 Token Exchange (RFC 8693) with the run's own identity
//! document, revocation (RFC 7009) and introspection (RFC 7662) where the server has them; and the exchanges that vendors of models
//! have made of it, as they publish them (Anthropic's Workload Identity Federation, OpenAI's).
//!
//! A server without a revocation endpoint makes tokens that only expire, and leases of them say so. Checked against stand-ins
//! written from these RFCs and pages; not run against any vendor's service.

use std::fmt;
use std::sync::Arc;

use selvedge_authority::Permit;
use selvedge_domain::orders::MintCredential;
use selvedge_domain::{CredentialName, Duration, Endpoint, Method, Revocation, Time, WorkloadId};

use crate::errand::{Body, Brought, Courier, Errand, Reads, form};
use crate::{Credential, Fresh, Handle, Issuer, Lost, Probe, Provider, ProviderError, SVID_LIFETIME_MAX, Secret};

/// How long the document we exchange lives: one exchange.
const SUBJECT_LIFETIME: Duration = Duration::from_seconds(60);

/// Servers' clocks differ from ours by up to this much, and a token that only expires is waited for accordingly.
const FOREIGN_LEEWAY: Duration = Duration::from_seconds(60);

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const BEARER_GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A page of an authorisation server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Its path.
    pub path: String,
}

/// An authorisation server and what it gives, as the operator configured it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeSettings {
    /// The credential it gives.
    pub credential: CredentialName,
    /// Its token endpoint.
    pub token: Page,
    /// Its revocation endpoint, if it has one.
    pub revocation: Option<Page>,
    /// Its introspection endpoint, if it has one: a revoked token is tried there.
    pub introspection: Option<Page>,
    /// The audience our document is for: the server.
    pub server: String,
    /// What is asked of it.
    pub asks: Asks,
    /// The longest a token lives: one whose answer is lost is dead after this.
    pub token_lives_at_most: Duration,
}

/// What an exchange asks for, and in whose words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asks {
    /// RFC 8693, as a form.
    Exchange {
        /// The audience the token is for, if the server asks for one.
        audience: Option<String>,
        /// The scopes asked for, separated by spaces.
        scope: Option<String>,
    },
    /// RFC 7523 with what Anthropic adds, in JSON.
    Anthropic {
        /// The federation rule that is to match.
        rule: String,
        /// The organization.
        organization: String,
        /// The service account the token acts as.
        account: String,
        /// The workspace it is for; none where the rule is enabled for one alone.
        workspace: Option<String>,
    },
    /// RFC 8693 with what OpenAI adds, in JSON. A token there never outlives the document it was made with.
    OpenAi {
        /// The workload identity provider that knows our issuer.
        provider: String,
        /// The service account the token acts as.
        account: String,
    },
}

/// Exchanges documents for tokens.
pub struct Exchange {
    name: String,
    settings: ExchangeSettings,
    issuer: Arc<Issuer>,
    courier: Arc<dyn Courier>,
}

impl Exchange {
    /// Exchanges documents of `issuer`, and asks through `courier`.
    pub fn new(settings: ExchangeSettings, issuer: Arc<Issuer>, courier: Arc<dyn Courier>) -> Self {
        Self { name: format!("{}:{}", settings.asks.kind(), settings.credential), settings, issuer, courier }
    }

    fn post(&self, page: &Page, pairs: &[(&str, &str)], wants: &[&str]) -> Result<Brought, ProviderError> {
        self.send(page, Body::Form(form(pairs)), wants)
    }

    fn send(&self, page: &Page, body: Body, wants: &[&str]) -> Result<Brought, ProviderError> {
        let brought = self.courier.carry(&Errand {
            endpoint: page.endpoint.clone(),
            method: Method::Post,
            target: page.path.clone(),
            fields: Vec::new(),
            body: Some(body),
            wants: wants.iter().map(|pointer| (*pointer).to_owned()).collect(),
            counts: Vec::new(),
            reads: Reads::Json,
        })?;
        Ok(brought)
    }

    fn introspect(&self, page: &Page, token: &str) -> Probe {
        match self.post(page, &[("token", token)], &["/active"]) {
            Ok(brought) if brought.text("/active") == Some("false") => Probe::Dead,
            Ok(brought) if brought.text("/active") == Some("true") => Probe::Alive,
            Ok(brought) => Probe::Unknown(format!("the introspection answered with status {}", brought.status)),
            Err(error) => Probe::Unknown(error.to_string()),
        }
    }

    /// When a token that only expires is certainly refused.
    fn dies(&self, expires: Time) -> Revocation {
        match self.settings.revocation {
            Some(_) => Revocation::Immediate,
            None => Revocation::ExpiryOnly(expires.after(FOREIGN_LEEWAY)),
        }
    }
}

impl Provider for Exchange {
    fn name(&self) -> &str {
        &self.name
    }

    fn serves(&self, order: &MintCredential) -> bool {
        order.credential.as_ref() == Some(&self.settings.credential)
    }

    fn mint(&self, permit: &Permit<MintCredential>, holder: &WorkloadId, now: Time) -> Result<Fresh, ProviderError> {
        let ExchangeSettings { token, server, asks, token_lives_at_most, .. } = &self.settings;
        let signed = self.issuer.sign_for(permit, holder, server, asks.document_lives(), now);
        let (document, _) = signed.map_err(|error| ProviderError::new(error).that_made_nothing())?;
        let asked = asks.with(&String::from_utf8_lossy(document.expose()));
        let brought = self.send(token, asked, &["/access_token", "/expires_in", "/scope"])?;
        if !brought.is_done() {
            return Err(brought.refusal("the exchange was refused"));
        }
        let made = brought.text("/access_token").filter(|made| !made.is_empty());
        // It made something, and we do not know what.
        let made = made.ok_or_else(|| ProviderError::new("the exchange was answered without a token"))?;
        // An introspection that does not know what was just made would later call it dead while it lives.
        if let Some(page) = &self.settings.introspection
            && self.introspect(page, made) != Probe::Alive
        {
            if let Some(page) = &self.settings.revocation {
                let _dies_with_its_time = self.post(page, &[("token", made)], &[]);
            }
            let because = "its introspection does not know the token it just made: check the endpoint, or leave it out";
            return Err(ProviderError::lasting(because));
        }
        let lives = brought.number("/expires_in").map_or(*token_lives_at_most, Duration::from_seconds);
        let (secret, handle) = (made.as_bytes().to_vec(), made.as_bytes().to_vec());
        Ok(Fresh {
            secret: Secret::new(secret),
            handle: Handle::new(Secret::new(handle)),
            revocation: self.dies(now.after(lives)),
            expires: permit.order().until.min(now.after(lives)),
        })
    }

    fn revoke(&self, credential: &Credential<'_>, _: Time) -> Result<(), ProviderError> {
        let (Some(page), Some(token)) = (&self.settings.revocation, credential.handle.and_then(text)) else {
            return Ok(());
        };
        let brought = self.post(page, &[("token", token), ("token_type_hint", "access_token")], &[])?;
        // RFC 7009 section 2.2: also for a token the server does not know.
        if brought.is_done() { Ok(()) } else { Err(brought.refusal("the token was not revoked")) }
    }

    /// Without introspection nothing can be tried; the server's own yes to the revocation has to do, and says no more than that.
    fn probe(&self, credential: &Credential<'_>, _: Time) -> Probe {
        let Some(token) = credential.handle.and_then(text) else {
            return Probe::Unknown("the answer to the exchange was lost".to_owned());
        };
        match (&self.settings.introspection, &self.settings.revocation) {
            (Some(page), _) => self.introspect(page, token),
            // What revoking it comes to is asked before this: an error there keeps the lease open.
            (None, Some(page)) => {
                match self.post(page, &[("token", token), ("token_type_hint", "access_token")], &[]) {
                    Ok(brought) if brought.is_done() => Probe::Dead,
                    Ok(brought) => Probe::Unknown(format!("the revocation answered with status {}", brought.status)),
                    Err(error) => Probe::Unknown(error.to_string()),
                }
            }
            // It can only expire; the engine waits for that and asks for no proof before.
            (None, None) => Probe::Dead,
        }
    }

    fn lost(&self, begun: Time) -> Lost {
        let ExchangeSettings { asks, token_lives_at_most, .. } = &self.settings;
        Lost::DiesAt(begun.after(asks.document_lives()).after(*token_lives_at_most).after(FOREIGN_LEEWAY))
    }
}

impl Asks {
    /// Its name in sealed records.
    fn kind(&self) -> &'static str {
        match self {
            Self::Exchange { .. } => "oauth",
            Self::Anthropic { .. } => "anthropic",
            Self::OpenAi { .. } => "openai",
        }
    }

    /// How long the document lives that is exchanged.
    fn document_lives(&self) -> Duration {
        match self {
            Self::Exchange { .. } | Self::Anthropic { .. } => SUBJECT_LIFETIME,
            // As long as the token is to live; no document of ours lives longer.
            Self::OpenAi { .. } => SVID_LIFETIME_MAX,
        }
    }

    /// The request, with the document that proves who asks.
    fn with(&self, document: &str) -> Body {
        match self {
            Self::Exchange { audience, scope } => {
                let mut pairs = vec![
                    ("grant_type", GRANT),
                    ("subject_token", document),
                    ("subject_token_type", JWT),
                    ("requested_token_type", ACCESS_TOKEN),
                ];
                pairs.extend(audience.iter().map(|audience| ("audience", audience.as_str())));
                pairs.extend(scope.iter().map(|scope| ("scope", scope.as_str())));
                Body::Form(form(&pairs))
            }
            Self::Anthropic { rule, organization, account, workspace } => {
                let mut asked = serde_json::json!({
                    "grant_type": BEARER_GRANT, "assertion": document, "federation_rule_id": rule,
                    "organization_id": organization, "service_account_id": account,
                });
                if let (Some(workspace), Some(members)) = (workspace, asked.as_object_mut()) {
                    members.insert("workspace_id".to_owned(), workspace.as_str().into());
                }
                Body::Json(Secret::new(asked.to_string().into_bytes()))
            }
            Self::OpenAi { provider, account } => {
                let asked = serde_json::json!({
                    "grant_type": GRANT, "subject_token": document, "subject_token_type": JWT,
                    "identity_provider_id": provider, "service_account_id": account,
                });
                Body::Json(Secret::new(asked.to_string().into_bytes()))
            }
        }
    }
}

fn text(handle: &Handle) -> Option<&str> {
    std::str::from_utf8(handle.expose()).ok()
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exchange({})", self.settings.credential)
    }
}
