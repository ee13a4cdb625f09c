//! Strict stand-ins for services that cannot be had here, written from what their makers and the RFCs publish. Each refuses what
//! the service refuses, and counts by itself what is alive.

pub(crate) mod aws;
pub(crate) mod federation;
pub(crate) mod forgejo;
pub(crate) mod github;
pub(crate) mod gitlab;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use selvedge_credentials::{Body, Brought, Courier, CourierError, Errand, Reads, Verifier};
use selvedge_domain::{Duration, Method, Time};

use crate::world::{Disk, Fuse, ISSUER, Wired, issuer};

/// The audience the stand-ins' trust is bound to.
pub(crate) const AUDIENCE: &str = "https://vendor.example";
/// How long the stand-ins' tokens live.
pub(crate) const LIVES: Duration = Duration::from_seconds(900);

/// What a stand-in does instead of its duty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Its duty.
    Well,
    /// Nobody gets through.
    Down,
    /// It does what it is asked, and its answer does not arrive.
    Mute,
    /// It answers every request with this status.
    Status(u16),
    /// It answers every request with this status, and says when to come back.
    Later(u16),
    /// It answers every request with this status, and says this at that place of its answer.
    Says(u16, &'static str, &'static str),
    /// It answers `200` and nothing that makes sense.
    Nonsense,
}

/// How a stand-in is when it is asked for this target.
type Moods = Box<dyn Fn(&str) -> Mood + Send>;

/// What a stand-in does when it does its duty.
pub(crate) trait Service: Send + Sync {
    /// Answers as the service does.
    fn serve(&self, errand: &Errand, now: Time) -> (u16, serde_json::Value);

    /// How many of its credentials it would accept now.
    fn live(&self, now: Time) -> usize;
}

/// A service somewhere else.
pub(crate) struct Vendor {
    service: Box<dyn Service>,
    pub(crate) now: Mutex<Time>,
    mood: Mutex<Moods>,
    fuse: Arc<Fuse>,
}

impl Vendor {
    /// One whose every answer passes this fuse.
    pub(crate) fn new(service: Box<dyn Service>, fuse: Arc<Fuse>, now: Time) -> Arc<Self> {
        Arc::new(Self { service, now: Mutex::new(now), mood: Mutex::new(Box::new(|_| Mood::Well)), fuse })
    }

    /// The same service, met by a keeper whose power does not go.
    pub(crate) fn rewired(self: &Arc<Self>) -> Arc<Line> {
        Arc::new(Line(Arc::clone(self)))
    }

    pub(crate) fn be(&self, mood: impl Fn(&str) -> Mood + Send + 'static) {
        *self.mood.lock().unwrap() = Box::new(mood);
    }

    /// How many credentials it would accept now, by its own clock.
    pub(crate) fn live(&self) -> usize {
        self.service.live(*self.now.lock().unwrap())
    }

    fn serve(&self, errand: &Errand) -> (u16, serde_json::Value) {
        let now = *self.now.lock().unwrap();
        self.service.serve(errand, now)
    }
}

/// An OpenBao, and an authorisation server: both trust our issuer for one audience.
pub(crate) struct Trusting {
    verifier: Verifier,
    wired: Wired,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    /// Live tokens, when they die, and the leases made with each.
    tokens: BTreeMap<String, (Time, BTreeSet<String>)>,
    made: u64,
}

impl Trusting {
    pub(crate) fn new(disk: &Arc<Disk>) -> Box<Self> {
        let wired = Wired { disk: Arc::clone(disk), fuse: Fuse::new(crate::world::Cut::Never) };
        Box::new(Self { verifier: issuer(disk).verifier(), wired, shelf: Mutex::default() })
    }

    fn accepts(&self, document: &str, now: Time) -> bool {
        self.verifier.verify(document, AUDIENCE, now, &self.wired).is_ok()
    }

    fn make(&self, prefix: &str, now: Time) -> String {
        let dies = now.after(LIVES);
        let mut shelf = self.shelf.lock().unwrap();
        shelf.made += 1;
        let token = format!("{prefix}canary-{:08}-of-a-vendor", shelf.made);
        shelf.tokens.insert(token.clone(), (dies, BTreeSet::new()));
        token
    }

    fn with_token(
        &self,
        token: Option<&str>,
        now: Time,
        act: impl FnOnce(&mut Shelf, &str) -> (u16, serde_json::Value),
    ) -> (u16, serde_json::Value) {
        let mut shelf = self.shelf.lock().unwrap();
        match token {
            Some(token) if shelf.tokens.get(token).is_some_and(|(dies, _)| *dies > now) => act(&mut shelf, token),
            _ => (403, serde_json::json!({ "errors": ["permission denied"] })),
        }
    }
}

impl Service for Trusting {
    fn serve(&self, errand: &Errand, now: Time) -> (u16, serde_json::Value) {
        let refuse = |status: u16| (status, serde_json::json!({ "errors": ["refused"] }));
        let body = match &errand.body {
            Some(Body::Json(json) | Body::Form(json)) => String::from_utf8(json.expose().to_vec()).unwrap(),
            None => String::new(),
        };
        let token = errand.fields.iter().find(|(name, _)| *name == "x-vault-token");
        let token = token.map(|(_, token)| String::from_utf8(token.expose().to_vec()).unwrap());
        let is_json = matches!(errand.body, Some(Body::Json(_)));
        match (errand.method, errand.target.as_str()) {
            (Method::Post, "/v1/auth/jwt/login") if is_json && token.is_none() => {
                let asked: serde_json::Value = serde_json::from_str(&body).unwrap();
                if asked["role"] != "factory" || asked.as_object().unwrap().len() != 2 {
                    return refuse(400);
                }
                match self.accepts(asked["jwt"].as_str().unwrap_or_default(), now) {
                    true => {
                        let token = self.make("hvs.", now);
                        (200, serde_json::json!({ "auth": { "client_token": token, "lease_duration": LIVES.as_millis() / 1000 } }))
                    }
                    false => refuse(400),
                }
            }
            (Method::Get, "/v1/database/creds/readonly") => self.with_token(token.as_deref(), now, |shelf, token| {
                let lease = format!("database/creds/readonly/{}", shelf.made);
                shelf.tokens.get_mut(token).unwrap().1.insert(lease.clone());
                (200, serde_json::json!({ "lease_id": lease, "lease_duration": 600, "data": { "username": "v-1", "password": format!("pw-of-{token}") } }))
            }),
            (Method::Put, "/v1/sys/leases/revoke") if is_json => self.with_token(token.as_deref(), now, |shelf, token| {
                let asked: serde_json::Value = serde_json::from_str(&body).unwrap();
                match shelf.tokens.get_mut(token).unwrap().1.remove(asked["lease_id"].as_str().unwrap_or_default()) {
                    true => (204, serde_json::Value::Null),
                    false => (400, serde_json::json!({ "errors": ["invalid lease"] })),
                }
            }),
            (Method::Post, "/v1/auth/token/revoke-self") => self.with_token(token.as_deref(), now, |shelf, token| {
                shelf.tokens.remove(token);
                (204, serde_json::Value::Null)
            }),
            (Method::Get, "/v1/auth/token/lookup-self") => {
                self.with_token(token.as_deref(), now, |_, _| (200, serde_json::json!({ "data": { "id": "x" } })))
            }
            (Method::Post, "/token") if !is_json => {
                let pairs = pairs(&body);
                let is = |name: &str, value: &str| pairs.get(name).is_some_and(|found| found == value);
                let known = ["grant_type", "subject_token", "subject_token_type", "requested_token_type", "audience", "scope"];
                let asked_well = is("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
                    && is("subject_token_type", "urn:ietf:params:oauth:token-type:jwt")
                    && is("scope", "read write:one")
                    && pairs.keys().all(|name| known.contains(&name.as_str()));
                match asked_well && self.accepts(pairs.get("subject_token").map_or("", String::as_str), now) {
                    true => (200, serde_json::json!({
                        "access_token": self.make("at.", now), "token_type": "Bearer", "expires_in": LIVES.as_millis() / 1000,
                        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                    })),
                    false => (400, serde_json::json!({ "error": "invalid_request" })),
                }
            }
            (Method::Post, "/revoke") if !is_json => {
                // RFC 7009 section 2.2: also a token that is not known is answered with 200.
                self.shelf.lock().unwrap().tokens.remove(pairs(&body).get("token").map_or("", String::as_str));
                (200, serde_json::Value::Null)
            }
            (Method::Post, "/introspect") if !is_json => {
                let shelf = self.shelf.lock().unwrap();
                let found = pairs(&body).get("token").and_then(|token| shelf.tokens.get(token).cloned());
                (200, serde_json::json!({ "active": found.is_some_and(|(dies, _)| dies > now) }))
            }
            _ => refuse(404),
        }
    }

    fn live(&self, now: Time) -> usize {
        self.shelf.lock().unwrap().tokens.values().filter(|(dies, _)| *dies > now).count()
    }
}

/// A line to a service that nothing cuts.
pub(crate) struct Line(Arc<Vendor>);

impl Courier for Line {
    fn carry(&self, errand: &Errand) -> Result<Brought, CourierError> {
        Ok(brought(errand, self.0.serve(errand)))
    }
}

impl Courier for Vendor {
    fn carry(&self, errand: &Errand) -> Result<Brought, CourierError> {
        let mood = self.mood.lock().unwrap()(&errand.target);
        let lost = || CourierError::AnswerLost("the line went dead".to_owned());
        let answer = match mood {
            Mood::Down => return Err(CourierError::NotAsked("no address takes the connection".to_owned())),
            Mood::Status(status) => (status, serde_json::Value::Null),
            Mood::Later(status) => {
                let retry_after = Some(Duration::from_seconds(7));
                return Ok(Brought { status, retry_after, found: BTreeMap::new() });
            }
            Mood::Says(status, place, word) => {
                let said = selvedge_credentials::Secret::new(word.as_bytes().to_vec());
                return Ok(Brought { status, retry_after: None, found: [(place.to_owned(), said)].into() });
            }
            Mood::Nonsense => return Err(CourierError::AnswerLost("the answer is not JSON".to_owned())),
            Mood::Mute => {
                self.serve(errand);
                return Err(lost());
            }
            // Power may go before the question, or after it and before the answer.
            Mood::Well => self.fuse.act(|| self.serve(errand)).map_err(|_| lost())?,
        };
        Ok(brought(errand, answer))
    }
}

fn brought(errand: &Errand, (status, body): (u16, serde_json::Value)) -> Brought {
    let value = |pointer: &String| {
        let text = match body.pointer(pointer)? {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => return None,
            value => value.to_string(),
        };
        Some((pointer.clone(), selvedge_credentials::Secret::new(text.into_bytes())))
    };
    let count = |pointer: &String| {
        let members = match body.pointer(pointer)? {
            serde_json::Value::Array(list) => format!("[{}]", list.len()),
            serde_json::Value::Object(object) => format!("{{{}}}", object.len()),
            _ => return None,
        };
        Some((pointer.clone(), selvedge_credentials::Secret::new(members.into_bytes())))
    };
    let found = match (status, errand.reads) {
        (..300, _) => errand.wants.iter().filter_map(value).chain(errand.counts.iter().filter_map(count)).collect(),
        (300.., Reads::Xml { why }) => value(&why.to_owned()).into_iter().collect(),
        (300.., Reads::Json) => BTreeMap::new(),
    };
    Brought { status, retry_after: (status == 429).then_some(Duration::from_seconds(7)), found }
}

/// Why a document of ours is not believed.
pub(crate) enum Untrusted {
    Invalid,
    Expired,
}

/// What a document says that an issuer signed with a key it publishes, as a library reads it that is not ours. The clock is the
/// stand-in's own.
pub(crate) fn claims(keys: &JwkSet, document: &str, audience: &str, now: Time) -> Result<serde_json::Value, Untrusted> {
    let header = jsonwebtoken::decode_header(document).map_err(|_| Untrusted::Invalid)?;
    let key = keys.find(header.kid.as_deref().unwrap_or_default()).ok_or(Untrusted::Invalid)?;
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[audience]);
    validation.set_issuer(&[ISSUER]);
    validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
    validation.validate_exp = false;
    let key = DecodingKey::from_jwk(key).unwrap();
    let decoded = jsonwebtoken::decode::<serde_json::Value>(document, &key, &validation);
    let claims = decoded.map_err(|_| Untrusted::Invalid)?.claims;
    let second = |name: &str| claims[name].as_u64().ok_or(Untrusted::Invalid);
    let (issued, expires, now) = (second("iat")?, second("exp")?, now.as_millis() / 1000);
    match (issued <= now, now < expires) {
        (true, true) => Ok(claims),
        (true, false) => Err(Untrusted::Expired),
        (false, _) => Err(Untrusted::Invalid),
    }
}

fn pairs(body: &str) -> BTreeMap<String, String> {
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
