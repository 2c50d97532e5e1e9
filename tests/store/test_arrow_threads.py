"""Reading starts no thread of Arrow's: one that lets go of Python's memory after a short command's end aborts it.

Seen as `terminate called without an active exception`, exit code 134, of 8 in 480 `pipeline review` on a busy machine.
"""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.store.schemas import to_arrow, to_parquet

NAMES = ["run", "item_id", "route", "answer", "reason", "text"]
BEFORE = """
import io, os, sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.documents.readers.heads import read_head
from pipelines.documents.readers.readers import read_documents
from pipelines.documents.records import RowColumns
from pipelines.documents.sources.sources import list_sources
from pipelines.people.filled import read_filled
from pipelines.status.looking import _routes_of
from pipelines.store import schemas

folder = Path(sys.argv[1])
parquet, arrow = (folder / "rows.parquet").read_bytes(), (folder / "rows.arrow").read_bytes()
source, columns = list_sources(str(folder / "rows.parquet"))[0], RowColumns(id="item_id")
names = ["item_id", "route", "answer", "reason"]
before = len(os.listdir("/proc/self/task"))
"""
READINGS = {
    "a part as Parquet": "schemas.read_part(parquet, names)",
    "a part as Arrow": "schemas.read_part(arrow, names)",
    "a table of this project": "schemas.from_arrow(arrow)",
    "some columns of one": "schemas.from_arrow(arrow, names)",
    "a table, and written": "schemas.to_arrow(schemas.from_arrow(arrow))",
    "a table, and written as Parquet": "schemas.to_parquet(schemas.from_arrow(arrow))",
    "the routes of a part as Parquet": "_routes_of(pa.PythonFile(io.BytesIO(parquet), mode='r'), is_arrow=False)",
    "what people filled in": "list(read_filled(folder / 'rows.parquet'))",
    "documents": "assert len(list(read_documents(source, columns, 1_000))) == 5_000",
    "the first documents": "assert read_head(source, columns)",
}
AFTER = "\nassert len(os.listdir('/proc/self/task')) == before, 'Arrow has started threads'"


def run(reading: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """In a process that has used Arrow for nothing else, over columns which Arrow would share out among threads."""
    rows = pa.table({name: [f"{name} {number}" for number in range(5_000)] for name in NAMES})
    (folder / "rows.parquet").write_bytes(to_parquet(rows))
    (folder / "rows.arrow").write_bytes(to_arrow(rows))
    command = [sys.executable, "-c", BEFORE + reading + AFTER, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.processes
@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
def test_reading_starts_no_thread_of_arrows(reading: str, tmp_path: Path) -> None:
    done = run(reading, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.processes
def test_a_reading_that_does_is_seen(tmp_path: Path) -> None:
    done = run("pq.ParquetFile(pa.BufferReader(parquet)).read()", tmp_path)
    assert "Arrow has started threads" in done.stderr
