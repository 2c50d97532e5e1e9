"""The guarantee in words, word for word."""

import numpy as np

from pipelines.cascade.rule.budget import Reached
from pipelines.cascade.rule.strike_limits import NOTHING, Counted, Standing
from pipelines.cascade.rule.target import Certificate, Settled, Target
from pipelines.cascade.statement import NOT_COVERED, NOTHING_ASKED, state_alone, state_reached, state_target, state_term


def settled(kept: int, **changes: int) -> Settled:
    facts = {"items": 2000, "allowed_wrong": 100, "pilot": 80, "sample": 210, "sample_wrong": 31, "stretch": 1920}
    facts |= {"strikes": 9, "prefix": 1600, "prefix_drawn": 170, "prefix_wrong": 9, "rounds": 2}
    return Settled(np.arange(2000) < kept, Certificate(agreement=0.81, **(facts | changes)))


def test_a_kept_target_says_what_was_promised_and_on_what_it_rests() -> None:
    assert state_target(Target(0.95, 0.9), settled(1430)) == (
        "Promised: agreement with Claude on at least 95 % of 2,000 items, so at most 100 may differ, with 90 % "
        "assurance.\n"
        "Certified: of 1,920 items, 210 were drawn at random; the 1,600 least doubtful hold 9 wrong ones of these, "
        "put right, where 9 may be; that shows at most 100 more wrong there.\n"
        "Labels: 570 in 2 message batches, of which 80 to learn where the engine errs and 210 to certify; the 1,430 "
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


def of_term(kept: int, counted: Counted, **changes: int) -> Settled:
    one = settled(kept, allowed_wrong=130, pilot=0, rounds=2, **changes)
    return Settled(one.is_accepted, one.certificate, counted)


def test_a_run_of_a_term_says_what_is_promised_of_all_that_were_counted() -> None:
    counted = Counted(Standing(600, 3), Standing(2_600, 12), 14, 1_600)
    text = state_term(Target(0.95, 0.9), of_term(1_430, counted), term=2, runs=7)
    assert text.startswith(
        "Promised: agreement with Claude on at least 95 % of the 2,600 items of the 7 runs that term 2 of this job has "
        "counted so far, this one the last of them, so at most 130 may differ; with 90 % assurance, that this is so "
        "and stays so after every run of the term.\n"
        "Certified: of the 1,920 least doubtful of this run, 210 were drawn at random; the first 1,600 hold 9 wrong "
        "ones of these, put right. The term has 12 such ones where 14 may be.\n"
        "Labels: 570 in 2 message batches, of which 210 to certify; the 1,430 others of this run keep the engine's "
        "answer.\nNot covered: Agreement with Claude is not truth"
    )
    assert "It covers the items of these runs that may be sent to Claude, as Claude answered in each of them" in text
    assert "one may have more wrong than its share" in text


def test_a_term_that_may_keep_nothing_yet_says_so() -> None:
    nothing = {"sample": 0, "prefix": 0, "prefix_drawn": 0, "prefix_wrong": 0, "stretch": 0}
    text = state_term(Target(0.95, 0.9), of_term(0, Counted(Standing(), Standing(30), NOTHING, 0), **nothing), 1, 1)
    assert "Certified: nothing may stand yet; what may be wrong is saved for the next runs." in text
    text = state_term(Target(0.95, 0.9), of_term(0, Counted(Standing(), Standing(30), 2, 0), **nothing), 1, 1)
    assert "Certified: no answer of this run may stand; what may be wrong is saved for the next runs." in text
    none = of_term(0, Counted(Standing(), Standing(30), NOTHING, 0), items=0, **nothing)
    assert state_term(Target(0.95, 0.9), none, 1, 1) == NOTHING_ASKED


def test_a_run_that_is_of_no_term_says_why() -> None:
    assert state_alone(None) == []
    assert state_alone("it has 301 items, and a term 300") == [
        "Term: none; this run keeps its promise by itself, since it has 301 items, and a term 300."
    ]
