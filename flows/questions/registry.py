"""The tasks there are."""

from __future__ import annotations

from collections.abc import Callable

from flows.questions.classification import LabelQuestion
from flows.questions.code_review import ReviewQuestion
from flows.questions.over_http import OverHttpQuestion
from flows.questions.question import Question
from flows.questions.review_over_http import ReviewOverHttpQuestion
from flows.questions.several import SeveralQuestions
from pipelines.job.job import Job
from workers.endpoint.served import ResolvedEndpoint
from workers.engines.catalogue import ResolvedModel

_TASKS: dict[str, Callable[[Job, ResolvedModel | None], Question]] = {
    "classification": LabelQuestion,
    "code_review": ReviewQuestion,
}


def question_of(job: Job, model: ResolvedModel | None) -> Question:
    """The question of a job's task; ``model`` is None where there is no engine."""
    if isinstance(model, ResolvedEndpoint):
        return OverHttpQuestion(job, model) if job.task == "classification" else ReviewOverHttpQuestion(job, model)
    return SeveralQuestions(job, model) if job.asks_several else _TASKS[job.task](job, model)
