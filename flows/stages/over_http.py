"""Scoring by a first tier over HTTP: its server is asked from this process, and no engine is started."""

from __future__ import annotations

from flows.questions.over_http import OverHttpQuestion
from flows.questions.review_over_http import ReviewOverHttpQuestion
from flows.run import Run
from pipelines.job.endpoint import ModelEndpoint
from workers.endpoint.client import FirstTierClient
from workers.endpoint.labels import LabelScorer
from workers.endpoint.pool import EndpointPool
from workers.endpoint.reviews import ReviewScorer
from workers.endpoint.scorer import OverHttpScorer


def is_over_http(run: Run) -> bool:
    """Whether a server answers first, and no engine."""
    return isinstance(run.job.model, ModelEndpoint)


def first_tier_of(run: Run) -> str | None:
    """Which, for the summary; None where engines answer first, or nobody."""
    model = run.job.model
    return f"{model.name} at {model.endpoint}" if isinstance(model, ModelEndpoint) else None


def open_first_tier(run: Run) -> EndpointPool:
    """Make ready to ask; nothing is asked yet.

    Raises:
        JobError: the server's key is not set.
    """
    question = run.question
    assert isinstance(question, OverHttpQuestion | ReviewOverHttpQuestion)
    client = FirstTierClient(question.first_tier.asked)
    scorer = _scorer(run.store.root, question, client)
    return EndpointPool(scorer, client, question.first_tier.served.in_words)


def _scorer(
    run_root: str, question: OverHttpQuestion | ReviewOverHttpQuestion, client: FirstTierClient
) -> OverHttpScorer:
    model = question.first_tier
    if isinstance(question, OverHttpQuestion):
        return LabelScorer(run_root, model, question.asked_over_http, client)
    return ReviewScorer(run_root, model, question.review_settings, question.document_tokens, client)
