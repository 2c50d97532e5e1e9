"""Faults that are known to be there, for measuring: read from CSV or JSON Lines."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipelines.errors import JobError
from pipelines.store.regular_files import MAX_TABLE_BYTES, open_regular_text
from pipelines.tasks.code_review.categories import Severity, categories
from pipelines.tasks.code_review.verification import VERDICT_CLEAN, VERDICT_FAULTY

_MAX_PROBLEMS = 5


@dataclass(frozen=True, slots=True)
class Fault:
    """One known fault; ``document_id`` is None where the file names paths alone."""

    document_id: str | None
    path: str
    line: int
    end_line: int
    category: str
    severity: Severity


@dataclass(frozen=True)
class LabelledFaults:
    """``documents`` are those that were labelled, the clean ones too; None where the file names paths alone."""

    faults: tuple[Fault, ...]
    documents: frozenset[str] | None

    def verdict_of(self, document_id: str) -> str | None:
        """Whether a document is known to be faulty or clean; None where it was not labelled.

        Where the labels name paths alone, a document is the file at that path, and those not named are clean.
        """
        if self.documents is not None and document_id not in self.documents:
            return None
        return VERDICT_FAULTY if self.of_document(document_id) else VERDICT_CLEAN

    def of_document(self, document_id: str) -> tuple[Fault, ...]:
        """The known faults of a document."""
        return tuple(self._by_document.get(document_id, ()))

    @cached_property
    def _by_document(self) -> dict[str, list[Fault]]:
        faults: dict[str, list[Fault]] = defaultdict(list)
        for fault in self.faults:
            faults[fault.document_id or fault.path].append(fault)
        return faults


class _Row(BaseModel):
    """A row without a line says that a document was looked at and is clean."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    document_id: str | None = Field(None, min_length=1)
    path: str | None = Field(None, min_length=1)
    line: int | None = Field(None, ge=1)
    end_line: int | None = Field(None, ge=1)
    category: str | None = None
    severity: Severity | None = None

    @field_validator("category")
    @classmethod
    def _is_known(cls, name: str | None) -> str | None:
        if name is not None and name not in categories():
            raise ValueError(f"'{name}' is not one of the categories of a review")
        return name

    @model_validator(mode="after")
    def _is_whole(self) -> _Row:
        is_fault = (self.path is not None, self.line is not None, self.category is not None)
        if not any(is_fault[1:]) and self.document_id is not None:
            return self
        if not all(is_fault):
            raise ValueError("a fault needs path, line and category; a clean document its document_id alone")
        if self.end_line is not None and self.line is not None and self.end_line < self.line:
            raise ValueError("end_line comes before line")
        return self

    def fault(self) -> Fault | None:
        if self.path is None or self.line is None or self.category is None:
            return None
        severity = self.severity or categories()[self.category].severity
        end_line = self.end_line or self.line
        return Fault(self.document_id, self.path, self.line, end_line, self.category, severity)


def read_labelled_faults(path: str) -> LabelledFaults:
    """Read a file of known faults.

    Args:
        path: CSV with a header, or JSON Lines, of path, line and category; optionally end_line, severity (else the
            category's) and document_id. With document_id in any row it must be in all; a row with nothing but a
            document_id says that this document was labelled and has no fault.

    Raises:
        JobError: no such file, or rows that do not fit, the first few of them named.
    """
    rows, problems = _checked_rows(path)
    if len({row.document_id is not None for row in rows}) > 1:
        problems.append(f"{path}: some rows have a document_id and some have none; give it to all or to none")
    if problems:
        more = len(problems) - _MAX_PROBLEMS
        raise JobError([*problems[:_MAX_PROBLEMS], *([f"and {more:,} more such rows"] if more > 0 else [])])
    faults = tuple(fault for row in rows if (fault := row.fault()) is not None)
    documents = frozenset(row.document_id for row in rows if row.document_id is not None)
    return LabelledFaults(faults, documents or None)


def _checked_rows(path: str) -> tuple[list[_Row], list[str]]:
    rows: list[_Row] = []
    problems: list[str] = []
    try:
        for number, given in _given_rows(Path(path)):
            present = {name: value for name, value in given.items() if value not in ("", None)}
            try:
                rows.append(_Row.model_validate(present))
            except ValidationError as error:
                problems.append(f"{path}:{number}: {_told(error)}; mend the row")
    except FileNotFoundError:
        raise JobError([f"no file '{path}'; mend the path"]) from None
    except OSError as error:
        raise JobError([f"'{path}' cannot be read ({error.strerror}); name a CSV or JSON Lines file"]) from None
    except (ValueError, RecursionError, csv.Error) as error:  # endless brackets too
        raise JobError([f"{path} is not UTF-8 CSV or JSON Lines ({type(error).__name__}); export it again"]) from None
    return rows, problems


def _given_rows(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    with open_regular_text(path, MAX_TABLE_BYTES) as stream:
        if path.suffix == ".csv":
            rows = csv.DictReader(stream, strict=True)
            for row in rows:
                yield rows.line_num, {str(name): value for name, value in row.items()}
            return
        for number, line in enumerate(stream, start=1):
            if line.strip():
                row = json.loads(line)
                yield number, row if isinstance(row, dict) else {"path": row}


def _told(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
