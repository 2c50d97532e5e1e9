"""What is trained on and what is held back: no document twice, and judged on documents drawn by chance alone."""

from __future__ import annotations

import numpy as np

from pipelines.adapting.labels import Division, Labelled, Source, at_one_rate, divide
from pipelines.cascade.rule.history import Ask, Draw


def labelled(count: int, source: Source, *, first: int = 0, is_uniform: bool = False) -> list[Labelled]:
    return [
        Labelled(f"itm_{number}", np.array([number, 7], np.int32), number % 3, source, is_uniform, number / 10_000)
        for number in range(first, first + count)
    ]


def texts(part: tuple[Labelled, ...]) -> set[bytes]:
    return {each.tokens.tobytes() for each in part}


def test_documents_that_the_rule_drew_are_held_back_and_doubtful_ones_are_trained_on() -> None:
    division = divide([*labelled(50, "claude", is_uniform=True), *labelled(200, "claude", first=50)])
    assert division.counts == {"training": {"claude": 200}, "held_back": {"claude": 50}}


def test_where_the_runs_own_samples_are_enough_all_other_gold_labels_are_trained_on() -> None:
    division = divide([*labelled(200, "gold", is_uniform=True), *labelled(700, "gold", first=200)])
    assert division.counts == {"training": {"gold": 700}, "held_back": {"gold": 200}}


def test_without_such_samples_one_in_four_gold_labels_is_held_back_the_same_in_whichever_run() -> None:
    division = divide(labelled(1_000, "gold"))
    assert 200 < len(division.held_back) < 300
    assert texts(divide(labelled(500, "gold")).held_back) <= texts(division.held_back)


def test_no_document_is_in_both_even_if_two_runs_have_read_it() -> None:
    drawn = labelled(100, "people", is_uniform=True)
    division = divide([*labelled(100, "people"), *drawn, *labelled(100, "people", first=100)])
    assert not texts(division.training) & texts(division.held_back)
    assert len(division.held_back) == len(division.training) == 100


def test_beside_doubtful_documents_a_slice_of_what_the_engine_is_surest_of_is_trained_on() -> None:
    division: Division = divide([*labelled(90, "claude"), *labelled(500, "engine", first=1_000)])
    assert division.counts["training"] == {"claude": 90, "engine": 30}
    kept = [each.item_id for each in division.training if each.source == "engine"]
    assert sorted(kept) == [f"itm_{number}" for number in range(1_470, 1_500)]


def test_beside_gold_labels_none_is_and_the_engines_answers_alone_teach_nothing() -> None:
    assert "engine" not in divide([*labelled(90, "gold"), *labelled(50, "engine", first=1_000)]).counts["training"]
    assert divide(labelled(50, "engine")).counts == {"training": {}, "held_back": {}}


def test_more_labels_than_are_of_use_are_drawn_from_by_chance() -> None:
    division = divide([*labelled(200, "gold", is_uniform=True), *labelled(20_100, "gold", first=200)])
    assert len(division.training) == 20_000
    assert {each.label for each in division.training} == {0, 1, 2}


def test_sure_and_doubtful_items_are_held_back_at_the_rate_at_which_the_sample_was_drawn() -> None:
    """Of 4,000 items, 1,000 are asked in any case, and a fifth of the 3,000 others."""
    pilot, behind, stretch = np.arange(100), np.arange(100, 1_000), np.arange(1_000, 4_000)
    sample = stretch[::5]
    asks = [
        Ask("pilot", 1, pilot),
        Ask("certify", 2, np.r_[sample, behind], Draw(sample, stretch)),
        Ask("escalate", 3, stretch[1:900:5]),
    ]
    held = at_one_rate(asks, np.random.default_rng(0))
    assert set(held[held >= 1_000]) == set(sample)
    assert 150 < (held < 1_000).sum() < 250
    assert len(at_one_rate(asks[:1], np.random.default_rng(0))) == 0
