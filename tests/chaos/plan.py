"""What happens in a run, all of it drawn from its seed: how it starts, what is killed when, whether S3 misbehaves."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum


class Victim(StrEnum):
    """A process that is killed with -9."""

    SUBMIT = "submit"
    FLOW = "flow process"
    ACTOR = "scorer actor"
    NODE = "Ray node"
    CLAUDE = "batch service"
    S3 = "S3 server"
    LISTENER = "listener"


class Start(StrEnum):
    """Who starts the run."""

    SUBMIT = "submit"
    DROP = "drop"


_MOST_DOWN_SECONDS = 1.5
_STORMY = 0.75
_DROPPED = 0.15  # of the runs that could be submitted as well; they take longer
# When a process is killed, as shares of an undisturbed run: each while it has something to do. `pipeline submit` is the
# flow's process as well, from about the third of its life on.
_MOMENTS = {
    Victim.SUBMIT: (0.0, 0.3),
    Victim.FLOW: (0.3, 1.0),
    Victim.ACTOR: (0.1, 0.5),
    Victim.NODE: (0.0, 0.8),
    Victim.CLAUDE: (0.3, 1.0),
    Victim.S3: (0.0, 1.0),
    Victim.LISTENER: (0.0, 1.0),
}
_KILLS, _KILLS_WEIGHTS = (1, 2, 3), (6, 3, 1)
_EVERYWHERE = (Victim.ACTOR, Victim.NODE, Victim.CLAUDE, Victim.S3, Victim.FLOW)
REAL_ENGINE_EVERY = 20


@dataclass(frozen=True)
class Kill:
    """``after`` is a share of an undisturbed run's duration, counted from the start or from the kill before."""

    victim: Victim
    after: float
    down_seconds: float


@dataclass(frozen=True)
class Case:
    """One disturbed run."""

    seed: int
    start: Start
    is_stormy: bool
    has_real_engine: bool
    kills: tuple[Kill, ...]

    @property
    def victim(self) -> Victim:
        """The first one, under which the run is counted; seeds take them in turn."""
        return self.kills[0].victim


def case_of(seed: int) -> Case:
    """The case of a seed."""
    draw = random.Random(seed)
    first = list(Victim)[seed % len(Victim)]
    is_dropped = first is Victim.LISTENER or (first is not Victim.SUBMIT and draw.random() < _DROPPED)
    others = (*_EVERYWHERE, Victim.LISTENER if is_dropped else Victim.SUBMIT)
    count = draw.choices(_KILLS, _KILLS_WEIGHTS)[0]
    victims = [first, *draw.choices(others, k=count - 1)]
    kills = [Kill(victim, draw.uniform(*_MOMENTS[victim]), draw.uniform(0, _MOST_DOWN_SECONDS)) for victim in victims]
    return Case(
        seed=seed,
        start=Start.DROP if is_dropped else Start.SUBMIT,
        is_stormy=draw.random() < _STORMY,
        has_real_engine=seed % REAL_ENGINE_EVERY == REAL_ENGINE_EVERY - 1,
        kills=tuple(kills),
    )
