"""What a first tier over HTTP turned out to be when the run began: in its record, and part of its identity."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from pipelines.job.endpoint import ModelEndpoint
from workers.engines.catalogue import ResolvedModel

# What was found to give probabilities. Of vLLM's there are two exact ways: the first is given the very tokens that an
# engine of the run's own would be, the second a message, whose tokens are the server's to make.
Way = Literal["systemone", "prompt_ids", "token_ids", "top_logprobs", "ollama"]

WAYS_IN_WORDS: dict[Way, str] = {
    "systemone": "/v1/systemone",
    "prompt_ids": "/v1/completions with token ids and logprob_token_ids",
    "token_ids": "/v1/chat/completions with logprob_token_ids",
    "top_logprobs": "/v1/chat/completions with top_logprobs",
    "ollama": "/api/chat with top_logprobs",
}


class Served(BaseModel):
    """The outcome of the probe."""

    model_config = ConfigDict(frozen=True)

    endpoint: str
    name: str
    where: Literal["own", "hosted"]
    way: Way
    server: str | None  # such as `vllm 0.32.0`, where it says so
    model: str | None  # what it says has answered
    fingerprint: str | None  # the server's own `system_fingerprint`, or what it says that it has loaded
    probed_on: date
    codes: tuple[str, ...]  # one for each label of the job; none where the server makes its own
    token_ids: tuple[int, ...] = ()  # of the codes
    prefix: tuple[int, ...] = ()  # token ids around every document, where it is given token ids
    suffix: tuple[int, ...] = ()
    review_suffix: tuple[int, ...] = ()  # of a code review: after code that is to be reviewed, not to be judged by
    told_tokens: int | None = None  # how many of the likeliest tokens it tells
    tells_mass: bool  # whether it tells how likely any label is at all
    turns_thinking_off: bool = False  # whether it takes `chat_template_kwargs`
    context_tokens: int | None = None
    decimals: int  # of the probabilities that it told, at the least
    most_difference: float  # between two answers to one question
    calls: int
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: Decimal | None  # of the probe; in no row

    @property
    def revision(self) -> str:
        """Another one for another server, model or way; of a hosted one for another day: it may change unseen."""
        day = [self.probed_on.isoformat()] if self.where == "hosted" else []
        parts = [self.endpoint, self.name, self.way, self.server, self.model, self.fingerprint, *day]
        return "-".join([self.way, *day, hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]])

    @property
    def in_words(self) -> str:
        """For people."""
        return f"{self.name} at {self.endpoint} ({self.server or 'unnamed server'}), by {WAYS_IN_WORDS[self.way]}"


@dataclass(frozen=True, kw_only=True)
class ResolvedEndpoint(ResolvedModel):
    """A first tier over HTTP in the place of a model; there are no weights here, and no files."""

    asked: ModelEndpoint
    served: Served


def resolved(asked: ModelEndpoint, served: Served) -> ResolvedEndpoint:
    """The first tier of a job as its run records it."""
    return ResolvedEndpoint(
        name=asked.name,
        weights=asked.endpoint,
        revision=served.revision,
        files=Path("/nonexistent"),
        engine={},
        calibration=None,
        asked=asked,
        served=served,
    )
