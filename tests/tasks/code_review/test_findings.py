"""Findings of several pieces, merged."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from pipelines.tasks.code_review.findings import Finding, merge_findings
from tests.tasks.code_review.samples import finding


def test_the_same_fault_in_two_pieces_is_one() -> None:
    assert merge_findings([finding(), finding()]) == (finding(),)


def test_overlapping_lines_of_one_category_are_one_fault_and_the_worst_stands() -> None:
    vague = finding(line=1, end_line=9, severity="medium", suggestion="use parameters")
    exact = finding(line=4, end_line=4, severity="critical")
    assert merge_findings([vague, exact]) == (
        finding(line=4, end_line=4, severity="critical", suggestion="use parameters"),
    )


def test_of_equally_severe_ones_the_most_exact_stands() -> None:
    assert merge_findings([finding(line=1, end_line=9), finding(line=3, end_line=4)]) == (finding(line=3, end_line=4),)


def test_other_lines_other_files_and_other_categories_stay_apart() -> None:
    apart = (
        finding(line=2, end_line=2, category="off-by-one"),
        finding(line=2, end_line=2),
        finding(line=3, end_line=3),
        finding(path="src/b.py"),
    )
    assert merge_findings(reversed(apart)) == apart


_FINDINGS = st.lists(
    st.builds(
        lambda line, length, severity, category: finding(
            line=line, end_line=line + length, severity=severity, category=category
        ),
        st.integers(1, 12),
        st.integers(0, 4),
        st.sampled_from(["critical", "low"]),
        st.sampled_from(["off-by-one", "dead-code"]),
    )
)


@given(_FINDINGS, st.randoms())
def test_merging_does_not_depend_on_the_order(findings: list[Finding], random: Random) -> None:
    shuffled = list(findings)
    random.shuffle(shuffled)
    assert merge_findings(shuffled) == merge_findings(findings)


@given(_FINDINGS)
def test_nothing_new_appears_and_no_category_is_lost(findings: list[Finding]) -> None:
    merged = merge_findings(findings)
    assert set(merged) <= set(findings)
    assert {one.category for one in merged} == {one.category for one in findings}
