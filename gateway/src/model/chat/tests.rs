use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Reader, UsageChunk, asks_for_usage, rebuild};
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

fn denies(told: &str) -> Ruling {
    Ruling::Denied { told: told.into() }
}

fn sent(body: &Value, granted: &[Egress], denials: &Denials) -> Result<(Value, Vec<String>), Unfit> {
    let rebuilt = rebuild(body.to_string().as_bytes(), &granted.iter().copied().collect(), denials)?;
    Ok((serde_json::from_slice(&rebuilt.body).unwrap(), rebuilt.left_out.into_iter().collect()))
}

/// A conversation as OpenCode, Qwen Code and pi send it, with all that they use between them.
fn conversation() -> Value {
    json!({
        "model": "m", "stream": true, "max_tokens": 8192, "max_completion_tokens": 4096, "temperature": 0, "top_p": 1,
        "stream_options": { "include_usage": true }, "store": false, "reasoning_effort": "low", "parallel_tool_calls": true,
        "prompt_cache_key": "ses_01", "stop": ["x"], "tool_choice": { "type": "function", "function": { "name": "bash" } },
        "tools": [
            { "type": "function", "function": { "name": "bash", "description": "runs", "strict": false,
                "parameters": { "type": "object", "properties": { "image_url": { "url": "http://schema" } }, "$schema": "http://json-schema.org/x" } } },
            { "type": "custom", "custom": { "name": "apply_patch", "format": { "type": "grammar", "grammar": { "syntax": "lark" } } } },
        ],
        "messages": [
            { "role": "system", "content": "You help." },
            { "role": "developer", "content": [{ "type": "text", "text": "a", "cache_control": { "type": "ephemeral" } }] },
            { "role": "user", "content": [{ "type": "text", "text": "b" }, { "type": "image_url", "image_url": { "url": "data:image/png;base64,AA", "detail": "low" } },
                { "type": "input_audio", "input_audio": { "data": "AA", "format": "wav" } }, { "type": "file", "file": { "filename": "f.pdf", "file_data": "data:application/pdf;base64,AA" } }] },
            { "role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [
                { "id": "call_1", "type": "function", "function": { "name": "bash", "arguments": "{\"command\":\"ls\"}" } },
                { "id": "call_2", "type": "function", "function": { "name": "bash", "arguments": "{\"command\":\"env\"}" } },
                { "id": "call_3", "type": "custom", "custom": { "name": "apply_patch", "input": "*** Begin" } }] },
            { "role": "tool", "tool_call_id": "call_1", "content": "file" },
            { "role": "tool", "tool_call_id": "call_2", "content": "denied: outside_grant" },
            { "role": "tool", "tool_call_id": "call_3", "content": "denied: no" },
            { "role": "assistant", "content": "done", "refusal": null },
        ],
    })
}

#[test]
fn a101_a_conversation_goes_as_it_is_with_denied_calls_as_the_model_made_them() {
    let expected = conversation();
    let mut denials = denials();
    let mut body = expected.clone();
    for (at, kind, member, told) in
        [(1, "function", "arguments", "denied: outside_grant"), (2, "custom", "input", "denied: no")]
    {
        let item = &mut body["messages"][3]["tool_calls"][at];
        let (id, of) = (item["id"].as_str().unwrap().to_owned(), item[kind].clone());
        let denied = call(&id, of["name"].as_str().unwrap(), of[member].as_str().unwrap(), kind == "function");
        item[kind] = json!({ "name": DENIED, member: denials.deny(&denied, told) });
        body["messages"][at + 4]["content"] = "Error: no such tool".into();
    }
    body["user"] = "u".into();
    body["metadata"] = json!({ "a": "secret" });
    body["messages"][0]["hint"] = 1.into();
    let left_out = ["messages[].hint", "metadata", "user"].map(str::to_owned).to_vec();
    assert_eq!(sent(&body, &[], &denials), Ok((expected, left_out)));
    let rebuilt = rebuild(body.to_string().as_bytes(), &BTreeSet::new(), &denials).unwrap();
    assert_eq!((rebuilt.model.as_str(), rebuilt.streams, rebuilt.output_tokens_max), ("m", true, Some(8192)));
    assert_eq!(rebuilt.tools, BTreeSet::from(["apply_patch".to_owned(), "bash".to_owned()]));
    assert!(rebuilt.egress.is_empty());
    let again = json!([{ "role": "assistant", "tool_calls": [{ "id": "call_2", "function": { "name": "bash", "arguments": "{}" } }] }, { "role": "tool", "tool_call_id": "call_2", "content": "ran" }]);
    let mut twice = body.clone();
    twice["messages"].as_array_mut().unwrap().extend(again.as_array().unwrap().clone());
    let (built, _) = sent(&twice, &[], &denials).unwrap();
    assert_eq!(
        (&built["messages"][5]["content"], &built["messages"][9]["content"]),
        (&json!("denied: outside_grant"), &json!("ran"))
    );
    body["messages"][3]["tool_calls"][1]["function"]["arguments"] = "{\"denied\":\"9\"}".into();
    assert_eq!(sent(&body, &[], &denials), Err(Unfit::Shape("messages[].tool_calls[].function.arguments".into())));
}

#[test]
fn a101_a_denied_call_is_restored_that_came_back_as_one_of_a_tool_for_broken_calls() {
    let mut denials = denials();
    denials.deny(&call("call_1", "bash", "{\"command\":\"env\"}", true), "denied: no");
    let said = format!("{{\"tool\":\"{DENIED}\",\"error\":\"unavailable\"}}");
    let with = |name: &str, arguments: &str, content: &str| {
        json!({ "model": "m", "messages": [
            { "role": "assistant", "tool_calls": [{ "id": "call_1", "type": "function", "function": { "name": name, "arguments": arguments } }] },
            { "role": "tool", "tool_call_id": "call_1", "content": content },
        ] })
    };
    let (built, _) = sent(&with("invalid", &said, "no such tool"), &[], &denials).unwrap();
    assert_eq!(built["messages"], with("bash", "{\"command\":\"env\"}", "denied: no")["messages"]);
}

#[test]
fn what_a_stream_used_is_always_asked_for() {
    let body = |more: Value| {
        let mut body = json!({ "model": "m", "messages": [] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (asked, sends, chunk) in [
        (json!({ "stream": true }), json!({ "include_usage": true }), UsageChunk::NotAsked),
        (json!({ "stream": true, "stream_options": null }), json!({ "include_usage": true }), UsageChunk::NotAsked),
        (
            json!({ "stream": true, "stream_options": { "include_usage": false } }),
            json!({ "include_usage": true }),
            UsageChunk::NotAsked,
        ),
        (
            json!({ "stream": true, "stream_options": { "include_usage": true } }),
            json!({ "include_usage": true }),
            UsageChunk::Asked,
        ),
        (json!({}), Value::Null, UsageChunk::NotAsked),
        (json!({ "stream": false }), Value::Null, UsageChunk::NotAsked),
    ] {
        let body = body(asked);
        assert_eq!(sent(&body, &[], &denials()).unwrap().0["stream_options"], sends, "{body}");
        assert_eq!(asks_for_usage(body.to_string().as_bytes()), chunk, "{body}");
    }
}

#[test]
fn a101_what_the_vendor_would_do_on_its_side_is_refused_unless_granted() {
    let with = |member: &str, value: Value| {
        let mut body = json!({ "model": "m", "messages": [] });
        body[member] = value;
        body
    };
    let part = |part: Value| with("messages", json!([{ "role": "user", "content": [part] }]));
    for (body, what, at) in [
        (with("web_search_options", json!({})), Egress::VendorTools, "web_search_options"),
        (with("tools", json!([{ "type": "web_search" }])), Egress::VendorTools, "tools[]"),
        (with("tools", json!([{ "type": "browser_search" }])), Egress::VendorTools, "tools[]"),
        (with("tools", json!([{ "type": "mcp", "server_url": "x" }])), Egress::Connectors, "tools[]"),
        (with("store", json!(true)), Egress::StoredState, "store"),
        (
            part(json!({ "type": "file", "file": { "file_id": "f" } })),
            Egress::StoredState,
            "messages[].content[].file.file_id",
        ),
        (
            part(json!({ "type": "image_url", "image_url": { "url": "https://evil.example/?q=secret" } })),
            Egress::UrlSources,
            "messages[].content[].image_url",
        ),
        (
            part(json!({ "type": "image_url", "image_url": "//evil.example" })),
            Egress::UrlSources,
            "messages[].content[].image_url",
        ),
    ] {
        let but_this: Vec<_> = Egress::ALL.iter().copied().filter(|egress| *egress != what).collect();
        assert_eq!(sent(&body, &but_this, &denials()), Err(Unfit::Egress { what, at: at.into() }), "{body}");
        let rebuilt = rebuild(body.to_string().as_bytes(), &BTreeSet::from([what]), &denials()).unwrap();
        assert_eq!(rebuilt.egress, BTreeSet::from([what]), "{body}");
        assert_eq!(sent(&body, &[what], &denials()), Ok((body, vec![])));
    }
}

#[test]
fn a101_what_is_not_known_is_refused_by_name() {
    let unknown = |kind: &str, at: &str| Unfit::Unknown { kind: kind.into(), at: at.into() };
    let shape = |at: &str| Unfit::Shape(at.into());
    let function = |name: &str| json!([{ "type": "function", "function": { "name": name } }]);
    for (member, value, unfit) in [
        ("functions", json!([]), unknown("functions", "")),
        ("function_call", json!("auto"), unknown("function_call", "")),
        ("messages", json!([{ "role": "assistant", "function_call": {} }]), unknown("function_call", "messages[]")),
        ("messages", json!([{ "role": "function", "content": "x" }]), unknown("function", "messages[]")),
        (
            "messages",
            json!([{ "role": "user", "content": [{ "type": "video_url" }] }]),
            unknown("video_url", "messages[].content[]"),
        ),
        ("tools", json!([{ "type": "new" }]), unknown("new", "tools[]")),
        ("tools", function(DENIED), shape("tools[].function.name")),
        ("tools", function(""), shape("tools[].function.name")),
        ("n", json!(2), shape("n")),
        ("n", json!(0), shape("n")),
        ("max_tokens", json!(-1), shape("max_tokens")),
        ("model", json!(""), shape("model")),
    ] {
        let mut body = json!({ "model": "m", "messages": [] });
        body[member] = value;
        assert_eq!(sent(&body, Egress::ALL, &denials()), Err(unfit), "{body}");
    }
}

fn chunk(delta: Value, finish: Value) -> String {
    json!({ "id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] }).to_string()
}

fn usage() -> Value {
    json!({ "prompt_tokens": 100, "prompt_tokens_details": { "cached_tokens": 60 }, "completion_tokens": 9, "completion_tokens_details": { "reasoning_tokens": 4 } })
}

fn usage_chunk() -> String {
    json!({ "id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": usage() }).to_string()
}

fn function(index: usize, id: &str, name: &str, arguments: &str) -> Value {
    json!({ "tool_calls": [{ "index": index, "id": id, "type": "function", "function": { "name": name, "arguments": arguments } }] })
}

fn more(index: usize, arguments: &str) -> Value {
    json!({ "tool_calls": [{ "index": index, "function": { "arguments": arguments } }] })
}

/// What an agent makes of a stream: what was said, reasoned and refused, its calls by their index (id, tool, arguments), and its end.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    text: String,
    reasoning: String,
    calls: Vec<(String, String, String)>,
    ends: Vec<String>,
    usages: usize,
    is_done: bool,
}

fn heard(bytes: &[u8]) -> Heard {
    let (mut reader, mut rest, mut heard) = (sse::Reader::new(), bytes, Heard::default());
    while let Some(event) = reader.next(&mut rest).unwrap() {
        assert!(!heard.is_done && event.name.is_empty());
        if event.data == "[DONE]" {
            heard.is_done = true;
            continue;
        }
        let chunk: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!((&chunk["id"], &chunk["model"]), (&json!("c1"), &json!("m")), "{chunk}");
        heard.usages += usize::from(chunk["usage"].is_object());
        let choice = &chunk["choices"][0];
        heard.text += choice["delta"]["content"].as_str().unwrap_or_default();
        heard.reasoning += choice["delta"]["reasoning_content"].as_str().unwrap_or_default();
        for piece in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let at = usize::try_from(piece["index"].as_u64().unwrap()).unwrap();
            let of = if piece["custom"].is_object() { &piece["custom"] } else { &piece["function"] };
            if at == heard.calls.len() {
                let id = piece["id"].as_str().unwrap().to_owned();
                heard.calls.push((id, of["name"].as_str().unwrap().to_owned(), String::new()));
            }
            heard.calls[at].2 += of["arguments"].as_str().or(of["input"].as_str()).unwrap_or_default();
        }
        heard.ends.extend(choice["finish_reason"].as_str().map(str::to_owned));
    }
    heard
}

fn pass(
    reader: &mut Reader,
    data: &[String],
    denials: &mut Denials,
    rules: impl Fn(&Call) -> Ruling,
) -> Result<Vec<u8>, Garbled> {
    let mut out = Vec::new();
    for data in data {
        let calls = reader.event("", data)?;
        out.extend(reader.drain());
        if !calls.is_empty() {
            let rulings: Vec<_> = calls.iter().map(&rules).collect();
            reader.rule(&rulings, denials);
            out.extend(reader.drain());
        }
    }
    reader.end()?;
    Ok(out)
}

/// The ways in which servers say two calls: all with the same meaning.
fn ways() -> Vec<(&'static str, Vec<Value>)> {
    let (ls, env) = ("{\"command\":\"ls\"}", "{\"command\":\"env\"}");
    let (env_begun, env_ended) = env.split_at(4);
    let without_index = |mut piece: Value| {
        piece["tool_calls"][0].as_object_mut().unwrap().remove("index");
        piece
    };
    let mut both = function(0, "call_1", "bash", ls);
    both["tool_calls"].as_array_mut().unwrap().push(function(1, "call_2", "bash", env)["tool_calls"][0].clone());
    vec![
        (
            "pieces",
            vec![
                function(0, "call_1", "bash", ""),
                more(0, ls),
                function(1, "call_2", "bash", ""),
                more(1, env_begun),
                more(1, env_ended),
            ],
        ),
        ("at once", vec![both]),
        (
            "side by side",
            vec![
                function(0, "call_1", "bash", ""),
                function(1, "call_2", "bash", env_begun),
                more(0, ls),
                more(1, env_ended),
            ],
        ),
        (
            "one index, two ids",
            vec![function(0, "call_1", "bash", ls), function(0, "call_2", "bash", env_begun), more(0, env_ended)],
        ),
        (
            "no index",
            vec![
                without_index(function(0, "call_1", "bash", ls)),
                without_index(function(0, "call_2", "bash", env_begun)),
                without_index(more(0, env_ended)),
            ],
        ),
        (
            "id and name again",
            vec![
                function(0, "call_1", "bash", ls),
                function(1, "call_2", "bash", env_begun),
                function(1, "call_2", "bash", env_ended),
            ],
        ),
    ]
}

#[test]
fn a101_calls_are_whole_at_the_end_however_they_came() {
    for (way, pieces) in ways() {
        for is_separate in [false, true] {
            let mut data = vec![
                chunk(json!({ "role": "assistant", "content": "" }), Value::Null),
                chunk(json!({ "content": "I look" }), Value::Null),
            ];
            let end = pieces.len() - 1;
            data.extend(pieces.iter().enumerate().map(|(at, piece)| {
                chunk(piece.clone(), if at == end && !is_separate { "tool_calls".into() } else { Value::Null })
            }));
            if is_separate {
                data.push(chunk(json!({}), "tool_calls".into()));
            }
            data.extend([usage_chunk(), "[DONE]".to_owned()]);
            let mut reader = Reader::new(UsageChunk::NotAsked);
            let rules = |call: &Call| if call.arguments.contains("ls") { Ruling::Allowed } else { denies("no") };
            let out = pass(&mut reader, &data, &mut denials(), rules).unwrap();
            let calls = [("call_1", "bash", "{\"command\":\"ls\"}"), ("call_2", DENIED, "{\"denied\":\"1\"}")];
            let calls =
                calls.map(|(id, name, arguments)| (id.to_owned(), name.to_owned(), arguments.to_owned())).to_vec();
            let expected = Heard {
                text: "I look".into(),
                calls,
                ends: vec!["tool_calls".into()],
                is_done: true,
                ..Heard::default()
            };
            assert_eq!(heard(&out), expected, "{way}");
            assert!(!String::from_utf8(out).unwrap().contains("env"), "{way}");
            let used = Usage { input: 40, cached: 60, cache_write: 0, output: 9, reasoning: 4 };
            assert_eq!((reader.metered().usage, reader.metered().is_final), (used, true), "{way}");
            assert_eq!(reader.metered().written_bytes, 6 + 16 + 17, "{way}");
        }
    }
}

#[test]
fn a01_nothing_behind_the_beginning_of_a_call_leaves_before_it_was_ruled_on() {
    let mut reader = Reader::new(UsageChunk::Asked);
    reader.event("", &chunk(json!({ "content": "a" }), Value::Null)).unwrap();
    assert!(!reader.drain().is_empty());
    for data in [
        chunk(
            json!({ "content": "b", "tool_calls": [{ "index": 0, "id": "c", "function": { "name": "bash" } }] }),
            Value::Null,
        ),
        chunk(json!({ "content": "c" }), Value::Null),
    ] {
        assert_eq!(reader.event("", &data), Ok(vec![]));
    }
    assert_eq!(reader.event("", &chunk(more(0, "{}"), "tool_calls".into())), Ok(vec![call("c", "bash", "{}", true)]));
    reader.rule(&[], &mut denials());
    reader.event("", &usage_chunk()).unwrap();
    assert_eq!(
        (reader.drain(), reader.event("", "[DONE]"), reader.end()),
        (vec![], Err(Garbled::Cut), Err(Garbled::Cut))
    );
}

#[test]
fn an_agent_gets_what_was_used_if_it_asked() {
    let with = |mut chunk: Value| {
        chunk["usage"] = usage();
        chunk.to_string()
    };
    let end: Value = serde_json::from_str(&chunk(json!({}), "stop".into())).unwrap();
    for (usage_is, is_asked, usages) in [(UsageChunk::Asked, true, 2), (UsageChunk::NotAsked, false, 0)] {
        let data = [
            chunk(json!({ "content": "a" }), Value::Null),
            end.to_string(),
            with(end.clone()),
            usage_chunk(),
            "[DONE]".to_owned(),
        ];
        let out = pass(&mut Reader::new(usage_is), &data, &mut denials(), |_| Ruling::Allowed).unwrap();
        assert_eq!(heard(&out).usages, usages);
        assert_eq!(String::from_utf8(out).unwrap().contains("usage"), is_asked);
    }
}

#[test]
fn an_answer_that_was_cut_or_failed_says_so() {
    let data = [
        chunk(json!({ "content": "a" }), Value::Null),
        chunk(function(0, "c", "bash", "{}"), Value::Null),
        chunk(json!({}), "tool_calls".into()),
        "[DONE]".to_owned(),
    ];
    for cut in 0..2 {
        let mut reader = Reader::new(UsageChunk::Asked);
        assert_eq!(pass(&mut reader, &data[..cut], &mut denials(), |_| Ruling::Allowed), Err(Garbled::Cut), "{cut}");
        assert!(!reader.metered().is_final);
    }
    assert!(
        pass(&mut Reader::new(UsageChunk::Asked), &data[..3], &mut denials(), |_| Ruling::Allowed).is_ok(),
        "some forget to say it"
    );
    let failed = [data[1].clone(), json!({ "error": { "message": "down" } }).to_string()];
    let out = pass(&mut Reader::new(UsageChunk::Asked), &failed, &mut denials(), |_| Ruling::Allowed).unwrap();
    assert_eq!(out, b"data: {\"error\":{\"message\":\"down\"}}\n\n");
}

#[test]
fn a101_what_is_not_known_in_an_answer_is_not_passed_on() {
    let one = |delta: Value| Reader::new(UsageChunk::Asked).event("", &chunk(delta, Value::Null));
    assert_eq!(one(json!({ "function_call": { "name": "bash" } })), Err(Garbled::Unknown("function_call".into())));
    assert_eq!(one(json!({ "tool_calls": [{ "type": "new" }] })), Err(Garbled::Unknown("new".into())));
    for delta in [json!({ "tool_calls": {} }), json!({ "tool_calls": [1] })] {
        assert!(matches!(one(delta), Err(Garbled::Misplaced(_))));
    }
    let mut reader = Reader::new(UsageChunk::Asked);
    reader.event("", &chunk(json!({ "content": "a", "run_this": "b" }), Value::Null)).unwrap();
    assert!(!String::from_utf8(reader.drain()).unwrap().contains("run_this"));
    for choices in
        [json!([{ "index": 1, "delta": {} }]), json!([{ "delta": {} }, { "delta": {} }]), json!({}), json!([1])]
    {
        let got = Reader::new(UsageChunk::Asked).event("", &json!({ "choices": choices }).to_string());
        assert!(matches!(got, Err(Garbled::Misplaced(_))), "{choices}");
    }
    for pieces in [
        vec![function(0, "a", "bash", ""), function(0, "a", "other", "")],
        vec![function(0, "a", "bash", ""), function(1, "a", "bash", "")],
        vec![function(0, "a", "", "{}")],
    ] {
        let mut data: Vec<_> = pieces.into_iter().map(|piece| chunk(piece, Value::Null)).collect();
        data.push(chunk(json!({}), "tool_calls".into()));
        let got = pass(&mut Reader::new(UsageChunk::Asked), &data, &mut denials(), |_| Ruling::Allowed);
        assert!(matches!(got, Err(Garbled::Misplaced(_))), "{data:?}");
    }
    let late = [chunk(json!({}), "stop".into()), chunk(function(0, "a", "bash", "{}"), Value::Null)];
    assert!(pass(&mut Reader::new(UsageChunk::Asked), &late, &mut denials(), |_| Ruling::Allowed).is_err());
}

#[test]
fn a101_a_whole_body_is_judged_like_a_stream() {
    let calls = json!([{ "id": "call_1", "type": "function", "function": { "name": "bash", "arguments": "{\"command\":\"env\"}" } },
        { "id": "call_2", "type": "custom", "custom": { "name": "apply_patch", "input": "p" } }]);
    let body = json!({ "id": "c1", "object": "chat.completion", "model": "m", "usage": usage(), "secret": 1,
        "choices": [{ "index": 0, "finish_reason": "tool_calls", "message": { "role": "assistant", "content": "hi", "tool_calls": calls, "x": 1 } }] });
    let mut reader = Reader::new(UsageChunk::NotAsked);
    let asked = reader.body(body.to_string().as_bytes()).unwrap();
    assert_eq!(
        asked,
        [call("call_1", "bash", "{\"command\":\"env\"}", true), call("call_2", "apply_patch", "p", false)]
    );
    assert_eq!((reader.drain(), reader.end()), (vec![], Err(Garbled::Cut)));
    reader.rule(&[denies("no"), Ruling::Allowed], &mut denials());
    let mut expected = body.clone();
    expected.as_object_mut().unwrap().remove("secret");
    expected["choices"][0]["message"].as_object_mut().unwrap().remove("x");
    expected["choices"][0]["message"]["tool_calls"][0]["function"] =
        json!({ "name": DENIED, "arguments": "{\"denied\":\"1\"}" });
    assert_eq!(serde_json::from_slice::<Value>(&reader.drain()).unwrap(), expected);
    assert_eq!((reader.end(), reader.metered().is_final, reader.metered().written_bytes), (Ok(()), true, 2 + 17 + 1));

    let plain = json!({ "id": "c1", "choices": [{ "index": 0, "message": { "role": "assistant", "content": "hi" }, "finish_reason": "stop" }] });
    let mut reader = Reader::new(UsageChunk::NotAsked);
    assert_eq!(reader.body(plain.to_string().as_bytes()), Ok(vec![]));
    assert_eq!(serde_json::from_slice::<Value>(&reader.drain()).unwrap(), plain);
    for bad in
        ["[]", "{}", "{\"choices\":[]}", "{\"choices\":[{}]}", "{\"choices\":[{\"message\":{\"function_call\":{}}}]}"]
    {
        assert!(Reader::new(UsageChunk::Asked).body(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn calls_that_have_no_id_get_one_each() {
    let data = [chunk(
        json!({ "tool_calls": [{ "index": 0, "function": { "name": "a", "arguments": "{}" } }, { "index": 1, "function": { "name": "b", "arguments": {} } }] }),
        "stop".into(),
    )];
    let out = pass(&mut Reader::new(UsageChunk::Asked), &data, &mut denials(), |_| Ruling::Allowed).unwrap();
    let calls = [("call_c1_0", "a", "{}"), ("call_c1_1", "b", "{}")];
    assert_eq!(
        heard(&out).calls,
        calls.map(|(id, name, arguments)| (id.to_owned(), name.to_owned(), arguments.to_owned()))
    );
}

#[test]
fn bounds_hold() {
    let many: Vec<_> =
        (0..129).map(|at| chunk(function(at, &format!("call_{at}"), "bash", "{}"), Value::Null)).collect();
    let got = pass(&mut Reader::new(UsageChunk::Asked), &many, &mut denials(), |_| Ruling::Allowed);
    assert_eq!(got, Err(Garbled::TooMuch("many calls")));
    let mut reader = Reader::new(UsageChunk::Asked);
    reader.event("", &chunk(function(0, "a", "bash", ""), Value::Null)).unwrap();
    let piece = chunk(more(0, &"x".repeat(5 << 20)), Value::Null);
    let results: Vec<_> = (0..7).map(|_| reader.event("", &piece).is_ok()).collect();
    assert!(results[..3].iter().all(|is_ok| *is_ok) && !results[6], "{results:?}");
}

/// A script: what is said and which calls are made, in which order and in pieces of which size; which are denied.
fn script() -> impl Strategy<Value = (Vec<(usize, String)>, Vec<bool>, usize, bool)> {
    let said = prop::collection::vec((0usize..4, "[a-y\"\\\\ é\n]{0,12}"), 0..8);
    (said, prop::collection::vec(any::<bool>(), 8), 1usize..20, any::<bool>())
}

fn pieces(text: &str, size: usize) -> Vec<String> {
    text.chars().collect::<Vec<_>>().chunks(size).map(|piece| piece.iter().collect()).collect()
}

proptest! {
    #[test]
    fn a101_what_is_allowed_comes_out_and_no_byte_of_what_is_denied((said, denied, size, is_mixed) in script()) {
        let (mut data, mut late, mut expected, mut marks) = (Vec::new(), Vec::new(), Heard::default(), Vec::new());
        for (at, (kind, text)) in said.iter().enumerate() {
            let index = expected.calls.len();
            match kind {
                0 => {
                    expected.text += text;
                    data.extend(pieces(text, size).iter().map(|piece| chunk(json!({ "content": piece }), Value::Null)));
                }
                1 => {
                    expected.reasoning += text;
                    data.extend(pieces(text, size).iter().map(|piece| chunk(json!({ "reasoning_content": piece }), Value::Null)));
                }
                _ => {
                    let kind = if *kind == 2 { "function" } else { "custom" };
                    let (member, mark) = (if kind == "function" { "arguments" } else { "input" }, format!("zz{at}z"));
                    let arguments = json!({ "cmd": format!("{mark}{text}") }).to_string();
                    let id = format!("call_{at}");
                    data.push(chunk(json!({ "tool_calls": [{ "index": index, "id": id, "type": kind, kind: { "name": "tool", member: "" } }] }), Value::Null));
                    let pieces = pieces(&arguments, size);
                    let pieces = pieces.iter().map(|piece| chunk(json!({ "tool_calls": [{ "index": index, kind: { member: piece } }] }), Value::Null));
                    // Side by side: the arguments of some come when all have begun.
                    if is_mixed && at % 2 == 0 { late.extend(pieces) } else { data.extend(pieces) }
                    let denied_before = marks.iter().filter(|(_, is_denied)| *is_denied).count();
                    let (name, arguments) = if denied[at] { (DENIED.to_owned(), format!("{{\"denied\":\"{}\"}}", denied_before + 1)) } else { ("tool".to_owned(), arguments) };
                    expected.calls.push((id, name, arguments));
                    marks.push((mark, denied[at]));
                }
            }
        }
        let end = if expected.calls.is_empty() { "stop" } else { "tool_calls" };
        data.extend(late);
        data.extend([chunk(json!({}), end.into()), usage_chunk(), "[DONE]".to_owned()]);
        expected.ends.push(end.to_owned());
        expected.is_done = true;

        let rules = |call: &Call| if denied[call.id.trim_start_matches("call_").parse::<usize>().unwrap()] { denies("no") } else { Ruling::Allowed };
        let out = pass(&mut Reader::new(UsageChunk::NotAsked), &data, &mut denials(), rules).unwrap();
        prop_assert_eq!(heard(&out), expected);
        let out = String::from_utf8(out).unwrap();
        for (mark, is_denied) in marks {
            prop_assert_eq!(out.contains(&mark), !is_denied);
        }
    }
}

#[test]
fn e3_numbers_are_the_last_ones_only_at_the_end_though_each_chunk_counts() {
    let counted = |delta: Value, finish: Value, output: u64| {
        let mut chunk: Value = serde_json::from_str(&chunk(delta, finish)).unwrap();
        chunk["usage"] = json!({ "prompt_tokens": 10, "completion_tokens": output });
        chunk.to_string()
    };
    let said = counted(json!({ "content": "a" }), Value::Null, 1);
    let ends = counted(json!({}), "stop".into(), 2);
    let last = json!({ "choices": [], "usage": { "prompt_tokens": 10, "completion_tokens": 9 } }).to_string();
    let error = json!({ "error": { "message": "no more" } }).to_string();
    let mut reader = Reader::new(UsageChunk::Asked);
    for data in [&said, &ends] {
        reader.event("", data).unwrap();
        assert!(!reader.metered().is_final, "a cut here is not an end");
    }
    reader.event("", &last).unwrap();
    assert!(!reader.metered().is_final);
    assert_eq!((reader.end(), reader.metered().is_final, reader.metered().usage.output), (Ok(()), true, 9));
    let mut reader = Reader::new(UsageChunk::Asked);
    for data in [&said, &error] {
        reader.event("", data).unwrap();
    }
    assert_eq!((reader.end(), reader.metered().is_final), (Ok(()), false), "what failed may have cost more");
}
