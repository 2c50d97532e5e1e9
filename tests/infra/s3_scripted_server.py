"""A server that answers every S3 request from a script: for answers that the emulators never give."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# Instead of an answer: the connection is reset, as by a server that is killed.
RESET = (0, "")


class ScriptedServer:
    """Gives one answer a request, in order, and the last one from then on; notes the requests."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        self._answers = list(answers)
        self.requests: list[str] = []
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                script.requests.append(f"{self.command} {self.path}")
                status, body = script._answers.pop(0) if len(script._answers) > 1 else script._answers[0]
                if (status, body) == RESET:
                    self._reset()
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("ETag", '"1"')
                self.send_header("Last-Modified", "Mon, 01 Jun 2026 00:00:00 GMT")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body.encode())

            def _reset(self) -> None:
                self.close_connection = True
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                socket.close(self.connection.detach())  # by the server's own way, it would be closed in an orderly way

            do_GET = do_PUT = do_HEAD = do_CONNECT = answer

            def log_message(self, *_: Any) -> None:
                """Not to the terminal."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def serving(self) -> Iterator["ScriptedServer"]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


def refusal(status: int, code: str, rest: str = "") -> tuple[int, str]:
    """An error as S3 words it."""
    return status, f"<Error><Code>{code}</Code><Message>of its own</Message>{rest}</Error>"
