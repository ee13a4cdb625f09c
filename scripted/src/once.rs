//! One answer without a server, for whoever stands in a vendor's place itself.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::Turn;
use crate::answer::{Event, Reply};
use crate::http::{self, Request};
use crate::protocol::{Ask, Protocol, Refusal, Told, What};

/// A request to a vendor, as far as its answer depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Once<'a> {
    /// Its path.
    pub path: &'a str,
    /// What follows the question mark; empty where there is none.
    pub query: &'a str,
    /// Its header fields, with names in lower case.
    pub fields: &'a [(String, String)],
    /// Its body.
    pub body: &'a [u8],
}

impl Once<'_> {
    /// What a vendor whose model says this turn answers, head and body. `number` counts the answers of one conversation, so that every id
    /// is given once. What no vendor would take is refused as they do; faults and costs of the turn are left out.
    pub fn answered(self, turn: &Turn, number: u64) -> Vec<u8> {
        let request = Request {
            method: "POST".to_owned(),
            path: self.path.to_owned(),
            query: self.query.to_owned(),
            fields: self.fields.to_vec(),
            body: Vec::new(),
        };
        let Some((protocol, what)) = Protocol::of(self.path) else {
            let refusal = Refusal::of(format!("Invalid URL (POST {})", self.path)).with(404);
            return whole(404, &Protocol::Chat.error(&refusal));
        };
        let body: Value = serde_json::from_slice(self.body).unwrap_or_default();
        match protocol.read(Ask { what, request: &request, body: &body }) {
            Err(refusal) => whole(refusal.status, &protocol.error(&refusal)),
            Ok(_) if what == What::Count => whole(200, &protocol.count(turn.usage.read())),
            Ok(told) => said(protocol, &told, turn, &body, number),
        }
    }
}

fn said(protocol: Protocol, told: &Told, turn: &Turn, body: &Value, number: u64) -> Vec<u8> {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).map(|passed| passed.as_secs()).unwrap_or_default();
    let reply = Reply { told, turn, body, number, at };
    match told.streams {
        false => whole(200, &protocol.whole(&reply)),
        true => {
            let events: String = protocol.events(&reply).iter().map(Event::line).collect();
            sent(200, "text/event-stream", &events)
        }
    }
}

fn whole(status: u16, body: &Value) -> Vec<u8> {
    sent(status, "application/json", &body.to_string())
}

fn sent(status: u16, kind: &str, body: &str) -> Vec<u8> {
    [http::head(status, kind, Some(body.len()), &[]), body.to_owned()].concat().into_bytes()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answered(path: &str, query: &str, body: &Value) -> String {
        let turn = Turn::new().text("Hm.").call("run", json!({ "command": "true" }));
        let body = body.to_string();
        let fields = [("anthropic-version".to_owned(), "2023-06-01".to_owned())];
        String::from_utf8(Once { path, query, fields: &fields, body: body.as_bytes() }.answered(&turn, 1)).unwrap()
    }

    #[test]
    fn every_protocol_is_answered_in_one_piece_and_in_events() {
        let tools = json!([{ "type": "function", "function": { "name": "run" } }]);
        let chat = json!({ "model": "m", "messages": [{ "role": "user", "content": "go" }], "tools": tools });
        let messages = json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "go" }] });
        let responses = json!({ "model": "m", "input": "go" });
        for (path, body) in
            [("/v1/chat/completions", &chat), ("/v1/messages", &messages), ("/v1/responses", &responses)]
        {
            let mut streams = body.clone();
            streams["stream"] = json!(true);
            let (whole, events) = (answered(path, "", body), answered(path, "", &streams));
            assert!(whole.starts_with("HTTP/1.1 200") && whole.contains("application/json"), "{whole}");
            assert!(events.contains("text/event-stream") && events.contains("data: "), "{events}");
            assert!(whole.contains("\"run\"") && events.contains("run"), "{whole}\n{events}");
        }
        let gemini = json!({ "contents": [{ "role": "user", "parts": [{ "text": "go" }] }] });
        assert!(answered("/v1beta/models/m:streamGenerateContent", "alt=sse", &gemini).contains("data: "));
        assert!(answered("/v1beta/models/m:countTokens", "", &gemini).contains("totalTokens"));
    }

    #[test]
    fn what_a_vendor_would_refuse_is_refused() {
        assert!(answered("/v1/files", "", &json!({})).starts_with("HTTP/1.1 404"));
        assert!(answered("/v1/messages", "", &json!({ "model": "m" })).starts_with("HTTP/1.1 400"));
    }
}
