"""The text of a first job file, with comments, from what was seen of the documents.

In: a `Draft`. Out: YAML that `pipelines.job.job_file` accepts, except where nobody could say the labels: then it is
refused with the line at which they are missing, since a run over made-up labels would cost and be worth nothing.
Names and values out of the data are written by the YAML library, and a comment never goes beyond its line.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import yaml

_SHOWN_COLUMNS, _SHOWN_CHARS = 12, 40
CHECK = "# check this"


@dataclass(frozen=True)
class Draft:
    """What goes into the file; ``columns`` is empty for documents that are whole files.

    ``labels`` are counted where a column of the data has them, and 0 where a person named them.
    ``doubts`` has, by "text", "id" and "label", why a line is to be checked.
    """

    name: str
    task: Literal["classification", "code_review"]
    input: str
    output: str
    seen: str  # such as "the first 500 rows of tickets.csv"
    columns: tuple[str, ...] = ()
    text: str | None = None
    id: str | None = None
    gold: str | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    doubts: Mapping[str, str] = field(default_factory=dict)
    about_labels: str | None = None


def draft_job(draft: Draft) -> str:
    """Write a first job file with comments, as YAML text."""
    review = draft.task == "code_review"
    lines = [
        f"# Made by `pipeline init` from {draft.seen}. Every field: docs/job.md",
        "# `pipeline doctor THIS_FILE` says whether it could run here.",
        f"name: {quoted(draft.name)}",
        f"task: {draft.task}",
        f"input: {quoted(draft.input)}",
        f"output: {quoted(draft.output)}",
        "  # ^ a folder or s3:// prefix; every run gets a folder of its own below it",
        f"model: {'review-starter' if review else 'starter'}",
        "  # ^ runs anywhere and knows nothing but the sample data: see `pipeline models` for real ones",
        *([] if review else [*_columns(draft), *_labels(draft), *_evaluation(draft)]),
        "quality:",
        "  raw_threshold: 0.90  # an answer less sure than this is doubtful",
        "  # target: 0.95       # instead: agree with Claude on this share, which is kept; needs escalation",
        "escalation: off  # doubtful documents get the route `review` and no answer. To have Claude answer them, which",
        "                 # costs money: set ANTHROPIC_API_KEY, and write {model: claude-haiku-5-5}",
    ]
    if draft.gold is not None:
        lines.append("                 # To try it without: {model: claude-haiku-5-5, provider: simulation}")
    lines += [
        "# budget_usd: 10.00     # the most that Claude may cost",
        "# compute:",
        "#   device_hour_usd: 2.00  # price of one GPU (on CPU: one core) for an hour; without it, no cost is shown",
    ]
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """A text as a YAML scalar on one line; what cannot be printed is escaped."""
    is_plain = text.isprintable()
    flow = yaml.safe_dump(
        [text],
        default_flow_style=True,
        default_style=None if is_plain else '"',
        allow_unicode=is_plain,
        width=math.inf,
    )
    return flow.strip()[1:-1]


def shown_columns(columns: tuple[str, ...]) -> str:
    """Names for a comment or a line: clipped, and each as YAML would write it."""
    shown = ", ".join(quoted(name[:_SHOWN_CHARS]) for name in columns[:_SHOWN_COLUMNS])
    more = len(columns) - _SHOWN_COLUMNS
    return f"{shown} and {more} more" if more > 0 else shown


def _columns(draft: Draft) -> Iterator[str]:
    if not draft.columns or draft.text is None:
        return
    yield f"columns:  # seen: {shown_columns(draft.columns)}"
    yield f"  text: {quoted(draft.text)}{_doubt(draft, 'text')}"
    if draft.id is not None:
        yield f"  id: {quoted(draft.id)}{_doubt(draft, 'id')}"
    else:
        yield "  # id: NAME  # no column of unique short values was seen: ids are path:line"


def _labels(draft: Draft) -> Iterator[str]:
    if not draft.labels:
        yield f"  # {draft.about_labels or 'no column of few values that come again was seen'}"
        yield "labels: {}  # fill in, one a line, and remove the {}; submit refuses the file until then"
        yield "  # billing: a charge, invoice or price"
        yield "  # outage: the service is down"
        return
    is_counted = any(draft.labels.values())
    if is_counted:
        yield f"  # The values of {quoted(str(draft.gold))}, with their number in {draft.seen}; add those that"
        yield "  # the rest may have, and write behind each colon what it means: the model reads it."
    yield f"labels:{_doubt(draft, 'label') if is_counted else ''}"
    for label, count in draft.labels.items():
        yield f"  {quoted(label)}:" + (f"  # {count:,}" if is_counted else "  # what it means")


def _evaluation(draft: Draft) -> Iterator[str]:
    if draft.gold is not None:
        yield "evaluation:"
        yield f"  gold_column: {quoted(draft.gold)}  # measures accuracy; never shown to the engine or to Claude"


def _doubt(draft: Draft, what: str) -> str:
    return f"  {CHECK}: {draft.doubts[what]}" if what in draft.doubts else ""
