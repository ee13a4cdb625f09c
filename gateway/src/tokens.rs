//! The token endpoint as a run's clients reach it: a host that is nowhere, for which the door answers. Reads a request as far
//! as HTTP goes, asks the keeper, and passes its answer on. Who asks is told by the listener; a client sends no secret of its
//! own (RFC 8414, `none`). Never knows what a form says.

use selvedge_domain::Method;

use crate::http::Context;
use crate::http::body::{BodyReader, Framing};
use crate::http::peer::{Peer, RelayError};
use crate::http::refusal::{Refusal, Unserved};
use crate::http::request::Exchange;
use crate::identity::wanted::{Given, Wanted};
use crate::link::NotAllowed;
use crate::protocol::Lease;

/// Longest form: what the endpoint reads at most. A frame to the keeper holds it four times over.
const FORM_BYTES_MAX: u64 = 16 * 1024;

/// Longest name of a child: ids of triggers are fifteen letters.
const CHILD_NAME_BYTES_MAX: usize = 32;

/// What a client asks of the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenCall {
    /// Exchange a token for one that carries less (RFC 8693).
    Exchange,
    /// Whether a token lives (RFC 7662).
    Introspect,
    /// End a token (RFC 7009).
    Revoke,
    /// What there is to ask (RFC 8414).
    Metadata,
    /// Ask for a child with a part of what the run holds.
    Child,
    /// How a child stands; its name is all that is asked with.
    ChildStanding,
}

/// Which call a request is; nothing where the endpoint has none such.
pub fn call(request: &Exchange) -> Option<TokenCall> {
    if request.query.is_some() {
        return None;
    }
    let call = match (request.method, request.path.as_str()) {
        (Method::Get, "/.well-known/oauth-authorization-server") => return Some(TokenCall::Metadata),
        (Method::Post, "/token") => TokenCall::Exchange,
        (Method::Post, "/introspect") => TokenCall::Introspect,
        (Method::Post, "/revoke") => TokenCall::Revoke,
        (Method::Post, "/child") => TokenCall::Child,
        (Method::Get, path) => return child_named(path).map(|_name| TokenCall::ChildStanding),
        _ => return None,
    };
    is_of_type(request, b"application/x-www-form-urlencoded").then_some(call)
}

/// The child that a path names, if that could be the name of one.
fn child_named(path: &str) -> Option<&str> {
    let name = path.strip_prefix("/child/")?;
    let is_name = (1..=CHILD_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    is_name.then_some(name)
}

/// Whether the body is of this type and nothing else. A charset may be named; what is read here has only one.
pub(crate) fn is_of_type(request: &Exchange, wanted: &[u8]) -> bool {
    let mut kinds = request.fields().filter(|field| field.name == "content-type");
    let (Some(kind), None) = (kinds.next(), kinds.next()) else { return false };
    let kind = kind.value.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
    let is_coded = request.fields().any(|field| field.name == "content-encoding");
    kind.eq_ignore_ascii_case(wanted) && !is_coded
}

/// Serves one request.
pub(crate) async fn serve(context: &Context, client: &mut Peer, request: &Exchange) -> Result<(), Unserved> {
    let call = call(request).ok_or(Refusal::NoSuchCall)?;
    let form = match (read_form(client, request).await?, child_named(request.path.as_str())) {
        (nothing, Some(name)) if call == TokenCall::ChildStanding && nothing.bytes().is_empty() => {
            Lease::new(name.as_bytes().to_vec())
        }
        (_, Some(_)) => return Err(Refusal::NoSuchCall.into()),
        (form, None) => form,
    };
    match context.link.want(Wanted::Token { call, form }).await {
        Some(Given::Token { status, body }) => answer(client, request.closes, status, body.bytes()).await,
        Some(Given::Denied { code, next_step }) => {
            Err(Refusal::NotAllowed(NotAllowed::Denied { code, next_step }).into())
        }
        Some(_) | None => Err(Refusal::NotAllowed(NotAllowed::NoAnswer).into()),
    }
}

async fn read_form(client: &mut Peer, request: &Exchange) -> Result<Lease, Unserved> {
    let form = read_body(client, request, FORM_BYTES_MAX).await?;
    // What a form's encoding leaves is graphic, and none of it needs another escape on the way to the keeper.
    match form.iter().all(|&b| b.is_ascii_graphic() && b != b'"' && b != b'\\') {
        true => Ok(Lease::new(form)),
        false => Err(Refusal::NotAForm.into()),
    }
}

/// Reads a whole body of at most so many bytes.
pub(crate) async fn read_body(client: &mut Peer, request: &Exchange, most: u64) -> Result<Vec<u8>, Unserved> {
    let body = BodyReader::begin(request.framing, most).map_err(Refusal::from)?;
    if request.expects_continue && request.framing != Framing::Empty {
        client.write(b"HTTP/1.1 100 \r\n\r\n").await.map_err(|_| Unserved::ClientGone)?;
    }
    match client.read_body(body).await {
        Ok(body) => Ok(body),
        Err(RelayError::Malformed(bad)) => Err(Refusal::Body(bad).into()),
        Err(_) => Err(Unserved::ClientGone),
    }
}

/// Nobody keeps a copy of an answer (RFC 6749 section 5.1).
pub(crate) async fn answer(client: &mut Peer, closes: bool, status: u16, body: &[u8]) -> Result<(), Unserved> {
    let connection = if closes { "connection: close\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status} \r\ncontent-type: application/json\r\ncache-control: no-store\r\npragma: no-cache\r\n\
         content-length: {}\r\n{connection}\r\n",
        body.len()
    );
    client.write(head.as_bytes()).await.map_err(|_| Unserved::ClientGone)?;
    client.write(body).await.map_err(|_| Unserved::ClientGone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::{Request, parse_request};

    const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 4\r\n";

    fn read(first: &str, fields: &str) -> Option<TokenCall> {
        let head = format!("{first} HTTP/1.1\r\nHost: token.example\r\n{fields}\r\n");
        match parse_request(head.as_bytes()).unwrap() {
            Request::Exchange(request) => call(&request),
            Request::Connect(_) => None,
        }
    }

    #[test]
    fn each_call_has_one_way_to_be_asked() {
        assert_eq!(read("POST /token", FORM), Some(TokenCall::Exchange));
        assert_eq!(read("POST /introspect", FORM), Some(TokenCall::Introspect));
        let with_charset = FORM.replace("urlencoded", "urlencoded; charset=UTF-8");
        assert_eq!(read("POST /revoke", &with_charset), Some(TokenCall::Revoke));
        assert_eq!(read("GET /.well-known/oauth-authorization-server", ""), Some(TokenCall::Metadata));
        assert_eq!(read("POST /child", FORM), Some(TokenCall::Child));
        assert_eq!(read("GET /child/g-0000000000001", ""), Some(TokenCall::ChildStanding));
        for (first, fields) in [
            ("GET /child", ""),
            ("GET /child/", ""),
            ("GET /child/a/b", ""),
            ("GET /child/g-1?x=y", ""),
            ("GET /child/G-1", ""),
            ("GET /child/ggggggggggggggggggggggggggggggggg", ""),
            ("POST /child/g-1", FORM),
            ("POST /child", ""),
            ("POST /token?x=y", FORM),
            ("POST /token/", FORM),
            ("GET /token", ""),
            ("PUT /token", FORM),
            ("POST /other", FORM),
            ("POST /token", "Content-Length: 4\r\n"),
            ("POST /token", "Content-Type: application/json\r\nContent-Length: 4\r\n"),
            ("POST /token", &format!("{FORM}Content-Type: text/plain\r\n")),
            ("POST /token", &format!("{FORM}Content-Encoding: gzip\r\n")),
        ] {
            assert_eq!(read(first, fields), None, "{first} {fields}");
        }
    }
}
