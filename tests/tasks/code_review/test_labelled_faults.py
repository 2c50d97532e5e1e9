"""Known faults from files."""

from pathlib import Path

import pytest

from pipelines.errors import JobError
from pipelines.tasks.code_review.labelled_faults import Fault, read_labelled_faults

CSV = "document_id,path,line,category,severity\n1.diff,a.py,3,off-by-one,\n1.diff,a.py,9,dead-code,high\n2.diff,,,,\n"


def written(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def problems_of(path: str) -> list[str]:
    with pytest.raises(JobError) as caught:
        read_labelled_faults(path)
    return caught.value.problems


def test_csv_with_documents_and_a_clean_one(tmp_path: Path) -> None:
    labelled = read_labelled_faults(written(tmp_path, "faults.csv", CSV))
    assert labelled.faults == (
        Fault("1.diff", "a.py", 3, 3, "off-by-one", "medium"),
        Fault("1.diff", "a.py", 9, 9, "dead-code", "high"),
    )
    assert labelled.documents == {"1.diff", "2.diff"}


def test_json_lines_with_paths_alone(tmp_path: Path) -> None:
    text = '{"path": "a.py", "line": 3, "end_line": 5, "category": "off-by-one", "note": "x"}\n\n'
    labelled = read_labelled_faults(written(tmp_path, "faults.jsonl", text))
    assert labelled.faults == (Fault(None, "a.py", 3, 5, "off-by-one", "medium"),)
    assert labelled.documents is None


def test_an_empty_file_has_no_faults(tmp_path: Path) -> None:
    labelled = read_labelled_faults(written(tmp_path, "faults.csv", ""))
    assert labelled.faults == ()
    assert labelled.documents is None


def test_every_bad_row_is_named(tmp_path: Path) -> None:
    text = (
        '{"path": "a.py", "line": 0, "category": "off-by-one"}\n'
        '{"path": "a.py", "line": 1, "category": "typo"}\n'
        '{"path": "a.py", "line": 1}\n'
        '{"path": "a.py", "line": 4, "end_line": 3, "category": "off-by-one"}\n'
        '["a.py"]\n'
        '{"path": "a.py", "line": 1, "category": "off-by-one", "severity": "blocker"}\n'
        '{"path": "a.py", "line": 1, "category": "off-by-one"}\n'
    )
    path = written(tmp_path, "faults.jsonl", text)
    assert problems_of(path) == [
        f"{path}:1: line: Input should be greater than or equal to 1; mend the row",
        f"{path}:2: category: 'typo' is not one of the categories of a review; mend the row",
        f"{path}:3: a fault needs path, line and category; a clean document its document_id alone; mend the row",
        f"{path}:4: end_line comes before line; mend the row",
        f"{path}:5: path: Input should be a valid string; mend the row",
        "and 1 more such rows",
    ]


def test_document_ids_are_for_all_rows_or_for_none(tmp_path: Path) -> None:
    path = written(tmp_path, "faults.csv", CSV + ",b.py,1,dead-code,\n")
    assert problems_of(path) == [f"{path}: some rows have a document_id and some have none; give it to all or to none"]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.csv")
    assert problems_of(missing) == [f"no file '{missing}'; mend the path"]
    assert problems_of(str(tmp_path)) == [
        f"'{tmp_path}' cannot be read (Is a directory); name a CSV or JSON Lines file"
    ]
    broken = written(tmp_path, "faults.jsonl", '{"path": ')
    assert problems_of(broken) == [f"{broken} is not UTF-8 CSV or JSON Lines (JSONDecodeError); export it again"]
    for endless in ("[" * 100_000, '{"path": ' * 100_000, '{"line": ' + "9" * 5_000 + "}"):
        nested = written(tmp_path, "nested.jsonl", endless)
        assert problems_of(nested)[0].startswith(f"{nested} is not UTF-8 CSV or JSON Lines (")
