"""A pool of scorer actors on Ray: starts them, feeds them shards, replaces the ones that die.

Ray's own restarts are off: a restarted actor would take its queued calls in another order and count nothing. Here a
lost engine costs its shards one attempt each, and a shard that kills three engines stops the run with its number.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import ray
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError

from pipelines.errors import EngineError
from pipelines.settings import keys_not_for_engines, settings, usual_keys
from workers.engines.feed import ShardFeed
from workers.engines.fitting.growth import Growth
from workers.engines.fitting.machines import cluster_machines
from workers.engines.fitting.prefix import PrefixReuse
from workers.engines.fitting.room import Device, Needs, room
from workers.engines.in_flight import MAX_SHARDS_IN_FLIGHT, SHARDS_IN_FLIGHT
from workers.engines.own_ray import check_ray, last_line
from workers.engines.scorer import Scorer, ScorerConfig, ShardReport

_ATTEMPTS_PER_SHARD = 3
# How often to look whether the cluster has grown, where a job does not say how many engines it wants.
_LOOK_FOR_ROOM_SECONDS = 5.0
# How often to look whether planning has failed, while no engine is ready.
_LOOK_AT_FEED_SECONDS = 1.0
# How often to look whether planning has brought more, while engines are busy with what there was.
_LOOK_FOR_SHARDS_SECONDS = 0.1

log = logging.getLogger(__name__)


def cluster_device(wanted: Device | None) -> Device:
    """What the engines run on: as ``wanted``, or a GPU where the cluster has one now; the driver may have none."""
    return wanted or ("gpu" if _cluster_resources().get("GPU") else "cpu")


def _cluster_resources() -> dict[str, float]:
    return dict(ray.cluster_resources())  # type: ignore[no-untyped-call]  # Ray's annotations stop here


@cache
def _scorer_actor() -> Any:
    """Not made when this is imported: Ray draws its name at random, and later forks would all draw the same numbers."""
    return ray.remote(max_restarts=0)(Scorer)


class EnginePool:
    """Scorer actors for one run. Whoever makes one closes it."""

    def __init__(
        self,
        config: ScorerConfig,
        engines: int | None,
        wanted_device: Device | None = None,
        most_engines: int | None = None,
    ) -> None:
        """Ask Ray for the actors; returns at once, they start while the caller plans.

        Args:
            config: the same for every actor.
            engines: how many; None takes every GPU (by groups of ``devices_per_engine``), or every core, those of
                machines that join while there is work too.
            wanted_device: asked for even where the cluster has none now: actors without a place are what makes an
                autoscaler bring machines. Otherwise no more engines are asked for than there is room for.
            most_engines: how many there may be in all, while there is work for more than there are.

        Raises:
            EngineError: there is no room for an engine, or nobody says how many machines are to come.
        """
        self._config = config
        needs = Needs(wanted_device or cluster_device(None), config.devices_per_engine, config.memory_bytes)
        machines = cluster_machines(look_at_cards=False)
        others_may_come = bool(wanted_device and engines and settings().ray_address)
        self._needs = needs if others_may_come else needs.on_the_largest(machines)
        available = room(machines, self._needs)
        if wanted_device and engines:
            available = engines
        elif not available and wanted_device:
            raise EngineError(
                f"the Ray cluster has no {wanted_device.upper()} now and SLUICE_DEVICE={wanted_device} asks for some: "
                "set compute.engines in the job, so that the autoscaler knows how many to bring"
            )
        elif not available and config.devices_per_engine > 1:
            wanted = f"{config.devices_per_engine:g} {'GPUs' if needs.device == 'gpu' else 'CPU cores'}"
            raise EngineError(f"no node of the Ray cluster has {wanted} for an engine; add one")
        elif not available:
            raise EngineError("the Ray cluster has neither a GPU nor a CPU core to give; add a node")
        self._growth = Growth(most_engines, takes_all=engines is None, brings_machines=wanted_device is not None)
        self._asked_at = self._looked_at = time.monotonic()
        self.start_seconds: float | None = None
        first = min(engines or available, available, most_engines or available)
        self.room_note = None if others_may_come else self._needs.short_of_memory(machines, engines or most_engines)
        self._actors = [self._new_actor() for _ in range(first)]
        self._held_since = [self._asked_at] * self.engines
        self._homeless: set[int] = set()  # slots of engines that were asked for later and are not ready yet

    @property
    def reuse(self) -> PrefixReuse | None:
        """What its engines keep of the prompts' shared beginning, where that can be said."""
        return self._config.reuse

    @property
    def engines(self) -> int:
        """How many engines the pool runs."""
        return len(self._actors)

    @property
    def devices(self) -> float:
        """How many GPUs, or cores, these engines hold; one that never found a place holds none."""
        return (self.engines - len(self._homeless)) * self._config.devices_per_engine

    def wait_ready(self, feed: ShardFeed | None = None) -> bool:
        """Wait for the first engine; ``start_seconds`` is then known. False if the feed is cancelled meanwhile.

        An engine whose process or node dies meanwhile is replaced; one that refuses to start would refuse again.

        Raises:
            EngineError: no engine starts.
        """
        starting = {actor.ready.remote(): slot for slot, actor in enumerate(self._actors)}
        replaced = 0
        while True:
            ended, _ = ray.wait(list(starting), num_returns=1, timeout=_LOOK_AT_FEED_SECONDS)
            if feed and feed.is_cancelled:
                return False
            if not ended:
                check_ray()
                continue
            (call,) = ended
            slot = starting.pop(call)
            try:
                ray.get(call)
                break
            except (RayActorError, OutOfMemoryError) as error:
                is_refused = isinstance(error, RayActorError) and error.actor_init_failed
                if is_refused or replaced == _ATTEMPTS_PER_SHARD - 1:
                    raise EngineError(f"the engine does not start: {last_line(error)}; see the log") from error
            log.warning("engine %d is lost while it starts; starting another", slot)
            self._actors[slot] = self._new_actor()
            starting[self._actors[slot].ready.remote()] = slot
            replaced += 1
        self.start_seconds = time.monotonic() - self._asked_at
        return True

    def score(
        self,
        feed: ShardFeed,
        on_scored: Callable[[ShardReport], None],
        in_flight: Callable[[], int] = lambda: SHARDS_IN_FLIGHT,
    ) -> None:
        """Have every shard scored and committed; if the feed is cancelled, none that was not begun.

        Args:
            feed: brings their numbers.
            on_scored: called for each as it is committed.
            in_flight: shards that an engine is given at a time, at most `MAX_SHARDS_IN_FLIGHT`; fewer where the rest
                would not go round. Asked again and again: it may depend on how large shards turn out to be.

        Raises:
            EngineError: an engine does not start, or a shard ends three of them.
        """
        todo: deque[int] = deque()
        attempts: Counter[int | None] = Counter()
        # Call -> (actor's slot, shard; None: it is starting, maybe on a machine that never comes).
        running: dict[Any, tuple[int, int | None]] = {
            actor.ready.remote(): (slot, None) for slot, actor in enumerate(self._actors)
        }
        while todo or feed.may_bring_more or any(shard is not None for _, shard in running.values()):
            if feed.is_cancelled:
                return
            todo.extend(feed.take())
            self._feed(todo, running, in_flight())
            if not running:
                feed.wait(_LOOK_FOR_ROOM_SECONDS)
                continue
            wait_seconds = _LOOK_FOR_SHARDS_SECONDS if feed.may_bring_more else _LOOK_FOR_ROOM_SECONDS
            ended, _ = ray.wait(list(running), num_returns=1, timeout=wait_seconds)
            if todo:
                self._grow(running, len(todo), in_flight())
            if not ended:
                check_ray()
                continue
            (call,) = ended
            slot, shard = running.pop(call)
            try:
                report = _result(call, shard)
            except _EngineLostError as error:
                lost = self._replace_actor(slot, running)
                attempts.update([shard, *lost])
                _check_attempts(attempts, error)
                todo.extendleft(reversed([number for number in (shard, *lost) if number is not None]))
            else:
                if report is None:
                    attempts[None] = 0
                    self._homeless.discard(slot)
                else:
                    on_scored(report)

    @property
    def held_seconds(self) -> float:
        """How long an engine's devices have been held, start-up included; the mean, where some came later."""
        held = [since for slot, since in enumerate(self._held_since) if slot not in self._homeless]
        return time.monotonic() - sum(held) / len(held)

    def close(self) -> None:
        """End the actors; their devices are free again."""
        for actor in self._actors:
            ray.kill(actor)

    def _room(self) -> int:
        """How many engines the cluster holds now, each on one machine."""
        return room(cluster_machines(look_at_cards=False), self._needs)

    def _grow(self, running: dict[Any, tuple[int, int | None]], waiting: int, in_flight: int) -> None:
        """Start engines for what waits, now and then; an engine without a place takes up room too."""
        if time.monotonic() - self._looked_at < _LOOK_FOR_ROOM_SECONDS:
            return
        self._looked_at = time.monotonic()
        for slot in range(self.engines, self._growth.until(self.engines, waiting, in_flight, self._room)):
            log.warning("there is work for another engine; asking for engine %d", slot)
            self._actors.append(self._new_actor())
            self._held_since.append(self._looked_at)
            self._homeless.add(slot)
            running[self._actors[slot].ready.remote()] = (slot, None)

    def _new_actor(self) -> Any:
        wanted: dict[str, Any] = self._needs.as_resources()
        if withheld := self._withheld_keys():
            # Their process is never given them; nobody can take a variable away here, so they are empty.
            wanted["runtime_env"] = {"env_vars": dict.fromkeys(withheld, "")}
        return _scorer_actor().options(max_concurrency=MAX_SHARDS_IN_FLIGHT + 1, **wanted).remote(self._config)

    def _withheld_keys(self) -> list[str]:
        """Keys that the scorers' processes would inherit: none as a rule, where Ray was started here."""
        here = keys_not_for_engines(self._config.places)
        return sorted(here | usual_keys() if settings().ray_address else here)

    def _feed(self, todo: deque[int], running: dict[Any, tuple[int, int | None]], in_flight: int) -> None:
        """Give every engine as many shards as it holds at a time; none to one that is starting: it may get no node."""
        starting = {slot for slot, shard in running.values() if shard is None}
        held = Counter(slot for slot, shard in running.values() if shard is not None)
        # A shard that is given is not taken back: the first engine to be ready must not hold all there is.
        fair_share = -(-(len(todo) + held.total()) // self.engines)
        most = min(in_flight, max(fair_share, SHARDS_IN_FLIGHT))
        for slot in list(range(self.engines)) * most:
            if todo and slot not in starting and held[slot] < most:
                shard = todo.popleft()
                running[self._actors[slot].score.remote(shard)] = (slot, shard)
                held[slot] += 1

    def _replace_actor(self, slot: int, running: dict[Any, tuple[int, int | None]]) -> list[int]:
        """Forget the calls of a lost actor and start another in its place; the shards it still held."""
        calls = [call for call, (owner, _) in running.items() if owner == slot]
        lost = [shard for _, shard in map(running.pop, calls) if shard is not None]
        log.warning("engine %d is lost; starting another; its shards go to whichever is free", slot)
        ray.kill(self._actors[slot])  # its engine may be lost while its process lives
        self._actors[slot] = self._new_actor()
        running[self._actors[slot].ready.remote()] = (slot, None)
        return lost


class _EngineLostError(Exception):
    """The actor died, or lives on with a dead engine."""


def _result(call: Any, shard: int | None) -> ShardReport | None:
    try:
        report = ray.get(call)
    except (RayActorError, OutOfMemoryError) as error:  # the latter: Ray ends processes where a node runs out of it
        raise _EngineLostError(last_line(error)) from error
    except RayTaskError as error:
        if isinstance(error.cause, EngineError):
            raise _EngineLostError(str(error.cause)) from error
        raise EngineError(f"shard {shard}: {error.cause}") from error
    return None if shard is None else cast(ShardReport, report)


def _check_attempts(attempts: Counter[int | None], error: _EngineLostError) -> None:
    shard, count = attempts.most_common(1)[0]
    if count < _ATTEMPTS_PER_SHARD:
        return
    what = (
        "no engine starts any more" if shard is None else f"shard {shard} was with an engine that failed {count} times"
    )
    raise EngineError(
        f"{what} ({error}); the other shards are kept. "
        "The engine's own words are in the log. Mend the cause and run the same command again"
    ) from error
