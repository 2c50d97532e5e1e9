"""Exact limits, against sums of whole numbers over everything that can be drawn."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.cascade.rule.bounds import allowed_wrong, lower_tail, most_wrong


def exact_mass(seen: int, items: int, wrong: int, drawn: int) -> Fraction:
    return Fraction(math.comb(wrong, seen) * math.comb(items - wrong, drawn - seen), math.comb(items, drawn))


@st.composite
def draws(draw: st.DrawFn) -> tuple[int, int, int, int]:
    items = draw(st.integers(1, 400))
    wrong, drawn = draw(st.integers(0, items)), draw(st.integers(0, items))
    return draw(st.integers(-1, drawn)), items, wrong, drawn


@given(draws())
def test_tail_is_the_sum_of_its_terms_never_less(case: tuple[int, int, int, int]) -> None:
    seen, items, wrong, drawn = case
    exact = sum(exact_mass(s, items, wrong, drawn) for s in range(max(0, drawn - items + wrong), seen + 1))
    tail = lower_tail(seen, items=items, wrong=wrong, drawn=drawn)
    assert float(exact) <= tail <= min(1.0, float(exact) * (1 + 3e-5) + 1e-12)


def test_tail_of_a_hundred_million_items_is_that_of_drawing_with_replacement() -> None:
    tail = lower_tail(3, items=10**8, wrong=10**6, drawn=500)
    binomial = sum(math.comb(500, s) * 0.01**s * 0.99 ** (500 - s) for s in range(4))
    assert tail == pytest.approx(binomial, rel=1e-4)


@pytest.mark.parametrize(("items", "drawn", "delta"), [(40, 8, 0.1), (120, 25, 0.1), (60, 59, 0.05), (200, 1, 0.2)])
def test_limit_misses_no_population_more_often_than_it_may(items: int, drawn: int, delta: float) -> None:
    limits = [most_wrong(seen, items=items, drawn=drawn, delta=delta) for seen in range(drawn + 1)]
    assert limits == sorted(limits)
    assert limits[-1] == items
    for wrong in range(items + 1):
        missed = sum(exact_mass(seen, items, wrong, drawn) for seen in range(drawn + 1) if limits[seen] < wrong)
        assert missed <= Fraction(repr(delta)), f"{wrong} of {items} are wrong"


def test_limit_is_the_least_that_may_be_given() -> None:
    limit = most_wrong(2, items=120, drawn=25, delta=0.1)
    assert lower_tail(2, items=120, wrong=limit, drawn=25) > 0.1
    assert lower_tail(2, items=120, wrong=limit + 1, drawn=25) <= 0.1


@pytest.mark.parametrize(("items", "drawn", "seen", "limit"), [(7, 0, 0, 7), (7, 7, 3, 3), (0, 0, 0, 0), (1, 1, 0, 0)])
def test_limit_of_nothing_and_of_everything(items: int, drawn: int, seen: int, limit: int) -> None:
    assert most_wrong(seen, items=items, drawn=drawn, delta=0.1) == limit


@pytest.mark.parametrize(
    ("items", "target", "allowed"),
    [(1000, 0.9, 100), (10, 0.9, 1), (855, 0.95, 42), (1, 0.5, 0), (2, 0.5, 1), (600, 0.999, 0), (10**7, 1.0, 0)],
)
def test_allowed_is_counted_in_decimals(items: int, target: float, allowed: int) -> None:
    assert allowed_wrong(items, target) == allowed
