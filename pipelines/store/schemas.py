"""The Arrow schema of every table a run writes, and how tables become bytes.

Schemas are explicit from the first row, never inferred. Version 1: columns may be added, never renamed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.store.layout import ResultFormat

SCHEMA_VERSION = 1
MONEY = pa.decimal128(20, 12)
_ARROW = b"ARROW1"  # how an IPC file begins
# Whether Arrow codes and decodes in threads of its own. Such a thread may let go of Python's memory a moment after its
# result is there; where that is after a short command has ended, Arrow aborts the process (exit code 134). Parts are
# read side by side by threads of ours, which are waited for.
USE_THREADS = False
_UTC_TIME = pa.timestamp("us", tz="UTC")


def _schema(*fields: pa.Field[Any]) -> pa.Schema:
    return pa.schema(fields)


PLAN = _schema(
    pa.field("item_id", pa.string(), nullable=False),
    pa.field("document_id", pa.string(), nullable=False),
    pa.field("document_uri", pa.string(), nullable=False),
    pa.field("document_offset", pa.int64(), nullable=False),
    pa.field("text", pa.string()),  # null exactly where `failure` is set
    pa.field("tokens", pa.list_(pa.int32())),  # of the text alone, as far as the engine reads it
    pa.field("gold_label", pa.string()),
    pa.field("failure", pa.string()),
    pa.field("withheld", pa.string()),  # the rule that keeps it from ever being sent to Claude
    pa.field("note", pa.string()),  # e.g. that the text was cut; becomes the row's `reason`
)

# Beside these, where the job carries columns of the input: a struct of them, see `pipelines.documents.carried`.
CARRIED = "carried"
# And where copies are looked for, of each copy the item that has its text; it has none itself.
DUPLICATE_OF = "duplicate_of"
# And where several questions are asked, a struct of the known answer to each, in the place of the one in `gold_label`.
GOLD_LABELS = "gold_labels"

# And where long documents are read in parts, these: see `pipelines.documents.long.windows`; null of any other.
WINDOWS = "windows"
WINDOW_FIELDS: list[pa.Field[Any]] = [
    pa.field("first_token", pa.int32()),
    pa.field("tokens", pa.int32()),
    pa.field("first_char", pa.int32()),
    pa.field("chars", pa.int32()),
    pa.field("bytes", pa.int32()),
]
WINDOW_LIST = pa.list_(pa.struct(WINDOW_FIELDS))

# The plan of a code review: of every item, what the engine is asked about, one after the other.
REVIEW_PLAN = PLAN.append(
    pa.field(
        "pieces",
        pa.list_(
            pa.struct(
                [
                    pa.field("text", pa.string()),  # null where the item is one piece: it is the item's
                    pa.field("tokens", pa.list_(pa.int32())),
                ]
            )
        ),
    )
)

# What is kept of every item beside its text, for the stages after scoring; see `pipelines.scored_parts`.
ITEM_FIELDS: list[pa.Field[Any]] = [
    *(PLAN.field(name) for name in PLAN.names if name not in ("text", "tokens")),
    pa.field("text_bytes", pa.int64()),  # of the text in UTF-8; null where there is none
]

PREDICTIONS = _schema(
    pa.field("item_id", pa.string(), nullable=False),
    # Log-probability of every label's code over the whole vocabulary, in the order of the job's labels.
    pa.field("label_logprobs", pa.list_(pa.float32()), nullable=False),
    pa.field("input_tokens", pa.int64(), nullable=False),  # whole prompt, cached part included; of both if `averaged`
    pa.field("cached_tokens", pa.int64(), nullable=False),
    pa.field("output_tokens", pa.int64(), nullable=False),
    pa.field("device_nanoseconds", pa.int64(), nullable=False),  # this item's share of busy engine time
    pa.field("scored_at", _UTC_TIME, nullable=False),
)

# The same where documents are read window by window: of each that was, the places of its windows, surest first.
WINDOW_ORDER = "window_order"
WINDOWED_PREDICTIONS = PREDICTIONS.append(pa.field(WINDOW_ORDER, pa.list_(pa.int32())))

# The predictions of a first tier over HTTP; null is what its server did not tell, as of a call that broke off.
FIRST_TIER = _schema(
    pa.field("item_id", pa.string(), nullable=False),
    # Of a label that is not among the likeliest tokens, the most that it can be.
    pa.field("label_logprobs", pa.list_(pa.float32()), nullable=False),
    pa.field("label_mass", pa.float64()),  # at the least
    pa.field("failure", pa.string()),  # why there is no answer: then the probabilities say nothing
    pa.field("note", pa.string()),  # e.g. that the text was cut
    pa.field("input_tokens", pa.int64()),
    pa.field("cached_tokens", pa.int64()),
    pa.field("output_tokens", pa.int64()),
    pa.field("scored_at", _UTC_TIME, nullable=False),
)

_FINDING_FIELDS: list[pa.Field[Any]] = [
    pa.field("path", pa.string()),
    pa.field("line", pa.int64()),
    pa.field("end_line", pa.int64()),
    pa.field("severity", pa.string()),
    pa.field("category", pa.string()),
    pa.field("message", pa.string()),
    pa.field("suggestion", pa.string()),
]
FINDING = pa.struct(_FINDING_FIELDS)
# Log-probability of the codes of "true" and "false"; null where the claim could not be put.
_CLAIM_FIELDS: list[pa.Field[Any]] = [
    pa.field("true_logprob", pa.float32()),
    pa.field("false_logprob", pa.float32()),
]

# The predictions of a code review. Token counts and times are of all requests about the item.
REVIEWS = _schema(
    pa.field("item_id", pa.string(), nullable=False),
    pa.field("failure", pa.string()),  # why there is no review
    pa.field("unfinished", pa.string()),  # why there may be more findings than these
    pa.field("note", pa.string()),  # what else is to be known of how the answer came about
    pa.field("findings", pa.list_(pa.struct([*_FINDING_FIELDS, *_CLAIM_FIELDS])), nullable=False),
    pa.field("clean_claims", pa.list_(pa.struct(_CLAIM_FIELDS)), nullable=False),  # of pieces without findings
    pa.field("dropped_findings", pa.int64(), nullable=False),  # they named what was not reviewed
    pa.field("input_tokens", pa.int64(), nullable=False),
    pa.field("cached_tokens", pa.int64(), nullable=False),
    pa.field("output_tokens", pa.int64(), nullable=False),
    pa.field("device_nanoseconds", pa.int64(), nullable=False),
    pa.field("verification_input_tokens", pa.int64(), nullable=False),
    pa.field("verification_cached_tokens", pa.int64(), nullable=False),
    pa.field("verification_nanoseconds", pa.int64(), nullable=False),
    pa.field("scored_at", _UTC_TIME, nullable=False),
)

_OF_ENGINES = {"device_nanoseconds", "verification_nanoseconds"}
# The same of a first tier over HTTP: nobody's time, and null for what its server did not tell.
FIRST_TIER_REVIEWS = _schema(
    *(
        field.with_nullable(True) if field.name.endswith("_tokens") else field
        for field in REVIEWS
        if field.name not in _OF_ENGINES
    )
)

# What was decided, one row per scored item, in the plan's order. Where the run's own labels taught a temperature, it is
# in the schema's metadata, and what corrects it answer by answer.
DECISIONS = _schema(
    pa.field("shard", pa.int32(), nullable=False),
    pa.field("is_accepted", pa.bool_(), nullable=False),
)

# Items that go to Claude where each was decided by itself: what may leave, could be read, and was not accepted.
DOUBTFUL = _schema(
    pa.field("shard", pa.int32(), nullable=False),
    pa.field("item_id", pa.string(), nullable=False),
)

COLLECTED = _schema(
    pa.field("item_id", pa.string(), nullable=False),
    pa.field("ending", pa.string(), nullable=False),  # pipelines.escalation.endings.Ending
    pa.field("label", pa.string()),
    pa.field("findings", pa.list_(FINDING)),  # of a code review that Claude has answered
    pa.field("dropped_findings", pa.int64()),  # they named what was not reviewed
    pa.field("reason", pa.string()),  # why there is no label, or why it does not stand
    pa.field("model", pa.string()),
    pa.field("input_tokens", pa.int64()),
    pa.field("cache_write_5m_tokens", pa.int64()),
    pa.field("cache_write_1h_tokens", pa.int64()),
    pa.field("cache_read_tokens", pa.int64()),
    pa.field("output_tokens", pa.int64()),
    pa.field("api_cost_usd", MONEY),
    pa.field("settled_at", _UTC_TIME, nullable=False),
)

RESULTS = _schema(
    pa.field("item_id", pa.string(), nullable=False),
    pa.field("document_id", pa.string(), nullable=False),
    pa.field("document_uri", pa.string(), nullable=False),
    pa.field("document_offset", pa.int64(), nullable=False),
    pa.field("task", pa.string(), nullable=False),
    pa.field("answer", pa.string()),
    pa.field(
        "findings",
        # Claude's verified list, or all that the engine reported: then with the probability that each is true.
        pa.list_(
            pa.struct([*_FINDING_FIELDS, pa.field("raw_prob", pa.float64()), pa.field("confidence", pa.float64())])
        ),
    ),
    pa.field("confidence", pa.float64()),
    pa.field("raw_prob", pa.float64()),
    pa.field("label_mass", pa.float64()),
    pa.field("route", pa.string(), nullable=False),
    pa.field("reason", pa.string()),
    pa.field("model", pa.string()),
    pa.field("model_revision", pa.string()),
    pa.field("engine_answer", pa.string()),
    pa.field("input_tokens", pa.int64()),
    pa.field("cached_tokens", pa.int64()),
    pa.field("output_tokens", pa.int64()),
    pa.field("api_input_tokens", pa.int64()),
    pa.field("api_cached_tokens", pa.int64()),
    pa.field("api_output_tokens", pa.int64()),
    pa.field("gpu_seconds", pa.float64()),
    pa.field("gpu_cost_usd", MONEY),
    pa.field("api_cost_usd", MONEY),
    pa.field("cost_usd", MONEY),
    pa.field("duplicate_of", pa.string()),
    pa.field("run_id", pa.string(), nullable=False),
    pa.field("scored_at", _UTC_TIME),
    pa.field("settled_at", _UTC_TIME, nullable=False),
    pa.field("gold_label", pa.string()),
    pa.field("dropped_findings", pa.int64()),  # of the reviewer whose findings these are
    pa.field("first_tier_cost_usd", MONEY),  # of a first tier over HTTP, in the place of gpu_cost_usd
    pa.field("windows", pa.int64()),  # in how many the engine read a long document; null where it read all at once
    pa.field("question", pa.string()),  # which of several this row answers; null where the job asks one
    pa.field("label", pa.string()),  # which label it is about, where any may be chosen: `answer` is yes or no
).with_metadata({"sluice.schema_version": str(SCHEMA_VERSION)})

# What a person answered about items in `review` or `withheld`; see `pipelines.people.answers`. A later row of an item
# takes the place of the earlier one, and says in `replaces` which answer that was.
ANSWERS = _schema(
    pa.field("item_id", pa.string(), nullable=False),
    pa.field("answer", pa.string(), nullable=False),
    pa.field("person", pa.string(), nullable=False),
    pa.field("answered_at", _UTC_TIME, nullable=False),
    pa.field("tool", pa.string(), nullable=False),  # screen, file or label_studio
    pa.field("comment", pa.string()),
    pa.field("replaces", pa.string()),
)

# The rows as they are read with people's answers beside them: no part holds the last three columns.
ANSWERED_RESULTS = pa.schema(
    [
        *RESULTS,
        pa.field("answered_by", pa.string()),  # engine, claude or person; null where there is no answer
        pa.field("person", pa.string()),
        pa.field("answered_at", _UTC_TIME),
    ]
).with_metadata(RESULTS.metadata or {})


def result_schema(carried: pa.Schema) -> pa.Schema:
    """Of the result rows of a run that carries columns: they stand behind all others."""
    return pa.schema([*RESULTS, *carried]).with_metadata(RESULTS.metadata or {})


def to_arrow(table: pa.Table) -> bytes:
    """An Arrow IPC file, lz4: for tables only this project reads."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=USE_THREADS)
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def from_arrow(data: bytes, columns: list[str] | None = None, if_there: Sequence[str] = ()) -> pa.Table:
    """The inverse of `to_arrow`; with ``columns``, only those are decoded, and some more that not every table has."""
    options = pa.ipc.IpcReadOptions(use_threads=USE_THREADS)
    if columns is not None:
        schema = pa.ipc.open_file(data).schema
        columns = [*columns, *(name for name in if_there if name in schema.names)]
        options.included_fields = [schema.get_field_index(name) for name in columns]
    return pa.ipc.open_file(data, options=options).read_all()


def to_parquet(table: pa.Table) -> bytes:
    """A Parquet file: for the results, which users open with whatever they have."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def to_part(table: pa.Table, form: ResultFormat) -> bytes:
    """A part of the results."""
    return to_parquet(table) if form == "parquet" else to_arrow(table)


def read_part(data: bytes, columns: Sequence[str], schema: pa.Schema = RESULTS) -> pa.Table:
    """Some columns of a part of the results, Parquet or Arrow; one that an earlier version did not have is empty.

    Args:
        data: of the part.
        columns: names, in the order wanted.
        schema: of all columns that the run may have.
    """
    if data[:6] == _ARROW:
        there = pa.ipc.open_file(data).schema.names
        table = from_arrow(data, [name for name in there if name in columns])
    else:
        # The file itself: pyarrow's way by way of a data set takes longer than reading a small part.
        file = pq.ParquetFile(pa.BufferReader(data))
        there = file.schema_arrow.names
        table = file.read([name for name in there if name in columns], use_threads=USE_THREADS)
    fields = [schema.field(name) for name in columns]
    values = [table[each.name] if each.name in there else pa.nulls(len(table), each.type) for each in fields]
    return pa.table(values, schema=pa.schema(fields))
