"""The proxy that stands for a far store: what it carries arrives unchanged, and each request is noted."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import boto3
import pytest

from infra.local.s3 import DelayingProxy, Request
from tests.s3_fixtures import SharedServer
from tests.shared_servers import Variables

pytestmark = pytest.mark.processes


class _Echo(BaseHTTPRequestHandler):
    """Answers with the body it was sent: in chunks to a GET, as one to the others."""

    protocol_version = "HTTP/1.1"
    connections: ClassVar[set[int]] = set()

    def setup(self) -> None:
        super().setup()
        self.connections.add(self.client_address[1])

    def do_PUT(self) -> None:
        body = self._chunks() if self.headers["Transfer-Encoding"] else self._whole()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in (b"GET /not/a/request HTTP/1.1\r\n\r\n", b"x" * 200_000):
            self.wfile.write(b"%x;note=1\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\nx-trailer: 1\r\n\r\n")

    def do_HEAD(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "77")  # of the body that a GET would have
        self.end_headers()

    def _whole(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 64


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[DelayingProxy]:
    with _Server(("127.0.0.1", 0), _Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        _Echo.connections.clear()
        with DelayingProxy(tmp_path, f"http://127.0.0.1:{server.server_address[1]}", 0.01) as proxy:
            yield proxy
        server.shutdown()


def _connect(proxy: DelayingProxy) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(proxy.endpoint.removeprefix("http://"), timeout=60)


def noted(proxy: DelayingProxy, count: int) -> list[Request]:
    """So many requests: one is noted once its answer is through, which the client knows a moment before."""
    deadline = time.monotonic() + 60
    while len(requests := proxy.requests()) < count:
        assert time.monotonic() < deadline, requests
        time.sleep(0.01)
    assert len(requests) == count
    return requests


def test_bodies_of_every_form_arrive_whole_over_one_kept_connection(proxy: DelayingProxy) -> None:
    connection = _connect(proxy)
    body = bytes(range(256)) * 2_000
    started = time.time()

    connection.request("PUT", "/bucket/a%20key?x=1", body)
    assert connection.getresponse().read() == body
    pieces = iter([body, b"PUT / HTTP/1.1\r\n\r\n"])
    connection.request("PUT", "/bucket/chunks", pieces, {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    assert connection.getresponse().read() == body + b"PUT / HTTP/1.1\r\n\r\n"
    connection.request("HEAD", "/bucket/none")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (404, b"")
    connection.request("GET", "/bucket/b")
    assert connection.getresponse().read() == b"GET /not/a/request HTTP/1.1\r\n\r\n" + b"x" * 200_000
    connection.close()

    assert time.time() - started >= 4 * 0.01
    first, *others = noted(proxy, 4)
    assert started <= first.at <= time.time()
    assert first == Request(first.at, "PUT", "/bucket/a key", "x=1", 200, len(body), len(body))
    assert [(each.method, each.path, each.status, each.sent_bytes, each.received_bytes) for each in others] == [
        ("PUT", "/bucket/chunks", 200, len(body) + 18, len(body) + 18),
        ("HEAD", "/bucket/none", 404, 0, 0),
        ("GET", "/bucket/b", 200, 0, 200_031),
    ]
    assert len(_Echo.connections) == 1


def test_requests_wait_beside_each_other_and_not_in_a_row(tmp_path: Path) -> None:
    with _Server(("127.0.0.1", 0), _Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with DelayingProxy(tmp_path, f"http://127.0.0.1:{server.server_address[1]}", 1.0) as proxy:

            def ask(number: int) -> bytes:
                with closing(_connect(proxy)) as connection:
                    connection.request("PUT", f"/{number}", b"body")
                    return connection.getresponse().read()

            with ThreadPoolExecutor(20) as clients:
                assert list(clients.map(ask, range(20))) == [b"body"] * 20
            came = sorted(request.at for request in noted(proxy, 20))
            assert came[-1] - came[0] < 19  # the last came before the first would have let it
        server.shutdown()


def test_a_client_that_asks_before_it_sends_its_body_is_told_to_go_on(proxy: DelayingProxy) -> None:
    host, _, port = proxy.endpoint.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        client.sendall(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 100")
        client.sendall(b"body")
        answer = b""
        while not answer.endswith(b"body"):
            answer += client.recv(1 << 16)
        assert answer.startswith(b"HTTP/1.1 200")


def test_signatures_hold_behind_the_proxy(tmp_path: Path, emulator: SharedServer) -> None:
    with DelayingProxy(tmp_path, emulator.endpoint, 0.001) as proxy:
        variables: Variables = emulator.client_variables()
        client = boto3.client(
            "s3",
            endpoint_url=proxy.endpoint,
            region_name=variables["AWS_REGION"],
            aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        )
        client.create_bucket(Bucket="far")
        client.put_object(Bucket="far", Key="plan/part-0", Body=b"x" * 3_000_000)
        assert client.get_object(Bucket="far", Key="plan/part-0")["Body"].read() == b"x" * 3_000_000
        assert [(request.method, request.path) for request in noted(proxy, 3)][1:] == [
            ("PUT", "/far/plan/part-0"),
            ("GET", "/far/plan/part-0"),
        ]
