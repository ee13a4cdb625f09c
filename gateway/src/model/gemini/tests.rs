//! Whole requests and answers of the Gemini API.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Method, Reader, Target, rebuild};
use crate::model::answer::{Answer, Call, Garbled, Ruling};
use crate::model::denials::Denials;
use crate::model::request::{Rebuilt, Unfit};
use crate::model::{Egress, Usage, sse};

const DENIED: &str = "selvedge_denied_x7";

fn denials() -> Denials {
    let mut denials = Denials::new(DENIED.into());
    for (id, command) in [("selvedge-call-1", "env"), ("given", "id")] {
        let arguments = json!({ "command": command }).to_string();
        let call = Call { id: id.into(), name: "shell".into(), arguments, is_json: true };
        denials.deny(&call, &format!("denied: not {command}"));
    }
    denials
}

fn built(body: &Value, granted: &[Egress]) -> Result<Rebuilt, Unfit> {
    let target = Target { model: "gemini-2.5-pro".into(), method: Method::Stream };
    rebuild(body.to_string().as_bytes(), &target, &granted.iter().copied().collect(), &denials())
}

fn body(rebuilt: &Rebuilt) -> Value {
    serde_json::from_slice(&rebuilt.body).unwrap()
}

fn with_parts(parts: Value) -> Value {
    json!({ "contents": [{ "role": "user", "parts": parts }] })
}

/// The second request of Gemini CLI 0.61.0 in a run of one task, with its texts made short. The model made three calls without ids; two
/// were denied. The agent made the ids up.
const GEMINI_CLI: &str = include_str!("gemini_cli.json");

#[test]
fn a101_what_gemini_cli_asks_is_asked() {
    let asked: Value = serde_json::from_str(GEMINI_CLI).unwrap();
    let mut denials = Denials::new(DENIED.into());
    for (id, command) in [("selvedge-call-2", "env"), ("selvedge-call-3", "id")] {
        let arguments = json!({ "command": command }).to_string();
        denials.deny(&Call { id: id.into(), name: "run_shell_command".into(), arguments, is_json: true }, command);
    }
    let target = Target { model: "gemini-2.5-pro".into(), method: Method::Stream };
    let rebuilt = rebuild(GEMINI_CLI.as_bytes(), &target, &BTreeSet::new(), &denials).unwrap();
    let mut expected = asked;
    for (place, command) in [(1, "env"), (2, "id")] {
        let call = &mut expected["contents"][1]["parts"][place]["functionCall"];
        assert_eq!(call["name"], DENIED);
        (call["name"], call["args"]) = (json!("run_shell_command"), json!({ "command": command }));
        let answer = &mut expected["contents"][2]["parts"][place]["functionResponse"];
        (answer["name"], answer["response"]) = (json!("run_shell_command"), json!({ "error": command }));
    }
    assert_eq!(body(&rebuilt), expected);
    assert_eq!(rebuilt.left_out.len() + rebuilt.egress.len(), 0);
    assert_eq!(rebuilt.tools, ["run_shell_command", "write_file"].map(str::to_owned).into());
}

#[test]
fn a_path_says_what_is_asked_and_nothing_else_goes_on() {
    let read = |path: &str, query: &str| Target::read(path, query).map(|target| target.upstream());
    let stream = "/v1beta/models/gemini-2.5-pro:streamGenerateContent";
    assert_eq!(read(stream, "alt=sse&key=SECRET"), Ok(format!("{stream}?alt=sse")));
    assert_eq!(read("/v1/models/m:generateContent", ""), Ok("/v1beta/models/m:generateContent".into()));
    assert_eq!(read("/v1beta/models/m:countTokens", "key=x"), Ok("/v1beta/models/m:countTokens".into()));
    assert_eq!(read(stream, ""), Err(Unfit::Shape("alt".into())), "an array that grows");
    assert_eq!(read(stream, "alt=sse&alt=json"), Err(Unfit::Shape("alt".into())));
    let unknown = |kind: &str| Err(Unfit::Unknown { kind: kind.into(), at: "path".into() });
    assert_eq!(read("/v1beta/models/m:batchGenerateContent", ""), unknown("batchGenerateContent"));
    for path in [
        "/v1beta/tunedModels/m:generateContent",
        "/v1beta/models/:generateContent",
        "/v1beta/models/../x:generateContent",
        "/v1beta/models/m%2f:generateContent",
        "/v1beta/cachedContents",
    ] {
        assert_eq!(read(path, ""), Err(Unfit::Shape("path".into())), "{path}");
    }
}

#[test]
fn a101_what_is_listed_is_asked_in_one_spelling() {
    let asked = json!({
        "contents": [{ "role": "user", "parts": [{ "text": "hi" }, { "inline_data": { "mime_type": "image/png", "data": "" } }] }],
        "system_instruction": { "parts": [{ "text": "be kind" }] },
        "tools": [{ "function_declarations": [{ "name": "shell", "parameters_json_schema": { "some_name": 1 } }] }],
        "generation_config": { "max_output_tokens": 9, "candidate_count": 4, "response_modalities": ["AUDIO"] },
        "toolConfig": { "functionCallingConfig": { "mode": "AUTO", "streamFunctionCallArguments": true } },
        "labels": { "who": "me" },
    });
    let rebuilt = built(&asked, &[]).unwrap();
    assert_eq!(
        body(&rebuilt),
        json!({
            "contents": [{ "role": "user", "parts": [{ "text": "hi" }, { "inlineData": { "mimeType": "image/png", "data": "" } }] }],
            "systemInstruction": { "parts": [{ "text": "be kind" }] },
            "tools": [{ "functionDeclarations": [{ "name": "shell", "parametersJsonSchema": { "some_name": 1 } }] }],
            "generationConfig": { "maxOutputTokens": 9 },
            "toolConfig": { "functionCallingConfig": { "mode": "AUTO" } },
        })
    );
    assert_eq!((rebuilt.model.as_str(), rebuilt.streams, rebuilt.output_tokens_max), ("gemini-2.5-pro", true, Some(9)));
    assert_eq!(rebuilt.tools, BTreeSet::from(["shell".to_owned()]));
    assert_eq!(
        rebuilt.left_out.iter().map(String::as_str).collect::<Vec<_>>(),
        [
            "generationConfig.candidate_count",
            "generationConfig.response_modalities",
            "labels",
            "toolConfig.functionCallingConfig.streamFunctionCallArguments"
        ]
    );
}

#[test]
fn a101_what_the_vendor_would_do_needs_its_grant() {
    let tool = |name: &str| json!({ "contents": [], "tools": [{ name: {} }] });
    let file = |uri: &str| with_parts(json!([{ "fileData": { "fileUri": uri } }]));
    for (egress, request) in [
        (Egress::VendorTools, tool("googleSearch")),
        (Egress::VendorTools, tool("codeExecution")),
        (Egress::VendorTools, tool("urlContext")),
        (Egress::VendorTools, tool("googleMaps")),
        (Egress::VendorTools, tool("computerUse")),
        (Egress::VendorTools, with_parts(json!([{ "executableCode": { "language": "PYTHON", "code": "1" } }]))),
        (Egress::Connectors, tool("mcpServers")),
        (Egress::StoredState, tool("fileSearch")),
        (Egress::StoredState, json!({ "contents": [], "cachedContent": "cachedContents/x" })),
        (Egress::StoredState, file("https://generativelanguage.googleapis.com/v1beta/files/x")),
        (Egress::UrlSources, file("https://generativelanguage.googleapis.com.x.invalid/?secret")),
        (Egress::UrlSources, file("gs://bucket/x")),
        (
            Egress::UrlSources,
            json!({ "contents": [], "systemInstruction": { "parts": [{ "fileData": { "fileUri": "https://x.invalid" } }] } }),
        ),
    ] {
        let others: Vec<_> = Egress::ALL.iter().copied().filter(|other| *other != egress).collect();
        assert!(matches!(built(&request, &others), Err(Unfit::Egress { what, .. }) if what == egress), "{request}");
        let rebuilt = built(&request, Egress::ALL).unwrap();
        assert_eq!((body(&rebuilt), rebuilt.egress), (request, BTreeSet::from([egress])));
    }
}

#[test]
fn a101_what_is_not_known_stays_here() {
    let functions = json!([{ "functionDeclarations": [{ "name": DENIED }] }]);
    for request in [
        with_parts(json!([{ "toolCall": {} }])),
        with_parts(
            json!([{ "functionResponse": { "name": "shell", "response": {}, "parts": [{ "fileData": { "fileUri": "x" } }] } }]),
        ),
        json!({ "tools": [{ "teleport": {} }] }),
        json!({ "tools": functions }),
    ] {
        assert!(matches!(built(&request, Egress::ALL), Err(Unfit::Unknown { .. })), "{request}");
    }
    let twice = json!({ "contents": [], "systemInstruction": { "parts": [] }, "system_instruction": { "parts": [] } });
    assert_eq!(built(&twice, &[]), Err(Unfit::Shape("systemInstruction".into())));
    let target = Target { model: "m".into(), method: Method::CountTokens };
    let count = |request: Value| rebuild(request.to_string().as_bytes(), &target, &BTreeSet::new(), &denials());
    let counted = json!({ "generateContentRequest": { "model": "models/m", "contents": [] } });
    assert_eq!(body(&count(counted.clone()).unwrap()), counted);
    let hidden = json!([{ "parts": [{ "fileData": { "fileUri": "https://x.invalid" } }] }]);
    let inside = json!({ "generateContentRequest": { "contents": hidden } });
    assert!(matches!(count(inside), Err(Unfit::Egress { what: Egress::UrlSources, .. })));
    let beside = json!({ "generateContentRequest": { "contents": [] }, "contents": hidden });
    assert_eq!(count(beside), Err(Unfit::Shape("generateContentRequest".into())));
}

#[test]
fn denied_calls_come_back_to_the_model_and_their_answers_are_the_doors() {
    let call = |key: &str| json!({ "functionCall": { "name": DENIED, "args": { "denied": key } }, "thoughtSignature": "c2ln" });
    let with_id = |mut part: Value, of: &str, id: &str| {
        part[of]["id"] = json!(id);
        part
    };
    let answer =
        |name: &str, said: &str| json!({ "functionResponse": { "name": name, "response": { "output": said } } });
    let ls = json!({ "functionCall": { "name": "shell", "args": { "command": "ls" } } });
    let asked = |calls: Value, answers: Value| json!({ "contents": [{ "role": "model", "parts": calls }, { "role": "user", "parts": answers }] });
    let restored = |command: &str| json!({ "functionCall": { "name": "shell", "args": { "command": command } }, "thoughtSignature": "c2ln" });
    let told = |command: &str| json!({ "functionResponse": { "name": "shell", "response": { "error": format!("denied: not {command}") } } });

    // By order, where there are no ids, with an allowed call of the same tool between them.
    let request = asked(
        json!([call("1"), ls, call("2")]),
        json!([answer(DENIED, "x"), answer("shell", "a.txt"), answer(DENIED, "y")]),
    );
    assert_eq!(
        body(&built(&request, &[]).unwrap()),
        asked(json!([restored("env"), ls, restored("id")]), json!([told("env"), answer("shell", "a.txt"), told("id")]))
    );

    // By id, in another order, under whatever name.
    let calls = json!([with_id(call("1"), "functionCall", "a"), with_id(call("2"), "functionCall", "given")]);
    let answers = json!([
        with_id(answer("other", "x"), "functionResponse", "given"),
        with_id(answer(DENIED, "y"), "functionResponse", "a")
    ]);
    let expected = asked(
        json!([with_id(restored("env"), "functionCall", "a"), with_id(restored("id"), "functionCall", "given")]),
        json!([with_id(told("id"), "functionResponse", "given"), with_id(told("env"), "functionResponse", "a")]),
    );
    assert_eq!(body(&built(&asked(calls, answers), &[]).unwrap()), expected);

    for (calls, answers) in [
        (json!([call("3")]), json!([])),
        (json!([with_id(call("2"), "functionCall", "another")]), json!([])),
        (json!([call("1")]), json!([answer("shell", "it worked")])),
        (json!([ls]), json!([answer(DENIED, "x")])),
        (json!([call("1")]), json!([answer(DENIED, "x"), answer(DENIED, "y")])),
        (json!([ls, call("1")]), json!([answer("shell", "x"), ls])),
    ] {
        let request = asked(calls, answers);
        assert!(matches!(built(&request, &[]), Err(Unfit::Shape(_))), "{request}");
    }
}

/// What a model does: text and thoughts, or a call.
#[derive(Debug, Clone)]
enum Act {
    Says { text: String, thought: bool },
    Calls { command: String, id: Option<u8>, is_allowed: bool },
}

fn part(index: usize, act: &Act) -> Value {
    match act {
        Act::Says { text, thought: true } => json!({ "text": text, "thought": true }),
        Act::Says { text, thought: false } => json!({ "text": text }),
        Act::Calls { command, id, .. } => {
            let mut call = json!({ "name": "shell", "args": { "command": command } });
            if let Some(id) = id {
                call["id"] = json!(format!("{index}-{id}"));
            }
            json!({ "functionCall": call, "thoughtSignature": "c2ln" })
        }
    }
}

fn acts() -> impl Strategy<Value = Vec<Vec<Act>>> {
    let says = ("[a-zé\"\\\\\n]{0,9}", any::<bool>()).prop_map(|(text, thought)| Act::Says { text, thought });
    let calls = ("[a-z\"\\\\]{0,9}", any::<Option<u8>>(), any::<bool>())
        .prop_map(|(command, id, is_allowed)| Act::Calls { command: format!("SECRET{command}"), id, is_allowed });
    prop::collection::vec(prop::collection::vec(prop_oneof![says, calls], 0..4), 0..6)
}

fn usage() -> Value {
    json!({ "promptTokenCount": 10, "cachedContentTokenCount": 4, "candidatesTokenCount": 6, "thoughtsTokenCount": 5, "toolUsePromptTokenCount": 1 })
}

proptest! {
    #[test]
    fn d0014_whatever_is_said_and_called_only_allowed_calls_come_out(chunks in acts(), size in 1usize..40, is_body in any::<bool>()) {
        let acts: Vec<_> = chunks.iter().flatten().collect();
        let parts: Vec<_> = acts.iter().enumerate().map(|(index, act)| part(index, act)).collect();
        let (mut stream, mut taken) = (Vec::new(), 0);
        for chunk in &chunks {
            let parts = &parts[taken..taken + chunk.len()];
            taken += chunk.len();
            sse::write(&mut stream, "", &json!({ "candidates": [{ "content": { "role": "model", "parts": parts } }], "usageMetadata": { "promptTokenCount": 99 } }).to_string());
        }
        let last = json!({ "candidates": [{ "finishReason": "STOP" }], "usageMetadata": usage() }).to_string();
        sse::write(&mut stream, "", &last);
        let whole = json!({ "candidates": [{ "content": { "role": "model", "parts": parts }, "finishReason": "STOP" }], "usageMetadata": usage() }).to_string();

        let rulings: Vec<_> = acts.iter().filter_map(|act| match act {
            Act::Calls { is_allowed: true, .. } => Some(Ruling::Allowed),
            Act::Calls { .. } => Some(Ruling::Denied { told: "not this".into() }),
            Act::Says { .. } => None,
        }).collect();
        let (mut reader, mut denials) = (Reader::new(BTreeSet::new()), Denials::new(DENIED.into()));
        let (mut ruled, mut given) = (rulings.iter(), Vec::new());
        let mut rule = |reader: &mut Reader, calls: Vec<Call>| {
            if !calls.is_empty() {
                assert_eq!(reader.drain(), b"", "it waits");
                reader.rule(&ruled.by_ref().take(calls.len()).cloned().collect::<Vec<_>>(), &mut denials);
            }
            reader.drain()
        };
        if is_body {
            let calls = reader.body(whole.as_bytes()).unwrap();
            given.extend(rule(&mut reader, calls));
        } else {
            let mut events = sse::Reader::new();
            for mut rest in stream.chunks(size) {
                while let Some(event) = events.next(&mut rest).unwrap() {
                    let calls = reader.event(&event.name, &event.data).unwrap();
                    given.extend(rule(&mut reader, calls));
                }
            }
        }
        prop_assert_eq!(reader.end(), Ok(()));
        prop_assert_eq!(reader.metered().usage, Usage { input: 7, cached: 4, cache_write: 0, output: 11, reasoning: 5 });
        prop_assert!(reader.metered().is_final);

        let allowed = rulings.iter().filter(|ruling| **ruling == Ruling::Allowed).count();
        prop_assert_eq!(String::from_utf8(given.clone()).unwrap().matches("SECRET").count(), allowed);
        if allowed == rulings.len() {
            prop_assert_eq!(&given, if is_body { whole.as_bytes() } else { &stream });
        }
        let mut keys = 0;
        let expected: Vec<_> = parts.iter().zip(&acts).map(|(part, act)| {
            let mut part = part.clone();
            if let Act::Calls { is_allowed: false, .. } = act {
                keys += 1;
                part["functionCall"]["name"] = json!(DENIED);
                part["functionCall"]["args"] = json!({ "denied": keys.to_string() });
            }
            part
        }).collect();
        prop_assert_eq!(seen(&given, is_body), expected);
    }
}

/// The parts that an agent makes of an answer.
fn seen(given: &[u8], is_body: bool) -> Vec<Value> {
    let (mut reader, mut rest, mut objects) = (sse::Reader::new(), given, Vec::new());
    if is_body {
        objects.push(serde_json::from_slice::<Value>(given).unwrap());
    } else {
        while let Some(event) = reader.next(&mut rest).unwrap() {
            objects.push(serde_json::from_str(&event.data).unwrap());
        }
    }
    let parts = objects.iter().filter_map(|object| object["candidates"][0]["content"]["parts"].as_array());
    parts.flatten().cloned().collect()
}

#[test]
fn d0014_what_is_not_understood_is_not_passed_on() {
    let of = |parts: Value| json!({ "candidates": [{ "content": { "parts": parts } }] });
    let call = json!({ "functionCall": { "name": "shell", "args": {}, "id": "c" } });
    for (chunk, why) in [
        (of(json!([{ "function_call": { "name": "shell" } }])), Garbled::Unknown("function_call".into())),
        (of(json!([{ "executableCode": {} }])), Garbled::Unknown("executableCode".into())),
        (
            of(json!([{ "functionCall": { "name": "shell", "partialArgs": [] } }])),
            Garbled::Unknown("partialArgs".into()),
        ),
        (
            of(json!([{ "functionCall": { "name": "shell", "args": "x" } }])),
            Garbled::Syntax("a JSON object where a tool is called"),
        ),
        (of(json!([{ "functionCall": { "args": {} } }])), Garbled::Misplaced("something else in `name`".into())),
        (
            of(json!([{ "text": "", "functionCall": { "name": "shell" } }])),
            Garbled::Misplaced("two kinds in one part".into()),
        ),
        (of(json!([call, call])), Garbled::Misplaced("an `id` twice".into())),
        (of(json!(vec![json!({ "functionCall": { "name": "shell" } }); 129])), Garbled::TooMuch("many tool calls")),
        (
            json!({ "candidates": [{}, { "content": { "parts": [call] } }] }),
            Garbled::Misplaced("several candidates".into()),
        ),
        (
            json!({ "error": {}, "candidates": [{ "content": { "parts": [call] } }] }),
            Garbled::Misplaced("`error` beside an answer".into()),
        ),
        (json!([of(json!([call]))]), Garbled::Syntax("plain JSON")),
    ] {
        let mut reader = Reader::new(BTreeSet::new());
        assert_eq!(reader.event("", &chunk.to_string()), Err(why), "{chunk}");
        assert_eq!(reader.drain(), b"");
        assert!(reader.event("", "{}").is_err(), "nothing behind it");
    }
    let mut reader = Reader::new(BTreeSet::new());
    let mut denials = Denials::new(DENIED.into());
    reader.event("", &of(json!([{ "text": "a" }])).to_string()).unwrap();
    assert_eq!(reader.end(), Err(Garbled::Cut));
    assert_eq!(reader.event("", &of(json!([call])).to_string()).unwrap().len(), 1);
    assert!(reader.event("", "{}").is_err(), "nothing before the ruling");
    assert_eq!(reader.end(), Err(Garbled::Cut));
    reader.rule(&[Ruling::Allowed, Ruling::Allowed], &mut denials);
    assert!(!String::from_utf8(reader.drain()).unwrap().contains("shell"));
    reader.rule(&[Ruling::Allowed], &mut denials);
    assert!(String::from_utf8(reader.drain()).unwrap().contains("shell"));
    assert!(reader.event("error", "{}").is_err());
}

#[test]
fn bodies_and_chunks_that_are_no_answer_are_errors_counts_or_blocked() {
    for (is_body, passes) in [
        (true, "{\"error\":{\"code\":429}}"),
        (false, "{\"error\":{\"code\":429}}"),
        (true, "{\"totalTokens\":7}"),
        (true, "{\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}"),
        (false, "{\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}"),
    ] {
        let mut reader = Reader::new(BTreeSet::new());
        let calls = if is_body { reader.body(passes.as_bytes()) } else { reader.event("", passes) };
        assert_eq!((calls, reader.end()), (Ok(vec![]), Ok(())), "{passes}");
        assert!(String::from_utf8(reader.drain()).unwrap().contains(passes));
    }
}

#[test]
fn e3_numbers_are_the_last_ones_only_at_the_end_though_each_chunk_says_that_it_ends() {
    let chunk = |text: &str, output: u64, total: u64| {
        json!({ "candidates": [{ "content": { "role": "model", "parts": [{ "text": text }] }, "finishReason": "STOP" }],
            "usageMetadata": { "promptTokenCount": 10, "candidatesTokenCount": output, "totalTokenCount": total } })
        .to_string()
    };
    let mut reader = Reader::new(BTreeSet::new());
    reader.event("", &chunk("one", 1, 11)).unwrap();
    assert!(!reader.metered().is_final, "more may come, and a cut is not an end");
    reader.event("", &chunk(" and two", 3, 20)).unwrap();
    assert_eq!(reader.end(), Ok(()));
    let usage = Usage { input: 10, cached: 0, cache_write: 0, output: 10, reasoning: 0 };
    assert_eq!((reader.metered().usage, reader.metered().is_final), (usage, true), "what only the total counts, too");
}
