"""Chaos: runs whose processes are killed and whose S3 fails, compared with a run that nothing happened to.

    python -m tests.chaos.run                210 runs; an hour
    python -m tests.chaos.run --seeds 6 170 313 --short    what `make test` runs: each kind of victim, no real engine
    python -m tests.chaos.run --runs 20 --short    what `make prove-minutes` runs
    python -m tests.chaos.run --seeds 17      one of them again

A run's seed decides how it starts (`pipeline submit`, or a file dropped for `pipeline listen`), which processes are
killed with -9 and when, and which requests to S3 meet a 503, a 500, a dropped connection or a lost reply. Real are S3
server, Ray, Prefect, the batch service, the SDK and every process of ours; vLLM is real in every twentieth run, and in
the others a stand-in that takes no time to start. A seed decides when to kill, the machine what is going on just then.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.chaos.plan import Case, Start, Victim, case_of

if TYPE_CHECKING:
    from tests.chaos.disturbance import Disturbed


# Of so few cases, it does not matter when exactly a process is killed: one undisturbed run is the measure of all.
_FEW = 5


def main() -> int:
    """Run the cases and print a table; exit code 1 if anything is wrong with one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=210)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, nargs="+", help="only these")
    parser.add_argument("--short", action="store_true", help="never start a real engine")
    parser.add_argument("--prefect-url", help="of a Prefect server that runs; without it, one is started")
    arguments = parser.parse_args()
    cases = [
        case_of(seed) for seed in arguments.seeds or range(arguments.first_seed, arguments.first_seed + arguments.runs)
    ]
    if arguments.short:
        cases = [replace(case, has_real_engine=False) for case in cases]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the servers are ended on the way out
    started_at = time.monotonic()
    complaints, by_victim = run_all(sorted(cases, key=lambda case: case.has_real_engine), arguments.prefect_url)
    print_table(by_victim)
    print(f"{time.monotonic() - started_at:.0f} s")
    return int(complaints > 0)


def run_all(cases: Sequence[Case], prefect_url: str | None) -> tuple[int, dict[Victim, Counter[str]]]:
    """How many went wrong, and the counts by victim."""
    # Imported late: every forked command imports this module anew.
    from tests.chaos.disturbance import Undisturbed, run_case, run_undisturbed
    from tests.chaos.world import World

    complaints, by_victim = 0, {victim: Counter[str]() for victim in Victim}
    undisturbed: dict[tuple[bool, Start | None], Undisturbed] = {}
    with World(prefect_url) as world:
        if len(cases) > _FEW:
            run_undisturbed(world, Start.SUBMIT, "warm-up")  # the first run of all is slower than all others
        for case in cases:
            world.cluster.use_engine(is_real=case.has_real_engine)
            kind = (case.has_real_engine, case.start if len(cases) > _FEW else None)
            if kind not in undisturbed:
                engine = "real-engine" if case.has_real_engine else "stand-in"
                undisturbed[kind] = run_undisturbed(world, case.start, engine)
                print(f"undisturbed {case.start}, {engine}: {undisturbed[kind].seconds:.1f} s", flush=True)
            started_at = time.monotonic()
            done = run_case(world, case, undisturbed[kind])
            print(describe(case, done, time.monotonic() - started_at), flush=True)
            complaints += bool(done.complaint)
            by_victim[case.victim] += done.counts + Counter(wrong=int(bool(done.complaint)))
    return complaints, by_victim


def describe(case: Case, done: Disturbed, seconds: float) -> str:
    """One line for a run that went well."""
    kills = ", ".join(f"{kill.victim} at {kill.after:.2f}" for kill in case.kills)
    verdict = f"WRONG: {done.complaint}" if done.complaint else "ok"
    how = f"{case.start}{', real engine' if case.has_real_engine else ''}, {dict(done.counts)}"
    return f"seed {case.seed}: {verdict} in {seconds:.1f} s; {how}; to kill: {kills}; resumed: {done.resumed_after}"


def print_table(by_victim: dict[Victim, Counter[str]]) -> None:
    """One line for each process that was the first to be killed."""
    columns = ("runs", "kills", "faults", "resumes", "lost", "duplicated", "different", "billed twice", "cost", "wrong")
    print(f"\n{'killed first':16}" + "".join(f"{name:>13}" for name in columns))
    total = sum(by_victim.values(), Counter[str]())
    for name, counts in [*by_victim.items(), ("all", total)]:
        print(f"{name:16}" + "".join(f"{counts[column]:>13,}" for column in columns))


if __name__ == "__main__":
    sys.exit(main())
