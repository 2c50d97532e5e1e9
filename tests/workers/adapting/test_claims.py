"""Claims read back from a run are the very tokens that its engine was given."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from pipelines.adapting.reviews import PutClaim
from pipelines.store.schemas import FINDING
from pipelines.tasks.code_review.findings import Finding
from tests.workers.engines.test_reviews import (
    AFTER_CLAIM,
    AFTER_CODE,
    PREFIX,
    SHOWN,
    answer,
    cut,
    plan_of,
    reported,
    review,
)
from workers.adapting.claims import put_claims
from workers.engines.catalogue import resolve_model
from workers.engines.reviews import ClaimTokens, ReviewSettings
from workers.engines.tokens import ModelTokenizer, TokenFrame

NAMES = [field.name for field in FINDING]


@pytest.fixture(scope="module")
def tokenizer() -> ModelTokenizer:
    return ModelTokenizer(resolve_model("starter"))


def read_back(
    tokenizer: ModelTokenizer, plan: pa.Table, rows: list[dict[str, Any]], context_tokens: int = 100_000
) -> list[tuple[PutClaim, ...] | None]:
    settings = ReviewSettings(AFTER_CODE, TokenFrame(PREFIX, AFTER_CLAIM, (7, 8)), 100, context_tokens, tokenizer.json)
    claims = ClaimTokens(settings, tokenizer.encode_documents)
    findings = [[Finding(**{name: each[name] for name in NAMES}) for each in row["findings"]] for row in rows]
    return [
        put_claims(item, found, row, claims) for item, found, row in zip(plan.to_pylist(), findings, rows, strict=True)
    ]


def prompts(claims: list[tuple[PutClaim, ...] | None]) -> list[list[int]]:
    return [[*PREFIX, *claim.tokens.tolist(), *AFTER_CLAIM] for item in claims for claim in item or ()]


def test_findings_silence_and_messages_that_had_no_room_are_put_as_they_were(tokenizer: ModelTokenizer) -> None:
    long = reported(11, message="The name goes into the query. " * 20)
    answers = [answer(long, reported(12, "dead-code")), answer(), cut(), cut()]
    plan = plan_of(tokenizer, SHOWN, SHOWN, SHOWN)
    context = len(tokenizer.encode_documents([SHOWN])[0]) + 180
    rows, _, engine = review(tokenizer, plan, answers, context_tokens=context)
    found = read_back(tokenizer, plan, rows, context)
    assert prompts(found) == engine.claims
    assert [[claim.finding for claim in item or ()] for item in found] == [[0, 1], [None], []]


def test_of_several_pieces_each_claim_is_put_behind_its_own(tokenizer: ModelTokenizer) -> None:
    lines = "".join(f"{number}+|    total_{number} = price(items[{number}])\n" for number in range(1, 41))
    plan = plan_of(tokenizer, f'@file "shop/orders.py" added\n@@\n{lines}', piece_tokens=300)
    pieces = len(plan["pieces"][0])
    rows, _, engine = review(tokenizer, plan, [answer(reported(1)), *[answer()] * (pieces - 1)])
    assert pieces > 2
    assert prompts(read_back(tokenizer, plan, rows)) == engine.claims


def test_a_review_of_which_nobody_can_tell_what_was_silent_is_left_out(tokenizer: ModelTokenizer) -> None:
    lines = "".join(f"{number}+|    total_{number} = price(items[{number}])\n" for number in range(1, 41))
    plan = plan_of(tokenizer, f'@file "shop/orders.py" added\n@@\n{lines}', piece_tokens=300)
    pieces = len(plan["pieces"][0])
    rows, _, _ = review(tokenizer, plan, [answer(reported(1)), *[answer()] * (pieces - 2), cut(), cut()])
    assert rows[0]["unfinished"] is not None
    assert read_back(tokenizer, plan, rows) == [None]
