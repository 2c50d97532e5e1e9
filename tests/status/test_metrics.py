"""The list of metrics: well-formed names with units, nothing of documents in a label, what is not known left out."""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.results import ROUTES
from pipelines.status.looking import RunLooker
from pipelines.status.metrics import METRICS, known_values
from tests.made_up_run import accepted, failed, write_run
from tests.status.run_under_way import NOW, RunUnderWay


def values(looker: RunLooker) -> dict[tuple[str, str | None], float]:
    return {(metric.name, label): value for metric, label, value in known_values(looker.look(True, NOW))}


def test_names_are_prometheus_names_each_once_and_each_has_a_unit_and_a_meaning() -> None:
    assert all(re.fullmatch(r"sluice_run_[a-z_]+[a-z]", metric.name) for metric in METRICS)
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert all(metric.unit and metric.about.endswith(".") for metric in METRICS)


def test_what_is_not_known_is_left_out_and_never_zero(tmp_path: Path) -> None:
    run = RunUnderWay(tmp_path, hour_usd=None)
    run.plan_is_whole(shards=4, items=40)
    run.score(range(2))
    found = values(RunLooker(run.store))
    assert found["sluice_run_scored_items", None] == 20
    assert ("sluice_run_cost_usd", "engine") not in found
    assert ("sluice_run_devices", None) not in found
    assert (found["sluice_run_stage", "score"], found["sluice_run_stage", "ask"]) == (1, 0)


def test_labels_are_words_of_ours(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [[accepted(1, answer="SECRET", document_id="SECRET"), failed(2, reason="SECRET")]])
    found = values(RunLooker(RunUnderWay(tmp_path / "run").store))
    assert {label for _, label in found} <= {
        None, *ROUTES, "plan", "score", "ask", "publish", "complete", "engine", "claude", "open", "answered",
    }  # fmt: skip
    assert found["sluice_run_published_items", "failed"] == 1
