"""Nothing is published of half a run; of one that has ended, what is missing is told."""

import pytest

from pipelines.tasks.code_review.publication.coverage import Coverage

WHY = "No SARIF is written: a code host would take the faults of what was not reviewed for mended."
MEND = "Mend these items or leave them out (their rows say why), and submit again"
TOLD = (
    "The SARIF says so (executionSuccessful is false), but a code host may take the faults of what was not reviewed "
    "for mended: mend these items or leave them out (their rows say why), and submit again"
)


def test_complete_coverage_has_no_gap() -> None:
    coverage = Coverage(planned_items=3, reviewed_items=3, unreviewed={"failed": 0}, left_out={"lock": 9})
    assert (coverage.gap(), coverage.refusal(), coverage.told_missing) == (None, None, [])


def test_half_a_run_is_not_published() -> None:
    coverage = Coverage(planned_items=12_000, reviewed_items=11_990, unreviewed={"review": 1, "failed": 2})
    assert coverage.refusal() == coverage.gap() == (
        f"10 of 12,000 items have no review (2 failed, 1 review, 7 without a row yet). {WHY} Resume the run"
    )  # fmt: skip


def test_a_run_that_reviewed_nothing_is_not_published() -> None:
    coverage = Coverage(planned_items=3, reviewed_items=0, unreviewed={"failed": 3})
    assert coverage.refusal() == f"3 of 3 items have no review (3 failed). {WHY} {MEND}"


def test_an_empty_input_was_not_reviewed() -> None:
    assert Coverage(planned_items=0, reviewed_items=0).gap() == (
        "nothing was reviewed: the input holds no item. No SARIF is written; check the input's path"
    )


@pytest.mark.parametrize(
    ("coverage", "gap"),
    [
        (Coverage(9, 8, {"failed": 1}), "1 of 9 items have no review (1 failed)"),
        (Coverage(9, 9, unfinished_items=2),
         "2 of 9 items have only the first findings of an answer that was cut at the output limit"),
        (Coverage(9, 8, {"failed": 1}, unfinished_items=2),
         "1 of 9 items have no review (1 failed); 2 of 9 items have only the first findings of an answer that was cut "
         "at the output limit"),
    ],
)  # fmt: skip
def test_one_item_does_not_cost_the_others_their_publication(coverage: Coverage, gap: str) -> None:
    assert coverage.refusal() is None
    assert coverage.gap() == f"{gap}. {TOLD}"
