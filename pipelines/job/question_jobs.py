"""What a job with several questions asks, one question at a time: each is a job of its own over the same documents.

    questions: {topic: {labels: ...}}           one job, `topic`
    questions: {fits: {labels: ..., choose: any}}   one job for each label, `fits.01`, `fits.02`, ..: yes or no

So whatever is true of a job with one question (its rule, its promise, whom it asks) is true of each of these, and is
checked by the same rules. Budgets are shared here: what the jobs may spend never adds up to more than `budget_usd`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Any

from pydantic import ValidationError

from pipelines.errors import JobError
from pipelines.job.endpoint import ModelEndpoint
from pipelines.job.job import Job
from pipelines.job.job_questions import JobQuestion
from pipelines.job.sections import Escalation
from pipelines.tasks.classification import DEFAULT_INSTRUCTIONS

# Of a job with `choose: any` and no `questions`.
ONLY_QUESTION = "labels"
YES, NO = "yes", "no"
# Each asks the engine once about each document, and certifies its own promise.
MOST_ASKED = 64
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_LABEL_INSTRUCTIONS = "Does this label fit the document?"
# Parts of a budget are rounded down to this: a millionth of a dollar.
_LEAST_PART = Decimal("0.000001")


@dataclass(frozen=True)
class AskedJob:
    """One question as a job of its own; ``label`` is the one that it asks about, where any may be chosen."""

    key: str  # names its folder: `topic`, or `fits.01`
    question: str | None  # None where the job gives its question no name
    label: str | None
    job: Job


def asked_jobs(job: Job) -> list[AskedJob]:
    """The jobs that a job with several questions comes to, in its order; none where it asks one question.

    Raises:
        JobError: with everything that is wrong with one of them.
    """
    given = questions_of(job)
    problems = list(_problems(job, given)) if given else []
    if problems:
        raise JobError(problems)
    budgets = _budgets(job, given)
    asked: list[AskedJob] = []
    for name, question in given.items():
        for key, label, own in _jobs_of(job, name, question):
            content = _content(job, question) | own | {"budget_usd": budgets.get(name)}
            try:
                asked.append(
                    AskedJob(key, name if job.questions else None, label, Job.model_validate(content)),
                )
            except ValidationError as error:
                problems += [_told(name, detail) for detail in error.errors(include_url=False)]
    if problems:
        raise JobError(list(dict.fromkeys(problems)))
    return asked


def questions_of(job: Job) -> Mapping[str, JobQuestion]:
    """The questions by name: what stands under `questions`, or the job's own labels where any may be chosen."""
    if job.questions:
        return job.questions
    if job.choose == "any":
        return {ONLY_QUESTION: JobQuestion(labels=job.labels, choose="any")}
    return {}


def _problems(job: Job, given: Mapping[str, JobQuestion]) -> Iterator[str]:
    for name, question in given.items():
        if not _NAME.fullmatch(name):
            yield (
                f"questions: {name[:40]!r} names a folder and a value of the column `question`: give a letter and at "
                "most 31 more of a-z, 0-9, '_' and '-'"
            )
        least = 1 if question.choose == "any" else 2
        if len(question.labels) < least:
            yield f"questions.{name}.labels: at least {least} needed, {len(question.labels)} given"
        evaluation = question.evaluation or job.evaluation
        if question.choose == "any" and evaluation and evaluation.gold_file:
            yield (
                f"questions.{name}: evaluation.gold_file holds one label a document, and here any may fit; give a "
                "gold_column with all of them, such as `billing|outage`"
            )
    count = sum(len(each.labels) if each.choose == "any" else 1 for each in given.values())
    if count > MOST_ASKED:
        yield (
            f"questions: {count} are asked about each document (a label of `choose: any` counts as one), limit "
            f"{MOST_ASKED}; leave some out, or ask them in two jobs"
        )
    if isinstance(job.model, ModelEndpoint):
        yield "model.endpoint: several questions are not asked over HTTP yet; give model a name or a source"
    elif job.model is not None and not isinstance(job.model, str) and job.model.adapter:
        yield "model.adapter: an adapter is trained for one question's prompt; leave it out, or ask in a job of its own"
    if job.adapt is not None:
        yield "adapt: an adapter is trained for one question's prompt; leave it out, or ask in a job of its own"
    if job.long_documents is not None:
        yield (
            "long_documents: several questions are asked about the beginning of a long document, and its rows say so; "
            "leave it out, or ask in a job of its own"
        )
    if job.label_order != "given":
        yield "label_order: several questions read their labels as given; leave it out"
    own = [each.escalation for each in given.values()] + [job.escalation]
    if len({each.provider for each in own if isinstance(each, Escalation)}) > 1:
        yield "questions: they name several providers of Claude; one is asked for all of them"
    named = sum((each.budget_usd or Decimal(0) for each in given.values()), Decimal(0))
    if job.budget_usd is not None and named > job.budget_usd:
        yield f"questions: their parts of the budget are {named} together, budget_usd is {job.budget_usd}; lower some"


def _budgets(job: Job, given: Mapping[str, JobQuestion]) -> dict[str, Decimal | None]:
    """What each question's jobs may spend, each; None: as much as it takes.

    A question that names its part has that; the rest of the job's budget is shared evenly by those that name none and
    ask Claude, and a part evenly by the labels of `choose: any`, both rounded down.
    """
    asking = [name for name, each in given.items() if _asks_claude(job, each)]
    shares = [name for name in asking if given[name].budget_usd is None]
    rest = None
    if job.budget_usd is not None and shares:
        named = sum((each.budget_usd or Decimal(0) for each in given.values()), Decimal(0))
        rest = _part(job.budget_usd - named, len(shares))
    budgets: dict[str, Decimal | None] = {}
    for name in asking:
        part = rest if name in shares else given[name].budget_usd
        if part is not None:
            budgets[name] = _part(part, len(given[name].labels)) if given[name].choose == "any" else part
    return budgets


def _asks_claude(job: Job, question: JobQuestion) -> bool:
    return job.escalation is not None if question.escalation is None else question.escalation != "off"


def _part(whole: Decimal, parts: int) -> Decimal:
    return (whole / parts).quantize(_LEAST_PART, rounding=ROUND_DOWN)


def _content(job: Job, question: JobQuestion) -> dict[str, Any]:
    """What the job says, with what the question says in its place."""
    without = {"questions", "choose", "labels", "instructions", "budget_usd"}
    content = job.model_dump(exclude=without, exclude_none=True) | {
        "model": None if job.model is None else job.model if isinstance(job.model, str) else job.model.model_dump(),
        "escalation": job.escalation.model_dump() if job.escalation else None,
    }
    for name in ("quality", "escalation", "evaluation"):
        own = getattr(question, name)
        if own is not None:
            content[name] = own if own == "off" else own.model_dump()
    return content


def _jobs_of(job: Job, name: str, question: JobQuestion) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
    is_default = job.instructions == DEFAULT_INSTRUCTIONS
    if question.choose == "one":
        yield name, None, {"labels": question.labels, "instructions": question.instructions or job.instructions}
        return
    asked = question.instructions or (_LABEL_INSTRUCTIONS if is_default else job.instructions)
    for number, (label, meaning) in enumerate(question.labels.items(), 1):
        told = f"{asked}\n\nThe label: {label}{f': {meaning}' if meaning else ''}"
        yield f"{name}.{number:02d}", label, {"labels": {YES: None, NO: None}, "instructions": told}


def _told(name: str, detail: Any) -> str:
    where = ".".join(str(part) for part in detail["loc"] if not str(part).startswith("~"))
    return f"questions.{name}{f'.{where}' if where else ''}: {detail['msg'].removeprefix('Value error, ')}"
