"""What Prefect's server says about runs, asked through its HTTP interface as a browser would.

`infra` does not import Prefect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx2

_ANSWER_SECONDS = 30
_FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@dataclass(frozen=True)
class FlowRun:
    """A run as Prefect sees it."""

    state: str
    is_final: bool
    seconds: float


class PrefectServer:
    """The server at ``api``."""

    def __init__(self, api: str) -> None:
        self._api = api

    def is_up(self) -> bool:
        """Tell whether the server answers."""
        try:
            return httpx2.get(f"{self._api}/health", timeout=_ANSWER_SECONDS, trust_env=False).is_success
        except httpx2.TransportError:
            return False

    def has_worker(self, work_pool: str) -> bool:
        """Whether a worker has reported for the pool."""
        return bool(self._ask(f"work_pools/{work_pool}/workers/filter", {}))

    def flow_run(self, page: str) -> FlowRun | None:
        """The run whose page this is; None if the server is too busy to say."""
        answer = self._ask("flow_runs/filter", {"flow_runs": {"id": {"any_": [page.rpartition("/")[2]]}}})
        if answer is None:
            return None
        (found,) = answer
        return FlowRun(
            state=found["state_name"],
            is_final=found["state_type"] in _FINAL,
            seconds=found["total_run_time"],
        )

    def _ask(self, path: str, question: dict[str, Any]) -> list[dict[str, Any]] | None:
        """None where a busy machine has no answer in time, or a 500 while the database is locked: ask again."""
        try:
            answer = httpx2.post(f"{self._api}/{path}", json=question, timeout=_ANSWER_SECONDS, trust_env=False)
        except httpx2.TransportError:
            return None
        if answer.is_server_error:
            return None
        found: list[dict[str, Any]] = answer.raise_for_status().json()
        return found
