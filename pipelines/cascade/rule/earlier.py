"""What an earlier run's labels said of where the engine errs, as a start for the next run's curve.

Steers what a run costs, never whether its promise holds: what is certified rests on the run's own fresh sample, and
this was fixed before that sample was drawn. Documents change, so it weighs as much as a bounded number of labels, and
the run's own labels decide whether it counts at all (see `Doubt.fit`).
"""

from __future__ import annotations

import numpy as np

from pipelines.cascade.rule.doubt import IntArray, Seen
from pipelines.cascade.rule.scored import AGREES, UNASKED, Labels, Scored

LEAST_LABELS = 30  # as many as the smallest pilot; fewer teach too little to make up for half of one
MOST_LABELS = 200  # what all of it may weigh; measured on four real sets, half or twice as many keep as many items
_PLACES = 20  # along the ranking: a curve of two numbers needs no more


def count_labels(scored: Scored, labels: Labels, items: IntArray) -> Seen:
    """What the labels of some items said, for the next run; the answers are the engine's own numbers.

    Args:
        scored: the run's items.
        labels: of each item, UNASKED where unknown.
        items: those that were not asked because they are doubtful; no item twice.
    """
    items = items[labels[items] != UNASKED]
    place = np.minimum((scored.rank[items] * _PLACES).astype(np.int64), _PLACES - 1)
    cells, cell = np.unique(np.column_stack([place, scored.answer[items]]), axis=0, return_inverse=True)
    return Seen(
        rank=(cells[:, 0] + 0.5) / _PLACES,
        answer=cells[:, 1],
        labels=np.bincount(cell.ravel(), minlength=len(cells)).astype(np.float64),
        wrong=np.bincount(cell.ravel(), labels[items] > AGREES, len(cells)).astype(np.float64),
    )


def prior_of(scored: Scored) -> Seen | None:
    """What a run is given of an earlier one: of the answers that it has too, and of no more weight than is safe.

    Its answers are numbered as `Scored.codes` are. None where too little is left.
    """
    earlier = scored.earlier
    if earlier is None:
        return None
    answers = np.unique(scored.answer)
    is_known = np.isin(earlier.answer, answers)
    labels = earlier.labels[is_known]
    if labels.sum() < LEAST_LABELS:
        return None
    weight = min(1.0, MOST_LABELS / labels.sum())
    codes = np.searchsorted(answers, earlier.answer[is_known])
    return Seen(earlier.rank[is_known], codes, weight * labels, weight * earlier.wrong[is_known])
