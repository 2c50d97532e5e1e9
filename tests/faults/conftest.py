"""The fixture of tests that escalate against the local service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults.escalation_case import MODEL, prepare
from tests.faults.service_case import Case, ForkedServer, Prepare, Row, in_process


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Prepare]:
    """Prepare a run of ``items`` documents; ``options`` are the service's, the rest is the job's."""
    with cases_in(tmp_path) as make:
        yield make


@pytest.fixture(scope="module")
def module_case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepare]:
    """The same, for what several tests compare with."""
    with cases_in(tmp_path_factory.mktemp("module")) as make:
        yield make


@contextmanager
def cases_in(parent: Path) -> Iterator[Prepare]:
    """What prepares runs in folders below one."""
    servers: list[ForkedServer] = []

    def make(
        items: int,
        *options: str,
        escalation: Row | None = None,
        is_informed: bool = False,
        folder: str = "case",
        **job: Any,
    ) -> Case:
        given = {"model": MODEL, "provider": "simulation", "chunk_items": 10} | (escalation or {})
        place = parent / folder
        in_process(prepare, place, items, is_informed=is_informed, escalation=given, **job)
        key = ("--answer-key", str(place / "answers.jsonl"), "--error-rate", "0")
        servers.append(ForkedServer(place / "service", *key, *options))
        return Case(place, servers[-1])

    yield make
    for server in servers:
        server.__exit__()
