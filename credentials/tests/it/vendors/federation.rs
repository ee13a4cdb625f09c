//! Strict stand-ins for the token endpoints of two vendors of models, written from the pages they publish. Each trusts an issuer by
//! the keys that issuer publishes, and takes no member it does not know.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use jsonwebtoken::jwk::JwkSet;
use selvedge_credentials::{Body, Errand, Reads};
use selvedge_domain::{Duration, Method, Time};
use serde_json::{Value, json};

use super::{LIVES, Service, claims};
use crate::world::{Disk, TRUST_DOMAIN, issuer};

/// What the operator set up at Anthropic.
pub(crate) const RULE: &str = "fdrl_01canary";
pub(crate) const ORGANIZATION: &str = "00000000-0000-4000-8000-000000000000";
pub(crate) const ACCOUNT: &str = "svac_01canary";
pub(crate) const WORKSPACE: &str = "wrkspc_01canary";
/// And at OpenAI.
pub(crate) const PROVIDER: &str = "idp_01canary";

/// The audience that both expect.
pub(crate) const AUDIENCE: &str = "https://models.example";

/// Whose endpoint it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Maker {
    Anthropic,
    OpenAi,
}

/// One endpoint.
pub(crate) struct Federation {
    maker: Maker,
    keys: JwkSet,
    tokens: Mutex<Vec<Time>>,
    /// Documents that were shown: at Anthropic each is good once.
    shown: Mutex<BTreeSet<String>>,
}

impl Federation {
    pub(crate) fn new(maker: Maker, disk: &Arc<Disk>) -> Arc<Self> {
        let keys = serde_json::from_str(&issuer(disk).jwks()).unwrap();
        Arc::new(Self { maker, keys, tokens: Mutex::default(), shown: Mutex::default() })
    }

    fn exchange(&self, asked: &Value, now: Time) -> Result<Value, u16> {
        let members = asked.as_object().ok_or(400_u16)?;
        let is = |name: &str, value: &str| asked[name] == value;
        let (document, known, is_well) = match self.maker {
            Maker::Anthropic => (
                "assertion",
                &[
                    "grant_type",
                    "assertion",
                    "federation_rule_id",
                    "organization_id",
                    "service_account_id",
                    "workspace_id",
                ][..],
                is("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
                    && is("federation_rule_id", RULE)
                    && is("organization_id", ORGANIZATION)
                    && is("service_account_id", ACCOUNT)
                    // The rule is enabled for more than one.
                    && is("workspace_id", WORKSPACE),
            ),
            Maker::OpenAi => (
                "subject_token",
                &["grant_type", "subject_token_type", "subject_token", "identity_provider_id", "service_account_id"][..],
                is("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
                    && is("subject_token_type", "urn:ietf:params:oauth:token-type:jwt")
                    && is("identity_provider_id", PROVIDER)
                    && is("service_account_id", ACCOUNT),
            ),
        };
        if !members.keys().all(|name| known.contains(&name.as_str())) || !asked[document].is_string() {
            return Err(400);
        }
        let claims = claims(&self.keys, asked[document].as_str().unwrap(), AUDIENCE, now).map_err(|_| 401_u16)?;
        let subject = claims["sub"].as_str().unwrap_or_default();
        let is_ours =
            subject.starts_with(&format!("spiffe://{TRUST_DOMAIN}/run/")) && subject.ends_with("/agent/fixer");
        let is_new = self.shown.lock().unwrap().insert(claims["jti"].as_str().ok_or(401_u16)?.to_owned());
        if !is_well || !is_ours || (self.maker == Maker::Anthropic && !is_new) {
            return Err(401);
        }
        let seconds = match self.maker {
            Maker::Anthropic => LIVES.as_millis() / 1000,
            // A token never outlives the document it was made with.
            Maker::OpenAi => 3600.min(claims["exp"].as_u64().unwrap() - now.as_millis() / 1000),
        };
        let mut tokens = self.tokens.lock().unwrap();
        tokens.push(Time::from_millis(now.as_millis() / 1000 * 1000).after(Duration::from_seconds(seconds)));
        let token = format!("sk-ant-oat01-canary-{:08}", tokens.len());
        Ok(
            json!({ "access_token": token, "token_type": "Bearer", "expires_in": seconds, "scope": "workspace:developer" }),
        )
    }
}

impl Service for Arc<Federation> {
    fn serve(&self, errand: &Errand, now: Time) -> (u16, Value) {
        let is_asked = errand.method == Method::Post && errand.target == "/v1/oauth/token" && errand.fields.is_empty();
        match &errand.body {
            Some(Body::Json(asked)) if is_asked && errand.reads == Reads::Json => {
                let made = self.exchange(&serde_json::from_slice(asked.expose()).unwrap(), now);
                made.map_or_else(
                    |status| (status, json!({ "error": { "type": "authentication_error" } })),
                    |made| (200, made),
                )
            }
            _ => (404, Value::Null),
        }
    }

    fn live(&self, now: Time) -> usize {
        self.tokens.lock().unwrap().iter().filter(|dies| **dies > now).count()
    }
}
