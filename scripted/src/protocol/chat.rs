//! OpenAI Chat Completions: `POST /v1/chat/completions`.

use serde_json::{Map, Value, json};

use super::{Ask, Refusal, Takes, Told, Tool, Turns};
use crate::answer::{Event, Reply, Writes};
use crate::shape::{flat, is_plain, list, pieces, repeated, text, unknown};
use crate::{Call, Part, Usage};

/// Members of a request.
const MEMBERS: &[&str] = &[
    "messages",
    "model",
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "modalities",
    "moderation",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];

/// Longest name of a function.
const NAME_LENGTH_MAX: usize = 64;

/// Longest id of a call.
const CALL_ID_LENGTH_MAX: usize = 40;

pub(super) fn read(ask: Ask<'_>) -> Result<Told, Refusal> {
    let body = ask.body;
    if let Some(name) = unknown(body, MEMBERS) {
        return Err(Refusal::of(format!("Unrecognized request argument supplied: {name}")));
    }
    for name in ["model", "messages"] {
        if body.get(name).is_none() {
            let refusal = Refusal::at(name, format!("Missing required parameter: '{name}'."));
            return Err(refusal.coded("missing_required_parameter"));
        }
    }
    let streams = body.get("stream") == Some(&Value::Bool(true));
    if !streams && body.get("stream_options").is_some_and(|options| !options.is_null()) {
        return Err(Refusal::at(
            "stream_options",
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
        ));
    }
    let tools = tools(body)?;
    let (turn, results) = messages(list(body, "messages"))?;
    Ok(Told { model: text(body, "model").to_owned(), tools, results, turn, streams })
}

fn tools(body: &Value) -> Result<Vec<Tool>, Refusal> {
    let mut tools = Vec::new();
    for (place, declared) in list(body, "tools").iter().enumerate() {
        let (kind, takes) = match text(declared, "type") {
            "function" => ("function", Takes::Arguments),
            "custom" => ("custom", Takes::Text),
            other => {
                let at = format!("tools[{place}].type");
                let message = format!("Invalid value: '{other}'. Supported values are: 'function' and 'custom'.");
                return Err(Refusal::at(at, message).coded("invalid_value"));
            }
        };
        let name = declared.get(kind).map(|about| text(about, "name")).unwrap_or_default();
        let at = format!("tools[{place}].{kind}.name");
        plain(name, &at)?;
        tools.push(Tool { name: name.to_owned(), takes, namespace: None });
    }
    if let Some(name) = repeated(tools.iter().map(|tool| tool.name.as_str())) {
        return Err(Refusal::at("tools", format!("Tool names must be unique: '{name}'.")));
    }
    let choice = body.get("tool_choice").filter(|choice| !choice.is_null() && choice.as_str() != Some("none"));
    if tools.is_empty() && choice.is_some() {
        return Err(Refusal::at("tool_choice", "'tool_choice' is only allowed when 'tools' are specified."));
    }
    Ok(tools)
}

/// A name that the vendor takes for a function.
fn plain(name: &str, at: &str) -> Result<(), Refusal> {
    if is_plain(name, NAME_LENGTH_MAX, "") {
        return Ok(());
    }
    let message = format!(
        "Invalid '{at}': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$', of \
         at most {NAME_LENGTH_MAX} characters."
    );
    Err(Refusal::at(at, message).coded("invalid_value"))
}

/// Which turn comes next, and the results that the model has not seen yet.
fn messages(messages: &[Value]) -> Result<(usize, Vec<String>), Refusal> {
    if messages.is_empty() {
        let message =
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.";
        return Err(Refusal::at("messages", message).coded("empty_array"));
    }
    let mut turns = Turns::default();
    let mut pending: Vec<&str> = Vec::new();
    let mut results = Vec::new();
    for (place, message) in messages.iter().enumerate() {
        let role = text(message, "role");
        if role != "tool" && !pending.is_empty() {
            return Err(unanswered(place, &pending));
        }
        match role {
            "system" | "developer" => {}
            "user" => {
                if message.get("content").is_none_or(Value::is_null) {
                    let at = format!("messages.[{place}].content");
                    return Err(Refusal::at(at, "Invalid value for 'content': expected a string, got null."));
                }
            }
            "assistant" => {
                pending = calls(message, place)?;
                turns.had(pending.len());
                results.clear();
            }
            "tool" => {
                let id = text(message, "tool_call_id");
                let before = pending.len();
                pending.retain(|call| *call != id);
                if pending.len() == before {
                    return Err(Refusal::at(
                        format!("messages.[{place}].role"),
                        "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with \
                         'tool_calls'.",
                    ));
                }
                results.push(flat(message.get("content")));
            }
            other => {
                let at = format!("messages[{place}].role");
                let message = format!(
                    "Invalid value: '{other}'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and \
                     'developer'."
                );
                return Err(Refusal::at(at, message).coded("invalid_value"));
            }
        }
    }
    if !pending.is_empty() {
        return Err(unanswered(messages.len(), &pending));
    }
    Ok((turns.next(), results))
}

/// The ids of an assistant's calls.
fn calls(message: &Value, place: usize) -> Result<Vec<&str>, Refusal> {
    let calls = list(message, "tool_calls");
    if calls.is_empty() && message.get("content").is_none_or(Value::is_null) && message.get("refusal").is_none() {
        let at = format!("messages.[{place}].content");
        return Err(Refusal::at(at, "Invalid value for 'content': expected a string, got null."));
    }
    for (index, call) in calls.iter().enumerate() {
        let at = format!("messages[{place}].tool_calls[{index}]");
        if text(call, "id").is_empty() || text(call, "id").len() > CALL_ID_LENGTH_MAX {
            let message = format!(
                "Invalid '{at}.id': expected a string with minimum length 1 and maximum length {CALL_ID_LENGTH_MAX}."
            );
            return Err(Refusal::at(format!("{at}.id"), message).coded("string_above_max_length"));
        }
        let (kind, input) =
            if text(call, "type") == "custom" { ("custom", "input") } else { ("function", "arguments") };
        let about = call.get(kind).cloned().unwrap_or_default();
        plain(text(&about, "name"), &format!("{at}.{kind}.name"))?;
        if about.get(input).and_then(Value::as_str).is_none() {
            let at = format!("{at}.{kind}.{input}");
            let message = format!("Missing required parameter: '{at}'.");
            return Err(Refusal::at(at, message).coded("missing_required_parameter"));
        }
    }
    Ok(calls.iter().map(|call| text(call, "id")).collect())
}

fn unanswered(place: usize, pending: &[&str]) -> Refusal {
    Refusal::at(
        format!("messages.[{place}].role"),
        format!(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. \
             The following tool_call_ids did not have response messages: {}",
            pending.join(", ")
        ),
    )
}

pub(super) fn whole(reply: &Reply<'_>) -> Value {
    let said: Vec<&str> = reply.turn.say.iter().filter_map(said).collect();
    let calls: Vec<Value> = made(reply).map(|(place, call)| self::call(reply, place, call)).collect();
    let mut message = json!({
        "role": "assistant", "refusal": null, "annotations": [],
        "content": if said.is_empty() { Value::Null } else { Value::String(said.concat()) },
    });
    if let (Some(members), false) = (message.as_object_mut(), calls.is_empty()) {
        members.insert("tool_calls".to_owned(), Value::Array(calls));
    }
    let choice = json!({ "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(reply) });
    let mut body = json!({
        "id": reply.id("chatcmpl-", 0), "object": "chat.completion", "created": reply.at, "model": reply.told.model,
        "choices": [choice], "service_tier": "default", "system_fingerprint": null,
    });
    if let Some(members) = body.as_object_mut() {
        members.insert("usage".to_owned(), usage(reply.turn.usage));
    }
    body
}

pub(super) fn events(reply: &Reply<'_>) -> Vec<Event> {
    let options = reply.body.get("stream_options");
    let counted = options.and_then(|options| options.get("include_usage")) == Some(&Value::Bool(true));
    let chunk = |choices: Value, usage: Option<Value>| {
        let mut members = Map::from_iter([
            ("id".to_owned(), json!(reply.id("chatcmpl-", 0))),
            ("object".to_owned(), json!("chat.completion.chunk")),
            ("created".to_owned(), json!(reply.at)),
            ("model".to_owned(), json!(reply.told.model)),
            ("service_tier".to_owned(), json!("default")),
            ("system_fingerprint".to_owned(), Value::Null),
            ("choices".to_owned(), choices),
        ]);
        if counted {
            members.insert("usage".to_owned(), usage.unwrap_or_default());
        }
        Event::about(None, &Value::Object(members))
    };
    let delta = |delta: Value, finish_reason: Option<&str>| {
        let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason });
        chunk(json!([choice]), None)
    };
    let mut events = vec![delta(json!({ "role": "assistant", "content": "", "refusal": null }), None)];
    for text in reply.turn.say.iter().filter_map(said) {
        events.extend(
            pieces(text).into_iter().map(|piece| delta(json!({ "content": piece }), None).with(Writes::Output)),
        );
    }
    for (index, (place, call)) in made(reply).enumerate() {
        let mut begun = self::call(reply, place, call);
        let (kind, member) = form(reply, call);
        let input = begun
            .get_mut(kind)
            .and_then(Value::as_object_mut)
            .and_then(|about| about.insert(member.to_owned(), json!("")));
        if let Some(members) = begun.as_object_mut() {
            members.insert("index".to_owned(), json!(index));
        }
        events.push(delta(json!({ "tool_calls": [begun] }), None));
        let input = input.as_ref().and_then(Value::as_str).unwrap_or_default();
        events.extend(pieces(input).into_iter().map(|piece| {
            let more = Map::from_iter([
                ("index".to_owned(), json!(index)),
                (kind.to_owned(), Value::Object(Map::from_iter([(member.to_owned(), json!(piece))]))),
            ]);
            delta(json!({ "tool_calls": [more] }), None).with(Writes::Output)
        }));
    }
    events.push(delta(json!({}), Some(finish_reason(reply))));
    if counted {
        events.push(chunk(json!([]), Some(usage(reply.turn.usage))));
    }
    events.push(Event { name: None, data: "[DONE]".to_owned(), writes: Writes::Nothing });
    events
}

/// Text for the client. Reasoning is not shown in this protocol.
fn said(part: &Part) -> Option<&str> {
    if let Part::Text(said) = part { Some(said) } else { None }
}

/// The turn's calls, each with its place.
fn made<'a>(reply: &Reply<'a>) -> impl Iterator<Item = (usize, &'a Call)> {
    let calls = reply.turn.say.iter().enumerate();
    calls.filter_map(|(place, part)| if let Part::Call(call) = part { Some((place, call)) } else { None })
}

/// What a call is called, and the member that holds its input.
fn form(reply: &Reply<'_>, call: &Call) -> (&'static str, &'static str) {
    if reply.is_text(call) { ("custom", "input") } else { ("function", "arguments") }
}

fn call(reply: &Reply<'_>, place: usize, call: &Call) -> Value {
    let id = reply.id("call_", place);
    if reply.is_text(call) {
        json!({ "id": id, "type": "custom", "custom": { "name": call.name, "input": call.input.text() } })
    } else {
        let arguments = call.input.arguments().to_string();
        json!({ "id": id, "type": "function", "function": { "name": call.name, "arguments": arguments } })
    }
}

fn finish_reason(reply: &Reply<'_>) -> &'static str {
    if reply.calls() > 0 { "tool_calls" } else { "stop" }
}

/// What is read counts the cache, and what is written counts reasoning.
fn usage(tokens: Usage) -> Value {
    json!({
        "prompt_tokens": tokens.read(), "completion_tokens": tokens.written(),
        "total_tokens": tokens.read().saturating_add(tokens.written()),
        "prompt_tokens_details": {
            "cached_tokens": tokens.cached, "cache_write_tokens": tokens.cache_write, "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": tokens.reasoning, "audio_tokens": 0, "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    })
}
