//! What a host refuses beside the vendor is refused, in its own form; what it takes is taken.

use selvedge_scripted::{Fault, Script, Server, Times, Turn, Usage};
use serde_json::{Value, json};

use crate::client::{Answer, KEY, anthropic, chat, gemini, post};

const BEARER: &str = "authorization: Bearer sk-scripted\r\n";
const BEDROCK: &str = "/model/eu.anthropic.claude-v1%3A0/invoke";
const MODELS: &str = "/v1/projects/p/locations/eu/publishers";
const AZURE: &str = "/openai/deployments/mine/chat/completions?api-version=2024-10-21";

fn server() -> Server {
    let usage = Usage { input: 10, output: 1, ..Usage::default() };
    Server::start(Script::new(KEY).turn(Turn::new().text("fine").costs(usage))).unwrap()
}

fn prompt() -> Value {
    json!([{ "role": "user", "content": "go" }])
}

fn bedrock() -> Value {
    let mut body = anthropic(prompt());
    body["anthropic_version"] = json!("bedrock-2023-05-31");
    body.as_object_mut().unwrap().remove("model");
    body
}

fn vertex() -> Value {
    let mut body = bedrock();
    body["anthropic_version"] = json!("vertex-2023-10-16");
    body
}

fn with(mut body: Value, member: &str, value: Value) -> Value {
    body[member] = value;
    body
}

fn without(mut body: Value, member: &str) -> Value {
    body.as_object_mut().unwrap().remove(member);
    body
}

fn is_taken(answer: &Answer) {
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn bedrock_refuses_what_bedrock_refuses() {
    let server = server();
    let ask = |fields: &str, body: &Value| post(server.address(), (BEDROCK, fields), body);
    is_taken(&ask(BEARER, &bedrock()));
    is_taken(&ask(BEARER, &with(bedrock(), "anthropic_beta", json!(["effort-2025-11-24"]))));
    for (fields, body, status, says) in [
        (BEARER, with(bedrock(), "model", json!("m")), 400, "extraneous key [model]"),
        (BEARER, with(bedrock(), "stream", json!(false)), 400, "extraneous key [stream]"),
        (BEARER, with(bedrock(), "anthropic_version", json!("2023-06-01")), 400, "`2023-06-01` is not supported"),
        (BEARER, with(bedrock(), "anthropic_version", json!("vertex-2023-10-16")), 400, "is not supported"),
        (BEARER, without(bedrock(), "anthropic_version"), 400, "required key [anthropic_version]"),
        (BEARER, with(bedrock(), "anthropic_beta", json!(["claude-code-20250219"])), 400, "invalid beta flag"),
        (BEARER, with(bedrock(), "anthropic_beta", json!("effort-2025-11-24")), 400, "expected type: JSONArray"),
        (BEARER, with(bedrock(), "metadata_", json!(1)), 400, "Extra inputs"),
        ("", bedrock(), 403, "Missing Authentication Token"),
        ("x-api-key: sk-scripted\r\n", bedrock(), 403, "Missing Authentication Token"),
        ("authorization: Bearer other\r\n", bedrock(), 403, "not valid"),
        ("authorization: AWS4-HMAC-SHA256 Credential=a/b\r\n", bedrock(), 403, "security token"),
    ] {
        let answer = ask(fields, &body);
        let said = answer.json()["message"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == status && said.contains(says), "{says}: {answer:?}");
    }
    assert_eq!(server.seen()[0].model, "eu.anthropic.claude-v1:0");
}

#[test]
fn vertex_refuses_what_vertex_refuses() {
    let server = server();
    let at = |method: &str| format!("{MODELS}/anthropic/models/claude@20250929:{method}");
    let ask = |method: &str, fields: &str, body: &Value| post(server.address(), (&at(method), fields), body);
    is_taken(&ask("rawPredict", BEARER, &vertex()));
    is_taken(&ask("streamRawPredict", BEARER, &with(vertex(), "stream", json!(true))));
    let beta = format!("{BEARER}anthropic-beta: effort-2025-11-24\r\n");
    is_taken(&ask("rawPredict", &beta, &vertex()));
    let unknown = format!("{BEARER}anthropic-beta: prompt-caching-scope-2026-01-05\r\n");
    for (method, fields, body, status, says) in [
        ("rawPredict", BEARER, with(vertex(), "model", json!("m")), 400, "model: Extra inputs"),
        ("rawPredict", BEARER, bedrock(), 400, "Input should be 'vertex-2023-10-16'"),
        ("rawPredict", BEARER, without(vertex(), "anthropic_version"), 400, "anthropic_version: Field required"),
        ("rawPredict", BEARER, with(vertex(), "stream", json!(true)), 400, "not what `rawPredict` answers"),
        ("streamRawPredict", BEARER, vertex(), 400, "not what `streamRawPredict` answers"),
        ("rawPredict", unknown.as_str(), vertex(), 400, "Unexpected value(s) `prompt-caching-scope-2026-01-05`"),
        ("rawPredict", "x-goog-api-key: sk-scripted\r\n", vertex(), 401, "invalid authentication credentials"),
        ("rawPredict", "", vertex(), 401, "invalid authentication credentials"),
    ] {
        let answer = ask(method, fields, &body);
        let said = answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == status && said.contains(says), "{says}: {answer:?}");
    }
    let contents = gemini(json!([{ "role": "user", "parts": [{ "text": "go" }] }]));
    let path = format!("{MODELS}/google/models/gemini-3-pro:generateContent");
    is_taken(&post(server.address(), (&path, BEARER), &contents));
    assert_eq!(post(server.address(), (&path, "x-goog-api-key: sk-scripted\r\n"), &contents).status, 401);
    assert_eq!(server.seen().iter().rev().nth(1).unwrap().model, "gemini-3-pro");
}

#[test]
fn azure_refuses_what_azure_refuses() {
    let server = server();
    let ask = |to: &str, fields: &str| post(server.address(), (to, fields), &chat(prompt()));
    for fields in [BEARER, "api-key: sk-scripted\r\n"] {
        let answer = ask(AZURE, fields);
        is_taken(&answer);
        assert!(answer.json()["prompt_filter_results"].is_array(), "{answer:?}");
        is_taken(&ask("/openai/v1/chat/completions", fields));
    }
    assert_eq!(server.seen()[0].model, "mine");
    let no_version = AZURE.split('?').next().unwrap();
    for (to, fields, status, says) in [
        (no_version, BEARER, 404, "Resource not found"),
        (&*AZURE.replace("2024-10-21", "2023-01-01"), BEARER, 404, "Resource not found"),
        (AZURE, "", 401, "Access denied"),
        (AZURE, "api-key: other\r\n", 401, "Access denied"),
        (AZURE, "x-api-key: sk-scripted\r\n", 401, "Access denied"),
        ("/openai/v1/chat/completions", "x-api-key: sk-scripted\r\n", 401, "Access denied"),
    ] {
        let answer = ask(to, fields);
        let said = answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == status && said.contains(says), "{to}: {answer:?}");
    }
}

#[test]
fn whoever_breaks_off_says_so_in_its_stream() {
    let turn = Turn::new().text("A sentence that is long enough to come in pieces.");
    let turn = turn.fails(Fault::Breaks { after_events: 3 }, Times::Always);
    let server = Server::start(Script::new(KEY).turn(turn)).unwrap();
    let path = format!("{MODELS}/anthropic/models/c:streamRawPredict");
    let answer = post(server.address(), (&path, BEARER), &with(vertex(), "stream", json!(true)));
    let events = answer.events();
    assert_eq!(events.len(), 4, "{answer:?}");
    assert!(events[3].contains("Too many tokens"), "{answer:?}");
}
