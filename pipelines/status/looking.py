"""A look at a run: `RunStatus` from its store alone, while it runs or long after, on any machine.

One `RunLooker` may look again and again: what is known is not asked for twice, so that each further look is about ten
requests, however large the run. A run does not say how many items it has scored; a few of its parts do, for all.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from pipelines.costs.accounting import add_known, device_cost
from pipelines.costs.first_tier import TOKEN_COLUMNS, token_cost
from pipelines.job.endpoint import TokenPrice
from pipelines.report.summary import Summary
from pipelines.scored_parts import predictions_of
from pipelines.status.journalled import Journalled
from pipelines.status.pace import PartFigures, Parts
from pipelines.status.record import RunStatus, Stage
from pipelines.store import layout
from pipelines.store.objects import Listed, Store
from pipelines.store.schemas import USE_THREADS, from_arrow
from pipelines.store.side_by_side import in_order

NO_ENGINE = "none"  # as run.json names it

_FIRST_SAMPLES, _MORE_SAMPLES, _MOST_SAMPLES = 48, 2, 256
_KEYS_A_REQUEST = 1_000
# Part numbers are written with five digits: beyond, keys are not in the order of the numbers.
_LAST_IN_ORDER = 99_999
_AT_WORK = timedelta(seconds=30)
# Between a run's record and its first part, Python, Ray and Prefect start.
_BEGINS = timedelta(minutes=2)
_ROUTE, _DEVICE = "route", "device_nanoseconds"


@dataclass
class RunLooker:
    """Looks at one run; ``requests`` says what the last look asked of the store."""

    store: Store
    requests: int = 0
    _record: dict[str, Any] = field(default_factory=dict)
    _prices: _Prices = field(default_factory=lambda: _Prices())
    _plan: dict[str, Any] | None = None
    _planned: Parts = field(default_factory=Parts)
    _scored: Parts = field(default_factory=Parts)
    _sessions: dict[str, dict[str, Any]] = field(default_factory=dict)
    _journal: Journalled = field(default_factory=Journalled)
    _routes: dict[str, Counter[str]] = field(default_factory=dict)
    _last_at: datetime | None = None
    _is_decided: bool = False

    def look(self, is_held: bool | None = None, now: datetime | None = None) -> RunStatus:
        """Where the run stands.

        Args:
            is_held: whether a process of this machine works on it, if that can be told.
            now: by default, this machine's clock.

        Raises:
            StoreError: something of the run is missing or cannot be read.
        """
        self.requests = 0
        if not self._record:
            self._record = json.loads(self._read(layout.RUN))
            self._prices = _prices_of(self._read_if_exists(layout.JOB))
        self._plan = self._plan or _json_or_none(self._read_if_exists(layout.PLAN_COMPLETE))
        if self._exists(layout.COMPLETE):
            return self._complete(Summary.model_validate_json(self._read(layout.SUMMARY)))
        return self._under_way(now or datetime.now(UTC), is_held)

    def _complete(self, summary: Summary) -> RunStatus:
        self._journal.take(entry.key for entry in self._entries(layout.ESCALATIONS, self._journal.after))
        shards = int(self._plan["shards"]) if self._plan else 0
        held = summary.engine_held_seconds
        return RunStatus(
            run_id=self.run_id,
            state="complete",
            stage="complete",
            is_complete=True,
            is_worked_on=False,
            is_planned=True,
            planned_items=summary.items,
            shards=shards,
            scored_shards=shards,
            scored_items=int(self._plan["items"] - self._plan["failed_items"]) if self._plan else summary.items,
            items_per_second=None,
            seconds_left=0.0,
            routes={route: each.items for route, each in summary.routes.items()},
            batches_sent=self._journal.sent,
            batches_collected=self._journal.collected,
            open_batches=(),
            devices=None,
            busy_share=min(1.0, summary.gpu_seconds / held) if held else None,
            is_over_http=summary.first_tier is not None,
            engine_cost_usd=summary.gpu_cost_usd,
            first_tier_cost_usd=summary.first_tier_cost_usd,
            claude_cost_usd=summary.api_cost_usd,
            cost_usd=summary.cost_usd,
            is_about=(),
            last_commit_at=None,
            next_step=f"pipeline results {self.run_id}",
        )

    def _under_way(self, now: datetime, is_held: bool | None) -> RunStatus:
        self._list_parts()
        self._sample()
        self._read_results()
        self._read_sessions()
        self._read_journal()
        shards = int(self._plan["shards"]) if self._plan else len(self._planned)
        scored = shards if self._has_no_engine else len(self._scored)
        is_scored = self._plan is not None and scored >= shards
        planned_items, is_exact = self._planned_items(shards)
        scored_items = planned_items if is_scored else min(planned_items, self._scored.items)
        open_batches = self._journal.open_batches(self._read)
        stage = self._stage(is_scored, bool(open_batches))
        pace = (self._planned if stage == "plan" and not len(self._scored) else self._scored).pace(now)
        goes_on = pace and not is_scored
        first_usd = self._first_cost_usd()
        claude_usd = self._journal.spent_usd
        is_worked_on = self._is_worked_on(now, is_held)
        about = [] if is_exact else ["planned_items"]
        about += [] if is_scored else ["scored_items"] if len(self._scored) else []
        first = "first_tier_cost_usd" if self._is_over_http else "engine_cost_usd"
        about += [first, "cost_usd"] if first_usd and not self._scored.is_sampled_whole else []
        return RunStatus(
            run_id=self.run_id,
            state=self._state(stage, bool(open_batches), is_worked_on),
            stage=stage,
            is_complete=False,
            is_worked_on=is_worked_on,
            is_planned=self._plan is not None,
            planned_items=planned_items,
            shards=shards,
            scored_shards=scored,
            scored_items=scored_items,
            items_per_second=pace[0] if pace and goes_on else None,
            seconds_left=(planned_items - scored_items) / pace[0]
            if pace and pace[0] and goes_on and is_exact
            else None,
            routes=dict(sum(self._routes.values(), Counter[str]())),
            batches_sent=self._journal.sent,
            batches_collected=self._journal.collected,
            open_batches=open_batches,
            devices=self._devices,
            busy_share=self._busy_share(pace if goes_on else None, is_scored),
            is_over_http=self._is_over_http,
            engine_cost_usd=None if self._is_over_http else first_usd,
            first_tier_cost_usd=first_usd if self._is_over_http else None,
            claude_cost_usd=claude_usd,
            cost_usd=None if first_usd is None or claude_usd is None else first_usd + claude_usd,
            is_about=tuple(about),
            last_commit_at=self._last_at,
            next_step=f"pipeline {'watch' if is_worked_on else 'resume'} {self.run_id}"
            f"   {'follows it' if is_worked_on else 'does what is left'}",
        )

    @property
    def run_id(self) -> str:
        """The run's, once it was looked at."""
        return str(self._record["run_id"])

    @property
    def _has_no_engine(self) -> bool:
        return self._record.get("model") == NO_ENGINE

    @property
    def _is_over_http(self) -> bool:
        return self._record.get("first_tier") is not None

    # What is asked of the store.

    def _list_parts(self) -> None:
        if self._plan is None:
            self._note_parts(layout.PLAN, self._planned)
        if not (self._has_no_engine or (self._plan and len(self._scored) >= self._plan["shards"])):
            self._note_parts(layout.PREDICTIONS, self._scored)

    def _note_parts(self, folder: str, parts: Parts) -> None:
        known = parts.frontier
        after = f"{folder}/part-{known - 1:05d}.arrow" if known > 0 and len(parts) <= _LAST_IN_ORDER else None
        for entry in self._entries(folder, after):
            if "/part-" in entry.key:
                parts.committed[layout.shard_of(entry.key)] = entry.created_at

    def _sample(self) -> None:
        """Look into a few parts; of a plan only while nothing is scored: its parts hold texts."""
        if len(self._scored):
            self._look_into(self._scored, self._figures)
        elif self._plan is None:
            self._look_into(self._planned, lambda shard: PartFigures(_rows(self._read(layout.plan_part(shard)))))

    def _figures(self, shard: int) -> PartFigures:
        return _figures(self._read(layout.predictions_part(shard)), self._prices.token)

    def _look_into(self, parts: Parts, figures: Any) -> None:
        most = _MORE_SAMPLES if parts.sampled else _FIRST_SAMPLES
        chosen = parts.to_sample(min(most, _MOST_SAMPLES - len(parts.sampled)))
        parts.sampled.update(zip(chosen, in_order(figures, chosen), strict=True))

    def _read_results(self) -> None:
        keys = [entry.key for entry in self._entries(layout.RESULTS)]
        new = [key for key in keys if key.endswith(layout.RESULT_SUFFIXES) and key not in self._routes]
        self._routes.update(zip(new, in_order(self._count_routes, new), strict=True))

    def _count_routes(self, key: str) -> Counter[str]:
        self.requests += 2
        with self.store.opened(key) as file:
            rows = _routes_of(pa.PythonFile(file, mode="r"), is_arrow=key.endswith(".arrow"))
        counted = rows.group_by(_ROUTE, use_threads=USE_THREADS).aggregate([([], "count_all")]).to_pylist()
        return Counter({row[_ROUTE]: row["count_all"] for row in counted})

    def _read_sessions(self) -> None:
        for folder in (layout.SCORING, layout.ENGINES):
            for entry in self._entries(folder):
                if entry.key not in self._sessions:
                    self._sessions[entry.key] = json.loads(self._read(entry.key))

    def _read_journal(self) -> None:
        self._journal.take(entry.key for entry in self._entries(layout.ESCALATIONS, self._journal.after))
        self._journal.read_costs(self._read)
        self._is_decided = self._is_decided or self._exists(layout.DECISIONS)

    def _entries(self, folder: str, after: str | None = None) -> Iterable[Listed]:
        found = list(self.store.listing(folder, after))
        self.requests += 1 + len(found) // _KEYS_A_REQUEST
        for entry in found:
            self._last_at = max(self._last_at or entry.created_at, entry.created_at)
        return found

    def _read(self, key: str) -> bytes:
        self.requests += 1
        return self.store.read(key)

    def _read_if_exists(self, key: str) -> bytes | None:
        self.requests += 1
        return self.store.read_if_exists(key)

    def _exists(self, key: str) -> bool:
        self.requests += 1
        return self.store.exists(key)

    # What it comes to.

    def _planned_items(self, shards: int) -> tuple[int, bool]:
        """How many, and whether that is all of them and no guess."""
        if self._plan:
            return int(self._plan["items"]), True
        sampled = self._scored if len(self._scored) else self._planned
        is_exact = not len(self._scored) and self._planned.is_sampled_whole
        return round(shards * sampled.items_of(1)), is_exact

    def _stage(self, is_scored: bool, is_waiting: bool) -> Stage:
        if self._plan is None:
            return "plan"
        if not is_scored:
            return "score"
        return "ask" if is_waiting or not self._is_decided else "publish"

    def _state(self, stage: Stage, is_waiting: bool, is_worked_on: bool | None) -> str:
        if stage == "ask" and is_waiting:
            return "Claude is answering"  # which takes no process
        what = {
            "plan": "planning and scoring" if len(self._scored) else "planning",
            "score": "scoring",
            "ask": "deciding",
        }.get(stage, "publishing")
        return what + {True: "", False: ", stopped", None: ", or stopped"}[is_worked_on]

    def _is_worked_on(self, now: datetime, is_held: bool | None) -> bool | None:
        """Whoever has just committed something is at work, be it elsewhere; silence on S3 may be anything."""
        created_at = self._record.get("created_at") if self._last_at is None else None
        has_just_begun = created_at is not None and now - datetime.fromisoformat(created_at) < _BEGINS
        if is_held or has_just_begun or (self._last_at and now - self._last_at < _AT_WORK):
            return True
        return None if self.store.root.startswith("s3://") else is_held

    @property
    def _devices(self) -> int | None:
        """Of the latest session."""
        keys = sorted(self._sessions, key=lambda key: key.rsplit("-", 1)[1])
        latest = self._sessions[keys[-1]] if keys else None
        return None if latest is None else int(latest.get("devices", latest["engines"]))

    def _busy_share(self, pace: tuple[float, float] | None, is_scored: bool) -> float | None:
        if pace:
            return min(1.0, pace[1] / self._devices) if self._devices and len(self._scored) else None
        ended = [each for key, each in self._sessions.items() if key.startswith(f"{layout.SCORING}/")]
        held = sum(each.get("devices", each["engines"]) * each["held_seconds"] for each in ended)
        return min(1.0, self._scored.device_seconds / held) if held and is_scored else None

    def _first_cost_usd(self) -> Decimal | None:
        if self._has_no_engine or not len(self._scored):
            return Decimal(0)
        if self._is_over_http:
            return self._scored.cost_usd
        hour_usd = self._prices.device_hour_usd
        return None if hour_usd is None else device_cost(round(self._scored.device_seconds * 1e9), hour_usd)


@dataclass(frozen=True)
class _Prices:
    """What the job says of its first tier's price."""

    device_hour_usd: Decimal | None = None
    token: TokenPrice | None = None  # of one over HTTP


def _figures(part: bytes, price: TokenPrice | None) -> PartFigures:
    table = from_arrow(part)
    # Before format 3 the columns of a prediction stood by themselves.
    said = predictions_of(table) if "prediction" in table.column_names else table
    if _DEVICE in said.column_names:
        return PartFigures(len(table), (pc.sum(said[_DEVICE]).as_py() or 0) / 1e9)
    counts = zip(*(said[name].to_pylist() for name in TOKEN_COLUMNS), strict=True)
    return PartFigures(len(table), cost_usd=add_known(token_cost(price, *each) for each in counts))


def _rows(part: bytes) -> int:
    return len(from_arrow(part, ["item_id"]))


def _json_or_none(data: bytes | None) -> dict[str, Any] | None:
    return None if data is None else json.loads(data)


def _prices_of(job: bytes | None) -> _Prices:
    """Read without the job's schema: that of another version is priced all the same."""
    content = yaml.safe_load(job) if job else None
    hour_usd, token = (_within(content, *path) for path in (("compute", "device_hour_usd"), ("model", "price")))
    return _Prices(
        device_hour_usd=None if hour_usd is None else Decimal(str(hour_usd)),
        token=None if token is None else TokenPrice.model_validate(token),
    )


def _within(content: Any, section: str, name: str) -> Any:
    inner = content.get(section) if isinstance(content, dict) else None
    return inner.get(name) if isinstance(inner, dict) else None


def _routes_of(part: pa.PythonFile, *, is_arrow: bool) -> pa.Table:
    """The column ``route`` of a part of the results; of the others as little as the file's form allows."""
    if not is_arrow:
        return pq.ParquetFile(part, pre_buffer=False).read([_ROUTE], use_threads=USE_THREADS)
    place = pa.ipc.open_file(part).schema.get_field_index(_ROUTE)
    part.seek(0)
    options = pa.ipc.IpcReadOptions(included_fields=[place], use_threads=USE_THREADS)
    return pa.ipc.open_file(part, options=options).read_all()
