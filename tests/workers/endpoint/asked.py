"""A first tier over HTTP in the tests' own process: the stand-in, reached without a socket."""

from __future__ import annotations

from datetime import date
from typing import Any

import httpx2

from infra.local.first_tier.service import MODEL, FirstTierService, Shape
from pipelines.job.endpoint import ModelEndpoint
from pipelines.tasks.classification import DEFAULT_INSTRUCTIONS, Label
from workers.endpoint.client import FirstTierClient
from workers.endpoint.probe import probe
from workers.endpoint.served import Served

LABELS = tuple(
    Label("", name, meaning) for name, meaning in (("billing", "a charge"), ("outage", None), ("other", None))
)


def endpoint(**changes: Any) -> ModelEndpoint:
    fixed: dict[str, Any] = {"endpoint": "http://localhost:8000", "name": MODEL, "where": "own"}
    return ModelEndpoint.model_validate(fixed | changes)


def client_of(service: FirstTierService, asked: ModelEndpoint, waits: list[float] | None = None) -> FirstTierClient:
    """A client to a service; ``waits`` hears of the pauses between attempts."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        headers = dict(request.headers)
        reply = service.handle(request.method, request.url.path, headers, request.content)
        if reply.is_broken:
            raise httpx2.RemoteProtocolError("closed", request=request)
        return httpx2.Response(reply.status, content=reply.content, headers=reply.headers)

    def sleep(seconds: float) -> None:
        if waits is not None:
            waits.append(seconds)

    return FirstTierClient(asked, transport=httpx2.MockTransport(answer), sleep=sleep)


def probed(service: FirstTierService, labels: tuple[Label, ...] = LABELS, **changes: Any) -> Served:
    asked = endpoint(**changes)
    return probe(asked, labels, DEFAULT_INSTRUCTIONS, client_of(service, asked), date(2026, 11, 27))


def service_of(shape: Shape, **options: Any) -> FirstTierService:
    return FirstTierService(shape, **options)
