//! Anthropic's Messages API: `POST /v1/messages` and `POST /v1/messages/count_tokens`. Owns what such a request may hold and how such an
//! answer is read; what both tables know was taken from the published API and from what Claude Code 2.1 sends.

mod answer;
mod request;
#[cfg(test)]
mod tests;

pub use answer::Reader;
pub use request::rebuild;
