"""The rule: which of the engine's answers stand."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.cascade.confidence import Calibration, Scores, read_scores
from pipelines.cascade.decisions import Rule


def accepted(threshold: float, probabilities: list[list[float]], calibration: Calibration | None = None) -> list[bool]:
    scores = read_scores(np.log(probabilities), calibration)
    return Rule(raw_threshold=threshold).accepts(scores).tolist()


def test_an_answer_stands_from_the_threshold_on() -> None:
    assert accepted(0.8, [[0.81, 0.19], [0.79, 0.21]]) == [True, False]
    exact = Scores(np.array([0]), np.array([0.8]), np.array([1.0]), None)
    assert Rule(raw_threshold=0.8).accepts(exact).tolist() == [True]


def test_a_large_share_of_a_small_label_mass_is_not_accepted() -> None:
    """Sure among the labels, but the engine would rather have said something else."""
    assert accepted(0.5, [[0.0099, 0.0001], [0.99, 0.01]]) == [False, True]


def test_calibration_has_no_say_in_a_raw_threshold() -> None:
    sharp = Calibration(
        method="temperature", temperature=0.01, fitted_on=1, prompt_fingerprint="", labels=(), model_sha256=""
    )
    assert accepted(0.9, [[0.6, 0.4]], sharp) == [False]


def test_no_items_give_no_decisions() -> None:
    none = np.zeros(0)
    assert Rule(raw_threshold=0.5).accepts(Scores(none.astype(np.int64), none, none, None)).shape == (0,)


@given(st.lists(st.floats(0.01, 0.99), min_size=1), st.floats(0.05, 0.9), st.floats(0.01, 0.1))
def test_a_higher_threshold_never_accepts_more(shares: list[float], threshold: float, step: float) -> None:
    table = [[share, 1 - share] for share in shares]
    low, high = accepted(threshold, table), accepted(threshold + step, table)
    assert all(one or not other for one, other in zip(low, high, strict=True))
