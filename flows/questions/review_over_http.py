"""What a first tier over HTTP is asked about every item of a code review: the very tokens that an engine would be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from flows.questions.code_review import ReviewQuestion
from flows.questions.question import Withhold
from pipelines.cascade.confidence import Calibration
from pipelines.documents.carried import Carrier
from pipelines.documents.records import Document
from pipelines.store.schemas import FIRST_TIER_REVIEWS
from pipelines.tasks.classification import Label
from pipelines.tasks.code_review.prompts import claim_block
from pipelines.tasks.code_review.verification import CLAIM_LABELS
from workers.endpoint.served import ResolvedEndpoint
from workers.engines.tokens import TokenFrame
from workers.engines.word_tokens import TokenIds


@dataclass(frozen=True)
class ReviewOverHttpQuestion(ReviewQuestion):
    """Which faults a change has, asked of a server."""

    predictions_schema = FIRST_TIER_REVIEWS

    @property
    def first_tier(self) -> ResolvedEndpoint:
        """The server, as it was found."""
        assert isinstance(self.model, ResolvedEndpoint)
        return self.model

    @cached_property
    def engine_fingerprint(self) -> str:
        """Hash of everything that the model reads beside code and claims, in both passes."""
        served = self.first_tier.served
        parts = [served.way, served.prefix, served.review_suffix, served.suffix, served.token_ids, claim_block("")]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def encode(self, texts: list[str]) -> list[TokenIds]:
        """None: the server makes its own tokens, once it is asked."""
        return [np.array([], np.int32)] * len(texts)

    @cached_property
    def claim_labels(self) -> tuple[Label, ...]:
        """True and false with the codes that the probe found."""
        codes = self.first_tier.served.codes
        return tuple(Label(code, *pair) for code, pair in zip(codes, CLAIM_LABELS.items(), strict=True))

    @cached_property
    def frame(self) -> TokenFrame:
        """What stands around code and claim, in the server's tokens."""
        served = self.first_tier.served
        return TokenFrame(served.prefix, served.suffix, served.token_ids)

    @cached_property
    def review_frame(self) -> TokenFrame:
        """What stands around code alone."""
        served = self.first_tier.served
        return TokenFrame(served.prefix, served.review_suffix, ())

    @cached_property
    def context_tokens(self) -> int:
        """As the server told."""
        context = self.first_tier.served.context_tokens
        assert context is not None, "the probe refuses a server that does not tell"
        return context

    @property
    def tokenizer_json(self) -> str | None:
        """None: the server makes the tokens."""
        return None

    @cached_property
    def calibration(self) -> Calibration | None:
        """None comes with a server."""
        return None

    def shards(
        self,
        documents: Iterable[Document],
        shard_tokens: int,
        withhold: Withhold,
        carrier: Carrier | None = None,
        planned: Iterable[pa.Table] = (),
    ) -> Iterator[pa.Table]:
        """Each document is one item, and is cut as it is asked about: until then nothing of it is sent."""
        return self.whole_documents(documents, shard_tokens, withhold, carrier, planned)
