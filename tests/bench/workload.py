"""The documents that are measured, committed as a run of the product: every row reads the same plan.

In: how many documents, which model. Out: the root of a run whose job and plan are committed and nothing else.
The first shards are for warming up; no engine is shown a document twice.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import yaml
from rich.console import Console

from flows.console.progress import ProgressReporter
from flows.run import Run, open_run, prepare_run
from flows.stages.planning import PlanSummary, plan_documents
from pipelines.documents.readers.readers import read_documents
from pipelines.documents.records import RowColumns
from pipelines.documents.sources.sources import list_sources
from pipelines.job.job_file import load_job
from pipelines.store import layout
from pipelines.store.schemas import from_arrow
from tests.bench.children import REPOSITORY
from workers.engines.catalogue import catalogue

TICKETS_JOB = REPOSITORY / "sample_data/jobs/tickets.yaml"
HELDOUT = REPOSITORY / "sample_data/tickets/heldout"
_TRAIN = REPOSITORY / "sample_data/tickets/train.jsonl.gz"
# Every engine and both of an actor's calls get some, twice over.
WARM_SHARDS = 8
_WARM_SHARE = 8
# A longer one (1 in 50) might not fit the starter's context: the product cuts it, `LLM.chat` refuses the whole call.
_MAX_CHARACTERS = 3_500
_MAX_MODEL_LEN = 2_048  # of models that are not in the catalogue


@dataclass(frozen=True)
class Workload:
    """A planned run and its measured part."""

    run: Run
    plan: PlanSummary

    @property
    def measured_shards(self) -> range:
        """The shards that count."""
        return range(WARM_SHARDS, self.plan.shards)

    def table(self, shards: range) -> pa.Table:
        """Items of some shards, in the plan's order."""
        return pa.concat_tables(from_arrow(self.run.store.read(layout.plan_part(shard))) for shard in shards)


def open_workload(root: str) -> Workload:
    """Open what `make_workload` made, or a copy of it."""
    run = open_run(root)
    return Workload(run, PlanSummary.model_validate_json(run.store.read(layout.PLAN_COMPLETE)))


def make_workload(folder: Path, documents: int, model: str, is_eager: bool) -> Workload:
    """Write the documents as JSONL and have the product plan them."""
    path = folder / "input" / "documents.jsonl"
    path.parent.mkdir(parents=True)
    texts = _texts(documents + documents // _WARM_SHARE)
    rows = (json.dumps({"id": f"doc-{number}", "text": text}) + "\n" for number, text in enumerate(texts))
    path.write_text("".join(rows), encoding="utf-8")
    job = load_job(write_job(folder / "job.yaml", path, folder / "runs", model, {"enforce_eager": is_eager}))
    run = prepare_run(job, list_sources(job.input))
    plan = plan_documents(run, ProgressReporter(Console(file=io.StringIO())))
    workload = Workload(run, plan)
    table = workload.table(range(plan.shards))
    assert table["note"].null_count == table["tokens"].length() - table["tokens"].null_count == plan.items
    return workload


def write_job(path: Path, documents: Path, output: Path, model: str, engine: dict[str, object] | None = None) -> Path:
    """The sample job on other documents, without escalation; ``model`` is a catalogue name or a folder."""
    known = catalogue().models.get(model)
    source = known.source if known else model
    arguments = {**(known.engine if known else {"max_model_len": _MAX_MODEL_LEN}), **(engine or {})}
    job = yaml.safe_load(TICKETS_JOB.read_text(encoding="utf-8")) | {
        "input": str(documents),
        "output": str(output),
        "model": {"source": source, "engine": arguments},
        "escalation": "off",
        "quality": "off",
        "evaluation": None,
    }
    output.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(job), encoding="utf-8")
    return path


def _texts(count: int) -> list[str]:
    """Train documents for the excess over the held-out ones, and first: warming up takes from the front."""
    heldout = list(read_texts(HELDOUT))[:count]
    train = [text for text, _ in zip(read_texts(_TRAIN), range(count - len(heldout)), strict=False)]
    if len(train) + len(heldout) < count:
        raise SystemExit(f"only {len(train) + len(heldout):,} sample documents are there; ask for fewer --documents")
    return train + heldout


def read_texts(location: Path, max_characters: int = _MAX_CHARACTERS) -> Iterator[str]:
    """Texts of sample documents, as the product's readers see them."""
    for source in list_sources(str(location)):
        for document in read_documents(source, RowColumns(), max_document_bytes=1_000_000):
            if document.text is not None and len(document.text) <= max_characters:
                yield document.text
