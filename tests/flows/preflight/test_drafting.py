"""`pipeline init`: what is guessed from documents, what is asked, and that `pipeline submit` accepts the file."""

from __future__ import annotations

import csv
import gzip
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pexpect
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from flows.preflight.columns import check_columns
from flows.preflight.drafting import Drafted, draft_from_documents
from pipelines.documents.sources.sources import list_sources
from pipelines.errors import JobError
from pipelines.job.job import Job
from pipelines.job.job_file import load_job
from tests.flows.command_case import Command, command

__all__ = ["command"]

SECRET = "The quick brown fox of Mrs Miller of Rotterdam jumps over her lazy dog"


class Nobody:
    is_there = False

    def choose(self, question: str, choices: Sequence[str]) -> str:
        raise AssertionError(question)

    def line(self, question: str, default: str = "") -> str:
        raise AssertionError(question)


class Somebody:
    """Answers what is given, in order, and keeps what was asked."""

    is_there = True

    def __init__(self, *answers: str) -> None:
        self.answers, self.asked = list(answers), list[str]()

    def choose(self, question: str, choices: Sequence[str]) -> str:
        self.asked.append(question)
        assert self.answers[0] in choices, choices
        return self.answers.pop(0)

    def line(self, question: str, default: str = "") -> str:
        self.asked.append(question)
        return self.answers.pop(0)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def tickets(count: int = 40, labels: int = 4, **more: Any) -> list[dict[str, Any]]:
    return [
        {"id": f"t-{n}", "text": f"{SECRET}, {n} times.", "label": f"label {n % labels}", "score": n / 7} | more
        for n in range(count)
    ]


def write_csv(path: str, rows: Sequence[Mapping[str, Any]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def lines_of(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def draft(location: str, person: Any = None) -> tuple[Drafted, Job, str]:
    """The file that is written, and the job that it is; the columns that it names are there."""
    drafted = draft_from_documents(location, Path("job.yaml"), person or Nobody())
    job = load_job("job.yaml")
    check_columns(job, list_sources(job.input))
    text = Path("job.yaml").read_text(encoding="utf-8")
    assert "Miller" not in text
    return drafted, job, text


def write_as(kind: str, rows: list[dict[str, Any]]) -> str:
    match kind:
        case "csv":
            write_csv("docs.csv", rows)
        case "jsonl":
            Path("docs.jsonl").write_text(lines_of(rows))
        case "json":
            Path("docs.json").write_text(json.dumps(rows, indent=1))
        case "parquet":
            pq.write_table(pa.Table.from_pylist(rows), "docs.parquet")
        case "csv.gz":
            write_csv("plain", rows)
            Path("docs.csv.gz").write_bytes(gzip.compress(Path("plain").read_bytes()))
    return f"docs.{kind}"


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "parquet", "csv.gz"])
def test_columns_and_labels_of_rows_are_found_in_every_format(kind: str) -> None:
    drafted, job, text = draft(write_as(kind, tickets()))
    assert (job.columns.text, job.columns.id) == ("text", "id")
    assert list(job.labels) == ["label 0", "label 1", "label 2", "label 3"]
    assert job.evaluation
    assert job.evaluation.gold_column == "label"
    assert job.escalation is None, "a first run spends nothing"
    assert "label 0:  # 10\n" in text
    assert f"the first 40 rows of docs.{kind}" in text
    assert drafted.to_check == ()


def test_only_some_hundreds_of_rows_are_looked_at_and_the_file_says_so() -> None:
    drafted, _, text = draft(write_as("jsonl", tickets(3_000)))
    assert drafted.draft.seen == "the first 500 rows of docs.jsonl"
    assert "label 0:  # 125\n" in text


def test_what_is_in_doubt_is_marked_and_not_asked_where_nobody_is_there() -> None:
    rows = [{"ref": f"r{n}", "subject": SECRET, "letter": SECRET + "!", "team": f"t{n % 3}"} for n in range(30)]
    drafted, job, text = draft(write_as("csv", rows))
    assert (job.columns.text, job.columns.id) == ("letter", "ref")
    marked = [line.strip() for line in text.splitlines() if "# check this" in line]
    assert marked == [
        "text: letter  # check this: 2 columns hold texts of about that length",
        "id: ref  # check this: by its values alone: short, and all different",
        "labels:  # check this: by its values alone: few, which come again",
    ]
    assert [text.splitlines()[number - 1].strip() for number in drafted.to_check] == marked


def test_a_person_is_asked_about_what_is_in_doubt_and_nothing_else() -> None:
    rows = [{"id": f"r{n}", "subject": SECRET, "letter": SECRET + "!", "team": f"t{n % 3}"} for n in range(30)]
    person = Somebody("subject", "none of them", "billing, outage")
    _, job, text = draft(write_as("csv", rows), person)
    assert (job.columns.text, list(job.labels), job.evaluation) == ("subject", ["billing", "outage"], None)
    assert "check this" not in text
    assert person.asked == [
        "Which column holds the text? (2 columns hold texts of about that length)",
        "Which column holds the right answers? (by its values alone: few, which come again)",
        "Which labels? (with commas between them; Enter to fill them in later)",
    ]
    Path("job.yaml").unlink()
    draft(write_as("csv", tickets()), person)
    assert len(person.asked) == 3


ODD = [
    "yes", "no", "1", "1e5", "2024-05-01", "null", "~", "a: b", "# comment", "- item", "{x: 1}", "[y]", "'quote",
    '"double', "*alias", "&anchor", "!!python/object:os.system", "%TAG", "x #y", "Zürich", "日本 語", "a\\nb", ": ",
    "? q", "👍", "model: evil", "@at", "`tick`", "|", ">", "=", "<<", "a,b", "spam\u00a0ham",
]  # fmt: skip


def test_odd_labels_stay_what_they_are() -> None:
    rows = [row | {"label": label} for label, row in zip(ODD * 2, tickets(2 * len(ODD)), strict=True)]
    _, job, _ = draft(write_as("jsonl", rows))
    assert set(job.labels) == set(ODD)


HOSTILE = [
    "x\nmodel: evil",
    "e\x1b[31mred",
    "tab\there",
    "bi\u202edi",
    "line\u2028sep",
    "nel\x85",
    "a: b",
    "yes",
    "#x",
    "\ufffe",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_columns_neither_inject_a_field_nor_reach_the_terminal(name: str, command: Command) -> None:
    rows = [{"id": n, name: row["text"], f"{name} label": row["label"]} for n, row in enumerate(tickets())]
    Path("docs.jsonl").write_text(lines_of(rows))
    done = command("init", "docs.jsonl", "-o", "job.yaml")
    assert done.code == 0, done
    job = load_job("job.yaml")
    assert (job.columns.text, job.model) == (name, "starter")
    assert job.evaluation
    assert job.evaluation.gold_column == f"{name} label"
    assert "Miller" not in done.out + done.err
    assert not any(char in done.out for char in "\x1b\u202e\u2028\x85")
    assert all(char.isprintable() or char == "\n" for char in Path("job.yaml").read_text(encoding="utf-8"))


def test_labels_that_no_prompt_may_hold_are_left_out_and_the_rest_is_kept() -> None:
    labels = [f"label {n % 3}" for n in range(60)] + ["bad\x1b[2J", "wor\nse"]
    rows = [row | {"label": label} for label, row in zip(labels, tickets(62), strict=True)]
    assert list(draft(write_as("jsonl", rows))[1].labels) == ["label 0", "label 1", "label 2"]


def test_spellings_of_one_label_are_one() -> None:
    rows = [row | {"label": ["Spam", "spam ", "Ham", "Spam"][n % 4]} for n, row in enumerate(tickets())]
    _, job, text = draft(write_as("jsonl", rows))
    assert list(job.labels) == ["Spam", "Ham"]
    assert "Spam:  # 30\n" in text


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (tickets(500, labels=300), "'label' holds 300 values, and no more than 128 are drafted as labels; list them"),
        ([{"id": n, "text": f"{SECRET} {n}"} for n in range(30)], "no column of few values that come again was seen"),
    ],
)
def test_without_labels_the_file_is_written_and_refused_until_they_are_filled_in(
    rows: list[dict[str, Any]], words: str
) -> None:
    drafted = draft_from_documents(write_as("jsonl", rows), Path("job.yaml"), Nobody())
    assert not drafted.is_ready
    text = Path("job.yaml").read_text()
    assert words in text
    with pytest.raises(JobError) as refused:
        load_job("job.yaml")
    line = text.splitlines().index(next(line for line in text.splitlines() if line.startswith("labels:"))) + 1
    assert refused.value.problems == [
        f"line {line}: labels: at least 2 labels are needed, 0 given; there is nothing to decide"
    ]
    Path("job.yaml").write_text(text.replace("labels: {}", "labels: {a: null, b: null}"))
    load_job("job.yaml")


def test_a_folder_of_texts_has_no_columns_to_name(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / "inbox").mkdir(exist_ok=True)
        (tmp_path / "inbox" / f"{number}.txt").write_text(SECRET)
    _, job, text = draft("inbox/", Somebody("billing,outage"))
    assert list(job.labels) == ["billing", "outage"]
    assert "columns:" not in text
    assert job.name == "inbox"


def test_diffs_are_a_code_review(tmp_path: Path) -> None:
    (tmp_path / "a.diff").write_text("--- a/x\n+++ b/x\n")
    drafted = draft_from_documents(".", Path("job.yaml"), Nobody())
    assert drafted.is_ready
    assert load_job("job.yaml").task == "code_review"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.csv", b"", "input: empty.csv holds no rows: there is nothing to look at"),
        ("empty.txt", b"", "input: every file at 'empty.txt' is empty: there is nothing to sort"),
        ("head.csv", b"id,text\n", "input: head.csv holds no rows: there is nothing to look at"),
        ("bare.csv", b"1,Nothing works,x\n2,All is well,y\n", "input: bare.csv its first line looks like data"),
        ("numbers.csv", b"a,b\n1,2\n3,4\n", "input: no column of the first 2 rows of numbers.csv holds text"),
        ("a.pdf", b"%PDF-1.7", "input: none of 1 files at 'a.pdf' is of a kind that can be read"),
        ("cut.parquet", b"PAR1nothing", "input: cut.parquet Parquet file is cut off or damaged; write it again"),
        ("gone.csv", None, "input: nothing found at 'gone.csv'"),
    ],
)
def test_what_cannot_be_looked_at_is_refused_in_words(
    name: str, content: bytes | None, words: str, command: Command
) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    refused = command("init", name)
    assert refused.code == 2
    assert words in refused.err
    assert "Nothing works" not in refused.out + refused.err
    assert not list(Path().glob("*.yaml"))


@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_nothing_is_overwritten(kind: str, command: Command) -> None:
    path = Path("mine.yaml")
    if kind == "file":
        path.write_text("mine")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    refused = command("init", write_as("csv", tickets()), "-o", "mine.yaml")
    assert refused.code == 2
    assert "mine.yaml: is there already, and is not overwritten; name another file with -o" in refused.err
    assert kind != "file" or path.read_text() == "mine"


def test_pandas_index_without_a_name_does_not_make_the_header_a_row() -> None:
    Path("frame.csv").write_text("," + "text,label\n" + "".join(f"{n},{SECRET} {n},l{n % 2}\n" for n in range(20)))
    assert draft("frame.csv")[1].columns.text == "text"


def test_the_file_is_plain_yaml_that_any_reader_reads() -> None:
    draft(write_as("csv", tickets()))
    assert set(yaml.safe_load(Path("job.yaml").read_text())) == {
        "name", "task", "input", "output", "model", "columns", "labels", "evaluation", "quality", "escalation",
    }  # fmt: skip


@pytest.mark.processes
def test_at_a_terminal_the_question_is_asked_and_answered_by_number() -> None:
    rows = [{"id": f"r{n}", "subject": SECRET, "letter": SECRET + "!"} for n in range(30)]
    name = write_as("csv", rows)
    pipeline = str(Path(sys.executable).parent / "pipeline")
    child = pexpect.spawn(pipeline, ["init", name], encoding="utf-8", timeout=60, env=dict(os.environ))
    child.expect("Which column holds the text")
    child.expect("number or name")
    child.sendline("2")
    child.expect("Which labels")
    child.sendline("billing, outage")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    job = load_job("docs.yaml")
    assert (job.columns.text, list(job.labels)) == ("subject", ["billing", "outage"])
