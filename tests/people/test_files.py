"""What waits, as a file; and files that come back: taken whole or refused with every reason."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import JobError, RunNotFoundError
from pipelines.people.answers import Answers
from pipelines.people.filled import Imported, import_answers
from pipelines.people.forms import COLUMNS, export_items
from pipelines.people.waiting import AskedRun, open_asked
from pipelines.store import layout
from pipelines.store.objects import Store
from tests.people.review_case import AT, answer, item, review_run

Rows = list[dict[str, str]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return review_run(tmp_path / "run", {2: "=1+1", 4: "a\x1b[2Jb", 5: "x" * 40_000})


@pytest.fixture
def asked(store: Store) -> AskedRun:
    return open_asked(store.root)


def exported(asked: AskedRun, path: Path, **which: bool) -> Rows:
    chosen = asked.chosen(**{"with_withheld": False, "with_answered": False} | which)
    assert export_items(asked, chosen, str(path)) == len(chosen)
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def written(path: Path, rows: Rows, delimiter: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def taken(asked: AskedRun, path: Path, person: str = "ann") -> Imported:
    return import_answers(open_asked(asked.store.root), path, person, AT)


def problems(asked: AskedRun, path: Path) -> list[str]:
    before = dict(Answers(asked.store).by_item)
    with pytest.raises(JobError) as caught:
        taken(asked, path)
    assert Answers(asked.store).by_item == before, "nothing of a refused file is taken"
    return caught.value.problems


def test_a_csv_holds_what_waits_and_is_no_formula_and_fits_a_spreadsheet(asked: AskedRun, tmp_path: Path) -> None:
    rows = exported(asked, tmp_path / "a.csv")
    assert list(rows[0]) == list(COLUMNS)
    assert [row["item_id"] for row in rows] == [item(2), item(4), item(5)]
    assert rows[0]["text"] == "'=1+1"
    assert rows[1]["text"] == r"a\x1b[2Jb"
    assert rows[0]["engine_says"] == "billing 0.75, refund 0.25"
    assert rows[0]["reason"] == "Claude declined"
    assert rows[2]["text"].endswith("x … [8,000 more characters]")
    assert {row["answer"] for row in rows} == {""}
    assert (tmp_path / "a.csv").read_bytes().startswith(b"\xef\xbb\xbf"), "or a spreadsheet takes it for Latin-1"


def test_what_a_policy_withheld_is_exported_only_where_it_is_asked_for(asked: AskedRun, tmp_path: Path) -> None:
    assert item(6) not in {row["item_id"] for row in exported(asked, tmp_path / "a.csv")}
    assert item(6) in {row["item_id"] for row in exported(asked, tmp_path / "b.csv", with_withheld=True)}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_answers_come_back_as_spreadsheets_write_them(asked: AskedRun, tmp_path: Path, delimiter: str) -> None:
    rows = exported(asked, tmp_path / "a.csv")
    rows[0] |= {"answer": " Refund ", "comment": "clear"}
    rows[2]["answer"] = "'billing"
    path = written(tmp_path / "b.csv", rows, delimiter)
    assert taken(asked, path) == Imported(kept=2, known=0, unanswered=1)
    kept = Answers(asked.store).by_item
    assert {name: (each.answer, each.comment) for name, each in kept.items()} == {
        item(2): ("refund", "clear"),
        item(5): ("billing", None),
    }
    assert (kept[item(2)].person, kept[item(2)].answered_at, kept[item(2)].tool) == ("ann", AT, "file")
    parts = list(asked.store.list(layout.PEOPLE))
    assert taken(asked, path, "bob") == Imported(kept=0, known=2, unanswered=1)
    assert list(asked.store.list(layout.PEOPLE)) == parts, "the same file again changes nothing"


def test_every_problem_of_a_file_is_told_and_nothing_is_taken(asked: AskedRun, tmp_path: Path) -> None:
    rows = exported(asked, tmp_path / "a.csv")
    Answers(asked.store).give([answer(4, "refund", "bob")])
    rows[0]["answer"] = "refnd"
    rows[1]["answer"] = "billing"
    stranger = rows[2] | {"item_id": item(1), "answer": "billing"}
    other_run = rows[2] | {"run": "run_other@0123", "answer": "billing"}
    twice = [rows[2] | {"answer": "billing"}, rows[2] | {"answer": "refund"}]
    path = written(tmp_path / "b.csv", [rows[0], stranger, other_run, other_run, *twice])
    assert problems(asked, path) == [
        f"row 2: {item(2)}: 'refnd' is no label of the run; did you mean 'refund'",
        f"row 3: '{item(1)}' is no item that waits for a person in this run; leave it out",
        f"the file is of run 'run_other@0123', and this is {asked.key}; import it there, or export this run's items "
        "(2 rows)",
        f"row 7: {item(5)} is answered 'refund' here and 'billing' in row 6; leave one of them",
    ]
    assert problems(asked, written(tmp_path / "c.csv", [rows[1]])) == [
        f"row 2: {item(4)} was answered 'refund' by bob on 2026-11-27 12:00 UTC, not 'billing'; to change it, export "
        "with --again, change it there, and import that"
    ]


def test_an_answer_is_changed_by_a_file_that_knows_it_and_by_no_older_one(asked: AskedRun, tmp_path: Path) -> None:
    Answers(asked.store).give([answer(2, "refund")])
    fresh = open_asked(asked.store.root)
    (old,) = [row for row in exported(fresh, tmp_path / "a.csv", with_answered=True) if row["item_id"] == item(2)]
    assert (old["answered"], old["answer"]) == ("refund", "refund")
    assert taken(asked, written(tmp_path / "b.csv", [old | {"answer": "billing"}]), "bob").kept == 1
    assert Answers(asked.store).by_item[item(2)].person == "bob"
    (problem,) = problems(asked, written(tmp_path / "c.csv", [old | {"answer": "refund"}]))
    assert "was answered 'billing' by bob" in problem


def test_parquet_goes_out_and_comes_back_with_whole_texts(asked: AskedRun, tmp_path: Path) -> None:
    chosen = asked.chosen(with_withheld=False, with_answered=False)
    assert export_items(asked, chosen, str(tmp_path / "a.parquet")) == 3
    table = pq.read_table(tmp_path / "a.parquet")
    assert table["text"].to_pylist() == ["=1+1", "a\x1b[2Jb", "x" * 40_000]
    filled = table.set_column(table.column_names.index("answer"), "answer", pa.array(["billing", None, "refund"]))
    pq.write_table(filled, tmp_path / "b.parquet")
    assert taken(asked, tmp_path / "b.parquet") == Imported(kept=2, known=0, unanswered=1)


def annotated(task: dict[str, Any], *choices: tuple[str, Any], **more: Any) -> dict[str, Any]:
    annotations = [
        {
            "completed_by": by,
            "result": [{"from_name": "answer", "to_name": "text", "type": "choices", "value": {"choices": [choice]}}],
        }
        | more
        for choice, by in choices
    ]
    return task | {"annotations": annotations}


@pytest.fixture
def tasks(asked: AskedRun, tmp_path: Path) -> list[dict[str, Any]]:
    export_items(asked, asked.chosen(with_withheld=False, with_answered=False), f"{tmp_path}/labelstudio/")
    found: list[dict[str, Any]] = json.loads((tmp_path / "labelstudio/tasks.json").read_text())
    assert [each["predictions"][0]["result"][0]["value"]["choices"] for each in found] == [["billing"]] * 3
    assert '<Choice value="refund"/>' in (tmp_path / "labelstudio/config.xml").read_text()
    return found


def test_an_export_of_label_studio_comes_back_with_who_answered(
    asked: AskedRun, tasks: list[dict[str, Any]], tmp_path: Path
) -> None:
    assert taken(asked, tmp_path / "labelstudio") == Imported(0, 0, 3), "nobody has answered yet"
    content = [
        annotated(tasks[0], ("refund", {"id": 7, "email": "eve@acme.example"})),
        annotated(tasks[1], ("refund", 7), was_cancelled=True),
        annotated(tasks[2], ("billing", 7), ("billing", 8)),
    ]
    path = tmp_path / "export.json"
    path.write_text(json.dumps(content))
    assert taken(asked, path) == Imported(kept=2, known=0, unanswered=1)
    kept = Answers(asked.store).by_item
    assert (kept[item(2)].person, kept[item(5)].person) == ("eve@acme.example", "Label Studio user 7")
    assert kept[item(2)].tool == "label_studio"


def test_two_who_disagree_in_label_studio_are_told_and_the_item_stays_open(
    asked: AskedRun, tasks: list[dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "export.json").write_text(json.dumps([annotated(tasks[0], ("refund", 7), ("billing", 8))]))
    assert problems(asked, tmp_path / "export.json") == [
        f"task 1: {item(2)} is answered 'billing' here and 'refund' in task 1; leave one of them"
    ]


def test_annotations_that_label_studio_syncs_to_a_folder_come_back_too(
    asked: AskedRun, tasks: list[dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "synced").mkdir()
    for number, task in enumerate(tasks[:2]):
        (annotation,) = annotated(task, ("refund", 7))["annotations"]
        (tmp_path / "synced" / str(number)).write_text(json.dumps(annotation | {"task": task}))
    assert taken(asked, tmp_path / "synced").kept == 2


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", b"item_id,answer\n", "no column 'run' (there are item_id, answer); keep the columns of the export"),
        ("a.csv", b"", "no column 'run' or 'item_id' or 'answer' (there are none); keep the columns of the export"),
        ("a.csv", "run,item_id,answer\r\nx,y,ü".encode("latin-1"), "line 2 is not UTF-8; save it as 'CSV UTF-8'"),
        ("a.parquet", b"PAR1", "no Parquet file ("),
        ("a.json", b"[{]", "no JSON of Label Studio ("),
        ("a.json", b'[{"data": {"text": "a"}}]', "task 1: no task that --export wrote: its data has no item_id"),
        ("a.json", b"[1, null]", "task 1: no task that --export wrote"),
        ("a.xlsx", b"", "'a.xlsx' does not say what it is; give the .csv or .parquet that --export wrote, or"),
        ("none.csv", None, "cannot be read (No such file or directory); mend the path"),
    ],
)
def test_a_file_that_is_none_is_refused_in_words(
    asked: AskedRun, tmp_path: Path, name: str, content: bytes | None, told: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    (problem,) = problems(asked, path)
    assert told in problem


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "labelstudio/"])
def test_an_export_never_replaces_anything(
    asked: AskedRun, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = asked.chosen(with_withheld=False, with_answered=False)
    export_items(asked, chosen, name)
    with pytest.raises(JobError, match="is there already, and is not replaced"):
        export_items(asked, chosen, name)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["run", name.rstrip("/")])


def test_a_run_that_goes_on_has_nothing_for_people_yet(store: Store) -> None:
    Path(store.root, layout.COMPLETE).unlink()
    with pytest.raises(RunNotFoundError, match="is not complete yet: Claude may still answer"):
        open_asked(store.root)


def test_a_code_review_asks_for_the_verdict_and_shows_what_was_found(tmp_path: Path) -> None:
    finding = {"path": "a.py", "line": 3, "end_line": 4, "severity": "high", "category": "logic", "message": "wrong"}
    job: Any = {"task": "code_review", "labels": None, "columns": {}, "input": "diffs/"}
    asked = open_asked(review_run(tmp_path / "run", job=job, findings=[finding], engine_answer="faulty").root)
    assert asked.labels == ("faulty", "clean")
    first = next(asked.all_items(asked.chosen(with_withheld=False, with_answered=False)))
    assert first.findings == ("a.py:3-4 high logic: wrong",)
