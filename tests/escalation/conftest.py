"""A provider in memory, and processes of one run that send to it."""

from pathlib import Path

import pytest

from tests.escalation.fakes import Clock, FakeProvider
from tests.escalation.submission_case import Process, Start


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider(Clock())


@pytest.fixture
def start(tmp_path: Path, provider: FakeProvider) -> Start:
    return lambda: Process(tmp_path, provider)
