//! Those who run vendors' models on their own account: Amazon Bedrock, Google Vertex AI, Azure OpenAI. Owns what each asks for beside the
//! vendor and refuses in its own words, as far as those are known, and how it puts a conversation; what is said in it is the protocol's.

use serde_json::{Map, Value, json};

use crate::answer::{Event, Reply};
use crate::http::Request;
use crate::protocol::{Ask, Protocol, Refusal, Told, What};
use crate::{aws, frames};

/// Versions of Azure's API that its deployments are asked in.
const AZURE_VERSIONS: &[&str] = &["2024-06-01", "2024-10-21"];

/// What a body says to Bedrock of its version: its own, or the vendor's, which the vendor's library sends to every host.
const BEDROCK_VERSIONS: &[&str] = &["bedrock-2023-05-31", "2026-10-21"];

/// The same to Vertex.
const VERTEX_VERSIONS: &[&str] = &["vertex-2023-10-16", "2026-10-21"];

/// How versions of the Messages protocol begin that Bedrock knows.
const BEDROCK_BETAS: &[&str] = &[
    "computer-use-",
    "context-management-",
    "effort-",
    "fine-grained-tool-streaming-",
    "interleaved-thinking-",
    "output-128k-",
    "token-efficient-tools-",
    "tool-examples-",
    "tool-search-tool-",
];

/// The same of Vertex.
const VERTEX_BETAS: &[&str] = &[
    "claude-code-",
    "computer-use-",
    "context-management-",
    "effort-",
    "fine-grained-tool-streaming-",
    "interleaved-thinking-",
    "model-context-window-exceeded-",
    "output-128k-",
    "structured-outputs-",
    "token-efficient-tools-",
    "tool-examples-",
    "tool-search-tool-",
    "web-search-",
];

/// Who is asked, as a path says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// The vendor.
    Vendor,
    /// Bedrock, for this model, as a stream or not.
    Bedrock { model: String, streams: bool },
    /// Vertex, for this model of Anthropic's, with this method.
    VertexMessages { model: String, method: String },
    /// Vertex, for a model of Google's; the vendor's own path says the same.
    VertexGemini { path: String },
    /// A deployment of Azure's.
    Deployment { name: String },
    /// The API of Azure's that is the vendor's, by the vendor's own path.
    Azure { path: String },
}

/// What a path asks of whom, in which protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) host: Host,
    pub(crate) protocol: Protocol,
    pub(crate) what: What,
}

/// How a stream goes over the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Events,
    Frames,
}

impl Place {
    /// Nobody's where there is no such path.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let hosted = bedrock(path).or_else(|| vertex(path)).or_else(|| azure(path));
        hosted.or_else(|| {
            let (protocol, what) = Protocol::of(path)?;
            Some(Self { host: Host::Vendor, protocol, what })
        })
    }

    /// Where the key of a request is, and whether every key in it is the right one.
    pub(crate) fn key(&self, request: &Request, key: &str) -> Result<Option<&'static str>, Refusal> {
        let bearer = request.field("authorization").and_then(|value| value.strip_prefix("Bearer "));
        match self.host {
            Host::Vendor => self.protocol.key(request, key),
            _ if key.is_empty() => Ok(None),
            Host::Bedrock { .. } => match (request.field("authorization"), bearer) {
                (None, _) => Err(Refusal::of("Missing Authentication Token").with(403)),
                (Some(_), Some(sent)) if sent == key => Ok(Some("authorization")),
                (Some(_), Some(_)) => Err(Refusal::of("Authentication failed: the API key is not valid.").with(403)),
                (Some(_), None) => aws::signed(request, key).map(|()| Some("authorization")),
            },
            Host::VertexMessages { .. } | Host::VertexGemini { .. } => match bearer {
                Some(sent) if sent == key => Ok(Some("authorization")),
                _ => Err(Refusal::of(
                    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid \
                     authentication credential.",
                )
                .with(401)),
            },
            Host::Deployment { .. } | Host::Azure { .. } => match (request.field("api-key"), bearer) {
                (Some(sent), None) if sent == key => Ok(Some("api-key")),
                (None, Some(sent)) if sent == key => Ok(Some("authorization")),
                _ => Err(Refusal::of(
                    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active \
                     subscription and use a correct regional API endpoint for your resource.",
                )
                .with(401)),
            },
        }
    }

    /// What a request tells, or why its host or its vendor would refuse it.
    pub(crate) fn read(&self, request: &Request, body: &Value) -> Result<Told, Refusal> {
        if self.host == Host::Vendor {
            return self.protocol.read(Ask { what: self.what, request, body });
        }
        let mut asked = request.clone();
        let mut members = body.as_object().cloned().ok_or_else(|| Refusal::of("The request body is not an object."))?;
        match &self.host {
            Host::Vendor => {}
            Host::Bedrock { model, streams } => {
                let betas = bedrock_body(&mut members)?;
                members.insert("model".to_owned(), model.as_str().into());
                members.insert("stream".to_owned(), (*streams).into());
                asked.fields.push(("anthropic-version".to_owned(), "2023-06-01".to_owned()));
                if !betas.is_empty() {
                    asked.query = "beta=true".to_owned();
                    asked.fields.push(("anthropic-beta".to_owned(), betas.join(",")));
                }
            }
            Host::VertexMessages { model, method } => {
                vertex_body(request, &mut members, self.what, method)?;
                if self.what == What::Turn {
                    members.insert("model".to_owned(), model.as_str().into());
                }
                asked.fields.push(("anthropic-version".to_owned(), "2023-06-01".to_owned()));
                if request.field("anthropic-beta").is_some() {
                    asked.query = "beta=true".to_owned();
                }
            }
            Host::VertexGemini { path } => asked.path.clone_from(path),
            Host::Deployment { name } => {
                let version = request.parameter("api-version").unwrap_or_default();
                if !AZURE_VERSIONS.contains(&version) {
                    return Err(Refusal::of("Resource not found").with(404));
                }
                // What a body says of the model is nothing to a deployment.
                members.insert("model".to_owned(), name.as_str().into());
            }
            Host::Azure { path } => asked.path.clone_from(path),
        }
        self.protocol.read(Ask { what: self.what, request: &asked, body: &Value::Object(members) })
    }

    /// An answer in one piece.
    pub(crate) fn whole(&self, reply: &Reply<'_>) -> Value {
        let mut whole = self.protocol.whole(reply);
        if matches!(self.host, Host::Deployment { .. }) {
            filtered(&mut whole);
            put(&mut whole, "prompt_filter_results", prompt_filter());
        }
        whole
    }

    /// The same answer as events.
    pub(crate) fn events(&self, reply: &Reply<'_>) -> Vec<Event> {
        let mut events = self.protocol.events(reply);
        let changed = |event: &mut Event, change: fn(&mut Value)| {
            if let Ok(mut data) = serde_json::from_str(&event.data) {
                change(&mut data);
                event.data = data.to_string();
            }
        };
        match &self.host {
            Host::Bedrock { .. } => {
                if let Some(last) = events.last_mut() {
                    let metrics = |data: &mut Value| {
                        put(data, "amazon-bedrock-invocationMetrics", json!({ "invocationLatency": 7 }))
                    };
                    changed(last, metrics);
                }
            }
            Host::Deployment { .. } => {
                events.iter_mut().for_each(|event| changed(event, filtered));
                let first = json!({ "id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": prompt_filter() });
                events.insert(0, Event::about(None, &first));
            }
            Host::Vendor | Host::VertexMessages { .. } | Host::VertexGemini { .. } | Host::Azure { .. } => {}
        }
        events
    }

    /// How its streams go over the line.
    pub(crate) fn framing(&self) -> Framing {
        if matches!(self.host, Host::Bedrock { .. }) { Framing::Frames } else { Framing::Events }
    }

    /// A refusal, in the form of whoever refuses.
    pub(crate) fn error(&self, refusal: &Refusal) -> Value {
        match &self.host {
            Host::Bedrock { .. } => json!({ "message": refusal.message }),
            // Before a model of Anthropic's is asked, it is Google who refuses.
            Host::VertexMessages { .. } if matches!(refusal.status, 401 | 403..=405 | 429) => {
                Protocol::Gemini.error(refusal)
            }
            Host::Deployment { .. } | Host::Azure { .. } if matches!(refusal.status, 401 | 404) => {
                json!({ "error": { "code": refusal.status.to_string(), "message": refusal.message } })
            }
            _ => self.protocol.error(refusal),
        }
    }

    /// What a host sends where it breaks off in the middle of a stream.
    pub(crate) fn breaks_off(&self, refusal: &Refusal) -> Vec<u8> {
        if self.framing() == Framing::Frames {
            return frames::exception("throttlingException", &self.error(refusal));
        }
        // By then it is the model who says so.
        let name = (self.protocol == Protocol::Anthropic).then_some("error");
        self.line(&Event::about(name, &self.protocol.error(refusal)))
    }

    /// An event as it goes over the line.
    pub(crate) fn line(&self, event: &Event) -> Vec<u8> {
        match self.framing() {
            Framing::Frames => frames::chunk(event.data.as_bytes()),
            Framing::Events => event.line().into_bytes(),
        }
    }

    /// What a stream calls itself.
    pub(crate) fn stream_type(&self) -> &'static str {
        match self.framing() {
            Framing::Frames => "application/vnd.amazon.eventstream",
            Framing::Events => "text/event-stream; charset=utf-8",
        }
    }
}

fn bedrock(path: &str) -> Option<Place> {
    let (model, how) = path.strip_prefix("/model/")?.split_once('/')?;
    let streams = match how {
        "invoke" => false,
        "invoke-with-response-stream" => true,
        _ => return None,
    };
    let host = Host::Bedrock { model: model.replace("%3A", ":"), streams };
    Some(Place { host, protocol: Protocol::Anthropic, what: What::Turn })
}

fn vertex(path: &str) -> Option<Place> {
    let (project, rest) = path.strip_prefix("/v1/projects/")?.split_once("/locations/")?;
    let (location, rest) = rest.split_once("/publishers/")?;
    if project.is_empty() || location.is_empty() || project.contains('/') || location.contains('/') {
        return None;
    }
    let (publisher, rest) = rest.split_once("/models/")?;
    match (publisher, rest.rsplit_once(':')?) {
        ("anthropic", ("count-tokens", "rawPredict")) => {
            let host = Host::VertexMessages { model: String::new(), method: "rawPredict".to_owned() };
            Some(Place { host, protocol: Protocol::Anthropic, what: What::Count })
        }
        ("anthropic", (model, method @ ("rawPredict" | "streamRawPredict"))) => {
            let host = Host::VertexMessages { model: model.to_owned(), method: method.to_owned() };
            Some(Place { host, protocol: Protocol::Anthropic, what: What::Turn })
        }
        ("google", _) => {
            let path = format!("/v1/models/{rest}");
            let (protocol, what) = Protocol::of(&path)?;
            Some(Place { host: Host::VertexGemini { path }, protocol, what })
        }
        _ => None,
    }
}

fn azure(path: &str) -> Option<Place> {
    let rest = path.strip_prefix("/openai/")?;
    if let Some(own) = rest.strip_prefix("v1/") {
        let path = format!("/v1/{own}");
        let (protocol, what) = Protocol::of(&path)?;
        return Some(Place { host: Host::Azure { path }, protocol, what });
    }
    let name = rest.strip_prefix("deployments/")?.strip_suffix("/chat/completions")?;
    let is_one = !name.is_empty() && !name.contains('/');
    let host = Host::Deployment { name: name.to_owned() };
    is_one.then_some(Place { host, protocol: Protocol::Chat, what: What::Turn })
}

/// Takes out of a body what is Bedrock's own. Gives the versions it asks for beside.
fn bedrock_body(body: &mut Map<String, Value>) -> Result<Vec<String>, Refusal> {
    let malformed = |what: String| {
        Refusal::of(format!("Malformed input request: {what}, please reformat your input and try again."))
    };
    if let Some(name) = ["model", "stream"].into_iter().find(|name| body.contains_key(*name)) {
        return Err(malformed(format!("#: extraneous key [{name}] is not permitted")));
    }
    let version = body.remove("anthropic_version");
    let Some(version) = version.as_ref().and_then(Value::as_str) else {
        return Err(malformed("#: required key [anthropic_version] not found".to_owned()));
    };
    if !BEDROCK_VERSIONS.contains(&version) {
        return Err(Refusal::of(format!("anthropic_version: `{version}` is not supported")));
    }
    let mut betas = Vec::new();
    match body.remove("anthropic_beta") {
        None => {}
        Some(Value::Array(asked)) => {
            for beta in asked {
                let beta = beta.as_str().unwrap_or_default().to_owned();
                if !BEDROCK_BETAS.iter().any(|known| beta.starts_with(known)) {
                    return Err(Refusal::of("invalid beta flag"));
                }
                betas.push(beta);
            }
        }
        Some(_) => return Err(malformed("#/anthropic_beta: expected type: JSONArray".to_owned())),
    }
    Ok(betas)
}

/// Takes out of a body what is Vertex's own.
fn vertex_body(request: &Request, body: &mut Map<String, Value>, what: What, method: &str) -> Result<(), Refusal> {
    let version = body.remove("anthropic_version");
    match version.as_ref().and_then(Value::as_str) {
        None => return Err(Refusal::of("anthropic_version: Field required")),
        Some(version) if VERTEX_VERSIONS.contains(&version) => {}
        Some(_) => {
            let known = VERTEX_VERSIONS.first().copied().unwrap_or_default();
            return Err(Refusal::of(format!("anthropic_version: Input should be '{known}'")));
        }
    }
    if what == What::Turn && body.contains_key("model") {
        return Err(Refusal::of("model: Extra inputs are not permitted"));
    }
    let streams = body.get("stream") == Some(&Value::Bool(true));
    if streams != (method == "streamRawPredict") {
        return Err(Refusal::of(format!("stream: not what `{method}` answers")));
    }
    let betas = request.field("anthropic-beta").unwrap_or_default().split(',').map(str::trim);
    let unknown: Vec<_> = betas
        .filter(|beta| !beta.is_empty() && !VERTEX_BETAS.iter().any(|known| beta.starts_with(known)))
        .map(|beta| format!("`{beta}`"))
        .collect();
    match unknown.is_empty() {
        true => Ok(()),
        false => Err(Refusal::of(format!(
            "Unexpected value(s) {} for the `anthropic-beta` header. Please consult our documentation at docs.anthropic.com or try again \
             without the header.",
            unknown.join(", ")
        ))),
    }
}

/// Azure says of every choice what its filter found.
fn filtered(answer: &mut Value) {
    for choice in answer.get_mut("choices").and_then(Value::as_array_mut).into_iter().flatten() {
        put(choice, "content_filter_results", json!({ "hate": { "filtered": false, "severity": "safe" } }));
    }
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

fn prompt_filter() -> Value {
    json!([{ "prompt_index": 0, "content_filter_results": { "jailbreak": { "filtered": false, "detected": false } } }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_host_s_or_nobody_s() {
        let host = |path: &str| Place::of(path).map(|place| (place.host, place.protocol, place.what));
        let bedrock = Host::Bedrock { model: "eu.anthropic.c-v1:0".to_owned(), streams: true };
        let path = "/model/eu.anthropic.c-v1%3A0/invoke-with-response-stream";
        assert_eq!(host(path), Some((bedrock, Protocol::Anthropic, What::Turn)));
        let models = "/v1/projects/p/locations/eu/publishers";
        let counted = format!("{models}/anthropic/models/count-tokens:rawPredict");
        assert_eq!(host(&counted).map(|(_, _, what)| what), Some(What::Count));
        let gemini = Host::VertexGemini { path: "/v1/models/g:streamGenerateContent".to_owned() };
        let path = format!("{models}/google/models/g:streamGenerateContent");
        assert_eq!(host(&path), Some((gemini, Protocol::Gemini, What::Turn)));
        let mine = Host::Deployment { name: "mine".to_owned() };
        let path = "/openai/deployments/mine/chat/completions";
        assert_eq!(host(path), Some((mine, Protocol::Chat, What::Turn)));
        let own = Host::Azure { path: "/v1/responses".to_owned() };
        assert_eq!(host("/openai/v1/responses"), Some((own, Protocol::Responses, What::Turn)));
        assert_eq!(host("/v1/messages").map(|(host, ..)| host), Some(Host::Vendor));
        for path in [
            "/model/m/converse",
            "/model/m",
            "/v1/projects/p/publishers/anthropic/models/c:rawPredict",
            "/v1/projects/p/locations//publishers/anthropic/models/c:rawPredict",
            "/v1/projects/p/locations/eu/publishers/meta/models/c:rawPredict",
            "/openai/deployments/a/b/chat/completions",
            "/openai/deployments/a/completions",
        ] {
            assert_eq!(host(path), None, "{path}");
        }
    }
}
