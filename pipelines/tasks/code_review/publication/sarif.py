"""SARIF 2.1.0, valid against the OASIS schema and within what code hosts take.

One log holds one run over one repository: paths are relative to it. The rules are always all categories, so that two
logs differ in their results only. Limits are those that GitHub documents for code scanning ("SARIF support").
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, unquote

from pipelines.errors import InvariantError
from pipelines.tasks.code_review.categories import Category, Severity, categories
from pipelines.tasks.code_review.findings import FindingRow
from pipelines.tasks.code_review.publication.coverage import Coverage

SCHEMA_URI = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
TOOL_NAME = "Sluice"
# The name that code hosts look for, and our own, which says how it was made.
HOST_FINGERPRINT = "primaryLocationLineHash"
FINGERPRINT = "sluiceFinding/v1"
BASELINE_PROPERTY = "sluice/baseline"
LEFT_OUT_PROPERTY = "sluice/leftOut"

# More than this in one run, and the upload is refused; of these, so many are shown.
MAX_RESULTS = 25_000
SHOWN_RESULTS = 5_000
MAX_GZIP_BYTES = 10_000_000

_LEVELS: dict[Severity, str] = {"critical": "error", "high": "error", "medium": "warning", "low": "note"}
# What hosts call the severity of a rule that is not about security.
_PROBLEM_SEVERITIES = {"error": "error", "warning": "warning", "note": "recommendation"}


@dataclass(frozen=True)
class ReviewedRun:
    """What the log says of the run.

    ``threshold`` is the one given to `select`; ``dropped`` counts findings that named a place which was not reviewed.
    """

    run_id: str
    program_version: str
    threshold: float
    coverage: Coverage
    dropped: int


@dataclass(frozen=True)
class BaselineCounts:
    """How the published findings compare with a baseline; the log then holds the new ones only."""

    new: int
    unchanged: int
    absent: int


def sarif_log(rows: Sequence[FindingRow], run: ReviewedRun, baseline: BaselineCounts | None = None) -> dict[str, Any]:
    """The log of one repository.

    Args:
        rows: what is reported, worst first; beyond `MAX_RESULTS` the rest is left out and the log says how many.
        run: see there.
        baseline: given when ``rows`` are only those that a baseline does not know.

    Raises:
        InvariantError: nothing may be published; ask `Coverage.refusal` first.
    """
    if run.coverage.refusal() is not None:
        raise InvariantError(f"run {run.run_id}: SARIF was asked for although items have no row; please report this")
    left_out = max(0, len(rows) - MAX_RESULTS)
    properties: dict[str, Any] = {"sluice/threshold": run.threshold, LEFT_OUT_PROPERTY: left_out}
    if baseline is not None:
        properties[BASELINE_PROPERTY] = {
            "new": baseline.new,
            "unchanged": baseline.unchanged,
            "absent": baseline.absent,
        }
    rule_index = {name: index for index, name in enumerate(categories())}
    results = [_result(row, rule_index, is_new=baseline is not None) for row in rows[:MAX_RESULTS]]
    content = {
        "tool": {"driver": _driver(run.program_version)},
        # Up to the last slash it is the category, by which a host tells this analysis from others of the same commit.
        "automationDetails": {"id": f"sluice/code-review/{run.run_id}"},
        "invocations": [
            {
                "executionSuccessful": run.coverage.gap() is None,
                "toolExecutionNotifications": _notifications(run, left_out),
            }
        ],
        "columnKind": "unicodeCodePoints",
        "results": results,
        "properties": properties,
    }
    return {"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [content]}


def encode_sarif(log: dict[str, Any]) -> bytes:
    """The file's bytes, without indentation: code hosts limit the size."""
    return json.dumps(log, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def upload_warnings(log: dict[str, Any], encoded: bytes) -> list[str]:
    """What a code host will not take or not show of this log, each with the next move."""
    (run,) = log["runs"]
    results, left_out = len(run["results"]), run["properties"][LEFT_OUT_PROPERTY]
    warnings = []
    if left_out:
        warnings.append(
            f"findings.sarif holds the {MAX_RESULTS:,} worst findings, {left_out:,} are left out (a code host refuses "
            "more); all are in findings.arrow. Raise the threshold, or review parts of the tree in runs of their own"
        )
    elif results > SHOWN_RESULTS:
        warnings.append(
            f"findings.sarif holds {results:,} findings; a code host shows the worst {SHOWN_RESULTS:,}. Raise the "
            "threshold to report fewer"
        )
    size_bytes = len(gzip.compress(encoded))
    if size_bytes > MAX_GZIP_BYTES:
        warnings.append(
            f"findings.sarif has {size_bytes:,} bytes when compressed; a code host refuses more than "
            f"{MAX_GZIP_BYTES:,}. Raise the threshold to report fewer"
        )
    return warnings


def uri_of_path(path: str) -> str:
    """A relative URI; a colon in the first part would otherwise be read as a scheme.

    Raises:
        InvariantError: the path leads out of the repository, which readers refuse.
    """
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise InvariantError(f"finding in '{path}', which is not a path within the repository; please report this")
    return quote(path, safe="/")


def path_of_uri(uri: str) -> str:
    """Path of a URI that `uri_of_path` made."""
    return unquote(uri)


def _driver(version: str) -> dict[str, Any]:
    return {
        "name": TOOL_NAME,
        "semanticVersion": version,
        "rules": [_rule(category) for category in categories().values()],
    }


def _rule(category: Category) -> dict[str, Any]:
    level = _LEVELS[category.severity]
    tags = [f"external/cwe/cwe-{number:03d}" for number in category.cwe]
    properties: dict[str, Any]
    if category.security_severity is None:
        properties = {"tags": ["correctness", *tags], "problem.severity": _PROBLEM_SEVERITIES[level]}
    else:
        properties = {"tags": ["security", *tags], "security-severity": f"{category.security_severity:.1f}"}
    known_as = f" ({', '.join(category.cwe_ids)})" if category.cwe else ""
    return {
        "id": category.name,
        "name": "".join(part.capitalize() for part in category.name.split("-")),
        "shortDescription": {"text": category.title},
        "fullDescription": {"text": category.description},
        "help": {"text": f"{category.description}{known_as} {category.advice}"},
        "defaultConfiguration": {"level": level},
        "properties": properties,
    }


def _result(row: FindingRow, rule_index: dict[str, int], *, is_new: bool) -> dict[str, Any]:
    finding = row.finding
    region = {"startLine": finding.line, "startColumn": 1, "endLine": finding.end_line}
    if row.end_column is not None:
        region["endColumn"] = row.end_column
    properties: dict[str, Any] = {"severity": finding.severity, "itemId": row.item_id, "route": row.route}
    result: dict[str, Any] = {
        "ruleId": finding.category,
        "ruleIndex": rule_index[finding.category],
        "level": _LEVELS[finding.severity],
        "message": {"text": _message(finding.message, finding.suggestion)},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri_of_path(finding.path)}, "region": region}}],
        "partialFingerprints": {HOST_FINGERPRINT: row.fingerprint, FINGERPRINT: row.fingerprint},
        "properties": properties,
    }
    if is_new:
        result["baselineState"] = "new"
    if row.confidence is not None:
        properties["confidence"] = row.confidence
        result["rank"] = round(100 * row.confidence, 1)
    return result


def _message(message: str, suggestion: str | None) -> str:
    text = message if suggestion is None else f"{message}\n\nSuggestion: {suggestion}"
    # SARIF 3.11.5: braces are doubled, or they are placeholders. 3.11.6: `[text](target)` would be a link, and what a
    # model wrote after reading somebody's code must not become one.
    return text.replace("{", "{{").replace("}", "}}").replace("](", "] (")


def _notifications(run: ReviewedRun, left_out: int) -> list[dict[str, Any]]:
    gap = run.coverage.gap()
    texts = [(f"not everything was reviewed: {gap}", "error")] if gap else []
    texts += [(f"not reviewed: {text}", "error") for text in run.coverage.told_missing]
    texts += [(f"files left out: {count:,} {why}", "note") for why, count in sorted(run.coverage.left_out.items())]
    if run.dropped:
        texts.append((f"findings dropped because they name a place that was not reviewed: {run.dropped:,}", "note"))
    if left_out:
        texts.append((f"findings left out over the limit of {MAX_RESULTS:,}: {left_out:,}", "warning"))
    return [{"level": level, "message": {"text": _message(text, None)}} for text, level in texts]
