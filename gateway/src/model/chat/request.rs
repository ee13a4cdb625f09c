//! A request of the Chat Completions API: what it may say, and how denied calls in it become what they were.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json as made};

use super::UsageChunk;
use crate::model::denials::Denials;
use crate::model::openai::{self, array, is_tool_name, kind_of, text};
use crate::model::request::{REQUEST_BYTES_MAX, Rebuilt, Unfit};
use crate::model::shape::{Builder, Kind, Member, Shape, Spelling};
use crate::model::{Egress, json};

use Shape::{Any, Flag, Granted, List, Number, Object, Text, TextOr};

static REQUEST: Shape = Object(&[
    ("model", &Text),
    ("messages", &List(&MESSAGE)),
    ("tools", &List(&TOOL)),
    ("tool_choice", &TextOr(&CHOICE)),
    ("parallel_tool_calls", &Flag),
    ("stream", &Flag),
    ("stream_options", &Object(&[("include_usage", &Flag), ("include_obfuscation", &Flag)])),
    ("store", &Flag),
    ("max_tokens", &Number),
    ("max_completion_tokens", &Number),
    ("n", &Number),
    ("temperature", &Number),
    ("top_p", &Number),
    ("top_k", &Number),
    ("min_p", &Number),
    ("seed", &Number),
    ("stop", &TextOr(&List(&Text))),
    ("presence_penalty", &Number),
    ("frequency_penalty", &Number),
    ("repetition_penalty", &Number),
    ("logit_bias", &Any),
    ("logprobs", &Flag),
    ("top_logprobs", &Number),
    ("response_format", &Any),
    ("reasoning_effort", &Text),
    ("reasoning", &Object(&[("effort", &Text), ("max_tokens", &Number), ("exclude", &Flag), ("enabled", &Flag)])),
    ("thinking", &Object(&[("type", &Text), ("budget_tokens", &Number)])),
    ("enable_thinking", &Flag),
    ("verbosity", &Text),
    ("prompt_cache_key", &Text),
    ("web_search_options", &Granted(Egress::VendorTools, &Any)),
]);

/// A message: its role says what stands in it.
static MESSAGE: Shape = Shape::Kinds {
    tag: "role",
    untagged: None,
    kinds: &[
        Kind::plain("system", &[NAME, CONTENT]),
        Kind::plain("developer", &[NAME, CONTENT]),
        Kind::plain("user", &[NAME, CONTENT]),
        Kind::plain(
            "assistant",
            &[
                NAME,
                CONTENT,
                ("refusal", &Text),
                ("reasoning", &Text),
                ("reasoning_content", &Text),
                ("reasoning_details", &Any),
                ("tool_calls", &List(&CALL)),
            ],
        ),
        Kind::plain("tool", &[NAME, CONTENT, ("tool_call_id", &Text)]),
    ],
};

const NAME: Member = ("name", &Text);
const CONTENT: Member = ("content", &TextOr(&List(&PART)));

/// What content is made of. Whether an image is one or an address of one is looked at afterwards.
static PART: Shape = Shape::Kinds {
    tag: "type",
    untagged: None,
    kinds: &[
        Kind::plain("text", &[("text", &Text), CACHE_CONTROL]),
        Kind::plain("refusal", &[("refusal", &Text)]),
        Kind::plain(
            "image_url",
            &[("image_url", &TextOr(&Object(&[("url", &Text), ("detail", &Text)]))), CACHE_CONTROL],
        ),
        Kind::plain("input_audio", &[("input_audio", &Object(&[("data", &Text), ("format", &Text)]))]),
        Kind::plain(
            "file",
            &[(
                "file",
                &Object(&[
                    ("filename", &Text),
                    ("file_data", &Text),
                    ("file_id", &Granted(Egress::StoredState, &Text)),
                ]),
            )],
        ),
    ],
};

/// What compatible servers have agents mark the end of a prompt's cached part with.
const CACHE_CONTROL: Member = ("cache_control", &Object(&[("type", &Text), ("ttl", &Text)]));

static CALL: Shape = Shape::Kinds {
    tag: "type",
    untagged: Some("function"),
    kinds: &[
        Kind::plain("function", &[("id", &Text), ("function", &Object(&[NAME, ("arguments", &Text)]))]),
        Kind::plain("custom", &[("id", &Text), ("custom", &Object(&[NAME, ("input", &Text)]))]),
    ],
};

static TOOL: Shape = Shape::Kinds {
    tag: "type",
    untagged: None,
    kinds: &[
        Kind::plain(
            "function",
            &[
                ("function", &Object(&[NAME, ("description", &Text), ("strict", &Flag), ("parameters", &Any)])),
                CACHE_CONTROL,
            ],
        ),
        Kind::plain("custom", &[("custom", &Object(&[NAME, ("description", &Text), ("format", &Any)]))]),
        // Of compatible servers.
        Kind::egress(Egress::VendorTools, "web_search", &[("web_search", &Any)]),
        Kind::egress(Egress::VendorTools, "web_search_preview", &[]),
        Kind::egress(Egress::VendorTools, "file_search", &[("file_search", &Any)]),
        Kind::egress(Egress::VendorTools, "code_interpreter", &[("code_interpreter", &Any)]),
        Kind::egress(Egress::VendorTools, "browser_search", &[]),
        Kind::egress(Egress::Connectors, "mcp", &[("server_label", &Text), ("server_url", &Text)]),
    ],
};

static CHOICE: Shape = Shape::Kinds {
    tag: "type",
    untagged: None,
    kinds: &[
        Kind::plain("function", &[("function", &Object(&[NAME]))]),
        Kind::plain("custom", &[("custom", &Object(&[NAME]))]),
        Kind::plain("allowed_tools", &[("allowed_tools", &Object(&[("mode", &Text), ("tools", &List(&CHOICE))]))]),
    ],
};

/// Members by which calls were made before there were several at once. They would be calls that no one judges.
const LEGACY: &[&str] = &["functions", "function_call"];

/// Makes a request anew, with the calls in it that were denied as the model made them.
pub fn rebuild(body: &[u8], granted: &BTreeSet<Egress>, denials: &Denials) -> Result<Rebuilt, Unfit> {
    if u64::try_from(body.len()).unwrap_or(u64::MAX) > REQUEST_BYTES_MAX {
        return Err(Unfit::TooMuch("long"));
    }
    let mut asked = json::object(body)?;
    no_legacy_call(&asked, "")?;
    if let Some(Value::Array(messages)) = asked.get_mut("messages") {
        restore(messages, denials)?;
    }
    let mut builder = Builder::new(granted, Spelling::Exact);
    openai::drop_long_cache_key(&mut asked, &mut builder);
    let Value::Object(mut built) = builder.build(&REQUEST, "", Value::Object(asked))? else {
        return Err(Unfit::Syntax);
    };
    openai::images(&mut builder, "messages", built.get("messages"))?;
    if built.get("store") == Some(&Value::Bool(true)) {
        builder.uses(Egress::StoredState, "store")?;
    }
    // Several answers at once would be several conversations, of which one is judged.
    if openai::tokens(&built, "n")?.is_some_and(|answers| answers != 1) {
        return Err(Unfit::Shape("n".into()));
    }
    let streams = built.get("stream") == Some(&Value::Bool(true));
    if streams {
        let mut options = built.get("stream_options").and_then(Value::as_object).cloned().unwrap_or_default();
        options.insert("include_usage".into(), true.into());
        built.insert("stream_options".into(), Value::Object(options));
    } else {
        built.remove("stream_options");
    }
    let model = text(&built, "model").filter(|model| !model.is_empty());
    let most = [openai::tokens(&built, "max_completion_tokens")?, openai::tokens(&built, "max_tokens")?];
    Ok(Rebuilt {
        model: model.ok_or_else(|| Unfit::Shape("model".into()))?.to_owned(),
        streams,
        // Servers go by one of the two; which one is not known here.
        output_tokens_max: most.into_iter().flatten().max(),
        tools: declared(array(&built, "tools"), denials)?,
        egress: std::mem::take(&mut builder.used),
        left_out: std::mem::take(&mut builder.left_out),
        body: Value::Object(built).to_string().into_bytes(),
    })
}

/// Whether the agent that sent this request asked for the chunk that says what was used.
pub fn asks_for_usage(body: &[u8]) -> UsageChunk {
    let asked = json::object(body).ok();
    let asked = asked.as_ref().and_then(|asked| asked.get("stream_options")?.get("include_usage")?.as_bool());
    if asked == Some(true) { UsageChunk::Asked } else { UsageChunk::NotAsked }
}

fn no_legacy_call(object: &Map<String, Value>, at: &str) -> Result<(), Unfit> {
    match LEGACY.iter().find(|member| object.get(**member).is_some_and(|value| !value.is_null())) {
        Some(member) => Err(Unfit::Unknown { kind: (*member).to_owned(), at: at.to_owned() }),
        None => Ok(()),
    }
}

fn declared(tools: &[Value], denials: &Denials) -> Result<BTreeSet<String>, Unfit> {
    let mut names = BTreeSet::new();
    for tool in tools.iter().filter_map(Value::as_object) {
        let kind = kind_of(tool);
        if !matches!(kind, "function" | "custom") {
            names.insert(kind.to_owned());
            continue;
        }
        let name = tool.get(kind).and_then(|tool| tool.get("name")).and_then(Value::as_str);
        let name = name.filter(|name| is_tool_name(name) && *name != denials.name());
        names.insert(name.ok_or_else(|| Unfit::Shape(format!("tools[].{kind}.name")))?.to_owned());
    }
    Ok(names)
}

/// Gives denied calls their own name and arguments back, and says in the messages that answer them why they were denied. A message
/// answers the last call of its id before it: not every server has an id but once.
fn restore(messages: &mut [Value], denials: &Denials) -> Result<(), Unfit> {
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    for message in messages.iter_mut().filter_map(Value::as_object_mut) {
        no_legacy_call(message, "messages[]")?;
        let answers = text(message, "tool_call_id").filter(|_| text(message, "role") == Some("tool"));
        if let Some(told) = answers.and_then(|id| told.get(id)) {
            message.insert("content".into(), told.as_str().into());
        }
        let Some(Value::Array(calls)) = message.get_mut("tool_calls") else { continue };
        for call in calls.iter_mut().filter_map(Value::as_object_mut) {
            let id = text(call, "id").map(str::to_owned);
            let because = restore_call(call, denials)?;
            match (id, because) {
                (Some(id), Some(because)) => drop(told.insert(id, because)),
                (Some(id), None) => drop(told.remove(&id)),
                (None, Some(_)) => return Err(Unfit::Shape("messages[].tool_calls[].id".into())),
                (None, None) => {}
            }
        }
    }
    Ok(())
}

/// Gives a call its own name and arguments back, if it was denied, and says what the model is told.
fn restore_call(call: &mut Map<String, Value>, denials: &Denials) -> Result<Option<String>, Unfit> {
    for (kind, member) in [("function", "arguments"), ("custom", "input")] {
        let Some(of) = call.get(kind).and_then(Value::as_object) else { continue };
        let (name, arguments) = (text(of, "name").unwrap_or_default(), text(of, member).unwrap_or_default());
        let forged = |_| Unfit::Shape(format!("messages[].tool_calls[].{kind}.{member}"));
        let id = text(call, "id").unwrap_or_default();
        // OpenCode makes of it a call of its own tool `invalid`, which says what was wrong with it.
        let denied = denials.restore(name, arguments).map_err(forged)?.or_else(|| denials.renamed(id, arguments));
        let Some(denied) = denied else { continue };
        call.insert(kind.to_owned(), made!({ "name": denied.call.name, member: denied.call.arguments }));
        return Ok(Some(denied.told.clone()));
    }
    Ok(None)
}
