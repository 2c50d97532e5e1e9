"""Escalation at size: 10,000 and 100,000 doubtful items through the local service.

    python -m tests.bench.escalation [--items 10000 100000]

Prints the seconds, the peak memory of the pipeline's process, and how many requests the service saw. The service
shares the machine, and answers at once: the figures are about our side, not about how long Claude takes.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

from tests.faults.escalation_case import escalate_once, in_child, prepare
from tests.infra.message_batches_server import Server

CHUNK_ITEMS = 4_000


def measure(items: int, folder: Path) -> None:
    """One run of one size."""
    escalation = {"model": "claude-haiku-4-5", "provider": "simulation", "chunk_items": CHUNK_ITEMS}
    assert in_child(partial(prepare, folder, items, escalation=escalation)) == 0
    report = folder / "report.txt"

    def work() -> None:
        started = time.monotonic()
        escalate_once(str(folder / "run"), server.url, "never")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        report.write_text(f"{time.monotonic() - started:.1f} s, peak memory of the process {peak:.0f} MiB")

    with Server(folder / "service", "--answer-key", str(folder / "answers.jsonl"), "--error-rate", "0.03") as server:
        assert in_child(work) == 0
        log = server.control("log")["requests"]
    calls = Counter(f"{entry['method']} {entry['path'].split('?')[0].split('msgbatch_')[0]}" for entry in log)
    print(f"{items:>9,} items: {report.read_text()}; {sum(calls.values())} requests: {dict(calls)}", flush=True)


def main() -> None:
    """Measure each size in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000])
    for items in parser.parse_args().items:
        with tempfile.TemporaryDirectory() as temporary:
            measure(items, Path(temporary) / "case")


if __name__ == "__main__":
    main()
