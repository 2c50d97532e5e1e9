"""Every item of a run that may be sent to Claude, as arrays: what a quality rule decides over."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flows.deciding.prior import read_prior
from flows.escalation.requests import Asked
from flows.run import Run
from flows.stages.planning import PlanSummary
from pipelines.cascade.confidence import Scores
from pipelines.cascade.rule.scored import AGREES, DIFFERS, UNANSWERED, UNASKED, Labels, Scored
from pipelines.escalation.ledger import Ledger
from pipelines.predictions import read_predictions
from pipelines.scored_parts import is_scored, predictions_of
from pipelines.store.side_by_side import in_order


@dataclass(frozen=True)
class ScoredShard:
    """The scored items of a shard, in the plan's order; arrays of shape [scored items]."""

    item_ids: pa.Array[Any]
    text_bytes: NDArray[np.int64]
    logprobs: NDArray[np.float64]  # [scored items, labels]
    scores: Scores
    is_answered: NDArray[np.bool_]  # so that it can be read
    may_be_sent: NDArray[np.bool_]

    @property
    def ranked_by(self) -> NDArray[np.float64]:
        """What makes an item surer than another, before anything is calibrated."""
        return self.scores.raw_prob * self.scores.label_mass


@dataclass(frozen=True)
class Withheld:
    """Items that were scored and that a policy holds back, in the plan's order: arrays of shape [withheld items]."""

    confidence: NDArray[np.float64]
    answer: NDArray[np.int64]


@dataclass(frozen=True)
class Population:
    """Items that were scored and that no policy holds back, in the plan's order."""

    shard_ends: NDArray[np.int64]  # [shards]: items up to and with each shard
    item_ids: pa.Array[Any]
    text_bytes: NDArray[np.int64]  # of each item's text
    scored: Scored
    may_be_sent: tuple[NDArray[np.bool_], ...]  # by shard, of all that were scored: which are of the population
    withheld: Withheld

    def asked(self, items: NDArray[np.int64]) -> Asked:
        """The ids of some of the items, shard by shard."""
        ordered = np.sort(items)
        cuts = np.searchsorted(ordered, self.shard_ends)

        def of_shard(shard: int) -> list[str]:
            first = cuts[shard - 1] if shard else 0
            ids: list[str] = self.item_ids.take(ordered[first : cuts[shard]]).to_numpy(zero_copy_only=False).tolist()
            return ids

        return of_shard

    def labels(self, ledger: Ledger, names: tuple[str, ...]) -> Labels:
        """What Claude's answers so far say of the engine's: shape [items]."""
        labels = np.full(len(self.scored), UNASKED, np.int8)
        settled = ledger.settled_labels()
        if not settled:
            return labels
        places = pc.index_in(pa.array(settled), value_set=self.item_ids).to_numpy(zero_copy_only=False)
        codes = {name: code for code, name in enumerate(names)}
        given = np.array([-1 if label is None else codes[label] for label in settled.values()])
        agrees = (given == self.scored.answer[places]) & ~self.scored.has_no_answer[places]
        verdicts = np.where(agrees, AGREES, DIFFERS)
        labels[places] = np.where(given < 0, UNANSWERED, verdicts)
        return labels

    def paid_usd(self, ledger: Ledger) -> NDArray[np.float64]:
        """What Claude has cost for each item that is settled, NaN where unknown: shape [items]."""
        paid = np.full(len(self.scored), np.nan)
        settled = list(ledger.settled_labels())
        if settled:
            places = pc.index_in(pa.array(settled), value_set=self.item_ids).to_numpy(zero_copy_only=False)
            costs = [ledger.standing(item_id).cost_usd for item_id in settled]
            paid[places] = [np.nan if cost is None else float(cost) for cost in costs]
        return paid


def read_population(run: Run, plan: PlanSummary) -> Population:
    """Read it from what is committed; some 90 bytes an item are held."""
    ids: list[pa.Array[Any]] = []
    confidence, withheld_confidence = [np.zeros(0)], [np.zeros(0)]
    answers, withheld_answers = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    is_answered = [np.zeros(0, np.bool_)]
    text_bytes: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    may_be_sent: list[NDArray[np.bool_]] = []
    for items in in_order(lambda shard: read_scored_shard(run, shard), range(plan.shards)):
        chosen, ranked_by, answer = items.may_be_sent, items.ranked_by, items.scores.answer
        may_be_sent.append(chosen)
        ids.append(items.item_ids.filter(pa.array(chosen)))
        text_bytes.append(items.text_bytes[chosen])
        confidence.append(ranked_by[chosen])
        answers.append(answer[chosen])
        is_answered.append(items.is_answered[chosen])
        withheld_confidence.append(ranked_by[~chosen])
        withheld_answers.append(answer[~chosen])
    scored = Scored(
        confidence=np.concatenate(confidence),
        answer=np.concatenate(answers),
        seed=int.from_bytes(hashlib.sha256(run.run_id.encode()).digest()[:8], "big"),
        earlier=read_prior(run).seen,
        is_answered=np.concatenate(is_answered),
    )
    return Population(
        shard_ends=np.cumsum([chosen.sum() for chosen in may_be_sent], dtype=np.int64),
        item_ids=pa.concat_arrays([pa.array([], pa.string()), *ids]),
        text_bytes=np.concatenate(text_bytes),
        scored=scored,
        may_be_sent=tuple(may_be_sent),
        withheld=Withheld(np.concatenate(withheld_confidence), np.concatenate(withheld_answers)),
    )


def read_scored_shard(run: Run, shard: int) -> ScoredShard:
    """The scored items of one shard."""
    part = run.parts.read(shard)
    predicted = read_predictions(predictions_of(part), tuple(run.job.labels), None)
    items = part.filter(pa.array(is_scored(part)))
    return ScoredShard(
        item_ids=items["item_id"].combine_chunks(),
        text_bytes=items["text_bytes"].to_numpy(),
        logprobs=predicted.logprobs,
        scores=predicted.scores,
        is_answered=predicted.is_readable,
        may_be_sent=pc.is_null(items["withheld"]).to_numpy(),
    )
