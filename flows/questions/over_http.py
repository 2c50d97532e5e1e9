"""What a first tier over HTTP is asked about every document of a job, and how the job's `model:` becomes one.

The probe at a run's beginning says which way gives probabilities, and with which codes; from then on the run's record
does, so that going on with a run asks nobody.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
import pyarrow as pa

from flows.questions.classification import LabelQuestion
from pipelines.cascade.confidence import Calibration
from pipelines.job.endpoint import ModelEndpoint
from pipelines.job.job import Job
from pipelines.store.schemas import FIRST_TIER
from pipelines.tasks.classification import Label
from workers.endpoint.client import FirstTierClient
from workers.endpoint.probe import probe
from workers.endpoint.review_probe import probe_review
from workers.endpoint.served import ResolvedEndpoint, Served, resolved
from workers.endpoint.ways import AskedOverHttp
from workers.engines.adapters import refuse_other_task
from workers.engines.catalogue import ResolvedModel, resolve_model
from workers.engines.word_tokens import TokenIds

# Nothing is begun yet, and somebody may wait for a mistyped address.
_ATTEMPTS_AT_FIRST = 3


@dataclass(frozen=True)
class OverHttpQuestion(LabelQuestion):
    """Which of the job's labels fits a document, asked of a server."""

    @property
    def predictions_schema(self) -> pa.Schema:
        """Schema of the predictions: null is what a server does not tell."""
        return FIRST_TIER

    @property
    def first_tier(self) -> ResolvedEndpoint:
        """The server, as it was found."""
        assert isinstance(self.model, ResolvedEndpoint)
        return self.model

    @cached_property
    def engine_fingerprint(self) -> str:
        """Hash of everything that the model reads beside the documents, as far as it is ours to know."""
        served, asked = self.first_tier.served, self.asked_over_http
        told = [[label.name, label.description] for label in asked.labels]
        words = [asked.instructions, told] if served.way == "systemone" else [asked.prompt.before, asked.prompt.after]
        parts = [
            served.way,
            *words,
            served.codes,
            served.token_ids,
            served.turns_thinking_off,
            served.prefix,
            served.suffix,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def encode(self, texts: list[str]) -> list[TokenIds]:
        """None: the server makes its own tokens."""
        return [np.array([], np.int32)] * len(texts)

    @cached_property
    def labels(self) -> tuple[Label, ...]:
        """The job's labels with the codes that the probe found."""
        codes = self.first_tier.served.codes or [""] * len(self.job.labels)
        return tuple(Label(code, *pair) for code, pair in zip(codes, self.job.labels.items(), strict=True))

    @cached_property
    def document_tokens(self) -> int:
        """Not known here: what the server refuses as too long is asked about again, shorter, and its row says so."""
        return 1

    @cached_property
    def calibration(self) -> Calibration | None:
        """None comes with a server."""
        return None

    @cached_property
    def asked_over_http(self) -> AskedOverHttp:
        """For the scorer."""
        return AskedOverHttp(self.labels, self.job.instructions, self.prompt)


def model_of(job: Job, found: Served | None = None) -> ResolvedModel | None:
    """What answers first; None where all goes to Claude.

    Args:
        job: what is asked.
        found: of a first tier over HTTP, what an earlier probe found: it is not asked again.

    Raises:
        JobError: it is not there, gives no probabilities, cannot review code, or has an adapter of another task.
        EngineError: its server cannot be reached.
    """
    if not isinstance(job.model, ModelEndpoint):
        model = resolve_model(job.model) if job.model else None
        if model and model.adapter:
            refuse_other_task(model.adapter, job.task)
        return model
    if found is None:
        client, today = FirstTierClient(job.model, attempts=_ATTEMPTS_AT_FIRST), datetime.now(UTC).date()
        try:
            if job.task == "code_review":
                found = probe_review(job.model, job.instructions, client, today)
            else:
                labels = [Label("", name, meaning) for name, meaning in job.labels.items()]
                found = probe(job.model, labels, job.instructions, client, today)
        finally:
            client.close()
    return resolved(job.model, found)
