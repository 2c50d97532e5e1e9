"""The findings for people."""

from collections import Counter

from pipelines.tasks.code_review.publication.baseline import BaselineComparison, KnownFinding
from pipelines.tasks.code_review.publication.coverage import Coverage
from pipelines.tasks.code_review.publication.markdown import escape, findings_markdown
from pipelines.tasks.code_review.publication.selection import Selection, select
from tests.tasks.code_review.samples import COMPLETE, finding, finding_row

NOTHING = Selection((), Counter())


def test_the_summary_of_a_repository() -> None:
    rows = [
        finding_row(finding(line=2, end_line=4, suggestion="use parameters"), fingerprint="1"),
        finding_row(finding(severity="low", category="dead-code"), fingerprint="2", confidence=None),
        finding_row(fingerprint="3", confidence=0.2),
    ]
    coverage = Coverage(planned_items=3, reviewed_items=3, left_out={"vendored": 1_200, "binary": 2})
    text = findings_markdown("shop", select(rows, 0.5), coverage, threshold=0.5, dropped=4)
    assert text == (
        "# Code review of shop\n\n"
        "- 3 of 3 items reviewed\n"
        "- 2 findings reported, threshold 0.5\n"
        "- 1 findings kept back: below the threshold\n"
        "- 4 findings dropped: they name a place that was not reviewed\n\n"
        "| category | CWE | critical | high | medium | low |\n"
        "|---|---|---:|---:|---:|---:|\n"
        "| sql-injection | CWE-89 |  | 1 |  |  |\n"
        "| dead-code | CWE-561, CWE-563 |  |  |  | 1 |\n\n"
        "## Findings\n\n"
        "- **high** sql-injection, src/app.py:2-4 (80%): The name goes into the query as text.\n"
        "  - suggestion: use parameters\n"
        "- **low** dead-code, src/app.py:2: The name goes into the query as text.\n\n"
        "## Left out by rule\n\n"
        "| reason | files |\n"
        "|---|---:|\n"
        "| binary | 2 |\n"
        "| vendored | 1,200 |\n"
    )


def test_nothing_found_is_said() -> None:
    text = findings_markdown("shop", NOTHING, COMPLETE, threshold=0.5, dropped=0)
    assert text.endswith("- 0 findings reported, threshold 0.5\n\nNothing to report.\n")


def test_a_gap_is_told_first() -> None:
    text = findings_markdown("shop", NOTHING, Coverage(2, 1), threshold=0.5, dropped=0)
    assert text.startswith("# Code review of shop\n\n**Incomplete.** 1 of 2 items have no review")


def test_what_was_not_reviewed_is_listed() -> None:
    coverage = Coverage(9, 7, {"failed": 2}, missing=("p.patch: holds *no* unified diff",))
    text = findings_markdown("shop", NOTHING, coverage, threshold=0.5, dropped=0)
    assert "\n## Not reviewed\n\n- p.patch: holds \\*no\\* unified diff\n- and 1 more items\n" in text


def test_with_a_baseline_only_new_findings_are_listed() -> None:
    old, new = finding_row(fingerprint="1"), finding_row(finding(line=7, end_line=7), fingerprint="2")
    comparison = BaselineComparison(new=(new,), unchanged=(old,), absent=(KnownFinding("a.py", 1, "dead-code"),))
    selection = select([old, new], 0.5)
    text = findings_markdown("shop", selection, COMPLETE, threshold=0.5, dropped=0, comparison=comparison)
    assert "- against the baseline: 1 new findings (listed here), 1 unchanged, 1 gone; threshold 0.5\n" in text
    assert "src/app.py:7 " in text
    assert "src/app.py:2 " not in text


def test_a_long_list_is_cut_and_says_where_the_rest_is() -> None:
    rows = [finding_row(finding(line=line, end_line=line), fingerprint=str(line)) for line in range(1, 61)]
    text = findings_markdown("shop", select(rows, 0.5), COMPLETE, threshold=0.5, dropped=0)
    assert text.count("- **high**") == 50
    assert text.endswith("\nand 10 more, in findings.arrow\n")


def test_what_a_finding_quotes_stays_text() -> None:
    assert escape("a|b <img src=x> [x](y) @all `c`\n# d") == (r"a\|b \<img src=x\> \[x\]\(y\) \@all \`c\` \# d")
