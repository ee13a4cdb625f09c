//! A strict stand-in for GitHub's API as far as installation access tokens go, at an Enterprise Server's address. Its App's key is
//! checked by a JWT library that is not ours.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use selvedge_credentials::{Body, Errand};
use selvedge_domain::{Duration, Method, Time};
use serde_json::{Value, json};

use super::Service;

/// The App, its installation, and what that installation was granted.
pub(crate) const APP: &str = "Iv23liCanaryApp";
pub(crate) const INSTALLATION: u64 = 678;
const GRANTED: [(&str, &str); 3] = [("contents", "write"), ("pull_requests", "write"), ("metadata", "read")];
const REPOSITORIES: [&str; 3] = ["Shop", "site", "secrets"];

/// How it gives more than it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Generous {
    #[default]
    No,
    /// A permission nobody asked for.
    Permission,
    /// A higher level than was asked for.
    Level,
    /// Every repository, and says so.
    All,
    /// Another repository, and does not say so.
    Another,
    /// The right repository and one more, and does not say so.
    OneMore,
    /// As many as it was asked for, without their names.
    Nameless,
}

/// GitHub.
#[derive(Default)]
pub(crate) struct Github {
    tokens: Mutex<BTreeMap<String, (Time, Vec<&'static str>)>>,
    made: Mutex<u64>,
    pub(crate) generous: Mutex<Generous>,
}

/// The App's key: one for all tests, for it takes a while to make.
pub(crate) fn app_key() -> &'static KeyPair {
    static KEY: OnceLock<KeyPair> = OnceLock::new();
    KEY.get_or_init(|| KeyPair::generate(KeySize::Rsa2048).unwrap())
}

/// The key as PKCS #8 in PEM.
pub(crate) fn pkcs8_pem() -> String {
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(app_key()).unwrap();
    pem("PRIVATE KEY", der.as_ref())
}

/// The key as GitHub gives it out: PKCS #1, which stands inside PKCS #8 behind 26 bytes that say that it is RSA.
pub(crate) fn pkcs1_pem() -> String {
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(app_key()).unwrap();
    pem("RSA PRIVATE KEY", &der.as_ref()[26..])
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Whether this shows that the App asks: RFC 7519, and the times GitHub takes.
fn is_the_app(token: &str, now: Time) -> bool {
    let mut validation = Validation::new(Algorithm::RS256);
    (validation.validate_exp, validation.validate_aud) = (false, false);
    validation.set_required_spec_claims(&["exp", "iat", "iss"]);
    validation.set_issuer(&[APP]);
    let key = DecodingKey::from_rsa_der(app_key().public_key().as_ref());
    let Ok(token) = jsonwebtoken::decode::<Value>(token, &key, &validation) else { return false };
    let now = now.as_millis() / 1000;
    let (issued, expires) = (token.claims["iat"].as_u64().unwrap(), token.claims["exp"].as_u64().unwrap());
    // Its clock is half a minute behind ours.
    issued <= now - 30 && expires > now && expires <= now + 600 && token.claims.as_object().unwrap().len() == 3
}

impl Github {
    fn make(&self, asked: &Value, now: Time) -> (u16, Value) {
        let refuse = (422, json!({ "message": "There is at least one permission or repository that does not exist" }));
        if !asked.as_object().unwrap().keys().all(|key| key == "repositories" || key == "permissions") {
            return refuse;
        }
        let Some(names) = asked["repositories"].as_array() else { return refuse };
        let known = |name: &Value| {
            REPOSITORIES.into_iter().find(|known| known.eq_ignore_ascii_case(name.as_str().unwrap_or_default()))
        };
        let Some(mut names) = names.iter().map(known).collect::<Option<Vec<&str>>>() else { return refuse };
        let mut permissions = BTreeMap::from([("metadata".to_owned(), "read".to_owned())]);
        for (name, level) in asked["permissions"].as_object().unwrap() {
            let level = level.as_str().unwrap();
            let is_granted = |(known, most): (&str, &str)| known == name && (most == level || most == "write");
            if !matches!(level, "read" | "write") || !GRANTED.into_iter().any(is_granted) {
                return refuse;
            }
            permissions.insert(name.clone(), level.to_owned());
        }
        let mut selection = "selected";
        match *self.generous.lock().unwrap() {
            Generous::No | Generous::Nameless => {}
            Generous::Permission => drop(permissions.insert("administration".to_owned(), "read".to_owned())),
            Generous::Level => drop(permissions.insert("contents".to_owned(), "write".to_owned())),
            Generous::All => (selection, names) = ("all", REPOSITORIES.to_vec()),
            Generous::Another => names = vec!["secrets"],
            Generous::OneMore => names.push("secrets"),
        }
        let mut made = self.made.lock().unwrap();
        *made += 1;
        // Both forms that are about: forty characters, and since 2026 some 520 with dots and dashes.
        let token = match *made % 2 {
            1 => format!("ghs_{:a>36}", format!("canary{:08}", *made)),
            _ => format!("ghs_123456_eyJhbGciOiJFUzI1NiJ9.{:A>440}.{:-<40}", format!("canary{:08}", *made), "sig_"),
        };
        self.tokens.lock().unwrap().insert(token.clone(), (now.after(Duration::from_seconds(3600)), names.clone()));
        (
            201,
            json!({
                "token": token, "expires_at": now.after(Duration::from_seconds(3600)).to_string(), "permissions": permissions,
                "repository_selection": selection, "repositories": self.shown(&names),
            }),
        )
    }

    fn shown(&self, names: &[&str]) -> Value {
        let is_nameless = *self.generous.lock().unwrap() == Generous::Nameless;
        let show = |name: &&str| match is_nameless {
            true => json!({ "id": 1 }),
            false => json!({ "id": 1, "name": name, "full_name": format!("acme/{name}"), "private": true }),
        };
        names.iter().map(show).collect()
    }
}

impl Service for Arc<Github> {
    fn serve(&self, errand: &Errand, now: Time) -> (u16, Value) {
        let field = |name: &str| {
            let value = errand.fields.iter().find(|(known, _)| *known == name);
            value.map(|(_, value)| String::from_utf8(value.expose().to_vec()).unwrap()).unwrap_or_default()
        };
        if field("accept") != "application/vnd.github+json" || field("x-github-api-version") != "2022-11-28" {
            return (400, json!({ "message": "Unsupported version" }));
        }
        let bad = (401, json!({ "message": "Bad credentials" }));
        let authorization = field("authorization");
        let Some(token) = authorization.strip_prefix("Bearer ") else { return bad };
        let Some(target) = errand.target.strip_prefix("/api/v3/") else { return (404, Value::Null) };
        if errand.method == Method::Post {
            if !is_the_app(token, now) {
                return bad;
            }
            return match (&errand.body, target == format!("app/installations/{INSTALLATION}/access_tokens")) {
                (Some(Body::Json(json)), true) => self.make(&serde_json::from_slice(json.expose()).unwrap(), now),
                _ => (404, json!({ "message": "Integration not found" })),
            };
        }
        let mut tokens = self.tokens.lock().unwrap();
        let Some((_, names)) = tokens.get(token).filter(|(dies, _)| *dies > now).cloned() else { return bad };
        match (errand.method, target.split('?').next().unwrap()) {
            (Method::Delete, "installation/token") => {
                tokens.remove(token);
                (204, Value::Null)
            }
            (Method::Get, "installation/repositories") => {
                let per_page = target.split_once("per_page=").unwrap().1.parse().unwrap();
                let page = &names[..names.len().min(per_page)];
                (200, json!({ "total_count": names.len(), "repositories": self.shown(page) }))
            }
            _ => (404, Value::Null),
        }
    }

    fn live(&self, now: Time) -> usize {
        self.tokens.lock().unwrap().values().filter(|(dies, _)| *dies > now).count()
    }
}
