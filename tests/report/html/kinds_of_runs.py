"""One run of each kind that a page must be able to tell of."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from pipelines.routes import Stop
from pipelines.store.objects import Store
from tests.report.html.made_run import CLAUDE_USD, LABELS, finding_row, job_of, make_run, row, rule

SHOWN_CODE = '@file "src/price.py" modified\n@@\n11 |def total(items):\n12+|    return sum(items[1:])\n13 |\n'
_DRIFT = {"since": "run_0", "label_mix": 0.2, "confidence": 0.15, "agreement": -0.08}


def kept(folder: Path) -> Store:
    rows = [row(n, "escalated" if n % 3 == 0 else "accepted", gold_label=LABELS[n % 3]) for n in range(120)]
    return make_run(folder, rows, quality=rule(items=120, drift=_DRIFT), texts={"doc-1": "the text of a document"})


def empty(folder: Path) -> Store:
    return make_run(folder, [])


def stopped(folder: Path) -> Store:
    rows = [row(n, "accepted" if n % 2 else "review", reason=None if n % 2 else "budget") for n in range(80)]
    return make_run(folder, rows, quality=rule(None, stopped_by=Stop.BUDGET), stopped_by=Stop.BUDGET)


def failing(folder: Path) -> Store:
    rows = [row(n, "failed" if n % 3 else "accepted", reason="is not UTF-8" if n % 3 else None) for n in range(60)]
    return make_run(folder, rows, job=job_of(quality={"raw_threshold": 0.8}))


def mixed(folder: Path) -> Store:
    routes = ["accepted", "escalated", "review", "withheld", "failed"]
    why = {"review": "Claude refused", "withheld": "contains_pii == true", "failed": "is not UTF-8"}
    rows = [row(n, routes[n % 5] if n % 4 == 0 else "accepted") for n in range(200)]
    rows = [each | {"reason": why.get(each["route"])} for each in rows]
    policy = {"never_escalate": "contains_pii == true"}
    return make_run(folder, rows, job=job_of(policy=policy, quality={"raw_threshold": 0.8}))


def unpriced(folder: Path) -> Store:
    unknown: dict[str, Any] = {"gpu_cost_usd": None, "cost_usd": None}
    rows = [row(n, "escalated" if n % 4 == 0 else "accepted", **unknown) for n in range(40)]
    return make_run(folder, rows, quality=rule(items=40))


def without_engine(folder: Path) -> Store:
    none: dict[str, Any] = dict.fromkeys(
        ("engine_answer", "raw_prob", "input_tokens", "cached_tokens", "output_tokens", "scored_at")
    )
    free = {"gpu_seconds": 0.0, "gpu_cost_usd": Decimal(0), "cost_usd": CLAUDE_USD}
    rows = [row(n, "escalated", **none) | free for n in range(30)]
    return make_run(folder, rows, job=job_of(model="off", quality=None, budget_usd="5"))


def review(folder: Path) -> Store:
    rows = [row(n, "escalated", answer="faulty", engine_answer="clean", task="code_review") for n in range(20)]
    findings = [finding_row(n, severity="critical" if n % 5 == 0 else "medium") for n in range(0, 20, 2)]
    job = {
        name: value for name, value in job_of(task="code_review", model="review-starter").items() if name != "labels"
    }
    job["labels"] = {"faulty": None, "clean": None}
    texts = {f"doc-{n}": SHOWN_CODE for n in range(20)}
    return make_run(folder, rows, job=job, findings=findings, texts=texts)


KINDS = {make.__name__: make for make in (kept, empty, stopped, failing, mixed, unpriced, without_engine, review)}
