"""From a job's `model:` to files on disk and engine arguments.

Only the small files (config, tokenizer, chat template) are fetched here; engines load the weights themselves.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.cascade.confidence import Calibration
from pipelines.errors import JobError
from pipelines.job.engine_arguments import code_arguments
from pipelines.job.sections import ModelSource
from pipelines.meant import did_you_mean
from pipelines.settings import settings
from pipelines.store.regular_files import open_regular
from workers.engines.adapters import Adapter, resolve_adapter
from workers.engines.file_hashes import content_hash, file_hash

_REPOSITORY = Path(__file__).resolve().parents[2]
_SMALL_FILES = ["*.json", "*.jinja", "*.txt"]
# Where the entries of the sample models say that they are.
_SAMPLES = "sample_data/"
# Of a local folder: in which files engines and tokenizers find what they load.
_WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".npz"}
_DECIDING = _WEIGHTS | {".json", ".jinja", ".txt", ".model", ".tiktoken", ".py"}
_WITH_ADAPTER = "+"
_DENSE_BLOCK = 16  # tokens that vLLM keeps together where a model has keys and values only
_SMALL_FILE_BYTES = 256 * 1024 * 1024  # the largest tokenizer.json known is a tenth of it


class CatalogueEntry(BaseModel):
    """One model that the catalogue knows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str
    source: str
    revision: str | None = None
    engine: dict[str, Any] = Field(default_factory=dict)
    # What models.toml explains; None: no source says.
    good_for: str = ""
    weights: Literal["bf16", "FP8", "Int4", "NVFP4"] | None = None
    gpu_gb: float | None = None
    context: int | None = None
    prefix_block: int | None = None
    devices: str = ""
    environment: dict[str, str] = Field(default_factory=dict)

    @property
    def is_hybrid(self) -> bool:
        """Whether it is known to keep states beside keys and values, which makes its blocks as large as these."""
        return (self.prefix_block or 0) > _DENSE_BLOCK


class DeviceDefaults(BaseModel):
    """What every engine on a kind of device gets."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    environment: dict[str, str]
    engine: dict[str, Any]
    # What models.toml says over these, by what the engine is to do.
    engine_for_labels: dict[str, Any] = Field(default_factory=dict)
    environment_for_labels_on_one: dict[str, str] = Field(default_factory=dict)
    engine_for_hybrid_reviews: dict[str, Any] = Field(default_factory=dict)

    def for_engine(self, writes: bool, is_hybrid: bool, devices: float) -> tuple[dict[str, Any], dict[str, str]]:
        """Engine arguments and environment.

        Args:
            writes: reviews; else answers of one token.
            is_hybrid: the model has layers that keep a state for each request.
            devices: of one engine.
        """
        if writes:
            return {**self.engine, **(self.engine_for_hybrid_reviews if is_hybrid else {})}, self.environment
        one = self.environment_for_labels_on_one if devices <= 1 else {}
        return {**self.engine, **self.engine_for_labels}, {**self.environment, **one}


class BatchLimits(BaseModel):
    """Of one message batch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests: int
    megabytes: int
    hours: int  # until what is unfinished expires
    days_kept: int


class ClaudeTier(BaseModel):
    """A Claude model beside the engines."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    context: int
    good_for: str


class Claude(BaseModel):
    """What `escalation` may name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch: BatchLimits
    models: dict[str, ClaudeTier]


class Catalogue(BaseModel):
    """The models of models.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: dict[str, CatalogueEntry]
    devices: dict[str, DeviceDefaults]
    services: dict[str, str]  # hosted, no weights: the nearest model that has some
    claude: Claude


@dataclass(frozen=True)
class ResolvedModel:
    """A model that exists: ``files`` is a local folder with at least config and tokenizer.

    ``weights`` is what the engine is given: the same folder, or the Hugging Face id.
    """

    name: str
    weights: str
    revision: str
    files: Path
    engine: Mapping[str, Any]
    calibration: Calibration | None
    adapter: Adapter | None = None

    @property
    def base_revision(self) -> str:
        """Of the weights alone; ``revision`` names the adapter too: what was learnt of one holds for no other."""
        return base_of(self.revision)


def base_of(revision: str) -> str:
    """Of a model's revision, the part that names the weights without the adapter."""
    return revision.partition(_WITH_ADAPTER)[0]


@lru_cache
def catalogue() -> Catalogue:
    """The catalogue shipped with this version."""
    text = resources.files("workers.engines").joinpath("models.toml").read_text(encoding="utf-8")
    return Catalogue.model_validate(tomllib.loads(text))


def find_entry(model: str | ModelSource) -> tuple[str, CatalogueEntry]:
    """Name and entry of what the job asks for.

    Raises:
        JobError: the catalogue does not know the name.
    """
    if isinstance(model, ModelSource):
        known_as = None if Path(model.source).is_dir() else catalogue().models.get(model.source)
        if known_as is not None and model.revision is None:
            return model.source, known_as.model_copy(update={"engine": known_as.engine | model.engine})
        entry = CatalogueEntry(about="", source=model.source, revision=model.revision, engine=model.engine)
        return model.source, entry
    known = catalogue().models
    if nearest := catalogue().services.get(model):
        raise JobError(
            [f"model: '{model}' is the name of a hosted service, not of weights; the nearest weights are '{nearest}'"]
        )
    if model not in known:
        if forms := [name for name in known if name.startswith(f"{model}-")]:
            raise JobError([f"model: '{model}' comes in several forms; name one of {', '.join(forms)}"])
        there = f"is not in the catalogue, which `pipeline models` lists{did_you_mean(model, known)}"
        raise JobError([f"model: '{model}' {there}; or give {{source: <Hugging Face id>}}"])
    return model, known[model]


def known_facts(entry: CatalogueEntry) -> CatalogueEntry:
    """The entry, or where it is a job's own, what the catalogue knows of the same weights."""
    same = (known for known in catalogue().models.values() if known.source == entry.source)
    return entry if entry.about else next(same, entry)


def refuse_code(model: object) -> None:
    """A job file may come from anyone; what runs on this machine is for its owner to say.

    Raises:
        JobError: the engine would run code that nobody here has allowed.
    """
    named = code_arguments(model.engine) if isinstance(model, ModelSource) else []
    if named and not settings().trust_remote_code:
        raise JobError(
            [
                f"model.engine.{name}: has the engine run code that is not vLLM's, with all that this user may do; "
                "if you trust it, say so where it runs: --trust-remote-code, or SLUICE_TRUST_REMOTE_CODE=1 for a worker"
                for name in named
            ]
        )


def resolve_model(model: str | ModelSource) -> ResolvedModel:
    """Find the model's files, downloading the small ones if they are not cached.

    Raises:
        JobError: unknown name, missing folder, or a Hugging Face id that cannot be fetched.
    """
    name, entry = find_entry(model)
    folder = next((path for path in (Path(entry.source), _REPOSITORY / entry.source) if path.is_dir()), None)
    if folder is not None:
        _check_files(folder)
        weights, revision = str(folder.resolve()), _folder_revision(folder)
    elif where := missing_folder(name, entry):
        raise JobError([f"model: {where}"])
    else:
        folder = _fetch_small_files(entry)
        weights, revision = entry.source, folder.name  # huggingface_hub names snapshot folders by commit
    if isinstance(model, ModelSource) and model.adapter:
        adapter = resolve_adapter(model.adapter, folder, revision, entry.engine)
        name, revision = f"{name} + {adapter.source}", f"{revision}{_WITH_ADAPTER}{adapter.revision}"
        # The model's own calibration says nothing of what an adapter makes of it.
        return ResolvedModel(name, weights, revision, folder, entry.engine, None, adapter)
    return ResolvedModel(name, weights, revision, folder, entry.engine, _read_calibration(folder))


def missing_folder(name: str, entry: CatalogueEntry) -> str | None:
    """What to do about a model that can only be a folder of this machine, and is not there; None: it may be fetched."""
    if entry.source.startswith(_SAMPLES) and name != entry.source:
        return (
            f"'{name}' is a sample model, which comes with Sluice's source and not with the installed package; "
            "run this in a clone of the repository, or name another model"
        )
    return f"no folder '{entry.source}'; mend model.source" if entry.source.startswith(("/", ".", _SAMPLES)) else None


def weights_on_disk(entry: CatalogueEntry) -> int | None:
    """Bytes of the weights that are on this machine already; None where there are none. Nothing is fetched."""
    folder = next((path for path in (Path(entry.source), _REPOSITORY / entry.source) if path.is_dir()), None)
    if folder is None:
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            cached = try_to_load_from_cache(entry.source, "config.json", revision=entry.revision)
        except HFValidationError:
            return None
        folder = Path(cached).parent if isinstance(cached, str) else None
    files = [path for path in folder.iterdir() if path.suffix in _WEIGHTS and path.is_file()] if folder else []
    return sum(path.stat().st_size for path in files) or None


def _check_files(folder: Path) -> None:
    """What the libraries open by its name must be a file: a pipe would be waited for, a device never ends.

    Raises:
        JobError: with each that is not, or is far larger than such a file can be.
    """
    problems = []
    for path in sorted([*folder.iterdir(), *folder.glob("*/*.jinja")]):
        if path.is_dir():
            continue
        limit = _SMALL_FILE_BYTES if any(path.match(pattern) for pattern in _SMALL_FILES) else None
        try:
            open_regular(path, limit).close()
        except OSError as error:
            problems.append(f"model: {path} cannot be read ({error.strerror}); mend it or take it out of the folder")
    if problems:
        raise JobError(problems)


def _fetch_small_files(entry: CatalogueEntry) -> Path:
    # Imported late: it pulls in an HTTP stack that `pipeline --help` has no use for.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(entry.source, revision=entry.revision, allow_patterns=_SMALL_FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise JobError(
            [
                f"model: '{entry.source}' cannot be fetched from Hugging Face ({type(error).__name__}); check the id, "
                "the network and HF_TOKEN, or download it once and give its folder as model.source"
            ]
        ) from error


def _read_calibration(folder: Path) -> Calibration | None:
    path = folder / "calibration.json"
    if not path.is_file():
        return None
    try:
        calibration = Calibration.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise JobError([f"model: {path} is not a calibration ({error.error_count()} mistakes); remove it"]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise JobError([f"model: {path} cannot be read ({type(error).__name__}); mend or remove it"]) from error
    weights = folder / "model.safetensors"
    # A map fitted to other weights says nothing about these.
    return calibration if weights.is_file() and file_hash(weights) == calibration.model_sha256 else None


def _folder_revision(folder: Path) -> str:
    """Hash of every file that says what the model answers: weights, tokenizer, templates, settings, code."""
    files = [path for path in sorted(folder.iterdir()) if path.suffix in _DECIDING and path.is_file()]
    try:
        return f"sha256-{content_hash(files)[:16]}"
    except OSError as error:
        raise JobError(
            [f"model: '{error.filename}' cannot be read ({error.strerror}); mend its permissions"]
        ) from error
