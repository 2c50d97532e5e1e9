"""Shards scored over HTTP: every item has its row, nothing is paid twice, and what is held back is not sent."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from infra.local.first_tier.answers import MASS, label_shares
from infra.local.first_tier.service import Fault, FirstTierService
from pipelines.errors import EngineError
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import PLAN, from_arrow, to_arrow
from pipelines.tasks.classification import DEFAULT_INSTRUCTIONS, local_prompt
from tests.workers.endpoint.asked import LABELS, client_of, endpoint, service_of
from workers.endpoint.labels import LabelScorer
from workers.endpoint.paid_calls import PaidCalls
from workers.endpoint.pool import EndpointPool
from workers.endpoint.probe import probe
from workers.endpoint.served import resolved
from workers.endpoint.ways import AskedOverHttp
from workers.engines.feed import ShardFeed

TEXTS = [f"document number {number}" for number in range(150)]


class Case:
    """A run of one shard, and the service that is asked about it."""

    def __init__(self, folder: Path, service: FirstTierService, texts: Sequence[str] = TEXTS, **changes: Any) -> None:
        self.store, self.service, self.texts = Store(str(folder / "run")), service, texts
        self.asked = endpoint(**changes)
        client = client_of(service, self.asked)
        self.served = probe(self.asked, LABELS, DEFAULT_INSTRUCTIONS, client, date(2026, 11, 27))
        self.told: list[str] = []

    def plan(self, withheld: Sequence[int] = ()) -> None:
        rows = [
            {
                "item_id": f"itm_{number}",
                "document_id": str(number),
                "document_uri": "in.jsonl",
                "document_offset": number,
                "text": text,
                "tokens": [],
                "withheld": "policy.never_escalate" if number in withheld else None,
            }
            for number, text in enumerate(self.texts)
        ]
        self.store.create(layout.plan_part(0), to_arrow(pa.Table.from_pylist(rows, schema=PLAN)))

    def scorer(self) -> LabelScorer:
        codes = self.served.codes or ("", "", "")
        labels = tuple(
            type(label)(code, label.name, label.description) for label, code in zip(LABELS, codes, strict=True)
        )
        asked = AskedOverHttp(labels, DEFAULT_INSTRUCTIONS, local_prompt(labels, DEFAULT_INSTRUCTIONS))
        client = client_of(self.service, self.asked)
        scorer = LabelScorer(self.store.root, resolved(self.asked, self.served), asked, client)
        scorer.tell = self.told.append
        return scorer

    def score(self) -> pa.Table:
        scorer = self.scorer()
        try:
            scorer.score(0)
        finally:
            scorer.close()
        return self.scored()

    def scored(self) -> pa.Table:
        return from_arrow(self.store.read(layout.predictions_part(0)))

    def times_processed(self) -> list[int]:
        return [self.service.was_processed(text) for text in self.texts]


def predictions(part: pa.Table) -> list[dict[str, Any] | None]:
    found: list[dict[str, Any] | None] = part["prediction"].to_pylist()
    return found


def failures(part: pa.Table) -> list[str | None]:
    return [each and each["failure"] for each in predictions(part)]


@pytest.mark.parametrize("shape", ["systemone", "openai", "ollama"])
@pytest.mark.parametrize("where", ["own", "hosted"])
def test_every_item_is_answered_in_the_plans_order(tmp_path: Path, shape: Any, where: str) -> None:
    case = Case(tmp_path, service_of(shape), where=where)
    case.plan()
    part = case.score()
    assert part["item_id"].to_pylist() == [f"itm_{number}" for number in range(len(TEXTS))]
    for text, found in zip(TEXTS, predictions(part), strict=True):
        assert found and found["failure"] is None
        expected = [share * MASS for share in label_shares(text, 3)]
        assert [math.exp(value) for value in found["label_logprobs"]] == pytest.approx(expected, rel=1e-5)
        assert found["label_mass"] == pytest.approx(MASS)
        assert (found["input_tokens"], found["output_tokens"]) == (40 + len(text) // 4, 1)
    assert set(case.times_processed()) == {1}


def test_requests_under_way_are_bounded(tmp_path: Path) -> None:
    case = Case(tmp_path, service_of("systemone"), TEXTS[:30], requests_at_once=3)
    case.service.faults = [Fault("slow", seconds=0.002)]
    case.plan()
    case.score()
    assert 2 <= case.service.most_at_once <= 3


def test_what_is_withheld_is_not_sent_to_a_hosted_server_and_is_to_ones_own(tmp_path: Path) -> None:
    for where, sent in (("hosted", 0), ("own", 1)):
        case = Case(tmp_path / where, service_of("openai"), TEXTS[:4], where=where)
        case.plan(withheld=[1, 3])
        part = case.score()
        assert case.times_processed() == [1, sent, 1, sent]
        assert [found is not None for found in predictions(part)] == [True, bool(sent), True, bool(sent)]


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault("no_code", text_contains="number 7"), "none of the labels' codes"),
        (Fault("no_logprobs", text_contains="number 7"), "holds no log-probabilities"),
        (Fault("status", status=400, text_contains="number 7"), "refuses the document: HTTP 400"),
        (Fault("nonsense", text_contains="number 7"), "refuses the document: HTTP 200"),
    ],
)
@pytest.mark.parametrize("where", ["own", "hosted"])
def test_an_item_without_an_answer_says_why_and_costs_what_was_counted(
    tmp_path: Path, fault: Fault, why: str, where: str
) -> None:
    case = Case(tmp_path, service_of("openai"), TEXTS[:20], where=where)
    case.service.faults = [fault]
    case.plan()
    part = case.score()
    told = failures(part)
    assert [number for number, failure in enumerate(told) if failure] == [7]
    assert why in str(told[7])
    found = predictions(part)[7]
    assert found and found["label_mass"] is None
    # What was refused cost nothing; of an answer that cannot be read, nobody knows.
    assert found["input_tokens"] == {"status": 0, "nonsense": None}.get(fault.kind, 40 + len(TEXTS[7]) // 4)


def test_a_document_on_which_ones_own_server_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    case = Case(tmp_path, service_of("openai"), TEXTS[:20])
    case.service.faults = [Fault("status", status=500, text_contains="number 7")]
    case.plan()
    told = failures(case.score())
    assert told[7] == "the first tier fails on the document: HTTP 500, 3 times"
    assert told.count(None) == 19


def test_a_call_that_may_have_been_paid_is_not_made_again_and_its_cost_is_unknown(tmp_path: Path) -> None:
    case = Case(tmp_path, service_of("openai"), TEXTS[:20], where="hosted")
    case.service.faults = [Fault("break", text_contains="number 7")]
    case.plan()
    part = case.score()
    assert "may have been paid, and is not asked again" in str(failures(part)[7])
    assert predictions(part)[7]["input_tokens"] is None  # type: ignore[index]  # object
    assert set(case.times_processed()) == {1}
    case.store.create("again", b"")
    assert case.score().equals(part) and set(case.times_processed()) == {1}


def test_a_killed_process_leaves_calls_that_may_have_been_paid_and_nobody_makes_them_again(tmp_path: Path) -> None:
    case = Case(tmp_path, service_of("openai"), TEXTS[:100], where="hosted", price={"input": "0.10"})
    case.plan()
    scorer = case.scorer()

    def killed(*_: object) -> None:
        raise SystemExit

    scorer._journal.answer = killed  # type: ignore[method-assign]  # dies between the calls and their record
    with pytest.raises(SystemExit):
        scorer.score(0)
    scorer.close()
    assert case.times_processed() == [1] * 64 + [0] * 36
    part = case.score()
    assert case.times_processed() == [1] * 100
    told = failures(part)
    assert [failure is None for failure in told] == [False] * 64 + [True] * 36
    assert "was killed before its answer was kept" in str(told[0])
    (words,) = case.told
    assert "64 calls about shard 0 may have been paid (up to 0.00" in words


def test_a_stopped_process_keeps_what_was_answered_and_the_next_goes_on_there(tmp_path: Path) -> None:
    case = Case(tmp_path, service_of("openai"), TEXTS[:100], where="hosted", requests_at_once=1)
    case.plan()
    scorer = case.scorer()
    case.service.faults = [Fault("slow", text_contains="number 80")]
    case.service.sleep = lambda _: scorer._stopping.set()  # a person interrupts the run here
    with pytest.raises(EngineError, match="the run was stopped"):
        scorer.score(0)
    scorer.close()
    assert case.times_processed() == [1] * 81 + [0] * 19
    case.service.faults = []
    part = case.score()
    assert set(case.times_processed()) == {1}
    assert failures(part) == [None] * 100 and case.told == []


def test_a_server_that_answers_nobody_any_more_stops_the_run_before_all_is_spent(tmp_path: Path) -> None:
    case = Case(tmp_path, service_of("openai"), where="hosted", requests_at_once=2)
    case.service.faults = [Fault("status", status=500)]
    case.plan()
    with pytest.raises(EngineError, match="has given no answer to 20 calls or fewer in a row"):
        case.score()
    known = PaidCalls(case.store).known(0)
    assert 5 <= sum(map(len, known.answered)) <= 8 and known.lost == []
    case.service.faults = []
    part = case.score()
    assert sum(failure is not None for failure in failures(part)) <= 8
    assert case.times_processed().count(1) == len(TEXTS) - sum(map(len, known.answered))


def test_ones_own_server_that_stays_away_stops_the_run_and_all_is_asked_again(tmp_path: Path) -> None:
    case = Case(tmp_path, service_of("systemone"), TEXTS[:30])
    case.service.faults = [Fault("status", status=503, text_contains="number 2")]
    case.plan()
    with pytest.raises(EngineError, match=r"does not answer \(HTTP 503"):
        case.score()
    assert not case.store.exists(layout.predictions_part(0))
    case.service.faults = []
    assert failures(case.score()) == [None] * 30


@pytest.mark.parametrize("where", ["own", "hosted"])
def test_answers_of_another_model_are_no_part_of_the_run(tmp_path: Path, where: str) -> None:
    case = Case(tmp_path, service_of("openai"), TEXTS[:30], where=where)
    case.service.faults = [Fault("other_model", text_contains="number 3")]
    case.plan()
    with pytest.raises(EngineError, match="is 'another-model' by now, and was 'stand-in' when the run was begun"):
        case.score()
    assert not case.store.exists(layout.predictions_part(0))


@pytest.mark.parametrize("shape", ["openai", "ollama", "systemone"])
def test_a_text_that_is_too_long_is_asked_about_shorter_and_the_row_says_so(tmp_path: Path, shape: Any) -> None:
    long = "word " * 20_000
    case = Case(tmp_path, service_of(shape), ["short", long])
    case.plan()
    short, found = predictions(case.score())
    assert short and short["note"] is None
    assert found and found["failure"] is None
    assert (
        str(found["note"]).startswith("cut: the first tier read the first ")
        and "of 100,000 characters" in found["note"]
    )
    assert case.service.was_processed("short") == 1 and case.service.was_processed(long) == 0


def test_the_pool_takes_shards_as_they_are_planned_and_ends_with_the_feed(tmp_path: Path) -> None:
    case = Case(tmp_path, service_of("systemone"), TEXTS[:10])
    case.plan()
    feed, done = ShardFeed(), []
    pool = EndpointPool(case.scorer(), client_of(case.service, case.asked), "a first tier")
    planner = threading.Timer(0.05, lambda: (feed.put(0), feed.finish()))
    planner.start()
    pool.score(feed, lambda report: done.append((report.shard, report.items)), case.told.append)
    planner.join()
    pool.close()
    assert done == [(0, 10)]
