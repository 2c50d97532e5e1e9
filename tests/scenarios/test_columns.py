"""Text, id and results made of several columns, from files as spreadsheets and data platforms write them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as dataset
import pyarrow.parquet as pq
import pytest

from pipelines.store import layout
from pipelines.store.schemas import from_arrow
from tests.scenarios.pipeline_command import PipelineCommand, write_job

pytestmark = pytest.mark.prove

CREATED = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)


def test_rows_say_what_their_columns_said(pipeline: PipelineCommand, tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    # Western, with semicolons, quotes within quotes and a line break in a field.
    (folder / "export.csv").write_bytes(
        "region;number;subject;body;customer\r\n"
        'eu;7;"Café: ""closed""";"The console is down;\r\nsince nine.";ACME\r\n'
        "eu;8;;I was charged twice.;Müller & Söhne\r\n".encode("cp1252")
    )
    (folder / "lines.json").write_text(
        json.dumps({"region": "us", "number": 7, "subject": "{not a field}", "body": "Please help.", "customer": None})
    )
    columns = {"region": ["asia"], "number": [1], "subject": ["Refund"], "body": ["今日"], "created_at": [CREATED]}
    pq.write_table(pa.table(columns), folder / "table.parquet")
    job = write_job(
        tmp_path / "job.yaml",
        input=str(folder),
        output=str(tmp_path / "out"),
        columns={"text": "{subject}\n\n{body}", "id": ["region", "number"], "carry": ["customer", "created_at"]},
        escalation="off",
        evaluation=None,
    )
    outcome = pipeline.run_json("submit", job)
    root = Path(outcome["summary"]["results"]).parent
    rows = {row["document_id"]: row for row in dataset.dataset(root / "results").to_table().to_pylist()}
    assert {name: (row["customer"], row["created_at"]) for name, row in rows.items()} == {
        "eu:7": ("ACME", None),
        "eu:8": ("Müller & Söhne", None),
        "us:7": (None, None),
        "asia:1": (None, CREATED),
    }
    plan = [from_arrow(path.read_bytes()) for path in (root / layout.PLAN).glob("part-*")]
    assert {row["document_id"]: row["text"] for part in plan for row in part.to_pylist()} == {
        "eu:7": 'Café: "closed"\n\nThe console is down;\nsince nine.',  # every reader ends a line with \\n
        "eu:8": "\n\nI was charged twice.",
        "us:7": "{not a field}\n\nPlease help.",
        "asia:1": "Refund\n\n今日",
    }
    assert all(row["raw_prob"] is not None for row in rows.values())
