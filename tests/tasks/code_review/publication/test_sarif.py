"""SARIF: valid against the official schema, and within what code hosts take."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest

from pipelines.errors import InvariantError
from pipelines.tasks.code_review.categories import categories
from pipelines.tasks.code_review.findings import FindingRow
from pipelines.tasks.code_review.publication import sarif
from pipelines.tasks.code_review.publication.coverage import Coverage
from pipelines.tasks.code_review.publication.sarif import (
    BaselineCounts,
    ReviewedRun,
    encode_sarif,
    path_of_uri,
    sarif_log,
    upload_warnings,
    uri_of_path,
)
from tests.tasks.code_review.samples import COMPLETE, finding, finding_row

SCHEMA = json.loads((Path(__file__).parents[1] / "schemas" / "sarif-schema-2.1.0.json").read_text(encoding="utf-8"))
RUN = ReviewedRun("run_1", "0.1.0", threshold=0.5, coverage=COMPLETE, dropped=0)
ODD_PATHS = ["src/a b.py", "src/naïve.py", "c:odd/x.py", "100%/#1?.py", "a+b/[x].py"]


def checked(rows: list[FindingRow], run: ReviewedRun = RUN, baseline: BaselineCounts | None = None) -> dict[str, Any]:
    """The run of a log that has been written, read back and found valid."""
    log: dict[str, Any] = json.loads(encode_sarif(sarif_log(rows, run, baseline)))
    jsonschema.Draft4Validator(SCHEMA).validate(log)
    assert_host_takes(log)
    content: dict[str, Any] = log["runs"][0]
    return content


def assert_host_takes(log: dict[str, Any]) -> None:
    """GitHub's rules for code scanning uploads ("SARIF support", tables of supported properties)."""
    assert len(log["runs"]) <= 20
    for run in log["runs"]:
        driver = run["tool"]["driver"]
        assert driver["name"]
        assert len(run["results"]) <= 25_000
        for rule in driver["rules"]:
            assert 0 < len(rule["name"]) <= 255
            for text in (rule["shortDescription"]["text"], rule["fullDescription"]["text"], rule["help"]["text"]):
                assert 0 < len(text) <= 1_024
            assert len(rule["properties"]["tags"]) <= 10
            if "security" in rule["properties"]["tags"]:
                assert 0 < float(rule["properties"]["security-severity"]) <= 10
            else:
                assert rule["properties"]["problem.severity"] in {"error", "warning", "recommendation"}
        for result in run["results"]:
            assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
            assert result["level"] in {"error", "warning", "note"}
            assert result["message"]["text"]
            (location,) = result["locations"]
            place = location["physicalLocation"]
            uri = urlsplit(place["artifactLocation"]["uri"])
            assert (uri.scheme, uri.netloc, uri.query, uri.fragment) == ("", "", "", "")
            assert uri.path
            assert not uri.path.startswith("/")
            assert 1 <= place["region"]["startLine"] <= place["region"]["endLine"]
            assert place["region"]["startColumn"] == 1
            assert result["partialFingerprints"]["primaryLocationLineHash"]


def test_a_finding_becomes_a_result() -> None:
    about = finding(line=2, end_line=3, suggestion="db.run(q, name)")
    (result,) = checked([finding_row(about, fingerprint="abc:1")])["results"]
    assert result == {
        "ruleId": "sql-injection",
        "ruleIndex": 0,
        "level": "error",
        "message": {"text": "The name goes into the query as text.\n\nSuggestion: db.run(q, name)"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": "src/app.py"},
                    "region": {"startLine": 2, "startColumn": 1, "endLine": 3, "endColumn": 9},
                }
            }
        ],
        "partialFingerprints": {"primaryLocationLineHash": "abc:1", "sluiceFinding/v1": "abc:1"},
        "properties": {"severity": "high", "itemId": "itm_1", "route": "accepted", "confidence": 0.8},
        "rank": 80.0,
    }


def test_what_is_not_known_is_left_out() -> None:
    (result,) = checked([finding_row(confidence=None, end_column=None)])["results"]
    assert "rank" not in result
    assert "confidence" not in result["properties"]
    assert "endColumn" not in result["locations"][0]["physicalLocation"]["region"]


def test_a_clean_review_is_a_valid_log_with_every_rule() -> None:
    run = checked([])
    assert run["results"] == []
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == list(categories())
    assert run["automationDetails"] == {"id": "sluice/code-review/run_1"}
    assert run["properties"] == {"sluice/threshold": 0.5, "sluice/leftOut": 0}


def test_a_rule_names_its_weakness_and_its_level() -> None:
    rules = {rule["id"]: rule for rule in checked([])["tool"]["driver"]["rules"]}
    assert rules["sql-injection"]["properties"] == {
        "tags": ["security", "external/cwe/cwe-089"],
        "security-severity": "8.8",
    }
    assert rules["sql-injection"]["help"]["text"].endswith("(CWE-89) Pass the values as parameters of the query.")
    assert rules["query-in-loop"]["defaultConfiguration"] == {"level": "note"}
    assert rules["query-in-loop"]["properties"]["problem.severity"] == "recommendation"


@pytest.mark.parametrize("path", ODD_PATHS)
def test_any_path_is_a_relative_uri_and_comes_back(path: str) -> None:
    (result,) = checked([finding_row(finding(path=path))])["results"]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert re.fullmatch(r"[A-Za-z0-9%._~/-]+", uri)
    assert path_of_uri(uri) == path


@pytest.mark.parametrize("path", ["/etc/passwd", "../x.py", "a/../../x.py", ""])
def test_a_path_that_leads_out_never_gets_here(path: str) -> None:
    with pytest.raises(InvariantError) as caught:
        uri_of_path(path)
    assert str(caught.value) == f"finding in '{path}', which is not a path within the repository; please report this"


def test_a_message_holds_no_placeholder_and_no_link() -> None:
    (result,) = checked([finding_row(finding(message='f"{0}" [here](https://example.com)'))])["results"]
    assert result["message"]["text"] == 'f"{{0}}" [here] (https://example.com)'


def test_with_a_baseline_the_results_are_new_and_the_counts_are_told() -> None:
    run = checked([finding_row()], baseline=BaselineCounts(new=1, unchanged=2, absent=3))
    assert [result["baselineState"] for result in run["results"]] == ["new"]
    assert run["properties"]["sluice/baseline"] == {"new": 1, "unchanged": 2, "absent": 3}


def test_what_was_left_out_and_dropped_is_told() -> None:
    coverage = Coverage(planned_items=1, reviewed_items=1, left_out={"vendored": 1_200, "binary": 3})
    run = checked([], ReviewedRun("run_1", "0.1.0", threshold=0.5, coverage=coverage, dropped=4))
    assert run["invocations"] == [
        {
            "executionSuccessful": True,
            "toolExecutionNotifications": [
                {"level": "note", "message": {"text": "files left out: 3 binary"}},
                {"level": "note", "message": {"text": "files left out: 1,200 vendored"}},
                {
                    "level": "note",
                    "message": {"text": "findings dropped because they name a place that was not reviewed: 4"},
                },
            ],
        }
    ]


@pytest.mark.parametrize("coverage", [Coverage(2, 1), Coverage(2, 0, {"failed": 2}), Coverage(0, 0)])
def test_a_run_that_is_not_at_its_end_or_reviewed_nothing_gets_no_log(coverage: Coverage) -> None:
    with pytest.raises(InvariantError, match=r"run run_1: SARIF was asked for although items have no row"):
        sarif_log([], ReviewedRun("run_1", "0.1.0", threshold=0.5, coverage=coverage, dropped=0))


def test_the_log_itself_says_what_is_missing_from_it() -> None:
    told = ("p.patch: holds no unified diff; send it again", "c/{x}.py: the answer was cut")
    coverage = Coverage(9, 8, {"failed": 1}, unfinished_items=2, missing=told)
    run = checked([finding_row()], ReviewedRun("run_1", "0.1.0", threshold=0.5, coverage=coverage, dropped=0))
    assert len(run["results"]) == 1
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    first, *others = [(told["level"], told["message"]["text"]) for told in invocation["toolExecutionNotifications"]]
    assert first[0] == "error"
    assert first[1].startswith(
        "not everything was reviewed: 1 of 9 items have no review (1 failed); 2 of 9 items have only the first findings"
    )
    assert others == [
        ("error", "not reviewed: p.patch: holds no unified diff; send it again"),
        ("error", "not reviewed: c/{{x}}.py: the answer was cut"),
        ("error", "not reviewed: and 1 more items"),
    ]


def test_beyond_the_limit_the_worst_stay_and_the_rest_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sarif, "MAX_RESULTS", 2)
    rows = [finding_row(finding(line=line, end_line=line), fingerprint=f"f:{line}") for line in (1, 2, 3)]
    run = checked(rows)
    assert [result["partialFingerprints"]["sluiceFinding/v1"] for result in run["results"]] == ["f:1", "f:2"]
    assert run["properties"]["sluice/leftOut"] == 1
    (told,) = run["invocations"][0]["toolExecutionNotifications"]
    assert told == {"level": "warning", "message": {"text": "findings left out over the limit of 2: 1"}}


def test_a_full_log_of_long_findings_stays_within_the_size() -> None:
    words = "where the name of a customer, read from the request, reaches the query as text and not as a parameter "
    rows = [
        finding_row(
            finding(path=f"src/module_{index}.py", line=index + 1, end_line=index + 1, message=f"{index} {words}"),
            fingerprint=f"{index:032x}:1",
        )
        for index in range(25_000)
    ]
    log = sarif_log(rows, RUN)
    assert upload_warnings(log, encode_sarif(log)) == [
        "findings.sarif holds 25,000 findings; a code host shows the worst 5,000. Raise the threshold to report fewer"
    ]


def test_what_a_host_would_refuse_is_told_with_the_next_move(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sarif, "MAX_GZIP_BYTES", 10)
    monkeypatch.setattr(sarif, "MAX_RESULTS", 1)
    log = sarif_log([finding_row(), finding_row()], RUN)
    left_out, too_large = upload_warnings(log, encode_sarif(log))
    assert left_out == (
        "findings.sarif holds the 1 worst findings, 1 are left out (a code host refuses more); all are in "
        "findings.arrow. Raise the threshold, or review parts of the tree in runs of their own"
    )
    assert re.fullmatch(
        r"findings\.sarif has [\d,]+ bytes when compressed; a code host refuses more than 10\. "
        r"Raise the threshold to report fewer",
        too_large,
    )


def test_a_small_log_has_no_warnings() -> None:
    log = sarif_log([finding_row()], RUN)
    assert upload_warnings(log, encode_sarif(log)) == []


def test_the_same_findings_give_the_same_bytes() -> None:
    rows = [finding_row(), finding_row(finding(line=9, end_line=9), fingerprint="g:1")]
    assert encode_sarif(sarif_log(rows, RUN)) == encode_sarif(sarif_log(rows, RUN))
