"""The result rows of a run as somebody wants them: some routes, some columns, so many, part by part; and as one file.

A file is written beside its place and put there whole, under a name that nothing has: no more than one part is in
memory, and what breaks off leaves nothing that passes for the result.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from io import BufferedWriter
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq

from pipelines.errors import JobError, RunNotFoundError, StoreError
from pipelines.meant import closest
from pipelines.people.answers import PEOPLE_COLUMNS, Answer, Answers, with_people
from pipelines.routes import Route
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.runs import open_store, question_stores, result_parts
from pipelines.store.schemas import ANSWERED_RESULTS, DUPLICATE_OF, RESULTS, USE_THREADS, from_arrow, read_part

FileFormat = Literal["jsonl", "csv", "parquet", "arrow"]
FILE_FORMATS: tuple[FileFormat, ...] = ("jsonl", "csv", "parquet", "arrow")
_BATCH_ROWS = 2_000


@dataclass(frozen=True)
class ResultRows:
    """What is wanted of a run's rows; people's answers stand in them."""

    store: Store
    columns: tuple[str, ...]
    routes: tuple[str, ...] = ()  # none: all
    limit: int | None = None
    # By item; where several questions are asked, by the folder of each first: people answer one at a time.
    answers: Mapping[str, Answer] = field(default_factory=dict, repr=False)
    answers_of: Mapping[str, Mapping[str, Answer]] = field(default_factory=dict, repr=False)
    all_columns: pa.Schema = ANSWERED_RESULTS  # with those that the run carries

    @property
    def schema(self) -> pa.Schema:
        """Of the wanted columns, in their order."""
        return pa.schema([self.all_columns.field(name) for name in self.columns]).with_metadata(RESULTS.metadata or {})

    @property
    def is_whole(self) -> bool:
        """Whether the run is complete, so that there are no more rows to come."""
        return self.store.exists(layout.COMPLETE)

    @property
    def is_arrow(self) -> bool:
        """Whether the parts are Arrow files."""
        return any(key.endswith(".arrow") for key in self._parts())

    def counts(self) -> tuple[int, int]:
        """Rows that are there, and those of the wanted routes."""
        routes = [self._read(key, ["route"]) for key in self._parts()]
        return sum(map(len, routes)), sum(len(self._wanted(table)) for table in routes)

    def waiting(self) -> int:
        """Rows in `review` that no person has answered, without copies: they are not asked about."""
        parts = (self._read(key, ["route", "answer", DUPLICATE_OF]) for key in self._parts())
        is_asked = (pc.field("route") == Route.REVIEW) & pc.field(DUPLICATE_OF).is_null()
        return sum(table.filter(is_asked)["answer"].null_count for table in parts)

    def tables(self) -> Iterator[pa.Table]:
        """The wanted rows, part by part, in the order of the parts."""
        left = self.limit
        for key in self._parts():
            if left == 0:
                return
            table = self._wanted(self._read(key, list(dict.fromkeys([*self.columns, "route"]))))
            table = table.select(list(self.columns)).slice(0, left)
            left = left if left is None else left - len(table)
            yield table

    def rows(self) -> Iterator[dict[str, Any]]:
        """Iterate over the chosen rows as dictionaries, a part in memory at a time."""
        return (row for table in self.tables() for row in _as_rows(table))

    def _wanted(self, table: pa.Table) -> pa.Table:
        return table.filter(pc.field("route").isin(list(self.routes))) if self.routes else table

    def _parts(self) -> list[str]:
        return result_parts(self.store)

    def _read(self, key: str, columns: list[str]) -> pa.Table:
        """Some columns of a part, with people's answers."""
        if {"answer", *PEOPLE_COLUMNS}.intersection(columns):
            own = [name for name in columns if name not in PEOPLE_COLUMNS]
            answers = self.answers_of.get(key.split("/")[1], self.answers)
            whose = ["item_id", DUPLICATE_OF] if answers else []
            needed = list(dict.fromkeys([*own, "route", "answer", *whose]))
            return with_people(read_part(self.store.read(key), needed, self.all_columns), answers).select(columns)
        return read_part(self.store.read(key), columns, self.all_columns)


def result_rows(
    run: str, columns: Sequence[str] = (), routes: Sequence[str] = (), limit: int | None = None
) -> ResultRows:
    """The rows of a run that are published; ``columns``: none for all.

    Raises:
        JobError: there is no such column or route.
        RunNotFoundError: there is no such run, or it has published nothing yet.
    """
    store = open_store(run)
    carried = store.read_if_exists(layout.CARRIED)
    schema = pa.schema([*ANSWERED_RESULTS, *([] if carried is None else from_arrow(carried).schema)])
    problems = [
        f"{option}: there is no {what} {name!r}; {_meant(name, known)}{_listed(known)}"
        for option, what, names, known in (
            ("--route", "route", routes, [str(route) for route in Route]),
            ("--columns", "column", columns, schema.names),
        )
        for name in names
        if name not in known
    ]
    if problems:
        raise JobError(problems, source="the command")
    chosen = tuple(dict.fromkeys(columns)) or tuple(schema.names)
    by_question = {each.question: Answers(each).by_item for each in question_stores(store)}
    by_item = {} if by_question else Answers(store).by_item
    wanted = ResultRows(store, chosen, tuple(routes), limit, by_item, by_question, schema)
    if not wanted._parts():
        raise RunNotFoundError(f"run '{run}' has published no rows yet; see `pipeline status {run}`")
    return wanted


def _meant(name: str, known: Sequence[str]) -> str:
    meant = closest(name, known)
    return "" if meant is None else f"did you mean {meant!r}? "


def _listed(known: Sequence[str]) -> str:
    return f"there are {', '.join(known)}"


def _as_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Rows as Python has them; a carried time with nanoseconds, which Python does not know, is text."""
    for place, each in enumerate(table.schema):
        if "[ns" in str(each.type) and pa.types.is_temporal(each.type):
            table = table.set_column(place, each.name, table.column(place).cast(pa.string()))
    return (row for batch in table.to_batches(_BATCH_ROWS) for row in batch.to_pylist())


def as_json(row: dict[str, Any] | list[Any]) -> str:
    """A row, or its findings, as one line; money and times are text, without zeros that say nothing."""
    return json.dumps(row, default=_plain, ensure_ascii=False)


def _plain(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return value.isoformat() if isinstance(value, datetime) else str(value)


def csv_bytes(table: pa.Table, *, is_first: bool) -> bytes:
    """The rows as CSV, with the columns' names above the first; findings are JSON, as CSV knows no lists."""
    sink = pa.BufferOutputStream()
    flat = {name: _flat(table[name]) for name in table.column_names}
    csv.write_csv(pa.table(flat), sink, csv.WriteOptions(include_header=is_first))
    return sink.getvalue().to_pybytes()


def _flat(column: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any] | pa.Array[Any]:
    if not pa.types.is_nested(column.type) and not pa.types.is_decimal(column.type):
        return column
    told: Callable[[Any], str] = _plain if pa.types.is_decimal(column.type) else as_json
    return pa.array([None if value is None else told(value) for value in column.to_pylist()], pa.string())


def text_of(table: pa.Table, form: FileFormat, *, is_first: bool) -> Iterator[bytes]:
    """Rows as CSV or JSON Lines, piece by piece."""
    for batch in table.to_batches(_BATCH_ROWS):
        if form == "csv":
            yield csv_bytes(pa.Table.from_batches([batch]), is_first=is_first)
            is_first = False
        else:
            yield "".join(f"{as_json(row)}\n" for row in _as_rows(pa.Table.from_batches([batch]))).encode()
    if form == "csv" and is_first and not len(table):
        yield csv_bytes(table, is_first=True)


def write_file(wanted: ResultRows, path: Path, form: FileFormat) -> int:
    """Write the rows into a new file, and say how many.

    Raises:
        JobError: the file is there already.
        StoreError: it cannot be written.
    """
    if os.path.lexists(path):
        raise JobError([_taken(path)], source="the command")
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with ExitStack() as cleaning:
            with open(beside, "xb") as file:
                cleaning.callback(beside.unlink, missing_ok=True)
                count = _write(wanted, file, form)
            os.link(beside, path)  # unlike a rename, never over another file
    except FileExistsError:
        raise JobError([_taken(path)], source="the command") from None
    except OSError as error:
        raise StoreError(f"cannot write '{path}': {error.strerror}; name another place with -o") from error
    return count


def _taken(path: Path) -> str:
    return f"-o: {path} is there already, and is not replaced; remove it or name another file"


def _write_text(wanted: ResultRows, file: BufferedWriter, form: FileFormat) -> int:
    count = 0
    for number, table in enumerate(wanted.tables()):
        for piece in text_of(table, form, is_first=not number):
            file.write(piece)
        count += len(table)
    return count


def _write(wanted: ResultRows, file: BufferedWriter, form: FileFormat) -> int:
    if form in ("csv", "jsonl"):
        return _write_text(wanted, file, form)
    schema, count = wanted.schema, 0
    with _writer(file, schema, form) as writer:
        for table in wanted.tables():
            writer.write_table(table.cast(schema))
            count += len(table)
    return count


def _writer(file: BufferedWriter, schema: pa.Schema, form: FileFormat) -> Any:
    if form == "parquet":
        return pq.ParquetWriter(file, schema, compression="zstd")
    return pa.ipc.new_file(file, schema, options=pa.ipc.IpcWriteOptions(compression="lz4", use_threads=USE_THREADS))
