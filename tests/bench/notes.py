"""Does an adapter help a model that nobody here trained? The sample notes, with real engines.

    python -m tests.bench.notes FOLDER [--limit 900]

FOLDER holds a small general model, such as SmolLM2-135M-Instruct. Run 1 is over one half of the notes; `pipeline adapt`
trains on its labels; run 2 is over the other half, with the adapter, if the gate lets it through.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from tests.scenarios.pipeline_command import REPOSITORY, PipelineCommand

_WAIT_SECONDS = 4 * 3600


def show(name: str, run: dict[str, Any]) -> None:
    """What a run asked, and how often its answers were right."""
    summary = run["summary"]
    print(f"{name}: {summary['routes']} {summary['accuracy']}", flush=True)


def main() -> None:
    """Play both runs, and print what the gate says between them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--limit", type=int, default=900, help="notes of each half")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        notes = yaml.safe_load((REPOSITORY / "sample_data/jobs/notes.yaml").read_text())
        notes |= {"input": str(REPOSITORY / notes["input"]), "output": str(home / "out")}
        notes["model"]["source"] = str(arguments.model.resolve())
        job, adapter = home / "job.yaml", home / "adapter"
        job.write_text(yaml.safe_dump(notes, sort_keys=False))
        pipeline, limit = PipelineCommand(home), ("--limit", str(arguments.limit))
        first = pipeline.run_json("submit", job, *limit, timeout=_WAIT_SECONDS)
        show("run 1", first)
        started = time.monotonic()
        done = pipeline.run("adapt", first["run_id"], "-o", adapter, "--json", timeout=_WAIT_SECONDS)
        minutes = (time.monotonic() - started) / 60
        gib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
        if done.returncode not in (0, 1) or not done.stdout:
            raise SystemExit(done.stderr)
        adapted = json.loads(done.stdout)
        print(f"adapt: {minutes:.1f} minutes; the largest process so far held {gib:.1f} GiB")
        print(json.dumps({"labels": adapted["label_counts"], "gate": adapted["gate"]}, indent=2))
        if not adapted["is_better"]:
            print("the gate lets no adapter through: run 2 would be without one")
            return
        second_half = REPOSITORY / "sample_data/notes/second_half.jsonl.gz"
        options = (*limit, "--input", second_half, "--adapter", adapter)
        show("run 2", pipeline.run_json("submit", job, *options, timeout=_WAIT_SECONDS))


if __name__ == "__main__":
    main()
