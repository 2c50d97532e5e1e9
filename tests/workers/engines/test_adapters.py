"""From `model.adapter` in a job to files that fit the model; what does not is refused before anything starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.drop_folder.job_rules import JobRules
from pipelines.errors import EngineError, JobError
from pipelines.job.job import Job
from pipelines.job.job_file import parse_job, with_absolute_places
from pipelines.job.sections import ModelSource
from pipelines.settings import settings
from pipelines.tasks.code_review.verification import VERIFICATION_ONLY
from tests.adapter_files import write_adapter
from workers.engines.adapters import CARD, adapter_here, engine_arguments, refuse_other_task
from workers.engines.catalogue import ResolvedModel, resolve_model

JOB = """
name: sort
task: classification
input: .
output: out
model: starter
labels: {billing: null, outage: null}
quality: "off"
escalation: "off"
"""


def resolve(adapter: Path | str, **engine: Any) -> ResolvedModel:
    return resolve_model(ModelSource(source="starter", adapter=str(adapter), engine=engine))


def refusal(adapter: Path | str, **engine: Any) -> str:
    with pytest.raises(JobError) as caught:
        resolve(adapter, **engine)
    (problem,) = caught.value.problems
    assert problem.startswith("model.adapter: ")
    return problem


def test_an_adapter_is_part_of_what_the_model_is(tmp_path: Path) -> None:
    base = resolve_model("starter")
    one, other = (resolve(write_adapter(tmp_path / str(seed), seed=seed)) for seed in (1, 2))
    assert base.calibration and one.calibration is None  # the model's own says nothing of what an adapter makes of it
    assert len({base.revision, one.revision, other.revision}) == 3
    assert {model.base_revision for model in (base, one, other)} == {base.revision}
    assert one.name == f"starter + {tmp_path}/1"
    assert one.engine == base.engine
    assert one.adapter
    assert engine_arguments(one.adapter) == {"enable_lora": True, "max_loras": 1, "max_lora_rank": 8}


def test_the_same_files_elsewhere_are_the_same_adapter_and_a_card_changes_nothing(tmp_path: Path) -> None:
    here, there = (write_adapter(tmp_path / name) for name in ("here", "there"))
    card = {"base_revision": resolve_model("starter").revision, "more": 1}
    (there / CARD).write_text(json.dumps(card))
    assert resolve(here).revision == resolve(there).revision


def carded(folder: Path, task: str | None) -> Path:
    """An adapter with a card, as `pipeline adapt` writes it."""
    write_adapter(folder)
    (folder / CARD).write_text(json.dumps({"base_revision": resolve_model("starter").revision, "task": task}))
    return folder


def test_an_adapter_for_verification_alone_is_another_one_without_the_card_that_says_so(tmp_path: Path) -> None:
    folder = carded(tmp_path / "adapter", VERIFICATION_ONLY)
    adapter = resolve(folder).adapter
    assert adapter and adapter.is_for_verification
    assert adapter_here(adapter) == folder
    (folder / CARD).unlink()
    bare = resolve(folder).adapter
    assert bare and not bare.is_for_verification and bare.revision != adapter.revision
    with pytest.raises(EngineError, match="and the run was begun with lora-verification-"):
        adapter_here(adapter)


def test_an_adapter_of_another_task_is_refused_by_its_card_and_one_without_is_not(tmp_path: Path) -> None:
    for task, other in (("classification", "code_review"), (VERIFICATION_ONLY, "classification")):
        adapter = resolve(carded(tmp_path / task, task)).adapter
        assert adapter
        with pytest.raises(JobError, match=f"is for {task}, and this job is a {other.replace('_', ' ')}; name one"):
            refuse_other_task(adapter, other)
        refuse_other_task(adapter, "code_review" if other == "classification" else "classification")
    foreign = resolve(write_adapter(tmp_path / "foreign")).adapter
    assert foreign
    refuse_other_task(foreign, "code_review")


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ({"layers": 4}, "is of another base: it has a layer 3, the model 3 layers; give the model it was trained on"),
        ({"hidden": 128}, "is of another base: its q_proj takes 128 numbers, the model's 256; give the model"),
        ({"rank": 520}, "has rank 520, the engine's limit is 512; train it with a smaller one"),
        ({"rank_pattern": {"q_proj": 1_024}}, "has rank 1024"),
        ({"rank_pattern": {"q_proj": "many"}}, "names no rank `r`"),
        ({"use_dora": True}, "uses use_dora, which the engine does not serve; train it again without"),
        ({"bias": "all"}, "was trained with bias: all"),
        ({"peft_type": "IA3"}, "is of kind IA3; the engine serves LORA alone"),
    ],
)
def test_what_cannot_be_served_over_this_model_is_refused_with_the_next_move(
    tmp_path: Path, made: dict[str, Any], told: str
) -> None:
    assert told in refusal(write_adapter(tmp_path / "adapter", **made))


def test_a_rank_over_the_jobs_own_limit_names_that_limit(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", rank=16)
    assert "has rank 16, model.engine.max_lora_rank is 8; raise it to 16" in refusal(adapter, max_lora_rank=8)


def test_an_adapter_whose_card_names_another_base_is_refused(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    (adapter / CARD).write_text('{"base_revision": "sha256-of-another"}')
    assert "was trained on revision sha256-of-another of its base, and model.source is sha256-" in refusal(adapter)


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x02\0\0\0\0\0\0\0{", b"\x02\0\0\0\0\0\0\0{}"])
def test_weights_that_are_none_are_refused(tmp_path: Path, content: bytes) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    (adapter / "adapter_model.safetensors").write_bytes(content)
    assert "adapter_model.safetensors" in refusal(adapter)


def test_a_place_without_an_adapter_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    assert "has no adapter_config.json; give the folder of a LoRA adapter as PEFT saves it" in refusal(
        tmp_path / "empty"
    )
    assert "no folder './mistyped'" in refusal("./mistyped")
    assert "there is no folder 'nobody/knows' here, and Hugging Face does not give it" in refusal("nobody/knows")


def test_another_adapter_where_the_engine_runs_is_an_engine_error(tmp_path: Path) -> None:
    adapter = resolve(write_adapter(tmp_path / "adapter")).adapter
    assert adapter and adapter_here(adapter) == tmp_path / "adapter"
    write_adapter(tmp_path / "adapter", seed=1)
    with pytest.raises(EngineError, match=r"was begun with lora-.*; put the same files on every machine"):
        adapter_here(adapter)


def test_a_job_without_an_adapter_reads_as_before_and_adapter_stands_beside_a_name_of_the_catalogue(
    tmp_path: Path,
) -> None:
    plain = parse_job(JOB.replace("model: starter", "model: {source: starter}"), "job")
    assert "adapter" not in json.dumps(plain.model_dump(mode="json"))
    adapter = str(write_adapter(tmp_path / "adapter"))
    job = parse_job(JOB, "job", {"model.adapter": adapter})
    assert job.model == ModelSource(source="starter", adapter=adapter)


def test_from_another_folder_the_adapter_is_still_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_adapter(tmp_path / "adapter")
    monkeypatch.chdir(tmp_path)
    job = with_absolute_places(parse_job(JOB, "job", {"model.adapter": "adapter"}))
    assert job.model == ModelSource(source="starter", adapter=f"{tmp_path}/adapter")


def test_a_dropped_job_file_names_no_adapter_but_the_owners() -> None:
    def job(adapter: str | None) -> Job:
        return parse_job(JOB, "job", {"model": {"source": "starter", "adapter": adapter}})

    assert list(JobRules(job("mine")).problems(job("mine"))) == []
    assert list(JobRules(job("mine")).problems(job(None))) == []
    (problem,) = JobRules(job(None)).problems(job("theirs"))
    assert problem.startswith("model.adapter: 'theirs' is not allowed in a job file beside dropped files")


def test_the_files_of_an_adapter_on_s3_are_kept_by_what_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.engines.adapters.Store", lambda place: _Folder(tmp_path / "bucket"))
    write_adapter(tmp_path / "bucket")
    first, again = resolve("s3://bucket/adapter"), resolve("s3://bucket/adapter")
    assert first == again
    assert first.adapter and first.adapter.folder.parent == settings().state_dir / "adapters"
    assert not list(first.adapter.folder.parent.glob("staged-*"))


class _Folder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read_if_exists(self, name: str) -> bytes | None:
        path = self._folder / name
        return path.read_bytes() if path.is_file() else None
