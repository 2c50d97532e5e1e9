"""Is the second review cheaper? Two runs over sample diffs for a team to which security alone is a finding.

    python -m tests.bench.verification [--diffs 800] [--seed 0] [--source gold] [--folder .cache/verification]

The sample review model was made for all faults of `sample_data/code_source`; of these diffs, the known faults are
those of security, so that whatever else it finds is no finding here. Run 1 reviews half of the diffs, `pipeline adapt`
teaches the verification alone from its labels, and run 2 reviews the other half, with the adapter and without. All by
the command, with real engines. The simulated Claude answers from the same known faults: its verdicts are right, 3 in
100 of its categories and severities are not. On a machine that has other work, OMP_NUM_THREADS=1 before it trains
faster.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

from flows.deciding.review_labels import read_labelled_reviews
from flows.run import open_run
from pipelines.adapting.reviews import own_answers
from sample_data.code_source.changes import make_diff
from sample_data.generate_code import DEFAULT_SEED, make_tree
from tests.scenarios.pipeline_command import PipelineCommand

# The categories of security; of what the sample model finds, a little more than half.
SECURITY = frozenset(
    {
        *("sql-injection", "command-injection", "code-injection", "unsafe-deserialization", "path-traversal"),
        *("cross-site-scripting", "server-side-request-forgery", "open-redirect", "hardcoded-secret"),
        *("secret-in-log", "weak-cryptography", "disabled-certificate-check", "missing-authorization"),
    }
)
TARGET = {"target": 0.85, "assurance": 0.9, "audit_items": 10}


@dataclass(frozen=True)
class Half:
    """A folder of diffs, and the file of what is a fault in them by now."""

    diffs: Path
    faults: Path


def write_halves(folder: Path, diffs: int, seed: int) -> tuple[Half, Half]:
    """The same diffs for the same seed, none of them in both halves."""
    generator, tree = random.Random(f"verification {seed}"), make_tree(DEFAULT_SEED)
    made = {diff.text: diff for diff in itertools.islice(_diffs(generator, tree), diffs * 3)}
    chosen = list(made.values())[:diffs]
    halves = Half(folder / "diffs-1", folder / "faults-1.jsonl"), Half(folder / "diffs-2", folder / "faults-2.jsonl")
    for number, half in enumerate(halves):
        half.diffs.mkdir(parents=True, exist_ok=True)
        lines = []
        for place, diff in enumerate(chosen[number::2]):
            name = f"{place:04}.diff"
            (half.diffs / name).write_text(diff.text, encoding="utf-8")
            kept = [fault for fault in diff.faults if fault.category in SECURITY]
            places = [{"path": each.path, "line": each.line, "end_line": each.end_line} for each in kept]
            rows = [at | {"category": each.category} for at, each in zip(places, kept, strict=True)] or [{}]
            lines += [json.dumps({"document_id": name} | row) + "\n" for row in rows]
        half.faults.write_text("".join(lines), encoding="utf-8")
    return halves


def _diffs(generator: random.Random, tree: Any) -> Iterator[Any]:
    while True:
        yield make_diff(generator, True, tree)


def write_job(path: Path, half: Half, output: Path, **changes: Any) -> Path:
    """A review of one half by the sample model, under a target."""
    job = {
        "name": "security-alone",
        "task": "code_review",
        "input": str(half.diffs),
        "output": str(output),
        "model": "review-starter",
        "review": {"max_output_tokens": 200},
        "quality": TARGET,
        "escalation": {"model": "claude-haiku-5-5", "provider": "simulation"},
        "evaluation": {"faults_file": str(half.faults)},
        "compute": {"device_hour_usd": 0.05},
    }
    path.write_text(yaml.safe_dump(job | changes, sort_keys=False), encoding="utf-8")
    return path


def claims_right(root: str) -> tuple[float, int]:
    """The share of a run's claims that its engine answered as the known faults do, and how many there are."""
    right = [
        np.equal(np.array(each.is_true), own_answers(each.claims, each.review))
        for each in read_labelled_reviews(open_run(root), ["gold"])
        if each.source == "gold"
    ]
    all_claims = np.concatenate(right)
    return float(all_claims.mean()), len(all_claims)


def figures(outcome: Any) -> dict[str, Any]:
    """What a run came to."""
    root, routes = Path(outcome["root"]), outcome["summary"]["routes"]
    items = sum(route["items"] for route in routes.values())
    right, claims = claims_right(str(root))
    review = json.loads((root / "review/summary.json").read_text())
    return {
        "diffs": items,
        "asked": routes["escalated"]["items"] / items,
        "claims": claims,
        "claims_right": right,
        "verification_share": review["verification_share"],
        "verification_cached_share": review["verification_cached_share"],
        "rule": json.loads((root / "calibration/rule.json").read_text())["agreement_lower"],
    }


def play(folder: Path, diffs: int, seed: int, source: str) -> dict[str, Any]:
    """Run 1, the training, and run 2 with and without what it brought."""
    first, second = write_halves(folder, diffs, seed)
    pipeline, adapter = PipelineCommand(folder), folder / f"adapter-{source}"

    def submit(half: Half, run_id: str, *options: str | Path) -> Any:
        job = write_job(folder / f"{run_id}.yaml", half, folder / "out")
        done = pipeline.run("submit", job, "--run-id", run_id, *options, "--json", timeout=3_000)
        assert done.returncode == 0, done.stderr + pipeline.log()
        return json.loads(done.stdout)

    found = {"run 1": figures(submit(first, "run-1"))}
    adapted = pipeline.run("adapt", "run-1", "-o", adapter, "--from", source, "--json", timeout=3_000)
    print(adapted.stdout or adapted.stderr)
    found["run 2, no adapter"] = figures(submit(second, "run-2"))
    if adapted.returncode == 0:
        found["run 2, adapter"] = figures(submit(second, f"run-2-{source}", "--adapter", adapter))
    return found


def main() -> None:
    """Play one seed, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--diffs", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--source", default="gold")
    parser.add_argument("--folder", type=Path, default=Path(".cache/verification"))
    arguments = parser.parse_args()
    folder = (arguments.folder / f"{arguments.diffs}-{arguments.seed}").resolve()
    found = play(folder, arguments.diffs, arguments.seed, arguments.source)
    table = Table("", "diffs", "asked", "claims right", "of engines' time to verify", "of its tokens from the cache")
    for name, row in found.items():
        table.add_row(
            name,
            f"{row['diffs']:,}",
            f"{row['asked']:.1%}",
            f"{row['claims_right']:.1%} of {row['claims']:,}",
            f"{row['verification_share']:.1%}",
            f"{row['verification_cached_share']:.1%}",
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
