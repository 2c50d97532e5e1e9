"""vLLM engine arguments as a job gives them: values that can be written down, and which of them run code.

Knows nothing of vLLM: names it does not know are left to the engine.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

_MAX_DEPTH = 20
_MAX_INTEGER = 2**53 - 1  # what JSON keeps to the last digit
_AT_LEAST_ONE = (
    "max_model_len",
    "max_num_seqs",
    "max_num_batched_tokens",
    "block_size",
    "tensor_parallel_size",
    "pipeline_parallel_size",
)
# They import what they name, or code that lies beside the weights; some also inside other arguments.
_RUN_CODE = frozenset(
    {
        "trust_remote_code",
        "worker_cls",
        "worker_extension_cls",
        "scheduler_cls",
        "logits_processors",
        "io_processor_plugin",
        "reasoning_parser_plugin",
        "model_class_overrides",
        "kv_connector_module_path",
        "ec_connector_module_path",
        "log_config_file",
    }
)
_EXECUTORS = (None, "mp", "ray", "uni", "external_launcher")  # anything else is imported


def check_engine_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments, unless one cannot be written down or is no number where one is needed.

    Raises:
        ValueError: with every problem.
    """
    problems = [f"{name}: {problem}" for name, value in arguments.items() for problem in _misfits(value, 0)]
    for name in _AT_LEAST_ONE:
        value = arguments.get(name)
        if name in arguments and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            problems.append(f"{name}: {_shown(value)} is no whole number of at least 1")
    share = arguments.get("gpu_memory_utilization", 1)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        problems.append(f"gpu_memory_utilization: {_shown(share)} is no share above 0 and up to 1")
    if problems:
        raise ValueError("; ".join(dict.fromkeys(problems)))
    return arguments


EngineArguments = Annotated[dict[str, Any], AfterValidator(check_engine_arguments)]


def code_arguments(arguments: Mapping[str, object]) -> list[str]:
    """The arguments that have the engine run code of the job's or the model's own."""
    named = [name for name, value in arguments.items() if _runs_code({name: value})]
    if arguments.get("distributed_executor_backend") not in _EXECUTORS:
        named.append("distributed_executor_backend")
    return named


def _runs_code(value: object) -> bool:
    if isinstance(value, Mapping):
        return any((name in _RUN_CODE and bool(inner)) or _runs_code(inner) for name, inner in value.items())
    return isinstance(value, list | tuple) and any(map(_runs_code, value))


def _misfits(value: object, depth: int) -> Iterator[str]:
    """What in a value would be another one, or none, after it was written down and read back."""
    match value:
        case None | bool():
            return
        case int():
            if abs(value) > _MAX_INTEGER:
                yield f"a number over {_MAX_INTEGER:,} cannot be written down exactly"
        case float():
            if not math.isfinite(value):
                yield f"{value} is not a number that can be written down"
        case str():
            if any(unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t" for char in value):
                yield "control characters and half characters are not allowed"
        case dict() | list() if depth >= _MAX_DEPTH:
            yield f"nested more than {_MAX_DEPTH} deep"
        case dict():
            if not all(isinstance(name, str) for name in value):
                yield "names must be texts; put them in quotes"
            for inner in value.values():
                yield from _misfits(inner, depth + 1)
        case list():
            for inner in value:
                yield from _misfits(inner, depth + 1)
        case _:
            yield f"a value of type {type(value).__name__} cannot be written down; put it in quotes"


def _shown(value: object) -> str:
    """Short, and of a number too long to be written, its kind."""
    if isinstance(value, int) and abs(value) > _MAX_INTEGER:
        return "a number that large"
    return repr(value)[:60]
