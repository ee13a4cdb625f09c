//! Signs of life for a client of the tool door while its answer is still to come: somebody is waited for, or a server takes its time. Owns how
//! the protocol lets a server say that; never knows what the answer is.

use serde_json::{Map, Value, json};
use tokio::time::{Duration, Instant, sleep_until};

use crate::http::body::{self, Framing};
use crate::http::request::Exchange;

/// How often a client hears that the answer is still coming; and how long one that comes at once is waited for, which needs no sign.
const EVERY: Duration = Duration::from_secs(5);

/// Longest name that a client may give to what it waits for.
const TOKEN_BYTES_MAX: usize = 128;

/// What of an answer went out before it.
pub(super) struct Signs {
    is_stream: bool,
    /// What the client calls the call, where it wants to hear of it by that name.
    token: Option<Value>,
    sent: u64,
    next: Instant,
}

impl Signs {
    /// None yet. A client that takes a stream is told in events; any other hears white space, which nothing of JSON minds before it.
    pub(super) fn of(request: &Exchange, params: &Map<String, Value>) -> Self {
        let takes = |value: &[u8]| memchr::memmem::find(value, b"text/event-stream").is_some();
        let is_stream = request.fields().any(|field| field.name == "accept" && takes(&field.value));
        let token = params.get("_meta").and_then(|meta| meta.get("progressToken"));
        let token = token.filter(|token| match token {
            Value::String(token) => token.len() <= TOKEN_BYTES_MAX,
            Value::Number(token) => token.is_u64() || token.is_i64(),
            _ => false,
        });
        Self { is_stream, token: token.filter(|_| is_stream).cloned(), sent: 0, next: Instant::now() + EVERY }
    }

    /// Sleeps until the next is due.
    pub(super) async fn due(&self) {
        sleep_until(self.next).await;
    }

    /// The next; before the first, the head of the answer.
    pub(super) fn next(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.sent == 0 {
            let kind = if self.is_stream { "text/event-stream" } else { "application/json" };
            let head = "cache-control: no-store\r\ntransfer-encoding: chunked\r\n\r\n";
            out.extend_from_slice(format!("HTTP/1.1 200 \r\ncontent-type: {kind}\r\n{head}").as_bytes());
        }
        self.sent = self.sent.saturating_add(1);
        self.next = Instant::now() + EVERY;
        let sign = match (&self.token, self.is_stream) {
            (Some(token), _) => {
                let params = json!({ "progressToken": token, "progress": self.sent, "message": "still at it" });
                event(&json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params }).to_string())
            }
            (None, true) => ": still at it\n\n".to_owned(),
            (None, false) => "\n".to_owned(),
        };
        body::write_piece(Framing::Chunked, sign.as_bytes(), &mut out);
        out
    }

    /// The answer behind what went out before it; none where nothing did.
    pub(super) fn end(&self, answer: &[u8]) -> Option<Vec<u8>> {
        if self.sent == 0 {
            return None;
        }
        let mut out = Vec::new();
        match self.is_stream {
            true => body::write_piece(Framing::Chunked, event(&String::from_utf8_lossy(answer)).as_bytes(), &mut out),
            false => body::write_piece(Framing::Chunked, answer, &mut out),
        }
        body::write_end(Framing::Chunked, &mut out);
        Some(out)
    }
}

/// A message as an event: of one line, as JSON without line ends is.
fn event(message: &str) -> String {
    format!("event: message\ndata: {message}\n\n")
}
