//! The stand-ins of the lease engine's own tests, for runs of the real executable: what they refuse and count is the same, and is
//! written from what the vendors and the RFCs publish. None of it ran against a vendor's service.

#[path = "../../../credentials/tests/it/vendors/aws.rs"]
pub(crate) mod aws;
#[path = "../../../credentials/tests/it/vendors/federation.rs"]
pub(crate) mod federation;
#[path = "../../../credentials/tests/it/vendors/forgejo.rs"]
pub(crate) mod forgejo;
#[path = "../../../credentials/tests/it/vendors/github.rs"]
pub(crate) mod github;
#[path = "../../../credentials/tests/it/vendors/gitlab.rs"]
pub(crate) mod gitlab;

use std::collections::BTreeMap;
use std::sync::Mutex;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use selvedge_credentials::{Body, Errand};
use selvedge_domain::{Duration, Method, Time};
use serde_json::{Value, json};

use crate::world::ISSUER;

/// The audience that the OpenBao's and the authorisation server's trust is bound to.
pub(crate) const AUDIENCE: &str = "https://vendor.example";
/// How long their tokens live.
pub(crate) const LIVES: Duration = Duration::from_seconds(900);

/// What a stand-in does.
pub(crate) trait Service: Send + Sync {
    /// Answers as the service does.
    fn serve(&self, errand: &Errand, now: Time) -> (u16, Value);

    /// How many of its credentials it would accept now.
    fn live(&self, now: Time) -> usize;
}

/// Nobody is asked.
pub(crate) struct Nobody;

impl Service for Nobody {
    fn serve(&self, errand: &Errand, _: Time) -> (u16, Value) {
        panic!("nobody is asked for what is stored: {errand}")
    }

    fn live(&self, _: Time) -> usize {
        0
    }
}

/// An OpenBao, and an authorisation server: both trust our issuer, by the keys it publishes, for one audience.
pub(crate) struct Trusting {
    keys: JwkSet,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    /// Tokens, and when they die.
    tokens: BTreeMap<String, Time>,
    /// The one who has each lease.
    leases: BTreeMap<String, String>,
    made: usize,
}

impl Trusting {
    pub(crate) fn new(keys: &str) -> Self {
        Self { keys: serde_json::from_str(keys).unwrap(), shelf: Mutex::default() }
    }

    fn trusts(&self, document: &str, now: Time) -> bool {
        claims(&self.keys, document, AUDIENCE, now).is_ok()
    }

    fn exchange(&self, asked: &BTreeMap<String, String>, now: Time) -> (u16, Value) {
        let value = |name: &str| asked.get(name).map_or("", String::as_str);
        let known = ["grant_type", "subject_token", "subject_token_type", "requested_token_type", "audience", "scope"];
        let is_well = value("grant_type") == "urn:ietf:params:oauth:grant-type:token-exchange"
            && value("subject_token_type") == "urn:ietf:params:oauth:token-type:jwt"
            && value("scope") == "read write:one"
            && asked.keys().all(|name| known.contains(&name.as_str()));
        if !is_well || !self.trusts(value("subject_token"), now) {
            return (400, json!({ "error": "invalid_request" }));
        }
        let token = self.shelf.lock().unwrap().make("at.", now);
        (
            200,
            json!({
                "access_token": token, "token_type": "Bearer", "expires_in": LIVES.as_millis() / 1000,
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            }),
        )
    }
}

impl Shelf {
    fn make(&mut self, prefix: &str, now: Time) -> String {
        self.made += 1;
        let token = format!("{prefix}canary-{:08}-of-a-vendor", self.made);
        self.tokens.insert(token.clone(), now.after(LIVES));
        token
    }

    fn is_live(&self, token: &str, now: Time) -> bool {
        self.tokens.get(token).is_some_and(|dies| *dies > now)
    }
}

impl Service for Trusting {
    fn serve(&self, errand: &Errand, now: Time) -> (u16, Value) {
        let (is_json, body) = match &errand.body {
            Some(Body::Json(json)) => (true, String::from_utf8(json.expose().to_vec()).unwrap()),
            Some(Body::Form(form)) => (false, String::from_utf8(form.expose().to_vec()).unwrap()),
            None => (false, String::new()),
        };
        let token = errand.fields.iter().find(|(name, _)| *name == "x-vault-token");
        let token = token.map(|(_, token)| String::from_utf8(token.expose().to_vec()).unwrap()).unwrap_or_default();
        let is_live = self.shelf.lock().unwrap().is_live(&token, now);
        match (errand.method, errand.target.as_str()) {
            (Method::Post, "/v1/auth/jwt/login") if is_json && token.is_empty() => {
                let asked: Value = serde_json::from_str(&body).unwrap();
                let is_well = asked["role"] == "factory" && asked.as_object().unwrap().len() == 2;
                if !is_well || !self.trusts(asked["jwt"].as_str().unwrap_or_default(), now) {
                    return (400, json!({ "errors": ["error validating token"] }));
                }
                let token = self.shelf.lock().unwrap().make("hvs.", now);
                let lasts = LIVES.as_millis() / 1000;
                (200, json!({ "auth": { "client_token": token, "lease_duration": lasts } }))
            }
            (Method::Get, "/v1/database/creds/readonly") if is_live => {
                let lease = format!("database/creds/readonly/of-{token}");
                let data = json!({ "username": "v-1", "password": format!("password-of-{token}") });
                self.shelf.lock().unwrap().leases.insert(lease.clone(), token);
                (200, json!({ "lease_id": lease, "lease_duration": 600, "data": data }))
            }
            (Method::Put, "/v1/sys/leases/revoke") if is_json && is_live => {
                let asked: Value = serde_json::from_str(&body).unwrap();
                let lease = asked["lease_id"].as_str().unwrap_or_default();
                match self.shelf.lock().unwrap().leases.remove(lease) {
                    Some(_) => (204, Value::Null),
                    None => (400, json!({ "errors": ["invalid lease"] })),
                }
            }
            (Method::Post, "/v1/auth/token/revoke-self") if is_live => {
                self.shelf.lock().unwrap().tokens.remove(&token);
                (204, Value::Null)
            }
            (Method::Get, "/v1/auth/token/lookup-self") if is_live => (200, json!({ "data": { "id": "x" } })),
            (Method::Post, "/token") if !is_json => self.exchange(&pairs(&body), now),
            (Method::Post, "/revoke") if !is_json => {
                // RFC 7009 section 2.2: also a token that is not known is answered with 200.
                self.shelf.lock().unwrap().tokens.remove(pairs(&body).get("token").map_or("", String::as_str));
                (200, Value::Null)
            }
            (Method::Post, "/introspect") if !is_json => {
                let asked = pairs(&body);
                let token = asked.get("token").map_or("", String::as_str);
                (200, json!({ "active": self.shelf.lock().unwrap().is_live(token, now) }))
            }
            (_, target) if target.starts_with("/v1/") => (403, json!({ "errors": ["permission denied"] })),
            _ => (404, Value::Null),
        }
    }

    fn live(&self, now: Time) -> usize {
        self.shelf.lock().unwrap().tokens.values().filter(|dies| **dies > now).count()
    }
}

/// Why a document of ours is not believed.
pub(crate) enum Untrusted {
    Invalid,
    Expired,
}

/// What a document says that an issuer signed with a key it publishes, as a library reads it that is not ours.
pub(crate) fn claims(keys: &JwkSet, document: &str, audience: &str, now: Time) -> Result<Value, Untrusted> {
    let header = jsonwebtoken::decode_header(document).map_err(|_| Untrusted::Invalid)?;
    let key = keys.find(header.kid.as_deref().unwrap_or_default()).ok_or(Untrusted::Invalid)?;
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[audience]);
    validation.set_issuer(&[ISSUER]);
    validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
    validation.validate_exp = false;
    let key = DecodingKey::from_jwk(key).unwrap();
    let decoded = jsonwebtoken::decode::<Value>(document, &key, &validation);
    let claims = decoded.map_err(|_| Untrusted::Invalid)?.claims;
    let expires = claims["exp"].as_u64().ok_or(Untrusted::Invalid)?;
    if now.as_millis() / 1000 < expires { Ok(claims) } else { Err(Untrusted::Expired) }
}

pub(crate) fn pairs(body: &str) -> BTreeMap<String, String> {
    let decode = |text: &str| {
        let mut bytes = text.bytes();
        let mut decoded = Vec::new();
        while let Some(byte) = bytes.next() {
            decoded.push(match byte {
                b'%' => {
                    let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                b'+' => b' ',
                byte => byte,
            });
        }
        String::from_utf8(decoded).unwrap()
    };
    body.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (decode(name), decode(value))).collect()
}
