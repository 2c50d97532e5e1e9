"""What arrives: source files, and the documents read out of them.

A document that could not be read is still a document: its ``failure`` says why, and it becomes a
``failed`` row. Nothing is dropped here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pipelines.documents.text_columns import Combined, names_of

# Why something is left out by rule: the first ones of code, the last ones of listings.
Reason = Literal[
    "vendored", "lock", "generated", "data", "binary", "oversized", "symlink", "submodule", "empty", "merge", "no_code",
    "hidden", "unfinished", "special", "repeated", "output", "state",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One input file or object.

    ``path`` is relative to the input root and stable between machines; it is the base of document ids.
    ``version`` changes when the content may have changed (ETag on S3, modification time and size locally).
    ``problem`` says why it cannot be read, where listing it has shown that already.
    """

    uri: str
    path: str
    size_bytes: int
    version: str
    problem: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that is not read, by rule: a file or folder at ``path``, or all of ``document_uri`` if it is "".

    ``detail`` says which rule, for people; ``reason`` is what is counted.
    """

    document_uri: str
    path: str
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies at an input location: everything there is among the ``sources`` or ``left_out``."""

    sources: list[SourceFile]
    left_out: list[LeftOut]


@dataclass(frozen=True, slots=True)
class CsvMarks:
    """How CSV files are written, as far as it is said; None: to be told from the head of each file.

    ``quote`` is "" where nothing is quoted. ``encoding`` is a charset's name as given.
    """

    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    encoding: str | None = None


@dataclass(frozen=True, slots=True)
class RowColumns:
    """Which columns of row formats (JSONL, CSV, Parquet) hold what; ``attributes`` are what a policy looks at.

    The values of several ids are joined. ``carried`` go to the results as they are.
    """

    text: str | Combined = "text"
    id: str | tuple[str, ...] = "id"
    gold: str | None = None
    attributes: frozenset[str] = frozenset()
    carried: tuple[str, ...] = ()
    csv: CsvMarks = CsvMarks()

    @property
    def text_names(self) -> tuple[str, ...]:
        """The columns that the text is made of."""
        return names_of(self.text)

    @property
    def id_names(self) -> tuple[str, ...]:
        """The columns that the id is made of."""
        return (self.id,) if isinstance(self.id, str) else self.id


@dataclass(frozen=True, slots=True)
class NoValue:
    """Stands where a column holds nothing to compare with; ``problem`` says why ("is a list")."""

    problem: str


@dataclass(frozen=True, slots=True)
class Document:
    """One document, or the reason why there is none.

    ``document_offset`` is the line (JSONL, CSV; 1-based, the line on which the row starts) or row (Parquet;
    0-based) within the file, 0 for files that are one document. Exactly one of ``text`` and ``failure`` is set.
    ``document_id`` is the user's id, or ``path`` or ``path:offset`` where the input gives none.
    ``attributes`` of a row are those asked for that it has, each a str, int, float, bool, None or `NoValue`; None
    where none were asked for, where the file is the document, or where reading failed.
    ``note`` is what the row should say of how the text was read; None where there is nothing to say.
    ``carried`` are the columns asked for that the row has, whether or not there is a text: values of JSON, text of CSV,
    Arrow scalars of Parquet, or `NoValue`.
    """

    document_id: str
    document_uri: str
    document_offset: int
    text: str | None
    gold_label: str | None = None
    failure: str | None = None
    attributes: Mapping[str, object] | None = None
    note: str | None = None
    carried: Mapping[str, object] | None = None
