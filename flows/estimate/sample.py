"""What a job would cost, by a sample: all documents are read and counted, a few are scored, the rest is reckoned.

The sample is a small run of its own below the job's output, `_samples/…`: the same command again scores nothing anew,
and answers that were bought with ``--ask`` are kept. No Claude is asked without it.
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from numpy.typing import NDArray

from flows.console.progress import ProgressReporter
from flows.deciding.population import read_scored_shard
from flows.preflight.surroundings import check_surroundings
from flows.questions.long_documents import read_more_than_once
from flows.questions.over_http import model_of
from flows.questions.registry import question_of
from flows.questions.several import refuse_several
from flows.run import Run
from flows.run_record import derive_run_id, new_record
from flows.stages.planning import PlanSummary, documents_of, withhold_of
from flows.submit import withhold_keys
from pipelines.cascade.rule.estimate import Estimate
from pipelines.cascade.rule.sampled import estimate_whole, supposed_labels
from pipelines.cascade.rule.scored import AGREES, DIFFERS, UNANSWERED, UNASKED, Labels
from pipelines.cascade.rule.target import Target
from pipelines.costs.comparison import ESTIMATED_OUTPUT_TOKENS
from pipelines.costs.price_book import TokenUsage, price_book
from pipelines.costs.sampled import Total, total_of
from pipelines.documents.drawing import Drawn, draw
from pipelines.documents.item_sum import ItemSum
from pipelines.documents.records import SourceFile
from pipelines.errors import JobError, SluiceError
from pipelines.escalation.ledger import Ledger
from pipelines.job.endpoint import ModelEndpoint
from pipelines.job.job import Job
from pipelines.job.job_file import load_job
from pipelines.job.sections import Quality
from pipelines.scored_parts import is_scored, predictions_of, read_scored_part
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import to_arrow

TARGETS = (0.90, 0.95, 0.98, 0.99)
_DEFAULT_ASSURANCE = 0.95
_FOLDER = "_samples"
_USUAL_CLAUDE = "claude-haiku-5-5"  # as a drafted job names it
# A sample is cut so small that every engine gets something of it.
_SHARD_TOKENS = 4_000
Knowledge = Literal["claude", "gold", "supposed"]


@dataclass(frozen=True)
class SampleEstimate:
    """The reckoning; totals are of all documents. What is None is not known, or not wanted by the job."""

    sampled: int
    drawn: Drawn
    device_seconds: Total
    devices: int
    start_seconds: float
    hour_usd: Decimal | None
    claude_model: str
    is_escalating: bool  # the job has Claude asked; else it is reckoned as if it had
    is_simulated: bool  # with --ask, and a job whose Claude is a simulation
    claude_item_usd: Total | None  # of one item
    labels_of: Knowledge | None  # how it is known whether the engine agrees with Claude
    labelled: int
    targets: tuple[Estimate, ...]
    spent_usd: Decimal | None  # with --ask
    kept_at: str

    @property
    def wall_seconds(self) -> Total:
        """Until all is scored by the engines at hand, start included."""
        return self.device_seconds.times(1 / max(self.devices, 1)).plus(self.start_seconds)

    @property
    def engine_usd(self) -> Total | None:
        """Of the engines while they compute."""
        return None if self.hour_usd is None else self.device_seconds.times(float(self.hour_usd) / 3_600)

    def claude_usd(self, items: int) -> Total | None:
        """Of asking about so many items."""
        return None if self.claude_item_usd is None else self.claude_item_usd.times(items)


@dataclass(frozen=True)
class _Scored:
    """What the sampled items took, arrays of shape [items]; ``input_tokens``: of one reading, as Claude's is."""

    device_seconds: NDArray[np.float64]
    input_tokens: NDArray[np.float64]


def estimate_from_sample(
    path: Path, overrides: dict[str, Any], size: int, is_asked: bool, progress: ProgressReporter
) -> SampleEstimate:
    """Read all documents, score ``size`` of them, and reckon the rest; with ``is_asked``, Claude answers the sample.

    Raises:
        JobError: with every problem of the job, or there is nothing to sample.
        ServiceError: something outside failed; what is committed is kept.
    """
    job = load_job(path, overrides)
    refuse_several(job, path)
    refuse_term(job)
    if job.model is None:
        raise JobError(["model: this job has no engine, so there is nothing to sample; every document goes to Claude"])
    if isinstance(job.model, ModelEndpoint):
        raise JobError(
            [
                "model.endpoint: a sample is scored by engines alone, and this job asks a first tier over HTTP; "
                f"`pipeline submit {path} --limit {size}` asks it about the first {size:,} documents, and its summary "
                "says what they took"
            ]
        )
    if is_asked and job.escalation is None:
        raise JobError(["escalation: it is off, so nobody can be asked; leave out --ask"])
    # Whoever is not asked needs no key, and no budget either.
    sources = check_surroundings(job if is_asked else job.model_copy(update={"escalation": None}), say=progress.say)
    run = _sample_run(job, sources, size)
    withhold_keys(run)
    with progress.stage("read", "documents") as stage:
        drawn = _draw(run, sources, size, stage.advance)
    if not drawn.documents:
        raise SluiceError(f"nothing to score: none of {drawn.total:,} documents could be read")
    plan = _commit_plan(run, drawn)
    if not plan.scorable_items:
        raise SluiceError(f"nothing to score: all of {plan.items:,} sampled documents are longer than the job allows")
    _score(run, plan, progress)
    ledger = _ask(run, plan, progress) if is_asked else None
    return _reckon(run, plan, drawn, ledger)


def _sample_run(job: Job, sources: list[SourceFile], size: int) -> Run:
    """A run of its own that no list of runs shows; the record is that of the whole, whose engines it is to have."""
    question = question_of(job, model_of(job))
    record = new_record(question, sources)
    digest = derive_run_id(job, record).rpartition("_")[2]
    record = record.model_copy(update={"run_id": f"sample_{job.name}_{digest}_{size}"})
    store = Store(layout.below(job.output, f"{_FOLDER}/{record.run_id}"))
    store.create(layout.JOB, yaml.safe_dump(job.model_dump(mode="json"), sort_keys=False, allow_unicode=True).encode())
    if not store.exists(layout.RUN):
        store.create(layout.RUN, record.model_dump_json(indent=2).encode())
    return Run(job, record, store, question)


def _draw(run: Run, sources: list[SourceFile], size: int, advance: Any) -> Drawn:
    def counted() -> Any:
        with closing(documents_of(run, sources)) as documents:
            for document in documents:
                advance(1)
                yield document

    return draw(counted(), size, withhold_of(run), seed=int.from_bytes(run.run_id.encode()[-8:], "big"))


def _commit_plan(run: Run, drawn: Drawn) -> PlanSummary:
    item_ids, shards, tokens, gold, failed = ItemSum(), 0, 0, 0, 0
    for shard, table in enumerate(run.question.shards(iter(drawn.documents), _SHARD_TOKENS, withhold_of(run))):
        if not run.store.create(layout.plan_part(shard), to_arrow(table)):
            raise JobError([f"input: it changed since this sample was drawn; remove {run.store.root}"])
        item_ids.add(table["item_id"].to_numpy().tolist())
        gold += len(table) - table["gold_label"].null_count
        failed += len(table) - table["failure"].null_count  # too long for what `long_documents` allows
        tokens += pc.sum(pc.list_value_length(table["tokens"])).as_py() or 0
        shards += 1
    plan = PlanSummary(
        shards=shards,
        items=len(drawn.documents),
        failed_items=failed,
        gold_items=gold,
        document_tokens=tokens,
        items_sum=str(item_ids),
    )
    run.store.create(layout.PLAN_COMPLETE, plan.model_dump_json().encode())
    return plan


def _score(run: Run, plan: PlanSummary, progress: ProgressReporter) -> None:
    if len(list(run.store.list(layout.PREDICTIONS))) == plan.shards:
        progress.say(f"score     {plan.items:>9,} items were scored before")
        return
    # Imported late: Ray takes seconds.
    from flows.stages.scoring import PlannedShards, score_shards, start_engines
    from workers.engines.own_ray import leave_ray

    pool = start_engines(run)
    try:
        planned = PlannedShards(run)
        planned.finish(plan)
        score_shards(run, planned, pool, progress)
    finally:
        pool.close()
        leave_ray()


def _ask(run: Run, plan: PlanSummary, progress: ProgressReporter) -> Ledger:
    from flows.escalation.escalate import EscalationLoop
    from flows.escalation.providers import open_provider

    def ids(shard: int) -> list[str]:
        part = read_scored_part(run.store, shard)
        may_be_sent = is_scored(part) & pc.is_null(part["withheld"]).to_numpy()
        return [str(each) for each in part["item_id"].filter(pa.array(may_be_sent)).to_pylist()]

    with open_provider(run, plan, progress) as provider:
        escalation = EscalationLoop(run, plan, provider, progress)
        escalation.replay()
        escalation.ask(ids, wait=True)
        return escalation.ledger


def _reckon(run: Run, plan: PlanSummary, drawn: Drawn, ledger: Ledger | None) -> SampleEstimate:
    figures = _figures(run, plan)
    sessions = [json.loads(run.store.read(key)) for key in run.store.list(layout.SCORING)]
    begun = [json.loads(run.store.read(key)) for key in run.store.list(layout.ENGINES)]
    known = (sessions or begun)[-1]
    labels_of, confidence, answer, labels = _known_labels(run, plan, ledger)
    labelled = int((labels != UNASKED).sum()) if labels_of != "supposed" else 0
    spent = ledger.committed_usd if ledger else None
    escalation = run.job.escalation
    targets: tuple[Estimate, ...] = ()
    if labels_of:
        targets = tuple(
            estimate_whole(confidence, answer, labels, drawn.may_be_sent, _promises(run.job), seed=plan.items)
        )
    return SampleEstimate(
        sampled=plan.items,
        drawn=drawn,
        device_seconds=total_of(figures.device_seconds, drawn.answerable),
        devices=int(known.get("devices", known["engines"])),
        start_seconds=float(known["start_seconds"]),
        hour_usd=run.job.compute.device_hour_usd,
        claude_model=_claude_model(run.job),
        is_escalating=escalation is not None,
        is_simulated=ledger is not None and escalation is not None and escalation.provider == "simulation",
        claude_item_usd=_claude_item_usd(run.job, figures, drawn, ledger),
        labels_of=labels_of,
        labelled=labelled,
        targets=targets,
        spent_usd=spent,
        kept_at=run.store.root,
    )


def _figures(run: Run, plan: PlanSummary) -> _Scored:
    scored = [read_scored_part(run.store, shard) for shard in range(plan.shards)]
    parts, refused = [predictions_of(part) for part in scored], np.zeros(plan.failed_items)
    seconds = np.concatenate([*(part["device_nanoseconds"].to_numpy() / 1e9 for part in parts), refused])
    tokens = [part["input_tokens"].to_numpy().astype(np.float64) for part in parts]
    if run.job.long_documents:
        frame = len(run.question.asked_of_engine.frame)
        tokens = [each - read_more_than_once(part, frame) for each, part in zip(tokens, scored, strict=True)]
    return _Scored(seconds, np.concatenate([*tokens, refused]))


def refuse_term(job: Job) -> None:
    """Refuse a job whose runs keep a promise together.

    Raises:
        JobError: it is one.
    """
    if isinstance(job.quality, Quality) and job.quality.term_items is not None:
        raise JobError(
            [
                "quality.term_items: what a run asks depends on what the runs before it have left, so one run says "
                "little of it; leave term_items out to see what a run would ask that keeps its promise alone"
            ]
        )


def _promises(job: Job) -> list[Target]:
    quality = job.quality if isinstance(job.quality, Quality) else None
    own = quality.target if quality else None
    assurance = quality.assurance if quality else _DEFAULT_ASSURANCE
    audited = quality.audit_items if quality else 0
    return [Target(target, assurance, audited) for target in sorted({*TARGETS, *([own] if own else [])})]


def _known_labels(
    run: Run, plan: PlanSummary, ledger: Ledger | None
) -> tuple[Knowledge | None, NDArray[np.float64], NDArray[np.int64], Labels]:
    """Of the sampled items that may be sent: how sure the engine is, what it says, and whether Claude agrees."""
    if run.job.task != "classification":
        return None, np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int8)
    confidence, answer, given = [], [], []
    settled = ledger.settled_labels() if ledger else {}
    for shard in range(plan.shards):
        scored, part = read_scored_shard(run, shard), read_scored_part(run.store, shard)
        sent = scored.may_be_sent
        confidence.append(scored.ranked_by[sent])
        answer.append(scored.scores.answer[sent])
        gold = part["gold_label"].filter(pa.array(is_scored(part))).filter(pa.array(sent)).to_pylist()
        ids = [str(each) for each in scored.item_ids.filter(pa.array(sent)).to_pylist()]
        if ledger:
            given += [(item_id in settled, settled.get(item_id)) for item_id in ids]
        else:
            given += [(name in run.job.labels, name) for name in gold]
    codes = {name: code for code, name in enumerate(run.job.labels)}
    sure, said = np.concatenate(confidence), np.concatenate(answer)
    labels = np.array(
        [
            UNASKED if not is_known else UNANSWERED if name is None else AGREES if codes[name] == code else DIFFERS
            for (is_known, name), code in zip(given, said.tolist(), strict=True)
        ],
        np.int8,
    )
    if ledger or (labels != UNASKED).any():
        return "claude" if ledger else "gold", sure, said, labels
    return "supposed", sure, said, supposed_labels(sure, plan.items)


def _claude_model(job: Job) -> str:
    return job.escalation.all_tiers[0].model if job.escalation else _USUAL_CLAUDE


def reckoned_usd(job: Job, engine_tokens: float) -> Decimal | None:
    """What Claude would cost for an item of so many tokens, as the engine counts them; None: no price is known."""
    book = price_book()
    seller = "bedrock" if job.escalation and job.escalation.provider == "bedrock" else "anthropic"
    is_us = job.escalation is not None and job.escalation.inference_geo == "us"
    read = round(engine_tokens * float(book.tokens.newer_per_older))
    usage = TokenUsage(read, 0, 0, 0, ESTIMATED_OUTPUT_TOKENS, is_us)
    return book.batch_cost(_claude_model(job), usage, datetime.now(UTC), seller)


def _claude_item_usd(job: Job, figures: _Scored, drawn: Drawn, ledger: Ledger | None) -> Total | None:
    """By what the answers cost that were bought; else by the engine's count of tokens."""
    paid = [ledger.standing(item_id).cost_usd for item_id in ledger.settled_labels()] if ledger else []
    if paid:
        known = np.array([float(each) for each in paid if each is not None])
        is_known = len(known) == len(paid)
        return total_of(known, drawn.may_be_sent).times(1 / drawn.may_be_sent) if is_known else None
    tokens = total_of(figures.input_tokens, drawn.answerable).times(1 / drawn.answerable)
    about, least, most = (reckoned_usd(job, each) for each in (tokens.about, tokens.least, tokens.most))
    return None if about is None or least is None or most is None else Total(float(about), float(least), float(most))
