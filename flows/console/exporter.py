"""Prometheus metrics of a run, served by the process that works on it; off unless `SLUICE_METRICS_ADDRESS` is set.

The store is looked at when somebody scrapes, and no more often than every ten seconds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from pipelines.errors import SluiceError
from pipelines.settings import settings
from pipelines.status.metrics import METRICS, RUN_LABEL, known_values
from pipelines.status.record import RunStatus
from pipelines.status.several import looker_of
from pipelines.store.objects import Store

_SECONDS_BETWEEN_LOOKS = 10.0

log = logging.getLogger(__name__)


@contextmanager
def served_metrics(store: Store, say: Callable[[str], None]) -> Iterator[None]:
    """Serve the run's metrics while the block runs, where the settings ask for it; that they cannot be is only told."""
    address = settings().metrics_address
    if address is None:
        yield
        return
    host, _, port = address.rpartition(":")
    registry = CollectorRegistry()
    registry.register(RunCollector(store))
    try:
        server, thread = start_http_server(int(port), host.strip("[]"), registry)
    except (OSError, OverflowError) as error:  # the second: a port beyond all ports
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        say(f"metrics   are not served at {address}: {reason}; the run goes on without")
        yield
        return
    say(f"metrics   http://{address}/metrics")
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class RunCollector(Collector):
    """What a scrape of the run finds."""

    def __init__(self, store: Store) -> None:
        self._looker, self._lock = looker_of(store), Lock()
        self._status: RunStatus | None = None
        self._looked_at = 0.0

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Every metric of the list, without those whose values are not known."""
        status = self._latest()
        if status is None:
            return
        families = {
            metric.name: GaugeMetricFamily(
                metric.name,
                f"{metric.about} ({metric.unit})",
                labels=[RUN_LABEL, *([metric.label] if metric.label else [])],
            )
            for metric in METRICS
        }
        for metric, label, value in known_values(status):
            families[metric.name].add_metric([status.run_id, *([label] if label else [])], value)
        yield from (family for family in families.values() if family.samples)

    def _latest(self) -> RunStatus | None:
        with self._lock:
            if self._status is None or time.monotonic() - self._looked_at >= _SECONDS_BETWEEN_LOOKS:
                self._looked_at = time.monotonic()
                try:
                    self._status = self._looker.look(is_held=True)
                except SluiceError as error:  # what was seen last stands; the run itself says more
                    log.warning("no look for metrics: %s", error)
            return self._status
