"""Fixtures of tests that need S3: one emulator for the session, a fresh bucket and AWS variables for each test."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

import boto3
import pytest

from infra.local.s3 import Emulator, MotoServer, ObjectServer
from infra.local.s3.servers import REGION, ROOT_KEY
from pipelines.settings import settings
from pipelines.store import s3 as s3_store

_numbers = itertools.count()


@dataclass(frozen=True)
class Bucket:
    """A bucket of its own on a running server; the process's AWS variables lead there."""

    server: ObjectServer
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


def fresh_bucket(server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """Make a bucket, and lead this process and those it starts to it."""
    use(server.client_variables(), monkeypatch)
    bucket = Bucket(server, f"bucket-{next(_numbers)}")
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


def be_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up after a third of a second where the product tries for a minute."""
    monkeypatch.setitem(s3_store._RETRIES, "retry_timeout", timedelta(seconds=0.3))


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with Emulator(tmp_path_factory.mktemp("emulator")) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoServer]:
    with MotoServer(tmp_path_factory.mktemp("moto")) as moto:
        yield moto


@pytest.fixture
def s3(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    yield fresh_bucket(emulator, monkeypatch)
    forget_clients()
