"""What is told of an adapter, to programs and people."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from pipelines.adapting.card import TERMS, Card
from pipelines.adapting.gate import Gate, Measured
from workers.engines.adapters import MadeFor


def card(task: str = "classification", **sources: int) -> Card:
    gate = Gate(Measured(0.6, 0.5, 0.1, 0.9), Measured(0.3, 0.8, 0.05, 0.95), 0.3, 0.2, 0.4, 250, 1_000, 60)
    return Card(
        created_at=datetime(2026, 11, 27, tzinfo=UTC),
        base="starter",
        base_revision="sha256-1",
        before="starter + old",
        before_revision="sha256-1+lora-2",
        task=task,
        labels=("billing", "outage"),
        prompt_fingerprint="p",
        runs=("run_a", "run_b"),
        label_counts={"training": dict(sources), "held_back": {"gold": 250}},
        target=0.9,
        assurance=0.95,
        settings={"rank": 16, "seed": 3},
        training_seconds=90.0,
        device="cpu",
        versions={"peft": "0"},
        gate=gate,
    )


def test_the_card_says_what_it_was_made_of_and_what_it_brings() -> None:
    text = card(gold=700).as_markdown()
    for told in (
        "sha256-1+lora-2",
        "run_a, run_b",
        "700 gold",
        "rank 16, seed 3",
        "1.5 minutes on cpu",
        "target of 0.9",
    ):
        assert told in text
    assert "| before | 60.0% | 50.0% | 0.100 | 0.900 |" in text
    assert "Saved: 30.0% of the documents, 95 % interval 20.0% to 40.0%." in text


def test_of_a_review_the_card_says_that_the_verification_alone_was_trained() -> None:
    made = card("code review, verification only", gold=700)
    assert "For `code review, verification only` into 2 labels" in made.as_markdown()
    assert "reviews are written by the base" in made.as_markdown()
    assert "reviews" not in card(gold=700).as_markdown()
    assert MadeFor.model_validate_json(made.as_json()).task == "code review, verification only"


def test_the_card_for_programs_is_what_serving_looks_at() -> None:
    written = card(gold=700).as_json()
    assert MadeFor.model_validate_json(written).base_revision == "sha256-1"
    assert json.loads(written)["created_at"] == "2026-11-27T00:00:00+00:00"


@pytest.mark.parametrize(("source", "is_told"), [("claude", True), ("gold", False)])
def test_whose_terms_hold_is_told_where_claudes_answers_taught(source: str, is_told: bool) -> None:
    made = card(**{source: 700})
    assert (TERMS in made.as_markdown()) is (TERMS in made.as_json()) is is_told
