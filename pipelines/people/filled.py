"""Files that people have filled in, read and checked: all of a file's answers are taken, or none and every reason told.

A file is foreign if it names another run, and stale if an item was answered otherwise since it was written.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import JobError
from pipelines.meant import did_you_mean
from pipelines.people.answers import Answer, Taken
from pipelines.people.waiting import AskedRun
from pipelines.store.regular_files import MAX_TABLE_BYTES, read_regular
from pipelines.store.schemas import USE_THREADS
from pipelines.tasks.label_names import LabelNames

_NEEDED = ("run", "item_id", "answer")
_SHOWN_CHARACTERS = 60
_MOST_PROBLEMS = 200
_MOST_NAME = 100


@dataclass(frozen=True)
class Filled:
    """What one line, row or task of a file says; ``answer`` is empty where nobody has answered."""

    place: str
    run: str
    item_id: str
    answer: str
    answered: str | None = None  # what the file gave as the answer so far
    comment: str | None = None
    person: str | None = None
    tool: str = "file"


@dataclass(frozen=True)
class Imported:
    """What an import came to."""

    kept: int
    known: int
    unanswered: int


def import_answers(asked: AskedRun, path: Path, person: str, now: datetime) -> Imported:
    """Take the answers of a file.

    Args:
        asked: the run that it is of.
        path: CSV, Parquet, a JSON export of Label Studio, or the folder that one was written to.
        person: who answered, where the file itself does not say.
        now: when the answers are taken.

    Raises:
        JobError: with every problem; nothing of the file is taken.
    """
    rows = list(read_filled(path))
    problems = _Problems()
    answers: dict[str, Answer] = {}
    first: dict[str, str] = {}
    names = LabelNames(asked.labels)
    for row in rows:
        label = _label(names, row.answer)
        if problem := _problem(asked, row, label):
            problems.add(*problem)
        elif label is not None:
            before = row.answered and (_label(names, row.answered) or row.answered)
            answer = Answer(row.item_id, label, row.person or person, now, row.tool, row.comment, before)
            other = answers.setdefault(row.item_id, answer)
            if other.answer != label:
                problems.add(
                    f"{row.place}: {row.item_id} is answered {_shown(label)} here and {_shown(other.answer)} in "
                    f"{first[row.item_id]}; leave one of them"
                )
            first.setdefault(row.item_id, row.place)
    if problems.lines:
        raise JobError(problems.told(), source=str(path))
    taken = asked.answers.give(list(answers.values()))
    if taken.refused:
        raise JobError(_stale(taken, first), source=str(path))
    return Imported(taken.kept, taken.known, sum(not row.answer for row in rows))


def _label(names: LabelNames, text: str) -> str | None:
    """A spreadsheet's mark of plain text may stand before it."""
    return names.find(text) or names.find(text.removeprefix("'"))


class _Problems:
    """Each once; one that many rows have in common, with how many."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}

    def add(self, text: str, alike: str | None = None) -> None:
        """``alike`` stands for all that have it in common, instead."""
        key = alike or text
        self.lines[key] = self.lines.get(key, 0) + 1

    def told(self) -> list[str]:
        lines = [f"{text} ({count:,} rows)" if count > 1 else text for text, count in self.lines.items()]
        return _bounded(lines)


def _bounded(lines: list[str]) -> list[str]:
    rest = len(lines) - _MOST_PROBLEMS
    return lines if rest <= 0 else [*lines[:_MOST_PROBLEMS], f"and {rest:,} more of the kind"]


def _problem(asked: AskedRun, row: Filled, label: str | None) -> tuple[str, str | None] | None:
    if row.run != asked.key:
        named = f"is of run {_shown(row.run)}" if row.run else "names no run"
        return "", f"the file {named}, and this is {asked.key}; import it there, or export this run's items"
    if not row.answer:
        return None
    if row.item_id not in asked.rows:
        return f"{row.place}: {_shown(row.item_id)} is no item that waits for a person in this run; leave it out", None
    if label is None:
        meant = did_you_mean(row.answer, asked.labels)
        listed = f"; give one of the labels, such as '{asked.labels[0]}'" if not meant else ""
        return f"{row.place}: {row.item_id}: {_shown(row.answer)} is no label of the run{meant}{listed}", None
    return None


def _stale(taken: Taken, places: Mapping[str, str]) -> list[str]:
    lines = []
    for given, there in taken.refused:
        holds = (
            f"was answered {_shown(there.answer)} by {there.person} on {there.answered_at:%Y-%m-%d %H:%M} UTC"
            if there
            else f"has no answer {_shown(given.replaces or '')} to take the place of"
        )
        lines.append(
            f"{places[given.item_id]}: {given.item_id} {holds}, not {_shown(given.answer)}; to change it, export with "
            "--again, change it there, and import that"
        )
    return _bounded(lines)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…")  # on one line


def read_filled(path: Path) -> Iterator[Filled]:
    """The rows of a file, answered or not.

    Raises:
        JobError: it cannot be read, or is none of these.
    """
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if each.is_file() and each.suffix in ("", ".json"))
        if not files:
            raise JobError([f"there is no JSON file of Label Studio in '{path}'"], source=str(path))
        return (row for file in files for row in _of_json(file, f"{file.name!r}, "))
    readers: dict[str, Callable[[Path], Iterator[Filled]]] = {
        ".csv": _of_csv,
        ".parquet": _of_parquet,
        ".json": _of_json,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        known = "give the .csv or .parquet that --export wrote, or the JSON (or folder) of Label Studio"
        raise JobError([f"'{path.name}' does not say what it is; {known}"], source=str(path))
    return reader(path)


def _bytes(path: Path) -> bytes:
    try:
        return read_regular(path, MAX_TABLE_BYTES)
    except OSError as error:
        raise JobError([f"'{path}' cannot be read ({error.strerror}); mend the path"], source=str(path)) from None


def _of_csv(path: Path) -> Iterator[Filled]:
    try:
        text = _bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = f"line {error.object[: error.start].count(10) + 1} is not UTF-8; save it as 'CSV UTF-8'"
        raise JobError([problem], source=str(path)) from None
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)  # spreadsheets write the one that their country uses
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        _check_columns(path, rows.fieldnames or ())
        for number, row in enumerate(rows, start=2):  # as a spreadsheet counts: the names are in row 1
            yield _filled(f"row {number}", {name: row.get(name) or "" for name in row if name})
    except csv.Error as error:
        raise JobError(
            [f"before line {rows.line_num + 1}: no CSV ({error}); save it again"], source=str(path)
        ) from None


def _of_parquet(path: Path) -> Iterator[Filled]:
    try:
        table = pq.ParquetFile(pa.BufferReader(_bytes(path))).read(use_threads=USE_THREADS)
    except (pa.ArrowException, OSError) as error:
        raise JobError([f"no Parquet file ({str(error).splitlines()[0]})"], source=str(path)) from None
    _check_columns(path, table.column_names)
    wanted = [name for name in (*_NEEDED, "answered", "comment") if name in table.column_names]
    for number, row in enumerate(table.select(wanted).to_pylist(), start=1):
        yield _filled(f"row {number}", {name: "" if value is None else str(value) for name, value in row.items()})


def _check_columns(path: Path, there: Any) -> None:
    missing = [name for name in _NEEDED if name not in there]
    if missing:
        listed = ", ".join(str(name)[:_SHOWN_CHARACTERS] for name in list(there)[:20]) or "none"
        problem = f"no column {' or '.join(map(repr, missing))} (there are {listed}); keep the columns of the export"
        raise JobError([problem], source=str(path))


def _filled(place: str, row: Mapping[str, str]) -> Filled:
    return Filled(
        place=place,
        run=row["run"].strip(),
        item_id=row["item_id"].strip(),
        answer=row["answer"].strip(),
        answered=row.get("answered", "").strip() or None,
        comment=row.get("comment", "").strip() or None,
    )


def _of_json(path: Path, before: str = "") -> Iterator[Filled]:
    """Of tasks with their annotations, as Label Studio exports them, or of annotations with their task, as it syncs."""
    try:
        content = json.loads(_bytes(path))
    except ValueError as error:  # no JSON, or no text at all
        raise JobError([f"{before}no JSON of Label Studio ({error})"], source=str(path)) from None
    for number, entry in enumerate(content if isinstance(content, list) else [content], start=1):
        place = f"{before}task {number}"
        entry = entry if isinstance(entry, dict) else {}
        task = entry.get("task")
        is_synced = isinstance(task, dict)
        data = task.get("data") if isinstance(task, dict) else entry.get("data")
        if not isinstance(data, dict) or not isinstance(data.get("item_id"), str):
            raise JobError([f"{place}: no task that --export wrote: its data has no item_id"], source=str(path))
        annotations = [entry] if is_synced else entry.get("annotations") or []
        chosen = [each for each in annotations if isinstance(each, dict) and not each.get("was_cancelled")]
        answers = [(choice, _person(each)) for each in chosen if (choice := _choice(each))]
        for answer, person in answers or [("", None)]:
            yield Filled(
                place=place,
                run=str(data.get("run", "")),
                item_id=data["item_id"],
                answer=answer,
                answered=str(data.get("answered") or "") or None,
                person=person,
                tool="label_studio",
            )


def _choice(annotation: Mapping[str, Any]) -> str | None:
    for part in annotation.get("result") or []:
        value = part.get("value") if isinstance(part, dict) else None
        choices = value.get("choices") if isinstance(value, dict) else None
        if isinstance(choices, list) and choices:
            return str(choices[0]).strip()
    return None


def _person(annotation: Mapping[str, Any]) -> str | None:
    by = annotation.get("completed_by")
    if isinstance(by, dict):
        named = str(by.get("email") or by.get("id") or "")
        return "".join(char if char.isprintable() else "?" for char in named)[:_MOST_NAME] or None
    return f"Label Studio user {by}" if isinstance(by, int) else None
