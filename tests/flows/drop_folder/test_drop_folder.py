"""The listener's loop: what it hears of, what it tries again, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import flows.drop_folder.listener
from flows.drop_folder.inbox import Inbox
from flows.drop_folder.listener import Backlog, Listener, listen_to, retry_seconds
from flows.drop_folder.queue import Queue
from flows.drop_folder.reception import Reception
from flows.drop_folder.stop import OrderlyStop
from pipelines.errors import JobError, StoreError
from pipelines.settings import settings
from tests.flows.drop_folder.drop_folder_case import DOCUMENT, RecordingStarter, reception, write_job
from tests.flows.drop_folder.test_drop_folder_queue import make_queue
from tests.s3_fixtures import Bucket


class Rounds(OrderlyStop):
    """Ends the loop after so many waits, none of which takes time; ``between`` is done in each."""

    def __init__(self, rounds: int, between: Callable[[int], object] = lambda number: None) -> None:
        super().__init__()
        self._rounds, self._between, self._done = rounds, between, 0

    def sleep(self, seconds: float) -> None:
        self._done += 1
        self._between(self._done)
        self.is_asked = self._done == self._rounds


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path / "state"))
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "inbox"
    path.mkdir()
    return path


@pytest.fixture
def job(tmp_path: Path) -> Path:
    return write_job(tmp_path / "job.yaml", str(tmp_path / "results"))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.drop_folder.listener, "retry_seconds", lambda failures: 0.0)


def polling(folder: Path, job: Path, starter: RecordingStarter, lines: list[str]) -> Listener:
    return Listener(Inbox(str(folder)), reception(str(folder), job, starter, lines), None, 0.0, lines.append)


def test_a_local_file_is_taken_when_two_listings_agree_on_it(folder: Path, job: Path) -> None:
    starter = RecordingStarter()
    seen: list[int] = []

    def grow(number: int) -> None:
        seen.append(len(starter.started))
        if number <= 3:
            (folder / "a.jsonl").write_bytes(DOCUMENT * number)

    polling(folder, job, starter, []).run(Rounds(8, grow))
    assert seen[:4] == [0, 0, 0, 0], "not while it grows"
    assert [run.record.input_bytes for run in starter.runs] == [3 * len(DOCUMENT)]


def test_what_fails_is_tried_again_and_keeps_nobody_waiting(folder: Path, job: Path, at_once: None) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (folder / name).write_bytes(DOCUMENT)
    starter, lines = RecordingStarter(failures=3), list[str]()
    polling(folder, job, starter, lines).run(Rounds(12))
    assert sorted(run.job.input for run in starter.runs) == [str(folder / name) for name in ("a.jsonl", "b.jsonl")]
    assert lines.count("not taken yet: Prefect cannot be reached") == 3


def test_two_listeners_that_list_the_same_bucket_start_each_file_once(s3: Bucket, tmp_path: Path) -> None:
    location, names = f"{s3.uri}/in", [f"{number:02d}.jsonl" for number in range(20)]
    for name in names:
        s3.put(f"in/{name}", DOCUMENT)
    job = write_job(tmp_path / "job.yaml", f"{s3.uri}/results")
    starters, lines = [RecordingStarter(), RecordingStarter()], list[str]()
    threads = [
        threading.Thread(
            target=Listener(Inbox(location), reception(location, job, starter, lines), None, 0.0, lines.append).run,
            args=(Rounds(25),),
        )
        for starter in starters
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    asked = [started for starter in starters for started in starter.started]
    assert len(set(asked)) == 20 == len({run_id for run_id, _ in asked})
    keys = s3.all_keys()
    assert [key for key in keys if key.endswith("/run.json")] == sorted(
        f"results/{run}/run.json" for run, _ in set(asked)
    )
    assert [key for key in keys if key.startswith("status/in/")] == [f"status/in/{name}.json" for name in names]


def test_what_was_started_is_not_even_looked_at_by_the_next_listener(
    folder: Path, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.jsonl").write_bytes(DOCUMENT)
    (folder / "scan.tiff").write_bytes(b"II*")
    polling(folder, job, RecordingStarter(), []).run(Rounds(6))
    taken: list[str] = []
    monkeypatch.setattr(Reception, "take", lambda self, key: taken.append(key))
    polling(folder, job, RecordingStarter(), []).run(Rounds(6))
    assert taken == ["scan.tiff"], "what was rejected is judged anew, once"


def test_an_outage_is_waited_out(folder: Path, job: Path, monkeypatch: pytest.MonkeyPatch, at_once: None) -> None:
    (folder / "a.jsonl").write_bytes(DOCUMENT)
    outages = iter([StoreError("S3 answered 503 for a minute")] * 2)
    real = Inbox.files

    def files(inbox: Inbox) -> Iterator[Any]:
        if error := next(outages, None):
            raise error
        return real(inbox)

    monkeypatch.setattr(Inbox, "files", files)
    starter, lines = RecordingStarter(), list[str]()
    polling(folder, job, starter, lines).run(Rounds(8))
    assert lines[:2] == ["cannot list the folder, will try again: S3 answered 503 for a minute"] * 2
    assert len(starter.started) == 1


def test_a_backlog_gives_out_what_is_due() -> None:
    backlog = Backlog()
    assert backlog.pop_due() is None
    backlog.add("a")
    backlog.add("b")
    assert (backlog.pop_due(), backlog.pop_due(), backlog.pop_due()) == ("a", "b", None)
    backlog.put_off("a")
    assert backlog.pop_due() is None
    assert backlog.due_at() > time.monotonic()


def test_retries_come_ever_more_slowly() -> None:
    assert [retry_seconds(failures) for failures in (0, 1, 2, 6, 7, 1_000)] == [5, 10, 20, 320, 600, 600]


def test_it_may_be_stopped_as_soon_as_it_says_that_it_listens(folder: Path, job: Path) -> None:
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("listening"):
            signal.raise_signal(signal.SIGINT)

    listen_to(str(folder), job, None, None, RecordingStarter(), say)
    assert said == [f"listening to {folder} by listing it", "stopped"]


def test_options_that_exclude_each_other(folder: Path, job: Path) -> None:
    with pytest.raises(JobError) as caught:
        listen_to(str(folder), job, "http://127.0.0.1/q", None, RecordingStarter(), print)
    assert caught.value.problems == [
        f"--queue: '{folder}' is a local folder, which announces nothing; leave --queue out"
    ]
    with pytest.raises(JobError) as caught:
        listen_to("s3://bucket/in", job, "http://127.0.0.1/q", 5.0, RecordingStarter(), print)
    assert caught.value.problems == ["--poll-seconds: with --queue nothing is polled; leave one of them out"]


def announce(sqs: Any, url: str, *objects: tuple[str, str]) -> None:
    records = [
        {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}
        for bucket, key in objects
    ]
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"Records": records}))


def waiting(sqs: Any, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return sum(map(int, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()))


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.drop_folder.listener, "_LONG_POLL_SECONDS", 1)


def hear(listener: Listener, *, until: Callable[[], bool]) -> None:
    """Run the loop in a thread of its own, where signals do not reach."""
    stop = OrderlyStop()
    thread = threading.Thread(target=listener.run, args=(stop,))
    thread.start()
    deadline = time.monotonic() + 60
    while not until() and time.monotonic() < deadline:
        time.sleep(0.1)
    stop.is_asked = True
    thread.join(60)
    assert until()


def test_a_message_is_deleted_when_all_it_announces_is_done(s3: Bucket, tmp_path: Path, short_waits: None) -> None:
    sqs = s3.client("sqs")
    url = make_queue(sqs, f"{s3.name}-drops")
    job = write_job(tmp_path / "job.yaml", f"{s3.uri}/results")
    location, starter, lines = f"{s3.uri}/in", RecordingStarter(failures=2), list[str]()
    listener = Listener(Inbox(location), reception(location, job, starter, lines), Queue(url), 0.0, lines.append)
    listener._next_listing_at = float("inf")  # hears of files through the queue only
    for name in ("in/a.jsonl", "in/b.jsonl", "elsewhere/c.jsonl"):
        s3.put(name, DOCUMENT)
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"Event": "s3:TestEvent", "Bucket": s3.name}))
    # Two that fail at first, one outside the folder, one that is gone, a marker, and our own reports.
    keys = ["in/a.jsonl", "in/b.jsonl", "elsewhere/c.jsonl", "in/gone.jsonl", "in/", "status/in/a.jsonl.json"]
    announce(sqs, url, *((s3.name, key) for key in keys))
    hear(listener, until=lambda: waiting(sqs, url) == 0 and len(starter.started) == 2)
    assert sorted(run.job.input for run in starter.runs) == [f"{location}/a.jsonl", f"{location}/b.jsonl"]
    assert lines.count("not taken yet: Prefect cannot be reached") == 2


def test_what_cannot_be_done_ends_in_the_dead_letter_queue(s3: Bucket, tmp_path: Path, short_waits: None) -> None:
    sqs = s3.client("sqs")
    url = make_queue(sqs, f"{s3.name}-poison", tries=2)
    job = write_job(tmp_path / "job.yaml", f"{s3.uri}/results")
    location, lines = f"{s3.uri}/in", list[str]()
    queue = Queue(url)
    listener = Listener(Inbox(location), reception(location, job, RecordingStarter(), lines), queue, 0.0, lines.append)
    sqs.send_message(QueueUrl=url, MessageBody="poison")
    announce(sqs, url, ("another-bucket", "in/a.jsonl"))
    hear(listener, until=lambda: waiting(sqs, f"{url}-dead") == 2)
    assert waiting(sqs, url) == 0
    told = [line.split(": ", 1)[1].partition(";")[0] for line in lines]
    assert told.count("the message is no S3 event notification") == 2
    assert told.count("announces another bucket") == 2


def test_a_stop_leaves_a_wait_at_once_and_work_to_its_end() -> None:
    with OrderlyStop() as stop:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        stop.sleep(250)
        assert stop.is_asked
        assert stop.waiting(lambda: "message") is None, "nothing new is waited for"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with OrderlyStop() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.is_asked, "and the work goes on"
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(250)
    finally:
        signal.signal(signal.SIGINT, before)
