//! OpenAI's Chat Completions API, which most compatible servers speak: `POST /v1/chat/completions`. Owns what of it this door knows, in
//! both directions.
//!
//! Streams are asked to say at their end what was used, whether the agent asked for it or not: [`asks_for_usage`] says whether it gets
//! to see it. Some compatible servers refuse members that are not theirs, so that nothing else is added.

mod answer;
mod request;

pub use answer::Reader;
pub use request::{asks_for_usage, rebuild};

/// Whether an agent asked for the chunk at the end of a stream that says what was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageChunk {
    /// It gets what was used.
    Asked,
    /// It gets a stream without.
    NotAsked,
}

#[cfg(test)]
mod tests;
