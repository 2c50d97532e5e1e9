"""A file's failure is that file's: it is rejected with its reason, and the listener goes on to the next."""

from __future__ import annotations

import errno
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import flows.drop_folder.listener
from flows.drop_folder.inbox import Inbox
from flows.drop_folder.job_rules import JobFileOptions
from flows.drop_folder.jobs import JobFinder
from flows.drop_folder.listener import Backlog, Listener
from flows.drop_folder.reception import Reception
from flows.drop_folder.starters import StartHere
from flows.run import Run
from pipelines.errors import InvariantError, JobError, ServiceError
from pipelines.settings import settings
from tests.flows.drop_folder.drop_folder_case import DOCUMENT, Case, RecordingStarter, job_text, local_case, s3_case
from tests.flows.drop_folder.test_drop_folder import Rounds
from tests.job.test_job_tree import BOMB

STARTER = Path(__file__).resolve().parents[3] / "sample_data" / "starter_model"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(flows.drop_folder.listener, "retry_seconds", lambda failures: 0.0)
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture(params=["local", "s3"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    return local_case(tmp_path) if request.param == "local" else s3_case(request.getfixturevalue("s3"), tmp_path)


def listen(case: Case, rounds: int = 8) -> None:
    Listener(Inbox(case.location), case.reception(), None, 0.0, case.lines.append).run(Rounds(rounds))


def with_model(case: Case, **engine: Any) -> bytes:
    model = {"source": "sample_data/starter_model", "engine": engine}
    return job_text(case.output, model=model, quality={"raw_threshold": 0.9}).encode()


def changed(case: Case, **changes: Any) -> bytes:
    return (job_text(case.output) + yaml.safe_dump(changes)).encode()


BAD_JOB_FILES: dict[str, Callable[[Case], bytes]] = {
    "2k": lambda case: with_model(case, max_model_len="2k"),
    "bomb": lambda case: BOMB.encode(),
    "nul": lambda case: job_text(case.output).replace("output:", 'output: "a\\0b" #').encode(),
    "ipv6": lambda case: job_text("http://[::1").encode(),
    "ipv6-gold": lambda case: job_text(case.output, evaluation={"gold_file": "http://[::1"}).encode(),
    "long": lambda case: job_text("/" + "x" * 5_000).encode(),
    "date": lambda case: with_model(case) + b"x: 2020-13-01\n",
    "bytes": lambda case: with_model(case, x=b"\xff"),
    "set": lambda case: with_model(case, x={"a", "b"}),
    "nan": lambda case: with_model(case, x=float("nan")),
    "key": lambda case: with_model(case, x={1: 2}),
    "digits": lambda case: with_model(case).replace(b"engine: {}", b"engine: {x: " + b"9" * 5_000 + b"}"),
    "number-name": lambda case: b"1: 2\n" + job_text(case.output).encode(),
    "tag": lambda case: job_text(case.output).encode() + b"x: !!bool maybe\n",
    "merge": lambda case: job_text(case.output).encode() + b"<<: 5\n",
    "half": lambda case: job_text(case.output).encode() + b'columns: {text: "\\uD800"}\n',
    "latin-1": lambda case: "labels: é".encode("latin-1"),
    "large": lambda case: b"#" * 1_000_001,
    "endless": lambda case: b"[" * 900_000,
}


@pytest.mark.parametrize("kind", BAD_JOB_FILES)
def test_a_bad_job_file_is_its_files_problem_and_no_one_elses(tmp_path: Path, kind: str) -> None:
    case = local_case(tmp_path)
    case.bounds = JobFileOptions(models=frozenset({"sample_data/starter_model"}))
    case.put("bad.jsonl", DOCUMENT)
    case.put("bad.job.yaml", BAD_JOB_FILES[kind](case))
    case.put("good.jsonl", DOCUMENT)
    listen(case)
    assert [run.job.input for run in case.starter.runs] == [f"{case.location}/good.jsonl"]
    problems = case.report("rejected", "bad.jsonl")["problems"]
    assert problems and all(problem.startswith(f"{case.location}/bad.job.yaml") for problem in problems)
    assert not [line for line in case.lines if "not taken yet" in line or "unexpected" in line]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("hunter2"),
        RecursionError("hunter2"),
        KeyError("hunter2"),
        OSError(errno.ENAMETOOLONG, "hunter2"),
        InvariantError("counts do not add up"),
        type("PanicException", (BaseException,), {})("hunter2"),  # as Rust's libraries raise it
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("step", ["find", "prepare", "start"])
def test_whatever_a_file_raises_rejects_that_file_and_quotes_nothing(
    case: Case, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    places = {
        "find": (JobFinder, "find"),
        "prepare": (flows.drop_folder.reception, "prepare_run"),
        "start": (RecordingStarter, "start"),
    }
    case.put(f"{case.prefix}bad.jsonl", DOCUMENT)
    with monkeypatch.context() as patch:
        patch.setattr(*places[step], fail)
        case.take("bad.jsonl")
    [problem] = case.report("rejected", "bad.jsonl")["problems"]
    if isinstance(error, InvariantError):
        assert problem == "counts do not add up"
    else:
        assert problem.startswith(f"unexpected {type(error).__name__}")
        assert problem.endswith("; if file and job are as they should be, please report this line")
    assert "hunter2" not in problem
    case.take("bad.jsonl")
    assert len(case.starter.started) == 1, "mended, it is taken"
    assert case.reports("rejected") == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EMFILE, "Too many open files"),
        ConnectionResetError("hunter2"),
        TimeoutError("hunter2"),
        MemoryError(),
        ServiceError("S3 cannot be reached"),
        type("EndpointConnectionError", (Exception,), {"__module__": "botocore.exceptions"})("hunter2"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_the_machine_lacks_rejects_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    case = local_case(tmp_path)
    for name in ("a.jsonl", "b.jsonl"):
        case.put(name, DOCUMENT)

    def fail(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(JobFinder, "find", fail)
        listen(case, rounds=30)
    assert case.reports("rejected") == []
    assert len([line for line in case.lines if "not taken yet: " in line]) > 10
    assert not any("hunter2" in line for line in case.lines)
    listen(case)
    assert len(case.starter.started) == 2


def test_ctrl_c_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = local_case(tmp_path)
    case.put("a.jsonl", DOCUMENT)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(JobFinder, "find", interrupt)
    with pytest.raises(KeyboardInterrupt):
        case.take("a.jsonl")
    assert case.reports("rejected") == []


def test_a_store_that_takes_no_report_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = local_case(tmp_path)
    case.put("empty.jsonl", b"")
    monkeypatch.setattr(Inbox, "_report", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    listen(case)
    assert case.lines and all("not taken yet: unexpected OSError ENOSPC" in line for line in case.lines)


@pytest.mark.parametrize("length", [200, 240, 249])
def test_a_name_that_leaves_no_room_for_an_ending_is_taken_and_told_of(case: Case, length: int) -> None:
    name = "x" * length + ".jsonl"
    case.put(f"{case.prefix}{name}", DOCUMENT)
    case.put(f"{case.prefix}{'y' * length}.tiff", DOCUMENT)
    listen(case)
    assert len(case.starter.started) == 1
    told = [
        json.loads(case.get(key))
        for key in case.all_keys()
        if key.startswith(("status/", "rejected/"))
        and key.endswith(".json")
        and "/_claims/" not in key
        and "/_started/" not in key
    ]
    assert sorted(report["file"].rsplit("/", 1)[1][:1] for report in told) == ["x", "y"]
    assert not [line for line in case.lines if "not taken yet" in line]


@pytest.mark.processes
def test_a_key_as_long_as_s3_has_them_is_taken(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    case = s3_case(request.getfixturevalue("s3"), tmp_path)
    name = "/".join(["d" * 200] * 5) + ".jsonl"
    case.put(f"{case.prefix}{name}", DOCUMENT)
    listen(case)
    assert len(case.starter.started) == 1


def test_a_folder_named_like_the_report_on_a_file_is_in_nobodys_way(tmp_path: Path) -> None:
    case = local_case(tmp_path)
    case.put("a.jsonl", DOCUMENT)
    listen(case)
    case.put("a.jsonl.json/b.jsonl", DOCUMENT)
    listen(case)
    assert len(case.starter.started) == 2
    assert not [line for line in case.lines if "not taken yet" in line]


def test_a_claim_that_cannot_be_read_is_told_with_the_way_out(case: Case) -> None:
    case.put(f"{case.prefix}a.jsonl", DOCUMENT)
    inbox = Inbox(case.location)
    file = inbox.look(f"{case.prefix}a.jsonl")
    assert file is not None
    case.put(f"status/_claims/{file.claim_id}.json", b"{")
    case.take("a.jsonl")
    report = case.report("rejected", "a.jsonl")
    assert report["problems"][0].startswith("unexpected ValidationError")
    assert report["next"].endswith(f"to have it taken with another job, delete '{inbox.claim_uri(file)}' first")


class NeverStarter(RecordingStarter):
    """Starts what has no `bad` in its input."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error, self.tries = error, 0

    def start(self, run: Run, claim_id: str) -> str | None:
        if "bad" in run.job.input:
            self.tries += 1
            raise self.error
        return super().start(run, claim_id)


def test_a_claimed_file_whose_run_can_never_be_done_is_told_and_left(tmp_path: Path) -> None:
    case = local_case(tmp_path)
    case.starter = starter = NeverStarter(JobError(["run run_dropped cannot be done: the model is gone"]))
    case.put("bad.jsonl", DOCUMENT)
    listen(case, rounds=20)
    assert starter.tries == 1
    report = case.report("rejected", "bad.jsonl")
    assert report["problems"] == ["run run_dropped cannot be done: the model is gone"]
    assert "to have it taken with another job, delete '" in report["next"]


def test_what_fails_again_and_again_while_others_are_taken_is_told_and_left(tmp_path: Path) -> None:
    case = local_case(tmp_path)
    case.starter = starter = NeverStarter(ServiceError("the engine does not start"))
    case.put("bad.jsonl", DOCUMENT)
    listener = Listener(Inbox(case.location), case.reception(), None, 0.0, case.lines.append)
    listener.run(Rounds(30))
    assert starter.tries > 6 and case.reports("rejected") == [], "nobody else was taken: the machine's, for all we know"
    case.put("good.jsonl", DOCUMENT)
    listener.run(Rounds(10))
    tries = starter.tries
    listener.run(Rounds(10))
    assert len(case.starter.started) == 1 and starter.tries == tries
    [problem] = case.report("rejected", "bad.jsonl")["problems"]
    assert problem == "tried 6 times while others were taken; the last time: the engine does not start"


def test_a_backlog_gives_up_no_key_for_an_outage() -> None:
    backlog = Backlog()
    for _ in range(20):
        backlog.put_off("bad")
    assert not backlog.is_hopeless("bad")
    backlog.forget("good")
    assert backlog.is_hopeless("bad")
    backlog.forget("bad")
    assert not backlog.is_hopeless("bad")


@pytest.mark.processes
def test_a_run_refused_as_a_bad_job_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = local_case(tmp_path)
    case.put("a.jsonl", DOCUMENT)
    case.take("a.jsonl")
    [run] = case.starter.runs
    monkeypatch.setattr(
        "flows.drop_folder.starters._COMMAND",
        (sys.executable, "-c", "import sys; print('pipeline: the model is gone', file=sys.stderr); sys.exit(2)"),
    )
    with pytest.raises(JobError) as caught:
        StartHere().start(run, "claim")
    assert caught.value.problems == [f"run {run.run_id} cannot be done: the model is gone"]


def test_the_reception_gives_up_the_version_that_is_there(tmp_path: Path) -> None:
    case = local_case(tmp_path)
    case.put("a.jsonl", DOCUMENT)
    reception: Reception = case.reception()
    reception.give_up("gone.jsonl", "why")
    reception.give_up("a.jsonl", "why")
    assert case.reports("rejected") == ["rejected/a.jsonl.rejected.json"]


@pytest.mark.processes  # imports transformers, which takes seconds
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", "{}"),
        ("tokenizer.json", "[" * 5_000),
        ("chat_template.jinja", "{{ raise_exception('hunter2') }}"),
        ("chat_template.jinja", "{% for %}"),
        ("chat_template.jinja", "{{ 1 / 0 }}"),
        ("tokenizer_config.json", "["),
        ("config.json", "["),
        ("calibration.json", "\udcff"),
    ],
)
def test_a_model_that_cannot_be_used_rejects_the_file_that_names_it(tmp_path: Path, name: str, content: str) -> None:
    model = tmp_path / "model"
    shutil.copytree(STARTER, model)
    (model / name).write_bytes(content.encode(errors="surrogateescape"))
    case = local_case(tmp_path)
    case.bounds = JobFileOptions(models=frozenset({str(model)}))
    case.put("bad.jsonl", DOCUMENT)
    job = job_text(case.output, model={"source": str(model)}, quality={"raw_threshold": 0.9})
    case.put("bad.job.yaml", job.encode())
    case.take("bad.jsonl")
    [problem] = case.report("rejected", "bad.jsonl")["problems"]
    assert "hunter2" not in problem or problem.startswith(f"{case.location}/bad.job.yaml: model: ")
