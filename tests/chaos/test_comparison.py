"""What chaos would not see, it could not report: each thing that can be wrong with a dataset is found and counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from pipelines.costs.price_book import TokenUsage, price_book
from tests.chaos.comparison import compare, read_ending
from tests.chaos.documents import DOCUMENTS
from tests.faults.escalation_case import MODEL

Rows = list[dict[str, Any]]
Billing = dict[str, dict[str, int]]
MONEY = ("api_cost_usd", "gpu_cost_usd", "cost_usd")
COST = price_book().batch_cost(MODEL, TokenUsage(100, 0, 0, 0, 10), datetime.now(UTC))
assert COST


def rows_of_a_run() -> Rows:
    """Every second one escalated, and billed."""
    return [
        {
            "item_id": f"itm_{number:03}",
            "document_id": f"d{number}",
            "answer": "billing",
            "engine_answer": "refund",
            "route": "escalated" if number % 2 else "accepted",
            "api_cost_usd": COST if number % 2 else Decimal(0),
            "gpu_cost_usd": Decimal("0.000001"),
            "cost_usd": Decimal("0.000001") + (COST if number % 2 else 0),
        }
        for number in range(DOCUMENTS)
    ]


def billing_of(rows: Rows) -> Billing:
    usage = {
        "count": 1,
        "input_tokens": 100,
        "output_tokens": 10,
        "ephemeral_5m_input_tokens": 0,
        "ephemeral_1h_input_tokens": 0,
        "cache_read_input_tokens": 0,
    }
    return {f"run-0-{row['item_id']}": dict(usage) for row in rows if row["route"] == "escalated"}


def summary_of(rows: Rows) -> dict[str, Any]:
    routes = Counter(row["route"] for row in rows)
    sums = {name: str(sum(row[name] for row in rows)) for name in MONEY}
    return {"items": len(rows), "routes": {route: {"items": items} for route, items in routes.items()}, **sums}


def write_run(root: Path, rows: Rows, summary: dict[str, Any]) -> Path:
    (root / "results").mkdir(parents=True)
    money = [pa.field(name, pa.decimal128(20, 12)) for name in MONEY]
    texts = [pa.field(name, pa.string()) for name in rows[0] if name not in MONEY]
    parquet.write_table(pa.Table.from_pylist(rows, schema=pa.schema([*texts, *money])), root / "results/part.parquet")
    (root / "summary.json").write_text(json.dumps(summary))
    return root


def keep(rows: Rows, billing: Billing, summary: dict[str, Any]) -> None:
    """Leave it as it is."""


def lose(rows: Rows, billing: Billing, summary: dict[str, Any]) -> None:
    del rows[4]
    summary |= summary_of(rows)


def double(rows: Rows, billing: Billing, summary: dict[str, Any]) -> None:
    rows.append(rows[4])
    summary |= summary_of(rows)


def answer_otherwise(rows: Rows, billing: Billing, summary: dict[str, Any]) -> None:
    rows[5]["answer"] = "refund"


def bill_again(rows: Rows, billing: Billing, summary: dict[str, Any]) -> None:
    billing["run-1-itm_005"] = billing["run-0-itm_005"]


def forget_a_cost(rows: Rows, billing: Billing, summary: dict[str, Any]) -> None:
    rows[5]["cost_usd"] -= rows[5]["api_cost_usd"]
    rows[5]["api_cost_usd"] = Decimal(0)
    summary |= summary_of(rows)


def miscount(rows: Rows, billing: Billing, summary: dict[str, Any]) -> None:
    summary["cost_usd"] = str(Decimal(summary["cost_usd"]) + Decimal("0.000000000001"))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (keep, {}),
        (lose, {"lost": 1}),
        (double, {"duplicated": 1}),
        (answer_otherwise, {"different": 1}),
        (bill_again, {"billed twice": 1, "cost": 1}),  # the row knows of one
        (forget_a_cost, {"cost": 1}),
        (miscount, {"cost": 1}),
    ],
)
def test_what_is_wrong_is_counted(
    tmp_path: Path, change: Callable[[Rows, Billing, dict[str, Any]], None], found: dict[str, int]
) -> None:
    rows = rows_of_a_run()
    billing, summary = billing_of(rows), summary_of(rows)
    undisturbed = read_ending(write_run(tmp_path / "undisturbed", rows, summary), billing)
    change(rows, billing, summary)
    ending = read_ending(write_run(tmp_path / "disturbed", rows, summary), billing)
    assert compare(ending, undisturbed) == Counter(found)
