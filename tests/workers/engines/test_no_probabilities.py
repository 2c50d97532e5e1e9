"""An engine whose numbers overflow is an engine error: nothing is made of what it gave."""

from __future__ import annotations

import math
from concurrent.futures import Future
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from pipelines.cascade.confidence import Calibration, no_probabilities
from pipelines.errors import EngineError
from pipelines.predictions import read_predictions
from pipelines.store.schemas import REVIEWS
from workers.engines.requests import Shard, ShardScores, settle
from workers.engines.scorer import prediction_table

NAN, INF = math.nan, math.inf
BROKEN = {
    "one NaN": [-0.1, NAN],
    "all NaN": [NAN, NAN],
    "all impossible": [-INF, -INF],
    "infinite": [INF, -1.0],
    "logits": [3.5, -2.0],
    "overflowing": [1e4, 0.0],
    "more than certain together": [-0.1, -0.2],
}
FINE = [[-0.1, -3.0], [0.0, -INF], [-0.6931, -0.6931], [-80.0, -90.0], [1e-4, -12.0]]


def scores(rows: list[list[float]]) -> ShardScores:
    return ShardScores(np.array(rows, np.float32), *[np.ones(len(rows), np.int64)] * 4)


def settled(rows: list[list[float]]) -> Future[ShardScores]:
    """What becomes of a shard of which every row has come back from vLLM."""
    shard = Shard(lambda row: [], lambda row: (), lambda row, part, output: None, scores(rows), len(rows))
    settle([shard])
    return shard.future


@pytest.mark.parametrize("row", BROKEN.values(), ids=BROKEN)
def test_a_shard_with_numbers_that_are_no_probabilities_is_an_engine_error(row: list[float]) -> None:
    with pytest.raises(EngineError, match=r"no probabilities .* for 1 of 6 prompts of a shard: its numbers overflow"):
        settled([*FINE, row]).result(timeout=1)


def test_a_shard_of_probabilities_is_handed_over() -> None:
    assert settled(FINE).result(timeout=1).label_logprobs.shape == (5, 2)
    assert not no_probabilities(np.array(FINE)).any()
    assert no_probabilities(np.zeros((0, 2))).tolist() == []


@pytest.mark.parametrize("row", BROKEN.values(), ids=BROKEN)
def test_committed_predictions_without_probabilities_are_not_read_as_answers(row: list[float]) -> None:
    table = prediction_table(pa.chunked_array([["a", "b"]]), scores([FINE[0], row]))
    with pytest.raises(EngineError, match="1 of 2 items of a committed shard"):
        read_predictions(table, ("billing", "outage"), None)


@pytest.mark.parametrize("row", BROKEN.values(), ids=BROKEN)
def test_neither_are_the_claims_of_a_review(row: list[float]) -> None:
    counted = {name: 0 for name in REVIEWS.names if name.endswith(("_tokens", "_nanoseconds", "_findings"))}
    claim = dict(zip(("true_logprob", "false_logprob"), row, strict=True))
    review = {"item_id": "a", "findings": [], "clean_claims": [claim], "scored_at": datetime.now(UTC), **counted}
    with pytest.raises(EngineError, match="1 of 1 claims of a committed shard"):
        read_predictions(pa.Table.from_pylist([review], REVIEWS), ("faulty", "clean"), None)


@pytest.mark.parametrize("temperature", [NAN, INF])
def test_a_temperature_is_a_number(temperature: float) -> None:
    with pytest.raises(ValidationError):
        Calibration(
            method="temperature",
            temperature=temperature,
            fitted_on=1,
            prompt_fingerprint="",
            labels=(),
            model_sha256="",
        )
