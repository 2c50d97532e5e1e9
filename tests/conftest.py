"""What all tests share: servers, the runs of `make demo`; and how pytest-xdist spreads tests over processes."""

import os
import re
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from pipelines.settings import settings as product_settings
from tests.s3_fixtures import emulator, moto, s3
from tests.scenarios.demo_runs import demo
from tests.scenarios.prefect_server import prefect_server
from tests.shared_servers import Variables, close_session, open_session, variables_of

__all__ = ["demo", "emulator", "moto", "prefect_server", "s3"]

# Hypothesis without a stopwatch: the machine may be busy.
settings.register_profile("sluice", deadline=None, max_examples=50)
settings.load_profile("sluice")

# Fixtures whose tests are none of `make check`, marked or not: their servers take seconds to start.
_NEEDS_A_SERVER = {"demo", "emulator", "moto", "prefect_server", "quick_server", "s3", "servers", "service"}
# A module without any of these words has no test beyond those of `make check`, and need not be imported for one.
_BEYOND_CHECK = re.compile(
    "|".join(["mark.processes", "mark.engine", "mark.prove", r"cascade\.trials", *sorted(_NEEDS_A_SERVER)])
)
# What takes longest is begun first, so that nothing long is left over when all else is done.
_BEGUN_FIRST = (
    "tests/scenarios/test_end_to_end.py",
    "tests/chaos/",
    "tests/flows/service/",
    "tests/faults/",
    "tests/workers/",
    "tests/scenarios/",
    "tests/test_documents.py",
)


@pytest.fixture(scope="session")
def servers() -> Variables:
    """Leads to a Ray node whose engines start at once, and to a Prefect server: each takes seconds to start."""
    return variables_of("ray") | variables_of("prefect")


@pytest.fixture
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A state folder of the test's own, in which models are not asked for over the network."""
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    product_settings.cache_clear()
    yield
    product_settings.cache_clear()


def pytest_configure(config: pytest.Config) -> None:
    # `nohup make test &` ignores them, and every process inherits that: an interrupted command would not notice.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # A process reads once whether its Ray wants tokens; the shared node wants none.
    os.environ["RAY_AUTH_MODE"] = "disabled"
    if not _is_worker(config):
        open_session()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not _is_worker(config):
        close_session()


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes by their number: those of gzip hold the time, and all processes must name a test alike."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Whether a module has nothing that is asked for; importing all of them takes ten seconds in each process."""
    asked = config.option.markexpr
    if collection_path.suffix != ".py" or not asked or "not processes" in asked:
        return None
    return _is_within_check(collection_path) or None


@pytest.hookimpl(tryfirst=True)  # before those are left out whose mark was not asked for
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _NEEDS_A_SERVER & set(_fixtures_of(item)):
            item.add_marker(pytest.mark.processes)
        if {"processes", "engine", "prove"} & {mark.name for mark in item.iter_markers()} and _is_within_check(
            item.path
        ):
            raise pytest.UsageError(f"{item.nodeid}: name the fixture or mark in the module, see pytest_ignore_collect")
    items.sort(key=lambda item: _place(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Imported late: `pytest -p no:xdist` has none."""
    from tests.spreading import ByModule

    return ByModule(config, log)


@cache
def _is_within_check(module: Path) -> bool:
    return _BEYOND_CHECK.search(module.read_text(encoding="utf-8")) is None


def _fixtures_of(item: pytest.Item) -> Iterator[str]:
    """Those that a test names, and the parameters by which another fixture may choose one."""
    yield from getattr(item, "fixturenames", ())
    callspec = getattr(item, "callspec", None)
    yield from (value for value in (callspec.params.values() if callspec else ()) if isinstance(value, str))


def _place(nodeid: str) -> int:
    return next((place for place, name in enumerate(_BEGUN_FIRST) if nodeid.startswith(name)), len(_BEGUN_FIRST))


def _is_worker(config: pytest.Config) -> bool:
    """Whether pytest-xdist started this process, and not the user."""
    return hasattr(config, "workerinput")
