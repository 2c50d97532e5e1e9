"""What the engine read, what of it came from its cache, and the warning where that is less than was promised."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pipelines.report.prompts import CachePromise, PromptTally


def tally(rows: int, cached: int) -> PromptTally:
    found = PromptTally()
    table = {"input_tokens": [500, None], "cached_tokens": [cached, None], "output_tokens": [1, None]}
    for _ in range(rows):
        found.add(pa.table({name: pa.array(values, pa.int64()) for name, values in table.items()}))
    return found


def test_the_share_is_told_beside_the_promise() -> None:
    closed = tally(3, 224).closed(CachePromise(tokens=224, engines=1))
    assert closed
    assert closed.told() == "1,500 tokens, 44.8% of them found in the cache; their frame promises 44.8%"
    closed = tally(3, 100).closed(None)
    assert closed
    assert closed.told() == "1,500 tokens, 20.0% of them found in the cache"
    assert PromptTally().closed(None) is None


@pytest.mark.parametrize(
    ("rows", "cached", "engines", "is_warned"),
    [(1_000, 100, 1, True), (1_000, 168, 1, False), (999, 0, 1, False), (1_000, 0, 2, False)],
)
def test_a_cache_that_falls_short_is_warned_of_once_the_first_prompts_do_not_count(
    rows: int, cached: int, engines: int, is_warned: bool
) -> None:
    warnings = tally(rows, cached).warnings(CachePromise(tokens=224, engines=engines))
    assert bool(warnings) is is_warned
    if is_warned:
        assert "found 20.0% of the prompts' tokens in its cache, where the shared frame promises 44.8%" in warnings[0]


def test_without_a_promise_nothing_falls_short() -> None:
    assert tally(2_000, 0).warnings(None) == []
    assert tally(2_000, 0).warnings(CachePromise(tokens=0, engines=1)) == []
