"""A series trains an adapter from its own complete runs, every so often, and its next runs use it if it is better.

A training begins after a run is complete and is none of its business: whatever goes wrong here is told, kept for the
report of the next run, and tried again when the next training is due. Killed, the same training goes on from its last
checkpoint (`flows.deciding.adapting`). State is what objects are there (`pipelines.adapting.chain`).
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import islice

from flows.console.progress import ProgressReporter
from flows.deciding.adapting import Adapted, adapt
from flows.questions.question import Question
from flows.run import open_run
from flows.run_lock import sole_process
from flows.run_record import RunRecord
from flows.series import Series, adapted_to
from pipelines.adapting.chain import Begun, Ended
from pipelines.errors import JobError, RunNotFoundError, ServiceError, SluiceError
from pipelines.report.numbers import count
from pipelines.report.page import percent
from pipelines.store.runs import open_store
from workers.engines.catalogue import base_of

# A small adapter learns little from more, and each is read whole.
_MOST_RUNS = 50

log = logging.getLogger(__name__)


def due(series: Series, now: datetime) -> Begun | None:
    """The training that is to be begun, or to be gone on with; None if none is due.

    It is due by the age of the last one, or of the series' first run, once a run has used what that one led to.

    Raises:
        JobError: the job's model is not there.
        StoreError: the output cannot be read.
    """
    adapting, last = series.job.adapt, series.adapters.newest()
    since = last.begun.begun_at if last else series.begun_at()
    if adapting is None or since is None:
        return None
    if now - since < adapting.period:
        # Not with labels that the job does not name any more.
        goes_on = last and last.ended is None and set(last.begun.sources) <= set(adapting.sources)
        return last.begun if last and goes_on else None
    newest = next(series.complete(), None)
    if newest is None or (last and newest.number <= last.begun.after_run):
        return None
    question = series.question()
    to = adapted_to(question)
    if newest.adapter != series.adapters.adopted(to):
        return None
    runs = tuple(islice(_teaching(series, question), _MOST_RUNS))
    if not runs:
        return None
    return Begun(
        number=last.begun.number + 1 if last else 1,
        begun_at=now,
        runs=runs,
        after_run=newest.number,
        sources=adapting.sources,
        adapted_to=to,
    )


def _teaching(series: Series, question: Question) -> Iterator[str]:
    """Folders of complete runs that asked the same of the same base, the newest first; what is gone teaches nothing."""
    assert question.model is not None, "a job that adapts has an engine"
    asked = question.model.base_revision, question.fingerprint
    for claim in series.complete():
        try:
            store = open_store(series.root_of(claim))
        except RunNotFoundError:
            continue
        record = RunRecord.of(store)
        base = base_of(record.model_revision)
        if (base, record.prompt_fingerprint) == asked and (base == record.model_revision or _can_be_opened(store.root)):
            yield store.root


def _can_be_opened(root: str) -> bool:
    """Whether a run's adapter is still there; some are taken out of use."""
    try:
        open_run(root)
    except JobError:
        return False
    return True


def adapt_if_due(series: Series, progress: ProgressReporter, now: datetime) -> None:
    """Train, judge and adopt or not, if a training is due; a second process of this machine leaves it to the first.

    Raises:
        JobError: the job's model is not there.
        ServiceError: the store is failing; the same call goes on.
    """
    wanted = due(series, now)
    if wanted is None:
        return
    with ExitStack() as held:
        try:
            held.enter_context(sole_process(f"adapter {wanted.number}", series.adapters.folder_of(wanted.number)))
        except ServiceError:
            progress.say(f"adapter   training {wanted.number} is under way in another process; it is left to that one")
            return
        training = series.adapters.begin(wanted)
        if training.ended is None:
            progress.say(
                f"adapter   training {wanted.number} of the series, from {count(len(training.begun.runs), 'run')}"
            )
            ended = series.adapters.end(wanted.number, _train(series, training.begun, progress))
            for line in _lines(series, wanted.number, ended):
                progress.say(line)


def _train(series: Series, begun: Begun, progress: ProgressReporter) -> Ended:
    """What the training came to; the failing of a service is no end of it."""
    folder = uuid.uuid4().hex[:12]  # of this process alone: another machine may be at the same training
    place = f"{series.adapters.folder_of(begun.number)}/{folder}"
    try:
        adapted = adapt(begun.runs, place, begun.sources, None, begun.number, progress)
    except ServiceError:
        raise
    except SluiceError as error:
        return Ended(ended_at=datetime.now(UTC), outcome="failed", reason=" ".join(str(error).split()))
    except Exception as error:  # the edge: torch and drivers fail in ways of their own, and a series must go on
        log.error("training %s of the series of '%s'", begun.number, series.job.name, exc_info=error)
        reason = f"unexpected {type(error).__name__}; the log has the details"
        return Ended(ended_at=datetime.now(UTC), outcome="failed", reason=reason)
    return _ended(adapted, folder)


def _ended(adapted: Adapted, folder: str) -> Ended:
    if adapted.adapter is None:
        reason = "with it Claude would not surely be asked less"
        return Ended(ended_at=datetime.now(UTC), outcome="refused", reason=reason, gate=adapted.gate)
    return Ended(ended_at=datetime.now(UTC), outcome="adopted", folder=folder, gate=adapted.gate)


def _lines(series: Series, number: int, ended: Ended) -> Iterator[str]:
    assert series.job.adapt is not None
    if ended.gate is not None:
        gate = ended.gate
        yield (
            f"adapter   {number}: Claude would be asked about {percent(gate.after.asked_share)} instead of "
            f"{percent(gate.before.asked_share)} of the documents"
        )
    if ended.outcome == "adopted":
        yield f"adapter   {number} is adopted: the next run of the series uses {series.adapters.place(number)}"
    else:
        yield f"adapter   {number} is not adopted ({ended.reason}); the next is due in {series.job.adapt.every}"
