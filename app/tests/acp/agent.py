"""An agent that speaks the Agent Client Protocol, well or otherwise: its first argument says how."""

import json
import os
import subprocess
import sys
import time

how = sys.argv[1]


def say(**message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def hear():
    line = sys.stdin.readline()
    if not line:
        sys.exit(1)
    return json.loads(line)


def update(session_update, /, **what):
    say(method="session/update", params={"sessionId": "one", "update": {"sessionUpdate": session_update, **what}})


def says(text):
    update("agent_message_chunk", content={"type": "text", "text": text})


def asks(method, **params):
    say(id=method, method=method, params={"sessionId": "one", **params})
    return hear()


def may(*kinds):
    options = [{"optionId": kind, "name": kind, "kind": kind} for kind in kinds]
    return asks("session/request_permission", toolCall={"toolCallId": "1"}, options=options)


if how == "gone":
    sys.exit(0)
asked = hear()
print("welcome", flush=True)
say(id=asked["id"], result={"protocolVersion": 1, "agentCapabilities": {"mcpCapabilities": {"http": True}}})
session = hear()
modes = {"currentModeId": "ask", "availableModes": [{"id": "ask"}, {"id": "code"}]}
say(id=session["id"], result={"sessionId": "one", "modes": modes})
asked = hear()
if asked["method"] == "session/set_mode":
    say(id=asked["id"], result={})
    asked = hear()
task = asked["params"]["prompt"][0]["text"]

if how == "runs":
    subprocess.run(["/usr/bin/env", "true"], check=True)
    how = "works"
if how == "works":
    says("I will ")
    says("do that.")
    update("tool_call", toolCallId="1", title="make it longer", kind="edit", status="pending")
    answer = may("allow_always", "allow_once", "reject_once")
    with open("src/greeting", "w") as greeting:
        greeting.write("hello, " + answer["result"]["outcome"]["optionId"] + "\n")
    says("Done: " + task + ".")
elif how == "tells":
    says(json.dumps({"servers": session["params"]["mcpServers"], "env": dict(os.environ)}))
elif how == "floods":
    sys.stdout.write("x" * (16 << 20))
elif how == "nests":
    sys.stdout.write('{"jsonrpc":"2.0","method":"session/update","params":' + "[" * (4 << 20) + "\n")
elif how == "writes":
    heard = [asks("fs/write_text_file", path=path, content="x") for path in ["/etc/passwd", "/workspace/src/new"]]
    heard.append(asks("terminal/create", command="touch", args=["src/new"]))
    says(" ".join(answer["error"]["message"] for answer in heard))
elif how == "insists":
    while True:
        asks("terminal/create", command="id")
elif how == "for-good":
    outcome = may("allow_always")["result"]["outcome"]
    says(json.dumps(outcome))
elif how == "is-silent":
    time.sleep(600)
elif how == "leaves":
    subprocess.Popen(["sleep", "31536000.25"], start_new_session=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    says("Done.")
elif how == "fails":
    say(id=asked["id"], error={"code": -32000, "message": "no model\nanswers"})
say(id=asked["id"], result={"stopReason": "refusal" if how == "refuses" else "end_turn"})
time.sleep(600)
