//! Requests of the Messages API: what one may hold, and denied calls put back.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::super::Egress::{self, Connectors, StoredState, UrlSources, VendorTools};
use super::super::denials::Denials;
use super::super::json;
use super::super::request::{REQUEST_BYTES_MAX, Rebuilt, Unfit};
use super::super::shape::{Builder, Kind, Member, Shape, Spelling, named};

/// Where calls stand, for errors.
const BLOCKS_AT: &str = "messages[].content[]";

/// Makes a request anew: what is listed below, with denied calls as the model made them and their results as this door wrote them.
pub fn rebuild(body: &[u8], granted: &BTreeSet<Egress>, denials: &Denials) -> Result<Rebuilt, Unfit> {
    if u64::try_from(body.len()).map_or(true, |length| length > REQUEST_BYTES_MAX) {
        return Err(Unfit::TooMuch("long"));
    }
    let mut builder = Builder::new(granted, Spelling::Exact);
    let mut request = builder.build(&REQUEST, "", json::parse(body)?)?;
    put_denied_back(&mut request, denials)?;
    let text = |member: &Value| member.as_str().map(str::to_owned);
    Ok(Rebuilt {
        model: request.get("model").and_then(text).ok_or_else(|| Unfit::Shape("model".to_owned()))?,
        streams: request.get("stream").and_then(Value::as_bool).unwrap_or(false),
        output_tokens_max: request.get("max_tokens").and_then(Value::as_u64),
        tools: tools(&request, denials)?,
        egress: builder.used,
        left_out: builder.left_out,
        body: request.to_string().into_bytes(),
    })
}

/// The tools it declares. None of them is called what denied calls are.
fn tools(request: &Value, denials: &Denials) -> Result<BTreeSet<String>, Unfit> {
    let declared = request.get("tools").and_then(Value::as_array).into_iter().flatten();
    let names: BTreeSet<String> =
        declared.filter_map(|tool| tool.get("name")).filter_map(Value::as_str).map(str::to_owned).collect();
    if names.contains(denials.name()) {
        return Err(Unfit::Unknown { kind: named(denials.name()), at: "tools[].name".to_owned() });
    }
    Ok(names)
}

/// Gives denied calls their own names and arguments back, and puts what the model is told in the place of what the agent answered.
fn put_denied_back(request: &mut Value, denials: &Denials) -> Result<(), Unfit> {
    let mut told = BTreeMap::new();
    let messages = request.get_mut("messages").and_then(Value::as_array_mut).into_iter().flatten();
    let blocks = messages.filter_map(|message| message.get_mut("content")?.as_array_mut()).flatten();
    for block in blocks.filter_map(Value::as_object_mut) {
        match block.get("type").and_then(Value::as_str) {
            Some("tool_use") => {
                if let Some((id, why)) = restore(block, denials)? {
                    told.insert(id, why);
                }
            }
            // A result stands behind its call, so `told` knows it by now.
            Some("tool_result") => {
                let id = block.get("tool_use_id").and_then(Value::as_str).unwrap_or_default();
                if let Some(why) = told.get(id) {
                    let why = Value::from(why.as_str());
                    block.insert("content".to_owned(), why);
                    block.insert("is_error".to_owned(), Value::Bool(true));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Gives a call its own name and arguments back, if it was denied. Gives its id and what the model is told.
fn restore(block: &mut Map<String, Value>, denials: &Denials) -> Result<Option<(String, String)>, Unfit> {
    let forged = || Unfit::Shape(format!("{BLOCKS_AT}.input"));
    let of = |member: &str| block.get(member).and_then(Value::as_str).unwrap_or_default();
    let arguments = block.get("input").map(Value::to_string).unwrap_or_default();
    let Some(denied) = denials.restore(of("name"), &arguments).map_err(|_| forged())? else { return Ok(None) };
    // The key of one call does not stand for another: what is told would stand behind the wrong question.
    if of("id") != denied.call.id {
        return Err(forged());
    }
    // This protocol's calls are objects; one that was denied in another protocol may have been text.
    let input = json::parse(denied.call.arguments.as_bytes()).ok().filter(Value::is_object);
    block.insert("input".to_owned(), input.unwrap_or_else(|| json!({ "input": denied.call.arguments })));
    block.insert("name".to_owned(), Value::from(denied.call.name.as_str()));
    Ok(Some((denied.call.id.clone(), denied.told.clone())))
}

/// A request. Not listed, and so left out: `metadata`, whose `user_id` names a device and an account; `service_tier`, `speed` and
/// `inference_geo`, which change the price of a token.
static REQUEST: Shape = Shape::Object(&[
    ("model", &Shape::Text),
    ("max_tokens", &Shape::Number),
    ("stream", &Shape::Flag),
    ("system", &Shape::TextOr(&Shape::List(&SYSTEM))),
    ("messages", &Shape::List(&MESSAGE)),
    ("tools", &Shape::List(&TOOL)),
    (
        "tool_choice",
        &Shape::Object(&[("type", &Shape::Text), ("name", &Shape::Text), ("disable_parallel_tool_use", &Shape::Flag)]),
    ),
    ("temperature", &Shape::Number),
    ("top_p", &Shape::Number),
    ("top_k", &Shape::Number),
    ("stop_sequences", &Shape::List(&Shape::Text)),
    (
        "thinking",
        &Shape::Object(&[("type", &Shape::Text), ("budget_tokens", &Shape::Number), ("display", &Shape::Text)]),
    ),
    ("context_management", &Shape::Object(&[("edits", &Shape::List(&EDIT))])),
    (
        "output_config",
        &Shape::Object(&[
            ("effort", &Shape::Text),
            ("format", &FORMAT),
            (
                "task_budget",
                &Shape::Object(&[("type", &Shape::Text), ("total", &Shape::Number), ("remaining", &Shape::Number)]),
            ),
        ]),
    ),
    ("output_format", &FORMAT),
    ("cache_control", &CACHE),
    ("container", &Shape::Granted(StoredState, &Shape::Any)),
    (
        "mcp_servers",
        &Shape::Granted(
            Connectors,
            &Shape::List(&Shape::Object(&[
                ("type", &Shape::Text),
                ("url", &Shape::Text),
                ("name", &Shape::Text),
                ("authorization_token", &Shape::Text),
                ("tool_configuration", &Shape::Any),
            ])),
        ),
    ),
]);

static MESSAGE: Shape = Shape::Object(&[("role", &Shape::Text), ("content", &Shape::TextOr(&Shape::List(&BLOCK)))]);

/// Where a prompt may be cached. Its `ttl` is left out: writing for an hour has another price than for five minutes, and a call is metered
/// with one.
static CACHE: Shape = Shape::Object(&[("type", &Shape::Text)]);

static FORMAT: Shape = Shape::Object(&[("type", &Shape::Text), ("schema", &Shape::Any)]);

/// How the vendor may shorten a conversation before the model reads it. Not by `compact_*`: it is a model call of its own, which the
/// answer's usage does not count in its sums.
static EDIT: Shape = Shape::Kinds {
    tag: "type",
    untagged: None,
    kinds: &[
        Kind::plain("clear_thinking_*", &[("keep", &Shape::Any)]),
        Kind::plain(
            "clear_tool_uses_*",
            &[
                ("trigger", &Shape::Any),
                ("keep", &Shape::Any),
                ("clear_at_least", &Shape::Any),
                ("exclude_tools", &Shape::List(&Shape::Text)),
                ("clear_tool_inputs", &Shape::Any),
            ],
        ),
    ],
};

/// Tools. `bash_*`, `text_editor_*` and `memory_*` are the vendor's in name only: the agent runs them.
static TOOL: Shape = Shape::Kinds {
    tag: "type",
    untagged: Some("custom"),
    kinds: &[
        Kind::plain("custom", CUSTOM_TOOL),
        Kind::plain("bash_*", CUSTOM_TOOL),
        Kind::plain("text_editor_*", CUSTOM_TOOL),
        Kind::plain("memory_*", CUSTOM_TOOL),
        Kind::egress(VendorTools, "web_search_*", VENDOR_TOOL),
        Kind::egress(VendorTools, "web_fetch_*", VENDOR_TOOL),
        Kind::egress(VendorTools, "code_execution_*", VENDOR_TOOL),
        Kind::egress(VendorTools, "computer_*", CUSTOM_TOOL),
        Kind::egress(VendorTools, "tool_search_tool_regex", VENDOR_TOOL),
        Kind::egress(VendorTools, "tool_search_tool_regex_*", VENDOR_TOOL),
        Kind::egress(VendorTools, "tool_search_tool_bm25", VENDOR_TOOL),
        Kind::egress(VendorTools, "tool_search_tool_bm25_*", VENDOR_TOOL),
        Kind::egress(
            Connectors,
            "mcp_toolset",
            &[
                ("mcp_server_name", &Shape::Text),
                ("default_config", &Shape::Any),
                ("configs", &Shape::Any),
                ("cache_control", &CACHE),
            ],
        ),
    ],
};

static CUSTOM_TOOL: &[Member] = &[
    ("name", &Shape::Text),
    ("description", &Shape::Text),
    ("input_schema", &Shape::Any),
    ("input_examples", &Shape::Any),
    ("cache_control", &CACHE),
    ("defer_loading", &Shape::Flag),
    ("strict", &Shape::Flag),
    ("eager_input_streaming", &Shape::Flag),
    ("allowed_callers", &Shape::List(&Shape::Text)),
    ("max_characters", &Shape::Number),
    ("display_width_px", &Shape::Number),
    ("display_height_px", &Shape::Number),
    ("display_number", &Shape::Number),
    ("enable_zoom", &Shape::Flag),
];

static VENDOR_TOOL: &[Member] = &[
    ("name", &Shape::Text),
    ("cache_control", &CACHE),
    ("defer_loading", &Shape::Flag),
    ("strict", &Shape::Flag),
    ("allowed_callers", &Shape::List(&Shape::Text)),
    ("max_uses", &Shape::Number),
    ("max_content_tokens", &Shape::Number),
    ("allowed_domains", &Shape::List(&Shape::Text)),
    ("blocked_domains", &Shape::List(&Shape::Text)),
    ("citations", &CITED),
    ("user_location", &Shape::Any),
];

static SYSTEM: Shape = Shape::Kinds { tag: "type", untagged: None, kinds: &[Kind::plain("text", TEXT)] };

/// Content of a message.
static BLOCK: Shape = Shape::Kinds {
    tag: "type",
    untagged: None,
    kinds: &[
        Kind::plain("text", TEXT),
        Kind::plain("image", IMAGE),
        Kind::plain("document", DOCUMENT),
        Kind::plain("search_result", SEARCH_RESULT),
        Kind::plain("thinking", &[("thinking", &Shape::Text), ("signature", &Shape::Text)]),
        Kind::plain("redacted_thinking", &[("data", &Shape::Text)]),
        Kind::plain("tool_use", CALL),
        Kind::plain(
            "tool_result",
            &[
                ("tool_use_id", &Shape::Text),
                ("content", &Shape::TextOr(&Shape::List(&RESULT))),
                ("is_error", &Shape::Flag),
                ("cache_control", &CACHE),
            ],
        ),
        Kind::egress(VendorTools, "server_tool_use", CALL),
        Kind::egress(VendorTools, "web_search_tool_result", CALLED),
        Kind::egress(VendorTools, "web_fetch_tool_result", CALLED),
        Kind::egress(VendorTools, "code_execution_tool_result", CALLED),
        Kind::egress(VendorTools, "bash_code_execution_tool_result", CALLED),
        Kind::egress(VendorTools, "text_editor_code_execution_tool_result", CALLED),
        Kind::egress(VendorTools, "tool_search_tool_result", CALLED),
        Kind::egress(Connectors, "mcp_tool_use", CALL),
        Kind::egress(Connectors, "mcp_tool_result", CALLED),
        Kind::egress(StoredState, "container_upload", &[("file_id", &Shape::Text), ("cache_control", &CACHE)]),
    ],
};

/// What a tool answers.
static RESULT: Shape = Shape::Kinds {
    tag: "type",
    untagged: None,
    kinds: &[
        Kind::plain("text", TEXT),
        Kind::plain("image", IMAGE),
        Kind::plain("document", DOCUMENT),
        Kind::plain("search_result", SEARCH_RESULT),
        Kind::plain("tool_reference", &[("tool_name", &Shape::Text), ("cache_control", &CACHE)]),
    ],
};

static TEXT: &[Member] = &[("text", &Shape::Text), ("citations", &Shape::List(&CITATION)), ("cache_control", &CACHE)];

static IMAGE: &[Member] = &[("source", &SOURCE), ("cache_control", &CACHE)];

static DOCUMENT: &[Member] = &[
    ("source", &SOURCE),
    ("title", &Shape::Text),
    ("context", &Shape::Text),
    ("citations", &CITED),
    ("cache_control", &CACHE),
];

static SEARCH_RESULT: &[Member] = &[
    ("source", &Shape::Text),
    ("title", &Shape::Text),
    ("content", &Shape::List(&SYSTEM)),
    ("citations", &CITED),
    ("cache_control", &CACHE),
];

/// What a document is made of.
static PART: Shape =
    Shape::Kinds { tag: "type", untagged: None, kinds: &[Kind::plain("text", TEXT), Kind::plain("image", IMAGE)] };

/// Where an image or a document comes from.
static SOURCE: Shape = Shape::Kinds {
    tag: "type",
    untagged: None,
    kinds: &[
        Kind::plain("base64", &[("media_type", &Shape::Text), ("data", &Shape::Text)]),
        Kind::plain("text", &[("media_type", &Shape::Text), ("data", &Shape::Text)]),
        Kind::plain("content", &[("content", &Shape::TextOr(&Shape::List(&PART)))]),
        Kind::egress(UrlSources, "url", &[("url", &Shape::Text)]),
        Kind::egress(StoredState, "file", &[("file_id", &Shape::Text)]),
    ],
};

static CITED: Shape = Shape::Object(&[("enabled", &Shape::Flag)]);

/// Where a text says it is from; what was said before comes back with them.
static CITATION: Shape = Shape::Object(&[
    ("type", &Shape::Text),
    ("cited_text", &Shape::Text),
    ("document_index", &Shape::Number),
    ("document_title", &Shape::Text),
    ("start_char_index", &Shape::Number),
    ("end_char_index", &Shape::Number),
    ("start_page_number", &Shape::Number),
    ("end_page_number", &Shape::Number),
    ("start_block_index", &Shape::Number),
    ("end_block_index", &Shape::Number),
    ("search_result_index", &Shape::Number),
    ("source", &Shape::Text),
    ("title", &Shape::Text),
    ("url", &Shape::Text),
    ("encrypted_index", &Shape::Text),
]);

static CALL: &[Member] = &[
    ("id", &Shape::Text),
    ("name", &Shape::Text),
    ("input", &Shape::Any),
    ("server_name", &Shape::Text),
    ("caller", &Shape::Object(&[("type", &Shape::Text), ("tool_id", &Shape::Text)])),
    ("cache_control", &CACHE),
];

static CALLED: &[Member] = &[
    ("tool_use_id", &Shape::Text),
    ("content", &Shape::Any),
    ("is_error", &Shape::Flag),
    ("caller", &Shape::Object(&[("type", &Shape::Text), ("tool_id", &Shape::Text)])),
    ("cache_control", &CACHE),
];

#[cfg(test)]
mod tests {
    use super::super::super::answer::Call;
    use super::*;

    /// The third request of Claude Code 2.1.328 in a run of one task, with its texts made short and its ids taken out. The second turn
    /// had a denied call.
    const CLAUDE_CODE: &str = include_str!("claude_code.json");

    fn denials() -> Denials {
        let mut denials = Denials::new("selvedge_denied_x7".into());
        let arguments = "{\"command\":\"env\",\"timeout\":1.5}".to_owned();
        let call = Call { id: "toolu_011".into(), name: "Bash".into(), arguments, is_json: true };
        denials.deny(&call, "denied: outside_grant; ask for less");
        denials
    }

    fn built(body: &Value, granted: &[Egress]) -> Result<Rebuilt, Unfit> {
        rebuild(body.to_string().as_bytes(), &granted.iter().copied().collect(), &denials())
    }

    fn with(member: &str, value: Value) -> Value {
        let mut request = json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }] });
        request.as_object_mut().unwrap().insert(member.to_owned(), value);
        request
    }

    fn with_block(block: Value) -> Value {
        with("messages", json!([{ "role": "user", "content": [block] }]))
    }

    #[test]
    fn a101_what_claude_code_asks_is_asked_but_for_who_it_is() {
        let asked: Value = serde_json::from_str(CLAUDE_CODE).unwrap();
        let rebuilt = built(&asked, &[]).unwrap();
        let mut expected = asked;
        expected.as_object_mut().unwrap().remove("metadata");
        let call = &mut expected["messages"][1]["content"][4];
        assert_eq!(call["name"], "selvedge_denied_x7");
        (call["name"], call["input"]) = (json!("Bash"), json!({ "command": "env", "timeout": 1.5 }));
        expected["messages"][2]["content"][2]["content"] = json!("denied: outside_grant; ask for less");
        assert_eq!(serde_json::from_slice::<Value>(&rebuilt.body).unwrap(), expected);
        assert_eq!(rebuilt.left_out.into_iter().collect::<Vec<_>>(), ["metadata"]);
        assert_eq!((rebuilt.model.as_str(), rebuilt.streams), ("claude-sonnet-4-5", true));
        assert_eq!((rebuilt.output_tokens_max, rebuilt.egress.len()), (Some(32_000), 0));
        assert_eq!(
            rebuilt.tools.iter().map(String::as_str).collect::<Vec<_>>(),
            ["Bash", "DeferredToolPlaceholder", "Edit", "ToolSearch", "WebFetch", "Write"]
        );
    }

    #[test]
    fn nothing_that_an_agent_said_of_a_denied_call_is_left() {
        let call =
            json!({ "type": "tool_use", "id": "toolu_011", "name": "selvedge_denied_x7", "input": { "denied": "1" } });
        let result = json!({ "type": "tool_result", "tool_use_id": "toolu_011", "is_error": false,
            "content": [{ "type": "text", "text": "it worked" }, { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "" } }] });
        let other = json!({ "type": "tool_result", "tool_use_id": "toolu_012", "content": "ok" });
        let asked = |of: Value| {
            with(
                "messages",
                json!([{ "role": "assistant", "content": [of] }, { "role": "user", "content": [result, other] }]),
            )
        };
        let rebuilt: Value = serde_json::from_slice(&built(&asked(call.clone()), &[]).unwrap().body).unwrap();
        assert_eq!(
            rebuilt["messages"][1]["content"],
            json!([{ "type": "tool_result", "tool_use_id": "toolu_011", "is_error": true, "content": "denied: outside_grant; ask for less" }, other])
        );
        for (member, forged) in [
            ("input", json!({ "denied": "2" })),
            ("input", json!({})),
            ("input", json!(null)),
            ("id", json!("toolu_012")),
        ] {
            let mut call = call.clone();
            call[member] = forged;
            assert_eq!(built(&asked(call), &[]).unwrap_err(), Unfit::Shape("messages[].content[].input".into()));
        }
    }

    #[test]
    fn a101_what_the_vendor_would_do_needs_its_grant() {
        let tool = |kind: &str| with("tools", json!([{ "type": kind, "name": "t" }]));
        let source = |kind: &str, of: Value| with_block(json!({ "type": kind, "source": of }));
        for (egress, request) in [
            (VendorTools, tool("web_search_20250305")),
            (VendorTools, tool("web_fetch_20250910")),
            (VendorTools, tool("code_execution_20250825")),
            (VendorTools, tool("computer_20250124")),
            (VendorTools, tool("tool_search_tool_bm25")),
            (
                VendorTools,
                with_block(json!({ "type": "server_tool_use", "id": "s", "name": "web_search", "input": {} })),
            ),
            (VendorTools, with_block(json!({ "type": "web_search_tool_result", "tool_use_id": "s", "content": [] }))),
            (Connectors, with("tools", json!([{ "type": "mcp_toolset", "mcp_server_name": "x" }]))),
            (Connectors, with("mcp_servers", json!([{ "type": "url", "url": "https://x.invalid", "name": "x" }]))),
            (
                Connectors,
                with_block(json!({ "type": "mcp_tool_use", "id": "s", "name": "n", "server_name": "x", "input": {} })),
            ),
            (UrlSources, source("image", json!({ "type": "url", "url": "https://x.invalid/?secret" }))),
            (UrlSources, source("document", json!({ "type": "url", "url": "https://x.invalid/?secret" }))),
            (
                UrlSources,
                with_block(json!({ "type": "tool_result", "tool_use_id": "t",
                "content": [{ "type": "image", "source": { "type": "url", "url": "https://x.invalid" } }] })),
            ),
            (StoredState, source("image", json!({ "type": "file", "file_id": "f" }))),
            (StoredState, with_block(json!({ "type": "container_upload", "file_id": "f" }))),
            (StoredState, with("container", json!("c"))),
        ] {
            let others: Vec<_> = Egress::ALL.iter().copied().filter(|other| *other != egress).collect();
            assert!(matches!(built(&request, &others), Err(Unfit::Egress { what, .. }) if what == egress), "{request}");
            let rebuilt = built(&request, Egress::ALL).unwrap();
            assert_eq!(rebuilt.egress, BTreeSet::from([egress]));
            assert_eq!(
                serde_json::from_slice::<Value>(&rebuilt.body).unwrap(),
                request,
                "granted, it is asked as it was"
            );
        }
    }

    #[test]
    fn what_stays_with_the_agent_needs_none() {
        let tools = ["bash_20250124", "text_editor_20250728", "memory_20250818", "custom"];
        for request in tools.map(|kind| with("tools", json!([{ "type": kind, "name": "t" }]))).into_iter().chain([
            with("system", json!("be kind")),
            with("tool_choice", json!({ "type": "tool", "name": "t" })),
            with("output_config", json!({ "effort": "low", "format": { "type": "json_schema", "schema": { "x": 1 } } })),
            with("context_management", json!({ "edits": [{ "type": "clear_tool_uses_20250919", "keep": { "type": "tool_uses", "value": 3 } }] })),
            with("container", json!(null)),
            with_block(json!({ "type": "redacted_thinking", "data": "x" })),
            with_block(json!({ "type": "document", "source": { "type": "content", "content": [{ "type": "text", "text": "x" }] } })),
        ]) {
            let rebuilt = built(&request, &[]).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&rebuilt.body).unwrap(), request);
        }
    }

    #[test]
    fn a101_what_is_not_known_stays_here() {
        for request in [
            with_block(json!({ "type": "video", "source": "x" })),
            with_block(json!({ "type": "image", "source": { "type": "ftp", "url": "x" } })),
            with("tools", json!([{ "type": "teleport_20270101", "name": "t" }])),
            with("tools", json!([{ "type": "bash_latest", "name": "t" }])),
            with("tools", json!([{ "name": "selvedge_denied_x7", "input_schema": {} }])),
            with("context_management", json!({ "edits": [{ "type": "compact_20260112" }] })),
        ] {
            assert!(matches!(built(&request, Egress::ALL), Err(Unfit::Unknown { .. })), "{request}");
        }
        for request in [with("model", json!(null)), with("messages", json!("x")), with_block(json!("x")), json!([])] {
            assert!(matches!(built(&request, Egress::ALL), Err(Unfit::Shape(_))), "{request}");
        }
        let twice = b"{\"model\":\"m\",\"container\":null,\"container\":\"c\"}";
        assert_eq!(rebuild(twice, &BTreeSet::new(), &denials()), Err(Unfit::Syntax));
        let long = vec![b' '; usize::try_from(REQUEST_BYTES_MAX).unwrap() + 1];
        assert_eq!(rebuild(&long, &BTreeSet::new(), &denials()), Err(Unfit::TooMuch("long")));
        let priced = built(&with("service_tier", json!("priority")), &[]).unwrap();
        assert_eq!(priced.left_out, BTreeSet::from(["service_tier".to_owned()]));
    }
}
