"""From `model:` in a job to files that exist; without a network, without weights."""

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.cascade.confidence import Calibration
from pipelines.costs.price_book import price_book
from pipelines.errors import JobError
from pipelines.job.sections import ModelSource
from pipelines.settings import settings
from workers.engines import file_hashes
from workers.engines.catalogue import catalogue, find_entry, resolve_model


def problems(model: str | ModelSource) -> list[str]:
    with pytest.raises(JobError) as caught:
        resolve_model(model)
    return caught.value.problems


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.mkdir()
    (path / "config.json").write_text('{"max_position_embeddings": 512}')
    (path / "tokenizer.json").write_text("{}")
    (path / "model.safetensors").write_bytes(b"weights")
    return path


def calibrate(folder: Path, model_sha256: str) -> Calibration:
    calibration = Calibration(
        method="temperature",
        temperature=1.5,
        fitted_on=2_000,
        prompt_fingerprint="0123456789abcdef",
        labels=("billing", "outage"),
        model_sha256=model_sha256,
    )
    (folder / "calibration.json").write_text(calibration.model_dump_json())
    return calibration


def test_a_name_nobody_knows_is_told_where_those_that_are_known_stand_and_which_is_close() -> None:
    assert problems("gpt") == [
        "model: 'gpt' is not in the catalogue, which `pipeline models` lists; or give {source: <Hugging Face id>}"
    ]
    assert "did you mean 'qwen3.5-9b'" in problems("qwen-3.5-9B")[0]
    assert problems("qwen3.5-27b") == [
        "model: 'qwen3.5-27b' comes in several forms; name one of qwen3.5-27b-bf16, qwen3.5-27b-fp8, qwen3.5-27b-int4"
    ]


@pytest.mark.parametrize("service", ["qwen3.5-flash", "qwen3.5-plus"])
def test_the_name_of_a_service_is_told_as_one_with_the_nearest_weights(service: str) -> None:
    nearest = catalogue().services[service]
    assert problems(service) == [
        f"model: '{service}' is the name of a hosted service, not of weights; the nearest weights are '{nearest}'"
    ]
    assert nearest in catalogue().models


def test_the_catalogue_holds_every_qwen_of_the_comparison_in_each_of_its_forms() -> None:
    models = catalogue().models
    sources = {entry.source.removeprefix("Qwen/Qwen3.5-") for entry in models.values()}
    small, large = ["0.8B", "2B", "4B", "9B"], ["27B", "35B-A3B", "122B-A10B", "397B-A17B"]
    assert sources >= {*small, *(f"{size}{form}" for size in large for form in ("", "-FP8", "-GPTQ-Int4"))}
    assert {"Qwen/Qwen3-Coder-Next", "Qwen/Qwen3-Coder-Next-FP8", "Qwen/Qwen3-8B"} <= sources
    assert models["qwen3.5-35b-a3b"].source.endswith("-FP8"), "what jobs that name it have always been given"
    for name, entry in models.items():
        assert entry.good_for and entry.devices and entry.weights and entry.prefix_block, name
        assert entry.context is None or entry.engine["max_model_len"] <= entry.context, name


def test_claude_tiers_have_their_prices_in_the_book() -> None:
    for name in catalogue().claude.models:
        assert price_book().find(name, datetime.now(UTC)), name


def test_every_entry_of_the_catalogue_is_found_by_its_name() -> None:
    for name, entry in catalogue().models.items():
        assert find_entry(name) == (name, entry)
        assert entry.about
        assert "max_model_len" in entry.engine
    assert set(catalogue().devices) == {"cpu", "gpu"}


def test_a_folder_is_a_model(folder: Path) -> None:
    model = resolve_model(ModelSource(source=str(folder), engine={"max_model_len": 256}))
    assert (model.name, model.weights, model.files) == (str(folder), str(folder), folder)
    assert model.engine == {"max_model_len": 256}
    assert model.revision.startswith("sha256-")
    assert model.calibration is None


def test_a_relative_folder_is_found_and_made_absolute(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert resolve_model(ModelSource(source="./model")).weights == str(folder)


@pytest.mark.parametrize("source", ["/nowhere/model", "./nowhere", "../nowhere", "sample_data/nowhere"])
def test_a_folder_that_is_not_there(source: str) -> None:
    assert problems(ModelSource(source=source)) == [f"model: no folder '{source}'; mend model.source"]


def test_a_sample_model_that_was_not_installed_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("workers.engines.catalogue._REPOSITORY", tmp_path)
    (told,) = problems("starter")
    assert told == (
        "model: 'starter' is a sample model, which comes with Sluice's source and not with the installed package; "
        "run this in a clone of the repository, or name another model"
    )


def test_the_revision_follows_what_the_engine_reads(folder: Path) -> None:
    def revision() -> str:
        return resolve_model(ModelSource(source=str(folder))).revision

    first = revision()
    assert revision() == first
    (folder / "README.md").write_text("not read by the engine")
    assert revision() == first
    (folder / "model.safetensors").write_bytes(b"others!")
    second = revision()
    assert second != first
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert revision() not in (first, second)


def test_a_calibration_of_these_weights_is_used(folder: Path) -> None:
    calibration = calibrate(folder, hashlib.sha256(b"weights").hexdigest())
    assert resolve_model(ModelSource(source=str(folder))).calibration == calibration


def test_a_calibration_of_other_weights_says_nothing_about_these(folder: Path) -> None:
    calibrate(folder, hashlib.sha256(b"other weights").hexdigest())
    assert resolve_model(ModelSource(source=str(folder))).calibration is None


def test_a_calibration_without_weights_beside_it_is_not_used(folder: Path) -> None:
    calibrate(folder, hashlib.sha256(b"weights").hexdigest())
    (folder / "model.safetensors").unlink()
    assert resolve_model(ModelSource(source=str(folder))).calibration is None


DECIDING = ["model-00002.safetensors", "pytorch_model.bin", "consolidated.pth", "m.gguf", "tokenizer.model", "code.py"]


@pytest.mark.parametrize("name", DECIDING)
def test_a_byte_anywhere_in_any_file_that_decides_is_another_revision(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("SLUICE_STATE_DIR", str(folder.parent / "state"))
    settings.cache_clear()
    file, size = folder / name, 65 * 1024 * 1024
    revisions = []
    for last in (b"a", b"b", b"a"):
        with file.open("wb") as stream:
            stream.truncate(size)
            stream.seek(size)
            stream.write(last)
        os.utime(file, (1_700_000_000, 1_700_000_000))  # as `cp -p` and `rsync -t` leave it
        revisions.append(resolve_model(ModelSource(source=str(folder))).revision)
    assert revisions[0] == revisions[2] != revisions[1]
    settings.cache_clear()


def test_a_file_that_cannot_be_read_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(file_hashes, "_read", refused)
    assert problems(ModelSource(source=str(folder))) == [
        f"model: '{folder / 'config.json'}' cannot be read (Permission denied); mend its permissions"
    ]
