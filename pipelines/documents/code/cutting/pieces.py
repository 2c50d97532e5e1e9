"""The plan of a code review: every item's text cut into the pieces that the engine is asked about."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from pipelines.documents.code.cutting.splitting import split
from pipelines.documents.planning import Tokenize
from pipelines.documents.readers.lines import Unreadable
from pipelines.store.schemas import CARRIED, PLAN, REVIEW_PLAN

# Of `plan_shards`: nothing is cut off, whatever does not fit goes into another piece.
WHOLE_DOCUMENTS = 2**62


def cut_into_pieces(plan: pa.Table, tokenize: Tokenize, piece_tokens: int) -> pa.Table:
    """A shard's plan, schema `PLAN` with whole token lists, as schema `REVIEW_PLAN`.

    An item with a line that fits no piece fails.
    """
    rows = [_cut(row, tokenize, piece_tokens) for row in plan.select(PLAN.names).to_pylist()]
    cut = pa.Table.from_pylist(rows, schema=REVIEW_PLAN)
    return cut.append_column(CARRIED, plan[CARRIED]) if CARRIED in plan.column_names else cut


def _cut(row: dict[str, Any], tokenize: Tokenize, piece_tokens: int) -> dict[str, Any]:
    text, tokens = row["text"], row["tokens"]
    row |= {"tokens": None, "pieces": None}
    if text is None:
        return row
    if len(tokens) <= piece_tokens:
        return row | {"pieces": [{"text": None, "tokens": tokens}]}
    try:
        pieces = split(row["document_id"], text, lambda texts: [len(ids) for ids in tokenize(texts)], piece_tokens)
    except Unreadable as reason:
        return row | {"text": None, "failure": f"{row['document_id']}: {reason}"}
    texts = [piece.text for piece in pieces]
    cut = [{"text": text, "tokens": ids} for text, ids in zip(texts, tokenize(texts), strict=True)]
    return row | {"pieces": cut}
