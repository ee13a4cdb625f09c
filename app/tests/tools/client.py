"""A client of the tool door, by hand: says what it is told to, and prints what it is answered, a line each."""
import json
import os
import sys
import urllib.error
import urllib.request


accepted = "application/json, text/event-stream"


def post(server, message, method="POST"):
    data = None if method == "GET" else (message if isinstance(message, str) else json.dumps(message)).encode()
    fields = {"content-type": "application/json", "accept": accepted, "authorization": "Bearer somebody-elses-key-0000"}
    request = urllib.request.Request(os.environ["SELVEDGE_TOOLS_URL"] + "/" + server, data, fields, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, told(answer.headers["content-type"], answer.read().decode())
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def told(kind, body):
    """The answer, behind the signs that it is still to come."""
    if kind != "text/event-stream":
        if body.startswith("\n"):
            print("signs", "white space")
        return body
    *signs, last, end = body.split("\n\n")
    assert end == "" and last.startswith("event: message\ndata: "), body
    for sign in signs:
        print("signs", "comment" if sign.startswith(":") else json.loads(sign.split("data: ")[1])["params"])
    return last.split("data: ")[1]


def say(server, method, params=None, id=1):
    status, body = post(server, {"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}})
    return json.loads(body) if body else status


def call(tool, arguments):
    answer = say(server, "tools/call", {"name": tool, "arguments": arguments, "_meta": meta})
    if "error" in answer:
        print(tool, "error", answer["error"]["message"])
    else:
        result = answer["result"]
        print(tool, "failed" if result["isError"] else "ok", result["content"][0]["text"][:400], sorted(result))


meta = {}
for word in sys.argv[2:]:
    server = sys.argv[1]
    if word == "hello":
        answer = say(server, "initialize", {"protocolVersion": "2025-06-18", "capabilities": {},
                                            "clientInfo": {"name": "t", "version": "1"}})
        print("hello", answer["result"]["protocolVersion"], answer["result"]["serverInfo"]["name"], "instructions" in answer["result"])
        print("told", post(server, {"jsonrpc": "2.0", "method": "notifications/initialized"})[0])
    elif word == "list":
        answer = say(server, "tools/list")
        print("list", json.dumps(answer.get("result", answer.get("error")), sort_keys=True))
    elif word == "get":
        print("get", post(server, "", "GET")[0])
    elif word == "twice":
        print("twice", post(server, '{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}')[0])
    elif word == "prompts":
        print("prompts", say(server, "prompts/list")["error"]["code"])
    elif word.startswith("direct="):
        try:
            with urllib.request.urlopen(urllib.request.Request(word[7:], b"{}")) as answer:
                print("direct", answer.status)
        except urllib.error.HTTPError as error:
            print("direct", error.code, json.loads(error.read())["code"])
    elif word == "plain":
        accepted = "application/json"
    elif word == "progress":
        meta = {"progressToken": "t1"}
    elif word == "calls":
        for tool, arguments in json.load(open("calls.json")):
            call(tool, arguments)
    else:
        tool, _, query = word.partition("=")
        call(tool, {"query": query} if query else {})
