from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.pipeline_command import PipelineCommand


@pytest.fixture
def pipeline(tmp_path: Path) -> PipelineCommand:
    return PipelineCommand(tmp_path)
