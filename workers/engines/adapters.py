"""LoRA adapters: from a job's `model.adapter` to files on this machine that fit the model and that an engine can load.

In: a folder, an s3:// place or a Hugging Face id. Out: a local folder in PEFT's format, with the hash of what it says.
What does not fit is refused before anything starts; whether it changes answers, the engine sees (`engine.py`).
Knows nothing of vLLM but the ranks that it takes.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.errors import EngineError, JobError
from pipelines.settings import settings
from pipelines.store.objects import Store
from pipelines.store.regular_files import open_regular
from pipelines.tasks.code_review.verification import VERIFICATION_ONLY
from workers.engines.file_hashes import content_hash

CONFIG, WEIGHTS, CARD = "adapter_config.json", "adapter_model.safetensors", "adapter_card.json"
# vLLM's own list (config.lora.MaxLoRARanks in 0.32).
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
_FILES = (WEIGHTS, CARD, CONFIG)
_CONFIG_BYTES = 1024 * 1024
_PART = re.compile(r"layers\.(\d+)\..*?([qkv])_proj\.lora_([AB])\.weight$")
# vLLM has no arithmetic for these.
_UNKNOWN_KINDS = ("use_dora", "lora_bias", "modules_to_save", "alora_invocation_tokens", "layer_replication")


@dataclass(frozen=True)
class Adapter:
    """An adapter whose files are here.

    ``revision`` is the hash of its weights and settings, wherever they are; ``task`` what it was trained for, by the
    card that `pipeline adapt` wrote, None of any other.
    """

    source: str
    revision: str
    folder: Path
    rank: int
    task: str | None = None

    @property
    def is_for_verification(self) -> bool:
        """Whether it answers claims alone: what a review says is written by the base."""
        return self.task == VERIFICATION_ONLY


class MadeFor(BaseModel):
    """Of a card that `pipeline adapt` wrote, what is needed to serve the adapter; foreign ones have no card."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    base_revision: str
    task: str | None = None


# What the card of an adapter for a job's task says.
_TASKS = {"classification": "classification", "code_review": VERIFICATION_ONLY}


def refuse_other_task(adapter: Adapter, task: Literal["classification", "code_review"]) -> None:
    """An adapter of another task would answer, and nothing would look wrong; one without our card may be for any.

    Raises:
        JobError: its card names another task than the job's.
    """
    if adapter.task not in (None, _TASKS[task]):
        raise JobError(
            [
                f"model.adapter: '{adapter.source}' is for {adapter.task}, and this job is a {task.replace('_', ' ')}; "
                "name one that `pipeline adapt` made of runs of this job, or leave it out"
            ]
        )


def resolve_adapter(source: str, base: Path, base_revision: str, engine: Mapping[str, Any]) -> Adapter:
    """Find an adapter's files, fetching them if they are elsewhere, and see that they fit the model.

    Args:
        source: a folder, an s3:// place or a Hugging Face id.
        base: folder with the model's config.
        base_revision: of the model.
        engine: vLLM arguments that the model is given.

    Raises:
        JobError: it is not there, or does not fit.
        StoreError: S3 cannot be reached.
    """
    folder = _local_folder(source)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise JobError(
                [f"model.adapter: '{source}' has no {name}; give the folder of a LoRA adapter as PEFT saves it"]
            )
    config = _read_config(folder / CONFIG, source)
    problems = [*_kind_problems(config), *_rank_problems(config, engine), *_base_problems(folder, base, base_revision)]
    if problems:
        raise JobError([f"model.adapter: '{source}' {problem}" for problem in problems])
    return Adapter(source, _revision(folder), folder, _rank(config), _task_of(folder))


def adapter_here(adapter: Adapter) -> Path:
    """The folder of an adapter in an engine's process, which may run on another machine than the run.

    Raises:
        EngineError: it is not to be had there, or is another one there.
    """
    try:
        folder = adapter.folder if (adapter.folder / WEIGHTS).is_file() else _local_folder(adapter.source)
        found = _revision(folder)
    except (JobError, OSError) as error:
        raise EngineError(
            f"adapter '{adapter.source}' cannot be read where the engine runs ({error}); put it on a disk that all "
            "machines share, or on S3"
        ) from error
    if found != adapter.revision:
        raise EngineError(
            f"adapter '{adapter.source}' is {found} where the engine runs, and the run was begun with "
            f"{adapter.revision}; put the same files on every machine"
        )
    return folder


def engine_arguments(adapter: Adapter) -> dict[str, Any]:
    """What vLLM needs to be told to serve it."""
    return {"enable_lora": True, "max_loras": 1, "max_lora_rank": next(rank for rank in RANKS if rank >= adapter.rank)}


def _local_folder(source: str) -> Path:
    if source.startswith("s3://"):
        return _from_s3(source)
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", source) or source.startswith("."):
        raise JobError([f"model.adapter: no folder '{source}'; mend model.adapter"])
    return _from_hugging_face(source)


def _from_s3(source: str) -> Path:
    store = Store(source)
    found = {name: data for name in _FILES if (data := store.read_if_exists(name)) is not None}
    if WEIGHTS not in found or CONFIG not in found:
        raise JobError([f"model.adapter: '{source}' lacks {WEIGHTS} or {CONFIG}; mend the place"])
    below = settings().state_dir / "adapters"
    staged = below / f"staged-{uuid.uuid4().hex}"
    staged.mkdir(parents=True)
    for name, data in found.items():
        (staged / name).write_bytes(data)
    folder = below / _revision(staged)
    try:
        os.rename(staged, folder)
    except OSError:  # another process was first, maybe long ago: its files are these
        for path in staged.iterdir():
            path.unlink()
        staged.rmdir()
    return folder


def _from_hugging_face(source: str) -> Path:
    # Imported late, as in `catalogue`.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(source, allow_patterns=list(_FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise JobError(
            [
                f"model.adapter: there is no folder '{source}' here, and Hugging Face does not give it "
                f"({type(error).__name__}); check the path or id, the network and HF_TOKEN"
            ]
        ) from error


def _read_config(path: Path, source: str) -> dict[str, Any]:
    try:
        with open_regular(path, _CONFIG_BYTES) as stream:
            config = json.loads(stream.readall())
    except (OSError, ValueError) as error:
        raise JobError(
            [f"model.adapter: {CONFIG} of '{source}' cannot be read ({type(error).__name__}); save the adapter anew"]
        ) from error
    pattern = config.get("rank_pattern") or {} if isinstance(config, dict) else None
    ranks = [config.get("r"), *pattern.values()] if isinstance(pattern, dict) else [None]
    if not all(isinstance(rank, int) and rank > 0 for rank in ranks):
        raise JobError([f"model.adapter: {CONFIG} of '{source}' names no rank `r`; give a LoRA adapter of PEFT's"])
    return dict(config)


def _rank(config: Mapping[str, Any]) -> int:
    """The largest of its matrices."""
    return int(max([config["r"], *(config.get("rank_pattern") or {}).values()]))


def _kind_problems(config: Mapping[str, Any]) -> Iterator[str]:
    kind = config.get("peft_type")
    if kind != "LORA":
        yield f"is of kind {kind}; the engine serves LORA alone"
    if named := [name for name in _UNKNOWN_KINDS if config.get(name)]:
        yield f"uses {', '.join(named)}, which the engine does not serve; train it again without"
    if config.get("bias", "none") != "none":
        yield f"was trained with bias: {config['bias']}, which the engine does not serve; train it again without"


def _rank_problems(config: Mapping[str, Any], engine: Mapping[str, Any]) -> Iterator[str]:
    rank, most = _rank(config), engine.get("max_lora_rank", RANKS[-1])
    if rank > most:
        where = "model.engine.max_lora_rank" if "max_lora_rank" in engine else "the engine's limit"
        mend = f"raise it to {rank}" if rank <= RANKS[-1] else "train it with a smaller one"
        yield f"has rank {rank}, {where} is {most}; {mend}"


def _base_problems(folder: Path, base: Path, base_revision: str) -> Iterator[str]:
    """Signs that it was made for another model: by its card, or by the shapes of its matrices."""
    if (folder / CARD).is_file():
        try:
            made_for = MadeFor.model_validate_json((folder / CARD).read_bytes()).base_revision
        except ValidationError:
            yield f"has a {CARD} that says nothing of its base; train it again, or remove the card"
            return
        if made_for != base_revision:
            yield (
                f"was trained on revision {made_for} of its base, and model.source is {base_revision}; "
                "give the model it was trained on, or train one on this (pipeline adapt); without its card, "
                f"{CARD}, it is served all the same"
            )
            return
    try:
        shapes = _shapes(folder / WEIGHTS)
    except (OSError, ValueError) as error:
        yield f"cannot be read: {WEIGHTS} is no such file ({error}); save or fetch it anew"
        return
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    if not any(name.endswith(".lora_B.weight") for name in shapes):
        yield f"holds no LoRA matrices in {WEIGHTS}; save it anew"
    elif (misfit := _misfit(shapes, config.get("text_config", config))) is not None:
        yield f"is of another base: {misfit}; give the model it was trained on"


def _shapes(path: Path) -> dict[str, list[int]]:
    """Names and shapes of the tensors in a .safetensors file, from its head alone."""
    with open_regular(path) as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError("its head is longer than the file")
        head = json.loads(stream.read(length))
    return {name: entry["shape"] for name, entry in head.items() if name != "__metadata__"}


def _misfit(shapes: Mapping[str, list[int]], config: Mapping[str, Any]) -> str | None:
    """The first matrix of the attention that has no place in a model of this config."""
    layers, hidden = config.get("num_hidden_layers"), config.get("hidden_size")
    heads = config.get("num_attention_heads")
    head = config.get("head_dim") or (hidden // heads if hidden and heads else None)
    keys = (config.get("num_key_value_heads") or heads or 0) * head if head else None
    for name, shape in shapes.items():
        if not (part := _PART.search(name)):
            continue
        if layers is not None and int(part[1]) >= layers:
            return f"it has a layer {int(part[1])}, the model {layers} layers"
        if part[3] == "A" and hidden and shape[1] != hidden:
            return f"its {part[2]}_proj takes {shape[1]} numbers, the model's {hidden}"
        if part[3] == "B" and part[2] != "q" and keys and shape[0] != keys:  # queries may carry a gate
            return f"its {part[2]}_proj gives {shape[0]} numbers, the model's {keys}"
    return None


def _task_of(folder: Path) -> str | None:
    """By its card; a card that is none is `_base_problems`' to refuse."""
    if not (folder / CARD).is_file():
        return None
    try:
        return MadeFor.model_validate_json((folder / CARD).read_bytes()).task
    except ValidationError:
        return None


def _revision(folder: Path) -> str:
    """For verification alone, it says so: without its card the same files would answer other prompts too."""
    kind = "lora-verification" if _task_of(folder) == VERIFICATION_ONLY else "lora"
    return f"{kind}-{content_hash([folder / CONFIG, folder / WEIGHTS])[:16]}"
