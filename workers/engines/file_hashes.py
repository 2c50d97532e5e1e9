"""What is in a model's files, as one hash: read whole, and read again only when a file may have changed.

A weight file of some gigabytes is read once on each machine; its hash is kept in the state folder under what the file
system says of it. Small files are always read.
"""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipelines.settings import settings

_ALWAYS_READ_BYTES = 1_000_000
# A file that was changed a moment ago may be changed again within one tick of the file system's clock.
_SETTLED_SECONDS = 2.0


def content_hash(files: Sequence[Path]) -> str:
    """One SHA-256 over names and contents, in the given order.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    with ThreadPoolExecutor() as executor:  # a model comes in many files, and hashing holds no lock
        for path, found in zip(files, executor.map(file_hash, files), strict=True):
            digest.update(f"{path.name}\x00{found}\x00".encode())
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        OSError: it cannot be read.
    """
    stat = path.stat()
    if stat.st_size < _ALWAYS_READ_BYTES:
        return _read(path)
    # The time of the last change of the entry itself cannot be set back, as that of the content can.
    seen = (path.resolve(), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
    kept = settings().state_dir / "hashes" / hashlib.sha256(repr(seen).encode()).hexdigest()[:32]
    if kept.is_file():
        return kept.read_text(encoding="ascii")
    found = _read(path)
    is_settled = time.time() - max(stat.st_mtime, stat.st_ctime) > _SETTLED_SECONDS
    if is_settled and path.stat().st_ctime_ns == stat.st_ctime_ns:
        kept.parent.mkdir(parents=True, exist_ok=True)
        staged = kept.with_name(f"{kept.name}-{uuid.uuid4().hex}")
        staged.write_text(found, encoding="ascii")
        os.replace(staged, kept)  # whole or not at all: a half-written hash would be another revision
    return found


def _read(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
