"""Prefect's temporary server: where none is configured, one is started here, and ends with this process.

Prefect would start one by itself, in our process group and with twenty seconds to come up: Ctrl-C at a terminal would
end it before us, and its clients would go on asking it for minutes; a busy machine would be told of as a fault; and
killed with -9, we would leave it behind.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.context import refresh_global_settings_context
from prefect.settings import get_current_settings

from flows.console.progress import ProgressReporter
from pipelines.errors import ServiceError
from pipelines.importing import uncollected

_HOST = "127.0.0.1"
# Three to ten seconds on a machine that has nothing else to do.
_START_SECONDS = 600
_ANSWER_SECONDS, _POLL_SECONDS, _STOP_SECONDS = 10.0, 0.1, 5.0
_PARENT_CHECK_SECONDS = 0.5
# As Prefect starts its own: an interface only, made once.
_ENVIRONMENT = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}


@contextmanager
def prefect_at_hand(progress: ProgressReporter) -> Iterator[None]:
    """Have the block's flows find a server: the configured one, or one of this process, until that ends.

    Raises:
        ServiceError: it does not start, or does not answer any more.
    """
    url = get_current_settings().api.url or _start_server(progress)
    try:
        yield
    except httpx.HTTPError as error:  # nothing else here asks through httpx
        raise ServiceError(
            f"Prefect's server at {url} does not answer as it should ({type(error).__name__}: {error}); what is "
            "committed is kept: the same command does the rest"
        ) from error


def _start_server(progress: ProgressReporter) -> str:
    with socket.create_server((_HOST, 0), backlog=1024) as listener:  # ours already: nobody else can take the port
        url = f"http://{_HOST}:{listener.getsockname()[1]}/api"
        server = subprocess.Popen(  # noqa: S603  # our own words
            # -P: the folder it runs in must not be searched for modules.
            [sys.executable, "-P", "-m", "flows.prefect_server", str(listener.fileno()), str(os.getpid())],
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    atexit.register(_stop, server)
    with progress.waiting("prefect", "its temporary server starts"):
        _wait_until_healthy(server, url, _START_SECONDS)
    os.environ["PREFECT_API_URL"] = url
    refresh_global_settings_context()
    return url


def _wait_until_healthy(
    server: subprocess.Popen[bytes], url: str, seconds: float, answer_seconds: float = _ANSWER_SECONDS
) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if httpx.get(f"{url}/health", timeout=answer_seconds, trust_env=False).is_success:
                return
        except httpx.TransportError:  # it is not up, or busy with its start
            pass
        if server.poll() is not None:
            raise ServiceError(
                f"Prefect's temporary server ended with exit code {server.returncode}; its words are in the log. Mend "
                "the cause, or start one that stays (`prefect server start`) and set PREFECT_API_URL to it"
            )
        if time.monotonic() > deadline:
            raise ServiceError(
                f"Prefect's temporary server did not start in {seconds:.0f} s. Run the same command again when the "
                "machine is less busy, or start one that stays (`prefect server start`) and set PREFECT_API_URL to it"
            )
        time.sleep(_POLL_SECONDS)


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _serve(listener: int, parent: int) -> None:
    import uvicorn

    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    os.environ.update(_ENVIRONMENT)
    refresh_global_settings_context()
    with uncollected():
        import prefect.server.api.server  # noqa: F401  # nearly all of what it takes to start
    uvicorn.run("prefect.server.api.server:create_app", factory=True, fd=listener, log_level="error", lifespan="on")


def _end_with(parent: int) -> None:
    """End this process once its parent has ended: an orphan gets another parent."""
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), int(sys.argv[2]))
