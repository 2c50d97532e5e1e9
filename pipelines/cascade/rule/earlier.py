"""What earlier runs' labels said of where the engine errs, as a start for the next run's curve.

Steers what a run costs, never whether its promise holds: what is certified rests on the run's own fresh sample, and
this was fixed before that sample was drawn. Documents change, so labels weigh less by each run that came after them,
all of them as much as a bounded number, and the run's own labels decide whether they count at all (see `Doubt.fit`).
"""

from __future__ import annotations

import numpy as np

from pipelines.cascade.rule.doubt import IntArray, Seen
from pipelines.cascade.rule.scored import AGREES, UNASKED, Labels, Scored

LEAST_LABELS = 30  # as many as the smallest pilot; fewer teach too little to make up for half of one
MOST_LABELS = 200  # what all of it may weigh; measured on four real sets, half or twice as many keep as many items
MOST_RUNS = 5  # of more, the oldest would weigh next to nothing
_KEPT_BY_AGE = 0.7  # of a label's weight, with each later run
_PLACES = 20  # along the ranking: a curve of two numbers needs no more


def count_labels(scored: Scored, labels: Labels, items: IntArray) -> Seen:
    """What the labels of some items said, for the next run; the answers are the engine's own numbers.

    Args:
        scored: the run's items.
        labels: of each item, UNASKED where unknown.
        items: those that were not asked because they are doubtful; no item twice. With the others too, the curve, which
            is none too exact, bends to where the doubtful lie: on five real sets such a prior saved nothing.
    """
    items = items[(labels[items] != UNASKED) & ~scored.has_no_answer[items]]
    place = np.minimum((scored.rank[items] * _PLACES).astype(np.int64), _PLACES - 1)
    cells, cell = np.unique(np.column_stack([place, scored.answer[items]]), axis=0, return_inverse=True)
    return Seen(
        rank=(cells[:, 0] + 0.5) / _PLACES,
        answer=cells[:, 1],
        labels=np.bincount(cell.ravel(), minlength=len(cells)).astype(np.float64),
        wrong=np.bincount(cell.ravel(), labels[items] > AGREES, len(cells)).astype(np.float64),
    )


def prior_of(scored: Scored) -> Seen | None:
    """What a run is given of earlier ones: of the answers that it has too, and of no more weight than is safe.

    Its answers are numbered as `Scored.codes` are. None where too little is left.
    """
    pooled = Seen.none()
    for age, seen in enumerate(scored.earlier[:MOST_RUNS]):
        is_known = np.isin(seen.answer, scored.answers)
        codes, weight = np.searchsorted(scored.answers, seen.answer[is_known]), _KEPT_BY_AGE**age
        labels, wrong = weight * seen.labels[is_known], weight * seen.wrong[is_known]
        pooled = pooled.and_also(Seen(seen.rank[is_known], codes, labels, wrong))
    total = float(pooled.labels.sum())
    if total < LEAST_LABELS:
        return None
    weight = min(1.0, MOST_LABELS / total)
    return Seen(pooled.rank, pooled.answer, weight * pooled.labels, weight * pooled.wrong)
