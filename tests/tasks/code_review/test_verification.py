"""How sure the engine is of a review as a whole."""

import pytest

from pipelines.tasks.code_review.verification import review_raw_prob, verdict
from tests.tasks.code_review.samples import finding


@pytest.mark.parametrize(
    ("findings", "clean", "expected"),
    [
        ([], [], None),
        ([0.9], [], 0.9),
        ([0.1], [], 0.9),
        ([0.9, 0.55, 0.2], [], 0.55),
        ([], [0.7], 0.7),
        ([], [0.2], 0.2),
        ([0.99], [0.6, 0.8], 0.6),
    ],
)
def test_a_review_is_as_sure_as_its_least_sure_part(
    findings: list[float], clean: list[float], expected: float | None
) -> None:
    assert review_raw_prob(findings, clean) == expected


def test_the_verdict_says_whether_anything_was_found() -> None:
    assert verdict([]) == "clean"
    assert verdict([finding()]) == "faulty"
