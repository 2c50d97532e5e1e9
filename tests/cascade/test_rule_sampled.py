"""What targets would ask over a whole run, by a sample of it."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.cascade.rule import sampled
from pipelines.cascade.rule.sampled import estimate_whole, supposed_labels
from pipelines.cascade.rule.scored import AGREES, DIFFERS
from pipelines.cascade.rule.target import Target

PROMISES = [Target(target, 0.95) for target in (0.8, 0.95)]


def sample(size: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # type: ignore[type-arg]  # of a test
    random = np.random.default_rng(seed)
    confidence = random.beta(4, 1, size)
    labels = np.where(random.random(size) < confidence, AGREES, DIFFERS).astype(np.int8)
    return confidence, random.integers(3, size=size), labels


def test_a_higher_target_asks_about_more_and_never_about_more_than_there_is() -> None:
    low, high = estimate_whole(*sample(300), 1_500, PROMISES, seed=1)
    assert 0 < low.asked < high.asked <= 1_500
    assert low.least <= low.asked <= low.most


def test_a_run_too_large_to_be_played_is_reckoned_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampled, "_MOST_PLAYED", 2_000)
    (played,) = estimate_whole(*sample(200), 2_000, PROMISES[:1], seed=1)
    (scaled,) = estimate_whole(*sample(200), 200_000, PROMISES[:1], seed=1)
    assert scaled.asked == 100 * played.asked


def test_where_nothing_is_known_the_engine_is_supposed_to_be_right_as_often_as_it_says() -> None:
    labels = supposed_labels(np.full(20_000, 0.7), seed=5)
    assert abs((labels == AGREES).mean() - 0.7) < 0.02
    assert set(supposed_labels(np.array([np.nan, 0.0]), seed=5)) == {DIFFERS}
