"""The sentences of a run's page: on cost, speed, accuracy, policy, and what the run was made with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pipelines.job.endpoint import ModelEndpoint
from pipelines.job.job import Job
from pipelines.people.answers import ROUTES_OF_PEOPLE
from pipelines.report.html.reported_run import ReportedRun
from pipelines.report.numbers import count, share
from pipelines.report.page import percent
from pipelines.report.summary import Summary
from pipelines.routes import Route


def cost_notes(run: ReportedRun) -> list[str]:
    """Why an amount is not known, what is no amount that was billed, and how long the engines were held."""
    summary = run.summary
    notes = []
    if summary.provider == "simulation":
        notes.append(
            "Claude was simulated: its cost is what the tokens would have cost at list price. Nothing was billed."
        )
    if summary.first_tier:
        notes.append(f"{summary.first_tier} answered first, over HTTP; the column of the engine is what that cost.")
        if summary.first_tier_cost_usd is None:
            notes.append("What that cost is unknown: the job names no model.price, or a call was not counted.")
    elif summary.gpu_cost_usd is None:
        notes.append("The engine's cost is unknown: the job names no compute.device_hour_usd. It is not zero.")
    if summary.api_cost_usd is None:
        notes.append("Claude's cost is unknown: its model is not in the price book, or rows came without usage.")
    if summary.all_claude_cost_usd is None and summary.items:
        notes.append("What all-Claude would cost is unknown: no item of this run was asked at a known price.")
    if summary.engine_held_seconds:
        busy = summary.gpu_seconds / summary.engine_held_seconds
        notes.append(
            f"The engines were held for {summary.engine_held_seconds:,.1f} s and busy for {summary.gpu_seconds:,.1f} s "
            f"of it ({busy:.0%}); the rows carry the busy time alone, so start-up and waiting are in no route."
        )
    return notes


def token_notes(run: ReportedRun) -> list[str]:
    """What was read and written, and how much of it came from a cache."""
    tokens, batches = run.figures.tokens, run.batches
    notes = []
    if tokens["input_tokens"]:
        cached = share(tokens["cached_tokens"], tokens["input_tokens"])
        notes.append(
            f"Engine: {tokens['input_tokens']:,} tokens read, {cached} of them from the prefix cache; "
            f"{tokens['output_tokens']:,} written."
        )
    if tokens["api_input_tokens"]:
        cached = share(tokens["api_cached_tokens"], tokens["api_input_tokens"])
        notes.append(
            f"Claude: {tokens['api_input_tokens']:,} tokens read, {cached} of them from its cache; "
            f"{tokens['api_output_tokens']:,} written."
        )
    if batches.sent:
        again = f"{batches.again:,} sent again" if batches.again else "none sent twice"
        notes.append(f"Message batches: {batches.sent:,}, {again}.")
    return notes


def policy_sentences(run: ReportedRun) -> list[str]:
    """What was sent to whom, what was kept back by which rule, and what this page itself holds."""
    job, summary = run.job, run.summary
    sent = sum(items for (_, was_asked), items in run.figures.fates.items() if was_asked)
    sent_to = [*_first_tier_sentences(job), *_sent_sentences(job, summary, sent)]
    return [*sent_to, _rule_sentence(job, summary), _own_sentence(run)]


def _first_tier_sentences(job: Job) -> list[str]:
    if not isinstance(job.model, ModelEndpoint):
        return []
    whose = "which the job calls its own" if job.model.where == "own" else "which others run"
    held = " and that the rule below does not keep back" if job.model.where == "hosted" else ""
    return [
        f"Every document that could be read{held} was sent to {job.model.name} at {job.model.endpoint}, {whose}: it "
        "answered first."
    ]


def _sent_sentences(job: Job, summary: Summary, sent: int) -> list[str]:
    escalation = job.escalation
    if escalation is None:
        return [f"Nothing was sent to {'Claude' if summary.first_tier else 'anybody'}: escalation is off."]
    models = ", ".join(tier.model for tier in escalation.all_tiers)
    if escalation.provider == "simulation":
        return [f"{count(sent, 'item')} were answered by the simulation of {models} on this machine: nothing left it."]
    geo = f"inference_geo was {escalation.inference_geo}" if escalation.inference_geo else "inference_geo was not set"
    deleted = (
        "The provider's copy of each batch is deleted once its answers are collected."
        if escalation.delete_after_collecting
        else "The provider keeps its copy of each batch as long as it keeps batches (delete_after_collecting is off)."
    )
    return [f"{count(sent, 'item')} were sent to {models} through {escalation.provider}; {geo}.", deleted]


def _rule_sentence(job: Job, summary: Summary) -> str:
    if job.policy.never_escalate is None:
        return "No rule kept anything back: policy.never_escalate is not set, so each doubtful item could be sent."
    withheld = summary.routes[Route.WITHHELD].items
    kind = "item" if isinstance(job.model, ModelEndpoint) and job.model.where == "hosted" else "doubtful item"
    return (
        f"Never sent: items for which `{job.policy.never_escalate}` holds, or cannot be decided. "
        f"{count(withheld, kind)} were withheld by it."
    )


def _own_sentence(run: ReportedRun) -> str:
    if run.texts is None:
        said = ", what was said of each finding" if run.review else ""
        return f"This page holds ids, labels, reasons{said} and numbers; no text of any document."
    return "This page holds text of documents (--with-texts): of the sampled rows, and of the lines that findings name."


def provenance(run: ReportedRun) -> list[str]:
    """Lines to copy into a ticket: what ran, on what, with what."""
    record, job = run.record, run.job
    rule = run.summary.quality
    asked = ", ".join(tier.model for tier in job.escalation.all_tiers) if job.escalation else "nobody"
    promised = f"{rule.target:.10g} with assurance {rule.assurance:.10g}" if rule and rule.target is not None else "-"
    named = {
        "run": record["run_id"],
        "job": job.name,
        "task": job.task,
        "begun": record["created_at"],
        "input": f"{job.input} ({record['input_files']:,} files, {record['input_bytes']:,} bytes)",
        "input print": record["input_fingerprint"],
        "results": run.summary.results,
        "model": record["model"],
        "revision": record["model_revision"],
        "prompt print": record["prompt_fingerprint"],
        "asked": asked,
        "target": promised,
        "prices": record["price_book"],
    }
    versions = [f"{name} {version}" for name, version in sorted(record["versions"].items())]
    return [*(f"{name:<13} {value}" for name, value in named.items()), f"{'versions':<13} {', '.join(versions)}"]


def people_sentences(run: ReportedRun) -> list[str]:
    """How many of the items that were left to people they have answered since, and who."""
    given = list(run.answers.values())
    if not given:
        return []
    left = sum(run.summary.routes[route].items for route in ROUTES_OF_PEOPLE)
    by = ", ".join(f"{person} {number:,}" for person, number in Counter(each.person for each in given).most_common(5))
    last = max(each.answered_at for each in given)
    return [
        f"People have answered {len(given):,} of {count(left, 'item')} that were left to them ({by}), the last on "
        f"{last:%Y-%m-%d %H:%M} UTC. Counts, costs and accuracy on this page are of the run as it ended."
    ]


def accuracy_sentences(summary: Summary) -> Sequence[str]:
    """Against gold labels, where there are any."""
    accuracy = summary.accuracy
    if accuracy is None:
        return []
    final = f"{percent(accuracy.final)} of {count(accuracy.final_answers, 'answer')} are right in the end"
    engine = f", {percent(accuracy.engine_alone)} of the engine's own {accuracy.engine_answers:,}"
    return [f"Against gold labels, {final}{engine if accuracy.engine_answers else ''}."]
