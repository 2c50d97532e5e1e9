"""`pipeline review`: by way of files, and in a real terminal."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path

import pytest

from pipelines.people.answers import Answers
from pipelines.store.objects import Store
from tests.command_here import Pipeline, pipeline
from tests.people.review_case import item, review_run
from tests.scenarios.terminal_session import TerminalSession

__all__ = ["pipeline"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    review_run(tmp_path / "run", {2: "\x1b[2Jfirst"})
    return tmp_path / "run"


def test_out_and_back_in_and_the_rows_say_who(root: Path, tmp_path: Path, pipeline: Pipeline) -> None:
    run, path = str(root), tmp_path / "a.csv"
    assert f"3 rows wait for a person: pipeline review {run}" in " ".join(pipeline("results", run).split())
    assert json.loads(pipeline("review", run, "--json")) == {
        "run_id": "made-up",
        "waiting": 3,
        "withheld": 1,
        "answered": 0,
    }
    assert "written   3 items to" in pipeline("review", run, "--export", str(path))
    rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    for row in rows:
        row["answer"] = "refund"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    said = pipeline("review", run, "--import", str(path), "--as", "ann")
    assert "kept      3 answers\n" in said
    assert "no item waits for a person in made-up; answered: 3; withheld from Claude by a policy: 1" in said
    table = pipeline("results", run, "--route", "review", "--columns", "document_id,answer,answered_by,person")
    assert table.count("refund") == table.count("ann") == 3
    assert "wait for a person" not in table
    imported = json.loads(pipeline("review", run, "--import", str(path), "--as", "ann", "--json"))
    assert (imported["kept"], imported["known"], imported["answered"]) == (0, 3, 3)
    assert "written   no file" in pipeline("review", run, "--export", str(tmp_path / "b.csv"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--export", "a.xlsx"], "--export: 'a.xlsx' does not say what it is; name it .csv or .parquet, or a folder/"),
        (["--as", " "], "--as: give a name of 1 to 100 characters that can be shown"),
        (["--as", "a\x1b[2J"], "--as: give a name"),
    ],
)
def test_what_cannot_be_done_is_told_with_the_way_out(
    root: Path, pipeline: Pipeline, options: list[str], told: str
) -> None:
    assert told in pipeline("review", str(root), *options, exit_code=2)


@pytest.mark.parametrize("options", [["--export", "a.csv", "--import", "b.csv"], ["--import", "b.csv", "--again"]])
def test_options_that_do_not_go_together_are_refused(root: Path, pipeline: Pipeline, options: list[str]) -> None:
    pipeline("review", str(root), *options, exit_code=2)


@pytest.mark.processes
def test_in_a_terminal_keys_answer_and_ctrl_c_loses_nothing_and_leaves_a_terminal_that_works(root: Path) -> None:
    command = str(Path(sys.executable).parent / "pipeline")
    environment = {**os.environ, "SLUICE_STATE_DIR": str(root.parent / "state")}
    script = f"trap : INT; {command} review {root} --as ann; echo code $?; stty -a | grep -o ' -*echo '; echo done"
    with TerminalSession(["/bin/sh", "-c", script], environment) as terminal:
        terminal.wait_for("q quit")
        assert r"\x1b[2Jfirst" in terminal.screen
        assert "\x1b[2Jfirst" not in terminal.transcript
        terminal.send("2")
        terminal.wait_for("kept: refund")
        terminal.press("c")
        terminal.wait_for("done")
        assert "code 130" in terminal.screen
        assert "interrupted; what is committed is kept" in terminal.screen
        assert " echo" in terminal.screen, "what is typed is seen again"
    assert {name: each.answer for name, each in Answers(Store(str(root))).by_item.items()} == {item(2): "refund"}
