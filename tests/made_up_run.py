"""A complete run that nobody ran: rows with odd decimals, its job, its summary, as a run leaves them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from pipelines.report.summary import NEEDED_COLUMNS, Summary, summarize
from pipelines.store import layout
from pipelines.store.layout import ResultFormat
from pipelines.store.objects import Store
from pipelines.store.schemas import RESULTS, read_part, to_part

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
FREE = Decimal(0)


def accepted(number: int, **values: Any) -> dict[str, Any]:
    """A row that the engine alone answered."""
    engine = Decimal("0.000001357913") + Decimal(number % 997).scaleb(-12)
    fixed = {
        "item_id": f"itm_{number:020d}",
        "document_id": f"ticket-{number:07d}",
        "document_uri": f"s3://acme-inbox/tickets/{number // 1000:05d}.jsonl",
        "document_offset": number % 1000,
        "task": "classification",
        "answer": "billing",
        "engine_answer": "billing",
        "confidence": 0.9,
        "raw_prob": 0.9 + (number % 90) / 1000,
        "label_mass": 0.99,
        "route": "accepted",
        "model": "qwen3.5-9b",
        "input_tokens": 400 + number % 211,
        "cached_tokens": 96,
        "output_tokens": 1,
        "gpu_seconds": 0.001777,
        "gpu_cost_usd": engine,
        "api_cost_usd": FREE,
        "cost_usd": engine,
        "run_id": "made-up",
        "settled_at": NOW,
    }
    return fixed | values


def escalated(number: int, **values: Any) -> dict[str, Any]:
    """A row that Claude answered."""
    engine, claude = Decimal("0.000001357913"), Decimal("0.000041100007") + Decimal(number % 991).scaleb(-12)
    asked = {
        "route": "escalated",
        "model": "claude-haiku-5-5",
        "api_input_tokens": 472,
        "api_cached_tokens": 0,
        "api_output_tokens": 70,
        "gpu_cost_usd": engine,
        "api_cost_usd": claude,
        "cost_usd": engine + claude,
    }
    return accepted(number) | asked | values


def failed(number: int, reason: str = "not UTF-8") -> dict[str, Any]:
    """A row of a document that could not be read."""
    empty = dict.fromkeys(("answer", "engine_answer", "confidence", "raw_prob", "label_mass", "model"))
    empty |= dict.fromkeys(("input_tokens", "cached_tokens", "output_tokens", "gpu_seconds"))
    free = {"gpu_cost_usd": FREE, "cost_usd": FREE}
    return accepted(number) | empty | free | {"route": "failed", "reason": reason}


def write_run(
    root: Path,
    parts: list[list[dict[str, Any]]],
    job: Mapping[str, Any] | None = None,
    held_seconds: float = 100.0,
    form: ResultFormat = "parquet",
) -> Summary:
    """Publish the parts, close the books."""
    tables = [pa.Table.from_pylist(rows, RESULTS) for rows in parts]
    return write_tables(root, tables, job, held_seconds, form)


def write_tables(
    root: Path,
    tables: list[pa.Table],
    job: Mapping[str, Any] | None = None,
    held_seconds: float = 100.0,
    form: ResultFormat = "parquet",
) -> Summary:
    """The same of tables."""
    store = Store(str(root))
    content = {
        "name": "made-up",
        "task": "classification",
        "input": "inbox/",
        "output": str(root.parent),
        "model": "qwen3.5-9b",
        "labels": {"billing": None, "refund": None},
        "columns": {"text": "text", "id": "id"},
        "quality": {"raw_threshold": 0.9},
        "escalation": {"model": "claude-haiku-5-5"},
        "compute": {"device_hour_usd": "2.75"},
    }
    store.create(layout.JOB, yaml.safe_dump({**content, **(job or {})}).encode())
    store.create(layout.RUN, json.dumps({"run_id": "made-up"}).encode())
    for number, table in enumerate(tables):
        store.create(layout.accepted_results(number, form), to_part(table, form))
    read = (read_part(to_part(table, form), NEEDED_COLUMNS) for table in tables)
    summary = summarize(read).summary(
        run_id="made-up",
        results=store.uri(layout.RESULTS),
        planned_items=sum(map(len, tables)),
        provider="anthropic",
        stopped_by=None,
        engine_held_seconds=held_seconds,
    )
    store.create(layout.SUMMARY, summary.model_dump_json(indent=2).encode())
    store.create(layout.COMPLETE, b"")
    return summary
