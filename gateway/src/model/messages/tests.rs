//! Whole answers of the Messages API, as they would come from the vendor.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Reader;
use crate::model::answer::{Answer, Call, Garbled, Ruling};
use crate::model::denials::Denials;
use crate::model::{Egress, Usage, sse};

const DENIED: &str = "selvedge_denied_x7";

/// What a model does in one turn.
#[derive(Debug, Clone)]
enum Act {
    Says(String),
    Thinks(String),
    Calls { name: String, command: String, is_allowed: bool },
}

fn event(kind: &str, with: Value) -> (String, String) {
    let mut data = json!({ "type": kind });
    data.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    (kind.to_owned(), data.to_string())
}

/// The turn as a vendor streams it, with texts and arguments in pieces of `piece` characters.
fn streamed(acts: &[Act], piece: usize) -> Vec<(String, String)> {
    let pieces = |text: &str| -> Vec<String> {
        text.chars().collect::<Vec<_>>().chunks(piece).map(|piece| piece.iter().collect()).collect()
    };
    let message = json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
        "usage": { "input_tokens": 7, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 3, "output_tokens": 1 } });
    let mut events = vec![event("message_start", json!({ "message": message })), event("ping", json!({}))];
    for (index, act) in acts.iter().enumerate() {
        let (block, deltas): (Value, Vec<Value>) = match act {
            Act::Says(text) => (
                json!({ "type": "text", "text": "" }),
                pieces(text).iter().map(|piece| json!({ "type": "text_delta", "text": piece })).collect(),
            ),
            Act::Thinks(text) => (
                json!({ "type": "thinking", "thinking": "", "signature": "" }),
                pieces(text)
                    .iter()
                    .map(|piece| json!({ "type": "thinking_delta", "thinking": piece }))
                    .chain([json!({ "type": "signature_delta", "signature": "c2ln" })])
                    .collect(),
            ),
            Act::Calls { name, command, .. } => (
                json!({ "type": "tool_use", "id": id(index), "name": name, "input": {} }),
                pieces(&arguments(command))
                    .iter()
                    .map(|piece| json!({ "type": "input_json_delta", "partial_json": piece }))
                    .collect(),
            ),
        };
        events.push(event("content_block_start", json!({ "index": index, "content_block": block })));
        for delta in deltas {
            events.push(event("content_block_delta", json!({ "index": index, "delta": delta })));
        }
        events.push(event("content_block_stop", json!({ "index": index })));
    }
    events.push(event("message_delta", json!({ "delta": { "stop_reason": "tool_use" }, "usage": { "output_tokens": 20, "output_tokens_details": { "thinking_tokens": 4 } } })));
    events.push(event("message_stop", json!({})));
    events
}

fn id(index: usize) -> String {
    format!("toolu_{index}")
}

fn arguments(command: &str) -> String {
    json!({ "command": command }).to_string()
}

fn bytes(events: &[(String, String)]) -> Vec<u8> {
    let mut stream = Vec::new();
    for (name, data) in events {
        sse::write(&mut stream, name, data);
    }
    stream
}

/// Reads a stream in these pieces, ruling as `rule` does. Gives what the agent was given.
fn through(
    reader: &mut Reader,
    denials: &mut Denials,
    pieces: &[&[u8]],
    rule: impl Fn(&Call) -> Ruling,
) -> Result<Vec<u8>, Garbled> {
    let (mut events, mut given) = (sse::Reader::new(), Vec::new());
    for piece in pieces {
        let mut rest = *piece;
        while let Some(event) = events.next(&mut rest)? {
            let calls = reader.event(&event.name, &event.data)?;
            if !calls.is_empty() {
                let rulings: Vec<_> = calls.iter().map(&rule).collect();
                reader.rule(&rulings, denials);
            }
            given.extend(reader.drain());
        }
    }
    reader.end()?;
    Ok(given)
}

/// An answer up to where it cannot be read, everything denied.
fn garbled(events: &[(String, String)]) -> (Option<Garbled>, String) {
    let (mut reader, mut given) = (Reader::new(BTreeSet::new()), Vec::new());
    for (name, data) in events {
        match reader.event(name, data) {
            Ok(calls) => {
                reader.rule(&vec![Ruling::Denied { told: "no".into() }; calls.len()], &mut Denials::new(DENIED.into()))
            }
            Err(garbled) => {
                assert!(reader.event("ping", "{\"type\":\"ping\"}").is_err(), "nothing behind it");
                assert_eq!(reader.drain(), b"");
                return (Some(garbled), String::from_utf8(given).unwrap());
            }
        }
        given.extend(reader.drain());
    }
    (reader.end().err(), String::from_utf8(given).unwrap())
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let text = || "[a-zé\"\\\\\n{}]{0,12}";
    let act = prop_oneof![
        text().prop_map(Act::Says),
        text().prop_map(Act::Thinks),
        // What is looked for behind the door is nowhere else in the stream.
        ("[A-Z][a-z]{1,5}", "[a-z\"\\\\]{0,9}", any::<bool>()).prop_map(|(name, command, is_allowed)| Act::Calls {
            name,
            command: format!("SECRET{command}"),
            is_allowed
        }),
    ];
    prop::collection::vec(act, 0..8)
}

fn ruled(act: &Act) -> Option<Ruling> {
    match act {
        Act::Calls { is_allowed: true, .. } => Some(Ruling::Allowed),
        Act::Calls { .. } => Some(Ruling::Denied { told: "not this".into() }),
        Act::Says(_) | Act::Thinks(_) => None,
    }
}

proptest! {
    #[test]
    fn d0014_whatever_is_said_and_called_only_allowed_calls_come_out(acts in acts(), piece in 1usize..9, size in 1usize..40) {
        let events = streamed(&acts, piece);
        let stream = bytes(&events);
        let mut denials = Denials::new(DENIED.into());
        let mut reader = Reader::new(BTreeSet::new());
        let pieces: Vec<_> = stream.chunks(size).collect();
        let rule = |call: &Call| acts.iter().enumerate().find(|(index, _)| id(*index) == call.id).and_then(|(_, act)| ruled(act)).unwrap();
        let given = through(&mut reader, &mut denials, &pieces, rule).unwrap();
        let text = String::from_utf8(given.clone()).unwrap();

        // The same turn, with denied calls as calls of nothing. Where there are none it is the very stream that came.
        let mut keys = 0;
        let expected: Vec<_> = acts.iter().map(|act| match act {
            Act::Calls { is_allowed: false, .. } => {
                keys += 1;
                (DENIED.to_owned(), format!("{{\"denied\":\"{keys}\"}}"))
            }
            Act::Calls { name, command, .. } => (name.clone(), arguments(command)),
            Act::Says(text) | Act::Thinks(text) => (String::new(), text.clone()),
        }).collect();
        prop_assert_eq!(seen(&given), expected);
        if keys == 0 {
            prop_assert_eq!(&text, &String::from_utf8(bytes(&events)).unwrap());
        }
        let allowed = acts.iter().filter(|act| ruled(act) == Some(Ruling::Allowed)).count();
        prop_assert!(piece < 8 || text.matches("SECRET").count() <= allowed);
        prop_assert_eq!(reader.metered().usage, Usage { input: 7, cached: 5, cache_write: 3, output: 20, reasoning: 4 });
        prop_assert!(reader.metered().is_final);

        // The same as a whole body.
        let content: Vec<_> = acts.iter().enumerate().map(|(index, act)| match act {
            Act::Says(text) => json!({ "type": "text", "text": text }),
            Act::Thinks(text) => json!({ "type": "thinking", "thinking": text, "signature": "c2ln" }),
            Act::Calls { name, command, .. } => json!({ "type": "tool_use", "id": id(index), "name": name, "input": { "command": command } }),
        }).collect();
        let body = json!({ "type": "message", "content": content, "usage": { "input_tokens": 7, "output_tokens": 20 } }).to_string();
        let (mut reader, mut denials) = (Reader::new(BTreeSet::new()), Denials::new(DENIED.into()));
        let calls = reader.body(body.as_bytes()).unwrap();
        if !calls.is_empty() {
            prop_assert_eq!(reader.drain(), b"");
            let rulings: Vec<_> = acts.iter().filter_map(ruled).collect();
            reader.rule(&rulings, &mut denials);
        }
        let given = String::from_utf8(reader.drain()).unwrap();
        prop_assert_eq!(reader.end(), Ok(()));
        prop_assert_eq!(given.matches("SECRET").count(), allowed);
        if keys == 0 {
            prop_assert_eq!(&given, &body);
        }
        let given: Value = serde_json::from_str(&given).unwrap();
        for (index, act) in acts.iter().enumerate() {
            let block = &given["content"][index];
            if ruled(act).is_some() {
                prop_assert_eq!(block["id"].as_str().unwrap(), id(index));
                prop_assert_eq!(block["name"] == DENIED, ruled(act) != Some(Ruling::Allowed));
            }
        }
    }
}

/// What an agent makes of a stream: of each block its name, where it is a call, and what was in it.
fn seen(stream: &[u8]) -> Vec<(String, String)> {
    let (mut reader, mut rest, mut blocks) = (sse::Reader::new(), stream, Vec::<(String, String)>::new());
    while let Some(event) = reader.next(&mut rest).unwrap() {
        let data: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!(data["type"], event.name);
        if event.name == "content_block_start" {
            assert_eq!(data["index"], blocks.len());
            let block = &data["content_block"];
            assert!(block.get("id").is_none_or(|is| *is == id(blocks.len())));
            blocks.push((block["name"].as_str().unwrap_or_default().to_owned(), String::new()));
        }
        if event.name == "content_block_delta" {
            assert_eq!(data["index"], blocks.len() - 1);
            let written = ["text", "thinking", "partial_json"].iter().find_map(|name| data["delta"][name].as_str());
            blocks.last_mut().unwrap().1.push_str(written.unwrap_or_default());
        }
    }
    blocks
}

#[test]
fn d0014_text_passes_as_it_comes_and_a_call_when_it_was_ruled_on() {
    let acts = [Act::Says("hello".into()), Act::Calls { name: "Bash".into(), command: "env".into(), is_allowed: true }];
    let events = streamed(&acts, 3);
    let (mut reader, mut denials) = (Reader::new(BTreeSet::new()), Denials::new(DENIED.into()));
    let mut steps = Vec::new();
    for (name, data) in &events {
        let calls = reader.event(name, data).unwrap();
        let before = reader.drain();
        if !calls.is_empty() {
            assert_eq!(before, b"");
            assert!(reader.event("ping", "{\"type\":\"ping\"}").is_err(), "nothing before the ruling");
            reader.rule(&[], &mut denials);
            assert_eq!(reader.drain(), b"");
            reader.rule(&[Ruling::Allowed], &mut denials);
        }
        steps.push((name.as_str(), !before.is_empty(), calls.len(), reader.drain().len() > 200));
    }
    let (passes, waits) = (|name| (name, true, 0, false), |name| (name, false, 0, false));
    assert_eq!(
        steps[2..],
        [
            passes("content_block_start"),
            passes("content_block_delta"),
            passes("content_block_delta"),
            passes("content_block_stop"),
            waits("content_block_start"),
            waits("content_block_delta"),
            waits("content_block_delta"),
            waits("content_block_delta"),
            waits("content_block_delta"),
            waits("content_block_delta"),
            waits("content_block_delta"),
            ("content_block_stop", false, 1, true),
            passes("message_delta"),
            passes("message_stop"),
        ]
    );
}

#[test]
fn d0014_what_is_not_understood_is_not_passed_on() {
    let calls = |arguments: &str| {
        vec![
            event("message_start", json!({ "message": {} })),
            event(
                "content_block_start",
                json!({ "index": 0, "content_block": { "type": "tool_use", "id": "t", "name": "Bash", "input": {} } }),
            ),
            event(
                "content_block_delta",
                json!({ "index": 0, "delta": { "type": "input_json_delta", "partial_json": arguments } }),
            ),
            event("content_block_stop", json!({ "index": 0 })),
        ]
    };
    for arguments in
        ["SECRET", "[\"SECRET\"]", "\"SECRET\"", "{\"a\":\"SECRET\"", "{\"a\":\"SECRET\",\"a\":1}", "{} {}"]
    {
        let (why, given) = garbled(&calls(arguments));
        assert_eq!(why, Some(Garbled::Syntax("a JSON object where a tool is called")), "{arguments}");
        assert!(!given.contains("Bash") && !given.contains("SECRET"), "{given}");
    }
    let open = |block: Value| {
        vec![
            event("message_start", json!({ "message": {} })),
            event("content_block_start", json!({ "index": 0, "content_block": block })),
        ]
    };
    for kind in ["video", "server_tool_use", "mcp_tool_use", "container_upload", "web_search_tool_result"] {
        assert_eq!(garbled(&open(json!({ "type": kind, "x": "SECRET" }))).0, Some(Garbled::Unknown(kind.into())));
    }
    let mut twice = calls("{}");
    twice.push((twice[1].0.clone(), twice[1].1.replace("\"index\":0", "\"index\":1")));
    let text = json!({ "type": "text", "text": "" });
    let then = |mut events: Vec<_>, more: &[(&str, Value)]| {
        events.extend(more.iter().map(|(kind, with)| event(kind, with.clone())));
        events
    };
    for (events, why) in [
        (
            vec![event("message_start", json!({ "message": { "content": [{ "type": "tool_use" }] } }))],
            "content in `message_start`",
        ),
        (vec![event("message_stop", json!({}))], "`message_stop`"),
        (vec![event("content_block_start", json!({ "index": 0, "content_block": text }))], "`content_block_start`"),
        (vec![(String::new(), "{\"index\":0}".to_owned())], "something else in `type`"),
        (vec![event("surprise", json!({}))], "`surprise`"),
        (
            vec![("ping".to_owned(), event("message_start", json!({ "message": {} })).1)],
            "`message_start` called `ping`",
        ),
        (twice, "an `id` twice"),
        (
            then(open(text.clone()), &[("content_block_start", json!({ "index": 1, "content_block": text }))]),
            "`content_block_start`",
        ),
        (then(open(text.clone()), &[("content_block_stop", json!({ "index": 1 }))]), "another `index`"),
        (
            then(
                open(text.clone()),
                &[(
                    "content_block_delta",
                    json!({ "index": 0, "delta": { "type": "input_json_delta", "partial_json": "x" } }),
                )],
            ),
            "`input_json_delta` in `text`",
        ),
        (then(calls("{}"), &[("message_stop", json!({}))]), "`message_stop`"),
        (then(calls("{}"), &[("error", json!({ "error": {} })), ("ping", json!({}))]), "`ping`"),
    ] {
        assert_eq!(garbled(&events).0, Some(Garbled::Misplaced(why.into())));
    }
    let whole = streamed(&[Act::Calls { name: "Bash".into(), command: "env".into(), is_allowed: false }], 4);
    for cut in 0..whole.len() {
        assert_eq!(garbled(&whole[..cut]).0, Some(Garbled::Cut), "{cut}");
    }
    let mut many = vec![event("message_start", json!({ "message": {} }))];
    for index in 0..=128 {
        let block = json!({ "type": "tool_use", "id": id(index), "name": "Bash", "input": {} });
        many.push(event("content_block_start", json!({ "index": index, "content_block": block })));
        many.push(event("content_block_stop", json!({ "index": index })));
    }
    assert_eq!(garbled(&many).0, Some(Garbled::TooMuch("many tool calls")));
}

#[test]
fn a101_what_the_vendor_does_comes_back_where_it_was_granted() {
    let search = json!({ "type": "server_tool_use", "id": "s", "name": "web_search", "input": {} });
    let found = json!({ "type": "web_search_tool_result", "tool_use_id": "s", "content": [] });
    let events = [
        event("message_start", json!({ "message": {} })),
        event("content_block_start", json!({ "index": 0, "content_block": search })),
        event(
            "content_block_delta",
            json!({ "index": 0, "delta": { "type": "input_json_delta", "partial_json": "{}" } }),
        ),
        event("content_block_stop", json!({ "index": 0 })),
        event("content_block_start", json!({ "index": 1, "content_block": found })),
        event("content_block_stop", json!({ "index": 1 })),
        event("message_delta", json!({ "delta": { "stop_reason": "end_turn" } })),
        event("message_stop", json!({})),
    ];
    let stream = bytes(&events);
    let given = |granted: &[Egress]| {
        let mut reader = Reader::new(granted.iter().copied().collect());
        through(&mut reader, &mut Denials::new(DENIED.into()), &[&stream], |_| Ruling::Allowed)
    };
    assert_eq!(given(&[Egress::VendorTools]), Ok(stream.clone()));
    assert_eq!(given(&[Egress::Connectors]), Err(Garbled::Unknown("server_tool_use".into())));
}

#[test]
fn bodies_that_are_no_message_are_errors_counts_or_nothing() {
    let body = |body: &str| {
        let mut reader = Reader::new(BTreeSet::new());
        reader.body(body.as_bytes()).map(|calls| (calls.len(), String::from_utf8(reader.drain()).unwrap()))
    };
    for passes in [
        "{\"input_tokens\":12}",
        "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"later\"}}",
    ] {
        assert_eq!(body(passes), Ok((0, passes.to_owned())));
    }
    let tool = "{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"Bash\",\"input\":{}}";
    for garbled in [
        "",
        "[]",
        "{}",
        "{\"type\":\"message\"}",
        "{\"type\":\"message\",\"content\":[{}]}",
        "{\"type\":\"message\",\"content\":[],\"content\":[]}",
        "{\"type\":\"message\",\"content\":[{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"Bash\",\"input\":\"x\"}]}",
        &format!("{{\"type\":\"error\",\"content\":[{tool}]}}"),
        &format!("{{\"input_tokens\":1,\"content\":[{tool}]}}"),
        &format!("{{\"type\":\"message\",\"content\":[{tool},{tool}]}}"),
    ] {
        assert!(body(garbled).is_err(), "{garbled}");
    }
}

#[test]
fn what_was_written_of_a_cut_stream_is_counted() {
    let events = streamed(
        &[Act::Says("four".into()), Act::Calls { name: "Bash".into(), command: "env".into(), is_allowed: true }],
        100,
    );
    let mut reader = Reader::new(BTreeSet::new());
    for (name, data) in &events[..7] {
        reader.event(name, data).unwrap();
    }
    let metered = reader.metered();
    assert_eq!((metered.usage.output, metered.is_final, metered.written_bytes), (1, false, 4 + 17));
}

#[test]
fn what_nobody_counted_at_the_end_is_estimated_e3() {
    let ends = |begun: Value, ended: Value| {
        let events = [
            event("message_start", json!({ "message": begun })),
            event("message_delta", ended),
            event("message_stop", json!({})),
        ];
        let mut reader = Reader::new(BTreeSet::new());
        through(&mut reader, &mut Denials::new(DENIED.into()), &[&bytes(&events)], |_| Ruling::Allowed).unwrap();
        reader.metered().is_final
    };
    let begun = json!({ "usage": { "input_tokens": 3, "output_tokens": 1 } });
    let ended = |usage: Value| json!({ "delta": { "stop_reason": "end_turn" }, "usage": usage });
    assert!(ends(begun.clone(), ended(json!({ "output_tokens": 20 }))));
    assert!(!ends(begun.clone(), json!({ "delta": { "stop_reason": "end_turn" } })), "the first number was no end");
    assert!(!ends(json!({}), ended(json!({ "output_tokens": 20 }))), "what was read is not counted");
    let whole = |usage: Value| {
        let mut reader = Reader::new(BTreeSet::new());
        let body = json!({ "type": "message", "role": "assistant", "content": [], "usage": usage });
        reader.body(body.to_string().as_bytes()).unwrap();
        reader.metered().is_final
    };
    assert!(whole(json!({ "input_tokens": 3, "output_tokens": 20 })));
    assert!(!whole(json!({})) && !whole(json!({ "input_tokens": 3 })));
}
