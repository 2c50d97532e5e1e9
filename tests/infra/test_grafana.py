"""The dashboard shows metrics that exist, by labels that they have; and every metric is on it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pipelines.status.metrics import METRICS, RUN_LABEL

DASHBOARD: dict[str, Any] = json.loads((Path(__file__).parents[2] / "infra/grafana/sluice-runs.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
QUERIES = [each["definition"] for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]
NAMES = {metric.name for metric in METRICS}


def test_the_dashboard_names_the_metrics_that_there_are_and_all_of_them() -> None:
    assert {name for text in (*EXPRESSIONS, *QUERIES) for name in re.findall(r"sluice_\w+", text)} == NAMES


def test_it_tells_values_apart_by_labels_that_the_metrics_have() -> None:
    labels = {metric.name: {RUN_LABEL} | ({metric.label} if metric.label else set()) for metric in METRICS}
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            used = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            used |= {name.strip() for by in re.findall(r"by \(([^)]*)\)", target["expr"]) for name in by.split(",")}
            for name in re.findall(r"sluice_\w+", target["expr"]):
                assert used <= labels[name], (panel["title"], name)
                assert f'{name}{{run=~"$run"}}' in target["expr"], panel["title"]


def test_its_panels_do_not_lie_on_each_other() -> None:
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
