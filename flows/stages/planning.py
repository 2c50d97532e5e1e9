"""Planning: every document read, cut into tokens and committed, shard by shard.

Looks at what is committed and does the rest; knows nothing of Prefect.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from flows.console.progress import ProgressReporter
from flows.questions.several import OneOfSeveral
from flows.run import Run, own_places, run_listing
from pipelines.cascade.policy import EscalationPolicy
from pipelines.documents.carried import Carrier, carried_schema
from pipelines.documents.code.records import LeftOut
from pipelines.documents.item_sum import ItemSum
from pipelines.documents.left_out import LeftOutList, first_documents, told_left_out
from pipelines.documents.planned_so_far import PlannedSoFar
from pipelines.documents.planning import REMEMBERED, shard_tokens_for
from pipelines.documents.records import Document, RowColumns, SourceFile
from pipelines.errors import JobError
from pipelines.scored_parts import is_copy
from pipelines.store import layout
from pipelines.store.schemas import DUPLICATE_OF, GOLD_LABELS, from_arrow, to_arrow
from pipelines.store.side_by_side import in_order

# Parts that are put while the next ones are made; each holds the texts and tokens of a shard.
_PARTS_AT_ONCE = 8
# Of a committed part, what the plan counts and where it goes on.
_COUNTED = ("item_id", "document_uri", "tokens", "failure", "gold_label")


class PlanSummary(BaseModel):
    """Counts of a whole plan, as plan/complete.json holds them."""

    model_config = ConfigDict(frozen=True)

    shards: int
    items: int
    failed_items: int
    gold_items: int
    document_tokens: int
    items_sum: str  # `ItemSum` of their ids: what the rows of a complete run add up to
    duplicate_items: int = 0  # copies: their text is another item's
    gold_items_of: dict[str, int] = {}  # of several questions: items with a known answer to each, by its folder
    left_out: dict[str, int] = {}  # how many files, folders or commits, by reason

    @property
    def scorable_items(self) -> int:
        """Number of items that have a text of their own."""
        return self.items - self.failed_items - self.duplicate_items


def read_plan(run: Run) -> PlanSummary | None:
    """What the plan came to; None before it is whole."""
    committed = run.store.read_if_exists(layout.PLAN_COMPLETE)
    return None if committed is None else of_question(run, PlanSummary.model_validate_json(committed))


def of_question(run: Run, plan: PlanSummary) -> PlanSummary:
    """The plan as one of several questions sees it: with its own known answers."""
    if not isinstance(run.question, OneOfSeveral):
        return plan
    return plan.model_copy(update={"gold_items": plan.gold_items_of.get(run.question.key, 0)})


def plan_documents(
    run: Run, progress: ProgressReporter, on_planned: Callable[[int, int], None] = lambda shard, tokens: None
) -> PlanSummary:
    """Read every document and commit the shards.

    Args:
        run: whose documents.
        progress: is told of each shard.
        on_planned: called with the number of each shard once it is committed, in order, and with its tokens; of a plan
            that is whole already, not at all. What it raises ends the planning.

    Raises:
        JobError: the input is no longer what the run was started with.
    """
    if committed := read_plan(run):
        return committed
    found = run_listing(run)
    left_out, item_ids, gold = LeftOutList(found.left_out), ItemSum(), Counter[str]()
    counts = {"shards": 0, "items": 0, "failed_items": 0, "gold_items": 0, "document_tokens": 0, "duplicate_items": 0}
    with progress.stage("plan", "documents") as stage:
        _commit_carried(run, found.sources)
        for shard, table in _parts(run, found.sources, left_out):
            tokens = _document_tokens(table)
            item_ids.add(table["item_id"].to_numpy().tolist())
            counts["shards"] += 1
            counts["items"] += len(table)
            counts["failed_items"] += len(table) - table["failure"].null_count
            counts["gold_items"] += len(table) - table["gold_label"].null_count
            if GOLD_LABELS in table.column_names:
                gold.update(_known_answers(table))
            counts["document_tokens"] += tokens
            counts["duplicate_items"] += int(is_copy(table).sum())
            stage.advance(len(table))
            on_planned(shard, tokens)
    if run.question.leaves_out or found.left_out:
        run.store.create(layout.LEFT_OUT, to_arrow(left_out.table()))
    summary = PlanSummary(**counts, items_sum=str(item_ids), left_out=left_out.counts(), gold_items_of=dict(gold))
    if told := told_left_out(summary.left_out):
        progress.say(f"left out  {told}: listed in {run.store.uri(layout.LEFT_OUT)}")
    if summary.duplicate_items:
        progress.say(
            f"copies    {summary.duplicate_items:>9,} of {summary.items:,} documents have the text of another, which "
            "is asked about once (duplicates: keep asks about each)"
        )
    run.store.create(layout.PLAN_COMPLETE, summary.model_dump_json().encode())
    return summary


def _commit_carried(run: Run, sources: list[SourceFile]) -> None:
    """Tell, before the first row, of which types the carried columns are; what is told stands."""
    columns = _columns(run)
    if columns.carried and not run.store.exists(layout.CARRIED):
        run.store.create(layout.CARRIED, to_arrow(carried_schema(columns, sources).empty_table()))


def _commit(run: Run, shard: int, table: pa.Table) -> tuple[int, pa.Table]:
    if not run.store.create(layout.plan_part(shard), to_arrow(table)):
        # A killed planning is resumed over what it committed; items would be lost or doubled at the seam.
        raise JobError(["input: it changed while it was being planned; start a new run with another --run-id"])
    return shard, table


def _parts(run: Run, sources: list[SourceFile], left_out: LeftOutList) -> Iterator[tuple[int, pa.Table]]:
    """The plan's parts: of a planning that was killed, those it committed are read, the others made and committed."""
    so_far = PlannedSoFar()
    # What a review leaves out is told by reading all of its input, again.
    begun = range(0 if run.question.leaves_out else _committed_parts(run))
    for shard, table in in_order(lambda shard: (shard, _read_part(run, shard, _COUNTED)), begun, _PARTS_AT_ONCE):
        so_far.add(table)
        yield shard, table
    planned = in_order(lambda shard: _read_part(run, shard, REMEMBERED), begun, _PARTS_AT_ONCE)
    numbered = enumerate(_shards(run, sources, left_out, so_far, planned), len(begun))
    yield from in_order(lambda each: _commit(run, *each), numbered, _PARTS_AT_ONCE)


def _committed_parts(run: Run) -> int:
    """How many parts are there without a gap: several are put at a time."""
    there = {layout.shard_of(key) for key in run.store.list(layout.PLAN) if key != layout.PLAN_COMPLETE}
    return next(shard for shard in itertools.count() if shard not in there)


def _read_part(run: Run, shard: int, columns: Sequence[str]) -> pa.Table:
    return from_arrow(run.store.read(layout.plan_part(shard)), list(columns), if_there=(DUPLICATE_OF, GOLD_LABELS))


def _shards(
    run: Run,
    sources: list[SourceFile],
    left_out: LeftOutList,
    so_far: PlannedSoFar,
    planned: Iterable[pa.Table],
) -> Iterator[pa.Table]:
    """The parts that are not committed; what a code review leaves out is noted on the way."""
    limit = run.job.limits.documents
    documents = left_out.take(so_far.rest(sources, lambda rest: documents_of(run, rest), limit))
    carrier = Carrier(run.carried, run.job.limits.max_document_bytes) if run.job.columns.carry else None
    return run.question.shards(documents, shard_tokens_for(sources), withhold_of(run), carrier, planned)


def _known_answers(table: pa.Table) -> dict[str, int]:
    """How many items of a shard have a known answer to each question."""
    answers = table[GOLD_LABELS]
    return {key.name: len(table) - pc.struct_field(answers, key.name).null_count for key in answers.type}


def _document_tokens(table: pa.Table) -> int:
    lists = table["tokens"]
    if "pieces" in table.column_names:
        lists = pc.struct_field(pc.list_flatten(table["pieces"]), "tokens")
    return pc.sum(pc.list_value_length(lists)).as_py() or 0


def documents_of(run: Run, sources: list[SourceFile]) -> Generator[Document | LeftOut]:
    """The documents of the sources as the job's task sees them, with the answers that are known of them."""
    job = run.job
    yield from first_documents(run.question.documents(sources, _columns(run), own_places(job)), job.limits.documents)


def _columns(run: Run) -> RowColumns:
    policy = _policy(run)
    return run.job.row_columns(policy.columns if policy else frozenset())


def _policy(run: Run) -> EscalationPolicy | None:
    expression = run.job.policy.never_escalate
    return None if expression is None else EscalationPolicy.parse(expression)


def withhold_of(run: Run) -> Callable[[Document], str | None]:
    """Says which rule of the job's policy keeps a document from Claude."""
    policy = _policy(run)
    return lambda document: policy.held_by(document.attributes) if policy else None


def refuse_empty_answer_key(run: Run, plan: PlanSummary) -> None:
    """A simulation answers from known answers: of which there must be one.

    Raises:
        JobError: no document has any.
    """
    if run.questions:
        for question in run.questions:
            refuse_empty_answer_key(question, of_question(question, plan))
        return
    is_simulation = run.job.escalation is not None and run.job.escalation.provider == "simulation"
    if is_simulation and plan.scorable_items and not plan.gold_items:
        raise JobError(
            [
                f"evaluation: none of {plan.scorable_items:,} documents has a known answer, from which the simulation "
                "would answer; the ids of gold_file must be those of the documents, or gold_column must hold labels"
            ]
        )
