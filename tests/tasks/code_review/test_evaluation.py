"""Findings against known faults."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.tasks.code_review.evaluation import Score, Share, borne_out, evaluate, evaluation_markdown, wilson
from pipelines.tasks.code_review.findings import FindingRow
from pipelines.tasks.code_review.labelled_faults import Fault, LabelledFaults
from tests.tasks.code_review.samples import finding, finding_row


def fault(
    line: int, *, end_line: int | None = None, category: str = "sql-injection", document: str | None = None
) -> Fault:
    return Fault(document, "src/app.py", line, end_line or line, category, "critical")


def found(line: int, *, end_line: int | None = None, document: str = "1.diff", **values: str) -> FindingRow:
    return finding_row(finding(line=line, end_line=end_line or line, **values), document_id=document)


def by_paths(*faults: Fault) -> LabelledFaults:
    return LabelledFaults(faults, None)


def test_right_wrong_and_missed() -> None:
    evaluation = evaluate(
        [found(10), found(50), found(20, category="dead-code")], by_paths(fault(10), fault(80), fault(99))
    )
    assert evaluation.overall == Score(right=1, wrong=2, missed=2)
    assert evaluation.is_right == (True, False, False)
    assert evaluation.by_category["sql-injection"] == Score(1, 1, 2)
    assert evaluation.by_category["dead-code"] == Score(0, 1, 0)
    assert evaluation.by_severity["critical"] == Score(1, 0, 2)
    assert evaluation.by_severity["high"] == Score(0, 2, 0)


@pytest.mark.parametrize(("line", "is_right"), [(7, False), (8, True), (10, True), (12, True), (13, False)])
def test_the_line_tolerance(line: int, is_right: bool) -> None:
    evaluation = evaluate([found(line)], by_paths(fault(10)), line_tolerance=2)
    assert evaluation.is_right == (is_right,)


PLACES = st.lists(st.tuples(st.integers(1, 20), st.sampled_from(["sql-injection", "dead-code"])), max_size=5)


@given(PLACES, PLACES)
def test_the_findings_of_one_document_are_borne_out_as_they_are_counted(
    findings: list[tuple[int, str]], faults: list[tuple[int, str]]
) -> None:
    rows = [found(line, category=category) for line, category in findings]
    known = [fault(line, category=category) for line, category in faults]
    assert borne_out([row.finding for row in rows], known) == evaluate(rows, by_paths(*known)).is_right


def test_ranges_that_overlap_are_the_same_place() -> None:
    assert evaluate([found(1, end_line=5)], by_paths(fault(5, end_line=9)), line_tolerance=0).is_right == (True,)
    assert evaluate([found(1, end_line=4)], by_paths(fault(5, end_line=9)), line_tolerance=0).is_right == (False,)


def test_a_fault_counts_once_and_goes_to_the_nearest_finding() -> None:
    evaluation = evaluate([found(11), found(10)], by_paths(fault(10)))
    assert evaluation.is_right == (False, True)
    assert evaluation.overall == Score(right=1, wrong=1, missed=0)


def test_another_path_or_category_is_wrong() -> None:
    rows = [found(10, path="src/b.py"), found(10, category="off-by-one")]
    assert evaluate(rows, by_paths(fault(10))).overall == Score(right=0, wrong=2, missed=1)


def test_with_documents_equal_paths_are_kept_apart_and_others_left_aside() -> None:
    labelled = LabelledFaults((fault(10, document="1.diff"),), frozenset({"1.diff", "2.diff"}))
    rows = [found(10, document="2.diff"), found(10, document="3.diff"), found(10, document="1.diff")]
    evaluation = evaluate(rows, labelled)
    assert evaluation.is_right == (False, None, True)
    assert evaluation.overall == Score(right=1, wrong=1, missed=0)


def test_nothing_against_nothing() -> None:
    evaluation = evaluate([], by_paths())
    assert evaluation.overall == Score(0, 0, 0)
    assert evaluation.overall.f1 == Share(None, None, None)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # scipy 1.17: stats.binomtest(k, n).proportion_ci(method="wilson")
    [(8, 10, 0.4901625, 0.9433178), (0, 10, 0.0, 0.2775328), (10, 10, 0.7224672, 1.0), (50, 100, 0.4038315, 0.5961685)],
)
def test_wilson_intervals_are_the_known_ones(successes: int, trials: int, low: float, high: float) -> None:
    share = wilson(successes, trials)
    assert share.value == successes / trials
    assert share.low == pytest.approx(low, abs=1e-6)
    assert share.high == pytest.approx(high, abs=1e-6)


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500))
def test_every_share_lies_within_its_interval(right: int, wrong: int, missed: int) -> None:
    score = Score(right, wrong, missed)
    for share in (score.precision, score.recall, score.f1):
        if share.value is None or share.low is None or share.high is None:
            assert share == Share(None, None, None)
        else:
            assert 0 <= share.low <= share.value <= share.high <= 1


@given(st.integers(1, 500), st.integers(0, 500), st.integers(0, 500))
def test_f1_is_the_harmonic_mean(right: int, wrong: int, missed: int) -> None:
    score = Score(right, wrong, missed)
    precision, recall, f1 = score.precision.value, score.recall.value, score.f1.value
    assert precision is not None
    assert recall is not None
    assert f1 == pytest.approx(2 * precision * recall / (precision + recall))


_LINES = st.lists(st.integers(1, 30), max_size=12)


@given(_LINES, _LINES, st.integers(0, 5))
def test_every_finding_and_every_fault_is_counted_once(lines: list[int], faults: list[int], tolerance: int) -> None:
    evaluation = evaluate([found(line) for line in lines], by_paths(*map(fault, faults)), tolerance)
    assert evaluation.overall.right + evaluation.overall.wrong == len(lines)
    assert evaluation.overall.right + evaluation.overall.missed == len(faults)
    assert evaluation.is_right.count(True) == evaluation.overall.right


def test_the_table_states_tolerance_and_intervals() -> None:
    text = evaluation_markdown(evaluate([found(10), found(50)], by_paths(fault(10)), line_tolerance=3))
    assert text == (
        "Right: same path and category, lines within 3. In brackets: 95% Wilson intervals.\n\n"
        "| | right | wrong | missed | precision | recall | F1 |\n"
        "|---|---:|---:|---:|---:|---:|---:|\n"
        "| **all** | 1 | 1 | 0 | 50.0% [9.5%, 90.5%] | 100.0% [20.7%, 100.0%] | 66.7% [17.3%, 95.0%] |\n"
        "| critical | 1 | 0 | 0 | 100.0% [20.7%, 100.0%] | 100.0% [20.7%, 100.0%] | 100.0% [34.2%, 100.0%] |\n"
        "| high | 0 | 1 | 0 | 0.0% [0.0%, 79.3%] | - | 0.0% [0.0%, 88.5%] |\n"
        "| sql-injection | 1 | 1 | 0 | 50.0% [9.5%, 90.5%] | 100.0% [20.7%, 100.0%] | 66.7% [17.3%, 95.0%] |\n"
    )
