"""Scoring: engines are asked for, and score the shards that have no committed predictions yet."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from flows.console.progress import ProgressReporter
from flows.questions.question import AskedOfEngine
from flows.questions.several import OneOfSeveral
from flows.run import Run, run_listing
from flows.stages.over_http import is_over_http, open_first_tier
from flows.stages.planning import PlanSummary, documents_of, read_plan
from pipelines.documents.records import Document
from pipelines.errors import SluiceError
from pipelines.job.endpoint import ModelEndpoint
from pipelines.report.prompts import CachePromise
from pipelines.scored_parts import items_of_plan, unscored_part
from pipelines.settings import settings
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import to_arrow
from pipelines.store.side_by_side import in_order
from workers.endpoint.pool import EndpointPool
from workers.engines.catalogue import CatalogueEntry, catalogue, find_entry, known_facts, refuse_code
from workers.engines.feed import ShardFeed
from workers.engines.fitting.fit import least_cpu_engine_gib, refuse_unfit
from workers.engines.fitting.machines import GIB, Machine, cluster_machines, this_machine
from workers.engines.fitting.prefix import PrefixReuse, prefix_reuse
from workers.engines.fitting.room import Device, Needs
from workers.engines.own_ray import start_ray
from workers.engines.pool import EnginePool, cluster_device
from workers.engines.requests import requests_for
from workers.engines.scorer import ScorerConfig, ShardReport

Scorers = EnginePool | EndpointPool

# Compiling the model costs each engine some ten seconds and makes it about a fifth faster on a CPU: it pays off from
# about this much input on.
_COMPILE_FROM_INPUT_BYTES = 30_000_000
# vLLM's own default, which a part of a GPU gets a part of.
_USED_OF_A_GPU = 0.92
# How far to look for a document that can be scored, before engines are asked for.
_LISTED_TO_LOOK, _LOOKED_AT = 1_000, 1_000


class PlannedShards:
    """What planning hands to the engines, shard by shard; each side learns here that the other has given up."""

    def __init__(self, run: Run) -> None:
        self.feed = ShardFeed()
        self.plan: PlanSummary | None = None  # once it is whole
        self.scored = scored_shards(run)  # by an earlier process
        self._shards = self._document_tokens = 0

    @property
    def size(self) -> tuple[int, int]:
        """How many shards are planned by now, and the tokens of their documents."""
        plan = self.plan
        return (plan.shards, plan.document_tokens) if plan else (self._shards, self._document_tokens)

    def add(self, shard: int, tokens: int) -> None:
        """A shard is committed.

        Raises:
            SluiceError: nobody wants it any more.
        """
        if self.feed.is_cancelled:
            raise SluiceError("planning is given up: scoring has ended")
        self._shards += 1
        self._document_tokens += tokens
        if shard not in self.scored:
            self.feed.put(shard)

    def finish(self, plan: PlanSummary) -> None:
        """The plan is whole, and may have been before."""
        for shard in range(self._shards, plan.shards):
            if shard not in self.scored:
                self.feed.put(shard)
        self.plan = plan
        self.feed.finish()


def unscored_shards(run: Run, plan: PlanSummary) -> list[int]:
    """Shards without committed predictions; none where nothing is scored."""
    return _unsettled_shards(run, plan) if run.has_engine else []


def scored_shards(run: Run) -> set[int]:
    """Shards with committed predictions: of several questions, to every one."""
    stores = [each.store for each in run.questions or (run,)]
    return set.intersection(*({layout.shard_of(key) for key in store.list(layout.PREDICTIONS)} for store in stores))


def _unsettled_shards(run: Run, plan: PlanSummary) -> list[int]:
    settled = scored_shards(run)
    return [shard for shard in range(plan.shards) if shard not in settled]


def start_engines(run: Run) -> Scorers:
    """Ask Ray for the engines; they start while the documents are read. A first tier over HTTP needs neither.

    Raises:
        JobError: they would run code that nobody here has allowed.
        EngineError: there is no room for one.
    """
    if is_over_http(run):
        return open_first_tier(run)
    refuse_code(run.job.model)
    start_ray(settings().ray_address)
    device = cluster_device(settings().device)
    defaults = catalogue().devices[device]
    assert run.job.model is not None and not isinstance(run.job.model, ModelEndpoint)
    name, entry = find_entry(run.job.model)
    facts = known_facts(entry)
    needs = _needs_of_engine(run, name, entry, device)
    asked = run.question.asked_of_engine
    engine, environment = defaults.for_engine(asked.review is not None, facts.is_hybrid, needs.devices)
    arguments: dict[str, Any] = {**engine, **run.model.engine}
    if device == "cpu" and run.record.input_bytes < _COMPILE_FROM_INPUT_BYTES:
        arguments.setdefault("enforce_eager", True)
    if device == "gpu":
        arguments |= _shared_out(needs.devices, arguments)
    reuse = _reuse(run, facts, arguments, asked)
    if reuse:
        arguments["enable_prefix_caching"] = reuse.is_on
    config = ScorerConfig(
        run_root=run.store.root,
        weights=run.model.weights,
        revision=run.model.base_revision,
        engine_args=arguments,
        environment={**environment, **facts.environment},
        frame=asked.frame,
        devices_per_engine=needs.devices,
        memory_bytes=needs.memory_bytes,
        review=asked.review,
        two_orders=asked.two_orders,
        windows=asked.windows,
        reuse=reuse,
        adapter=run.model.adapter,
        questions=asked.questions,
    )
    compute = run.job.compute
    return EnginePool(config, compute.engines, settings().device, most_engines=compute.max_engines)


def _needs_of_engine(run: Run, name: str, entry: CatalogueEntry, device: Device) -> Needs:
    """GPUs of one machine, a part of one, or cores and what memory they come with.

    Raises:
        JobError: the model fits nowhere.
    """
    asked, share = int(entry.engine.get("tensor_parallel_size", 1)), run.job.compute.gpu_share
    machines = machines_at_hand(device)
    if device == "gpu" and not any(machine.cards for machine in machines):
        return Needs(device, share or asked)  # an autoscaler is to bring some: what they hold is not known yet
    fit = refuse_unfit(name, entry, machines, device, share)
    if device == "gpu":
        return Needs(device, share or fit.group)
    return Needs(device, asked, int((fit.needed_gib or least_cpu_engine_gib()) * GIB))


def machines_at_hand(device: Device) -> list[Machine]:
    """Those of the cluster that was joined, or this one."""
    return [this_machine()] if settings().ray_address is None else cluster_machines(look_at_cards=device == "gpu")


def _shared_out(devices: float, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Engine arguments for a group of GPUs, or for a part of one."""
    if devices >= 1:
        return {"tensor_parallel_size": int(devices)} if devices > 1 else {}
    whole = float(arguments.get("gpu_memory_utilization", _USED_OF_A_GPU))
    return {"gpu_memory_utilization": round(whole * devices, 3)}


def _reuse(run: Run, entry: CatalogueEntry, arguments: Mapping[str, Any], asked: AskedOfEngine) -> PrefixReuse | None:
    """Of a review nothing is said: the claims about a piece share its code too."""
    if asked.review:
        return None
    # Of several questions, the prompts of a document share that too: however short the frame, a block may fill.
    is_asked = "enable_prefix_caching" in run.model.engine or bool(asked.questions)
    return prefix_reuse(entry, arguments, is_asked, len(asked.frame.prefix))


def start_engines_if_needed(run: Run) -> Scorers | None:
    """Ask for engines unless every shard is scored already, or nothing is there to score.

    Before the plan is whole, they are asked for once a look at the first documents finds one that can be scored; where
    it finds none, the plan decides.
    """
    if not run.has_engine:
        return None
    plan = read_plan(run)
    if plan is None:
        return start_engines(run) if _begins_scorable(run) else None
    return start_engines(run) if plan.scorable_items and unscored_shards(run, plan) else None


def _begins_scorable(run: Run) -> bool:
    """Whether one of the first documents can be scored; of a very long list of files, which takes long, surely one."""
    if run.record.input_files > _LISTED_TO_LOOK:
        return True
    with closing(documents_of(run, run_listing(run).sources)) as documents:
        first = itertools.islice((each for each in documents if isinstance(each, Document)), _LOOKED_AT)
        return any(document.failure is None for document in first)


def settle_unscored(run: Run, plan: PlanSummary) -> None:
    """Where there is no engine, or nothing that one could score, commit the items without predictions."""
    if run.has_engine and plan.scorable_items:
        return
    for _ in in_order(lambda shard: _settle_unscored(run, shard), _unsettled_shards(run, plan)):
        pass


def _settle_unscored(run: Run, shard: int) -> None:
    plan_part = run.store.read(layout.plan_part(shard))
    for each in run.questions or (run,):
        question = each.question.key if isinstance(each.question, OneOfSeveral) else None
        part = unscored_part(items_of_plan(plan_part, question), each.question.predictions_schema)
        each.store.create(layout.predictions_part(shard), to_arrow(part))


def score_shards(run: Run, planned: PlannedShards, pool: Scorers, progress: ProgressReporter) -> None:
    """Score what is not scored yet, while planning goes on; returns early where planning fails."""
    if isinstance(pool, EndpointPool):
        progress.say(f"asks      {pool.in_words}")
    else:
        with progress.waiting("engines", f"{pool.engines} starting"):
            if not pool.wait_ready(planned.feed):
                return
        progress.say(f"engines   {pool.engines:>9,} started, the first ready after {pool.start_seconds:.1f} s")
        if pool.room_note:
            progress.say(f"engines   {pool.room_note}")
        begun = {"engines": pool.engines, "devices": pool.devices, "start_seconds": pool.start_seconds}
        run.store.create(layout.engines_begun(time.time_ns()), json.dumps(begun).encode())
        if pool.reuse and pool.reuse.note:
            progress.say(f"cache     {pool.reuse.note}")
    if (requests := requests_for(len(run.job.labels))) > 1:
        progress.say(
            f"labels    {len(run.job.labels):>9,}, in {requests} requests a document, each with the same prompt"
        )
    with progress.stage("score", "items") as stage:

        def look_at_plan() -> None:
            if stage.total is None and planned.plan:
                items, shards = planned.plan.scorable_items, planned.plan.shards
                stage.becomes_known(items, before=round(items * len(planned.scored) / shards))  # about equal shards

        def on_scored(report: ShardReport) -> None:
            look_at_plan()
            stage.advance(report.items)

        look_at_plan()
        if isinstance(pool, EndpointPool):
            pool.score(planned.feed, on_scored, progress.say)
            return
        pool.score(planned.feed, on_scored, lambda: run.question.shards_in_flight(*planned.size))
    held = {
        "engines": pool.engines,
        "devices": pool.devices,
        "held_seconds": pool.held_seconds,
        "start_seconds": pool.start_seconds,
        "promised_cached_tokens": pool.reuse and pool.reuse.promised_tokens,
    }
    run.store.create(layout.engine_time(time.time_ns()), json.dumps(held).encode())


def held_device_seconds(store: Store) -> float:
    """How long devices were held in all: an engine of several holds them all, as their busy time counts them all."""
    sessions = [json.loads(store.read(key)) for key in store.list(layout.SCORING)]
    # Versions before 2026-12 wrote down the engines alone.
    return math.fsum(session.get("devices", session["engines"]) * session["held_seconds"] for session in sessions)


def cache_promise(store: Store) -> CachePromise | None:
    """What the prefix cache is to hold of each prompt; None where a session cannot say."""
    sessions = [json.loads(store.read(key)) for key in store.list(layout.SCORING)]
    promised = [session.get("promised_cached_tokens") for session in sessions]
    if not sessions or None in promised:
        return None
    return CachePromise(tokens=min(promised), engines=max(session["engines"] for session in sessions))
