//! A strict stand-in for GitLab's API as far as project access tokens go.

use std::sync::{Arc, Mutex};

use selvedge_credentials::{Body, Errand};
use selvedge_domain::{Method, Time};
use serde_json::{Value, json};

use super::Service;

/// The token of the account that may make others.
pub(crate) const KEY: &str = "glpat-canary-of-the-maintainer";
/// The project.
pub(crate) const PROJECT: &str = "acme/shop";
const TOKENS: &str = "/api/v4/projects/acme%2Fshop/access_tokens";
const SELF: &str = "/api/v4/personal_access_tokens/self";

/// How it gives more than it was asked for, or tells more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Generous {
    #[default]
    No,
    Scope,
    Level,
    Longer,
    /// Another name than it was asked for: it could not be found again.
    Renamed,
    /// Every token it ever made is listed, as releases before 17.2 do.
    ListsAll,
}

pub(crate) struct Token {
    pub(crate) name: String,
    token: String,
    expires_at: String,
    is_deleted: bool,
}

/// A GitLab.
#[derive(Default)]
pub(crate) struct Gitlab {
    pub(crate) tokens: Mutex<Vec<Token>>,
    pub(crate) generous: Mutex<Generous>,
}

/// It counts days, in UTC: a token is dead from the beginning of its date on.
fn today(now: Time) -> String {
    now.to_string().split('T').next().unwrap().to_owned()
}

impl Token {
    fn is_live(&self, now: Time) -> bool {
        !self.is_deleted && self.expires_at > today(now)
    }
}

impl Gitlab {
    /// Makes a token, whoever asks.
    pub(crate) fn make(&self, name: &str, expires_at: &str) -> (usize, String) {
        let mut tokens = self.tokens.lock().unwrap();
        let id = tokens.len() + 1;
        let token = format!("glpat-canary-{id:08}");
        let expires_at = expires_at.to_owned();
        tokens.push(Token { name: name.to_owned(), token: token.clone(), expires_at, is_deleted: false });
        (id, token)
    }

    fn create(&self, asked: &Value, now: Time) -> (u16, Value) {
        // In no order: whether an object keeps one depends on who else is in the build.
        let mut keys: Vec<&String> = asked.as_object().unwrap().keys().collect();
        keys.sort_unstable();
        let scopes: Vec<&str> = asked["scopes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let mut level = asked["access_level"].as_u64().unwrap();
        let expires_at = asked["expires_at"].as_str().unwrap();
        let is_date = expires_at.len() == 10 && expires_at.matches('-').count() == 2;
        let known = ["api", "read_api", "read_repository", "write_repository"];
        let is_well = keys == ["access_level", "expires_at", "name", "scopes"]
            && !scopes.is_empty()
            && scopes.iter().all(|scope| known.contains(scope))
            && [10, 20, 30, 40].contains(&level)
            && is_date
            && *expires_at > *today(now);
        if !is_well {
            return (400, json!({ "message": "400 Bad request" }));
        }
        let (mut scopes, mut shown) = (scopes, expires_at);
        let mut name = asked["name"].as_str().unwrap();
        match *self.generous.lock().unwrap() {
            Generous::No | Generous::ListsAll => {}
            Generous::Scope => scopes.push("api"),
            Generous::Level => level = 40,
            Generous::Longer => shown = "2027-11-20",
            Generous::Renamed => name = "a token",
        }
        let (id, token) = self.make(name, shown);
        (
            201,
            json!({
                "id": id, "name": name, "revoked": false, "active": true, "user_id": 166, "scopes": scopes,
                "access_level": level, "expires_at": shown, "token": token,
            }),
        )
    }

    fn list(&self, query: &str, now: Time) -> Value {
        let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let number = |name: &str| value(name).unwrap().parse::<usize>().unwrap();
        let (page, per_page) = (number("page"), number("per_page"));
        assert!((1..=100).contains(&per_page) && value("state") == Some("active"), "{query}");
        let lists_all = *self.generous.lock().unwrap() == Generous::ListsAll;
        let tokens = self.tokens.lock().unwrap();
        let entries = (1..).zip(tokens.iter());
        let wanted = entries.filter(|(_, token)| {
            lists_all || (token.is_live(now) && token.name.contains(value("search").unwrap_or_default()))
        });
        let show = |(id, token): (usize, &Token)| json!({ "id": id, "name": token.name, "active": token.is_live(now) });
        wanted.skip((page - 1) * per_page).take(per_page).map(show).collect()
    }
}

impl Service for Arc<Gitlab> {
    fn serve(&self, errand: &Errand, now: Time) -> (u16, Value) {
        let [("private-token", shown)] = errand.fields.as_slice() else { return (401, Value::Null) };
        let shown = String::from_utf8(shown.expose().to_vec()).unwrap();
        let own = self.tokens.lock().unwrap().iter().position(|token| token.token == shown && token.is_live(now));
        if shown != KEY && own.is_none() {
            return (401, json!({ "message": "401 Unauthorized" }));
        }
        let (target, query) = errand.target.split_once('?').unwrap_or((&errand.target, ""));
        let delete = |at: usize| match self.tokens.lock().unwrap().get_mut(at) {
            Some(token) if !token.is_deleted => {
                token.is_deleted = true;
                (204, Value::Null)
            }
            _ => (404, json!({ "message": "404 Not Found" })),
        };
        match (errand.method, target, own) {
            (Method::Get, SELF, Some(_)) => (200, json!({ "active": true })),
            (Method::Delete, SELF, Some(own)) => delete(own),
            // What it makes may not make others.
            (_, _, Some(_)) => (403, json!({ "message": "403 Forbidden" })),
            (Method::Post, TOKENS, None) => match &errand.body {
                Some(Body::Json(json)) => self.create(&serde_json::from_slice(json.expose()).unwrap(), now),
                _ => (400, Value::Null),
            },
            (Method::Get, TOKENS, None) => (200, self.list(query, now)),
            (Method::Delete, _, None) => match target.strip_prefix(&format!("{TOKENS}/")).map(str::parse::<usize>) {
                Some(Ok(id)) => delete(id.wrapping_sub(1)),
                _ => (404, Value::Null),
            },
            _ => (404, json!({ "message": "404 Project Not Found" })),
        }
    }

    fn live(&self, now: Time) -> usize {
        self.tokens.lock().unwrap().iter().filter(|token| token.is_live(now)).count()
    }
}
