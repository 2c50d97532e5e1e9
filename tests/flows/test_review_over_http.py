"""A run of a code review whose first tier is a server: planned, asked, decided, published, read again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from flows.deciding.item_by_item import decide_item_by_item
from flows.preflight.surroundings import check_surroundings
from flows.run import Run, open_run, prepare_run
from flows.stages import publishing
from flows.stages.review import publish_review
from infra.local.first_tier.__main__ import server_of
from infra.local.first_tier.vllm_service import VllmService
from pipelines.job.job import Job
from pipelines.store import layout
from pipelines.store.schemas import RESULTS, read_part
from tests.faults.escalation_case import quiet
from tests.flows.test_over_http import scored

pytestmark = pytest.mark.processes  # a server, in a thread

REPOSITORY = Path(__file__).parents[2]
DIFF = "--- a/shop/{0}.py\n+++ b/shop/{0}.py\n@@ -1,2 +1,3 @@\n def find(name):\n+    b = {1}\n     return name\n"


@pytest.fixture
def address() -> Iterator[str]:
    server = server_of(VllmService(REPOSITORY / "sample_data/review_model", context_tokens=2_048))
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    serving.join()
    server.server_close()


def begin(folder: Path, address: str, **model: Any) -> Run:
    (folder / "diffs").mkdir(exist_ok=True)
    for number in range(12):
        (folder / f"diffs/{number:02}.diff").write_text(DIFF.format(f"orders_{number}", number))
    job = Job.model_validate(
        {
            "name": "over-http",
            "task": "code_review",
            "input": str(folder / "diffs"),
            "output": str(folder),
            "model": {"endpoint": address, "name": "stand-in", "where": "own", "price": {"input": 1}} | model,
            "review": {"max_output_tokens": 200},
            "quality": {"raw_threshold": 0.6},
            "escalation": "off",
        }
    )
    return prepare_run(job, check_surroundings(job), "run")


def test_every_diff_has_its_review_its_findings_and_what_the_server_took(tmp_path: Path, address: str) -> None:
    run = begin(tmp_path, address)
    plan = scored(run)
    assert run.rule
    decide_item_by_item(run, plan, run.rule)
    publishing.publish_scored(run, plan, quiet())
    table = pa.concat_tables(read_part(run.store.read(key), RESULTS.names) for key in run.store.list(layout.RESULTS))
    rows = table.to_pylist()
    assert len(rows) == 12 and {row["engine_answer"] for row in rows} <= {"faulty", "clean"}
    assert all(row["cost_usd"] == row["first_tier_cost_usd"] == Decimal(row["input_tokens"]) / 10**6 for row in rows)
    assert all(row["gpu_seconds"] is None for row in rows)
    record = publish_review(run, plan)
    assert record.findings == sum(len(row["findings"]) for row in rows) > 0
    assert (record.reviewed_items, record.verification_share, record.verification_cached_share) == (12, None, 0.0)
    written = json.loads(run.store.read(layout.RUN))["first_tier"]
    assert written["way"] == "prompt_ids" and written["review_suffix"]


def test_going_on_with_a_run_asks_nobody_what_was_found(tmp_path: Path, address: str) -> None:
    run = begin(tmp_path, address)
    again = open_run(run.store.root)
    assert again.question.engine_fingerprint == run.question.engine_fingerprint
    assert again.question.document_tokens == run.question.document_tokens
