"""One answer of several windows': by the mean, weighted by length, or by the window that is surest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.cascade.confidence import no_probabilities, read_scores
from pipelines.tasks.window_answers import WindowMerge

MEAN, SUREST = WindowMerge("mean"), WindowMerge("surest")
LABELS = 3


def logs(*rows: list[float]) -> NDArray[np.float32]:
    with np.errstate(divide="ignore"):
        return np.log(np.array(rows)).astype(np.float32)


def counts(*tokens: int) -> NDArray[np.int64]:
    return np.array(tokens, np.int64)


def probabilities(merged: NDArray[np.float32]) -> list[float]:
    return [float(value) for value in np.exp(merged)]


ROWS = st.lists(
    st.tuples(st.lists(st.floats(0.001, 1), min_size=LABELS, max_size=LABELS), st.floats(0.1, 1), st.integers(1, 999)),
    min_size=1,
    max_size=6,
)


@given(ROWS, st.sampled_from([MEAN, SUREST, WindowMerge("surest", 1)]))
def test_what_comes_out_is_a_row_of_probabilities_and_an_order_of_all_windows(
    rows: list[tuple[list[float], float, int]], merge: WindowMerge
) -> None:
    given_rows = [[mass * share / sum(shares) for share in shares] for shares, mass, _ in rows]
    merged, order = merge.merged(logs(*given_rows), counts(*(tokens for _, _, tokens in rows)))
    assert not no_probabilities(merged[None]).any()
    assert merged.dtype == np.float32
    assert sorted(order.tolist()) == list(range(len(rows)))
    masses = [sum(row) for row in given_rows]
    assert min(masses) * 0.999 <= np.exp(merged).sum() <= max(masses) * 1.001, "the mass is between the windows'"


@given(ROWS, st.sampled_from([MEAN, SUREST]))
def test_of_one_window_the_answer_is_its_own(rows: list[tuple[list[float], float, int]], merge: WindowMerge) -> None:
    (shares, mass, tokens), *_ = rows
    row = logs([mass * share / sum(shares) for share in shares])
    np.testing.assert_allclose(merge.merged(row, counts(tokens))[0], row[0], atol=1e-5)


def test_the_mean_is_of_log_probabilities_weighted_by_length() -> None:
    merged, _ = MEAN.merged(logs([0.8, 0.2], [0.5, 0.5]), counts(300, 100))
    first, second = 0.8**0.75 * 0.5**0.25, 0.2**0.75 * 0.5**0.25
    assert probabilities(merged) == pytest.approx([first / (first + second), second / (first + second)], rel=1e-5)


def test_windows_that_disagree_are_no_want_of_label_mass() -> None:
    merged, _ = MEAN.merged(logs([0.98, 0.01], [0.01, 0.98]), counts(10, 10))
    scores = read_scores(merged[None].astype(np.float64), None)
    assert scores.label_mass[0] == pytest.approx(0.99, rel=1e-4)
    assert scores.raw_prob[0] == pytest.approx(0.5)


def test_an_impossible_label_stays_so_and_is_no_missing_number() -> None:
    merged, _ = MEAN.merged(logs([1.0, 0.0], [0.6, 0.4]), counts(10, 10))
    assert np.isfinite(merged).all()
    assert probabilities(merged) == pytest.approx([1.0, 0.0], abs=1e-9)


def test_the_surest_window_speaks_for_the_document() -> None:
    rows = logs([0.5, 0.4], [0.1, 0.9], [0.7, 0.3])
    merged, order = SUREST.merged(rows, counts(10, 10, 10))
    assert merged.tolist() == rows[1].tolist()
    assert order.tolist() == [1, 2, 0]


def test_a_window_in_which_it_occurs_is_not_outvoted_by_those_that_surely_lack_it() -> None:
    rows = logs([0.01, 0.99], [0.9, 0.1], [0.02, 0.98])
    merged, order = WindowMerge("surest", absent=1).merged(rows, counts(10, 10, 10))
    assert merged.tolist() == rows[1].tolist()
    assert order.tolist() == [1, 2, 0]
    assert SUREST.merged(rows, counts(10, 10, 10))[0].tolist() == rows[0].tolist()


def test_where_it_occurs_nowhere_the_answer_is_that_of_the_window_that_doubts_it_most() -> None:
    rows = logs([0.01, 0.99], [0.2, 0.8])
    assert WindowMerge("surest", absent=1).merged(rows, counts(10, 10))[0].tolist() == rows[1].tolist()
