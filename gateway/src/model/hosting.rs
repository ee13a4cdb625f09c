//! Where a vendor's model is run: with the vendor, or by somebody else whose requests and answers are framed otherwise. Owns that framing:
//! which calls there are, under which path, what of a body moves, and how a refusal is told in the agent's protocol. Never knows what may
//! be said in a protocol, nor whether a call is allowed (`docs/decisions/0025-hosting.md`).

use serde_json::{Map, Value};

use super::answer::Garbled;
use super::call::Called;
use super::gemini::{self, Target};
use super::request::Unfit;
use super::sse::Event;
use super::{Protocol, betas, dialect, frames, json, sse};

/// Longest text of a host's refusal that is told further.
const MESSAGE_CHARS_MAX: usize = 4096;

/// Who runs a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hosting {
    /// Its vendor, or whoever speaks as the vendor does: a gateway, a server of one's own.
    Vendor,
    /// Amazon Bedrock: `POST /model/{model}/invoke` and `/invoke-with-response-stream`.
    Bedrock,
    /// Google Vertex AI, beneath a project's location: `POST /publishers/{vendor}/models/{model}:{method}`.
    Vertex,
    /// Azure OpenAI by its deployments: `POST /deployments/{model}/chat/completions?api-version=`. Its later API is the vendor's own.
    Azure {
        /// The version of the API.
        api_version: String,
    },
}

/// Versions of the Messages protocol that Bedrock knows, by its description; it refuses a request that names another.
const BEDROCK_BETAS: &[&str] = &[
    "computer-use",
    "context-management",
    "effort",
    "fine-grained-tool-streaming",
    "interleaved-thinking",
    "output-128k",
    "token-efficient-tools",
    "tool-examples",
    "tool-search-tool",
];

/// The same of Vertex.
const VERTEX_BETAS: &[&str] = &[
    "claude-code",
    "computer-use",
    "context-management",
    "effort",
    "fine-grained-tool-streaming",
    "interleaved-thinking",
    "model-context-window-exceeded",
    "output-128k",
    "structured-outputs",
    "token-efficient-tools",
    "tool-examples",
    "tool-search-tool",
    "web-search",
];

impl Hosting {
    /// The words for them.
    pub const WORDS: [&'static str; 4] = ["vendor", "bedrock", "vertex", "azure"];

    /// The word in configuration and messages.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Vendor => "vendor",
            Self::Bedrock => "bedrock",
            Self::Vertex => "vertex",
            Self::Azure { .. } => "azure",
        }
    }

    /// Reads the word, and the version that goes with one of them and with no other.
    pub fn parse(word: &str, api_version: Option<&str>) -> Option<Self> {
        match (word, api_version) {
            ("vendor", None) => Some(Self::Vendor),
            ("bedrock", None) => Some(Self::Bedrock),
            ("vertex", None) => Some(Self::Vertex),
            ("azure", Some(version)) => {
                is_api_version(version).then(|| Self::Azure { api_version: version.to_owned() })
            }
            _ => None,
        }
    }

    /// Which protocols' models it runs.
    pub fn protocols(&self) -> &'static [Protocol] {
        match self {
            Self::Vendor => Protocol::ALL,
            Self::Bedrock => &[Protocol::Messages],
            Self::Vertex => &[Protocol::Messages, Protocol::Gemini],
            Self::Azure { .. } => &[Protocol::Chat],
        }
    }

    /// Whether it has this call. Bedrock counts tokens of some of its names only, so that it is not asked to.
    pub fn has(&self, called: &Called) -> bool {
        self.protocols().contains(&called.protocol) && (*self != Self::Bedrock || called.generates)
    }

    /// What all its paths begin with, behind the base path.
    pub fn beneath(&self) -> &'static str {
        match self {
            Self::Vendor => "",
            Self::Bedrock => "/model",
            Self::Vertex => "/publishers",
            Self::Azure { .. } => "/deployments",
        }
    }

    /// Whether it may call a model this: what stands in a path is one segment of it there, and means nothing else.
    pub fn is_name(&self, name: &str) -> bool {
        let is_mark = |byte: u8| match self {
            Self::Vendor => true,
            Self::Bedrock => b"-._:".contains(&byte),
            Self::Vertex => b"-._@".contains(&byte),
            Self::Azure { .. } => b"-._".contains(&byte),
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || is_mark(byte);
        !matches!(name, "" | "." | "..") && name.bytes().all(is_plain)
    }

    /// The path and query, behind the base path, of a call of the model that it knows as `model`. None where those of the request stay.
    pub fn target(&self, called: &Called, model: &str, streams: bool) -> Option<String> {
        let gemini = called.target.as_ref().map(|target| Target { model: model.to_owned(), method: target.method });
        Some(match (self, gemini) {
            (Self::Vendor, gemini) => gemini?.upstream(),
            // As AWS's own clients write it, so that whoever checks a signature reads one path.
            (Self::Bedrock, _) => {
                let how = if streams { "invoke-with-response-stream" } else { "invoke" };
                format!("/model/{}/{how}", model.replace(':', "%3A"))
            }
            (Self::Vertex, Some(Target { method, .. })) => {
                let form = if method == gemini::Method::Stream { "?alt=sse" } else { "" };
                format!("/publishers/google/models/{model}:{}{form}", method.as_str())
            }
            (Self::Vertex, None) if !called.generates => {
                "/publishers/anthropic/models/count-tokens:rawPredict".to_owned()
            }
            (Self::Vertex, None) => {
                let how = if streams { "streamRawPredict" } else { "rawPredict" };
                format!("/publishers/anthropic/models/{model}:{how}")
            }
            (Self::Azure { api_version }, _) => {
                format!("/deployments/{model}/chat/completions?api-version={api_version}")
            }
        })
    }

    /// Whether it knows this version of the protocol.
    pub fn knows(&self, beta: &str) -> bool {
        let among = |known: &[&str]| known.iter().any(|known| betas::is_version_of(known, beta));
        match self {
            Self::Vendor => true,
            Self::Bedrock => among(BEDROCK_BETAS),
            Self::Vertex => among(VERTEX_BETAS),
            Self::Azure { .. } => false,
        }
    }

    /// Whether the version of the protocol, and what is asked of it beside, stand in the body alone. Vertex has the version there, and
    /// reads the field for the rest, as the vendor does.
    pub fn is_versioned_in_body(&self) -> bool {
        matches!(self, Self::Bedrock)
    }

    /// Makes the body of a request that was made anew one of the host's. The model it names goes where the host looks for it.
    pub fn body(&self, called: &Called, model: &str, body: Vec<u8>, betas: Vec<String>) -> Result<Vec<u8>, Unfit> {
        if called.protocol == Protocol::Gemini {
            return Ok(body);
        }
        let mut request = json::object(&body)?;
        match self {
            Self::Vendor if request.get("model").and_then(Value::as_str) == Some(model) => return Ok(body),
            Self::Vendor => drop(request.insert("model".to_owned(), model.into())),
            Self::Bedrock => {
                request.remove("model");
                request.remove("stream");
                request.insert("anthropic_version".to_owned(), "bedrock-2023-05-31".into());
                if !betas.is_empty() {
                    request.insert("anthropic_beta".to_owned(), betas.into());
                }
            }
            Self::Vertex => {
                request.insert("anthropic_version".to_owned(), "vertex-2023-10-16".into());
                match called.generates {
                    true => drop(request.remove("model")),
                    // The path of a count names none.
                    false => drop(request.insert("model".to_owned(), model.into())),
                }
            }
            Self::Azure { .. } => drop(request.remove("model")),
        }
        Ok(Value::Object(request).to_string().into_bytes())
    }

    /// What reads an answer of this type as a stream; nothing where it is none.
    pub fn events(&self, content_type: &[u8]) -> Option<Events> {
        let kind = content_type.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
        match self {
            Self::Bedrock => {
                kind.eq_ignore_ascii_case(FRAMES.as_bytes()).then(|| Events::Frames(frames::Reader::new()))
            }
            _ => kind.eq_ignore_ascii_case(b"text/event-stream").then(|| Events::Standard(sse::Reader::new())),
        }
    }

    /// What an answer is asked for as, where that is not for the agent to say.
    pub fn accept(&self, streams: bool) -> Option<&'static str> {
        match (self, streams) {
            (Self::Bedrock, true) => Some(FRAMES),
            (Self::Bedrock, false) => Some("application/json"),
            _ => None,
        }
    }

    /// A refusal as the agent's protocol has it: the very one where it is, else what it says in the form of one. A vendor's own passes.
    pub fn retold(&self, protocol: Protocol, status: u16, refusal: Vec<u8>) -> Vec<u8> {
        if *self == Self::Vendor {
            return refusal;
        }
        let read = json::parse(&refusal).unwrap_or_default();
        // Google sends a list with one refusal in it where a stream was asked for.
        let read = match read {
            Value::Array(mut list) if list.len() == 1 => list.pop().unwrap_or_default(),
            read => read,
        };
        let said = read.as_object().and_then(said).unwrap_or_default();
        let is_of_protocol = read.pointer("/error/message").is_some_and(Value::is_string)
            && (protocol != Protocol::Messages || read.get("type").and_then(Value::as_str) == Some("error"));
        match is_of_protocol {
            true => read.to_string().into_bytes(),
            false => dialect::refusal(
                protocol,
                status,
                kind(status),
                &said.chars().take(MESSAGE_CHARS_MAX).collect::<String>(),
            ),
        }
    }
}

/// How Bedrock sends a stream.
const FRAMES: &str = "application/vnd.amazon.eventstream";

/// A stream of events, however they are framed.
#[derive(Debug)]
pub enum Events {
    /// As the HTML standard says.
    Standard(sse::Reader),
    /// As AWS does.
    Frames(frames::Reader),
}

impl Events {
    /// Takes bytes off the front of `rest` until an event is whole, or none are left. Call it until it gives none.
    pub fn next(&mut self, rest: &mut &[u8]) -> Result<Option<Event>, Garbled> {
        match self {
            Self::Standard(events) => events.next(rest),
            Self::Frames(frames) => frames.next(rest),
        }
    }
}

fn is_api_version(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// What a refusal says, in whichever member hosts and what stands before them put it.
fn said(refusal: &Map<String, Value>) -> Option<String> {
    let places = [refusal.get("message"), refusal.get("Message"), refusal.get("error")];
    let text = places.into_iter().flatten().find_map(|place| match place {
        Value::String(text) => Some(text.clone()),
        Value::Object(error) => error.get("message").and_then(Value::as_str).map(str::to_owned),
        _ => None,
    });
    text.filter(|text| !text.is_empty())
}

/// What protocols call a refusal of this status.
fn kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn called(protocol: Protocol) -> Called {
        let target = Target { model: "gemini-2.5-pro".into(), method: gemini::Method::Stream };
        Called { protocol, target: (protocol == Protocol::Gemini).then_some(target), generates: true }
    }

    fn azure() -> Hosting {
        Hosting::parse("azure", Some("2024-10-21")).unwrap()
    }

    #[test]
    fn each_host_has_its_word_and_only_one_of_them_a_version() {
        for hosting in [Hosting::Vendor, Hosting::Bedrock, Hosting::Vertex] {
            assert_eq!(Hosting::parse(hosting.as_str(), None), Some(hosting.clone()));
            assert_eq!(Hosting::parse(hosting.as_str(), Some("2024-10-21")), None, "{hosting:?}");
        }
        assert_eq!(Hosting::parse("azure", None), None);
        for version in ["", "2024-10-21&x=y", "2024/10", "PREVIEW", "é"] {
            assert_eq!(Hosting::parse("azure", Some(version)), None, "{version}");
        }
        assert!(Hosting::WORDS.iter().all(|word| *word == "azure" || Hosting::parse(word, None).is_some()));
    }

    #[test]
    fn a_call_goes_where_its_host_has_it() {
        let (messages, chat, gemini) = (called(Protocol::Messages), called(Protocol::Chat), called(Protocol::Gemini));
        let counts = Called { generates: false, ..messages.clone() };
        let bedrock = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0";
        for (hosting, called, model, streams, target) in [
            (Hosting::Vendor, &messages, "claude", true, None),
            (Hosting::Vendor, &gemini, "g-2", true, Some("/v1beta/models/g-2:streamGenerateContent?alt=sse")),
            (
                Hosting::Bedrock,
                &messages,
                bedrock,
                false,
                Some("/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke"),
            ),
            (Hosting::Bedrock, &messages, "profile-1", true, Some("/model/profile-1/invoke-with-response-stream")),
            (Hosting::Vertex, &messages, "c@1", false, Some("/publishers/anthropic/models/c@1:rawPredict")),
            (Hosting::Vertex, &messages, "c@1", true, Some("/publishers/anthropic/models/c@1:streamRawPredict")),
            (Hosting::Vertex, &counts, "c@1", false, Some("/publishers/anthropic/models/count-tokens:rawPredict")),
            (
                Hosting::Vertex,
                &gemini,
                "g-2",
                true,
                Some("/publishers/google/models/g-2:streamGenerateContent?alt=sse"),
            ),
            (azure(), &chat, "mine", true, Some("/deployments/mine/chat/completions?api-version=2024-10-21")),
        ] {
            assert!(hosting.has(called), "{hosting:?}");
            assert_eq!(hosting.target(called, model, streams).as_deref(), target, "{hosting:?}");
            assert!(target.is_none_or(|target| target.starts_with(hosting.beneath())), "{hosting:?}");
        }
        for (hosting, called) in
            [(Hosting::Bedrock, &counts), (Hosting::Bedrock, &gemini), (Hosting::Vertex, &chat), (azure(), &messages)]
        {
            assert!(!hosting.has(called), "{hosting:?} {called:?}");
        }
    }

    #[test]
    fn a_name_is_one_segment_of_a_path_and_nothing_else_a42() {
        for (hosting, name, is_one) in [
            (Hosting::Bedrock, "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", true),
            (Hosting::Bedrock, "arn:aws:bedrock:eu-central-1:1:application-inference-profile/a", false),
            (Hosting::Bedrock, "a%2fb", false),
            (Hosting::Vertex, "claude-sonnet-4-5@20250929", true),
            (Hosting::Vertex, "claude:rawPredict", false),
            (azure(), "my-deployment", true),
            (azure(), "a?b", false),
            (azure(), "a/b", false),
            (azure(), "..", false),
            (azure(), "", false),
        ] {
            assert_eq!(hosting.is_name(name), is_one, "{hosting:?} {name}");
        }
    }

    #[test]
    fn a_body_says_what_its_host_looks_for_there_and_nothing_more() {
        let asked = json!({ "max_tokens": 9, "messages": [], "model": "m", "stream": true });
        let body = |hosting: &Hosting, called: &Called, betas: &[&str]| {
            let betas = betas.iter().map(|beta| (*beta).to_owned()).collect();
            let body = hosting.body(called, "there", asked.to_string().into_bytes(), betas).unwrap();
            serde_json::from_slice::<Value>(&body).unwrap()
        };
        let (messages, chat, gemini) = (called(Protocol::Messages), called(Protocol::Chat), called(Protocol::Gemini));
        let counts = Called { generates: false, ..messages.clone() };
        assert_eq!(
            body(&Hosting::Vendor, &messages, &[]),
            json!({ "max_tokens": 9, "messages": [], "model": "there", "stream": true })
        );
        assert_eq!(
            body(&Hosting::Bedrock, &messages, &["effort-2025-11-24"]),
            json!({ "anthropic_beta": ["effort-2025-11-24"], "anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": [] })
        );
        assert_eq!(
            body(&Hosting::Bedrock, &messages, &[]),
            json!({ "anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": [] })
        );
        let vertex =
            json!({ "anthropic_version": "vertex-2023-10-16", "max_tokens": 9, "messages": [], "stream": true });
        assert_eq!(body(&Hosting::Vertex, &messages, &[]), vertex);
        assert_eq!(body(&Hosting::Vertex, &counts, &[])["model"], "there");
        assert_eq!(body(&Hosting::Vertex, &gemini, &[]), asked);
        assert_eq!(body(&azure(), &chat, &[]), json!({ "max_tokens": 9, "messages": [], "stream": true }));
        // What its vendor is told in the very name stays the very bytes.
        let same = b"{\"model\": \"there\"}".to_vec();
        assert_eq!(Hosting::Vendor.body(&messages, "there", same.clone(), vec![]), Ok(same));
    }

    #[test]
    fn versions_a_host_does_not_know_are_not_asked_of_it() {
        for (hosting, beta, knows) in [
            (Hosting::Vendor, "redact-thinking-2026-02-12", true),
            (Hosting::Bedrock, "interleaved-thinking-2025-05-14", true),
            (Hosting::Bedrock, "claude-code-20250219", false),
            (Hosting::Bedrock, "effortless-2025-11-24", false),
            (Hosting::Vertex, "claude-code-20250219", true),
            (Hosting::Vertex, "prompt-caching-scope-2026-01-05", false),
            (azure(), "effort-2025-11-24", false),
        ] {
            assert_eq!(hosting.knows(beta), knows, "{hosting:?} {beta}");
        }
    }

    #[test]
    fn a_refusal_is_told_in_the_agent_s_protocol_and_bounded() {
        let told = |hosting: &Hosting, protocol, status, body: &str| {
            let told = hosting.retold(protocol, status, body.as_bytes().to_vec());
            serde_json::from_slice::<Value>(&told).unwrap_or_else(|_| String::from_utf8(told).unwrap().into())
        };
        let bedrock = told(&Hosting::Bedrock, Protocol::Messages, 429, "{\"message\":\"Too many requests\"}");
        let expected = json!({ "type": "error", "error": { "type": "rate_limit_error", "message": "rate_limit_error: Too many requests" } });
        assert_eq!(bedrock, expected);
        assert_eq!(
            told(&Hosting::Bedrock, Protocol::Messages, 403, "{\"Message\":\"no\"}")["error"]["type"],
            "permission_error"
        );
        let own = json!({ "type": "error", "error": { "type": "overloaded_error", "message": "Overloaded" }, "request_id": "r" });
        assert_eq!(told(&Hosting::Vertex, Protocol::Messages, 529, &own.to_string()), own);
        let google = json!({ "error": { "code": 403, "message": "denied", "status": "PERMISSION_DENIED" } });
        assert_eq!(told(&Hosting::Vertex, Protocol::Gemini, 403, &google.to_string()), google);
        assert_eq!(told(&Hosting::Vertex, Protocol::Gemini, 403, &json!([google]).to_string()), google);
        let told_google = told(&Hosting::Vertex, Protocol::Messages, 403, &google.to_string());
        assert_eq!(told_google["error"]["message"], "permission_error: denied");
        let gate = told(&azure(), Protocol::Chat, 401, "{\"statusCode\":401,\"message\":\"Access denied\"}");
        assert_eq!(gate["error"]["message"], "authentication_error: Access denied");
        let openai = json!({ "error": { "code": "DeploymentNotFound", "message": "no" } });
        assert_eq!(told(&azure(), Protocol::Chat, 404, &openai.to_string()), openai);
        for body in ["<html>", "", "[]", "7", "{\"error\":{\"message\":7}}"] {
            let said = told(&azure(), Protocol::Chat, 500, body)["error"]["type"].clone();
            assert_eq!(said, "api_error", "{body}");
        }
        let long = format!("{{\"message\":\"{}\"}}", "x".repeat(100_000));
        assert!(told(&Hosting::Bedrock, Protocol::Messages, 400, &long).to_string().len() < 5_000);
        assert_eq!(
            told(&Hosting::Vendor, Protocol::Messages, 500, "<html>"),
            "<html>",
            "a vendor's own passes as it is"
        );
    }

    #[test]
    fn a_stream_is_known_by_its_type_and_its_host() {
        assert!(matches!(Hosting::Bedrock.events(b"application/vnd.amazon.eventstream"), Some(Events::Frames(_))));
        assert!(Hosting::Bedrock.events(b"text/event-stream").is_none());
        assert!(matches!(Hosting::Vertex.events(b"Text/Event-Stream; charset=utf-8"), Some(Events::Standard(_))));
        assert!(Hosting::Vendor.events(b"application/vnd.amazon.eventstream").is_none());
        assert!(Hosting::Vendor.events(b"application/json").is_none());
    }
}
