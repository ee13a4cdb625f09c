//! Faults, and what is billed when one is met.

use std::io::{BufRead, BufReader, Read};

use selvedge_scripted::{Fault, Script, Server, Times, Turn, Usage, WithoutTools};
use serde_json::{Value, json};

use crate::client::{
    ANTHROPIC, Answer, CHAT, GEMINI, GEMINI_SSE, KEY, RESPONSES, anthropic, chat, gemini, post, responses, send,
};

const COST: Usage = Usage { input: 100, cached: 10, cache_write: 1, output: 40, reasoning: 0 };

fn said() -> Turn {
    Turn::new().text("a text that is long enough to come in a number of pieces").costs(COST)
}

fn serving(turn: Turn) -> Server {
    Server::start(Script::new(KEY).turn(turn)).unwrap()
}

/// One request of every protocol for the first turn of a script.
fn asks(streams: bool) -> Vec<((&'static str, &'static str), Value)> {
    let user = json!([{ "role": "user", "content": "go" }]);
    let mut asks = vec![(ANTHROPIC, anthropic(user.clone())), (RESPONSES, responses(user.clone())), (CHAT, chat(user))];
    if streams {
        asks.iter_mut().for_each(|(_, body)| body["stream"] = json!(true));
    }
    asks.push((if streams { GEMINI_SSE } else { GEMINI }, gemini(json!([{ "parts": [{ "text": "go" }] }]))));
    asks
}

fn ask(server: &Server, place: usize, streams: bool) -> Answer {
    let (to, body) = asks(streams).remove(place);
    post(server.address(), to, &body)
}

#[test]
fn a_status_is_said_in_the_vendor_s_form_as_often_as_the_script_says_and_costs_nothing() {
    for status in [401, 402, 403, 429, 500, 529] {
        let server = serving(said().fails(Fault::Status { status, retry_after_seconds: Some(7) }, Times::First(8)));
        for _ in 0..2 {
            for place in 0..4 {
                let answer = ask(&server, place, false);
                assert_eq!(answer.status, status);
                assert!(answer.head.contains("Retry-After: 7"), "{answer:?}");
                let error = &answer.json()["error"];
                let form = ["type", "param", "code", "status"].map(|name| error.get(name).is_some());
                let openai = [true, true, true, false];
                let expected = [[true, false, false, false], openai, openai, [false, false, true, true]][place];
                assert_eq!(form, expected, "{answer:?}");
            }
        }
        assert_eq!(server.totals().tokens, Usage::default());
        assert_eq!(ask(&server, 0, false).status, 200, "the ninth is answered");
        assert_eq!(server.totals().tokens, COST);
        assert_eq!(server.totals().by_status, [(200, 1), (status, 8)].into());
    }
}

#[test]
fn anthropic_s_names_of_errors_are_its_own() {
    for (status, kind) in [
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
    ] {
        let server = serving(said().fails(Fault::Status { status, retry_after_seconds: None }, Times::Always));
        let answer = ask(&server, 0, true);
        assert_eq!((answer.json()["error"]["type"].as_str(), answer.status), (Some(kind), status));
        assert!(!answer.head.contains("Retry-After"), "{answer:?}");
    }
}

#[test]
fn a_stream_that_is_cut_bills_what_was_read_and_what_was_written_until_then() {
    for place in 0..4 {
        let whole = ask(&serving(said()), place, true).events().len();
        let mut written = Vec::new();
        for after_events in 0..=whole {
            let server = serving(said().fails(Fault::Cut { after_events }, Times::First(1)));
            assert_eq!(ask(&server, place, true).events().len(), after_events);
            let tokens = server.totals().tokens;
            assert_eq!(Usage { output: 0, ..tokens }, Usage { output: 0, ..COST }, "all that was read, once");
            written.push(tokens.output);
            assert_eq!(ask(&server, place, true).events().len(), whole, "the same turn is given again");
            let both = server.totals().tokens;
            assert_eq!((both.input, both.output), (200, tokens.output + 40));
        }
        assert_eq!((written[0], written[whole]), (0, 40));
        assert!(written.is_sorted() && written.iter().any(|output| (1..40).contains(output)), "{written:?}");
    }
}

#[test]
fn an_answer_in_one_piece_that_is_cut_is_billed_whole() {
    for place in 0..4 {
        let server = serving(said().fails(Fault::Cut { after_events: 0 }, Times::Always));
        let answer = ask(&server, place, false);
        assert!(serde_json::from_str::<Value>(&answer.body).is_err() && !answer.body.is_empty(), "{answer:?}");
        assert_eq!(server.totals().tokens, COST);
    }
}

#[test]
fn a_stream_that_hangs_waits_for_the_client_to_go() {
    let server = serving(said().fails(Fault::Hang { after_events: 4 }, Times::Always));
    let (to, body) = asks(true).remove(0);
    let mut lines = BufReader::new(send(server.address(), to, &body)).lines().map(|line| line.unwrap());
    let seen: Vec<String> = lines.by_ref().filter(|line| line.starts_with("event: ")).take(4).collect();
    assert_eq!(seen.last().unwrap(), "event: content_block_delta");
    let before = server.totals().tokens;
    assert!(before.output > 0 && before.output < COST.output, "{before:?}");
    drop(lines);
    // A server that is dropped ends what hangs, too.
    let mut hangs = send(server.address(), to, &body);
    let mut first = [0; 16];
    hangs.read_exact(&mut first).unwrap();
    drop(server);
    let mut rest = String::new();
    let _ = hangs.read_to_string(&mut rest);
    assert!(!rest.contains("message_stop"), "{rest}");
}

#[test]
fn garbage_stands_between_events_and_the_rest_is_whole() {
    for place in 0..4 {
        let server = serving(said().fails(Fault::Garbage { after_events: 2 }, Times::First(1)));
        let garbled = ask(&server, place, true).events();
        let whole = ask(&server, place, true).events();
        let is_json = |event: &String| event == "[DONE]" || serde_json::from_str::<Value>(event).is_ok();
        assert_eq!(garbled.iter().position(|event| !is_json(event)), Some(2), "{garbled:?}");
        assert_eq!(garbled.len(), whole.len() + 1);
        assert!(whole.iter().all(is_json), "{whole:?}");
    }
}

#[test]
fn an_answer_in_one_piece_is_one_event() {
    for (fault, whole) in [
        (Fault::Garbage { after_events: 0 }, false),
        (Fault::Garbage { after_events: 1 }, true),
        (Fault::Cut { after_events: 1 }, true),
        (Fault::Hang { after_events: 1 }, true),
        (Fault::Slow { pause_ms: 1 }, true),
    ] {
        let answer = ask(&serving(said().fails(fault, Times::Always)), 0, false);
        assert_eq!(serde_json::from_str::<Value>(&answer.body).is_ok(), whole, "{fault:?}: {answer:?}");
        assert_eq!(answer.status, 200);
    }
}

#[test]
fn an_answer_that_is_no_json_has_status_200() {
    for (place, streams) in [(0, true), (0, false), (1, true), (2, true), (3, false)] {
        let server = serving(said().fails(Fault::NoJson, Times::Always));
        let answer = ask(&server, place, streams);
        assert!(answer.status == 200 && answer.body.starts_with("<html>"), "{answer:?}");
        assert_eq!(server.totals().tokens, COST);
    }
}

#[test]
fn a_slow_stream_is_whole_and_takes_its_pauses() {
    let server = serving(said().fails(Fault::Slow { pause_ms: 3 }, Times::Always));
    let before = std::time::Instant::now();
    let events = ask(&server, 0, true).events();
    assert!(events.last().unwrap().contains("message_stop"), "{events:?}");
    assert!(before.elapsed().as_millis() >= 3 * u128::try_from(events.len()).unwrap());
    assert_eq!(server.totals().tokens, COST);
}

#[test]
fn a_call_without_tools_is_a_side_call_or_a_turn_as_the_script_says() {
    let body = json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "a title, please" }] });
    let mut script = Script::new(KEY).turn(said());
    let server = Server::start(script.clone()).unwrap();
    let answer = post(server.address(), ANTHROPIC, &body).json();
    assert_eq!(answer["content"][0]["text"], "A scripted title");
    let totals = server.totals();
    assert_eq!((totals.side_calls, totals.tokens.input, totals.tokens.output), (1, 20, 5));
    assert_eq!(server.seen()[0].turn, None);
    script.without_tools = WithoutTools::Turns;
    let server = Server::start(script).unwrap();
    post(server.address(), ANTHROPIC, &body);
    assert_eq!((server.totals().side_calls, server.totals().tokens, server.seen()[0].turn), (0, COST, Some(0)));
}

#[test]
fn what_the_model_is_told_chooses_the_turn_and_a_script_that_has_ended_says_so() {
    let first = Turn::new().call("Write", json!({}));
    let last = Turn::new().text("I was told").told("denied by policy", Turn::new().text("nobody told me"));
    let server = Server::start(Script::new(KEY).turn(first).turn(last)).unwrap();
    let mut messages = json!([{ "role": "user", "content": "go" }]);
    for (result, said) in [("fine", "nobody told me"), ("denied by policy: `x`", "I was told")] {
        messages.as_array_mut().unwrap().truncate(1);
        let answer = post(server.address(), ANTHROPIC, &anthropic(messages.clone())).json();
        let id = answer["content"][0]["id"].clone();
        let list = messages.as_array_mut().unwrap();
        list.push(json!({ "role": "assistant", "content": answer["content"] }));
        let result = json!([{ "type": "text", "text": result }]);
        list.push(
            json!({ "role": "user", "content": [{ "type": "tool_result", "tool_use_id": id, "content": result }] }),
        );
        // An agent that reminds the model of something says nothing new.
        list.push(json!({ "role": "user", "content": "a reminder" }));
        let answer = post(server.address(), ANTHROPIC, &anthropic(messages.clone())).json();
        assert_eq!(answer["content"][0]["text"], said);
    }
    let list = messages.as_array_mut().unwrap();
    list.push(json!({ "role": "assistant", "content": [{ "type": "tool_use", "id": "again", "name": "Write", "input": {} }] }));
    list.push(json!({ "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "again" }] }));
    let answer = post(server.address(), ANTHROPIC, &anthropic(messages.clone())).json();
    assert_eq!(answer["content"][0]["text"], "The script has ended.");
    assert_eq!(server.totals().beyond_the_script, 1);
    let list = messages.as_array_mut().unwrap();
    list.push(json!({ "role": "assistant", "content": "The script has ended." }));
    list.push(json!({ "role": "user", "content": "another prompt" }));
    let answer = post(server.address(), ANTHROPIC, &anthropic(messages)).json();
    assert_eq!(answer["content"][0]["type"], "tool_use", "a prompt begins the script anew");
}
