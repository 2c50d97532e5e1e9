"""A run whose first tier is a server: its rows, its books, its identity, and what never leaves for a hosted one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from flows.console.views.status import status_lines
from flows.deciding.adapting import adapt
from flows.deciding.item_by_item import decide_item_by_item
from flows.deciding.population import read_population
from flows.preflight.endpoint_check import check_endpoint
from flows.preflight.surroundings import check_surroundings
from flows.run import Run, open_run, prepare_run
from flows.stages import planning, publishing, scoring
from flows.stages.copies import publish_copies
from flows.stages.over_http import first_tier_of
from infra.local.first_tier.__main__ import server_of
from infra.local.first_tier.answers import label_shares
from infra.local.first_tier.service import Fault, FirstTierService
from pipelines.costs.price_book import price_book
from pipelines.costs.run_figures import FiguresTally
from pipelines.errors import EngineError, JobError
from pipelines.job.endpoint import ModelEndpoint
from pipelines.job.job import Job
from pipelines.report.html.page import run_page
from pipelines.report.numbers import short_usd
from pipelines.report.summary import NEEDED_COLUMNS, Summary, summarize
from pipelines.status.looking import RunLooker
from pipelines.status.metrics import known_values
from pipelines.store import layout
from pipelines.store.schemas import RESULTS, read_part
from tests.faults.escalation_case import quiet

pytestmark = pytest.mark.processes  # a server, in a thread

LABELS = {"billing": "a charge", "outage": None, "other": None}
PRICE = {"input": "0.123457", "output": "0.4", "cache_read": "0.0123457"}
Begin = Callable[..., Run]


@pytest.fixture
def service() -> FirstTierService:
    return FirstTierService("openai")


@pytest.fixture
def address(service: FirstTierService) -> Iterator[str]:
    server = server_of(service)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    serving.join()
    server.server_close()


@pytest.fixture
def begin(tmp_path: Path, address: str) -> Begin:
    def make(rows: list[dict[str, Any]], model: dict[str, Any], run_id: str | None = "run", **changes: Any) -> Run:
        (tmp_path / "in.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        fixed = {
            "name": "over-http",
            "task": "classification",
            "input": str(tmp_path / "in.jsonl"),
            "output": str(tmp_path),
            "model": {"endpoint": address, "name": "stand-in", "price": PRICE} | model,
            "labels": LABELS,
            "quality": {"raw_threshold": 0.7},
            "escalation": "off",
        }
        job = Job.model_validate(fixed | changes)
        return prepare_run(job, check_surroundings(job), run_id)

    return make


def rows(count: int, **values: Any) -> list[dict[str, Any]]:
    return [{"id": str(number), "text": f"document number {number}"} | values for number in range(count)]


def scored(run: Run) -> planning.PlanSummary:
    planned = scoring.PlannedShards(run)
    plan = planning.plan_documents(run, quiet(), planned.add)
    planned.finish(plan)
    pool = scoring.start_engines(run)
    try:
        scoring.score_shards(run, planned, pool, quiet())
    finally:
        pool.close()
    scoring.settle_unscored(run, plan)
    return plan


def published(run: Run) -> pa.Table:
    plan = scored(run)
    assert run.rule
    decide_item_by_item(run, plan, run.rule)
    publishing.publish_scored(run, plan, quiet())
    publish_copies(run, plan, quiet())
    return pa.concat_tables(read_part(run.store.read(key), RESULTS.names) for key in run.store.list(layout.RESULTS))


def summary_of(run: Run, table: pa.Table) -> Summary:
    return summarize([table.select(NEEDED_COLUMNS)], tuple(run.job.labels)).summary(
        run_id="run",
        results="results",
        planned_items=len(table),
        provider=None,
        stopped_by=None,
        engine_held_seconds=0.0,
        first_tier=first_tier_of(run),
    )


def test_rows_summary_and_figures_cost_the_same_to_the_last_digit(begin: Begin) -> None:
    run = begin(rows(40), {"where": "own"})
    table = published(run)
    listed = table.to_pylist()
    for row in listed:
        shares = label_shares(f"document number {row['document_id']}", 3)
        assert row["engine_answer"] == list(LABELS)[shares.index(max(shares))]
        assert row["raw_prob"] == pytest.approx(max(shares), rel=1e-5)
        read = row["input_tokens"] - 16
        cost = (read * Decimal("0.123457") + 16 * Decimal("0.0123457") + Decimal("0.4")) / 1_000_000
        assert row["first_tier_cost_usd"] == row["cost_usd"] == cost.quantize(Decimal("1e-12"))
        assert (row["gpu_seconds"], row["gpu_cost_usd"]) == (None, None)
    summary = summary_of(run, table)
    total = sum(row["cost_usd"] for row in listed)
    assert (summary.first_tier_cost_usd, summary.cost_usd, summary.gpu_cost_usd) == (total, total, None)
    assert sum(route.first_tier_cost_usd or 0 for route in summary.routes.values()) == total
    assert not any("cost" in warning for warning in summary.warnings)
    tally = FiguresTally(price_book())
    tally.add(table)
    figures = tally.figures(
        held_seconds=0, device_hour_usd=None, is_us_inference=False, is_simulated=False, is_over_http=True
    )
    assert (figures.first_tier_cost_usd, figures.cost_usd, figures.gpu_cost_usd) == (total, total, None)
    run.store.create(layout.SUMMARY, summary.model_dump_json().encode())
    page = run_page(run.store).decode()
    assert "answered first, over HTTP" in page
    assert "was sent to stand-in at" in page and "Nothing was sent to Claude" in page


def test_a_copy_costs_nothing_in_the_column_of_the_first_tier(begin: Begin, service: FirstTierService) -> None:
    run = begin([*rows(3), {"id": "again", "text": "document number 1"}], {"where": "own"})
    by_id = {row["document_id"]: row for row in published(run).to_pylist()}
    copy, original = by_id["again"], by_id["1"]
    assert (copy["duplicate_of"], copy["answer"]) == (original["item_id"], original["answer"])
    assert (copy["first_tier_cost_usd"], copy["cost_usd"], copy["gpu_cost_usd"], copy["gpu_seconds"]) == (
        0,
        0,
        None,
        None,
    )
    assert service.was_processed("document number 1") == 1


@pytest.mark.parametrize("model", [{"where": "own"}, {"where": "own", "price": None}])
def test_a_look_at_a_run_under_way_says_what_its_first_tier_has_taken(begin: Begin, model: dict[str, Any]) -> None:
    run = begin([*rows(6), {"id": "empty", "text": ""}, {"id": "copy", "text": "document number 1"}], model)
    scored(run)
    status = RunLooker(run.store).look(True)
    table = published(run)
    taken = None if "price" in model else sum(table["first_tier_cost_usd"].to_pylist(), Decimal(0))
    assert (status.first_tier_cost_usd, status.engine_cost_usd, status.cost_usd) == (taken, None, taken)
    assert f"first tier {short_usd(taken)}" in "\n".join(status_lines(status))
    metrics = {(metric.name, label): value for metric, label, value in known_values(status)}
    assert metrics.get(("sluice_run_cost_usd", "first_tier")) == (None if taken is None else float(taken))


def test_no_adapter_is_trained_of_what_a_server_answered(begin: Begin, tmp_path: Path) -> None:
    run = begin(rows(6), {"where": "own"})
    published(run)
    run.store.create(layout.COMPLETE, b"{}")
    with pytest.raises(JobError, match=r"run: a server answered first \(model\.endpoint\)"):
        adapt([run.store.root], str(tmp_path / "adapter"), ["gold"], 0.9, 0, quiet())


def test_without_a_price_what_it_costs_is_unknown_and_said_to_be(begin: Begin) -> None:
    run = begin(rows(3), {"where": "own", "price": None})
    table = published(run)
    assert table["first_tier_cost_usd"].null_count == table["cost_usd"].null_count == 3
    summary = summary_of(run, table)
    assert summary.cost_usd is None
    assert any("what the first tier costs is unknown: set model.price" in warning for warning in summary.warnings)


def test_a_hosted_first_tier_is_never_sent_what_the_policy_holds_back(begin: Begin, service: FirstTierService) -> None:
    documents = [*rows(4, contains_pii=False), {"id": "secret", "text": "my secret words", "contains_pii": True}]
    documents += [{"id": "unclear", "text": "more secret words"}]
    policy = {"never_escalate": "contains_pii == true"}
    run = begin(documents, {"where": "hosted"}, policy=policy)
    table = published(run)
    by_id = {row["document_id"]: row for row in table.to_pylist()}
    for name in ("secret", "unclear"):
        assert (by_id[name]["route"], by_id[name]["engine_answer"]) == ("withheld", None)
        assert "never_escalate" in by_id[name]["reason"]
        assert by_id[name]["cost_usd"] == 0
    assert service.was_processed("my secret words") == service.was_processed("more secret words") == 0
    assert service.was_processed("document number 0") == 1
    own = begin(documents, {"where": "own"}, run_id="own", policy=policy)
    routes = {row["document_id"]: row["route"] for row in published(own).to_pylist()}
    assert routes["secret"] != "withheld" and service.was_processed("my secret words") == 1


def test_under_a_target_what_is_withheld_is_in_no_population(begin: Begin) -> None:
    documents = [*rows(4, is_private=False, gold="other"), {"id": "x", "text": "hidden", "is_private": True}]
    claude = {"model": "claude-haiku-5-5", "provider": "simulation"}
    run = begin(
        documents,
        {"where": "hosted"},
        policy={"never_escalate": "is_private == true"},
        quality={"target": 0.9},
        escalation=claude,
        evaluation={"gold_column": "gold"},
    )
    population = read_population(run, scored(run))
    assert (len(population.scored), len(population.withheld.answer)) == (4, 0)


def test_an_item_without_an_answer_is_held_for_a_person_with_the_reason(
    begin: Begin, service: FirstTierService
) -> None:
    run = begin(rows(5), {"where": "own"})
    service.faults = [Fault("no_code", text_contains="number 3")]
    row = published(run).to_pylist()[3]
    assert (row["route"], row["answer"], row["engine_answer"]) == ("review", None, None)
    assert "none of the labels' codes" in row["reason"]
    assert (row["raw_prob"], row["label_mass"], row["confidence"]) == (None, None, None)
    assert row["cost_usd"] > 0  # its tokens were read all the same


def test_shares_without_a_mass_leave_the_column_empty_and_still_decide(
    tmp_path: Path, begin: Begin, service: Any
) -> None:
    service.shape = "systemone-shares"
    run = begin(rows(10), {"where": "own"})
    table = published(run).to_pylist()
    assert {row["label_mass"] for row in table} == {None}
    assert {(row["route"] == "accepted") == (row["raw_prob"] >= 0.7) for row in table} == {True}


def test_the_probe_is_in_the_record_and_going_on_asks_nobody(begin: Begin, service: FirstTierService) -> None:
    run = begin(rows(3), {"where": "hosted"})
    record = json.loads(run.store.read(layout.RUN))
    assert record["first_tier"]["way"] == "top_logprobs"
    assert record["model_revision"].startswith("top_logprobs-20")
    before = service.processed.total()
    assert open_run(run.store.root).model.revision == run.model.revision
    assert begin(rows(3), {"where": "hosted"}).model.revision == run.model.revision  # the same --run-id
    assert service.processed.total() == before


def test_a_dropped_job_file_may_not_name_a_server_of_its_own(begin: Begin) -> None:
    from flows.drop_folder.job_rules import JobRules

    default = begin(rows(1), {"where": "own"}).job
    rules = JobRules(default)
    other = default.model_copy(update={"model": ModelEndpoint(endpoint="http://evil", name="x", where="own")})
    assert [*rules.problems(default)] == []
    (problem,) = rules.problems(other)
    assert problem.startswith("model.endpoint: is not allowed in a job file beside dropped files")


def test_doctor_tells_of_a_server_that_is_not_there_or_has_another_model(address: str) -> None:
    assert check_endpoint(ModelEndpoint(endpoint=address, name="stand-in", where="own")).state == "ok"
    missing = check_endpoint(ModelEndpoint(endpoint=address, name="other", where="own"))
    assert (missing.state, missing.what) == ("wrong", f"{address} has no model 'other'; it has stand-in")
    gone = check_endpoint(ModelEndpoint(endpoint="http://127.0.0.1:1", name="x", where="own"))
    assert gone.state == "wrong" and "does not answer" in gone.what


def test_a_run_is_not_begun_where_nobody_answers_or_nothing_is_told(begin: Begin, service: FirstTierService) -> None:
    with pytest.raises(EngineError, match=r"does not answer \(ConnectError"):
        begin(rows(1), {"where": "own", "endpoint": "http://127.0.0.1:1"})
    service.faults = [Fault("round")]
    with pytest.raises(JobError, match="rounds probabilities to 2 decimals"):
        begin(rows(1), {"where": "own"})
