"""Start the stand-in: ``python -m infra.local.first_tier --shape ollama``. See README.md beside this file."""

import argparse
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from infra.local.first_tier.service import SHAPES, FirstTierService

BANNER = (
    "SIMULATION of a first tier over HTTP: no model answers, probabilities are made from the text, nothing is billed."
)


def server_of(service: FirstTierService, port: int = 0) -> ThreadingHTTPServer:
    """An HTTP server on the loopback interface; not serving yet."""

    class Handler(BaseHTTPRequestHandler):
        """One connection."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # the library's name
            self._reply()

        def do_POST(self) -> None:  # the library's name
            self._reply()

        def log_message(self, format: str, *args: object) -> None:  # the library's name
            """Keys and documents reach no log."""

        def _reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = service.handle(self.command, self.path, headers, body)
            if reply.is_broken:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(reply.content)))
            self.end_headers()
            self.wfile.write(reply.content)

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def main() -> int:
    """Serve until interrupted; the address is the first line of output."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.first_tier", description=BANNER)
    parser.add_argument("--shape", choices=SHAPES, default="ollama", help="whose server it is like")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument("--key", help="refuse requests without this key")
    arguments = parser.parse_args()
    server = server_of(FirstTierService(arguments.shape, key=arguments.key), arguments.port)
    print(BANNER, file=sys.stderr, flush=True)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
