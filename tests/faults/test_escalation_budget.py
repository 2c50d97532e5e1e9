"""What a budget lets through, added up from the journal before every send: real processes, SDK and service."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pyarrow.dataset as dataset
import pytest

from flows.escalation.escalate import Escalated
from pipelines.escalation.journal import Journal
from pipelines.escalation.provider import BatchProvider, Request
from pipelines.routes import Stop
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.result_rows import result_rows
from tests.faults.escalation_case import KilledAt
from tests.faults.service_case import Prepare, client, escalation, in_process, of_route, routes

pytestmark = pytest.mark.processes


class Watched(KilledAt):
    """A provider before which, at every create, what is spent and held is added up anew from the journal."""

    def __init__(self, provider: BatchProvider, root: str, cap_usd: Decimal) -> None:
        super().__init__(provider, "never")
        self._root, self._cap_usd = root, cap_usd

    def create(self, requests: Sequence[Request], token: str) -> str:
        journal, committed = Journal(Store(self._root)), Decimal(0)
        for chunk in range(journal.chunks()):
            answers, reserved = journal.answers(chunk), journal.state(chunk).draft.reserved_cost_usd
            assert reserved is not None
            costs = [] if answers is None else answers["api_cost_usd"].to_pylist()
            assert None not in costs
            committed += reserved if answers is None else sum(filter(None, costs), Decimal(0))
        assert committed <= self._cap_usd
        return super().create(requests, token)


def escalate_under(cap_usd: Decimal, root: str, url: str) -> Escalated:
    return escalation(root, Watched(client(url), root, cap_usd)).run(wait=True)


def test_only_what_the_budget_covers_is_sent_and_the_rest_is_held_for_review(case: Prepare) -> None:
    budget = Decimal("0.0020")
    run = case(40, escalation={"max_output_tokens": 16}, budget_usd=str(budget))
    ended = in_process(escalate_under, budget, run.root, run.server.url)
    assert ended == Escalated(is_done=True, stop=Stop.BUDGET)
    rows = run.rows()
    answered, held = of_route(rows, "escalated"), of_route(rows, "review")
    assert len(answered) + len(held) == 40
    assert len(answered) >= 5
    assert len(held) >= 5
    assert rows == answered + held  # in the plan's order
    for row in held:
        assert row["reason"].startswith("budget")
        assert (row["answer"], row["api_cost_usd"], row["api_input_tokens"]) == (None, 0, None)
    run.check_costs()
    assert sum(run.billed().values()) <= budget
    assert set(run.billed()) == {row["item_id"] for row in answered}


def test_what_a_failed_attempt_cost_counts_against_the_budget_and_stays_in_its_row(case: Prepare) -> None:
    budget = Decimal("0.0005")  # more than the worst case of one request, less than that and what one really costs
    run = case(1, escalation={"max_output_tokens": 16}, budget_usd=str(budget))
    run.server.fault("process", "invalid_json", times=None)
    assert in_process(escalate_under, budget, run.root, run.server.url) == Escalated(is_done=True, stop=Stop.BUDGET)
    (row,) = run.rows()
    assert (row["route"], row["reason"].startswith("budget")) == ("review", True)
    assert row["api_cost_usd"] > 0
    assert row["api_input_tokens"] > 0
    assert row["model"] == "claude-haiku-4-5-20251001 (simulation)"
    run.check_costs()
    assert sum(run.billed().values()) <= budget


def test_a_row_that_the_provider_lost_is_not_forgotten_by_the_budget(case: Prepare) -> None:
    """Its cost is unknown; what was held for its batch stays held, and with it the cap."""
    budget = Decimal("0.0020")
    run = case(12, escalation={"max_output_tokens": 16}, budget_usd=str(budget))
    run.server.fault("process", "missing_row", times=None)
    assert run.escalate() == Escalated(is_done=True, stop=Stop.BUDGET)
    rows = run.rows()
    assert routes(rows) == {"review": 12}
    assert None in {row["api_cost_usd"] for row in rows}
    assert sum(run.billed().values()) <= budget


def test_what_is_left_of_a_budget_is_not_spent_in_ever_smaller_batches(case: Prepare) -> None:
    """Chunks of 40: once less than two requests can be held against it, the rest of the budget is left alone."""
    run = case(60, escalation={"max_output_tokens": 16, "chunk_items": 40}, budget_usd="0.0030")
    assert run.escalate() == Escalated(is_done=True, stop=Stop.BUDGET)
    assert min(run.sizes()) >= 2
    assert len(of_route(run.rows(), "escalated")) >= 5


def test_every_kind_of_part_is_written_as_arrow_where_the_job_asks_for_it(case: Prepare) -> None:
    limits = {"max_output_tokens": 16, "chunk_items": 40}
    run = case(60, escalation=limits, budget_usd="0.0030", results={"format": "arrow"})
    assert run.escalate() == Escalated(is_done=True, stop=Stop.BUDGET)
    parts = sorted(path.name for path in Path(run.root, layout.RESULTS).iterdir())
    assert parts[0] == "part-00000-escalated.arrow"
    assert {"part-00000-scored.arrow", "part-00000-unsent.arrow"} < set(parts)
    assert {Path(name).suffix for name in parts} == {".arrow"}
    rows = dataset.dataset(Path(run.root, layout.RESULTS), format="ipc").to_table().to_pylist()
    assert len({row["item_id"] for row in rows}) == 60
    assert rows == list(result_rows(run.root, list(rows[0])).rows())
    assert {row["route"] for row in rows} == {"escalated", "review"}


def test_a_budget_of_nothing_sends_nothing(case: Prepare) -> None:
    run = case(5, budget_usd="0")
    assert run.escalate() == Escalated(is_done=True, stop=Stop.BUDGET)
    assert routes(run.rows()) == {"review": 5}
    assert run.creates() == 0


def test_a_budget_that_is_large_enough_stops_nothing(case: Prepare) -> None:
    run = case(15, budget_usd="5")
    assert in_process(escalate_under, Decimal(5), run.root, run.server.url) == Escalated(is_done=True)
    assert routes(run.rows()) == {"escalated": 15}
