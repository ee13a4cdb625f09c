//! What a model answers, read as it comes. Owns the contract of the four protocols' readers: nothing of a tool call leaves before it was
//! ruled on, what comes after it waits behind it, and what is not understood is not passed on.

use super::denials::Denials;
use super::{Protocol, Usage};

/// Longest line or event of a stream. A whole file in one tool call is the largest thing seen.
pub const EVENT_BYTES_MAX: usize = 8 << 20;

/// Most bytes that wait in one answer for a tool call to become whole.
pub const HELD_BYTES_MAX: usize = 32 << 20;

/// Most tool calls in one answer. Agents run a handful side by side.
pub const CALLS_MAX: usize = 128;

/// A tool call that a model asks an agent to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its id, by which the agent answers; made up by the reader where a protocol has none.
    pub id: String,
    /// The tool.
    pub name: String,
    /// What it is called with: a JSON object, or text where the tool takes text.
    pub arguments: String,
    /// Whether `arguments` is JSON.
    pub is_json: bool,
}

/// What was decided on a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// It passes unchanged.
    Allowed,
    /// It keeps its place and id, under a name that no agent declares; on the next request the model is told this.
    Denied {
        /// What the model is told: a code and a next step.
        told: String,
    },
}

/// What an answer cost, as far as it is known by now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metered {
    /// The vendor's own numbers.
    pub usage: Usage,
    /// Whether they are the last ones; otherwise the stream was cut, or has not ended, and whoever pays must estimate.
    pub is_final: bool,
    /// Bytes of text, reasoning and arguments that the model wrote, for that estimate.
    pub written_bytes: u64,
}

/// An answer that is not one of its protocol. Nothing of it that was not passed on yet is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Garbled {
    /// Not the syntax: not JSON, not an event stream.
    #[error("the model's answer is not {0}")]
    Syntax(&'static str),
    /// An event or a member that cannot stand there.
    #[error("the model's answer has {0} where its protocol has none")]
    Misplaced(String),
    /// A kind of content that the door does not know, and so cannot judge.
    #[error("the model's answer has content of kind `{0}`, which this door does not know")]
    Unknown(String),
    /// It ended in the middle.
    #[error("the model's answer was cut")]
    Cut,
    /// Nothing more came for too long.
    #[error("the model said nothing for longer than is waited for it")]
    Silent,
    /// Too long, too deep, or too many calls.
    #[error("the model's answer has too {0}")]
    TooMuch(&'static str),
}

/// A reader of one answer: of a stream, event by event, or of a whole body. One reader reads one answer.
///
/// The door calls [`event`](Self::event) (or [`body`](Self::body) once), asks its keeper about each call that became whole, in order,
/// tells the reader with [`rule`](Self::rule), and passes on what [`drain`](Self::drain) gives.
pub trait Answer: Send {
    /// Takes an event of a stream: its name, empty where it has none, and its data. Gives the calls that it made whole.
    fn event(&mut self, name: &str, data: &str) -> Result<Vec<Call>, Garbled>;

    /// Takes a whole answer. Gives its calls.
    fn body(&mut self, body: &[u8]) -> Result<Vec<Call>, Garbled>;

    /// Rules on the calls that were given last: one ruling each, in their order. A denied call is remembered in `denials`, and its bytes
    /// become those of a call of [`Denials::name`].
    fn rule(&mut self, rulings: &[Ruling], denials: &mut Denials);

    /// The stream is over. An error where the protocol says that more should have come.
    fn end(&mut self) -> Result<(), Garbled>;

    /// What may go to the agent by now, written as it goes: events of a stream with their blank lines, or a whole body.
    fn drain(&mut self) -> Vec<u8>;

    /// What it cost.
    fn metered(&self) -> Metered;

    /// Another reader that stands where this one does: what follows can be looked through while this one waits for a ruling.
    fn twin(&self) -> Box<dyn Answer>;
}

/// What says in a stream that there is more to come, and that clients skip: the protocol's own event where there is one, else a comment.
/// Google's own client takes nothing but white space before an event.
pub fn keep_alive(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Messages => b"event: ping\ndata: {\"type\":\"ping\"}\n\n",
        Protocol::Responses | Protocol::Chat => b": held\n\n",
        Protocol::Gemini => b"\n",
    }
}

/// The last bytes an agent is given of a stream that broke: an error event of the protocol, so that it does not take half an answer for a
/// whole one.
pub fn broken(protocol: Protocol, code: &str, because: &str) -> Vec<u8> {
    let error = serde_json::json!({ "type": code, "code": code, "message": because });
    let (event, data) = match protocol {
        Protocol::Messages => ("event: error\n", serde_json::json!({ "type": "error", "error": error })),
        Protocol::Responses => {
            ("event: error\n", serde_json::json!({ "type": "error", "code": code, "message": because }))
        }
        Protocol::Chat | Protocol::Gemini => ("", serde_json::json!({ "error": error })),
    };
    format!("{event}data: {data}\n\n").into_bytes()
}
