"""What is read of a run's store for its page: counts over many small parts, and texts no further than needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import StoreError
from pipelines.report.html.reported_run import read_run
from pipelines.store import layout
from tests.report.html.kinds_of_runs import KINDS
from tests.report.html.made_run import make_run, row


def test_batches_are_counted_and_those_sent_again_apart(tmp_path: Path) -> None:
    store = make_run(tmp_path, [row(1)])
    for chunk, name in ((0, "submitted-00.json"), (0, "submitted-01.json"), (1, "submitted-00.json")):
        store.create(layout.chunk_object(chunk, name), b"{}")
    store.create(layout.chunk_object(2, "intent-00.json"), b"{}")
    batches = read_run(store).batches
    assert (batches.sent, batches.again) == (2, 1)


def test_texts_are_read_of_the_sampled_items_and_no_plan_part_too_many(tmp_path: Path) -> None:
    rows = [row(n) for n in range(40)]
    store = make_run(tmp_path, rows, texts={f"doc-{n}": f"text {n}" for n in range(40)})
    Path(store.root, layout.plan_part(1)).write_bytes(b"never read: all that was wanted is in the first part")
    run = read_run(store, with_texts=True)
    assert run.texts is not None
    assert set(run.texts) == {each["item_id"] for each in run.figures.samples["accepted"]}
    assert read_run(store).texts is None


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    store = KINDS["kept"](tmp_path)
    Path(store.root, layout.SUMMARY).unlink()
    with pytest.raises(StoreError, match=r"summary.json' is missing"):
        read_run(store)
