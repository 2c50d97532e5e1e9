"""The columns that a job names are looked for before anything starts: what is refused, what is told, in which words."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.preflight.columns import MOST_FILES, check_columns
from flows.preflight.surroundings import check_surroundings
from pipelines.documents.readers import heads
from pipelines.documents.sources.sources import list_sources
from pipelines.errors import JobError
from pipelines.job.job import Job

SIMULATION = {"model": "claude-haiku-5-5", "provider": "simulation"}


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


def job_of(inbox: Path, **changes: Any) -> Job:
    fixed = {
        "name": "tickets",
        "task": "classification",
        "input": str(inbox),
        "output": str(inbox.parent),
        "model": "starter",
        "labels": {"billing": None, "outage": None},
        "quality": {"raw_threshold": 0.9},
        "escalation": "off",
    }
    return Job.model_validate(fixed | changes)


def notes(inbox: Path, **changes: Any) -> list[str]:
    job = job_of(inbox, **changes)
    return check_columns(job, list_sources(job.input))


def problems(inbox: Path, **changes: Any) -> list[str]:
    with pytest.raises(JobError) as caught:
        notes(inbox, **changes)
    return caught.value.problems


def write_rows(path: Path, *rows: dict[str, Any]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def test_columns_that_are_there_are_nothing_to_talk_about(inbox: Path) -> None:
    (inbox / "a.csv").write_text("id,text,label,pii\n1,charged twice,billing,no\n")
    write_rows(inbox / "b.jsonl", {"id": 1, "text": "down", "label": "outage", "pii": False})
    pq.write_table(pa.table({"id": [1], "text": ["x"], "label": ["outage"], "pii": [True]}), inbox / "c.parquet")
    given = {"evaluation": {"gold_column": "label"}, "policy": {"never_escalate": "pii"}}
    assert notes(inbox, **given) == []


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("columns.text", {"columns": {"text": "txet"}}),
        ("columns.id", {"columns": {"id": "idd"}}),
        ("evaluation.gold_column", {"evaluation": {"gold_column": "lable"}}),
        ("policy.never_escalate", {"policy": {"never_escalate": "piii == true"}}),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet", "csv.gz"])
def test_a_column_that_no_file_has_is_refused_with_those_there_are_and_the_likeliest(
    inbox: Path, kind: str, field: str, changes: dict[str, Any]
) -> None:
    row = {"id": "a", "text": "charged twice", "label": "billing", "pii": "no"}
    path = inbox / f"tickets.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist([row]), path)
    elif kind == "jsonl":
        write_rows(path, row)
    else:
        separator = "\t" if kind == "tsv" else ","
        content = f"{separator.join(row)}\n{separator.join(row.values())}\n".encode()
        path.write_bytes(gzip.compress(content) if kind.endswith("gz") else content)
    (problem,) = problems(inbox, **changes)
    wrong, right = {
        "columns.text": ("txet", "text"),
        "columns.id": ("idd", "id"),
        "evaluation.gold_column": ("lable", "label"),
        "policy.never_escalate": ("piii", "pii"),
    }[field]
    assert problem == (
        f"{field}: tickets.{kind} has no column '{wrong}' (there are 'id', 'text', 'label', 'pii'); "
        f"did you mean '{right}'? name the right one in {field}"
    )


def test_every_missing_column_is_told_at_once_beside_other_mistakes(inbox: Path) -> None:
    (inbox / "a.csv").write_text("key,body\n1,charged twice\n")
    job = job_of(inbox, output="/no/such/folder/out", evaluation={"gold_column": "label"})
    with pytest.raises(JobError) as caught:
        check_surroundings(job)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "columns.text",
        "evaluation.gold_column",
        "output",
    ]


def test_an_id_column_that_nobody_named_need_not_be_there(inbox: Path) -> None:
    (inbox / "a.csv").write_text("text\ncharged twice\n")
    assert notes(inbox) == []


@pytest.mark.parametrize(
    "content",
    [
        "3,Fears for pension after talks\n4,The race is on\n",  # a number is no name
        "billing,we were charged twice\noutage,all is down\nbilling,charged again\n",  # a value that comes again
        f"outage,{'nothing works since nine o clock ' * 3}\n",  # too long for a name
    ],
)
def test_a_csv_without_a_header_is_called_that_and_not_quoted(inbox: Path, content: str) -> None:
    (inbox / "rows.csv").write_text(content)
    assert problems(inbox) == [
        "columns.text: rows.csv has no column 'text': its first line looks like data, not like names; put a line with "
        "the columns' names on top (such as id,text), or export it with its header"
    ]


@pytest.mark.parametrize(("name", "content", "cut_by"), [
    ("a.csv", '\ufeffid;text\n1;"Wir wurden zweimal belastet; bitte korrigieren"\n2;Nichts geht\n', "semicolons"),
    ("a.csv", "id\ttext\n1\tx\n", "tabs"),
    ("a.csv", "id|text\n1|x\n", "bars"),
])  # fmt: skip
def test_a_delimiter_is_told_from_the_head_and_a_wrong_one_is_refused(
    inbox: Path, name: str, content: str, cut_by: str
) -> None:
    (inbox / name).write_text(content, encoding="utf-8")
    assert notes(inbox) == []
    assert problems(inbox, csv={"delimiter": "/"}) == [
        f"columns.text: {name} has no column 'text': its first line is cut by {cut_by}; mend csv.delimiter"
    ]


def test_parts_of_a_text_an_id_and_what_is_carried_are_looked_for_each(inbox: Path) -> None:
    (inbox / "a.csv").write_text("number;region;subject;body\n1;eu;down;since nine\n")
    columns = {"text": "{subjct}: {body}", "id": ["region", "nummer"], "carry": ["customer", "region"]}
    there = "(there are 'number', 'region', 'subject', 'body')"
    assert problems(inbox, columns=columns) == [
        f"columns.text: a.csv has no column 'subjct' {there}; did you mean 'subject'? name the right one in "
        "columns.text",
        f"columns.id: a.csv has no column 'nummer' {there}; did you mean 'number'? name the right one in columns.id",
        f"columns.carry: a.csv has no column 'customer' {there}; name the right one in columns.carry",
    ]


@pytest.mark.parametrize("content", ['[{"subject": "a"}]', '{\n "subject": "a"\n}\n', '{"subject": "a"}\n'])
def test_json_of_every_shape_is_looked_into(inbox: Path, content: str) -> None:
    (inbox / "a.json").write_text(content)
    (problem,) = problems(inbox)
    assert problem.startswith("columns.text: a.json has no column 'text' (there are 'subject')")


def test_a_file_that_is_no_utf_8_is_told_with_what_it_is_read_as(inbox: Path) -> None:
    (inbox / "a.csv").write_bytes("id;text\n1;Rechnung für Müller\n".encode("cp1252"))
    assert notes(inbox) == [
        "input: a.csv is not UTF-8: read as cp1252, by its looks; csv.encoding in the job says otherwise"
    ]


def test_a_folder_of_workbooks_is_refused_with_what_to_do(inbox: Path) -> None:
    (inbox / "a.XLSX").write_bytes(b"PK\x03\x04")
    (inbox / "b.xls").write_bytes(b"\xd0\xcf")
    assert problems(inbox) == [
        "input: a.XLSX is an Excel workbook; export its sheet as CSV (UTF-8), or write it as Parquet (and 1 more such "
        "files)"
    ]


def test_a_file_that_lacks_a_column_among_others_is_told_with_what_becomes_of_its_rows(inbox: Path) -> None:
    (inbox / "a.csv").write_text("id,text,label,pii\n1,charged twice,billing,no\n")
    (inbox / "b.csv").write_text("id,body\n1,charged twice\n")
    (inbox / "c.csv").write_text("key,text,label,pii\n1,down,outage,no\n")
    given = {"columns": {"id": "key"}, "evaluation": {"gold_column": "label"}, "policy": {"never_escalate": "pii"}}
    assert notes(inbox, **given) == [
        "columns.text: b.csv has no column 'text': its rows fail",
        "columns.id: a.csv and 1 more of the 3 files looked at has no column 'key': its rows get path:line for an id",
        "evaluation.gold_column: b.csv has no column 'label': its rows have no known answer",
        "policy.never_escalate: b.csv has no column 'pii': its rows are never sent to Claude",
    ]


def test_files_of_different_columns_are_refused_kind_by_kind(inbox: Path) -> None:
    for number in range(3):
        (inbox / f"a{number}.csv").write_text("id,body\n1,x\n")
    write_rows(inbox / "b.jsonl", {"id": 1, "message": "down"})
    assert problems(inbox) == [
        "columns.text: a0.csv has no column 'text' (there are 'id', 'body'); name the right one in columns.text "
        "(and 2 more such files)",
        "columns.text: b.jsonl has no column 'text' (there are 'id', 'message'); name the right one in columns.text",
    ]


def test_json_lines_may_hold_a_column_in_some_rows_only(inbox: Path) -> None:
    write_rows(inbox / "a.jsonl", {"text": "x"}, {"text": "y", "label": "billing"})
    assert notes(inbox, evaluation={"gold_column": "label"}) == []


def test_of_a_large_file_the_head_speaks_and_the_message_says_so(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "HEAD_ROWS", 10)
    write_rows(inbox / "a.jsonl", *[{"body": "x"}] * 20)
    assert problems(inbox) == [
        "columns.text: a.jsonl has, in its first 10 rows, no column 'text' (there are 'body'); name the right one in "
        "columns.text, or put a row that has it on top"
    ]


def test_of_many_files_some_are_opened_and_the_last_among_them(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        (inbox / f"{number:02}.csv").write_text("id,text\n1,x\n" if number == 49 else "id,body\n1,x\n")
    opened: list[str] = []
    read = heads.read_head
    monkeypatch.setattr(
        "flows.preflight.columns.read_head",
        lambda source, wanted: (opened.append(source.path), read(source, wanted))[1],
    )
    (note,) = notes(inbox)
    assert note.startswith("columns.text: 00.csv and 18 more of the 20 files looked at has no column 'text'")
    assert len(opened) == MOST_FILES


def test_what_cannot_be_read_is_its_rows_problem(inbox: Path) -> None:
    (inbox / "empty.csv").write_bytes(b"")
    (inbox / "broken.parquet").write_bytes(b"PAR1 no more")
    (inbox / "broken.jsonl.gz").write_bytes(b"\x1f\x8b\x08 no gzip")
    (inbox / "list.jsonl").write_text("[1, 2]\n")
    assert notes(inbox) == []


def test_a_header_alone_and_a_table_without_rows_have_columns(inbox: Path) -> None:
    (inbox / "a.csv").write_text("id,body\n")
    assert "no column 'text' (there are 'id', 'body')" in problems(inbox)[0]
    (inbox / "a.csv").unlink()
    pq.write_table(pa.table({"id": pa.array([], pa.int64()), "body": pa.array([], pa.string())}), inbox / "a.parquet")
    assert "no column 'text' (there are 'id', 'body')" in problems(inbox)[0]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_a_name(inbox: Path, encoding: str) -> None:
    (inbox / "a.csv").write_text("text,id\nx,1\n", encoding=encoding)
    assert notes(inbox) == []


def test_a_parquet_column_that_holds_no_text_is_refused(inbox: Path) -> None:
    pq.write_table(pa.table({"text": [1, 2], "body": ["x", "y"]}), inbox / "a.parquet")
    assert problems(inbox) == ["columns.text: column 'text' of a.parquet is int64, not text; text is in 'body'"]


def test_parquet_under_another_name_is_looked_at_as_what_it_is(inbox: Path) -> None:
    pq.write_table(pa.table({"text": ["x"]}), inbox / "df.parquet.gz")
    assert notes(inbox) == []


def test_a_table_that_lies_beside_many_documents_is_told_and_no_more(inbox: Path) -> None:
    (inbox / "a.txt").write_text("we were charged twice " * 20)
    (inbox / "index.csv").write_text("name,size\na,1\n")
    assert notes(inbox) == ["columns.text: index.csv has no column 'text': its rows fail"]
    (inbox / "README.md").write_text("tickets")
    (inbox / "a.txt").unlink()
    (inbox / "index.csv").write_text("name,size\n" + "a,1\n" * 20)
    assert len(problems(inbox)) == 1, "a read-me beside a table is not what the job is about"


def test_documents_that_are_whole_files_have_no_columns(inbox: Path) -> None:
    (inbox / "a.txt").write_text("we were charged twice")
    assert notes(inbox) == []
    told = "1 documents are whole files, which have no column"
    gold = {"evaluation": {"gold_column": "label"}}
    assert notes(inbox, **gold, policy={"never_escalate": "pii"}) == [
        f"evaluation.gold_column: {told} 'label'; give evaluation.gold_file",
        f"policy.never_escalate: {told} 'pii'; none of them is ever sent to Claude",
    ]
    assert problems(inbox, **gold, escalation=SIMULATION) == [
        f"evaluation.gold_column: {told} 'label': the simulation would know no answer; give evaluation.gold_file"
    ]


def test_known_answers_none_of_which_is_a_label_are_told_and_stop_a_simulation(inbox: Path) -> None:
    write_rows(inbox / "a.jsonl", {"text": "x", "gold": "Refund\x1b[2J" + "!" * 50}, {"text": "y", "gold": None})
    gold = {"evaluation": {"gold_column": "gold"}}
    text = (
        "evaluation.gold_column: none of the 1 values of 'gold' looked at is a label of the job, "
        f"e.g. 'Refund\\x1b[2J{'!' * 27}...'; name the column that holds labels, or leave evaluation out"
    )
    assert notes(inbox, **gold) == [text]
    assert problems(inbox, **gold, escalation=SIMULATION) == [text]
    write_rows(inbox / "a.jsonl", {"text": "x", "gold": "Billing "})
    assert notes(inbox, **gold) == [], "almost a label: told at the end, with the others"


def test_a_review_of_rows_is_looked_at_and_one_of_a_repository_has_no_columns(inbox: Path) -> None:
    write_rows(inbox / "a.jsonl", {"diff": "x"})
    review = {"task": "code_review", "labels": None}
    job = job_of(inbox, **review)
    sources = list_sources(job.input)
    with pytest.raises(JobError, match="no column 'text'"):
        check_columns(job, sources)
    assert check_columns(job_of(inbox, **review, review={"tree": True}), sources) == []
