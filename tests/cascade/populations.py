"""Hostile items for the quality rule: names, scores, answers, and which of them are wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.cascade.rule.scored import Scored

ITEMS = 400


@dataclass(frozen=True)
class Population:
    """What a run would see, and the truth that it buys labels of."""

    name: str
    confidence: np.ndarray
    answer: np.ndarray
    is_wrong: np.ndarray
    target: float = 0.9

    def scored(self, seed: int) -> Scored:
        return Scored(self.confidence, self.answer, seed)

    @property
    def truth(self) -> np.ndarray:
        return self.is_wrong.astype(np.int8)


def hostile_populations() -> list[Population]:
    """Scores that mislead in every way that we could think of."""
    random = np.random.default_rng(5)
    score, luck = random.random(ITEMS), random.random(ITEMS)
    three, many = random.integers(0, 3, ITEMS), random.integers(0, 500, ITEMS)
    one, limit = np.zeros(ITEMS, np.int64), ITEMS // 10
    return [
        Population("useless score", score, three, luck < 0.2),
        Population("inverted score", score, three, luck < 0.5 * score),
        Population("one more wrong than may be", score, three, random.permutation(ITEMS) < limit + 1),
        Population("all wrong among the surest", score, three, score > 0.85),
        Population("everything wrong", score, three, np.ones(ITEMS, np.bool_)),
        Population("nothing wrong", score, three, np.zeros(ITEMS, np.bool_)),
        Population("all ties", np.ones(ITEMS), three, luck < 0.15),
        Population("all ties, one class", np.ones(ITEMS), one, luck < 0.12),
        Population("one class", score, one, luck < 0.6 * (1 - score)),
        Population("500 classes", score, many, luck < np.where(many % 7 == 0, 0.8, 0.1)),
        Population("no score for half", np.where(luck < 0.5, np.nan, score), three, luck < 0.3),
        Population("60 items", score[:60], three[:60], luck[:60] < 0.6 * (1 - score[:60])),
        Population("T = 0.5", score, three, luck < 0.9 * (1 - score) + 0.1, target=0.5),
        Population("T = 0.999", score, three, luck < 0.02, target=0.999),
        Population("T = 1.0", score, three, luck < 0.02, target=1.0),
    ]
