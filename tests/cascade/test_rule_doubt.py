"""The curve of doubt, against the same posterior worked out with dense matrices and no shortcut."""

import numpy as np
import pytest

from pipelines.cascade.rule import doubt as module
from pipelines.cascade.rule.doubt import Doubt, Seen


def made_up(items: int, answers: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    rank, answer = random.random(items), random.integers(0, answers, items)
    hardness = np.linspace(-2, 2, answers)[answer]
    is_wrong = random.random(items) < 1 / (1 + np.exp(2 - 4 * (rank - 0.5) - hardness))
    return rank, answer, is_wrong


@pytest.mark.parametrize("offset_sd", [0.0, 0.5, 3.0])
def test_fit_is_the_top_of_the_posterior_and_its_curvature(offset_sd: float) -> None:
    rank, answer, is_wrong = made_up(120, 4)
    fit = module._fit(Seen.each(rank, answer, is_wrong), 4, offset_sd)
    one_hot = np.eye(4)[answer] if offset_sd else np.zeros((120, 0))
    design = np.column_stack([np.ones(120), rank - 0.5, one_hot])
    mean = np.r_[-2.0, 5.0, np.zeros(one_hot.shape[1])]
    precision = np.r_[1 / 9, 1 / 4, np.full(one_hot.shape[1], offset_sd**-2.0 if offset_sd else 1.0)]
    weights = np.r_[fit.line, fit.offsets] if offset_sd else fit.line
    share = 1 / (1 + np.exp(-design @ weights))
    assert design.T @ (is_wrong - share) - precision * (weights - mean) == pytest.approx(0, abs=1e-6)
    curvature = (design * (share * (1 - share))[:, None]).T @ design + np.diag(precision)
    covariance = np.linalg.inv(curvature)
    assert fit.line_cov == pytest.approx(covariance[:2, :2], rel=1e-6)
    log_odds = design @ weights
    evidence = (is_wrong * log_odds - np.logaddexp(0, log_odds)).sum()
    evidence += 0.5 * (np.log(precision).sum() - (precision * (weights - mean) ** 2).sum())
    evidence -= 0.5 * np.linalg.slogdet(curvature)[1]
    assert fit.evidence == pytest.approx(evidence, rel=1e-6)
    if offset_sd:
        random = np.random.default_rng(5)
        draws = [fit.draw(random) for _ in range(4000)]
        drawn = np.cov(np.array([np.r_[one.line, one.offsets] for one in draws]).T)
        assert drawn == pytest.approx(covariance, abs=0.1 * np.abs(covariance).max())


def test_answers_that_behave_alike_share_a_curve_and_others_do_not() -> None:
    random = np.random.default_rng(2)
    rank, answer = random.random(200), random.integers(0, 2, 200)
    alike = Doubt.fit(Seen.each(rank, answer, random.random(200) < 0.2), 2)
    assert np.abs(alike.offsets).max() < 0.3
    apart = Doubt.fit(Seen.each(rank, answer, random.random(200) < np.where(answer == 1, 0.6, 0.02)), 2)
    assert apart.offsets[1] - apart.offsets[0] > 2


def test_a_score_that_is_upside_down_is_not_believed_to_be() -> None:
    rank = np.linspace(0.01, 0.99, 60)
    fit = Doubt.fit(Seen.each(rank, np.zeros(60, np.int64), rank < 0.3), 1)
    doubts = fit.probability(rank, np.zeros(60, np.int64))
    assert (np.diff(doubts) > 0).all()


@pytest.mark.parametrize("is_wrong", [True, False])
def test_labels_of_one_kind_leave_a_curve_between_never_and_always(is_wrong: bool) -> None:
    rank, answer, _ = made_up(30, 500)
    fit = Doubt.fit(Seen.each(rank, answer, np.full(30, is_wrong)), 500)
    doubts = fit.probability(rank, answer)
    assert ((doubts > 0) & (doubts < 1)).all()


def test_no_label_at_all_leaves_what_was_believed_before() -> None:
    nothing = np.zeros(0)
    fit = Doubt.fit(Seen.each(nothing, np.zeros(0, np.int64), nothing > 0), 3)
    assert fit.line == pytest.approx([-2.0, 5.0])
    assert fit.offsets == pytest.approx(np.zeros(3))


def test_counted_labels_teach_what_they_would_one_by_one() -> None:
    rank, answer, is_wrong = made_up(40, 3)
    one_by_one = Seen.each(np.repeat(rank, 3), np.repeat(answer, 3), np.repeat(is_wrong, 3))
    counted = Seen(rank, answer, np.full(40, 3.0), 3.0 * is_wrong)
    fits = [Doubt.fit(seen, 3) for seen in (one_by_one, counted)]
    assert fits[0].line == pytest.approx(fits[1].line)
    assert fits[0].offsets == pytest.approx(fits[1].offsets)
    assert fits[0].evidence == pytest.approx(fits[1].evidence)


def test_earlier_labels_that_tell_the_same_story_sharpen_the_curve() -> None:
    earlier, own = Seen.each(*made_up(200, 3, seed=1)), Seen.each(*made_up(30, 3, seed=2))
    alone, together = Doubt.fit(own, 3), Doubt.fit(own, 3, earlier)
    assert np.linalg.det(together.line_cov) < np.linalg.det(alone.line_cov) / 4
    assert np.abs(together.line - [-2, 4]).sum() < np.abs(alone.line - [-2, 4]).sum()


def test_earlier_labels_that_tell_another_story_are_forgotten() -> None:
    rank, answer, is_wrong = made_up(200, 3, seed=1)
    own = Seen.each(*made_up(30, 3, seed=2))
    for other_story in (~is_wrong, np.ones(200, np.bool_), np.zeros(200, np.bool_)):
        together = Doubt.fit(own, 3, Seen.each(rank, answer, other_story))
        assert together.line.tolist() == Doubt.fit(own, 3).line.tolist()
