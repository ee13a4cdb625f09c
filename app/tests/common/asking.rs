//! Clients of a model that are not one of an agent's: all four protocols, each in a few lines.

use serde_json::{Value, json};

/// A client of each protocol that is not one of an agent: it asks, does what it was asked as far as it knows the tool, and asks again.
pub(crate) const CLIENT: &str = r#"
import json, os, sys, urllib.error, urllib.request
kind, model = sys.argv[1], "scripted-1"
names = ["Read", "Bash", "Write"]
schema = {"type": "object", "properties": {}}
def post(path, body):
    fields = {"content-type": "application/json", "anthropic-version": "2023-06-01", "x-api-key": "somebody-elses-key-0000",
              "authorization": "Bearer somebody-elses-key-0000", "x-goog-api-key": "somebody-elses-key-0000"}
    request = urllib.request.Request(os.environ["SELVEDGE_MODEL_URL"] + path, json.dumps(body).encode(), fields)
    try:
        return json.load(urllib.request.urlopen(request))
    except urllib.error.HTTPError as error:
        print("status", error.code, error.read().decode())
        sys.exit(1)
def done(name):
    print("called", name)
    return "done by the agent" if name in names else "no such tool"
if kind == "anthropic-messages":
    body = {"model": model, "max_tokens": 1000, "messages": [{"role": "user", "content": "do three things"}],
            "tools": [{"name": name, "input_schema": schema} for name in names]}
    calls = post("/v1/messages", body)["content"]
    results = [{"type": "tool_result", "tool_use_id": call["id"], "content": done(call["name"])}
               for call in calls if call["type"] == "tool_use"]
    body["messages"] += [{"role": "assistant", "content": calls}, {"role": "user", "content": results}]
    print(post("/v1/messages", body)["content"][0]["text"])
elif kind == "openai-responses":
    body = {"model": model, "store": False, "input": [{"type": "message", "role": "user",
            "content": [{"type": "input_text", "text": "do three things"}]}],
            "tools": [{"type": "function", "name": name, "parameters": schema, "strict": False} for name in names]}
    items = post("/v1/responses", body)["output"]
    body["input"] += items + [{"type": "function_call_output", "call_id": call["call_id"], "output": done(call["name"])}
                              for call in items if call["type"] == "function_call"]
    last = [item for item in post("/v1/responses", body)["output"] if item["type"] == "message"]
    print(last[0]["content"][0]["text"])
elif kind == "openai-chat":
    body = {"model": model, "messages": [{"role": "user", "content": "do three things"}],
            "tools": [{"type": "function", "function": {"name": name, "parameters": schema}} for name in names]}
    said = post("/v1/chat/completions", body)["choices"][0]["message"]
    body["messages"] += [said] + [{"role": "tool", "tool_call_id": call["id"], "content": done(call["function"]["name"])}
                                  for call in said["tool_calls"]]
    print(post("/v1/chat/completions", body)["choices"][0]["message"]["content"])
else:
    path = "/v1beta/models/" + model + ":generateContent"
    body = {"contents": [{"role": "user", "parts": [{"text": "do three things"}]}],
            "tools": [{"functionDeclarations": [{"name": name, "parameters": schema} for name in names]}]}
    said = post(path, body)["candidates"][0]["content"]
    calls = [part["functionCall"] for part in said["parts"] if "functionCall" in part]
    answer = lambda call: {key: call[key] for key in ("id", "name") if key in call} | {"response": {"output": done(call["name"])}}
    body["contents"] += [said, {"role": "user", "parts": [{"functionResponse": answer(call)} for call in calls]}]
    print(post(path, body)["candidates"][0]["content"]["parts"][0]["text"])
"#;

/// How each protocol is asked, and how the vendor's key is carried in it.
pub(crate) const PROTOCOLS: [(&str, &str); 4] = [
    ("anthropic-messages", "header = \"x-api-key\"\nscheme = \"plain\""),
    ("openai-responses", ""),
    ("openai-chat", ""),
    ("gemini", "header = \"x-goog-api-key\"\nscheme = \"plain\""),
];

/// The first request of a conversation, with the tools of [`CLIENT`]: where it goes, and its body.
pub(crate) fn first(protocol: &str, streams: bool) -> (String, Value) {
    let names = ["Read", "Bash", "Write"];
    let schema = json!({ "type": "object", "properties": {} });
    let each = |tool: &dyn Fn(&str) -> Value| names.iter().map(|name| tool(name)).collect::<Vec<_>>();
    match protocol {
        "anthropic-messages" => (
            "/v1/messages".to_owned(),
            json!({
                "model": "scripted-1", "max_tokens": 1000, "stream": streams,
                "messages": [{ "role": "user", "content": "do three things" }],
                "tools": each(&|name| json!({ "name": name, "input_schema": schema })),
            }),
        ),
        "openai-responses" => (
            "/v1/responses".to_owned(),
            json!({
                "model": "scripted-1", "stream": streams, "store": false,
                "input": [{ "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "do" }] }],
                "tools": each(&|name| json!({ "type": "function", "name": name, "parameters": schema, "strict": false })),
            }),
        ),
        "openai-chat" => (
            "/v1/chat/completions".to_owned(),
            json!({
                "model": "scripted-1", "stream": streams, "messages": [{ "role": "user", "content": "do" }],
                "tools": each(&|name| json!({ "type": "function", "function": { "name": name, "parameters": schema } })),
            }),
        ),
        _ => (
            format!(
                "/v1beta/models/scripted-1:{}",
                if streams { "streamGenerateContent?alt=sse" } else { "generateContent" }
            ),
            json!({
                "contents": [{ "role": "user", "parts": [{ "text": "do" }] }],
                "tools": [{ "functionDeclarations": each(&|name| json!({ "name": name, "parameters": schema })) }],
            }),
        ),
    }
}
