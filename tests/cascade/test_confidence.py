"""From log-probabilities to an answer and how sure the engine is, against the formulas written out row by row."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError

from pipelines.cascade.confidence import Calibration, read_scores

LOGPROBS = st.integers(-60_000, 0).map(lambda thousandths: thousandths / 1000)
TABLES = hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(2, 8)), elements=LOGPROBS)


def calibration(temperature: float) -> Calibration:
    return Calibration(
        method="temperature",
        temperature=temperature,
        fitted_on=2_000,
        prompt_fingerprint="0123456789abcdef",
        labels=("billing", "outage"),
        model_sha256="00",
    )


def shares(row: list[float], temperature: float = 1.0) -> list[float]:
    odds = [math.exp((logprob - max(row)) / temperature) for logprob in row]
    return [odd / sum(odds) for odd in odds]


@given(TABLES, st.floats(0.25, 8))
def test_scores_are_what_the_formulas_say(table: np.ndarray, temperature: float) -> None:
    scores = read_scores(table, calibration(temperature))
    for index, row in enumerate(table.tolist()):
        best = row.index(max(row))
        assert scores.answer[index] == best
        assert scores.raw_prob[index] == pytest.approx(shares(row)[best])
        assert scores.label_mass[index] == pytest.approx(min(1.0, sum(map(math.exp, row))))
        assert scores.confidence is not None
        assert scores.confidence[index] == pytest.approx(shares(row, temperature)[best])


@given(TABLES)
def test_every_number_is_a_probability_and_no_row_depends_on_another(table: np.ndarray) -> None:
    scores = read_scores(table, None)
    for values in (scores.raw_prob, scores.label_mass):
        assert values.shape == (len(table),)
        assert ((values >= 0) & (values <= 1)).all()
    alone = [read_scores(table[row : row + 1], None).raw_prob[0] for row in range(len(table))]
    assert scores.raw_prob.tolist() == alone


@given(TABLES)
def test_temperature_one_is_the_raw_share(table: np.ndarray) -> None:
    scores = read_scores(table, calibration(1.0))
    assert scores.confidence is not None
    assert np.array_equal(scores.confidence, scores.raw_prob)


@given(TABLES, st.floats(0.25, 8))
def test_calibration_changes_how_sure_never_the_answer(table: np.ndarray, temperature: float) -> None:
    plain, calibrated = read_scores(table, None), read_scores(table, calibration(temperature))
    assert plain.confidence is None
    assert np.array_equal(plain.answer, calibrated.answer)
    assert np.array_equal(plain.raw_prob, calibrated.raw_prob)


@given(st.lists(st.floats(-9, 9), min_size=2, max_size=20), st.floats(0.25, 8))
def test_with_two_labels_the_surer_item_stays_the_surer(margins: list[float], temperature: float) -> None:
    table = np.array([[-10.0, -10.0 + margin] for margin in margins])
    scores = read_scores(table, calibration(temperature))
    assert scores.confidence is not None
    order = np.argsort(scores.raw_prob, kind="stable")
    assert (np.diff(scores.confidence[order]) >= -1e-12).all()


def test_label_mass_is_low_where_the_engine_wanted_to_say_something_else() -> None:
    scores = read_scores(np.log([[0.009, 0.001], [0.6, 0.4]]), None)
    assert scores.raw_prob.tolist() == pytest.approx([0.9, 0.6])
    assert scores.label_mass.tolist() == pytest.approx([0.01, 1.0])


def test_label_mass_never_exceeds_one_by_rounding() -> None:
    assert read_scores(np.log([[0.7, 0.3000001]]), None).label_mass[0] == 1.0


def test_the_first_of_equal_labels_is_the_answer() -> None:
    scores = read_scores(np.log([[0.2, 0.4, 0.4]]), None)
    assert scores.answer[0] == 1
    assert scores.raw_prob[0] == pytest.approx(0.4)


def test_a_calibration_fits_its_own_prompt_and_labels_only() -> None:
    fitted = calibration(1.5)
    assert fitted.fits(prompt_fingerprint="0123456789abcdef", labels=["billing", "outage"])
    assert not fitted.fits(prompt_fingerprint="another", labels=["billing", "outage"])
    assert not fitted.fits(prompt_fingerprint="0123456789abcdef", labels=["outage", "billing"])
    assert not fitted.fits(prompt_fingerprint="0123456789abcdef", labels=["billing"])


@pytest.mark.parametrize("temperature", [0, -1, math.nan])
def test_a_temperature_must_be_positive(temperature: float) -> None:
    with pytest.raises(ValidationError):
        calibration(temperature)
