"""Whether a server can review code as an engine does: found out before a run begins, on code of our own.

A review is two passes over the same tokens: findings as JSON by a schema, then each finding as a claim, true or false,
with how likely either is. Of the servers that are known, vLLM's alone takes both by token ids; another is refused with
what to do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from pipelines.costs.accounting import add_known
from pipelines.errors import JobError
from pipelines.job.endpoint import ModelEndpoint
from pipelines.tasks.classification import Label
from pipelines.tasks.code_review.answers import engine_answer_schema
from pipelines.tasks.code_review.prompts import claim_block, review_prompt, verification_prompt
from pipelines.tasks.code_review.verification import CLAIM_LABELS, CLEAN_CLAIM
from workers.endpoint.client import FirstTierClient
from workers.endpoint.probe import (
    NotThisWayError,
    Try,
    codes_of,
    cost_of,
    probed,
    refuse_unlisted,
    token_prompt,
    told_of_way,
)
from workers.endpoint.served import Served
from workers.endpoint.ways import (
    PATHS,
    AskedOverHttp,
    TokenPrompt,
    add_counts,
    read_text,
    read_tokens,
    read_usage,
    tokens_body,
    writing_body,
)

_SHOWN = '@file "shop/{}.py" added\n@@\n1+|def total(orders):\n2+|    return sum(order.price for order in orders)\n'
_KNOWN = (_SHOWN.format("orders"), _SHOWN.format("baskets"))
# Enough to see that the schema is obeyed.
_FIRST_TOKENS = 16
_OBEYS = re.compile(r'\s*\{\s*"findings"\s*:')


def probe_review(asked: ModelEndpoint, instructions: str, client: FirstTierClient, today: date) -> Served:
    """Find out whether both passes of a review can be asked, and what the server is.

    Args:
        asked: of the job.
        instructions: of the job.
        client: to the server.
        today: for the record.

    Raises:
        JobError: they cannot, with what was found.
        EngineError: the server cannot be reached.
    """
    refuse_unlisted(asked, client)
    try:
        return _probed(asked, instructions, client, today)
    except NotThisWayError as error:
        raise JobError(
            [
                f"model.endpoint: {asked.endpoint} cannot review code ({error}); it takes vLLM's /tokenize, "
                f"/detokenize and {PATHS['prompt_ids']} with token ids, logprob_token_ids and structured_outputs. "
                "Serve the model with vLLM (`vllm serve`), or give model a source, for an engine of its own"
            ]
        ) from error


def _probed(asked: ModelEndpoint, instructions: str, client: FirstTierClient, today: date) -> Served:
    codes, token_ids = codes_of(asked, len(CLAIM_LABELS), client)
    if len(token_ids) < len(CLAIM_LABELS):
        raise NotThisWayError("its /tokenize tells of no tokens for true and false")
    labels = tuple(Label(code, *pair) for code, pair in zip(codes, CLAIM_LABELS.items(), strict=True))
    claims = verification_prompt(instructions, labels)
    claim, review = (token_prompt(asked, prompt, client) for prompt in (claims, review_prompt(instructions)))
    if claim is None or review is None:
        raise NotThisWayError("it does not tell its chat template's tokens around a message")
    if claim.prefix != review.prefix:
        raise NotThisWayError("its chat template looks ahead, and both passes must begin alike")
    way = Try("prompt_ids", AskedOverHttp(labels, instructions, claims), token_ids, prompt=claim)
    block = claim_block(CLEAN_CLAIM)
    served = probed(asked, way, client, today, known=(_KNOWN[0] + block, _KNOWN[1] + block))
    if served.context_tokens is None:
        raise NotThisWayError("it does not tell how many tokens its model reads")
    usage = read_usage("prompt_ids", _written(asked, review, client))
    return served.model_copy(
        update={
            "review_suffix": review.suffix,
            "calls": served.calls + 1,
            "input_tokens": add_counts([served.input_tokens, usage.input_tokens]),
            "output_tokens": add_counts([served.output_tokens, usage.output_tokens]),
            "cost_usd": add_known([served.cost_usd, cost_of(asked.price, [usage])]),
        }
    )


def _written(asked: ModelEndpoint, prompt: TokenPrompt, client: FirstTierClient) -> Mapping[str, Any]:
    """The beginning of a review.

    Raises:
        NotThisWayError: it is none.
        EngineError: nobody knows what became of a paid call.
    """
    with told_of_way(asked):
        tokens = read_tokens(client.post("/tokenize", tokens_body(asked.name, _KNOWN[0]), is_free=True))
        whole = [*prompt.prefix, *tokens, *prompt.suffix]
        body = writing_body(asked.name, whole, engine_answer_schema(), _FIRST_TOKENS)
        content = client.post(PATHS["prompt_ids"], body)
        obeys = _OBEYS.match(read_text(content)) is not None
    if not obeys:
        raise NotThisWayError("what it writes does not obey the JSON Schema that it was given")
    return content
