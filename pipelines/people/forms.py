"""Items that wait for a person, as a file to fill in: CSV, Parquet, or a folder for Label Studio.

Whoever opens one may be a spreadsheet, so nothing in a CSV is a formula and no cell is longer than a spreadsheet keeps.
Every item carries the run's key and the answer that it had when the file was written: what `pipelines.people.filled`
needs to know a stale or foreign file. A file appears once it is whole, and never in place of another.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import JobError, StoreError
from pipelines.people.waiting import AskedRun, Waiting

COLUMNS = (
    "run",
    "item_id",
    "document_id",
    "text",
    "findings",
    "engine_says",
    "reason",
    "answered",
    "answer",
    "comment",
)
_SCHEMA = pa.schema([pa.field(name, pa.string()) for name in COLUMNS])
_CELL_CHARACTERS = 32_000  # a spreadsheet keeps 32,767
_FORMULA = ("=", "+", "-", "@", "\t")
_PARQUET_ROWS = 1_000
# What a terminal would obey, if the file is looked at in one.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}

Rows = Iterator[dict[str, str | None]]


def export_items(asked: AskedRun, chosen: list[str], target: str) -> int:
    """Write the chosen items into a new file, or folder where the name ends in `/`; returns how many.

    Raises:
        JobError: the name says no form, or something is there already.
        StoreError: it cannot be written.
    """
    path = Path(target)
    is_folder = target.endswith(("/", os.sep))
    if not is_folder and path.suffix.lower() not in (".csv", ".parquet"):
        known = "name it .csv or .parquet, or a folder/ for Label Studio"
        raise JobError([f"--export: '{target}' does not say what it is; {known}"], source="the command")
    if os.path.lexists(path):
        raise JobError(
            [f"--export: {path} is there already, and is not replaced; remove it or name another"], source="the command"
        )
    if is_folder:
        return _put(path, lambda beside: _write_label_studio(asked, chosen, beside), os.rename, shutil.rmtree)
    write = _write_csv if path.suffix.lower() == ".csv" else _write_parquet
    rows = (_row(asked, item) for item in asked.all_items(chosen))
    return _put(path, lambda beside: write(rows, beside), os.link, os.unlink)


def _put(
    path: Path, write: Callable[[Path], int], put: Callable[[Path, Path], None], remove: Callable[[Path], None]
) -> int:
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        try:
            count = write(beside)
            put(beside, path)
        finally:
            if os.path.lexists(beside):
                remove(beside)
    except OSError as error:
        raise StoreError(f"cannot write '{path}': {error.strerror}; name another place with --export") from error
    return count


def _row(asked: AskedRun, item: Waiting) -> dict[str, str | None]:
    return {
        "run": asked.key,
        "item_id": item.item_id,
        "document_id": item.document_id,
        "text": item.text,
        "findings": "\n".join(item.findings),
        "engine_says": item.engine_says,
        "reason": item.reason,
        "answered": item.answered.answer if item.answered else None,
        "answer": item.answered.answer if item.answered else None,
        "comment": item.answered.comment if item.answered else None,
    }


def _write_csv(rows: Rows, path: Path) -> int:
    count = 0
    with path.open("x", encoding="utf-8-sig", newline="") as file:  # with its mark, or Excel takes it for Latin-1
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow([_cell(row[name] or "") for name in COLUMNS])
            count += 1
    return count


def _cell(text: str) -> str:
    text = text.replace("\r\n", "\n").translate(_CONTROL)
    text = f"'{text}" if text.startswith(_FORMULA) else text
    rest = len(text) - _CELL_CHARACTERS
    return text if rest <= 0 else f"{text[:_CELL_CHARACTERS]} … [{rest:,} more characters]"


def _write_parquet(rows: Rows, path: Path) -> int:
    count, kept = 0, list[dict[str, str | None]]()
    with path.open("xb") as file, pq.ParquetWriter(file, _SCHEMA, compression="zstd") as writer:
        for row in rows:
            kept.append(row)
            count += 1
            if len(kept) == _PARQUET_ROWS:
                writer.write_table(pa.Table.from_pylist(kept, _SCHEMA))
                kept.clear()
        writer.write_table(pa.Table.from_pylist(kept, _SCHEMA))
    return count


def _write_label_studio(asked: AskedRun, chosen: list[str], folder: Path) -> int:
    """`tasks.json` to import, and `config.xml`: how a task is shown and what may be answered."""
    folder.mkdir()
    (folder / "config.xml").write_text(_label_config(asked), encoding="utf-8")
    count = 0
    with (folder / "tasks.json").open("x", encoding="utf-8") as file:
        file.write("[")
        for count, item in enumerate(asked.all_items(chosen), start=1):
            file.write(",\n" if count > 1 else "\n")
            json.dump(_task(asked, item), file, ensure_ascii=False)
        file.write("\n]\n")
    return count


def _task(asked: AskedRun, item: Waiting) -> dict[str, Any]:
    row = _row(asked, item)
    data = {name: row[name] or "" for name in COLUMNS if name not in ("answer", "comment")}
    if item.engine_answer is None:
        return {"data": data}
    choice = {"from_name": "answer", "to_name": "text", "type": "choices", "value": {"choices": [item.engine_answer]}}
    return {"data": data, "predictions": [{"model_version": "engine", "score": item.raw_prob, "result": [choice]}]}


def _label_config(asked: AskedRun) -> str:
    choices = [
        f"    <Choice value={quoteattr(name)}{f' hint={quoteattr(about)}' if about else ''}/>"
        for name, about in asked.job.labels.items()
    ]
    shown = ['  <Text name="findings" value="$findings"/>'] if asked.job.task == "code_review" else []
    return "\n".join(
        [
            "<View>",
            '  <Header value="$document_id"/>',
            '  <Text name="text" value="$text"/>',
            *shown,
            '  <Header value="$engine_says" size="6"/>',
            '  <Choices name="answer" toName="text" choice="single" required="true">',
            *choices,
            "  </Choices>",
            "</View>",
            "",
        ]
    )
