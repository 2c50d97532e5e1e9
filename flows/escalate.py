"""The stages that talk to Claude: send doubtful items, take in the answers, publish their rows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from flows.progress import ProgressReporter
from flows.run import Run
from flows.simulation import NOTICE, running_service, write_answer_key
from flows.stages import ChunkPlan, PlanSummary, decided, plan_chunks
from pipelines.costs.price_book import price_book
from pipelines.errors import ProviderError
from pipelines.escalation.collection import collect_answers
from pipelines.escalation.journal import Journal
from pipelines.escalation.provider import BatchProvider, Request
from pipelines.escalation.requests import RequestTemplate, custom_id_of
from pipelines.escalation.submission import Chunk, Sender, check_same_items
from pipelines.results import answer_rows
from pipelines.settings import settings
from pipelines.store import layout
from pipelines.store.schemas import from_arrow, to_arrow, to_parquet
from pipelines.tasks.classification import answer_schema, claude_system_prompt
from workers.claude import ClaudeBatches, connect

# The local service lists a batch the moment it takes it; a minute covers the slowest create on a busy machine.
_SIMULATION_SETTLE_SECONDS = 60.0
_SIMULATION_POLL_SECONDS = 0.5


@contextmanager
def open_provider(run: Run, plan: PlanSummary, progress: ProgressReporter) -> Iterator[BatchProvider]:
    """Connect to what answers message batches: Anthropic, or the local simulation."""
    escalation = run.job.escalation
    assert escalation is not None
    if escalation.provider == "simulation":
        progress.say(NOTICE)
        folder = settings().state_dir / "simulation" / run.run_id
        write_answer_key(run.store, plan.shards, folder / "answer_key.jsonl")
        with running_service(folder, folder / "answer_key.jsonl", escalation.simulated_error_rate) as url:
            yield ClaudeBatches(connect("simulation", url), "simulation", _SIMULATION_SETTLE_SECONDS)
        return
    key = settings().anthropic_api_key
    if key is None:  # checked at submit; a flow started elsewhere may lack it all the same
        raise ProviderError("ANTHROPIC_API_KEY is not set where the flow runs; set it there and run it again")
    yield ClaudeBatches(connect(key.get_secret_value(), settings().anthropic_base_url), "anthropic")


def send_doubtful(run: Run, plan: PlanSummary, provider: BatchProvider, progress: ProgressReporter) -> int:
    """Have the provider hold every doubtful item exactly once; the number of message batches."""
    escalation = run.job.escalation
    assert escalation is not None
    journal = Journal(run.store)
    sender = Sender(
        run_id=run.run_id,
        model=escalation.model,
        journal=journal,
        provider=provider,
        now=lambda: datetime.now(UTC),
        wait=time.sleep,
        poll_seconds=_poll_seconds(run),
    )
    template = RequestTemplate(
        model=escalation.model,
        max_output_tokens=escalation.max_output_tokens,
        system_prompt=claude_system_prompt(run.question.labels, run.job.instructions),
        schema=answer_schema(run.question.labels),
    )
    sent = 0
    with progress.stage("send", "items"):
        for chunk in plan_chunks(run, plan):
            state = journal.state(chunk.number)
            if state.intent:
                check_same_items(state.intent, chunk.item_ids)
            sender.ensure_submitted(Chunk(chunk.number, chunk.item_ids), partial(_requests, run, template, chunk))
            progress.advance(len(chunk.item_ids))
            sent += 1
    return sent


def _requests(run: Run, template: RequestTemplate, chunk: ChunkPlan) -> list[Request]:
    texts: dict[str, str] = {}
    wanted = pa.array(chunk.item_ids)
    for shard in chunk.shards:
        plan = from_arrow(run.store.read(layout.plan_part(shard)), columns=["item_id", "text"])
        plan = plan.filter(pc.is_in(plan["item_id"], value_set=wanted))
        texts.update((str(row["item_id"]), str(row["text"])) for row in plan.to_pylist())
    return [
        template.build(custom_id_of(run.run_id, chunk.number, item_id), texts[item_id]) for item_id in chunk.item_ids
    ]


def collect_chunks(run: Run, provider: BatchProvider, progress: ProgressReporter, *, wait: bool) -> bool:
    """Take in what has ended; with ``wait``, until everything has. True if nothing is open any more."""
    journal = Journal(run.store)
    open_chunks = {chunk for chunk in journal.chunks() if not journal.state(chunk).is_collected}
    total = sum(len(state.intent.item_ids) for chunk in open_chunks if (state := journal.state(chunk)).intent)
    with progress.stage("collect", "items", total=total):
        while open_chunks:
            for chunk in sorted(open_chunks):
                if count := _collect(run, journal, chunk, provider):
                    open_chunks.remove(chunk)
                    progress.advance(count)
            if not wait:
                break
            if open_chunks:
                time.sleep(_poll_seconds(run))
    return not open_chunks


def _collect(run: Run, journal: Journal, chunk: int, provider: BatchProvider) -> int:
    """Number of answers taken in; 0 while the batch is under way."""
    state = journal.state(chunk)
    if state.intent is None or state.submitted is None or not provider.retrieve(state.submitted.batch_id).is_ended:
        return 0
    answers = collect_answers(
        run.run_id, state.intent, state.submitted, provider, tuple(run.job.labels), price_book(), datetime.now(UTC)
    )
    run.store.create(layout.chunk_object(chunk, "collected.arrow"), to_arrow(answers))
    return len(answers)


def publish_answers(run: Run, plan: PlanSummary) -> None:
    """Publish the rows of every message batch that is collected."""
    escalation = run.job.escalation
    assert escalation is not None
    suffix = " (simulation)" if escalation.provider == "simulation" else ""
    for chunk in plan_chunks(run, plan):
        key = layout.escalated_results(chunk.number)
        collected = run.store.read_if_exists(layout.chunk_object(chunk.number, "collected.arrow"))
        if collected is None or run.store.exists(key):
            continue
        doubtful = pa.concat_tables([decided(run, shard).doubtful for shard in chunk.shards])
        doubtful = doubtful.filter(pc.is_in(doubtful["item_id"], value_set=pa.array(chunk.item_ids)))
        run.store.create(key, to_parquet(answer_rows(doubtful, from_arrow(collected), suffix)))


def _poll_seconds(run: Run) -> float:
    assert run.job.escalation is not None
    return _SIMULATION_POLL_SECONDS if run.job.escalation.provider == "simulation" else settings().poll_seconds
