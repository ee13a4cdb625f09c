//! What the four protocols have in common: which request belongs to which, what a request tells, and how it is refused. Each protocol is
//! one file below, with its requests read first and its answers written after.

mod anthropic;
mod chat;
mod gemini;
mod responses;

use serde_json::Value;

use crate::answer::{Event, Reply};
use crate::http::Request;

/// A vendor's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI Responses.
    Responses,
    /// OpenAI Chat Completions.
    Chat,
    /// Gemini of the Gemini API.
    Gemini,
}

/// What of a protocol is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// The next turn.
    Turn,
    /// How many tokens a request would have.
    Count,
}

/// A request of which the path is known and the body is JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) what: What,
    pub(crate) request: &'a Request,
    pub(crate) body: &'a Value,
}

/// What a request tells.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) model: String,
    pub(crate) tools: Vec<Tool>,
    pub(crate) results: Vec<String>,
    /// Which turn of the script comes next.
    pub(crate) turn: usize,
    pub(crate) streams: bool,
}

/// A tool that is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) takes: Takes,
    /// The group it is in, which a call of it names, too.
    pub(crate) namespace: Option<String>,
}

/// What a tool takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    Arguments,
    Text,
}

/// Why a vendor would refuse a request.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) message: String,
    /// The member it is about, where the protocol says so apart.
    pub(crate) param: Option<String>,
    /// A code, where the protocol has one.
    pub(crate) code: Option<&'static str>,
}

impl Refusal {
    /// A request that is not as the vendor says.
    pub(crate) fn of(message: impl Into<String>) -> Self {
        Self { status: 400, message: message.into(), param: None, code: None }
    }

    /// The same about a member.
    pub(crate) fn at(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..Self::of(message) }
    }

    /// The same under another status.
    pub(crate) fn with(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The same with a code.
    pub(crate) fn coded(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }
}

impl Protocol {
    /// What a path asks, and of which protocol.
    pub(crate) fn of(path: &str) -> Option<(Self, What)> {
        Some(match path {
            "/v1/messages" => (Self::Anthropic, What::Turn),
            "/v1/messages/count_tokens" => (Self::Anthropic, What::Count),
            "/v1/responses" => (Self::Responses, What::Turn),
            "/v1/chat/completions" => (Self::Chat, What::Turn),
            _ => match gemini::target(path)?.1 {
                "generateContent" | "streamGenerateContent" => (Self::Gemini, What::Turn),
                "countTokens" => (Self::Gemini, What::Count),
                _ => return None,
            },
        })
    }

    /// Where the key of a request is, and whether every key in it is the right one.
    pub(crate) fn key(self, request: &Request, key: &str) -> Result<Option<&'static str>, Refusal> {
        if key.is_empty() {
            return Ok(None);
        }
        let places: &[&'static str] = match self {
            Self::Anthropic => &["x-api-key", "authorization"],
            Self::Responses | Self::Chat => &["authorization"],
            Self::Gemini => &["x-goog-api-key", "key"],
        };
        let sent = places.iter().filter_map(|place| {
            let value = if *place == "key" { request.parameter("key") } else { request.field(place) };
            value.map(|value| (*place, value))
        });
        let mut found = None;
        for (place, value) in sent {
            let value =
                if place == "authorization" { value.strip_prefix("Bearer ").unwrap_or_default() } else { value };
            if value != key {
                return Err(self.wrong_key(place));
            }
            found = found.or(Some(place));
        }
        found.map(Some).ok_or_else(|| self.no_key())
    }

    fn wrong_key(self, place: &str) -> Refusal {
        match self {
            Self::Anthropic if place == "authorization" => Refusal::of("Invalid bearer token").with(401),
            Self::Anthropic => Refusal::of("invalid x-api-key").with(401),
            Self::Responses | Self::Chat => {
                Refusal::of("Incorrect API key provided.").with(401).coded("invalid_api_key")
            }
            // Google has no 401 for a key that is none.
            Self::Gemini => Refusal::of("API key not valid. Please pass a valid API key.").coded("API_KEY_INVALID"),
        }
    }

    fn no_key(self) -> Refusal {
        match self {
            Self::Anthropic => Refusal::of("x-api-key header is required").with(401),
            Self::Responses | Self::Chat => Refusal::of("You didn't provide an API key.").with(401),
            Self::Gemini => Refusal::of(
                "Method doesn't allow unregistered callers (callers without established identity). Please use API Key \
                 or other form of API consumer identity to call this API.",
            )
            .with(403),
        }
    }

    /// What a request tells, or why its vendor would refuse it.
    pub(crate) fn read(self, ask: Ask<'_>) -> Result<Told, Refusal> {
        match self {
            Self::Anthropic => anthropic::read(ask),
            Self::Responses => responses::read(ask),
            Self::Chat => chat::read(ask),
            Self::Gemini => gemini::read(ask),
        }
    }

    /// An answer in one piece.
    pub(crate) fn whole(self, reply: &Reply<'_>) -> Value {
        match self {
            Self::Anthropic => anthropic::whole(reply),
            Self::Responses => responses::whole(reply),
            Self::Chat => chat::whole(reply),
            Self::Gemini => gemini::whole(reply),
        }
    }

    /// The same answer as events.
    pub(crate) fn events(self, reply: &Reply<'_>) -> Vec<Event> {
        match self {
            Self::Anthropic => anthropic::events(reply),
            Self::Responses => responses::events(reply),
            Self::Chat => chat::events(reply),
            Self::Gemini => gemini::events(reply),
        }
    }

    /// The answer to a count of tokens.
    pub(crate) fn count(self, tokens: u64) -> Value {
        match self {
            Self::Gemini => serde_json::json!({ "totalTokens": tokens }),
            Self::Anthropic | Self::Responses | Self::Chat => serde_json::json!({ "input_tokens": tokens }),
        }
    }

    /// A refusal in the vendor's form.
    pub(crate) fn error(self, refusal: &Refusal) -> Value {
        match self {
            Self::Anthropic => anthropic::error(refusal),
            Self::Responses | Self::Chat => openai_error(refusal),
            Self::Gemini => gemini::error(refusal),
        }
    }
}

/// The form in which OpenAI refuses, in both of its protocols.
fn openai_error(refusal: &Refusal) -> Value {
    let (kind, code) = match refusal.status {
        429 => ("rate_limit_exceeded", Some("rate_limit_exceeded")),
        402 => ("insufficient_quota", Some("insufficient_quota")),
        500.. => ("server_error", None),
        _ => ("invalid_request_error", None),
    };
    serde_json::json!({ "error": {
        "message": refusal.message, "type": kind, "param": refusal.param, "code": refusal.code.or(code),
    } })
}

/// Turns of a model as a request has them. A person's next prompt follows a turn without calls; what agents put between results and the
/// next answer is no prompt.
#[derive(Debug, Default)]
pub(crate) struct Turns(usize);

impl Turns {
    /// The model had a turn, with calls of tools or without.
    pub(crate) fn had(&mut self, calls: usize) {
        self.0 = if calls == 0 { 0 } else { self.0.saturating_add(1) };
    }

    /// Which turn comes next.
    pub(crate) fn next(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_begins_the_script_anew_and_a_turn_with_calls_goes_on_with_it() {
        let mut turns = Turns::default();
        let mut next = Vec::new();
        for calls in [1, 3, 0, 1] {
            turns.had(calls);
            next.push(turns.next());
        }
        assert_eq!(next, [1, 2, 0, 1]);
    }

    #[test]
    fn a_path_is_one_protocol_s_or_nobody_s() {
        assert_eq!(Protocol::of("/v1/messages/count_tokens"), Some((Protocol::Anthropic, What::Count)));
        for version in ["v1", "v1beta"] {
            let path = format!("/{version}/models/m:streamGenerateContent");
            assert_eq!(Protocol::of(&path), Some((Protocol::Gemini, What::Turn)));
        }
        for path in ["/v1/messages/", "/messages", "/v1beta/models/m", "/v1beta/models/m:embedContent", "/v1/models"] {
            assert_eq!(Protocol::of(path), None, "{path}");
        }
    }
}
