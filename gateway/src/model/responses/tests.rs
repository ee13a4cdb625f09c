use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Reader, rebuild};
use crate::model::answer::{Answer, Call, Garbled, Ruling};
use crate::model::denials::Denials;
use crate::model::request::Unfit;
use crate::model::{Egress, Usage, sse};

const DENIED: &str = "selvedge_denied_x7";

fn denials() -> Denials {
    Denials::new(DENIED.into())
}

fn call(id: &str, name: &str, arguments: &str, is_json: bool) -> Call {
    Call { id: id.into(), name: name.into(), arguments: arguments.into(), is_json }
}

fn sent(body: &Value, granted: &[Egress], denials: &Denials) -> Result<(Value, Vec<String>), Unfit> {
    let rebuilt = rebuild(body.to_string().as_bytes(), &granted.iter().copied().collect(), denials)?;
    Ok((serde_json::from_slice(&rebuilt.body).unwrap(), rebuilt.left_out.into_iter().collect()))
}

/// Requests that Codex 0.169 sent to a server that had made two calls of a tool that nobody declared, one with arguments and one with
/// text, in the same answers as calls that it ran: as it sent them, but for ids and long texts.
const SEEN_LITE: &str = include_str!("seen/codex-0.169-lite.json");
const SEEN: &str = include_str!("seen/codex-0.169.json");

#[test]
fn a101_what_codex_sends_goes_as_it_is_but_for_metadata_and_what_was_denied() {
    for (seen, granted) in [(SEEN_LITE, vec![]), (SEEN, vec![Egress::VendorTools])] {
        let seen: Value = serde_json::from_str(seen).unwrap();
        let mut denials = denials();
        denials
            .deny(&call("call_2", "collaboration/spawn_agent", "{\"message\":\"go\"}", true), "denied: outside_grant");
        denials.deny(&call("call_4", "apply_patch", "*** Begin Patch", false), "denied: no");

        let mut expected = seen.clone();
        expected.as_object_mut().unwrap().remove("client_metadata");
        for item in expected["input"].as_array_mut().unwrap() {
            match (item["type"].as_str().unwrap(), item["call_id"].as_str()) {
                ("function_call", Some("call_2")) => {
                    item["name"] = "spawn_agent".into();
                    item["namespace"] = "collaboration".into();
                    item["arguments"] = "{\"message\":\"go\"}".into();
                }
                ("function_call_output", Some("call_2")) => item["output"] = "denied: outside_grant".into(),
                ("custom_tool_call", Some("call_4")) => {
                    item["name"] = "apply_patch".into();
                    item["input"] = "*** Begin Patch".into();
                }
                ("custom_tool_call_output", Some("call_4")) => item["output"] = "denied: no".into(),
                _ => {}
            }
        }
        assert_eq!(sent(&seen, &granted, &denials), Ok((expected, vec!["client_metadata".to_owned()])));
    }
}

#[test]
fn an_output_is_that_of_the_last_call_of_its_id() {
    let mut denials = denials();
    let denied = function("call_1", DENIED, &denials.deny(&call("call_1", "exec", "{}", true), "denied: no"));
    let output = |text: &str| json!({ "type": "function_call_output", "call_id": "call_1", "output": text });
    let input = [denied, output("no such tool"), function("call_1", "exec", "{}"), output("ran")];
    let (built, _) = sent(&json!({ "model": "m", "input": input }), &[], &denials).unwrap();
    let expected =
        [function("call_1", "exec", "{}"), output("denied: no"), function("call_1", "exec", "{}"), output("ran")];
    assert_eq!(built["input"], json!(expected));
}

#[test]
fn the_tools_that_codex_declares_are_named_as_their_calls_are() {
    let rebuilt = rebuild(SEEN_LITE.as_bytes(), &BTreeSet::new(), &with_two()).unwrap();
    assert_eq!((rebuilt.model.as_str(), rebuilt.streams, rebuilt.output_tokens_max), ("gpt-6.1-sol", true, None));
    for tool in ["functions/exec", "functions/wait", "collaboration/spawn_agent"] {
        assert!(rebuilt.tools.contains(tool), "{tool} of {:?}", rebuilt.tools);
    }
    let granted = BTreeSet::from([Egress::VendorTools, Egress::Connectors]);
    let rebuilt = rebuild(SEEN.as_bytes(), &granted, &with_two()).unwrap();
    assert_eq!(rebuilt.egress, BTreeSet::from([Egress::VendorTools]), "what was used of what was granted");
    for tool in ["exec_command", "multi_agent_v1/spawn_agent", "web_search"] {
        assert!(rebuilt.tools.contains(tool), "{tool} of {:?}", rebuilt.tools);
    }
}

fn with_two() -> Denials {
    let mut denials = denials();
    denials.deny(&call("call_2", "exec_command", "{}", true), "no");
    denials.deny(&call("call_4", "apply_patch", "x", false), "no");
    denials
}

#[test]
fn a101_what_the_vendor_would_do_on_its_side_is_refused_unless_granted() {
    let tool = |tool: Value| json!({ "model": "m", "input": "x", "store": false, "tools": [tool] });
    let part = |part: Value| json!({ "model": "m", "store": false, "input": [{ "role": "user", "content": [part] }] });
    let with = |member: &str, value: Value| {
        let mut body = json!({ "model": "m", "input": "x", "store": false });
        body[member] = value;
        body
    };
    for (body, what, at) in [
        (tool(json!({ "type": "web_search" })), Egress::VendorTools, "tools[]"),
        (tool(json!({ "type": "web_search_preview" })), Egress::VendorTools, "tools[]"),
        (tool(json!({ "type": "file_search", "vector_store_ids": ["v"] })), Egress::VendorTools, "tools[]"),
        (tool(json!({ "type": "code_interpreter", "container": { "type": "auto" } })), Egress::VendorTools, "tools[]"),
        (tool(json!({ "type": "image_generation" })), Egress::VendorTools, "tools[]"),
        (tool(json!({ "type": "computer_use_preview" })), Egress::VendorTools, "tools[]"),
        (tool(json!({ "type": "mcp", "server_url": "https://evil.example" })), Egress::Connectors, "tools[]"),
        (tool(json!({ "type": "mcp", "connector_id": "connector_gmail" })), Egress::Connectors, "tools[]"),
        (
            tool(json!({ "type": "namespace", "name": "n", "tools": [{ "type": "web_search" }] })),
            Egress::VendorTools,
            "tools[].tools[]",
        ),
        (
            with("input", json!([{ "type": "additional_tools", "tools": [{ "type": "mcp" }] }])),
            Egress::Connectors,
            "input[].tools[]",
        ),
        (with("tool_choice", json!({ "type": "web_search" })), Egress::VendorTools, "tool_choice"),
        (with("input", json!([{ "type": "item_reference", "id": "i" }])), Egress::StoredState, "input[]"),
        (with("previous_response_id", json!("r")), Egress::StoredState, "previous_response_id"),
        (with("conversation", json!("c")), Egress::StoredState, "conversation"),
        (with("prompt", json!({ "id": "p" })), Egress::StoredState, "prompt"),
        (with("background", json!(true)), Egress::StoredState, "background"),
        (with("store", json!(true)), Egress::StoredState, "store"),
        (
            part(json!({ "type": "input_image", "image_url": "https://evil.example/?q=secret" })),
            Egress::UrlSources,
            "input[].content[].image_url",
        ),
        (part(json!({ "type": "input_image", "file_id": "f" })), Egress::StoredState, "input[].content[].file_id"),
        (
            part(json!({ "type": "input_file", "file_url": "http://evil.example" })),
            Egress::UrlSources,
            "input[].content[].file_url",
        ),
        (
            with(
                "input",
                json!([{ "type": "function_call_output", "call_id": "c", "output": [{ "type": "input_image", "image_url": "HTTP://x" }] }]),
            ),
            Egress::UrlSources,
            "input[].output[].image_url",
        ),
    ] {
        assert_eq!(sent(&body, &[], &denials()), Err(Unfit::Egress { what, at: at.into() }), "{body}");
        let but_this: Vec<_> = Egress::ALL.iter().copied().filter(|egress| *egress != what).collect();
        assert_eq!(sent(&body, &but_this, &denials()), Err(Unfit::Egress { what, at: at.into() }), "{body}");
        let rebuilt = rebuild(body.to_string().as_bytes(), &BTreeSet::from([what]), &denials()).unwrap();
        assert_eq!(rebuilt.egress, BTreeSet::from([what]), "{body}");
        assert!(sent(&body, &[what], &denials()).unwrap().1.is_empty(), "{body}");
    }
}

#[test]
fn a101_a_response_is_never_kept_and_what_is_not_listed_does_not_leave() {
    let body = json!({ "model": "m", "input": "x", "service_tier": "priority", "user": "u", "metadata": { "a": "secret" },
        "background": false, "previous_response_id": null, "prompt_cache_key": "a key with a message in it", "max_output_tokens": 9 });
    let (built, left_out) = sent(&body, &[], &denials()).unwrap();
    let expected =
        json!({ "model": "m", "input": "x", "previous_response_id": null, "max_output_tokens": 9, "store": false });
    assert_eq!(built, expected);
    assert_eq!(left_out, ["metadata", "prompt_cache_key", "service_tier", "user"]);
    let picture = json!({ "model": "m", "store": false, "prompt_cache_key": "0198-a_b.c",
        "input": [{ "role": "user", "content": [{ "type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low" }] }] });
    assert_eq!(sent(&picture, &[], &denials()), Ok((picture.clone(), vec![])));
}

#[test]
fn a101_what_is_not_known_is_refused_by_name() {
    let unknown = |kind: &str, at: &str| Unfit::Unknown { kind: kind.into(), at: at.into() };
    let shape = |at: &str| Unfit::Shape(at.into());
    let denied =
        |arguments: &str| json!([{ "type": "function_call", "call_id": "c", "name": DENIED, "arguments": arguments }]);
    let function = |name: &str| json!([{ "type": "function", "name": name, "parameters": {} }]);
    for (member, value, unfit) in [
        ("input", json!([{ "type": "tool_search_call" }]), unknown("tool_search_call", "input[]")),
        ("input", json!([{ "role": "user", "content": [{ "type": "video" }] }]), unknown("video", "input[].content[]")),
        ("tools", json!([{ "type": "shell" }]), unknown("shell", "tools[]")),
        ("tools", function(DENIED), shape("tools[].name")),
        ("tools", function("local_shell"), shape("tools[].name")),
        ("tools", function("a/b"), shape("tools[].name")),
        ("max_output_tokens", json!(-1), shape("max_output_tokens")),
        ("max_output_tokens", json!(1.5), shape("max_output_tokens")),
        ("model", json!(""), shape("model")),
        ("model", json!(null), shape("model")),
        ("input", denied("{\"denied\":\"1\"}"), shape("input[].arguments")),
        ("input", denied("{\"denied\":\"9\"}"), shape("input[].arguments")),
        ("input", denied("no json"), shape("input[].arguments")),
    ] {
        let mut body = json!({ "model": "m", "input": "x" });
        body[member] = value;
        assert_eq!(sent(&body, Egress::ALL, &denials()), Err(unfit), "{body}");
    }
    assert_eq!(rebuild(b"{\"model\":\"m\",\"model\":\"n\"}", &BTreeSet::new(), &denials()), Err(Unfit::Syntax));
}

/// Events of an answer with these items, in pieces of `size` characters, as OpenAI sends them.
fn events(items: &[Value], size: usize) -> Vec<Value> {
    let mut events = vec![
        json!({ "type": "response.created", "response": { "id": "resp_1", "status": "in_progress", "output": [] } }),
    ];
    for (at, item) in items.iter().enumerate() {
        let id = &item["id"];
        let (member, pieces, said): (&str, &str, &str) = match item["type"].as_str().unwrap() {
            "function_call" => {
                ("arguments", "response.function_call_arguments.delta", "response.function_call_arguments.done")
            }
            "custom_tool_call" => {
                ("input", "response.custom_tool_call_input.delta", "response.custom_tool_call_input.done")
            }
            "local_shell_call" => ("", "", ""),
            "reasoning" => ("summary", "response.reasoning_summary_text.delta", "response.reasoning_summary_text.done"),
            _ => ("content", "response.output_text.delta", "response.output_text.done"),
        };
        let text = item[member].as_str().or_else(|| item[member][0]["text"].as_str()).unwrap_or_default();
        let mut begun = item.clone();
        if !member.is_empty() {
            begun[member] = if item[member].is_string() { "".into() } else { json!([]) };
        }
        events.push(json!({ "type": "response.output_item.added", "output_index": at, "item": begun }));
        let letters: Vec<char> = text.chars().collect();
        for piece in letters.chunks(size) {
            let piece: String = piece.iter().collect();
            events.push(json!({ "type": pieces, "output_index": at, "item_id": id, "delta": piece }));
        }
        if !member.is_empty() {
            let member = if item[member].is_string() { member } else { "text" };
            events.push(json!({ "type": said, "output_index": at, "item_id": id, member: text }));
        }
        events.push(json!({ "type": "response.output_item.done", "output_index": at, "item": item }));
    }
    let usage = json!({ "input_tokens": 100, "input_tokens_details": { "cached_tokens": 60, "cache_write_tokens": 5 }, "output_tokens": 9,
        "output_tokens_details": { "reasoning_tokens": 4 } });
    let response = json!({ "id": "resp_1", "status": "completed", "output": items, "usage": usage });
    events.push(json!({ "type": "response.completed", "response": response }));
    for (at, event) in events.iter_mut().enumerate() {
        event["sequence_number"] = at.into();
    }
    events
}

fn message(id: &str, text: &str) -> Value {
    json!({ "id": id, "type": "message", "role": "assistant", "status": "completed", "content": [{ "type": "output_text", "text": text, "annotations": [] }] })
}

fn function(id: &str, name: &str, arguments: &str) -> Value {
    json!({ "id": format!("fc_{id}"), "type": "function_call", "status": "completed", "call_id": id, "name": name, "arguments": arguments })
}

fn custom(id: &str, name: &str, input: &str) -> Value {
    json!({ "id": format!("ctc_{id}"), "type": "custom_tool_call", "status": "completed", "call_id": id, "name": name, "input": input })
}

fn read(bytes: &[u8]) -> Vec<Value> {
    let (mut reader, mut rest, mut events) = (sse::Reader::new(), bytes, Vec::new());
    while let Some(event) = reader.next(&mut rest).unwrap() {
        let value: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!(value["type"], event.name.as_str());
        events.push(value);
    }
    events
}

/// Everything the agent gets of these events, where `rules` decides; and what it had by then of those that were cut.
fn pass(
    reader: &mut Reader,
    events: &[Value],
    denials: &mut Denials,
    rules: impl Fn(&Call) -> Ruling,
) -> Result<Vec<Value>, Garbled> {
    let mut out = Vec::new();
    for event in events {
        let calls = reader.event(event["type"].as_str().unwrap(), &event.to_string())?;
        out.extend(reader.drain());
        if !calls.is_empty() {
            let rulings: Vec<_> = calls.iter().map(&rules).collect();
            reader.rule(&rulings, denials);
            out.extend(reader.drain());
        }
    }
    reader.end()?;
    Ok(read(&out))
}

fn denies(told: &str) -> Ruling {
    Ruling::Denied { told: told.into() }
}

#[test]
fn a101_a_denied_call_keeps_its_place_and_id_and_is_nothing_else() {
    let items = [
        message("msg_1", "I look"),
        function("call_1", "exec", "{\"cmd\":\"env\"}"),
        custom("call_2", "apply_patch", "*** secret"),
        function("call_3", "exec", "{\"cmd\":\"ls\"}"),
    ];
    let mut denials = denials();
    let mut reader = Reader::new(BTreeSet::new());
    let rules = |call: &Call| if call.arguments.contains("ls") { Ruling::Allowed } else { denies("denied: no") };
    let out = pass(&mut reader, &events(&items, 3), &mut denials, rules).unwrap();
    let kinds: Vec<_> =
        out.iter().map(|event| event["type"].as_str().unwrap().trim_start_matches("response.")).collect();
    let denied = |kind: &'static str| {
        ["output_item.added".to_owned(), format!("{kind}.delta"), format!("{kind}.done"), "output_item.done".into()]
    };
    let text = [
        "created",
        "output_item.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "output_item.done",
    ];
    let allowed = ["output_item.added"].into_iter().chain(["function_call_arguments.delta"; 4]).chain([
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]);
    let expected: Vec<String> = text
        .into_iter()
        .map(str::to_owned)
        .chain(denied("function_call_arguments"))
        .chain(denied("custom_tool_call_input"))
        .chain(allowed.map(str::to_owned))
        .collect();
    assert_eq!(kinds, expected);
    assert!(out.iter().enumerate().all(|(at, event)| event["sequence_number"] == at), "numbered anew");
    let passed = [
        items[0].clone(),
        function("call_1", DENIED, "{\"denied\":\"1\"}"),
        custom("call_2", DENIED, "{\"denied\":\"2\"}"),
        items[3].clone(),
    ];
    let done: Vec<_> = out
        .iter()
        .filter(|event| event["type"] == "response.output_item.done")
        .map(|event| event["item"].clone())
        .collect();
    assert_eq!(done, passed);
    assert_eq!(out.last().unwrap()["response"]["output"], json!(passed));
    let begun = out.iter().find(|event| event["item"]["call_id"] == "call_1").unwrap();
    assert_eq!((&begun["item"]["arguments"], &begun["item"]["name"]), (&json!(""), &json!(DENIED)));
    let text = json!(out).to_string();
    assert!(!text.contains("env") && !text.contains("secret"), "{text}");
    let usage = Usage { input: 35, cached: 60, cache_write: 5, output: 9, reasoning: 4 };
    assert_eq!((reader.metered().usage, reader.metered().is_final), (usage, true));
    assert_eq!(reader.metered().written_bytes, 6 + 13 + 10 + 12);

    // The next request has the calls as they were.
    let answered =
        [("function_call_output", "call_1"), ("custom_tool_call_output", "call_2"), ("function_call_output", "call_3")];
    let output = |text: &str| answered.map(|(kind, id)| json!({ "type": kind, "call_id": id, "output": text }));
    let body = json!({ "model": "m", "store": false, "input": ([passed.as_slice(), output("no such tool").as_slice()].concat()) });
    let (built, _) = sent(&body, &[], &denials).unwrap();
    let mut told = output("denied: no");
    told[2]["output"] = "no such tool".into();
    assert_eq!(built["input"], json!(([items.as_slice(), told.as_slice()].concat())));
}

#[test]
fn a_local_shell_call_is_judged_and_restored_as_one() {
    let shell = json!({ "id": "lsh_1", "type": "local_shell_call", "status": "completed", "call_id": "call_1", "action": { "type": "exec", "command": ["env"] } });
    for is_denied in [false, true] {
        let mut denials = denials();
        let rules = |call: &Call| {
            assert_eq!(
                (call.name.as_str(), call.arguments.as_str(), call.is_json),
                ("local_shell", "{\"type\":\"exec\",\"command\":[\"env\"]}", true)
            );
            if is_denied { denies("no") } else { Ruling::Allowed }
        };
        let out =
            pass(&mut Reader::new(BTreeSet::new()), &events(std::slice::from_ref(&shell), 1), &mut denials, rules)
                .unwrap();
        let output = out.last().unwrap()["response"]["output"].clone();
        assert_eq!(output[0] == shell, !is_denied);
        assert_eq!(output.to_string().contains("env"), !is_denied);
        let (built, _) = sent(&json!({ "model": "m", "store": false, "input": output }), &[], &denials).unwrap();
        assert_eq!(built["input"], json!([shell]));
    }
}

#[test]
fn a01_nothing_behind_the_beginning_of_a_call_leaves_before_it_was_ruled_on() {
    let items = [function("call_1", "exec", "{\"cmd\":\"env\"}"), message("msg_1", "done")];
    let mut reader = Reader::new(BTreeSet::new());
    let mut asked = 0;
    for event in events(&items, 2) {
        let calls = reader.event("", &event.to_string()).unwrap();
        asked += calls.len();
        let kind = event["type"].as_str().unwrap();
        assert_eq!(reader.drain().is_empty(), kind != "response.created", "{kind}");
        assert_eq!(
            !calls.is_empty(),
            kind == "response.output_item.done" && event["item"]["call_id"] == "call_1",
            "{kind}"
        );
        if calls.is_empty() || asked > 1 {
            continue;
        }
        reader.rule(&[], &mut denials());
        assert!(reader.drain().is_empty(), "no ruling is none that allows");
    }
    assert_eq!((asked, reader.end()), (1, Err(Garbled::Cut)));
}

#[test]
fn a_model_that_was_told_the_name_of_denied_calls_cannot_use_it() {
    let mut denials = with_two();
    let items = [function("call_9", DENIED, "{\"denied\":\"1\"}")];
    let out = pass(&mut Reader::new(BTreeSet::new()), &events(&items, 9), &mut denials, |_| Ruling::Allowed).unwrap();
    assert_eq!(out.last().unwrap()["response"]["output"][0]["arguments"], "{\"denied\":\"3\"}");
}

#[test]
fn a101_an_answer_that_says_a_call_in_two_ways_is_none() {
    let good = events(&[function("call_1", "exec", "{\"cmd\":\"ls\"}")], 99);
    let refused = |at: usize, path: &str, value: Value| {
        let mut events = good.clone();
        *events[at].pointer_mut(path).unwrap() = value;
        let result = pass(&mut Reader::new(BTreeSet::new()), &events, &mut denials(), |_| Ruling::Allowed);
        assert!(matches!(result, Err(Garbled::Misplaced(_))), "{at} {path}: {result:?}");
    };
    let other = || json!("{\"cmd\":\"env\"}");
    refused(1, "/item/arguments", other());
    refused(1, "/item/name", json!("other"));
    refused(1, "/item/call_id", json!("call_2"));
    refused(1, "/item/id", json!("fc_2"));
    refused(1, "/item/type", json!("message"));
    refused(2, "/delta", other());
    refused(2, "/output_index", json!(7));
    refused(2, "/item_id", json!("fc_2"));
    refused(2, "/type", json!("response.output_text.delta"));
    refused(3, "/arguments", other());
    refused(4, "/item/arguments", other());
    refused(4, "/item/call_id", json!(""));
    refused(5, "/response/output/0/arguments", other());
    refused(5, "/response/output/0/call_id", json!("call_2"));
    refused(0, "/response/output", json!([function("call_1", "exec", "{}")]));
    assert!(pass(&mut Reader::new(BTreeSet::new()), &good, &mut denials(), |_| Ruling::Allowed).is_ok());
}

#[test]
fn a101_what_is_not_known_in_an_answer_is_not_passed_on() {
    let unknown = |kind: &str| Err(Garbled::Unknown(kind.into()));
    let item = |kind: &str| json!({ "type": "response.output_item.added", "output_index": 0, "item": { "type": kind, "id": "i" } });
    for kind in
        ["computer_call", "shell_call", "apply_patch_call", "tool_search_call", "web_search_call", "mcp_call", ""]
    {
        let got = Reader::new(BTreeSet::new()).event("", &item(kind).to_string());
        assert_eq!(got, unknown(kind));
    }
    for (kind, egress) in [("web_search_call", Egress::VendorTools), ("mcp_call", Egress::Connectors)] {
        assert_eq!(Reader::new(BTreeSet::from([egress])).event("", &item(kind).to_string()), Ok(vec![]));
    }
    for kind in ["response.web_search_call.searching", "response.mcp_call_arguments.delta", "response.new_thing"] {
        let got = Reader::new(BTreeSet::new()).event("", &json!({ "type": kind, "output_index": 0 }).to_string());
        assert_eq!(got, unknown(kind));
    }
    let mut reader = Reader::new(BTreeSet::new());
    assert_eq!(reader.event("keepalive", "{\"type\":\"keepalive\"}"), Ok(vec![]));
    assert!(reader.drain().is_empty());
    assert_eq!(reader.event("a", "{\"type\":\"error\"}"), Err(Garbled::Misplaced("an event of two names".into())));
    assert_eq!(reader.event("", "{\"type\":\"error\",\"type\":\"error\"}"), Err(Garbled::Syntax("plain JSON")));
}

#[test]
fn an_answer_that_was_cut_or_failed_says_so() {
    let whole = events(&[function("call_1", "exec", "{\"cmd\":\"ls\"}")], 4);
    for cut in 0..whole.len() {
        let mut reader = Reader::new(BTreeSet::new());
        assert_eq!(pass(&mut reader, &whole[..cut], &mut denials(), |_| Ruling::Allowed), Err(Garbled::Cut), "{cut}");
        assert!(!reader.metered().is_final);
    }
    // Too many tokens in the middle of a call: the agent is told, and has nothing of the call.
    let mut cut = whole[..4].to_vec();
    let response = json!({ "id": "resp_1", "status": "incomplete", "output": [function("call_1", "exec", "{\"cm")], "usage": { "input_tokens": 1, "output_tokens": 2 } });
    cut.push(json!({ "type": "response.incomplete", "response": response }));
    let mut reader = Reader::new(BTreeSet::new());
    let out = pass(&mut reader, &cut, &mut denials(), |_| Ruling::Allowed).unwrap();
    assert_eq!((out.len(), &out[1]["response"]["output"]), (2, &json!([])));
    assert!(reader.metered().is_final && reader.metered().written_bytes == 8);
    cut[4]["type"] = "response.completed".into();
    assert!(pass(&mut Reader::new(BTreeSet::new()), &cut, &mut denials(), |_| Ruling::Allowed).is_err());
    let error = json!({ "type": "error", "code": "server_error", "message": "down", "param": null, "secret": 1 });
    let failed = [&whole[..3], &[error]].concat();
    let out = pass(&mut Reader::new(BTreeSet::new()), &failed, &mut denials(), |_| Ruling::Allowed).unwrap();
    assert_eq!(
        out[1],
        json!({ "type": "error", "code": "server_error", "message": "down", "param": null, "sequence_number": 1 })
    );
}

#[test]
fn a_server_that_says_only_what_is_whole_is_understood() {
    let items = [message("msg_1", "hi"), function("call_1", "exec", "{}")];
    let short: Vec<_> = events(&items, 9)
        .into_iter()
        .filter(|event| !event["type"].as_str().unwrap().contains('_') || event["type"] == "response.output_item.done")
        .collect();
    let mut reader = Reader::new(BTreeSet::new());
    let out = pass(&mut reader, &short, &mut denials(), |_| denies("no")).unwrap();
    assert_eq!(out.last().unwrap()["response"]["output"][1]["name"], DENIED);
    assert_eq!(reader.metered().written_bytes, 4);
    assert_eq!(reader.event("", "[DONE]"), Ok(vec![]));
    assert!(reader.event("", &short[0].to_string()).is_err());
}

#[test]
fn a101_a_whole_body_is_judged_like_a_stream() {
    let items =
        [message("msg_1", "hi"), function("call_1", "exec", "{\"cmd\":\"env\"}"), custom("call_2", "apply_patch", "p")];
    let body = json!({ "id": "resp_1", "object": "response", "status": "completed", "output": items, "usage": { "input_tokens": 3, "output_tokens": 2 }, "x": 1 });
    let mut reader = Reader::new(BTreeSet::new());
    let calls = reader.body(body.to_string().as_bytes()).unwrap();
    assert_eq!(calls, [call("call_1", "exec", "{\"cmd\":\"env\"}", true), call("call_2", "apply_patch", "p", false)]);
    assert_eq!((reader.drain(), reader.end()), (vec![], Err(Garbled::Cut)));
    reader.rule(&[denies("no"), Ruling::Allowed], &mut denials());
    let out: Value = serde_json::from_slice(&reader.drain()).unwrap();
    assert_eq!(out["output"], json!([items[0], function("call_1", DENIED, "{\"denied\":\"1\"}"), items[2]]));
    assert_eq!((&out["usage"], out.get("x"), reader.end()), (&body["usage"], None, Ok(())));
    assert_eq!(reader.metered().usage, Usage { input: 3, output: 2, ..Usage::default() });
    for bad in ["[]", "{}", "{\"object\":\"response\",\"output\":[{\"type\":\"new\"}]}"] {
        assert!(Reader::new(BTreeSet::new()).body(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn bounds_hold() {
    let many: Vec<_> = (0..129).map(|n| function(&format!("call_{n}"), "exec", "{}")).collect();
    let result = pass(&mut Reader::new(BTreeSet::new()), &events(&many, 9), &mut denials(), |_| Ruling::Allowed);
    assert_eq!(result, Err(Garbled::TooMuch("many calls")));
    let mut reader = Reader::new(BTreeSet::new());
    let begun =
        json!({ "type": "response.output_item.added", "output_index": 0, "item": function("call_1", "exec", "") });
    reader.event("", &begun.to_string()).unwrap();
    let piece =
        json!({ "type": "response.function_call_arguments.delta", "output_index": 0, "delta": "x".repeat(5 << 20) })
            .to_string();
    let results: Vec<_> = (0..7).map(|_| reader.event("", &piece).is_ok()).collect();
    assert_eq!(results, [true, true, true, true, true, true, false]);
}

/// What a model may say: nothing else than a call has the mark of a call in it.
fn items() -> impl Strategy<Value = Vec<Value>> {
    let kind = (0usize..4, "[a-y\"\\\\ é\n]{0,12}");
    prop::collection::vec(kind, 0..6).prop_map(|said| {
        said.into_iter()
            .enumerate()
            .map(|(at, (kind, text))| match kind {
                0 => message(&format!("msg_{at}"), &text),
                1 => json!({ "id": format!("rs_{at}"), "type": "reasoning", "summary": [{ "type": "summary_text", "text": text }], "encrypted_content": "abc" }),
                2 => function(&format!("call_{at}"), "exec", &json!({ "cmd": format!("zz{at}z{text}") }).to_string()),
                _ => custom(&format!("call_{at}"), "apply_patch", &format!("zz{at}z{text}")),
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn a101_answers_that_are_allowed_come_out_as_they_went_in(items in items(), size in 1usize..20) {
        let events = events(&items, size);
        let out = pass(&mut Reader::new(BTreeSet::new()), &events, &mut denials(), |_| Ruling::Allowed).unwrap();
        prop_assert_eq!(out, events);
    }

    #[test]
    fn a101_no_byte_of_a_denied_call_comes_out_and_every_id_keeps_its_place(items in items(), size in 1usize..20, rulings in prop::collection::vec(any::<bool>(), 6)) {
        let is_denied = |id: &str| rulings[id.trim_start_matches("call_").parse::<usize>().unwrap()];
        let mut denials = denials();
        let rules = |call: &Call| if is_denied(&call.id) { denies("denied") } else { Ruling::Allowed };
        let out = pass(&mut Reader::new(BTreeSet::new()), &events(&items, size), &mut denials, rules).unwrap();
        let text: String = out.iter().map(|event| ["delta", "arguments", "input"].iter().filter_map(|m| event[*m].as_str()).collect::<String>() + &event.to_string()).collect();
        for (at, item) in items.iter().enumerate().filter(|(_, item)| item["call_id"].is_string()) {
            let comes_out = text.contains(&format!("zz{at}z"));
            prop_assert_eq!(comes_out, !is_denied(item["call_id"].as_str().unwrap()), "{}", text);
        }
        let done: Vec<_> = out.iter().filter(|event| event["type"] == "response.output_item.done").collect();
        let ids = |item: &Value| (item["id"].clone(), item["call_id"].clone(), item["type"].clone());
        prop_assert_eq!(done.iter().map(|event| ids(&event["item"])).collect::<Vec<_>>(), items.iter().map(ids).collect::<Vec<_>>());
        prop_assert!(out.iter().enumerate().all(|(at, event)| event["sequence_number"] == at));
        let output = out.last().unwrap()["response"]["output"].clone();
        let (built, _) = sent(&json!({ "model": "m", "store": false, "input": output }), &[], &denials).unwrap();
        prop_assert_eq!(&built["input"], &json!(items));
    }
}
