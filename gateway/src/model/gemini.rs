//! Google's Gemini API: `generateContent`, `streamGenerateContent` and `countTokens` of a model. Owns what such a request may hold, in its
//! path and in its body, and how such an answer is read; what both tables know was taken from the published API and from what Gemini CLI
//! 0.61 sends.

mod answer;
mod request;
#[cfg(test)]
mod tests;

pub use answer::Reader;
pub use request::rebuild;

use super::request::Unfit;
use super::shape::named;

/// Longest name of a model.
const MODEL_BYTES_MAX: usize = 128;

/// What is asked of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A whole answer.
    Generate,
    /// An answer as an event stream.
    Stream,
    /// How many tokens a request has.
    CountTokens,
}

impl Method {
    const ALL: &'static [Self] = &[Self::Generate, Self::Stream, Self::CountTokens];

    /// The word in a path.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Generate => "generateContent",
            Self::Stream => "streamGenerateContent",
            Self::CountTokens => "countTokens",
        }
    }
}

/// What a path and its query ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The model.
    pub model: String,
    /// What is asked of it.
    pub method: Method,
}

impl Target {
    /// Reads a path (`/v1beta/models/{model}:{method}`) and its query without its `?`.
    ///
    /// A stream is asked for with `alt=sse`. Without it the vendor answers with a JSON array that grows, which no agent known asks for; it
    /// is refused, because an agent that asked for it could not read the other. Everything else in a query stays behind: it holds keys.
    pub fn read(path: &str, query: &str) -> Result<Self, Unfit> {
        let shape = || Unfit::Shape("path".to_owned());
        let stem = path.strip_prefix("/v1beta/models/").or_else(|| path.strip_prefix("/v1/models/"));
        let (model, method) = stem.and_then(|stem| stem.split_once(':')).ok_or_else(shape)?;
        let is_named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        if model.is_empty() || model.len() > MODEL_BYTES_MAX || !model.bytes().all(is_named) {
            return Err(shape());
        }
        let known = Method::ALL.iter().copied().find(|known| known.as_str() == method);
        let method = known.ok_or_else(|| Unfit::Unknown { kind: named(method), at: "path".to_owned() })?;
        let forms: Vec<_> = query.split('&').filter_map(|pair| pair.strip_prefix("alt=")).collect();
        match (method, forms.as_slice()) {
            (Method::Stream, ["sse"]) | (Method::Generate | Method::CountTokens, [] | ["json"]) => {}
            _ => return Err(Unfit::Shape("alt".to_owned())),
        }
        Ok(Self { model: model.to_owned(), method })
    }

    /// The path and query of the request upstream.
    pub fn upstream(&self) -> String {
        let form = if self.method == Method::Stream { "?alt=sse" } else { "" };
        format!("/v1beta/models/{}:{}{form}", self.model, self.method.as_str())
    }
}
