"""A drop folder in its store: the files in it, and what the listener writes beside them.

    status/_claims/<claim>.json          which run a version starts; created once
    status/_started/<claim>.json         that the run was started: nothing is left to do for this version
    status/<key>.json                    for people: leads from a file to its run
    rejected/<key>.rejected.json         for people: why a file was not taken, and what to do
    …/_other_names/<digest>.json         either, where no name can be made of the file's own

On S3 these lie at the top of the bucket, so that a notification on the drop folder's prefix does not announce them, and
listeners on overlapping prefixes share their claims. Beside a local folder's files they lie in that folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flows.drop_folder.files import DroppedFile, FileClaim, is_input, report_name
from flows.drop_folder.local_inbox import LocalInbox
from pipelines.errors import JobError, StoreError
from pipelines.store.mutable import MutableStore
from pipelines.store.regular_files import MAX_JOB_FILE_BYTES
from pipelines.store.s3_any_name import Entry, is_usable

_STATUS, _REJECTED = "status", "rejected"
_CLAIMS, _STARTED = f"{_STATUS}/_claims", f"{_STATUS}/_started"
_MAX_NAME_BYTES, _MAX_KEY_BYTES = 255, 1_024  # of a file system, and of S3
_UNUSABLE = "has a name with an empty part, a part `.` or `..`, or a control character; rename it"
_README = f"{_STATUS}/_README.txt"
_README_TEXT = b"""Written by `pipeline listen`. One JSON file for each file that was taken, leading to its run.
_claims/ and _started/ are the listener's memory: what is deleted there is taken again.
"""


class Inbox:
    """The files below a local folder or an ``s3://bucket/prefix``."""

    def __init__(self, location: str) -> None:
        """Open the folder; nothing is asked of the store yet.

        Raises:
            JobError: it is no local folder and no S3 location, or one that the listener writes to itself.
        """
        self.is_local = not location.startswith("s3://")
        if self.is_local:
            root, self._prefix = _local_folder(location), ""
            self.bucket = None
        else:
            self.bucket, _, prefix = location.removeprefix("s3://").strip("/").partition("/")
            if prefix.split("/", 1)[0] in (_STATUS, _REJECTED):
                problem = f"FOLDER: '{location}' is where a listener writes to; name the folder with the files"
                raise JobError([problem], "the command")
            root, self._prefix = f"s3://{self.bucket}", prefix.rstrip("/")
        self._store = MutableStore(root)
        self._local = LocalInbox(self._store.root if self.is_local else "")
        self.location = self._store.uri(self._prefix).rstrip("/")

    def check(self) -> None:
        """Try what the listener will do all day.

        Raises:
            StoreError: the folder is not there, or may not be listed or written to.
        """
        if self.is_local:
            self._local.check()
        else:
            next(self._store.entries(self._prefix), None)
        self._store.create(_README, _README_TEXT)

    def files(self) -> Iterator[DroppedFile]:
        """Every file to take, in no promised order; listings tell no version ids."""
        if self.is_local:
            yield from (file for file in self._local.files() if self.is_input(file.key))
            return
        for entry in self._store.entries(self._prefix):
            if self.is_input(entry.key):
                yield self._file(entry)

    def is_input(self, key: str) -> bool:
        """Whether the key is one of a file to take, by its name."""
        if not key.startswith(f"{self._prefix}/" if self._prefix else ""):
            return False
        return key.split("/", 1)[0] not in (_STATUS, _REJECTED) and is_input(self.path_of(key))

    def contains(self, place: str) -> bool:
        """Whether a local path or S3 location lies in the drop folder."""
        if self.is_local != (not place.startswith("s3://")):
            return False
        if not self.is_local:
            return f"{place.rstrip('/')}/".startswith(f"{self.location}/")
        return Path(urlsplit(place).path).resolve().is_relative_to(Path(self.location).resolve())

    def path_of(self, key: str) -> str:
        """The key relative to the drop folder."""
        return key[len(self._prefix) :].lstrip("/")

    def look(self, key: str) -> DroppedFile | None:
        """The version that is there now, if any."""
        if self.is_local:
            return self._local.look(key)
        entry = self._store.entry(key)
        return self._file(entry) if entry else None

    def read(self, path: str) -> bytes | None:
        """The job file at a path relative to the drop folder.

        Raises:
            JobError: it is no file of a bounded size, or leads out of the folder.
        """
        if not self._can_be(path):
            return None
        if self.is_local:
            return self._local.read(path)
        entry = self._store.entry(self._key(path))
        if entry and entry.size_bytes > MAX_JOB_FILE_BYTES:
            raise JobError(
                [f"{self.uri(path)}: {entry.size_bytes:,} bytes, where a job file has {MAX_JOB_FILE_BYTES:,}"]
            )
        return self._store.read_if_exists(self._key(path)) if entry else None

    def exists(self, path: str) -> bool:
        """Whether anything is at a path relative to the drop folder."""
        if self.is_local:  # the store would open it, and wait for whoever writes into a pipe
            return self._can_be(path) and self._local.exists(path)
        return self._can_be(path) and self._store.exists(self._key(path))

    def _can_be(self, path: str) -> bool:
        """Whether the store has names that long; a dropped file's own name may leave no room for an ending."""
        if not self.is_local:
            return len(self._key(path).encode()) <= _MAX_KEY_BYTES
        return max(len(name.encode()) for name in path.split("/")) <= _MAX_NAME_BYTES

    def uri(self, path: str) -> str:
        """Path or address of an object as a person would open it."""
        return self._store.uri(self._key(path))

    def claim(self, file: DroppedFile) -> FileClaim | None:
        """The claim on a version, if it is claimed."""
        committed = self._store.read_if_exists(f"{_CLAIMS}/{file.claim_id}.json")
        return FileClaim.model_validate_json(committed) if committed else None

    def is_claimed(self, file: DroppedFile) -> bool:
        """Whether a version is claimed, be the claim readable or not."""
        return self._store.exists(f"{_CLAIMS}/{file.claim_id}.json")

    def claim_uri(self, file: DroppedFile) -> str:
        """Where the claim on a version is."""
        return self._store.uri(f"{_CLAIMS}/{file.claim_id}.json")

    def make_claim(self, file: DroppedFile, claim: FileClaim) -> FileClaim:
        """Claim a version; the claim that counts, which may be another listener's."""
        key = f"{_CLAIMS}/{file.claim_id}.json"
        self._store.create(key, claim.model_dump_json().encode())
        return FileClaim.model_validate_json(self._store.read(key))

    def is_started(self, file: DroppedFile) -> bool:
        """Whether nothing is left to do for this version."""
        return self._store.exists(f"{_STARTED}/{file.claim_id}.json")

    def started(self) -> Iterator[str]:
        """Listing ids of the versions whose runs were started."""
        # Where all of the bucket is the folder, droppers may write here too.
        noted = (entry.key for entry in self._store.entries(_STARTED))
        for key in self._local.names(_STARTED) if self.is_local else noted:
            yield key.rsplit("/", 1)[1].removesuffix(".json").partition("-")[0]

    def mark_started(self, file: DroppedFile, status: dict[str, Any]) -> None:
        """Leave the way to the run beside the file, then note that nothing is left to do."""
        self._report(f"{_STATUS}/{report_name(file.key)}.json", _json(status))
        rejection = self._rejection(file.key)
        for key in (rejection, _other_name(rejection)):  # of an earlier try, with another job file
            with suppress(StoreError, ValueError):  # no such name can be; in an outage, the next lines tell
                if self._store.exists(key):
                    self._store.remove(key)
        self._store.create(f"{_STARTED}/{file.claim_id}.json", _json({"run": status["run"]}))

    def reject(self, file: DroppedFile, problems: list[str], next_step: str) -> None:
        """Say why a version was not taken; it may be taken another time."""
        content = {"file": file.uri, "e_tag": file.e_tag, "problems": problems, "next": next_step}
        self._report(self._rejection(file.key), _json(content))

    def _report(self, key: str, content: bytes) -> None:
        """Write for people; under another name where a dropped file's own name, or folder, leaves no room for it."""
        try:
            self._store.replace(key, content)
        except (StoreError, ValueError):  # e.g. too long, a file where a folder is needed, no UTF-8
            self._store.replace(_other_name(key), content)

    def _rejection(self, key: str) -> str:
        return f"{_REJECTED}/{report_name(key)}.rejected.json"

    def _key(self, path: str) -> str:
        return f"{self._prefix}/{path}" if self._prefix else path

    def _file(self, entry: Entry) -> DroppedFile:
        return DroppedFile(
            key=entry.key,
            uri=self._store.uri(entry.key),
            size_bytes=entry.size_bytes,
            e_tag=entry.e_tag,
            version_id=entry.version_id,
            written_at=entry.written_at,
            problem=None if is_usable(entry.key) else _UNUSABLE,
        )


def _local_folder(location: str) -> str:
    parts = urlsplit(location)
    if parts.scheme not in ("", "file"):
        problem = f"FOLDER: '{location}' is of an unknown kind; give a local folder or an s3:// prefix"
        raise JobError([problem], "the command")
    folder = Path(parts.path if parts.scheme else location).expanduser().absolute()
    if not folder.is_dir():
        raise JobError([f"FOLDER: no folder '{folder}'; create it or mend the path"], "the command")
    return str(folder)


def _other_name(key: str) -> str:
    folder, _, name = key.partition("/")
    return f"{folder}/_other_names/{hashlib.sha256(name.encode(errors='backslashreplace')).hexdigest()[:20]}.json"


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=2, ensure_ascii=False).encode(errors="backslashreplace")
