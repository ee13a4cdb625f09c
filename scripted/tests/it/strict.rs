//! What a vendor refuses is refused, in the vendor's form; what it takes is taken. Every request that is refused here is taken without
//! the one thing that is wrong with it.

use selvedge_scripted::{Script, Server, Turn, Usage};
use serde_json::{Value, json};

use crate::client::{ANTHROPIC, Answer, CHAT, GEMINI, KEY, RESPONSES, anthropic, chat, gemini, post, responses};

fn server() -> Server {
    let usage = Usage { input: 10, output: 1, ..Usage::default() };
    Server::start(Script::new(KEY).turn(Turn::new().text("fine").costs(usage))).unwrap()
}

fn message(answer: &Answer) -> String {
    let error = &answer.json()["error"];
    error["message"].as_str().unwrap_or_else(|| panic!("no error: {answer:?}")).to_owned()
}

/// What is done to a request, how, and what the vendor says to that.
type Change = (&'static str, fn(&mut Value), &'static str);

/// The request is taken as it is, and refused once it is changed.
fn refused(to: (&str, &str), fine: &Value, changes: &[Change]) {
    let server = server();
    let taken = post(server.address(), to, fine);
    assert_eq!(taken.status, 200, "{taken:?}");
    for (name, change, says) in changes {
        let mut body = fine.clone();
        change(&mut body);
        let answer = post(server.address(), to, &body);
        assert!(answer.status >= 400, "{name}: taken: {answer:?}");
        assert!(message(&answer).contains(says), "{name}: {answer:?}");
        assert_eq!(server.seen().last().unwrap().refused, Some(message(&answer)));
    }
    assert_eq!(
        server.totals().tokens.input,
        0,
        "a script of one turn has nothing to say to the second, and refusals are free"
    );
}

#[test]
fn anthropic_refuses_what_anthropic_refuses() {
    // The tool that was called is not declared any more, which is no fault.
    let fine = anthropic(json!([
        { "role": "user", "content": [{ "type": "text", "text": "go", "cache_control": { "type": "ephemeral" } }] },
        { "role": "assistant", "content": [
            { "type": "text", "text": "two" },
            { "type": "tool_use", "id": "toolu_1", "name": "Undeclared", "input": {} },
            { "type": "tool_use", "id": "toolu_2", "name": "Write", "input": {} },
        ] },
        { "role": "user", "content": [
            { "type": "tool_result", "tool_use_id": "toolu_2", "content": "b" },
            { "type": "tool_result", "tool_use_id": "toolu_1", "content": [{ "type": "text", "text": "a" }], "is_error": true },
            { "type": "text", "text": "and go on" },
        ] },
    ]));
    refused(
        ANTHROPIC,
        &fine,
        &[
            ("no limit", |body| drop(body.as_object_mut().unwrap().remove("max_tokens")), "max_tokens: Field required"),
            ("no model", |body| drop(body.as_object_mut().unwrap().remove("model")), "model: Field required"),
            ("a member nobody knows", |body| body["betas"] = json!([]), "betas: Extra inputs are not permitted"),
            ("a member of the beta", |body| body["mcp_servers"] = json!([]), "Extra inputs"),
            (
                "a call without its result",
                |body| drop(body["messages"][2]["content"].as_array_mut().unwrap().remove(1)),
                "without `tool_result` blocks immediately after: toolu_1",
            ),
            (
                "a conversation that ends with a call",
                |body| drop(body["messages"].as_array_mut().unwrap().pop()),
                "without `tool_result` blocks",
            ),
            (
                "a result without its call",
                |body| drop(body["messages"][1]["content"].as_array_mut().unwrap().remove(1)),
                "unexpected `tool_use_id` found in `tool_result` blocks: toolu_1",
            ),
            (
                "a result twice",
                |body| body["messages"][2]["content"][1]["tool_use_id"] = json!("toolu_2"),
                "unexpected `tool_use_id`",
            ),
            (
                "a result after text",
                |body| body["messages"][2]["content"].as_array_mut().unwrap().swap(0, 2),
                "without `tool_result`",
            ),
            (
                "an id twice",
                |body| {
                    body["messages"][1]["content"][2]["id"] = json!("toolu_1");
                    body["messages"][2]["content"][0]["tool_use_id"] = json!("toolu_1");
                    body["messages"][2]["content"].as_array_mut().unwrap().remove(1);
                },
                "must be unique",
            ),
            (
                "the model first",
                |body| drop(body["messages"].as_array_mut().unwrap().remove(0)),
                "first message must use",
            ),
            ("no messages", |body| body["messages"] = json!([]), "at least one message"),
            (
                "the model last",
                |body| body["messages"].as_array_mut().unwrap().push(json!({ "role": "assistant", "content": "So" })),
                "must end with a user message",
            ),
            ("a role nobody has", |body| body["messages"][0]["role"] = json!("tool"), "Unexpected role"),
            ("empty text", |body| body["messages"][1]["content"][0]["text"] = json!(""), "non-empty"),
            (
                "content of no known kind",
                |body| body["messages"][1]["content"][0]["type"] = json!("song"),
                "Input tag 'song'",
            ),
            (
                "content with a member nobody knows",
                |body| body["messages"][1]["content"][1]["index"] = json!(0),
                "index: Extra inputs",
            ),
            (
                "arguments that are no object",
                |body| body["messages"][1]["content"][1]["input"] = json!("{}"),
                "valid dictionary",
            ),
            (
                "an id with a dot",
                |body| body["messages"][1]["content"][1]["id"] = json!("a.b"),
                "tool_use.id: String should match",
            ),
            (
                "a name with a dot in the past",
                |body| body["messages"][1]["content"][1]["name"] = json!("a.b"),
                "tool_use.name: String should match",
            ),
            (
                "a name with a dot",
                |body| body["tools"][0]["name"] = json!("a.b"),
                "custom.name: String should match pattern",
            ),
            (
                "a name of 129 letters",
                |body| body["tools"][0]["name"] = json!("a".repeat(129)),
                "custom.name: String should match pattern",
            ),
            (
                "a tool twice",
                |body| {
                    let tool = body["tools"][0].clone();
                    body["tools"].as_array_mut().unwrap().push(tool);
                },
                "Tool names must be unique",
            ),
            (
                "a tool without a schema",
                |body| drop(body["tools"][0].as_object_mut().unwrap().remove("input_schema")),
                "input_schema: Field required",
            ),
            (
                "thinking that is not the model's",
                |body| {
                    body["messages"][1]["content"][0] = json!({ "type": "thinking", "thinking": "x", "signature": "y" })
                },
                "Invalid `signature`",
            ),
            (
                "too little thinking",
                |body| body["thinking"] = json!({ "type": "enabled", "budget_tokens": 1000 }),
                "greater than or equal to 1024",
            ),
            (
                "more thinking than words",
                |body| body["thinking"] = json!({ "type": "enabled", "budget_tokens": 2000 }),
                "must be greater than",
            ),
            (
                "a fifth breakpoint",
                |body| body["system"] = json!(vec![json!({ "type": "text", "text": "x", "cache_control": {} }); 4]),
                "maximum of 4 blocks",
            ),
        ],
    );
}

#[test]
fn anthropic_s_beta_has_more_members_and_its_version_must_be_named() {
    let server = server();
    let mut body = anthropic(json!([{ "role": "user", "content": "go" }]));
    body["context_management"] = json!({});
    let beta = ("/v1/messages?beta=true", ANTHROPIC.1);
    assert_eq!(post(server.address(), beta, &body).status, 200);
    let unversioned = post(server.address(), ("/v1/messages", "x-api-key: sk-scripted\r\n"), &body);
    assert_eq!((unversioned.status, message(&unversioned)), (400, "anthropic-version: header is required".to_owned()));
}

#[test]
fn responses_refuses_what_openai_refuses() {
    let fine = responses(json!([
        { "role": "user", "content": [{ "type": "input_text", "text": "go" }] },
        { "type": "function_call", "call_id": "call_1", "name": "Undeclared", "arguments": "{}" },
        { "type": "custom_tool_call", "call_id": "call_2", "name": "apply_patch", "input": "x" },
        { "type": "function_call_output", "call_id": "call_1", "output": "a" },
        { "type": "custom_tool_call_output", "call_id": "call_2", "output": "b" },
    ]));
    refused(
        RESPONSES,
        &fine,
        &[
            (
                "no model",
                |body| drop(body.as_object_mut().unwrap().remove("model")),
                "Missing required parameter: 'model'",
            ),
            (
                "no input",
                |body| drop(body.as_object_mut().unwrap().remove("input")),
                "Missing required parameter: 'input'",
            ),
            ("a member nobody knows", |body| body["messages"] = json!([]), "Unknown parameter: 'messages'"),
            (
                "an output without its call",
                |body| drop(body["input"].as_array_mut().unwrap().remove(1)),
                "No tool call found for function call output with call_id call_1",
            ),
            (
                "an output before its call",
                |body| body["input"].as_array_mut().unwrap().swap(1, 3),
                "No tool call found",
            ),
            ("an output twice", |body| body["input"][4]["call_id"] = json!("call_1"), "No tool call found"),
            (
                "a call without its output",
                |body| drop(body["input"].as_array_mut().unwrap().remove(3)),
                "No tool output found for function call call_1",
            ),
            (
                "a call without arguments",
                |body| body["input"][1]["arguments"] = json!({}),
                "Missing required parameter: 'input[1].arguments'",
            ),
            (
                "a name with a dot in the past",
                |body| body["input"][1]["name"] = json!("a.b"),
                "Invalid 'input[1].name'",
            ),
            ("an id of 65 letters", |body| body["input"][1]["call_id"] = json!("a".repeat(65)), "string too long"),
            ("an item of no known kind", |body| body["input"][1]["type"] = json!("song"), "Invalid value: 'song'"),
            (
                "content of no known kind",
                |body| body["input"][0]["content"][0]["type"] = json!("text"),
                "Invalid value: 'text'",
            ),
            ("a role nobody has", |body| body["input"][0]["role"] = json!("tool"), "Invalid value: 'tool'"),
            ("a tool of no known kind", |body| body["tools"][0]["type"] = json!("song"), "Invalid value: 'song'"),
            ("a name with a dot", |body| body["tools"][0]["name"] = json!("a.b"), "does not match pattern"),
            ("a tool twice", |body| body["tools"][1]["name"] = json!("Write"), "must be unique"),
            ("what was never stored", |body| body["previous_response_id"] = json!("resp_1"), "'resp_1' not found"),
            (
                "reasoning that was never stored",
                |body| body["input"][1] = json!({ "type": "reasoning", "id": "rs_1", "summary": [] }),
                "'rs_1' not found",
            ),
            (
                "reasoning that is not the model's",
                |body| {
                    body["input"][1] =
                        json!({ "type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x" })
                },
                "could not be verified",
            ),
        ],
    );
}

#[test]
fn responses_takes_reasoning_only_with_what_followed_it() {
    let script = Script::new(KEY).turn(Turn::new().reasoning("hm").call("Write", json!({})));
    let server = Server::start(script).unwrap();
    let mut ask = responses(json!([{ "role": "user", "content": "go" }]));
    ask["include"] = json!(["reasoning.encrypted_content"]);
    let said = post(server.address(), RESPONSES, &ask).json();
    let input = ask["input"].as_array_mut().unwrap();
    input.extend(said["output"].as_array().unwrap().iter().cloned());
    input.push(json!({ "type": "function_call_output", "call_id": said["output"][1]["call_id"], "output": "done" }));
    assert_eq!(post(server.address(), RESPONSES, &ask).status, 200);
    ask["input"].as_array_mut().unwrap().truncate(2);
    assert!(message(&post(server.address(), RESPONSES, &ask)).contains("without its required following item"));
}

/// As Codex does for models whose shape it knows.
#[test]
fn responses_takes_tools_in_items_and_in_namespaces_and_calls_them_there() {
    let script = Script::new(KEY).turn(Turn::new().call_with_text("exec", "text(1)").call("Write", json!({})));
    let server = Server::start(script).unwrap();
    let mut ask = responses(json!([
        { "type": "additional_tools", "role": "developer", "tools": [
            { "type": "namespace", "name": "functions", "tools": [{ "type": "custom", "name": "exec" }] },
        ] },
        { "role": "user", "content": "go" },
    ]));
    for streams in [false, true] {
        ask["stream"] = json!(streams);
        let answer = post(server.address(), RESPONSES, &ask);
        let response = if streams {
            serde_json::from_str::<Value>(answer.events().last().unwrap()).unwrap()["response"].clone()
        } else {
            answer.json()
        };
        let output = response["output"].as_array().unwrap();
        assert_eq!((&output[0]["type"], &output[0]["namespace"]), (&json!("custom_tool_call"), &json!("functions")));
        assert_eq!((&output[1]["type"], output[1].get("namespace")), (&json!("function_call"), None));
    }
    assert_eq!(server.seen()[0].tools, ["Write", "apply_patch", "exec"]);
    let twice = ask["input"][0].clone();
    ask["input"].as_array_mut().unwrap().push(twice);
    assert!(message(&post(server.address(), RESPONSES, &ask)).contains("must be unique: 'functions.exec'"));
}

#[test]
fn chat_completions_refuses_what_openai_refuses() {
    let fine = chat(json!([
        { "role": "system", "content": "be brief" },
        { "role": "user", "content": "go" },
        { "role": "assistant", "content": null, "tool_calls": [
            { "id": "call_1", "type": "function", "function": { "name": "Undeclared", "arguments": "{}" } },
            { "id": "call_2", "type": "function", "function": { "name": "Write", "arguments": "{}" } },
        ] },
        { "role": "tool", "tool_call_id": "call_2", "content": "b" },
        { "role": "tool", "tool_call_id": "call_1", "content": "a" },
    ]));
    refused(
        CHAT,
        &fine,
        &[
            (
                "no model",
                |body| drop(body.as_object_mut().unwrap().remove("model")),
                "Missing required parameter: 'model'",
            ),
            ("no messages", |body| body["messages"] = json!([]), "empty array"),
            (
                "a member nobody knows",
                |body| body["input"] = json!(""),
                "Unrecognized request argument supplied: input",
            ),
            (
                "options of a stream that is none",
                |body| body["stream_options"] = json!({ "include_usage": true }),
                "only allowed when 'stream' is enabled",
            ),
            (
                "a result without its call",
                |body| drop(body["messages"][2]["tool_calls"].as_array_mut().unwrap().remove(0)),
                "must be a response to a preceeding message with 'tool_calls'",
            ),
            (
                "a result twice",
                |body| body["messages"][4]["tool_call_id"] = json!("call_2"),
                "must be a response to a preceeding",
            ),
            (
                "a call without its result",
                |body| drop(body["messages"].as_array_mut().unwrap().pop()),
                "did not have response messages: call_1",
            ),
            (
                "a prompt before the result",
                |body| body["messages"].as_array_mut().unwrap().insert(4, json!({ "role": "user", "content": "?" })),
                "did not have response messages: call_1",
            ),
            ("a role nobody has", |body| body["messages"][1]["role"] = json!("model"), "Invalid value: 'model'"),
            (
                "nothing said and nothing called",
                |body| body["messages"][2]["tool_calls"] = json!([]),
                "expected a string, got null",
            ),
            (
                "arguments that are no text",
                |body| body["messages"][2]["tool_calls"][0]["function"]["arguments"] = json!({}),
                "Missing required parameter",
            ),
            (
                "an id of 41 letters",
                |body| body["messages"][2]["tool_calls"][0]["id"] = json!("a".repeat(41)),
                "maximum length 40",
            ),
            (
                "a name with a dot in the past",
                |body| body["messages"][2]["tool_calls"][0]["function"]["name"] = json!("a.b"),
                "does not match pattern",
            ),
            ("a name with a dot", |body| body["tools"][0]["function"]["name"] = json!("a.b"), "does not match pattern"),
            (
                "a name of 65 letters",
                |body| body["tools"][0]["function"]["name"] = json!("a".repeat(65)),
                "does not match pattern",
            ),
            ("a tool of no known kind", |body| body["tools"][0]["type"] = json!("song"), "Invalid value: 'song'"),
            (
                "a tool twice",
                |body| {
                    let tool = body["tools"][0].clone();
                    body["tools"].as_array_mut().unwrap().push(tool);
                },
                "must be unique",
            ),
            (
                "a choice among none",
                |body| {
                    body["tools"] = json!([]);
                    body["tool_choice"] = json!("auto");
                },
                "only allowed when 'tools' are specified",
            ),
        ],
    );
}

#[test]
fn gemini_refuses_what_google_refuses() {
    let fine = gemini(json!([
        { "role": "user", "parts": [{ "text": "go" }] },
        { "role": "model", "parts": [
            { "functionCall": { "name": "Undeclared", "args": {} } }, { "function_call": { "name": "Write" } },
        ] },
        { "role": "user", "parts": [
            { "functionResponse": { "name": "Undeclared", "response": { "output": "a" } } },
            { "function_response": { "name": "Write", "response": { "output": "b" } } },
        ] },
    ]));
    refused(
        GEMINI,
        &fine,
        &[
            ("no contents", |body| body["contents"] = json!([]), "contents is not specified"),
            ("a member nobody knows", |body| body["messages"] = json!([]), "Unknown name \"messages\""),
            (
                "a part with a member nobody knows",
                |body| body["contents"][0]["parts"][0]["type"] = json!("text"),
                "Unknown name \"type\"",
            ),
            ("a content of no parts", |body| body["contents"][0]["parts"] = json!([]), "parts must not be empty"),
            (
                "a part with nothing in it",
                |body| body["contents"][0]["parts"][0] = json!({}),
                "must have one initialized field",
            ),
            (
                "a part with two things in it",
                |body| body["contents"][1]["parts"][0]["text"] = json!("x"),
                "must have one initialized field",
            ),
            (
                "a call without its response",
                |body| drop(body["contents"][2]["parts"].as_array_mut().unwrap().pop()),
                "number of function response parts is equal",
            ),
            (
                "a response without its call",
                |body| drop(body["contents"][1]["parts"].as_array_mut().unwrap().pop()),
                "number of function response parts is equal",
            ),
            (
                "a conversation that ends with a call",
                |body| drop(body["contents"].as_array_mut().unwrap().pop()),
                "number of function response parts is equal",
            ),
            (
                "a call first",
                |body| drop(body["contents"].as_array_mut().unwrap().remove(0)),
                "comes immediately after a user turn",
            ),
            (
                "a response first",
                |body| drop(body["contents"].as_array_mut().unwrap().remove(1)),
                "comes immediately after a function call turn",
            ),
            ("a role nobody has", |body| body["contents"][1]["role"] = json!("assistant"), "valid role: user, model"),
            (
                "a call of nothing",
                |body| body["contents"][1]["parts"][0]["functionCall"]["name"] = json!(""),
                "Name cannot be empty",
            ),
            (
                "arguments that are no object",
                |body| body["contents"][1]["parts"][0]["functionCall"]["args"] = json!("{}"),
                "protobuf.Struct",
            ),
            (
                "a response that is no object",
                |body| body["contents"][2]["parts"][0]["functionResponse"]["response"] = json!("a"),
                "protobuf.Struct",
            ),
            (
                "a signature that is not the model's",
                |body| body["contents"][1]["parts"][0]["thoughtSignature"] = json!("AAAA"),
                "signature is not valid",
            ),
            (
                "a name that begins with a digit",
                |body| body["tools"][0]["functionDeclarations"][0]["name"] = json!("1a"),
                "Invalid function name",
            ),
            (
                "a name with a blank",
                |body| body["tools"][0]["functionDeclarations"][0]["name"] = json!("a b"),
                "Invalid function name",
            ),
            (
                "a tool twice",
                |body| {
                    let tool = body["tools"][0].clone();
                    body["tools"].as_array_mut().unwrap().push(tool);
                },
                "Duplicate function declaration found: Write",
            ),
        ],
    );
    let server = server();
    let third = ("/v1beta/models/gemini-3-pro:generateContent", GEMINI.1);
    assert!(message(&post(server.address(), third, &fine)).contains("missing a thought_signature"));
}

#[test]
fn a_key_is_required_where_the_vendor_wants_it_and_another_is_refused_as_the_vendor_does() {
    let server = server();
    let user = json!([{ "role": "user", "content": "go" }]);
    let contents = gemini(json!([{ "parts": [{ "text": "go" }] }]));
    let version = "anthropic-version: 2023-06-01\r\n";
    for (path, body, right, wrong, statuses) in [
        ("/v1/messages", anthropic(user.clone()), "x-api-key: sk-scripted", "x-api-key: x", [401, 401]),
        (
            "/v1/messages",
            anthropic(user.clone()),
            "authorization: Bearer sk-scripted",
            "authorization: Bearer x",
            [401, 401],
        ),
        (
            "/v1/responses",
            responses(user.clone()),
            "authorization: Bearer sk-scripted",
            "authorization: sk-scripted",
            [401, 401],
        ),
        (
            "/v1/chat/completions",
            chat(user.clone()),
            "authorization: Bearer sk-scripted",
            "authorization: Bearer x",
            [401, 401],
        ),
        // Google has no 401 for a key that is none.
        (GEMINI.0, contents, "x-goog-api-key: sk-scripted", "x-goog-api-key: x", [400, 403]),
    ] {
        let with = |key: &str| post(server.address(), (path, &format!("{version}{key}\r\n")), &body).status;
        assert_eq!([with(right), with(wrong), with("x: y")], [200, statuses[0], statuses[1]], "{path} {right}");
    }
    let both = format!("{version}x-api-key: sk-scripted\r\nauthorization: Bearer x\r\n");
    assert_eq!(
        post(server.address(), ("/v1/messages", &both), &anthropic(user)).status,
        401,
        "one right key hides no other"
    );
    let places: Vec<_> =
        server.seen().iter().filter(|seen| seen.status == 200).map(|seen| seen.key_in.unwrap()).collect();
    assert_eq!(places, ["x-api-key", "authorization", "authorization", "authorization", "x-goog-api-key"]);
}

#[test]
fn a_path_nobody_has_and_a_body_that_is_no_json_are_refused() {
    let server = server();
    assert_eq!(post(server.address(), ("/v1/models", RESPONSES.1), &json!({})).status, 404);
    assert_eq!(post(server.address(), RESPONSES, &json!([])).status, 400);
    let seen = server.seen();
    assert_eq!((seen[0].protocol, seen[0].status), (None, 404));
    assert_eq!(seen[1].body, json!([]), "what is refused is seen whole");
}
