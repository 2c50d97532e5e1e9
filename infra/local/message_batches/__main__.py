"""Start the service: ``python -m infra.local.message_batches --state DIR``. See README.md beside this file."""

import argparse
import asyncio
import fcntl
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import IO

import uvicorn

from infra.local.message_batches.app import build_app
from infra.local.message_batches.service import MAX_BODY_BYTES, Service, Settings
from infra.local.message_batches.wire import DroppableProtocol

BANNER = (
    "SIMULATION of Anthropic's Message Batches API: no Claude involved, answers come from a file, nothing is billed."
)
PARENT_CHECK_SECONDS = 0.2
# The SDK keeps idle connections; closing one under it would look like a fault that nobody switched on.
KEEP_ALIVE_SECONDS = 3600


def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    arguments = _parse_arguments()
    settings = _settings(arguments)
    settings.state.mkdir(parents=True, exist_ok=True)
    with (settings.state / "lock").open("w") as lock:
        if not _lock(lock):
            print(f"another service is using {settings.state}", file=sys.stderr)
            return 1
        print(BANNER, file=sys.stderr, flush=True)
        _serve(settings, arguments)
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.local.message_batches", description=BANNER)
    parser.add_argument(
        "--state", type=Path, required=True, metavar="DIR", help="folder of the state; kept between runs"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument("--answer-key", type=Path, metavar="FILE.jsonl", help="known answers by sha256 of the text")
    parser.add_argument("--error-rate", type=float, default=0.03, help="how often an enum property is answered wrongly")
    parser.add_argument("--seed", type=int, default=0, help="seed of wrong answers and of the order of results")
    parser.add_argument("--processing-seconds", type=float, default=0, help="how long a batch stays in progress")
    parser.add_argument("--cancel-seconds", type=float, default=0, help="how long a batch stays canceling, at most")
    parser.add_argument("--max-body-bytes", type=int, default=MAX_BODY_BYTES, help="largest request body taken")
    parser.add_argument("--conformance", action="store_true", help="seed what the SDK's own tests expect")
    parser.add_argument("--exit-with-parent", action="store_true", help="end when the parent process ends")
    return parser.parse_args()


def _settings(arguments: argparse.Namespace) -> Settings:
    return Settings(
        state=arguments.state,
        answer_key=arguments.answer_key,
        error_rate=arguments.error_rate,
        seed=arguments.seed,
        processing_seconds=arguments.processing_seconds,
        cancel_seconds=arguments.cancel_seconds,
        max_body_bytes=arguments.max_body_bytes,
        conformance=arguments.conformance,
    )


def _lock(file: IO[str]) -> bool:
    """Two services on one state would both process its batches; the lock ends with the process, however it ends."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _serve(settings: Settings, arguments: argparse.Namespace) -> None:
    parent = os.getppid()
    with socket.create_server((arguments.host, arguments.port), backlog=1024) as listener:
        # asyncio would set this only on sockets of an explicit protocol; without it each answer waits some 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        url = f"http://{arguments.host}:{listener.getsockname()[1]}"
        app = build_app(Service(settings), on_ready=lambda: _announce(settings.state, url))
        config = uvicorn.Config(
            app,
            http=DroppableProtocol,
            ws="none",
            loop="asyncio",
            log_level="warning",
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=2,
        )
        server = uvicorn.Server(config)
        # uvicorn raises the signal again after a clean shutdown; with this handler in place that ends in exit code 0.
        signal.signal(signal.SIGTERM, server.handle_exit)
        signal.signal(signal.SIGINT, server.handle_exit)
        asyncio.run(_run(server, listener, parent if arguments.exit_with_parent else None))


async def _run(server: uvicorn.Server, listener: socket.socket, parent: int | None) -> None:
    watch = asyncio.create_task(_watch_parent(server, parent)) if parent is not None else None
    await server.serve(sockets=[listener])
    if watch is not None:
        watch.cancel()


async def _watch_parent(server: uvicorn.Server, parent: int) -> None:
    while os.getppid() == parent:
        await asyncio.sleep(PARENT_CHECK_SECONDS)
    server.should_exit = True


def _announce(state: Path, url: str) -> None:
    """Say on stdout and in ``endpoint.json`` where the service listens; the file appears whole or not at all."""
    line = json.dumps({"url": url, "pid": os.getpid(), "simulation": True})
    draft = state / "endpoint.json.tmp"
    draft.write_text(line + "\n", encoding="utf-8")
    draft.replace(state / "endpoint.json")
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
