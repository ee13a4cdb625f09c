//! The messages of the protocol that are understood, and no other: JSON-RPC 2.0, one message a line, protocol version 1. Reading is total:
//! members that nobody needs are passed over without being kept, however many there are and however deep they go.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Longest message: updates quote whole files and the output of commands.
pub(super) const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// How deep a message may be nested, as JSON's own readers bound it.
const NESTING_MAX: usize = 128;

/// Longest name of a session, an option or a request; agents' own are some forty characters.
const ID_BYTES_MAX: usize = 1_024;

/// Longest name of a method.
const METHOD_BYTES_MAX: usize = 128;

/// How JSON-RPC says that there is no such method.
const NO_SUCH_METHOD: i64 = -32_601;

/// A line that is no message, or says something else than it has to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Wrong(String);

impl Wrong {
    fn new(because: impl Into<String>) -> Self {
        Self(because.into())
    }
}

/// What a line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// An answer to the request of this number, or why there is none.
    Answer(u64, Result<(), String>),
    /// A request.
    Asks {
        /// To be sent back with the answer.
        id: Value,
        method: String,
    },
    /// Something that wants no answer.
    Tells { method: String },
}

/// A message that is sent, as a line.
pub(super) fn request(number: u64, method: &str, params: &Value) -> String {
    line(&json!({ "jsonrpc": "2.0", "id": number, "method": method, "params": params }))
}

/// What `initialize` asks for: version 1, and nothing offered.
pub(super) fn hello() -> Value {
    json!({
        "protocolVersion": VERSION,
        "clientCapabilities": { "fs": { "readTextFile": false, "writeTextFile": false }, "terminal": false },
        "clientInfo": { "name": "selvedge", "title": "Selvedge", "version": env!("CARGO_PKG_VERSION") },
    })
}

/// The version that is spoken.
pub(super) const VERSION: u64 = 1;

/// The answer to a request for permission.
pub(super) fn permitted(id: &Value, option: Option<&str>) -> String {
    let outcome = match option {
        Some(option) => json!({ "outcome": "selected", "optionId": option }),
        None => json!({ "outcome": "cancelled" }),
    };
    line(&json!({ "jsonrpc": "2.0", "id": id, "result": { "outcome": outcome } }))
}

/// The answer to a request for what was not offered.
pub(super) fn declined(id: &Value) -> String {
    let error = json!({ "code": NO_SUCH_METHOD, "message": "not offered: use what there is in the sandbox itself" });
    line(&json!({ "jsonrpc": "2.0", "id": id, "error": error }))
}

fn line(message: &Value) -> String {
    format!("{message}\n")
}

/// Everything of a message but what it is about.
#[derive(Deserialize)]
struct Envelope {
    jsonrpc: String,
    id: Option<Value>,
    method: Option<String>,
    error: Option<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    message: String,
}

/// What a line is.
pub(super) fn read(line: &[u8]) -> Result<Message, Wrong> {
    if nesting(line) > NESTING_MAX {
        return Err(Wrong::new(format!("a message is nested more than {NESTING_MAX} deep")));
    }
    let read = serde_json::from_slice::<Envelope>(line).ok().filter(|read| read.jsonrpc == "2.0");
    let Some(Envelope { id, method, error, .. }) = read else {
        return Err(Wrong::new(format!("a line is no message of JSON-RPC 2.0: {}", shown(line))));
    };
    match (method, id) {
        (Some(method), _) if method.len() > METHOD_BYTES_MAX => Err(Wrong::new("a method's name is too long")),
        (Some(method), None) => Ok(Message::Tells { method }),
        (Some(method), Some(id)) if id.is_u64() || id.is_i64() || is_short(&id) => Ok(Message::Asks { id, method }),
        (Some(_), Some(_)) => Err(Wrong::new("a request's id is neither a whole number nor a short text")),
        (None, id) => match id.as_ref().and_then(Value::as_u64) {
            Some(id) => Ok(Message::Answer(id, error.map_or(Ok(()), |problem| Err(problem.message)))),
            None => Err(Wrong::new("an answer names no request of ours")),
        },
    }
}

fn is_short(id: &Value) -> bool {
    id.as_str().is_some_and(|id| id.len() <= ID_BYTES_MAX)
}

/// How deep the brackets of a line go, those in texts apart.
fn nesting(line: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut is_escaped) = (0_usize, 0, false, false);
    for byte in line {
        match (in_text, byte) {
            (true, _) if is_escaped => is_escaped = false,
            (true, b'\\') => is_escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b'{' | b'[') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The beginning of a line, for a message.
pub(super) fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().take(80).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What the agent says of itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hello {
    pub(super) protocol_version: u64,
    agent_capabilities: Option<Capabilities>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Capabilities {
    mcp_capabilities: Option<Transports>,
}

#[derive(Debug, Deserialize)]
struct Transports {
    http: Option<bool>,
}

impl Hello {
    /// Whether tool servers can be given to it by their addresses.
    pub(super) fn takes_servers(&self) -> bool {
        let transports = self.agent_capabilities.as_ref().and_then(|can| can.mcp_capabilities.as_ref());
        transports.and_then(|transports| transports.http).unwrap_or_default()
    }
}

/// A session that was begun.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Session {
    pub(super) session_id: String,
}

/// What of a session can be set. Agents have modes, or a setting of the category `mode`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Settable {
    modes: Option<Modes>,
    config_options: Option<Vec<Setting>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Modes {
    available_modes: Vec<Mode>,
}

#[derive(Debug, Deserialize)]
struct Mode {
    id: String,
}

#[derive(Debug, Deserialize)]
struct Setting {
    id: String,
    category: Option<String>,
    options: Option<Vec<Choice>>,
}

/// A value, or a group of values.
#[derive(Debug, Deserialize)]
struct Choice {
    value: Option<String>,
    options: Option<Vec<Choice>>,
}

impl Settable {
    /// The request that sets this mode, its method and what it says; otherwise the modes there are.
    pub(super) fn set(&self, session: &str, mode: &str) -> Result<(&'static str, Value), Vec<String>> {
        let modes = self.modes.iter().flat_map(|modes| &modes.available_modes).map(|mode| &mode.id);
        let modes: Vec<&String> = modes.collect();
        if modes.iter().any(|known| *known == mode) {
            return Ok(("session/set_mode", json!({ "sessionId": session, "modeId": mode })));
        }
        let settings = self.config_options.iter().flatten();
        let setting = settings.into_iter().find(|setting| setting.category.as_deref() == Some("mode"));
        let choices = setting.iter().flat_map(|setting| setting.options.iter().flatten());
        let each = |choice: &Choice| {
            let within = choice.options.iter().flatten().filter_map(|choice| choice.value.clone());
            choice.value.clone().into_iter().chain(within).collect::<Vec<_>>()
        };
        let choices: Vec<String> = choices.flat_map(each).collect();
        match setting.filter(|_| choices.iter().any(|known| known == mode)) {
            Some(setting) => {
                let set = json!({ "sessionId": session, "configId": setting.id, "value": mode });
                Ok(("session/set_config_option", set))
            }
            None => Err(modes.into_iter().cloned().chain(choices).collect()),
        }
    }
}

/// How a turn ended.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stopped {
    pub(super) stop_reason: String,
}

/// What is told of a turn while it goes on.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Update {
    pub(super) session_id: String,
    pub(super) update: Kind,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kind {
    pub(super) session_update: String,
}

/// More of what the agent is saying.
#[derive(Debug, Deserialize)]
pub(super) struct Chunk {
    update: Content,
}

#[derive(Debug, Deserialize)]
struct Content {
    content: Text,
}

#[derive(Debug, Deserialize)]
struct Text {
    text: Option<String>,
}

impl Chunk {
    /// The words of it; pictures and the like have none.
    pub(super) fn text(self) -> String {
        self.update.content.text.unwrap_or_default()
    }
}

/// A tool is used.
#[derive(Debug, Deserialize)]
pub(super) struct Use {
    pub(super) update: Used,
}

#[derive(Debug, Deserialize)]
pub(super) struct Used {
    title: Option<String>,
    name: Option<String>,
    kind: Option<String>,
}

impl Used {
    /// What it is called, and what it is about.
    pub(super) fn told(self) -> (String, String) {
        let tool = self.name.or(self.kind).unwrap_or_else(|| "other".to_owned());
        (tool, self.title.unwrap_or_default())
    }
}

/// The agent asks whether it may.
#[derive(Debug, Deserialize)]
pub(super) struct Permission {
    options: Vec<Answer>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    option_id: String,
    kind: String,
}

impl Permission {
    /// Yes, this once; where that is not offered, no, this once. Never an answer that the agent would remember: what it does not ask
    /// about is decided without it, and what it remembers is its own affair.
    pub(super) fn choice(&self) -> Option<(&str, bool)> {
        let of = |kind: &str| self.options.iter().find(|option| option.kind == kind);
        let once = of("allow_once").map(|option| (option.option_id.as_str(), true));
        once.or_else(|| of("reject_once").map(|option| (option.option_id.as_str(), false)))
    }
}

#[derive(Deserialize)]
struct With<P> {
    params: P,
}

#[derive(Deserialize)]
struct Of<R> {
    result: R,
}

/// What a request or something told is about.
pub(super) fn params<P: DeserializeOwned>(line: &[u8], method: &str) -> Result<P, Wrong> {
    let wrong = |_| Wrong::new(format!("`{method}` does not say what it has to"));
    serde_json::from_slice::<With<P>>(line).map(|with| with.params).map_err(wrong)
}

/// What an answer says.
pub(super) fn result<R: DeserializeOwned>(line: &[u8], method: &str) -> Result<R, Wrong> {
    let wrong = |_| Wrong::new(format!("the answer to `{method}` does not say what it has to"));
    serde_json::from_slice::<Of<R>>(line).map(|of| of.result).map_err(wrong)
}

impl Session {
    /// The session's name, if it is one that can be sent back.
    pub(super) fn id(self) -> Result<String, Wrong> {
        if self.session_id.is_empty() || self.session_id.len() > ID_BYTES_MAX {
            return Err(Wrong::new("a session's name is empty or too long"));
        }
        Ok(self.session_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_texts_are_none_and_deep_ones_are_refused() {
        assert_eq!(nesting(br#"{"a":"[[[\"[[{","b":[{}]}"#), 3);
        let deep = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"x\",\"params\":{}", "[".repeat(2_000_000));
        assert!(read(deep.as_bytes()).unwrap_err().to_string().contains("nested more than 128"));
        let at_most = format!(r#"{{"jsonrpc":"2.0","method":"x","params":{}{}}}"#, "[".repeat(127), "]".repeat(127));
        assert_eq!(read(at_most.as_bytes()), Ok(Message::Tells { method: "x".to_owned() }));
    }

    #[test]
    fn a_line_is_a_request_an_answer_or_told_and_nothing_else() {
        let asks = |id: Value| Ok(Message::Asks { id, method: "m".to_owned() });
        assert_eq!(read(br#"{"jsonrpc":"2.0","id":0,"method":"m"}"#), asks(json!(0)));
        assert_eq!(read(br#"{"jsonrpc":"2.0","id":"a","method":"m","params":[1]}"#), asks(json!("a")));
        assert_eq!(read(br#"{"jsonrpc":"2.0","id":3,"result":null}"#), Ok(Message::Answer(3, Ok(()))));
        let failed = Message::Answer(3, Err("no".to_owned()));
        assert_eq!(read(br#"{"jsonrpc":"2.0","id":3,"error":{"code":1,"message":"no"}}"#), Ok(failed));
        for wrong in [
            r#"{"id":3,"result":{}}"#,
            r#"{"jsonrpc":"1.0","id":3,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":"3","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":3,"id":4,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":[3],"method":"m"}"#,
            r#"{"jsonrpc":"2.0"}"#,
            "[]",
            "{",
        ] {
            assert!(read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mode_is_set_as_the_agent_has_it_and_others_are_named() {
        let settable = |text: &str| serde_json::from_str::<Settable>(text).unwrap();
        let modes =
            settable(r#"{"sessionId":"s","modes":{"currentModeId":"a","availableModes":[{"id":"a"},{"id":"b"}]}}"#);
        assert_eq!(modes.set("s", "b"), Ok(("session/set_mode", json!({ "sessionId": "s", "modeId": "b" }))));
        assert_eq!(modes.set("s", "c"), Err(vec!["a".to_owned(), "b".to_owned()]));
        let settings = settable(
            r#"{"configOptions":[{"id":"model","category":"model","options":[{"value":"c"}]},
               {"id":"how","category":"mode","options":[{"value":"a"},{"group":"g","options":[{"value":"b"}]}]}]}"#,
        );
        let set = json!({ "sessionId": "s", "configId": "how", "value": "b" });
        assert_eq!(settings.set("s", "b"), Ok(("session/set_config_option", set)));
        assert_eq!(settings.set("s", "c"), Err(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(settable("{}").set("s", "c"), Err(Vec::new()));
    }
}
