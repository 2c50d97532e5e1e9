"""Ray on a slow machine, or none at all: waited for, then told as what it is, with the next move."""

from __future__ import annotations

import time

import pytest
import ray

from pipelines.errors import EngineError
from workers.engines import own_ray

OUT_OF_TIME = Exception("The current node timed out during startup. This could happen because ...")


class FakeRay:
    """Starts after some tries."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.asked: list[object] = []

    def init(self, address: str | None, **options: object) -> None:
        self.asked.append(address)
        if self.failures:
            raise self.failures.pop(0)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> object:
    def prepare(*failures: Exception) -> FakeRay:
        fake = FakeRay(*failures)
        monkeypatch.setattr(ray, "init", fake.init)
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(ray, "shutdown", lambda: None)
        return fake

    return prepare


def test_a_node_that_is_not_up_in_rays_half_minute_is_tried_again(start) -> None:  # type: ignore[no-untyped-def]  # a fixture
    fake = start(OUT_OF_TIME, OUT_OF_TIME)
    own_ray.start_ray(None)
    assert fake.asked == ["local"] * 3, "and no other cluster of this machine is joined"


def test_a_node_that_never_comes_up_is_a_failing_service_with_the_next_move(
    start,  # type: ignore[no-untyped-def]  # a fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start(*[OUT_OF_TIME] * 10)
    clock = iter(range(0, 10_000, 200))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    with pytest.raises(EngineError, match=r"^Ray does not start on this machine: The current node timed out.*Run the"):
        own_ray.start_ray(None)


@pytest.mark.parametrize("error", [Exception("Head node temp_dir not found"), RuntimeError("no"), OSError("full")])
def test_whatever_ray_raises_is_told_with_the_next_move(start, error: Exception) -> None:  # type: ignore[no-untyped-def]  # a fixture
    start(*[error] * 100)
    with pytest.raises(EngineError, match=r"'10\.0\.0\.1:6379' cannot be joined: .*unset RAY_ADDRESS"):
        own_ray.start_ray("10.0.0.1:6379")
