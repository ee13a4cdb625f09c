//! Reads a response head as strictly as a request and writes it again for the client. Owns what a server may make a
//! client see; never knows which request it answers beyond its method.

use selvedge_domain::Method;

use super::body::Framing;
use super::credentials::is_credential_response_field;
use super::fields::{BadHead, Fields, ValueBytes, is_hop_by_hop, split_head};
use super::request::write_framing;

/// Longest response head; servers with long policies stay below.
pub const RESPONSE_HEAD_BYTES_MAX: usize = 64 * 1024;

/// Why a head is not a response that a door passes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadResponse {
    /// Lines or fields.
    #[error(transparent)]
    Head(#[from] BadHead),
    /// The status line.
    #[error("the status line is malformed")]
    StatusLine,
    /// `1xx`: nothing was asked that has an interim answer, and `101` would end judgement.
    #[error("the server answered with an interim status or another protocol")]
    Interim,
}

/// A response head; its reason phrase is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status, from 200 to 599.
    pub status: u16,
    /// How the server delimits the body.
    pub framing: Framing,
    /// Whether the server closes after this.
    pub closes: bool,
    fields: Fields,
}

/// Reads a complete head that answers a request with `method`.
pub fn parse_response(head: &[u8], method: Method) -> Result<Response, BadResponse> {
    let (line, mut fields) = split_head(head, ValueBytes::AsciiAndOpaque)?;
    let (is_1_0, status) = parse_status_line(line)?;
    if status < 200 {
        return Err(BadResponse::Interim);
    }
    let stated = fields.framing()?;
    let framing = match stated {
        _ if method == Method::Head || matches!(status, 204 | 304) => Framing::Empty,
        Some(Framing::Chunked) if is_1_0 => return Err(BadHead::Value("transfer-encoding").into()),
        Some(framing) => framing,
        None => Framing::UntilClose,
    };
    let closes = fields.closes()? || is_1_0 || framing == Framing::UntilClose;
    // Alternative services would send the client to protocols that no door speaks.
    let keeps_length = framing == Framing::Empty && status != 204;
    fields.retain(|field| {
        let is_dropped = is_hop_by_hop(&field.name) && !(keeps_length && field.name == "content-length");
        !is_dropped && field.name != "alt-svc" && !is_credential_response_field(&field.name)
    });
    Ok(Response { status, framing, closes, fields })
}

fn parse_status_line(line: &[u8]) -> Result<(bool, u16), BadResponse> {
    let (version, rest) = line.split_at_checked(9).ok_or(BadResponse::StatusLine)?;
    let is_1_0 = match version {
        b"HTTP/1.1 " => false,
        b"HTTP/1.0 " => true,
        _ => return Err(BadResponse::StatusLine),
    };
    let (digits, reason) = rest.split_at_checked(3).ok_or(BadResponse::StatusLine)?;
    let is_reason = reason.is_empty() || reason.starts_with(b" ");
    let is_printable = reason.iter().all(|&b| matches!(b, b'\t' | b' '..=b'~' | 0x80..));
    if !digits.iter().all(u8::is_ascii_digit) || !is_reason || !is_printable {
        return Err(BadResponse::StatusLine);
    }
    let status = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    status.filter(|status| (100..600).contains(status)).map(|status| (is_1_0, status)).ok_or(BadResponse::StatusLine)
}

impl Response {
    /// How long the server asks to be left alone, where it says so in seconds (RFC 9110 section 10.2.3).
    pub fn retry_after(&self) -> Option<std::time::Duration> {
        let value = self.fields.at_most_one("retry-after").ok()??;
        let seconds = std::str::from_utf8(value).ok()?.parse().ok()?;
        Some(std::time::Duration::from_secs(seconds))
    }

    /// What a field says that comes at most once, and does.
    pub(crate) fn field(&self, name: &'static str) -> Option<&[u8]> {
        self.fields.at_most_one(name).ok().flatten()
    }

    /// Whether the body is a stream of events.
    pub fn is_event_stream(&self) -> bool {
        let kind = self.fields.at_most_one("content-type").ok().flatten().unwrap_or_default();
        let kind = kind.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
        kind.eq_ignore_ascii_case(b"text/event-stream")
    }

    /// How the body is delimited towards the client, whose connection stays open where it can.
    pub fn framing_to_client(&self) -> Framing {
        if self.framing == Framing::UntilClose { Framing::Chunked } else { self.framing }
    }

    /// Writes the head for the client.
    pub fn write_head(&self, closes: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("HTTP/1.1 {} \r\n", self.status).as_bytes());
        self.fields.write(out);
        write_framing(self.framing_to_client(), out);
        if closes {
            out.extend_from_slice(b"connection: close\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(head: &str, method: Method) -> Result<Response, BadResponse> {
        parse_response(head.as_bytes(), method)
    }

    #[test]
    fn framings_follow_method_and_status() {
        for (head, method, framing, closes) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", Method::Get, Framing::Length(4), false),
            ("HTTP/1.1 200\r\nContent-Length: 4\r\n\r\n", Method::Head, Framing::Empty, false),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n", Method::Get, Framing::Empty, false),
            ("HTTP/1.1 204 \r\n\r\n", Method::Get, Framing::Empty, false),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Method::Get, Framing::Chunked, false),
            ("HTTP/1.1 200 OK\r\n\r\n", Method::Get, Framing::UntilClose, true),
            ("HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\n", Method::Get, Framing::Length(4), true),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\n",
                Method::Get,
                Framing::Length(4),
                true,
            ),
        ] {
            let response = parse(head, method).unwrap();
            assert_eq!((response.framing, response.closes), (framing, closes), "{head:?}");
        }
    }

    #[test]
    fn a_client_sees_no_cookie_no_other_protocol_and_no_reason() {
        let head = "HTTP/1.1 200 Fine, really\r\nSet-Cookie: a=b\r\nAlt-Svc: h3=\":443\"\r\nETag: \"x\"\r\nContent-Length: 4\r\n\r\n";
        let mut written = Vec::new();
        parse(head, Method::Get).unwrap().write_head(false, &mut written);
        assert_eq!(String::from_utf8(written).unwrap(), "HTTP/1.1 200 \r\netag: \"x\"\r\ncontent-length: 4\r\n\r\n");
    }

    #[test]
    fn a42_hostile_responses_are_refused() {
        for head in [
            "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 99 x\r\n\r\n",
            "HTTP/1.1 600 x\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\n folded\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConnection: content-type\r\n\r\n",
        ] {
            assert!(parse(head, Method::Get).is_err(), "{head:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_response(&bytes, Method::Get);
        }
    }
}
