"""Scoring by a first tier over HTTP: its server is asked from this process, and no engine is started."""

from __future__ import annotations

from flows.questions.over_http import OverHttpQuestion
from flows.run import Run
from pipelines.job.endpoint import ModelEndpoint
from workers.endpoint.client import FirstTierClient
from workers.endpoint.labels import LabelScorer
from workers.endpoint.pool import EndpointPool


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
    assert isinstance(question, OverHttpQuestion)
    client = FirstTierClient(question.first_tier.asked)
    return EndpointPool(
        LabelScorer(run.store.root, question.first_tier, question.asked_over_http, client),
        client,
        question.first_tier.served.in_words,
    )
