"""The run's metrics on its page in Prefect: one table, of the same list as Prometheus', brought up to date in place."""

from __future__ import annotations

import json
import logging
import time
from threading import Lock
from typing import Any
from uuid import UUID

from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate

from pipelines.status.metrics import known_values
from pipelines.status.record import RunStatus
from pipelines.status.several import looker_of
from pipelines.store.objects import Store

_SECONDS_BETWEEN_UPDATES = 30.0

log = logging.getLogger(__name__)


class MetricsArtifact:
    """The table of one run."""

    def __init__(self, store: Store) -> None:
        self._looker, self._lock = looker_of(store), Lock()
        self._artifact: UUID | None = None
        self._updated_at: float | None = None

    def update(self, *, is_last: bool = False) -> None:
        """Look at the run and show what is known, at most every half minute; ``is_last``: in any case.

        Stages that go on side by side call this from their threads: whoever comes while another looks goes on. What
        fails here is only logged.
        """
        if not self._lock.acquire(blocking=is_last):
            return
        try:
            if is_last or not self._updated_at or time.monotonic() - self._updated_at >= _SECONDS_BETWEEN_UPDATES:
                self._updated_at = time.monotonic()
                self._show(table_of(self._looker.look(is_held=True)))
        except Exception as error:  # whatever it is, a table in Prefect is no reason to end the run that it is of
            log.warning("the metrics on Prefect's page are not brought up to date: %s", error)
        finally:
            self._lock.release()

    def _show(self, rows: list[dict[str, Any]]) -> None:
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
