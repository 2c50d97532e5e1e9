"""The sample tickets as training sees them: the train split and the labels.

Reads `sample_data/tickets`; the held-out folder is read by `evaluate_starter_model` alone.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

TICKETS = Path(__file__).parents[1] / "tickets"
TRAIN_PATH = TICKETS / "train.jsonl.gz"


@dataclass(frozen=True, slots=True)
class Ticket:
    """One labelled ticket; ``hardness`` names what makes it hard, if anything."""

    text: str
    label: str
    hardness: str | None


def read_labels() -> dict[str, str]:
    """Label names with their descriptions, in the order that every prompt uses."""
    labels: dict[str, str] = yaml.safe_load((TICKETS / "labels.yaml").read_text(encoding="utf-8"))["labels"]
    return labels


def reordered(labels: Mapping[str, str], order: Iterable[int]) -> dict[str, str]:
    """The labels in another order, given by their places."""
    rows = list(labels.items())
    return dict(rows[place] for place in order)


def read_train_split() -> list[Ticket]:
    """All labelled training tickets."""
    with gzip.open(TRAIN_PATH, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [Ticket(row["text"], row["label"], row["hardness"]) for row in rows]


def train_split_hash() -> str:
    """Content hash of the file that was trained on; recorded in the model's config."""
    return hashlib.sha256(TRAIN_PATH.read_bytes()).hexdigest()
