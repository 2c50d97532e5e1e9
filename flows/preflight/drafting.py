"""`pipeline init`: a job file from the user's own documents, which `pipeline submit` accepts as it stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Protocol

from pipelines.documents.guessing import MOST_LABELS, Guess, count_labels, guess_columns
from pipelines.documents.readers.first_rows import Row, first_rows
from pipelines.documents.readers.heads import row_suffix
from pipelines.documents.readers.lines import Unreadable
from pipelines.documents.readers.readers import DIFF_READERS, READERS
from pipelines.documents.records import SourceFile
from pipelines.documents.sources.sources import COMPRESSIONS, list_sources
from pipelines.errors import JobError
from pipelines.job.draft import CHECK, Draft, draft_job
from pipelines.job.job_file import parse_job

MOST_ROWS, _MOST_FILES = 500, 8
_NONE = "none of them"
_NAME = re.compile("[^a-z0-9]+")


class Person(Protocol):
    """Somebody who may be asked while a job file is drafted."""

    @property
    def is_there(self) -> bool:
        """Whether anybody could answer a question."""

    def choose(self, question: str, choices: Sequence[str]) -> str:
        """Ask for one of several choices."""

    def line(self, question: str, default: str = "") -> str:
        """Ask for one line of text."""


@dataclass(frozen=True)
class Drafted:
    """A job file that was written, and what is to be known of it."""

    path: Path
    draft: Draft
    unread: tuple[str, ...]  # files that could not be looked into, and why
    to_check: tuple[int, ...]  # lines

    @property
    def is_ready(self) -> bool:
        """Whether `pipeline submit` accepts it as it stands."""
        return self.draft.task == "code_review" or len(self.draft.labels) >= 2


def draft_from_documents(location: str, path: Path | None, person: Person) -> Drafted:
    """Look at the first documents, ask where it is in doubt, and write the job file.

    Raises:
        JobError: there is nothing to look at, or something is at the path already.
        StoreError: S3 cannot be reached.
    """
    name = _job_name(location)
    path = path or Path(f"{name}.yaml")
    _refuse_existing(path)
    sources = list_sources(location)
    tables = [source for source in sources if row_suffix(source.path)]
    draft = Draft(name=name, task="classification", input=location, output=f"{name}-runs/", seen="")
    unread: list[str] = []
    if sum(source.size_bytes for source in tables) * 2 >= sum(source.size_bytes for source in sources) and tables:
        rows, seen = _look_at(tables, unread)
        guess = guess_columns(rows)
        if guess is None:
            raise JobError([f"input: no column of {seen} holds text; name a file that has one", *unread])
        draft = _of_rows(replace(draft, seen=seen), rows, guess, person)
    else:
        draft = _of_whole_files(draft, sources)
    if draft.task == "classification" and not draft.labels and person.is_there:
        draft = replace(draft, labels=_named_labels(person))
    text = draft_job(draft)
    drafted = Drafted(path, draft, tuple(unread), tuple(_lines_with(text, CHECK)))
    if drafted.is_ready:
        parse_job(text, str(path))
    _write_new(path, text)
    return drafted


def _job_name(location: str) -> str:
    """A job's name out of the input's."""
    last = PurePosixPath(location.rstrip("/").replace("*", "")).name
    stem = last.removesuffix(PurePosixPath(last).suffix) if last.lower().endswith(COMPRESSIONS) else last
    words = _NAME.sub("-", PurePosixPath(stem).stem.lower()).strip("-")
    return words[:40].strip("-") or "my-documents"


def _look_at(tables: Sequence[SourceFile], unread: list[str]) -> tuple[list[Row], str]:
    """Rows of the first files, about as many of each, and what they are in words."""
    chosen, rows, looked = tables[:_MOST_FILES], [], []
    for source in chosen:
        try:
            found = first_rows(source, -(-MOST_ROWS // len(chosen)))
        except Unreadable as reason:
            unread.append(f"input: {source.path} {reason}")
            continue
        rows += found
        looked.append(source.path)
    if not rows:
        raise JobError(unread or [f"input: {tables[0].path} holds no rows: there is nothing to look at"])
    where = f"of {_shown(looked[0])}" if len(looked) == 1 else f"of {len(looked)} files"
    return rows, f"the first {len(rows):,} rows {where}"


def _shown(path: str) -> str:
    return path if path.isprintable() else repr(path)


def _of_rows(draft: Draft, rows: Sequence[Row], guess: Guess, person: Person) -> Draft:
    doubts = dict(guess.doubts)
    text, label = guess.text, guess.label
    if "text" in doubts and len(guess.texts) > 1 and person.is_there:
        text = person.choose(f"Which column holds the text? ({doubts.pop('text')})", guess.texts)
    if text == label:
        label = next((name for name in guess.labels if name != text), None)
    if label is not None and "label" in doubts and person.is_there:
        offered = [name for name in guess.labels if name != text]
        chosen = person.choose(f"Which column holds the right answers? ({doubts.pop('label')})", [*offered, _NONE])
        label = None if chosen == _NONE else chosen
    about = None
    if guess.too_many and label is None:
        name, values = guess.too_many
        about = f"{name!r} holds {values:,} values, and no more than {MOST_LABELS} are drafted as labels; list them"
    return replace(
        draft,
        columns=guess.columns,
        text=text,
        id=guess.id if guess.id != text else None,
        gold=label,
        labels=dict(count_labels(rows, label).most_common()) if label is not None else {},
        doubts=doubts,
        about_labels=about,
    )


def _of_whole_files(draft: Draft, sources: Sequence[SourceFile]) -> Draft:
    suffixes = [_suffix(source.path) for source in sources]
    diffs = sum(suffix in (".diff", ".patch", ".mbox") for suffix in suffixes)
    documents = sum(suffix in READERS for suffix in suffixes)
    if diffs > documents:
        return replace(draft, task="code_review", seen=f"{diffs:,} files of diffs")
    if not documents:
        raise JobError(
            [
                f"input: none of {len(sources):,} files at '{draft.input}' is of a kind that can be read: "
                f"{', '.join(dict.fromkeys((*READERS, *DIFF_READERS)))}; for a source tree or commits, start from "
                "the example in docs/code-review.md"
            ]
        )
    if not any(source.size_bytes for source in sources):
        raise JobError([f"input: every file at '{draft.input}' is empty: there is nothing to sort"])
    about = "documents that are whole files have no columns, and so no label"
    return replace(draft, seen=f"a look at {len(sources):,} files", about_labels=about)


def _suffix(path: str) -> str:
    name = PurePosixPath(path.lower())
    return name.with_suffix("").suffix if name.suffix in COMPRESSIONS else name.suffix


def _named_labels(person: Person) -> dict[str, int]:
    given = person.line("Which labels? (with commas between them; Enter to fill them in later)")
    return dict.fromkeys((label.strip() for label in given.split(",") if label.strip()), 0)


def _lines_with(text: str, mark: str) -> list[int]:
    return [number for number, line in enumerate(text.splitlines(), start=1) if mark in line]


def _refuse_existing(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise JobError([f"{path}: is there already, and is not overwritten; name another file with -o"])


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        _refuse_existing(path)
        raise
    except OSError as error:
        raise JobError([f"{path}: cannot be written ({error.strerror}); name another file with -o"]) from None
