"""A new user's first hour, command by command, with the real engine: a CSV of one's own, to rows in a file."""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
import threading
from pathlib import Path

import pytest

from tests.scenarios.pipeline_command import COMMAND, REPOSITORY, PipelineCommand

pytestmark = pytest.mark.prove

ROWS = 240
RUN = "first-hour"
# What a person types, in the order in which it is typed. `watch` looks on while `submit` works.
SCRIPT = f"""
pipeline doctor
pipeline init my_tickets.csv
pipeline doctor my-tickets.yaml
pipeline estimate my-tickets.yaml --sample 60
pipeline submit my-tickets.yaml --run-id {RUN}
pipeline watch {RUN}
pipeline report {RUN}
pipeline review {RUN} --export to_answer.csv
pipeline review {RUN} --import to_answer.csv --as ann
pipeline cost {RUN} --compare
pipeline results {RUN} -o answers.csv
pipeline runs
"""


@pytest.fixture
def desk(tmp_path: Path) -> PipelineCommand:
    """A person's folder with a table of tickets in it; engines, Ray and Prefect of its own."""
    with (REPOSITORY / "sample_data/tickets/gold.csv").open(newline="") as file:
        gold = {row["id"]: row["label"] for row in csv.DictReader(file)}
    lines = (REPOSITORY / "sample_data/tickets/heldout/tickets.jsonl").read_text().splitlines()[:ROWS]
    tickets = [json.loads(line) for line in lines]
    with (tmp_path / "my_tickets.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label"])
        writer.writerows([ticket["id"], ticket["text"], gold[ticket["id"]]] for ticket in tickets)
    return PipelineCommand(tmp_path, {"COLUMNS": "100"})


def typed(desk: PipelineCommand, line: str) -> str:
    """What the command shows; it is printed too: somebody is to read all of it (`pytest -s`)."""
    done = subprocess.run(
        [COMMAND, *shlex.split(line)[1:]],
        cwd=desk.home,
        env=desk.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=800,
    )
    print(f"$ {line}\n{done.stdout}", flush=True)
    assert done.returncode == 0, done.stdout + desk.log()
    return done.stdout


def answer_as_labelled(path: Path) -> int:
    """What a person does with the file in a spreadsheet: the right label beside each text; how many there were."""
    with (REPOSITORY / "sample_data/tickets/gold.csv").open(newline="") as file:
        gold = {row["id"]: row["label"] for row in csv.DictReader(file)}
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {"answer": gold[row["document_id"]]} for row in rows)
    return len(rows)


@pytest.mark.engine
@pytest.mark.timeout(1_800)  # on a busy machine
def test_the_first_hour(desk: PipelineCommand) -> None:
    lines = SCRIPT.strip().splitlines()
    machine, written, job, estimated = (typed(desk, line) for line in lines[:4])
    assert machine.rstrip().endswith("a run could start")
    assert "labels    10, values of label: " in written
    assert "columns that the job names are there" in job
    assert f"only 60 of {ROWS} documents were scored" in estimated
    assert len(re.findall(r"^│ 0\.\d+ +│", estimated, flags=re.MULTILINE)) == 4, "four targets"
    submitted: list[str] = []
    submit = threading.Thread(target=lambda: submitted.append(typed(desk, lines[4])))
    submit.start()
    remembered = desk.home / "state" / "runs" / RUN
    while submit.is_alive() and not remembered.exists():
        submit.join(0.1)
    watched = typed(desk, lines[5])
    submit.join()
    assert submitted and f"results   {desk.home}" in submitted[0]
    assert f"run       {RUN}: complete" in watched, "it ends with the run"
    assert len(watched.splitlines()) > 8, "and has said something before"
    reported, exported = (typed(desk, line) for line in lines[6:8])
    waiting = answer_as_labelled(desk.home / "to_answer.csv")
    assert waiting and f"{waiting} items" in exported
    imported, compared, saved, runs = (typed(desk, line) for line in lines[8:])
    assert f"{waiting} answers" in imported
    assert (desk.home / f"report-{RUN}.html").read_text().startswith("<!doctype html>")
    assert f"report-{RUN}.html" in reported
    assert "Claude for all" in compared
    assert f"{ROWS} rows written to answers.csv" in saved
    with (desk.home / "answers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == ROWS and all(row["answer"] for row in rows), "what no engine answered, a person has"
    assert sum(row["answered_by"] == "person" for row in rows) == waiting
    assert re.search(rf"{RUN} +│ complete", runs)
