//! Where a run asks to reach more: a host that is nowhere, for which the door answers. Reads a request as far as HTTP goes, asks
//! the keeper, and passes its answer on. Never knows what is asked for; a rule that was given comes as a message of its own.

use selvedge_domain::Method;

use crate::http::Context;
use crate::http::peer::Peer;
use crate::http::refusal::{Refusal, Unserved};
use crate::http::request::Exchange;
use crate::identity::wanted::{Given, Wanted};
use crate::link::NotAllowed;
use crate::tokens::{answer, is_of_type, read_body};

/// Longest request: a rule with a long path, and a reason of a few sentences.
const REQUEST_BYTES_MAX: u64 = 4 * 1024;

/// Whether a request asks for access, as far as its head says.
pub fn asks(request: &Exchange) -> bool {
    let is_here = request.query.is_none() && request.path.as_str() == "/";
    is_here && request.method == Method::Post && is_of_type(request, b"application/json")
}

/// Serves one request.
pub(crate) async fn serve(context: &Context, client: &mut Peer, request: &Exchange) -> Result<(), Unserved> {
    if !asks(request) {
        return Err(Refusal::NotAccess.into());
    }
    let body = read_body(client, request, REQUEST_BYTES_MAX).await?;
    // Anything else is an escape in JSON, and plain characters are all that a rule and a reason have.
    let plain = body.iter().all(|&b| b == b' ' || b.is_ascii_graphic());
    let asked = String::from_utf8(body).ok().filter(|_| plain).ok_or(Refusal::NotAccess)?;
    match context.link.want(Wanted::Access { asked }).await {
        Some(Given::Access { status, body }) => answer(client, request.closes, status, body.as_bytes()).await,
        Some(Given::Denied { code, next_step }) => {
            Err(Refusal::NotAllowed(NotAllowed::Denied { code, next_step }).into())
        }
        Some(_) | None => Err(Refusal::NotAllowed(NotAllowed::NoAnswer).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::{Request, parse_request};

    const JSON: &str = "Content-Type: application/json\r\nContent-Length: 4\r\n";

    fn read(first: &str, fields: &str) -> bool {
        let head = format!("{first} HTTP/1.1\r\nHost: access.example\r\n{fields}\r\n");
        match parse_request(head.as_bytes()).unwrap() {
            Request::Exchange(request) => asks(&request),
            Request::Connect(_) => false,
        }
    }

    #[test]
    fn there_is_one_way_to_ask_e7() {
        assert!(read("POST /", JSON));
        assert!(read("POST /", &JSON.replace("json", "json; charset=UTF-8")));
        for (first, fields) in [
            ("POST /?x=y", JSON),
            ("POST /access", JSON),
            ("PUT /", JSON),
            ("GET /", ""),
            ("POST /", "Content-Length: 4\r\n"),
            ("POST /", "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 4\r\n"),
            ("POST /", &format!("{JSON}Content-Type: text/plain\r\n")),
            ("POST /", &format!("{JSON}Content-Encoding: gzip\r\n")),
        ] {
            assert!(!read(first, fields), "{first} {fields}");
        }
    }
}
