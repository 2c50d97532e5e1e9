"""Adapters that a series trains from its own runs: when, once, whatever goes wrong, and which run uses which."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flows.console.progress import ProgressReporter
from flows.deciding import series_adapters
from flows.deciding.adapting import Adapted
from flows.deciding.series_adapters import adapt_if_due, due
from flows.run import Run
from flows.run_lock import sole_process
from flows.series import Series
from flows.submit import adapt_after_run, begin_job
from pipelines.adapting.chain import Ended, ToldChain
from pipelines.adapting.gate import Gate, Measured
from pipelines.documents.sources.sources import list_sources
from pipelines.errors import JobError, StoreError
from pipelines.job.job import Job
from pipelines.settings import settings
from pipelines.store import layout
from pipelines.tasks.code_review.verification import VERIFICATION_ONLY
from tests.adapter_files import write_adapter
from tests.flows.service.series_case import complete, drop, tickets_job
from workers.engines.adapters import CARD
from workers.engines.catalogue import resolve_model

NOW = datetime.now(UTC)
ADAPT = {"every": "30d", "from": ["gold", "claude"]}


def measured(asked: float) -> Measured:
    return Measured(asked_share=asked, accuracy=0.5, calibration_error=0.1, label_mass=1.0)


BETTER = Gate(measured(0.65), measured(0.45), 0.2, 0.1, 0.3, held_back=200, documents=900, draws=60)
WORSE = Gate(measured(0.65), measured(0.80), -0.15, -0.2, -0.1, held_back=200, documents=900, draws=60)


class Training:
    """In the place of `pipeline adapt`: what it was asked for, and how it ends."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.ends: Gate | BaseException = BETTER

    def __call__(
        self, runs: tuple[str, ...], output: str, sources: tuple[str, ...], target: None, seed: int, progress: object
    ) -> Adapted:
        self.asked.append({"runs": [Path(run).name for run in runs], "sources": sources, "number": seed})
        if isinstance(self.ends, BaseException):
            raise self.ends
        if self.ends.is_better:
            write_adapter(Path(output), seed=seed)
        return Adapted(output if self.ends.is_better else None, "starter", self.ends, {})


@pytest.fixture(autouse=True)
def training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Training]:
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path / "state"))
    settings.cache_clear()
    made_up = Training()
    monkeypatch.setattr(series_adapters, "adapt", made_up)
    yield made_up
    settings.cache_clear()


def series_job(folder: Path, **changes: Any) -> Job:
    return tickets_job(folder, **{"model": "starter", "quality": {"target": 0.9}, "adapt": ADAPT} | changes)


def next_run(job: Job, folder: Path, name: str) -> Run:
    """The series' next run, over one new file; called complete."""
    drop(folder, name)
    claimed = Series(job).claim_next(list_sources(job.input))
    assert claimed and claimed.is_new
    complete(claimed.run.store.root)
    return claimed.run


def train(job: Job, days: float) -> str:
    """What is said of the training that is due after so many days."""
    said = io.StringIO()
    adapt_if_due(Series(job), ProgressReporter(Console(file=said, width=1_000)), NOW + timedelta(days=days))
    return said.getvalue()


def chain_of(run: Run) -> ToldChain:
    return ToldChain.model_validate_json(run.store.read(layout.ADAPTERS))


def test_a_training_is_due_by_the_age_of_the_last_and_only_what_it_led_to_was_used(
    tmp_path: Path, training: Training
) -> None:
    job = series_job(tmp_path)
    assert train(job, 31) == "", "no run is complete"
    runs = [next_run(job, tmp_path, name).run_id for name in "ab"]
    assert train(job, 29) == ""
    assert "2 runs" in train(job, 31)
    assert training.asked == [{"runs": runs[::-1], "sources": ("gold", "claude"), "number": 1}]
    assert train(job, 90) == "", "no run has used it yet"
    runs.append(next_run(job, tmp_path, "c").run_id)
    assert train(job, 60) == "", "the last is 29 days old"
    assert "training 2" in train(job, 62)
    assert training.asked[1]["runs"] == runs[::-1]


@pytest.mark.prove
def test_a_series_of_code_reviews_goes_on_with_a_verification_that_it_has_trained(
    tmp_path: Path, training: Training
) -> None:
    (tmp_path / "faults.jsonl").write_text('{"document_id": "a.diff"}\n')
    tickets = series_job(tmp_path).model_dump(exclude={"labels", "evaluation", "task", "limits"}, exclude_none=True)
    faults = {"faults_file": str(tmp_path / "faults.jsonl")}
    job = Job.model_validate(tickets | {"task": "code_review", "evaluation": faults, "adapt": ADAPT})

    def review(name: str) -> Run:
        (tmp_path / f"inbox/{name}.diff").write_text(f"--- a/{name}.py\n+++ b/{name}.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n")
        claimed = Series(job).claim_next(list_sources(job.input))
        assert claimed
        complete(claimed.run.store.root)
        return claimed.run

    assert review("a").record.model == "starter"
    assert "1 is adopted: the next run of the series uses" in train(job, 31)
    (folder,) = (tmp_path / "results/_series/tickets/adapters/0000001").glob("*/")
    card = {"base_revision": resolve_model("starter").revision, "task": VERIFICATION_ONLY}
    (folder / CARD).write_text(json.dumps(card))
    second = review("b")
    assert second.model.adapter and second.model.adapter.is_for_verification
    assert second.record.model == f"starter + {folder}"


def test_runs_use_the_newest_adopted_adapter_and_say_so(tmp_path: Path, training: Training) -> None:
    job = series_job(tmp_path)
    first = next_run(job, tmp_path, "a")
    assert first.record.model == "starter" and chain_of(first) == ToldChain(used=None, trainings=())
    assert "1 is adopted: the next run of the series uses" in train(job, 31)
    second = next_run(job, tmp_path, "b")
    assert second.record.model.startswith(f"starter + {tmp_path}/results/_series/tickets/adapters/0000001/")
    assert second.model.base_revision == first.model.revision
    training.ends = WORSE
    assert "2 is not adopted (with it Claude would not surely be asked less); the next is due in 30d" in train(job, 62)
    third = next_run(job, tmp_path, "c")
    assert third.record.model_revision == second.record.model_revision
    chain = chain_of(third)
    assert chain.used == 1
    outcomes = [(each.begun.number, each.ended.outcome if each.ended else None) for each in chain.trainings]
    assert outcomes == [(2, "refused"), (1, "adopted")]
    assert chain.trainings[1].ended and chain.trainings[1].ended.gate == BETTER


def test_an_adapter_whose_folder_is_removed_is_out_of_use_and_its_runs_teach_no_more(
    tmp_path: Path, training: Training
) -> None:
    job = series_job(tmp_path)
    first = next_run(job, tmp_path, "a")
    train(job, 31)
    second = next_run(job, tmp_path, "b")
    assert second.model.adapter
    shutil.rmtree(second.model.adapter.folder)
    assert train(job, 62) == "", "the newest run used what is gone"
    third = next_run(job, tmp_path, "c")
    assert third.record.model == "starter"
    train(job, 62)
    assert training.asked[-1]["runs"] == [third.run_id, first.run_id]


def test_a_job_that_asks_something_else_begins_without_an_adapter(tmp_path: Path, training: Training) -> None:
    next_run(series_job(tmp_path), tmp_path, "a")
    train(series_job(tmp_path), 31)
    other = series_job(tmp_path, labels={"billing": None, "outage": "nothing works"})
    run = next_run(other, tmp_path, "b")
    assert run.record.model == "starter"
    assert chain_of(run).used is None and len(chain_of(run).trainings) == 1
    train(other, 62)
    assert training.asked[-1]["runs"] == [run.run_id]
    assert next_run(series_job(tmp_path), tmp_path, "c").model.adapter, "and has it again when it is asked again"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (JobError(["labels: 40 labels to train on, 100 are needed"]), "40 labels to train on"),
        (RuntimeError("secret words of a document"), "unexpected RuntimeError; the log has the details"),
    ],
)
def test_a_training_that_fails_is_told_and_the_series_goes_on(
    tmp_path: Path, training: Training, error: Exception, told: str
) -> None:
    job = series_job(tmp_path)
    next_run(job, tmp_path, "a")
    training.ends = error
    said = train(job, 31)
    assert told in said and "the next is due in 30d" in said and "secret" not in said
    run = next_run(job, tmp_path, "b")
    ended = chain_of(run).trainings[0].ended
    assert run.record.model == "starter" and ended and ended.outcome == "failed" and told in ended.reason
    assert train(job, 60) == ""
    training.ends = BETTER
    assert "2 is adopted" in train(job, 62)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), StoreError("S3 does not answer")])
def test_what_a_kill_or_a_failing_store_has_stopped_is_the_same_training_when_it_goes_on(
    tmp_path: Path, training: Training, error: BaseException
) -> None:
    job = series_job(tmp_path)
    next_run(job, tmp_path, "a")
    training.ends = error
    with pytest.raises(type(error)):
        train(job, 31)
    run = next_run(job, tmp_path, "b")
    assert chain_of(run).trainings[0].ended is None
    training.ends = BETTER
    assert "1 is adopted" in train(job, 32)
    assert training.asked[0] == training.asked[1], "it learns from the runs that it was begun with"


def test_a_training_does_not_go_on_with_labels_that_the_job_names_no_more(tmp_path: Path, training: Training) -> None:
    next_run(series_job(tmp_path), tmp_path, "a")
    training.ends = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        train(series_job(tmp_path), 31)
    assert train(series_job(tmp_path, adapt={"every": "30d", "from": ["gold"]}), 32) == ""
    assert len(training.asked) == 1


def test_a_training_that_nobody_ends_is_given_up_for_the_next(tmp_path: Path, training: Training) -> None:
    job = series_job(tmp_path)
    next_run(job, tmp_path, "a")
    training.ends = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        train(job, 31)
    next_run(job, tmp_path, "b")
    training.ends = BETTER
    assert "2 is adopted" in train(job, 62)


def test_a_second_process_of_the_machine_leaves_it_to_the_first(tmp_path: Path, training: Training) -> None:
    job = series_job(tmp_path)
    next_run(job, tmp_path, "a")
    with sole_process("adapter 1", Series(job).adapters.folder_of(1)):
        assert "under way in another process" in train(job, 31)
    assert training.asked == []


def test_of_two_machines_that_train_the_same_what_ended_first_stands(
    tmp_path: Path, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = series_job(tmp_path)
    next_run(job, tmp_path, "a")

    def slower(*arguments: Any) -> Adapted:
        adapted = training(*arguments)
        first = Ended(ended_at=NOW, outcome="refused", reason="not better there", gate=WORSE)
        assert Series(job).adapters.end(1, first) == first
        return adapted

    monkeypatch.setattr(series_adapters, "adapt", slower)
    assert "1 is not adopted (not better there)" in train(job, 31)
    assert next_run(job, tmp_path, "b").record.model == "starter"


def test_a_claimed_run_keeps_its_adapter_whatever_is_adopted_before_it_is_prepared(
    tmp_path: Path, training: Training
) -> None:
    job = series_job(tmp_path)
    next_run(job, tmp_path, "a")
    drop(tmp_path, "b")
    claimed = Series(job).claim_next(list_sources(job.input))
    assert claimed
    shutil.rmtree(claimed.run.store.root)
    assert "1 is adopted" in train(job, 31)
    unfinished = Series(job).unfinished()
    assert unfinished and unfinished.record.model == "starter"


def test_without_adapt_a_series_writes_what_it_always_wrote(tmp_path: Path, training: Training) -> None:
    job = series_job(tmp_path, adapt=None)
    run = next_run(job, tmp_path, "a")
    assert train(job, 400) == "" and due(Series(job), NOW + timedelta(days=400)) is None
    assert not run.store.exists(layout.ADAPTERS)
    series = tmp_path / "results/_series/tickets"
    claim = json.loads((series / "runs/0000001.json").read_text())
    assert claim.keys() == {"number", "run_id", "claimed_at", "token"}
    assert "\nadapt:" not in run.store.read(layout.JOB).decode()


def test_after_a_run_nothing_that_is_wrong_with_a_training_ends_the_command(
    tmp_path: Path, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = io.StringIO()
    (tmp_path / "job.yaml").write_text("name: [")
    adapt_after_run(tmp_path / "job.yaml", {}, ProgressReporter(Console(file=said, width=1_000)))
    assert "not trained: " in said.getvalue() and "the series goes on" in said.getvalue()


def test_a_run_that_is_none_of_a_series_says_that_it_trains_nothing(tmp_path: Path) -> None:
    import yaml

    job = series_job(tmp_path)
    drop(tmp_path, "a")
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job.model_dump(mode="json", exclude_none=True)))
    said: list[str] = []
    begin_job(tmp_path / "job.yaml", {}, None, said.append)
    assert said == [
        "warning   adapt: this run is none of a series, and trains nothing; --since-last and schedules make one"
    ]
