"""A shard with long documents: a request for each window, one row for each item. The engine is scripted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import workers.engines.scorer as scorer_module
from pipelines.scored_parts import predictions_of, read_scored_part
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import PLAN, WINDOW_LIST, WINDOW_ORDER, WINDOWED_PREDICTIONS, WINDOWS, to_arrow
from pipelines.tasks.window_answers import WindowMerge
from workers.engines.label_orders import TwoOrders
from workers.engines.requests import ShardScores
from workers.engines.scorer import Scorer, ScorerConfig
from workers.engines.tokens import TokenFrame

CODES = (7, 8)
FRAME, REVERSED = TokenFrame((1, 2), (3,), CODES), TokenFrame((4, 5, 6), (3,), CODES)
HOT = 99  # whoever reads it is sure of the second label
TOKENS = {"itm_short": [10, 11], "itm_long": [20, 21, 22, 23, 24, 25, HOT], "itm_last": [30]}
OF_LONG = [(0, 3), (2, 3), (4, 3)]


class ScriptedEngine:
    """Sure of the second label where it reads `HOT`, half sure of the first elsewhere."""

    asked: list[tuple[TokenFrame, list[int]]]

    def __init__(
        self, weights: str, engine_args: Mapping[str, Any], frame: TokenFrame, devices: int = 1, adapter: None = None
    ) -> None:
        self._frame = frame
        type(self).asked = []

    def score(self, documents: Sequence[np.ndarray[Any, Any]], frame: TokenFrame | None = None) -> Future[ShardScores]:
        frame = frame or self._frame
        self.asked += [(frame, document.tolist()) for document in documents]
        rows = np.log([[0.1, 0.9] if HOT in document else [0.6, 0.4] for document in documents]).astype(np.float32)
        rows = rows.reshape(-1, len(CODES))
        rows = rows[:, ::-1] if frame is REVERSED else rows
        lengths = np.array([len(document) + len(frame) for document in documents], np.int64)
        ones = np.ones(len(documents), np.int64)
        future: Future[ShardScores] = Future()
        future.set_result(ShardScores(rows, lengths, len(frame.prefix) * ones, ones, 1_000 * lengths))
        return future


def plan(store: Store, tokens: Mapping[str, list[int]], windows: Mapping[str, list[tuple[int, int]]]) -> None:
    rows = [
        {"item_id": name, "document_id": name, "document_uri": "in", "document_offset": 0, "text": "t", "tokens": ids}
        for name, ids in tokens.items()
    ]
    spans = [
        [{"first_token": first, "tokens": count, "first_char": 0, "chars": 1, "bytes": 1} for first, count in of_item]
        if (of_item := windows.get(name)) is not None
        else None
        for name in tokens
    ]
    table = pa.Table.from_pylist(rows, schema=PLAN).append_column(WINDOWS, pa.array(spans, WINDOW_LIST))
    store.create(layout.plan_part(0), to_arrow(table))


def score(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    merge: WindowMerge,
    two_orders: TwoOrders | None = None,
    tokens: Mapping[str, list[int]] = TOKENS,
) -> pa.Table:
    store = Store(str(root))
    plan(store, tokens, {"itm_long": OF_LONG})
    monkeypatch.setattr(scorer_module, "LabelEngine", ScriptedEngine)
    config = ScorerConfig(str(root), str(root), "0", {}, {}, FRAME, 1, two_orders=two_orders, windows=merge)
    assert Scorer(config).score(0).items == len(tokens)
    return predictions_of(read_scored_part(store, 0))


def test_each_window_is_a_request_and_the_item_one_row_with_their_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = score(tmp_path, monkeypatch, WindowMerge("surest"))
    assert ScriptedEngine.asked == [
        (FRAME, [10, 11]),
        *((FRAME, each) for each in ([20, 21, 22], [22, 23, 24], [24, 25, HOT])),
        (FRAME, [30]),
    ]
    assert found["item_id"].to_pylist() == list(TOKENS)
    assert found["input_tokens"].to_pylist() == [5, 18, 4]
    assert found["cached_tokens"].to_pylist() == [2, 6, 2]
    assert found["output_tokens"].to_pylist() == [1, 3, 1]
    assert found["device_nanoseconds"].to_pylist() == [5_000, 18_000, 4_000]
    np.testing.assert_allclose(np.exp(found["label_logprobs"].to_pylist()[1]), [0.1, 0.9], rtol=1e-6)
    assert found[WINDOW_ORDER].to_pylist() == [None, [2, 0, 1], None]
    assert set(found.column_names) == set(WINDOWED_PREDICTIONS.names)


def test_by_the_mean_the_windows_without_the_telling_word_outweigh_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = score(tmp_path, monkeypatch, WindowMerge("mean"))
    first, second = 0.6 ** (2 / 3) * 0.1 ** (1 / 3), 0.4 ** (2 / 3) * 0.9 ** (1 / 3)
    expected = [first / (first + second), second / (first + second)]
    np.testing.assert_allclose(np.exp(found["label_logprobs"].to_pylist()[1]), expected, rtol=1e-5)


def test_with_both_orders_every_window_is_averaged_before_windows_are_made_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = score(tmp_path, monkeypatch, WindowMerge("surest"), TwoOrders("averaged", REVERSED))
    assert len(ScriptedEngine.asked) == 10
    assert found["input_tokens"].to_pylist() == [5 + 6, 18 + 21, 4 + 5]
    np.testing.assert_allclose(np.exp(found["label_logprobs"].to_pylist()[1]), [0.1, 0.9], rtol=1e-6)


def test_seeded_all_windows_of_an_item_read_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    score(tmp_path, monkeypatch, WindowMerge("surest"), TwoOrders("seeded", REVERSED))
    frames = [frame for frame, document in ScriptedEngine.asked if document[0] in (20, 22, 24)]
    assert len(frames) == 3 and len(set(frames)) == 1


def test_a_shard_without_a_document_that_can_be_read_has_no_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = score(tmp_path, monkeypatch, WindowMerge("mean"), tokens={})
    assert len(found) == 0
