//! Anthropic Messages: `POST /v1/messages` and `/v1/messages/count_tokens`.

use serde_json::{Value, json};

use super::{Ask, Refusal, Takes, Told, Tool, Turns, What};
use crate::answer::{Event, Reply, Writes};
use crate::shape::{flat, is_plain, list, object, pieces, repeated, seal, text, unknown};
use crate::{Part, Usage};

/// Members of a request for a message.
const MEMBERS: &[&str] = &[
    "model",
    "messages",
    "max_tokens",
    "cache_control",
    "container",
    "diagnostics",
    "inference_geo",
    "metadata",
    "output_config",
    "service_tier",
    "speed",
    "stop_sequences",
    "stream",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
    "user_profile_id",
    "workspace_id",
];

/// Members that only the beta has.
const BETA_MEMBERS: &[&str] = &[
    "billing_policy",
    "compaction",
    "context_management",
    "fallback_credit_token",
    "fallbacks",
    "mcp_servers",
    "output_format",
    "thread",
];

/// Members that a request for a count has not.
const NOT_COUNTED: &[&str] = &["max_tokens", "metadata", "stop_sequences", "stream", "temperature", "top_k", "top_p"];

/// Kinds of content, the results of the vendor's own tools apart, which all end alike.
const BLOCKS: &[&str] = &[
    "text",
    "image",
    "document",
    "search_result",
    "thinking",
    "redacted_thinking",
    "tool_use",
    "tool_result",
    "server_tool_use",
    "container_upload",
];

/// The same that only the beta has.
const BETA_BLOCKS: &[&str] =
    &["mcp_tool_use", "compaction", "tool_addition", "tool_removal", "mcp_tool_listing", "fallback"];

/// Breakpoints of the cache in one request.
const CACHE_CONTROLS_MAX: usize = 4;

/// The least that thinking may be given.
const THINKING_TOKENS_MIN: u64 = 1024;

pub(super) fn read(ask: Ask<'_>) -> Result<Told, Refusal> {
    let body = ask.body;
    if ask.request.field("anthropic-version").is_none() {
        return Err(Refusal::of("anthropic-version: header is required"));
    }
    let beta = ask.request.parameter("beta") == Some("true");
    members(ask, beta)?;
    cache(body)?;
    let tools = tools(body)?;
    let (turn, results) = messages(body, beta)?;
    Ok(Told {
        model: text(body, "model").to_owned(),
        tools,
        results,
        turn,
        streams: body.get("stream") == Some(&Value::Bool(true)),
    })
}

fn members(ask: Ask<'_>, beta: bool) -> Result<(), Refusal> {
    let body = ask.body;
    let mut known: Vec<&str> = MEMBERS.to_vec();
    if beta {
        known.extend(BETA_MEMBERS);
    }
    if ask.what == What::Count {
        known.retain(|name| !NOT_COUNTED.contains(name));
    }
    if !body.is_object() {
        return Err(Refusal::of("Input should be a valid dictionary"));
    }
    if let Some(name) = unknown(body, &known) {
        return Err(Refusal::of(format!("{name}: Extra inputs are not permitted")));
    }
    if text(body, "model").is_empty() {
        return Err(Refusal::of("model: Field required"));
    }
    if body.get("messages").is_none() {
        return Err(Refusal::of("messages: Field required"));
    }
    if ask.what == What::Turn {
        let most = body.get("max_tokens").ok_or_else(|| Refusal::of("max_tokens: Field required"))?;
        let most = most.as_u64().ok_or_else(|| Refusal::of("max_tokens: Input should be a valid integer"))?;
        if most == 0 {
            return Err(Refusal::of("max_tokens: Input should be greater than or equal to 1"));
        }
        thinking(ask, most)?;
    }
    Ok(())
}

fn thinking(ask: Ask<'_>, most: u64) -> Result<(), Refusal> {
    let Some(thinking) = object(ask.body, "thinking") else { return Ok(()) };
    if thinking.get("type").and_then(Value::as_str) != Some("enabled") {
        return Ok(());
    }
    let budget = thinking.get("budget_tokens").and_then(Value::as_u64);
    let budget = budget.ok_or_else(|| Refusal::of("thinking.enabled.budget_tokens: Field required"))?;
    if budget < THINKING_TOKENS_MIN {
        return Err(Refusal::of("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"));
    }
    let interleaved = ask.request.field("anthropic-beta").is_some_and(|list| list.contains("interleaved-thinking"));
    if budget >= most && !interleaved {
        return Err(Refusal::of("`max_tokens` must be greater than `thinking.budget_tokens`."));
    }
    Ok(())
}

/// Counts the breakpoints wherever the vendor takes them: in the system prompt, tools, and content.
fn cache(body: &Value) -> Result<(), Refusal> {
    let marked = |blocks: &[Value]| blocks.iter().filter(|block| object(block, "cache_control").is_some()).count();
    let mut found = marked(list(body, "system")).saturating_add(marked(list(body, "tools")));
    for message in list(body, "messages") {
        for block in list(message, "content") {
            found = found
                .saturating_add(marked(std::slice::from_ref(block)))
                .saturating_add(marked(list(block, "content")));
        }
    }
    if found > CACHE_CONTROLS_MAX {
        return Err(Refusal::of(format!(
            "A maximum of {CACHE_CONTROLS_MAX} blocks with cache_control may be provided. Found {found}."
        )));
    }
    Ok(())
}

fn tools(body: &Value) -> Result<Vec<Tool>, Refusal> {
    let declared = list(body, "tools");
    for (place, tool) in declared.iter().enumerate() {
        let kind = text(tool, "type");
        if kind.starts_with("mcp_toolset") {
            continue;
        }
        let at = format!("tools.{place}");
        if text(tool, "name").is_empty() {
            return Err(Refusal::of(format!("{at}.name: Field required")));
        }
        if !is_plain(text(tool, "name"), 128, "") {
            return Err(Refusal::of(format!(
                "{at}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
            )));
        }
        if kind.is_empty() || kind == "custom" {
            let schema = object(tool, "input_schema");
            let schema = schema.ok_or_else(|| Refusal::of(format!("{at}.custom.input_schema: Field required")))?;
            if schema.get("type").and_then(Value::as_str) != Some("object") {
                return Err(Refusal::of(format!("{at}.custom.input_schema.type: Input should be 'object'")));
            }
        }
    }
    let names = declared.iter().map(|tool| text(tool, "name")).filter(|name| !name.is_empty());
    if repeated(names.clone()).is_some() {
        return Err(Refusal::of("tools: Tool names must be unique."));
    }
    if declared.is_empty() && object(body, "tool_choice").is_some() {
        return Err(Refusal::of("tool_choice: Input should be provided only together with tools"));
    }
    Ok(names.map(|name| Tool { name: name.to_owned(), takes: Takes::Arguments, namespace: None }).collect())
}

/// Which turn comes next, and the results that the model has not seen yet. Messages of one role that follow each other are one turn.
fn messages(body: &Value, beta: bool) -> Result<(usize, Vec<String>), Refusal> {
    let messages = list(body, "messages");
    let mut turns = Turns::default();
    let mut pending: Vec<&str> = Vec::new();
    let mut results = Vec::new();
    let mut met: Vec<&str> = Vec::new();
    let mut role = "";
    for (place, message) in messages.iter().enumerate() {
        let at = format!("messages.{place}");
        let now = text(message, "role");
        blocks(message, &at, beta)?;
        match now {
            // Of the vendor's making, too: it stands between turns, and belongs to neither.
            "system" => match pending.first() {
                Some(id) => return Err(unanswered(place.saturating_sub(1), id)),
                None => continue,
            },
            "user" if role != "user" => {
                let mut calls = std::mem::take(&mut pending);
                if role == "assistant" {
                    turns.had(calls.len());
                }
                results = answered(message, place, &mut calls)?;
            }
            "user" => {
                // What goes on with a person's turn answers nothing: results stand in its first message.
                answered(message, place, &mut Vec::new())?;
            }
            "assistant" if place == 0 => {
                return Err(Refusal::of("messages: first message must use the \"user\" role"));
            }
            "assistant" => {
                let uses = list(message, "content").iter().filter(|block| text(block, "type") == "tool_use");
                pending.extend(uses.clone().map(|block| text(block, "id")));
                met.extend(uses.map(|block| text(block, "id")));
                results.clear();
            }
            other => {
                return Err(Refusal::of(format!(
                    "messages: Unexpected role \"{other}\". Allowed roles are \"user\" or \"assistant\""
                )));
            }
        }
        role = now;
    }
    if messages.is_empty() {
        return Err(Refusal::of("messages: at least one message is required"));
    }
    if let Some(id) = pending.first() {
        return Err(unanswered(messages.len().saturating_sub(1), id));
    }
    if let Some(id) = repeated(met) {
        return Err(Refusal::of(format!("messages: `tool_use` ids must be unique: {id}")));
    }
    if role == "assistant" {
        return Err(Refusal::of(
            "This model does not support assistant message prefill. The conversation must end with a user message.",
        ));
    }
    Ok((turns.next(), results))
}

/// The results of a message, which answer all of these calls and nothing else, and come first.
fn answered(message: &Value, place: usize, calls: &mut Vec<&str>) -> Result<Vec<String>, Refusal> {
    let content = list(message, "content");
    let leading = content.iter().take_while(|block| text(block, "type") == "tool_result").count();
    let mut results = Vec::new();
    for (index, block) in content.iter().enumerate().filter(|(_, block)| text(block, "type") == "tool_result") {
        let id = text(block, "tool_use_id");
        let before = calls.len();
        calls.retain(|call| *call != id);
        if calls.len() == before {
            return Err(Refusal::of(format!(
                "messages.{place}.content.{index}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each \
                 `tool_result` block must have a corresponding `tool_use` block in the previous message."
            )));
        }
        if index >= leading {
            return Err(unanswered(place.saturating_sub(1), id));
        }
        results.push(flat(block.get("content")));
    }
    match calls.first() {
        Some(id) => Err(unanswered(place.saturating_sub(1), id)),
        None => Ok(results),
    }
}

fn unanswered(place: usize, id: &str) -> Refusal {
    Refusal::of(format!(
        "messages.{place}: `tool_use` ids were found without `tool_result` blocks immediately after: {id}. Each `tool_use` \
         block must have a corresponding `tool_result` block in the next message."
    ))
}

fn blocks(message: &Value, at: &str, beta: bool) -> Result<(), Refusal> {
    let content = match message.get("content") {
        Some(Value::String(said)) if said.is_empty() => {
            return Err(Refusal::of(format!("{at}: all messages must have non-empty content")));
        }
        Some(Value::String(_)) => return Ok(()),
        Some(Value::Array(content)) if !content.is_empty() => content,
        Some(Value::Array(_)) => return Err(Refusal::of(format!("{at}: all messages must have non-empty content"))),
        Some(_) => return Err(Refusal::of(format!("{at}.content: Input should be a valid list"))),
        None => return Err(Refusal::of(format!("{at}.content: Field required"))),
    };
    let assistant = text(message, "role") == "assistant";
    for (index, block) in content.iter().enumerate() {
        self::block(block, &format!("{at}.content.{index}"), assistant, beta)?;
    }
    Ok(())
}

fn block(block: &Value, at: &str, assistant: bool, beta: bool) -> Result<(), Refusal> {
    let kind = text(block, "type");
    let known = BLOCKS.contains(&kind) || kind.ends_with("_tool_result") || beta && BETA_BLOCKS.contains(&kind);
    if !known {
        return Err(Refusal::of(format!(
            "{at}: Input tag '{kind}' found using 'type' does not match any of the expected tags"
        )));
    }
    let members: Option<&[&str]> = match kind {
        "text" => Some(&["type", "text", "cache_control", "citations"]),
        "thinking" => Some(&["type", "thinking", "signature"]),
        "tool_use" => Some(&["type", "id", "name", "input", "cache_control", "caller", "toolset_name"]),
        "tool_result" => Some(&["type", "tool_use_id", "content", "is_error", "cache_control", "toolset_name"]),
        _ => None,
    };
    if let Some(name) = members.and_then(|members| unknown(block, members)) {
        return Err(Refusal::of(format!("{at}.{kind}.{name}: Extra inputs are not permitted")));
    }
    match kind {
        "text" if text(block, "text").is_empty() => Err(Refusal::of("messages: text content blocks must be non-empty")),
        "thinking" if text(block, "signature") != seal(text(block, "thinking")) => {
            Err(Refusal::of(format!("{at}: Invalid `signature` in `thinking` block")))
        }
        "tool_use" | "thinking" if !assistant => {
            Err(Refusal::of(format!("{at}: `{kind}` blocks can only be in `assistant` messages")))
        }
        "tool_result" if assistant => {
            Err(Refusal::of(format!("{at}: `tool_result` blocks can only be in `user` messages")))
        }
        "tool_use" if !is_plain(text(block, "id"), usize::MAX, "") => {
            Err(Refusal::of(format!("{at}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")))
        }
        "tool_use" if !is_plain(text(block, "name"), 200, "") => {
            Err(Refusal::of(format!("{at}.tool_use.name: String should match pattern '^[a-zA-Z0-9_-]{{1,200}}$'")))
        }
        "tool_use" if object(block, "input").is_none() => {
            Err(Refusal::of(format!("{at}.tool_use.input: Input should be a valid dictionary")))
        }
        "tool_result" if text(block, "tool_use_id").is_empty() => {
            Err(Refusal::of(format!("{at}.tool_result.tool_use_id: Field required")))
        }
        _ => Ok(()),
    }
}

pub(super) fn whole(reply: &Reply<'_>) -> Value {
    let content: Vec<Value> =
        (0..).zip(&reply.turn.say).map(|(place, part)| content(reply, place, part, false)).collect();
    message(reply, &content, Some(stop_reason(reply)), &usage(reply.turn.usage))
}

pub(super) fn events(reply: &Reply<'_>) -> Vec<Event> {
    let about = |name, data: Value| Event::about(Some(name), &data);
    // Where a stream begins, one token was written and no more is known.
    let begun = Usage { output: 1, reasoning: 0, ..reply.turn.usage };
    let start = message(reply, &[], None, &usage(begun));
    let mut events = vec![about("message_start", json!({ "type": "message_start", "message": start }))];
    events.push(about("ping", json!({ "type": "ping" })));
    for (place, part) in reply.turn.say.iter().enumerate() {
        events.push(about(
            "content_block_start",
            json!({ "type": "content_block_start", "index": place, "content_block": content(reply, place, part, true) }),
        ));
        let delta = |delta: Value| {
            about("content_block_delta", json!({ "type": "content_block_delta", "index": place, "delta": delta }))
        };
        match part {
            Part::Text(said) => events.extend(
                pieces(said)
                    .into_iter()
                    .map(|piece| delta(json!({ "type": "text_delta", "text": piece })).with(Writes::Output)),
            ),
            Part::Reasoning(said) => {
                events.extend(pieces(said).into_iter().map(|piece| {
                    delta(json!({ "type": "thinking_delta", "thinking": piece })).with(Writes::Reasoning)
                }));
                events.push(delta(json!({ "type": "signature_delta", "signature": seal(said) })));
            }
            Part::Call(call) => {
                let arguments = call.input.arguments().to_string();
                // The vendor's first piece is empty.
                events.push(delta(json!({ "type": "input_json_delta", "partial_json": "" })));
                events.extend(pieces(&arguments).into_iter().map(|piece| {
                    delta(json!({ "type": "input_json_delta", "partial_json": piece })).with(Writes::Output)
                }));
            }
        }
        events.push(about("content_block_stop", json!({ "type": "content_block_stop", "index": place })));
    }
    let tokens = reply.turn.usage;
    events.push(about(
        "message_delta",
        json!({
            "type": "message_delta",
            "delta": { "stop_reason": stop_reason(reply), "stop_sequence": null, "stop_details": null, "container": null },
            "usage": {
                "input_tokens": tokens.input, "cache_creation_input_tokens": tokens.cache_write,
                "cache_read_input_tokens": tokens.cached, "output_tokens": tokens.written(),
                "output_tokens_details": { "thinking_tokens": tokens.reasoning }, "server_tool_use": null,
            },
        }),
    ));
    events.push(about("message_stop", json!({ "type": "message_stop" })));
    events
}

/// A part as a block of content: whole, or as a stream begins it.
fn content(reply: &Reply<'_>, place: usize, part: &Part, begins: bool) -> Value {
    match part {
        Part::Text(said) => json!({ "type": "text", "text": if begins { "" } else { said }, "citations": null }),
        Part::Reasoning(_) if begins => json!({ "type": "thinking", "thinking": "", "signature": "" }),
        Part::Reasoning(said) => json!({ "type": "thinking", "thinking": said, "signature": seal(said) }),
        Part::Call(call) => json!({
            "type": "tool_use", "id": reply.id("toolu_", place), "name": call.name,
            "input": if begins { json!({}) } else { call.input.arguments() }, "caller": { "type": "direct" },
        }),
    }
}

fn message(reply: &Reply<'_>, content: &[Value], stop_reason: Option<&str>, usage: &Value) -> Value {
    json!({
        "id": reply.id("msg_", 0), "type": "message", "role": "assistant", "model": reply.told.model, "content": content,
        "stop_reason": stop_reason, "stop_sequence": null, "stop_details": null, "container": null, "diagnostics": null,
        "usage": usage,
    })
}

fn stop_reason(reply: &Reply<'_>) -> &'static str {
    if reply.calls() > 0 { "tool_use" } else { "end_turn" }
}

/// What is read anew does not count what the cache had or was given; what is written counts thinking.
fn usage(tokens: Usage) -> Value {
    json!({
        "input_tokens": tokens.input, "cache_creation_input_tokens": tokens.cache_write,
        "cache_read_input_tokens": tokens.cached, "output_tokens": tokens.written(),
        "cache_creation": { "ephemeral_5m_input_tokens": tokens.cache_write, "ephemeral_1h_input_tokens": 0 },
        "output_tokens_details": { "thinking_tokens": tokens.reasoning },
        "server_tool_use": null, "service_tier": "standard", "inference_geo": null, "speed": null,
    })
}

pub(super) fn error(refusal: &Refusal) -> Value {
    let kind = match refusal.status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    json!({ "type": "error", "error": { "type": kind, "message": refusal.message }, "request_id": null })
}
