"""Documents to items to shards: the plan of a run.

Documents stream in, Arrow tables of items stream out, one per shard, in the input's order; memory holds one shard
plus 8 bytes per id. Tokenising happens here, in batches: the engine gets token ids and never waits for text.
Deterministic: the same input gives the same plan, so a planning that was killed goes on behind what it committed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.documents.carried import Carrier
from pipelines.documents.duplicates import Originals, text_key
from pipelines.documents.long.reading import LongReading, Read
from pipelines.documents.records import Document, SourceFile
from pipelines.store.schemas import CARRIED, DUPLICATE_OF, PLAN, WINDOW_LIST, WINDOWS

Tokenize = Callable[[list[str]], Sequence[NDArray[np.int32] | list[int]]]
Withhold = Callable[[Document], str | None]

# Of a planned shard, what later documents are held against.
REMEMBERED = ("item_id", "document_id", "text", "withheld")
# Documents that are tokenised together, and how many characters they may hold in all: long ones would fill the memory.
_TOKENIZE_BATCH, _TOKENIZE_BATCH_CHARS = 512, 8_388_608
_BYTES_PER_TOKEN = 4
# Shards small enough that the last ones leave no engine idle for long, large enough that commits cost nothing.
_SHARDS_PER_RUN = 128
# A million tokens are some 20 seconds of a large GPU, which is what a lost engine costs.
_MIN_SHARD_TOKENS, _MAX_SHARD_TOKENS = 4_096, 1_048_576
# A written token takes an engine as long as some three that it reads: 66 and 24 microseconds, of Qwen3-8B on one H200
# (docs/speed.md, 24 tokens written instead of one; 312 of 600 prompt tokens computed).
_READ_PER_WRITTEN = 3
_MAX_SHARD_ITEMS = 2_048


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """When documents are cut, and when shards are full.

    ``document_tokens``: how many tokens of a document fit the context; ``shard_tokens``: of documents, fill a shard;
    ``written_tokens``: that an engine writes about an item at most, which fill a shard too.
    """

    document_tokens: int
    shard_tokens: int
    written_tokens: int = 0


def shard_tokens_for(sources: Iterable[SourceFile]) -> int:
    """Shard size in tokens, from the size of the input."""
    tokens = sum(source.size_bytes for source in sources) // _BYTES_PER_TOKEN
    return min(max(tokens // _SHARDS_PER_RUN, _MIN_SHARD_TOKENS), _MAX_SHARD_TOKENS)


def plan_shards(
    documents: Iterable[Document],
    tokenize: Tokenize,
    limits: PlanLimits,
    withhold: Withhold = lambda document: None,
    carrier: Carrier | None = None,
    originals: Originals | None = None,
    long: LongReading | None = None,
    planned: Iterable[pa.Table] = (),
) -> Iterator[pa.Table]:
    """Cut documents into shards of about equal work.

    Args:
        documents: in input order; those with a ``failure`` keep it.
        tokenize: token ids of each text, special tokens taken as plain text.
        limits: see `PlanLimits`.
        withhold: the rule that keeps a document from ever being sent to Claude, or None.
        carrier: of the input's columns that go to the results; None: there are none.
        originals: empty; finds documents whose text was there before. None: each is asked about.
        long: how documents over ``limits.document_tokens`` are read; None: the beginning of them.
        planned: shards of the documents before these, by a planning that was killed; `REMEMBERED` columns are enough.

    Yields:
        Tables of schema `PLAN`, each one shard; with a carrier, and a column `CARRIED`; with originals, `DUPLICATE_OF`;
        with long, `WINDOWS`.
    """
    rows: list[dict[str, object]] = []
    tokens_in_shard = 0
    seen = SeenHashes()
    for table in planned:
        _remember(table, seen, originals)
    rows_of = _tokenized(documents, tokenize, limits.document_tokens, withhold, originals, long, seen)
    for row, work_tokens in rows_of:
        rows.append(row)
        tokens_in_shard += work_tokens
        work = tokens_in_shard + len(rows) * limits.written_tokens * _READ_PER_WRITTEN
        if tokens_in_shard >= limits.shard_tokens or len(rows) >= _MAX_SHARD_ITEMS or work >= _MAX_SHARD_TOKENS:
            yield _shard(rows, carrier, originals, long)
            rows, tokens_in_shard = [], 0
    if rows:
        yield _shard(rows, carrier, originals, long)


def _shard(
    rows: list[dict[str, object]], carrier: Carrier | None, originals: Originals | None, long: LongReading | None
) -> pa.Table:
    table = _carrying(rows, carrier)
    if originals is not None:
        table = table.append_column(DUPLICATE_OF, pa.array([row[DUPLICATE_OF] for row in rows], pa.string()))
    if long is not None:
        table = table.append_column(WINDOWS, pa.array([row[WINDOWS] for row in rows], WINDOW_LIST))
    return table


def _carrying(rows: list[dict[str, object]], carrier: Carrier | None) -> pa.Table:
    if carrier is None:
        return pa.Table.from_pylist(rows, schema=PLAN)
    column, notes = carrier.column([row.pop(CARRIED) for row in rows])  # type: ignore[misc]  # a mapping or None
    for row, note in zip(rows, notes, strict=True):
        if note is not None:
            row["note"] = note if row["note"] is None else f"{row['note']}; {note}"
    return pa.Table.from_pylist(rows, schema=PLAN).append_column(CARRIED, column)


def item_id_of(document: Document) -> str:
    """Where the document stands decides its id: the same input always has the same ids."""
    place = f"{document.document_uri}\x00{document.document_offset}"
    return "itm_" + hashlib.blake2b(place.encode(), digest_size=10).hexdigest()


def _unique(batch: list[Document], seen: SeenHashes) -> list[Document]:
    """Turn the second document of an id into a failure: its answer could not be told from the first one's."""
    repeated = seen.add(_id_hashes(document.document_id for document in batch))
    return [
        _failed_as_repeated(document) if is_repeated and document.failure is None else document
        for document, is_repeated in zip(batch, repeated, strict=True)
    ]


def _id_hashes(document_ids: Iterable[str]) -> NDArray[np.uint64]:
    digests = (hashlib.blake2b(document_id.encode(), digest_size=8).digest() for document_id in document_ids)
    return np.frombuffer(b"".join(digests), "<u8")


def _failed_as_repeated(document: Document) -> Document:
    reason = f"{_place(document)}: id '{document.document_id}' was there before; give each document its own id"
    return replace(document, text=None, gold_label=None, failure=reason, attributes=None, note=None)


def _remember(planned: pa.Table, seen: SeenHashes, originals: Originals | None) -> None:
    """Know ids and texts of documents that are planned already."""
    seen.add(_id_hashes(planned["document_id"].to_numpy().tolist()))
    if originals is not None:
        with_text = planned.filter(pc.is_valid(planned["text"]))
        texts, held = (column.to_numpy().tolist() for column in (with_text["text"], pc.is_valid(with_text["withheld"])))
        keys = [text_key(text, is_withheld=is_held) for text, is_held in zip(texts, held, strict=True)]
        originals.originals_of(keys, with_text["item_id"].to_numpy().tolist())


def _tokenized(
    documents: Iterable[Document],
    tokenize: Tokenize,
    limit: int,
    withhold: Withhold,
    originals: Originals | None,
    long: LongReading | None,
    seen: SeenHashes,
) -> Iterator[tuple[dict[str, object], int]]:
    """Rows of the plan, each with the tokens that an engine reads for it."""
    for batch in _batches(documents):
        yield from _rows(_unique(batch, seen), tokenize, limit, withhold, originals, long)


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    chars = 0
    for document in documents:
        batch.append(document)
        chars += len(document.text or "")
        if len(batch) == _TOKENIZE_BATCH or chars >= _TOKENIZE_BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch


def _rows(
    batch: list[Document],
    tokenize: Tokenize,
    limit: int,
    withhold: Withhold,
    originals: Originals | None,
    long: LongReading | None,
) -> Iterator[tuple[dict[str, object], int]]:
    item_ids = [item_id_of(document) for document in batch]
    held = [withhold(document) for document in batch]
    copied = _copied(batch, item_ids, held, originals) if originals else [None] * len(batch)
    texts = [None if original else document.text for document, original in zip(batch, copied, strict=True)]
    together = [text for text in texts if text is not None and (long is None or not long.is_long(text))]
    encoded = iter(tokenize(together))
    for document, item_id, withheld, original, text in zip(batch, item_ids, held, copied, texts, strict=True):
        if text is None:
            read = Read(None, 0, failure=document.failure)
        elif long and long.is_long(text):
            read = long.read(text, _place(document))
        else:
            tokens = next(encoded)
            if len(tokens) <= limit:
                read = Read(tokens, len(tokens))
            else:
                read = long.read(text, _place(document)) if long else _beginning(tokens, limit)
        note = document.note if read.note is None else "; ".join(filter(None, (read.note, document.note)))
        row: dict[str, object] = {
            "item_id": item_id,
            "document_id": document.document_id,
            "document_uri": document.document_uri,
            "document_offset": document.document_offset,
            "text": None if read.failure else text,
            "tokens": read.tokens,
            "gold_label": document.gold_label,
            "failure": read.failure,
            "withheld": withheld,
            "note": note,
            CARRIED: document.carried,
            DUPLICATE_OF: original,
            WINDOWS: None if read.windows is None else [asdict(each) for each in read.windows],
        }
        yield row, read.work_tokens


def _beginning(tokens: Sequence[int] | NDArray[np.int32], limit: int) -> Read:
    """As much as fits into the model's context."""
    note = f"cut: the engine read the first {limit:,} of {len(tokens):,} tokens (limit: the model's context)"
    return Read(tokens[:limit], limit, note=note)


def _place(document: Document) -> str:
    return f"{document.document_uri}:{document.document_offset}"


def _copied(
    batch: list[Document], item_ids: list[str], held: list[str | None], originals: Originals
) -> list[str | None]:
    """Of each document whose text was there before, the item that had it first."""
    has_text = [place for place, document in enumerate(batch) if document.text is not None]
    keys = [text_key(batch[place].text or "", is_withheld=held[place] is not None) for place in has_text]
    copied: list[str | None] = [None] * len(batch)
    for place, original in zip(has_text, originals.originals_of(keys, [item_ids[p] for p in has_text]), strict=True):
        copied[place] = original
    return copied


class SeenHashes:
    """A set of 64-bit hashes in 8 bytes each: ten million ids take 80 MB, where a Python set takes a gigabyte.

    New hashes gather in a small set; full sets become sorted arrays, merged so that few remain to search.
    """

    _RECENT = 65_536

    def __init__(self) -> None:
        self._recent: set[int] = set()
        self._sorted: list[NDArray[np.uint64]] = []

    def add(self, hashes: NDArray[np.uint64]) -> list[bool]:
        """Add some; of each, whether it was there before, be it among these."""
        is_old = np.zeros(len(hashes), np.bool_)
        for run in self._sorted:
            is_old |= run[np.minimum(np.searchsorted(run, hashes), len(run) - 1)] == hashes
        were_there: list[bool] = []
        for value, is_known in zip(hashes.tolist(), is_old.tolist(), strict=True):
            were_there.append(is_known or value in self._recent)
            if not is_known:
                self._recent.add(value)
        if len(self._recent) >= self._RECENT:
            self._spill()
        return were_there

    def _spill(self) -> None:
        newest = np.fromiter(self._recent, np.uint64, len(self._recent))
        self._recent = set()
        while self._sorted and len(self._sorted[-1]) <= len(newest):
            newest = np.concatenate([self._sorted.pop(), newest])
        newest.sort()
        self._sorted.append(newest)
