"""Starts aider for one task. Its own command line takes settings, commands and environments from files of the repository; what edits
files is a library. What happens is told as one JSON event a line."""

import json
import os
import subprocess
import sys

tree, *arguments = sys.argv[1:]
sys.path.insert(0, tree)
events = os.fdopen(os.dup(1), "w", encoding="utf-8")
# Whatever else prints says nothing that could be taken for an event.
os.dup2(2, 1)
# Prices from the network, and settings from a file of the repository.
os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_MODE="PRODUCTION")

import aider
from aider import models, repomap
from aider.coders import Coder, base_coder
from aider.io import InputOutput

# What it would look up in the network about models it does not know.
models.model_info_manager._cache_loaded = True
models.model_info_manager.content = {"none": {}}
# It would go on asking a vendor that fails for two minutes.
base_coder.RETRY_TIMEOUT = 2
# Not in the repository, where it would be taken for work.
repomap.RepoMap.TAGS_CACHE_DIR = os.path.join(os.path.expanduser("~"), "tags")


def tell(kind, **what):
    print(json.dumps({"type": kind, **what}), file=events, flush=True)


class Io(InputOutput):
    """Nobody is there to be asked, and there is no browser."""

    failed = None

    def tool_error(self, message="", strip=True):
        self.failed = str(message)
        tell("failed", message=self.failed)
        super().tool_error(message, strip)

    def offer_url(self, *_, **__):
        return False


def work(model, address, prompt):
    # It looks for the files there are in a repository of git's. This one is its own, and nobody reads it later.
    for command in (["init", "--quiet"], ["add", "--intent-to-add", "--all"]):
        subprocess.run(["git", *command], check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    name = f"openai/{model}"
    asked = models.Model(name, weak_model=name, editor_model=False)
    asked.extra_params = {
        **(asked.extra_params or {}),
        "api_base": address,
        "api_key": os.environ["SELVEDGE_MODEL_KEY"],
        "max_retries": 0,
    }
    io = Io(pretty=False, yes=True, fancy_input=False)
    coder = Coder.create(
        main_model=asked,
        edit_format="diff",
        io=io,
        stream=False,
        map_tokens=1024,
        auto_commits=False,
        auto_lint=False,
        auto_test=False,
        # The calls of a shell that it suggests are not run: nobody would have judged them.
        suggest_shell_commands=False,
        detect_urls=False,
    )
    coder.check_for_file_mentions(prompt)
    # The task is not looked through for commands: one that begins with an exclamation mark would be run in a shell.
    said = coder.run(with_message=prompt, preproc=False)
    if said:
        tell("said", text=said)
    for path in sorted(coder.aider_edited_files or ()):
        tell("used", tool="edit", path=path)
    spent.update(input=coder.total_tokens_sent, output=coder.total_tokens_received)
    if coder.reflected_message:
        return "its last edits could not be made"
    return None if said else io.failed or "its model said nothing"


spent = {"input": 0, "output": 0}
if arguments == ["--version"]:
    print(aider.__version__, file=events, flush=True)
else:
    model, address, _, prompt = arguments
    try:
        because = work(model, address, prompt)
    except Exception as error:
        because = f"{type(error).__name__}: {error}"
    tell("ended", because=because, tokens=spent)
