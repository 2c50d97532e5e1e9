"""Which order an item's labels are read in, and what it takes to undo it: models favour some letters over others.

Two orders, as given and reversed, and no more: both beginnings of the prompt then stay in the engine's prefix cache.
Scores always leave in the order of the job's labels. Knows nothing of engines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.tasks.classification import Label, LabelOrder


def reversed_labels(labels: Sequence[Label]) -> tuple[Label, ...]:
    """The labels from the last to the first, with the codes where they were: the first code means the last label."""
    return tuple(
        Label(here.code, other.name, other.description) for here, other in zip(labels, reversed(labels), strict=True)
    )


def in_given_order(reversed_logprobs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores of the reversed prompt, shape [items, labels], with the first label's first again."""
    return reversed_logprobs[:, ::-1]


def reads_reversed(item_ids: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each item, when `seeded`, reads the labels reversed; by its id alone: on every machine, at every time."""
    return np.array([_hash_bit(item_id) for item_id in item_ids], np.bool_)


def _hash_bit(item_id: str) -> int:
    # Named after its use: another hash of the same id must not always fall the same way.
    return hashlib.sha256(b"label order\x00" + item_id.encode()).digest()[0] & 1


def mean_logprobs(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logarithm of the mean of two probabilities, entry by entry; the label mass is then their mean too."""
    mean: NDArray[np.float64] = np.logaddexp(one.astype(np.float64), other.astype(np.float64)) - np.log(2)
    return mean.astype(np.float32)


def asked_fingerprint(order: LabelOrder, given: str, reverse: str) -> str:
    """Hash of everything the engine reads besides the documents, from the hashes of both prompts."""
    if order == "given":
        return given
    return hashlib.sha256("\x00".join([order, given, reverse]).encode()).hexdigest()[:16]
