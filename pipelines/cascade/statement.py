"""The guarantee in plain words: what was promised, what was certified, on how many labels, what it does not cover."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.cascade.audit import Audit, Drift
from pipelines.cascade.rule.budget import Reached
from pipelines.cascade.rule.target import Settled, Target

NOT_COVERED = (
    "Agreement with Claude is not truth: where Claude is wrong, so is the promise's yardstick. It covers the items of "
    "this run that may be sent to Claude, as Claude answered in this run: not items withheld by policy or failed, not "
    "findings that the engine never made, and not later data."
)

_NOT_COVERED_BY_TERM = (
    NOT_COVERED.replace("the items of this run", "the items of these runs").replace("in this run", "in each of them")
    + " It holds for the term, not for each of its runs: one may have more wrong than its share. Runs that were "
    "cancelled before they were counted are not in it, and none may be because of what its sample holds."
)

NOTHING_ASKED = (
    "Promised: nothing. No item of this run may be sent to Claude (all failed, or are withheld by policy), so there is "
    "nothing to promise anything of."
)


def state_target(promise: Target, settled: Settled, audit: Audit | None = None) -> str:
    """Of a run that kept to its target."""
    facts, kept = settled.certificate, int(settled.is_accepted.sum())
    if not facts.items:
        return NOTHING_ASKED
    promised = (
        f"Promised: agreement with Claude on at least {_percent(promise.target)} of {_count(facts.items, 'item')}, "
        f"so at most {facts.allowed_wrong:,} may differ, with {_percent(promise.assurance)} assurance."
    )
    if facts.prefix:
        certified = (
            f"Certified: of {facts.stretch:,} items, {facts.sample:,} were drawn at random; the {facts.prefix:,} least "
            f"doubtful hold {facts.prefix_wrong:,} wrong ones of these, put right, where {facts.strikes:,} may be; "
            f"that shows at most {facts.allowed_wrong:,} more wrong there."
        )
    else:
        certified = f"Certified: {_kept(kept)}, no more than may differ, so the promise holds whatever they are."
    bought = facts.items - kept
    labels = (
        f"Labels: {bought:,} in {_count(facts.rounds, 'message batch', 'message batches')}, of which {facts.pilot:,} "
        f"to learn where the engine errs and {facts.sample:,} to certify; the {kept:,} others keep the engine's answer."
    )
    return "\n".join([promised, certified, labels, *_audited(promise, audit), f"Not covered: {NOT_COVERED}"])


def state_term(promise: Target, settled: Settled, term: int, runs: int) -> str:
    """Of a run that is counted in a term: its number, and how many runs it has by then."""
    facts, counted, kept = settled.certificate, settled.counted, int(settled.is_accepted.sum())
    assert counted is not None, "a run of a term was counted"
    items = counted.after.items
    if not facts.items:
        return NOTHING_ASKED
    promised = (
        f"Promised: agreement with Claude on at least {_percent(promise.target)} of the {_count(items, 'item')} of the "
        f"{_count(runs, 'run')} that term {term} of this job has counted so far, this one the last of them, so at most "
        f"{facts.allowed_wrong:,} may differ; with {_percent(promise.assurance)} assurance, that this is so and stays "
        "so after every run of the term."
    )
    if counted.limit < 0:
        certified = "Certified: nothing may stand yet; what may be wrong is saved for the next runs."
    elif not facts.stretch:
        certified = "Certified: no answer of this run may stand; what may be wrong is saved for the next runs."
    else:
        certified = (
            f"Certified: of the {facts.stretch:,} least doubtful of this run, {facts.sample:,} were drawn at random; "
            f"the first {facts.prefix:,} hold {facts.prefix_wrong:,} wrong ones of these, put right. The term has "
            f"{_count(counted.after.strikes, 'such one', 'such ones')} where {counted.limit:,} may be."
        )
    bought = len(settled.is_accepted) - kept
    labels = (
        f"Labels: {bought:,} in {_count(facts.rounds, 'message batch', 'message batches')}, of which "
        f"{facts.sample:,} to certify; the {kept:,} others of this run keep the engine's answer."
    )
    return "\n".join([promised, certified, labels, f"Not covered: {_NOT_COVERED_BY_TERM}"])


def state_alone(why: str | None) -> list[str]:
    """That a run of a job with terms keeps its promise by itself; nothing where none does, or it is of one."""
    return [] if why is None else [f"Term: none; this run keeps its promise by itself, since {why}."]


def state_stopped(promise: Target | None, why: str, reached: Reached | None, accepted: int, held: int) -> str:
    """Of a run that was stopped before every item had been asked that had to be."""
    wanted = f"agreement with Claude on at least {_percent(promise.target)} of the items" if promise else "nothing"
    lines = [f"Promised: {wanted}. Not kept: the run was stopped first ({why})."]
    if promise and reached and reached.agreement_lower is not None:
        lines.append(
            f"Certified: were the engine's answers taken for all {accepted + held:,} items that Claude did not answer, "
            f"at least {_floor_percent(reached.agreement_lower)} of {_count(reached.items, 'item')} would agree with "
            f"Claude, with {_percent(promise.assurance)} assurance."
        )
    else:
        lines.append("Certified: nothing.")
    lines.append(f"Rows: {accepted:,} keep the engine's answer; {held:,} are held for review, with it beside them.")
    return "\n".join([*lines, f"Not covered: {NOT_COVERED}"])


def state_reached(assurance: float, reached: Reached) -> str:
    """Of a run that a budget ended."""
    if not reached.items:
        return NOTHING_ASKED
    kept = int(reached.is_accepted.sum())
    promised = "Promised: nothing about quality; the budget decided how many items were asked."
    if reached.agreement_lower is None:
        certified = f"Certified: nothing; {reached.reason}."
    else:
        certified = (
            f"Certified: agreement with Claude on at least {_floor_percent(reached.agreement_lower)} of "
            f"{_count(reached.items, 'item')}, with {_percent(assurance)} assurance."
        )
    labels = (
        f"Labels: {reached.items - kept:,} in {_count(reached.rounds, 'message batch', 'message batches')}, of which "
        f"{reached.sample:,} drawn at random to certify; the {kept:,} others keep the engine's answer."
    )
    return "\n".join([promised, certified, labels, f"Not covered: {NOT_COVERED}"])


def state_prior(runs: Sequence[str], labels: int, reason: str | None, *, is_of_term: bool) -> list[str]:
    """What earlier runs, the newest first, had to do with it; nothing where there was none."""
    if runs:
        whose = f"run {runs[0]}" if len(runs) == 1 else f"{len(runs)} runs, the last of them {runs[0]},"
        helped = f"{_count(labels, 'label')} of {whose} helped to plan, as far as this run's own bore them out"
        samples = "the samples of the term's runs" if is_of_term else "this run's labels"
        return [f"Prior: {helped}; what is certified rests on {samples} alone."]
    return [] if reason is None else [f"Prior: none; {reason}."]


def state_drift(since: str, drift: Drift) -> str:
    """Against an earlier run; differences of one in a hundred or less are chance in all but very large runs."""
    agreement = "" if drift.agreement is None else f"; agreement of the samples {100 * drift.agreement:+.1f} points"
    return (
        f"Drift since run {since}: {_percent(round(drift.label_mix, 3))} of the answers differ in their mix, "
        f"confidence by at most {_percent(round(drift.confidence, 3))} at any level{agreement}."
    )


def state_copies(copies: int) -> str:
    """What the promise says of documents that were not asked about because another has their text."""
    return (
        f"Copies: {copies:,} documents have the text of another and carry its answer. The promise counts each text "
        "once, however many documents have it; `duplicates: keep` in the job counts every document."
    )


def _audited(promise: Target, audit: Audit | None) -> list[str]:
    if audit is None or not audit.sample:
        return []
    return [
        f"Audit: of {audit.sample:,} accepted items drawn at random afterwards, Claude answered {audit.sample_wrong:,} "
        f"otherwise; so at least {_floor_percent(audit.agreement_lower)} of the {audit.accepted:,} accepted agree, "
        f"with {_percent(promise.assurance)} assurance. These {audit.sample:,} now carry Claude's answer."
    ]


def _kept(kept: int) -> str:
    return "no item keeps the engine's answer" if not kept else f"only {_count(kept, 'item')} kept unasked"


def _percent(share: float) -> str:
    return f"{100 * share:.10g} %"


def _floor_percent(share: float) -> str:
    """A lower limit is never rounded up."""
    return f"{int(1000 * share) / 10:.1f} %"


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
