"""The questions of a run that asks several, brought to their ends side by side; and the books of the whole.

Each is a run of its own over the common plan, so that whatever happens to one, the others go on. The run is complete
once all are: its rows are theirs, and what it costs is what they cost, to the last digit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context

from flows.console.progress import ProgressReporter, Stage
from flows.run import Run
from flows.stages.planning import PlanSummary
from flows.stages.publishing import read_summary
from flows.stages.scoring import cache_promise, held_device_seconds
from pipelines.costs.accounting import add_known
from pipelines.errors import InvariantError, SluiceError
from pipelines.report.questions import of_questions
from pipelines.report.summary import NEEDED_COLUMNS, Summary, summarize
from pipelines.store import layout
from pipelines.store.runs import result_parts
from pipelines.store.schemas import read_part

# Each holds what its rule needs of every item; while Claude answers, a question takes a thread that sleeps.
_AT_ONCE = 8

Settle = Callable[[Run, ProgressReporter], Summary | None]


def settle_questions(questions: Sequence[Run], settle: Settle, progress: ProgressReporter) -> bool:
    """Bring every question as far as it goes; whether all are complete.

    Raises:
        SluiceError: of the first question, in their order, in which something went wrong; the others have gone on.
    """

    def settled(question: Run) -> SluiceError | Summary | None:
        told = QuestionProgress(progress, question.store.root.rpartition("/")[2])
        try:
            return read_summary(question) or settle(question, told)
        except SluiceError as error:
            told.say(f"{error}; the other questions go on")
            return error

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="question") as pool:
        # Prefect knows by its context which flow run a thread works for.
        ends = [each.result() for each in [pool.submit(copy_context().run, settled, one) for one in questions]]
    for end in ends:
        if isinstance(end, SluiceError):
            raise end
    return None not in ends


def close_questions(run: Run, plan: PlanSummary) -> Summary:
    """The summary of a run whose questions are all complete.

    Raises:
        InvariantError: the rows are not those of its questions.
    """
    summaries = [summary for each in run.questions if (summary := read_summary(each))]
    parts = result_parts(run.store)
    tally = summarize(read_part(run.store.read(key), NEEDED_COLUMNS) for key in parts)
    whole = tally.summary(
        run_id=run.run_id,
        results=run.store.uri(layout.RESULTS),
        planned_items=plan.items * len(run.questions),
        provider=next((each.provider for each in summaries if each.provider), None),
        stopped_by=next((each.stopped_by for each in summaries if each.stopped_by), None),
        engine_held_seconds=held_device_seconds(run.store),
        left_out=plan.left_out,
        document_limit=run.job.limits.documents,
        cache_promise=cache_promise(run.store),
    )
    if whole.cost_usd != add_known(each.cost_usd for each in summaries) or len(summaries) < len(run.questions):
        raise InvariantError(
            f"run {run.run_id}: its rows cost {whole.cost_usd} USD, which is not what its questions cost; was a file "
            f"of {whole.results} lost or added? Do not use the results; please report this with the run's folder"
        )
    return of_questions(whole, summaries, [each.facts.label for each in run.questions])


class QuestionProgress(ProgressReporter):
    """What one question tells, under its name, where the run tells the rest."""

    def __init__(self, run: ProgressReporter, question: str) -> None:
        super().__init__(run.console)
        self._run, self._question = run, question

    @contextmanager
    def stage(
        self, name: str, unit: str, total: int | None = None, before: int = 0, waits_for: str | None = None
    ) -> Iterator[Stage]:
        """See `ProgressReporter.stage`; Prefect's names are of letters, digits and dashes."""
        named = f"{name}-{re.sub('[^a-z0-9]', '-', self._question)}"
        with self._run.stage(named, unit, total, before, waits_for) as stage:
            yield stage

    @contextmanager
    def waiting(self, name: str, what: str) -> Iterator[None]:
        """See `ProgressReporter.waiting`."""
        with self._run.waiting(name, f"{self._question}: {what}"):
            yield

    def say(self, text: str) -> None:
        """Print one line for the person, behind the question's name."""
        self._run.say(f"{self._question}: {text}")
