"""One process of a machine works on a run at a time.

Two at once would lose nothing, because every commit is a conditional create; but they would do all work twice. The
lock is the operating system's: it ends with the process that holds it, however that ends. Between machines, Prefect's
flow runs are what is looked at (`flows.service.watchdog`).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.errors import ServiceError
from pipelines.settings import settings

_LOCKS = Path("/proc/locks")


@contextmanager
def sole_process(run_id: str, root: str) -> Iterator[None]:
    """Hold the run at ``root`` while the block runs.

    Raises:
        ServiceError: another process of this machine holds it.
    """
    lock = _open_lock(root)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServiceError(
                f"run {run_id} is being processed by another process of this machine (pid "
                f"{os.read(lock, 20).decode()}); wait for it, or stop it: the next one goes on where it stood"
            ) from None
        os.truncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        yield
    finally:
        os.close(lock)


def wait_for_sole_process(root: str) -> None:
    """Return once no process of this machine holds the run at ``root``."""
    lock = _open_lock(root)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
    finally:
        os.close(lock)


def is_held(root: str) -> bool | None:
    """Whether a process of this machine works on the run at ``root``; None where the system does not tell.

    Nothing is locked to find out: whoever wants to begin just now would be turned away.
    """
    try:
        inode = _lock_path(root).stat().st_ino
    except FileNotFoundError:
        return False
    try:
        lines = _LOCKS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    # Such as `1: FLOCK  ADVISORY  WRITE 4711 08:01:1234567 0 EOF`; who waits for one has `->` before its kind.
    held = (line.split() for line in lines if " FLOCK " in line and "->" not in line)
    return any(words[5].rpartition(":")[2] == str(inode) for words in held)


def _lock_path(root: str) -> Path:
    return settings().state_dir / "locks" / hashlib.sha256(root.encode()).hexdigest()[:32]


def _open_lock(root: str) -> int:
    path = _lock_path(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Never removed: a lock on a removed file would keep nobody out.
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
