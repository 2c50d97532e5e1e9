"""The runs of this machine, or below an output: what each is, newest first.

Read from the stores alone. A run that is gone, or cannot be read, is a line that says so, and hides no other.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from flows.inspect import run_status
from flows.run_record import RunRecord
from pipelines.errors import RunNotFoundError, SluiceError
from pipelines.report.summary import Summary
from pipelines.settings import settings
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.runs import open_store

_AT_ONCE = 8


@dataclass(frozen=True)
class RunLine:
    """One run; what is not known is None."""

    name: str
    root: str
    state: str
    items: int | None = None
    cost_usd: Decimal | None = None
    begun_at: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        """Values that ``--json`` prints."""
        return asdict(self) | {"begun_at": self.begun_at.isoformat() if self.begun_at else None}


def list_runs(where: str | None) -> list[RunLine]:
    """The runs below an output; without one, those that were started on this machine.

    Raises:
        RunNotFoundError: there is no such folder.
        StoreError: S3 cannot be reached.
    """
    roots = _of_this_machine() if where is None else _below(where)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="runs") as pool:
        lines = [line for line in pool.map(lambda named: _look(*named), roots) if line]
    return sorted(
        lines, key=lambda line: (line.begun_at.timestamp() if line.begun_at else 0.0, line.name), reverse=True
    )


def _of_this_machine() -> Iterable[tuple[str, str, bool]]:
    folder = settings().state_dir / "runs"
    named = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    return [(path.name, path.read_text(encoding="utf-8"), True) for path in named]


def _below(where: str) -> Iterable[tuple[str, str, bool]]:
    parts = urlsplit(where)
    if parts.scheme in ("", "file") and not Path(parts.path if parts.scheme else where).is_dir():
        raise RunNotFoundError(f"no runs at '{where}': no such folder")
    store = Store(where)
    return [(name, store.uri(name), False) for name in store.folders() if not name.startswith("_")]


def _look(name: str, root: str, is_known: bool) -> RunLine | None:
    """None for a folder that is no run."""
    try:
        store = open_store(root)
        record = RunRecord.of(store)
        summary = store.read_if_exists(layout.SUMMARY)
        if summary is not None and store.exists(layout.COMPLETE):
            whole = Summary.model_validate_json(summary)
            state = f"stopped: {whole.stopped_by}" if whole.stopped_by else "failed" if whole.problem else "complete"
            return RunLine(record.run_id, root, state, whole.items, whole.cost_usd, record.created_at)
        status = run_status(root)
        return RunLine(record.run_id, root, status.state, status.planned_items, None, record.created_at)
    except RunNotFoundError:
        return RunLine(name, root, "gone: its folder is no longer there") if is_known else None
    except (SluiceError, ValidationError) as error:
        reason = str(error).splitlines()[0] if isinstance(error, SluiceError) else "written by another version"
        return RunLine(name, root, f"cannot be read: {reason}")
