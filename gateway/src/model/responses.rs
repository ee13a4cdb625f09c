//! OpenAI's Responses API, which Codex speaks: `POST /v1/responses`. Owns what of it this door knows, in both directions.
//!
//! A response is kept with the vendor unless a request says that it is not to be, so each request says so ([`Egress::StoredState`] aside).
//! The key by which a vendor finds its cache of a prompt passes if it is short: what an agent could say with it, it says better in the
//! prompt that goes along. The tier of service is left out, since a dearer one is not what was reserved.
//!
//! [`Egress::StoredState`]: super::Egress::StoredState

mod answer;
mod item;
mod request;

pub use answer::Reader;
pub use request::rebuild;

/// The tool that has a kind of call of its own, and so no name there. No other tool may have this one.
const LOCAL_SHELL: &str = "local_shell";

#[cfg(test)]
mod tests;
