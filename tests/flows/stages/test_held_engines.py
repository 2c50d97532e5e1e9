"""How long engines were held is counted in device-seconds, as the time in which they were busy is."""

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from rich.console import Console

from flows.console.progress import ProgressReporter
from flows.stages import scoring
from pipelines.report.prompts import CachePromise
from pipelines.store import layout
from pipelines.store.objects import Store
from workers.engines.fitting.prefix import PrefixReuse

POOL = SimpleNamespace(
    engines=2,
    devices=8,  # four GPUs each
    held_seconds=10.0,
    start_seconds=4.0,
    room_note=None,
    reuse=None,
    wait_ready=lambda _: True,
    score=lambda *_: None,
)


def run_of(store: Store, labels: int = 2) -> Any:
    question = SimpleNamespace(shards_in_flight=lambda *_: 1)
    job = SimpleNamespace(labels=dict.fromkeys(map(str, range(labels))))
    return SimpleNamespace(has_engine=True, store=store, questions=(), question=question, job=job)


def test_an_engine_of_several_devices_holds_them_all(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    run = run_of(store)
    scoring.score_shards(run, scoring.PlannedShards(run), cast(Any, POOL), ProgressReporter(Console(quiet=True)))
    assert scoring.held_device_seconds(store) == 80


def test_sessions_of_earlier_versions_are_read_as_they_were_written(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for number, engines in enumerate((1, 3)):
        session = {"engines": engines, "held_seconds": 2.0, "start_seconds": 1.0}
        store.create(layout.engine_time(number), json.dumps(session).encode())
    assert scoring.held_device_seconds(store) == 8


def test_that_the_prefix_cache_is_off_is_said_and_what_it_promises_is_written_down(tmp_path: Path) -> None:
    store, shown = Store(str(tmp_path)), io.StringIO()
    run = run_of(store)
    pool = SimpleNamespace(**{**vars(POOL), "reuse": PrefixReuse(tokens=300, block=528, is_on=False)})
    progress = ProgressReporter(Console(file=shown, width=200))
    scoring.score_shards(run, scoring.PlannedShards(run), cast(Any, pool), progress)
    assert "cache     off: the prompts share 300 tokens, and the model keeps blocks of 528" in shown.getvalue()
    assert scoring.cache_promise(store) == CachePromise(tokens=0, engines=2)


def test_that_memory_keeps_engines_out_is_said(tmp_path: Path) -> None:
    shown, run = io.StringIO(), run_of(Store(str(tmp_path)))
    pool = SimpleNamespace(**{**vars(POOL), "room_note": "no more, by memory"})
    progress = ProgressReporter(Console(file=shown, width=200))
    scoring.score_shards(run, scoring.PlannedShards(run), cast(Any, pool), progress)
    assert "engines   no more, by memory" in shown.getvalue()


def test_that_a_document_is_asked_about_more_than_once_is_said(tmp_path: Path) -> None:
    for labels, told in (
        (128, None),
        (300, "labels          300, in 3 requests a document, each with the same prompt"),
    ):
        shown = io.StringIO()
        run = run_of(Store(str(tmp_path / str(labels))), labels)
        progress = ProgressReporter(Console(file=shown, width=200))
        scoring.score_shards(run, scoring.PlannedShards(run), cast(Any, POOL), progress)
        lines = [line.rstrip() for line in shown.getvalue().splitlines() if line.startswith("labels")]
        assert lines == ([told] if told else [])
