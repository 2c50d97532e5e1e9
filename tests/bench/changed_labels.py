"""The held-out sample tickets under a label set that the starter model was not trained on: two merged, one split.

Billing and refund become `money`; delivery is split by what happened into `parcel_on_the_way` and `parcel_contents`.
What happened is the scenario that each ticket was written from; the few delivery tickets that were written without one
are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import yaml

from sample_data.generate_tickets import DEFAULT_SEED, HELDOUT_PER_CLASS
from sample_data.starter_training.tickets import read_labels
from sample_data.ticket_source import documents, hardness, stories
from sample_data.ticket_source.phrasebook import Split, load_bank

MERGED = {"billing": "money", "refund": "money"}
_CONTENTS = {"damaged", "incomplete", "wrong_item", "pallet"}
MEANINGS = {
    "money": "a charge, invoice or price should be explained or corrected, or money already paid should be sent back",
    "parcel_on_the_way": "a parcel is late, lost or held at customs, or should go to another address",
    "parcel_contents": "a parcel arrived, and what is in it is damaged, incomplete or the wrong thing",
}


@dataclass(frozen=True)
class Ticket:
    """One document and its true label."""

    id: str
    text: str
    label: str


def changed_labels() -> dict[str, str | None]:
    """The new label set, in the order of the old one."""
    found: dict[str, str | None] = {}
    for name, meaning in read_labels().items():
        if name == "delivery":
            found |= {new: MEANINGS[new] for new in ("parcel_on_the_way", "parcel_contents")}
        elif name in MERGED:
            found |= {MERGED[name]: MEANINGS[MERGED[name]]}
        else:
            found[name] = meaning
    return found


def changed_tickets() -> list[Ticket]:
    """The held-out tickets, in the order in which they were written."""
    found = []
    with _scenarios() as drawn:
        for document in documents.write_split("heldout", HELDOUT_PER_CLASS, DEFAULT_SEED):
            scenario = next((name for label, name in drawn if label == document.label), None)
            drawn.clear()
            if document.label == "delivery" and scenario is None:
                continue
            split = "parcel_contents" if scenario in _CONTENTS else "parcel_on_the_way"
            label = split if document.label == "delivery" else MERGED.get(document.label, document.label)
            found.append(Ticket(document.id, document.text, label))
    return found


@contextmanager
def _scenarios() -> Iterator[list[tuple[str, str]]]:
    """Notes which scenario each case is drawn from, while documents are written."""
    drawn: list[tuple[str, str]] = []
    original = stories.draw_case

    def noting(label: str, split: Split, rng: Random) -> stories.Case:
        case = original(label, split, rng)
        scenarios: dict[str, Any] = load_bank(label)["scenarios"]
        drawn.append((label, next(name for name, each in scenarios.items() if each["core"] == case.core)))
        return case

    for module in (documents, hardness):
        module.draw_case = noting  # type: ignore[attr-defined]  # mypy sees bare modules
    try:
        yield drawn
    finally:
        for module in (documents, hardness):
            module.draw_case = original  # type: ignore[attr-defined]  # as above


def as_job(**changes: Any) -> str:
    """A job over them, as YAML."""
    job = {"task": "classification", "labels": changed_labels(), **changes}
    return yaml.safe_dump(job, sort_keys=False, allow_unicode=True)
