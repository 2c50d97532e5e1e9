from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.pipeline_command import PipelineCommand
from tests.shared_servers import Variables, variables_of


@pytest.fixture
def pipeline(tmp_path: Path, servers: Variables) -> PipelineCommand:
    """The command, on the shared servers."""
    return PipelineCommand(tmp_path, servers, **variables_of("commands"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all tests of a module."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def shared_pipeline(home: Path, servers: Variables) -> PipelineCommand:
    """The command with one home for all tests of a module, on the shared servers."""
    return PipelineCommand(home, servers, **variables_of("commands"))
