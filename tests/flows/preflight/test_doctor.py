"""`pipeline doctor`: what is well, what is not, and what mends it; nothing is started, nothing left behind."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows.preflight import doctor, job_checks, machine_checks, surroundings
from flows.preflight.check import GIB, Check
from pipelines.job.job_file import load_job
from pipelines.job.sections import ModelSource
from pipelines.settings import settings
from pipelines.tasks.code_review.verification import VERIFICATION_ONLY
from tests.adapter_files import write_adapter
from tests.flows.command_case import Command, command
from tests.job.job_case import CLAUDE, GOOD
from workers.engines.adapters import CARD
from workers.engines.catalogue import resolve_model
from workers.engines.fitting.machines import Machine

__all__ = ["command"]
SECRET = "sk-ant-not-to-be-shown"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    for name in ("RAY_ADDRESS", "PREFECT_API_URL", "ANTHROPIC_API_KEY", "SLUICE_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(machine_checks, "gpus", list)
    monkeypatch.setattr(job_checks, "gpus", list)
    settings.cache_clear()
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "docs.jsonl").write_text('{"id": 1, "text": "a"}\n')
    (tmp_path / "job.yaml").write_text(GOOD)
    yield
    settings.cache_clear()


def with_environment(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()


def test_a_good_job_on_a_good_machine_could_start_and_leaves_nothing_behind(command: Command) -> None:
    before = sorted(Path().rglob("*"))
    done = command("doctor", "job.yaml")
    assert done.code == 0, done
    assert done.out.rstrip().endswith("a run could start")
    assert "ok    output    out/: an object was created and removed" in done.out
    assert "ok    input     1 file, 23 B; the columns that the job names are there" in done.out
    assert sorted(Path().rglob("*")) == before


def test_without_a_job_only_the_machine_is_looked_at(command: Command) -> None:
    done = command("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(done.out)["checks"]}
    assert done.code == 0
    assert set(checks) == {"python", "packages", "cpu", "gpu", "state", "ray", "prefect", "prices"}
    assert "ray 2." in checks["packages"]["what"]


def test_every_mistake_of_a_job_file_is_a_line(command: Command) -> None:
    Path("job.yaml").write_text(GOOD.replace("model:", "modle:") + "budget_usd: -1\n")
    done = command("doctor", "job.yaml")
    assert done.code == 1
    assert "modle: no such field; did you mean 'model'" in done.out
    assert "budget_usd: input should be greater than or equal to 0" in done.out
    assert "a run could not start: 3 to mend" in done.out


def test_what_a_job_names_and_is_not_there_is_told_with_its_field(command: Command) -> None:
    text = GOOD.replace("starter", "startr").replace("inbox/", "inbx/").replace("off", "{model: claude-haiku-5-5}")
    Path("job.yaml").write_text(text + "columns: {text: txt}\n")
    done = command("doctor", "job.yaml", "--json")
    wrong = {check["name"]: check["what"] for check in json.loads(done.out)["checks"] if check["state"] == "wrong"}
    assert done.code == 1
    assert set(wrong) == {"input", "model", "escalation.provider"}
    assert "did you mean 'starter'" in wrong["model"]


def test_a_key_is_said_to_be_set_and_never_shown(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with_environment(monkeypatch, ANTHROPIC_API_KEY=SECRET, ANTHROPIC_BASE_URL="http://127.0.0.1:9")
    Path("job.yaml").write_text(GOOD.replace("escalation: off", CLAUDE))
    done = command("doctor", "job.yaml")
    assert done.code == 0, done
    assert "keys      ANTHROPIC_API_KEY is set" in done.out
    assert "clock     not compared: http://127.0.0.1:9 does not answer" in done.out
    assert SECRET not in done.out + done.err


def test_services_that_are_named_and_do_not_answer_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()[1]
        with_environment(monkeypatch, RAY_ADDRESS=f"127.0.0.1:{free}", PREFECT_API_URL="http://127.0.0.1:9/api")
        assert machine_checks.check_ray().state == "ok"
    assert machine_checks.check_ray().state == "wrong"
    (prefect,) = machine_checks.check_prefect()
    assert prefect.state == "wrong"
    assert prefect.mend == "start it (prefect server start), mend PREFECT_API_URL, or unset it"


def test_a_clock_that_is_off_is_told_with_its_direction() -> None:
    behind = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert machine_checks.clock_check("S3", behind).state == "wrong"
    assert "behind S3" in machine_checks.clock_check("S3", behind).what
    assert machine_checks.clock_check("S3", format_datetime(datetime.now(UTC), usegmt=True)).state == "ok"
    assert machine_checks.clock_check("S3", "yesterday").state == "skipped"


@pytest.mark.parametrize(("days", "state"), [(90, "ok"), (91, "warning")])
def test_prices_older_than_ninety_days_are_worth_a_look(days: int, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checked_on: date = datetime.now(UTC).date() - timedelta(days=days)
    book = SimpleNamespace(source=SimpleNamespace(checked_on=checked_on))
    monkeypatch.setattr(machine_checks, "price_book", lambda: book)
    assert machine_checks.check_prices().state == state


def test_a_model_that_does_not_fit_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    job, _ = job_checks.load(Path("job.yaml"))
    assert job
    monkeypatch.setattr(job_checks, "weights_on_disk", lambda entry: 30 * GIB)
    monkeypatch.setattr(job_checks, "gpus", lambda: [("L4", 24 * GIB)])
    (told,) = job_checks.check_weights(job)
    assert (told.state, told.what) == (
        "wrong",
        "starter: 30.0 GiB of weights, more than one GPU's memory (24.0 GiB) can hold",
    )
    monkeypatch.setattr(job_checks, "weights_on_disk", lambda entry: GIB)
    monkeypatch.setattr(job_checks, "gpus", list)
    monkeypatch.setattr(job_checks, "available_memory", lambda: 3 * GIB)  # the weights alone would fit
    (told,) = job_checks.check_weights(job)
    assert (told.state, told.what) == (
        "wrong",
        "starter: 1.0 GiB of weights (3.8 GiB with all else of an engine), more than this machine's memory "
        "(3.0 GiB) can hold",
    )
    assert told.mend == "name a smaller model (pipeline models), or end what else runs here"
    monkeypatch.setattr(job_checks, "weights_on_disk", lambda entry: None)
    (told,) = job_checks.check_weights(job.model_copy(update={"model": "qwen3.5-9b"}))
    assert (told.state, told.mend) == ("warning", "hf download Qwen/Qwen3.5-9B")
    (told,) = job_checks.check_weights(job)
    assert (told.state, told.mend.split(",")[0]) == ("wrong", "run this in a clone of the repository")
    assert told.what.startswith("'starter' is a sample model")


def test_a_model_that_no_machine_here_holds_is_refused_before_anything_is_written(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine("this machine", 16, 128 * GIB, (24 * GIB,))
    monkeypatch.setattr(surroundings, "this_machine", lambda: machine)
    Path("large.yaml").write_text(GOOD.replace("model: starter", "model: qwen3.5-27b-bf16"))
    told = command("doctor", "large.yaml")
    assert (told.code, "WRONG model" in told.out) == (1, True), told
    done = command("submit", "large.yaml")
    assert done.code == 2, done
    assert "cannot run here: it needs about 65 GiB; the largest machine has 1 x 24 GiB; it is meant for" in done.err
    assert "what fits: qwen3.5-9b, qwen3.5-35b-a3b-int4" in done.err
    assert not Path("out").exists()
    with_environment(monkeypatch, RAY_ADDRESS="10.0.0.1:6379")  # its machines are asked once it is joined
    surroundings.check_surroundings(load_job(Path("large.yaml"), {}))


def test_an_adapter_of_another_base_is_wrong_before_anything_starts(tmp_path: Path) -> None:
    job, _ = job_checks.load(Path("job.yaml"))
    assert job
    for layers, state in ((3, "ok"), (5, "wrong")):
        model = ModelSource(source="starter", adapter=str(write_adapter(tmp_path / str(layers), layers=layers)))
        (told,) = job_checks.check_weights(job.model_copy(update={"model": model}))
        assert told.state == state
    assert "is of another base: it has a layer 3, the model 3 layers" in told.what


def test_an_adapter_of_another_task_is_wrong_before_anything_starts(tmp_path: Path) -> None:
    job, _ = job_checks.load(Path("job.yaml"))
    assert job
    adapter = write_adapter(tmp_path / "adapter")
    card = {"base_revision": resolve_model("starter").revision, "task": VERIFICATION_ONLY}
    (adapter / CARD).write_text(json.dumps(card))
    model = ModelSource(source="starter", adapter=str(adapter))
    (told,) = job_checks.check_weights(job.model_copy(update={"model": model}))
    assert told.state == "wrong"
    assert "is for code review, verification only, and this job is a classification; name one" in told.what


def test_a_check_that_hangs_or_breaks_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Check:
        raise RuntimeError("no")

    def hanging() -> Check:
        time.sleep(30)
        raise AssertionError

    fine = Check("fine", "ok", "well")
    monkeypatch.setattr(machine_checks, "CHECKS", {"hangs": hanging, "breaks": broken, "fine": lambda: fine})
    told = doctor.examine(None, longest_seconds=0.2)
    assert not told.could_start
    assert [check.state for check in told.checks] == ["wrong", "wrong", "ok"]
    assert told.checks[2] == replace(fine)


def test_an_output_that_cannot_be_written_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    job, _ = job_checks.load(Path("job.yaml"))
    assert job
    Path("out").mkdir()
    Path("out/_staging").write_text("a file where a folder is needed")
    (told,) = job_checks.check_output(job)
    assert told.state == "wrong"
    assert told.mend
