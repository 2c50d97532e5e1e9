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
# (least, most, whole)
_NUMBERS: dict[str, tuple[float, float, bool]] = {
    "tensor_parallel_size": (1, 1_024, True),
    "pipeline_parallel_size": (1, 1, True),  # an engine is given the devices of one tensor-parallel group
    "data_parallel_size": (1, 1, True),
    "max_model_len": (1, 100_000_000, True),
    "max_num_seqs": (1, 1_000_000, True),
    "max_num_batched_tokens": (1, 100_000_000, True),
    "block_size": (1, 65_536, True),
    "num_gpu_blocks_override": (1, 1_000_000_000, True),
    "kv_cache_memory_bytes": (1, 10**15, True),
    "gpu_memory_utilization": (0.01, 1, False),
    "swap_space": (0, 100_000, False),
    "cpu_offload_gb": (0, 100_000, False),
    "seed": (0, 2**32 - 1, True),
}
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
    problems += [problem for name, value in arguments.items() if (problem := _wrong_number(name, value))]
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


def _wrong_number(name: str, value: object) -> str | None:
    """What is wrong with an engine argument that is bounded."""
    if name in _NUMBERS and value is not None:
        least, most, is_whole = _NUMBERS[name]
        is_number = isinstance(value, int if is_whole else int | float) and not isinstance(value, bool)
        if not is_number or not least <= value <= most:  # type: ignore[operator]  # a number, as was just seen
            return f"{name}: a {'whole ' if is_whole else ''}number from {least:,} to {most:,} is expected"
    return None
