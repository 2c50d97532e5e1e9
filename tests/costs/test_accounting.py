"""Money and time, shared out and added up without losing a digit."""

import random
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.costs.accounting import (
    add_known,
    device_cost,
    plain_money,
    share_nanoseconds,
    share_over_questions,
    sum_money,
    to_money,
)
from pipelines.store.schemas import MONEY

MONEY_AMOUNTS = st.decimals(0, 1_000_000, places=12)


def money(amounts: list[Decimal | None], chunks: int = 1) -> pa.ChunkedArray:
    size = max(1, -(-len(amounts) // chunks))
    parts = [amounts[start : start + size] for start in range(0, len(amounts), size)]
    return pa.chunked_array([pa.array(part, MONEY) for part in parts], MONEY)


@given(st.integers(0, 10**18), st.lists(st.integers(0, 10**6), min_size=1, max_size=50))
def test_shares_add_up_to_the_total(total: int, weights: list[int]) -> None:
    shares = share_nanoseconds(total, np.array(weights, np.int64)).tolist()
    assert sum(shares) == total
    assert min(shares) >= 0
    if any(weights):
        for share, weight in zip(shares, weights, strict=True):
            assert abs(share - total * weight / sum(weights)) <= 1 + total * 1e-15


def test_no_weight_at_all_means_equal_shares() -> None:
    assert share_nanoseconds(9, np.zeros(3, np.int64)).tolist() == [3, 3, 3]
    assert share_nanoseconds(10, np.zeros(3, np.int64)).tolist() == [3, 3, 4]


def test_no_weight_among_others_means_no_share() -> None:
    assert share_nanoseconds(10, np.array([0, 5, 0, 5])).tolist() == [0, 5, 0, 5]


def test_an_hour_of_a_device_costs_its_price() -> None:
    assert device_cost(3_600 * 10**9, Decimal("2.50")) == Decimal("2.50")
    assert device_cost(1_800 * 10**9, Decimal("2.50")) == Decimal("1.25")
    assert device_cost(0, Decimal("2.50")) == 0


def test_device_cost_has_twelve_places_half_to_even() -> None:
    # 1 ns of 3.60 USD/h is 1e-12 USD; 1.5e-12 and 2.5e-12 both go to the even 2e-12.
    assert device_cost(1, Decimal("3.60")) == Decimal("0.000000000001")
    assert device_cost(1, Decimal("5.40")) == Decimal("0.000000000002")
    assert device_cost(1, Decimal("9.00")) == Decimal("0.000000000002")
    assert str(to_money(Decimal(1))) == "1.000000000000"


@given(st.lists(MONEY_AMOUNTS, max_size=40), st.integers(1, 5))
def test_a_column_adds_up_to_the_last_digit(amounts: list[Decimal], chunks: int) -> None:
    total = sum_money(money(list(amounts), chunks))
    assert total == sum(amounts, Decimal(0))
    assert total is not None
    assert total.as_tuple().exponent == -12


def test_a_hundred_thousand_rows_add_up_exactly() -> None:
    source = random.Random(3)
    units = [source.randrange(10**9) for _ in range(100_000)]  # of 1e-12 USD
    rows = money([Decimal(unit).scaleb(-12) for unit in units], chunks=7)
    assert sum_money(rows) == Decimal(sum(units)).scaleb(-12)
    assert sum_money(rows) != Decimal(sum(unit * 1e-12 for unit in units))  # what floats would have said


def test_totals_may_outgrow_the_column_of_the_rows() -> None:
    largest = Decimal("99999999.999999999999")
    assert sum_money(money([largest] * 1_000)) == largest * 1_000


def test_one_unknown_cost_makes_the_sum_unknown_and_no_rows_cost_nothing() -> None:
    assert sum_money(money([Decimal(1), None])) is None
    assert sum_money(money([])) == 0
    assert add_known([Decimal(1), None, Decimal(2)]) is None
    assert add_known([]) == 0


@given(st.lists(MONEY_AMOUNTS, max_size=20))
def test_known_amounts_add_up(amounts: list[Decimal]) -> None:
    assert add_known(amounts) == sum(amounts, Decimal(0))


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=30), st.decimals("0.01", 100, places=2))
def test_rows_of_a_shard_cost_what_its_time_costs_but_for_their_rounding(parts: list[int], price: Decimal) -> None:
    rows = sum((device_cost(part, price) for part in parts), Decimal(0))
    assert abs(rows - device_cost(sum(parts), price)) <= len(parts) * Decimal("1e-12")


@given(
    st.integers(1, 5).flatmap(
        lambda questions: st.lists(
            st.lists(st.tuples(st.integers(0, 10**15), st.integers(1, 10**6)), min_size=questions, max_size=questions),
            min_size=1,
            max_size=8,
        )
    )
)
def test_what_a_document_took_is_shared_by_its_questions_and_adds_up(documents: list[list[tuple[int, int]]]) -> None:
    measured, tokens = np.moveaxis(np.array(documents, np.int64), 2, 0)
    shares = share_over_questions(measured.T, tokens.T)
    assert (shares.sum(axis=0) == measured.sum(axis=1)).all(), "to the nanosecond, document by document"
    assert (shares >= 0).all()
    exact = measured.sum(axis=1) * (tokens / tokens.sum(axis=1, keepdims=True)).T
    assert (np.abs(shares - exact) <= 1 + 1e-6 * np.abs(exact)).all()


def test_who_is_asked_first_does_not_bear_the_document_alone() -> None:
    shares = share_over_questions(np.array([[900], [100]]), np.array([[300], [200]]))
    assert shares.ravel().tolist() == [600, 400]
    assert share_over_questions(np.zeros((2, 0), np.int64), np.zeros((2, 0), np.int64)).shape == (2, 0)


@pytest.mark.parametrize("amount", ["0.0000000000005", "0.0000000000015", "0.0000000000025"])
def test_rounding_is_half_to_even(amount: str) -> None:
    assert int(to_money(Decimal(amount)).scaleb(12)) % 2 == 0


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0E-12", "0"),
        ("0.032874350000", "0.03287435"),
        ("1E+3", "1000"),
        ("100.000000000000", "100"),
        ("0.000000000001", "0.000000000001"),
    ],
)
def test_money_for_people_is_plain_and_keeps_every_digit(amount: str, shown: str) -> None:
    assert plain_money(Decimal(amount)) == shown


@given(MONEY_AMOUNTS)
def test_plain_money_is_the_same_money(amount: Decimal) -> None:
    assert Decimal(plain_money(amount)) == amount
