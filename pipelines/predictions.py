"""What the engine predicted of a shard's items, whatever the task: scores, and for reviews the findings behind them.

In: the predictions table of one shard. Out: arrays and lists in its order. A review's answer is its verdict; how sure
it is of it follows from the claims that the second pass put to the engine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.cascade.confidence import Calibration, FloatArray, Scores, read_scores, refuse_no_probabilities
from pipelines.tasks.code_review.verification import VERDICT_CLEAN, VERDICT_FAULTY, review_raw_prob

# The last two are not in predictions of earlier versions.
_REVIEW_COLUMNS = ("failure", "findings", "clean_claims", "dropped_findings", "unfinished", "note")
# An unverified finding may as well be true as not.
_UNKNOWN = 0.5
# Shares of 0 and 1 have no logarithm of use.
_LEAST_SHARE = 1e-9


@dataclass(frozen=True)
class Told:
    """What a server told of each item's answer, of shape [items]; None where it told nothing, and nothing is known."""

    raw_prob: Sequence[float | None]
    label_mass: Sequence[float | None]


@dataclass(frozen=True)
class Predicted:
    """Arrays and lists of shape [items].

    ``logprobs`` has the shape [items, labels]; a review's are made from its raw probability, with its verdict at least
    as likely as the other. ``failures`` says why there is no answer, or no whole one; ``findings`` are rows of the
    result's column, None unless it was a review that could be read, in part at least. ``notes`` are for the rows.
    """

    scores: Scores
    logprobs: FloatArray
    failures: Sequence[str | None]
    findings: Sequence[list[dict[str, Any]] | None]
    dropped_findings: Sequence[int | None]
    notes: Sequence[str | None]
    told: Told | None = None

    @property
    def is_readable(self) -> NDArray[np.bool_]:
        """Whether there is an answer that may stand."""
        return np.array([failure is None for failure in self.failures], np.bool_)


def read_predictions(table: pa.Table, labels: Sequence[str], calibration: Calibration | None) -> Predicted:
    """Read predictions of either task.

    Args:
        table: schema `PREDICTIONS`, `FIRST_TIER` or `REVIEWS`.
        labels: of the job.
        calibration: already checked to fit.

    Raises:
        EngineError: the engine gave numbers that are no probabilities.
    """
    if "clean_claims" in table.column_names:
        return _read_reviews(table, tuple(labels), calibration)
    count = len(table)
    logprobs = pc.list_flatten(table["label_logprobs"]).to_numpy().astype(np.float64).reshape(count, len(labels))
    refuse_no_probabilities(logprobs, "items of a committed shard")
    if "label_mass" in table.column_names:
        return _read_first_tier(table, logprobs, calibration)
    none = [None] * count
    return Predicted(read_scores(logprobs, calibration), logprobs, none, none, none, none)


def _read_first_tier(table: pa.Table, logprobs: FloatArray, calibration: Calibration | None) -> Predicted:
    """Of a server that tells only how labels share it, an item is as sure as its share; of no answer, not at all."""
    failures, masses = table["failure"].to_pylist(), table["label_mass"].to_pylist()
    scores = read_scores(logprobs, calibration)
    mass = np.array([1.0 if each is None else each for each in masses], np.float64)
    is_answered = np.array([failure is None for failure in failures], np.bool_)
    scores = replace(scores, label_mass=np.where(is_answered, mass, 0.0))
    raw = [None if failure else value for failure, value in zip(failures, scores.raw_prob.tolist(), strict=True)]
    none = [None] * len(failures)
    told = Told(raw, [None if failure else each for failure, each in zip(failures, masses, strict=True)])
    return Predicted(scores, logprobs, failures, none, none, table["note"].to_pylist(), told)


def _read_reviews(table: pa.Table, labels: tuple[str, ...], calibration: Calibration | None) -> Predicted:
    rows = table.select([name for name in _REVIEW_COLUMNS if name in table.column_names]).to_pylist()
    claims = [claim for row in rows for claim in (*row["findings"], *row["clean_claims"])]
    put = [(claim["true_logprob"], claim["false_logprob"]) for claim in claims if claim["true_logprob"] is not None]
    refuse_no_probabilities(np.array(put, np.float64).reshape(-1, 2), "claims of a committed shard")
    raw = [_certainty(row, 1.0) for row in rows]
    answer = np.array([labels.index(_verdict(row)) for row in rows], np.int64)
    raw_prob = np.array(raw, np.float64)
    shares = np.clip(raw_prob, 0.5, 1 - _LEAST_SHARE)
    logprobs = np.log(np.tile(1 - shares, (2, 1)).T)
    logprobs[np.arange(len(rows)), answer] = np.log(shares)
    temperature = calibration.temperature if calibration else None
    confidence = None if temperature is None else np.array([_certainty(row, temperature) for row in rows], np.float64)
    mass = np.array([_mass(row) for row in rows], np.float64)
    findings = [None if row["failure"] else [_told(each, temperature) for each in row["findings"]] for row in rows]
    return Predicted(
        scores=Scores(answer, raw_prob, mass, confidence),
        logprobs=logprobs,
        failures=[row["failure"] or row.get("unfinished") for row in rows],
        findings=findings,
        dropped_findings=[row["dropped_findings"] for row in rows],
        notes=[row.get("note") for row in rows],
    )


def _verdict(row: dict[str, Any]) -> str:
    return VERDICT_FAULTY if any(_true_prob(each) >= _UNKNOWN for each in row["findings"]) else VERDICT_CLEAN


def _certainty(row: dict[str, Any], temperature: float) -> float:
    """Of the review as a whole; none of one that could not be read to its end."""
    found = (_true_prob(each, temperature) for each in row["findings"])
    clean = (_true_prob(each, temperature) for each in row["clean_claims"])
    certainty = None if row["failure"] or row.get("unfinished") else review_raw_prob(found, clean)
    return 0.0 if certainty is None else certainty


def _true_prob(claim: dict[str, Any], temperature: float = 1.0) -> float:
    if claim["true_logprob"] is None:
        return _UNKNOWN
    difference = (claim["false_logprob"] - claim["true_logprob"]) / temperature
    return 1 / (1 + math.exp(min(difference, 700.0)))


def _mass(row: dict[str, Any]) -> float:
    """The least of its claims': where it is low, the engine wanted to say something else."""
    claims = [claim for claim in (*row["findings"], *row["clean_claims"]) if claim["true_logprob"] is not None]
    masses = (math.exp(claim["true_logprob"]) + math.exp(claim["false_logprob"]) for claim in claims)
    return min(1.0, min(masses, default=0.0))


def _told(finding: dict[str, Any], temperature: float | None) -> dict[str, Any]:
    is_verified = finding["true_logprob"] is not None
    told = {name: value for name, value in finding.items() if not name.endswith("_logprob")}
    told["raw_prob"] = _true_prob(finding) if is_verified else None
    told["confidence"] = _true_prob(finding, temperature) if is_verified and temperature is not None else None
    return told
