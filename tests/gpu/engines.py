"""The table of one GPU: items and tokens a second, ours against `LLM.generate`, share of the card's measured peak.

``python -m tests.gpu.engines [--arms NAME…] [--seconds N] [--out FOLDER]``: every arm in a process of its own, as long
as the time lasts. No weights, no network: shapes of `tests.gpu.shapes`, ``load_format: dummy``.
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
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from tests.gpu.arm import Arm
from tests.gpu.shapes import SHAPES

_LARGE_STEPS = {"max_num_batched_tokens": 32_768, "max_num_seqs": 2_048}
_NO_CACHE = {"enable_prefix_caching": False}
# What vLLM would take needs FlashInfer, which compiles it there.
_HYBRID = {"gdn_prefill_backend": "triton"}
ARMS = [
    Arm("0.6B, in process", "Qwen3-0.6B", documents=4096, queued=(512, 2048)),
    Arm("0.6B, engine process", "Qwen3-0.6B", processes=True, documents=4096, queued=(512, 2048)),
    Arm("8B, in process", "Qwen3-8B", written=True),
    Arm("9B hybrid, caching off", "Qwen3.5-9B", engine=_HYBRID | _NO_CACHE, documents=1024, rounds=1),
    Arm("9B hybrid, caching on", "Qwen3.5-9B", engine=_HYBRID, documents=1024, rounds=1),
    Arm("8B, engine process", "Qwen3-8B", processes=True, documents=1536, rounds=1),
    Arm("8B, 32,768 tokens a step", "Qwen3-8B", engine=_LARGE_STEPS),
    Arm("35B-A3B hybrid, caching off", "Qwen3.5-35B-A3B", engine=_HYBRID | _NO_CACHE, documents=1024, rounds=1),
    Arm("9B hybrid, frame of 600", "Qwen3.5-9B", engine=_HYBRID, frame=600, documents=1024, rounds=1),
    Arm("0.6B, no graphs", "Qwen3-0.6B", engine={"compilation_config": {"cudagraph_mode": "NONE"}}, documents=4096),
]
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


def _run(arm: Arm, seconds: float, answer: Path, log: Path) -> dict[str, Any] | None:
    """Run an arm; its engine's processes are its own session's, and end with it."""
    command = [sys.executable, "-m", "tests.gpu.arm", json.dumps(asdict(arm)), str(answer)]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            print(f"out of time: {arm.name}", flush=True)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return json.loads(answer.read_text(encoding="utf-8")) if answer.exists() else None


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
    for number, arm in enumerate(ARMS):
        if arm.name not in arguments.arms:
            continue
        if (left := ends - time.monotonic()) < 30:
            print(f"no time left for: {arm.name}", flush=True)
            continue
        log = arguments.out / f"arm-{number}.log"
        started = time.monotonic()
        if (answer := _run(arm, left, arguments.out / f"arm-{number}.json", log)) is None:
            print(f"FAILED: {arm.name} after {time.monotonic() - started:.0f} s\n{log.read_text()[-1500:]}", flush=True)
            continue
        answers.append(answer)
        more = {key: value for key, value in answer.items() if key.startswith(("short", "written", "profile"))}
        print(f"{arm.name}: {time.monotonic() - started:.0f} s", json.dumps(more), flush=True)
        print(_row(answer, peak), flush=True)
        (arguments.out / "answers.json").write_text(
            json.dumps({"peak_flops": peak, "answers": answers}), encoding="utf-8"
        )
    print("\n| arm | start, s | raw items/s | ours items/s | ours/raw | tokens/s | cached | of peak | busy | idle |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    print("\n".join(_row(answer, peak) for answer in answers))


if __name__ == "__main__":
    main()
