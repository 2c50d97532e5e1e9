"""One disturbed run, from its start to the comparison with an undisturbed one."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass

from tests.chaos.comparison import WRONG, Ending, compare, ending_of
from tests.chaos.plan import Case, Kill, Start, Victim
from tests.chaos.runs import RUNS, ChaosRun
from tests.chaos.world import CALM, STORMY, World

_MOST_SECONDS = 300.0
_MOST_RESUMES = 15
_SECONDS_BETWEEN_LOOKS = 0.05


@dataclass(frozen=True)
class Undisturbed:
    """A run that nothing happened to, and how long it took."""

    ending: Ending
    seconds: float


@dataclass(frozen=True)
class Disturbed:
    """What came of a case; ``complaint`` is empty if all is well."""

    complaint: str
    counts: Counter[str]
    resumed_after: list[str]


class NeverEndedError(Exception):
    """A run that does not come to its end."""


def run_undisturbed(world: World, start: Start, name: str) -> Undisturbed:
    """The measure of the others."""
    world.claude.control("reset", {})
    with RUNS[start](world, f"{CALM}-{start}-{name}") as run:
        started_at = time.monotonic()
        try:
            _go_on(run, deque(), 0.0)
        except NeverEndedError as error:
            error.add_note(run.last_words())
            raise
        seconds = time.monotonic() - started_at
        ending = ending_of(run)
    assert not any(ending.counts.values()), f"an undisturbed run is wrong: {ending.counts}"
    assert not run.resumed_after, run.last_words()
    return Undisturbed(ending, seconds)


def run_case(world: World, case: Case, undisturbed: Undisturbed) -> Disturbed:
    """Disturb a run as its case says."""
    world.claude.control("reset", {})
    before = len(world.proxy.disturbances())
    with RUNS[case.start](world, f"{STORMY if case.is_stormy else CALM}-{case.seed}") as run:
        kills, complaint = deque(case.kills), ""
        counts = Counter[str](runs=1)
        try:
            _go_on(run, kills, undisturbed.seconds)
            counts += compare(ending_of(run), undisturbed.ending)
        except NeverEndedError as error:
            complaint = f"{error}\n{run.last_words()}"
        hit = case.kills[: len(case.kills) - len(kills)]
        counts.update(["kills"] * len(hit))
        counts += Counter(resumes=len(run.resumed_after), faults=len(world.proxy.disturbances()) - before)
    complaint = complaint or ", ".join(f"{name} {counts[name]}" for name in WRONG if counts[name])
    return Disturbed(complaint, counts, run.resumed_after)


def _go_on(run: ChaosRun, kills: deque[Kill], usual_seconds: float) -> None:
    """Bring the run to its end; on the way, kill what is to be killed. Leaves those kills that came too late."""
    started_at = time.monotonic()
    last_kill_at = started_at
    while not run.advance():
        now = time.monotonic()
        if kills and now >= last_kill_at + kills[0].after * usual_seconds and _kill(run, kills[0]):
            kills.popleft()
            last_kill_at = time.monotonic()
        resumes = len(run.resumed_after)
        if now > started_at + _MOST_SECONDS or resumes > _MOST_RESUMES:
            raise NeverEndedError(f"not complete after {now - started_at:.0f} s and {resumes} resumes")
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _kill(run: ChaosRun, kill: Kill) -> bool:
    """Kill the victim, and start it again if it is a server; False if it is not there now."""
    world = run.world
    match kill.victim:
        case Victim.ACTOR:
            return world.cluster.kill_actor()
        case Victim.NODE:
            world.cluster.kill_node()
            time.sleep(kill.down_seconds)
            world.cluster.add_node()
        case Victim.CLAUDE:
            world.kill_claude()
            time.sleep(kill.down_seconds)
            world.start_claude()
        case Victim.S3:
            world.emulator.kill()
            time.sleep(kill.down_seconds)
            world.emulator.start()
        case Victim.SUBMIT | Victim.FLOW | Victim.LISTENER:
            return run.kill(kill.victim)
    return True
