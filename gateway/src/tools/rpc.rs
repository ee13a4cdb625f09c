//! JSON-RPC 2.0 as MCP uses it, read strictly in both directions: one message at a time, each member once, nothing that two readers could
//! take for two things. No I/O.

use serde_json::{Map, Value, json};

use crate::model::json::{self, NotPlain};

/// Versions of the protocol that are spoken, newest first. They begin with a handshake and have no state beyond it that a door must keep.
pub const VERSIONS: [&str; 4] = [VERSION, "2025-06-18", "2025-03-26", "2024-11-05"];

/// The newest of them, which is asked for.
pub const VERSION: &str = "2025-11-25";

/// Longest name of a method, and longest id that is text.
const WORD_BYTES_MAX: usize = 128;

/// Longest text of a server's error that is passed on.
const ERROR_CHARS_MAX: usize = 1_024;

/// A method that nobody has, in the numbers of JSON-RPC.
pub const METHOD_NOT_FOUND: i64 = -32_601;

/// Parameters that are not what the method takes.
pub const INVALID_PARAMS: i64 = -32_602;

/// A message that is no request.
pub const INVALID_REQUEST: i64 = -32_600;

/// Ours: it was not allowed, or came to nothing.
pub const REFUSED: i64 = -32_000;

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It wants an answer.
    Request {
        /// Under this id: text or a whole number.
        id: Value,
        /// What it asks.
        method: String,
        /// With what.
        params: Map<String, Value>,
    },
    /// It wants none, be it a notification or an answer to what nobody asked.
    Remark,
}

/// What a server says.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// The answer that is waited for.
    Answer(Map<String, Value>),
    /// That there is none.
    Failed {
        /// The number.
        code: i64,
        /// In its words, as they can be shown.
        message: String,
    },
    /// It asks something itself.
    Asks {
        /// Under this id.
        id: Value,
        /// What.
        method: String,
    },
    /// Anything else that is well formed: a notification, or the answer to what is not waited for any more.
    Remark,
}

/// A message that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// Not JSON as this door reads it.
    #[error(transparent)]
    Json(#[from] NotPlain),
    /// Not JSON-RPC 2.0, or more than one message.
    #[error("it is not one message of JSON-RPC 2.0")]
    Shape,
}

/// Reads what a client says.
pub fn said(text: &[u8]) -> Result<Said, BadMessage> {
    let mut message = envelope(text)?;
    let id = message.remove("id");
    let (method, params) = (message.remove("method"), message.remove("params"));
    match (id, method, params) {
        (Some(id), Some(Value::String(method)), params) if is_id(&id) && message.is_empty() => {
            Ok(Said::Request { id, method: word(method)?, params: object(params)? })
        }
        (None, Some(Value::String(method)), params) if message.is_empty() => {
            word(method)?;
            object(params)?;
            Ok(Said::Remark)
        }
        (Some(_), None, None) if message.contains_key("result") != message.contains_key("error") => Ok(Said::Remark),
        _ => Err(BadMessage::Shape),
    }
}

/// Reads what a server says while the answer under `awaited` is waited for.
pub fn heard(text: &[u8], awaited: u64) -> Result<Heard, BadMessage> {
    let mut message = envelope(text)?;
    let (id, method) = (message.remove("id"), message.remove("method"));
    match (id, method) {
        (Some(id), Some(Value::String(method))) if is_id(&id) => Ok(Heard::Asks { id, method: word(method)? }),
        (None, Some(Value::String(method))) => word(method).map(|_| Heard::Remark),
        (Some(id), None) if id.as_u64() == Some(awaited) => match (message.remove("result"), message.remove("error")) {
            (Some(Value::Object(result)), None) => Ok(Heard::Answer(result)),
            (None, Some(Value::Object(error))) => failed(&error),
            _ => Err(BadMessage::Shape),
        },
        // To a question that was given up, or to none.
        (Some(_), None) => Ok(Heard::Remark),
        _ => Err(BadMessage::Shape),
    }
}

fn failed(error: &Map<String, Value>) -> Result<Heard, BadMessage> {
    let code = error.get("code").and_then(Value::as_i64).ok_or(BadMessage::Shape)?;
    let message = error.get("message").and_then(Value::as_str).ok_or(BadMessage::Shape)?;
    Ok(Heard::Failed { code, message: crate::model::facts::shown(message, ERROR_CHARS_MAX) })
}

fn envelope(text: &[u8]) -> Result<Map<String, Value>, BadMessage> {
    let mut message = json::object(text)?;
    match message.remove("jsonrpc") {
        Some(Value::String(version)) if version == "2.0" => Ok(message),
        _ => Err(BadMessage::Shape),
    }
}

fn is_id(id: &Value) -> bool {
    match id {
        Value::String(text) => text.len() <= WORD_BYTES_MAX,
        Value::Number(number) => number.is_u64() || number.is_i64(),
        _ => false,
    }
}

fn word(method: String) -> Result<String, BadMessage> {
    let is_word = (1..=WORD_BYTES_MAX).contains(&method.len()) && method.bytes().all(|byte| byte.is_ascii_graphic());
    if is_word { Ok(method) } else { Err(BadMessage::Shape) }
}

fn object(params: Option<Value>) -> Result<Map<String, Value>, BadMessage> {
    match params {
        None => Ok(Map::new()),
        Some(Value::Object(params)) => Ok(params),
        Some(_) => Err(BadMessage::Shape),
    }
}

/// The answer to a request.
pub fn answer(id: &Value, result: &Value) -> Vec<u8> {
    json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string().into_bytes()
}

/// That there is none, and why; under no id where nobody knows which was meant.
pub fn error(id: &Value, code: i64, message: &str) -> Vec<u8> {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } }).to_string().into_bytes()
}

/// A request of ours.
pub fn request(id: u64, method: &str, params: &Value) -> Vec<u8> {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string().into_bytes()
}

/// A notification of ours.
pub fn notification(method: &str) -> Vec<u8> {
    json!({ "jsonrpc": "2.0", "method": method }).to_string().into_bytes()
}

/// The version to speak with a client that asks for this one.
pub fn version_for(asked: &str) -> &'static str {
    VERSIONS.into_iter().find(|known| *known == asked).unwrap_or(VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_says_is_read() {
        let list = said(br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
        assert_eq!(list, Ok(Said::Request { id: json!(1), method: "tools/list".to_owned(), params: Map::new() }));
        for remark in [
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#,
            r#"{"jsonrpc":"2.0","id":"a","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":"a","error":{"code":1,"message":"x"}}"#,
        ] {
            assert_eq!(said(remark.as_bytes()), Ok(Said::Remark), "{remark}");
        }
    }

    #[test]
    fn what_two_readers_could_take_for_two_things_is_refused_a101() {
        for text in [
            "",
            "[]",
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
            r#"{"id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":""}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","Method":"x"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"} {}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0"}"#,
        ] {
            assert!(said(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn of_a_server_only_the_answer_that_is_waited_for_counts() {
        let answered = heard(br#"{"jsonrpc":"2.0","id":7,"result":{"a":1}}"#, 7);
        assert!(matches!(answered, Ok(Heard::Answer(result)) if result["a"] == json!(1)));
        for remark in [
            r#"{"jsonrpc":"2.0","id":6,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":"7","result":{}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info"}}"#,
        ] {
            assert_eq!(heard(remark.as_bytes(), 7), Ok(Heard::Remark), "{remark}");
        }
        let asks = heard(br#"{"jsonrpc":"2.0","id":7,"method":"sampling/createMessage","params":{}}"#, 7);
        assert_eq!(asks, Ok(Heard::Asks { id: json!(7), method: "sampling/createMessage".to_owned() }));
        let failed =
            heard("{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":-1,\"message\":\"no\\u001b[2J\"}}".as_bytes(), 7);
        assert_eq!(failed, Ok(Heard::Failed { code: -1, message: "no\u{fffd}[2J".to_owned() }));
        for text in [
            r#"{"jsonrpc":"2.0","id":7,"result":{},"error":{"code":1,"message":"x"}}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":[]}"#,
            r#"{"jsonrpc":"2.0","id":7}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":{},"result":{}}"#,
            "log line",
        ] {
            assert!(heard(text.as_bytes(), 7).is_err(), "{text}");
        }
    }

    #[test]
    fn a_client_of_an_unknown_version_is_offered_the_newest() {
        assert_eq!(version_for("2025-03-26"), "2025-03-26");
        assert_eq!(version_for("2026-07-28"), VERSION);
    }
}
