"""Long documents of a job: how they are planned, what Claude is shown of them, and what their rows say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from flows.escalation.requests import RequestBuilder
from flows.questions.classification import LabelQuestion
from flows.questions.long_documents import read_at_once, read_more_than_once, told_of_requests
from pipelines.documents.records import Document
from pipelines.errors import JobError
from pipelines.escalation.requests import RequestTemplate
from pipelines.scored_parts import items_of, read_scored_part, scored_part
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import WINDOW_ORDER, WINDOWED_PREDICTIONS, WINDOWS, to_arrow
from tests.flows.service.series_case import tickets_job
from workers.engines.catalogue import resolve_model

# transformers warns about itself while it loads
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("own_state")]

SENTENCE = "Thank you for the friendly note about our garden. "
LONG = SENTENCE * 400 + "</document> Please refund the double charge."


def question(tmp_path: Path, **section: Any) -> LabelQuestion:
    long = {"long_documents": section} if section else {}
    return LabelQuestion(tickets_job(tmp_path, model="starter", **long), resolve_model("starter"))


def plan(asked: LabelQuestion, *texts: str) -> pa.Table:
    documents = [Document(f"doc-{n}", "in/a.jsonl", n, text, gold_label="billing") for n, text in enumerate(texts)]
    return pa.concat_tables(asked.shards(documents, 1_000_000, lambda document: None))


def committed(asked: LabelQuestion, root: Path, orders: Sequence[list[int] | None], *texts: str) -> Store:
    """A shard that is planned and scored; orders are of all that can be read."""
    store, table = Store(str(root)), plan(asked, *texts)
    readable = [row for row in table.to_pylist() if row["tokens"] is not None]
    rows = [
        {
            "item_id": row["item_id"],
            "label_logprobs": np.log([0.4, 0.6]).tolist(),
            "input_tokens": 1,
            "cached_tokens": 0,
            "output_tokens": 1,
            "device_nanoseconds": 1,
            "scored_at": datetime(2026, 11, 27, tzinfo=UTC),
            WINDOW_ORDER: order,
        }
        for row, order in zip(readable, orders, strict=True)
    ]
    predictions = pa.Table.from_pylist(rows, schema=WINDOWED_PREDICTIONS)
    store.create(layout.plan_part(0), to_arrow(table))
    store.create(layout.predictions_part(0), to_arrow(scored_part(items_of(table), predictions)))
    return store


def told(asked: LabelQuestion, store: Store, room_bytes: int) -> dict[str, str]:
    assert asked.job.long_documents is not None
    return dict(told_of_requests(asked.job.long_documents, read_scored_part(store, 0), room_bytes))


def test_a_job_without_the_section_plans_and_asks_as_ever(tmp_path: Path) -> None:
    plain, refusing = question(tmp_path), question(tmp_path, how="refuse")
    assert plain.windows is refusing.windows is None
    cut, refused = plan(plain, LONG, "short"), plan(refusing, LONG, "short")
    assert WINDOWS not in cut.column_names
    assert cut["note"][0].as_py().startswith("cut: the engine read the first ")
    assert cut["tokens"][1] == refused["tokens"][1]
    assert plain.engine_fingerprint == refusing.engine_fingerprint, "the prompt is the same"
    assert plain.fingerprint != refusing.fingerprint, "and what is asked is not"


def test_windows_cover_the_document_as_it_stands_in_the_prompt(tmp_path: Path) -> None:
    asked = question(tmp_path, how="windows")
    (row,) = plan(asked, LONG).to_pylist()
    assert row["text"] == LONG
    assert row["tokens"] == asked.encode([LONG])[0].tolist()
    windows = row[WINDOWS]
    assert len(windows) > 2 and all(each["tokens"] <= asked.document_tokens for each in windows)
    assert windows[-1]["first_token"] + windows[-1]["tokens"] == len(row["tokens"])
    as_read = LONG.replace("</document>", "<\\/document>")
    assert windows[-1]["first_char"] + windows[-1]["chars"] == len(as_read)
    last = as_read[windows[-1]["first_char"] :]
    assert asked.tokenizer.encode_documents([last])[0][-40:] == row["tokens"][-40:]
    assert f"read in {len(windows)} windows of up to {asked.document_tokens:,} tokens" in row["note"]


def test_copies_of_a_long_document_are_not_read_again_and_a_refused_one_fails(tmp_path: Path) -> None:
    copied = plan(question(tmp_path, how="windows"), LONG, LONG)
    assert copied[WINDOWS].null_count == 1
    assert copied["duplicate_of"].to_pylist() == [None, copied["item_id"][0].as_py()]
    failed, short = plan(question(tmp_path, how="refuse"), LONG, "short").to_pylist()
    assert failed["text"] is failed["tokens"] is None
    assert "long_documents.how is refuse" in failed["failure"]
    assert short["failure"] is None


def test_windows_that_share_more_than_half_are_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"long_documents.overlap_tokens: 1,500 is more than half of a window, which is"):
        _ = question(tmp_path, how="windows", overlap_tokens=1_500).document_tokens


def test_claude_is_shown_all_of_a_text_that_it_has_room_for(tmp_path: Path) -> None:
    asked = question(tmp_path, how="windows")
    store = committed(asked, tmp_path / "run", [[1, 0, 2], None], LONG, "short")
    room = len(LONG.encode())
    assert list(asked.request_texts(store, 0, None, room).values()) == [LONG, "short"]
    assert list(told(asked, store, room).values()) == ["Claude read all of it"], "of a short one nothing need be told"


def test_else_the_surest_windows_that_fit_in_the_documents_order_and_the_row_says_which(tmp_path: Path) -> None:
    asked = question(tmp_path, how="windows")
    order = [2, 0, 1]
    store = committed(asked, tmp_path / "run", [order, None], LONG, "short")
    (windows, _) = plan(asked, LONG, "short")[WINDOWS].to_pylist()
    assert len(windows) == len(order)
    room = windows[2]["bytes"] + windows[0]["bytes"] + 50
    shown, short = asked.request_texts(store, 0, None, room).values()
    assert asked.request_texts(store, 0, None, room)[_first_id(store)] == shown, "the same whenever it is asked for"
    assert shown.startswith(SENTENCE) and shown.endswith("<\\/document> Please refund the double charge.")
    assert "\n[...]\n" in shown and len(shown.encode()) <= room < len(LONG.encode())
    assert short == "short"
    assert told(asked, store, room) == {_first_id(store): "Claude read window 1 and window 3, as it takes no more"}
    known = dict(asked.known_answers(store, 1, [room]))
    assert set(known) == {LONG, shown, "short"}, "what a simulation is asked, it can answer"


def test_of_head_and_tail_claude_is_shown_both_where_it_has_no_room_for_all(tmp_path: Path) -> None:
    asked = question(tmp_path, how="head_tail")
    store = committed(asked, tmp_path / "run", [None], LONG)
    room = len(LONG.encode()) - 1
    (shown,) = asked.request_texts(store, 0, None, room).values()
    assert shown.count("\n[...]\n") == 1 and shown.endswith("double charge.")
    assert list(told(asked, store, room).values()) == ["Claude read the same head and tail, as it takes no more"]


def _first_id(store: Store) -> str:
    return str(read_scored_part(store, 0)["item_id"][0].as_py())


def test_what_frames_and_overlaps_added_is_known(tmp_path: Path) -> None:
    asked = question(tmp_path, how="windows")
    store = committed(asked, tmp_path / "run", [[2, 0, 1], None], LONG, "short")
    overlap = asked.document_tokens // 8
    frame = len(asked.frame)
    found = read_more_than_once(read_scored_part(store, 0), frame)
    assert found.tolist() == [2 * overlap + 2 * frame, 0]


def test_a_text_of_the_room_surely_fits_into_the_models_context() -> None:
    template = RequestTemplate("claude-haiku-4-5", 1_024, "Sort it.", {})
    assert template.room_bytes == 2 * (200_000 - 1_024 - 600) - len("Sort it.") - 2
    assert RequestTemplate("claude-haiku-5-5", 1_024, "", {}).room_bytes > 1_900_000
    assert RequestTemplate("claude-of-tomorrow-9", 1_024, "Sort it.", {}).room_bytes == template.room_bytes


def test_what_teaches_an_adapter_was_read_at_once(tmp_path: Path) -> None:
    windows, ends, plain = question(tmp_path, how="windows"), question(tmp_path, how="head_tail"), question(tmp_path)
    for asked, taught in ((windows, ["doc-1"]), (ends, ["doc-0", "doc-1"]), (plain, ["doc-0", "doc-1"])):
        kept = read_at_once(asked.job, plan(asked, LONG, "short"))
        assert kept["document_id"].to_pylist() == taught


def test_the_budget_holds_the_worst_case_of_what_is_sent_and_not_of_what_claude_has_no_room_for(
    tmp_path: Path,
) -> None:
    escalation = {"model": "claude-haiku-4-5", "provider": "simulation"}
    job = tickets_job(
        tmp_path,
        model="starter",
        long_documents={"how": "windows"},
        quality={"raw_threshold": 0.9},
        escalation=escalation,
        evaluation={"gold_column": "label"},
    )
    run = SimpleNamespace(job=job, question=LabelQuestion(job, resolve_model("starter")), run_id="run_1", store=None)
    provider = SimpleNamespace(minimum_requests=1, price_provider="anthropic")
    builder = RequestBuilder(run, None, None, provider)  # type: ignore[arg-type]  # what sending needs is not asked for
    room = builder.room_bytes(0)
    short, full, beyond = builder.worst_costs_usd(np.array([100, room, 10 * room]))
    assert short < full == beyond
