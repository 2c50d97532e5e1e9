"""The stand-in for a first tier over HTTP is as strict as the servers it stands in for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.local.first_tier.service import FirstTierService, Shape

MESSAGE = {"role": "user", "content": "A. billing\nB. outage\n<document>\nhello\n</document>\n"}
CHAT = {"model": "stand-in", "messages": [MESSAGE], "logprobs": True, "top_logprobs": 20}


def post(service: FirstTierService, path: str, body: Any) -> tuple[int, Any]:
    reply = service.handle("POST", path, {}, json.dumps(body).encode())
    return reply.status, json.loads(reply.content)


@pytest.mark.parametrize(("shape", "path"), [("openai", "/v1/chat/completions"), ("ollama", "/api/chat")])
def test_a_field_that_the_server_does_not_know_is_refused(shape: Shape, path: str) -> None:
    assert post(FirstTierService(shape), path, CHAT)[0] == 200
    status, said = post(FirstTierService(shape), path, CHAT | {"logprob_token_ids": [1]})
    assert status == 400 and "Unrecognized request argument supplied: logprob_token_ids" in said["error"]["message"]


def test_only_the_shapes_own_route_is_there() -> None:
    assert post(FirstTierService("openai"), "/v1/systemone", {})[0] == 404
    assert post(FirstTierService("openai"), "/tokenize", {})[0] == 404


def test_ollama_cuts_in_silence_unless_told_otherwise() -> None:
    long = [MESSAGE | {"content": MESSAGE["content"].replace("hello", "word " * 9_000)}]
    options = {"truncate": False, "shift": False}
    assert post(FirstTierService("ollama"), "/api/chat", CHAT | {"messages": long})[0] == 200
    assert post(FirstTierService("ollama"), "/api/chat", CHAT | {"messages": long} | options)[0] == 400


def test_faults_are_set_and_calls_counted_over_http_too() -> None:
    service = FirstTierService("openai")
    post(service, "/control/faults", [{"kind": "status", "status": 503, "times": 1}])
    assert [post(service, "/v1/chat/completions", CHAT)[0] for _ in range(3)] == [503, 200, 200]
    calls = json.loads(service.handle("GET", "/control/calls", {}, b"").content)
    assert list(calls["processed"].values()) == [2]
