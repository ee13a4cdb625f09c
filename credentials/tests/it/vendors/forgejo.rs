//! A strict stand-in for Forgejo's API as far as an account's tokens go, served beneath a sub-path.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use selvedge_credentials::{Body, Errand};
use selvedge_domain::{Method, Time};
use serde_json::{Value, json};

use super::Service;

/// The account and its password.
pub(crate) const USER: &str = "factory-bot";
pub(crate) const PASSWORD: &str = "canary-password-of-the-account";
/// Where it is served.
pub(crate) const ROOT: &str = "/git";
const TOKENS: &str = "/git/api/v1/users/factory-bot/tokens";

/// How it gives more than it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Generous {
    #[default]
    No,
    /// Another scope beside those asked for.
    Scope,
    /// Everything, and says so with one word.
    All,
    /// No scope is named, which once meant every one.
    Unscoped,
}

/// A token: its name, itself, its scopes.
type Token = (String, String, Vec<String>);

/// A Forgejo. Its tokens live until somebody deletes them.
#[derive(Default)]
pub(crate) struct Forgejo {
    pub(crate) tokens: Mutex<Vec<Token>>,
    made: Mutex<u64>,
    pub(crate) generous: Mutex<Generous>,
}

impl Forgejo {
    /// Makes a token, whoever asks.
    pub(crate) fn make(&self, name: &str, scopes: Vec<String>) -> String {
        let mut made = self.made.lock().unwrap();
        *made += 1;
        let token = format!("canary{:034x}", *made);
        self.tokens.lock().unwrap().push((name.to_owned(), token.clone(), scopes));
        token
    }

    fn create(&self, asked: &Value) -> (u16, Value) {
        // In no order: whether an object keeps one depends on who else is in the build.
        let mut keys: Vec<&String> = asked.as_object().unwrap().keys().collect();
        keys.sort_unstable();
        let (Some(name), Some(scopes)) = (asked["name"].as_str(), asked["scopes"].as_array()) else {
            return (422, json!({ "message": "[Name]: Required" }));
        };
        let known = ["read:repository", "write:repository", "read:issue", "write:issue", "read:user"];
        let mut scopes: Vec<String> = scopes.iter().map(|scope| scope.as_str().unwrap().to_owned()).collect();
        let is_known = scopes.iter().all(|scope| known.contains(&scope.as_str()));
        let is_used = self.tokens.lock().unwrap().iter().any(|(used, ..)| used == name);
        if keys != ["name", "scopes"] || scopes.is_empty() || !is_known || is_used {
            return (400, json!({ "message": "access token must have a scope, and a name of its own" }));
        }
        match *self.generous.lock().unwrap() {
            Generous::No => {}
            Generous::Scope => scopes.push("write:admin".to_owned()),
            Generous::All => scopes = vec!["all".to_owned()],
            Generous::Unscoped => scopes.clear(),
        }
        let token = self.make(name, scopes.clone());
        let id = *self.made.lock().unwrap();
        (201, json!({ "id": id, "name": name, "sha1": token, "scopes": scopes }))
    }

    fn list(&self, query: &str) -> Value {
        let number = |name: &str| {
            let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            value.unwrap().parse::<usize>().unwrap()
        };
        // However many are asked for, an operator may have allowed fewer.
        let limit = number("limit").min(30);
        let tokens = self.tokens.lock().unwrap();
        let page = tokens.iter().skip((number("page") - 1) * limit).take(limit);
        page.map(|(name, _, scopes)| json!({ "id": 1, "name": name, "sha1": "", "scopes": scopes })).collect()
    }
}

impl Service for Arc<Forgejo> {
    fn serve(&self, errand: &Errand, _: Time) -> (u16, Value) {
        let [("authorization", shown)] = errand.fields.as_slice() else { return (401, Value::Null) };
        let shown = String::from_utf8(shown.expose().to_vec()).unwrap();
        let token = shown.strip_prefix("token ");
        let scopes = token.and_then(|token| {
            let tokens = self.tokens.lock().unwrap();
            tokens.iter().find(|(_, known, _)| known == token).map(|(.., scopes)| scopes.clone())
        });
        let is_owner = shown == format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
        if !is_owner && scopes.is_none() {
            return (401, json!({ "message": "invalid username, password or token" }));
        }
        let (target, query) = errand.target.split_once('?').unwrap_or((&errand.target, ""));
        match (errand.method, target) {
            (Method::Get, "/git/api/v1/user") => match scopes {
                Some(scopes) if !scopes.iter().any(|scope| scope == "read:user") => {
                    (403, json!({ "message": "scope" }))
                }
                _ => (200, json!({ "login": USER })),
            },
            // A token makes, lists and deletes none.
            _ if !is_owner => (401, json!({ "message": "auth required" })),
            (Method::Post, TOKENS) => match &errand.body {
                Some(Body::Json(json)) => self.create(&serde_json::from_slice(json.expose()).unwrap()),
                _ => (422, Value::Null),
            },
            (Method::Get, TOKENS) => (200, self.list(query)),
            (Method::Delete, _) => {
                let mut tokens = self.tokens.lock().unwrap();
                let name = target.strip_prefix(&format!("{TOKENS}/"));
                match name.and_then(|name| tokens.iter().position(|(known, ..)| known == name)) {
                    Some(at) => {
                        tokens.remove(at);
                        (204, Value::Null)
                    }
                    None => (404, json!({ "message": "The target couldn't be found." })),
                }
            }
            _ => (404, Value::Null),
        }
    }

    fn live(&self, _: Time) -> usize {
        self.tokens.lock().unwrap().len()
    }
}
