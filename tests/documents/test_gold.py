"""Known answers from a file: what is read, and the exact words for what is wrong with it."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.documents.gold import (
    gold_in_column,
    in_the_jobs_spelling,
    is_gold_in_column,
    read_gold_file,
    with_gold,
)
from pipelines.documents.records import Document, NoValue
from pipelines.errors import JobError
from pipelines.tasks.label_names import LabelNames

LABELS = ["billing", "outage"]


def problems(path: Path | str) -> list[str]:
    with pytest.raises(JobError) as caught:
        read_gold_file(str(path), LABELS)
    return caught.value.problems


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gold.csv"


def test_ids_and_labels_are_read_other_columns_ignored(path: Path) -> None:
    path.write_text('\ufeffwho,label,id\nx,billing,1\n"a,b",outage,"two\nlines"\n', encoding="utf-8")
    assert read_gold_file(str(path), LABELS) == {"1": "billing", "two\nlines": "outage"}


def test_a_file_as_a_spreadsheet_exports_it_is_read_too(path: Path) -> None:
    path.write_text('\ufeffid;label;note\r\neu:7;billing;"a; b"\r\n', encoding="utf-8")
    assert read_gold_file(str(path), LABELS) == {"eu:7": "billing"}
    path.write_text("key;label\n7;billing\n")
    assert "has no column 'id' (there are 'key', 'label')" in problems(path)[0]


def test_a_file_without_rows_knows_nothing(path: Path) -> None:
    path.write_text("id,label\n")
    assert read_gold_file(str(path), LABELS) == {}


def test_a_missing_file(path: Path) -> None:
    assert problems(path) == [f"evaluation.gold_file: no file '{path}'; mend the path or leave evaluation out"]


def test_a_folder(tmp_path: Path) -> None:
    assert problems(tmp_path) == [
        f"evaluation.gold_file: '{tmp_path}' cannot be read (Is a directory); name a CSV file"
    ]


@pytest.mark.parametrize(
    ("header", "missing", "there"),
    [
        ("id,answer", "label", "'id', 'answer'"),
        ("key,label", "id", "'key', 'label'"),
        ("", "id", "none"),
    ],
)
def test_a_missing_column(path: Path, header: str, missing: str, there: str) -> None:
    path.write_text(f"{header}\n1,billing\n" if header else "")
    assert problems(path) == [
        f"evaluation.gold_file: {path} has no column '{missing}' (there are {there}); name them id,label"
    ]


def test_a_label_that_would_paint_the_screen_is_shown_escaped_and_cut_short(path: Path) -> None:
    path.write_text(f"id,label\n1,\x1b[2J{'!' * 100}\n")
    assert problems(path) == [
        f"evaluation.gold_file: {path}:2: label '\\x1b[2J{'!' * 33}...' is not one of the job's labels; "
        "mend the row or add the label"
    ]


def test_a_label_the_job_does_not_have_names_its_line(path: Path) -> None:
    path.write_text("id,label\n1,billing\n2,refund\n3,outages\n4\n")
    mend = "is not one of the job's labels; mend the row or add the label"
    assert problems(path) == [
        f"evaluation.gold_file: {path}:3: label 'refund' {mend}",
        f"evaluation.gold_file: {path}:4: label 'outages' {mend}",
        f"evaluation.gold_file: {path}:5: label 'None' {mend}",
    ]


def test_of_many_bad_rows_five_are_shown_and_the_rest_counted(path: Path) -> None:
    path.write_text("id,label\n" + "".join(f"{number},refund\n" for number in range(12)))
    found = problems(path)
    assert [problem.split(": ")[1] for problem in found[:5]] == [f"{path}:{line}" for line in range(2, 7)]
    assert found[5:] == ["evaluation.gold_file: and 7 more such rows"]


def test_not_utf8(path: Path) -> None:
    path.write_bytes(b"id,label\n1,caf\xe9\n")
    (problem,) = problems(path)
    assert problem.startswith(f"evaluation.gold_file: {path} is not UTF-8 CSV (")
    assert problem.endswith("); export it again")


def test_documents_get_their_known_answer_and_nothing_else_changes() -> None:
    documents = [
        Document("1", "in/a", 1, "text", gold_label="outage"),
        Document("2", "in/a", 2, None, failure="broken"),
        Document("3", "in/a", 3, "text", gold_label="outage"),
    ]
    first, second, third = with_gold(documents, {"1": "billing", "2": "outage"})
    assert first == Document("1", "in/a", 1, "text", gold_label="billing")
    assert second == Document("2", "in/a", 2, None, gold_label="outage", failure="broken")
    assert third is documents[2]


SPELLINGS = ["Outage", "outage ", "\u00a0outage", "out\u200bage"]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_known_answer_may_be_spelt_as_any_answer_may(path: Path, spelling: str) -> None:
    path.write_text(f"id,label\n1,{spelling}\n", encoding="utf-8")
    assert read_gold_file(str(path), ["billing", "outage"]) == {"1": "outage"}
    document = Document("1", "a.txt", 0, "text", spelling, None)
    strange = replace(document, gold_label="refund")
    unknown = replace(document, gold_label=None)
    named = in_the_jobs_spelling([document, strange, unknown], ["billing", "outage"])
    assert [each.gold_label for each in named] == ["outage", "refund", None]


def with_columns(**values: object) -> Document:
    return Document("a", "file", 1, "text", attributes=values)


@pytest.mark.parametrize(
    ("value", "known"),
    [
        (" Billing", "billing"),
        ("other", "other"),
        (None, None),
        ("", None),
        (True, "true"),
        (NoValue("is a list"), None),
    ],
)
def test_the_known_answer_to_one_question_is_in_its_own_column(value: object, known: str | None) -> None:
    names = LabelNames(["billing", "outage"])
    assert gold_in_column(with_columns(topic=value, urgent="yes"), "topic", names) == known
    assert gold_in_column(with_columns(urgent="yes"), "topic", names) is None
    assert gold_in_column(Document("a", "file", 0, "text"), "topic", names) is None, "a whole file has no columns"


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ("billing|outage", True),
        ("OUTAGE | billing", True),
        ("outage", False),
        ("none", False),
        ("", None),
        (None, None),
        (NoValue("is a list"), None),
    ],
)
def test_where_any_may_fit_a_column_names_all_that_do(value: object, fits: bool | None) -> None:
    assert is_gold_in_column(with_columns(fits=value), "fits", "billing") is fits
