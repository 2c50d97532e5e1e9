"""The test side of the service: faults, clock, log, billing, reset. Needs no key, is not logged."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.local.message_batches.batches import timestamp
from infra.local.message_batches.faults import add_fault, list_faults
from infra.local.message_batches.service import Service
from infra.local.message_batches.wire import bad_request

SETTLE_SECONDS = 120.0


def control_routes(service: Service) -> list[Route]:
    """Routes under ``/_control``, by which a test steers the service."""
    control = Control(service)
    table: list[tuple[str, str, Callable[[Any], dict[str, Any]]]] = [
        ("POST", "faults", control.add_faults),
        ("GET", "faults", control.show_faults),
        ("POST", "clock", control.move_clock),
        ("GET", "clock", control.show_clock),
        ("GET", "log", control.show_log),
        ("GET", "billing", control.show_billing),
        ("POST", "reset", control.reset),
    ]
    return [Route(f"/_control/{name}", _endpoint(action), methods=[verb]) for verb, name, action in table]


def _endpoint(action: Callable[[Any], dict[str, Any]]) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        body = await request.body()
        try:
            return JSONResponse(await run_in_threadpool(action, json.loads(body) if body else None))
        except ValueError as error:
            return bad_request(str(error)).response()

    return answer


class Control:
    """One method per route; each takes the decoded body."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._store = service.store

    def add_faults(self, body: Any) -> dict[str, Any]:
        """Switch faults on: one description or a list of them."""
        with self._store.write() as db:
            for spec in body if isinstance(body, list) else [body]:
                if not isinstance(spec, dict):
                    raise ValueError("a fault is an object with at, kind and so on")
                add_fault(db, spec)
        return self.show_faults(None)

    def show_faults(self, _body: Any) -> dict[str, Any]:
        """Answer with the faults that are still to come."""
        with self._store.read() as db:
            return {"faults": list_faults(db)}

    def move_clock(self, body: Any) -> dict[str, Any]:
        """Move the clock forward and wait until everything that became due is done."""
        seconds = body.get("advance_seconds") if isinstance(body, dict) else None
        if not isinstance(seconds, int | float) or seconds < 0:
            raise ValueError("advance_seconds: a number that is not negative")
        self._service.clock.advance(seconds)
        settled = self._service.processor.settle(SETTLE_SECONDS)
        return self.show_clock(None) | {"settled": settled}

    def show_clock(self, _body: Any) -> dict[str, Any]:
        """Answer with the service's time."""
        return {"now": timestamp(self._service.clock.now_us())}

    def show_log(self, _body: Any) -> dict[str, Any]:
        """All requests seen, and what was billed in total."""
        with self._store.read() as db:
            rows = [dict(row) for row in db.execute("SELECT * FROM log ORDER BY seq")]
        for row in rows:
            row["at"] = timestamp(row.pop("at_us"))
            row["usage"] = json.loads(row["usage"]) if row["usage"] else None
        direct = [row["usage"] for row in rows if row["usage"]]
        return {"requests": rows, "billed": {"batches": self._billed()["total"], "messages": sum_usage(direct)}}

    def show_billing(self, _body: Any) -> dict[str, Any]:
        """Per custom_id, over all batches ever, deleted ones included."""
        return self._billed()

    def reset(self, _body: Any) -> dict[str, Any]:
        """Forget all batches, faults, log and the clock's offset."""
        self._store.reset()
        self._service.seed_conformance()
        return {"reset": True}

    def _billed(self) -> dict[str, Any]:
        by_id: dict[str, list[dict[str, Any]]] = {}
        with self._store.read() as db:
            for row in db.execute("SELECT custom_id, usage FROM requests WHERE usage IS NOT NULL"):
                by_id.setdefault(row["custom_id"], []).append(json.loads(row["usage"]))
        everything = [usage for usages in by_id.values() for usage in usages]
        return {
            "custom_ids": {custom_id: sum_usage(usages) for custom_id, usages in by_id.items()},
            "total": sum_usage(everything),
        }


def sum_usage(usages: list[dict[str, Any]]) -> dict[str, int]:
    """The token fields added up, and ``count``: how many rows were billed."""
    totals: Counter[str] = Counter(count=len(usages))
    for usage in usages:
        flat = usage | usage["cache_creation"]
        totals.update({name: value for name, value in flat.items() if isinstance(value, int)})
    return dict(totals)
