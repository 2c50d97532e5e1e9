"""The Ray that a run's engines are in: a cluster that is joined, or one that this process starts, guards and ends."""

from __future__ import annotations

import gc
import logging
import os
import secrets
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants, utils, worker

from pipelines.errors import EngineError
from pipelines.settings import settings, withhold_claude_key

# A busy machine takes minutes for what an idle one does in five seconds.
_START_SECONDS = 300
_OBJECT_STORE_BYTES = 200 * 1024**2  # only numbers travel
# What the command, Prefect's server and Ray's own processes come to.
_BESIDE_ENGINES_BYTES = 1024**3
_LOOK_SECONDS = 0.005
_LEAST_FOR_ENGINES_BYTES = 1024**2  # a node with none says nothing of its memory, as if there were no end of it
# Of the processes of a Ray, those without which no engine goes on.
_NEEDED = {"gcs_server", "raylet"}

log = logging.getLogger(__name__)

# Stopping the Ray of this process takes five seconds of waiting; the run goes on meanwhile.
_stopping: threading.Thread | None = None


def start_ray(address: str | None) -> None:
    """Join the cluster at ``address``, or start Ray on this machine. Does nothing when already joined.

    Raises:
        EngineError: it does not start.
    """
    if _stopping:
        _stopping.join()
    if ray.is_initialized():
        return
    withhold_claude_key()  # what Ray starts here inherits this environment
    options: dict[str, Any] = {"log_to_driver": True, "logging_level": logging.WARNING}
    if address is None:
        options |= {
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
            "_memory": _memory_for_engines(),
            "_system_config": {"worker_register_timeout_seconds": _START_SECONDS, "worker_niceness": 0},
        }
        _keep_others_out()
    first_asked_at = time.monotonic()
    while True:
        try:
            # "local": never somebody else's Ray that happens to run on this machine.
            ray.init(address=address or "local", **options)
            return
        except Exception as error:  # what Ray raises for a node that is not up in time is a bare Exception
            if address is None:
                ray.shutdown()
                if _is_out_of_time(error) and time.monotonic() - first_asked_at < _START_SECONDS:
                    log.warning("Ray is not up in its 30 seconds (%s); trying again", last_line(error))
                    continue
            raise EngineError(_not_started(address, error)) from error


def _memory_for_engines() -> int:
    """Bytes that engines may ask Ray for: by its own estimate, which knows containers, less what is no engine."""
    available = int(utils.estimate_available_memory())  # type: ignore[no-untyped-call]  # Ray's annotations stop here
    return max(available - _OBJECT_STORE_BYTES - _BESIDE_ENGINES_BYTES, _LEAST_FOR_ENGINES_BYTES)


def _is_out_of_time(error: Exception) -> bool:
    """Whether more time may help; Ray gives its node half a minute, which no setting changes."""
    return type(error) is Exception or isinstance(error, TimeoutError) or "timed out" in str(error).lower()


def _not_started(address: str | None, error: Exception) -> str:
    if address:
        return (
            f"the Ray cluster at '{address}' cannot be joined: {last_line(error)}; see whether it is up (`ray status "
            f"--address {address}`) and run the same command again, or unset RAY_ADDRESS to start Ray here"
        )
    return (
        f"Ray does not start on this machine: {last_line(error)}. Run the same command again when the machine is less "
        "busy; if that does not help, the log says more"
    )


def _keep_others_out() -> None:
    """A Ray of our own listens on the loopback interface alone, and its token is for this user's eyes.

    Whoever reaches its ports with the token runs code here. Ray itself listens on every interface, except on systems
    where it expects a firewall to ask (`ENABLE_RAY_CLUSTER`), and writes a token that all may read.
    """
    ray_constants.ENABLE_RAY_CLUSTER = False  # read at import: for this process
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"  # for those that it starts
    os.environ.setdefault("RAY_AUTH_TOKEN_PATH", str(_own_token()))


def _own_token() -> Path:
    folder = settings().state_dir / "ray"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    token = folder / "auth_token"
    if not token.is_file():
        staged = folder / f"{token.name}-{secrets.token_hex(8)}"
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(secrets.token_hex(32))
        with suppress(FileExistsError):  # another process was first: its token is as good
            os.link(staged, token)
        staged.unlink()
    token.chmod(0o600)
    return token


def leave_ray() -> None:
    """Leave the cluster, or stop the Ray that `start_ray` started; its processes end while the caller goes on.

    What holds a reference of Ray's and is let go of while Ray is taken down in this process ends the process, with exit
    code 1 and no word (`CoreWorkerProcessImpl::GetCoreWorker`): nothing else is done for those 0.3 seconds, not even by
    the garbage collector, which would find references in the tracebacks of lost engines.
    """
    global _stopping
    _stopping = threading.Thread(target=ray.shutdown, name="ray-shutdown")
    gc.disable()
    try:
        _stopping.start()
        while _stopping.is_alive() and hasattr(worker.global_worker, "core_worker"):
            time.sleep(_LOOK_SECONDS)
    finally:
        gc.enable()


def check_ray() -> None:
    """See that the Ray which `start_ray` started is whole; a cluster that was joined is for others to mend.

    Without its raylet, no engine would ever come to an end, or be started again, and nobody would say so.

    Raises:
        EngineError: a process of it has ended.
    """
    own: Any = worker._global_node
    ended = {kind for kind, _ in own.dead_processes()} if own is not None else set()
    if lost := sorted(ended & _NEEDED):
        raise EngineError(
            f"Ray, which this command started, has lost its {lost[-1]}: it was killed, or the machine was asleep, out "
            "of memory or too busy for a minute. What is committed is kept: the same command does the rest"
        )


def last_line(error: Exception) -> str:
    """The last line of Ray's report that says something: it ends with the original exception."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
