//! OpenAI Responses: `POST /v1/responses`. Nothing is kept, so what refers to an earlier answer is refused as one that was not stored.

use serde_json::{Value, json};

use super::{Ask, Refusal, Takes, Told, Tool, Turns};
use crate::answer::{Event, Reply, Writes};
use crate::shape::{flat, is_plain, is_seal, list, pieces, repeated, seal, text, unknown};
use crate::{Call, Part, Usage};

/// Members of a request.
const MEMBERS: &[&str] = &[
    "background",
    "client_metadata",
    "context_management",
    "conversation",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "model",
    "moderation",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
];

/// Kinds of items that a request may have beside messages, calls of functions and custom tools, their outputs, and reasoning.
const OTHER_ITEMS: &[&str] = &[
    "additional_tools",
    "apply_patch_call",
    "apply_patch_call_output",
    "code_interpreter_call",
    "compaction",
    "compaction_trigger",
    "computer_call",
    "computer_call_output",
    "file_search_call",
    "image_generation_call",
    "local_shell_call",
    "local_shell_call_output",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "mcp_list_tools",
    "program",
    "program_output",
    "shell_call",
    "shell_call_output",
    "tool_search_call",
    "tool_search_output",
    "web_search_call",
];

/// Kinds of tools that the vendor has beside functions, custom tools and namespaces of them.
const OTHER_TOOLS: &[&str] = &[
    "apply_patch",
    "code_interpreter",
    "computer",
    "computer_use_preview",
    "file_search",
    "image_generation",
    "local_shell",
    "mcp",
    "programmatic_tool_calling",
    "shell",
    "tool_search",
    "web_search",
    "web_search_preview",
];

/// Longest name of a function.
const NAME_LENGTH_MAX: usize = 128;

/// Longest id of a call.
const CALL_ID_LENGTH_MAX: usize = 64;

pub(super) fn read(ask: Ask<'_>) -> Result<Told, Refusal> {
    let body = ask.body;
    if let Some(name) = unknown(body, MEMBERS) {
        return Err(Refusal::at(name, format!("Unknown parameter: '{name}'.")).coded("unknown_parameter"));
    }
    for name in ["model", "input"] {
        if body.get(name).is_none_or(Value::is_null) {
            return Err(missing(name));
        }
    }
    if let Some(id) = body.get("previous_response_id").and_then(Value::as_str) {
        let message = format!("Previous response with id '{id}' not found.");
        return Err(Refusal::at("previous_response_id", message).coded("previous_response_not_found"));
    }
    let declared = declared(body)?;
    let (turn, results) = match body.get("input") {
        Some(Value::Array(items)) => self::items(items)?,
        Some(Value::String(_)) => (0, Vec::new()),
        _ => {
            return Err(Refusal::at(
                "input",
                "Invalid type for 'input': expected one of a string or array of objects.",
            ));
        }
    };
    Ok(Told {
        model: text(body, "model").to_owned(),
        tools: declared,
        results,
        turn,
        streams: body.get("stream") == Some(&Value::Bool(true)),
    })
}

fn missing(at: impl Into<String>) -> Refusal {
    let at = at.into();
    let message = format!("Missing required parameter: '{at}'.");
    Refusal::at(at, message).coded("missing_required_parameter")
}

/// Tools stand in the request's own member, and in items among its input.
fn declared(body: &Value) -> Result<Vec<Tool>, Refusal> {
    let mut declared = Vec::new();
    tools(list(body, "tools"), "tools", None, &mut declared)?;
    for (place, item) in list(body, "input").iter().enumerate().filter(|(_, item)| kind(item) == "additional_tools") {
        tools(list(item, "tools"), &format!("input[{place}].tools"), None, &mut declared)?;
    }
    let named = |tool: &Tool| format!("{}.{}", tool.namespace.as_deref().unwrap_or_default(), tool.name);
    let names: Vec<String> = declared.iter().map(named).collect();
    if let Some(name) = repeated(names.iter().map(String::as_str)) {
        let name = name.trim_start_matches('.');
        return Err(Refusal::at("tools", format!("Tool names must be unique: '{name}'.")));
    }
    Ok(declared)
}

fn tools(tools: &[Value], at: &str, namespace: Option<&str>, declared: &mut Vec<Tool>) -> Result<(), Refusal> {
    for (place, tool) in tools.iter().enumerate() {
        let at = format!("{at}[{place}]");
        let takes = match text(tool, "type") {
            "function" => Takes::Arguments,
            "custom" => Takes::Text,
            "namespace" => {
                plain(text(tool, "name"), &format!("{at}.name"))?;
                self::tools(list(tool, "tools"), &format!("{at}.tools"), Some(text(tool, "name")), declared)?;
                continue;
            }
            kind if OTHER_TOOLS.iter().any(|known| is_version_of(kind, known)) => continue,
            other => {
                let message = format!("Invalid value: '{other}'. Supported values are the types of tools.");
                return Err(Refusal::at(format!("{at}.type"), message).coded("invalid_value"));
            }
        };
        let name = text(tool, "name");
        plain(name, &format!("{at}.name"))?;
        declared.push(Tool { name: name.to_owned(), takes, namespace: namespace.map(str::to_owned) });
    }
    Ok(())
}

/// Whether a kind is this one, or a dated version of it.
fn is_version_of(kind: &str, known: &str) -> bool {
    let rest = kind.strip_prefix(known);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("_20"))
}

fn plain(name: &str, at: &str) -> Result<(), Refusal> {
    if is_plain(name, NAME_LENGTH_MAX, "") {
        return Ok(());
    }
    let message = format!(
        "Invalid '{at}': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
    );
    Err(Refusal::at(at, message).coded("invalid_value"))
}

/// Which turn comes next, and the results that the model has not seen yet.
fn items(items: &[Value]) -> Result<(usize, Vec<String>), Refusal> {
    let mut turns = Turns::default();
    let mut calls: Vec<&str> = Vec::new();
    let mut answered: Vec<&str> = Vec::new();
    let mut results = Vec::new();
    // How many calls the model's turn has so far that is being read, if one is.
    let mut speaking: Option<usize> = None;
    let mut thought: Option<&str> = None;
    for (place, item) in items.iter().enumerate() {
        let at = format!("input[{place}]");
        let by_model = match kind(item) {
            "message" => message(item, &at)?,
            "function_call" | "custom_tool_call" => {
                calls.push(call(item, &at)?);
                speaking = Some(speaking.unwrap_or(0).saturating_add(1));
                true
            }
            "function_call_output" | "custom_tool_call_output" => {
                let id = text(item, "call_id");
                if !calls.contains(&id) || answered.contains(&id) {
                    let message = format!("No tool call found for function call output with call_id {id}.");
                    return Err(Refusal::at("input", message));
                }
                if item.get("output").is_none_or(Value::is_null) {
                    return Err(missing(format!("{at}.output")));
                }
                answered.push(id);
                results.push(flat(item.get("output")));
                false
            }
            "reasoning" => {
                reasoning(item, &at)?;
                true
            }
            "item_reference" => {
                let message = format!("Item with id '{}' not found.", text(item, "id"));
                return Err(Refusal::at("input", message).with(404));
            }
            other if OTHER_ITEMS.contains(&other) => continue,
            other => {
                let message = format!("Invalid value: '{other}'. Supported values are the types of items.");
                return Err(Refusal::at(format!("{at}.type"), message).coded("invalid_value"));
            }
        };
        if let (Some(id), false) = (thought, by_model) {
            return Err(alone(id));
        }
        thought = (kind(item) == "reasoning").then(|| text(item, "id"));
        if by_model {
            speaking = speaking.or(Some(0));
            results.clear();
        } else if let Some(calls) = speaking.take() {
            turns.had(calls);
        }
    }
    if let Some(id) = thought {
        return Err(alone(id));
    }
    if let Some(id) = calls.iter().find(|id| !answered.contains(id)) {
        return Err(Refusal::at("input", format!("No tool output found for function call {id}.")));
    }
    if let Some(calls) = speaking {
        turns.had(calls);
    }
    Ok((turns.next(), results))
}

/// A message need not say that it is one.
fn kind(item: &Value) -> &str {
    match text(item, "type") {
        "" if item.get("role").is_some() => "message",
        "" if item.get("id").is_some() => "item_reference",
        kind => kind,
    }
}

/// Whether a message is the model's.
fn message(item: &Value, at: &str) -> Result<bool, Refusal> {
    let by_model = match text(item, "role") {
        "assistant" => true,
        "user" | "system" | "developer" => false,
        other => {
            let message = format!(
                "Invalid value: '{other}'. Supported values are: 'assistant', 'system', 'developer', and 'user'."
            );
            return Err(Refusal::at(format!("{at}.role"), message).coded("invalid_value"));
        }
    };
    let known: &[&str] = if by_model {
        &["output_text", "refusal"]
    } else {
        &["input_text", "input_image", "input_file", "input_audio"]
    };
    match item.get("content") {
        Some(Value::String(_)) => {}
        Some(Value::Array(parts)) => {
            if let Some((index, part)) = parts.iter().enumerate().find(|(_, part)| !known.contains(&text(part, "type")))
            {
                let message = format!(
                    "Invalid value: '{}'. Supported values are: '{}'.",
                    text(part, "type"),
                    known.join("' and '")
                );
                return Err(Refusal::at(format!("{at}.content[{index}]"), message).coded("invalid_value"));
            }
        }
        _ => return Err(missing(format!("{at}.content"))),
    }
    Ok(by_model)
}

/// The id of a call.
fn call<'a>(item: &'a Value, at: &str) -> Result<&'a str, Refusal> {
    let input = if text(item, "type") == "function_call" { "arguments" } else { "input" };
    plain(text(item, "name"), &format!("{at}.name"))?;
    if item.get(input).and_then(Value::as_str).is_none() {
        return Err(missing(format!("{at}.{input}")));
    }
    let id = text(item, "call_id");
    if id.is_empty() {
        return Err(missing(format!("{at}.call_id")));
    }
    if id.len() > CALL_ID_LENGTH_MAX {
        let message = format!(
            "Invalid '{at}.call_id': string too long. Expected a string with maximum length {CALL_ID_LENGTH_MAX}, but got a \
             string with length {} instead.",
            id.len()
        );
        return Err(Refusal::at(format!("{at}.call_id"), message).coded("string_above_max_length"));
    }
    Ok(id)
}

fn reasoning(item: &Value, at: &str) -> Result<(), Refusal> {
    if !item.get("summary").is_some_and(Value::is_array) {
        return Err(missing(format!("{at}.summary")));
    }
    match item.get("encrypted_content").and_then(Value::as_str) {
        Some(sealed) if !is_seal(sealed) => {
            let message = "The encrypted content could not be verified. Reason: Encrypted content could not be decrypted or parsed.";
            Err(Refusal::of(message).coded("invalid_encrypted_content"))
        }
        Some(_) => Ok(()),
        // Without it the vendor looks for what it stored, and this one stores nothing.
        None => {
            let message = format!(
                "Item with id '{}' not found. Items are not persisted when `store` is set to false. Try again with `store` \
                 set to true, or remove this item from your input.",
                text(item, "id")
            );
            Err(Refusal::at("input", message).with(404))
        }
    }
}

fn alone(id: &str) -> Refusal {
    let message = format!("Item '{id}' of type 'reasoning' was provided without its required following item.");
    Refusal::at("input", message)
}

pub(super) fn whole(reply: &Reply<'_>) -> Value {
    let output: Vec<Value> = reply.turn.say.iter().enumerate().map(|(place, part)| item(reply, place, part)).collect();
    response(reply, "completed", output)
}

pub(super) fn events(reply: &Reply<'_>) -> Vec<Event> {
    let mut stream = Stream::default();
    stream.push("response.created", json!({ "response": response(reply, "in_progress", Vec::new()) }));
    stream.push("response.in_progress", json!({ "response": response(reply, "in_progress", Vec::new()) }));
    for (place, part) in reply.turn.say.iter().enumerate() {
        let item = item(reply, place, part);
        stream.push("response.output_item.added", json!({ "output_index": place, "item": begun(&item) }));
        let at = json!({ "item_id": item.get("id"), "output_index": place });
        match part {
            Part::Text(said) => stream.text(&at, said),
            Part::Reasoning(said) => stream.reasoning(&at, said),
            Part::Call(call) if reply.is_text(call) => stream.input(&at, call),
            Part::Call(call) => stream.arguments(&at, call),
        }
        stream.push("response.output_item.done", json!({ "output_index": place, "item": item }));
    }
    stream.push("response.completed", json!({ "response": whole(reply) }));
    stream.0
}

/// Events, each with its number.
#[derive(Default)]
struct Stream(Vec<Event>);

impl Stream {
    fn push(&mut self, name: &'static str, members: Value) {
        self.write(name, &json!({}), members, Writes::Nothing);
    }

    fn write(&mut self, name: &'static str, at: &Value, members: Value, writes: Writes) {
        let mut data = json!({ "type": name, "sequence_number": self.0.len() });
        for members in [at.clone(), members] {
            if let (Some(data), Value::Object(members)) = (data.as_object_mut(), members) {
                data.extend(members);
            }
        }
        self.0.push(Event::about(Some(name), &data).with(writes));
    }

    fn text(&mut self, at: &Value, said: &str) {
        let part = |text: &str| json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] });
        let still = Writes::Nothing;
        self.write("response.content_part.added", at, json!({ "content_index": 0, "part": part("") }), still);
        for piece in pieces(said) {
            let members = json!({ "content_index": 0, "delta": piece, "logprobs": [] });
            self.write("response.output_text.delta", at, members, Writes::Output);
        }
        let members = json!({ "content_index": 0, "text": said, "logprobs": [] });
        self.write("response.output_text.done", at, members, still);
        self.write("response.content_part.done", at, json!({ "content_index": 0, "part": part(said) }), still);
    }

    fn reasoning(&mut self, at: &Value, said: &str) {
        let part = |text: &str| json!({ "summary_index": 0, "part": { "type": "summary_text", "text": text } });
        let still = Writes::Nothing;
        self.write("response.reasoning_summary_part.added", at, part(""), still);
        for piece in pieces(said) {
            let members = json!({ "summary_index": 0, "delta": piece });
            self.write("response.reasoning_summary_text.delta", at, members, Writes::Reasoning);
        }
        let members = json!({ "summary_index": 0, "text": said });
        self.write("response.reasoning_summary_text.done", at, members, still);
        self.write("response.reasoning_summary_part.done", at, part(said), still);
    }

    fn arguments(&mut self, at: &Value, call: &Call) {
        let arguments = call.input.arguments().to_string();
        for piece in pieces(&arguments) {
            self.write("response.function_call_arguments.delta", at, json!({ "delta": piece }), Writes::Output);
        }
        let members = json!({ "name": call.name, "arguments": arguments });
        self.write("response.function_call_arguments.done", at, members, Writes::Nothing);
    }

    fn input(&mut self, at: &Value, call: &Call) {
        let input = call.input.text();
        for piece in pieces(&input) {
            self.write("response.custom_tool_call_input.delta", at, json!({ "delta": piece }), Writes::Output);
        }
        self.write("response.custom_tool_call_input.done", at, json!({ "input": input }), Writes::Nothing);
    }
}

/// A part as an item of the output.
fn item(reply: &Reply<'_>, place: usize, part: &Part) -> Value {
    match part {
        Part::Text(said) => json!({
            "type": "message", "id": reply.id("msg_", place), "role": "assistant", "status": "completed",
            "content": [{ "type": "output_text", "text": said, "annotations": [], "logprobs": [] }],
        }),
        Part::Reasoning(said) => {
            let mut item = json!({
                "type": "reasoning", "id": reply.id("rs_", place), "summary": [{ "type": "summary_text", "text": said }],
            });
            let wanted = list(reply.body, "include").iter().any(|name| name == "reasoning.encrypted_content");
            if let (true, Some(members)) = (wanted, item.as_object_mut()) {
                members.insert("encrypted_content".to_owned(), json!(seal(said)));
            }
            item
        }
        Part::Call(call) => {
            let mut item = self::called(reply, place, call);
            let namespace = reply.declared(call).and_then(|tool| tool.namespace.as_ref());
            if let (Some(namespace), Some(members)) = (namespace, item.as_object_mut()) {
                members.insert("namespace".to_owned(), json!(namespace));
            }
            item
        }
    }
}

fn called(reply: &Reply<'_>, place: usize, call: &Call) -> Value {
    if reply.is_text(call) {
        json!({
            "type": "custom_tool_call", "id": reply.id("ctc_", place), "call_id": reply.id("call_", place),
            "name": call.name, "input": call.input.text(), "status": "completed",
        })
    } else {
        json!({
            "type": "function_call", "id": reply.id("fc_", place), "call_id": reply.id("call_", place),
            "name": call.name, "arguments": call.input.arguments().to_string(), "status": "completed",
        })
    }
}

/// An item as a stream begins it.
fn begun(item: &Value) -> Value {
    let mut item = item.clone();
    for (name, empty) in [
        ("content", json!([])),
        ("summary", json!([])),
        ("input", json!("")),
        ("arguments", json!("")),
        ("status", json!("in_progress")),
    ] {
        if let Some(member) = item.get_mut(name) {
            *member = empty;
        }
    }
    item
}

fn response(reply: &Reply<'_>, status: &str, output: Vec<Value>) -> Value {
    let done = status == "completed";
    let asked = |name: &str, otherwise: Value| reply.body.get(name).cloned().unwrap_or(otherwise);
    json!({
        "id": reply.id("resp_", 0), "object": "response", "created_at": reply.at, "status": status, "background": false,
        "completed_at": done.then_some(reply.at), "error": null, "incomplete_details": null,
        "instructions": asked("instructions", Value::Null), "max_output_tokens": asked("max_output_tokens", Value::Null),
        "metadata": asked("metadata", json!({})), "model": reply.told.model, "output": output,
        "parallel_tool_calls": asked("parallel_tool_calls", json!(true)), "previous_response_id": null,
        "prompt_cache_key": asked("prompt_cache_key", Value::Null), "reasoning": asked("reasoning", json!({})),
        "service_tier": "default", "store": asked("store", json!(true)), "temperature": asked("temperature", json!(1.0)),
        "text": asked("text", json!({ "format": { "type": "text" } })), "tool_choice": asked("tool_choice", json!("auto")),
        "tools": asked("tools", json!([])), "top_p": asked("top_p", json!(1.0)),
        "truncation": asked("truncation", json!("disabled")), "user": null,
        "usage": done.then(|| usage(reply.turn.usage)),
    })
}

/// What is read counts the cache, and what is written counts reasoning.
fn usage(tokens: Usage) -> Value {
    json!({
        "input_tokens": tokens.read(),
        "input_tokens_details": { "cached_tokens": tokens.cached, "cache_write_tokens": tokens.cache_write },
        "output_tokens": tokens.written(), "output_tokens_details": { "reasoning_tokens": tokens.reasoning },
        "total_tokens": tokens.read().saturating_add(tokens.written()),
    })
}
