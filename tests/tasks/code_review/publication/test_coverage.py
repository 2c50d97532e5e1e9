"""Nothing is published unless everything was looked at."""

from pipelines.tasks.code_review.publication.coverage import Coverage

WHY = (
    "No SARIF is written: a code host would take the faults of what was not reviewed for mended. Resume the run if it "
    "is unfinished; otherwise mend these items or leave them out (their rows say why), and submit again"
)


def test_complete_coverage_has_no_gap() -> None:
    assert Coverage(planned_items=3, reviewed_items=3, unreviewed={"failed": 0}, left_out={"lock": 9}).gap() is None


def test_a_gap_says_what_is_missing_and_what_to_do() -> None:
    coverage = Coverage(planned_items=12_000, reviewed_items=11_990, unreviewed={"review": 1, "failed": 2})
    assert coverage.gap() == (f"10 of 12,000 items have no review (2 failed, 1 review, 7 without a row yet). {WHY}")


def test_an_empty_input_was_not_reviewed() -> None:
    assert Coverage(planned_items=0, reviewed_items=0).gap() == (
        "nothing was reviewed: the input holds no item. No SARIF is written; check the input's path"
    )
