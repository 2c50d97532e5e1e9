"""The labels that complete runs have left, and which of their documents were drawn by chance.

In: runs, and the sources that may teach. Out: labelled token ids, as the runs' engine read them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.deciding.decisions import promise_of
from flows.deciding.population import read_population
from flows.deciding.terms import begun_term
from flows.questions.long_documents import read_at_once
from flows.run import Run
from flows.stages.planning import read_plan
from pipelines.adapting.labels import Labelled, Source, accepted_needed, at_one_rate
from pipelines.cascade.rule.history import walk
from pipelines.cascade.rule.target import target_steps
from pipelines.cascade.rule.term import term_steps
from pipelines.escalation.journal import Journal
from pipelines.escalation.ledger import Ledger
from pipelines.people.answers import Answers
from pipelines.routes import Route
from pipelines.store import layout
from pipelines.store.runs import result_parts
from pipelines.store.schemas import DUPLICATE_OF, WINDOWS, from_arrow, read_part
from pipelines.store.side_by_side import in_order

_COLUMNS = ("item_id", "route", "answer", "raw_prob", "label_mass")
# Where several know a document's label, the first of these is believed.
_BELIEVED: tuple[Source, ...] = ("gold", "people", "claude", "engine")


def replay(run: Run) -> Ledger:
    """Where every item stands, by the journal alone."""
    assert run.job.escalation is not None
    journal, ledger = Journal(run.store), Ledger(len(run.job.escalation.all_tiers))
    for chunk in range(journal.chunks()):
        ledger.begin(journal.state(chunk))
        answers = journal.answers(chunk)
        if answers is not None:
            ledger.settle(chunk, answers)
    return ledger


def people_answers(run: Run) -> Mapping[str, str]:
    """Labels that people gave to items of a run, by item id."""
    return {item_id: given.answer for item_id, given in Answers(run.store).by_item.items()}


def read_labelled(run: Run, sources: Sequence[Source]) -> Iterator[Labelled]:
    """Every document of a complete run that one of the sources has labelled, and what the engine alone answered.

    Documents that a policy withholds teach nothing: what an adapter has learnt of them would leave with it. Nor do
    those that were read in windows.
    """
    plan = read_plan(run)
    assert plan is not None, "a complete run has a plan"
    codes = {name: code for code, name in enumerate(run.job.labels)}
    known, uniform = known_labels(run, sources), uniform_items(run)
    for part in in_order(lambda shard: _plan_part(run, shard), range(plan.shards)):
        for row in part.to_pylist():
            item_id = row["item_id"]
            if found := known.believed(item_id, row["gold_label"]):
                tokens, (source, label) = np.array(row["tokens"], np.int32), found
                sure = known.sureness_of(item_id, source)
                yield Labelled(item_id, tokens, codes[label], source, item_id in uniform, sure)


@dataclass(frozen=True)
class KnownLabels:
    """Labels of a run's items by source, gold ones apart, and how sure the engine was of each."""

    names: frozenset[str]
    usable: tuple[Source, ...]
    by_source: Mapping[str, Mapping[str, str]]
    sureness: Mapping[str, float]

    def believed(self, item_id: str, gold: str | None) -> tuple[Source, str] | None:
        """The source that is believed, and its label; None where none of those that may teach knows one."""
        found = {"gold": gold, **{name: given.get(item_id) for name, given in self.by_source.items()}}
        known = ((source, label) for source in self.usable if (label := found[source]) in self.names)
        return next(((source, label) for source, label in known if label is not None), None)

    def sureness_of(self, item_id: str, source: Source) -> float:
        """Of the engine, where the label is its own."""
        return self.sureness[item_id] if source == "engine" else 0.0


def known_labels(run: Run, sources: Sequence[Source]) -> KnownLabels:
    """What Claude, people and, where nobody else knows, the engine answered."""
    answers, sureness = _answers(run)
    answers["people"] = people_answers(run)
    # Of a million accepted items, only those that can be wanted are held.
    most = accepted_needed(len(answers["claude"]) + len(answers["people"]))
    surest = heapq.nlargest(most, answers["engine"], key=sureness.__getitem__)
    answers["engine"] = {item_id: answers["engine"][item_id] for item_id in surest}
    usable = tuple(source for source in _BELIEVED if source in sources or source == "engine")
    return KnownLabels(frozenset(run.job.labels), usable, answers, sureness)


def _plan_part(run: Run, shard: int) -> pa.Table:
    """What may teach of a shard: no failed document has tokens, nor has a copy, whose original teaches the same.

    Nor does a document that was read in windows: its label may be true of none of them, and none holds all of it.
    """
    names = ["item_id", "tokens", "gold_label", "withheld"]
    part = read_at_once(run.job, from_arrow(run.store.read(layout.plan_part(shard)), names, if_there=[WINDOWS]))
    return part.filter(pc.and_(pc.is_valid(part["tokens"]), pc.is_null(part["withheld"])))


def _answers(run: Run) -> tuple[dict[str, Mapping[str, str]], dict[str, float]]:
    """What Claude answered, and what stands of the engine's own answers, by item id; and how sure the engine was.

    Copies are left out: their originals teach the same.
    """
    found: dict[str, dict[str, str]] = {"claude": {}, "engine": {}}
    sureness: dict[str, float] = {}
    of_route = {Route.ESCALATED: "claude", Route.ACCEPTED: "engine"}
    for key in result_parts(run.store):
        table = read_part(run.store.read(key), [*_COLUMNS, DUPLICATE_OF])
        rows: list[dict[str, Any]] = table.filter(pc.is_null(table[DUPLICATE_OF])).to_pylist()
        for row in rows:
            sureness[row["item_id"]] = (row["raw_prob"] or 0.0) * (row["label_mass"] or 0.0)
            if row["route"] in of_route and row["answer"] is not None:
                found[of_route[row["route"]]][row["item_id"]] = row["answer"]
    return dict(found), sureness


def uniform_items(run: Run) -> frozenset[str]:
    """Items of a run with a target that are as good as drawn at random, see `at_one_rate`."""
    promise, plan = promise_of(run), read_plan(run)
    if promise is None or plan is None or run.job.escalation is None:
        return frozenset()
    population = read_population(run, plan)
    labels = population.labels(replay(run), tuple(run.job.labels))
    term = begun_term(run, promise, len(population.scored))
    if term:
        steps = term_steps(population.scored, term.term, term.planned, term.count, labels)
    else:
        steps = target_steps(population.scored, promise, labels)
    finished = walk(steps, labels).finished
    drawn = at_one_rate(finished, population.scored.generator("held back"))
    ids = population.item_ids.take(pa.array(drawn, pa.int64()))
    return frozenset(map(str, ids.to_pylist()))
