"""What a run with several questions comes to: the sum of its questions, and each of them in a line.

In: the summary over all rows, and those of the questions. Nothing is promised of all questions together: each keeps
its own promise, or does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pipelines.report.numbers import share, short_usd
from pipelines.report.summary import QuestionSummary, Summary
from pipelines.report.verdict import verdict
from pipelines.routes import Route


def of_questions(whole: Summary, questions: Sequence[Summary], labels: Sequence[str | None]) -> Summary:
    """The summary of the run, with its questions; what is to be known of one stands behind its name.

    What is to be known of every one is said once.

    Args:
        whole: over the rows of all.
        questions: in their order.
        labels: that each is about, where any may be chosen.
    """
    each = [_of(whole, summary, label) for summary, label in zip(questions, labels, strict=True)]
    named = list(zip((one.key for one in each), questions, strict=True))
    problems = [f"{key}: {summary.problem}" for key, summary in named if summary.problem]
    told = Counter(warning for summary in questions for warning in summary.warnings)
    of_all = [warning for warning, count in told.items() if count == len(questions)]
    return whole.model_copy(
        update={
            "questions": each,
            "problem": "; ".join(problems) or None,
            "warnings": [
                *of_all,
                *(f"{key}: {each}" for key, summary in named for each in summary.warnings if each not in of_all),
            ],
        }
    )


def _of(whole: Summary, summary: Summary, label: str | None) -> QuestionSummary:
    said = verdict(summary)
    return QuestionSummary(
        key=summary.run_id.removeprefix(f"{whole.run_id}."),
        label=label,
        run_id=summary.run_id,
        kind=said.kind,
        verdict=said.sentence,
        items=summary.items,
        routes={route: each.items for route, each in summary.routes.items()},
        escalated_share=summary.escalated_share,
        accuracy=summary.accuracy.final if summary.accuracy else None,
        cost_usd=summary.cost_usd,
    )


def question_lines(summary: Summary) -> list[str]:
    """Each question in two lines: what was promised and kept; what became of its rows, and what they cost."""
    lines = []
    for each in summary.questions:
        routes = ", ".join(
            f"{each.routes[route]:,} {route} {share(each.routes[route], each.items)}"
            for route in Route
            if each.routes.get(route)
        )
        label = f"{each.label}: " if each.label else ""
        lines += [f"{each.key:<9} {label}{each.verdict}", f"{'':<9} {routes}; cost {short_usd(each.cost_usd)} USD"]
    return lines
