//! The courier's process: fences, one connection, one request, one answer. A failure says whether the provider was asked.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::net::UnixStream;

use selvedge_domain::Method;
use tokio::time::{Instant, timeout_at};

use super::answer::wanted;
use super::{Brought, Errand, Failed, PATIENCE_MAX, Reads, xml};
use crate::confine;
use crate::dial::{ClientLeg, DialError, Dialer, SystemResolver};
use crate::http::body::{BodyReader, Framing};
use crate::http::peer::Peer;
use crate::http::response::{RESPONSE_HEAD_BYTES_MAX, Response, parse_response};
use crate::protocol::Fence;
use crate::scope::Scope;
use crate::wire::errand::{FromCourier, WireBrought, WireErrand};
use crate::wire::frame::{self, FROM_DOOR_BYTES_MAX};

/// Longest answer that is read; what we want of one is some hundred bytes.
const ANSWER_BYTES_MAX: u64 = 256 << 10;

/// What a courier must stand behind before it speaks to anybody.
const FENCES: [Fence; 3] = [Fence::NotDumpable, Fence::Landlock, Fence::Seccomp];

/// Runs one errand and tells the keeper what came of it.
pub(crate) fn run(channel: &mut UnixStream, errand: WireErrand) {
    let done = Errand::try_from(errand).map_err(|bad| Failed::NotAsked(bad.to_string())).and_then(|errand| go(&errand));
    let told = match done {
        Ok(brought) => FromCourier::Brought(WireBrought::from(brought)),
        Err(Failed::NotAsked(why)) => FromCourier::NotAsked { why },
        Err(Failed::AnswerLost(why)) => FromCourier::AnswerLost { why },
    };
    // A keeper that is gone asks again.
    let _ = frame::write(channel, &told, FROM_DOOR_BYTES_MAX);
}

fn go(errand: &Errand) -> Result<Brought, Failed> {
    let not_asked = |error: &dyn std::fmt::Display| Failed::NotAsked(error.to_string());
    let proxy = errand.proxy.clone();
    let dialer = Dialer::new(&errand.roots_pem, Box::new(SystemResolver), proxy).map_err(|error| not_asked(&error))?;
    let scope = Scope::alone(&errand.endpoint, errand.dangers.clone(), errand.proxy.as_ref());
    let fences: BTreeSet<Fence> = confine::confine(scope.ports()).into_iter().collect();
    if let Some(missing) = FENCES.iter().find(|fence| !fences.contains(fence)) {
        return Err(Failed::NotAsked(format!(
            "the courier has no {missing:?} fence here; it needs Linux 6.7 or later"
        )));
    }
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime =
        builder.enable_io().enable_time().max_blocking_threads(1).build().map_err(|error| not_asked(&error))?;
    let brought = runtime.block_on(ask(errand, &dialer, &scope));
    // A name lookup that hangs must not keep the process.
    runtime.shutdown_background();
    brought
}

async fn ask(errand: &Errand, dialer: &Dialer, scope: &Scope) -> Result<Brought, Failed> {
    // One moment for all of it: a provider that says a little now and then is waited for no longer than a silent one.
    let until = Instant::now() + errand.patience;
    let dialled = timeout_at(until, dialer.dial(&errand.endpoint, ClientLeg::Tls, scope)).await;
    let dialled = dialled.unwrap_or(Err(DialError::TimedOut));
    let mut provider = dialled.map_err(|error| Failed::NotAsked(error.to_string()))?;
    let asked = timeout_at(until, exchange(errand, &mut provider)).await;
    asked.unwrap_or_else(|_| {
        let seconds = errand.patience.as_secs();
        Err(Failed::AnswerLost(format!("the provider did not answer within {seconds} seconds")))
    })
}

async fn exchange(errand: &Errand, provider: &mut Peer) -> Result<Brought, Failed> {
    let lost = |why: &str| Failed::AnswerLost(why.to_owned());
    provider.write(&request(errand)).await.map_err(|_| lost("the provider does not take the request"))?;
    let head = provider.read_head(RESPONSE_HEAD_BYTES_MAX, PATIENCE_MAX).await;
    let head = head.map_err(|error| Failed::AnswerLost(format!("the provider does not answer: {error}")))?;
    let response = parse_response(&head, errand.method).map_err(|_| lost("the provider's answer is malformed"))?;
    let body = read_body(provider, &response).await.ok_or_else(|| lost("the provider's answer breaks off"))?;
    // What refuses says so with whatever it likes; only what grants has to make sense.
    let found = match (&errand.reads, response.status) {
        (Reads::Json, ..300) => wanted(&body, &errand.wants, &errand.counts),
        (Reads::Xml { .. }, ..300) => xml::wanted(&body, &errand.wants),
        (Reads::Json, 300..) => Ok(BTreeMap::new()),
        (Reads::Xml { why }, 300..) => Ok(xml::wanted(&body, std::slice::from_ref(why)).unwrap_or_default()),
    };
    let found = found.map_err(|bad| Failed::AnswerLost(format!("the provider answered, and {bad}")))?;
    Ok(Brought { status: response.status, retry_after: response.retry_after(), found })
}

async fn read_body(provider: &mut Peer, response: &Response) -> Option<Vec<u8>> {
    if response.framing == Framing::Empty {
        return Some(Vec::new());
    }
    let reader = BodyReader::begin(response.framing, ANSWER_BYTES_MAX).ok()?;
    provider.read_body(reader).await.ok()
}

/// The request as it is written. Nothing in it came from an agent.
fn request(errand: &Errand) -> Vec<u8> {
    let Errand { endpoint, method, target, fields, body, .. } = errand;
    let port = if endpoint.port == 443 { String::new() } else { format!(":{}", endpoint.port) };
    let mut head = format!(
        "{} {target} HTTP/1.1\r\nhost: {}{port}\r\nuser-agent: selvedge\r\nconnection: close\r\n",
        method.as_str(),
        endpoint.host
    );
    // A provider may have a JSON of its own that it wants to be asked for.
    if !fields.iter().any(|(name, _)| name.as_str() == "accept") {
        head.push_str(match errand.reads {
            Reads::Json => "accept: application/json\r\n",
            Reads::Xml { .. } => "accept: text/xml\r\n",
        });
    }
    for (name, value) in fields {
        head.push_str(&format!("{}: {}\r\n", name.as_str(), value.as_str()));
    }
    match body {
        Some((media_type, bytes)) => {
            head.push_str(&format!("content-type: {media_type}\r\ncontent-length: {}\r\n", bytes.len()));
        }
        // A service may want to be told that nothing follows (RFC 9110 section 8.6), and refuse with 411 else.
        None if matches!(method, Method::Post | Method::Put | Method::Patch) => head.push_str("content-length: 0\r\n"),
        None => {}
    }
    head.push_str("\r\n");
    let mut request = head.into_bytes();
    request.extend(body.iter().flat_map(|(_, bytes)| bytes.iter()));
    request
}
