"""Stubbed AWS clients; after each test, everything that was expected must have been asked."""

from collections.abc import Iterator

import pytest
from botocore.stub import Stubber

from tests.workers.providers.bedrock.aws_stub import Aws, real_client
from workers.providers.bedrock_account import Clients


@pytest.fixture(scope="module")
def three_clients() -> Clients:
    return Clients(bedrock=real_client("bedrock"), bedrock_once=real_client("bedrock"), s3=real_client("s3"))


@pytest.fixture
def aws(three_clients: Clients) -> Iterator[Aws]:
    stubs = [Stubber(client) for client in (three_clients.bedrock, three_clients.bedrock_once, three_clients.s3)]
    for stub in stubs:
        stub.activate()
    yield Aws(three_clients, *stubs)
    for stub in stubs:
        stub.deactivate()
        stub.assert_no_pending_responses()
