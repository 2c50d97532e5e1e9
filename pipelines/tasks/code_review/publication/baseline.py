"""Findings against those of an earlier run: which are new, which are still there, which are gone.

Compared by fingerprint alone, so a finding whose line has moved is not new. A baseline is what an earlier run
*published*: a finding that was kept back then and is published now is new to its reader.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.errors import JobError
from pipelines.tasks.code_review.findings import FindingRow
from pipelines.tasks.code_review.publication.sarif import BASELINE_PROPERTY, FINGERPRINT, LEFT_OUT_PROPERTY, path_of_uri

_NEXT_MOVE = "name a findings.sarif or a run of this program"


@dataclass(frozen=True, slots=True)
class KnownFinding:
    """As much of a published finding as is needed to say that it is gone."""

    path: str
    line: int
    category: str


Baseline = Mapping[str, KnownFinding]


@dataclass(frozen=True)
class BaselineComparison:
    """``new`` and ``unchanged`` are of this run, ``absent`` of the baseline, sorted by place."""

    new: tuple[FindingRow, ...]
    unchanged: tuple[FindingRow, ...]
    absent: tuple[KnownFinding, ...]


def compare(published: Sequence[FindingRow], baseline: Baseline) -> BaselineComparison:
    """Sort the findings to be published by whether the baseline knows them."""
    names = {row.fingerprint for row in published}
    gone = (known for fingerprint, known in baseline.items() if fingerprint not in names)
    return BaselineComparison(
        new=tuple(row for row in published if row.fingerprint not in baseline),
        unchanged=tuple(row for row in published if row.fingerprint in baseline),
        absent=tuple(sorted(gone, key=lambda known: (known.path, known.line, known.category))),
    )


def baseline_of_rows(published: Iterable[FindingRow]) -> Baseline:
    """A baseline from an earlier run's findings table, after `select` with the same threshold."""
    return {
        row.fingerprint: KnownFinding(row.finding.path, row.finding.line, row.finding.category) for row in published
    }


def baseline_of_sarif(content: str | bytes, name: str) -> Baseline:
    """A baseline from SARIF that this program wrote.

    Raises:
        JobError: not such a file, or one that does not hold all that was published.
    """
    try:
        log = json.loads(content)
        runs = log["runs"]
        known: dict[str, KnownFinding] = {}
        for run in runs:
            _refuse_partial(run, name)
            known |= {_fingerprint(result, name): _known(result) for result in run["results"]}
    except (ValueError, RecursionError, KeyError, IndexError, TypeError, AttributeError) as error:
        # The exception's own words can quote the file.
        raise JobError(
            [f"--baseline: {name} is not SARIF 2.1.0 with results ({type(error).__name__}); {_NEXT_MOVE}"]
        ) from None
    return known


def _refuse_partial(run: Mapping[str, Any], name: str) -> None:
    properties = run.get("properties", {})
    if BASELINE_PROPERTY in properties:
        raise JobError(
            [f"--baseline: {name} was itself written against a baseline and holds new findings only; name that run"]
        )
    if properties.get(LEFT_OUT_PROPERTY):
        raise JobError(
            [
                f"--baseline: {name} leaves out {properties[LEFT_OUT_PROPERTY]:,} findings, over a code host's limit; "
                "name that run"
            ]
        )


def _fingerprint(result: Mapping[str, Any], name: str) -> str:
    fingerprint = result.get("partialFingerprints", {}).get(FINGERPRINT)
    if not isinstance(fingerprint, str):
        raise JobError([f"--baseline: {name} has results without a '{FINGERPRINT}' fingerprint; {_NEXT_MOVE}"])
    return fingerprint


def _known(result: Mapping[str, Any]) -> KnownFinding:
    place = result["locations"][0]["physicalLocation"]
    path = path_of_uri(place["artifactLocation"]["uri"])
    return KnownFinding(path, int(place["region"]["startLine"]), str(result["ruleId"]))
