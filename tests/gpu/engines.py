"""The table of one GPU: items and tokens a second, ours against `LLM.generate`, share of the card's measured peak.

``python -m tests.gpu.engines [--arms NAME…] [--seconds N] [--out FOLDER]``: every arm in a process of its own, in
waves that start together, as long as the time lasts. No weights, no network: shapes of `tests.gpu.shapes`,
``load_format: dummy``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from tests.gpu.arm import Arm
from tests.gpu.shapes import SHAPES

_NO_CACHE = {"enable_prefix_caching": False}
# vLLM's own choice on Hopper is FlashInfer's kernel, which is compiled on first use and was not carried.
_HYBRID = {"gdn_prefill_backend": "triton"}
# A hybrid model with graphs of whole steps wants a block of its cache for each of `max_num_seqs` requests, or refuses.
_NO_GRAPHS = {"compilation_config": {"cudagraph_mode": "NONE"}}
_HYBRID_OFF = _HYBRID | _NO_CACHE | _NO_GRAPHS
# Some 139 GiB in a wave: weights, caches, and about 6 GiB of an engine's own.
ARMS = [
    Arm("9B hybrid, caching off", "Qwen3.5-9B", 1, engine=_HYBRID_OFF, documents=1024, rounds=1),
    Arm(
        "9B hybrid, frame of 600", "Qwen3.5-9B", 1, 15, engine=_HYBRID | _NO_GRAPHS, frame=600, documents=1024, rounds=1
    ),
    Arm("9B hybrid, caching on", "Qwen3.5-9B", 1, 15, engine=_HYBRID | _NO_GRAPHS, documents=1024, rounds=1),
    Arm("35B-A3B hybrid, caching off", "Qwen3.5-35B-A3B", 2, engine=_HYBRID_OFF, documents=1024, rounds=1),
    Arm("8B, in process", "Qwen3-8B", 2, engine=_NO_GRAPHS, rounds=1, written=True),
    Arm("0.6B, engine process", "Qwen3-0.6B", 3, kv_gib=6, processes=True, documents=4096, queued=(512,), reviews=768),
    Arm("0.6B, in process", "Qwen3-0.6B", 3, kv_gib=6, documents=4096, queued=(512,)),
    Arm("0.6B, in process, no graphs", "Qwen3-0.6B", 3, kv_gib=6, engine=_NO_GRAPHS, documents=4096),
    Arm("8B, engine process", "Qwen3-8B", 3, kv_gib=30, processes=True, documents=1024, rounds=1, reviews=512),
    Arm("8B, in process, reviews", "Qwen3-8B", 3, kv_gib=30, documents=1024, rounds=1, reviews=512),
]
_LEAST_SECONDS = 100  # for a wave to start and tell anything
_MORE = ("short", "written", "profile", "reviews")
_PEAK = """
import torch
a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
for _ in range(5): a @ b
start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
start.record()
for _ in range(20): a @ b
end.record(); torch.cuda.synchronize()
print(2 * 8192**3 * 20 / start.elapsed_time(end) * 1e3)
"""


@dataclass
class _Running:
    """An arm in a process of its own; its engine's processes are of its session, and end with it."""

    arm: Arm
    answer: Path
    log: Path

    def __post_init__(self) -> None:
        command = [sys.executable, "-m", "tests.gpu.arm", json.dumps(asdict(self.arm)), str(self.answer)]
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True
            )

    def has_started(self) -> bool:
        """Whether it waits for its turn, or has ended."""
        return self.answer.with_suffix(".ready").exists() or self.process.poll() is not None

    def measure(self, ends: float) -> dict[str, Any] | None:
        """Let it measure; its answer, or None."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.communicate(b"\n", timeout=max(ends - time.monotonic(), 1))
        self.kill()
        return json.loads(self.answer.read_text(encoding="utf-8")) if self.answer.exists() else None

    def kill(self) -> None:
        """It, and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _measure_wave(arms: Sequence[Arm], ends: float, folder: Path) -> Iterator[dict[str, Any]]:
    """Start engines side by side, which takes most of an arm's time; measure one after the other."""
    started = time.monotonic()
    running = [
        _Running(arm, folder / f"arm-{ARMS.index(arm)}.json", folder / f"arm-{ARMS.index(arm)}.log") for arm in arms
    ]
    try:
        while not all(each.has_started() for each in running) and time.monotonic() < ends:
            time.sleep(0.2)
        print(f"wave started in {time.monotonic() - started:.0f} s", flush=True)
        for each in running:
            began = time.monotonic()
            if answer := each.measure(ends):
                print(f"{each.arm.name}: {time.monotonic() - began:.0f} s", flush=True)
                yield answer
            else:
                print(f"FAILED: {each.arm.name}\n{each.log.read_text()[-1500:]}", flush=True)
    finally:
        for each in running:
            each.kill()


def _row(answer: dict[str, Any], peak: float | None) -> str:
    arm = answer["arm"]
    raw, ours = ([turn["items_per_second"] for turn in answer[side]] for side in ("raw", "ours"))
    last = answer["ours"][-1]
    uncached = fmean(turn["tokens_per_second"] * (1 - turn["cached_share"]) for turn in answer["ours"])
    flops = 2 * SHAPES[arm["shape"]].parameters_per_token * uncached
    idle = answer.get("profile", {}).get("idle_share")
    cells = [
        arm["name"],
        f"{answer['start_seconds']:.0f}",
        f"{fmean(raw):.1f}",
        f"{fmean(ours):.1f}",
        f"{fmean(ours) / fmean(raw):.3f}",
        f"{fmean(turn['tokens_per_second'] for turn in answer['ours']):,.0f}",
        f"{last['cached_share']:.0%}",
        f"{flops / peak:.0%}" if peak else "",
        "" if last["busy"] is None else f"{last['busy']:.0%}",
        "" if idle is None else f"{idle:.1%}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure the arms named, print the table last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arms", nargs="*", default=[arm.name for arm in ARMS])
    parser.add_argument("--seconds", type=float, default=1_800)
    parser.add_argument("--out", type=Path, default=Path("gpu_bench"))
    arguments = parser.parse_args()
    ends = time.monotonic() + arguments.seconds
    arguments.out.mkdir(parents=True, exist_ok=True)
    probe = subprocess.run([sys.executable, "-c", _PEAK], capture_output=True, text=True)
    peak = float(probe.stdout) if probe.returncode == 0 else None
    print(f"8192^3 bf16 product: {peak / 1e12:.0f} TFLOP/s" if peak else probe.stderr[-500:], flush=True)
    answers = []
    wanted = [arm for arm in ARMS if arm.name in arguments.arms]
    for _, wave in groupby(wanted, key=lambda arm: arm.wave):
        if ends - time.monotonic() < _LEAST_SECONDS:
            print(f"no time left for: {', '.join(arm.name for arm in wave)}", flush=True)
            continue
        for answer in _measure_wave(list(wave), ends, arguments.out):
            answers.append(answer)
            more = {key: value for key, value in answer.items() if key.startswith(_MORE)}
            print(json.dumps(more), _row(answer, peak), sep="\n", flush=True)
            (arguments.out / "answers.json").write_text(
                json.dumps({"peak_flops": peak, "answers": answers}), encoding="utf-8"
            )
    print("\n| arm | start, s | raw items/s | ours items/s | ours/raw | tokens/s | cached | of peak | busy | idle |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    print("\n".join(_row(answer, peak) for answer in answers))


if __name__ == "__main__":
    main()
