"""Small complete runs made by hand: what a store holds when a run is complete, without anything having run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from pipelines.cascade.record import Fingerprints, RuleRecord
from pipelines.report.summary import NEEDED_COLUMNS, Summary, summarize
from pipelines.routes import Stop
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import PLAN, RESULTS, to_arrow, to_parquet
from pipelines.tasks.code_review.findings import Finding, FindingRow
from pipelines.tasks.code_review.tables import findings_table

BEGUN = datetime(2026, 11, 27, 10, tzinfo=UTC)
LABELS = ("billing", "outage", "other")
ENGINE_USD, CLAUDE_USD = Decimal("0.000000123456"), Decimal("0.000041100000")
_FREE = Decimal(0)


def row(number: int, route: str = "accepted", **given: Any) -> dict[str, Any]:
    """A result row of the run; of route ``escalated``, one that Claude was asked about."""
    label = LABELS[number % len(LABELS)]
    was_asked = route == "escalated"
    own = {
        "item_id": f"itm_{number * 7919 % 100_003:06}",
        "document_id": f"doc-{number}",
        "document_uri": f"in.jsonl:{number}",
        "document_offset": number,
        "task": "classification",
        "answer": None if route in ("failed", "review", "withheld") else label,
        "engine_answer": None if route == "failed" else label,
        "confidence": 0.8 if route == "accepted" else None,
        "raw_prob": None if route == "failed" else 0.5 + number % 50 / 100,
        "route": route,
        "model": "starter",
        "run_id": "run_1",
        "input_tokens": None if route == "failed" else 100,
        "cached_tokens": None if route == "failed" else 40,
        "output_tokens": None if route == "failed" else 1,
        "api_input_tokens": 200 if was_asked else None,
        "api_cached_tokens": 0 if was_asked else None,
        "api_output_tokens": 20 if was_asked else None,
        "gpu_seconds": 0.0 if route == "failed" else 0.01,
        "gpu_cost_usd": _FREE if route == "failed" else ENGINE_USD,
        "api_cost_usd": CLAUDE_USD if was_asked else _FREE,
        "cost_usd": _FREE if route == "failed" else ENGINE_USD + CLAUDE_USD if was_asked else ENGINE_USD,
        "scored_at": None if route == "failed" else BEGUN + timedelta(seconds=number // 10),
        "settled_at": BEGUN + timedelta(minutes=1),
    }
    return own | given


def rule(agreement_lower: float | None = 0.9, *, items: int = 100, **given: Any) -> RuleRecord:
    """What decided a run with a target of 0.9, with a calibration on thirty labels a bin."""
    bins = [
        {"items": 30, "mean_confidence": 0.4 + place * 0.06, "agreement": 0.5 + place * 0.05} for place in range(10)
    ]
    measured = {"bins": bins, "expected_calibration_error": 0.05, "brier": 0.1}
    own: dict[str, Any] = {
        "dial": "target",
        "target": 0.9,
        "assurance": 0.95,
        "agreement_lower": agreement_lower,
        "statement": "Promised: much.\nCertified: all of it.",
        "stopped_by": None,
        "certificate": {"items": items},
        "reached": None,
        "audit": None,
        "calibration": {
            "temperature": 1.4,
            "reason": None,
            "fitted_on": 300,
            "reliability": measured,
            "raw_reliability": measured,
            "by_label": [{"label": 0, "items": 30, "agreement": 0.8, "mean_confidence": 0.7}],
        },
        "drift": None,
        "fingerprints": Fingerprints(
            model="starter",
            model_revision="sha256-1",
            prompt="p",
            labels=LABELS,
            asked=("claude-haiku-5-5",),
            versions={},
        ),
    }
    return RuleRecord(**(own | given))


def job_of(**given: Any) -> dict[str, Any]:
    """The job file of the run."""
    own = {
        "name": "tickets",
        "task": "classification",
        "input": "in.jsonl",
        "output": "out/",
        "model": "starter",
        "labels": dict.fromkeys(LABELS),
        "escalation": {"model": "claude-haiku-5-5"},
        "quality": {"target": 0.9},
    }
    return own | given


def make_run(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    job: Mapping[str, Any] | None = None,
    quality: RuleRecord | None = None,
    stopped_by: Stop | None = None,
    texts: Mapping[str, str] | None = None,
    findings: Sequence[FindingRow] | None = None,
    provider: str | None = "anthropic",
    run_id: str = "run_1",
) -> Store:
    """Commit what a complete run of these rows has; in parts of fifty rows."""
    store = Store(str(folder / run_id))
    job = job or job_of()
    parts = [pa.Table.from_pylist(list(rows[at : at + 50]), RESULTS) for at in range(0, len(rows), 50)]
    for number, part in enumerate(parts or [RESULTS.empty_table()]):
        store.create(layout.accepted_results(number), to_parquet(part))
    record = {
        "run_id": run_id,
        "created_at": BEGUN.isoformat(),
        "model": "starter",
        "model_revision": "sha256-1",
        "prompt_fingerprint": "cc4f2fdf6d436020",
        "input_fingerprint": "4f36958cdaae67aa",
        "input_files": 1,
        "input_bytes": 10,
        "price_book": "2026-11-20/16 rows",
        "versions": {"python": "3.11.7"},
    }
    store.create(layout.RUN, json.dumps(record).encode())
    store.create(layout.JOB, yaml.safe_dump(dict(job)).encode())
    store.create(layout.SUMMARY, _summary(parts, rows, store, quality, stopped_by, provider, job).encode())
    if texts is not None:
        store.create(layout.plan_part(0), to_arrow(_plan(rows, texts)))
    if findings is not None:
        _commit_review(store, rows, findings)
    store.create(layout.COMPLETE, b"{}")
    return store


def _summary(
    parts: Sequence[pa.Table],
    rows: Sequence[Mapping[str, Any]],
    store: Store,
    quality: RuleRecord | None,
    stopped_by: Stop | None,
    provider: str | None,
    job: Mapping[str, Any],
) -> str:
    closed: Summary = summarize([part.select(NEEDED_COLUMNS) for part in parts], tuple(job["labels"])).summary(
        run_id=store.root.rsplit("/", 1)[-1],
        results=store.uri(layout.RESULTS),
        planned_items=len(rows),
        provider=provider,
        stopped_by=stopped_by,
        engine_held_seconds=10.0,
        rule=quality,
    )
    return closed.model_dump_json(indent=2)


def _plan(rows: Sequence[Mapping[str, Any]], texts: Mapping[str, str]) -> pa.Table:
    named = ("item_id", "document_id", "document_uri", "document_offset")
    planned = [{name: each[name] for name in named} | {"text": texts.get(each["document_id"])} for each in rows]
    return pa.Table.from_pylist(planned, PLAN)


def finding_row(number: int, **given: Any) -> FindingRow:
    """A finding of the item of that number."""
    own: dict[str, Any] = {
        "path": "src/price.py",
        "line": 12,
        "end_line": 12,
        "severity": "high",
        "category": "off-by-one",
        "message": "The last one is left out.",
        "suggestion": None,
    }
    return FindingRow(
        item_id=row(number)["item_id"],
        document_id=f"doc-{number}",
        repository=None,
        finding=Finding(**(own | given)),
        end_column=None,
        fingerprint=f"{number}:{given.get('line', 12)}",
        raw_prob=None,
        confidence=None,
        route="escalated",
    )


def _commit_review(store: Store, rows: Sequence[Mapping[str, Any]], findings: Sequence[FindingRow]) -> None:
    store.create(layout.FINDINGS, to_arrow(findings_table(findings)))
    record = {
        "planned_items": len(rows),
        "reviewed_items": len(rows),
        "findings": len(findings),
        "dropped": 1,
        "missing": [],
    }
    store.create(layout.REVIEW_SUMMARY, json.dumps(record).encode())
