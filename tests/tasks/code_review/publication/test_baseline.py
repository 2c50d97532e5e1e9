"""Against an earlier run: only what is new is reported."""

import json
from typing import Any

import pytest

from pipelines.errors import JobError
from pipelines.tasks.code_review.findings import FindingRow
from pipelines.tasks.code_review.fingerprints import fingerprints
from pipelines.tasks.code_review.publication import sarif
from pipelines.tasks.code_review.publication.baseline import (
    KnownFinding,
    baseline_of_rows,
    baseline_of_sarif,
    compare,
)
from pipelines.tasks.code_review.publication.sarif import BaselineCounts, ReviewedRun, encode_sarif, sarif_log
from tests.tasks.code_review.samples import COMPLETE, finding, finding_row, shown

RUN = ReviewedRun("run_1", "0.1.0", threshold=0.5, coverage=COMPLETE, dropped=0)
CODE = "import db\ndb.run(query + name)\ndb.run(query + title)\n"
NEXT_MOVE = "name a findings.sarif or a run of this program"


def reviewed(code: str, *lines: int) -> list[FindingRow]:
    """Rows of findings in these lines of the code."""
    found = [finding(line=line, end_line=line) for line in lines]
    names = fingerprints(found, shown(src__app_py=code))
    return [finding_row(about, fingerprint=name) for about, name in zip(found, names, strict=True)]


def test_a_second_run_over_the_same_code_has_nothing_new() -> None:
    first = reviewed(CODE, 2, 3)
    for baseline in (baseline_of_rows(first), baseline_of_sarif(encode_sarif(sarif_log(first, RUN)), "findings.sarif")):
        comparison = compare(reviewed(CODE, 2, 3), baseline)
        assert comparison.new == ()
        assert comparison.unchanged == tuple(first)
        assert comparison.absent == ()


def test_moved_lines_are_not_new_and_mended_ones_are_gone() -> None:
    baseline = baseline_of_sarif(encode_sarif(sarif_log(reviewed(CODE, 2, 3), RUN)), "findings.sarif")
    moved = "# a\n# b\nimport db\n    db.run(query + name)\ndb.run(query + city)\n"
    comparison = compare(reviewed(moved, 4, 5), baseline)
    assert [row.finding.line for row in comparison.unchanged] == [4]
    assert [row.finding.line for row in comparison.new] == [5]
    assert comparison.absent == (KnownFinding("src/app.py", 3, "sql-injection"),)


def test_an_empty_baseline_makes_everything_new() -> None:
    rows = reviewed(CODE, 2)
    assert compare(rows, {}).new == tuple(rows)


def test_a_run_without_findings_leaves_all_of_the_baseline_behind() -> None:
    comparison = compare([], baseline_of_rows(reviewed(CODE, 3, 2)))
    assert [known.line for known in comparison.absent] == [2, 3]


def test_sarif_and_table_make_the_same_baseline() -> None:
    rows = [*reviewed(CODE, 2, 3), finding_row(finding(path="src/a b.py"), fingerprint="x:1")]
    assert baseline_of_sarif(encode_sarif(sarif_log(rows, RUN)), "findings.sarif") == baseline_of_rows(rows)


def refusal(content: str | bytes) -> str:
    with pytest.raises(JobError) as caught:
        baseline_of_sarif(content, "old.sarif")
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "JSONDecodeError"),
        (b"\xff\xfe\xff", "UnicodeDecodeError"),
        ("[]", "TypeError"),
        ("{}", "KeyError"),
        ('{"runs": [{}]}', "KeyError"),
        ('{"runs": [5]}', "AttributeError"),
        ("[" * 100_000, "RecursionError"),
        (
            '{"runs": [{"results": [{"partialFingerprints": {"sluiceFinding/v1": "a:1"}, "locations": []}]}]}',
            "IndexError",
        ),
    ],
)
def test_a_file_that_is_no_sarif_is_refused(content: str | bytes, what: str) -> None:
    assert refusal(content) == f"--baseline: old.sarif is not SARIF 2.1.0 with results ({what}); {NEXT_MOVE}"


def test_sarif_of_another_program_is_refused() -> None:
    log: Any = sarif_log(reviewed(CODE, 2), RUN)
    del log["runs"][0]["results"][0]["partialFingerprints"]["sluiceFinding/v1"]
    assert refusal(json.dumps(log)) == (
        f"--baseline: old.sarif has results without a 'sluiceFinding/v1' fingerprint; {NEXT_MOVE}"
    )


def test_sarif_that_holds_new_findings_only_is_no_baseline() -> None:
    log = sarif_log(reviewed(CODE, 2), RUN, BaselineCounts(new=1, unchanged=1, absent=0))
    assert refusal(encode_sarif(log)) == (
        "--baseline: old.sarif was itself written against a baseline and holds new findings only; name that run"
    )


def test_sarif_that_leaves_findings_out_is_no_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sarif, "MAX_RESULTS", 1)
    log = sarif_log(reviewed(CODE, 2, 3), RUN)
    assert refusal(encode_sarif(log)) == (
        "--baseline: old.sarif leaves out 1 findings, over a code host's limit; name that run"
    )
