"""Starts mini-swe-agent for one task. Its own command line asks a person, reads settings from wherever it is started and prints for
people; what it does all its work with is a library. What happens is told as one JSON event a line."""

import json
import os
import sys

tree, *arguments = sys.argv[1:]
sys.path.insert(0, tree)
events = os.fdopen(os.dup(1), "w", encoding="utf-8")
# Whatever else prints says nothing that could be taken for an event.
os.dup2(2, 1)
os.environ.update(
    MSWEA_SILENT_STARTUP="1",
    MSWEA_COST_TRACKING="ignore_errors",
    MSWEA_MODEL_RETRY_STOP_AFTER_ATTEMPT="2",
    # Prices from the network, and settings from a file of the repository.
    LITELLM_LOCAL_MODEL_COST_MAP="True",
    LITELLM_MODE="PRODUCTION",
)

import litellm
import minisweagent
from minisweagent.agents.default import DefaultAgent
from minisweagent.config import get_config_from_spec
from minisweagent.environments.local import LocalEnvironment
from minisweagent.models.litellm_model import LitellmModel

litellm.telemetry = False


def tell(kind, **what):
    print(json.dumps({"type": kind, **what}), file=events, flush=True)


class Model(LitellmModel):
    """The same, but a call of a tool that there is not is answered like any other call and does not undo the calls beside it."""

    def _parse_actions(self, response):
        message = response.choices[0].message
        calls = message.tool_calls or []
        unknown = {call.id: call.function.name for call in calls if call.function.name != "bash"}
        usage = response.usage
        cached = getattr(usage, "prompt_tokens_details", None)
        spent["input"] += usage.prompt_tokens
        spent["cached"] += getattr(cached, "cached_tokens", None) or 0
        spent["output"] += usage.completion_tokens
        if message.content:
            tell("said", text=message.content)
        for call in calls:
            tell("used", tool=call.function.name)
        if not unknown:
            return super()._parse_actions(response)
        every = list(calls)
        message.tool_calls = [call for call in every if call.id not in unknown]
        known = {}
        try:
            if message.tool_calls:
                known = {action["tool_call_id"]: action for action in super()._parse_actions(response)}
        finally:
            message.tool_calls = every
        nothing = lambda call: {"command": "", "tool_call_id": call.id, "unknown": unknown[call.id]}
        return [known.get(call.id) or nothing(call) for call in every]


class Environment(LocalEnvironment):
    """The same, without what there is no tool for."""

    def execute(self, action, *rest, **more):
        if "unknown" in action:
            because = f"there is no tool `{action['unknown']}`"
            return {"output": "", "returncode": -1, "exception_info": because}
        return super().execute(action, *rest, **more)


def work(model, address, prompt):
    config = get_config_from_spec("mini.yaml")
    how = {**config["model"], "model_name": f"openai/{model}"}
    how["model_kwargs"] = {
        **how.get("model_kwargs", {}),
        "api_base": address,
        "api_key": os.environ["SELVEDGE_MODEL_KEY"],
        "max_retries": 0,
    }
    agent = {name: config["agent"][name] for name in ("system_template", "instance_template")}
    # What may be spent, and for how long, is bounded from outside.
    environment = Environment(**{**config["environment"], "timeout": 600})
    done = DefaultAgent(Model(**how), environment, cost_limit=0, **agent).run(prompt)
    status = done.get("exit_status")
    if done.get("submission"):
        tell("said", text=done["submission"])
    return None if status == "Submitted" else f"it ended with {status}"


spent = {"input": 0, "cached": 0, "output": 0}
if arguments == ["--version"]:
    print(minisweagent.__version__, file=events, flush=True)
else:
    model, address, _, prompt = arguments
    try:
        because = work(model, address, prompt)
    except Exception as error:
        because = f"{type(error).__name__}: {error}"
    tell("ended", because=because, tokens=spent)
