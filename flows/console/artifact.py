"""The run's metrics on its page in Prefect: one table, of the same list as Prometheus', brought up to date in place."""

from __future__ import annotations

import json
import logging
import time
from typing import Any
from uuid import UUID

from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate

from pipelines.errors import SluiceError
from pipelines.status.looking import RunLooker
from pipelines.status.metrics import known_values
from pipelines.status.record import RunStatus
from pipelines.store.objects import Store

_SECONDS_BETWEEN_UPDATES = 30.0

log = logging.getLogger(__name__)


class MetricsArtifact:
    """The table of one run."""

    def __init__(self, store: Store) -> None:
        self._looker = RunLooker(store)
        self._artifact: UUID | None = None
        self._updated_at: float | None = None

    def update(self, *, is_last: bool = False) -> None:
        """Look at the run and show what is known, at most every half minute; ``is_last``: in any case."""
        if not is_last and self._updated_at and time.monotonic() - self._updated_at < _SECONDS_BETWEEN_UPDATES:
            return
        self._updated_at = time.monotonic()
        try:
            rows = table_of(self._looker.look(is_held=True))
        except SluiceError as error:  # the run itself says more, where it meets the same
            log.warning("no look for Prefect's page: %s", error)
            return
        if self._artifact is None:
            created = create_table_artifact(rows, key="metrics", description=f"Metrics of {self._looker.run_id}")
            self._artifact = UUID(str(created))
        else:
            get_client(sync_client=True).update_artifact(self._artifact, ArtifactUpdate(data=json.dumps(rows)))


def table_of(status: RunStatus) -> list[dict[str, Any]]:
    """One row a value."""
    return [
        {"metric": metric.name, "of": label or "", "value": value, "unit": metric.unit}
        for metric, label, value in known_values(status)
    ]
