"""An agent that stands in for Codex in a rehearsal: it speaks Responses, has one tool, and takes its turns as it is told to."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request

how = sys.argv[1]
tools = [{"type": "function", "name": "exec_command", "parameters": {"type": "object"}}]
said = [{"type": "message", "role": "user", "content": "rehearse"}]


def ask():
    body = json.dumps({"model": "some-model", "input": said, "tools": tools}).encode()
    url = "http://model.selvedge.internal/v1/responses"
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    return json.load(urllib.request.urlopen(request))["output"]


def run(call):
    if call["name"] != "exec_command":
        return f"unsupported call: {call['name']}"
    command = json.loads(call["arguments"])["cmd"]
    # What it was denied it was never told; of all agents only a guess could do it.
    if how == "does-it-all-the-same":
        open(re.search(r"\S*selvedge-rehearsal-\w*-", command)[0] + "denied", "w").close()
    if how == "does-nothing":
        return "made" + re.search(r"selvedge-rehearsal-(\w*)-", command)[1]
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True).stdout


def rehearse():
    while True:
        output = ask()
        calls = [item for item in output if item["type"] == "function_call"]
        if how == "forgets":
            output = [item for item in output if item.get("name", "exec_command") == "exec_command"]
            calls = [call for call in calls if call["name"] == "exec_command"]
        said.extend(output)
        if not calls:
            return
        for call in calls:
            said.append({"type": "function_call_output", "call_id": call["call_id"], "output": run(call)})


if how == "hangs":
    time.sleep(3600)
if how == "asks-elsewhere":
    try:
        urllib.request.urlopen("http://models.example/v1/responses", b"{}")
    except OSError:
        pass
elif how != "says-it-is-done":
    rehearse()
if how != "breaks-off":
    print(json.dumps({"type": "item.completed", "item": {"type": "agent_message", "text": "done"}}))
    print(json.dumps({"type": "turn.completed"}))
