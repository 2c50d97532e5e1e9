"""The one stage that filters."""

from pipelines.tasks.code_review.publication.selection import select
from tests.tasks.code_review.samples import finding, finding_row


def test_confidence_decides_and_raw_probability_where_there_is_none() -> None:
    rows = [
        finding_row(fingerprint="a", confidence=0.5, raw_prob=0.1),
        finding_row(fingerprint="b", confidence=0.49, raw_prob=0.9),
        finding_row(fingerprint="c", confidence=None, raw_prob=0.5),
        finding_row(fingerprint="d", confidence=None, raw_prob=0.4),
        finding_row(fingerprint="e", confidence=None, raw_prob=None),
    ]
    selection = select(rows, threshold=0.5)
    assert {row.fingerprint for row in selection.published} == {"a", "c"}
    assert selection.withheld == {"below the threshold": 2, "not verified": 1}


def test_the_verified_list_of_claude_is_taken_as_it_is() -> None:
    rows = [finding_row(route="escalated", confidence=None, raw_prob=None)]
    assert select(rows, threshold=0.99).published == tuple(rows)


def test_the_later_of_two_items_that_report_the_same_stands() -> None:
    older, newer = finding_row(item_id="itm_1"), finding_row(finding(line=40, end_line=40), item_id="itm_2")
    selection = select([older, newer], threshold=0.5)
    assert selection.published == (newer,)
    assert selection.withheld == {"reported by a later item too": 1}


def test_a_later_item_cannot_make_a_finding_look_harmless() -> None:
    older = finding_row(finding(severity="critical"), item_id="itm_1")
    newer = finding_row(finding(severity="low", line=40, end_line=40), item_id="itm_2")
    (published,) = select([older, newer], threshold=0.5).published
    assert (published.finding.severity, published.finding.line) == ("critical", 40)


def test_a_later_item_that_is_unsure_takes_nothing_away() -> None:
    older, unsure = finding_row(item_id="itm_1"), finding_row(item_id="itm_2", confidence=0.1)
    assert select([older, unsure], threshold=0.5).published == (older,)


def test_without_a_repository_equal_paths_are_not_the_same_file() -> None:
    rows = [finding_row(item_id=item_id, repository=None) for item_id in ("itm_1", "itm_2")]
    assert len(select(rows, threshold=0.5).published) == 2


def test_the_worst_come_first_then_by_place() -> None:
    rows = [
        finding_row(finding(severity="low", path="a.py"), fingerprint="1"),
        finding_row(finding(severity="critical", path="z.py"), fingerprint="2"),
        finding_row(finding(severity="critical", path="b.py", line=9, end_line=9), fingerprint="3"),
        finding_row(finding(severity="critical", path="b.py", line=1, end_line=1), fingerprint="4"),
    ]
    assert [row.fingerprint for row in select(rows, threshold=0.0).published] == ["4", "3", "2", "1"]


def test_nothing_found_is_nothing_published() -> None:
    selection = select([], threshold=0.5)
    assert selection.published == ()
    assert not selection.withheld
