//! Requests of the Gemini API: what one may hold, and denied calls put back.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::super::Egress::{self, Connectors, StoredState, UrlSources, VendorTools};
use super::super::denials::{Denials, Denied};
use super::super::json;
use super::super::request::{REQUEST_BYTES_MAX, Rebuilt, Unfit};
use super::super::shape::{Builder, Member, Shape, Spelling, named};
use super::answer::MADE_UP;
use super::{Method, Target};

/// Where the vendor keeps files; every other address is one that it fetches.
const FILES: &str = "https://generativelanguage.googleapis.com/";

/// Makes a request anew: what is listed below, with denied calls as the model made them and their results as this door wrote them.
pub fn rebuild(body: &[u8], target: &Target, granted: &BTreeSet<Egress>, denials: &Denials) -> Result<Rebuilt, Unfit> {
    if u64::try_from(body.len()).map_or(true, |length| length > REQUEST_BYTES_MAX) {
        return Err(Unfit::TooMuch("long"));
    }
    let mut builder = Builder::new(granted, Spelling::Either);
    let shape = if target.method == Method::CountTokens { &COUNT } else { &REQUEST };
    let mut request = builder.build(shape, "", json::parse(body)?)?;
    let asked = match request.get("contents").is_some() {
        // One or the other is counted; beside one, nobody would have looked at the other.
        true if request.get("generateContentRequest").is_some() => {
            return Err(Unfit::Shape("generateContentRequest".to_owned()));
        }
        false if request.get("generateContentRequest").is_some_and(Value::is_object) => {
            request.get_mut("generateContentRequest").and_then(Value::as_object_mut)
        }
        _ => request.as_object_mut(),
    };
    let asked = asked.ok_or_else(|| Unfit::Shape("contents".to_owned()))?;
    files(asked, &mut builder)?;
    put_denied_back(asked, denials)?;
    let tools = tools(asked, denials)?;
    let most = asked.get("generationConfig").and_then(|config| config.get("maxOutputTokens"));
    Ok(Rebuilt {
        model: target.model.clone(),
        streams: target.method == Method::Stream,
        output_tokens_max: most.and_then(Value::as_u64),
        tools,
        egress: builder.used,
        left_out: builder.left_out,
        body: request.to_string().into_bytes(),
    })
}

/// The functions it declares. None of them is called what denied calls are.
fn tools(request: &Map<String, Value>, denials: &Denials) -> Result<BTreeSet<String>, Unfit> {
    let tools = request.get("tools").and_then(Value::as_array).into_iter().flatten();
    let declared = tools.filter_map(|tool| tool.get("functionDeclarations")?.as_array()).flatten();
    let names: BTreeSet<String> =
        declared.filter_map(|function| function.get("name")?.as_str()).map(str::to_owned).collect();
    if names.contains(denials.name()) {
        let at = "tools[].functionDeclarations[].name".to_owned();
        return Err(Unfit::Unknown { kind: named(denials.name()), at });
    }
    Ok(names)
}

/// A file is named by its address: one that the vendor keeps, or one that it fetches.
fn files(request: &Map<String, Value>, builder: &mut Builder<'_>) -> Result<(), Unfit> {
    let contents = request.get("contents").and_then(Value::as_array).into_iter().flatten();
    for content in contents.chain(request.get("systemInstruction")) {
        for part in content.get("parts").and_then(Value::as_array).into_iter().flatten() {
            if let Some(file) = part.get("fileData").filter(|file| !file.is_null()) {
                let address = file.get("fileUri").and_then(Value::as_str).unwrap_or_default();
                let egress = if address.starts_with(FILES) { StoredState } else { UrlSources };
                builder.uses(egress, "contents[].parts[].fileData")?;
            }
        }
    }
    Ok(())
}

/// A call of the last turn of the model's that nobody answered yet.
struct Open<'a> {
    id: Option<String>,
    /// What the agent knows it by.
    name: String,
    denied: Option<&'a Denied>,
}

/// Gives denied calls their own names and arguments back, and puts what the model is told in the place of what the agent answered.
fn put_denied_back(request: &mut Map<String, Value>, denials: &Denials) -> Result<(), Unfit> {
    let mut open = Vec::new();
    let mut is_answering = false;
    let contents = request.get_mut("contents").and_then(Value::as_array_mut).into_iter().flatten();
    for part in contents.filter_map(|content| content.get_mut("parts")?.as_array_mut()).flatten() {
        if let Some(call) = part.get_mut("functionCall").and_then(Value::as_object_mut) {
            // The calls of one turn stand together; the first call behind an answer is the next turn's.
            if std::mem::take(&mut is_answering) {
                nothing_is_left(&open)?;
                open.clear();
            }
            open.push(restore(call, denials)?);
        }
        if let Some(answer) = part.get_mut("functionResponse").and_then(Value::as_object_mut) {
            is_answering = true;
            if let Some(denied) = answered(answer, &mut open, denials)? {
                tell(answer, denied);
            }
        }
    }
    Ok(())
}

/// Gives a call its own name and arguments back, if it was denied.
fn restore<'a>(call: &mut Map<String, Value>, denials: &'a Denials) -> Result<Open<'a>, Unfit> {
    let forged = || Unfit::Shape("contents[].parts[].functionCall.args".to_owned());
    let of = |member: &str| call.get(member).and_then(Value::as_str).map(str::to_owned);
    let (id, name) = (of("id"), of("name").unwrap_or_default());
    let arguments = call.get("args").map(Value::to_string).unwrap_or_default();
    let denied = denials.restore(&name, &arguments).map_err(|_| forged())?;
    if let Some(denied) = denied {
        // Where the vendor gave an id, the key of one call does not stand for another.
        let is_another = |id: &String| !denied.call.id.starts_with(MADE_UP) && *id != denied.call.id;
        if id.as_ref().is_some_and(is_another) {
            return Err(forged());
        }
        let args = json::parse(denied.call.arguments.as_bytes()).ok().filter(Value::is_object);
        call.insert("args".to_owned(), args.unwrap_or_else(|| json!({ "input": denied.call.arguments })));
        call.insert("name".to_owned(), Value::from(denied.call.name.as_str()));
    }
    Ok(Open { id, name, denied })
}

/// A denied call that another turn follows has its answer, as the vendor demands too: it could be told of nowhere else.
fn nothing_is_left(open: &[Open<'_>]) -> Result<(), Unfit> {
    if open.iter().any(|call| call.denied.is_some()) {
        return Err(Unfit::Shape("contents[].parts[].functionResponse".to_owned()));
    }
    Ok(())
}

/// The denied call that an answer is to, if it is to one: by its id, and otherwise the first of its name. Agents make ids up, so one that
/// nobody gave says nothing. Beside denied calls, an answer to nothing is refused: it could be one of theirs.
fn answered<'a>(
    answer: &Map<String, Value>,
    open: &mut Vec<Open<'a>>,
    denials: &Denials,
) -> Result<Option<&'a Denied>, Unfit> {
    let of = |member: &str| answer.get(member).and_then(Value::as_str);
    let (id, name) = (of("id"), of("name").unwrap_or_default());
    let by_id = id.and_then(|id| open.iter().position(|call| call.id.as_deref() == Some(id)));
    match by_id.or_else(|| open.iter().position(|call| call.name == name)) {
        Some(place) => Ok(open.remove(place).denied),
        None if name == denials.name() => Err(Unfit::Shape("contents[].parts[].functionResponse".to_owned())),
        None => nothing_is_left(open).map(|()| None),
    }
}

/// Makes an answer what the door says of a denied call, and nothing else.
fn tell(answer: &mut Map<String, Value>, denied: &Denied) {
    answer.retain(|member, _| member == "id");
    answer.insert("name".to_owned(), Value::from(denied.call.name.as_str()));
    answer.insert("response".to_owned(), json!({ "error": denied.told }));
}

/// A request. Not listed, and so left out: `labels`, `serviceTier`, `store`; of `generationConfig` what makes several answers or other
/// than text, which have prices of their own; of `toolConfig` the calls whose arguments come in parts.
static REQUEST: Shape = Shape::Object(&[
    ("contents", &Shape::List(&CONTENT)),
    ("systemInstruction", &CONTENT),
    ("tools", &Shape::List(&TOOL)),
    (
        "toolConfig",
        &Shape::Object(&[(
            "functionCallingConfig",
            &Shape::Object(&[("mode", &Shape::Text), ("allowedFunctionNames", &Shape::List(&Shape::Text))]),
        )]),
    ),
    ("safetySettings", &Shape::List(&Shape::Object(&[("category", &Shape::Text), ("threshold", &Shape::Text)]))),
    ("generationConfig", &CONFIG),
    ("cachedContent", &Shape::Granted(StoredState, &Shape::Text)),
]);

/// A count of tokens: of contents, or of a whole request.
static COUNT: Shape = Shape::Object(&[("contents", &Shape::List(&CONTENT)), ("generateContentRequest", &COUNTED)]);

static COUNTED: Shape = Shape::Object(&[
    ("model", &Shape::Text),
    ("contents", &Shape::List(&CONTENT)),
    ("systemInstruction", &CONTENT),
    ("tools", &Shape::List(&TOOL)),
    ("generationConfig", &CONFIG),
    ("cachedContent", &Shape::Granted(StoredState, &Shape::Text)),
]);

static CONFIG: Shape = Shape::Object(&[
    ("stopSequences", &Shape::List(&Shape::Text)),
    ("responseMimeType", &Shape::Text),
    ("responseSchema", &Shape::Any),
    ("responseJsonSchema", &Shape::Any),
    ("maxOutputTokens", &Shape::Number),
    ("temperature", &Shape::Number),
    ("topP", &Shape::Number),
    ("topK", &Shape::Number),
    ("seed", &Shape::Number),
    ("presencePenalty", &Shape::Number),
    ("frequencyPenalty", &Shape::Number),
    ("mediaResolution", &Shape::Text),
    (
        "thinkingConfig",
        &Shape::Object(&[
            ("includeThoughts", &Shape::Flag),
            ("thinkingBudget", &Shape::Number),
            ("thinkingLevel", &Shape::Text),
        ]),
    ),
]);

static TOOL: Shape = Shape::Closed(&[
    ("functionDeclarations", &Shape::List(&FUNCTION)),
    ("codeExecution", &Shape::Granted(VendorTools, &Shape::Any)),
    ("googleSearch", &Shape::Granted(VendorTools, &Shape::Any)),
    ("googleSearchRetrieval", &Shape::Granted(VendorTools, &Shape::Any)),
    ("googleMaps", &Shape::Granted(VendorTools, &Shape::Any)),
    ("urlContext", &Shape::Granted(VendorTools, &Shape::Any)),
    ("computerUse", &Shape::Granted(VendorTools, &Shape::Any)),
    ("fileSearch", &Shape::Granted(StoredState, &Shape::Any)),
    ("mcpServers", &Shape::Granted(Connectors, &Shape::Any)),
]);

static FUNCTION: Shape = Shape::Object(&[
    ("name", &Shape::Text),
    ("description", &Shape::Text),
    ("parameters", &Shape::Any),
    ("parametersJsonSchema", &Shape::Any),
    ("response", &Shape::Any),
    ("responseJsonSchema", &Shape::Any),
]);

static CONTENT: Shape = Shape::Object(&[("role", &Shape::Text), ("parts", &Shape::List(&PART))]);

/// A part is what one of its members says, so one that is not listed is a kind of content that is not known.
static PART: Shape = Shape::Closed(&[
    ("text", &Shape::Text),
    ("thought", &Shape::Flag),
    ("thoughtSignature", &Shape::Text),
    ("inlineData", &Shape::Object(BLOB)),
    (
        "fileData",
        &Shape::Object(&[("fileUri", &Shape::Text), ("mimeType", &Shape::Text), ("displayName", &Shape::Text)]),
    ),
    ("functionCall", &Shape::Object(&[("id", &Shape::Text), ("name", &Shape::Text), ("args", &Shape::Any)])),
    (
        "functionResponse",
        &Shape::Object(&[
            ("id", &Shape::Text),
            ("name", &Shape::Text),
            ("response", &Shape::Any),
            ("parts", &Shape::List(&Shape::Closed(&[("inlineData", &Shape::Object(BLOB))]))),
        ]),
    ),
    ("executableCode", &Shape::Granted(VendorTools, &Shape::Any)),
    ("codeExecutionResult", &Shape::Granted(VendorTools, &Shape::Any)),
    (
        "videoMetadata",
        &Shape::Object(&[("startOffset", &Shape::Text), ("endOffset", &Shape::Text), ("fps", &Shape::Number)]),
    ),
    ("mediaResolution", &Shape::Object(&[("level", &Shape::Text)])),
]);

static BLOB: &[Member] = &[("mimeType", &Shape::Text), ("data", &Shape::Text), ("displayName", &Shape::Text)];
