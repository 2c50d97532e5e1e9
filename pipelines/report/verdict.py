"""What a run came to, in one sentence, and the few other things that a reader should not miss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipelines.report.numbers import at_least, count
from pipelines.report.reasons import COUNTED_ROUTES
from pipelines.report.summary import Summary
from pipelines.routes import Route, Stop

Kind = Literal["kept", "not_kept", "none", "stopped", "failed"]

# From here on a difference between two runs of a job is more than chance in all but small ones.
_DRIFT_SHARE = 0.1
_DRIFT_AGREEMENT = 0.05

_STOPPED = {
    Stop.BUDGET: "Stopped by the budget",
    Stop.CANCELLED: "Cancelled",
    Stop.TOO_FEW: "Stopped: too few doubtful items were left for one of the provider's batches",
}
_NEXT = {
    Stop.BUDGET: "to have them answered, raise budget_usd and submit under another --run-id",
    Stop.CANCELLED: "what Claude had answered by then is kept and paid for",
    Stop.TOO_FEW: "a provider with smaller batches, or a person, can answer them",
}
_NOBODY = {Route.FAILED: "failed", Route.WITHHELD: "withheld by policy", Route.REVIEW: "left for a person"}


@dataclass(frozen=True)
class Verdict:
    """``headline`` says what kind it is in two or three words; ``sentence`` begins with the same."""

    kind: Kind
    headline: str
    sentence: str


def verdict(summary: Summary) -> Verdict:
    """Failed before stopped before what was promised: the worst is said first."""
    rule = summary.quality
    if not summary.items:
        return Verdict("none", "Nothing to answer", "Nothing to answer: the input holds no document.")
    if summary.problem:
        return Verdict("failed", "Not usable", f"Not usable: {summary.problem}.")
    if summary.stopped_by:
        return _stopped(summary, summary.stopped_by)
    if rule is None or rule.target is None:
        return _no_target(summary)
    if rule.agreement_lower is None:
        why = "no item of this run may be sent to Claude, so there is nothing to promise"
        return Verdict("none", "No promise", f"No promise: {why}.")
    covered = int((rule.certificate or {}).get("items", summary.items))
    held = f"at least {at_least(rule.agreement_lower)} of {count(covered, 'item')} agree with Claude"
    sure = f"with {at_least(rule.assurance)} assurance"
    if rule.agreement_lower < rule.target:
        return Verdict(
            "not_kept",
            "Promise not kept",
            f"Promise not kept: {at_least(rule.target)} were asked for, and {held}, {sure}.",
        )
    return Verdict("kept", "Promise kept", f"Promise kept: {held}, {sure}.")


def _stopped(summary: Summary, stop: Stop) -> Verdict:
    left = summary.routes[Route.REVIEW].items
    sentence = (
        f"{_STOPPED[stop]}: {count(left, 'item')} of {summary.items:,} {_wait(left)} for a person; {_NEXT[stop]}."
    )
    rule = summary.quality
    if rule is not None and rule.target is not None:
        sentence += f" The promise of {at_least(rule.target)} agreement is not kept."
    return Verdict("stopped", _STOPPED[stop].partition(":")[0], sentence)


def _no_target(summary: Summary) -> Verdict:
    rule = summary.quality
    if rule is not None and rule.agreement_lower is not None:
        reached = (
            f"at least {at_least(rule.agreement_lower)} agree with Claude, with {at_least(rule.assurance)} assurance"
        )
        return Verdict("none", "No promise", f"No promise was asked for: the budget decided, and {reached}.")
    if rule is not None:
        return Verdict("none", "No promise", "No promise was asked for: the budget decided how many items were asked.")
    return Verdict("none", "No promise", "No promise was asked for: quality.target in the job sets one.")


def worth_knowing(summary: Summary) -> list[str]:
    """Items without an answer, by route with the commonest reason, and what has moved since the last run."""
    lines = [line for route in COUNTED_ROUTES if (line := _unanswered(summary, route))]
    if line := _drift(summary):
        lines.append(line)
    return lines


def _unanswered(summary: Summary, route: Route) -> str | None:
    items = summary.routes[route].items
    if not items:
        return None
    told = f"{count(items, 'item')} {_NOBODY[route]}"
    commonest = next((each for each in summary.reasons if each.route == route), None)
    if commonest is None:
        return told
    many = "" if commonest.items == items else f"{commonest.items:,} of them, "
    return f"{told}: {many}{commonest.reason} (such as {commonest.example})"


def _drift(summary: Summary) -> str | None:
    drift = summary.quality.drift if summary.quality else None
    if not drift:
        return None
    agreement = drift["agreement"]
    moved = max(drift["label_mix"], drift["confidence"]) >= _DRIFT_SHARE
    if not moved and abs(agreement or 0.0) < _DRIFT_AGREEMENT:
        return None
    change = "" if agreement is None else f", agreement {100 * agreement:+.1f} points"
    return (
        f"drift since run {drift['since']}: {drift['label_mix']:.1%} of the answers in another mix, confidence off by "
        f"up to {drift['confidence']:.1%}{change}"
    )


def _wait(items: int) -> str:
    return "waits" if items == 1 else "wait"
