"""Which items go into the next message batches, and the requests made of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flows.run import Run
from flows.stages.planning import PlanSummary
from pipelines.costs.price_book import price_book
from pipelines.costs.reservations import WorstCase
from pipelines.escalation.chunks import Candidate, ChunkLimits
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


def request_templates(run: Run) -> list[RequestTemplate]:
    """What the requests to each tier have in common."""
    assert run.job.escalation is not None
    return [
        RequestTemplate(
            model=tier.model,
            max_output_tokens=tier.max_output_tokens,
            system_prompt=run.question.claude_system_prompt,
            schema=run.question.claude_answer_schema,
            inference_geo=run.job.escalation.inference_geo,
        )
        for tier in run.job.escalation.all_tiers
    ]


class RequestBuilder:
    """Builds requests of one run from its plan: of candidates for the next message batches, and of batches begun."""

    def __init__(self, run: Run, plan: PlanSummary, ledger: Ledger, provider: BatchProvider) -> None:
        assert run.job.escalation is not None
        self._run, self._plan, self._ledger = run, plan, ledger
        self._budget_usd = run.job.budget_usd
        self._chunk_items = run.job.escalation.chunk_items
        self._templates = request_templates(run)
        self._minimum_requests, self._price_provider = provider.minimum_requests, provider.price_provider

    @property
    def tiers(self) -> range:
        """Of the models that may be asked, in order."""
        return range(len(self._templates))

    def limits(self, tier: int) -> ChunkLimits:
        """What the next chunk of a tier has room for, by what the ledger knows now."""
        budget_usd, committed_usd = self._budget_usd, self._ledger.committed_usd
        return ChunkLimits(
            tier=tier,
            model=self._templates[tier].model,
            most_items=min(self._chunk_items, self._ledger.most_items_per_chunk),
            most_bytes=_MAX_CHUNK_BYTES,
            least_items=self._minimum_requests,
            is_within_budget=budget_usd is not None,
            budget_left_usd=None if budget_usd is None or committed_usd is None else budget_usd - committed_usd,
            least_items_within_budget=self._chunk_items // _LEAST_PART_OF_A_CHUNK,
        )

    def candidates(self, tier: int, asked: Asked) -> Iterator[Candidate]:
        """Those of the asked items whose next step is this tier, in the plan's order."""
        template, worst = self._templates[tier], self._worst_case(tier)
        for shard in range(self._plan.shards):
            wanted = [
                item_id for item_id in asked(shard) if (step := self._ledger.next_step(item_id)) and step.tier == tier
            ]
            texts = self._texts(tier, shard, wanted) if wanted else {}
            for item_id in wanted:
                text = texts[item_id]
                request_bytes = len(json.dumps(template.build("", text)).encode())
                yield Candidate(item_id, shard, text, request_bytes, worst.of_request(len(text.encode())))

    def requests(self, chunk: int, draft: ChunkDraft, texts: Sequence[str]) -> list[Request]:
        """Make the requests of one chunk."""
        template = self._templates[draft.tier]
        return [
            template.build(custom_id_of(self._run.run_id, chunk, item_id), text)
            for item_id, text in zip(draft.item_ids, texts, strict=True)
        ]

    def rebuild(self, state: ChunkState) -> list[Request]:
        """The requests of a chunk that was begun before, from the plan."""
        texts: dict[str, str] = {}
        for shard in state.draft.shards:
            texts.update(self._texts(state.draft.tier, shard, state.draft.item_ids))
        return self.requests(state.chunk, state.draft, [texts[item_id] for item_id in state.draft.item_ids])

    def room_bytes(self, tier: int) -> int:
        """Size of the longest text that a tier surely takes."""
        return self._templates[tier].room_bytes

    def _texts(self, tier: int, shard: int, item_ids: Sequence[str]) -> dict[str, str]:
        room_bytes = self.room_bytes(tier)
        return self._run.question.request_texts(self._run.store, shard, pa.array(item_ids), room_bytes)

    def worst_costs_usd(self, text_bytes: NDArray[np.int64]) -> NDArray[np.float64]:
        """The most that asking the first tier once about each item can cost; the budget's check has a price for it."""
        worst = self._worst_case(0)
        if self._run.job.long_documents:  # no more than this is sent
            text_bytes = np.minimum(text_bytes, self.room_bytes(0))
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
