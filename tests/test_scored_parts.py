"""One object of a shard for all later stages: items without texts, and what the engine said of those it could read."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import InvariantError
from pipelines.scored_parts import (
    KeptParts,
    is_scored,
    items_of,
    items_of_plan,
    predictions_of,
    read_scored_part,
    scored_part,
    unscored_part,
)
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import ITEM_FIELDS, PLAN, PREDICTIONS, REVIEWS, from_arrow, to_arrow

NOW = datetime(2026, 11, 27, tzinfo=UTC)


def plan(*texts: str | None) -> pa.Table:
    """Without a text, an item has failed."""
    rows = [
        {"item_id": f"itm_{number}", "document_id": str(number), "document_uri": "u", "document_offset": number}
        | ({"failure": "empty"} if text is None else {"text": text, "tokens": [1]})
        for number, text in enumerate(texts)
    ]
    return pa.Table.from_pylist(rows, schema=PLAN)


def predictions(*numbers: int) -> pa.Table:
    names = ("input_tokens", "cached_tokens", "output_tokens", "device_nanoseconds")
    rows = [
        {"item_id": f"itm_{number}", "label_logprobs": [-0.5, -float(number)], "scored_at": NOW}
        | dict.fromkeys(names, number)
        for number in numbers
    ]
    return pa.Table.from_pylist(rows, schema=PREDICTIONS)


@given(st.lists(st.sampled_from(["", "text", "é", None]), max_size=20))
def test_what_goes_in_comes_out_whichever_items_failed(texts: list[str | None]) -> None:
    scored = [number for number, text in enumerate(texts) if text is not None]
    part = from_arrow(to_arrow(scored_part(items_of(plan(*texts)), predictions(*scored))))
    assert part["item_id"].to_pylist() == [f"itm_{number}" for number in range(len(texts))]
    assert part["text_bytes"].to_pylist() == [None if text is None else len(text.encode()) for text in texts]
    assert is_scored(part).tolist() == [text is not None for text in texts]
    assert predictions_of(part).to_pylist() == predictions(*scored).to_pylist()


def test_no_text_and_no_token_is_in_it() -> None:
    data = to_arrow(plan("a secret of some length", None))
    assert items_of_plan(data).equals(items_of(from_arrow(data)))
    assert [field.name for field in ITEM_FIELDS] == [
        *["item_id", "document_id", "document_uri", "document_offset", "gold_label", "failure", "withheld", "note"],
        "text_bytes",
    ]
    assert b"secret" not in to_arrow(scored_part(items_of_plan(data), predictions(0)))


@pytest.mark.parametrize("numbers", [(), (0,), (0, 1, 2), (2, 0), (0, 3)])
def test_predictions_of_other_items_are_refused(numbers: tuple[int, ...]) -> None:
    with pytest.raises(InvariantError):
        scored_part(items_of(plan("a", None, "c")), predictions(*numbers))


@pytest.mark.parametrize("schema", [PREDICTIONS, REVIEWS], ids=["labels", "reviews"])
def test_items_that_no_engine_was_asked_about_have_none(schema: pa.Schema, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.create(layout.predictions_part(0), to_arrow(unscored_part(items_of(plan("a", None)), schema)))
    part = read_scored_part(store, 0)
    assert (len(part), is_scored(part).sum(), len(predictions_of(part))) == (2, 0, 0)
    assert set(predictions_of(part).column_names) == set(schema.names)


def test_what_is_decided_and_published_is_read_from_the_store_once_as_far_as_it_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, read = Store(str(tmp_path)), list[str]()
    for shard in range(3):
        data = to_arrow(scored_part(items_of(plan("a", None, "c")), predictions(0, 2)))
        store.create(layout.predictions_part(shard), data)
    plain = [read_scored_part(store, shard) for shard in range(3)]
    parts = KeptParts(store, most_bytes=2 * len(data))

    def noted(key: str) -> bytes:
        read.append(key)
        return Store.read(store, key)

    monkeypatch.setattr(store, "read", noted)
    for _ in range(2):
        assert [parts.read(shard) for shard in range(3)] == plain
    assert [parts.take(shard) for shard in range(3)] == plain
    third = layout.predictions_part(2)
    assert read == [*(layout.predictions_part(shard) for shard in range(3)), third, third]
    assert [parts.read(shard) for shard in (2, 2)] == [plain[2]] * 2, "what was taken has left room"
    assert read[5:] == [third]
