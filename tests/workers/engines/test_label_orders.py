"""A shard in two orders, and a shard after a kill. The engine is scripted: it favours the first of the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest

import workers.engines.scorer as scorer_module
from pipelines.scored_parts import predictions_of, read_scored_part
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import PLAN, to_arrow
from pipelines.tasks.label_order import reads_reversed
from workers.engines.label_orders import TwoOrders
from workers.engines.requests import ShardScores
from workers.engines.scorer import Scorer, ScorerConfig
from workers.engines.tokens import TokenFrame

CODES = (7, 8, 9)
GIVEN = TokenFrame((1, 2), (3,), CODES)
REVERSED = TokenFrame((4, 5, 6), (3,), CODES)
FIRST, REST = np.log(0.5), np.log(0.1)


class BiasedEngine:
    """Gives the first code half of the probability, then a little by document; counts differ by order."""

    def __init__(
        self, weights: str, engine_args: Mapping[str, Any], frame: TokenFrame, devices: int = 1, adapter: None = None
    ) -> None:
        self._frame = frame
        self.asked: list[tuple[TokenFrame, int]] = []

    def score(self, documents: Sequence[np.ndarray[Any, Any]], frame: TokenFrame | None = None) -> Future[ShardScores]:
        frame = self._frame if frame is None else frame
        self.asked += [(frame, int(document[0])) for document in documents]
        lengths = np.array([len(document) + len(frame) for document in documents], np.int64)
        logprobs = np.full((len(documents), len(CODES)), REST, np.float32)
        logprobs[:, 0] = FIRST
        logprobs[:, 1] -= np.array([document[0] for document in documents], np.float32) / 1_000
        ones = np.ones(len(documents), np.int64)
        future: Future[ShardScores] = Future()
        future.set_result(ShardScores(logprobs, lengths, len(frame.prefix) * ones, ones, 1_000 * lengths))
        return future


def documents_of(count: int) -> list[np.ndarray[Any, Any]]:
    return [np.arange(number, number + 3, dtype=np.int32) for number in range(count)]


def score(label_order: Literal["seeded", "averaged"], ids: list[str]) -> tuple[ShardScores, BiasedEngine]:
    engine = BiasedEngine("", {}, GIVEN)
    orders = TwoOrders(label_order, REVERSED)
    return orders.score(engine, ids, documents_of(len(ids))), engine  # type: ignore[arg-type]  # the scripted engine


def test_averaged_the_favour_is_shared_and_both_requests_are_paid() -> None:
    scores, engine = score("averaged", ["itm_a", "itm_b"])
    assert engine.asked == [(GIVEN, 0), (GIVEN, 1), (REVERSED, 0), (REVERSED, 1)]
    np.testing.assert_allclose(np.exp(scores.label_logprobs[0]), [0.3, 0.1, 0.3], rtol=1e-6)
    np.testing.assert_allclose(np.exp(scores.label_logprobs[1]), [0.3, 0.1 * np.exp(-0.001), 0.3], rtol=1e-6)
    assert scores.label_logprobs.dtype == np.float32
    assert scores.input_tokens.tolist() == [6 + 7] * 2
    assert scores.cached_tokens.tolist() == [2 + 3] * 2
    assert scores.output_tokens.tolist() == [2] * 2
    assert scores.device_nanoseconds.tolist() == [13_000] * 2


def test_seeded_each_item_is_asked_once_and_comes_back_in_its_place() -> None:
    ids = [f"itm_{number}" for number in range(40)]
    scores, engine = score("seeded", ids)
    is_reversed = reads_reversed(ids)
    assert 0 < is_reversed.sum() < 40
    assert sorted(document for _, document in engine.asked) == list(range(40))
    assert all((frame is REVERSED) == is_reversed[document] for frame, document in engine.asked)
    favoured = np.where(is_reversed, 2, 0)
    np.testing.assert_array_equal(scores.label_logprobs.argmax(axis=1), favoured)
    np.testing.assert_allclose(scores.label_logprobs[:, 1], REST - np.arange(40) / 1_000, rtol=1e-5)
    assert scores.input_tokens.tolist() == np.where(is_reversed, 7, 6).tolist()
    assert scores.device_nanoseconds.tolist() == np.where(is_reversed, 7_000, 6_000).tolist()
    assert scores.output_tokens.tolist() == [1] * 40


@pytest.mark.parametrize("label_order", ["seeded", "averaged"])
def test_a_shard_without_documents(label_order: Literal["seeded", "averaged"]) -> None:
    scores, _ = score(label_order, [])
    assert scores.label_logprobs.shape == (0, len(CODES))
    assert scores.input_tokens.shape == (0,)


def test_one_order_may_have_no_item() -> None:
    name = next(name for name in map("itm_{}".format, range(100)) if not reads_reversed([name])[0])
    scores, engine = score("seeded", [name])
    assert engine.asked == [(GIVEN, 0)]
    assert scores.label_logprobs.argmax(axis=1).tolist() == [0]


def make_run(root: Path) -> Store:
    """Two committed shards of a plan; in each, one document could not be read."""
    store = Store(str(root))
    for shard in range(2):
        rows = [
            {"item_id": f"itm_{shard}_{number}", "document_id": str(number), "document_uri": "u", "document_offset": 0}
            | ({"failure": "empty"} if number == 3 else {"text": "t", "tokens": [number, 1, 2]})
            for number in range(20)
        ]
        store.create(layout.plan_part(shard), to_arrow(pa.Table.from_pylist(rows, schema=PLAN)))
    return store


def config_of(root: Path, two_orders: TwoOrders | None) -> ScorerConfig:
    return ScorerConfig(str(root), str(root), "revision", {}, {}, GIVEN, 1, two_orders=two_orders)


def predictions(store: Store) -> list[tuple[str, list[float]]]:
    tables = [predictions_of(read_scored_part(store, shard)) for shard in range(2)]
    rows = [row for table in tables for row in table.to_pylist()]
    return [(row["item_id"], row["label_logprobs"]) for row in rows]


def test_an_engine_that_goes_on_after_a_kill_asks_each_item_as_the_dead_one_would_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorer_module, "LabelEngine", BiasedEngine)
    seeded = TwoOrders("seeded", REVERSED)
    whole, killed = make_run(tmp_path / "whole"), make_run(tmp_path / "killed")
    uninterrupted = Scorer(config_of(tmp_path / "whole", seeded))
    for shard in (0, 1):
        uninterrupted.score(shard)
    Scorer(config_of(tmp_path / "killed", seeded)).score(1)
    Scorer(config_of(tmp_path / "killed", seeded)).score(0)
    assert predictions(killed) == predictions(whole)
    ids = [item_id for item_id, _ in predictions(whole)]
    assert len(ids) == 38
    favoured = [int(np.argmax(logprobs)) for _, logprobs in predictions(whole)]
    assert favoured == np.where(reads_reversed(ids), 2, 0).tolist()


def test_as_given_the_engine_is_asked_once_about_each_item_in_the_plans_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines: list[BiasedEngine] = []

    def started(*arguments: Any) -> BiasedEngine:
        engines.append(BiasedEngine(*arguments))
        return engines[-1]

    monkeypatch.setattr(scorer_module, "LabelEngine", started)
    store = make_run(tmp_path)
    scorer = Scorer(config_of(tmp_path, None))
    for shard in (0, 1):
        scorer.score(shard)
    assert engines[0].asked == [(GIVEN, number) for number in range(20) if number != 3] * 2
    assert {int(np.argmax(logprobs)) for _, logprobs in predictions(store)} == {0}
