"""Which items go into the next message batches, and the requests made of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flows.escalation.request_texts import request_texts
from flows.run import Run
from flows.stages.planning import PlanSummary
from pipelines.costs.price_book import price_book
from pipelines.costs.reservations import WorstCase, affordable
from pipelines.escalation.journal import ChunkDraft, ChunkState
from pipelines.escalation.ledger import Ledger
from pipelines.escalation.provider import BatchProvider, Request
from pipelines.escalation.requests import RequestTemplate, custom_id_of

# The API takes 256 MB; others have had trouble at the very edge.
_MAX_CHUNK_BYTES = 256_000_000 * 95 // 100
# Requests cost a fraction of what is held for them, so what a batch gives back pays for another, smaller one, and so
# on. Each takes the provider up to an hour; one of less than a twentieth of a chunk is not worth waiting for.
_LEAST_PART_OF_A_CHUNK = 20

# The ids to ask Claude about, by shard.
Asked = Callable[[int], list[str]]


@dataclass(frozen=True, slots=True)
class _Candidate:
    item_id: str
    shard: int
    text: str


class ChunkBuilder:
    """Builds the message batches of one run from its plan and its ledger."""

    def __init__(self, run: Run, plan: PlanSummary, ledger: Ledger, provider: BatchProvider) -> None:
        assert run.job.escalation is not None
        self._run, self._plan, self._ledger = run, plan, ledger
        self._budget_usd = run.job.budget_usd
        self._chunk_items = run.job.escalation.chunk_items
        self._templates = [
            RequestTemplate(
                model=tier.model,
                max_output_tokens=tier.max_output_tokens,
                system_prompt=run.question.claude_system_prompt,
                schema=run.question.claude_answer_schema,
                inference_geo=run.job.escalation.inference_geo,
            )
            for tier in run.job.escalation.all_tiers
        ]
        self._minimum_requests, self._price_provider = provider.minimum_requests, provider.price_provider
        self.asked: Asked = lambda _shard: []
        self.is_short_of_money = False
        self.is_too_few = False

    def new_chunks(self) -> Iterator[tuple[ChunkDraft, list[str]]]:
        """Cut what is left to ask into chunks, tier by tier, as far as the budget reaches.

        The caller sends each and lets the ledger begin it before asking for the next.

        Yields:
            A draft and the texts of its items, in order.
        """
        self.is_short_of_money = self.is_too_few = False
        for tier in range(len(self._templates)):
            batch: list[_Candidate] = []
            size = 0
            for candidate in self._candidates(tier):
                request_bytes = len(json.dumps(self._templates[tier].build("", candidate.text)).encode())
                most_items = min(self._chunk_items, self._ledger.most_items_per_chunk)
                if batch and (len(batch) >= most_items or size + request_bytes > _MAX_CHUNK_BYTES):
                    yield from self._afford(tier, batch)
                    batch, size = [], 0
                if self.is_short_of_money:
                    return
                batch.append(candidate)
                size += request_bytes
            if batch:
                yield from self._afford(tier, batch)

    def requests(self, chunk: int, draft: ChunkDraft, texts: Sequence[str]) -> list[Request]:
        """The requests of a chunk."""
        template = self._templates[draft.tier]
        return [
            template.build(custom_id_of(self._run.run_id, chunk, item_id), text)
            for item_id, text in zip(draft.item_ids, texts, strict=True)
        ]

    def rebuild(self, state: ChunkState) -> list[Request]:
        """The requests of a chunk that was begun before, from the plan."""
        texts: dict[str, str] = {}
        for shard in state.draft.shards:
            texts.update(request_texts(self._run, shard, pa.array(state.draft.item_ids)))
        return self.requests(state.chunk, state.draft, [texts[item_id] for item_id in state.draft.item_ids])

    def _candidates(self, tier: int) -> Iterator[_Candidate]:
        """Items whose next step is this tier, in the plan's order."""
        for shard in range(self._plan.shards):
            wanted = [
                item_id
                for item_id in self.asked(shard)
                if (step := self._ledger.next_step(item_id)) and step.tier == tier
            ]
            if wanted:
                texts = request_texts(self._run, shard, pa.array(wanted))
                yield from (_Candidate(item_id, shard, texts[item_id]) for item_id in wanted)

    def worst_costs_usd(self, text_bytes: NDArray[np.int64]) -> NDArray[np.float64]:
        """The most that asking the first tier once about each item can cost; the budget's check has a price for it."""
        worst = self._worst_case(0)
        sizes, places = np.unique(text_bytes, return_inverse=True)
        costs = np.array([float(worst.of_request(size) or 0) for size in sizes.tolist()])
        return costs[places]

    def _worst_case(self, tier: int) -> WorstCase:
        template = self._templates[tier]
        return WorstCase(
            prices=price_book(),
            model=template.model,
            shared_bytes=template.shared_bytes(),
            max_output_tokens=template.max_output_tokens,
            at=datetime.now(UTC),
            is_us_inference=template.inference_geo == "us",
            is_cached=template.is_cached,
            price_provider=self._price_provider,
        )

    def _afford(self, tier: int, batch: list[_Candidate]) -> Iterator[tuple[ChunkDraft, list[str]]]:
        """The chunk, or as much of it as the budget reaches for."""
        template, worst = self._templates[tier], self._worst_case(tier)
        costs = [worst.of_request(len(candidate.text.encode())) for candidate in batch]
        known = [cost for cost in costs if cost is not None]
        if self._budget_usd is not None:
            committed = self._ledger.committed_usd
            if committed is None or len(known) < len(costs):  # refused at submit; a price may end with the day
                count = 0
            else:
                count = affordable(known, self._budget_usd - committed)
            if count < len(batch):
                self.is_short_of_money = True
                count = 0 if count < self._chunk_items // _LEAST_PART_OF_A_CHUNK else count
            batch, known = batch[:count], known[:count]
        if batch and len(batch) < self._minimum_requests:
            self.is_too_few = True
        elif batch:
            draft = ChunkDraft(
                tier=tier,
                model=template.model,
                item_ids=tuple(candidate.item_id for candidate in batch),
                shards=tuple(sorted({candidate.shard for candidate in batch})),
                reserved_cost_usd=sum(known, Decimal(0)) if len(known) == len(batch) else None,
            )
            yield draft, [candidate.text for candidate in batch]
