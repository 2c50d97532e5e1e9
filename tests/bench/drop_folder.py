"""The drop folder's promise, proved: files that come while listeners are killed become one run each.

    python -m tests.bench.drop_folder [FILES]

Two listener processes, on one queue, are killed with -9 in turn and started again, while files are put into a bucket
of the S3 and SQS emulator, many of them announced several times. What they leave behind is then counted in the store.

What is real: bucket, queue, notifications, redrive policy, listener processes, claims, the runs' records, plans and
results. What is not: nothing is sent to Claude and no engine runs (the job's policy withholds every document), and the
stages of a run are called in the listener's own process, because Prefect would take a second or more for each of them.
"""

from __future__ import annotations

import io
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import boto3
import pyarrow.parquet as parquet
from rich.console import Console

from infra.local.s3 import Emulator
from infra.local.s3.servers import REGION, ROOT_KEY
from tests.bench.children import REPOSITORY, child_environment
from tests.flows.drop_folder.drop_folder_case import write_job

BUCKET = "drops"
VISIBILITY_SECONDS = 5
TRIES = 5
DOCUMENTS_PER_FILE = 2
_BEFORE_LISTENING, _MULTIPART, _TWICE_ANNOUNCED = 0.1, 0.1, 0.3  # shares of the files
_PUTS_AT_ONCE = 4
_SECONDS_PER_FILE, _LEAST_SECONDS = 2.0, 120.0


@dataclass
class Proof:
    """What was done and what was found; `problems` is empty when the promise was kept."""

    files: int
    seed: int
    kills: int = 0
    announcements: int = 0
    seconds: float = 0.0
    found: dict[str, int] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """Counts that are not what they must be."""
        rows = self.files * DOCUMENTS_PER_FILE
        wanted = dict.fromkeys(("claims", "started marks", "status files", "runs", "files that have rows"), self.files)
        wanted |= {"rows": rows, "different rows": rows, "rejected files": 0, "dead letters": 0, "clean exits": 2}
        return [
            f"{name}: {self.found[name]}, not {count}" for name, count in wanted.items() if self.found[name] != count
        ]

    def __str__(self) -> str:
        head = [
            f"{self.files:,} files of {DOCUMENTS_PER_FILE} documents dropped, seed {self.seed}",
            f"{self.announcements:,} announcements in the queue, injected repeats included",
            f"{self.kills} times a listener was killed with -9 and started again",
            f"{self.seconds:.0f} s until everything was done",
        ]
        return "\n".join([*head, *(f"  {name:<28}{count:>8,}" for name, count in self.found.items())])


class Drops:
    """A bucket, its queue, and the files that are put there."""

    def __init__(self, emulator: Emulator, proof: Proof) -> None:
        self._emulator, self._proof = emulator, proof
        self._random = random.Random(proof.seed)
        self.s3, self.sqs = self._client("s3"), self._client("sqs")
        self.s3.create_bucket(Bucket=BUCKET)
        self.dead_letters = self.sqs.create_queue(QueueName="dead-letters")["QueueUrl"]
        redrive = {"deadLetterTargetArn": self._arn(self.dead_letters), "maxReceiveCount": str(TRIES)}
        attributes = {"VisibilityTimeout": str(VISIBILITY_SECONDS), "RedrivePolicy": json.dumps(redrive)}
        self.queue = self.sqs.create_queue(QueueName="drops", Attributes=attributes)["QueueUrl"]
        only_drops = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "in/"}]}}
        notify = {"QueueArn": self._arn(self.queue), "Events": ["s3:ObjectCreated:*"], "Filter": only_drops}
        self.s3.put_bucket_notification_configuration(
            Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [notify]}
        )

    def put(self, numbers: range) -> None:
        """Put files, some in parts, and announce some of them again and again."""
        plans = [(number, self._random.random(), self._random.random()) for number in numbers]
        with ThreadPoolExecutor(_PUTS_AT_ONCE) as pool:
            list(pool.map(lambda plan: self._put(*plan), plans))

    def _put(self, number: int, how: float, how_often: float) -> None:
        key, body = f"in/day {number % 7}/tickets+{number:05d}é.jsonl", document_lines(number)
        if how < _MULTIPART:
            upload = self.s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
            place = {"Bucket": BUCKET, "Key": key, "UploadId": upload}
            tag = self.s3.upload_part(**place, PartNumber=1, Body=body)["ETag"]
            self.s3.complete_multipart_upload(**place, MultipartUpload={"Parts": [{"ETag": tag, "PartNumber": 1}]})
        else:
            self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        repeats = 3 if how_often < _TWICE_ANNOUNCED / 3 else int(how_often < _TWICE_ANNOUNCED)
        record = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": BUCKET}, "object": {"key": key}}}
        for _ in range(repeats):
            self.sqs.send_message(QueueUrl=self.queue, MessageBody=json.dumps({"Records": [record]}))
        self._proof.announcements += 1 + repeats

    def keys(self, prefix: str) -> list[str]:
        """Keys below a prefix."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def waiting(self, queue: str) -> int:
        """Messages that are in a queue, hidden or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        return sum(map(int, self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"].values()))

    def are_done(self, files: int) -> bool:
        """Whether nothing is left to do, as far as the listeners themselves can tell."""
        return len(self.keys("status/_started/")) == files and not self.waiting(self.queue)

    def count(self) -> dict[str, int]:
        """What the listeners have left behind."""
        status, results = self.keys("status/"), self.keys("results/")
        rows: Counter[tuple[str, int]] = Counter()
        for key in results:
            if key.endswith(".parquet"):
                body = io.BytesIO(self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
                table = parquet.read_table(body, columns=["document_uri", "document_offset"])
                rows.update((row["document_uri"], row["document_offset"]) for row in table.to_pylist())
        return {
            "claims": sum(key.startswith("status/_claims/") for key in status),
            "started marks": sum(key.startswith("status/_started/") for key in status),
            "status files": sum(key.startswith("status/in/") for key in status),
            "rejected files": len(self.keys("rejected/")),
            "runs": sum(key.endswith("/run.json") for key in results),
            "files that have rows": len({uri for uri, _ in rows}),
            "rows": rows.total(),
            "different rows": len(rows),
            "dead letters": self.waiting(self.dead_letters),
        }

    def _client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self._emulator.endpoint,
            region_name=REGION,
            aws_access_key_id=ROOT_KEY,
            aws_secret_access_key=ROOT_KEY,
        )

    def _arn(self, queue: str) -> Any:
        return self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def document_lines(number: int) -> bytes:
    """The content of a file: different for each, so that none could stand for another."""
    fixed = {"label": "billing", "may_leave": False}
    rows = [{"id": f"{number}-{row}", "text": f"ticket {number}, {row}"} | fixed for row in range(DOCUMENTS_PER_FILE)]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


class Listeners:
    """Two listener processes; one of them, in turn, is killed and started again."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self._command, self._environment, self._folder = command, environment, folder
        self._said_before = [0, 0]  # bytes of each log when its process was started
        self._processes = [self._start(0), self._start(1)]
        self.kills = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def kill_one(self) -> None:
        """Kill the one whose turn it is, at whatever it is doing."""
        turn = self.kills % 2
        if self._processes[turn].poll() is not None:
            raise SystemExit(f"a listener ended by itself:\n{self._log(turn).read_text()[-4_000:]}")
        self._processes[turn].kill()
        self._processes[turn].wait()
        self._processes[turn] = self._start(turn)
        self.kills += 1

    def stop(self) -> int:
        """Ask both to stop, once they listen; how many ended with exit code 0."""
        deadline = time.monotonic() + _LEAST_SECONDS
        while not all(self._last_words(number).count("listening to") for number in range(2)):
            if time.monotonic() > deadline:
                return 0
            time.sleep(0.1)
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        return sum(process.wait(60) == 0 for process in self._processes)

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        self._said_before[number] = len(self._log(number).read_bytes()) if self._log(number).exists() else 0
        with self._log(number).open("ab") as log:
            return subprocess.Popen(self._command, cwd=REPOSITORY, env=self._environment, stdout=log, stderr=log)

    def _log(self, number: int) -> Path:
        return self._folder / f"listener-{number}.log"

    def _last_words(self, number: int) -> str:
        return self._log(number).read_bytes()[self._said_before[number] :].decode()

    def takes(self) -> int:
        """How often a listener came to the end of taking a file."""
        return sum(self._log(number).read_text().count(" started run_") for number in range(2))


def prove(files: int, folder: Path, seed: int, kill_every_seconds: tuple[float, float] = (2.0, 6.0)) -> Proof:
    """Drop so many files and count what came of it."""
    proof = Proof(files, seed)
    job = write_job(folder / "job.yaml", f"s3://{BUCKET}/results")
    first = round(files * _BEFORE_LISTENING)
    with Emulator(folder / "emulator") as emulator:
        drops = Drops(emulator, proof)
        drops.put(range(first))
        started_at = time.monotonic()
        command = [
            sys.executable,
            "-m",
            "tests.bench.drop_folder",
            "listen",
            f"s3://{BUCKET}/in",
            str(job),
            drops.queue,
        ]
        with Listeners(command, child_environment(folder, emulator.client_variables()), folder) as listeners:
            putting = threading.Thread(target=drops.put, args=(range(first, files),))
            putting.start()
            deadline = started_at + max(files * _SECONDS_PER_FILE, _LEAST_SECONDS)
            when = random.Random(seed + 1)
            # After the deadline, what is missing is what the counts will tell.
            # Each listener is killed once at least, however fast the machine: also one that has nothing left to do.
            while time.monotonic() < deadline and (
                listeners.kills < 2 or putting.is_alive() or not drops.are_done(files)
            ):
                time.sleep(when.uniform(*kill_every_seconds))
                listeners.kill_one()
            putting.join()
            proof.seconds = time.monotonic() - started_at
            proof.kills = listeners.kills
            proof.found["clean exits"] = listeners.stop()
            proof.found["takes, by both listeners"] = listeners.takes()
        proof.found |= drops.count()
    return proof


def listen(location: str, job: str, queue: str) -> None:
    """A listener process of the proof."""
    from flows.console.progress import ProgressReporter
    from flows.drop_folder.listener import listen_to
    from flows.run import Run
    from flows.stages import planning, publishing, scoring

    class RunStages:
        """Brings a run to its published rows within this process."""

        def check(self) -> None:
            """Nothing else is needed."""

        def start(self, run: Run, claim_id: str) -> str | None:
            progress = ProgressReporter(Console(file=io.StringIO()))
            plan = planning.plan_documents(run, progress)
            scoring.settle_unscored(run, plan)
            publishing.publish_scored(run, plan, progress)
            return None

    listen_to(location, Path(job), queue, None, RunStages(), lambda line: print(line, flush=True))


def main() -> None:
    """Prove it with as many files as asked for."""
    if sys.argv[1:2] == ["listen"]:
        listen(*sys.argv[2:])
        return
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    with tempfile.TemporaryDirectory() as folder:
        proof = prove(files, Path(folder), seed=random.SystemRandom().randrange(10_000))
    print(__doc__)
    print(proof)
    if proof.problems:
        raise SystemExit("NOT KEPT: " + "; ".join(proof.problems))
    print(f"kept: exactly {files:,} runs' worth of items, each once")


if __name__ == "__main__":
    main()
