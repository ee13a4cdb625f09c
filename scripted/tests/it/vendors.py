"""Has a conversation of two turns with one vendor's own library, in one piece and as a stream, and prints what it read as JSON. With the
vendor, or by the library's own client of a host that runs the vendor's models."""

import json
import sys

vendor, address = sys.argv[1:]
KEY = "sk-scripted"
SESSION = "ASIASCRIPTEDOFATEST1:s3cr3t/of+a/session/0001:t0ken/of+a/session=="
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}


def anthropic_client():
    from anthropic import Anthropic, AnthropicBedrock, AnthropicVertex

    key, secret, token = SESSION.split(":")
    place = {"aws_region": "eu-central-1", "base_url": address}
    return {
        "anthropic": lambda: Anthropic(api_key=KEY, base_url=address),
        "bedrock": lambda: AnthropicBedrock(aws_access_key=key, aws_secret_key=secret, aws_session_token=token, **place),
        "bedrock-key": lambda: AnthropicBedrock(api_key=KEY, **place),
        "vertex": lambda: AnthropicVertex(region="eu", project_id="p", access_token=KEY, base_url=address + "/v1"),
    }[vendor]()


def anthropic_has(streams):
    client = anthropic_client()
    ask = {"model": "claude-x", "max_tokens": 4000, "tools": [{"name": "Write", "input_schema": SCHEMA}]}
    messages = [{"role": "user", "content": "go"}]

    def turn():
        if not streams:
            return client.messages.create(messages=messages, **ask)
        with client.messages.stream(messages=messages, **ask) as stream:
            return stream.get_final_message()

    first = turn()
    calls = [block for block in first.content if block.type == "tool_use"]
    messages.append({"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in first.content]})
    messages.append({"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": call.id, "content": "wrote " + call.input["path"]} for call in calls]})
    second = turn()
    counts = not vendor.startswith("bedrock")
    count = client.messages.count_tokens(model="claude-x", messages=messages, tools=ask["tools"]).input_tokens if counts else 0
    said = lambda message: "".join(block.text for block in message.content if block.type == "text")
    usage = first.usage
    return {
        "calls": [[call.name, call.input] for call in calls], "said": [said(first), said(second)],
        "thought": "".join(block.thinking for block in first.content if block.type == "thinking"),
        "ends": [first.stop_reason, second.stop_reason], "counted": count,
        "usage": [usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens, usage.output_tokens],
    }


def responses_has(streams):
    from openai import OpenAI

    client = OpenAI(api_key=KEY, base_url=address + "/v1")
    ask = {
        "model": "gpt-x", "store": False, "include": ["reasoning.encrypted_content"],
        "tools": [{"type": "function", "name": "Write", "parameters": SCHEMA, "strict": False},
                  {"type": "custom", "name": "apply_patch"}],
    }
    items = [{"role": "user", "content": "go"}]

    def turn():
        if not streams:
            return client.responses.create(input=items, **ask)
        with client.responses.stream(input=items, **ask) as stream:
            return stream.get_final_response()

    first = turn()
    calls = [item for item in first.output if item.type in ("function_call", "custom_tool_call")]
    items += [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in first.output]
    for call in calls:
        if call.type == "function_call":
            path = json.loads(call.arguments)["path"]
            items.append({"type": "function_call_output", "call_id": call.call_id, "output": "wrote " + path})
        else:
            items.append({"type": "custom_tool_call_output", "call_id": call.call_id, "output": "patched"})
    for item in items:
        for part in item.get("content", []):
            if isinstance(part, dict):
                part.pop("parsed", None)
    second = turn()
    usage = first.usage
    return {
        "calls": [[call.name, json.loads(call.arguments) if call.type == "function_call" else call.input] for call in calls],
        "said": [first.output_text, second.output_text],
        "thought": "".join(part.text for item in first.output if item.type == "reasoning" for part in item.summary),
        "ends": [first.status, second.status],
        "usage": [usage.input_tokens, usage.input_tokens_details.cached_tokens, usage.output_tokens,
                  usage.output_tokens_details.reasoning_tokens],
    }


def chat_client():
    from openai import AzureOpenAI, OpenAI

    return {
        "chat": lambda: OpenAI(api_key=KEY, base_url=address + "/v1"),
        "azure": lambda: AzureOpenAI(api_key=KEY, azure_endpoint=address, api_version="2024-10-21"),
        "azure-v1": lambda: OpenAI(api_key=KEY, base_url=address + "/openai/v1"),
    }[vendor]()


def chat_has(streams):
    client = chat_client()
    ask = {"model": "gpt-x", "tools": [{"type": "function", "function": {"name": "Write", "parameters": SCHEMA}}]}
    messages = [{"role": "user", "content": "go"}]

    def turn():
        if not streams:
            return client.chat.completions.create(messages=messages, **ask)
        with client.chat.completions.stream(messages=messages, stream_options={"include_usage": True}, **ask) as stream:
            return stream.get_final_completion()

    first = turn()
    choice = first.choices[0]
    calls = choice.message.tool_calls
    messages.append({"role": "assistant", "content": choice.message.content, "tool_calls": [
        {"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": call.function.arguments}}
        for call in calls]})
    for call in calls:
        path = json.loads(call.function.arguments)["path"]
        messages.append({"role": "tool", "tool_call_id": call.id, "content": "wrote " + path})
    second = turn()
    usage = first.usage
    return {
        "calls": [[call.function.name, json.loads(call.function.arguments)] for call in calls],
        "said": [choice.message.content, second.choices[0].message.content],
        "ends": [choice.finish_reason, second.choices[0].finish_reason],
        "usage": [usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens, usage.completion_tokens,
                  usage.completion_tokens_details.reasoning_tokens],
    }


def gemini_has(streams):
    from google import genai
    from google.genai import types

    if vendor == "gemini":
        client = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=address))
    else:
        from google.oauth2.credentials import Credentials

        place = types.HttpOptions(base_url=address, api_version="v1")
        client = genai.Client(vertexai=True, project="p", location="eu", credentials=Credentials(KEY), http_options=place)
    declared = types.FunctionDeclaration(name="Write", parameters_json_schema=SCHEMA)
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[declared])], system_instruction="be brief",
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        thinking_config=types.ThinkingConfig(include_thoughts=True))
    contents = [types.Content(role="user", parts=[types.Part(text="go")])]

    def turn():
        ask = {"model": "gemini-3-pro", "contents": contents, "config": config}
        if not streams:
            answer = client.models.generate_content(**ask)
            return answer.candidates[0].content.parts, answer
        parts = []
        for answer in client.models.generate_content_stream(**ask):
            parts += answer.candidates[0].content.parts
        return [part for part in parts if part.text != ""], answer

    first, last = turn()
    calls = [part.function_call for part in first if part.function_call]
    contents.append(types.Content(role="model", parts=first))
    contents.append(types.Content(role="user", parts=[
        types.Part(function_response=types.FunctionResponse(
            id=call.id, name=call.name, response={"output": "wrote " + call.args["path"]})) for call in calls]))
    second, end = turn()
    count = client.models.count_tokens(model="gemini-3-pro", contents=contents)
    said = lambda parts, thought: "".join(part.text for part in parts if part.text and bool(part.thought) == thought)
    usage = last.usage_metadata
    return {
        "calls": [[call.name, call.args] for call in calls], "said": [said(first, False), said(second, False)],
        "thought": said(first, True), "counted": count.total_tokens,
        "ends": [last.candidates[0].finish_reason.value, end.candidates[0].finish_reason.value],
        "usage": [usage.prompt_token_count, usage.cached_content_token_count, usage.candidates_token_count,
                  usage.thoughts_token_count],
    }


has = {
    "anthropic": anthropic_has, "bedrock": anthropic_has, "bedrock-key": anthropic_has, "vertex": anthropic_has,
    "responses": responses_has, "chat": chat_has, "azure": chat_has, "azure-v1": chat_has,
    "gemini": gemini_has, "vertex-gemini": gemini_has,
}[vendor]
print(json.dumps([has(False), has(True)]))
