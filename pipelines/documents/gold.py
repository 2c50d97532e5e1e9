"""Known answers, for measuring only: read from a CSV and put beside the documents they belong to."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from pipelines.documents.readers.delimited.dialects import HEAD_BYTES, dialect_of
from pipelines.documents.records import CsvMarks, Document, NoValue
from pipelines.errors import JobError
from pipelines.store.regular_files import MAX_TABLE_BYTES, open_regular_text
from pipelines.tasks.label_names import LabelNames, label_key

_MAX_PROBLEMS = 5
_SHOWN_CHARS, _SHOWN_COLUMNS = 40, 10
# The labels of a document in a gold column, where any may fit.
BETWEEN_LABELS = "|"


def read_gold_file(path: str, labels: Collection[str]) -> dict[str, str]:
    """Document id to label.

    Args:
        path: CSV with the columns id and label, cut by commas, semicolons, tabs or bars; others are ignored.
        labels: the ones the job knows.

    Raises:
        JobError: no such file, other columns, or a label that the job does not have.
    """
    try:
        with open_regular_text(path, MAX_TABLE_BYTES) as stream:
            dialect = dialect_of(stream.read(HEAD_BYTES), ",", CsvMarks(), ("id", "label"))
            stream.seek(0)
            rows = csv.DictReader(stream, delimiter=dialect.delimiter, quotechar=dialect.quote)
            missing = {"id", "label"} - set(rows.fieldnames or ())
            if missing:
                there = ", ".join(shown_gold(name) for name in (rows.fieldnames or ())[:_SHOWN_COLUMNS]) or "none"
                raise JobError(
                    [
                        f"evaluation.gold_file: {path} has no column '{sorted(missing)[0]}' (there are {there}); "
                        "name them id,label"
                    ]
                )
            return _checked(path, rows, labels)
    except FileNotFoundError:
        raise JobError([f"evaluation.gold_file: no file '{path}'; mend the path or leave evaluation out"]) from None
    except OSError as error:
        raise JobError([f"evaluation.gold_file: '{path}' cannot be read ({error.strerror}); name a CSV file"]) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise JobError([f"evaluation.gold_file: {path} is not UTF-8 CSV ({error}); export it again"]) from None


def _checked(path: str, rows: csv.DictReader[str], labels: Collection[str]) -> dict[str, str]:
    gold: dict[str, str] = {}
    problems: list[str] = []
    known = LabelNames(labels)
    for row in rows:
        label = known.find(row["label"] or "")
        if label is None:
            problems.append(
                f"evaluation.gold_file: {path}:{rows.line_num}: label {shown_gold(str(row['label']))} is not one of "
                "the job's labels; mend the row or add the label"
            )
        gold[row["id"]] = label or row["label"]
    if len(problems) > _MAX_PROBLEMS:
        problems = [
            *problems[:_MAX_PROBLEMS],
            f"evaluation.gold_file: and {len(problems) - _MAX_PROBLEMS} more such rows",
        ]
    if problems:
        raise JobError(problems)
    return gold


def with_gold(documents: Iterable[Document], gold: Mapping[str, str]) -> Iterator[Document]:
    """The documents, each with its known answer where there is one."""
    for document in documents:
        label = gold.get(document.document_id)
        yield document if label is None else replace(document, gold_label=label)


def in_the_jobs_spelling(documents: Iterable[Document], labels: Collection[str]) -> Iterator[Document]:
    """The documents, with the labels among their known answers as the job spells them."""
    known = LabelNames(labels)
    for document in documents:
        label = known.find(document.gold_label) if document.gold_label else None
        yield document if label in (None, document.gold_label) else replace(document, gold_label=label)


def gold_in_column(document: Document, column: str, known: LabelNames) -> str | None:
    """The known answer of a document in one of several columns, as the question spells it; None where there is none."""
    value = gold_text(_attribute_of(document, column))
    return None if value is None else known.find(value) or value


def is_gold_in_column(document: Document, column: str, label: str) -> bool | None:
    """Whether a column of all labels that fit, as `billing|outage`, names this one; None where it is empty."""
    value = gold_text(_attribute_of(document, column))
    return None if value is None else label_key(label) in map(label_key, value.split(BETWEEN_LABELS))


def _attribute_of(document: Document, column: str) -> object:
    value = (document.attributes or {}).get(column)
    return None if isinstance(value, NoValue) else value


def gold_text(value: object) -> str | None:
    """A value of a gold column as a label would be written; None for what counts as not given."""
    if value is None or isinstance(value, list | dict):
        return None
    return str(value).lower() if isinstance(value, bool) else str(value) or None


def shown_gold(label: str) -> str:
    """A known answer for a message: it may be anything that a column holds."""
    return repr(label if len(label) <= _SHOWN_CHARS else f"{label[: _SHOWN_CHARS - 3]}...")
