"""Where a job's runs write: no input of theirs, even if it lies inside their input.

A run that read what it writes would never see the same input twice, so it could neither start nor be resumed.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

from pipelines.store import layout

Kind = Literal["output", "state"]
Identity = tuple[int, int]  # of a local folder: device and inode, the same under whatever name it is reached


DETAILS: dict[Kind, str] = {"output": "what this job's runs write", "state": "Sluice's own state"}


@dataclass(frozen=True, slots=True)
class OwnPlaces:
    """The ``output`` of a job (a folder or an ``s3://`` URI) and the folder of this machine's ``state``."""

    output: str | None = None
    state: str | None = None

    @property
    def local(self) -> list[str]:
        """Paths of our own places that are on this machine."""
        return [_path_of(place) for place in (self.state, self.output) if place and not place.startswith("s3://")]

    def folders(self) -> dict[Identity, Literal["output", "state"]]:
        """Those of our own folders that exist, by their identity on the disk."""
        found: dict[Identity, Literal["output", "state"]] = {}
        kinds: tuple[tuple[Literal["output", "state"], str | None], ...] = (
            ("state", self.state),
            ("output", self.output),
        )
        for kind, place in kinds:
            if not place or place.startswith("s3://"):
                continue
            try:
                info = os.stat(_path_of(place))
            except OSError:  # not there yet, or not ours to see: nothing of it will be listed
                continue
            found[info.st_dev, info.st_ino] = kind
        return found

    def part_of(self, key: str, bucket: str, folder: str, runs: Collection[str]) -> str | None:
        """The folder to which an object of a bucket belongs if a run has written it: relative to the input ``folder``.

        Where runs are written straight into the input's folder, they are known by ``runs``.
        """
        output = self._prefix_in(bucket)
        if output is None or not key.startswith(output):
            return None
        folder = f"{folder}/" if folder else ""
        if output == folder:
            run = key[len(output) :].partition("/")[0]
            return f"{run}/" if run in runs else None
        return output[len(folder) :] if output.startswith(folder) else None

    def _prefix_in(self, bucket: str) -> str | None:
        if self.output is None or not self.output.startswith("s3://"):
            return None
        name, _, key = self.output.removeprefix("s3://").partition("/")
        key = key.strip("/")
        return (f"{key}/" if key else "") if name == bucket else None


def holds_run(folder: str) -> bool:
    """Whether a local folder is that of a run."""
    return all(os.path.isfile(f"{folder}/{name}") for name in (layout.JOB, layout.RUN))


def runs_in(keys: Collection[str], folder: str) -> set[str]:
    """Which of the folders in an S3 folder are those of runs, by the keys below it."""
    start = f"{folder}/" if folder else ""
    known = keys if isinstance(keys, set) else set(keys)
    ends = f"/{layout.RUN}"
    found = {key[len(start) : -len(ends)] for key in known if key.startswith(start) and key.endswith(ends)}
    return {run for run in found if "/" not in run and f"{start}{run}/{layout.JOB}" in known}


def _path_of(place: str) -> str:
    path = unquote(urlsplit(place).path) if place.startswith("file://") else place
    return os.path.abspath(os.path.expanduser(path))


NOWHERE = OwnPlaces()
