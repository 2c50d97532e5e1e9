"""Taking in an ended batch: every answer once, what each cost exactly, and nothing of a batch that is not whole."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.costs.price_book import TokenUsage, price_book
from pipelines.errors import ProviderError
from pipelines.escalation.collection import collect_answers
from pipelines.escalation.journal import Intent, Submitted
from pipelines.escalation.provider import ItemResult
from pipelines.escalation.requests import custom_id_of
from pipelines.store.schemas import COLLECTED
from tests.escalation.fakes import Clock, FakeProvider

RUN = "run_tickets_1"
NOW = datetime(2026, 11, 22, 13, tzinfo=UTC)
SENT = Submitted(batch_id="msgbatch_7", submitted_at=NOW - timedelta(hours=1))
ITEMS = ("itm_3", "itm_1", "itm_2")
INTENT = Intent(chunk=2, attempt=0, token="t", created_at=SENT.submitted_at, model="claude-haiku-5-5", item_ids=ITEMS)
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


def ending(item_id: str, kind: str, error: str | None = None) -> ItemResult:
    return ItemResult(custom_id_of(RUN, 2, item_id), kind, error=error)  # type: ignore[arg-type]


ALL = [answer(item_id) for item_id in ITEMS]


def collect(provider: Results) -> pa.Table:
    table = collect_answers(RUN, INTENT, SENT, provider, ["billing", "outage"], price_book(), NOW)
    assert table.schema.equals(COLLECTED)
    return table


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


def test_rows_that_stay_missing_are_an_error_and_nothing_is_taken() -> None:
    provider = Results(ALL[:1])
    with pytest.raises(ProviderError) as caught:
        collect(provider)
    assert provider.count == 3
    assert str(caught.value) == (
        "message batch msgbatch_7 gave 2 rows too few and 0 unknown ones in 3 reads; nothing was taken from it. "
        "Run the same command again; if it stays so, ask the provider about this batch"
    )


def test_rows_nobody_asked_for_are_an_error() -> None:
    with pytest.raises(ProviderError, match="gave 0 rows too few and 1 unknown ones in 3 reads"):
        collect(Results([*ALL, answer("itm_4")]))
    other_chunk = ItemResult(custom_id_of(RUN, 3, "itm_1"), "succeeded", "{}", "end_turn", None, USAGE)
    with pytest.raises(ProviderError, match="gave 1 rows too few and 1 unknown ones in 3 reads"):
        collect(Results([answer("itm_3"), answer("itm_2"), other_chunk]))


def test_a_row_that_comes_twice_is_taken_once() -> None:
    table = collect(Results([*ALL, ALL[0]]))
    assert table["item_id"].to_pylist() == list(ITEMS)
    assert len(set(table["api_cost_usd"].to_pylist())) == 1


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
                ending("itm_3", "errored", "api_error: internal"),
                ending("itm_1", "canceled"),
                ending("itm_2", "expired"),
            ]
        )
    ).to_pylist()
    assert [row["api_cost_usd"] for row in rows] == [0, 0, 0]
    assert [row["label"] for row in rows] == [None] * 3
    assert [row["reason"] for row in rows] == [
        "Claude could not answer: api_error: internal",
        "the request was canceled before Claude answered",
        "the request was expired before Claude answered",
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
    table = collect_answers(RUN, INTENT, early, Results(ALL), ["billing"], price_book(), NOW)
    assert table["api_cost_usd"].to_pylist() == [None] * 3  # a day before the first known price
