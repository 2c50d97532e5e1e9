"""An answer to a review, from the engine or from Claude, to findings.

The answer's form is a JSON Schema that is the same for every item: nothing in the reviewed code can add a category, a
severity or a field. What the schema cannot promise is checked here: a finding that names a line the review was not
shown is dropped and counted, never published.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pipelines.tasks.code_review.categories import SEVERITIES, Severity, categories
from pipelines.tasks.code_review.findings import Finding, ReviewedLines

DropReason = Literal[
    "not in the form asked for", "unknown category", "unknown severity", "path not reviewed", "line not reviewed"
]

MAX_FINDINGS_PER_ANSWER = 50
_MAX_PATH_CHARACTERS = 1_024
_MAX_LINE_NUMBER = 1_000_000_000
_MAX_MESSAGE_CHARACTERS = 1_000
_MAX_SUGGESTION_CHARACTERS = 2_000
_HEAD = re.compile(r'\s*\{\s*"findings"\s*:\s*\[\s*')
_BETWEEN = re.compile(r"\s*,\s*")
# Paths in a diff carry these in front; models repeat them.
_PATH_PREFIXES = ("a/", "b/", "./")
# Control, invisible (bidirectional marks too) and private-use characters, and surrogates, which UTF-8 cannot hold.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Co", "Cs"})


_NOT_JSON = (
    "the review is not JSON (answer of {:,} characters, perhaps cut at the output limit); raise the output limit or "
    "review smaller pieces"
)


@dataclass(frozen=True)
class ReviewAnswer:
    """What an answer holds; with a ``failure`` the item has no whole review.

    An answer that ``is_cut`` ends in the middle; its findings are those that it holds whole. One that ``is_repeating``
    says the same again and again: a longer one would too.
    """

    findings: tuple[Finding, ...] = ()
    dropped: Counter[DropReason] = field(default_factory=Counter)
    failure: str | None = None
    is_cut: bool = False
    is_repeating: bool = False


def answer_schema() -> dict[str, Any]:
    """JSON Schema of a review for Claude's structured output, which takes no bounds on numbers, texts or lists."""
    text, number = {"type": "string"}, {"type": "integer"}
    properties = {
        "path": text,
        "line": number,
        "end_line": number,
        "category": {"type": "string", "enum": list(categories())},
        "severity": {"type": "string", "enum": list(SEVERITIES)},
        "message": text,
        "suggestion": text,
    }
    return _object({"findings": {"type": "array", "items": _object(properties)}})


def engine_answer_schema() -> dict[str, Any]:
    """The same with bounds, which the engine's grammar holds: a small model that repeats itself comes to an end."""
    schema = answer_schema()
    findings = schema["properties"]["findings"]
    findings["maxItems"] = MAX_FINDINGS_PER_ANSWER
    properties = findings["items"]["properties"]
    properties["line"] = properties["end_line"] = {"type": "integer", "minimum": 1, "maximum": _MAX_LINE_NUMBER}
    properties["path"] = {"type": "string", "maxLength": _MAX_PATH_CHARACTERS}
    properties["message"] = {"type": "string", "maxLength": _MAX_MESSAGE_CHARACTERS}
    properties["suggestion"] = {"type": "string", "maxLength": _MAX_SUGGESTION_CHARACTERS}
    return schema


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def parse_answer(answer: str, lines: ReviewedLines) -> ReviewAnswer:
    """Read the text of an answer; see `read_answer`. Of one that was cut, the findings that are whole are kept."""
    try:
        content = json.loads(answer)
    except (ValueError, RecursionError):
        return _read_cut(answer, lines)
    return read_answer(content, lines)


def _read_cut(text: str, lines: ReviewedLines) -> ReviewAnswer:
    """What an answer holds that is no JSON; it is not quoted, since it quotes the code."""
    rows, rest = _whole_rows(text)
    if rest == "]":  # all that is missing is the end of the object around the list
        return read_answer({"findings": rows}, lines)
    if rows is None or rest.startswith("]"):
        return ReviewAnswer(failure=_NOT_JSON.format(len(text)))
    kept = read_answer({"findings": rows}, lines)
    failure = _NOT_JSON.format(len(text))
    if kept.findings:
        failure = (
            f"the answer was cut at the output limit and its whole findings ({len(kept.findings)}) are kept; raise the "
            "output limit or review smaller pieces"
        )
    told = [json.dumps(row, sort_keys=True) for row in rows]
    return replace(kept, failure=failure, is_cut=True, is_repeating=len(set(told)) < len(told))


def _whole_rows(text: str) -> tuple[list[object] | None, str]:
    """The rows of a list of findings up to where it was cut, and what follows them; None if it is no such list."""
    head = _HEAD.match(text)
    if head is None:
        is_beginning = bool(text.strip()) and '{"findings":['.startswith("".join(text.split()))
        return ([] if is_beginning else None), ""
    rows: list[object] = []
    decoder, at = json.JSONDecoder(), head.end()
    while text[at : at + 1] == "{":
        try:
            row, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            break
        rows.append(row)
        between = _BETWEEN.match(text, at)
        if between is None:
            break
        at = between.end()
    return rows, text[at:].strip()


def read_answer(answer: object, lines: ReviewedLines) -> ReviewAnswer:
    """Check an answer against what was reviewed.

    Categories and severities are compared without regard to case: structured output does not promise the case of enum
    values. ``end_line`` is taken back to the last line, counted from ``line``, that was reviewed.
    """
    given = answer.get("findings") if isinstance(answer, Mapping) else None
    if not isinstance(given, list):
        return ReviewAnswer(failure="the review has no list of findings; ask again, or use a stronger model")
    findings: list[Finding] = []
    dropped: Counter[DropReason] = Counter()
    for row in given:
        outcome = _read_finding(row, lines)
        if isinstance(outcome, Finding):
            findings.append(outcome)
        else:
            dropped[outcome] += 1
    return ReviewAnswer(tuple(findings), dropped)


def _read_finding(row: object, lines: ReviewedLines) -> Finding | DropReason:
    match row:
        case {
            "path": str(given_path),
            "line": int(line),
            "end_line": int(end_line),
            "category": str(given_category),
            "severity": str(given_severity),
            "message": str(given_message),
            "suggestion": str(given_suggestion),
        } if not isinstance(line, bool) and not isinstance(end_line, bool):
            message = _one_line(given_message)[:_MAX_MESSAGE_CHARACTERS]
        case _:
            return "not in the form asked for"
    if not message:
        return "not in the form asked for"
    category = given_category.strip().casefold()
    if category not in categories():
        return "unknown category"
    severity = _severity(given_severity)
    if severity is None:
        return "unknown severity"
    path = _reviewed_path(given_path, lines)
    if path is None:
        return "path not reviewed"
    if not lines.contains(path, line):
        return "line not reviewed"
    suggestion = _printable(given_suggestion)[:_MAX_SUGGESTION_CHARACTERS].strip() or None
    return Finding(path, line, _last_reviewed(path, line, end_line, lines), severity, category, message, suggestion)


def _severity(given: str) -> Severity | None:
    folded = given.strip().casefold()
    return next((severity for severity in SEVERITIES if severity == folded), None)


def _reviewed_path(given: str, lines: ReviewedLines) -> str | None:
    stripped = (given.removeprefix(prefix) for prefix in _PATH_PREFIXES)
    return next((path for path in (given, *stripped) if path in lines.paths), None)


def _last_reviewed(path: str, line: int, end_line: int, lines: ReviewedLines) -> int:
    last = line
    while last < end_line and lines.contains(path, last + 1):
        last += 1
    return last


def _printable(text: str) -> str:
    return "".join(
        character for character in text if character in "\n\t" or unicodedata.category(character) not in _UNPRINTABLE
    )


def _one_line(text: str) -> str:
    return _printable(" ".join(text.split())).strip()
