"""The same sorting of tickets with `vllm run-batch`, raw: OpenAI's batch file in, answers out; nothing of the product.

In: the texts, the prompt around each, the labels. Out: how many answers stand in the file that it wrote. No Ray, one
engine, vLLM's own defaults but for what a good user sets.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tests.bench.children import child_environment, run_logged

# What the command `vllm run-batch` runs; the command itself looks for a package `vllm`, which the CPU build is not.
_MODULE = "vllm.entrypoints.launchers.run_batch"
# As in `ray_data_job.py`.
_ANSWER_TOKENS = 24
_TIMEOUT_SECONDS = 1_800

Style = Literal["json", "one-token"]


def run_batch(
    style: Style,
    texts: Mapping[str, str],
    frame: tuple[str, str],
    schema: Mapping[str, Any],
    model: str,
    engine: Mapping[str, Any],
    home: Path,
) -> int:
    """Answer every text; documents that are longer than the context get an error, as a line of the file all the same.

    Args:
        style: a label as JSON, or one token with the probabilities of as many as there are labels.
        texts: by id.
        frame: what stands before and after each.
        schema: of the JSON answer.
        model: folder or Hugging Face id.
        engine: vLLM engine arguments.
        home: for all that it leaves.
    """
    requests, answers = home / "requests.jsonl", home / "answers.jsonl"
    labels = len(schema["properties"]["label"]["enum"])
    asked: dict[str, Any] = (
        {
            "max_tokens": _ANSWER_TOKENS,
            "response_format": {"type": "json_schema", "json_schema": {"name": "label", "schema": schema}},
        }
        if style == "json"
        else {"max_tokens": 1, "logprobs": True, "top_logprobs": labels}
    )
    with requests.open("w", encoding="utf-8") as stream:
        for name, text in texts.items():
            body = {
                "model": model,
                "messages": [{"role": "user", "content": f"{frame[0]}{text}{frame[1]}"}],
                "temperature": 0,
                "chat_template_kwargs": {"enable_thinking": False},
                **asked,
            }
            line = {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}
            stream.write(json.dumps(line) + "\n")
    command = [sys.executable, "-m", _MODULE, "-i", requests, "-o", answers, "--model", model, *_arguments(engine)]
    run_logged(command, home / "log.txt", child_environment(home), _TIMEOUT_SECONDS)
    with answers.open(encoding="utf-8") as stream:
        return sum(1 for _ in stream)


def _arguments(engine: Mapping[str, Any]) -> Sequence[str]:
    words: list[str] = []
    for name, value in engine.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif value is not False and value is not None:
            words += [option, str(value)]
    return words
