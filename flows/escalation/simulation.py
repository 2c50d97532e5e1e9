"""The local Message Batches service, run for one run when its provider is `simulation`.

It answers from the gold labels with a stated error rate: no Claude, no key, no money. The real SDK and the real
protocol are used all the same.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from flows.escalation.request_texts import request_texts
from flows.run import Run
from pipelines.errors import ProviderError
from pipelines.settings import environment_without_keys
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import from_arrow
from pipelines.tasks.code_review.categories import categories
from pipelines.tasks.code_review.labelled_faults import Fault, read_labelled_faults

# The local service lists a batch the moment it takes it; this covers the slowest create on a busy machine.
SETTLE_SECONDS = 6.5
POLL_SECONDS = 0.05
NOTICE = "SIMULATION: answers come from the gold labels through a local service; no Claude is asked, nothing is billed"


def write_answer_key(store: Store, shards: int, path: Path) -> None:
    """Write what the service may answer: the hash of each document's text and its gold label."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as stream:
        for shard in range(shards):
            plan = from_arrow(store.read(layout.plan_part(shard)), columns=["text", "gold_label"])
            known = plan.filter(
                pa.compute.and_(pa.compute.is_valid(plan["text"]), pa.compute.is_valid(plan["gold_label"]))
            )
            for row in known.to_pylist():
                digest = hashlib.sha256(str(row["text"]).encode()).hexdigest()
                stream.write(json.dumps({"text_sha256": digest, "answer": {"label": row["gold_label"]}}) + "\n")


def write_review_answer_key(run: Run, shards: int, path: Path) -> None:
    """The same for a code review: what the known faults of each document come to as a list of findings."""
    assert run.job.evaluation and run.job.evaluation.faults_file
    labelled = read_labelled_faults(run.job.evaluation.faults_file)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as stream:
        for shard in range(shards):
            plan = from_arrow(run.store.read(layout.plan_part(shard)), columns=["item_id", "document_id", "gold_label"])
            texts = request_texts(run, shard)
            for row in plan.filter(pa.compute.is_valid(plan["gold_label"])).to_pylist():
                if row["item_id"] in texts:
                    digest = hashlib.sha256(texts[row["item_id"]].encode()).hexdigest()
                    findings = [_as_finding(fault) for fault in labelled.of_document(row["document_id"])]
                    stream.write(json.dumps({"text_sha256": digest, "answer": {"findings": findings}}) + "\n")


def _as_finding(fault: Fault) -> dict[str, Any]:
    return {
        "path": fault.path,
        "line": fault.line,
        "end_line": fault.end_line,
        "category": fault.category,
        "severity": fault.severity,
        "message": categories()[fault.category].description,
        "suggestion": categories()[fault.category].advice,
    }


@contextmanager
def running_service(state: Path, answer_key: Path, error_rate: float) -> Iterator[str]:
    """Run the service as a child process; yields its URL. Its state stays in ``state`` for the next start.

    Raises:
        ProviderError: it does not start.
    """
    command = [
        # -P: the folder it runs in must not be searched for modules.
        *(sys.executable, "-P", "-m", "infra.local.message_batches"),
        *("--state", str(state), "--answer-key", str(answer_key), "--error-rate", str(error_rate)),
        "--exit-with-parent",
    ]
    process = subprocess.Popen(  # noqa: S603  # our own words
        command, stdout=subprocess.PIPE, text=True, env=environment_without_keys()
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise ProviderError(f"the local simulation does not start (exit code {process.wait()}); see the log")
        yield str(json.loads(line)["url"])
    finally:
        process.terminate()
        process.wait()
