//! A GitLab that makes project access tokens, written from its published description; not run against a real one.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::service::{Asked, answered};

/// A host nobody else has (RFC 6761).
pub(crate) const FORGE: &str = "gitlab.selvedge.test";

/// The token there that makes others. Looked for byte by byte wherever it must not be.
pub(crate) const KEY: &str = "glpat-canary-4c1d9e0b77aa-of-the-maintainer";

const TOKENS: &str = "/api/v4/projects/acme%2Fshop/access_tokens";

/// What the forge knows.
#[derive(Default)]
pub(crate) struct Shelf {
    pub(crate) live: Vec<(usize, String)>,
    pub(crate) made: usize,
    /// What each request to the project carried, and whether that was alive.
    pub(crate) used: Vec<(String, bool)>,
    /// The next answer to a mint is not JSON.
    pub(crate) babbles: bool,
}

/// Its port, and what it knows.
pub(crate) fn start() -> (u16, Arc<Mutex<Shelf>>) {
    let shelf = Arc::<Mutex<Shelf>>::default();
    let kept = Arc::clone(&shelf);
    (answered(move |asked| Some(serve(asked, &mut kept.lock().unwrap()))), shelf)
}

/// The tables of the credential `issues`, made by the forge at this port.
pub(crate) fn tables(port: u16) -> String {
    format!(
        "[credential.issues]\nkind = \"gitlab\"\nowner = \"team-shop@example.org\"\nheader = \"private-token\"\nscheme = \"plain\"\n\
         uses = [\"GET https://{FORGE}/api/v4/projects/7/issues\"]\n\
         [credential.issues.gitlab]\nurl = \"https://{FORGE}\"\nproject = \"acme/shop\"\nscopes = [\"read_api\"]\nrole = \"reporter\"\n\
         [danger.addresses.\"{FORGE}\"]\nallow = [\"127.0.0.1\"]\nplain_port = {port}\n"
    )
}

/// What an agent asks of it, as a command.
pub(crate) fn read_issues() -> String {
    format!("curl -sS --fail https://{FORGE}/api/v4/projects/7/issues")
}

fn serve(asked: &Asked, shelf: &mut Shelf) -> (u16, String) {
    let shown = asked.field("private-token");
    let is_key = shown == KEY;
    let is_live = shelf.live.iter().any(|(_, token)| token == shown);
    let target = asked.target();
    let path = target.split('?').next().unwrap();
    match (asked.method(), path.strip_prefix(TOKENS)) {
        ("POST", Some("")) if is_key => {
            let mut said: Value = serde_json::from_slice(&asked.body).unwrap();
            assert!(said["name"].as_str().unwrap().starts_with("l-"), "it carries its lease: {said}");
            shelf.made += 1;
            let (id, token) = (shelf.made, format!("glpat-canary-{:08}", shelf.made));
            shelf.live.push((id, token.clone()));
            if std::mem::take(&mut shelf.babbles) {
                return (201, "<html>".to_owned());
            }
            (said["id"], said["token"]) = (json!(id), json!(token));
            (201, said.to_string())
        }
        ("GET", Some("")) if is_key => {
            // The lease it was asked to look for; every token here is of this one run.
            let lease = target.split("search=").nth(1).unwrap().split('&').next().unwrap();
            let is_first = target.ends_with("&page=1");
            let entries = shelf.live.iter().filter(|_| is_first);
            let entries: Vec<Value> =
                entries.map(|(id, _)| json!({ "id": id, "name": lease, "active": true })).collect();
            (200, Value::from(entries).to_string())
        }
        ("DELETE", Some(id)) if is_key => {
            let before = shelf.live.len();
            shelf.live.retain(|(live, _)| id != format!("/{live}"));
            (if shelf.live.len() < before { 204 } else { 404 }, String::new())
        }
        ("GET", None) if path == "/api/v4/personal_access_tokens/self" && is_live => (200, "{}".to_owned()),
        ("GET", None) if path == "/api/v4/projects/7/issues" => {
            shelf.used.push((shown.to_owned(), is_live));
            (if is_live { 200 } else { 401 }, "[]".to_owned())
        }
        _ => (401, json!({ "message": "401 Unauthorized" }).to_string()),
    }
}
