"""The Ray actor that scores shards: read a plan part, score it, commit the predictions.

Several calls run at a time in their own threads, so that the engine always holds the next shard's prompts while the
last one's predictions are written. Work may run twice (Ray, a second `submit`); the commit happens once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pyarrow as pa

from pipelines.importing import uncollected
from pipelines.scored_parts import items_of_plan, scored_part
from pipelines.settings import withhold_keys_from_engine
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.question_store import QuestionStore
from pipelines.store.schemas import (
    PREDICTIONS,
    WINDOW_ORDER,
    WINDOWED_PREDICTIONS,
    WINDOWS,
    from_arrow,
    to_arrow,
)
from pipelines.tasks.code_review.answers import engine_answer_schema
from pipelines.tasks.window_answers import WindowMerge
from workers.engines.adapters import Adapter
from workers.engines.engine import LabelEngine, ReviewEngine
from workers.engines.fitting.prefix import PrefixReuse
from workers.engines.label_orders import TwoOrders
from workers.engines.questions import QuestionFrame, QuestionsEngine
from workers.engines.requests import ShardScores
from workers.engines.reviews import Reviewer, ReviewSettings
from workers.engines.tokens import TextTokenizer, TokenFrame
from workers.engines.windows import score_windows
from workers.engines.word_tokens import TokenIds


@dataclass(frozen=True)
class ScorerConfig:
    """What an actor needs to know; small, and the same for every actor of a run."""

    run_root: str
    weights: str
    revision: str
    engine_args: Mapping[str, Any]
    environment: Mapping[str, str]
    frame: TokenFrame
    devices_per_engine: float  # less than one: engines share a GPU
    memory_bytes: int | None = None  # of its machine, that an engine on a CPU comes to; None: not known
    review: ReviewSettings | None = None  # None: documents are classified
    two_orders: TwoOrders | None = None  # None: the labels are read as given
    windows: WindowMerge | None = None  # None: no document is read in windows
    reuse: PrefixReuse | None = None  # of the frame; None: nothing is said of it
    adapter: Adapter | None = None
    questions: tuple[QuestionFrame, ...] = ()  # several, whose frames begin as `frame` does; none: it is the only one

    @property
    def places(self) -> list[str]:
        """What an engine reads and writes."""
        return [self.run_root, self.weights, *([self.adapter.source] if self.adapter else [])]


@dataclass(frozen=True)
class ShardReport:
    """What the driver hears of a scored shard."""

    shard: int
    items: int
    scorer_pid: int


# Scores a shard, given its part of the plan, and commits the predictions; returns how many items were scored.
Commit = Callable[[int, bytes], int]


class Scorer:
    """One engine and the shards it is given."""

    def __init__(self, config: ScorerConfig) -> None:
        withhold_keys_from_engine(config.places)  # before any code of a model's own can look
        os.environ.update(config.environment)  # read by vLLM when it is imported, which happens below
        self._store = Store(config.run_root)
        arguments = dict(config.engine_args)
        if not os.path.isdir(config.weights):  # a Hugging Face id: the very commit that the run recorded
            arguments["revision"] = config.revision
        with uncollected():  # vLLM is imported here
            if config.questions:
                self._commit = _answer_several(config, arguments, self._store)
                return
            predict = _classify(config, arguments) if config.review is None else _review(config, arguments)
            self._commit = self._commit_one(predict)

    def ready(self) -> bool:
        """Returns once the engine has started."""
        return True

    def score(self, shard: int) -> ShardReport:
        """Score one shard and commit its predictions."""
        items = self._commit(shard, self._store.read(layout.plan_part(shard)))
        return ShardReport(shard, items, os.getpid())

    def _commit_one(self, predict: Callable[[bytes], pa.Table]) -> Commit:
        def commit(shard: int, plan_part: bytes) -> int:
            predictions = predict(plan_part)
            part = scored_part(items_of_plan(plan_part), predictions)
            self._store.create(layout.predictions_part(shard), to_arrow(part))
            return len(predictions)

        return commit


def _classify(config: ScorerConfig, arguments: Mapping[str, Any]) -> Callable[[bytes], pa.Table]:
    engine = LabelEngine(config.weights, arguments, config.frame, config.devices_per_engine, config.adapter)
    if config.adapter:
        engine.refuse_idle_adapter(config.frame)

    def score(item_ids: Sequence[str], documents: Sequence[TokenIds]) -> ShardScores:
        if config.two_orders is None:
            return engine.score(documents).result()
        return config.two_orders.score(engine, item_ids, documents)

    def predict(plan_part: bytes) -> pa.Table:
        plan = from_arrow(plan_part, columns=["item_id", "tokens"], if_there=[WINDOWS])
        plan = plan.filter(pa.compute.is_valid(plan["tokens"]))
        documents = _token_arrays(plan["tokens"])
        item_ids = [str(item_id) for item_id in plan["item_id"].to_pylist()]
        if config.windows is None:
            return prediction_table(plan["item_id"], score(item_ids, documents))
        found = score_windows(score, item_ids, documents, plan[WINDOWS].to_pylist(), config.windows)
        orders = pa.array(found.orders, WINDOWED_PREDICTIONS.field(WINDOW_ORDER).type)
        return prediction_table(plan["item_id"], found.scores).append_column(
            WINDOWED_PREDICTIONS.field(WINDOW_ORDER), orders
        )

    return predict


def _answer_several(config: ScorerConfig, arguments: Mapping[str, Any], store: Store) -> Commit:
    engine = QuestionsEngine(config.weights, arguments, config.questions, config.devices_per_engine)

    def commit(shard: int, plan_part: bytes) -> int:
        plan = from_arrow(plan_part, columns=["item_id", "tokens"])
        plan = plan.filter(pa.compute.is_valid(plan["tokens"]))
        each = engine.score_all(_token_arrays(plan["tokens"]))
        for question, scores in zip(config.questions, each, strict=True):
            items = items_of_plan(plan_part, question.key)
            part = scored_part(items, prediction_table(plan["item_id"], scores))
            QuestionStore(store, question.key).create(layout.predictions_part(shard), to_arrow(part))
        return len(plan)

    return commit


def _review(config: ScorerConfig, arguments: Mapping[str, Any]) -> Callable[[bytes], pa.Table]:
    assert config.review is not None
    engine = ReviewEngine(
        config.weights,
        arguments,
        config.frame.codes,
        engine_answer_schema(),
        config.review.max_output_tokens,
        config.devices_per_engine,
        config.adapter,
    )
    if config.adapter:
        engine.refuse_idle_adapter(config.frame)
    assert config.review.tokenizer_json is not None
    reviewer = Reviewer(engine, config.review, TextTokenizer(config.review.tokenizer_json).encode_documents)

    def predict(plan_part: bytes) -> pa.Table:
        plan = from_arrow(plan_part, columns=["item_id", "text", "pieces"])
        return reviewer.review(plan.filter(pa.compute.is_valid(plan["text"])))

    return predict


def _token_arrays(column: pa.ChunkedArray[Any]) -> list[TokenIds]:
    """The token ids of each document, as parts of one array; none is null."""
    lists: Any = column.combine_chunks()
    ids = lists.values.to_numpy()
    return [ids[first:end] for first, end in pairwise(lists.offsets.to_pylist())]


def prediction_table(item_ids: pa.ChunkedArray[Any], scores: ShardScores) -> pa.Table:
    """The scores as a table of schema `PREDICTIONS`."""
    items, labels = scores.label_logprobs.shape
    offsets = pa.array(range(0, items * labels + 1, labels), pa.int32())
    now = datetime.now(UTC)
    return pa.table(
        [
            item_ids,
            pa.ListArray.from_arrays(offsets, pa.array(scores.label_logprobs.ravel())),
            pa.array(scores.input_tokens),
            pa.array(scores.cached_tokens),
            pa.array(scores.output_tokens),
            pa.array(scores.device_nanoseconds),
            pa.array([now] * items, PREDICTIONS.field("scored_at").type),
        ],
        schema=PREDICTIONS,
    )
