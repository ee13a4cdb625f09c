//! Gemini: `POST /v1beta/models/MODEL:generateContent`, `:streamGenerateContent` and `:countTokens`, or the same under `/v1`. Members may be written in either of
//! the ways that protocol buffers have, `functionCall` and `function_call`.

use serde_json::{Map, Value, json};

use super::{Ask, Refusal, Takes, Told, Tool, Turns, What};
use crate::answer::{Event, Reply, Writes};
use crate::shape::{is_plain, is_seal, pieces, repeated, seal};
use crate::{Part, Usage};

/// Where the models are: under either version of the API, which clients choose between.
const MODELS: [&str; 2] = ["/v1beta/models/", "/v1/models/"];

/// The model a path names, and what is asked of it.
pub(super) fn target(path: &str) -> Option<(&str, &str)> {
    MODELS.iter().find_map(|models| path.strip_prefix(models))?.rsplit_once(':')
}

/// Members of a request.
const MEMBERS: &[&str] = &[
    "model",
    "contents",
    "systemInstruction",
    "tools",
    "toolConfig",
    "safetySettings",
    "generationConfig",
    "cachedContent",
    "labels",
    "serviceTier",
    "store",
];

/// Members of a request for a count.
const COUNT_MEMBERS: &[&str] = &["model", "contents", "generateContentRequest"];

/// Members of a part; the first ones are its content, of which it has one.
const PARTS: &[&str] = &[
    "text",
    "inlineData",
    "functionCall",
    "functionResponse",
    "fileData",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
    "thought",
    "thoughtSignature",
    "videoMetadata",
    "mediaResolution",
    "partMetadata",
    "mediaProcessing",
    "speechMetadata",
    "audioTranscription",
];

/// How many of them are content.
const CONTENTS: usize = 9;

/// Longest name of a function.
const NAME_LENGTH_MAX: usize = 128;

pub(super) fn read(ask: Ask<'_>) -> Result<Told, Refusal> {
    let body = known(ask.body, if ask.what == What::Count { COUNT_MEMBERS } else { MEMBERS }, "")?;
    let (model, verb) = target(&ask.request.path).unwrap_or_default();
    let inner = body.get("generateContentRequest").map(|inner| known(inner, MEMBERS, "generate_content_request"));
    let body = inner.transpose()?.unwrap_or(body);
    let contents = body.get("contents").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if contents.is_empty() {
        return Err(Refusal::of("* GenerateContentRequest.contents: contents is not specified\n"));
    }
    let tools = tools(&body)?;
    let (turn, results) = self::contents(contents, model)?;
    Ok(Told { model: model.to_owned(), tools, results, turn, streams: verb == "streamGenerateContent" && is_sse(ask) })
}

/// Without `alt=sse` a stream is one list, which is written here in one piece.
fn is_sse(ask: Ask<'_>) -> bool {
    ask.request.parameter("alt") == Some("sse")
}

/// An object with its members in camel case, all of them known.
fn known(value: &Value, known: &[&str], at: &str) -> Result<Map<String, Value>, Refusal> {
    let mut members = Map::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        let camel = camel(name);
        if !known.contains(&camel.as_str()) {
            let at = if at.is_empty() { String::new() } else { format!(" at '{at}'") };
            return Err(Refusal::of(format!(
                "Invalid JSON payload received. Unknown name \"{name}\"{at}: Cannot find field."
            )));
        }
        members.insert(camel, value.clone());
    }
    Ok(members)
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

/// A member in either way of writing.
fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.as_object()?.iter().find(|(known, _)| camel(known) == name).map(|(_, value)| value)
}

fn tools(body: &Map<String, Value>) -> Result<Vec<Tool>, Refusal> {
    let mut tools = Vec::new();
    for (place, tool) in body.get("tools").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let declared = member(tool, "functionDeclarations").and_then(Value::as_array);
        for (index, function) in declared.into_iter().flatten().enumerate() {
            let name = function.get("name").and_then(Value::as_str).unwrap_or_default();
            let first = name.chars().next().unwrap_or('-');
            if !is_plain(name, NAME_LENGTH_MAX, ".:") || !(first.is_ascii_alphabetic() || first == '_') {
                return Err(Refusal::of(format!(
                    "* GenerateContentRequest.tools[{place}].function_declarations[{index}].name: Invalid function name. Must \
                     start with a letter or an underscore. Must be alphameric (a-z, A-Z, 0-9), underscores (_), dots (.), \
                     colons (:), or dashes (-), with a maximum length of {NAME_LENGTH_MAX}.\n"
                )));
            }
            tools.push(Tool { name: name.to_owned(), takes: Takes::Arguments, namespace: None });
        }
    }
    if let Some(name) = repeated(tools.iter().map(|tool| tool.name.as_str())) {
        return Err(Refusal::of(format!("Duplicate function declaration found: {name}")));
    }
    Ok(tools)
}

/// Which turn comes next, and the results that the model has not seen yet.
fn contents(contents: &[Value], model: &str) -> Result<(usize, Vec<String>), Refusal> {
    let mut turns = Turns::default();
    let mut results = Vec::new();
    let mut calls: Option<usize> = None;
    for (place, content) in contents.iter().enumerate() {
        let at = format!("contents[{place}]");
        known(content, &["role", "parts"], &at)?;
        let parts = content.get("parts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if parts.is_empty() {
            return Err(Refusal::of(format!(
                "* GenerateContentRequest.{at}.parts: contents.parts must not be empty.\n"
            )));
        }
        for (index, part) in parts.iter().enumerate() {
            self::part(part, &format!("{at}.parts[{index}]"))?;
        }
        let of = |name| parts.iter().filter(move |part| member(part, name).is_some());
        match content.get("role").and_then(Value::as_str).unwrap_or("user") {
            "model" => {
                let made = of("functionCall").count();
                if made > 0 && (place == 0 || calls.is_some()) {
                    return Err(Refusal::of(
                        "Please ensure that function call turn comes immediately after a user turn or after a function \
                         response turn.",
                    ));
                }
                if made > 0 && model.starts_with("gemini-3") && !of("functionCall").next().is_some_and(is_signed) {
                    return Err(Refusal::of("Function call is missing a thought_signature in functionCall parts."));
                }
                calls = Some(calls.unwrap_or(0).saturating_add(made));
                results.clear();
            }
            "user" | "function" => {
                let given: Vec<&Value> = of("functionResponse").collect();
                if let Some(calls) = calls.take() {
                    turns.had(calls);
                    if calls != given.len() {
                        return Err(uneven());
                    }
                } else if !given.is_empty() {
                    return Err(Refusal::of(
                        "Please ensure that function response turn comes immediately after a function call turn.",
                    ));
                }
                results.extend(given.into_iter().filter_map(|part| {
                    let response = member(part, "functionResponse")?.get("response")?;
                    // What the function said, without what JSON puts before a quotation mark or a line's end.
                    let lines: Vec<String> = said(response);
                    Some(lines.join("\n"))
                }));
            }
            _ => return Err(Refusal::of("Please use a valid role: user, model.")),
        }
    }
    match calls {
        Some(calls) if calls > 0 => Err(uneven()),
        Some(_) => {
            Err(Refusal::of("Please ensure that single turn requests end with a user role or the role field is empty."))
        }
        None => Ok((turns.next(), results)),
    }
}

/// Every text in a value.
fn said(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(said).collect(),
        Value::Object(members) => members.values().flat_map(said).collect(),
        other => vec![other.to_string()],
    }
}

fn is_signed(part: &Value) -> bool {
    member(part, "thoughtSignature").is_some()
}

fn uneven() -> Refusal {
    Refusal::of(
        "Please ensure that the number of function response parts is equal to the number of function call parts of the \
         function call turn.",
    )
}

fn part(part: &Value, at: &str) -> Result<(), Refusal> {
    let members = known(part, PARTS, at)?;
    let contents = PARTS.iter().take(CONTENTS).filter(|name| members.contains_key(**name)).count();
    if contents != 1 {
        return Err(Refusal::of(format!(
            "* GenerateContentRequest.{at}.data: required oneof field 'data' must have one initialized field\n"
        )));
    }
    if let Some(signature) = members.get("thoughtSignature")
        && !signature.as_str().is_some_and(is_seal)
    {
        return Err(Refusal::of("Thought signature is not valid."));
    }
    for (name, at_name, members_known, object) in [
        ("functionCall", "function_call", &["id", "name", "args"][..], "args"),
        (
            "functionResponse",
            "function_response",
            &["id", "name", "response", "willContinue", "scheduling", "parts"],
            "response",
        ),
    ] {
        let Some(value) = members.get(name) else { continue };
        let at = format!("{at}.{at_name}");
        known(value, members_known, &at)?;
        if value.get("name").and_then(Value::as_str).unwrap_or_default().is_empty() {
            return Err(Refusal::of(format!("* GenerateContentRequest.{at}.name: Name cannot be empty.\n")));
        }
        let optional = name == "functionCall" && value.get(object).is_none();
        if !optional && !value.get(object).is_some_and(Value::is_object) {
            return Err(Refusal::of(format!(
                "Invalid value at '{at}.{object}' (type.googleapis.com/google.protobuf.Struct)"
            )));
        }
    }
    Ok(())
}

pub(super) fn whole(reply: &Reply<'_>) -> Value {
    let parts: Vec<Value> = (0..).zip(&reply.turn.say).map(|(place, part)| whole_part(reply, place, part)).collect();
    chunk(reply, parts, Some("STOP"), reply.turn.usage)
}

pub(super) fn events(reply: &Reply<'_>) -> Vec<Event> {
    let none = Usage { output: 0, reasoning: 0, ..reply.turn.usage };
    let mut events = Vec::new();
    let mut push = |part: Value, writes| {
        events.push(Event::about(None, &chunk(reply, vec![part], None, none)).with(writes));
    };
    for (place, part) in reply.turn.say.iter().enumerate() {
        match part {
            Part::Text(said) => {
                pieces(said).into_iter().for_each(|piece| push(json!({ "text": piece }), Writes::Output))
            }
            Part::Reasoning(said) => pieces(said)
                .into_iter()
                .for_each(|piece| push(json!({ "text": piece, "thought": true }), Writes::Reasoning)),
            // A call comes whole in this protocol.
            Part::Call(_) => push(whole_part(reply, place, part), Writes::Output),
        }
    }
    let last = chunk(reply, vec![json!({ "text": "" })], Some("STOP"), reply.turn.usage);
    events.push(Event::about(None, &last));
    events
}

fn whole_part(reply: &Reply<'_>, place: usize, part: &Part) -> Value {
    match part {
        Part::Text(said) => json!({ "text": said }),
        Part::Reasoning(said) => json!({ "text": said, "thought": true }),
        Part::Call(call) => {
            let mut part = json!({ "functionCall": {
                "id": reply.id("fc", place), "name": call.name, "args": call.input.arguments(),
            } });
            // Of several calls in a turn the first is signed.
            let before = reply.turn.say.iter().take(place);
            let first = before.filter(|part| matches!(part, Part::Call(_))).count() == 0;
            if let (true, Some(members)) = (first, part.as_object_mut()) {
                members.insert("thoughtSignature".to_owned(), json!(seal(&call.name)));
            }
            part
        }
    }
}

fn chunk(reply: &Reply<'_>, parts: Vec<Value>, finish_reason: Option<&str>, tokens: Usage) -> Value {
    let mut candidate = json!({ "content": { "role": "model", "parts": parts }, "index": 0 });
    if let (Some(reason), Some(members)) = (finish_reason, candidate.as_object_mut()) {
        members.insert("finishReason".to_owned(), json!(reason));
    }
    json!({
        "candidates": [candidate], "modelVersion": reply.told.model, "responseId": reply.id("", 0),
        "usageMetadata": usage(tokens),
    })
}

/// What is read counts the cache; what is written does not count thoughts.
fn usage(tokens: Usage) -> Value {
    json!({
        "promptTokenCount": tokens.read(), "cachedContentTokenCount": tokens.cached,
        "candidatesTokenCount": tokens.output, "thoughtsTokenCount": tokens.reasoning,
        "totalTokenCount": tokens.read().saturating_add(tokens.written()),
    })
}

pub(super) fn error(refusal: &Refusal) -> Value {
    let status = match refusal.status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 | 529 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        400 => "INVALID_ARGUMENT",
        _ => "FAILED_PRECONDITION",
    };
    let mut error = json!({ "code": refusal.status, "message": refusal.message, "status": status });
    if let (Some(code), Some(members)) = (refusal.code, error.as_object_mut()) {
        let details = json!([{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": code, "domain": "googleapis.com",
            "metadata": { "service": "generativelanguage.googleapis.com" },
        }]);
        members.insert("details".to_owned(), details);
    }
    json!({ "error": error })
}
