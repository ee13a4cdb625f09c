//! The model door: one place inside the sandbox that speaks the protocols of model vendors, so that people keep the agent they
//! like. A request is rebuilt from what the door knows of its protocol, an answer is read event by event, and every tool call in
//! it is judged before the agent sees it (`docs/decisions/0014-model-door.md`).
//!
//! `messages`, `responses`, `chat` and `gemini` read and write bytes without I/O, each behind [`answer::Answer`]; [`sse`] and [`frames`]
//! read event streams, [`json`] what is in them, [`shape`] makes requests anew, and [`hosting`] frames them for whoever runs the model. Never knows why something is allowed, what a token costs, or which agent speaks.

pub mod answer;
pub mod betas;
pub mod call;
pub mod chat;
pub mod denials;
pub mod dialect;
pub mod door;
pub mod facts;
pub mod frames;
pub mod gemini;
pub mod hosting;
pub mod json;
pub mod messages;
mod openai;
pub(crate) mod rehearsal;
pub mod request;
pub mod responses;
pub mod shape;
pub mod sse;
pub mod told;
pub mod wanted;
pub(crate) mod wire;

use std::fmt;

/// How a client and a model speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Anthropic's Messages API: `POST /v1/messages`.
    Messages,
    /// OpenAI's Responses API: `POST /v1/responses`.
    Responses,
    /// OpenAI's Chat Completions API, which most compatible servers speak: `POST /v1/chat/completions`.
    Chat,
    /// Google's Gemini API: `POST /v1beta/models/{model}:generateContent` and `:streamGenerateContent`.
    Gemini,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: &'static [Self] = &[Self::Messages, Self::Responses, Self::Chat, Self::Gemini];

    /// The word in configuration, policies and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "anthropic-messages",
            Self::Responses => "openai-responses",
            Self::Chat => "openai-chat",
            Self::Gemini => "gemini",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|protocol| protocol.as_str() == word)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a vendor would do on its side if a request asked for it: a way out of the sandbox that no other door sees. Refused unless the
/// operator granted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Egress {
    /// Tools the vendor runs: search, fetch, code, computer use.
    VendorTools,
    /// Servers the vendor calls for the model: MCP connectors and the like.
    Connectors,
    /// Images, documents and files named by an address, which the vendor fetches.
    UrlSources,
    /// Conversations, files, caches and prompts kept with the vendor and named in a request.
    StoredState,
}

impl Egress {
    /// Every kind.
    pub const ALL: &'static [Self] = &[Self::VendorTools, Self::Connectors, Self::UrlSources, Self::StoredState];

    /// The word in configuration, policies and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VendorTools => "vendor-tools",
            Self::Connectors => "connectors",
            Self::UrlSources => "url-sources",
            Self::StoredState => "stored-state",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|egress| egress.as_str() == word)
    }
}

/// Tokens of one upstream call, as the vendor counts them, each counted once: `input` leaves out what `cached` and `cache_write` count,
/// and `output` includes `reasoning`, whatever the protocol's own sums do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Read by the model, at the full price.
    pub input: u64,
    /// Read from the vendor's cache.
    pub cached: u64,
    /// Written to the vendor's cache.
    pub cache_write: u64,
    /// Written by the model, reasoning included.
    pub output: u64,
    /// How many of `output` were reasoning.
    pub reasoning: u64,
}
