//! What an agent asks of a model, rebuilt from what this door knows of the protocol. Owns the rule that a member nobody listed does not
//! leave, and that what a vendor would do on its side is refused unless granted.

use std::collections::BTreeSet;

use super::Egress;

/// Longest request: a long conversation with images.
pub const REQUEST_BYTES_MAX: u64 = 32 << 20;

/// How deep JSON may nest. Schemas of tools are the deepest seen, at some twenty.
pub const DEPTH_MAX: usize = 96;

/// Most values in one text of JSON. A conversation of a million tokens in short turns has a tenth of it; at some hundred bytes of memory
/// each, they are no more than the text itself may be.
pub const VALUES_MAX: usize = 256 * 1024;

/// Most members that are named as left out; more are only counted.
pub const LEFT_OUT_MAX: usize = 16;

/// A request as it goes upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// Its body: made anew, with nothing in it that this door does not know.
    pub body: Vec<u8>,
    /// The model it names.
    pub model: String,
    /// Whether the answer is a stream.
    pub streams: bool,
    /// The most tokens the model may write, where the request says so.
    pub output_tokens_max: Option<u64>,
    /// The tools it declares.
    pub tools: BTreeSet<String>,
    /// What of the vendor's it uses that was granted.
    pub egress: BTreeSet<Egress>,
    /// Members that were left out, as paths (`metadata.user_id`, `messages[].cache_hint`), each once.
    pub left_out: BTreeSet<String>,
}

/// Why a request does not go upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Not JSON, or a member twice in one object.
    #[error("the request is not plain JSON")]
    Syntax,
    /// A member has another shape than its protocol says.
    #[error("the request has something else than expected at `{0}`")]
    Shape(String),
    /// A kind of content or tool that this door does not know, and that cannot be left out without changing what is said.
    #[error("the request has `{kind}` at `{at}`, which this door does not know")]
    Unknown {
        /// What it calls itself.
        kind: String,
        /// Where.
        at: String,
    },
    /// It asks the vendor to do something on its side that was not granted.
    #[error("`{}` at `{at}` is not granted", .what.as_str())]
    Egress {
        /// What.
        what: Egress,
        /// Where.
        at: String,
    },
    /// A model that the operator did not name.
    #[error("the model `{0}` is not one this task may use")]
    Model(String),
    /// Too long, or too deep.
    #[error("the request is too {0}")]
    TooMuch(&'static str),
}

/// How content that is no text, and is not fetched either, is written in a request that was made anew, in any protocol. In text and in a
/// schema a quotation mark is written otherwise, or stands elsewhere.
const MEDIA: &[&[u8]] = &[
    b"\"type\":\"image\"",
    b"\"type\":\"document\"",
    b"\"type\":\"container_upload\"",
    b"\"type\":\"image_url\"",
    b"\"type\":\"input_image\"",
    b"\"type\":\"input_file\"",
    b"\"type\":\"input_audio\"",
    b"\"type\":\"file\"",
    b"\"inlineData\":{",
    b"\"fileData\":{",
];

/// Whether all that a model is to read of a request is text. What is not may have more tokens than bytes: pages that are packed, say.
pub fn is_all_text(body: &[u8]) -> bool {
    MEDIA.iter().all(|written| memchr::memmem::find(body, written).is_none())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn content_that_is_no_text_is_known_and_talk_of_it_is_not() {
        let bytes = |value: serde_json::Value| value.to_string().into_bytes();
        for media in [
            json!({ "content": [{ "type": "image", "source": { "type": "base64", "data": "" } }] }),
            json!([{ "input_audio": {}, "type": "input_audio" }]),
            json!({ "parts": [{ "inlineData": { "data": "", "mimeType": "application/pdf" } }] }),
        ] {
            assert!(!is_all_text(&bytes(media.clone())), "{media}");
        }
        let talk =
            json!({ "text": r#"{"type":"image","inlineData":{}}"#, "properties": { "image": { "type": "string" } } });
        assert!(is_all_text(&bytes(talk)));
    }
}
