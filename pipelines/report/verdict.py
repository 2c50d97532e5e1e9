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
    Stop.TOO_FEW: "Too few doubtful items were left for one of the provider's batches",
}
_NEXT = {
    Stop.BUDGET: "to have them answered, raise budget_usd and submit under another --run-id",
    Stop.CANCELLED: "what Claude had answered by then is kept and paid for",
    Stop.TOO_FEW: "a provider with smaller batches, or a person, can answer them",
}
_WITHOUT = {
    Route.FAILED: "could not be read",
    Route.WITHHELD: "doubtful and never sent",
    Route.REVIEW: "for a person to answer",
}


@dataclass(frozen=True)
class Verdict:
    """``headline`` says what kind it is in two or three words, ``rest`` what that means here."""

    kind: Kind
    headline: str
    rest: str

    @property
    def sentence(self) -> str:
        """Verdict as one sentence: the headline, then why."""
        return f"{self.headline}: {self.rest}."


def verdict(summary: Summary) -> Verdict:
    """Failed before stopped before what was promised: the worst is said first."""
    rule = summary.quality
    if not summary.items:
        return Verdict("none", "Nothing to answer", "the input holds no document")
    if summary.problem:
        return Verdict("failed", "Not usable", summary.problem)
    if summary.stopped_by:
        return _stopped(summary, summary.stopped_by)
    if rule is None or rule.target is None:
        return _no_target(summary)
    if rule.agreement_lower is None:
        why = "no item of this run may be sent to Claude, so there is nothing to promise anything of"
        return Verdict("none", "No promise", why)
    covered, of_what = int((rule.certificate or {}).get("items", summary.items)), ""
    if rule.term:
        covered = int(rule.term["counted"]["after"]["items"])
        of_what = f" of {count(int(rule.term['runs']), 'run')}, this one the last,"
    held = f"at least {at_least(rule.agreement_lower)} of {count(covered, 'item')}{of_what} agree with Claude"
    sure = f"({at_least(rule.assurance)} assurance)"
    if rule.agreement_lower < rule.target:
        return Verdict("not_kept", "Promise not kept", f"{at_least(rule.target)} were asked for, and {held} {sure}")
    unanswered = summary.routes[Route.REVIEW].items
    if unanswered > (1 - rule.target) * covered:
        none = (
            f"{unanswered:,} of {count(covered, 'item')} wait for a person, Claude having given no answer that counts"
        )
        return Verdict("not_kept", "Promise open", f"{none}; of the others no more than allowed differ {sure}")
    rest = f"; {unanswered:,} of them {'waits' if unanswered == 1 else 'wait'} for a person" if unanswered else ""
    return Verdict("kept", "Promise kept", f"{held} {sure}{rest}")


def _stopped(summary: Summary, stop: Stop) -> Verdict:
    left = summary.routes[Route.REVIEW].items
    rest = f"{left:,} of {count(summary.items, 'item')} {'waits' if left == 1 else 'wait'} for a person; {_NEXT[stop]}"
    rule = summary.quality
    if rule is not None and rule.target is not None:
        rest += f"; the promise of {at_least(rule.target)} agreement is not kept"
    return Verdict("stopped", _STOPPED[stop], rest)


def _no_target(summary: Summary) -> Verdict:
    rule = summary.quality
    has_engine = summary.has_first_answers or summary.routes[Route.ACCEPTED].items
    if rule is None and not has_engine and summary.escalated_share:
        return Verdict("none", "No promise", "no engine ran, and every answer is Claude's own")
    if rule is None:
        return Verdict("none", "No promise", "none was asked for; quality.target in the job sets one")
    if rule.agreement_lower is None:
        return Verdict("none", "No promise", "the budget decided how many items were asked, and nothing is certified")
    reached = f"at least {at_least(rule.agreement_lower)} agree with Claude ({at_least(rule.assurance)} assurance)"
    return Verdict("none", "No promise", f"the budget decided how many items were asked; {reached}")


def worth_knowing(summary: Summary) -> list[tuple[str, str]]:
    """Of each route without answers, how many and the commonest reason; and what has moved since the last run."""
    routes = [route for route in COUNTED_ROUTES if summary.routes[route].items]
    if summary.problem:  # which says it of the failed ones
        routes.remove(Route.FAILED)
    told = [(str(route), _unanswered(summary, route)) for route in routes]
    drift = _drift(summary)
    return [*told, ("drift", drift)] if drift else told


def _unanswered(summary: Summary, route: Route) -> str:
    items = summary.routes[route].items
    commonest = next((each for each in summary.reasons if each.route == route), None)
    if commonest is None:
        return f"{count(items, 'item')} {_WITHOUT[route]}"
    many = "" if commonest.items == items else f", {commonest.items:,} of them alike"
    return f"{items:,} {_WITHOUT[route]}{many}: {commonest.reason} (such as {commonest.example})"


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
        f"since run {drift['since']}: {drift['label_mix']:.1%} of the answers in another mix, confidence off by up to "
        f"{drift['confidence']:.1%}{change}"
    )
