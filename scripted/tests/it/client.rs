//! A client that sends what it is told, right or wrong.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};

pub(crate) const KEY: &str = "sk-scripted";

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The data of every event that came whole.
    pub(crate) fn events(&self) -> Vec<String> {
        let whole = self.body.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
        whole.split("\n\n").filter_map(|event| event.split_once("data: ").map(|(_, data)| data.to_owned())).collect()
    }
}

/// Where each protocol is asked, and the fields it takes.
pub(crate) const ANTHROPIC: (&str, &str) =
    ("/v1/messages", "x-api-key: sk-scripted\r\nanthropic-version: 2023-06-01\r\n");
pub(crate) const RESPONSES: (&str, &str) = ("/v1/responses", "authorization: Bearer sk-scripted\r\n");
pub(crate) const CHAT: (&str, &str) = ("/v1/chat/completions", "authorization: Bearer sk-scripted\r\n");
pub(crate) const GEMINI: (&str, &str) =
    ("/v1beta/models/gemini-2.5-pro:generateContent", "x-goog-api-key: sk-scripted\r\n");
pub(crate) const GEMINI_SSE: (&str, &str) =
    ("/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", "x-goog-api-key: sk-scripted\r\n");

/// Sends a body and reads the answer until the server closes the connection.
pub(crate) fn post(server: SocketAddr, to: (&str, &str), body: &Value) -> Answer {
    let mut stream = send(server, to, body);
    let mut answer = Vec::new();
    // A connection that was reset has said all it will.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = if head.contains("chunked") { unchunked(body) } else { body.to_owned() };
    Answer { status, head: head.to_owned(), body }
}

/// Sends a body and leaves the answer to be read.
pub(crate) fn send(server: SocketAddr, (target, fields): (&str, &str), body: &Value) -> TcpStream {
    let mut stream = TcpStream::connect(server).unwrap();
    let body = body.to_string();
    let length = body.len();
    let head =
        format!("POST {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{fields}content-length: {length}\r\n\r\n");
    stream.write_all((head + &body).as_bytes()).unwrap();
    stream
}

fn unchunked(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, more)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        let (chunk, more) = more.split_at(size);
        body.push_str(chunk);
        rest = more.strip_prefix("\r\n").unwrap();
    }
    body
}

/// The smallest request of each protocol with a tool.
pub(crate) fn anthropic(messages: Value) -> Value {
    let tools = json!([{ "name": "Write", "input_schema": { "type": "object" } }]);
    json!({ "model": "claude-x", "max_tokens": 100, "tools": tools, "messages": messages })
}

pub(crate) fn responses(input: Value) -> Value {
    let tools =
        json!([{ "type": "function", "name": "Write", "parameters": {} }, { "type": "custom", "name": "apply_patch" }]);
    json!({ "model": "gpt-x", "tools": tools, "input": input, "store": false })
}

pub(crate) fn chat(messages: Value) -> Value {
    let tools = json!([{ "type": "function", "function": { "name": "Write", "parameters": {} } }]);
    json!({ "model": "gpt-x", "tools": tools, "messages": messages })
}

pub(crate) fn gemini(contents: Value) -> Value {
    json!({ "tools": [{ "functionDeclarations": [{ "name": "Write" }] }], "contents": contents })
}
