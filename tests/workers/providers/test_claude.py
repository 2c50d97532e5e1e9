"""The clients of the three sellers of the Message Batches API, each sending a real batch to the local service."""

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import anthropic
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pipelines.errors import ProviderError
from pipelines.escalation.provider import Request
from pipelines.escalation.requests import RequestTemplate
from pipelines.tasks.classification import Label, answer_schema, claude_system_prompt
from tests.infra.message_batches_server import Server
from workers.providers import claude
from workers.providers.claude import ClaudeBatches

LABELS = (Label("A", "billing", None), Label("B", "outage", None))
TEMPLATE = RequestTemplate("claude-haiku-4-5", 64, claude_system_prompt(LABELS, None), answer_schema(LABELS))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "service") as server:
        yield server


@pytest.fixture
def google_tokens() -> Iterator[str]:
    """The address of a token service: what Google's own gives a service account."""

    class Tokens(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.dumps({"access_token": "token-of-google", "expires_in": 3600, "token_type": "Bearer"}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Tokens) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/token"
        server.shutdown()
        thread.join()


def requests() -> list[Request]:
    return [TEMPLATE.build(f"00000000-00000-itm_{number}", f"Document {number}.") for number in range(3)]


def sends_a_batch_and_reads_it(provider: ClaudeBatches, service: Server) -> None:
    batch_id = provider.create(requests(), "token")
    deadline = time.monotonic() + 10
    while not provider.retrieve(batch_id).is_ended:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert sorted(row.custom_id for row in provider.results(batch_id)) == [row["custom_id"] for row in requests()]


def without(monkeypatch: pytest.MonkeyPatch, *prefixes: str) -> None:
    import os

    for name in [name for name in os.environ if name.startswith(prefixes)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/nonexistent")


def test_the_sdk_sends_nothing_twice_by_itself(service: Server) -> None:
    with claude.connect("key", service.url) as client:
        assert client.max_retries == 0


def test_claude_platform_on_aws(service: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "AWS_", "ANTHROPIC_")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("ANTHROPIC_AWS_WORKSPACE_ID", "wrkspc_1")
    monkeypatch.setenv("ANTHROPIC_AWS_BASE_URL", service.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with claude.connect_aws() as client:
        assert client.max_retries == 0
        with pytest.raises(anthropic.AuthenticationError) as refused:  # the local service knows keys, not signatures
            client.messages.batches.list()
        authorization = refused.value.request.headers["authorization"]
        assert authorization.startswith("AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/")
    monkeypatch.setenv("ANTHROPIC_AWS_API_KEY", "key")
    with claude.connect_aws() as client:
        sends_a_batch_and_reads_it(ClaudeBatches(client, "aws"), service)


def test_claude_platform_on_aws_without_a_region(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "AWS_", "ANTHROPIC_")
    with pytest.raises(ProviderError, match="`aws` is not set up where the flow runs: No AWS region was provided"):
        claude.connect_aws()


def test_claude_through_google_cloud(
    service: Server, google_tokens: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "GOOGLE_", "ANTHROPIC_")
    key = rsa.generate_private_key(65_537, 2_048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    account = {"type": "service_account", "client_email": "us@project-1", "private_key": key.decode()}
    (tmp_path / "adc.json").write_text(json.dumps(account | {"token_uri": google_tokens}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "adc.json"))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "project-1")
    monkeypatch.setenv("ANTHROPIC_GOOGLE_CLOUD_BASE_URL", service.url)
    with claude.connect_google_cloud() as client:
        assert client.max_retries == 0
        headers = client.messages.batches.with_raw_response.list().http_request.headers
        assert headers["authorization"] == "Bearer token-of-google"
        sends_a_batch_and_reads_it(ClaudeBatches(client, "google_cloud"), service)


def test_google_cloud_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claude, "find_spec", lambda _name: None)
    with pytest.raises(ProviderError, match=r"needs one package more: pip install google-auth\[requests\]"):
        claude.connect_google_cloud()
