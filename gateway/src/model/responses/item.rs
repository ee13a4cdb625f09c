//! The items of an answer: what kinds there are, which of their members pass, and how a call of a tool is read and rewritten.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::LOCAL_SHELL;
use crate::model::answer::{Call, Garbled};
use crate::model::openai::{array, is_tool_name, kept, kind_of, text};
use crate::model::{Egress, json};

/// Members of a call that has arguments, and of one that has text.
const FUNCTION: &[&str] =
    &["type", "id", "status", "call_id", "name", "namespace", "arguments", "encrypted_function_args"];
const CUSTOM: &[&str] = &["type", "id", "status", "call_id", "name", "namespace", "input"];
const SHELL: &[&str] = &["type", "id", "status", "call_id", "action"];
const REASONING: &[&str] = &["type", "id", "status", "summary", "content", "encrypted_content"];
const MESSAGE: &[&str] = &["type", "id", "status", "role", "phase", "content"];
const COMPACTION: &[&str] = &["type", "id", "encrypted_content"];

/// Kinds of item that say what the vendor did on its side.
const OF_VENDOR_TOOLS: &[&str] =
    &["web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call"];
const OF_CONNECTORS: &[&str] = &["mcp_call", "mcp_list_tools", "mcp_approval_request"];

/// Kinds of part that content and summaries are made of.
const PARTS: &[&str] = &["output_text", "refusal", "reasoning_text", "text", "summary_text"];

/// Whether an item of this kind asks the agent to do something.
pub(super) fn is_call(kind: &str) -> bool {
    matches!(kind, "function_call" | "custom_tool_call" | "local_shell_call")
}

/// The item, made of the members that are known for its kind.
pub(super) fn rebuilt(item: &Value, granted: &BTreeSet<Egress>) -> Result<Map<String, Value>, Garbled> {
    let item = item.as_object().ok_or_else(|| Garbled::Misplaced("an item that is no object".into()))?;
    let kind = kind_of(item);
    let members = match kind {
        "function_call" => FUNCTION,
        "custom_tool_call" => CUSTOM,
        "local_shell_call" => SHELL,
        "reasoning" => REASONING,
        "message" => MESSAGE,
        "compaction" | "compaction_summary" | "context_compaction" => COMPACTION,
        _ if OF_VENDOR_TOOLS.contains(&kind) && granted.contains(&Egress::VendorTools) => return Ok(item.clone()),
        _ if OF_CONNECTORS.contains(&kind) && granted.contains(&Egress::Connectors) => return Ok(item.clone()),
        _ => return Err(Garbled::Unknown(kind.to_owned())),
    };
    let mut item = kept(item, members);
    for parts in ["content", "summary"] {
        if let Some(Value::Array(parts)) = item.get_mut(parts) {
            for part in parts {
                *part = rebuilt_part(part)?;
            }
        }
    }
    Ok(item)
}

/// A part of a message, of reasoning or of a summary, made of the members that are known.
pub(super) fn rebuilt_part(part: &Value) -> Result<Value, Garbled> {
    let part = part.as_object().ok_or_else(|| Garbled::Misplaced("a part that is no object".into()))?;
    if !PARTS.contains(&kind_of(part)) {
        return Err(Garbled::Unknown(kind_of(part).to_owned()));
    }
    Ok(Value::Object(kept(part, &["type", "text", "refusal", "annotations", "logprobs"])))
}

/// The call that an item is. Its tool is named with the namespace it stands in, as `namespace/name`, so that no two tools of one
/// request share a name.
pub(super) fn call(item: &Map<String, Value>) -> Result<Call, Garbled> {
    let id = text(item, "call_id").filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| Garbled::Misplaced("a call without an id".into()))?.to_owned();
    let arguments = arguments(item)?;
    if kind_of(item) == LOCAL_SHELL_CALL {
        return Ok(Call { id, name: LOCAL_SHELL.into(), arguments, is_json: true });
    }
    let name = text(item, "name").filter(|name| is_tool_name(name));
    let name = name.ok_or_else(|| Garbled::Misplaced("a call without a tool's name".into()))?;
    let name = match item.get("namespace") {
        None | Some(Value::Null) => name.to_owned(),
        Some(Value::String(namespace)) if is_tool_name(namespace) => format!("{namespace}/{name}"),
        Some(_) => return Err(Garbled::Misplaced("a namespace that is no name".into())),
    };
    let is_json = kind_of(item) == "function_call" && json::object(arguments.as_bytes()).is_ok();
    Ok(Call { id, name, arguments, is_json })
}

const LOCAL_SHELL_CALL: &str = "local_shell_call";

/// What a call is called with, in its own words.
pub(super) fn arguments(item: &Map<String, Value>) -> Result<String, Garbled> {
    let arguments = match kind_of(item) {
        LOCAL_SHELL_CALL => item.get("action").filter(|action| action.is_object()).map(Value::to_string),
        "function_call" => text(item, "arguments").map(str::to_owned),
        _ => text(item, "input").map(str::to_owned),
    };
    arguments.ok_or_else(|| Garbled::Misplaced("a call without arguments".into()))
}

/// The item with which a denied call goes to the agent: its id and place, and nothing of what it was. A call with text stays one, since
/// agents answer a call of text with text and a call with arguments with arguments, and the next request is restored by its kind.
pub(super) fn denied(item: &Map<String, Value>, name: &str, arguments: &str) -> Map<String, Value> {
    let is_custom = kind_of(item) == "custom_tool_call";
    let (kind, member) = if is_custom { ("custom_tool_call", "input") } else { ("function_call", "arguments") };
    let mut denied = kept(item, &["id", "status", "call_id"]);
    denied.insert("type".into(), kind.into());
    denied.insert("name".into(), name.into());
    denied.insert(member.into(), arguments.into());
    denied
}

/// Bytes that the model wrote into an item.
pub(super) fn written_bytes(item: &Map<String, Value>) -> u64 {
    let of = |object: &Map<String, Value>, members: &[&str]| -> usize {
        members.iter().filter_map(|member| text(object, member)).map(str::len).sum()
    };
    let parts = ["content", "summary"].into_iter().flat_map(|parts| array(item, parts)).filter_map(Value::as_object);
    let written = of(item, &["arguments", "input", "encrypted_content"])
        + item.get("action").map_or(0, |action| action.to_string().len())
        + parts.map(|part| of(part, &["text", "refusal"])).sum::<usize>();
    u64::try_from(written).unwrap_or(u64::MAX)
}
