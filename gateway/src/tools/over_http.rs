//! Messages to a server that takes requests ("streamable HTTP"): each is one `POST`, with the credential that is lent for it, to one place,
//! wherever an answer would send it. Owns that; never knows what a message means beyond whether it is the answer that is waited for.

use serde_json::{Map, Value};
use tokio::time::timeout;

use super::rpc::{self, Heard};
use super::server::{ANSWER_BYTES_MAX, Allowance, Broke, asked_back};
use super::wanted::{ServerWay, ToolServer};
use crate::dial::ClientLeg;
use crate::http::Context;
use crate::http::body::{BadBody, BodyReader};
use crate::http::budget::Spent;
use crate::http::entry::HTTPS_PORT;
use crate::http::lend::{self, Going, Injection};
use crate::http::peer::{Peer, ReadError, RelayError};
use crate::http::refusal::Refusal;
use crate::http::request::{Exchange, Request, parse_request};
use crate::http::response::{RESPONSE_HEAD_BYTES_MAX, Response, parse_response};
use crate::http::sieve::Sieve;
use crate::model::sse;
use crate::protocol::Layer;

/// Longest id of a session that is sent back.
const SESSION_BYTES_MAX: usize = 256;

/// What a server keeps a conversation by.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// What it named it.
    pub(crate) id: Option<String>,
    /// The version that was agreed on.
    pub(crate) version: Option<&'static str>,
}

/// Sends a message, and reads until the answer to `awaited`, where one is.
pub(crate) async fn post(
    context: &Context,
    server: &ToolServer,
    (session, allowance): (&mut Session, &mut Allowance),
    message: &[u8],
    awaited: Option<u64>,
) -> Result<Option<Map<String, Value>>, Broke> {
    let ServerWay::Http { upstream, path } = &server.way else { return Err(Broke::Gone) };
    let mut request = request(&Exchange::host_field(upstream, HTTPS_PORT), path, session, message.len())?;
    let injection = lend::injection(&context.loans, &request, upstream)?;
    match injection.as_ref().map(|injection| &injection.going) {
        None => {}
        Some(Going::Field(field, value)) => request.carry(field.as_str(), value),
        // The configuration takes none that signs.
        Some(Going::Signature(_, _)) => return Err(Refusal::OutsideGrant.into()),
    }
    let mut sent = Vec::new();
    request.write_head(upstream, HTTPS_PORT, &mut sent);
    sent.extend_from_slice(message);
    let bytes = u64::try_from(sent.len()).unwrap_or(u64::MAX);
    allowance.take(bytes)?;
    let taken = context.budgets.take(&upstream.host, bytes);
    taken.map_err(|Spent| Refusal::SendSpent(upstream.host.to_string()))?;
    let exchange = async {
        let mut peer = context.dialer.dial(upstream, ClientLeg::Tls, &context.scope).await.map_err(Refusal::from)?;
        // A server may answer and close without reading on; its answer is worth reading.
        let _refused_early = peer.write(&sent).await;
        let head = timeout_head(&mut peer, server).await?;
        let response = parse_response(&head, request.method).map_err(|_| Broke::Garbled)?;
        hear(context, server, session, &mut peer, &response, injection.as_ref(), awaited).await
    };
    match &injection {
        None => exchange.await,
        Some(injection) => tokio::select! {
            biased;
            () = injection.in_hand.withdrawn() => {
                Err(lend::withdrawn(&context.loans, &injection.credential).map_or(Broke::Gone, Broke::from))
            }
            heard = exchange => heard,
        },
    }
}

async fn timeout_head(peer: &mut Peer, server: &ToolServer) -> Result<Vec<u8>, Broke> {
    peer.read_head(RESPONSE_HEAD_BYTES_MAX, server.patience).await.map_err(|error| match error {
        ReadError::Ended | ReadError::Broken => Broke::Gone,
        ReadError::TimedOut => Broke::Silent,
        ReadError::Head(_) => Broke::Garbled,
    })
}

/// The request, read as any other is before it leaves.
fn request(host: &str, path: &str, session: &Session, length: usize) -> Result<Exchange, Broke> {
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\naccept: application/json, text/event-stream\r\n\
         accept-encoding: identity\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         user-agent: selvedge/{}\r\n",
        env!("CARGO_PKG_VERSION")
    );
    let fields = [("mcp-session-id", session.id.as_deref()), ("mcp-protocol-version", session.version)];
    for (name, value) in fields {
        if let Some(value) = value {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    head.push_str("\r\n");
    match parse_request(head.as_bytes()) {
        Ok(Request::Exchange(request)) => Ok(*request),
        Ok(Request::Connect(_)) | Err(_) => Err(Refusal::OutsideGrant.into()),
    }
}

async fn hear(
    context: &Context,
    server: &ToolServer,
    session: &mut Session,
    peer: &mut Peer,
    response: &Response,
    injection: Option<&Injection>,
    awaited: Option<u64>,
) -> Result<Option<Map<String, Value>>, Broke> {
    // An answer that leads elsewhere is an answer, and no way for the credential.
    if !(200..300).contains(&response.status) {
        return Err(Broke::Status(response.status));
    }
    if let Some(id) = response.field("mcp-session-id") {
        session.id = Some(session_id(id).ok_or(Broke::Garbled)?);
    }
    let Some(awaited) = awaited else { return Ok(None) };
    let body = BodyReader::begin(response.framing, u64::try_from(ANSWER_BYTES_MAX).unwrap_or(u64::MAX));
    let body = body.map_err(|_| Broke::TooLong)?;
    let forms = || injection.into_iter().flat_map(|injection| injection.forms.iter().map(Vec::as_slice));
    let mut sieve = Sieve::new(forms());
    let heard = match response.is_event_stream() {
        true => hear_events(context, server, peer, body, &mut sieve, awaited).await,
        false => {
            let read = timeout(server.patience, peer.read_body(body)).await.map_err(|_| Broke::Silent)?;
            let read = read.map_err(broke)?;
            let text = [sieve.pass(&read), sieve.end()].concat();
            read_answer(context, server, &text, awaited)?.ok_or(Broke::Garbled)
        }
    };
    if let Some(injection) = injection.filter(|_| sieve.found() > 0) {
        context.link.refused(Layer::Tools, "secret_masked", injection.credential.as_str());
    }
    heard.map(Some)
}

async fn hear_events(
    context: &Context,
    server: &ToolServer,
    peer: &mut Peer,
    mut body: BodyReader,
    sieve: &mut Sieve,
    awaited: u64,
) -> Result<Map<String, Value>, Broke> {
    let mut events = sse::Reader::new();
    loop {
        let piece = timeout(server.patience, peer.next_piece(&mut body)).await.map_err(|_| Broke::Silent)?;
        let piece = piece.map_err(broke)?;
        let is_over = piece.is_none();
        let text = match piece {
            Some(piece) => sieve.pass(&piece),
            None => sieve.end(),
        };
        let mut rest = text.as_slice();
        while let Some(event) = events.next(&mut rest).map_err(|_| Broke::Garbled)? {
            // A stream that can be taken up again begins with an event that says nothing.
            if event.data.is_empty() {
                continue;
            }
            if let Some(answer) = read_answer(context, server, event.data.as_bytes(), awaited)? {
                return Ok(answer);
            }
        }
        if is_over {
            return Err(Broke::Gone);
        }
    }
}

/// Reads one message; nothing where it is not the answer.
fn read_answer(
    context: &Context,
    server: &ToolServer,
    text: &[u8],
    awaited: u64,
) -> Result<Option<Map<String, Value>>, Broke> {
    match rpc::heard(text, awaited).map_err(|_| Broke::Garbled)? {
        Heard::Answer(answer) => Ok(Some(answer)),
        Heard::Failed { message, .. } => Err(Broke::Failed(message)),
        Heard::Remark => Ok(None),
        Heard::Asks { method, .. } => {
            asked_back(context, server, &method);
            Err(Broke::AskedBack)
        }
    }
}

/// A session's id is visible ASCII, by the protocol.
fn session_id(value: &[u8]) -> Option<String> {
    let is_id = (1..=SESSION_BYTES_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
    is_id.then(|| String::from_utf8_lossy(value).into_owned())
}

fn broke(error: RelayError) -> Broke {
    match error {
        RelayError::Malformed(BadBody::TooLong) => Broke::TooLong,
        RelayError::Sender | RelayError::Malformed(BadBody::Truncated) => Broke::Gone,
        _ => Broke::Garbled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_s_id_is_what_the_protocol_says() {
        assert_eq!(session_id(b"a-1").as_deref(), Some("a-1"));
        for id in [&b""[..], b"a b", b"a\tb", &[b'x'; SESSION_BYTES_MAX + 1], b"\xff"] {
            assert_eq!(session_id(id), None);
        }
    }

    #[test]
    fn a_request_is_what_it_says() {
        let session = Session { id: Some("s".to_owned()), version: Some(rpc::VERSION) };
        let request = request("mcp.example", "/mcp", &session, 2).unwrap();
        assert_eq!(request.path.as_str(), "/mcp");
        assert!(request.fields().any(|field| field.name == "mcp-session-id" && field.value == b"s"));
        assert!(super::request("mcp.example", "/a/../mcp", &session, 2).is_err());
    }
}
