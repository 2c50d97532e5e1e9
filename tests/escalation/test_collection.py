"""Taking in an ended batch: every answer once, what each cost exactly, and what was odd about a batch."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipelines.costs.price_book import TokenUsage, price_book
from pipelines.escalation.collection import BatchReader, Collected
from pipelines.escalation.endings import label_reader
from pipelines.escalation.journal import Intent, Submitted
from pipelines.escalation.provider import ItemResult
from pipelines.escalation.requests import custom_id_of
from pipelines.store.schemas import COLLECTED
from tests.escalation.fakes import Clock, FakeProvider, draft_of

RUN = "run_tickets_1"
READ = label_reader(["billing", "outage"])
NOW = datetime(2026, 11, 22, 13, tzinfo=UTC)
SENT = Submitted(batch_id="msgbatch_7", submitted_at=NOW - timedelta(hours=1))
ITEMS = ("itm_3", "itm_1", "itm_2")
INTENT = Intent(chunk=2, send=0, token="t", created_at=SENT.submitted_at, body_sha256="", draft=draft_of(ITEMS))
USAGE = TokenUsage(input=1_200, cache_write_5m=40, cache_write_1h=30, cache_read=2_000, output=17)


class Results(FakeProvider):
    """Gives one list of rows for each read; the last one again and again."""

    def __init__(self, *reads: Sequence[ItemResult]) -> None:
        super().__init__(Clock())
        self.reads = list(reads)
        self.count = 0

    def results(self, batch_id: str) -> Iterator[ItemResult]:
        assert batch_id == "msgbatch_7"
        rows = self.reads[min(self.count, len(self.reads) - 1)]
        self.count += 1
        return iter(rows)


def answer(
    item_id: str, label: str = "billing", usage: TokenUsage | None = USAGE, model: str | None = None
) -> ItemResult:
    custom_id = custom_id_of(RUN, 2, item_id)
    model = model or "claude-haiku-5-5"
    return ItemResult(custom_id, "succeeded", f'{{"label": "{label}"}}', "end_turn", model, usage)


def ending(item_id: str, kind: str, error: str | None = None, message: str | None = None) -> ItemResult:
    custom_id = custom_id_of(RUN, 2, item_id)
    return ItemResult(custom_id, kind, error_type=error, error_message=message)  # type: ignore[arg-type]  # any kind


ALL = [answer(item_id) for item_id in ITEMS]


def read(provider: Results, sent: Submitted = SENT, intent: Intent = INTENT, **changes: Any) -> Collected:
    reader = BatchReader(RUN, provider, lambda _draft: lambda _item_id: READ, price_book(), **changes)
    collected = reader.collect(intent, sent, NOW)
    assert collected.answers.schema.equals(COLLECTED)
    return collected


def collect(provider: Results) -> pa.Table:
    return read(provider).answers


@given(st.permutations(ITEMS))
def test_rows_may_come_in_any_order(order: list[str]) -> None:
    labels = {"itm_1": "billing", "itm_2": "outage", "itm_3": "billing"}
    table = collect(Results([answer(item_id, labels[item_id]) for item_id in order]))
    assert table["item_id"].to_pylist() == list(ITEMS)
    assert table["label"].to_pylist() == ["billing", "billing", "outage"]
    assert set(table["settled_at"].to_pylist()) == {NOW}


def test_a_cut_off_read_is_read_again() -> None:
    provider = Results(ALL[:1], ALL[:2], ALL)
    assert len(collect(provider)) == 3
    assert provider.count == 3


def test_rows_that_stay_missing_are_to_be_asked_again_at_an_unknown_cost() -> None:
    provider = Results(ALL[:1])
    collected = read(provider)
    assert provider.count == 10
    assert (collected.missing_rows, collected.repeated_rows, collected.unknown_rows) == (2, 0, 0)
    first, *missing = collected.answers.to_pylist()
    assert (first["item_id"], first["ending"], first["label"]) == ("itm_3", "answered", "billing")
    for row in missing:
        assert (row["ending"], row["label"], row["reason"]) == ("again", None, "the provider gave no row for it")
        assert (row["api_cost_usd"], row["input_tokens"], row["model"]) == (None, None, "claude-haiku-5-5")


def test_rows_nobody_asked_for_are_counted_and_left_out() -> None:
    other_chunk = ItemResult(custom_id_of(RUN, 3, "itm_1"), "succeeded", "{}", "end_turn", None, USAGE)
    collected = read(Results([*ALL, answer("itm_4"), other_chunk]))
    assert (collected.missing_rows, collected.repeated_rows, collected.unknown_rows) == (0, 0, 2)
    assert collected.answers["item_id"].to_pylist() == list(ITEMS)


def test_a_row_that_comes_twice_is_taken_once() -> None:
    collected = read(Results([*ALL, answer("itm_3", "outage")]))
    assert (collected.missing_rows, collected.repeated_rows, collected.unknown_rows) == (0, 1, 0)
    assert collected.answers["item_id"].to_pylist() == list(ITEMS)
    assert collected.answers["label"].to_pylist() == ["billing"] * 3
    assert len(set(collected.answers["api_cost_usd"].to_pylist())) == 1


def test_costs_are_exact() -> None:
    """Half of 1,200 at 0.10, 40 at 0.125, 30 at 0.20, 2,000 at 0.01 and 17 at 0.50 USD per million."""
    (first, *_) = collect(Results(ALL)).to_pylist()
    assert first["api_cost_usd"] == Decimal("0.000079750000")
    assert {name: value for name, value in first.items() if name.endswith("_tokens")} == {
        "input_tokens": 1_200,
        "cache_write_5m_tokens": 40,
        "cache_write_1h_tokens": 30,
        "cache_read_tokens": 2_000,
        "output_tokens": 17,
    }


def test_the_model_that_answered_is_priced_not_the_one_asked() -> None:
    table = collect(Results([answer(item_id, model="claude-haiku-4-5-20251001") for item_id in ITEMS]))
    assert table["model"].to_pylist() == ["claude-haiku-4-5-20251001"] * 3
    assert table["api_cost_usd"].to_pylist()[0] == (
        (1_200 + 40 * Decimal("1.25") + 30 * 2 + 200 + 17 * 5) / 1_000_000 / 2
    )


def test_a_model_without_a_price_has_an_unknown_cost_and_keeps_its_answer() -> None:
    (row, *_) = collect(Results([answer("itm_3", model="claude-haiku-9"), *ALL[1:]])).to_pylist()
    assert (row["label"], row["api_cost_usd"], row["input_tokens"]) == ("billing", None, 1_200)


def test_an_answer_without_usage_has_an_unknown_cost() -> None:
    (row, *_) = collect(Results([answer("itm_3", usage=None), *ALL[1:]])).to_pylist()
    assert (row["label"], row["api_cost_usd"], row["input_tokens"]) == ("billing", None, None)


def test_requests_that_did_not_run_cost_nothing_and_say_why() -> None:
    rows = collect(
        Results(
            [
                ending("itm_3", "errored", "api_error", "internal"),
                ending("itm_1", "canceled"),
                ending("itm_2", "expired"),
            ]
        )
    ).to_pylist()
    assert [row["api_cost_usd"] for row in rows] == [0, 0, 0]
    assert [row["label"] for row in rows] == [None] * 3
    assert [row["reason"] for row in rows] == [
        "the provider failed (api_error)",
        "the request was canceled before Claude answered",
        "the request expired before Claude answered",
    ]
    assert {row["model"] for row in rows} == {"claude-haiku-5-5"}
    assert {row["input_tokens"] for row in rows} == {None}


def test_an_answer_that_is_no_label_is_billed_all_the_same() -> None:
    (row, *_) = collect(Results([answer("itm_3", label="refund"), *ALL[1:]])).to_pylist()
    assert row["label"] is None
    assert row["reason"] == "Claude's answer is none of the job's labels"
    assert row["api_cost_usd"] == Decimal("0.000079750000")


def test_the_price_of_the_day_it_was_sent_counts() -> None:
    early = Submitted(batch_id="msgbatch_7", submitted_at=datetime(2026, 10, 6, 23, tzinfo=UTC))
    table = read(Results(ALL), early).answers
    assert table["api_cost_usd"].to_pylist() == [None] * 3  # a day before the first known price


BALANCE = "Your credit balance is too low to access the Anthropic API."
REFUSED = ("errored", "invalid_request_error", "max_tokens: too many")


def test_a_batch_that_the_account_could_not_pay_decides_nothing() -> None:
    rows = [
        ALL[0],
        ending("itm_1", "errored", "invalid_request_error", BALANCE),
        ending("itm_2", "errored", "api_error"),
    ]
    collected = read(Results(rows))
    assert collected.fault == f"invalid_request_error: {BALANCE}"
    assert collected.answers["ending"].to_pylist() == ["answered", "account", "account"]
    assert collected.answers["api_cost_usd"].to_pylist()[1:] == [0, 0]


def test_one_and_the_same_refusal_of_every_request_is_no_items_doing() -> None:
    collected = read(Results([ending(item_id, *REFUSED) for item_id in ITEMS]))
    assert collected.fault == "invalid_request_error: max_tokens: too many"
    assert set(collected.answers["ending"].to_pylist()) == {"account"}


def test_a_refusal_of_some_requests_is_theirs_alone() -> None:
    collected = read(Results([ALL[0], *(ending(item_id, *REFUSED) for item_id in ITEMS[1:])]))
    assert collected.fault is None
    assert collected.answers["ending"].to_pylist() == ["answered", "next_tier", "next_tier"]


def test_a_refusal_of_a_batch_of_one_is_that_items_own() -> None:
    alone = INTENT.model_copy(update={"draft": draft_of(("itm_1",))})
    collected = read(Results([ending("itm_1", *REFUSED)]), intent=alone)
    assert (collected.fault, collected.answers["ending"].to_pylist()) == (None, ["next_tier"])


def test_a_provider_that_failed_everywhere_is_asked_again_not_blamed_on_the_account() -> None:
    collected = read(Results([ending(item_id, "errored", "overloaded_error", "Overloaded") for item_id in ITEMS]))
    assert collected.fault is None
    assert set(collected.answers["ending"].to_pylist()) == {"again"}


def test_labels_that_a_tier_passes_on_are_billed_and_go_on() -> None:
    rows = [answer("itm_3", "outage"), *ALL[1:]]
    passed_on = (frozenset({"outage"}), frozenset[str]())
    row, other, _ = read(Results(rows), passed_on=passed_on).answers.to_pylist()
    assert (row["ending"], row["label"]) == ("next_tier", None)
    assert row["reason"] == "answered 'outage', a pass_on label"
    assert row["api_cost_usd"] == Decimal("0.000079750000")
    assert other["ending"] == "answered"
    second = INTENT.model_copy(update={"draft": draft_of(ITEMS, tier=1)})
    assert read(Results(rows), intent=second, passed_on=passed_on).answers["label"].to_pylist()[0] == "outage"
