"""What is looked for before anything starts: that all a job names is there, and that its columns are.

Every problem is reported at once, and nothing has run yet: no engine, no Ray, no Prefect.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from glob import has_magic
from pathlib import Path
from urllib.parse import urlsplit

from flows.preflight.columns import check_columns
from flows.run import list_input
from pipelines.costs.price_book import price_book
from pipelines.documents.gold import read_gold_file
from pipelines.documents.records import SourceFile
from pipelines.errors import JobError, NoInputError
from pipelines.job.endpoint import ModelEndpoint
from pipelines.job.job import Job
from pipelines.job.question_jobs import ONLY_QUESTION, AskedJob, asked_jobs
from pipelines.meant import did_you_mean
from pipelines.settings import settings
from pipelines.tasks.code_review.labelled_faults import read_labelled_faults
from workers.adapting.installed import check_installed
from workers.endpoint.client import FirstTierClient
from workers.engines.catalogue import find_entry, refuse_code
from workers.engines.fitting.fit import refuse_unfit
from workers.engines.fitting.machines import this_machine

log = logging.getLogger(__name__)

Say = Callable[[str], object]

MISSING_KEY = (
    "escalation.provider: `anthropic` needs ANTHROPIC_API_KEY in the environment; set it, or use "
    "`--provider simulation` (answers from gold labels), or `escalation: off`"
)


def check_surroundings(job: Job, *, may_be_empty: bool = False, say: Say = log.warning) -> list[SourceFile]:
    """Check that what the job names is there; the files of its input, listed once because it can take long.

    Args:
        job: what is asked.
        may_be_empty: an input without a file is fine, unless it is a local path that does not exist.
        say: hears of what is odd and no mistake, such as a file that lacks a column.

    Raises:
        JobError: with everything that is not there.
    """
    sources: list[SourceFile] = []
    notes: list[str] = []
    asked = asked_jobs(job)
    _run_checks(
        lambda: sources.extend(_list_input(job, may_be_empty)),
        lambda: notes.extend(check_columns(job, sources)),
        *_of_each_question(job, asked, lambda each: notes.extend(_price_notes(each))),
        lambda: _check_output(job.output),
        lambda: _check_model(job),
        lambda: _check_fit(job),
        *_of_each_question(job, asked, _check_gold),
        lambda: _check_key(job),
        *_of_each_question(job, asked, _check_budget, _check_rounds),
    )
    for note in dict.fromkeys(notes):
        say(f"warning   {note}")
    return sources


def check_deployable(job: Job) -> None:
    """The same for a job that others run later: its input may come yet, and the key is theirs.

    Raises:
        JobError: with everything that is not there.
    """
    _run_checks(
        lambda: _check_output(job.output),
        lambda: _check_model(job),
        *_of_each_question(job, asked_jobs(job), _check_gold, _check_budget, _check_rounds),
        lambda: check_training(job),
    )


def _of_each_question(
    job: Job, asked: Sequence[AskedJob], *checks: Callable[[Job], None]
) -> list[Callable[[], object]]:
    """What is to be checked of each question that the job asks; its problems name it, where there are several."""
    return [partial(_check_one, check, each) for each in asked for check in checks] or [
        partial(check, job) for check in checks
    ]


def _check_one(check: Callable[[Job], None], asked: AskedJob) -> None:
    try:
        check(asked.job)
    except JobError as error:
        where = f"questions.{asked.question or ONLY_QUESTION}"
        raise JobError([f"{where}.{problem}" for problem in error.problems]) from None


def check_training(job: Job) -> None:
    """That a series which is to train adapters can, on this machine.

    Raises:
        JobError: the packages for it are missing.
    """
    if job.adapt is not None:
        check_installed()


def _run_checks(*checks: Callable[[], object]) -> None:
    problems: list[str] = []
    for check in checks:
        try:
            check()
        except JobError as error:
            problems += error.problems
    if problems:
        raise JobError(list(dict.fromkeys(problems)))


def _list_input(job: Job, may_be_empty: bool) -> list[SourceFile]:
    try:
        return list_input(job)
    except NoInputError:
        location = job.input
        is_mistyped = "://" not in location and not has_magic(location) and not Path(location).expanduser().exists()
        if may_be_empty and not is_mistyped:
            return []
        raise


def _check_output(output: str) -> None:
    """A new folder is made, but only one level of it: more is a mistyped path more often than a wish."""
    parts = urlsplit(output)
    if parts.scheme not in ("", "file"):
        return
    folder = Path(parts.path if parts.scheme else output).absolute()
    if folder.exists() and not folder.is_dir():
        raise JobError([f"output: '{output}' is a file, not a folder; choose another"])
    if not folder.exists() and not folder.parent.is_dir():
        raise JobError([f"output: no folder '{folder.parent}' to make '{folder.name}' in; create it or mend the path"])
    if not os.access(folder if folder.exists() else folder.parent, os.W_OK):
        raise JobError([f"output: '{output}' cannot be written by this user; choose another or change its permissions"])


def _check_model(job: Job) -> None:
    if isinstance(job.model, ModelEndpoint):
        FirstTierClient(job.model).close()  # looks for the key; the server is asked when the run begins
    elif job.model is not None:
        refuse_code(job.model)
        find_entry(job.model)


def _check_fit(job: Job) -> None:
    """On this machine; those of a cluster are asked once it is joined, by `flows.stages.scoring`."""
    if job.model is None or isinstance(job.model, ModelEndpoint) or settings().ray_address is not None:
        return
    try:
        name, entry = find_entry(job.model)
    except JobError:
        return  # told by `_check_model`
    here = this_machine()
    device = settings().device or ("gpu" if here.cards else "cpu")
    if device == "cpu" or here.cards:
        refuse_unfit(name, entry, [here], device, job.compute.gpu_share)


def _check_gold(job: Job) -> None:
    if job.evaluation and job.evaluation.gold_file:
        read_gold_file(job.evaluation.gold_file, job.labels)
    if job.evaluation and job.evaluation.faults_file:
        read_labelled_faults(job.evaluation.faults_file)


def _check_key(job: Job) -> None:
    if job.provider == "anthropic" and settings().anthropic_api_key is None:
        raise JobError([MISSING_KEY])


def _check_budget(job: Job) -> None:
    """A budget is kept by prices: without one it could only be hoped for."""
    if job.budget_usd is not None and (unpriced := list(_unpriced(job))):
        raise JobError([f"budget_usd: {told}, so no budget can be kept{meant}" for told, meant in unpriced])


def _price_notes(job: Job) -> Iterator[str]:
    """A model without a price may be new, or mistyped; without a budget it is no mistake."""
    if job.budget_usd is None:
        yield from (f"escalation: {told}, and so will be what it costs{meant}" for told, meant in _unpriced(job))


def _unpriced(job: Job) -> Iterator[tuple[str, str]]:
    """Claude models that have no price, and which may be meant."""
    if job.escalation is None:
        return
    now, seller = datetime.now(UTC), "bedrock" if job.escalation.provider == "bedrock" else "anthropic"
    known = {row.model for row in (*price_book().own.price, *price_book().price) if row.provider == seller}
    for tier in job.escalation.all_tiers:
        if price_book().find(tier.model, now, provider=seller) is None:
            yield f"{seller}'s price of '{tier.model}' is unknown", did_you_mean(tier.model, known)


def _check_rounds(job: Job) -> None:
    """The rounds of a target are small: a provider that takes no small batches would leave them unanswered."""
    least = settings().bedrock_minimum_records
    if job.dial in ("target", "budget") and job.escalation and job.escalation.provider == "bedrock" and least > 1:
        raise JobError(
            [
                "quality: a target or a budget alone asks Claude in rounds of 30 items and fewer, and bedrock takes no "
                f"batch of less than {least}; give a raw_threshold, or another escalation.provider"
            ]
        )
