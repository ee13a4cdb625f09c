//! A request of the Responses API: what it may say, and how denied calls in it become what they were.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::LOCAL_SHELL;
use crate::model::Egress;
use crate::model::denials::{Denials, Denied};
use crate::model::json;
use crate::model::openai::{self, array, is_tool_name, kept, kind_of, text};
use crate::model::request::{REQUEST_BYTES_MAX, Rebuilt, Unfit};
use crate::model::shape::{Builder, Kind, Member, Shape, Spelling};

use Shape::{Any, Flag, Granted, List, Number, Object, Text, TextOr};

static REQUEST: Shape = Object(&[
    ("model", &Text),
    ("instructions", &Text),
    ("input", &TextOr(&List(&ITEM))),
    ("tools", &List(&TOOL)),
    ("tool_choice", &TextOr(&CHOICE)),
    ("parallel_tool_calls", &Flag),
    ("reasoning", &Object(&[("effort", &Text), ("summary", &Text), ("generate_summary", &Text), ("context", &Text)])),
    ("text", &Object(&[("verbosity", &Text), ("format", &Any)])),
    ("include", &List(&Text)),
    ("stream", &Flag),
    ("stream_options", &Object(&[("include_obfuscation", &Flag)])),
    ("store", &Flag),
    ("temperature", &Number),
    ("top_p", &Number),
    ("top_logprobs", &Number),
    ("max_output_tokens", &Number),
    ("max_tool_calls", &Number),
    ("truncation", &Text),
    ("prompt_cache_key", &Text),
    ("previous_response_id", &Granted(Egress::StoredState, &Text)),
    ("conversation", &Granted(Egress::StoredState, &Any)),
    ("prompt", &Granted(Egress::StoredState, &Any)),
    ("background", &Granted(Egress::StoredState, &Flag)),
]);

static ITEM: Shape = Shape::Kinds {
    tag: "type",
    untagged: Some("message"),
    kinds: &[
        Kind::plain("message", &[ID, STATUS, ("role", &Text), ("phase", &Text), ("content", &TextOr(&List(&PART)))]),
        Kind::plain("reasoning", &[ID, STATUS, ("summary", &List(&PART)), ("content", &List(&PART)), ENCRYPTED]),
        Kind::plain(
            "function_call",
            &[ID, STATUS, CALL_ID, NAME, NAMESPACE, ("arguments", &Text), ("encrypted_function_args", &Any)],
        ),
        Kind::plain("function_call_output", &[ID, STATUS, CALL_ID, OUTPUT]),
        Kind::plain("custom_tool_call", &[ID, STATUS, CALL_ID, NAME, NAMESPACE, ("input", &Text)]),
        Kind::plain("custom_tool_call_output", &[ID, STATUS, CALL_ID, NAME, OUTPUT]),
        Kind::plain("local_shell_call", &[ID, STATUS, CALL_ID, ("action", &Any)]),
        Kind::plain("local_shell_call_output", &[ID, STATUS, CALL_ID, ("output", &Text)]),
        Kind::plain("agent_message", &[ID, ("author", &Text), ("recipient", &Text), ("content", &List(&PART))]),
        Kind::plain("additional_tools", &[ID, ("role", &Text), ("tools", &List(&TOOL))]),
        Kind::plain("compaction", &[ID, ENCRYPTED]),
        Kind::plain("compaction_summary", &[ID, ENCRYPTED]),
        Kind::plain("context_compaction", &[ID, ENCRYPTED]),
        Kind::plain("compaction_trigger", &[ID]),
        Kind::egress(Egress::StoredState, "item_reference", &[ID]),
        Kind::egress(Egress::VendorTools, "web_search_call", &[ID, STATUS, ("action", &Any)]),
        Kind::egress(Egress::VendorTools, "file_search_call", &[ID, STATUS, ("queries", &Any), ("results", &Any)]),
        Kind::egress(
            Egress::VendorTools,
            "code_interpreter_call",
            &[ID, STATUS, ("code", &Text), ("container_id", &Text), ("outputs", &Any)],
        ),
        Kind::egress(
            Egress::VendorTools,
            "image_generation_call",
            &[ID, STATUS, ("result", &Text), ("revised_prompt", &Text)],
        ),
        Kind::egress(Egress::Connectors, "mcp_call", MCP_CALL),
        Kind::egress(
            Egress::Connectors,
            "mcp_list_tools",
            &[ID, ("server_label", &Text), ("tools", &Any), ("error", &Any)],
        ),
        Kind::egress(Egress::Connectors, "mcp_approval_request", MCP_CALL),
        Kind::egress(
            Egress::Connectors,
            "mcp_approval_response",
            &[ID, ("approval_request_id", &Text), ("approve", &Flag), ("reason", &Text)],
        ),
    ],
};

const ID: Member = ("id", &Text);
const STATUS: Member = ("status", &Text);
const CALL_ID: Member = ("call_id", &Text);
const NAME: Member = ("name", &Text);
const NAMESPACE: Member = ("namespace", &Text);
const DESCRIPTION: Member = ("description", &Text);
const ENCRYPTED: Member = ("encrypted_content", &Text);
const OUTPUT: Member = ("output", &TextOr(&List(&PART)));
const MCP_CALL: &[Member] = &[
    ID,
    STATUS,
    NAME,
    ("server_label", &Text),
    ("arguments", &Text),
    ("output", &Text),
    ("error", &Any),
    ("approval_request_id", &Text),
];

/// What content, outputs and summaries are made of. Whether an image is one or an address of one is looked at afterwards.
static PART: Shape = Shape::Kinds {
    tag: "type",
    untagged: None,
    kinds: &[
        Kind::plain("input_text", &[("text", &Text)]),
        Kind::plain("output_text", &[("text", &Text), ("annotations", &Any), ("logprobs", &Any)]),
        Kind::plain("summary_text", &[("text", &Text)]),
        Kind::plain("reasoning_text", &[("text", &Text)]),
        Kind::plain("text", &[("text", &Text)]),
        Kind::plain("refusal", &[("refusal", &Text)]),
        Kind::plain("encrypted_content", &[ENCRYPTED]),
        Kind::plain("input_image", &[("image_url", &Text), ("detail", &Text), ("file_id", &STORED)]),
        Kind::plain(
            "input_audio",
            &[("audio_url", &Text), ("input_audio", &Object(&[("data", &Text), ("format", &Text)]))],
        ),
        Kind::plain(
            "input_file",
            &[
                ("filename", &Text),
                ("file_data", &Text),
                ("file_id", &STORED),
                ("file_url", &Granted(Egress::UrlSources, &Text)),
            ],
        ),
    ],
};
static STORED: Shape = Granted(Egress::StoredState, &Text);

/// Tools. The agent runs those without egress; a namespace holds such tools under one name.
static TOOL: Shape = Shape::Kinds {
    tag: "type",
    untagged: None,
    kinds: &[
        Kind::plain("function", &[NAME, DESCRIPTION, ("strict", &Flag), ("parameters", &Any)]),
        Kind::plain("custom", &[NAME, DESCRIPTION, ("format", &Any)]),
        Kind::plain(LOCAL_SHELL, &[]),
        Kind::plain("namespace", &[NAME, DESCRIPTION, ("tools", &List(&TOOL))]),
        Kind::egress(Egress::VendorTools, "web_search", WEB_SEARCH),
        Kind::egress(Egress::VendorTools, "web_search_2025_08_26", WEB_SEARCH),
        Kind::egress(Egress::VendorTools, "web_search_preview", WEB_SEARCH),
        Kind::egress(Egress::VendorTools, "web_search_preview_2025_03_11", WEB_SEARCH),
        Kind::egress(
            Egress::VendorTools,
            "file_search",
            &[
                ("vector_store_ids", &List(&Text)),
                ("filters", &Any),
                ("max_num_results", &Number),
                ("ranking_options", &Any),
            ],
        ),
        Kind::egress(Egress::VendorTools, "code_interpreter", &[("container", &Any)]),
        Kind::egress(
            Egress::VendorTools,
            "image_generation",
            &[("model", &Text), ("size", &Text), ("quality", &Text), ("background", &Text), ("output_format", &Text)],
        ),
        // What it asks of the agent is a call that this door does not read, so that its answers are refused even where it is granted.
        Kind::egress(Egress::VendorTools, "computer_use_preview", &[]),
        Kind::egress(Egress::VendorTools, "computer", &[]),
        Kind::egress(
            Egress::Connectors,
            "mcp",
            &[
                ("server_label", &Text),
                ("server_url", &Text),
                ("server_description", &Text),
                ("connector_id", &Text),
                ("authorization", &Text),
                ("headers", &Any),
                ("allowed_tools", &Any),
                ("require_approval", &Any),
            ],
        ),
    ],
};
const WEB_SEARCH: &[Member] = &[
    ("external_web_access", &Flag),
    ("filters", &Any),
    ("search_context_size", &Text),
    ("search_content_types", &List(&Text)),
    ("user_location", &Any),
];

static CHOICE: Shape = Shape::Kinds {
    tag: "type",
    untagged: None,
    kinds: &[
        Kind::plain("function", &[NAME, NAMESPACE]),
        Kind::plain("custom", &[NAME, NAMESPACE]),
        Kind::plain(LOCAL_SHELL, &[]),
        Kind::plain("namespace", &[NAME]),
        Kind::plain("allowed_tools", &[("mode", &Text), ("tools", &List(&CHOICE))]),
        Kind::egress(Egress::VendorTools, "web_search", &[]),
        Kind::egress(Egress::VendorTools, "web_search_preview", &[]),
        Kind::egress(Egress::VendorTools, "file_search", &[]),
        Kind::egress(Egress::VendorTools, "code_interpreter", &[]),
        Kind::egress(Egress::VendorTools, "image_generation", &[]),
        Kind::egress(Egress::Connectors, "mcp", &[("server_label", &Text), NAME]),
    ],
};

/// Makes a request anew, with the calls in it that were denied as the model made them.
pub fn rebuild(body: &[u8], granted: &BTreeSet<Egress>, denials: &Denials) -> Result<Rebuilt, Unfit> {
    if u64::try_from(body.len()).unwrap_or(u64::MAX) > REQUEST_BYTES_MAX {
        return Err(Unfit::TooMuch("long"));
    }
    let mut asked = json::object(body)?;
    if let Some(Value::Array(items)) = asked.get_mut("input") {
        restore(items, denials)?;
    }
    if asked.get("background") == Some(&Value::Bool(false)) {
        asked.remove("background");
    }
    let mut builder = Builder::new(granted, Spelling::Exact);
    openai::drop_long_cache_key(&mut asked, &mut builder);
    let Value::Object(mut built) = builder.build(&REQUEST, "", Value::Object(asked))? else {
        return Err(Unfit::Syntax);
    };
    openai::images(&mut builder, "input", built.get("input"))?;
    let stores = built.get("store") == Some(&Value::Bool(true));
    if stores {
        builder.uses(Egress::StoredState, "store")?;
    }
    built.insert("store".into(), stores.into());
    let mut tools = BTreeSet::new();
    declared(array(&built, "tools"), "tools", None, denials, &mut tools)?;
    for item in array(&built, "input").iter().filter_map(Value::as_object) {
        if kind_of(item) == "additional_tools" {
            declared(array(item, "tools"), "input[].tools", None, denials, &mut tools)?;
        }
    }
    let model = text(&built, "model").filter(|model| !model.is_empty());
    Ok(Rebuilt {
        model: model.ok_or_else(|| Unfit::Shape("model".into()))?.to_owned(),
        streams: built.get("stream") == Some(&Value::Bool(true)),
        output_tokens_max: openai::tokens(&built, "max_output_tokens")?,
        tools,
        egress: std::mem::take(&mut builder.used),
        left_out: std::mem::take(&mut builder.left_out),
        body: Value::Object(built).to_string().into_bytes(),
    })
}

/// Adds the tools of a list, named as their calls are.
fn declared(
    tools: &[Value],
    at: &str,
    namespace: Option<&str>,
    denials: &Denials,
    names: &mut BTreeSet<String>,
) -> Result<(), Unfit> {
    for tool in tools.iter().filter_map(Value::as_object) {
        let kind = kind_of(tool);
        if !matches!(kind, "function" | "custom" | "namespace") {
            names.insert(kind.to_owned());
            continue;
        }
        let refused = || Unfit::Shape(format!("{at}[].name"));
        let name = text(tool, "name").filter(|name| is_tool_name(name)).ok_or_else(refused)?;
        if name == denials.name() || name == LOCAL_SHELL {
            return Err(refused());
        }
        match (kind, namespace) {
            ("namespace", None) => declared(array(tool, "tools"), at, Some(name), denials, names)?,
            ("namespace", Some(_)) => return Err(Unfit::Shape(at.to_owned())),
            (_, Some(namespace)) => drop(names.insert(format!("{namespace}/{name}"))),
            (_, None) => drop(names.insert(name.to_owned())),
        }
    }
    Ok(())
}

/// Gives denied calls their own name and arguments back, and says in their outputs why they were denied. An output is that of the last
/// call of its id before it.
fn restore(items: &mut [Value], denials: &Denials) -> Result<(), Unfit> {
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    for item in items.iter_mut().filter_map(Value::as_object_mut) {
        let member = match kind_of(item) {
            "function_call" => "arguments",
            "custom_tool_call" => "input",
            "function_call_output" | "custom_tool_call_output" | "local_shell_call_output" => {
                if let Some(told) = text(item, "call_id").and_then(|id| told.get(id)) {
                    item.insert("output".into(), told.as_str().into());
                }
                continue;
            }
            _ => continue,
        };
        let (name, arguments) = (text(item, "name").unwrap_or_default(), text(item, member).unwrap_or_default());
        let forged = |_| Unfit::Shape(format!("input[].{member}"));
        let denied = denials.restore(name, arguments).map_err(forged)?;
        let call_id = text(item, "call_id").ok_or_else(|| Unfit::Shape("input[].call_id".into()))?.to_owned();
        match denied {
            Some(denied) => {
                told.insert(call_id, denied.told.clone());
                *item = restored(item, member, denied);
            }
            None => drop(told.remove(&call_id)),
        }
    }
    Ok(())
}

/// The item of a call as the model made it.
fn restored(item: &Map<String, Value>, member: &str, denied: &Denied) -> Map<String, Value> {
    let call = &denied.call;
    let mut restored = kept(item, &["type", "id", "status", "call_id"]);
    let action = json::object(call.arguments.as_bytes()).ok().filter(|action| !action.is_empty());
    if let (LOCAL_SHELL, Some(action)) = (call.name.as_str(), action) {
        restored.insert("type".into(), "local_shell_call".into());
        restored.insert("action".into(), Value::Object(action));
        return restored;
    }
    let (namespace, name) = call.name.split_once('/').map_or((None, call.name.as_str()), |(of, name)| (Some(of), name));
    restored.insert("name".into(), name.into());
    if let Some(namespace) = namespace {
        restored.insert("namespace".into(), namespace.into());
    }
    restored.insert(member.into(), call.arguments.as_str().into());
    restored
}
