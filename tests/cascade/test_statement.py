"""The guarantee in words, word for word."""

import numpy as np

from pipelines.cascade.rule.budget import Reached
from pipelines.cascade.rule.target import Certificate, Settled, Target
from pipelines.cascade.statement import NOT_COVERED, NOTHING_ASKED, state_reached, state_target


def settled(kept: int, **changes: int) -> Settled:
    facts = {"items": 2000, "allowed_wrong": 100, "pilot": 80, "sample": 210, "sample_wrong": 31, "stretch": 1800}
    facts |= {"strikes": 9, "prefix": 1600, "prefix_drawn": 170, "prefix_wrong": 9, "rounds": 3}
    return Settled(np.arange(2000) < kept, Certificate(agreement=0.81, **(facts | changes)))


def test_a_kept_target_says_what_was_promised_and_on_what_it_rests() -> None:
    assert state_target(Target(0.95, 0.9), settled(1430)) == (
        "Promised: agreement with Claude on at least 95 % of 2,000 items, so at most 100 may differ, with 90 % "
        "assurance.\n"
        "Certified: of the 1,800 least doubtful, 210 were drawn at random; the first 1,600 hold 9 wrong ones of these, "
        "put right, where 9 may be; that shows at most 100 more wrong there.\n"
        "Labels: 570 in 3 message batches, of which 80 to learn where the engine errs and 210 to certify; the 1,430 "
        f"others keep the engine's answer.\nNot covered: {NOT_COVERED}"
    )


def test_a_target_that_no_sample_could_certify() -> None:
    nothing = {"pilot": 0, "sample": 0, "prefix": 0, "prefix_drawn": 0, "prefix_wrong": 0, "stretch": 0, "strikes": 0}
    text = state_target(Target(0.999, 0.95), settled(2, allowed_wrong=2, rounds=1, **nothing))
    assert (
        "Certified: only 2 items kept unasked, no more than may differ, so the promise holds whatever they are." in text
    )
    assert "Labels: 1,998 in 1 message batch, of which 0 to learn" in text
    text = state_target(Target(1.0, 0.95), settled(0, allowed_wrong=0, rounds=1, **nothing))
    assert "at least 100 % of 2,000 items" in text
    assert "Certified: no item keeps the engine's answer" in text


def reached(lower: float | None, reason: str | None) -> Reached:
    return Reached(np.arange(1000) < 700, 1000, 75, 6, None, lower, reason, 3)


def test_a_budget_says_what_it_reached_and_never_rounds_up() -> None:
    text = state_reached(0.95, reached(0.93999, None))
    assert text == (
        "Promised: nothing about quality; the budget decided how many items were asked.\n"
        "Certified: agreement with Claude on at least 93.9 % of 1,000 items, with 95 % assurance.\n"
        "Labels: 300 in 3 message batches, of which 75 drawn at random to certify; the 700 others keep the engine's "
        f"answer.\nNot covered: {NOT_COVERED}"
    )


def test_a_budget_without_a_sample_certifies_nothing() -> None:
    assert "Certified: nothing; there was no money." in state_reached(0.95, reached(None, "there was no money"))


def test_truth_missed_findings_and_later_data_are_never_promised() -> None:
    for word in ("truth", "findings that the engine never made", "later data", "withheld by policy"):
        assert word in NOT_COVERED


def test_nothing_is_promised_of_nothing() -> None:
    none = Settled(np.zeros(0, np.bool_), Certificate(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, None, 0))
    no_item = Reached(np.zeros(0, np.bool_), 0, 0, 0, None, None, "there was no item", 0)
    for text in (state_target(Target(0.95, 0.95), none), state_reached(0.95, no_item)):
        assert text == NOTHING_ASKED
        assert "holds" not in text
