"""The stages of a run, in order. Each looks at what is committed and does the rest; none knows of Prefect.

plan_documents -> score_shards -> publish_scored -> (flows.escalation.escalate) -> publish_chunk, publish_unsent
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from flows.console.progress import ProgressReporter
from flows.questions.code_review import ReviewQuestion
from flows.run import Run, own_places, run_listing
from pipelines.cascade.policy import EscalationPolicy
from pipelines.documents.code.cutting.pieces import WHOLE_DOCUMENTS, cut_into_pieces
from pipelines.documents.code.inputs import read_code, with_verdicts
from pipelines.documents.code.records import LeftOut
from pipelines.documents.gold import in_the_jobs_spelling, read_gold_file, with_gold
from pipelines.documents.item_sum import ItemSum
from pipelines.documents.left_out import LeftOutList, told_left_out
from pipelines.documents.planning import PlanLimits, plan_shards, shard_tokens_for
from pipelines.documents.readers.readers import read_documents
from pipelines.documents.records import Columns, Document, SourceFile
from pipelines.documents.sources.sources import read_ahead
from pipelines.errors import JobError
from pipelines.escalation.journal import ChunkState
from pipelines.escalation.ledger import Ledger
from pipelines.report.summary import Summary
from pipelines.results import REVIEWED_COLUMNS, DecidedShard, answer_rows, decide_shard, empty_results
from pipelines.settings import settings
from pipelines.store import layout
from pipelines.store.schemas import PREDICTIONS, REVIEWS, from_arrow, to_arrow, to_parquet
from pipelines.tasks.code_review.labelled_faults import read_labelled_faults
from workers.engines.catalogue import catalogue, refuse_code
from workers.engines.pool import EnginePool, cluster_device, start_ray
from workers.engines.scorer import MAX_SHARDS_IN_FLIGHT, SHARDS_IN_FLIGHT, WRITING_TOKENS_IN_FLIGHT, ScorerConfig

# The ids to ask Claude about, by shard.
Asked = Callable[[int], list[str]]

_ROWS_PER_RESULT_PART = 50_000
# Compiling the model costs each engine some ten seconds and makes it about a fifth faster on a CPU: it pays off from
# about this much input on.
_COMPILE_FROM_INPUT_BYTES = 30_000_000
# How far to look for a document that can be scored, before engines are asked for.
_LISTED_TO_LOOK, _LOOKED_AT = 1_000, 1_000


class PlanSummary(BaseModel):
    """plan/complete.json: the plan is whole."""

    model_config = ConfigDict(frozen=True)

    shards: int
    items: int
    failed_items: int
    gold_items: int
    document_tokens: int
    items_sum: str  # `ItemSum` of their ids: what the rows of a complete run add up to
    left_out: dict[str, int] = {}  # how many files, folders or commits, by reason

    @property
    def scorable_items(self) -> int:
        """How many have a text."""
        return self.items - self.failed_items


def read_summary(run: Run) -> Summary | None:
    """The summary of a complete run."""
    if not run.store.exists(layout.COMPLETE):
        return None
    return Summary.model_validate_json(run.store.read(layout.SUMMARY))


def plan_documents(run: Run, progress: ProgressReporter) -> PlanSummary:
    """Read every document and commit the shards.

    Raises:
        JobError: the input is no longer what the run was started with.
    """
    committed = run.store.read_if_exists(layout.PLAN_COMPLETE)
    if committed:
        return PlanSummary.model_validate_json(committed)
    found = run_listing(run)
    left_out, item_ids = LeftOutList(found.left_out), ItemSum()
    counts = {"shards": 0, "items": 0, "failed_items": 0, "gold_items": 0, "document_tokens": 0}
    with progress.stage("plan", "documents"):
        for table in _shards(run, found.sources, left_out):
            if not run.store.create(layout.plan_part(counts["shards"]), to_arrow(table)):
                # A killed planning is resumed over what it committed; items would be lost or doubled at the seam.
                raise JobError(["input: it changed while it was being planned; start a new run with another --run-id"])
            item_ids.add(table["item_id"].to_numpy().tolist())
            counts["shards"] += 1
            counts["items"] += len(table)
            counts["failed_items"] += len(table) - table["failure"].null_count
            counts["gold_items"] += len(table) - table["gold_label"].null_count
            counts["document_tokens"] += _document_tokens(table)
            progress.advance(len(table))
    if run.job.review or found.left_out:
        run.store.create(layout.LEFT_OUT, to_arrow(left_out.table()))
    summary = PlanSummary(**counts, items_sum=str(item_ids), left_out=left_out.counts())
    if told := told_left_out(summary.left_out):
        progress.say(f"left out  {told}: listed in {run.store.uri(layout.LEFT_OUT)}")
    run.store.create(layout.PLAN_COMPLETE, summary.model_dump_json().encode())
    return summary


def _shards(run: Run, sources: list[SourceFile], left_out: LeftOutList) -> Iterator[pa.Table]:
    """The plan's parts; what a code review leaves out is noted on the way."""
    encode, shard_tokens = run.question.encode, shard_tokens_for(sources)
    documents = left_out.take(_documents(run, sources))
    if not run.job.review:
        limits = PlanLimits(run.question.document_tokens, shard_tokens)
        return plan_shards(documents, encode, limits, _withhold(run))
    tables = plan_shards(documents, encode, PlanLimits(WHOLE_DOCUMENTS, shard_tokens), _withhold(run))
    return (cut_into_pieces(table, encode, run.question.document_tokens) for table in tables)


def _document_tokens(table: pa.Table) -> int:
    lists = table["tokens"]
    if "pieces" in table.column_names:
        lists = pc.struct_field(pc.list_flatten(table["pieces"]), "tokens")
    return pc.sum(pc.list_value_length(lists)).as_py() or 0


def _documents(run: Run, sources: list[SourceFile]) -> Generator[Document | LeftOut]:
    job = run.job
    policy = _policy(run)
    columns = Columns(
        text=job.columns.text,
        id=job.columns.id,
        gold=job.evaluation.gold_column if job.evaluation else None,
        attributes=policy.columns if policy else frozenset(),
    )
    limit = job.limits.max_document_bytes
    if job.review:
        code: Iterable[Document | LeftOut] = read_code(job.input, sources, job.review, columns, limit, own_places(job))
        if job.evaluation and job.evaluation.faults_file:
            code = with_verdicts(code, read_labelled_faults(job.evaluation.faults_file))
        yield from code
        return
    documents: Iterable[Document] = itertools.chain.from_iterable(
        read_documents(source, columns, limit) for source in read_ahead(sources)
    )
    if job.evaluation and job.evaluation.gold_file:
        documents = with_gold(documents, read_gold_file(job.evaluation.gold_file, job.labels))
    else:
        documents = in_the_jobs_spelling(documents, job.labels)
    yield from documents


def _policy(run: Run) -> EscalationPolicy | None:
    expression = run.job.policy.never_escalate
    return None if expression is None else EscalationPolicy.parse(expression)


def _withhold(run: Run) -> Callable[[Document], str | None]:
    policy = _policy(run)
    return lambda document: policy.held_by(document.attributes) if policy else None


def unscored_shards(run: Run, plan: PlanSummary) -> list[int]:
    """Shards without committed predictions; none where nothing is scored."""
    if not run.has_engine:
        return []
    scored = {layout.shard_of(key) for key in run.store.list(layout.PREDICTIONS)}
    return [shard for shard in range(plan.shards) if shard not in scored]


def start_engines(run: Run) -> EnginePool:
    """Ask Ray for the engines; they start while the documents are read.

    Raises:
        JobError: they would run code that nobody here has allowed.
        EngineError: there is no room for one.
    """
    refuse_code(run.job.model)
    start_ray(settings().ray_address)
    device = cluster_device(settings().device)
    defaults = catalogue().devices[device]
    arguments: dict[str, Any] = {**defaults.engine, **run.model.engine}
    if device == "cpu" and run.record.input_bytes < _COMPILE_FROM_INPUT_BYTES:
        arguments.setdefault("enforce_eager", True)
    config = ScorerConfig(
        run_root=run.store.root,
        weights=run.model.weights,
        revision=run.record.model_revision,
        engine_args=arguments,
        environment=defaults.environment,
        frame=run.question.frame,
        devices_per_engine=int(arguments.get("tensor_parallel_size", 1)),
        review=run.question.review_settings if isinstance(run.question, ReviewQuestion) else None,
        two_orders=run.question.two_orders,
    )
    return EnginePool(config, run.job.compute.engines, settings().device)


def start_engines_if_needed(run: Run) -> EnginePool | None:
    """Ask for engines unless every shard is scored already, or nothing is there to score.

    Before the plan is whole, they are asked for once a look at the first documents finds one that can be scored; where
    it finds none, the plan decides.
    """
    if not run.has_engine:
        return None
    committed = run.store.read_if_exists(layout.PLAN_COMPLETE)
    if not committed:
        return start_engines(run) if _begins_scorable(run) else None
    plan = PlanSummary.model_validate_json(committed)
    return start_engines(run) if plan.scorable_items and unscored_shards(run, plan) else None


def _begins_scorable(run: Run) -> bool:
    """Whether one of the first documents can be scored; of a very long list of files, which takes long, surely one."""
    if run.record.input_files > _LISTED_TO_LOOK:
        return True
    with closing(_documents(run, run_listing(run).sources)) as documents:
        first = itertools.islice((each for each in documents if isinstance(each, Document)), _LOOKED_AT)
        return any(document.failure is None for document in first)


def settle_failed_shards(run: Run, plan: PlanSummary) -> None:
    """Of a plan without anything to score, commit predictions without rows: no engine is asked for them."""
    if plan.scorable_items:
        return
    schema = REVIEWS if run.job.review else PREDICTIONS
    for shard in unscored_shards(run, plan):
        run.store.create(layout.predictions_part(shard), to_arrow(schema.empty_table()))


def refuse_empty_answer_key(run: Run, plan: PlanSummary) -> None:
    """A simulation answers from known answers: of which there must be one.

    Raises:
        JobError: no document has any.
    """
    is_simulation = run.job.escalation is not None and run.job.escalation.provider == "simulation"
    if is_simulation and plan.scorable_items and not plan.gold_items:
        raise JobError(
            [
                f"evaluation: none of {plan.scorable_items:,} documents has a known answer, from which the simulation "
                "would answer; the ids of gold_file must be those of the documents, or gold_column must hold labels"
            ]
        )


def score_shards(run: Run, plan: PlanSummary, pool: EnginePool, progress: ProgressReporter) -> None:
    """Score what is not scored yet."""
    todo = unscored_shards(run, plan)
    items = plan.items - plan.failed_items
    before = round(items * (1 - len(todo) / plan.shards)) if plan.shards else 0  # shards are about equal
    with progress.waiting("engines", f"{pool.engines} starting"):
        pool.wait_ready()
    progress.say(f"engines   {pool.engines:>9,} started, the first ready after {pool.start_seconds:.1f} s")
    with progress.stage("score", "items", total=items, before=before):
        pool.score(todo, lambda report: progress.advance(report.items), shards_in_flight(run, plan))
    held = {"engines": pool.engines, "held_seconds": pool.held_seconds, "start_seconds": pool.start_seconds}
    run.store.create(layout.engine_time(time.time_ns()), json.dumps(held).encode())


def shards_in_flight(run: Run, plan: PlanSummary) -> int:
    """How many shards an engine works on at a time."""
    if not isinstance(run.question, ReviewQuestion):
        return SHARDS_IN_FLIGHT
    wanted = WRITING_TOKENS_IN_FLIGHT * plan.shards // max(plan.document_tokens, 1)
    return min(max(wanted, SHARDS_IN_FLIGHT), MAX_SHARDS_IN_FLIGHT)


def decided(run: Run, shard: int) -> DecidedShard:
    """A shard with the rule applied; computed anew each time, from what is committed."""
    columns = ["item_id", "document_id", "document_uri", "document_offset", "gold_label", "failure", "withheld", "note"]
    plan = from_arrow(run.store.read(layout.plan_part(shard)), columns)
    predictions = from_arrow(run.store.read(layout.predictions_part(shard))) if run.has_engine else None
    decisions = None if run.facts.rule else run.decisions.of_shard(shard)
    return decide_shard(run.facts, plan, predictions, datetime.now(UTC), decisions)


def publish_scored(run: Run, plan: PlanSummary, progress: ProgressReporter) -> None:
    """Publish every row that is final without Claude, several shards to a part."""
    with progress.stage("publish", "items"):
        for number, group in enumerate(_groups(plan)):
            key = layout.accepted_results(number)
            if run.store.exists(key):
                continue
            tables = [decided(run, shard).settled for shard in group]
            table = pa.concat_tables([empty_results(), *tables])
            run.store.create(key, to_parquet(table))
            progress.advance(len(table))


def _groups(plan: PlanSummary) -> list[range]:
    """Shards by result part: parts of a useful size, and at least one, so that an empty run can be read too."""
    size = max(1, math.ceil(plan.shards * _ROWS_PER_RESULT_PART / max(plan.items, 1)))
    return [range(first, min(first + size, plan.shards)) for first in range(0, plan.shards, size)] or [range(0)]


def doubtful_ids(run: Run, shard: int) -> list[str]:
    """Items of a shard that go to Claude."""
    ids: list[str] = decided(run, shard).doubtful["item_id"].to_numpy().tolist()
    return ids


def publish_chunk(
    run: Run, state: ChunkState, answers: pa.Table, settled: list[str], ledger: Ledger, model_suffix: str
) -> None:
    """Publish the rows of the items that a message batch settled; ``answers`` are all of the batch's."""
    key = layout.escalated_results(state.chunk)
    if settled and not run.store.exists(key):
        verified = _verified(answers) if run.job.review else {}
        rows = _answered(run, state.draft.shards, settled, ledger, model_suffix, verified)
        run.store.create(key, to_parquet(rows))


def _verified(answers: pa.Table) -> dict[str, dict[str, Any]]:
    reviewed = answers.filter(pc.is_valid(answers["findings"])).select(["item_id", *REVIEWED_COLUMNS])
    return {row["item_id"]: row for row in reviewed.to_pylist()}


def _answered(
    run: Run,
    shards: Iterable[int],
    item_ids: list[str],
    ledger: Ledger,
    model_suffix: str,
    verified: Mapping[str, Mapping[str, Any]],
) -> pa.Table:
    wanted = pa.array(item_ids, pa.string())
    tables = [decided(run, shard).doubtful for shard in shards]
    doubtful = pa.concat_tables([table.filter(pc.is_in(table["item_id"], value_set=wanted)) for table in tables])
    standings = [ledger.standing(item_id) for item_id in doubtful["item_id"].to_numpy().tolist()]
    return answer_rows(doubtful, standings, datetime.now(UTC), model_suffix, verified)


def publish_unsent(run: Run, plan: PlanSummary, ledger: Ledger, reason: str, model_suffix: str) -> None:
    """Publish a row for every doubtful item that no answer has settled: route `review`, with the reason."""
    for number, group in enumerate(_groups(plan)):
        key = layout.unsent_results(number)
        if run.store.exists(key):
            continue
        tables = []
        for shard in group:
            doubtful = decided(run, shard).doubtful
            unsettled = set(ledger.unsettled(doubtful["item_id"].to_numpy().tolist()))
            rows = doubtful.filter(pc.is_in(doubtful["item_id"], value_set=pa.array(list(unsettled), pa.string())))
            standings = [
                replace(ledger.standing(item_id), label=None, reason=reason)
                for item_id in rows["item_id"].to_numpy().tolist()
            ]
            tables.append(answer_rows(rows, standings, datetime.now(UTC), model_suffix))
        table = pa.concat_tables([empty_results(), *tables])
        if len(table):
            run.store.create(key, to_parquet(table))
