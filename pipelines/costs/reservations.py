"""The worst case of a request, held against the budget before it is sent.

A budget is kept by never having more at risk than it allows: what is spent, plus the worst case of everything in
flight, stays under the cap. Real usage replaces the reservation when the batch is collected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from pipelines.costs.accounting import to_money
from pipelines.costs.price_book import PriceBook, TokenUsage

# English has about four bytes a token, code and other scripts two to three; nothing common has fewer than two.
LEAST_BYTES_PER_TOKEN = 2
# What the API adds around a request: roles, the schema's instructions.
OVERHEAD_TOKENS = 600


@dataclass(frozen=True)
class WorstCase:
    """Worst-case cost of requests to one model that share a system prompt and a cap on output."""

    prices: PriceBook
    model: str
    shared_bytes: int
    max_output_tokens: int
    at: datetime
    is_us_inference: bool = False
    is_cached: bool = False
    price_provider: str = "anthropic"

    def of_request(self, text_bytes: int) -> Decimal | None:
        """Every prompt token read anew, output to the cap; None where the model has no price.

        Where the prompt is marked for caching, every token counts as written to the cache for an hour, the dearest
        way to read it.
        """
        prompt = (self.shared_bytes + text_bytes) // LEAST_BYTES_PER_TOKEN + OVERHEAD_TOKENS
        read, written = (0, prompt) if self.is_cached else (prompt, 0)
        usage = TokenUsage(read, 0, written, 0, self.max_output_tokens, self.is_us_inference)
        cost = self.prices.batch_cost(self.model, usage, self.at, self.price_provider)
        return None if cost is None else to_money(cost)


def affordable(costs: Sequence[Decimal], room_usd: Decimal) -> int:
    """How many requests, from the first on, fit into the room that is left."""
    total = Decimal(0)
    for count, cost in enumerate(costs):
        total += cost
        if total > room_usd:
            return count
    return len(costs)
