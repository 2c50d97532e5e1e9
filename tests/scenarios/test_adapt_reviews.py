"""The loop closed for code reviews: run 1, `pipeline adapt`, and run 2 over other diffs with the adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.run import open_run
from flows.stages.planning import read_plan
from pipelines.scored_parts import predictions_of, read_scored_part
from pipelines.settings import settings
from tests.bench.verification import play

pytestmark = [pytest.mark.prove, pytest.mark.hours, pytest.mark.engine, pytest.mark.timeout(7_200)]

DIFFS = 800


def findings_of(root: Path) -> dict[str, Any]:
    """What was written of each item, without how sure the verification was."""
    run = open_run(str(root))
    plan = read_plan(run)
    assert plan
    rows = [
        row for shard in range(plan.shards) for row in predictions_of(read_scored_part(run.store, shard)).to_pylist()
    ]
    return {
        row["item_id"]: [(each["path"], each["line"], each["category"]) for each in row["findings"]] for row in rows
    }


def test_run_2_asks_less_with_a_verification_that_run_1_has_taught_and_its_reviews_are_written_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path / "state"))
    settings.cache_clear()
    found = play(tmp_path, DIFFS, 0, "gold")
    print(found)
    first, plain, adapted = (found[name] for name in ("run 1", "run 2, no adapter", "run 2, adapter"))
    assert adapted["asked"] < min(first["asked"], plain["asked"])
    assert adapted["claims_right"] > plain["claims_right"]
    assert adapted["rule"] == 0.85, "the promise is kept by labels of its own"
    written = [findings_of(tmp_path / "out" / run_id) for run_id in ("run-2", "run-2-gold")]
    same = [written[0][item_id] == written[1][item_id] for item_id in written[0]]
    # Other prompts beside them round otherwise; an adapter that wrote would change far more.
    assert sum(same) >= 0.95 * len(same)
    settings.cache_clear()
