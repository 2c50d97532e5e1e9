"""Fixtures of tests that need S3: one emulator for all tests, a fresh bucket and AWS variables for each test."""

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any, Protocol

import boto3
import pytest

from infra.local.s3.servers import REGION, ROOT_KEY
from pipelines.settings import settings
from pipelines.store import s3 as s3_store
from pipelines.store import s3_any_name
from tests.shared_servers import Variables, variables_of

_numbers = itertools.count()


class RunningServer(Protocol):
    """What a bucket needs of the server it is on."""

    @property
    def endpoint(self) -> str: ...

    def client_variables(self) -> dict[str, str]: ...


@dataclass(frozen=True)
class SharedServer:
    """A server that another process keeps."""

    variables: Variables

    @property
    def endpoint(self) -> str:
        return self.variables["AWS_ENDPOINT_URL"]

    def client_variables(self) -> dict[str, str]:
        return self.variables


@dataclass(frozen=True)
class Bucket:
    """A bucket of its own on a running server; the process's AWS variables lead there."""

    server: RunningServer
    name: str

    @property
    def uri(self) -> str:
        return f"s3://{self.name}"

    def client(self, service: str = "s3") -> Any:
        """A boto3 client of the root user."""
        return _client(self.server.endpoint, service)

    def put(self, key: str, body: bytes) -> None:
        self.client().put_object(Bucket=self.name, Key=key, Body=body)

    def get(self, key: str) -> bytes:
        body: bytes = self.client().get_object(Bucket=self.name, Key=key)["Body"].read()
        return body

    def all_keys(self) -> list[str]:
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


@lru_cache
def _client(endpoint: str, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=ROOT_KEY,
        aws_secret_access_key=ROOT_KEY,
    )


def fresh_bucket(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """Make a bucket, and lead this process and those it starts to it."""
    use(server.client_variables(), monkeypatch)
    bucket = Bucket(server, f"bucket-{os.getpid()}-{next(_numbers)}")
    bucket.client().create_bucket(Bucket=bucket.name)
    return bucket


def use(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Set variables, as if the process had been started with them."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    forget_clients()


def forget_clients() -> None:
    """Read the environment anew at the next use."""
    settings.cache_clear()
    s3_store.open_bucket.cache_clear()
    s3_any_name.open_client.cache_clear()


def be_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up after a third of a second where the product tries for a minute."""
    monkeypatch.setitem(s3_store._RETRIES, "retry_timeout", timedelta(seconds=0.3))


@pytest.fixture(scope="session")
def emulator() -> SharedServer:
    return SharedServer(variables_of("emulator"))


@pytest.fixture(scope="session")
def moto() -> SharedServer:
    return SharedServer(variables_of("moto"))


@pytest.fixture
def s3(emulator: SharedServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    yield fresh_bucket(emulator, monkeypatch)
    forget_clients()
