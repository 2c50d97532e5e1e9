"""Why items have no answer: reasons counted by their kind, whatever place, number or name each of them names."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from pipelines.routes import Route

COUNTED_ROUTES = (Route.FAILED, Route.WITHHELD, Route.REVIEW)
_MOST_KINDS = 1_000  # of a run; what comes after is counted together
_OTHER = "other reasons"
_AFTER_PLACE = re.compile(r"(?::\d+)?: ")
_VARYING = re.compile(r"'[^']*'|\d[\d,.]*")


class ReasonCount(BaseModel):
    """Items of one route that have no answer for one kind of reason; ``reason`` is the first's, less its place."""

    model_config = ConfigDict(frozen=True)

    route: str
    items: int
    reason: str
    example: str  # the document's id


@dataclass
class Reasons:
    """Counter of why items failed, were withheld or were left to people; parts are added one by one."""

    _counts: dict[tuple[str, str], int] = field(default_factory=dict)
    _first: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)

    def add(self, table: pa.Table) -> None:
        """Count the rows of one part that have no answer; columns route, reason, document_id and document_uri."""
        rows = table.filter(pc.is_in(table["route"], value_set=pa.array(COUNTED_ROUTES)))
        names = ("route", "reason", "document_id", "document_uri")
        for route, reason, document_id, uri in zip(*(rows[name].to_pylist() for name in names), strict=True):
            text = _without_place(reason or "no reason", uri)
            key = (route, _VARYING.sub("_", text))
            if key not in self._counts and len(self._counts) >= _MOST_KINDS:
                key, text = (route, _OTHER), _OTHER
            self._first.setdefault(key, (text, document_id))
            self._counts[key] = self._counts.get(key, 0) + 1

    def counts(self) -> list[ReasonCount]:
        """Reasons with how often each was given: by route, the commonest first."""
        kinds = sorted(self._counts.items(), key=lambda kind: (COUNTED_ROUTES.index(kind[0][0]), -kind[1]))
        return [
            ReasonCount(route=key[0], items=items, reason=self._first[key][0], example=self._first[key][1])
            for key, items in kinds
        ]


def _without_place(reason: str, uri: str) -> str:
    """A failed row's reason begins with its file, by any part of its address, and its line or row."""
    starts = [0, *(at + 1 for at, char in enumerate(uri) if char == "/")]
    for place in (uri[start:] for start in starts):
        if place and reason.startswith(place) and (found := _AFTER_PLACE.match(reason, len(place))):
            return reason[found.end() :]
    return reason
