"""What the demo drops: two small files of sample tickets, a job for one of them, and a file that cannot be read."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from infra.local.demo_s3.processes import DemoError

_SAMPLES = Path(__file__).resolve().parents[3] / "sample_data"
_JOB = _SAMPLES / "jobs" / "tickets.yaml"
_TICKETS = _SAMPLES / "tickets"
_TICKETS_TAKEN, _HELPDESK_TAKEN = 60, 40
_PICTURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class DroppedFile:
    """A file for the drop folder; ``documents`` is None where it is to be rejected."""

    name: str
    content: bytes
    documents: int | None
    job: str | None = None


def default_job(input_uri: str, output_uri: str) -> str:
    """The sample job, reading and writing on S3; the doubtful tickets are answered by the simulation."""
    gold_file = str(_TICKETS / "gold.csv")
    return _job(input=input_uri, output=output_uri, evaluation={"gold_file": gold_file})


def files_to_drop(input_uri: str, output_uri: str) -> list[DroppedFile]:
    """The files, in the order in which they are dropped."""
    # The second file's own job asks nobody: what is doubtful is left for a person.
    own_job = _job(name="helpdesk", input=input_uri, output=output_uri, escalation="off", evaluation=None)
    return [
        DroppedFile("tickets.jsonl", _first_tickets(), _TICKETS_TAKEN),
        DroppedFile("helpdesk.csv", _first_helpdesk_rows(), _HELPDESK_TAKEN, own_job),
        DroppedFile("scan.png", _PICTURE, None),
    ]


def _job(**changes: Any) -> str:
    if not _JOB.is_file():
        raise DemoError(f"there is no sample job '{_JOB}'; run the demo in a checkout of the repository")
    # A target needs more documents than a file of this demo has.
    job = yaml.safe_load(_JOB.read_text(encoding="utf-8")) | {"quality": {"raw_threshold": 0.9}} | changes
    return yaml.safe_dump({name: value for name, value in job.items() if value is not None}, sort_keys=False)


def _first_tickets() -> bytes:
    with (_TICKETS / "heldout" / "tickets.jsonl").open("rb") as lines:
        return b"".join(islice(lines, _TICKETS_TAKEN))


def _first_helpdesk_rows() -> bytes:
    """A row may have several lines, so that rows are not counted by lines."""
    taken = io.StringIO(newline="")
    with (_TICKETS / "heldout" / "helpdesk.csv").open(encoding="utf-8", newline="") as stream:
        csv.writer(taken).writerows(islice(csv.reader(stream), 1 + _HELPDESK_TAKEN))
    return taken.getvalue().encode()
