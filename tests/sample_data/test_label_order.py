"""The measures of what the order of the labels does, on numbers whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.tasks.label_order import reads_reversed
from sample_data.measure_label_order import (
    combined,
    orders_of,
    position_bias,
    print_position_bias,
    print_quality,
)

NAMES = ["refund", "billing", "outage"]


def favouring(*labels: int) -> np.ndarray:
    """Log-probabilities of items, each sure of one label."""
    probabilities = np.full((len(labels), len(NAMES)), 0.05, np.float32)
    probabilities[np.arange(len(labels)), list(labels)] = 0.9
    return np.log(probabilities)


def test_every_order_lists_every_label() -> None:
    assert orders_of(NAMES) == {
        "given": ["refund", "billing", "outage"],
        "reversed": ["outage", "billing", "refund"],
        "alphabetical": ["billing", "outage", "refund"],
    }


def test_a_place_answered_more_often_than_it_is_right_is_bias() -> None:
    bias = position_bias(np.array([0, 0, 0, 2]), np.array([0, 0, 1, 2]), 3)
    assert bias.answered.tolist() == [0.75, 0.0, 0.25]
    assert bias.gold.tolist() == [0.5, 0.25, 0.25]
    assert bias.total_variation == pytest.approx(0.25)


def test_an_engine_that_always_answers_the_first_place(capsys: pytest.CaptureFixture[str]) -> None:
    """In both orders it answers place 1; which label that is turns, and so does every answer."""
    scored = {"given": favouring(0, 0, 0, 0), "reversed": favouring(2, 2, 2, 2)}
    print_position_bias(scored, np.array([0, 1, 2, 2]), NAMES)
    assert capsys.readouterr().out == (
        "\n| place | given: answered | right | reversed: answered | right |\n|---|---|---|---|---|\n"
        "| 1 | 1.000 | 0.250 | 1.000 | 0.500 |\n"
        "| 2 | 0.000 | 0.250 | 0.000 | 0.250 |\n"
        "| 3 | 0.000 | 0.500 | 0.000 | 0.250 |\n"
        "\ntotal variation: 0.7500 given, 0.5000 reversed\n"
        "other answer when the order is reversed: 4 of 4 documents (100.0%)\n"
    )


def test_seeded_takes_each_row_from_one_order_and_averaged_from_both() -> None:
    given, turned = favouring(*[0] * 40), favouring(*[2] * 40)
    made = combined(given, turned)
    expected = np.where(reads_reversed([str(number) for number in range(40)]), 2, 0)
    assert made["seeded"].argmax(axis=1).tolist() == expected.tolist()
    np.testing.assert_allclose(np.exp(made["averaged"]), np.tile([0.475, 0.05, 0.475], (40, 1)), rtol=1e-5)


def test_quality_is_one_row_an_order(capsys: pytest.CaptureFixture[str]) -> None:
    print_quality({"given": favouring(0, 1), "reversed": favouring(0, 0)}, np.array([0, 1]))
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| given | 1.000 | 0.900 | - | 0.1000 |",
        "| reversed | 0.500 | 0.900 | 0.500 | 0.4000 |",
    ]
