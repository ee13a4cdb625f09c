//! Which part of the smart HTTP protocol a request is (`gitprotocol-http`), without I/O. Owns the four things a client may
//! ask for; the older protocol that reads files one by one is not among them.

use selvedge_domain::Method;

use super::wanted::GitService;
use crate::http::request::Exchange;

/// What a request asks of the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `GET info/refs?service=...`
    Advertise(GitService),
    /// `POST git-upload-pack`
    Fetch(Coding),
    /// `POST git-receive-pack`
    Push,
}

/// How a request's body is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Not at all.
    Plain,
    /// As git codes what it negotiates, where that is long.
    Gzip,
}

/// What `request` asks of the repository at `path`; nothing where a door does not speak that.
pub fn route(request: &Exchange, path: &str) -> Option<Route> {
    let beneath = request.path.as_str().strip_prefix(path)?;
    let query = request.query.as_ref().map(|query| query.as_str());
    match (request.method, beneath, query) {
        (Method::Get, "/info/refs", Some("service=git-upload-pack")) => Some(Route::Advertise(GitService::UploadPack)),
        (Method::Get, "/info/refs", Some("service=git-receive-pack")) => {
            Some(Route::Advertise(GitService::ReceivePack))
        }
        (Method::Post, "/git-upload-pack", None) if is(request, "application/x-git-upload-pack-request") => {
            coding(request).map(Route::Fetch)
        }
        (Method::Post, "/git-receive-pack", None) if is(request, "application/x-git-receive-pack-request") => {
            (coding(request)? == Coding::Plain).then_some(Route::Push)
        }
        _ => None,
    }
}

fn value<'a>(request: &'a Exchange, name: &str) -> Option<&'a [u8]> {
    let mut values = request.fields().filter(|field| field.name == name).map(|field| field.value.as_slice());
    // Two values would mean one of them to us and the other to whoever reads after us.
    values.next().filter(|_| values.next().is_none())
}

fn is(request: &Exchange, content_type: &str) -> bool {
    value(request, "content-type") == Some(content_type.as_bytes())
}

fn coding(request: &Exchange) -> Option<Coding> {
    let is_coded = request.fields().any(|field| field.name == "content-encoding");
    match value(request, "content-encoding") {
        None if !is_coded => Some(Coding::Plain),
        Some(b"gzip") => Some(Coding::Gzip),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::{Request, parse_request};

    fn routed(first: &str, fields: &str) -> Option<Route> {
        let head = format!("{first} HTTP/1.1\r\nHost: git.example\r\n{fields}\r\n");
        match parse_request(head.as_bytes()).unwrap() {
            Request::Exchange(request) => route(&request, "/acme/shop.git"),
            Request::Connect(_) => None,
        }
    }

    #[test]
    fn a_client_of_git_is_understood() {
        let get = |service: &str| routed(&format!("GET /acme/shop.git/info/refs?service={service}"), "");
        assert_eq!(get("git-upload-pack"), Some(Route::Advertise(GitService::UploadPack)));
        assert_eq!(get("git-receive-pack"), Some(Route::Advertise(GitService::ReceivePack)));
        let post = |service: &str, more: &str| {
            let kind = format!("Content-Type: application/x-{service}-request\r\nContent-Length: 4\r\n{more}");
            routed(&format!("POST /acme/shop.git/{service}"), &kind)
        };
        assert_eq!(post("git-upload-pack", ""), Some(Route::Fetch(Coding::Plain)));
        assert_eq!(post("git-upload-pack", "Content-Encoding: gzip\r\n"), Some(Route::Fetch(Coding::Gzip)));
        assert_eq!(post("git-receive-pack", ""), Some(Route::Push));
    }

    #[test]
    fn a_60_everything_else_is_not_served() {
        let push = "Content-Type: application/x-git-receive-pack-request\r\nContent-Length: 4\r\n";
        for (first, fields) in [
            ("GET /acme/shop.git/info/refs", ""),
            ("GET /acme/shop.git/info/refs?service=git-upload-archive", ""),
            ("GET /acme/shop.git/info/refs?service=git-upload-pack&x=y", ""),
            ("GET /acme/shop.git/HEAD", ""),
            ("GET /acme/shop.git/objects/info/packs", ""),
            ("GET /acme/other.git/info/refs?service=git-upload-pack", ""),
            ("GET /acme/shop.gitx/info/refs?service=git-upload-pack", ""),
            ("POST /acme/shop.git/git-receive-pack", "Content-Length: 4\r\n"),
            ("POST /acme/shop.git/git-receive-pack?x", push),
            ("PUT /acme/shop.git/git-receive-pack", push),
            ("POST /acme/shop.git/git-upload-pack", push),
            ("POST /acme/shop.git/git-receive-pack", &format!("{push}Content-Encoding: gzip\r\n")),
            ("POST /acme/shop.git/git-receive-pack", &format!("{push}Content-Encoding: br\r\n")),
            ("POST /acme/shop.git/git-receive-pack", &format!("{push}Content-Type: text/plain\r\n")),
        ] {
            assert_eq!(routed(first, fields), None, "{first} {fields}");
        }
    }
}
