"""`pipeline results`: which rows, which columns, in which form; a table fits, a file that is whole or not there."""

import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.console.views.results import fitting
from tests.command_here import Pipeline, pipeline
from tests.made_up_run import accepted, escalated, failed, write_run
from tests.report.html.made_run import finding_row, job_of, make_run, row

__all__ = ["pipeline"]
FINDING = {"path": "a.py", "line": 7, "severity": "high", "category": "logic", "message": 'says "no", \n twice'}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    found = [{**FINDING, "raw_prob": 0.5}]
    parts = [
        [accepted(1), failed(2, "a reason " * 40), accepted(3, findings=found)],
        [escalated(4), failed(5), failed(6, "\x1b[2J=1+1")],
        [accepted(7)],
    ]
    write_run(tmp_path / "made-up", parts)
    return tmp_path / "made-up"


def ids(rows: list[dict[str, Any]]) -> list[int]:
    return [int(row["item_id"].removeprefix("itm_")) for row in rows]


def lines(shown: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in shown.splitlines()]


def test_routes_limit_and_columns_choose(root: Path, pipeline: Pipeline) -> None:
    run = str(root)
    assert ids(lines(pipeline("results", run, "--json"))) == [1, 2, 3, 4, 5, 6, 7]
    assert ids(lines(pipeline("results", run, "--route", "failed", "--json"))) == [2, 5, 6]
    assert ids(lines(pipeline("results", run, "--route", "failed", "--limit", "2", "--format", "jsonl"))) == [2, 5]
    assert ids(lines(pipeline("results", run, "--route", "failed", "--route", "escalated", "--json"))) == [2, 4, 5, 6]
    (row, *_) = lines(pipeline("results", run, "--columns", "cost_usd, item_id", "--json"))
    assert list(row) == ["cost_usd", "item_id"]
    assert row["cost_usd"] == "0.000001357914"


def test_a_table_fits_eighty_columns_with_snippets_of_text(root: Path, pipeline: Pipeline) -> None:
    shown = pipeline("results", str(root), "--route", "failed", "--limit", "2")
    table = [line for line in shown.splitlines() if line[0] in "┏┃┡│└"]
    assert {len(line) for line in table} <= set(range(81))
    assert len(table) == 6
    assert "a reas" in shown and "…" in shown
    assert "3 of 7 rows took the route failed; 2 shown" in shown
    assert f"7 rows in {root}/results" in shown
    wide = pipeline("results", str(root), "--columns", ",".join(accepted(1)))
    assert "left out  for want of width: " in wide
    assert max(len(line) for line in wide.splitlines() if line[0] in "┏┃┡│└") <= 80


def test_numbers_are_never_cut() -> None:
    widths = {"reason": 300, "cost_usd": 14, "item_id": 24}
    assert fitting(widths, 60, {"reason", "item_id"}) == ({"reason": 18, "cost_usd": 14, "item_id": 18}, [])
    assert fitting(widths, 36, {"reason", "item_id"}) == ({"reason": 15, "cost_usd": 14}, ["item_id"])


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "arrow"])
def test_a_file_holds_the_rows_that_were_asked_for(root: Path, tmp_path: Path, pipeline: Pipeline, form: str) -> None:
    path = tmp_path / f"rows.{form}"
    shown = pipeline("results", str(root), "--route", "accepted", "-o", str(path))
    assert shown == f"3 rows written to {path}\n"
    rows: list[dict[str, Any]]
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(path.read_text())))
        assert json.loads(rows[1]["findings"])[0]["message"] == FINDING["message"]
    elif form == "jsonl":
        rows = lines(path.read_text())
        assert rows[1]["findings"][0]["message"] == FINDING["message"]
    else:
        table = pq.read_table(path) if form == "parquet" else pa.ipc.open_file(path).read_all()
        rows = table.to_pylist()
        assert rows[1]["findings"][0]["message"] == FINDING["message"]
        assert table.schema.metadata[b"sluice.schema_version"] == b"1"
    assert ids(rows) == [1, 3, 7]
    assert Decimal(rows[0]["cost_usd"]) == Decimal("0.000001357914")
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "arrow"])
def test_no_row_makes_a_file_that_can_be_read(root: Path, tmp_path: Path, pipeline: Pipeline, form: str) -> None:
    path = tmp_path / f"none.{form}"
    pipeline("results", str(root), "--route", "withheld", "--columns", "item_id,answer", "-o", str(path))
    if form == "csv":
        assert path.read_text() == '"item_id","answer"\n'
    elif form == "jsonl":
        assert path.read_text() == ""
    else:
        table = pq.read_table(path) if form == "parquet" else pa.ipc.open_file(path).read_all()
        assert (table.num_rows, table.column_names) == (0, ["item_id", "answer"])


def test_a_file_that_is_there_is_never_replaced(root: Path, tmp_path: Path, pipeline: Pipeline) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("mine")
    said = pipeline("results", str(root), "-o", str(path), exit_code=2)
    assert f"{path} is there already, and is not replaced; remove it or name another file" in said
    assert path.read_text() == "mine"


def test_a_part_that_cannot_be_read_leaves_no_file(root: Path, tmp_path: Path, pipeline: Pipeline) -> None:
    (root / "results/part-00002-scored.parquet").write_bytes(b"PAR1")
    pipeline("results", str(root), "-o", str(tmp_path / "rows.csv"), exit_code=1)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["made-up"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--route", "acepted"], "--route: there is no route 'acepted'; did you mean 'accepted'? there are accepted, "),
        (
            ["--columns", "anser,item"],
            "--columns: there is no column 'anser'; did you mean 'answer'? there are item_id",
        ),
        (["-o", "rows.txt"], "-o: 'rows.txt' does not say what it is; name it .jsonl, .csv, .parquet, .arrow, or give"),
        (["--format", "parquet"], "--format: parquet is for programs; say into which file, with -o"),
        (["--format", "table", "-o", "rows.csv"], "--format: a table is for the screen"),
        (["-o", "no/such/folder/rows.csv"], None),
    ],
)
def test_what_cannot_be_done_is_told_with_the_way_out(
    root: Path, pipeline: Pipeline, options: list[str], told: str | None
) -> None:
    said = pipeline("results", str(root), *options, exit_code=2 if told else 1)
    assert (told or "No such file or directory; name another place with -o") in said


@pytest.mark.parametrize(
    "options", [["--json", "--format", "csv"], ["--json", "-o", "a.csv"], ["--sarif", "--limit", "1"]]
)
def test_options_that_do_not_go_together_are_refused(root: Path, pipeline: Pipeline, options: list[str]) -> None:
    pipeline("results", str(root), *options, exit_code=2)


def test_rows_of_a_run_that_goes_on_are_told_to_be_some(root: Path, tmp_path: Path, pipeline: Pipeline) -> None:
    (root / "_COMPLETE").unlink()
    assert "so far: the run is not complete" in pipeline("results", str(root))
    shown = pipeline("results", str(root), "-o", str(tmp_path / "rows.csv"))
    assert "warning   the run is not complete: these are the rows so far" in shown


def test_a_column_that_an_earlier_version_lacked_is_empty(root: Path, pipeline: Pipeline) -> None:
    part = root / "results/part-00000-scored.parquet"
    pq.write_table(pq.read_table(part).drop_columns(["dropped_findings"]), part)
    rows = lines(pipeline("results", str(root), "--json"))
    assert {row["dropped_findings"] for row in rows} == {None}


def test_findings_of_a_review_are_shown_with_their_document_and_place(tmp_path: Path, pipeline: Pipeline) -> None:
    given = [
        finding_row(1, severity="low", message="says\x1b[2J\nmore"),
        finding_row(2, severity="critical", end_line=14),
    ]
    job = job_of(task="code_review", labels={"faulty": None, "clean": None}, review={})
    reviewed = make_run(tmp_path, [row(1, "escalated"), row(2, "escalated")], job=job, findings=given)
    shown = pipeline("results", reviewed.root).splitlines()
    at = shown.index("critical  src/price.py:12-14 off-by-one in doc-2: The last one is left out.")
    assert shown[at + 1] == r"low       src/price.py:12 off-by-one in doc-1: says\x1b[2J\nmore"
    assert shown[at + 2].startswith("2 of 2 findings, the worst first; pipeline results ")
    assert "1 of 2 findings" in pipeline("results", reviewed.root, "--limit", "1")
    assert "0 of 0 findings" in pipeline("results", reviewed.root, "--route", "failed")
    assert "off-by-one" not in pipeline("results", reviewed.root, "--columns", "document_id")
