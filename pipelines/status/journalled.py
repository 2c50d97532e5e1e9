"""Message batches of a run as a look from outside finds them: sent, open, answered, and what they cost so far.

A listing tells most; each object is read once at most.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from pipelines.costs.accounting import add_known, sum_money
from pipelines.escalation.journal import Intent, Submitted
from pipelines.status.record import OpenBatch
from pipelines.store import layout
from pipelines.store.schemas import from_arrow

Read = Callable[[str], bytes]
_COLLECTED = "collected.arrow"


@dataclass
class Journalled:
    """What is known of the journal so far."""

    names: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))  # of the objects of each batch
    _spent: dict[int, Decimal | None] = field(default_factory=dict)
    _open: dict[tuple[int, int, bool], OpenBatch | None] = field(default_factory=dict)

    @property
    def after(self) -> str | None:
        """Up to here everything is known: a key to list from."""
        first_open = next(chunk for chunk in range(len(self.names) + 1) if not self._is_collected(chunk))
        return f"{layout.chunk_object(first_open - 1, '~')}" if first_open else None

    @property
    def sent(self) -> int:
        """Batches that Claude has taken."""
        return sum(self._submitted(chunk) is not None for chunk in self.names)

    @property
    def collected(self) -> int:
        """Batches whose answers are taken in."""
        return sum(map(self._is_collected, self.names))

    @property
    def spent_usd(self) -> Decimal | None:
        """What their answers cost; None where a price is unknown."""
        return add_known(self._spent.values())

    def take(self, keys: Iterable[str]) -> None:
        """Note objects of the journal that a listing has found."""
        for key in keys:
            if "chunk-" in key:
                chunk, _, name = key.rsplit("chunk-", 1)[1].partition("/")
                self.names[int(chunk)].add(name)

    def read_costs(self, read: Read) -> None:
        """Add what new answers cost."""
        for chunk in [each for each in self.names if self._is_collected(each) and each not in self._spent]:
            table = from_arrow(read(layout.chunk_object(chunk, _COLLECTED)), ["api_cost_usd"])
            self._spent[chunk] = sum_money(table["api_cost_usd"])

    def open_batches(self, read: Read) -> tuple[OpenBatch, ...]:
        """Those that are about to be sent, or sent and not answered yet."""
        chunks = [chunk for chunk in sorted(self.names) if not self._is_collected(chunk)]
        batches = [self._batch(chunk, read) for chunk in chunks]
        return tuple(batch for batch in batches if batch)

    def _batch(self, chunk: int, read: Read) -> OpenBatch | None:
        send, submitted = self._sends(chunk), self._submitted(chunk)
        key = (chunk, send, submitted is not None)
        if key not in self._open:
            self._open[key] = self._read_batch(chunk, submitted, read)
        return self._open[key]

    def _read_batch(self, chunk: int, submitted: str | None, read: Read) -> OpenBatch | None:
        intents = sorted(name for name in self.names[chunk] if name.startswith("intent-"))
        data = read(layout.chunk_object(chunk, intents[-1]))
        if b'"closed_at"' in data and b'"draft"' not in data:  # the end of the journal, which has a number too
            return None
        draft = Intent.model_validate_json(data).draft
        sent = Submitted.model_validate_json(read(layout.chunk_object(chunk, submitted))) if submitted else None
        return OpenBatch(
            chunk=chunk,
            items=len(draft.item_ids),
            model=draft.model,
            sent_at=sent.submitted_at if sent else None,
            reserved_usd=draft.reserved_cost_usd,
        )

    def _sends(self, chunk: int) -> int:
        return sum(name.startswith("abandoned-") for name in self.names[chunk])

    def _submitted(self, chunk: int) -> str | None:
        name = f"submitted-{self._sends(chunk):02d}.json"
        return name if name in self.names[chunk] else None

    def _is_collected(self, chunk: int) -> bool:
        return _COLLECTED in self.names.get(chunk, ())
