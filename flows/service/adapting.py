"""The flow that trains a series' next adapter: in the queue of runs, one at a time, because each takes every GPU.

A schedule starts it once a training is due (`flows.service.scheduled`). Dead, it is started again like a run, and goes
on from its last checkpoint where the worker is on the same machine.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

from prefect import flow
from rich.console import Console

from flows.console.progress import ProgressReporter
from flows.deciding.series_adapters import adapt_if_due
from flows.series import Series
from flows.service.prefect_api import TRAINING_FLOW
from pipelines.job.job import Job
from pipelines.settings import withhold_claude_key


@flow(name=TRAINING_FLOW, flow_run_name="{job[name]}")
def train_adapter(job: dict[str, Any]) -> None:
    """Train, judge, and adopt or refuse the series' next adapter; nothing, if none is due any more.

    Args:
        job: the job file's content, with absolute paths.
    """
    withhold_claude_key()
    adapt_if_due(Series(Job.model_validate(job)), ProgressReporter(Console(file=sys.stderr)), datetime.now(UTC))
