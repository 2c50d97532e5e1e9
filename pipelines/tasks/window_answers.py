"""A long document's answer from those of its windows, each a row of log-probabilities of the labels.

Per window w of n_w tokens the engine gives p_w(l) for every label l, over the whole vocabulary. What comes out is such
a row again, for the document; everything behind it, calibration included, takes it as the engine's answer.

`mean`: with m_w = sum over l of p_w(l), the label mass, and weights a_w = n_w / sum of n,

    log share(l) = sum over w of a_w log(p_w(l) / m_w), less what makes the shares add up to 1
    log mass     = sum over w of a_w log m_w
    log p(l)     = log share(l) + log mass

Shares and mass are taken apart, or windows that disagree would look as if the engine had wanted to say something else.

`surest`: the row of the window in which max over l of p_w(l) is greatest; with a label `absent`, that label is left out
of the max. Where it tells that nothing occurs, the window that says most firmly that something does decides, and where
none does, the one that is closest to it. The first of equals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

# An impossible label stays so unlikely that nothing outweighs it, and is a number that can be averaged.
_LEAST_LOG_SHARE = -100.0


@dataclass(frozen=True)
class WindowMerge:
    """Which rule; ``absent`` is the place of that label, if there is one."""

    how: Literal["mean", "surest"]
    absent: int | None = None

    def merged(
        self, logprobs: NDArray[np.float32], tokens: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """The document's row, and the places of its windows from the surest to the least sure.

        Args:
            logprobs: shape [windows, labels].
            tokens: of each window.
        """
        counted = logprobs if self.absent is None else np.delete(logprobs, self.absent, axis=1)
        order = np.argsort(-counted.max(axis=1), kind="stable").astype(np.int32)
        return (logprobs[order[0]] if self.how == "surest" else _mean(logprobs, tokens)), order


def _mean(logprobs: NDArray[np.float32], tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    weights = tokens / tokens.sum()
    rows = logprobs.astype(np.float64)
    masses = np.logaddexp.reduce(rows, axis=1)
    shares = weights @ np.maximum(rows - masses[:, None], _LEAST_LOG_SHARE)
    merged: NDArray[np.float64] = shares - np.logaddexp.reduce(shares) + weights @ masses
    return merged.astype(np.float32)
